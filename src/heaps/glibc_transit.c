// SPDX-License-Identifier: MIT
// Blocks in the hands of malloc at the stop. Between the moment when free takes a
// block and the moment when a list shows it, only the chunk's address is left in a
// register or on the stack, which lies before the block and so holds nothing. The
// same goes for a chunk that malloc has taken from a list and not given out yet.
// Such blocks are marked, so that they are never called leaked and what they hold
// (realloc may be copying) is followed.
#include <stdlib.h>
#include <string.h>

#include "heaps/glibc.h"

enum {
	TRANSIT_RED_ZONE = 128,  // below the stack pointer, used by leaf functions on x86-64
	TRANSIT_STACK = 1024,    // frames of malloc and its callees
	TRANSIT_CHAIN = 1 << 20, // chunks of a fastbin that malloc_consolidate walks
};

static void mark(struct glibc *glibc, ssize_t i)
{
	struct heap_block *block = &glibc->build->blocks.v[i];

	if (block->hb_state == HEAP_USED)
		block->hb_flags |= HEAP_TRANSIT | HEAP_LOADER;
}

static const struct glibc_arena *arena_of(const struct glibc *glibc, uint32_t zone)
{
	for (size_t i = 0; i < glibc->arenas.n; i++)
		if (glibc->arenas.v[i].zone == zone)
			return &glibc->arenas.v[i];
	return NULL;
}

// malloc_consolidate takes a whole fastbin away and frees it chunk by chunk.
static void mark_fast_chain(struct glibc *glibc, ssize_t first)
{
	unsigned word = glibc->layout.word;
	uint64_t size = glibc->build->blocks.v[first].hb_size;
	uint64_t at = glibc->build->blocks.v[first].hb_address, stored, length = 0;
	ssize_t i = first;

	for (; length < TRANSIT_CHAIN; length++) {
		if (!peek_word(&glibc->peek, at, &stored))
			return;
		uint64_t chunk = glibc_link(at, stored, glibc->links);
		if (!chunk)
			break;
		i = build_find_start(glibc->build, chunk + 2 * word);
		if (i < 0 || glibc->build->blocks.v[i].hb_size != size)
			return;
		at = chunk + 2 * word;
	}
	at = glibc->build->blocks.v[first].hb_address;
	while (length-- > 0 && peek_word(&glibc->peek, at, &stored)) {
		at = glibc_link(at, stored, glibc->links) + 2 * word;
		i = build_find_start(glibc->build, at);
		if (i >= 0 && glibc->build->blocks.v[i].hb_state == HEAP_USED)
			glibc->build->blocks.v[i].hb_state = HEAP_CACHED;
	}
}

static void consider(struct glibc *glibc, uint64_t value)
{
	unsigned word = glibc->layout.word;

	if (value % word)
		return;
	ssize_t i = build_find_start(glibc->build, value + 2 * word);
	const struct heap_block *blocks = glibc->build->blocks.v;
	const struct glibc_arena *arena = i >= 0 ? arena_of(glibc, blocks[i].hb_zone) : NULL;
	if (i >= 0)
		mark(glibc, i);
	if (!arena || !arena->locked)
		return;
	// The chunk before may be the one being freed, with only its end left in a register.
	if (i > 0 && blocks[i - 1].hb_address + blocks[i - 1].hb_size == value + word)
		mark(glibc, i - 1);
	if (glibc->layout.fast_count && blocks[i].hb_state == HEAP_USED &&
	    blocks[i].hb_size < 24 * word)
		mark_fast_chain(glibc, i);
}

static bool in_module(const struct glibc *glibc, uint64_t pc)
{
	const struct target_segment *segment = target_segment_at(glibc->target, pc);

	return segment && segment->protection & TARGET_EXEC && segment->file == glibc->module;
}

// Whether the thread stands behind a system call: syscall, svc #0, int $0x80 or sysenter's return.
static bool in_system_call(const struct glibc *glibc, uint64_t pc)
{
	uint8_t code[4];
	const char *cpu = glibc->target->cpu ? glibc->target->cpu : "x86_64";

	if (target_read_some(glibc->target, pc - 4, code, 4) != 4)
		return false;
	if (strcmp(cpu, "aarch64") == 0)
		return memcmp(code, "\x01\x00\x00\xd4", 4) == 0;
	return memcmp(code + 2, "\x0f\x05", 2) == 0 || memcmp(code + 2, "\xcd\x80", 2) == 0;
}

static void consider_stack(struct glibc *glibc, uint64_t sp)
{
	uint8_t bytes[TRANSIT_RED_ZONE + TRANSIT_STACK];
	unsigned word = glibc->layout.word;
	uint64_t start = (sp - TRANSIT_RED_ZONE) & ~(uint64_t)(word - 1);
	size_t n = target_read_some(glibc->target, start, bytes, sizeof(bytes));

	for (size_t i = 0; i + word <= n; i += word)
		consider(glibc, target_word(glibc->target, bytes + i));
}

// --- malloc without locks -------------------------------------------------------------------------
enum {
	TRANSIT_STATIC_BYTES = 32 << 10, // static functions of malloc.o, before the exported ones
	TRANSIT_LAST_BYTES = 8 << 10,    // the last function
	TRANSIT_FRAMES = 512,            // stack of sbrk and the like, up to their caller's address
};

// The code of malloc.o: what lies around the functions that it exports. False without symbols.
static bool malloc_code(struct glibc *glibc, uint64_t *ret_start, uint64_t *ret_end)
{
	static const char *const names[] = { "malloc", "free", "calloc", "realloc" };
	const char *path = glibc->module ? glibc->module->path : NULL;
	const char *slash = path ? strrchr(path, '/') : NULL;
	uint64_t low = ~0ull, high = 0, address, bytes;

	if (!glibc->build->symbols || !slash)
		return false;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (symbols_find(glibc->build->symbols, slash + 1, names[i], &address, &bytes))
			return false;
		low = address < low ? address : low;
		high = address > high ? address : high;
	}
	*ret_start = low - TRANSIT_STATIC_BYTES;
	*ret_end = high + TRANSIT_LAST_BYTES;
	return high - low < 4 * TRANSIT_STATIC_BYTES;
}

static bool stands_in_malloc(struct glibc *glibc, const struct target_thread *thread)
{
	uint64_t start, end;
	uint8_t bytes[TRANSIT_FRAMES];
	unsigned word = glibc->layout.word;

	if (!thread->has_registers || !in_module(glibc, thread->pc))
		return false;
	if (!malloc_code(glibc, &start, &end))
		return !in_system_call(glibc, thread->pc);
	if (thread->pc >= start && thread->pc < end)
		return true;
	size_t n = target_read_some(glibc->target, thread->sp, bytes, sizeof(bytes));
	for (size_t i = 0; i + word <= n; i += word) {
		uint64_t value = target_word(glibc->target, bytes + i);

		if (value >= start && value < end)
			return true;
	}
	return false;
}

void glibc_busy(struct glibc *glibc)
{
	const struct target *target = glibc->target;

	if (target->thread_count == 1 && stands_in_malloc(glibc, &target->threads[0]))
		glibc->arenas.v[0].locked = true;
}

void glibc_transit(struct glibc *glibc)
{
	bool locked = false;

	for (size_t i = 0; i < glibc->arenas.n; i++)
		locked = locked || glibc->arenas.v[i].locked;
	for (size_t t = 0; t < glibc->target->thread_count; t++) {
		const struct target_thread *thread = &glibc->target->threads[t];

		if (!thread->has_registers || (!locked && !in_module(glibc, thread->pc)))
			continue;
		for (unsigned r = 0; r < thread->register_count; r++)
			consider(glibc, thread->registers[r]);
		if (locked || !in_system_call(glibc, thread->pc))
			consider_stack(glibc, thread->sp);
	}
	glibc->build->in_malloc = glibc->build->in_malloc || locked;
}
