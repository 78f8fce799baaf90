// SPDX-License-Identifier: MIT
// The gate: calls that change blocks pass it side by side, a walk over all blocks closes it. Who is
// inside is counted in several places by thread, so that threads do not share a line. A thread that is
// inside already (a signal handler that allocates, a message that does) is let through at once. While the
// gate is closed the thread that closed it takes no signals, for its handlers would pass.
#include "debug/debug_impl.h"

#include "os/inside.h"

enum {
	PLACES = 32,
	LINE_BYTES = 64,
	WAIT_TURNS = 200000, // a thread may have been stopped or ended inside
};

static struct {
	uint32_t users;
	uint8_t rest[LINE_BYTES - sizeof(uint32_t)];
} places[PLACES] __attribute__((aligned(LINE_BYTES)));

static struct inside_lock closing; // held while the gate is closed
static uint32_t closed;
static uint64_t signals; // of who closed it, blocked before

static __thread uint32_t depth;

// Thread-local data of different threads lies pages apart.
static uint32_t *own_users(void)
{
	return &places[((uintptr_t)&depth >> 12) % PLACES].users;
}

// Uninterrupted, for a handler might want to close the gate.
static void wait_until_open(void)
{
	uint64_t before = inside_signals_block();

	inside_lock(&closing);
	inside_unlock(&closing);
	inside_signals_restore(before);
}

// A thread counts as inside only once it is counted, so no handler slips through a closed gate. One that
// comes between the two, while somebody closes the gate, waits until he has given up.
void debug_gate_enter(void)
{
	uint32_t *users = own_users();

	if (depth) {
		depth++;
		return;
	}
	for (;;) {
		__atomic_fetch_add(users, 1, __ATOMIC_SEQ_CST);
		if (!__atomic_load_n(&closed, __ATOMIC_SEQ_CST))
			break;
		__atomic_fetch_sub(users, 1, __ATOMIC_SEQ_CST);
		wait_until_open();
	}
	depth = 1;
}

void debug_gate_leave(void)
{
	if (--depth)
		return;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	__atomic_fetch_sub(own_users(), 1, __ATOMIC_SEQ_CST);
}

bool debug_gate_inside(void)
{
	return depth;
}

bool debug_gate_nested(void)
{
	return depth > 1;
}

static bool wait_until_empty(uint32_t *users)
{
	for (unsigned turn = 0; turn < WAIT_TURNS; turn++) {
		if (!__atomic_load_n(users, __ATOMIC_SEQ_CST))
			return true;
		inside_yield();
	}
	return false;
}

bool debug_gate_close(void)
{
	uint64_t before;

	if (depth)
		return false;
	before = inside_signals_block();
	inside_lock(&closing);
	signals = before;
	__atomic_store_n(&closed, 1, __ATOMIC_SEQ_CST);
	for (unsigned i = 0; i < PLACES; i++)
		if (!wait_until_empty(&places[i].users)) {
			debug_gate_open();
			return false;
		}
	depth++; // what the owner allocates now passes
	return true;
}

void debug_gate_open(void)
{
	uint64_t before = signals;

	depth = 0;
	__atomic_store_n(&closed, 0, __ATOMIC_SEQ_CST);
	inside_unlock(&closing);
	inside_signals_restore(before);
}

void debug_gate_reset(bool closed_it)
{
	for (unsigned i = 0; i < PLACES; i++)
		places[i].users = 0;
	closed = 0;
	closing.state = 0;
	depth = 0;
	if (closed_it)
		inside_signals_restore(signals);
}
