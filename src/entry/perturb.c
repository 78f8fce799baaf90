// SPDX-License-Identifier: MIT
// mallopt(M_PERTURB), with the bytes of glibc's (malloc/malloc.c, alloc_perturb and free_perturb): new
// memory but calloc's is filled with the complement of a byte, freed memory with the byte. Called by
// slow.c, to which all calls come once it is set. Zones of features fill by their own rules.
#include <string.h>

#include "entry/entry_impl.h"

uint8_t entry_perturb;

bool entry_perturb_set(int value)
{
	if (entry_zone)
		return false;
	if ((uint8_t)value)
		malloc_core_see_every_call();
	entry_perturb = (uint8_t)value;
	return true;
}

void *entry_perturb_new(void *block, size_t from)
{
	size_t bytes = malloc_core_size(block);

	if (bytes > from)
		memset((char *)block + from, entry_perturb ^ 0xff, bytes - from);
	return block;
}

void entry_perturb_freed(void *block)
{
	memset(block, entry_perturb, malloc_core_size(block));
}
