// SPDX-License-Identifier: MIT
// Runs the image of the mark phase in the test's own process: mapped executable, called as the
// clone would, its final breakpoint caught. For test_scan and test_graph.
#pragma once

#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "scan/scan.h"

static sigjmp_buf unit_blob_done;

// AddressSanitizer does not see the image's reads, but its red zones would be read as memory.
static bool unit_blob_usable(void)
{
#ifdef __SANITIZE_ADDRESS__
	return false;
#else
	return true;
#endif
}

static void unit_blob_trap(int signal)
{
	(void)signal;
	siglongjmp(unit_blob_done, 1);
}

static void unit_blob_call(uint64_t entry, uint64_t argument)
{
	struct sigaction action = { .sa_handler = unit_blob_trap };

	sigaction(SIGTRAP, &action, NULL);
	if (!sigsetjmp(unit_blob_done, 1)) {
		((void (*)(uint64_t))entry)(argument);
		abort(); // it must not return
	}
}

static inline void unit_blob_run(struct scan_job *job)
{
	size_t bytes;
	const void *blob = scan_blob(&bytes);
	void *code = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	memcpy(code, blob, bytes);
	mprotect(code, bytes, PROT_READ | PROT_EXEC);
	__builtin___clear_cache(code, (char *)code + bytes);
	unit_blob_call((uintptr_t)code, (uintptr_t)job);
	munmap(code, bytes);
}
