// SPDX-License-Identifier: MIT
// Reads the heap of a running program and compares it with the list that the program keeps in its own
// memory (crowd.c), both as of the same instant. Prints figures; the status is 1 when they differ.
//
// usage: enumerate PID ADDRESS-OF-LIST ENTRIES THREADS [clone]
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "heaps/heaps.h"
#include "symbols/symbols.h"
#include "target/target.h"

struct entry {
	uint64_t block, bytes;
};

static double now_ms(clockid_t clock)
{
	struct timespec time;

	clock_gettime(clock, &time);
	return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

static void must(struct error *error)
{
	if (!error)
		return;
	fprintf(stderr, "enumerate: %s\n", error->text);
	exit(2);
}

struct counts {
	size_t listed, missing, wrong_size, extra, in_hand;
};

static void compare(const struct heaps *heaps, const struct entry *entries, size_t n,
                    struct counts *ret)
{
	bool *known = calloc(heaps->block_count, sizeof(*known));

	for (size_t i = 0; i < n; i++) {
		if (!entries[i].block)
			continue;
		ssize_t at = heaps_find(heaps, entries[i].block);
		const struct heap_block *block = at < 0 ? NULL : &heaps->blocks[at];

		ret->listed++;
		if (!block || block->hb_address != entries[i].block ||
		    block->hb_state != HEAP_USED) {
			ret->missing++;
			continue;
		}
		ret->wrong_size += block->hb_size != entries[i].bytes;
		known[at] = true;
	}
	for (size_t i = 0; i < heaps->block_count; i++) {
		const struct heap_block *block = &heaps->blocks[i];

		if (block->hb_state != HEAP_USED || known[i])
			continue;
		if (block->hb_flags & HEAP_TRANSIT)
			ret->in_hand++;
		else
			ret->extra++;
	}
	free(known);
}

int main(int argc, char **argv)
{
	struct target_options options = { .want = TARGET_WANT_MEMORY };
	struct target *target;
	struct symbols *symbols;
	struct heaps *heaps;
	struct counts counts = { 0 };

	if (argc < 5)
		return 64;
	options.force_clone = argc > 5;
	uint64_t list = strtoull(argv[2], NULL, 0);
	size_t n = strtoull(argv[3], NULL, 0), threads = strtoull(argv[4], NULL, 0);
	struct entry *entries = malloc(n * sizeof(*entries));
	double start = now_ms(CLOCK_MONOTONIC);
	must(target_open(argv[1], &options, &target));
	must(symbols_open(target, &symbols));
	double opened = now_ms(CLOCK_MONOTONIC), cpu = now_ms(CLOCK_PROCESS_CPUTIME_ID);
	must(heaps_read(target, symbols, &heaps));
	double read = now_ms(CLOCK_MONOTONIC);
	cpu = now_ms(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	must(target_read(target, list, entries, n * sizeof(*entries)));
	compare(heaps, entries, n, &counts);
	printf("%zu blocks of %zu in use with %.1f MiB, stopped %.1f ms, opened in %.0f ms, "
	       "enumerated in %.0f ms (%.0f ms of CPU)\n",
	       (size_t)heaps->used_count, heaps->block_count, (double)heaps->used_bytes / (1 << 20),
	       target->stopped_ms, opened - start, read - opened, cpu);
	printf("%zu listed by the program: %zu missing, %zu of another size; %zu in no list, "
	       "%zu in transit, %zu faults\n%s\n",
	       counts.listed, counts.missing, counts.wrong_size, counts.extra, counts.in_hand,
	       heaps->fault_count, target->how);
	for (size_t i = 0; i < heaps->fault_count && i < 10; i++)
		printf("%s\n", heaps->faults[i].text);
	// In no list: one that a thread has in its hands, and what libc keeps for each thread.
	bool fine = !counts.missing && !counts.wrong_size && !heaps->fault_count &&
	            counts.extra <= 3 * threads + 8;
	heaps_close(heaps);
	symbols_close(symbols);
	target_close(target);
	free(entries);
	return fine ? 0 : 1;
}
