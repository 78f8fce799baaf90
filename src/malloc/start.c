// SPDX-License-Identifier: MIT
// The first use of the allocator: settings, and the descriptor that readers of the process find.
// Called by entry before its first answer, which may be before any constructor of the program; without
// entry the first use of a zone does it.
#include "malloc/malloc_impl.h"

extern char __ehdr_start[] __attribute__((visibility("hidden")));
extern char etext[] __attribute__((visibility("hidden")));

struct malloc_settings malloc_settings = { .log = 2 };
static struct inside_lock start_lock;
static bool started;

MALLOC_EXPORT struct malloc_descriptor heapwright_malloc = {
	.magic = MALLOC_MAGIC,
	.version = MALLOC_VERSION,
	.bytes = sizeof(struct malloc_descriptor),
	.leaf_bytes = sizeof(struct malloc_leaf),
	.slab_bytes = sizeof(struct malloc_slab),
	.thread_bytes = sizeof(struct malloc_thread),
	.zone_cache_bytes = sizeof(struct malloc_zone_cache),
	.zone_bytes = sizeof(struct malloc_zone_record),
	.region_bytes = sizeof(struct malloc_region),
	.note_bytes = sizeof(struct malloc_note),
	.class_count = CLASS_COUNT,
};

static void describe(void)
{
	for (unsigned i = 0; i < CLASS_COUNT; i++)
		heapwright_malloc.class_bytes[i] = malloc_classes[i].bytes;
	heapwright_malloc.features = malloc_settings.features;
	heapwright_malloc.text_start = (uintptr_t)__ehdr_start;
	heapwright_malloc.text_end = (uintptr_t)etext;
	heapwright_malloc.root = (uintptr_t)malloc_root;
}

static void start_locked(const struct malloc_settings *settings)
{
	if (settings)
		malloc_settings = *settings;
	describe();
	malloc_zone_start();
	malloc_cache_start();
	__atomic_store_n(&heapwright_malloc.ready, 1, __ATOMIC_RELEASE);
	__atomic_store_n(&started, true, __ATOMIC_RELEASE);
}

void malloc_start(const struct malloc_settings *settings)
{
	inside_lock(&start_lock);
	if (!started)
		start_locked(settings);
	inside_unlock(&start_lock);
}

void malloc_start_once(void)
{
	if (!__atomic_load_n(&started, __ATOMIC_ACQUIRE))
		malloc_start(NULL);
}
