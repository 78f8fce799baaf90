// SPDX-License-Identifier: MIT
// What the files of the room machine share.
#pragma once

#include "machine/machine.h"

// The whole of a file below root (machine.h); NULL when it cannot be read. path is a format.
char *machine_text(const char *root, struct arena *arena, size_t *ret_bytes, const char *path, ...)
	__attribute__((format(printf, 4, 5)));

// Sets the counter that the kernel calls so in a file; false when there is none.
bool machine_counter_set(struct machine_counters *counters, enum machine_file file, const char *key,
                         size_t length, uint64_t value);

void machine_counter_put(struct machine_counters *counters, enum machine_counter which,
                         uint64_t value);

// A rule found this value: what the verdict says of it now.
void machine_verdict_apply(struct machine_verdict *verdict, enum machine_rule_number number,
                           double value);
