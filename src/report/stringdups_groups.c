// SPDX-License-Identifier: MIT
// Equal contents among the live blocks (stringdups.c). The first pass over the heap keeps a hash of each
// content, the second one compares the bytes of those blocks only whose hash came again. Memory: 12 bytes
// for each block, 12 more for each one that has a double, about 150 bytes for each content of several
// blocks, and up to KEPT_BYTES of these contents.
#include "report/stringdups_impl.h"

#include <string.h>

#include "os/os.h"

#define KEPT_BYTES  ((size_t)64 << 20) // of first blocks; what is above is read again to compare
#define FIRST_SLOTS 4096
#define NO_GROUP    UINT32_MAX // of one that was dropped

// --- hashes that come again ----------------------------------------------------------------------
#define CELLS_PER_BLOCK 8
#define CELLS_MOST      ((size_t)1 << 33)
#define CELLS_PER_WORD  32
#define KEYS_AHEAD      64 // the cells of so many blocks are fetched in advance: they lie anywhere

struct marks {
	uint64_t *cells; // two bits per cell: a hash fell there once, again
	size_t count;    // a power of two
	uint64_t *keys;  // by block: its hash; 0: it is not compared
	size_t block_count;
};

static void marks_open(struct marks *marks, size_t block_count)
{
	*marks = (struct marks){ .count = 1024, .block_count = block_count };
	while (marks->count < block_count * CELLS_PER_BLOCK && marks->count < CELLS_MOST)
		marks->count *= 2;
	marks->cells = os_page_source.resize(NULL, 0, marks->count / 4);
	marks->keys = os_page_source.resize(NULL, 0, (block_count + 1) * sizeof(*marks->keys));
}

static void marks_close(struct marks *marks)
{
	os_page_source.resize(marks->cells, marks->count / 4, 0);
	os_page_source.resize(marks->keys, (marks->block_count + 1) * sizeof(*marks->keys), 0);
}

static uint64_t *cell_word(const struct marks *marks, size_t block)
{
	return &marks->cells[(marks->keys[block] & (marks->count - 1)) / CELLS_PER_WORD];
}

static unsigned cell_shift(const struct marks *marks, size_t block)
{
	return 2 * (unsigned)(marks->keys[block] % CELLS_PER_WORD);
}

static void cell_prefetch(const struct marks *marks, size_t block)
{
	if (block + KEYS_AHEAD < marks->block_count)
		__builtin_prefetch(cell_word(marks, block + KEYS_AHEAD), 1);
}

static void marks_fill(struct marks *marks)
{
	for (size_t i = 0; i < marks->block_count; i++) {
		uint64_t *word = cell_word(marks, i);
		unsigned shift = cell_shift(marks, i);

		cell_prefetch(marks, i);
		if (marks->keys[i])
			*word |= (uint64_t)(*word >> shift & 1 ? 2 : 1) << shift;
	}
}

static bool marks_again(const struct marks *marks, uint32_t block)
{
	return *cell_word(marks, block) >> cell_shift(marks, block) & 2;
}

// --- the table -----------------------------------------------------------------------------------
struct slot {
	uint64_t hash;
	uint32_t group; // + 1; 0: empty
};

struct table {
	struct slot *slots; // open addressing, a power of two, at most three quarters full
	size_t count, used;
};

static size_t slot_first(const struct table *table, uint64_t hash)
{
	return (size_t)(hash >> 24) & (table->count - 1);
}

static void table_free(struct table *table)
{
	if (table->slots)
		os_page_source.resize(table->slots, table->count * sizeof(*table->slots), 0);
}

static void slot_move(struct table *table, const struct slot *slot)
{
	size_t at = slot_first(table, slot->hash);

	while (table->slots[at].group)
		at = (at + 1) & (table->count - 1);
	table->slots[at] = *slot;
}

static void table_grow(struct table *table)
{
	struct table old = *table;

	table->count = old.count ? old.count * 2 : FIRST_SLOTS;
	table->slots = os_page_source.resize(NULL, 0, table->count * sizeof(*table->slots));
	for (size_t i = 0; i < old.count; i++)
		if (old.slots[i].group)
			slot_move(table, &old.slots[i]);
	table_free(&old);
}

// --- groups --------------------------------------------------------------------------------------
static bool is_zero(const uint8_t *bytes, size_t n)
{
	return !bytes[0] && !memcmp(bytes, bytes + 1, n - 1);
}

// The bytes of a first block, kept as long as there is room for them.
static void group_keep(struct dups_pass *pass, struct dups_group *group)
{
	struct look *look = pass->dups->look;
	uint64_t address = dups_block(pass->dups, group->first)->hb_address + group->text.offset;
	const uint8_t *bytes;
	size_t n;

	bytes = dups_reader_bytes(&pass->reader, address, group->text.bytes, &n);
	if (n && n == group->text.bytes)
		group->is_zero = is_zero(bytes, n);
	if (n != group->text.bytes || look->arena->ar_bytes + n > KEPT_BYTES)
		return;
	group->contents = memcpy(arena_alloc(look->arena, n), bytes, n);
}

static uint32_t group_begin(struct dups_pass *pass, uint32_t block,
                            const struct dups_content *content)
{
	struct dups *dups = pass->dups;
	struct dups_group *group = vec_add(&dups->groups);

	*group = (struct dups_group){ .first = block,
		                      .text = content->text,
		                      .least_bytes = UINT64_MAX };
	group->type = dups_type(dups, block);
	group_keep(pass, group);
	return (uint32_t)dups->groups.n - 1;
}

static bool same_text(const struct types_text *a, const struct types_text *b)
{
	return a->kind == b->kind && a->encoding == b->encoding && a->bytes == b->bytes;
}

// Piece by piece, where not both are at hand.
static bool same_pieces(struct dups_pass *pass, const struct dups_group *group, uint32_t block,
                        const struct types_text *text)
{
	const struct dups *dups = pass->dups;
	uint64_t first = dups_block(dups, group->first)->hb_address + group->text.offset;
	uint64_t address = dups_block(dups, block)->hb_address + text->offset, at;
	uint8_t piece[4096];
	const uint8_t *bytes;
	size_t n, m;

	for (at = 0; at < text->bytes; at += n) {
		uint64_t left = text->bytes - at;

		if (!group->contents && left > sizeof(piece))
			left = sizeof(piece);
		bytes = dups_reader_bytes(&pass->reader, address + at, left, &n);
		m = group->contents ? n
		                    : target_read_some(dups->look->target, first + at, piece, n);
		if (!n || m < n ||
		    memcmp(bytes, group->contents ? group->contents + at : piece, n) != 0)
			return false;
	}
	return true;
}

// Equal hashes are not enough: who wants two contents to look equal could have made them so.
static bool same_content(struct dups_pass *pass, const struct dups_group *group, uint32_t block,
                         const struct dups_content *content)
{
	const struct types_text *text = &content->text;

	if (group->first == block)
		return true;
	if (!same_text(text, &group->text))
		return false;
	if (group->contents && text->offset + text->bytes <= content->n)
		return !memcmp(content->bytes + text->offset, group->contents, text->bytes);
	return same_pieces(pass, group, block, text);
}

static uint32_t group_of(struct dups_pass *pass, struct table *table, uint64_t hash, uint32_t block,
                         const struct dups_content *content)
{
	size_t at;

	if ((table->used + 1) * 4 > table->count * 3)
		table_grow(table);
	for (at = slot_first(table, hash); table->slots[at].group;
	     at = (at + 1) & (table->count - 1)) {
		uint32_t group = table->slots[at].group - 1;

		if (table->slots[at].hash == hash &&
		    same_content(pass, &pass->dups->groups.v[group], block, content))
			return group;
	}
	table->slots[at] = (struct slot){ hash, group_begin(pass, block, content) + 1 };
	table->used++;
	return table->slots[at].group - 1;
}

static void group_add(struct dups *dups, uint32_t number, uint32_t block)
{
	struct dups_group *group = &dups->groups.v[number];
	uint64_t size = dups_block(dups, block)->hb_size;

	group->count++;
	group->bytes += size;
	if (size < group->least_bytes)
		group->least_bytes = size;
	vec_push(&dups->members, ((struct dups_member){ block, number, 0 }));
}

static bool is_compared(const struct heap_block *block)
{
	return block->hb_state == HEAP_USED && !(block->hb_flags & HEAP_LOADER);
}

static void hash_all(struct dups *dups, struct marks *marks)
{
	struct dups_pass pass = { .dups = dups };
	struct dups_content content;

	dups_reader_open(&pass.reader, dups->look->target);
	for (uint32_t i = 0; i < marks->block_count; i++) {
		if (!is_compared(dups_block(dups, i)))
			continue;
		dups->block_count++;
		if (dups_content_read(&pass, i, &content) &&
		    dups_content_hash(&pass, i, &content, &marks->keys[i]))
			marks->keys[i] += !marks->keys[i];
	}
	dups->unreadable_count = pass.unreadable_count;
	dups_reader_close(&pass.reader);
}

static void group_all(struct dups *dups, const struct marks *marks)
{
	struct dups_pass pass = { .dups = dups };
	struct dups_content content;
	struct table table = { 0 };

	table_grow(&table);
	dups_reader_open(&pass.reader, dups->look->target);
	for (uint32_t i = 0; i < marks->block_count; i++) {
		cell_prefetch(marks, i);
		if (!marks->keys[i] || (dups->minimum > 1 && !marks_again(marks, i)) ||
		    !dups_content_read(&pass, i, &content))
			continue;
		group_add(dups, group_of(&pass, &table, marks->keys[i], i, &content), i);
	}
	dups_reader_close(&pass.reader);
	table_free(&table);
}

// Of hashes that share a cell, and what has too few blocks.
static void drop_small(struct dups *dups)
{
	const uint64_t minimum = dups->minimum;
	uint32_t *place = arena_array(dups->look->arena, dups->groups.n, sizeof(*place));
	size_t kept = 0, members = 0;

	for (size_t i = 0; i < dups->groups.n; i++) {
		place[i] = NO_GROUP;
		if (dups->groups.v[i].count < minimum)
			continue;
		place[i] = (uint32_t)kept;
		dups->groups.v[kept++] = dups->groups.v[i];
	}
	dups->groups.n = kept;
	for (size_t i = 0; i < dups->members.n; i++) {
		struct dups_member member = dups->members.v[i];

		member.group = place[member.group];
		if (member.group != NO_GROUP)
			dups->members.v[members++] = member;
	}
	dups->members.n = members;
}

void dups_sort_members(struct dups *dups)
{
	struct dups_member *sorted =
		arena_array(dups->look->arena, dups->members.n, sizeof(*sorted));
	uint32_t *next = arena_array(dups->look->arena, dups->groups.n, sizeof(*next));
	uint32_t at = 0;

	for (size_t i = 0; i < dups->groups.n; i++) {
		dups->groups.v[i].members = next[i] = at;
		at += dups->groups.v[i].count;
	}
	for (size_t i = 0; i < dups->members.n; i++)
		sorted[next[dups->members.v[i].group]++] = dups->members.v[i];
	if (dups->members.n)
		memcpy(dups->members.v, sorted, dups->members.n * sizeof(*sorted));
}

struct error *dups_group(struct dups *dups)
{
	struct marks marks;

	marks_open(&marks, dups_count(dups));
	hash_all(dups, &marks);
	marks_fill(&marks);
	group_all(dups, &marks);
	marks_close(&marks);
	drop_small(dups);
	if (dups->block_count && dups->unreadable_count == dups->block_count)
		return error_new(ERROR_UNSUPPORTED,
		                 "there are no contents of blocks in it: write a snapshot with "
		                 "-fullContent, or a core file with all memory");
	return NULL;
}
