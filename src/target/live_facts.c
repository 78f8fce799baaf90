// SPDX-License-Identifier: MIT
// What a live process says about itself without being stopped. Called by live.c
// before the stop, and after it for the threads.
#include "target/target_impl.h"

#include <stdio.h>
#include <string.h>

// --- the process ---------------------------------------------------------------------------------
// A main thread that has ended has no memory any more, though its process may live on.
static struct error *choose_memory_tid(struct live *live)
{
	live->memory_tid = live->process.memory_tid;
	if (live->process.state == 'Z' || live->process.state == 'X')
		return error_new(ERROR_GONE, "process %d has ended", live->pid);
	return NULL;
}

static void read_names(struct live *live)
{
	struct target *target = live->target;
	struct os_process parent;

	target->name = arena_copy(target->arena, live->process.name);
	target->path = os_process_path(target->arena, live->memory_tid);
	target->parent_pid = live->process.parent_pid;
	if (target->parent_pid && !os_process_read(target->parent_pid, &parent))
		target->parent_name = arena_copy(target->arena, parent.name);
}

static void read_sizes(struct live *live)
{
	const struct os_process *process = &live->process;

	live->target->footprint_bytes = process->anonymous_bytes + process->swapped_bytes;
	live->target->footprint_peak_bytes = process->resident_peak_bytes;
	live->target->launched_ns = process->launched_ns;
	live->target->looked_ns = os_wall_ns();
}

static struct error *read_machine(struct live *live)
{
	struct target *target = live->target;
	unsigned word_bytes;
	uint16_t machine;

	TRY(os_process_machine(live->memory_tid, &machine, &word_bytes));
	live->cpu = os_cpu_of_machine(machine, word_bytes);
	if (!live->cpu)
		return error_new(ERROR_UNSUPPORTED,
		                 "process %d runs code of a machine that is not known here (%u)",
		                 live->pid, machine);
	target->word_bytes = word_bytes;
	target->cpu = live->cpu->name;
	return NULL;
}

static struct error *read_auxv(struct live *live)
{
	struct target *target = live->target;
	uint64_t *auxv;

	TRY(os_process_auxv(target->arena, live->memory_tid, target->word_bytes, &auxv,
	                    &target->auxv_count));
	target->auxv = auxv;
	return NULL;
}

bool live_has_restarted(struct live *live)
{
	struct target *target = live->target;
	struct arena scratch;
	uint64_t *auxv;
	size_t count;
	bool same;

	if (!target->auxv)
		return false;
	arena_init(&scratch, &os_page_source);
	same = !os_process_auxv(&scratch, live->memory_tid, target->word_bytes, &auxv, &count) &&
	       count == target->auxv_count &&
	       !memcmp(auxv, target->auxv, count * 2 * sizeof(*auxv));
	arena_deinit(&scratch);
	return !same;
}

static void read_kernel_roots(struct live *live)
{
	struct target *target = live->target;
	struct target_kernel_root *roots;
	struct os_held *held;
	size_t count;

	if (os_held_read(target->arena, live->memory_tid, &held, &count)) {
		target_warn(target,
		            "what the kernel holds for the process (epoll, timers) cannot be read");
		return;
	}
	roots = arena_array(target->arena, count, sizeof(*roots));
	for (size_t i = 0; i < count; i++)
		roots[i] = (struct target_kernel_root){ held[i].value, held[i].what };
	target->kernel_roots = roots;
	target->kernel_root_count = count;
	target->kernel_roots_known = true;
}

// --- threads -------------------------------------------------------------------------------------
static void add_thread(struct live *live, int tid)
{
	struct target_thread thread = { .tid = tid, .own_tid = tid, .state = '?' };
	struct os_process read;

	if (!os_thread_read(live->pid, tid, &read)) {
		thread.own_tid = read.own_pid;
		thread.state = read.state;
		memcpy(thread.name, read.name, sizeof(thread.name));
	}
	vec_push(&live->threads, thread);
}

static bool add_listed_thread(void *context, int tid)
{
	add_thread(context, tid);
	return true;
}

static struct error *read_threads(struct live *live)
{
	struct target *target = live->target;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task", live->pid);
	live->threads.n = 0;
	TRY(os_each_number(path, add_listed_thread, live));
	target->threads = live->threads.v;
	target->thread_count = live->threads.n;
	return NULL;
}

// The listed threads come in the order in which a stop finds them, so the search starts where the
// last one ended.
static size_t find_thread(struct live *live, int tid, size_t hint)
{
	for (size_t i = 0; i < live->threads.n; i++) {
		size_t at = (hint + i) % live->threads.n;

		if (live->threads.v[at].tid == tid)
			return at;
	}
	add_thread(live, tid);
	live->threads.v[live->threads.n - 1].state = '?'; // it is the state before the stop
	return live->threads.n - 1;
}

static void take_registers(struct target *target, const struct stop *stop,
                           const struct stop_thread *from, struct target_thread *ret)
{
	uint64_t *registers;

	ret->sp = from->sp;
	ret->pc = from->pc;
	ret->tp = from->tp;
	ret->has_registers = from->has_registers;
	if (!from->has_registers)
		return;
	registers = arena_array(target->arena, from->register_count, sizeof(*registers));
	memcpy(registers, from->registers, from->register_count * sizeof(*registers));
	ret->registers = registers;
	ret->register_count = from->register_count;
	if (from->vector_bytes) {
		uint8_t *vector = arena_alloc(target->arena, from->vector_bytes);

		memcpy(vector, stop->vectors.v + from->vector_offset, from->vector_bytes);
		ret->vector = vector;
		ret->vector_bytes = from->vector_bytes;
	}
}

void live_set_threads(struct live *live, const struct stop *stop)
{
	struct target *target = live->target;
	struct target_thread *threads =
		arena_array(target->arena, stop->threads.n, sizeof(*threads));
	size_t at = 0;

	for (size_t i = 0; i < stop->threads.n; i++) {
		at = find_thread(live, stop->threads.v[i].tid, at);
		threads[i] = live->threads.v[at++];
		take_registers(target, stop, &stop->threads.v[i], &threads[i]);
	}
	target->threads = threads;
	target->thread_count = stop->threads.n;
}

struct error *live_read_facts(struct live *live)
{
	live->target->pid = live->pid;
	TRY(os_process_read(live->pid, &live->process));
	TRY(choose_memory_tid(live));
	read_names(live);
	read_sizes(live);
	TRY(read_machine(live));
	TRY(read_auxv(live));
	TRY(read_threads(live));
	if (live->options.want & TARGET_WANT_KERNEL_ROOTS)
		read_kernel_roots(live);
	return NULL;
}
