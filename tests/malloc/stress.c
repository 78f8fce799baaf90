// SPDX-License-Identifier: MIT
// Threads that allocate, resize and free blocks of all sizes in several zones, free those of other
// threads, make and destroy zones, end and are started again, while the process forks and the metadata
// is checked in full again and again. Each block carries a pattern of its own. When all threads have
// ended and everything is freed, no block may be left.
//
// usage: stress [SECONDS [THREADS]]     linked with the malloc room under its own functions
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "malloc/malloc.h"

enum {
	THREADS_MOST = 64,
	SHARED_ZONES = 4, // the first is the default one
	EXCHANGE = 2048,
	OWN = 512,
	BATCH = 300,
	STEPS = 4000, // of a thread before it ends
};

struct header {
	uint32_t bytes;
	uint16_t zone;
	uint16_t pattern;
};

static malloc_zone_t *zones[SHARED_ZONES];
static _Atomic(struct header *) exchange[EXCHANGE];
static atomic_bool stop;
static atomic_ulong steps_done, forks_done, zones_made, checks_done;

static void fail(const char *what, const void *where)
{
	fprintf(stderr, "stress: %s at %p\n", what, where);
	abort();
}

static uint64_t next_random(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
	return *seed >> 24;
}

// Mostly small; sometimes of every other kind.
static size_t random_bytes(uint64_t *seed)
{
	uint64_t random = next_random(seed), kind = random % 4096;

	random /= 4096;
	if (kind < 3400)
		return sizeof(struct header) + random % 1017;
	if (kind < 4000)
		return sizeof(struct header) + random % (32 << 10);
	if (kind < 4090)
		return sizeof(struct header) + random % (400 << 10);
	return sizeof(struct header) + random % (kind == 4095 ? 40 << 20 : 4 << 20);
}

// The bytes of a block that carry its pattern: all of a small one, some of a long one.
static size_t stride(size_t bytes)
{
	return bytes < 512 ? 1 : bytes < 1 << 20 ? 509 : 40009;
}

static unsigned char pattern_at(const struct header *block, size_t i)
{
	return (unsigned char)(block->pattern + i * 7);
}

static struct header *mark(void *memory, size_t bytes, unsigned zone, uint64_t *seed)
{
	struct header *block = memory;

	if (!block)
		return NULL;
	*block = (struct header){ (uint32_t)bytes, (uint16_t)zone, (uint16_t)next_random(seed) };
	for (size_t i = sizeof(*block); i < bytes; i += stride(bytes))
		((unsigned char *)block)[i] = pattern_at(block, i);
	return block;
}

static void verify_part(const struct header *block, size_t bytes)
{
	for (size_t i = sizeof(*block); i < bytes; i += stride(block->bytes))
		if (((const unsigned char *)block)[i] != pattern_at(block, i))
			fail("block was overwritten", block);
}

static void verify(const struct header *block)
{
	if (zones[block->zone] &&
	    zones[block->zone]->size(zones[block->zone], block) < block->bytes)
		fail("block is shorter than it was", block);
	verify_part(block, block->bytes);
}

static void give(struct header *block)
{
	if (!block)
		return;
	verify(block);
	block->pattern++; // whoever still checks it now is told
	zones[block->zone]->free(zones[block->zone], block);
}

static struct header *take(uint64_t *seed)
{
	uint64_t choice = next_random(seed);
	unsigned number = choice % 8 < 5 ? 0 : (unsigned)(choice / 8 % SHARED_ZONES);
	malloc_zone_t *zone = zones[number];
	size_t bytes = random_bytes(seed), alignment;
	unsigned char *zeroed;

	switch (choice / 64 % 8) {
	case 0:
		zeroed = zone->calloc(zone, 1, bytes);
		for (size_t i = 0; zeroed && i < bytes; i += stride(bytes))
			if (zeroed[i])
				fail("calloc is not zero", zeroed);
		return mark(zeroed, bytes, number, seed);
	case 1:
		alignment = (size_t)16 << choice / 1024 % 12;
		zeroed = zone->memalign(zone, alignment, bytes);
		if ((uintptr_t)zeroed % alignment)
			fail("block is not aligned", zeroed);
		return mark(zeroed, bytes, number, seed);
	default:
		return mark(number ? zone->malloc(zone, bytes) : malloc_core_allocate(bytes), bytes,
		            number, seed);
	}
}

static struct header *resize(struct header *block, uint64_t *seed)
{
	size_t bytes = random_bytes(seed), kept;
	malloc_zone_t *zone;
	unsigned number;

	if (!block)
		return NULL;
	verify(block);
	kept = block->bytes < bytes ? block->bytes : bytes;
	number = block->zone;
	zone = zones[number];
	block = zone->realloc(zone, block, bytes);
	if (!block)
		fail("realloc failed", NULL);
	verify_part(block, kept);
	return mark(block, bytes, number, seed);
}

static void batch(uint64_t *seed)
{
	static const size_t sizes[] = { 8, 40, 512, 3000, 20000 };
	size_t bytes = sizes[next_random(seed) % 5];
	malloc_zone_t *zone = zones[next_random(seed) % SHARED_ZONES];
	void *blocks[BATCH];
	unsigned count = zone->batch_malloc(zone, bytes, blocks, BATCH);

	if (count != BATCH)
		fail("batch is not full", NULL);
	for (unsigned i = 0; i < count; i++)
		memset(blocks[i], (int)i, bytes);
	for (unsigned i = 0; i < count; i++)
		if (*(unsigned char *)blocks[i] != (unsigned char)i)
			fail("block of a batch was overwritten", blocks[i]);
	zone->batch_free(zone, blocks, count);
}

static void zone_life(uint64_t *seed)
{
	malloc_zone_t *zone = malloc_core_create();
	unsigned count = (unsigned)(next_random(seed) % 2000);

	for (unsigned i = 0; i < count; i++) {
		size_t bytes = random_bytes(seed) % (100 << 10);
		void *block = zone->malloc(zone, bytes);

		memset(block, 0x11, bytes);
		if (i % 3 == 0)
			zone->free(zone, block);
	}
	zone->destroy(zone);
	zones_made++;
}

static void step(struct header **own, uint64_t *seed)
{
	struct header **slot = &own[next_random(seed) % OWN];
	uint64_t choice = next_random(seed) % 1024;

	if (choice < 400) {
		give(*slot);
		*slot = take(seed);
	} else if (choice < 700) {
		*slot = atomic_exchange(&exchange[next_random(seed) % EXCHANGE], *slot);
	} else if (choice < 900) {
		give(*slot);
		*slot = NULL;
	} else if (choice < 1010) {
		*slot = resize(*slot, seed);
	} else if (choice < 1020) {
		batch(seed);
	} else if (choice == 1022) {
		zone_life(seed);
	} else if (choice == 1023 && next_random(seed) % 16 == 0) {
		malloc_core_relieve(NULL, 0);
	}
}

static void *work(void *number)
{
	struct header *own[OWN] = { 0 };
	uint64_t seed = (uintptr_t)number;

	for (unsigned i = 0; i < STEPS && !atomic_load(&stop); i++)
		step(own, &seed);
	for (unsigned i = 0; i < OWN; i++)
		give(own[i]);
	atomic_fetch_add(&steps_done, STEPS);
	return NULL;
}

static void child_works(void)
{
	struct header *own[OWN] = { 0 };
	uint64_t seed = (uint64_t)getpid();

	if (!malloc_core_check(NULL))
		fail("metadata is wrong in a child", NULL);
	for (unsigned i = 0; i < 2000; i++)
		step(own, &seed);
	if (!malloc_core_check(NULL))
		fail("metadata is wrong at the end of a child", NULL);
	_exit(0);
}

static void *fork_now_and_then(void *unused)
{
	const struct timespec pause = { .tv_nsec = 20000000 };

	while (!atomic_load(&stop)) {
		int status;
		pid_t child;

		malloc_fork_prepare();
		child = fork();
		if (child) {
			malloc_fork_parent();
		} else {
			malloc_fork_child();
			child_works();
		}
		if (child < 0 || waitpid(child, &status, 0) != child || status)
			fail("a child failed", NULL);
		forks_done++;
		nanosleep(&pause, NULL);
	}
	return unused;
}

static bool count_block(void *context, const struct malloc_block *block)
{
	(void)block;
	++*(size_t *)context;
	return true;
}

// With no threads left: what is in the exchange goes, then nothing may be left.
static void end_epoch(void)
{
	size_t left = 0;

	for (unsigned i = 0; i < EXCHANGE; i++)
		give(atomic_exchange(&exchange[i], NULL));
	malloc_core_relieve(NULL, 0);
	if (!malloc_core_check(NULL))
		fail("metadata is wrong", NULL);
	malloc_blocks_each(zones[0], count_block, &left);
	if (left)
		fail("blocks are left, so many", (void *)left);
}

static void epoch(unsigned threads, uint64_t number, double seconds)
{
	const struct timespec pause = { .tv_nsec = 5000000 };
	time_t end = time(NULL) + (time_t)(seconds < 1 ? 1 : seconds);
	pthread_t workers[THREADS_MOST], forker;

	atomic_store(&stop, false);
	for (unsigned i = 1; i < SHARED_ZONES; i++)
		zones[i] = malloc_core_create();
	pthread_create(&forker, NULL, fork_now_and_then, NULL);
	for (unsigned i = 0; i < threads; i++)
		pthread_create(&workers[i], NULL, work, (void *)(number * 1000 + i));
	for (uint64_t round = 1; time(NULL) < end; round++) {
		unsigned i = (unsigned)(round % threads);

		if (!malloc_core_check(NULL))
			fail("metadata is wrong", NULL);
		checks_done++;
		nanosleep(&pause, NULL);
		if (round % 8)
			continue;
		pthread_join(workers[i], NULL);
		pthread_create(&workers[i], NULL, work,
		               (void *)(number * 1000 + round * threads + i));
	}
	atomic_store(&stop, true);
	for (unsigned i = 0; i < threads; i++)
		pthread_join(workers[i], NULL);
	pthread_join(forker, NULL);
	end_epoch();
	for (unsigned i = 1; i < SHARED_ZONES; i++)
		zones[i]->destroy(zones[i]);
}

int main(int argc, char **argv)
{
	double seconds = argc > 1 ? atof(argv[1]) : 5;
	unsigned threads = argc > 2 ? (unsigned)atoi(argv[2]) : 4;
	time_t end = time(NULL) + (time_t)seconds;
	uint64_t number = 0;

	if (threads < 1 || threads > THREADS_MOST)
		return 64;
	zones[0] = malloc_core_default();
	do
		epoch(threads, ++number, seconds < 6 ? seconds : 3);
	while (time(NULL) < end);
	printf("%lu steps, %lu forks, %lu zones, %lu full checks\n", steps_done, forks_done,
	       zones_made, checks_done);
	return 0;
}
