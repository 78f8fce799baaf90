// SPDX-License-Identifier: MIT
// What is wrong with a pointer that was given to free or realloc.
#include "guard/guard_impl.h"

static void report_freed(const struct guard_record *record, const void *p, const char *what)
{
	struct guard_place made, ended;

	guard_place_of(record->allocated_from, &made);
	guard_place_of(record->freed_from, &ended);
	if ((uintptr_t)p == record->block && *what == 'f')
		malloc_fault(MALLOC_FAULT_MISUSE,
		             "*** error for object %p: Double free of object %p: a block of %zu "
		             "bytes, allocated by thread %u at %s, freed by thread %u at %s",
		             p, p, record->bytes, record->allocated_by, made.text, record->freed_by,
		             ended.text);
	else
		malloc_fault(MALLOC_FAULT_MISUSE,
		             "*** error for object %p: pointer being %s was not allocated: it is "
		             "%zu bytes into a freed block of %zu bytes, allocated by thread %u at "
		             "%s, freed by thread %u at %s",
		             p, what, (uintptr_t)p - record->block, record->bytes,
		             record->allocated_by, made.text, record->freed_by, ended.text);
}

static void report_live(const struct guard_record *record, const void *p, const char *what)
{
	struct guard_place place;

	malloc_fault(MALLOC_FAULT_MISUSE,
	             "*** error for object %p: pointer being %s was not allocated: it is %zu bytes "
	             "%s the block %p of %zu bytes, allocated by thread %u at %s",
	             p, what,
	             (uintptr_t)p < record->block ? record->block - (uintptr_t)p
	                                          : (uintptr_t)p - record->block,
	             (uintptr_t)p < record->block ? "before" : "into", (void *)record->block,
	             record->bytes, record->allocated_by,
	             guard_place_of(record->allocated_from, &place));
}

void guard_misuse(const void *p, const char *what)
{
	const struct guard_record *record = guard_record_around((uintptr_t)p);
	uint32_t state = record ? guard_state(record) : GUARD_UNUSED;

	if (state == GUARD_FREED && (uintptr_t)p >= record->block)
		report_freed(record, p, what);
	else if (state == GUARD_LIVE || state == GUARD_CHECKED)
		report_live(record, p, what);
	else
		malloc_fault(MALLOC_FAULT_MISUSE,
		             "*** error for object %p: pointer being %s was not allocated", p,
		             what);
}
