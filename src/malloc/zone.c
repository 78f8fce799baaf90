// SPDX-License-Identifier: MIT
// Core zones: the table by number, creation and destruction. Each shows the function table of face.c.
// Called by registry.c, and by face.c when a program destroys a zone.
#include "malloc/malloc_impl.h"

#include <errno.h>

struct core_zone malloc_zone_default;
struct shard malloc_arena_shards[ARENAS_MAX - 1][CLASS_COUNT] INSIDE_RARELY;
uint32_t malloc_arenas = 1;
static struct core_zone *only_zone; // while there is but the default one
struct core_zone **malloc_core_zones = &only_zone;
struct inside_lock malloc_zones_lock;

static uint32_t zones_used; // numbers below this were given out once
static uint32_t zones_free; // number of the first unused one, linked through flags of its record

static struct malloc_zone_record *record_of(uint32_t number)
{
	return (struct malloc_zone_record *)heapwright_malloc.zones + number;
}

static void zone_fill(struct core_zone *zone, uint32_t number)
{
	malloc_zone_face(&zone->face);
	zone->number = number;
	zone->generation = record_of(number)->generation;
	zone->pool.zone = number;
	malloc_core_zones[number] = zone;
	record_of(number)->address = (uintptr_t)zone;
}

void malloc_zone_start(void)
{
	size_t bytes = PAGE_BYTES + MALLOC_ZONES_MAX * sizeof(struct malloc_zone_record);
	char *memory = malloc_meta_map(bytes);

	if (!memory) {
		malloc_message("*** no memory to start with");
		inside_abort();
	}
	malloc_regions_start(memory);
	malloc_meta_publish((uintptr_t)memory, bytes);
	heapwright_malloc.zones = (uintptr_t)memory + FIRST_REGIONS_BYTES;
	zone_fill(&malloc_zone_default, 0);
	zones_used = 1;
	heapwright_malloc.zone_count = 1;
}

// Room for all others besides the default one.
static bool pointers_make(void)
{
	size_t bytes = MALLOC_ZONES_MAX * sizeof(*malloc_core_zones);
	struct core_zone **pointers = malloc_meta_map(bytes);

	if (!pointers)
		return false;
	malloc_meta_publish((uintptr_t)pointers, bytes);
	pointers[0] = only_zone;
	__atomic_store_n(&malloc_core_zones, pointers, __ATOMIC_RELEASE);
	return true;
}

// The number of a new zone; 0 when all are used.
static uint32_t number_take(void)
{
	uint32_t number = zones_free;

	if (number) {
		zones_free = record_of(number)->flags;
		record_of(number)->flags = 0;
		return number;
	}
	if (zones_used == MALLOC_ZONES_MAX || (malloc_core_zones == &only_zone && !pointers_make()))
		return 0;
	__atomic_store_n(&heapwright_malloc.zone_count, zones_used + 1, __ATOMIC_RELEASE);
	return zones_used++;
}

malloc_zone_t *malloc_core_create(void)
{
	struct core_zone *zone;
	uint32_t number;

	malloc_start_once();
	zone = malloc_meta_take(sizeof(*zone));
	if (!zone)
		return NULL;
	inside_lock(&malloc_zones_lock);
	number = number_take();
	if (number)
		zone_fill(zone, number);
	inside_unlock(&malloc_zones_lock);
	if (number)
		return &zone->face;
	malloc_meta_give(zone, sizeof(*zone));
	return NULL;
}

malloc_zone_t *malloc_core_default(void)
{
	malloc_start_once();
	return &malloc_zone_default.face;
}

static void give_notes_and_stacks(struct core_zone *zone)
{
	for (struct extent *extent = zone->pool.extents; extent; extent = extent->next)
		for (uintptr_t at = extent->start; at < extent->open_end;
		     at += MALLOC_SLICE_BYTES) {
			uint32_t kind = word_kind(malloc_word_at(at));
			struct malloc_slab *slab = slice_slab(address_slice(at));
			size_t count = kind == MALLOC_SLAB ? slab->block_count : 1;

			if (kind == MALLOC_SLAB || kind == MALLOC_SPAN)
				malloc_meta_give((void *)slab->notes,
				                 count * sizeof(struct malloc_note));
			if (kind == MALLOC_SLAB)
				malloc_meta_give((void *)slab->stacks, count * sizeof(uint32_t));
		}
}

// The generation comes first: what threads still have of the zone is void from then on.
void malloc_zone_destroy(struct core_zone *zone)
{
	uint32_t number = zone->number;

	inside_lock(&malloc_zones_lock);
	record_of(number)->address = 0;
	record_of(number)->name[0] = '\0';
	record_of(number)->generation++;
	malloc_core_zones[number] = NULL;
	inside_unlock(&malloc_zones_lock);
	if (notes_kept() || stacks_kept())
		give_notes_and_stacks(zone);
	malloc_large_destroy(zone);
	malloc_pool_destroy(&zone->pool);
	malloc_meta_give(zone, sizeof(*zone));
	inside_lock(&malloc_zones_lock);
	record_of(number)->flags = zones_free;
	zones_free = number;
	inside_unlock(&malloc_zones_lock);
}

static uint64_t raise_peak(struct core_zone *zone, uint64_t bytes)
{
	uint64_t peak = __atomic_load_n(&zone->peak_bytes, __ATOMIC_RELAXED);

	while (bytes > peak && !__atomic_compare_exchange_n(&zone->peak_bytes, &peak, bytes, true,
	                                                    __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
	return bytes > peak ? bytes : peak;
}

static uint64_t out_bytes(const struct shard *shard, unsigned class)
{
	return (uint64_t)__atomic_load_n(&shard->out, __ATOMIC_RELAXED) *
	       malloc_classes[class].bytes;
}

// What is out of the slabs is summed up only where that may make a new peak.
void malloc_zone_peak(struct core_zone *zone, bool slab_made)
{
	uint64_t slab_bytes = __atomic_load_n(&zone->slab_bytes, __ATOMIC_RELAXED);
	uint64_t rest = __atomic_load_n(&zone->span_bytes, __ATOMIC_RELAXED) +
	                __atomic_load_n(&zone->large_bytes, __ATOMIC_RELAXED);

	if (!slab_made && slab_bytes + rest <= __atomic_load_n(&zone->peak_bytes, __ATOMIC_RELAXED))
		return;
	slab_bytes = 0;
	for (unsigned arena = 0; arena < zone_arenas(zone); arena++)
		for (unsigned class = 0; class < CLASS_COUNT; class ++)
			slab_bytes += out_bytes(zone_shard(zone, class, arena), class);
	__atomic_store_n(&zone->slab_bytes, slab_bytes, __ATOMIC_RELAXED);
	raise_peak(zone, slab_bytes + rest);
}

size_t malloc_core_most_in_use(const malloc_zone_t *core, size_t now)
{
	return raise_peak((struct core_zone *)core, now);
}

// Any zone of the program may come here: what makes it one of ours is its table.
uint32_t malloc_core_index(const malloc_zone_t *core)
{
	if (core->introspect != &malloc_core_introspection)
		return UINT32_MAX;
	return ((const struct core_zone *)core)->number;
}
