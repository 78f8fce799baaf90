// SPDX-License-Identifier: MIT
// A TARGET of malloc_history and diff becomes a recording: a log file, the log of a process that is
// recorded now, or the live blocks with stacks that a process, core or snapshot holds by itself; and the
// moment behind an @.
#include <string.h>

#include "base/text.h"
#include "collect/collect.h"
#include "os/os.h"
#include "report/history_impl.h"

#define FLUSH_LIMIT_NS    2000000000u
#define DEEPEST           1024
#define FIRST_INDEX_COUNT 4096

// --- live blocks with stacks ---------------------------------------------------------------------
// Stacks come as frames; equal beginnings become one node each.
struct stacks {
	struct recording *recording;
	VEC(struct log_node) nodes;
	uint32_t *index; // node by parent and code, 0: empty
	size_t index_count;
};

static uint32_t *node_at(const struct stacks *stacks, uint32_t parent, uint64_t code)
{
	uint64_t hash = (code ^ (uint64_t)parent << 40) * 0x9e3779b97f4a7c15u;
	size_t at = (size_t)(hash >> 32) & (stacks->index_count - 1);

	for (; stacks->index[at]; at = (at + 1) & (stacks->index_count - 1)) {
		const struct log_node *node = &stacks->nodes.v[stacks->index[at]];

		if (node->parent == parent && node->code == code)
			break;
	}
	return &stacks->index[at];
}

static uint32_t child(struct stacks *stacks, uint32_t parent, uint64_t code)
{
	uint32_t *at;

	if ((stacks->nodes.n + 1) * 2 > stacks->index_count) {
		if (stacks->index)
			os_page_source.resize(stacks->index, stacks->index_count * sizeof(uint32_t),
			                      0);
		stacks->index_count =
			stacks->index_count ? 2 * stacks->index_count : FIRST_INDEX_COUNT;
		stacks->index =
			os_page_source.resize(NULL, 0, stacks->index_count * sizeof(uint32_t));
		for (size_t i = 1; i < stacks->nodes.n; i++)
			*node_at(stacks, stacks->nodes.v[i].parent, stacks->nodes.v[i].code) =
				(uint32_t)i;
	}
	at = node_at(stacks, parent, code);
	if (!*at) {
		*at = (uint32_t)stacks->nodes.n;
		vec_push(&stacks->nodes, ((struct log_node){ code, parent }));
	}
	return *at;
}

static uint32_t take_stack(struct stacks *stacks, uint32_t recorded)
{
	struct heap_frame frames[DEEPEST];
	bool truncated = false;
	uint32_t node = 0;
	size_t count =
		heaps_frames(stacks->recording->look.heaps, recorded, frames, DEEPEST, &truncated);

	for (size_t i = count; i-- > 0;) {
		uint64_t code = frames[i].code & RECORD_NODE_ADDRESS;

		if (!frames[i].is_return)
			code |= RECORD_NODE_EXACT;
		if (truncated && i + 1 == count)
			code |= RECORD_NODE_TRUNCATED;
		node = child(stacks, node, code);
	}
	return node;
}

static void take_blocks(struct stacks *stacks, struct history_given *given)
{
	const struct heaps *heaps = stacks->recording->look.heaps;
	struct log_live *blocks =
		arena_array(&stacks->recording->arena, heaps->block_count, sizeof(*blocks));

	for (size_t i = 0; i < heaps->block_count; i++) {
		const struct heap_block *block = &heaps->blocks[i];
		uint32_t stack = heaps_stack(heaps, i);

		if (block->hb_state != HEAP_USED)
			continue;
		blocks[given->block_count++] =
			(struct log_live){ block->hb_address, block->hb_size,
			                   stack ? take_stack(stacks, stack) : 0,
			                   stack ? RECORD_MALLOC : RECORD_NONE };
	}
	given->blocks = blocks;
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
	struct stacks stacks = { .recording = recording };

	TRY(look_open(recording->source, &options, LOOK_REGIONS, &recording->look));
	recording->has_look = true;
	if (!recording->look.heaps->stack_count)
		return error_new(ERROR_NOT_FOUND,
		                 "no allocations of %s are recorded: it must run under heapwright "
		                 "record, or with MallocStackLogging=1 under the malloc library",
		                 text_printable(&recording->arena, recording->source));
	vec_init(&stacks.nodes, &os_page_source);
	vec_push(&stacks.nodes, ((struct log_node){ 0 }));
	take_blocks(&stacks, &given);
	given.process = describe(recording);
	given.nodes = stacks.nodes.v;
	given.node_count = (uint32_t)stacks.nodes.n;
	given.symbols = recording->look.symbols;
	if (stacks.index)
		os_page_source.resize(stacks.index, stacks.index_count * sizeof(uint32_t), 0);
	if (recording->look.target->kind == TARGET_LIVE ||
	    recording->look.target->kind == TARGET_CLONE)
		recording->pid = recording->look.target->pid;
	recording->nodes = stacks.nodes.v;
	recording->node_capacity = stacks.nodes.capacity;
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

// The pid that a number or a name stands for; 0 when it is something else.
static struct error *find_process(const struct recording *recording, int *ret)
{
	struct target_options options = {
		.accepts = "a process that is recorded, or a log",
	};
	struct target *target;

	TRY(target_open(recording->source, &options, &target));
	*ret = target->kind == TARGET_LIVE ? target->pid : 0;
	target_close(target);
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
	if (recording->nodes)
		os_page_source.resize(recording->nodes,
		                      recording->node_capacity * sizeof(*recording->nodes), 0);
	arena_deinit(&recording->arena);
}
