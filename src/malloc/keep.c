// SPDX-License-Identifier: MIT
// Large blocks that were freed, kept with their pages for those that come next: a program that works
// in large buffers would else fault every page in again (measured: 15 times the CPU on the benchmark
// malloc-large). Few entries, bounded bytes, given back when they are older than half a second.
//
// Neighbours are not joined: mremap moves pages of one mapping only, and two mappings that touch need
// not have become one (mm/vma.c: each has its own anon_vma once it was written to).
#include "malloc/malloc_impl.h"

enum { KEPT_MAX = 64 };
#define SPLIT_BYTES ((size_t)256 << 10) // a longer rest stays kept

struct kept {
	uintptr_t start;
	size_t bytes;
	uint64_t since;
};

struct inside_lock malloc_keep_lock;
static struct kept kept[KEPT_MAX] INSIDE_RARELY;
static unsigned kept_count;
static size_t kept_bytes;

static struct kept drop(unsigned i)
{
	struct kept dropped = kept[i];

	kept_bytes -= dropped.bytes;
	kept[i] = kept[--kept_count];
	return dropped;
}

// The shortest that is long enough, else the longest.
static unsigned best(size_t bytes)
{
	unsigned found = 0;

	for (unsigned i = 1; i < kept_count; i++) {
		bool fits = kept[i].bytes >= bytes, fitted = kept[found].bytes >= bytes;

		if (fits == fitted ? (kept[i].bytes < kept[found].bytes) == fits : fits)
			found = i;
	}
	return found;
}

uintptr_t malloc_keep_take(size_t bytes, size_t *ret_bytes)
{
	struct kept taken = { 0 };
	uint64_t signals;

	signals = malloc_lock_quietly(&malloc_keep_lock);
	if (kept_count) {
		unsigned i = best(bytes);

		taken = kept[i];
		if (taken.bytes >= bytes + SPLIT_BYTES) {
			kept[i].start += bytes;
			kept[i].bytes -= bytes;
			kept_bytes -= bytes;
			taken.bytes = bytes;
		} else {
			drop(i);
		}
	}
	malloc_unlock_quiet(&malloc_keep_lock, signals);
	*ret_bytes = taken.bytes;
	return taken.start;
}

static unsigned oldest(void)
{
	unsigned found = 0;

	for (unsigned i = 1; i < kept_count; i++)
		if (kept[i].since < kept[found].since)
			found = i;
	return found;
}

void malloc_keep_give(uintptr_t start, size_t bytes, size_t most_bytes)
{
	struct kept added = { start, bytes, inside_coarse_ns() }, given[KEPT_MAX];
	unsigned count = 0;
	uint64_t signals;

	signals = malloc_lock_quietly(&malloc_keep_lock);
	while (kept_count && (kept_count == KEPT_MAX || kept_bytes + added.bytes > most_bytes))
		given[count++] = drop(oldest());
	if (added.bytes <= most_bytes) {
		kept[kept_count++] = added;
		kept_bytes += added.bytes;
	} else {
		given[count++] = added;
	}
	malloc_unlock_quiet(&malloc_keep_lock, signals);
	for (unsigned i = 0; i < count; i++)
		inside_unmap((void *)given[i].start, given[i].bytes);
}

size_t malloc_keep_purge(uint64_t age_ns)
{
	struct kept given[KEPT_MAX];
	uint64_t now = inside_coarse_ns();
	unsigned count = 0;
	size_t returned = 0;
	uint64_t signals;

	signals = malloc_lock_quietly(&malloc_keep_lock);
	for (unsigned i = 0; i < kept_count;)
		if (now - kept[i].since >= age_ns)
			given[count++] = drop(i);
		else
			i++;
	malloc_unlock_quiet(&malloc_keep_lock, signals);
	for (unsigned i = 0; i < count; i++) {
		inside_unmap((void *)given[i].start, given[i].bytes);
		returned += given[i].bytes;
	}
	return returned;
}
