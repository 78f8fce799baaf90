// SPDX-License-Identifier: MIT
// malloc_history TARGET ADDRESS: every block that the address belonged to, from its making to its end.
#include <inttypes.h>
#include <stdlib.h>

#include "base/text.h"
#include "report/history_impl.h"

// One of the two ends of a block's life.
struct turn {
	uint64_t event;
	const struct history_life *life;
	bool is_end;
};

static int compare_turns(const void *a, const void *b)
{
	const struct turn *x = a, *y = b;

	if (x->event != y->event)
		return x->event < y->event ? -1 : 1;
	return y->is_end - x->is_end; // a mapping takes another one's place in one call
}

// What was there before the recording comes first.
static uint64_t made_at(const struct history_life *life)
{
	return life->block.event == HISTORY_BEFORE ? 0 : life->block.event;
}

static struct turn *list_turns(struct arena *arena, const struct history_life *lives, size_t count,
                               size_t *ret_count)
{
	struct turn *turns = arena_array(arena, 2 * count, sizeof(*turns));
	size_t n = 0;

	for (size_t i = 0; i < count; i++) {
		turns[n++] = (struct turn){ made_at(&lives[i]), &lives[i], false };
		if (lives[i].end_event != HISTORY_BEFORE)
			turns[n++] = (struct turn){ lives[i].end_event, &lives[i], true };
	}
	if (n)
		qsort(turns, n, sizeof(*turns), compare_turns);
	*ret_count = n;
	return turns;
}

static const char *turn_word(const struct turn *turn)
{
	bool mapping = history_is_mapping((uint8_t)turn->life->block.kind);

	if (turn->is_end)
		return mapping ? "VM_FREE" : "FREE";
	return mapping ? "VM_ALLOC" : "ALLOC";
}

static void print_time(struct emitter *e, struct history_view *view, uint64_t ns)
{
	if (ns == HISTORY_BEFORE) {
		emit_null(e, "time_ns");
		return;
	}
	emit_u64(e, "time_ns", ns, NULL);
	if (view->settings->common.verbose)
		emit_text(e, " [%s]", history_time_text(view->arena, ns));
}

static void print_turn(struct emitter *e, struct history_view *view, const struct turn *turn)
{
	const struct history_life *life = turn->life;
	const struct history_block *block = &life->block;
	uint32_t thread = turn->is_end ? life->end_thread : block->thread;
	const struct log_thread *owner = history_thread(view->history, thread);
	uint64_t last = block->address + (block->bytes ? block->bytes - 1 : 0);

	emit_object(e, NULL);
	emit_string(e, "what", turn_word(turn), "%s");
	emit_address(e, "start", block->address, " 0x%" PRIx64);
	emit_address(e, "end", last, "-0x%" PRIx64);
	emit_u64(e, "size_bytes", block->bytes, " [size=%" PRIu64 "]");
	emit_string(e, "call", history_call_name(turn->is_end ? life->end_kind : block->kind),
	            NULL);
	print_time(e, view, turn->is_end ? life->end_ns : block->time_ns);
	if (owner)
		emit_u64(e, "thread", (uint64_t)owner->id, NULL);
	if (turn->is_end)
		emit_string(e, "type", history_type_name(view->history, life->type), " <%s>");
	emit_text(e, ": ");
	if (!turn->is_end && block->event == HISTORY_BEFORE && !block->node)
		emit_text(e, "before the recording began\n");
	else
		history_print_stack(e, view, turn->is_end ? life->end_node : block->node, thread);
	emit_object_end(e);
}

struct error *history_print_address(struct emitter *e, struct history_view *view, const char *text)
{
	const struct history_life *lives;
	const struct turn *turns;
	uint64_t address;
	size_t count, n;

	if (text_parse_u64(text, &address))
		return error_new(ERROR_USAGE, "'%s' is no address",
		                 text_printable(view->arena, text));
	TRY(history_of_address(view->history, address, view->first, view->last, view->arena, &lives,
	                       &count));
	turns = list_turns(view->arena, lives, count, &n);
	emit_object(e, NULL);
	emit_address(e, "address", address, NULL);
	emit_array(e, "events");
	for (size_t i = 0; i < n; i++)
		print_turn(e, view, &turns[i]);
	emit_array_end(e);
	emit_object_end(e);
	if (!n) {
		emit_text(e, "no stack logs found for 0x%" PRIx64 "\n", address);
		view->partly = true;
	}
	return NULL;
}
