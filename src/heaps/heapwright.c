// SPDX-License-Identifier: MIT
// The reader of our own malloc library (libheapwright, also linked into static programs). It reads the
// layout that the library publishes (layout/malloc.h) and so knows every block, its zone and its state
// exactly, with threads stopped anywhere. What contradicts itself is a fault with its place; the
// rest is reported all the same.
#include <string.h>

#include "base/text.h"
#include "heaps/heapwright.h"

struct heapwright_all {
	struct heapwright heaps[HEAPWRIGHT_HEAPS_MAX];
	size_t count;
};

static void heap_init(struct heapwright *heap)
{
	const struct page_source *source = heap->build->source;

	vec_init(&heap->regions, source);
	vec_init(&heap->slabs, source);
	vec_init(&heap->owners, source);
	vec_init(&heap->extents, source);
	window_init(&heap->slab_window, heap->target);
	window_init(&heap->bit_window, heap->target);
	window_init(&heap->entry_window, heap->target);
	window_init(&heap->block_window, heap->target);
}

static void heap_deinit(struct heapwright *heap)
{
	vec_deinit(&heap->regions);
	vec_deinit(&heap->slabs);
	vec_deinit(&heap->owners);
	vec_deinit(&heap->extents);
	window_deinit(&heap->slab_window);
	window_deinit(&heap->bit_window);
	window_deinit(&heap->entry_window);
	window_deinit(&heap->block_window);
}

static bool heapwright_probe(struct heap_build *build, void **ret_state)
{
	struct heapwright_all *all = arena_alloc(build->arena, sizeof(*all));
	bool idle;

	all->count = heapwright_find(build, all->heaps, &idle);
	for (size_t i = 0; i < all->count; i++) {
		heap_init(&all->heaps[i]);
		heapwright_zones(&all->heaps[i]);
		heapwright_regions(&all->heaps[i]);
	}
	*ret_state = all;
	return all->count || idle;
}

// --- messages -------------------------------------------------------------------------------------
// One line out of a message of several.
static const char *message_text(struct heap_build *build, const char *text, size_t length)
{
	char line[2 * MALLOC_MESSAGE_BYTES];
	size_t n = 0;

	for (size_t i = 0; i < length && text[i]; i++) {
		if (text[i] == '\n')
			line[n++] = '.';
		line[n++] = text[i] == '\n' ? ' ' : text[i];
	}
	line[n] = '\0';
	return text_printable(build->arena, line);
}

static void read_messages(struct heapwright *heap)
{
	struct heap_build *build = heap->build;
	struct malloc_messages ring;

	if (!heap->descriptor.messages || target_read_some(heap->target, heap->descriptor.messages,
	                                                   &ring, sizeof(ring)) != sizeof(ring))
		return;
	uint64_t kept = ring.next < MALLOC_MESSAGES ? ring.next : MALLOC_MESSAGES;
	for (uint64_t i = ring.next - kept; i < ring.next; i++) {
		const char *text = ring.text[i % MALLOC_MESSAGES];
		size_t length = strnlen(text, MALLOC_MESSAGE_BYTES - 1);

		while (length && text[length - 1] == '\n')
			length--;
		if (length)
			vec_push(&build->messages, message_text(build, text, length));
	}
	build->message_total += ring.next;
}

static void tell_how(const struct heapwright *heap)
{
	const struct malloc_descriptor *d = &heap->descriptor;

	build_how(heap->build,
	          arena_format(heap->build->arena,
	                       "libheapwright malloc: descriptor at 0x%llx by %s, %zu regions, "
	                       "%zu slabs and %zu blocks of pages, %zu thread caches with %zu "
	                       "blocks, %zu blocks in transit, %zu guarded blocks%s%s",
	                       (unsigned long long)heap->address, heap->found_by, heap->regions.n,
	                       heap->slabs.n - heap->page_block_count, heap->page_block_count,
	                       heap->cache_count, heap->cached_count, heap->transit_count,
	                       heap->guarded_count,
	                       d->features & MALLOC_FEATURE_NOTES ? ", with notes" : "",
	                       heap->inside ? ", a thread stands inside" : ""));
}

static struct error *heapwright_read(struct heap_build *build, void *state)
{
	struct heapwright_all *all = state;

	if (!all->count)
		build_how(build, "libheapwright malloc, which was never called");
	for (size_t i = 0; i < all->count; i++) {
		struct heapwright *heap = &all->heaps[i];

		heapwright_owners(heap);
		heapwright_slabs(heap);
		heapwright_caches(heap);
		heapwright_notes(heap);
		heapwright_stacks(heap);
		heapwright_guard_blocks(heap);
		read_messages(heap);
		tell_how(heap);
		heap_deinit(heap);
	}
	return NULL;
}

const struct heap_reader heap_reader_heapwright = {
	.allocator = "heapwright",
	.probe = heapwright_probe,
	.read = heapwright_read,
};
