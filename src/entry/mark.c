// SPDX-License-Identifier: MIT
// heapwright_mark of include/heapwright/mark.h, for programs that run on this library and are recorded.
// Called by the program.
#include "malloc/malloc.h"
#include "record/record.h"

MALLOC_EXPORT void heapwright_mark(const char *name);

void heapwright_mark(const char *name)
{
	const struct record_position at = RECORD_POSITION_HERE();

	record_mark(name, &at);
}
