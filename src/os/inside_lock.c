// SPDX-License-Identifier: MIT
// The slow halves of the lock of inside.h: 0 free, 1 held, 2 held and somebody sleeps. After the
// mutex of "Futexes are tricky" (Drepper), with a short spin first, for what these locks guard takes
// less time than a sleep.
#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "os/inside.h"

enum { SPINS = 64 };

static void futex(uint32_t *word, int operation, uint32_t value)
{
	int saved = errno;

	syscall(SYS_futex, word, operation | FUTEX_PRIVATE_FLAG, value, NULL, NULL, 0);
	errno = saved;
}

void inside_lock_wait(struct inside_lock *lock)
{
	for (int i = 0; i < SPINS; i++) {
		if (!__atomic_load_n(&lock->state, __ATOMIC_RELAXED) && inside_lock_try(lock))
			return;
		__asm__ volatile("" ::: "memory");
	}
	while (__atomic_exchange_n(&lock->state, 2, __ATOMIC_ACQUIRE))
		futex(&lock->state, FUTEX_WAIT, 2);
}

void inside_lock_wake(struct inside_lock *lock)
{
	futex(&lock->state, FUTEX_WAKE, 1);
}
