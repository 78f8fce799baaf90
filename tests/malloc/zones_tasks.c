// SPDX-License-Identifier: MIT
// What the introspection of zones says, of the own process and of another one: a program that runs this
// file again as "subject", builds zones, tells its blocks through a pipe and stops itself.
#include "zones.h"

#include <pthread.h>
#include <signal.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BLOCKS = 20000, THREADS = 3 };

struct told {
	uintptr_t address; // 0 ends the list
	size_t bytes;
};

struct list {
	struct told *items;
	size_t count;
};

static int by_address(const void *a, const void *b)
{
	const struct told *x = a, *y = b;

	return x->address < y->address ? -1 : x->address > y->address;
}

// --- blocks that are known ----------------------------------------------------------------------------
static size_t size_of(unsigned i)
{
	static const size_t sizes[] = { 0, 8, 16, 24, 48, 100, 200, 1000, 1024, 3000, 9000, 30000 };

	return i % 500 == 77 ? 200000 : i % 5000 == 4999 ? 4 << 20 : sizes[i * 7 % COUNT(sizes)];
}

struct filling {
	malloc_zone_t *zone;
	struct told *told; // BLOCKS of them; freed ones have address 0
};

// Frees two of three, so that slabs have holes and the thread has free blocks at hand.
static void *fill(void *context)
{
	struct filling *filling = context;

	for (unsigned i = 0; i < BLOCKS; i++) {
		filling->told[i].bytes = size_of(i);
		filling->told[i].address =
			(uintptr_t)malloc_zone_malloc(filling->zone, filling->told[i].bytes);
		CHECK(filling->told[i].address);
		if (i % 3 && i > 50) {
			unsigned freed = i - 40;

			malloc_zone_free(filling->zone, (void *)filling->told[freed].address);
			filling->told[freed].address = 0;
		}
	}
	return NULL;
}

static pthread_barrier_t all_full;

static void *fill_and_stay(void *context)
{
	fill(context);
	pthread_barrier_wait(&all_full);
	for (;;)
		pause();
	return NULL;
}

// The threads live on, with what they have at hand.
static struct list fill_zone(malloc_zone_t *zone)
{
	static struct filling fillings[THREADS];
	struct list list = { calloc(THREADS * BLOCKS + 1, sizeof(struct told)), 0 };
	pthread_t thread;

	pthread_barrier_init(&all_full, NULL, THREADS + 1);
	for (int i = 0; i < THREADS; i++) {
		fillings[i] = (struct filling){ zone, calloc(BLOCKS, sizeof(struct told)) };
		CHECK(!pthread_create(&thread, NULL, fill_and_stay, &fillings[i]));
	}
	pthread_barrier_wait(&all_full);
	for (int i = 0; i < THREADS; i++)
		for (int j = 0; j < BLOCKS; j++)
			if (fillings[i].told[j].address)
				list.items[list.count++] = fillings[i].told[j];
	qsort(list.items, list.count, sizeof(struct told), by_address);
	return list;
}

// --- enumeration --------------------------------------------------------------------------------------
struct seen {
	struct list list;
	size_t room, regions, admin;
};

static void record(task_t task, void *context, unsigned type, vm_range_t *ranges, unsigned count)
{
	struct seen *seen = context;

	(void)task;
	for (unsigned i = 0; i < count; i++) {
		seen->regions += type == MALLOC_PTR_REGION_RANGE_TYPE;
		seen->admin += type == MALLOC_ADMIN_REGION_RANGE_TYPE;
		if (type != MALLOC_PTR_IN_USE_RANGE_TYPE)
			continue;
		CHECK(seen->list.count < seen->room);
		seen->list.items[seen->list.count++] =
			(struct told){ ranges[i].address, ranges[i].size };
	}
}

static struct seen enumerate(task_t task, vm_address_t zone, memory_reader_t reader, unsigned mask)
{
	enum { ROOM = 1 << 20 };
	struct seen seen = { .room = ROOM };
	const malloc_introspection_t *table = malloc_default_zone()->introspect;

	// Not from the heap that is looked at.
	seen.list.items =
		malloc_zone_calloc(malloc_default_purgeable_zone(), ROOM, sizeof(struct told));
	CHECK(table->enumerator(task, &seen, mask, zone, reader, record) == KERN_SUCCESS);
	for (size_t i = 1; i < seen.list.count; i++)
		CHECK(seen.list.items[i - 1].address < seen.list.items[i].address);
	return seen;
}

static void check_equal(const struct list *seen, const struct list *own)
{
	CHECK(seen->count == own->count);
	for (size_t i = 0; i < own->count; i++) {
		CHECK(seen->items[i].address == own->items[i].address);
		CHECK(seen->items[i].bytes >= own->items[i].bytes);
	}
}

static void check_holds(const struct list *seen, const struct list *own)
{
	size_t at = 0;

	for (size_t i = 0; i < own->count; i++) {
		while (at < seen->count && seen->items[at].address < own->items[i].address)
			at++;
		CHECK(at < seen->count && seen->items[at].address == own->items[i].address);
		CHECK(seen->items[at].bytes >= own->items[i].bytes);
	}
}

static malloc_zone_t *core_enumerates(malloc_zone_t *zone, const struct list *own)
{
	struct seen seen = enumerate(0, (vm_address_t)zone, NULL, 0xff);
	malloc_statistics_t stats;
	size_t bytes = 0;

	check_equal(&seen.list, own);
	CHECK(seen.regions);
	for (size_t i = 0; i < own->count; i++) {
		CHECK(seen.list.items[i].bytes == malloc_size((void *)own->items[i].address));
		bytes += seen.list.items[i].bytes;
	}
	malloc_zone_statistics(zone, &stats);
	CHECK(stats.blocks_in_use == own->count && stats.size_in_use == bytes);
	CHECK(stats.size_allocated >= bytes && stats.max_size_in_use >= bytes);
	return zone;
}

static void enumerates_own_zone(void)
{
	malloc_zone_t *zone = malloc_create_zone(0, 0);
	struct list own = fill_zone(zone);

	core_enumerates(zone, &own);
	zone->introspect->force_lock(zone);
	core_enumerates(zone, &own);
	zone->introspect->force_unlock(zone);
	CHECK(malloc_zone_check(zone));
}

static void enumerates_default_zone(void)
{
	struct list own = fill_zone(malloc_default_zone());
	struct seen seen = enumerate(0, (vm_address_t)malloc_default_zone(), NULL, 0xff);

	check_holds(&seen.list, &own);
	CHECK(seen.admin);
	seen = enumerate(0, (vm_address_t)malloc_zones[0], NULL, MALLOC_PTR_IN_USE_RANGE_TYPE);
	check_holds(&seen.list, &own);
	CHECK(!seen.regions && !seen.admin);
}

static void counts_of_default_zone(void)
{
	malloc_statistics_t before, after;
	struct mstats all;
	void *blocks[1000];

	malloc_zone_statistics(malloc_default_zone(), &before);
	for (int i = 0; i < 1000; i++)
		blocks[i] = malloc(100);
	malloc_zone_statistics(malloc_default_zone(), &after);
	CHECK(after.blocks_in_use == before.blocks_in_use + 1000);
	CHECK(after.size_in_use == before.size_in_use + 1000 * malloc_size(blocks[0]));
	all = mstats();
	CHECK(all.chunks_used == after.blocks_in_use && all.bytes_used == after.size_in_use);
	CHECK(all.bytes_total >= all.bytes_used &&
	      all.bytes_free == all.bytes_total - all.bytes_used);
	for (int i = 0; i < 1000; i++)
		free(blocks[i]);
	malloc_zone_statistics(malloc_default_zone(), &after);
	CHECK(after.blocks_in_use == before.blocks_in_use);
	CHECK(malloc_zone_malloc(malloc_create_zone(0, 0), 10));
	CHECK(mstats().chunks_used > after.blocks_in_use);
}

// --- another process ----------------------------------------------------------------------------------
static void put(int pipe, const void *bytes, size_t count)
{
	const char *at = bytes;

	while (count) {
		ssize_t wrote = write(pipe, at, count);

		CHECK(wrote > 0);
		at += wrote;
		count -= (size_t)wrote;
	}
}

static void get(int pipe, void *bytes, size_t count)
{
	char *at = bytes;

	while (count) {
		ssize_t got = read(pipe, at, count);

		CHECK(got > 0);
		at += got;
		count -= (size_t)got;
	}
}

// The pipe is the standard output.
static void subject(void)
{
	malloc_zone_t *zone = malloc_create_zone(0, 0), *gone = malloc_create_zone(0, 0);
	struct list own;

	malloc_zone_malloc(gone, 100);
	malloc_set_zone_name(zone, "zone of the subject");
	own = fill_zone(zone);
	malloc_destroy_zone(gone);
	put(1, &zone, sizeof(zone));
	put(1, &own.count, sizeof(own.count));
	put(1, own.items, own.count * sizeof(*own.items));
	raise(SIGSTOP);
}

static pid_t start_subject(vm_address_t *ret_zone, struct list *ret_list)
{
	int ends[2], status;
	pid_t child;

	CHECK(!pipe(ends));
	child = fork();
	if (!child) {
		dup2(ends[1], 1);
		execl("/proc/self/exe", "subject", "subject", (char *)NULL);
		_exit(1);
	}
	close(ends[1]);
	get(ends[0], ret_zone, sizeof(*ret_zone));
	get(ends[0], &ret_list->count, sizeof(ret_list->count));
	ret_list->items = calloc(ret_list->count, sizeof(*ret_list->items));
	get(ends[0], ret_list->items, ret_list->count * sizeof(*ret_list->items));
	CHECK(waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status));
	close(ends[0]);
	return child;
}

// As the contract allows: each answer spoils the last.
static kern_return_t read_task(task_t task, vm_address_t address, vm_size_t size, void **local)
{
	static char *buffer;
	struct iovec here, there = { (void *)address, size };

	if (buffer)
		memset(buffer, 0xee, malloc_size(buffer));
	free(buffer);
	buffer = malloc(size);
	here = (struct iovec){ buffer, size };
	*local = buffer;
	return process_vm_readv(task, &here, 1, &there, 1, 0) == (ssize_t)size
	               ? KERN_SUCCESS
	               : KERN_INVALID_ADDRESS;
}

static unsigned printed;

static void count_lines(const char *format, ...)
{
	printed++;
	CHECK(format);
}

static void enumerates_another_process(void)
{
	vm_address_t zone, first, *addresses, wrapped;
	const malloc_introspection_t *table = malloc_default_zone()->introspect;
	malloc_statistics_t stats;
	struct list told;
	struct seen seen;
	unsigned count;
	pid_t child = start_subject(&zone, &told);

	CHECK(malloc_get_all_zones(child, read_task, &addresses, &count) == KERN_SUCCESS);
	CHECK(count == 2 && addresses[1] == zone);
	first = addresses[0];
	seen = enumerate(child, zone, read_task, 0xff);
	check_equal(&seen.list, &told);
	CHECK(seen.regions);
	table->task_statistics(child, zone, read_task, &stats);
	CHECK(stats.blocks_in_use == told.count);
	table->print_task(child, 1, zone, read_task, count_lines);
	CHECK(printed > 3);
	seen = enumerate(child, first, read_task, 0xff);
	CHECK(seen.list.count > THREADS && seen.admin);
	CHECK(malloc_get_wrapped_zone(child, read_task, zone, &wrapped) == KERN_SUCCESS);
	CHECK(table->enumerator(child, &seen, 1, zone + 8, read_task, record) != KERN_SUCCESS);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	CHECK(malloc_get_all_zones(child, read_task, &addresses, &count) != KERN_SUCCESS);
	CHECK(malloc_get_all_zones(getppid(), NULL, &addresses, &count) != KERN_SUCCESS);
}

static void enumerates_forked_process(void)
{
	malloc_zone_t *zone = malloc_create_zone(0, 0);
	struct list own = fill_zone(zone);
	struct seen seen;
	pid_t child = fork();

	if (!child) {
		raise(SIGSTOP);
		_exit(1);
	}
	CHECK(waitpid(child, NULL, WUNTRACED) == child);
	seen = enumerate(child, (vm_address_t)zone, read_task, 0xff);
	check_equal(&seen.list, &own);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

static const struct zone_case cases[] = {
	{ "enumerates-own-zone", enumerates_own_zone },
	{ "enumerates-default-zone", enumerates_default_zone },
	{ "counts-of-default-zone", counts_of_default_zone },
	{ "enumerates-another-process", enumerates_another_process },
	{ "enumerates-forked-process", enumerates_forked_process },
};

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "subject")) {
		subject();
		return 0;
	}
	return run_case(cases, COUNT(cases), argc, argv);
}
