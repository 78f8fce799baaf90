// SPDX-License-Identifier: MIT
// The gate: calls that change blocks pass it side by side, a walk over all blocks closes it. Who is
// inside is counted in several places by thread, so that threads do not share a line. A thread that is
// inside already (a signal handler that allocates, a message that does) is let through at once.
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

static __thread uint32_t depth;

// Thread-local data of different threads lies pages apart.
static uint32_t *own_users(void)
{
	return &places[((uintptr_t)&depth >> 12) % PLACES].users;
}

void debug_gate_enter(void)
{
	uint32_t *users = own_users();

	if (depth++)
		return;
	for (;;) {
		__atomic_fetch_add(users, 1, __ATOMIC_SEQ_CST);
		if (!__atomic_load_n(&closed, __ATOMIC_SEQ_CST))
			return;
		__atomic_fetch_sub(users, 1, __ATOMIC_SEQ_CST);
		inside_lock(&closing);
		inside_unlock(&closing);
	}
}

void debug_gate_leave(void)
{
	if (!--depth)
		__atomic_fetch_sub(own_users(), 1, __ATOMIC_SEQ_CST);
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
	if (depth)
		return false;
	inside_lock(&closing);
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
	depth = 0;
	__atomic_store_n(&closed, 0, __ATOMIC_SEQ_CST);
	inside_unlock(&closing);
}

void debug_gate_reset(void)
{
	for (unsigned i = 0; i < PLACES; i++)
		places[i].users = 0;
	closed = 0;
	closing.state = 0;
	depth = 0;
}
