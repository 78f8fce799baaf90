// SPDX-License-Identifier: MIT
// What the files of the stringdups report share: stringdups.c, stringdups_contents.c (reading, hashing),
// stringdups_groups.c (equal contents), stringdups_strings.c (std::string), stringdups_owners.c,
// stringdups_stacks.c.
#pragma once

#include "base/vec.h"
#include "report/report.h"
#include "types/types.h"

enum { DUPS_OWNERS = 8, DUPS_STACKS = 3 };

// --- stringdups_groups.c -------------------------------------------------------------------------
// Equal contents. Kept once there are enough blocks of them.
struct dups_group {
	uint32_t first; // the first block (an index), and the number of blocks
	uint32_t count;
	uint64_t bytes, least_bytes; // of all blocks; of the smallest one
	struct types_text text;      // kind TYPES_TEXT_NONE: whole blocks are equal
	const struct type *type;     // of the first block, NULL none
	const uint8_t *contents;     // of the first block's text or bytes; NULL: too many to keep
	bool is_zero;
	uint32_t members;                // where its blocks begin in dups.members
	const struct dups_owner *owners; // most blocks first
	size_t owner_count;
	bool more_owners; // than are kept
};

// A block of a group.
struct dups_member {
	uint32_t block, group;
	uint32_t owner; // of dups_owners; 0: none found
};

struct dups_owner {
	const char *name; // "shop::Book[24]", "names in server (.bss)"
	uint32_t count;   // of the group's blocks
};

struct dups {
	struct look *look;
	const struct stringdups_settings *settings;
	uint64_t minimum;
	VEC(struct dups_group) groups;
	VEC(struct dups_member) members; // by group, then by address, once grouped
	uint64_t block_count, unreadable_count;
	const struct dups_string *strings; // by block
	size_t string_count;
	const struct types_object *objects; // of CPython's own allocator, by address
	size_t object_count;
};

// Blocks are numbered: first those of the heaps, behind them the objects.
static inline uint32_t dups_count(const struct dups *dups)
{
	return (uint32_t)(dups->look->heaps->block_count + dups->object_count);
}

static inline const struct heap_block *dups_block(const struct dups *dups, uint32_t block)
{
	const struct heaps *heaps = dups->look->heaps;

	return block < heaps->block_count ? &heaps->blocks[block]
	                                  : &dups->objects[block - heaps->block_count].block;
}

static inline const struct type *dups_type(const struct dups *dups, uint32_t block)
{
	const struct heaps *heaps = dups->look->heaps;

	return block < heaps->block_count ? types_of(dups->look->types, block)
	                                  : dups->objects[block - heaps->block_count].type;
}

// Finds the groups and their members, in order of their first block.
struct error *dups_group(struct dups *dups);

// Sorts the members by group (a counting sort) and sets where each group's begin.
void dups_sort_members(struct dups *dups);

// --- stringdups_contents.c -----------------------------------------------------------------------
// A window over the target's memory; blocks are asked for in ascending order.
struct dups_reader {
	struct target *target;
	uint8_t *window;
	const uint8_t *bytes; // what is at hand, from start on: of the window or of an image
	uint64_t start;
	size_t used;
};
void dups_reader_open(struct dups_reader *reader, struct target *target);
void dups_reader_close(struct dups_reader *reader);
// Bytes at address, up to n and to the size of the window; fewer where nothing more can be read. Valid
// until the next call.
const uint8_t *dups_reader_bytes(struct dups_reader *reader, uint64_t address, uint64_t n,
                                 size_t *ret);

// One pass over all blocks, in order.
struct dups_pass {
	struct dups *dups;
	struct dups_reader reader;
	size_t string;             // the first std::string at or behind the current block
	uint64_t unreadable_count; // blocks whose bytes cannot be had
};

// What of a block is compared; the first n bytes of the block are at hand until the reader moves.
struct dups_content {
	struct types_text text;
	const uint8_t *bytes;
	size_t n;
};

// False: the block is not compared, or cannot be read.
bool dups_content_read(struct dups_pass *pass, uint32_t block, struct dups_content *ret);
bool dups_content_hash(struct dups_pass *pass, uint32_t block, const struct dups_content *content,
                       uint64_t *ret);

// --- stringdups_strings.c ------------------------------------------------------------------------
// A block that holds the characters of a std::string.
struct dups_string {
	uint32_t block;
	uint64_t length;
};
struct error *dups_find_strings(struct dups *dups);

// --- stringdups_owners.c -------------------------------------------------------------------------
// Who refers to the blocks of the groups. Before the members are sorted.
struct error *dups_find_owners(struct dups *dups);

// --- stringdups_stacks.c -------------------------------------------------------------------------
// The stacks of a group, the most frequent ones or all as a call tree, as the settings ask.
void dups_print_stacks(struct emitter *e, const struct dups *dups, const struct dups_group *group);
