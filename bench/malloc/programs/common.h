// SPDX-License-Identifier: MIT
/*
 * What the malloc programs share: arguments, random numbers, threads, and marks in blocks by which a
 * program notices that a block was given out twice or overwritten. All is inline: each program is one
 * file, compiled with -fno-builtin so that no malloc and free are optimised away.
 */
#ifndef MALLOC_COMMON_H
#define MALLOC_COMMON_H

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define THREADS_MOST 64

static inline void fail(const char *what)
{
	fprintf(stderr, "wrong: %s\n", what);
	exit(1);
}

// The number in argv[index], or fallback when it is not given.
static inline size_t argument(int argc, char **argv, int index, size_t fallback)
{
	return index < argc ? strtoul(argv[index], NULL, 10) : fallback;
}

// Never returns NULL.
static inline void *allocate(size_t size)
{
	void *block = malloc(size);

	if (!block)
		fail("malloc returned NULL");
	return block;
}

// Marsaglia's xorshift; the state must not be 0.
static inline uint64_t random_next(uint64_t *state)
{
	uint64_t value = *state;

	value ^= value << 13;
	value ^= value >> 7;
	value ^= value << 17;
	return *state = value;
}

static inline uint64_t random_seed(size_t number)
{
	return 0x9e3779b97f4a7c15u * (number + 1);
}

// Writes both ends of a block of at least 8 and less than 64 Ki bytes.
static inline void mark(void *block, size_t size)
{
	*(uint32_t *)block = (uint32_t)((uintptr_t)block >> 4 << 16) | (uint32_t)size;
	((unsigned char *)block)[size - 1] = (unsigned char)(size * 7);
}

// Fails unless mark() was the last to write the block.
static inline void mark_check(const void *block)
{
	uint32_t head = *(const uint32_t *)block;
	size_t size = head & 0xffff;

	if (size == 0 || head >> 16 != (uint16_t)((uintptr_t)block >> 4) ||
	    ((const unsigned char *)block)[size - 1] != (unsigned char)(size * 7))
		fail("a block was changed by another");
}

// Checks and clears the mark of a block that is to be freed, so that a block given out twice is
// noticed too. Looks at one address in 16: reading each would cost more than malloc and free.
static inline void mark_take(void *block)
{
	if ((uint32_t)((uintptr_t)block >> 4) * 2654435761u >> 28 != 0)
		return;
	mark_check(block);
	*(uint32_t *)block = 0;
}

// Runs function(number) in count threads, number = 0, 1, ..., and waits for them.
static inline void threads_run(size_t count, void *(*function)(void *number))
{
	pthread_t threads[THREADS_MOST];

	if (count > THREADS_MOST)
		fail("too many threads");
	for (size_t i = 0; i < count; i++) {
		if (pthread_create(&threads[i], NULL, function, (void *)i) != 0)
			fail("no thread");
	}
	for (size_t i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
}

#endif
