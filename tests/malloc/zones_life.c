// SPDX-License-Identifier: MIT
// Zones from creation to destruction, their names, and the list of them.
#include "zones.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static const size_t sizes[] = { 0,    1,     16,    100,   1008,    1024,
	                        5000, 15360, 32768, 40000, 1 << 20, 5 << 20 };

static void many_zones(void)
{
	enum { ZONES = 4097 };
	static malloc_zone_t *zones[ZONES];
	static char *blocks[ZONES];

	for (int i = 0; i < ZONES; i++) {
		zones[i] = malloc_create_zone(0, 0);
		CHECK(zones[i]);
		CHECK(!malloc_get_zone_name(zones[i]));
		blocks[i] = malloc_zone_malloc(zones[i], 64);
		CHECK(blocks[i]);
		memset(blocks[i], i, 64);
	}
	CHECK(malloc_num_zones == ZONES + 1);
	for (int i = 0; i < ZONES; i++) {
		CHECK(malloc_zone_from_ptr(blocks[i]) == zones[i]);
		CHECK(blocks[i][63] == (char)i);
	}
	for (int i = 0; i < ZONES; i++) {
		malloc_destroy_zone(zones[i]);
		CHECK(malloc_size(blocks[i]) == 0);
		CHECK(!malloc_zone_from_ptr(blocks[i]));
	}
	CHECK(malloc_num_zones == 1);
}

static void free_finds_zone(void)
{
	malloc_zone_t *zone = malloc_create_zone(0, 0);
	malloc_statistics_t stats;

	for (size_t i = 0; i < COUNT(sizes); i++) {
		char *block = malloc_zone_malloc(zone, sizes[i]);

		CHECK(block && malloc_size(block) >= sizes[i]);
		CHECK(malloc_zone_from_ptr(block) == zone);
		block = realloc(block, sizes[i] * 2 + 1);
		CHECK(block && malloc_zone_from_ptr(block) == zone);
		free(block);
	}
	malloc_zone_statistics(zone, &stats);
	CHECK(stats.blocks_in_use == 0 && stats.size_in_use == 0);
	malloc_destroy_zone(zone);
}

static void size_tells_starts_only(void)
{
	malloc_zone_t *zone = malloc_create_zone(0, 0);
	malloc_zone_t *both[] = { malloc_default_zone(), zone };
	int local;

	for (size_t z = 0; z < 2; z++)
		for (size_t i = 2; i < COUNT(sizes); i++) {
			char *block = malloc_zone_malloc(both[z], sizes[i]);

			CHECK(malloc_size(block) >= sizes[i]);
			CHECK(malloc_size(block + 1) == 0);
			CHECK(malloc_size(block + sizes[i] / 2) == 0);
			malloc_zone_free(both[z], block);
			CHECK(malloc_size(opaque(block)) == 0);
			CHECK(!malloc_zone_from_ptr(opaque(block)));
		}
	CHECK(malloc_size(NULL) == 0 && malloc_size(&local) == 0 && malloc_size(sizes) == 0);
	CHECK(!malloc_zone_from_ptr(NULL) && !malloc_zone_from_ptr(&local));
	malloc_destroy_zone(zone);
}

static void sizes_of_gigabytes(void)
{
	for (size_t gib = 4; gib <= 6; gib += 2) {
		char *block = malloc(opaque((void *)(gib << 30)) ? gib << 30 : 0);

		CHECK(block);
		block[(gib << 30) - 1] = 1;
		CHECK(malloc_size(block) >= gib << 30 &&
		      malloc_size(block) < (gib << 30) + (1 << 20));
		free(block);
	}
}

static sigjmp_buf after_fault;

static void on_fault(int signal)
{
	siglongjmp(after_fault, signal);
}

static bool faults(volatile char *address)
{
	if (sigsetjmp(after_fault, 1))
		return true;
	*address;
	return false;
}

static void destroyed_pages_fault(void)
{
	malloc_zone_t *zone = malloc_create_zone(0, 0);
	char *blocks[COUNT(sizes)];

	signal(SIGSEGV, on_fault);
	for (size_t i = 0; i < COUNT(sizes); i++)
		*(blocks[i] = malloc_zone_malloc(zone, sizes[i])) = 1;
	malloc_destroy_zone(zone);
	for (size_t i = 0; i < COUNT(sizes); i++)
		CHECK(faults(blocks[i]));
}

static void default_zone_stays(void)
{
	malloc_zone_t *zone = malloc_default_zone();

	CHECK(zone == malloc_default_zone());
	malloc_destroy_zone(zone);
	malloc_destroy_zone(malloc_zones[0]);
	CHECK(malloc_num_zones == 1);
	free(opaque(malloc(100)));
	CHECK(malloc_zone_from_ptr(malloc(1)) == zone);
	malloc_destroy_zone(malloc_default_purgeable_zone());
	CHECK(malloc_num_zones == 2);
}

// --- threads and fork -------------------------------------------------------------------------------
static int stop;

static void *allocate_all_the_time(void *zone)
{
	void *blocks[64] = { NULL };

	for (unsigned i = 0; !__atomic_load_n(&stop, __ATOMIC_RELAXED);
	     i = i * 1103515245 + 12345) {
		unsigned slot = i >> 8 & 63;

		malloc_zone_free(zone, blocks[slot]);
		blocks[slot] = malloc_zone_malloc(zone, (i >> 16) % 3000);
		CHECK(blocks[slot]);
	}
	malloc_zone_batch_free(zone, blocks, 64);
	return NULL;
}

static void fork_child(malloc_zone_t *zone, char *block)
{
	malloc_zone_t *own = malloc_create_zone(0, 0);

	CHECK(own && malloc_zone_from_ptr(block) == zone && !strcmp(block, "parent"));
	for (int i = 0; i < 1000; i++) {
		free(opaque(malloc_zone_malloc(zone, (size_t)i)));
		CHECK(malloc_zone_malloc(own, (size_t)i * 10));
	}
	malloc_destroy_zone(own);
	malloc_destroy_zone(zone);
	_exit(0);
}

static void fork_with_zones(void)
{
	malloc_zone_t *zone = malloc_create_zone(0, 0), *busy = malloc_create_zone(0, 0);
	char *block = malloc_zone_malloc(zone, 7);
	pthread_t threads[2];

	strcpy(block, "parent");
	CHECK(!pthread_create(&threads[0], NULL, allocate_all_the_time, busy));
	CHECK(!pthread_create(&threads[1], NULL, allocate_all_the_time, malloc_default_zone()));
	for (int i = 0; i < 50; i++) {
		int status;
		pid_t child = fork();

		if (!child)
			fork_child(zone, block);
		CHECK(waitpid(child, &status, 0) == child && status == 0);
	}
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	CHECK(malloc_zone_check(NULL));
}

static void *relieve_all_the_time(void *zone)
{
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED))
		malloc_zone_pressure_relief(zone, 0);
	return NULL;
}

static void pressure_while_allocating(void)
{
	malloc_zone_t *zone = malloc_create_zone(0, 0);
	pthread_t threads[3];
	char *blocks[200];

	CHECK(!pthread_create(&threads[0], NULL, allocate_all_the_time, zone));
	CHECK(!pthread_create(&threads[1], NULL, relieve_all_the_time, zone));
	CHECK(!pthread_create(&threads[2], NULL, relieve_all_the_time, NULL));
	for (int round = 0; round < 200; round++) {
		for (unsigned i = 0; i < COUNT(blocks); i++)
			*(blocks[i] = malloc_zone_malloc(zone, i * 100 + 1)) = (char)i;
		for (unsigned i = 0; i < COUNT(blocks); i++) {
			CHECK(*blocks[i] == (char)i);
			free(blocks[i]);
		}
	}
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	CHECK(malloc_zone_check(zone) && malloc_zone_check(NULL));
	malloc_destroy_zone(zone);
}

static void *churn_zones(void *context)
{
	for (int i = 0; i < 500; i++) {
		malloc_zone_t *zone = malloc_create_zone(0, 0);
		void *block = malloc_zone_malloc(zone, 100);

		CHECK(malloc_zone_from_ptr(block) == zone);
		malloc_destroy_zone(zone);
	}
	return context;
}

static void zones_from_threads(void)
{
	pthread_t threads[4];

	for (int i = 0; i < 4; i++)
		CHECK(!pthread_create(&threads[i], NULL, churn_zones, NULL));
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	CHECK(malloc_num_zones == 1);
}

// --- names ------------------------------------------------------------------------------------------
static void names(void)
{
	static const char literal[] = "a name that never changes";
	malloc_zone_t *zone = malloc_create_zone(0, 0);
	char heap[200], *copy = strdup("Heaped");

	CHECK(!strcmp(malloc_get_zone_name(malloc_default_zone()), "DefaultMallocZone"));
	CHECK(!strcmp(malloc_zones[0]->zone_name, "DefaultMallocZone"));
	malloc_set_zone_name(zone, literal);
	CHECK(malloc_get_zone_name(zone) == literal);
	malloc_set_zone_name(zone, copy);
	CHECK(malloc_get_zone_name(zone) != copy && !strcmp(malloc_get_zone_name(zone), "Heaped"));
	free(copy);
	CHECK(!strcmp(malloc_get_zone_name(zone), "Heaped"));
	memset(heap, 'x', sizeof(heap) - 1);
	heap[sizeof(heap) - 1] = '\0';
	malloc_set_zone_name(zone, heap);
	CHECK(malloc_get_zone_name(zone) != heap && !strcmp(malloc_get_zone_name(zone), heap));
	malloc_set_zone_name(zone, NULL);
	CHECK(!malloc_get_zone_name(zone));
	malloc_set_zone_name(zone, malloc_get_zone_name(malloc_default_zone()));
	malloc_destroy_zone(zone);
	malloc_set_zone_name(malloc_default_zone(), "Mine");
	CHECK(!strcmp(malloc_zones[0]->zone_name, "Mine"));
}

static void initial_list(void)
{
	vm_address_t *addresses;
	unsigned count;

	CHECK(malloc_get_all_zones(mach_task_self(), NULL, &addresses, &count) == KERN_SUCCESS);
	CHECK(count == 1 && addresses[0] == (vm_address_t)malloc_zones[0]);
	CHECK(malloc_default_purgeable_zone() == malloc_default_purgeable_zone());
	CHECK(!malloc_get_all_zones(0, NULL, &addresses, &count) && count == 2);
	CHECK(!strcmp(((malloc_zone_t *)addresses[1])->zone_name, "DefaultPurgeableMallocZone"));
}

static const struct zone_case cases[] = {
	{ "many-zones", many_zones },
	{ "free-finds-zone", free_finds_zone },
	{ "size-tells-starts-only", size_tells_starts_only },
	{ "sizes-of-gigabytes", sizes_of_gigabytes },
	{ "destroyed-pages-fault", destroyed_pages_fault },
	{ "default-zone-stays", default_zone_stays },
	{ "fork-with-zones", fork_with_zones },
	{ "pressure-while-allocating", pressure_while_allocating },
	{ "zones-from-threads", zones_from_threads },
	{ "names", names },
	{ "initial-list", initial_list },
};

int main(int argc, char **argv)
{
	return run_case(cases, COUNT(cases), argc, argv);
}
