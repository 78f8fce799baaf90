// SPDX-License-Identifier: MIT
// What Guard Malloc says: about bad pointers, damaged canaries and accesses that faulted. The words
// are those that the debugging features use for the same findings; places in code are
// module+offset, which the tools turn into names. Everything is composed on the stack, as some of
// it comes from a signal handler.
#include "guard/guard_impl.h"

#include <string.h>

enum { CONTENTS_BYTES = 8 }; // that a report of damage shows

struct text {
	char bytes[768];
	size_t count;
};

static void put(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void put(struct text *text, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	text->count += malloc_format(text->bytes + text->count, sizeof(text->bytes) - text->count,
	                             format, arguments);
	va_end(arguments);
}

static void put_place(struct text *text, uint64_t address)
{
	struct inside_module module;
	const char *slash;

	if (!address)
		return;
	if (inside_module_at(address, &module)) {
		slash = strrchr(module.path, '/');
		put(text, " at %p (%s+0x%lx)", (void *)address, slash ? slash + 1 : module.path,
		    module.offset);
	} else {
		put(text, " at %p", (void *)address);
	}
}

static void put_history(struct text *text, const struct guard_record *record)
{
	put(text, "\nIt was allocated by thread %u", record->allocated_by);
	put_place(text, record->allocated_from);
	if (guard_state(record) != GUARD_FREED)
		return;
	put(text, "\nIt was freed by thread %u", record->freed_by);
	put_place(text, record->freed_from);
}

// Where calls are recorded, the message prints these behind its text.
static void tell_stacks(const struct guard_record *record)
{
	malloc_told_stacks.allocated = record->allocated_stack;
	malloc_told_stacks.freed = record->freed_stack;
}

// --- bad pointers --------------------------------------------------------------------------------

static void put_pointer(struct text *text, const struct guard_record *record, uint64_t p)
{
	bool behind = p >= record->block;

	if (p == record->block)
		put(text, "\nIt was a block of %zu bytes, and it is free already", record->bytes);
	else
		put(text, "\nIt points %zu bytes %s the start of the %sblock of %zu bytes at %p",
		    behind ? p - record->block : record->block - p, behind ? "behind" : "before",
		    guard_state(record) == GUARD_FREED ? "freed " : "", record->bytes,
		    (void *)record->block);
	put_history(text, record);
}

void guard_report_pointer(const void *p, bool reallocates)
{
	const struct guard_record *record = guard_record_around((uintptr_t)p);
	uint32_t state = record ? guard_state(record) : GUARD_UNUSED;
	bool freed = state == GUARD_FREED && record->block == (uintptr_t)p;
	struct text text = { .count = 0 };

	put(&text, "*** error for object %p: ", p);
	if (reallocates)
		put(&text, "pointer %p being reallocated was not allocated", p);
	else if (freed)
		put(&text, "Double free of object %p", p);
	else
		put(&text, "pointer being freed was not allocated");
	if (state == GUARD_LIVE || state == GUARD_CHECKED || state == GUARD_FREED) {
		put_pointer(&text, record, (uintptr_t)p);
		tell_stacks(record);
	}
	malloc_fault(MALLOC_FAULT_MISUSE, "%s", text.bytes);
}

// --- damaged canaries ----------------------------------------------------------------------------

static void put_contents(struct text *text, uint64_t start, uint64_t end)
{
	for (uint64_t at = start; at < end && at < start + CONTENTS_BYTES; at++)
		put(text, " %02x", *(const uint8_t *)at);
	if (end - start > CONTENTS_BYTES)
		put(text, " ...");
}

void guard_report_damage(const struct guard_record *record, uint64_t start, uint64_t end,
                         bool fatal)
{
	uint64_t block_end = record->block + record->bytes;
	bool before = start < record->block;
	struct text text = { .count = 0 };

	put(&text,
	    "*** error for object %p: %s: the memory %s this block of %zu bytes was overwritten.\n",
	    (void *)record->block, before ? "underrun" : "overrun", before ? "before" : "behind",
	    record->bytes);
	put(&text, "%c %zu bytes at %p, %zu bytes %s:", before ? '<' : '>', end - start,
	    (void *)start, before ? record->block - start : start - block_end,
	    before ? "before its start" : "behind its end");
	put_contents(&text, start, end);
	put_history(&text, record);
	tell_stacks(record);
	if (fatal) {
		malloc_fault(MALLOC_FAULT_CORRUPTION, "%s", text.bytes);
	} else {
		malloc_message("%s", text.bytes);
		malloc_stacks_print();
	}
}

// --- faults --------------------------------------------------------------------------------------

static const char *verb(enum inside_access access)
{
	switch (access) {
	case INSIDE_ACCESS_READ:
		return "read";
	case INSIDE_ACCESS_WRITE:
		return "write to";
	case INSIDE_ACCESS_EXECUTE:
		return "execute";
	default:
		return "use";
	}
}

static void put_position(struct text *text, const struct guard_record *record, uint64_t address)
{
	bool freed = guard_state(record) == GUARD_FREED;
	uint64_t end = record->block + record->bytes;

	if (address < record->block)
		put(text, "%zu bytes before the start of", record->block - address);
	else if (address >= end)
		put(text, "%zu bytes behind the end of", address - end);
	else
		put(text, "%zu bytes behind the start of", address - record->block);
	put(text, " the %sblock of %zu bytes at %p", freed ? "freed " : "", record->bytes,
	    (void *)record->block);
}

void guard_report_fault(const struct guard_record *block, const struct guard_record *other,
                        uint64_t address, const void *context)
{
	struct text text = { .count = 0 }, code = { .count = 0 };

	put(&text, "*** The program tried to %s memory at %p, ", verb(inside_fault_access(context)),
	    (void *)address);
	if (block) {
		put_position(&text, block, address);
		put_history(&text, block);
		tell_stacks(block);
	} else {
		put(&text, "which is kept from use and near no block");
	}
	malloc_message("%s", text.bytes);
	if (other) {
		text.count = 0;
		put_position(&text, other, address);
		malloc_message("*** That is also %s", text.bytes);
	}
	put_place(&code, inside_fault_code(context));
	malloc_message("*** The instruction is%s, in thread %u", code.bytes,
	               (unsigned)inside_thread_id());
	malloc_stacks_print();
}
