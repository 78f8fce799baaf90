// SPDX-License-Identifier: MIT
/*
 * The roots of the leak search: which bytes are scanned, which single words are followed.
 *
 * Everything that the program can read and that is no heap is a root, for a pointer in memory of
 * which we know nothing may be one that the program uses: writable data of modules, unknown, shared
 * and named mappings, memory that was made read-only. The exceptions:
 *  - Of a live stack only what lies above the stack pointer (and the red zone below it). When the
 *    stack pointer is on another stack (a coroutine, sigaltstack) the thread's own counts whole.
 *  - Of the stack of an ended thread only libc's control block and static TLS: they keep the vector
 *    of TLS blocks, which is a block of the heap, while the frames are history.
 *  - Memory of allocators, without access, of devices, of code and constants of files.
 * Stacks inside a block of the heap are no ranges: the stack pointer is a value that reaches it.
 */
#include <elf.h>
#include <string.h>

#include "base/checked.h"
#include "base/search.h"
#include "os/os.h"
#include "regions/regions_impl.h"

enum { RED_ZONE_BYTES = 128, LEAST_POINTER = 4096 };

static const struct os_cpu *cpu_of(const struct target *target)
{
	static const uint16_t machines[] = { EM_X86_64, EM_386, EM_AARCH64, EM_ARM };

	for (size_t i = 0; target->cpu && i < sizeof(machines) / sizeof(*machines); i++) {
		const struct os_cpu *cpu = os_cpu_of_machine(machines[i], target->word_bytes);

		if (cpu && strcmp(cpu->name, target->cpu) == 0)
			return cpu;
	}
	return NULL;
}

// --- ranges --------------------------------------------------------------------------------------

struct scan_part {
	uint32_t region;
	enum root_kind kind;
	int thread;
};

static void push_range(struct regions_own *own, uint64_t start, uint64_t end, struct scan_part part)
{
	struct root_range *last =
		own->root_ranges.n ? &own->root_ranges.v[own->root_ranges.n - 1] : NULL;

	start = round_up(start, own->open.target->word_bytes);
	if (start >= end)
		return;
	if (last && last->end == start && last->region == part.region && last->kind == part.kind &&
	    last->thread == part.thread) {
		last->end = end;
		return;
	}
	vec_push(&own->root_ranges,
	         ((struct root_range){ start, end, part.kind, part.region, part.thread }));
}

// Pushes [start, end) without what belongs to allocators.
static void push_outside_heaps(struct regions_own *own, uint64_t start, uint64_t end,
                               struct scan_part part)
{
	const struct heaps *heaps = own->open.heaps;
	size_t at = first_index(heaps ? heaps->range_count : 0, i, heaps->ranges[i].end > start);

	for (; heaps && at < heaps->range_count && heaps->ranges[at].start < end; at++) {
		if (heaps->ranges[at].start > start)
			push_range(own, start, heaps->ranges[at].start, part);
		start = heaps->ranges[at].end;
	}
	if (start < end)
		push_range(own, start, end, part);
}

// Pushes [start, end), in which the control blocks and TLS of threads get their own kind.
static void push_with_areas(struct regions_own *own, uint64_t start, uint64_t end,
                            struct scan_part part)
{
	const struct target *target = own->open.target;

	for (size_t i = 0; i < target->thread_count && start < end; i++) {
		const struct thread_area *area = &own->areas[i];
		struct scan_part tls = { part.region, ROOT_TLS, (int)i };
		uint64_t tls_start, tls_end;

		if (area->end <= start || area->start >= end || area->start >= area->end ||
		    (part.thread >= 0 && part.thread != (int)i))
			continue;
		tls_start = area->start > start ? area->start : start;
		tls_end = area->end < end ? area->end : end;
		push_outside_heaps(own, start, tls_start, part);
		push_outside_heaps(own, tls_start, tls_end, tls);
		start = tls_end;
	}
	if (start < end)
		push_outside_heaps(own, start, end, part);
}

// From where a live stack counts: below its stack pointer lies only what functions left behind.
static uint64_t live_start(const struct regions_own *own, const struct stack *stack)
{
	const struct target *target = own->open.target;
	const struct target_thread *thread;

	if (stack->thread < 0)
		return stack->start;
	thread = &target->threads[stack->thread];
	if (!thread->sp || thread->sp < stack->start || thread->sp >= stack->end)
		return stack->start;
	return thread->sp - stack->start > RED_ZONE_BYTES ? thread->sp - RED_ZONE_BYTES
	                                                  : stack->start;
}

static uint64_t larger(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void push_stack(struct regions_own *own, const struct region *region, uint32_t index)
{
	const struct stack *stack = regions_stack_in(own, region->start, region->end);
	struct scan_part part = { index, ROOT_STACK, region->thread };
	struct scan_part neighbour = { index, ROOT_MAPPING, -1 };
	uint64_t start = region->start;

	if (stack) { // stacks that the program supplied may share their first and last page
		push_outside_heaps(own, region->start, smaller(stack->guard_start, region->end),
		                   neighbour);
		start = region->kind == REGION_DEAD_STACK ? stack->tls_start
		                                          : live_start(own, stack);
		start = larger(start, region->start);
	}
	if (region->kind == REGION_DEAD_STACK)
		part.kind = ROOT_TLS;
	push_with_areas(own, start, stack ? smaller(stack->end, region->end) : region->end, part);
	if (stack)
		push_outside_heaps(own, larger(stack->end, region->start), region->end, neighbour);
}

// Whether another thread's stack pointer lies in a mapping that is nobody's own stack, and which.
static int visiting_thread(const struct regions_own *own, const struct region *region)
{
	const struct target *target = own->open.target;

	for (size_t i = 0; i < target->thread_count; i++)
		if (target->threads[i].sp >= region->start && target->threads[i].sp < region->end)
			return (int)i;
	return -1;
}

static void push_mapping(struct regions_own *own, const struct region *region, uint32_t index)
{
	bool writable = region->segment->protection & TARGET_WRITE;
	struct scan_part part = { index, writable ? ROOT_MAPPING : ROOT_READ_ONLY, -1 };

	part.thread = visiting_thread(own, region);
	if (part.thread >= 0)
		part.kind = ROOT_STACK;
	push_with_areas(own, region->start, region->end, part);
}

// A file's own pages hold no pointers of ours unless it may be written, or was before it was made
// read-only (relocated constants, data that the program froze).
static bool file_counts(const struct region *region)
{
	const struct target_segment *segment = region->segment;

	if (segment->protection & TARGET_WRITE)
		return true;
	return !segment->shared && region->has_pages && region->pages.anonymous;
}

static void push_region(struct regions_own *own, const struct region *region, uint32_t index)
{
	struct scan_part data = { index, ROOT_DATA, -1 };

	if (!(region->segment->protection & TARGET_READ) || !region->segment->readable)
		return;
	switch (region->kind) {
	case REGION_STACK:
	case REGION_DEAD_STACK:
		push_stack(own, region, index);
		break;
	case REGION_DATA:
	case REGION_BSS:
		push_with_areas(own, region->start, region->end, data);
		break;
	case REGION_CONST:
		data.kind = ROOT_READ_ONLY;
		if (strcmp(region->type, "__DATA_CONST") == 0 || file_counts(region))
			push_outside_heaps(own, region->start, region->end, data);
		break;
	case REGION_MAPPED_FILE:
		if (file_counts(region))
			push_mapping(own, region, index);
		break;
	// Pages of a heap may hold more than the heap: TLS of a static program, other users of brk.
	case REGION_MALLOC:
	case REGION_MALLOC_META:
	case REGION_SHARED_MEMORY:
	case REGION_MEMFD:
	case REGION_NAMED:
	case REGION_ANONYMOUS:
		push_mapping(own, region, index);
		break;
	default: // guards, code, vdso, devices
		break;
	}
}

// --- values --------------------------------------------------------------------------------------

static void push_value(struct regions_own *own, uint64_t value, enum root_kind kind, int thread,
                       const char *what)
{
	if (value >= LEAST_POINTER)
		vec_push(&own->root_values, ((struct root_value){ value, kind, thread, what }));
}

static void push_vector(struct regions_own *own, const struct target_thread *thread, int index)
{
	unsigned word = own->open.target->word_bytes;

	for (size_t at = 0; at + word <= thread->vector_bytes; at += word) {
		uint64_t wide = 0;

		memcpy(&wide, thread->vector + at, word); // targets are little-endian
		push_value(own, wide, ROOT_REGISTER, index, NULL);
	}
}

static void push_registers(struct regions_own *own, const struct os_cpu *cpu, size_t index)
{
	const struct target_thread *thread = &own->open.target->threads[index];

	for (unsigned i = 0; i < thread->register_count; i++)
		push_value(own, thread->registers[i], ROOT_REGISTER, (int)index,
		           cpu && i < cpu->register_count ? cpu->register_names[i] : "register");
	push_vector(own, thread, (int)index);
	// A target that is held by somebody else tells these two only; either may lie in a block.
	if (!thread->register_count)
		push_value(own, thread->sp, ROOT_REGISTER, (int)index, "stack pointer");
	push_value(own, thread->tp, ROOT_REGISTER, (int)index, "thread pointer");
}

static void gather_roots(struct regions_own *own)
{
	const struct target *target = own->open.target;
	const struct os_cpu *cpu = cpu_of(target);

	for (size_t i = 0; i < own->list.n; i++)
		push_region(own, &own->list.v[i], (uint32_t)i);
	for (size_t i = 0; i < target->thread_count; i++)
		push_registers(own, cpu, i);
	for (size_t i = 0; i < target->kernel_root_count; i++)
		push_value(own, target->kernel_roots[i].value, ROOT_KERNEL, -1,
		           target->kernel_roots[i].what);
}

struct error *regions_roots(struct regions *regions, const struct roots **ret)
{
	struct regions_own *own = regions_own(regions);

	if (!own->has_roots)
		gather_roots(own);
	own->has_roots = true;
	own->roots = (struct roots){
		.ranges = own->root_ranges.v,
		.range_count = own->root_ranges.n,
		.values = own->root_values.v,
		.value_count = own->root_values.n,
	};
	*ret = &own->roots;
	return NULL;
}
