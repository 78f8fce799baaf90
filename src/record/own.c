// SPDX-License-Identifier: MIT
// Memory of the recorder outside of the shared mapping that holds addresses of the program's blocks and
// words of its stacks: whoever searches the program for references must know that it is none of the
// program's. Called by who takes such memory.
#include "record/record_impl.h"

void record_own_list(void *memory, size_t bytes)
{
	uint32_t i;

	if (!memory)
		return;
	bytes = (bytes + RECORD_PAGE_BYTES - 1) & -(size_t)RECORD_PAGE_BYTES;
	inside_name(memory, bytes, RECORD_NAME);
	i = __atomic_fetch_add(&record_header->own_count, 1, __ATOMIC_RELAXED);
	if (i < RECORD_OWN_RANGES)
		record_header->own[i] =
			(struct record_range){ (uintptr_t)memory, (uintptr_t)memory + bytes };
}
