// SPDX-License-Identifier: MIT
// Zones in numbers, for bench/malloc/zones. Linked with -lheapwright; each mode prints its figures as
// NAME VALUE lines.
//   churn      100,000 zones made, used and destroyed one after the other: growth of resident memory
//   alive      4,000 zones alive, two threads allocate in all of them at random
//   destroy    a zone with 1,000,000 blocks destroyed, and the same pages given back by munmap alone
//   enumerate  a heap of 1 GiB is listed by a second process while two threads go on allocating
#include <malloc/malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now_ms(clockid_t clock)
{
	struct timespec time;

	clock_gettime(clock, &time);
	return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

static long resident_kib(void)
{
	long pages = 0, all = 0;
	FILE *file = fopen("/proc/self/statm", "r");

	if (!file || fscanf(file, "%ld %ld", &all, &pages) != 2)
		exit(1);
	fclose(file);
	return pages * 4;
}

static void churn_once(int count)
{
	for (int i = 0; i < count; i++) {
		malloc_zone_t *zone = malloc_create_zone(0, 0);

		for (int j = 0; j < 10; j++)
			memset(malloc_zone_malloc(zone, 100 + (size_t)j * 50), 1, 100);
		malloc_destroy_zone(zone);
	}
}

static void churn(void)
{
	long before, after;
	double start;

	churn_once(40000); // until the addresses of destroyed zones are used again
	before = resident_kib();
	start = now_ms(CLOCK_MONOTONIC);
	churn_once(100000);
	start = now_ms(CLOCK_MONOTONIC) - start;
	after = resident_kib(); // printf brings more of libc into memory
	printf("zone_us %.2f\n", start / 100);
	printf("growth_kib %ld\n", after - before);
}

// --- many alive ---------------------------------------------------------------------------------------
enum { ALIVE = 4000, OPERATIONS = 4000000, SLOTS = 100000 };
static malloc_zone_t *zones[ALIVE];

static void *work(void *seed)
{
	void **slots = calloc(SLOTS, sizeof(*slots));
	unsigned long random = (unsigned long)seed;

	for (int i = 0; i < OPERATIONS; i++) {
		unsigned slot;

		random = random * 6364136223846793005ul + 1442695040888963407ul;
		slot = (unsigned)(random >> 33) % SLOTS;
		free(slots[slot]);
		slots[slot] =
			malloc_zone_malloc(zones[(random >> 40) % ALIVE], (random >> 20) % 200);
		*(char *)slots[slot] = 1;
	}
	for (int i = 0; i < SLOTS; i++)
		free(slots[i]);
	return NULL;
}

static void alive(void)
{
	pthread_t threads[2];
	double start = now_ms(CLOCK_MONOTONIC), cpu;

	for (int i = 0; i < ALIVE; i++)
		zones[i] = malloc_create_zone(0, 0);
	printf("create_us %.2f\n", (now_ms(CLOCK_MONOTONIC) - start) * 1e3 / ALIVE);
	cpu = now_ms(CLOCK_PROCESS_CPUTIME_ID);
	for (long i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, work, (void *)(i + 1));
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	printf("pair_ns %.1f\n",
	       (now_ms(CLOCK_PROCESS_CPUTIME_ID) - cpu) * 1e6 / (2.0 * OPERATIONS));
	start = now_ms(CLOCK_MONOTONIC);
	for (int i = 0; i < ALIVE; i++)
		malloc_destroy_zone(zones[i]);
	printf("destroy_us %.2f\n", (now_ms(CLOCK_MONOTONIC) - start) * 1e3 / ALIVE);
	printf("zones_left %u\n", malloc_num_zones);
}

// --- destroy --------------------------------------------------------------------------------------------
static void destroy(void)
{
	enum { BLOCKS = 1000000 };
	malloc_zone_t *zone = malloc_create_zone(0, 0);
	malloc_statistics_t stats;
	double start, whole, pages;
	char *same;

	for (int i = 0; i < BLOCKS; i++)
		memset(malloc_zone_malloc(zone, 16 + (size_t)i % 10 * 16), 1, 16);
	malloc_zone_statistics(zone, &stats);
	start = now_ms(CLOCK_THREAD_CPUTIME_ID);
	malloc_destroy_zone(zone);
	whole = now_ms(CLOCK_THREAD_CPUTIME_ID) - start;
	same = mmap(NULL, stats.size_in_use, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
	            -1, 0);
	memset(same, 1, stats.size_in_use);
	start = now_ms(CLOCK_THREAD_CPUTIME_ID);
	munmap(same, stats.size_in_use);
	pages = now_ms(CLOCK_THREAD_CPUTIME_ID) - start;
	printf("blocks %u\nwhole_ms %.2f\npages_ms %.2f\n", stats.blocks_in_use, whole, pages);
}

// --- enumerate ------------------------------------------------------------------------------------------
static kern_return_t read_task(task_t task, vm_address_t address, vm_size_t size, void **local)
{
	static char *buffer;
	static size_t room;
	struct iovec here, there = { (void *)address, size };

	if (size > room)
		buffer = realloc(buffer, room = size * 2);
	here = (struct iovec){ buffer, size };
	*local = buffer;
	return process_vm_readv(task, &here, 1, &there, 1, 0) != (ssize_t)size;
}

static size_t listed, listed_bytes;

static void record(task_t task, void *context, unsigned type, vm_range_t *ranges, unsigned count)
{
	(void)task;
	(void)context;
	(void)type;
	for (unsigned i = 0; i < count; i++)
		listed_bytes += ranges[i].size;
	listed += count;
}

static void enumerate(void)
{
	malloc_zone_t *zone = malloc_create_zone(0, 0);
	size_t bytes = 0, blocks = 0;
	double start;
	pid_t subject = getpid();
	pthread_t threads[2];
	int status;

	for (int i = 0; i < ALIVE; i++)
		zones[i] = malloc_default_zone();
	for (; bytes < 1ul << 30; blocks++) {
		void *block = malloc_zone_malloc(zone, 16 + blocks * 7 % 500);

		memset(block, 1, 16);
		bytes += malloc_size(block);
	}
	for (long i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, work, (void *)(i + 1));
	if (!fork()) {
		start = now_ms(CLOCK_MONOTONIC);
		zone->introspect->enumerator(subject, NULL, MALLOC_PTR_IN_USE_RANGE_TYPE,
		                             (vm_address_t)zone, read_task, record);
		printf("enumerate_ms %.0f\nblocks %zu\nlisted %zu\nbytes_equal %d\n",
		       now_ms(CLOCK_MONOTONIC) - start, blocks, listed, listed_bytes == bytes);
		fflush(stdout);
		_exit(0);
	}
	wait(&status);
	_exit(status != 0);
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";

	if (!strcmp(mode, "churn"))
		churn();
	else if (!strcmp(mode, "alive"))
		alive();
	else if (!strcmp(mode, "destroy"))
		destroy();
	else if (!strcmp(mode, "enumerate"))
		enumerate();
	else
		return 64;
	return 0;
}
