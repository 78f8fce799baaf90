// SPDX-License-Identifier: MIT
// One event: its stack, its stamp, its place in the ring of the thread; and what happens when the ring
// is full. Relies on thread.c for the ring and on unwind.c for the stack; called through the hooks.
//
// A full ring. The collector gets wait_ns to make room, once: when it has not by then, it may be
// stopped, and no thread waits for it again until a ring that was full was read further. Events without
// room are counted, and a RECORD_GAP tells of them as soon as there is room. When the collector is gone
// altogether the recording ends.
//
// Signal handlers. One that comes while its thread is in here puts its events aside, and the thread
// puts them into the ring at their place when it goes on: no stamp in a ring is below the one before.
#include <string.h>

#include "record/record_impl.h"

enum { TEXT_BYTES = 24 };

// The collector did not read in time; no thread waits for it.
static uint32_t collector_stalls;

void record_event_start(void)
{
	collector_stalls = 0;
}

static void wake_collector(void)
{
	__atomic_fetch_add(&record_header->wake, 1, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&record_header->collector_sleeps, __ATOMIC_SEQ_CST))
		inside_share_wake(&record_header->wake);
}

// --- room -----------------------------------------------------------------------------------------
static uint64_t room_until(const struct record_thread *self)
{
	return __atomic_load_n(&self->ring->read, __ATOMIC_ACQUIRE) + self->mask + 1;
}

// The collector clears waiting and wakes us when it has read; or it had read before we looked again.
static bool wait_for_room(struct record_thread *self, uint64_t end)
{
	uint64_t last_ns = inside_monotonic_ns() + record_header->wait_ns;
	uint64_t now_ns;

	while (room_until(self) < end) {
		now_ns = inside_monotonic_ns();
		if (now_ns >= last_ns || !record_gate->open)
			return false;
		__atomic_store_n(&self->ring->waiting, 1, __ATOMIC_SEQ_CST);
		wake_collector();
		if (room_until(self) < end)
			inside_share_wait(&self->ring->waiting, 1, last_ns - now_ns);
	}
	__atomic_store_n(&self->ring->waiting, 0, __ATOMIC_RELAXED);
	return true;
}

static void collector_stalled(void)
{
	uint32_t collector = record_header->collector_id;

	__atomic_store_n(&collector_stalls, 1, __ATOMIC_RELAXED);
	if (record_settings.collector && collector && !inside_process_lives((int)collector))
		record_close();
}

static bool await_room(struct record_thread *self, uint64_t end)
{
	if (room_until(self) >= end)
		return true;
	if (__atomic_load_n(&collector_stalls, __ATOMIC_RELAXED) ||
	    record_header->collector == RECORD_COLLECTOR_ENDED)
		return false;
	if (wait_for_room(self, end))
		return true;
	collector_stalled();
	return false;
}

static void lose(struct record_thread *self, enum record_gap why, uint64_t events)
{
	self->lost += events;
	self->lost_why = why;
	self->limit = 0; // the next event comes by here
	__atomic_store_n(&self->ring->lost, self->ring->lost + events, __ATOMIC_RELAXED);
}

// The collector hears of a ring that is half full, and the next look is when it is so again.
static void set_limit(struct record_thread *self)
{
	uint64_t half = (self->mask + 1) / 2;
	uint64_t end = room_until(self);

	if (end - self->written <= half) {
		wake_collector();
		self->limit = end;
	} else {
		self->limit = end - half;
	}
}

// --- writing --------------------------------------------------------------------------------------
static inline void publish(struct record_thread *self, uint64_t ticks)
{
	self->ring->stamp = ticks;
	__atomic_store_n(&self->ring->written, self->written, __ATOMIC_RELEASE);
}

static inline struct record_event *next_place(struct record_thread *self)
{
	return &self->events[self->written++ & self->mask];
}

static inline void put(struct record_thread *self, uint64_t ticks, uint32_t kind, uint64_t address,
                       uint64_t bytes, uint32_t node, uint32_t extra)
{
	struct record_event *event = next_place(self);

	event->stamp = record_stamp(ticks, kind);
	event->address = address;
	event->bytes = bytes;
	event->node = node;
	event->extra = extra;
}

// At the time of the event before it: what was put aside since may have an older stamp than now.
static void put_gap(struct record_thread *self)
{
	put(self, self->ring->stamp, RECORD_GAP, 0, self->lost, 0, self->lost_why);
	publish(self, self->ring->stamp);
	self->lost = 0;
	self->lost_why = 0;
}

// Room for so many events, with the gap before them told of. False when they are lost.
static bool make_room(struct record_thread *self, uint64_t events)
{
	if (!await_room(self, self->written + events + (self->lost ? 1 : 0))) {
		lose(self, RECORD_GAP_FULL, 1);
		return false;
	}
	if (self->lost) {
		if (self->lost_why == RECORD_GAP_FULL)
			__atomic_store_n(&collector_stalls, 0, __ATOMIC_RELAXED);
		put_gap(self);
	}
	set_limit(self);
	return true;
}

// --- put aside by signal handlers -----------------------------------------------------------------
// Runs on top of whatever part of the recorder it interrupted, and is over before that goes on.
void record_event_put_aside(struct record_thread *self, uint32_t kind, uint64_t address,
                            uint64_t bytes, uint32_t node, uint32_t extra)
{
	uint32_t i = self->side_count;

	__atomic_store_n(&self->ring->busy, 1, __ATOMIC_RELAXED);
	if (i == RECORD_SIDE_EVENTS) {
		self->side_lost++;
		return;
	}
	self->side[i] = (struct record_event){ record_stamp(record_now(), kind), address, bytes,
		                               node, extra };
	RECORD_BARRIER();
	self->side_count = i + 1;
}

static void put_one_aside(struct record_thread *self, const struct record_event *event)
{
	if (record_header->mode == RECORD_LITE) {
		record_live_apply(event);
		return;
	}
	if (self->written >= self->limit && !make_room(self, 1))
		return;
	*next_place(self) = *event;
	publish(self, event->stamp >> 8);
}

// Those that came before the limit. A handler may add to them at any time; what it adds is newer.
void record_event_take_aside(struct record_thread *self, uint64_t limit_ticks)
{
	uint32_t seen, now;

	do {
		seen = now = self->side_count;
		for (; self->side_done < seen; self->side_done++) {
			if (self->side[self->side_done].stamp >> 8 >= limit_ticks)
				return;
			put_one_aside(self, &self->side[self->side_done]);
		}
		self->side_done = 0;
		RECORD_BARRIER();
		if (__atomic_compare_exchange_n(&self->side_count, &now, 0, false, __ATOMIC_RELAXED,
		                                __ATOMIC_RELAXED))
			break;
		self->side_done = seen;
	} while (true);
	if (self->side_lost)
		lose(self, RECORD_GAP_SIGNAL,
		     __atomic_exchange_n(&self->side_lost, 0, __ATOMIC_RELAXED));
}

// --- an event -------------------------------------------------------------------------------------
static inline uint64_t stamp_now(uint32_t kind)
{
	if (kind < RECORD_FREE && record_threads_many && record_clock_ticks)
		return inside_ticks_after_loads() - record_clock_start;
	return record_now();
}

static inline void append(struct record_thread *self, uint32_t kind, uint64_t address,
                          uint64_t bytes, uint32_t node, uint32_t extra)
{
	uint64_t ticks;

	if (RECORD_UNLIKELY(self->written >= self->limit) && !make_room(self, 1))
		return;
	__atomic_store_n(&self->ring->busy, 1, __ATOMIC_RELAXED);
	RECORD_BARRIER();
	ticks = stamp_now(kind);
	if (RECORD_UNLIKELY(self->side_count))
		record_event_take_aside(self, ticks);
	put(self, ticks, kind, address, bytes, node, extra);
	publish(self, ticks);
	if (RECORD_LIKELY(!self->side_count))
		__atomic_store_n(&self->ring->busy, 0, __ATOMIC_RELEASE);
}

void record_event_append(struct record_thread *self, uint32_t kind, uint64_t address,
                         uint64_t bytes, uint32_t node, uint32_t extra)
{
	if (record_header->mode != RECORD_LITE)
		append(self, kind, address, bytes, node, extra);
}

static void put_text(struct record_thread *self, uint64_t ticks, const char *text, size_t length)
{
	for (size_t i = 0; i <= length; i += TEXT_BYTES) {
		struct record_event event = { .stamp = record_stamp(ticks, RECORD_TEXT) };

		memcpy((char *)&event + offsetof(struct record_event, address), text + i,
		       length - i < TEXT_BYTES ? length - i : TEXT_BYTES);
		*next_place(self) = event;
	}
}

void record_event_append_text(struct record_thread *self, uint32_t kind, uint64_t address,
                              uint64_t bytes, uint32_t node, uint32_t extra, const char *text)
{
	size_t length = text ? strnlen(text, RECORD_TEXT_BYTES - 1) : 0;
	uint64_t events = 1 + (text ? (length + TEXT_BYTES) / TEXT_BYTES : 0);
	uint64_t ticks;

	if (self->written + events > self->limit && !make_room(self, events))
		return;
	__atomic_store_n(&self->ring->busy, 1, __ATOMIC_RELAXED);
	RECORD_BARRIER();
	ticks = stamp_now(kind);
	record_event_take_aside(self, ticks);
	put(self, ticks, kind, address, bytes, node, extra);
	if (text)
		put_text(self, ticks, text, length);
	publish(self, ticks);
	__atomic_store_n(&self->ring->busy, 0, __ATOMIC_RELEASE);
}

// --- the hooks ------------------------------------------------------------------------------------
static uint32_t allocated(uint32_t kind, uint64_t address, uint64_t bytes, uint32_t extra,
                          const struct record_position *at)
{
	struct record_thread *self = record_thread_enter(at);
	uint32_t node;

	if (RECORD_UNLIKELY(!self)) {
		record_thread_aside(kind, address, bytes, extra, at);
		return 0;
	}
	node = record_paths_node(self->unwinder, at);
	append(self, kind, address, bytes, node, extra);
	record_thread_leave(self);
	return node;
}

static void freed(uint32_t kind, uint64_t address, const struct record_position *at)
{
	const uint64_t *word = (const uint64_t *)address;
	struct record_thread *self;
	uint32_t node;

	// Often in no cache; the stack is found meanwhile.
	__builtin_prefetch(word);
	self = record_thread_enter(at);
	if (RECORD_UNLIKELY(!self)) {
		record_thread_aside(kind, address, *word, 0, at);
		return;
	}
	node = record_paths_node(self->unwinder, at);
	append(self, kind, address, *word, node, 0);
	record_thread_leave(self);
}

void record_event_called(uint32_t kind, uint64_t address, uint64_t bytes, uint32_t extra,
                         const char *text, const struct record_position *at)
{
	struct record_thread *self = record_thread_enter(at);

	if (!self) {
		record_thread_aside(kind, address, bytes, extra, at);
		return;
	}
	record_event_append_text(self, kind, address, bytes, record_paths_node(self->unwinder, at),
	                         extra, text);
	record_thread_leave(self);
}

uint32_t record_event_stack(const struct record_position *at)
{
	struct record_thread *self = record_thread_enter(at);
	uint32_t node;

	if (RECORD_UNLIKELY(!self))
		return record_gate->open ? record_node_child(0, at->pc | RECORD_NODE_TRUNCATED) : 0;
	node = record_paths_node(self->unwinder, at);
	record_thread_leave(self);
	return node;
}

const struct record_hooks record_event_hooks = { .allocated = allocated,
	                                         .freed = freed,
	                                         .stack = record_event_stack,
	                                         .called = record_event_called };
