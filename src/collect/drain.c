// SPDX-License-Identifier: MIT
// Takes events out of the rings, in the order of their stamps over all threads.
//
// 1. A round has a limit: a moment ago, lowered by each ring whose owner is about to write (it may
//    have a stamp already), see layout/record.h. Everything up to it is there and can be ordered.
// 2. The rings that have something are a heap by their earliest stamp. The first one gives a run of
//    events, up to the stamp of the second.
// 3. A thread that lost its processor while it was about to write holds the limit back. Events of the
//    other rings are then kept on our side, so that they do not fill. One that died is left out; so is
//    one that does not go on for a second: its one event is late, and gets the time of its neighbours.
// 4. The same is done while the log is written more slowly than the program allocates. When enough is
//    kept, the threads wait, and get room bit by bit, so that none gives up and loses events.
// 5. What cannot be (more events than a ring holds, stamps of the far future) is damage: the ring is
//    left alone, the stamp replaced.
//
// Called by collector.c.
#include "collect/collect_impl.h"

#include <string.h>

#define SECOND_NS      UINT64_C(1000000000)
#define DEAD_NS        UINT64_C(20000000) // busy for so long: does the thread still exist?
#define PATIENCE_NS    SECOND_NS
#define MOST_KEPT      (UINT64_C(1) << 21) // events, 64 MiB
#define HELD_EVENTS    (1u << 14)
#define TRICKLE_NS     UINT64_C(10000000)
#define TRICKLE_SLACK  16 // a ring with less room is full: an event with a text takes some
#define FUTURE_TICKS   (UINT64_C(10) * 4 * SECOND_NS)
#define PREFETCH_AHEAD 6

// --- one ring ------------------------------------------------------------------------------------
static struct collect_cursor *cursor_new(const struct collect_drain *drain, uint32_t number)
{
	struct collect_cursor *cursor = os_page_source.resize(NULL, 0, sizeof(*cursor));

	cursor->ring = collect_ring(drain->share, number);
	cursor->read = cursor->told = collect_load_64(&cursor->ring->read);
	cursor->written = cursor->read;
	cursor->clear = drain->limit;
	cursor->source = (struct collect_source){
		.thread = COLLECT_NO_THREAD,
		.id = (int32_t)collect_load_32((const uint32_t *)&cursor->ring->thread),
	};
	vec_init(&cursor->kept, &os_page_source);
	return cursor;
}

static void cursor_free(struct collect_cursor *cursor)
{
	vec_deinit(&cursor->kept);
	os_release(cursor, sizeof(*cursor));
}

// Says how far we are, and wakes an owner that waits for room: it sets waiting, looks at read again
// and sleeps; we set read and look at waiting.
static void cursor_tell(struct collect_cursor *cursor)
{
	if (cursor->told == cursor->read)
		return;
	cursor->told = cursor->read;
	__atomic_store_n(&cursor->ring->read, cursor->read, __ATOMIC_SEQ_CST);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!__atomic_load_n(&cursor->ring->waiting, __ATOMIC_RELAXED))
		return;
	__atomic_store_n(&cursor->ring->waiting, 0, __ATOMIC_SEQ_CST);
	os_shared_wake(&cursor->ring->waiting);
}

static void cursor_look(const struct collect_drain *drain, struct collect_cursor *cursor)
{
	uint64_t written = collect_load_64(&cursor->ring->written);

	if (cursor->broken)
		return;
	if (written - cursor->read <= drain->share->ring_events && written >= cursor->written) {
		cursor->written = written;
		return;
	}
	cursor->broken = true;
	cursor->written = cursor->read;
	collect_stream_own(drain->stream, drain->limit, RECORD_GAP, 1, NULL);
}

static inline void load_event(const struct record_event *shared, struct record_event *ret)
{
	ret->stamp = __atomic_load_n(&shared->stamp, __ATOMIC_RELAXED);
	ret->address = __atomic_load_n(&shared->address, __ATOMIC_RELAXED);
	ret->bytes = __atomic_load_n(&shared->bytes, __ATOMIC_RELAXED);
	ret->node = __atomic_load_n(&shared->node, __ATOMIC_RELAXED);
	ret->extra = __atomic_load_n(&shared->extra, __ATOMIC_RELAXED);
}

// The next event, left where it is.
static inline bool cursor_peek(const struct collect_drain *drain,
                               const struct collect_cursor *cursor, struct record_event *ret)
{
	if (cursor->kept_next < cursor->kept.n) {
		*ret = cursor->kept.v[cursor->kept_next];
		return true;
	}
	if (cursor->read == cursor->written)
		return false;
	load_event(collect_ring_event(drain->share, cursor->ring, cursor->read), ret);
	return true;
}

// All that was kept is in the stream; much memory is not held for another time.
static void cursor_forget(struct collect_cursor *cursor)
{
	cursor->kept_next = cursor->kept.n = 0;
	if (cursor->kept.capacity > HELD_EVENTS)
		vec_deinit(&cursor->kept);
}

static inline void cursor_advance(struct collect_drain *drain, struct collect_cursor *cursor)
{
	if (cursor->kept_next < cursor->kept.n) {
		drain->kept--;
		if (++cursor->kept_next == cursor->kept.n)
			cursor_forget(cursor);
		return;
	}
	if (++cursor->read - cursor->told >= drain->share->ring_events / 8)
		cursor_tell(cursor);
}

// Copies so many events out of the ring, so that its owner has room.
static void cursor_keep(struct collect_drain *drain, struct collect_cursor *cursor, uint64_t count)
{
	vec_reserve(&cursor->kept, cursor->kept.n + count);
	drain->kept += count;
	while (count--) {
		load_event(collect_ring_event(drain->share, cursor->ring, cursor->read++),
		           &cursor->kept.v[cursor->kept.n]);
		cursor->kept.n++;
	}
	cursor_tell(cursor);
}

static bool is_half_full(const struct collect_drain *drain, const struct collect_cursor *cursor)
{
	return cursor->written - cursor->read > drain->share->ring_events / 2;
}

// When we have kept as much as we want to, threads wait, but not for so long that they lose events.
static bool may_trickle(const struct collect_drain *drain, struct collect_cursor *cursor)
{
	uint64_t now = os_monotonic_ns();

	if (cursor->written - cursor->read < drain->share->ring_events - TRICKLE_SLACK ||
	    now - cursor->trickle_ns < TRICKLE_NS)
		return false;
	cursor->trickle_ns = now;
	return true;
}

static void keep_full_ones(struct collect_drain *drain)
{
	for (size_t i = 0; i < drain->cursors.n; i++) {
		struct collect_cursor *cursor = drain->cursors.v[i];

		if (!is_half_full(drain, cursor))
			continue;
		if (drain->kept < MOST_KEPT)
			cursor_keep(drain, cursor, cursor->written - cursor->read);
		else if (may_trickle(drain, cursor))
			cursor_keep(drain, cursor, drain->share->ring_events / 8);
	}
}

// While the stream does something that takes long.
static void breathe(void *context)
{
	struct collect_drain *drain = context;

	for (size_t i = 0; i < drain->cursors.n; i++) {
		struct collect_cursor *cursor = drain->cursors.v[i];
		uint64_t written = collect_load_64(&cursor->ring->written);

		if (!cursor->broken && written >= cursor->written &&
		    written - cursor->read <= drain->share->ring_events)
			cursor->written = written;
	}
	keep_full_ones(drain);
}

// --- the limit -----------------------------------------------------------------------------------
// Whether a ring that is busy without progress may be left out.
static bool is_hopeless(const struct collect_drain *drain, struct collect_cursor *cursor,
                        uint64_t stamp)
{
	uint64_t now = os_monotonic_ns(), waited;
	int process = drain->stream->process;

	if (!cursor->is_busy || cursor->busy_stamp != stamp) {
		cursor->is_busy = true;
		cursor->busy_stamp = stamp;
		cursor->busy_since_ns = now;
		return false;
	}
	waited = now - cursor->busy_since_ns;
	if (waited > PATIENCE_NS || drain->kept >= MOST_KEPT)
		return true;
	return waited > DEAD_NS && process &&
	       !os_thread_exists(process,
	                         (int32_t)collect_load_32((const uint32_t *)&cursor->ring->thread));
}

// Up to when all events of a ring are there. now: up to when they are if it is not busy.
static uint64_t cursor_limit(const struct collect_drain *drain, struct collect_cursor *cursor,
                             uint64_t now)
{
	uint64_t stamp, limit = now;

	if (collect_load_32(&cursor->ring->busy)) {
		stamp = collect_load_64(&cursor->ring->stamp);
		// Not busy at the last look: what it does now is not older than that.
		limit = stamp > cursor->clear ? stamp : cursor->clear;
		if (limit > now || is_hopeless(drain, cursor, stamp))
			limit = now;
	} else {
		cursor->is_busy = false;
		cursor->clear = now;
	}
	cursor_look(drain, cursor);
	return limit;
}

static void add_cursors(struct collect_drain *drain)
{
	uint32_t count = collect_load_32(&drain->share->header->ring_count);

	if (count > drain->share->ring_capacity)
		count = drain->share->ring_capacity;
	while (drain->cursors.n < count) {
		struct collect_cursor *cursor = cursor_new(drain, (uint32_t)drain->cursors.n);

		vec_push(&drain->cursors, cursor);
	}
}

// --- the order -----------------------------------------------------------------------------------
static inline uint64_t turn_of(const struct collect_drain *drain, uint64_t stamp)
{
	uint64_t ticks = stamp >> 8;

	return ticks > drain->future ? drain->limit : ticks;
}

static void sift_down(struct collect_drain *drain, size_t at)
{
	struct collect_turn *turns = drain->turns.v, moving = turns[at];
	size_t count = drain->turns.n, child;

	while ((child = 2 * at + 1) < count) {
		if (child + 1 < count && turns[child + 1].ticks < turns[child].ticks)
			child++;
		if (moving.ticks <= turns[child].ticks)
			break;
		turns[at] = turns[child];
		at = child;
	}
	turns[at] = moving;
}

static void heap_fill(struct collect_drain *drain)
{
	struct record_event event;

	drain->turns.n = 0;
	for (size_t i = 0; i < drain->cursors.n; i++) {
		struct collect_turn turn = { .cursor = (uint32_t)i };

		if (!cursor_peek(drain, drain->cursors.v[i], &event))
			continue;
		turn.ticks = turn_of(drain, event.stamp);
		if (turn.ticks <= drain->limit)
			vec_push(&drain->turns, turn);
	}
	for (size_t i = drain->turns.n / 2; i-- > 0;)
		sift_down(drain, i);
}

static inline void prefetch(const struct collect_drain *drain, const struct collect_cursor *cursor)
{
	const struct record_event *event =
		collect_ring_event(drain->share, cursor->ring, cursor->read + PREFETCH_AHEAD);

	collect_live_prefetch(&drain->stream->live,
	                      __atomic_load_n(&event->address, __ATOMIC_RELAXED));
}

// Gives the events of a ring that are not younger than bound to the stream. False when it has no more;
// else its next turn is in *ret.
static bool cursor_run(struct collect_drain *drain, struct collect_cursor *cursor, uint64_t bound,
                       uint64_t *ret)
{
	struct record_event event;

	while (cursor_peek(drain, cursor, &event)) {
		uint64_t ticks = turn_of(drain, event.stamp);

		// A text goes with the event before it.
		if (ticks > bound && (event.stamp & 0xff) != RECORD_TEXT) {
			*ret = ticks;
			return true;
		}
		event.stamp = record_stamp(ticks, event.stamp & 0xff);
		if ((event.stamp & 0xff) == RECORD_GAP)
			cursor->gaps += event.bytes;
		prefetch(drain, cursor);
		cursor_advance(drain, cursor);
		collect_stream_event(drain->stream, &cursor->source, &event);
	}
	return false;
}

// All events up to bound.
static void merge(struct collect_drain *drain, uint64_t bound)
{
	struct collect_turn *turns = drain->turns.v;

	while (drain->turns.n && turns[0].ticks <= bound) {
		uint64_t until = bound;

		for (size_t i = 1; i < 3 && i < drain->turns.n; i++)
			if (turns[i].ticks < until)
				until = turns[i].ticks;
		if (!cursor_run(drain, drain->cursors.v[turns[0].cursor], until, &turns[0].ticks))
			turns[0] = turns[--drain->turns.n];
		sift_down(drain, 0);
	}
}

// --- what others tell ----------------------------------------------------------------------------
// The next mark of a tool that lies before the limit; at its place the order is interrupted.
static bool next_mark(struct collect_drain *drain, struct record_mark *ret)
{
	struct record_header *header = drain->share->header;
	uint32_t count = collect_load_32(&header->mark_count);
	struct record_mark *mark = &header->marks[drain->marks % RECORD_MARKS];

	if (count - drain->marks > RECORD_MARKS) // damage, or nobody waited for us
		drain->marks = count;
	if (drain->marks == count)
		return false;
	ret->ticks = collect_load_64(&mark->ticks);
	if (!ret->ticks) {
		// Its tool is about to write it, or ended before it could.
		if (!drain->waits_ns)
			drain->waits_ns = os_monotonic_ns();
		if (os_monotonic_ns() - drain->waits_ns > SECOND_NS) {
			drain->marks++;
			drain->waits_ns = 0;
		}
		return false;
	}
	drain->waits_ns = 0;
	if (turn_of(drain, ret->ticks << 8) > drain->limit)
		return false;
	memcpy(ret->name, mark->name, sizeof(ret->name));
	ret->name[sizeof(ret->name) - 1] = '\0';
	__atomic_store_n(&mark->ticks, 0, __ATOMIC_RELEASE);
	drain->marks++;
	return true;
}

static void merge_with_marks(struct collect_drain *drain)
{
	struct record_mark mark;

	// Whoever makes them without end gets the rest of us in between.
	for (int i = 0; i < RECORD_MARKS && next_mark(drain, &mark); i++) {
		uint64_t ticks = turn_of(drain, mark.ticks << 8);

		merge(drain, ticks);
		collect_stream_own(drain->stream, ticks, RECORD_MARK, 0, mark.name);
	}
	merge(drain, drain->limit);
}

// Threads that found no ring at all.
static void tell_lost(struct collect_drain *drain)
{
	uint64_t lost = collect_load_64(&drain->share->header->lost);

	if (lost > drain->lost)
		collect_stream_own(drain->stream, drain->limit, RECORD_GAP, lost - drain->lost,
		                   NULL);
	if (lost > drain->lost)
		drain->lost = lost;
}

// Events that were lost after the last gap that a ring could tell.
static void tell_last_gaps(struct collect_drain *drain)
{
	for (size_t i = 0; i < drain->cursors.n; i++) {
		struct collect_cursor *cursor = drain->cursors.v[i];
		uint64_t lost = collect_load_64(&cursor->ring->lost);

		if (lost <= cursor->gaps)
			continue;
		collect_stream_own(drain->stream, drain->limit, RECORD_GAP, lost - cursor->gaps,
		                   NULL);
		cursor->gaps = lost;
	}
}

// --- rounds --------------------------------------------------------------------------------------
static void set_limit(struct collect_drain *drain, bool is_final)
{
	struct collect_clock *clock = &drain->stream->clock;
	uint64_t now, limit;

	collect_clock_settle(clock, drain->limit);
	now = collect_clock_ticks(clock);
	limit = is_final || now < clock->settle_ticks ? now : now - clock->settle_ticks;
	drain->future = is_final ? now : now + FUTURE_TICKS;
	add_cursors(drain);
	for (size_t i = 0; i < drain->cursors.n; i++) {
		uint64_t known = cursor_limit(drain, drain->cursors.v[i], limit);

		if (!is_final && known < limit)
			limit = known;
	}
	if (limit > drain->limit)
		drain->limit = limit;
}

uint64_t collect_drain_round(struct collect_drain *drain, bool is_final)
{
	uint64_t before = drain->stream->events;

	set_limit(drain, is_final);
	tell_lost(drain);
	heap_fill(drain);
	merge_with_marks(drain);
	if (is_final)
		tell_last_gaps(drain);
	for (size_t i = 0; i < drain->cursors.n; i++)
		cursor_tell(drain->cursors.v[i]);
	keep_full_ones(drain);
	return drain->stream->events - before;
}

bool collect_drain_is_pressed(const struct collect_drain *drain)
{
	for (size_t i = 0; i < drain->cursors.n; i++) {
		const struct collect_cursor *cursor = drain->cursors.v[i];

		if (!cursor->broken && collect_load_64(&cursor->ring->written) - cursor->read >
		                               drain->share->ring_events / 2)
			return true;
	}
	return false;
}

void collect_drain_init(struct collect_drain *drain, struct collect_stream *stream)
{
	*drain = (struct collect_drain){ .share = stream->share, .stream = stream };
	vec_init(&drain->cursors, &os_page_source);
	vec_init(&drain->turns, &os_page_source);
	stream->live.breathe = breathe;
	stream->live.context = drain;
}

void collect_drain_deinit(struct collect_drain *drain)
{
	for (size_t i = 0; i < drain->cursors.n; i++)
		cursor_free(drain->cursors.v[i]);
	vec_deinit(&drain->cursors);
	vec_deinit(&drain->turns);
}
