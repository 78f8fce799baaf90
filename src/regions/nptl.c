// SPDX-License-Identifier: MIT
/*
 * What glibc itself knows about thread stacks, in a process that was never prepared.
 *
 * glibc keeps every struct pthread on one of three circular lists (nptl/allocatestack.c): stacks in
 * use, stacks that the application supplied (and the main thread), and the cache of ended threads.
 * Nothing here relies on fixed offsets:
 *  1. The offset of the list node in struct pthread is the one that libc's own table for thread_db
 *     gives (exported even by stripped libraries), else the one most live threads vote for: a
 *     node's neighbours must point back to it.
 *  2. A walk from a live thread ends up at the head of its list, which lies in a module. The other
 *     heads lie near it (in ld.so's _rtld_global since 2.34, in libpthread's data before), and
 *     again every neighbour must point back and every element look like a struct pthread.
 *  3. stackblock, stackblock_size and guardsize are three words in a row of which the first two
 *     must enclose the struct itself; every element votes.
 * What does not verify is not used; stacks.c then falls back to the mappings.
 * Called by stacks.c.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "regions/regions_impl.h"

enum {
	MOST_VOTERS = 64,
	STRUCT_BYTES = 0x1000,  // struct pthread is 0x900 in 2.36 on x86-64
	HEADS_NEAR = 32 * 1024, // how far apart the heads of the lists may lie
	MOST_THREADS = 4 << 20, // threads-max of the kernel allows no more
	MOST_STACK_BYTES_LOG2 = 40,
	MOST_BEHIND_BYTES = 64 * 1024, // the struct, alignment; on some CPUs static TLS
};

struct nptl {
	struct regions_own *own;
	struct target *target;
	unsigned word;
	int64_t thread_to_control; // struct pthread = thread pointer + this
	uint64_t list_offset, tid_offset, block_offset;
	bool has_tid, has_block;
	VEC(uint64_t) controls; // every struct pthread found
	VEC(uint64_t) heads;
};

static uint64_t word_of(const struct nptl *nptl, const uint8_t *bytes)
{
	uint64_t wide;
	uint32_t narrow;

	if (nptl->word == 8) {
		memcpy(&wide, bytes, 8);
		return wide;
	}
	memcpy(&narrow, bytes, 4);
	return narrow;
}

static bool read_word(const struct nptl *nptl, uint64_t address, uint64_t *ret)
{
	return address % nptl->word == 0 && !target_read_word(nptl->target, address, ret);
}

// Whether both neighbours of a list node point back to it, and it is not its own neighbour.
static bool node_is_linked(const struct nptl *nptl, uint64_t node)
{
	uint64_t next, previous, back, forth;

	return read_word(nptl, node, &next) && next && next != node &&
	       read_word(nptl, node + nptl->word, &previous) && previous &&
	       read_word(nptl, next + nptl->word, &back) && back == node &&
	       read_word(nptl, previous, &forth) && forth == node;
}

// The offset of a field in libc's table for thread_db: three numbers, the last one is it.
static bool table_offset(const struct nptl *nptl, const char *name, uint64_t *ret)
{
	uint64_t address, bytes;
	uint32_t entry[3];

	if (symbols_find(nptl->own->symbols, NULL, name, &address, &bytes) ||
	    target_read(nptl->target, address, entry, sizeof(entry)) || entry[2] > STRUCT_BYTES * 4)
		return false;
	*ret = entry[2];
	return true;
}

// --- votes of the live threads -------------------------------------------------------------------

struct ballot {
	unsigned votes[STRUCT_BYTES / 4];
};

static bool ballot_winner(const struct ballot *ballot, uint64_t *ret)
{
	size_t best = 0;

	for (size_t i = 1; i < STRUCT_BYTES / 4; i++)
		if (ballot->votes[i] > ballot->votes[best])
			best = i;
	*ret = best * 4;
	return ballot->votes[best] > 0;
}

static bool thread_control(const struct nptl *nptl, size_t thread, uint64_t *ret)
{
	uint64_t tp = nptl->target->threads[thread].tp;

	*ret = tp + (uint64_t)nptl->thread_to_control;
	return tp != 0;
}

static void vote_for_list(const struct nptl *nptl, uint64_t control, struct ballot *ballot)
{
	uint8_t bytes[STRUCT_BYTES];
	size_t n = target_read_some(nptl->target, control, bytes, sizeof(bytes));

	for (size_t at = 0; at + 2 * nptl->word <= n; at += nptl->word) {
		uint64_t next = word_of(nptl, bytes + at);

		if (next > 4096 && next % nptl->word == 0 && node_is_linked(nptl, control + at))
			ballot->votes[at / 4]++;
	}
}

static bool find_list_offset(struct nptl *nptl, struct arena *arena)
{
	struct ballot *ballot = arena_alloc(arena, sizeof(*ballot));
	uint64_t control;
	size_t voters = 0;

	if (table_offset(nptl, "_thread_db_pthread_list", &nptl->list_offset))
		return true;
	for (size_t i = 0; i < nptl->target->thread_count && voters < MOST_VOTERS; i++) {
		if (!thread_control(nptl, i, &control))
			continue;
		vote_for_list(nptl, control, ballot);
		voters++;
	}
	return ballot_winner(ballot, &nptl->list_offset);
}

static void vote_for_tid(const struct nptl *nptl, uint64_t control, uint32_t tid,
                         struct ballot *ballot)
{
	uint8_t bytes[STRUCT_BYTES];
	size_t n = target_read_some(nptl->target, control, bytes, sizeof(bytes));

	for (size_t at = 0; at + 4 <= n; at += 4)
		if (memcmp(bytes + at, &tid, 4) == 0)
			ballot->votes[at / 4]++;
}

static void find_tid_offset(struct nptl *nptl, struct arena *arena)
{
	struct ballot *ballot = arena_alloc(arena, sizeof(*ballot));
	uint64_t control;

	nptl->has_tid = table_offset(nptl, "_thread_db_pthread_tid", &nptl->tid_offset);
	if (nptl->has_tid)
		return;
	for (size_t i = 0; i < nptl->target->thread_count && i < MOST_VOTERS; i++)
		if (thread_control(nptl, i, &control))
			vote_for_tid(nptl, control, (uint32_t)nptl->target->threads[i].own_tid,
			             ballot);
	nptl->has_tid = ballot_winner(ballot, &nptl->tid_offset);
}

// --- the lists -----------------------------------------------------------------------------------

static bool in_module(const struct nptl *nptl, uint64_t address)
{
	return symbols_module_at(nptl->own->symbols, address) ||
	       regions_part_at(nptl->own, address, 1u << PART_WRITABLE | 1u << PART_BSS);
}

// On x86 the struct begins with the thread control block, whose first and third word are its own
// address (nptl/descr.h, sysdeps/x86_64/nptl/tls.h); other CPUs have no such mark.
static bool looks_like_control(const struct nptl *nptl, uint64_t control)
{
	uint64_t tcb, self;

	if (nptl->thread_to_control)
		return node_is_linked(nptl, control + nptl->list_offset);
	return read_word(nptl, control, &tcb) && tcb == control &&
	       read_word(nptl, control + 2 * nptl->word, &self) && self == control;
}

static int compare_words(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static bool knows_control(const struct nptl *nptl, uint64_t control)
{
	return nptl->controls.n && bsearch(&control, nptl->controls.v, nptl->controls.n,
	                                   sizeof(control), compare_words);
}

// Adds every element of the list at head; a list that is damaged somewhere adds nothing.
static void collect_list(struct nptl *nptl, uint64_t head)
{
	size_t before = nptl->controls.n;
	uint64_t node = head;

	for (size_t i = 0; i < nptl->heads.n; i++)
		if (nptl->heads.v[i] == head)
			return;
	while (read_word(nptl, node, &node) && node != head) {
		uint64_t control = node - nptl->list_offset;

		if (nptl->controls.n - before >= MOST_THREADS || !looks_like_control(nptl, control))
			break;
		vec_push(&nptl->controls, control);
	}
	if (node != head) {
		nptl->controls.n = before;
		return;
	}
	vec_push(&nptl->heads, head);
	if (nptl->controls.n)
		qsort(nptl->controls.v, nptl->controls.n, sizeof(*nptl->controls.v), compare_words);
}

// Walks from an element to the first node that lies in a module: the head of its list.
static bool find_head(const struct nptl *nptl, uint64_t control, uint64_t *ret)
{
	uint64_t node = control + nptl->list_offset;

	for (size_t i = 0; i < MOST_THREADS; i++) {
		if (!node_is_linked(nptl, node) || !read_word(nptl, node, &node) ||
		    node == control + nptl->list_offset)
			return false;
		if (in_module(nptl, node)) {
			*ret = node;
			return true;
		}
	}
	return false;
}

static void collect_from_threads(struct nptl *nptl)
{
	for (size_t i = 0; i < nptl->target->thread_count; i++) {
		uint64_t control, head;

		if (thread_control(nptl, i, &control) && !knows_control(nptl, control) &&
		    looks_like_control(nptl, control) && find_head(nptl, control, &head))
			collect_list(nptl, head);
	}
}

// Tries every word near a head as another head.
static void collect_near(struct nptl *nptl, uint64_t head)
{
	uint8_t *bytes = arena_alloc(&nptl->own->arena, 2 * HEADS_NEAR);
	const struct target_segment *segment = target_segment_at(nptl->target, head);
	uint64_t start = segment && head - segment->start > HEADS_NEAR ? head - HEADS_NEAR
	                 : segment                                     ? segment->start
	                                                               : head;
	size_t n = target_read_some(nptl->target, start, bytes, 2 * HEADS_NEAR);

	for (size_t at = 0; at + 2 * nptl->word <= n; at += nptl->word) {
		uint64_t next = word_of(nptl, bytes + at);
		uint64_t previous = word_of(nptl, bytes + at + nptl->word);

		if (next < 4096 || previous < 4096 || (next | previous) % nptl->word ||
		    start + at == head || !looks_like_control(nptl, next - nptl->list_offset) ||
		    !node_is_linked(nptl, start + at))
			continue;
		collect_list(nptl, start + at);
	}
}

// A head that refers to an element which does not refer back: its memory is missing (gdb's gcore
// leaves out mappings with guard pages inside, such as the stacks of glibc 2.42).
static void collect_head(struct nptl *nptl, uint64_t head)
{
	uint64_t next;

	if (node_is_linked(nptl, head))
		collect_list(nptl, head);
	else if (read_word(nptl, head, &next) && next && next != head)
		nptl->own->open.warning = arena_format(
			&nptl->own->arena,
			"libc's list of thread stacks at 0x%" PRIx64
			" leads to memory that is missing here: what only these stacks refer to looks "
			"leaked",
			head);
}

// Heads that symbols name. Since 2.34 the cache's head follows the two that libc's table tells
// (sysdeps/generic/ldsodefs.h); before, they are variables of libpthread.
static void collect_from_symbols(struct nptl *nptl)
{
	static const char *const variables[] = { "stack_used",     "stack_cache",
		                                 "__stack_user",   "_dl_stack_used",
		                                 "_dl_stack_user", "_dl_stack_cache" };
	struct symbols *symbols = nptl->own->symbols;
	uint64_t global, used, user, bytes, address;

	if (!symbols_find(symbols, NULL, "_rtld_global", &global, &bytes) &&
	    table_offset(nptl, "_thread_db_rtld_global__dl_stack_used", &used) &&
	    table_offset(nptl, "_thread_db_rtld_global__dl_stack_user", &user)) {
		uint64_t heads[] = { global + used, global + user, global + user + 2 * nptl->word };

		for (size_t i = 0; i < 3; i++)
			collect_head(nptl, heads[i]);
		return;
	}
	for (size_t i = 0; i < sizeof(variables) / sizeof(*variables); i++)
		if (!symbols_find(symbols, NULL, variables[i], &address, &bytes) &&
		    node_is_linked(nptl, address))
			collect_list(nptl, address);
}

// --- the stacks ----------------------------------------------------------------------------------

// Whether three words can be stackblock, stackblock_size and guardsize of the struct at control: the
// block begins below it and ends a little behind it.
static bool encloses(const struct nptl *nptl, uint64_t control, uint64_t block, uint64_t bytes,
                     uint64_t guard)
{
	uint64_t least = nptl->list_offset + 2 * nptl->word, behind;

	if (!block || block % 16 || bytes >> MOST_STACK_BYTES_LOG2 || guard >= bytes ||
	    control <= block || control - block >= bytes)
		return false;
	behind = bytes - (control - block);
	return behind >= least && behind <= MOST_BEHIND_BYTES;
}

static void vote_for_block(const struct nptl *nptl, uint64_t control, struct ballot *ballot)
{
	uint8_t bytes[STRUCT_BYTES];
	size_t n = target_read_some(nptl->target, control, bytes, sizeof(bytes));

	for (size_t at = 0; at + 3 * nptl->word <= n; at += nptl->word)
		if (encloses(nptl, control, word_of(nptl, bytes + at),
		             word_of(nptl, bytes + at + nptl->word),
		             word_of(nptl, bytes + at + 2 * nptl->word)))
			ballot->votes[at / 4]++;
}

static void find_block_offset(struct nptl *nptl, struct arena *arena)
{
	struct ballot *ballot = arena_alloc(arena, sizeof(*ballot));

	for (size_t i = 0; i < nptl->controls.n && i < 8 * MOST_VOTERS; i++)
		vote_for_block(nptl, nptl->controls.v[i], ballot);
	nptl->has_block = ballot_winner(ballot, &nptl->block_offset);
}

static bool find_thread(const struct nptl *nptl, uint64_t control, int *ret)
{
	const struct target *target = nptl->target;
	uint32_t tid = 0;

	*ret = -1;
	if (nptl->has_tid && target_read(nptl->target, control + nptl->tid_offset, &tid, 4))
		tid = 0;
	for (size_t i = 0; i < target->thread_count && *ret < 0; i++) {
		const struct target_thread *thread = &target->threads[i];

		if (thread->tp ? thread->tp + (uint64_t)nptl->thread_to_control == control
		               : tid && (uint32_t)thread->own_tid == tid)
			*ret = (int)i;
	}
	return *ret >= 0;
}

// Static TLS lies right below the control block on x86: it begins where the lowest block does that
// the thread's vector of TLS blocks (dtv) tells. Elsewhere it lies behind it.
static uint64_t find_tls_start(const struct nptl *nptl, uint64_t control, uint64_t lowest)
{
	uint64_t dtv, count, value, start = control;

	if (nptl->thread_to_control || !read_word(nptl, control + nptl->word, &dtv) ||
	    !read_word(nptl, dtv - 2 * nptl->word, &count) || count > 1 << 16)
		return control;
	for (uint64_t i = 1; i <= count; i++)
		if (read_word(nptl, dtv + 2 * i * nptl->word, &value) && value >= lowest &&
		    value < start && control - value < 1 << 20)
			start = value;
	return start;
}

static void add_area(struct nptl *nptl, uint64_t control, int thread)
{
	const struct target_segment *segment = target_segment_at(nptl->target, control);
	uint64_t end = control + STRUCT_BYTES;

	if (!segment)
		return;
	nptl->own->areas[thread] = (struct thread_area){
		.start = find_tls_start(nptl, control, segment->start),
		.end = end < segment->end ? end : segment->end,
	};
}

static void add_stack(struct nptl *nptl, uint64_t control, bool all_known)
{
	uint64_t block, bytes, guard, at = control + nptl->block_offset;
	struct stack stack = { 0 };
	bool live = find_thread(nptl, control, &stack.thread);

	if (!nptl->has_block || !read_word(nptl, at, &block) ||
	    !read_word(nptl, at + nptl->word, &bytes) ||
	    !read_word(nptl, at + 2 * nptl->word, &guard) ||
	    !encloses(nptl, control, block, bytes, guard)) {
		if (live) // the main thread: libc did not make its stack
			add_area(nptl, control, stack.thread);
		return;
	}
	stack.guard_start = block;
	stack.start = block + guard;
	stack.end = block + bytes;
	stack.tls_start = find_tls_start(nptl, control, stack.start);
	stack.dead = !live && all_known;
	if (stack.start > control || !target_segment_at(nptl->target, control))
		return;
	vec_push(&nptl->own->stacks, stack);
	if (live)
		nptl->own->areas[stack.thread] = (struct thread_area){ stack.tls_start, stack.end };
}

// Whether every live thread can be told from its struct, so that all others have ended.
static bool threads_are_known(const struct nptl *nptl)
{
	for (size_t i = 0; i < nptl->target->thread_count; i++)
		if (!nptl->target->threads[i].tp && !nptl->has_tid)
			return false;
	return nptl->target->thread_count > 0;
}

// aarch64 keeps struct pthread right below the thread pointer, x86 at it.
static bool find_control_distance(struct nptl *nptl)
{
	uint64_t address, bytes;
	uint32_t size;

	if (strcmp(nptl->target->cpu, "x86_64") == 0 || strcmp(nptl->target->cpu, "i386") == 0)
		return true;
	if (symbols_find(nptl->own->symbols, NULL, "_thread_db_sizeof_pthread", &address, &bytes) ||
	    target_read(nptl->target, address, &size, sizeof(size)) || size > STRUCT_BYTES)
		return false;
	nptl->thread_to_control = -(int64_t)size;
	return true;
}

void regions_find_nptl_stacks(struct regions_own *own)
{
	struct nptl nptl = { .own = own,
		             .target = own->open.target,
		             .word = own->open.target->word_bytes };

	if (!nptl.target->cpu || nptl.target->big_endian || !find_control_distance(&nptl) ||
	    !find_list_offset(&nptl, &own->arena))
		return;
	vec_init(&nptl.controls, own->arena.ar_source);
	vec_init(&nptl.heads, own->arena.ar_source);
	find_tid_offset(&nptl, &own->arena);
	collect_from_symbols(&nptl);
	collect_from_threads(&nptl);
	for (size_t i = 0, n = nptl.heads.n; i < n; i++)
		collect_near(&nptl, nptl.heads.v[i]);
	find_block_offset(&nptl, &own->arena);
	for (size_t i = 0; i < nptl.controls.n; i++)
		add_stack(&nptl, nptl.controls.v[i], threads_are_known(&nptl));
	vec_deinit(&nptl.controls);
	vec_deinit(&nptl.heads);
}
