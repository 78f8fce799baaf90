// SPDX-License-Identifier: MIT
// What malloc_history is asked about becomes a question for the recording: the range, the filters, and
// the sets that only a look at the blocks themselves can tell: leaks, overruns and underruns, types of
// live blocks. Called by history.c before anything is printed.
#include <regex.h>
#include <stdlib.h>

#include "os/os.h"
#include "report/history_impl.h"

static enum history_set set_of(const struct history_settings *s)
{
	if (s->high_water_mark)
		return HISTORY_PEAK;
	if (s->has_temporary)
		return HISTORY_FREED;
	if (s->overall)
		return HISTORY_MADE;
	return s->since ? HISTORY_SINCE : HISTORY_LIVE;
}

// Blocks are looked at as they are now: in a process that runs, or where the recording is of the blocks
// alone (lite mode, a core, a snapshot).
static bool can_look(const struct history_view *view)
{
	const struct recording *recording = view->recording;

	return (recording->pid || recording->has_look || recording->is_snapshot) &&
	       view->last == HISTORY_END;
}

static struct error *open_look(const struct history_view *view, enum look_depth depth,
                               struct look *ret)
{
	struct target_options options = { .want = TARGET_WANT_MEMORY };

	if (depth == LOOK_GRAPH)
		options.want |= TARGET_WANT_KERNEL_ROOTS;
	return look_open(view->recording->pid
	                         ? arena_format(view->arena, "%d", view->recording->pid)
	                         : view->recording->source,
	                 &options, depth, ret);
}

// --- leaks ---------------------------------------------------------------------------------------
// The graph's blocks ascend, and so do its leaks.
static void take_leaks(const struct history_view *view, const struct look *look,
                       struct history_question *ret)
{
	const struct graph *graph = look->graph;
	uint64_t *addresses = arena_array(view->arena, graph->leak_count, sizeof(*addresses));

	for (size_t i = 0; i < graph->leak_count; i++)
		addresses[i] = look->heaps->blocks[graph->leaks[i].lk_block].hb_address;
	ret->addresses = addresses;
	ret->address_count = graph->leak_count;
}

// --- overruns and underruns ----------------------------------------------------------------------
static int compare_address(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static struct error *take_overrun(const struct history_view *view, const struct look *look,
                                  struct history_question *ret)
{
	const struct heaps *heaps = look->heaps;
	uint64_t *addresses = arena_array(view->arena, heaps->damage_count, sizeof(*addresses));
	size_t n = 0;

	if (!heaps->edges_kept)
		return error_new(ERROR_NOT_FOUND,
		                 "the program keeps no patterns beside its blocks: start it with "
		                 "heapwright run --check-edges, or MallocCheckEdges=1");
	for (size_t i = 0; i < heaps->damage_count; i++)
		if (heaps->damage[i].kind != HEAP_DAMAGE_FREED)
			addresses[n++] = heaps->damage[i].address;
	if (n)
		qsort(addresses, n, sizeof(*addresses), compare_address);
	ret->addresses = addresses;
	ret->address_count = n;
	return NULL;
}

// --- types ---------------------------------------------------------------------------------------
static struct error *take_typed(const struct history_view *view, const struct look *look,
                                struct history_question *ret)
{
	const struct heaps *heaps = look->heaps;
	uint64_t *addresses = arena_array(view->arena, heaps->block_count, sizeof(*addresses));
	regex_t pattern;
	size_t n = 0;

	TRY(history_pattern(ret->type, &pattern));
	for (uint32_t i = 0; i < heaps->block_count; i++) {
		const struct type *type = types_of(look->types, i);

		if (heaps->blocks[i].hb_state == HEAP_USED && type &&
		    !regexec(&pattern, type->name, 0, NULL, 0))
			addresses[n++] = heaps->blocks[i].hb_address;
	}
	regfree(&pattern);
	ret->typed = addresses;
	ret->typed_count = n;
	return NULL;
}

// -------------------------------------------------------------------------------------------------
static struct error *take_sets(struct history_view *view, struct history_question *ret)
{
	const struct history_settings *s = view->settings;
	bool typed = s->type && !s->has_temporary;
	struct error *error;
	struct look look;

	TRY(open_look(view, s->leaks ? LOOK_GRAPH : typed ? LOOK_TYPES : LOOK_REGIONS, &look));
	error = typed ? take_typed(view, &look, ret) : NULL;
	if (!error && s->leaks)
		take_leaks(view, &look, ret);
	if (!error && s->overruns)
		error = take_overrun(view, &look, ret);
	look_close(&look);
	return error;
}

// What a log alone knows.
static struct error *take_recorded(struct history_view *view, struct history_question *ret)
{
	const struct history_settings *s = view->settings;
	uint64_t time_ns;

	if (s->overruns)
		return error_new(ERROR_USAGE, "-overruns needs a process that runs, or a core");
	if (s->type && !s->overall && !s->has_temporary)
		return error_new(ERROR_USAGE,
		                 "a log knows the types of freed blocks only: -type needs -overall "
		                 "or -temporary, or a process that runs");
	if (!s->leaks)
		return NULL;
	return history_leaks(view->history, view->last, view->arena, &ret->addresses,
	                     &ret->address_count, &time_ns);
}

struct error *history_question_of(struct history_view *view, struct history_question *ret)
{
	const struct history_settings *s = view->settings;

	*ret = (struct history_question){
		.set = set_of(s),
		.first = view->first,
		.last = view->last,
		.lifetime_ns = s->temporary_ns,
		.mappings = s->virtual_memory,
		.least = s->least_bytes,
		.most = s->most_bytes,
		.has_thread = s->has_thread,
		.thread_id = (int32_t)s->thread,
		.module = s->module,
		.function = s->function,
		.type = s->type,
	};
	if (!s->leaks && !s->overruns && !s->type)
		return NULL;
	if (s->leaks && s->overruns)
		return error_new(ERROR_USAGE, "-leaks and -overruns are two sets: ask for one");
	return can_look(view) && !s->high_water_mark ? take_sets(view, ret)
	                                             : take_recorded(view, ret);
}
