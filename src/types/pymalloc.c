// SPDX-License-Identifier: MIT
// The objects of up to 512 bytes that CPython keeps in its own pools (Objects/obmalloc.c): memory from mmap,
// cut into pools of one size class each. No table of them is needed: a pool tells how many of its blocks
// are live, and that number must come out when its list of free blocks is walked. Called by the report of
// stringdups.
#include <string.h>

#include "types/types_impl.h"

#define HEADER_BYTES     48
#define CLASS_BYTES      16
#define CLASS_COUNT      32
#define POOL_BYTES_MOST  16384
#define POOL_BLOCKS_MOST ((POOL_BYTES_MOST - HEADER_BYTES) / CLASS_BYTES)
#define SMALL_POOL_MINOR 9 // up to 3.9 a pool is 4 KiB, then 16 KiB

// struct pool_header, the same from 3.8 to 3.13.
struct pool_header {
	uint32_t used_count, padding;
	uint64_t free_block, next_pool, previous_pool;
	uint32_t arena, class;
	uint32_t virgin_offset,
		last_offset; // of the first block that was never used; the largest possible
};

_Static_assert(sizeof(struct pool_header) == HEADER_BYTES, "as CPython lays it out");

struct search {
	struct types *types;
	size_t pool_bytes;
	uint8_t pool[POOL_BYTES_MOST];
	uint64_t address; // of the pool
	VEC(struct types_object) found;
};

static bool header_plausible(const struct search *search, const struct pool_header *header)
{
	uint32_t bytes = (header->class + 1) * CLASS_BYTES;

	return header->used_count && header->class < CLASS_COUNT && header->next_pool &&
	       header->last_offset == search->pool_bytes - bytes &&
	       header->virgin_offset <= header->last_offset + bytes &&
	       header->virgin_offset > HEADER_BYTES &&
	       (header->virgin_offset - HEADER_BYTES) % bytes == 0 &&
	       header->used_count <= (header->virgin_offset - HEADER_BYTES) / bytes;
}

// Marks the blocks of the list of free ones, each of which begins with the address of the next one. False
// when that leads out of the pool, or the number of those that are left is not what the header says.
static bool free_find(const struct search *search, const struct pool_header *header,
                      bool is_free[POOL_BLOCKS_MOST])
{
	uint32_t bytes = (header->class + 1) * CLASS_BYTES;
	uint32_t left = (header->virgin_offset - HEADER_BYTES) / bytes;
	uint64_t at = header->free_block;

	while (at) {
		uint64_t offset = at - search->address;

		if (offset < HEADER_BYTES || offset >= header->virgin_offset ||
		    (offset - HEADER_BYTES) % bytes || is_free[(offset - HEADER_BYTES) / bytes])
			return false;
		is_free[(offset - HEADER_BYTES) / bytes] = true;
		left--;
		memcpy(&at, search->pool + offset, sizeof(at));
	}
	return left == header->used_count;
}

static const struct type *object_type(struct search *search, uint32_t offset, uint32_t bytes)
{
	uint64_t words[TYPES_HEAD_WORDS];
	size_t count = bytes / sizeof(*words);

	if (count > TYPES_HEAD_WORDS)
		count = TYPES_HEAD_WORDS;
	memcpy(words, search->pool + offset, count * sizeof(*words));
	return types_python(search->types, words, count);
}

static void pool_add(struct search *search)
{
	bool is_free[POOL_BLOCKS_MOST] = { false };
	struct pool_header header;
	uint32_t bytes;

	memcpy(&header, search->pool, sizeof(header));
	if (!header_plausible(search, &header) || !free_find(search, &header, is_free))
		return;
	bytes = (header.class + 1) * CLASS_BYTES;
	for (uint32_t at = HEADER_BYTES; at < header.virgin_offset; at += bytes) {
		if (is_free[(at - HEADER_BYTES) / bytes])
			continue;
		vec_push(&search->found,
		         ((struct types_object){ { .hb_address = search->address + at,
		                                   .hb_size = bytes,
		                                   .hb_state = HEAP_USED },
		                                 object_type(search, at, bytes) }));
	}
}

static void pools_of(void *context, uint64_t start, uint64_t end)
{
	struct search *search = context;
	struct target *target = search->types->target;

	// The first page of a pool is there, its last ones need not be: they read as zeros.
	start += -start & (search->pool_bytes - 1);
	for (; start < end; start += search->pool_bytes) {
		search->address = start;
		if (target_read_some(target, start, search->pool, search->pool_bytes) ==
		    search->pool_bytes)
			pool_add(search);
	}
}

// What lies in a pool is written to, and belongs to no file.
static bool may_hold_pools(const struct target_segment *segment)
{
	return segment->readable && (segment->protection & TARGET_WRITE) && !segment->shared &&
	       !segment->file;
}

struct error *types_python_objects(struct types *types, struct arena *arena,
                                   const struct types_object **ret, size_t *ret_count)
{
	struct target *target = types->target;
	struct search search = { .types = types, .pool_bytes = POOL_BYTES_MOST };
	struct types_object *kept;
	struct error *error = NULL;

	*ret_count = 0;
	if (!types->has_python || types->python_minor < 8 || types->python_minor > 13 ||
	    target->word_bytes != 8 || target->big_endian)
		return NULL;
	if (types->python_minor <= SMALL_POOL_MINOR)
		search.pool_bytes = 4096;
	vec_init(&search.found, arena->ar_source);
	for (size_t i = 0; i < target->segment_count && !error; i++)
		if (may_hold_pools(&target->segments[i]))
			error = target_present(target, target->segments[i].start,
			                       target->segments[i].end, pools_of, &search);
	if (!error && search.found.n) {
		kept = arena_array(arena, search.found.n, sizeof(*kept));
		memcpy(kept, search.found.v, search.found.n * sizeof(*kept));
		*ret = kept;
		*ret_count = search.found.n;
	}
	vec_deinit(&search.found);
	return error;
}
