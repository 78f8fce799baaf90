// SPDX-License-Identifier: MIT
// The first use of the allocator: settings, and the descriptor that readers of the process find.
// Called by entry before its first answer, which may be before any constructor of the program; without
// entry the first use of a zone does it.
#include "malloc/malloc_impl.h"

extern char __ehdr_start[] __attribute__((visibility("hidden")));
extern char etext[] __attribute__((visibility("hidden")));

// In the archive the library's code has a section of its own (scripts/make-archive): a program that it
// is linked into is not malloc. The linker makes these names for sections that are C identifiers.
extern char __start_heapwright_text[] __attribute__((weak, visibility("hidden")));
extern char __stop_heapwright_text[] __attribute__((weak, visibility("hidden")));
static const uintptr_t own_text[] = { (uintptr_t)__start_heapwright_text,
	                              (uintptr_t)__stop_heapwright_text };

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

// Readers find the descriptor by this note when there are no symbols.
extern struct malloc_descriptor heapwright_malloc_noted
	__attribute__((alias("heapwright_malloc"), visibility("hidden")));
__asm__(".pushsection .note.heapwright, \"a\", @note\n"
        "	.balign 4\n"
        "	.4byte 2f - 1f, 4f - 3f, 1\n" // MALLOC_NOTE_TYPE
        "1:	.asciz \"" MALLOC_NOTE_OWNER "\"\n"
        "2:	.balign 4\n"
        "3:	.8byte heapwright_malloc_noted - .\n"
        "4:	.popsection\n");

static void describe(void)
{
	bool archived = own_text[0] != 0;

	for (unsigned i = 0; i < CLASS_COUNT; i++)
		heapwright_malloc.class_bytes[i] = malloc_classes[i].bytes;
	heapwright_malloc.features = malloc_settings.features;
	heapwright_malloc.text_start = archived ? own_text[0] : (uintptr_t)__ehdr_start;
	heapwright_malloc.text_end = archived ? own_text[1] : (uintptr_t)etext;
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
