// SPDX-License-Identifier: MIT
// Which memory is the stack of which thread. libc's own lists come first (nptl.c); a thread that
// they do not name gets the mapping that its stack pointer or thread pointer lies in. Called by
// regions.c.
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/search.h"
#include "regions/regions_impl.h"

bool regions_is_main_thread(const struct target *target, size_t thread)
{
	return target->pid ? target->threads[thread].tid == target->pid : thread == 0;
}

static int compare_stacks(const void *a, const void *b)
{
	const struct stack *x = a, *y = b;

	return (x->start > y->start) - (x->start < y->start);
}

static void sort_stacks(struct regions_own *own)
{
	size_t kept = 0;

	if (own->stacks.n)
		qsort(own->stacks.v, own->stacks.n, sizeof(*own->stacks.v), compare_stacks);
	for (size_t i = 0; i < own->stacks.n; i++) {
		const struct stack *stack = &own->stacks.v[i];

		if (kept && own->stacks.v[kept - 1].end > stack->guard_start)
			continue; // two that overlap cannot both be true
		own->stacks.v[kept++] = *stack;
	}
	own->stacks.n = kept;
}

const struct stack *regions_stack_in(const struct regions_own *own, uint64_t start, uint64_t end)
{
	size_t at = first_index(own->stacks.n, i, own->stacks.v[i].end > start);

	return at < own->stacks.n && own->stacks.v[at].guard_start < end ? &own->stacks.v[at]
	                                                                 : NULL;
}

static bool may_be_stack(const struct target_segment *segment)
{
	return segment && !segment->file && !segment->shared &&
	       segment->protection & TARGET_WRITE &&
	       !(segment->name && strcmp(segment->name, "[heap]") == 0);
}

// The part of a segment around address that no heap and no other stack owns.
static bool part_around(const struct regions_own *own, const struct target_segment *segment,
                        uint64_t address, struct stack *ret)
{
	const struct heaps *heaps = own->open.heaps;

	*ret = (struct stack){ .start = segment->start, .end = segment->end, .thread = -1 };
	for (size_t i = 0; heaps && i < heaps->range_count; i++) {
		if (address >= heaps->ranges[i].start && address < heaps->ranges[i].end)
			return false;
		if (heaps->ranges[i].end <= address && heaps->ranges[i].end > ret->start)
			ret->start = heaps->ranges[i].end;
		if (heaps->ranges[i].start > address && heaps->ranges[i].start < ret->end)
			ret->end = heaps->ranges[i].start;
	}
	for (size_t i = 0; i < own->stacks.n; i++) {
		if (address >= own->stacks.v[i].guard_start && address < own->stacks.v[i].end)
			return false;
		if (own->stacks.v[i].end <= address && own->stacks.v[i].end > ret->start)
			ret->start = own->stacks.v[i].end;
		if (own->stacks.v[i].guard_start > address &&
		    own->stacks.v[i].guard_start < ret->end)
			ret->end = own->stacks.v[i].guard_start;
	}
	ret->guard_start = ret->start;
	ret->tls_start = ret->end;
	return true;
}

// A mapping without access right below a stack is its guard, when it has the size of one.
static void add_guard_below(const struct regions_own *own, struct stack *stack)
{
	const struct target_segment *below =
		stack->start ? target_segment_at(own->open.target, stack->start - 1) : NULL;

	if (below && below->end == stack->start && !below->file && !below->protection &&
	    below->end - below->start <= 1 << 20)
		stack->guard_start = below->start;
}

static bool add_mapping(struct regions_own *own, uint64_t address, int thread)
{
	const struct target_segment *segment = target_segment_at(own->open.target, address);
	struct stack stack;

	if (!may_be_stack(segment) || !part_around(own, segment, address, &stack))
		return false;
	stack.thread = thread;
	add_guard_below(own, &stack);
	vec_push(&own->stacks, stack);
	sort_stacks(own);
	return true;
}

// The kernel puts the program's strings and random bytes at the top of the first thread's stack.
static uint64_t address_on_main_stack(const struct target *target)
{
	uint64_t address;

	for (size_t i = 0; i < target->segment_count; i++)
		if (target->segments[i].name && strcmp(target->segments[i].name, "[stack]") == 0)
			return target->segments[i].start;
	address = target_auxv(target, AT_RANDOM);
	return address ? address : target_auxv(target, AT_EXECFN);
}

static bool has_stack(const struct regions_own *own, int thread)
{
	for (size_t i = 0; i < own->stacks.n; i++)
		if (own->stacks.v[i].thread == thread)
			return true;
	return false;
}

// A thread without a place on libc's lists: musl, Go, or a library that could not be verified.
static void add_by_pointers(struct regions_own *own, size_t thread)
{
	const struct target *target = own->open.target;
	const struct target_thread *one = &target->threads[thread];
	const struct target_segment *area = one->tp ? target_segment_at(target, one->tp) : NULL;

	if (regions_is_main_thread(target, thread))
		return;
	// The thread's own stack is where its control block is; sp may be on another one.
	if (area && may_be_stack(area) && add_mapping(own, one->tp, (int)thread))
		return;
	if (one->sp)
		add_mapping(own, one->sp, (int)thread);
}

static void add_main(struct regions_own *own)
{
	const struct target *target = own->open.target;
	uint64_t address = address_on_main_stack(target);
	int main_thread = -1;

	for (size_t i = 0; i < target->thread_count && main_thread < 0; i++)
		if (regions_is_main_thread(target, i))
			main_thread = (int)i;
	if (address)
		add_mapping(own, address, main_thread);
	else if (main_thread >= 0 && target->threads[main_thread].sp)
		add_mapping(own, target->threads[main_thread].sp, main_thread);
}

void regions_find_stacks(struct regions_own *own)
{
	const struct target *target = own->open.target;

	regions_find_nptl_stacks(own);
	sort_stacks(own);
	add_main(own);
	for (size_t i = 0; i < target->thread_count; i++)
		if (!has_stack(own, (int)i))
			add_by_pointers(own, i);
}
