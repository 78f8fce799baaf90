// SPDX-License-Identifier: MIT
// A look at a live process, through a clone (clone.c) or in place: everything that
// needs no stop first, then all threads stopped, registers and writable memory copied, all let go.
// Called by open.c.
//
// The tracing is done by a thread that lives for the stop only: when it ends, the kernel lets go of
// whatever it still holds, so nothing that goes wrong here can leave the target stopped. The same
// holds when this program is killed.
#include "target/target_impl.h"

#include <stdio.h>

#define TRIES                  5
#define COPY_LIMIT_NS          5000000000ull
#define COPY_LIMIT_NS_PER_BYTE 4 // the usual copy takes less than 1

static const struct target_ops live_ops = {
	.read = live_read,
	.load = live_load,
	.present = live_present,
	.file_open = live_file_open,
	.close = live_close,
};

struct look {
	struct live *live;
	struct stop stop;
	struct error *error;
	bool late;
};

static void copy(void *context)
{
	struct look *look = context;

	look->error = live_update_segments(look->live, look->live->memory_tid);
	if (!look->error)
		look->error = live_copy(look->live);
}

static void release_early(void *context)
{
	struct look *look = context;

	look->late = look->stop.tracer_stays = true; // the copy may wait for such a thread
	stop_end(&look->stop);
}

// A page that the target itself has to fetch (it handles its page faults, or serves the file system
// that a mapped file lies on) never comes while it stands still; so the copy has a limit.
static struct error *look_while_stopped(struct look *look)
{
	uint64_t limit_ns = COPY_LIMIT_NS + look->live->copy_bytes * COPY_LIMIT_NS_PER_BYTE;

	if (live_has_restarted(look->live))
		return error_new(ERROR_GONE, "the process started another program");
	TRY(stop_read_registers(&look->stop));
	TRY(os_run_within(limit_ns, copy, release_early, look));
	if (look->late)
		return error_new(
			ERROR_UNSUPPORTED,
			"copying the memory of process %d took too long, as of memory that "
			"the process has to fetch itself; it runs again",
			look->live->pid);
	return look->error;
}

static void trace(void *context)
{
	struct look *look = context;

	look->error = stop_prepare_look(&look->stop, look->live->process.thread_count);
	if (!look->error)
		look->error = stop_begin(&look->stop);
	if (look->error)
		return;
	look->error = look_while_stopped(look);
	if (!look->late)
		stop_end(&look->stop);
}

static void describe(struct live *live, const struct stop *stop)
{
	struct target *target = live->target;

	target->has_stop = true;
	target->stopped_ms = (double)(stop->ended_ns - stop->began_ns) / 1e6;
	target->held_stopped = live_is_held(live);
	target->how =
		arena_format(target->arena, "read in place: %zu threads stopped, %llu KB copied",
	                     stop->threads.n, (unsigned long long)(live->copy_bytes / 1024));
	if (stop->unstopped)
		target_warn(
			target,
			"%u threads sleep uninterruptibly in the kernel; their registers are not "
			"known",
			stop->unstopped);
}

static struct error *look_in_place(struct live *live)
{
	const struct target_segment *before = live->target->segments;
	size_t before_count = live->target->segment_count;
	struct look look = { .live = live };
	struct error *error;

	if (!live->maps_text)
		TRY(live_read_segments(live, live->memory_tid, false));
	TRY(live_prepare_copy(live));
	stop_init(&look.stop, live->pid, live->cpu);
	error = os_run_thread(trace, &look);
	if (!error)
		error = look.error;
	if (!error) {
		live_take_counts(live, before, before_count);
		live_set_threads(live, &look.stop);
		live_fill_files(live);
		describe(live, &look.stop);
	}
	stop_deinit(&look.stop);
	return error;
}

static void open_descriptors(struct live *live)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/mem", live->memory_tid);
	(void)os_open(path, &live->memory);
	snprintf(path, sizeof(path), "/proc/%d/pagemap", live->memory_tid);
	(void)os_open(path, &live->pagemap);
}

static struct error *look_at_memory(struct live *live)
{
	const char *refusal = NULL;

	if (live->process.tracer_pid)
		return live_look_held(live);
	TRY(clone_look(live, &refusal));
	if (!refusal)
		return NULL;
	TRY(look_in_place(live));
	live->target->how = arena_format(live->target->arena, "%s; not through a clone: %s",
	                                 live->target->how, refusal);
	return NULL;
}

static struct error *look(struct live *live)
{
	bool counts = live->options.want & TARGET_WANT_PAGES;

	if (live->pid == os_own_pid())
		return error_new(ERROR_USAGE, "process %d is this tool itself", live->pid);
	TRY(live_read_facts(live));
	open_descriptors(live);
	TRY(live_read_segments(live, live->memory_tid, counts));
	if (live->options.want & TARGET_WANT_MEMORY)
		return look_at_memory(live);
	if (live_has_restarted(live))
		return error_new(ERROR_GONE, "the process started another program");
	live->target->held_stopped = live_is_held(live);
	live->target->how = "read while it runs; nothing was stopped";
	return NULL;
}

static struct error *open_once(int pid, const struct target_options *options, bool *ret_restarted,
                               struct target **ret)
{
	struct target *target = target_new(TARGET_LIVE, &live_ops);
	struct live *live = arena_alloc(target->arena, sizeof(*live));
	struct error *error;

	*live = (struct live){
		.target = target, .options = *options, .pid = pid, .memory = -1, .pagemap = -1
	};
	vec_init(&live->files, &os_page_source);
	vec_init(&live->threads, &os_page_source);
	vec_init(&live->images, &os_page_source);
	vec_init(&live->rooms, &os_page_source);
	vec_init(&live->present.ranges, &os_page_source);
	target->own = live;
	error = look(live);
	if (error) {
		*ret_restarted = live_has_restarted(live);
		error = live_explain(live, error);
		target_close(target);
		return error;
	}
	*ret = target;
	return NULL;
}

// A process that is just being started executes its program while we look.
struct error *live_open(int pid, const struct target_options *options, struct target **ret)
{
	bool restarted = true;
	struct error *error = NULL;

	for (unsigned try = 0; restarted && try < TRIES; try++) {
		restarted = false;
		error = open_once(pid, options, &restarted, ret);
	}
	return error;
}
