// SPDX-License-Identifier: MIT
// The ring of a thread: claimed at its first event, left when its last destructor ran. Relies on
// pthread keys for that; called by event.c and its neighbours.
//
// 1. A thread's end is told by a destructor of a pthread key, in the last of the rounds that libpthread
//    makes, because other destructors free as well. What still comes behind it (libc's own) claims a
//    ring for that one event and leaves it again.
// 2. A ring that was left is claimed again when the collector has read all of it, so that it knows
//    whose the events were; threads that come and go quickly take more rings meanwhile.
// 3. Another recording may begin in the same process (a tool attaches again). The threads still hold
//    what they had in the one before; it is marked stale, with `inside` set, so that they come by the
//    slow way and give it back, or do so when they end.
// 4. `inside` is the stack pointer of the call that is in the recorder. A call that finds it set comes
//    from a signal handler, unless its own stack pointer is not below that on the same stack: then the
//    handler that interrupted the recorder has left by longjmp, and what it left behind is given up.
#include <limits.h>
#include <pthread.h>

#include "record/record_impl.h"

__thread struct record_thread *record_self;
static __thread bool claiming, ended;
static __thread unsigned char rounds;

bool record_threads_many;

static struct record_thread *threads[RECORD_RINGS_MAX];
static uint32_t threads_end; // above all that there are
static pthread_key_t end_key;
static bool end_key_made;

// --- rings ----------------------------------------------------------------------------------------
static struct record_ring *ring_at(uint32_t i)
{
	return record_at(record_header->rings_offset + i * record_header->ring_stride);
}

static bool take(struct record_ring *ring, uint32_t state)
{
	return __atomic_load_n(&ring->state, __ATOMIC_RELAXED) == state &&
	       __atomic_compare_exchange_n(&ring->state, &state, RECORD_RING_OWNED, false,
	                                   __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

static bool is_read(const struct record_ring *ring)
{
	return __atomic_load_n(&ring->read, __ATOMIC_ACQUIRE) == ring->written;
}

// The lowest that was left; its memory is there already.
static bool take_left(uint32_t *ret)
{
	uint32_t count = __atomic_load_n(&record_header->ring_count, __ATOMIC_ACQUIRE);

	for (uint32_t i = 0; i < count; i++) {
		struct record_ring *ring = ring_at(i);

		if (ring->state != RECORD_RING_LEFT || !is_read(ring) ||
		    !take(ring, RECORD_RING_LEFT))
			continue;
		*ret = i;
		return true;
	}
	return false;
}

static bool take_unused(uint32_t *ret)
{
	uint32_t i = __atomic_load_n(&record_header->ring_count, __ATOMIC_RELAXED);

	do {
		if (i >= record_header->ring_capacity)
			return false;
	} while (!__atomic_compare_exchange_n(&record_header->ring_count, &i, i + 1, false,
	                                      __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
	ring_at(i)->state = RECORD_RING_OWNED;
	record_threads_many |= i > 0;
	*ret = i;
	return true;
}

// --- threads --------------------------------------------------------------------------------------
struct memory {
	struct record_thread thread;
	struct record_unwinder unwinder;
};

static struct record_thread *thread_of(uint32_t index)
{
	struct record_thread *self = threads[index];
	struct memory *memory;
	uint32_t end;

	if (self)
		return self;
	memory = inside_map(sizeof(*memory), RECORD_PAGE_BYTES, INSIDE_READ_WRITE);
	record_own_list(memory, sizeof(*memory));
	if (!memory)
		return NULL;
	memory->thread.unwinder = &memory->unwinder;
	threads[index] = &memory->thread;
	while (index >= (end = __atomic_load_n(&threads_end, __ATOMIC_RELAXED)))
		__atomic_compare_exchange_n(&threads_end, &end, index + 1, false, __ATOMIC_RELAXED,
		                            __ATOMIC_RELAXED);
	return threads[index];
}

// What it knows of the stack of the thread before, or of a walk that was broken off.
static void forget_stack(struct record_unwinder *unwinder)
{
	unwinder->low = unwinder->top = unwinder->foreign = 0;
	unwinder->frame_count = 0;
}

static void set_up(struct record_thread *self, uint32_t index)
{
	struct record_ring *ring = ring_at(index);

	self->index = index;
	self->ring = ring;
	self->events = (struct record_event *)((char *)ring + record_header->ring_header_bytes);
	self->mask = record_header->ring_events - 1;
	self->written = ring->written;
	self->limit = 0;
	self->ended = ended;
	self->samples = false;
	self->owned = true;
	ring->thread = inside_thread_id();
	forget_stack(self->unwinder);
}

static struct record_thread *claim(void)
{
	struct record_thread *self;
	uint32_t index;

	if (!take_left(&index) && !take_unused(&index))
		return NULL;
	self = thread_of(index);
	if (!self) {
		ring_at(index)->state = RECORD_RING_LEFT;
		return NULL;
	}
	set_up(self, index);
	return self;
}

// The thread is inside.
static void leave_ring(struct record_thread *self)
{
	record_event_append(self, RECORD_THREAD_END, 0, 0, 0, 0);
	record_event_take_aside(self, UINT64_MAX);
	record_self = NULL;
	self->owned = false;
	self->inside = 0;
	__atomic_store_n(&self->ring->busy, 0, __ATOMIC_RELEASE);
	__atomic_store_n(&self->ring->state, RECORD_RING_LEFT, __ATOMIC_RELEASE);
}

static void thread_ends(void *value)
{
	struct record_thread *self;

	if (++rounds < PTHREAD_DESTRUCTOR_ITERATIONS) {
		pthread_setspecific(end_key, value);
		return;
	}
	ended = true;
	self = record_self;
	if (self && self->stale) {
		record_self = NULL;
		inside_unmap(self, sizeof(struct memory));
		return;
	}
	if (!self || self->inside)
		return;
	if (!record_gate->open) {
		record_self = NULL;
		self->owned = false;
		return;
	}
	self->inside = (uintptr_t)__builtin_frame_address(0);
	leave_ring(self);
}

// No handler may leave this half-way by a jump.
static struct record_thread *begin(uintptr_t sp)
{
	uint64_t signals = inside_block_signals();
	struct record_thread *self;

	claiming = true;
	RECORD_BARRIER();
	self = claim();
	if (self) {
		if (record_self && record_self != self)
			inside_unmap(record_self, sizeof(struct memory));
		self->inside = sp;
		record_self = self;
		if (!ended && end_key_made)
			pthread_setspecific(end_key, self);
		record_event_append(self, RECORD_THREAD, (uint64_t)self->ring->thread, 0, 0, 0);
	}
	RECORD_BARRIER();
	claiming = false;
	inside_unblock_signals(signals);
	return self;
}

static bool was_abandoned(const struct record_thread *self, const struct record_position *at)
{
	return at->sp >= self->inside && !inside_on_signal_stack();
}

struct record_thread *record_thread_enter_slow(const struct record_position *at)
{
	struct record_thread *self = record_self;

	if (!record_gate->open || claiming)
		return NULL;
	if (!self || self->stale)
		return begin(at->sp);
	if (self->inside) {
		if (!was_abandoned(self, at))
			return NULL;
		forget_stack(self->unwinder);
		self->written = self->ring->written;
		self->limit = 0;
	}
	self->inside = at->sp;
	RECORD_BARRIER();
	return self;
}

void record_thread_leave_slow(struct record_thread *self)
{
	while (self->side_count) {
		self->inside = (uintptr_t)__builtin_frame_address(0);
		RECORD_BARRIER();
		record_event_take_aside(self, UINT64_MAX);
		__atomic_store_n(&self->ring->busy, 0, __ATOMIC_RELEASE);
		self->inside = 0;
		RECORD_BARRIER();
	}
	if (!self->ended)
		return;
	self->inside = (uintptr_t)__builtin_frame_address(0);
	leave_ring(self);
}

// Its stack is not walked: the walker is at work below. Only the caller is told.
void record_thread_aside(uint32_t kind, uint64_t address, uint64_t bytes, uint32_t extra,
                         const struct record_position *at)
{
	struct record_thread *self = record_self;

	if (!record_gate->open)
		return;
	if (self && self->inside)
		record_event_put_aside(self, kind, address, bytes,
		                       record_node_child(0, at->pc | RECORD_NODE_TRUNCATED), extra);
	else
		__atomic_fetch_add(&record_header->lost, 1, __ATOMIC_RELAXED);
}

// Of a recording that has ended.
static void retire(struct record_thread *thread)
{
	if (!thread->owned) {
		inside_unmap(thread, sizeof(struct memory));
		return;
	}
	thread->stale = true;
	RECORD_BARRIER();
	thread->inside = UINTPTR_MAX;
}

void record_thread_start(void)
{
	// A handler in a child that interrupted the recorder in the parent.
	if (record_self && record_self->inside && !record_self->stale)
		record_self = NULL;
	for (uint32_t i = 0; i < threads_end; i++) {
		if (threads[i])
			retire(threads[i]);
		threads[i] = NULL;
	}
	threads_end = 0;
	claiming = false;
	record_threads_many = false;
	if (!end_key_made)
		end_key_made = !pthread_key_create(&end_key, thread_ends);
}

uint64_t record_told(void)
{
	const struct record_thread *self = record_self;

	return self ? self->written + self->lost + record_sample_distance : 0;
}
