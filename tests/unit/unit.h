// SPDX-License-Identifier: MIT
// What every unit test includes first: cmocka with the headers that it wants before it, and memory
// for arenas and vectors. The memory comes from malloc, so that sanitizers see each overrun.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/pages.h"

static inline void *unit_resize(void *old, size_t old_bytes, size_t new_bytes)
{
	if (!new_bytes) {
		free(old);
		return NULL;
	}
	char *resized = realloc(old, new_bytes);
	if (!resized)
		abort();
	if (new_bytes > old_bytes)
		memset(resized + old_bytes, 0, new_bytes - old_bytes);
	return resized;
}

// A process under ASan has an allocator of its own and terabytes of shadow, which a core cannot hold.
void __asan_init(void) __attribute__((weak));

static inline bool unit_under_asan(void)
{
	return __asan_init != NULL;
}

// In qemu's user mode /proc and cores tell about qemu, at other addresses than the test sees.
static inline bool unit_under_qemu(void)
{
	char name[16] = "";
	FILE *comm = fopen("/proc/self/comm", "re");
	if (comm) {
		(void)!fgets(name, sizeof(name), comm);
		fclose(comm);
	}
	return strncmp(name, "qemu-", 5) == 0;
}

static const struct page_source unit_pages __attribute__((unused)) = { unit_resize };
