// SPDX-License-Identifier: MIT
// Writes a heap of our own malloc library into byte buffers, as layout/malloc.h says it: metadata, of
// which the start is the data of the executable, and three segments of blocks. The descriptor is
// found by its magic. For unit tests and fuzzing.
#pragma once

#include <elf.h>
#include <stdlib.h>
#include <string.h>

#include "heaps/heaps.h"
#include "layout/guard.h"
#include "layout/malloc.h"
#include "target/target.h"

enum {
	OWN_META_BYTES = 0x2a0000,
	OWN_DESCRIPTOR = 0x40, // places in the metadata
	OWN_ZONES = 0x1000,
	OWN_REGIONS = 0x2000,
	OWN_MESSAGES = 0x3000,
	OWN_THREADS = 0x5000, // each with room for a zone cache behind it
	OWN_THREAD_STEP = 0x3000,
	OWN_ZONE_CACHE = 0x1800, // behind its thread
	OWN_THREAD_COUNT = 3,
	OWN_ENTRIES = 0xe000, // what caches hold
	OWN_BITS = 0x20000,
	OWN_NOTES = 0x30000,
	OWN_ROOT = 0x60000,
	OWN_LEAF = 0x160000,
	OWN_GUARD = 0x270000, // descriptor, extents, zones, tables, and the first of these
	OWN_GUARD_TABLES = 0x271000,
	OWN_GUARD_RECORDS = 0x291000,
	OWN_BLOCK_BYTES = 16 << MALLOC_SLICE_BITS,
	OWN_ZONE_BYTES = 4 << MALLOC_SLICE_BITS,
	OWN_LARGE_BYTES = 3 << MALLOC_SLICE_BITS,
	OWN_CLASSES = 8, // sizes 0, 16, 32, ... of classes
	OWN_SEGMENTS = 5,
};

#define OWN_META_AT   0x7f1000000000ull
#define OWN_TEXT_AT   0x7f0000000000ull
#define OWN_BLOCKS_AT 0x7f2000000000ull // all three in the same leaf
#define OWN_ZONE_AT   0x7f2000200000ull
#define OWN_LARGE_AT  0x7f2000300000ull

struct own {
	uint8_t *meta, *blocks, *zone, *large;
	struct malloc_descriptor *descriptor;
	struct malloc_zone_record *zones;
	struct malloc_region *regions;
	struct malloc_messages *messages;
	struct malloc_thread *threads[OWN_THREAD_COUNT];
	struct malloc_leaf *leaf;
	uint64_t entry_at, bits_at; // what comes next
	struct target_segment segments[OWN_SEGMENTS];
	struct target_thread stopped[1];
	struct target_file executable;
	uint64_t auxv[4];
	struct target *target;
};

static inline void *own_here(struct own *own, uint64_t address)
{
	return own->meta + (address - OWN_META_AT);
}

static inline uint32_t own_slice(uint64_t address)
{
	return address >> MALLOC_SLICE_BITS & (MALLOC_LEAF_SLICES - 1);
}

static inline struct malloc_slab *own_slab(struct own *own, uint64_t address)
{
	return &own->leaf->slabs[own_slice(address)];
}

static inline void own_words(struct own *own, uint64_t address, uint32_t slices, uint32_t first,
                             uint32_t rest)
{
	for (uint32_t i = 0; i < slices; i++)
		own->leaf->words[own_slice(address) + i] = i ? rest : first;
}

static inline uint64_t *own_bits(struct own *own, uint64_t address)
{
	return own_here(own, own_slab(own, address)->freed);
}

static inline void own_set_free(struct own *own, uint64_t slab, unsigned index)
{
	own_bits(own, slab)[index / 64] |= 1ull << index % 64;
}

// A slab of one slice; the first bump blocks were handed out.
static inline struct malloc_slab *own_make_slab(struct own *own, uint64_t address, uint32_t zone,
                                                uint32_t class, uint32_t bump)
{
	struct malloc_slab *slab = own_slab(own, address);
	uint32_t bytes = own->descriptor->class_bytes[class];

	*slab = (struct malloc_slab){ .freed = own->bits_at,
		                      .bytes = bytes,
		                      .block_count = MALLOC_SLICE_BYTES / bytes,
		                      .bump = bump,
		                      .slice_count = 1 };
	own->bits_at += 512;
	own_words(own, address, 1, malloc_word(zone, MALLOC_SLAB, class), 0);
	return slab;
}

static inline void own_make_span(struct own *own, uint64_t address, uint32_t zone, uint32_t slices,
                                 uint64_t bytes)
{
	*own_slab(own, address) = (struct malloc_slab){ .bytes = bytes, .slice_count = slices };
	own_words(own, address, slices, malloc_word(zone, MALLOC_SPAN, 0),
	          malloc_word(zone, MALLOC_SPAN_REST, 0));
}

static inline void own_make_free(struct own *own, uint64_t address, uint32_t zone, uint32_t slices)
{
	own_slab(own, address)->slice_count = slices;
	own_words(own, address, slices, malloc_word(zone, MALLOC_FREE_SPAN, 0),
	          malloc_word(zone, MALLOC_FREE_REST, 0));
}

// Room for entries; the address of the array.
static inline uint64_t own_array(struct own *own, unsigned count)
{
	uint64_t at = own->entry_at;

	own->entry_at += (count + 1) * 8;
	return at;
}

static inline void own_put(struct own *own, uint64_t at, uint64_t value)
{
	memcpy(own_here(own, at), &value, 8);
}

// Where the program has something that lies in the metadata.
static inline uint64_t own_there(const struct own *own, const void *here)
{
	return OWN_META_AT + (uint64_t)((const uint8_t *)here - (const uint8_t *)own->meta);
}

// Gives a bin an array of 15 entries, the first `count` of which are filled.
static inline void own_fill_bin(struct own *own, struct malloc_bin *bin, const uint64_t *blocks,
                                unsigned count)
{
	uint64_t at = own_array(own, 15);

	for (unsigned i = 0; i < count; i++)
		own_put(own, at + i * 8, blocks[i]);
	bin->base = bin->array = (uint64_t *)(uintptr_t)at;
	bin->top = bin->base + count;
	bin->limit = bin->base + 15;
}

static inline void own_init_tables(struct own *own)
{
	struct malloc_descriptor *d = own->descriptor;

	own->zones[0] =
		(struct malloc_zone_record){ OWN_META_AT + 0x800, 1, 0, "DefaultMallocZone" };
	own->zones[2] = (struct malloc_zone_record){ OWN_META_AT + 0x900, 5, 0, "Pictures" };
	own->regions[0] = (struct malloc_region){ OWN_BLOCKS_AT, OWN_BLOCKS_AT + OWN_BLOCK_BYTES,
		                                  MALLOC_REGION_BLOCKS, 0 };
	own->regions[2] = (struct malloc_region){ OWN_LARGE_AT, OWN_LARGE_AT + OWN_LARGE_BYTES,
		                                  MALLOC_REGION_LARGE, 0 };
	own->regions[3] = (struct malloc_region){ OWN_ZONE_AT, OWN_ZONE_AT + OWN_ZONE_BYTES,
		                                  MALLOC_REGION_BLOCKS, 2 };
	own->regions[4] = (struct malloc_region){ OWN_META_AT + OWN_THREADS, OWN_META_AT + OWN_ROOT,
		                                  MALLOC_REGION_METADATA, 0 };
	*d = (struct malloc_descriptor){ .version = MALLOC_VERSION,
		                         .bytes = sizeof(*d),
		                         .leaf_bytes = sizeof(struct malloc_leaf),
		                         .slab_bytes = sizeof(struct malloc_slab),
		                         .thread_bytes = sizeof(struct malloc_thread),
		                         .zone_cache_bytes = sizeof(struct malloc_zone_cache),
		                         .zone_bytes = sizeof(struct malloc_zone_record),
		                         .region_bytes = sizeof(struct malloc_region),
		                         .note_bytes = sizeof(struct malloc_note),
		                         .class_count = OWN_CLASSES,
		                         .ready = 1,
		                         .text_start = OWN_TEXT_AT,
		                         .text_end = OWN_TEXT_AT + 0x10000,
		                         .root = OWN_META_AT + OWN_ROOT,
		                         .threads = OWN_META_AT + OWN_THREADS,
		                         .zones = OWN_META_AT + OWN_ZONES,
		                         .regions = OWN_META_AT + OWN_REGIONS,
		                         .messages = OWN_META_AT + OWN_MESSAGES,
		                         .zone_count = 4,
		                         .region_count = 5 };
	memcpy(d->magic, MALLOC_MAGIC, sizeof(d->magic));
	for (unsigned i = 0; i < OWN_CLASSES; i++)
		d->class_bytes[i] = i * 16;
}

static inline void own_init(struct own *own)
{
	memset(own, 0, sizeof(*own));
	own->meta = calloc(1, OWN_META_BYTES);
	own->blocks = calloc(1, OWN_BLOCK_BYTES);
	own->zone = calloc(1, OWN_ZONE_BYTES);
	own->large = calloc(1, OWN_LARGE_BYTES);
	own->descriptor = (void *)(own->meta + OWN_DESCRIPTOR);
	own->zones = (void *)(own->meta + OWN_ZONES);
	own->regions = (void *)(own->meta + OWN_REGIONS);
	own->messages = (void *)(own->meta + OWN_MESSAGES);
	own->leaf = (void *)(own->meta + OWN_LEAF);
	own->entry_at = OWN_META_AT + OWN_ENTRIES;
	own->bits_at = OWN_META_AT + OWN_BITS;
	own_init_tables(own);
	uint64_t leaf = OWN_META_AT + OWN_LEAF;
	own_put(own,
	        OWN_META_AT + OWN_ROOT +
	                (OWN_BLOCKS_AT >> (MALLOC_SLICE_BITS + MALLOC_LEAF_BITS)) * 8,
	        leaf);
	for (unsigned i = 0; i < OWN_THREAD_COUNT; i++) {
		uint64_t at = OWN_THREADS + i * OWN_THREAD_STEP;

		own->threads[i] = (void *)(own->meta + at);
		own->threads[i]->thread_id = 100 + (int)i;
		if (i + 1 < OWN_THREAD_COUNT)
			own->threads[i]->next = OWN_META_AT + at + OWN_THREAD_STEP;
	}
}

static inline void own_segment(struct own *own, unsigned index, uint64_t start, uint64_t bytes,
                               uint8_t *image)
{
	own->segments[index] = (struct target_segment){ .start = start,
		                                        .end = start + bytes,
		                                        .contents_end = start + bytes,
		                                        .protection = TARGET_READ | TARGET_WRITE,
		                                        .readable = true,
		                                        .image = image };
}

// Guard Malloc with one extent where zone 2 was, and no record yet.
static inline struct guard_record *own_guard(struct own *own)
{
	struct guard_descriptor *d = own_here(own, OWN_META_AT + OWN_GUARD);
	uint64_t extents = OWN_META_AT + OWN_GUARD + 0x400, zones = OWN_META_AT + OWN_GUARD + 0x800;
	struct guard_extent extent = { OWN_ZONE_AT, OWN_ZONE_AT + OWN_ZONE_BYTES / 2,
		                       OWN_ZONE_AT + OWN_ZONE_BYTES };

	own->regions[3] = (struct malloc_region){ 0 };
	own->descriptor->guard = OWN_META_AT + OWN_GUARD;
	*d = (struct guard_descriptor){ .version = GUARD_VERSION,
		                        .bytes = sizeof(*d),
		                        .record_bytes = sizeof(struct guard_record),
		                        .records_per_table = GUARD_TABLE_RECORDS,
		                        .extent_bytes = sizeof(struct guard_extent),
		                        .page_bytes = 4096,
		                        .extent_count = 1,
		                        .zone_count = 2,
		                        .tables = OWN_META_AT + OWN_GUARD_TABLES,
		                        .extents = extents,
		                        .zones = zones };
	memcpy(d->magic, GUARD_MAGIC, sizeof(d->magic));
	memcpy(own_here(own, extents), &extent, sizeof(extent));
	own_put(own, zones, own->zones[0].address);
	own_put(own, zones + 8, own->zones[2].address);
	own_put(own, d->tables, OWN_META_AT + OWN_GUARD_RECORDS);
	return own_here(own, OWN_META_AT + OWN_GUARD_RECORDS);
}

// The one thread of the program, which stands at pc.
static inline struct heaps *own_read(struct own *own, uint64_t pc)
{
	struct heaps *heaps = NULL;

	own->executable.path = "/usr/bin/program";
	own_segment(own, 0, OWN_META_AT, OWN_ZONES / 2, own->meta);
	own->segments[0].file = &own->executable;
	own_segment(own, 4, OWN_LARGE_AT, OWN_LARGE_BYTES, own->large);
	own_segment(own, 1, OWN_META_AT + OWN_ZONES, OWN_META_BYTES - OWN_ZONES,
	            own->meta + OWN_ZONES);
	own_segment(own, 2, OWN_BLOCKS_AT, OWN_BLOCK_BYTES, own->blocks);
	own_segment(own, 3, OWN_ZONE_AT, OWN_ZONE_BYTES, own->zone);
	own->target = target_from_segments(own->segments, OWN_SEGMENTS, 8);
	own->auxv[0] = AT_PHDR;
	own->auxv[1] = OWN_META_AT;
	own->target->auxv = own->auxv;
	own->target->auxv_count = 2;
	own->stopped[0] = (struct target_thread){ .tid = 100, .own_tid = 100, .pc = pc };
	own->target->threads = own->stopped;
	own->target->thread_count = 1;
	if (heaps_read(own->target, NULL, &heaps))
		return NULL;
	return heaps;
}

static inline void own_deinit(struct own *own, struct heaps *heaps)
{
	heaps_close(heaps);
	target_close(own->target);
	free(own->meta);
	free(own->blocks);
	free(own->zone);
	free(own->large);
}
