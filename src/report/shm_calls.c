// SPDX-License-Identifier: MIT
// heapwright shm LOG: the calls about shared memory of a recording, each with its arguments, its result,
// its thread and its stack. Called by tools/shm.c.
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#include "base/text.h"
#include "os/os.h"
#include "report/history_impl.h"

struct calls {
	struct emitter *e;
	struct history_view *view;
	const struct log_reader *log;
	size_t block; // of events, whose texts are at hand
	bool has_texts;
	const struct log_text *texts;
	size_t text_count;
	struct arena texts_arena, arena; // the second of one call
	uint64_t count;
	struct error *error;
};

static const struct {
	const char *name;
	const char *address; // what the number of the event is; NULL: nothing
	bool has_bytes, has_flags, returns_address;
} known[] = {
	[RECORD_SHM_OPEN - RECORD_SHM_OPEN] = { "shm_open", "descriptor", false, true, false },
	[RECORD_SHM_UNLINK - RECORD_SHM_OPEN] = { "shm_unlink", NULL, false, false, false },
	[RECORD_SHMGET - RECORD_SHM_OPEN] = { "shmget", "id", true, true, false },
	[RECORD_SHMAT - RECORD_SHM_OPEN] = { "shmat", "address", true, true, true },
	[RECORD_SHMDT - RECORD_SHM_OPEN] = { "shmdt", "address", false, false, true },
	[RECORD_SHM_REMOVE - RECORD_SHM_OPEN] = { "shmctl(IPC_RMID)", "id", false, false, false },
	[RECORD_SHM_MAP - RECORD_SHM_OPEN] = { "mmap(MAP_SHARED)", "address", true, true, true },
	[RECORD_MEMFD_CREATE -
		RECORD_SHM_OPEN] = { "memfd_create", "descriptor", false, true, false },
};

#define KNOWN_COUNT (sizeof(known) / sizeof(known[0]))

// Texts are kept by block of events; only blocks with such a call are asked.
static const char *text_of(struct calls *calls, uint64_t number)
{
	const struct log_summary *block;

	for (;; calls->block++, calls->has_texts = false) {
		if (calls->block == log_block_count(calls->log))
			return NULL;
		block = log_block(calls->log, calls->block);
		if (number - block->first_event < block->events)
			break;
	}
	if (!calls->has_texts) {
		arena_deinit(&calls->texts_arena);
		arena_init(&calls->texts_arena, &os_page_source);
		calls->error = log_read_texts(calls->log, calls->block, &calls->texts_arena,
		                              &calls->texts, &calls->text_count);
		calls->has_texts = true;
	}
	for (size_t i = 0; !calls->error && i < calls->text_count; i++)
		if (calls->texts[i].event == number)
			return calls->texts[i].text;
	return NULL;
}

static const char *access_word(uint32_t flags)
{
	static const char *const words[] = { "O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE" };

	return words[flags & O_ACCMODE];
}

static const char *flags_text(struct arena *arena, uint8_t kind, uint32_t flags)
{
	if (kind == RECORD_SHM_OPEN)
		return arena_format(arena, "%s%s%s%s", access_word(flags),
		                    flags & O_CREAT ? "|O_CREAT" : "",
		                    flags & O_EXCL ? "|O_EXCL" : "",
		                    flags & O_TRUNC ? "|O_TRUNC" : "");
	if (kind == RECORD_SHM_MAP)
		return arena_format(arena, "%c%c%c", flags & 1 ? 'r' : '-', flags & 2 ? 'w' : '-',
		                    flags & 4 ? 'x' : '-');
	return kind == RECORD_SHMGET ? arena_format(arena, "0%o", flags)
	                             : arena_format(arena, "0x%x", flags);
}

// "shm_open "/segment" O_RDWR|O_CREAT = descriptor 3".
static void print_call(struct calls *calls, const struct log_event *event, const char *name)
{
	struct emitter *e = calls->e;
	uint8_t which = (uint8_t)(event->kind - RECORD_SHM_OPEN);
	bool failed = event->extra & RECORD_FAILED;
	uint32_t value = event->extra & ~RECORD_FAILED;
	const char *what = known[which].address;

	emit_string(e, "call", known[which].name, "%-16s");
	emit_string(e, "name", name ? text_printable(&calls->arena, name) : NULL,
	            name ? " %s" : NULL);
	if (known[which].has_bytes)
		emit_u64(e, "size_bytes", event->bytes, " [size=%" PRIu64 "]");
	if (known[which].has_flags && !failed)
		emit_string(e, "flags", flags_text(&calls->arena, event->kind, value), " %s");
	emit_bool(e, "failed", failed, NULL);
	if (failed)
		emit_string(e, "error",
		            strerrordesc_np((int)value) ? strerrordesc_np((int)value)
		                                        : "unknown error",
		            " failed: %s");
	else if (what && known[which].returns_address)
		emit_address(e, what, event->address, " 0x%" PRIx64);
	else if (what)
		emit_u64(e, what, event->address,
		         !strcmp(what, "id") ? " id %" PRIu64 : " descriptor %" PRIu64);
	emit_text(e, "\n");
}

static bool take_event(void *context, uint64_t number, const struct log_event *event)
{
	struct calls *calls = context;
	struct history_view view = *calls->view;
	const struct log_thread *thread = history_thread(view.history, event->thread);
	const char *name;

	if (event->kind < RECORD_SHM_OPEN || (size_t)(event->kind - RECORD_SHM_OPEN) >= KNOWN_COUNT)
		return true;
	name = text_of(calls, number);
	if (calls->error)
		return false;
	arena_init(&calls->arena, &os_page_source);
	view.arena = &calls->arena;
	calls->count++;
	emit_object(calls->e, NULL);
	emit_text(calls->e, "%s  ", history_time_text(&calls->arena, event->time_ns));
	emit_u64(calls->e, "event", number, NULL);
	emit_u64(calls->e, "time_ns", event->time_ns, NULL);
	if (thread)
		emit_u64(calls->e, "thread", (uint64_t)thread->id, NULL);
	print_call(calls, event, name);
	emit_text(calls->e, "    ");
	history_print_stack(calls->e, &view, event->node, event->thread);
	emit_object_end(calls->e);
	arena_deinit(&calls->arena);
	return true;
}

static struct error *print_calls(struct history_view *view)
{
	struct calls calls = { .view = view, .log = history_log(view->history) };
	const struct report_options *common = &view->settings->common;
	struct error *error;

	if (!calls.log)
		return error_new(
			ERROR_UNSUPPORTED,
			"%s has live blocks only, no events: record with heapwright record "
			"--shared-memory",
			view->recording->source);
	arena_init(&calls.texts_arena, &os_page_source);
	calls.e = emit_begin(common->out, common->json ? EMIT_JSON : EMIT_TEXT);
	history_print_header(calls.e, view, NULL);
	emit_array(calls.e, "calls");
	error = history_each_event(view->history, view->first, view->last, take_event, &calls);
	emit_array_end(calls.e);
	if (!calls.count)
		emit_text(calls.e, "%s\n",
		          history_process(view->history)->what & RECORD_WHAT_SHARED_MEMORY
		                  ? "No call about shared memory was made."
		                  : "Calls about shared memory were not recorded: see heapwright "
		                    "record --shared-memory.");
	arena_deinit(&calls.texts_arena);
	if (!error)
		error = calls.error;
	return error ? (emit_end(calls.e), error) : emit_end(calls.e);
}

struct error *report_shm_calls(const char *log, const struct shm_settings *settings, int *ret_exit)
{
	struct history_settings view_settings = { .common = settings->common,
		                                  .full_stacks = settings->full_stacks };
	struct history_view view = { .settings = &view_settings };
	struct recording recording;
	struct error *error = recording_open(log, &recording);

	view.recording = &recording;
	view.history = recording.history;
	view.arena = &recording.arena;
	view.last = recording.moment;
	if (!error)
		error = print_calls(&view);
	*ret_exit = view.partly ? EXIT_PARTLY : EXIT_FINE;
	recording_close(&recording);
	return error;
}
