// SPDX-License-Identifier: MIT
// Events in order -> blocks of the log: time, stack, thread and type as the log has them, and the sums
// over live blocks that a block of events tells about itself. Called by drain.c for every event, so
// this is where the collector's time goes.
#include "collect/collect_impl.h"

#include <string.h>

// What to do with each kind of event.
enum handling {
	HANDLE_NOT = 0,
	HANDLE_ALLOCATED,
	HANDLE_FREED,
	HANDLE_MAPPED,
	HANDLE_UNMAPPED,
	HANDLE_KEPT, // goes to the log as it is
	HANDLE_SPECIAL,
	HANDLE_TEXT,
};

static const uint8_t handlings[256] = {
	[RECORD_MALLOC] = HANDLE_ALLOCATED,    [RECORD_CALLOC] = HANDLE_ALLOCATED,
	[RECORD_ALIGNED] = HANDLE_ALLOCATED,   [RECORD_REALLOC] = HANDLE_ALLOCATED,
	[RECORD_FREE] = HANDLE_FREED,          [RECORD_REALLOC_FREE] = HANDLE_FREED,
	[RECORD_MAP] = HANDLE_MAPPED,          [RECORD_UNMAP] = HANDLE_UNMAPPED,
	[RECORD_REMAP_FREE] = HANDLE_UNMAPPED, [RECORD_SHM_OPEN] = HANDLE_KEPT,
	[RECORD_SHM_UNLINK] = HANDLE_KEPT,     [RECORD_SHMGET] = HANDLE_KEPT,
	[RECORD_SHMAT] = HANDLE_KEPT,          [RECORD_SHMDT] = HANDLE_KEPT,
	[RECORD_SHM_REMOVE] = HANDLE_KEPT,     [RECORD_SHM_MAP] = HANDLE_KEPT,
	[RECORD_MEMFD_CREATE] = HANDLE_KEPT,   [RECORD_THREAD] = HANDLE_SPECIAL,
	[RECORD_THREAD_END] = HANDLE_SPECIAL,  [RECORD_FORK] = HANDLE_SPECIAL,
	[RECORD_EXEC] = HANDLE_SPECIAL,        [RECORD_GAP] = HANDLE_SPECIAL,
	[RECORD_MARK] = HANDLE_SPECIAL,        [RECORD_STOP] = HANDLE_SPECIAL,
	[RECORD_MODULES] = HANDLE_SPECIAL,     [RECORD_RETAIN] = HANDLE_KEPT,
	[RECORD_RELEASE] = HANDLE_KEPT,        [RECORD_AUTORELEASE] = HANDLE_KEPT,
	[RECORD_MEMCPY] = HANDLE_KEPT,         [RECORD_MEMMOVE] = HANDLE_KEPT,
	[RECORD_MEMSET] = HANDLE_KEPT,         [RECORD_TEXT] = HANDLE_TEXT,
};

#define FRAME_EVENTS UINT64_C(1000000) // between two keyframes at least
#define FRAME_BLOCKS 8                 // and so many for each live block

// --- packs ---------------------------------------------------------------------------------------
static void begin_pack(struct collect_stream *stream)
{
	struct collect_pack *pack =
		collect_packer_take(stream->packer, stream->live.breathe, stream->live.context);

	stream->pack = pack;
	pack->thread_first = (uint32_t)stream->threads.threads.n;
	pack->type_first = stream->types.count + 1;
	pack->summary = (struct log_summary){ .low_address = UINT64_MAX };
	stream->peak_bytes = stream->live_bytes;
	stream->peak_event = 0;
}

// In the pack that begins: the state before its events.
void collect_stream_frame(struct collect_stream *stream)
{
	stream->frame_events = stream->events;
	stream->pack->frame_ns = stream->last_ns;
	stream->pack->frame_is_complete = !stream->attached || stream->knows_before;
	os_release(stream->pack->frame.blocks, stream->pack->frame.bytes);
	collect_frame_copy(&stream->live, &stream->ranges, &stream->pack->arena,
	                   &stream->pack->frame);
}

// None is taken while the blocks from before are awaited: they must stand in the first one.
static void take_frame(struct collect_stream *stream)
{
	uint64_t since = stream->events - stream->frame_events;

	if (stream->before || since < FRAME_EVENTS || since < FRAME_BLOCKS * stream->live.count)
		return;
	collect_stream_frame(stream);
}

void collect_stream_cut(struct collect_stream *stream)
{
	struct collect_pack *pack = stream->pack;
	struct log_summary *summary = &pack->summary;

	if (pack->count) {
		summary->events = (uint32_t)pack->count;
		summary->first_ns = pack->events[0].time_ns;
		summary->last_ns = stream->last_ns;
		summary->live_blocks = stream->live.count;
		summary->live_bytes = stream->live_bytes;
		summary->map_bytes = stream->ranges.bytes;
		summary->peak_bytes = stream->peak_bytes;
		summary->peak_event = stream->peak_event;
		if (summary->low_address > summary->high_address)
			summary->low_address = 0;
	}
	collect_packer_give(stream->packer, pack);
	begin_pack(stream);
	take_frame(stream);
}

static inline struct log_event *new_event(struct collect_stream *stream,
                                          struct collect_source *source, uint64_t ticks,
                                          uint32_t kind)
{
	struct log_event *log;
	uint64_t ns = collect_clock_ns(&stream->clock, ticks);

	if (stream->pack->count == LOG_BLOCK_EVENTS)
		collect_stream_cut(stream);
	if (ns > stream->last_ns)
		stream->last_ns = ns;
	log = &stream->pack->events[stream->pack->count++];
	source->last = stream->events++;
	log->time_ns = stream->last_ns;
	log->thread = source->thread;
	log->kind = (uint8_t)kind;
	log->type = LOG_TYPE_NONE;
	return log;
}

// --- blocks --------------------------------------------------------------------------------------
static inline void note_address(struct log_summary *summary, uint64_t address, uint64_t bytes)
{
	uint64_t end = bytes > UINT64_MAX - address ? UINT64_MAX : address + bytes;

	if (address < summary->low_address)
		summary->low_address = address;
	if (end > summary->high_address)
		summary->high_address = end;
}

static inline void note_peak(struct collect_stream *stream)
{
	if (stream->live_bytes <= stream->peak_bytes)
		return;
	stream->peak_bytes = stream->live_bytes;
	stream->peak_event = (uint32_t)stream->pack->count - 1;
}

static inline void allocated(struct collect_stream *stream, const struct record_event *event,
                             struct log_event *log)
{
	struct log_summary *summary = &stream->pack->summary;
	uint64_t old = 0;

	if (!collect_live_fits(event->address, event->bytes)) // damage
		return;
	summary->allocations++;
	summary->allocated_bytes += event->bytes;
	note_address(summary, event->address, event->bytes);
	if (collect_live_put(&stream->live,
	                     &(struct log_live){ event->address, event->bytes, log->node, log->kind,
	                                         log_live_thread(log->thread) },
	                     &old))
		stream->live_bytes -= old; // its free was lost
	stream->live_bytes += event->bytes;
	note_peak(stream);
}

static inline void freed(struct collect_stream *stream, const struct record_event *event,
                         struct log_event *log)
{
	struct log_summary *summary = &stream->pack->summary;
	uint64_t bytes = 0;

	log->bytes = 0;
	if (collect_modules_may_hold(&stream->modules, event->bytes))
		log->type = collect_types_of(&stream->types, &stream->modules, event->bytes,
		                             stream->pack);
	summary->frees++;
	if (__builtin_expect(stream->before != NULL, 0))
		collect_before_freed(stream, event->address);
	if (collect_live_take(&stream->live, event->address, &bytes)) {
		stream->live_bytes -= bytes;
		summary->freed_bytes += bytes;
	}
	note_address(summary, event->address, bytes);
}

// --- the rest ------------------------------------------------------------------------------------
// A text is complete at its NUL, or when something else follows it.
static void end_text(struct collect_stream *stream, struct collect_source *source)
{
	uint64_t pack_first = stream->events - stream->pack->count;
	struct log_text text = { .event = source->last };

	source->text_open = false;
	// The event that it belongs to may have gone to the log already.
	if (!source->text_bytes || source->last < pack_first)
		return;
	text.text = arena_copy_n(&stream->pack->arena, source->text, source->text_bytes);
	vec_push(&stream->pack->texts, text);
	source->text_bytes = 0;
}

static void take_text(struct collect_stream *stream, struct collect_source *source,
                      const struct record_event *event)
{
	char part[24];
	size_t room = sizeof(source->text) - source->text_bytes, n;

	memcpy(part, &event->address, sizeof(part));
	n = strnlen(part, sizeof(part));
	if (!source->text_open)
		return;
	memcpy(source->text + source->text_bytes, part, n < room ? n : room);
	source->text_bytes += (uint32_t)(n < room ? n : room);
	if (n < sizeof(part))
		end_text(stream, source);
}

static void begin_text(struct collect_source *source)
{
	source->text_bytes = 0;
	source->text_open = true;
}

// The name of a mark that the program made lies in the shared texts, or follows.
static void mark_text(struct collect_stream *stream, struct collect_source *source, uint64_t offset)
{
	const struct collect_share *share = stream->share;
	size_t n = 0;

	begin_text(source);
	if (!offset || offset >= share->text_capacity)
		return;
	while (n < sizeof(source->text) && offset + n < share->text_capacity) {
		char c = __atomic_load_n(&share->texts[offset + n], __ATOMIC_RELAXED);

		if (!c)
			break;
		source->text[n++] = c;
	}
	source->text_bytes = (uint32_t)n;
	end_text(stream, source);
}

static void name_thread(struct collect_stream *stream, struct collect_source *source, int32_t id,
                        uint64_t ticks)
{
	uint64_t ns = collect_clock_ns(&stream->clock, ticks);

	// The thread is written with the pack that its first event goes to.
	if (stream->pack->count == LOG_BLOCK_EVENTS)
		collect_stream_cut(stream);
	source->thread =
		collect_threads_add(&stream->threads, stream->process, id,
	                            ns > stream->last_ns ? ns : stream->last_ns, stream->pack);
}

static void special(struct collect_stream *stream, struct collect_source *source,
                    const struct record_event *event, uint32_t kind)
{
	switch (kind) {
	case RECORD_GAP:
		stream->pack->summary.lost += event->bytes;
		stream->seen_lost += event->bytes;
		break;
	case RECORD_MARK:
		mark_text(stream, source, event->address);
		break;
	case RECORD_MODULES:
		stream->modules_changed = true;
		break;
	case RECORD_FORK:
		if (event->address <= INT32_MAX)
			vec_push(&stream->forks, (int)event->address);
		break;
	case RECORD_EXEC:
		stream->execs = !event->address;
		break;
	case RECORD_STOP:
		stream->stops = true;
		break;
	}
}

static void handle(struct collect_stream *stream, struct collect_source *source,
                   const struct record_event *event, struct log_event *log, enum handling handling)
{
	switch (handling) {
	case HANDLE_MAPPED:
		collect_ranges_put(&stream->ranges, event->address, event->bytes, log->node,
		                   log->thread);
		note_address(&stream->pack->summary, event->address, event->bytes);
		begin_text(source);
		break;
	case HANDLE_UNMAPPED:
		collect_ranges_take(&stream->ranges, event->address, event->bytes);
		note_address(&stream->pack->summary, event->address, event->bytes);
		break;
	case HANDLE_KEPT:
		begin_text(source);
		break;
	default:
		special(stream, source, event, log->kind);
	}
}

void collect_stream_event(struct collect_stream *stream, struct collect_source *source,
                          const struct record_event *event)
{
	uint64_t ticks = event->stamp >> 8;
	uint32_t kind = event->stamp & 0xff;
	enum handling handling = handlings[kind];
	struct log_event *log;

	if (handling == HANDLE_TEXT) {
		take_text(stream, source, event);
		return;
	}
	if (handling == HANDLE_NOT) // damage: no recorder of this version writes it
		return;
	if (source->text_open)
		end_text(stream, source);
	if (kind == RECORD_THREAD)
		name_thread(stream, source, (int32_t)event->address, ticks);
	else if (source->thread == COLLECT_NO_THREAD)
		name_thread(stream, source, source->id, ticks);
	log = new_event(stream, source, ticks, kind);
	log->address = event->address;
	log->bytes = event->bytes;
	log->extra = event->extra;
	log->node = collect_nodes_id(&stream->nodes, stream->share, event->node, stream->pack);
	if (handling == HANDLE_ALLOCATED)
		allocated(stream, event, log);
	else if (handling == HANDLE_FREED)
		freed(stream, event, log);
	else
		handle(stream, source, event, log, handling);
	if (kind == RECORD_THREAD_END)
		source->thread = COLLECT_NO_THREAD;
}

void collect_stream_own(struct collect_stream *stream, uint64_t ticks, uint32_t kind,
                        uint64_t bytes, const char *text)
{
	struct collect_source *source = &stream->own;
	struct log_event *log;

	if (source->thread == COLLECT_NO_THREAD)
		name_thread(stream, source, 0, ticks);
	log = new_event(stream, source, ticks, kind);
	log->address = log->node = log->extra = 0;
	log->bytes = bytes;
	if (kind == RECORD_GAP)
		stream->pack->summary.lost += bytes;
	if (!text || !*text)
		return;
	begin_text(source);
	source->text_bytes = (uint32_t)strnlen(text, sizeof(source->text));
	memcpy(source->text, text, source->text_bytes);
	end_text(stream, source);
}

void collect_stream_note(struct collect_stream *stream, enum log_note_kind kind, uint64_t time_ns,
                         const char *text)
{
	struct collect_note note = { kind, time_ns, arena_copy(&stream->pack->arena, text) };

	vec_push(&stream->pack->notes, note);
}

struct error *collect_stream_init(struct collect_stream *stream, const struct collect_share *share,
                                  int process, bool attached, struct collect_packer *packer)
{
	*stream = (struct collect_stream){ .share = share,
		                           .process = process,
		                           .attached = attached,
		                           .packer = packer,
		                           .own.thread = COLLECT_NO_THREAD };
	vec_init(&stream->forks, &os_page_source);
	collect_clock_init(&stream->clock, share);
	collect_live_init(&stream->live);
	collect_ranges_init(&stream->ranges);
	collect_modules_init(&stream->modules);
	collect_threads_init(&stream->threads);
	TRY(collect_types_init(&stream->types));
	TRY(collect_nodes_init(&stream->nodes, share));
	begin_pack(stream);
	return NULL;
}

void collect_stream_deinit(struct collect_stream *stream)
{
	collect_before_stop(stream);
	collect_live_deinit(&stream->live);
	collect_ranges_deinit(&stream->ranges);
	collect_modules_deinit(&stream->modules);
	collect_threads_deinit(&stream->threads);
	collect_types_deinit(&stream->types);
	collect_nodes_deinit(&stream->nodes);
	vec_deinit(&stream->forks);
}
