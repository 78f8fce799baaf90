// SPDX-License-Identifier: MIT
// Why a signal came: the program used bytes of a pattern as a pointer, or touched a guard page. The
// address is often not canonical, so that the kernel names none; then the registers of the faulting
// instruction decide. The handler only speaks; the fault is raised again with the default action, so
// that a core or a debugger shows the program as it was. Explains nothing when nothing fits.
#include "debug/debug_impl.h"

#include <signal.h>

#include "os/inside.h"

enum {
	NEAR = 1 << 20,      // offsets of members and indices, added to a whole pattern
	NEAR_HALF = 1 << 12, // to one of 32 bits: half an address says less
};

enum pattern {
	PATTERN_NONE,
	PATTERN_FREED,
	PATTERN_NEW,
	PATTERN_EDGE,
};

struct crash {
	struct inside_operands operands;
	uint64_t address;
	bool has_address;
	enum inside_access access;
	uintptr_t code;
};

static bool is_near(uint64_t value, uint32_t half)
{
	uint64_t whole = (uint64_t)half << 32 | half;

	return value - whole + NEAR < 2 * (uint64_t)NEAR ||
	       value - half + NEAR_HALF < 2 * (uint64_t)NEAR_HALF ||
	       value - (uint64_t)(int64_t)(int32_t)half + NEAR_HALF < 2 * (uint64_t)NEAR_HALF;
}

// The two edges are one pattern read from different places.
static bool is_edge(uint64_t value)
{
	for (unsigned bits = 8; bits <= 32; bits += 8)
		if (is_near(value,
		            MALLOC_EDGE_BEFORE << (bits & 31) |
		                    (uint32_t)((uint64_t)MALLOC_EDGE_BEFORE >> (32 - (bits & 31)))))
			return true;
	return false;
}

static enum pattern pattern_of(uint64_t value)
{
	if (is_near(value, 0x01010101u * MALLOC_FILL_FREED))
		return PATTERN_FREED;
	if (is_near(value, 0x01010101u * MALLOC_FILL_NEW))
		return PATTERN_NEW;
	return is_edge(value) ? PATTERN_EDGE : PATTERN_NONE;
}

static enum pattern find_pattern(const struct crash *crash)
{
	enum pattern found = crash->has_address ? pattern_of(crash->address) : PATTERN_NONE;

	for (unsigned i = 0; !found && i < crash->operands.count; i++)
		found = pattern_of(crash->operands.values[i]);
	return found;
}

static void look(const void *info, const void *context, struct crash *ret)
{
	uintptr_t named;

	inside_fault_operands(context, &ret->operands);
	ret->access = inside_fault_access(context);
	if (!ret->access)
		ret->access = ret->operands.access;
	ret->code = inside_fault_code(context);
	ret->has_address = ret->operands.has_address;
	ret->address = ret->operands.address;
	if (inside_crash_address(info, &named)) {
		ret->has_address = true;
		ret->address = named;
	}
}

static const char *name_access(const struct crash *crash)
{
	if (crash->access == INSIDE_ACCESS_WRITE)
		return "write to";
	if (crash->access == INSIDE_ACCESS_EXECUTE || crash->code == crash->address)
		return "execute";
	return crash->access == INSIDE_ACCESS_READ ? "read" : "use";
}

static void say_why(enum pattern pattern)
{
	if (pattern == PATTERN_FREED)
		malloc_message(
			"*** 0x55 is what blocks are filled with when they are freed: the program, or "
			"a library, very probably took this pointer out of memory that it had freed");
	else if (pattern == PATTERN_NEW)
		malloc_message(
			"*** 0xaa is what new blocks are filled with: the program, or a library, "
			"very probably took this pointer out of memory that it never set");
	else
		malloc_message(
			"*** 0xdeadbeef lies around every block: the program, or a library, very "
			"probably read this pointer outside of a block");
}

static void say_end(const struct crash *crash)
{
	struct inside_module module;

	if (inside_module_at(crash->code, &module))
		malloc_message(
			"*** The instruction is at %p (%s+0x%lx). This is a fault of the program, "
			"not of the malloc library, which cannot go on after it",
			(void *)crash->code, module.path, module.offset);
	else
		malloc_message(
			"*** There is no code at %p. This is a fault of the program, not of the "
			"malloc library, which cannot go on after it",
			(void *)crash->code);
}

static void explain_pattern(const struct crash *crash, enum pattern pattern)
{
	if (crash->has_address)
		malloc_message("*** The program tried to %s memory at %p, where there is none",
		               name_access(crash), (void *)crash->address);
	else
		malloc_message("*** The program tried to use a bad pointer");
	say_why(pattern);
	say_end(crash);
}

// The block whose guard page holds the address: the address lies in it or in the block of the core
// that it is part of.
static bool explain_guard(const struct crash *crash)
{
	struct debug_block block;
	const struct malloc_place *place = &block.place;
	bool before;

	if (!crash->has_address || !debug_block_at((const void *)crash->address, &block))
		return false;
	if (block.flags & MALLOC_NOTE_LIVE && crash->address >= place->user &&
	    crash->address < place->user_end)
		return false;
	before = crash->address < place->user;
	malloc_message(
		"*** The program tried to %s memory at %p, %zu bytes %s the %sblock of %zu bytes at %p",
		name_access(crash), (void *)crash->address,
		before ? place->user - crash->address : crash->address - place->user_end,
		before ? "before the start of" : "behind the end of",
		block.flags & MALLOC_NOTE_LIVE ? "" : "freed ", block.requested_bytes,
		(void *)place->user);
	say_end(crash);
	return true;
}

static void on_crash(int signal, void *info, void *context)
{
	struct crash crash;
	enum pattern pattern;

	look(info, context, &crash);
	pattern = find_pattern(&crash);
	if (pattern)
		explain_pattern(&crash, pattern);
	else
		explain_guard(&crash);
	inside_crash_let(signal, info);
}

void debug_crash_start(void)
{
	inside_crash_catch(SIGSEGV, on_crash);
	inside_crash_catch(SIGBUS, on_crash);
	inside_crash_catch(SIGILL, on_crash);
}
