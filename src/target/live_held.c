// SPDX-License-Identifier: MIT
// A process that somebody else traces: a debugger that holds it stopped, or this
// program, which started it (launch.c). Nothing may be stopped or released here. Called by live.c.
//
// Memory needs no ptrace; of the registers the kernel tells stack pointer and program counter only, in
// /proc/PID/task/TID/syscall. The thread pointer is found in memory: on x86 the control block of a
// thread holds its own address twice (glibc sysdeps/x86_64/nptl/tls.h, tcbhead_t) and the thread's number.
#include "target/target_impl.h"

#include <stdio.h>
#include <string.h>

// struct pthread of glibc 2.10 and later holds the tid this far behind its start, within a window.
#define TID_SEARCH_START 0x40
#define TID_SEARCH_END   0x400

static bool stands(const struct target_thread *thread)
{
	return strchr("tTZX", thread->state);
}

bool live_is_held(const struct live *live)
{
	for (size_t i = 0; i < live->threads.n; i++) {
		if (!stands(&live->threads.v[i]))
			return false;
	}
	return live->threads.n > 0;
}

// --- registers -----------------------------------------------------------------------------------
static void add_held_threads(struct live *live, struct stop *stop)
{
	bool ours = live->process.tracer_pid == os_own_pid();
	size_t kept = 0;

	for (size_t i = 0; i < live->threads.n; i++) {
		const struct target_thread *thread = &live->threads.v[i];
		struct stop_thread held = { .tid = thread->tid,
			                    .stopped = ours && thread->state == 't' };

		if (thread->state == 'Z' || thread->state == 'X')
			continue;
		vec_push(&stop->threads, held);
		live->threads.v[kept++] = *thread;
	}
	live->threads.n = kept;
}

// --- thread pointers -----------------------------------------------------------------------------
struct block_search {
	struct target *target;
	struct stop *stop;
	const struct live *live;
};

static uint64_t word_of(const uint8_t *bytes, unsigned word_bytes)
{
	uint64_t word = 0;

	memcpy(&word, bytes, word_bytes);
	return word;
}

static struct stop_thread *thread_of_block(const struct block_search *search, const uint8_t *block,
                                           uint64_t bytes)
{
	for (size_t i = 0; i < search->stop->threads.n; i++) {
		struct stop_thread *thread = &search->stop->threads.v[i];
		int own_tid = search->live->threads.v[i].own_tid;

		if (thread->tp)
			continue;
		for (uint64_t at = TID_SEARCH_START; at + 4 <= bytes && at < TID_SEARCH_END;
		     at += 4) {
			if (word_of(block + at, 4) == (uint32_t)own_tid)
				return thread;
		}
	}
	return NULL;
}

static void search_range(void *context, uint64_t start, uint64_t end)
{
	const struct block_search *search = context;
	unsigned word_bytes = search->target->word_bytes;
	const uint8_t *bytes = target_bytes(search->target, start, end - start);

	if (!bytes)
		return;
	for (uint64_t at = 0; at + TID_SEARCH_START < end - start; at += 16) {
		struct stop_thread *thread;

		if (word_of(bytes + at, word_bytes) != start + at ||
		    word_of(bytes + at + 2 * word_bytes, word_bytes) != start + at)
			continue;
		thread = thread_of_block(search, bytes + at, end - start - at);
		if (thread)
			thread->tp = start + at;
	}
}

static void find_thread_pointers(struct live *live, struct stop *stop)
{
	struct block_search search = { live->target, stop, live };

	if (!live->cpu->control_block_names_itself)
		return;
	for (size_t i = 0; i < live->target->segment_count; i++) {
		const struct target_segment *segment = &live->target->segments[i];

		if (segment->image && !segment->shared && !segment->file)
			(void)live_present(live->target, segment->start, segment->end, search_range,
			                   &search);
	}
}

// --- the look ------------------------------------------------------------------------------------
static const char *tracer_name(struct live *live)
{
	struct os_process tracer;

	if (os_process_read(live->process.tracer_pid, &tracer))
		return "another program";
	return arena_copy(live->target->arena, tracer.name);
}

static void describe(struct live *live, bool held, const struct stop *stop)
{
	struct target *target = live->target;
	int tracer = live->process.tracer_pid;

	target->held_stopped = held;
	if (tracer == os_own_pid()) {
		target->how = "read while held at its exit";
		return;
	}
	if (held) {
		target->how = arena_format(target->arena,
		                           "read while %s (process %d) holds it stopped; of the "
		                           "registers stack pointer and program counter are known",
		                           tracer_name(live), tracer);
		return;
	}
	target->how = arena_format(target->arena, "read while it runs, traced by %s (process %d)",
	                           tracer_name(live), tracer);
	target_warn(target,
	            "%s (process %d) traces the process and lets it run: its %zu threads cannot be "
	            "stopped, so its memory was read while it changed",
	            tracer_name(live), tracer, stop->threads.n);
	target->complete = false;
}

static bool still_stands(const struct live *live)
{
	for (size_t i = 0; i < live->threads.n; i++) {
		struct target_thread now = live->threads.v[i];
		struct os_process thread;

		if (os_thread_read(live->pid, now.tid, &thread))
			return false;
		now.state = thread.state;
		if (!stands(&now))
			return false;
	}
	return true;
}

static struct error *look(struct live *live, struct stop *stop)
{
	bool held = live_is_held(live);

	add_held_threads(live, stop);
	TRY(live_prepare_copy(live));
	TRY(live_copy(live));
	TRY(stop_read_registers(stop));
	find_thread_pointers(live, stop);
	live_set_threads(live, stop);
	live_fill_files(live);
	describe(live, held && still_stands(live), stop);
	return NULL;
}

struct error *live_look_held(struct live *live)
{
	struct error *error;
	struct stop stop;

	stop_init(&stop, live->pid, live->cpu);
	error = look(live, &stop);
	stop_deinit(&stop);
	return error;
}
