// SPDX-License-Identifier: MIT
// A TARGET of malloc_history and diff becomes a recording: a log file, the log of a process that is
// recorded now, or the live blocks with stacks that a process, core or snapshot holds by itself; and the
// moment behind an @.
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "collect/collect.h"
#include "layout/snapshot.h"
#include "os/os.h"
#include "report/history_impl.h"

#define FLUSH_LIMIT_NS 2000000000u

// --- live blocks with stacks ---------------------------------------------------------------------
struct live {
	VEC(struct log_live) blocks;
};

static void take_blocks(struct recording *recording, struct live *ret)
{
	struct look *look = &recording->look;
	const struct heaps *heaps = look->heaps;

	for (size_t i = 0; i < heaps->block_count; i++) {
		const struct heap_block *block = &heaps->blocks[i];
		uint32_t node;

		if (block->hb_state != HEAP_USED)
			continue;
		node = stack_nodes_take(&recording->nodes, look, heaps_stack(heaps, i));
		vec_push(&ret->blocks,
		         ((struct log_live){ block->hb_address, block->hb_size, node,
		                             node ? RECORD_MALLOC : RECORD_NONE, LOG_NO_THREAD }));
	}
	for (size_t i = 0; i < heaps->mapped_count; i++) {
		const struct heap_mapped *mapped = &heaps->mapped[i];

		vec_push(
			&ret->blocks,
			((struct log_live){ mapped->start, mapped->end - mapped->start,
		                            stack_nodes_take(&recording->nodes, look, mapped->node),
		                            RECORD_MAP, LOG_NO_THREAD }));
	}
}

static int compare_address(const void *a, const void *b)
{
	const struct log_live *x = a, *y = b;

	return x->address < y->address ? -1 : x->address > y->address;
}

// Ascending, in the recording's arena.
static void give_blocks(struct recording *recording, struct history_given *given)
{
	struct live live;
	struct log_live *blocks;

	vec_init(&live.blocks, &os_page_source);
	take_blocks(recording, &live);
	given->block_count = live.blocks.n;
	blocks = arena_array(&recording->arena, live.blocks.n, sizeof(*blocks));
	if (live.blocks.n) {
		memcpy(blocks, live.blocks.v, live.blocks.n * sizeof(*blocks));
		qsort(blocks, live.blocks.n, sizeof(*blocks), compare_address);
	}
	given->blocks = blocks;
	vec_deinit(&live.blocks);
}

static const struct log_process *describe(struct recording *recording)
{
	const struct target *target = recording->look.target;
	struct log_process *process = arena_alloc(&recording->arena, sizeof(*process));

	*process = (struct log_process){
		.id = target->pid,
		.mode = RECORD_LITE,
		.wall_ns = target->looked_ns,
		.launched_ns = target->launched_ns,
		.name = target->name ? target->name : "",
		.path = target->path ? target->path : "",
		.command_line = "",
		.host = "",
		.system = os_version_text(&recording->arena),
		.cpu = target->cpu,
	};
	return process;
}

static struct error *open_live(struct recording *recording)
{
	struct target_options options = {
		.want = TARGET_WANT_MEMORY,
		.accepts = "a process that is recorded, a log, or a snapshot with stacks",
	};
	struct history_given given = { 0 };

	TRY(look_open(recording->source, &options, LOOK_REGIONS, &recording->look));
	recording->has_look = true;
	if (!recording->look.heaps->stack_count && !recording->look.heaps->mapped_count)
		return error_new(ERROR_NOT_FOUND,
		                 "no allocations of %s are recorded: it must run under heapwright "
		                 "record, or with MallocStackLogging=1 under the malloc library",
		                 text_printable(&recording->arena, recording->source));
	stack_nodes_init(&recording->nodes);
	recording->has_nodes = true;
	give_blocks(recording, &given);
	given.process = describe(recording);
	given.nodes = recording->nodes.nodes.v;
	given.node_count = (uint32_t)recording->nodes.nodes.n;
	given.symbols = recording->look.symbols;
	if (recording->look.target->kind == TARGET_LIVE ||
	    recording->look.target->kind == TARGET_CLONE)
		recording->pid = recording->look.target->pid;
	return history_open_blocks(&given, &recording->history);
}

// --- which it is ---------------------------------------------------------------------------------
static bool is_file(const char *path)
{
	struct os_status status;

	return !os_path_status(path, &status) && status.regular;
}

// The @ that begins a moment: the last one, unless a file has the whole name.
static const char *moment_of(const char *what)
{
	const char *at = strrchr(what, '@');

	return at && at != what && !is_file(what) ? at : NULL;
}

static bool is_recorded(int pid)
{
	struct collect_recording ignored;
	struct arena arena;
	bool found;

	arena_init(&arena, &os_page_source);
	found = !collect_find(pid, &arena, &ignored);
	arena_deinit(&arena);
	return found;
}

// The pid that a number or a name stands for, of several processes the one that is recorded; 0 when it is
// something else.
static struct error *find_process(struct recording *recording, int *ret)
{
	struct target_options options = {
		.accepts = "a process that is recorded, or a log",
		.prefers = is_recorded,
	};
	struct target *target;

	TRY(target_open(recording->source, &options, &target));
	*ret = target->kind == TARGET_LIVE ? target->pid : 0;
	target_close(target);
	if (*ret) // from now on this one, whoever gets the name
		recording->source = arena_format(&recording->arena, "%d", *ret);
	return NULL;
}

// The collector writes what it has first.
static struct error *open_running(struct recording *recording, int pid, bool *ret_found)
{
	struct collect_recording found;
	const char *path;

	*ret_found = !collect_find(pid, &recording->arena, &found) && found.mode != RECORD_LITE &&
	             found.log_path[0];
	if (!*ret_found)
		return NULL;
	if (found.collector)
		recording->late = collect_flush(pid, FLUSH_LIMIT_NS) != NULL;
	path = collect_log_path(&found, &recording->arena);
	recording->source = path;
	recording->pid = pid;
	return history_open_log(path, &recording->history);
}

// A snapshot that has the log of its program (-fullStackHistory).
static struct error *open_log_of_snapshot(struct recording *recording, bool *ret_found)
{
	struct target_options options = { .accepts = "a snapshot" };
	OS_DESCRIPTOR int fd = -1;
	struct target *target;
	struct error *error;
	const void *log;
	size_t bytes;

	*ret_found = false;
	TRY(target_open(recording->source, &options, &target));
	error = target->kind == TARGET_SNAPSHOT &&
	                        !target_section(target, SNAPSHOT_LOG, &log, &bytes)
	                ? os_scratch_open(&fd)
	                : NULL;
	if (!error && fd >= 0)
		error = os_pwrite(fd, log, bytes, 0);
	target_close(target);
	if (error || fd < 0)
		return error;
	*ret_found = true;
	recording->is_snapshot = true;
	return history_open_log(arena_format(&recording->arena, "/proc/self/fd/%d", fd),
	                        &recording->history);
}

// A file is there, but none of a kind that we know, and no process has its name.
static struct error *explain(struct recording *recording, struct error *cause)
{
	const char *shown = text_printable(&recording->arena, recording->source);
	bool is_path = strchr(recording->source, '/') != NULL;
	struct os_status status;

	if (cause->kind != (is_path ? ERROR_USAGE : ERROR_NOT_FOUND) &&
	    cause->kind != ERROR_NOT_FOUND)
		return cause;
	if (os_path_status(recording->source, &status))
		return cause;
	return error_new(ERROR_NOT_FOUND, "%s is %s%s", shown,
	                 status.directory ? "a directory" : "a file, but no log of a recording",
	                 is_path ? "" : ", and no process has that name");
}

static struct error *open_source(struct recording *recording)
{
	bool found = false;
	struct error *error;
	int pid;

	if (log_is(recording->source))
		return history_open_log(recording->source, &recording->history);
	error = find_process(recording, &pid);
	if (error)
		return explain(recording, error);
	if (pid)
		TRY(open_running(recording, pid, &found));
	else
		TRY(open_log_of_snapshot(recording, &found));
	return found ? NULL : open_live(recording);
}

struct error *recording_open(const char *what, struct recording *ret)
{
	const char *at = moment_of(what);

	*ret = (struct recording){ .moment = HISTORY_END };
	arena_init(&ret->arena, &os_page_source);
	ret->source = at ? arena_copy_n(&ret->arena, what, (size_t)(at - what)) : what;
	TRY(open_source(ret));
	return at ? history_moment(ret->history, at + 1, &ret->moment) : NULL;
}

void recording_close(struct recording *recording)
{
	history_close(recording->history);
	if (recording->has_look)
		look_close(&recording->look);
	if (recording->has_nodes)
		stack_nodes_deinit(&recording->nodes);
	arena_deinit(&recording->arena);
}
