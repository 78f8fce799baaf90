// SPDX-License-Identifier: MIT
// What the files of scan share: where the parts of a job are, and the hash of granules.
#pragma once

#include "scan/scan.h"

#define SCAN_GRANULE_BYTES ((uint64_t)1 << SCAN_GRANULE_BITS)

static inline void *scan_at(const struct scan_job *job, uint64_t offset)
{
	return (char *)(uintptr_t)job + offset;
}

// The entry of a granule, or the empty entry where it would stand.
static inline struct scan_granule *scan_granule_at(const struct scan_job *job, uint64_t number)
{
	struct scan_granule *table = scan_at(job, job->granules_at);
	uint64_t mask = job->granule_capacity - 1;
	uint64_t i = (number * 0x9e3779b97f4a7c15u) >> job->granule_shift;

	while (table[i].number != number + 1 && table[i].number)
		i = (i + 1) & mask;
	return &table[i];
}
