// SPDX-License-Identifier: MIT
// Equal contents among the live blocks (stringdups.c). Two passes over the heap in order of address: the
// first marks a bit per hash, and a second bit when it comes again; the second pass compares the bytes of
// those blocks only. Memory: 8 bytes for each block, 12 for each one that has a double, about 150 bytes for
// each content of several blocks, and up to KEPT_BYTES of these contents.
#include "report/stringdups_impl.h"

#include <string.h>

#include "os/os.h"

#define WINDOW_BYTES ((size_t)1 << 20)
#define KEPT_BYTES   ((size_t)64 << 20) // of first blocks; what is above is read again to compare
#define FIRST_SLOTS  4096
#define NO_GROUP     UINT32_MAX // of one that was dropped

// --- reading -------------------------------------------------------------------------------------
void dups_reader_open(struct dups_reader *reader, struct target *target)
{
	*reader = (struct dups_reader){ .target = target };
	reader->window = os_page_source.resize(NULL, 0, WINDOW_BYTES);
}

void dups_reader_close(struct dups_reader *reader)
{
	os_page_source.resize(reader->window, WINDOW_BYTES, 0);
}

const uint8_t *dups_reader_bytes(struct dups_reader *reader, uint64_t address, uint64_t n,
                                 size_t *ret)
{
	const uint8_t *image;

	if (n > WINDOW_BYTES)
		n = WINDOW_BYTES;
	*ret = (size_t)n;
	image = target_bytes(reader->target, address, *ret);
	if (image)
		return image;
	if (address < reader->start || address - reader->start > reader->used ||
	    reader->used - (address - reader->start) < n) {
		reader->start = address;
		reader->used =
			target_read_some(reader->target, address, reader->window, WINDOW_BYTES);
		if (reader->used < n)
			*ret = reader->used;
	}
	return reader->window + (address - reader->start);
}

// --- hashing -------------------------------------------------------------------------------------
struct hash {
	uint64_t a, b;
};

// The two halves of a product, folded; the way of wyhash and its kin.
static uint64_t fold(uint64_t x, uint64_t y)
{
	unsigned __int128 product = (unsigned __int128)x * y;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static void hash_pair(struct hash *hash, uint64_t x, uint64_t y)
{
	hash->a = fold(x ^ 0xa0761d6478bd642full, y ^ hash->a ^ 0xe7037ed1a0b428dbull);
	hash->b = fold(x ^ 0x8ebc6af09c88c6e3ull ^ hash->b, y ^ 0x589965cc75374cc3ull);
}

// Pieces of a content, all but the last one of a multiple of 16 bytes.
static void hash_bytes(struct hash *hash, const uint8_t *bytes, size_t n)
{
	uint64_t words[2];

	for (; n >= sizeof(words); bytes += sizeof(words), n -= sizeof(words)) {
		memcpy(words, bytes, sizeof(words));
		hash_pair(hash, words[0], words[1]);
	}
	if (!n)
		return;
	memset(words, 0, sizeof(words));
	memcpy(words, bytes, n);
	hash_pair(hash, words[0], words[1]);
}

// --- one block -----------------------------------------------------------------------------------
struct pass {
	struct dups *dups;
	struct dups_reader reader;
	size_t string; // the first std::string at or behind the current block
};

// What of a block is compared with others, and its hash.
struct content {
	struct types_text text;
	struct hash hash;
};

static bool is_std_string(struct pass *pass, uint32_t block, const uint8_t *bytes, size_t n,
                          struct types_text *ret)
{
	const struct dups *dups = pass->dups;

	while (pass->string < dups->string_count && dups->strings[pass->string].block < block)
		pass->string++;
	for (size_t i = pass->string; i < dups->string_count && dups->strings[i].block == block;
	     i++) {
		uint64_t length = dups->strings[i].length;

		if (!length || length >= n || bytes[length])
			continue;
		*ret = (struct types_text){ TYPES_TEXT_STD_STRING, TYPES_UTF8, 0, length };
		if (types_text_length(bytes, length) < length)
			ret->encoding = TYPES_BYTES;
		return true;
	}
	return false;
}

static bool is_python(struct look *look, uint32_t block, const uint8_t *bytes, size_t n,
                      struct types_text *ret)
{
	const struct type *type;

	if (!types_knows_python(look->types))
		return false;
	type = types_of(look->types, block);
	return type && types_text_python(look->types, type, bytes, n,
	                                 look->heaps->blocks[block].hb_size, ret);
}

// Fills text; false when the block is none of those that are compared.
static bool content_find(struct pass *pass, uint32_t block, const uint8_t *bytes, size_t n,
                         uint64_t size, struct types_text *ret)
{
	struct look *look = pass->dups->look;
	uint64_t requested;
	bool is_exact = heaps_requested(look->heaps, block, &requested);

	if (is_std_string(pass, block, bytes, n, ret) || is_python(look, block, bytes, n, ret) ||
	    types_text_c(look->types, bytes, n, is_exact, ret))
		return true;
	*ret = (struct types_text){ TYPES_TEXT_NONE, TYPES_BYTES, 0, size };
	return !pass->dups->settings->strings_only;
}

// False: the block is not compared, or cannot be read (which is counted in the first pass).
static bool content_hash(struct pass *pass, uint32_t block, bool count_unreadable,
                         struct content *ret)
{
	const struct heap_block *b = &pass->dups->look->heaps->blocks[block];
	uint64_t size = look_block_bytes(pass->dups->look, block), at, end;
	const uint8_t *bytes;
	size_t n;

	if (!size)
		return false;
	bytes = dups_reader_bytes(&pass->reader, b->hb_address, size, &n);
	if (n < size && n < WINDOW_BYTES) {
		pass->dups->unreadable_count += count_unreadable;
		return false;
	}
	if (!content_find(pass, block, bytes, n, size, &ret->text))
		return false;
	ret->hash = (struct hash){ ret->text.bytes,
		                   (uint64_t)ret->text.kind << 8 | ret->text.encoding };
	end = ret->text.offset + ret->text.bytes;
	for (at = ret->text.offset; at < end; at += n) {
		bytes = dups_reader_bytes(&pass->reader, b->hb_address + at, end - at, &n);
		if (!n)
			return false;
		if (n < end - at)
			n &= ~(size_t)15;
		if (!n)
			return false;
		hash_bytes(&ret->hash, bytes, n);
	}
	return true;
}

// --- hashes that come again ----------------------------------------------------------------------
#define BITS_PER_BLOCK 16
#define BITS_MOST      ((size_t)1 << 32)

struct marks {
	uint64_t *once, *again; // one bit per key, of its lowest bits
	size_t bits;            // a power of two
	uint32_t *keys;         // by block: the lowest bits of its hash; 0: it is not compared
	size_t block_count;
};

static void marks_open(struct marks *marks, size_t block_count)
{
	*marks = (struct marks){ .bits = 1024, .block_count = block_count };
	while (marks->bits < block_count * BITS_PER_BLOCK && marks->bits < BITS_MOST)
		marks->bits *= 2;
	marks->once = os_page_source.resize(NULL, 0, marks->bits / 8);
	marks->again = os_page_source.resize(NULL, 0, marks->bits / 8);
	marks->keys = os_page_source.resize(NULL, 0, (block_count + 1) * sizeof(*marks->keys));
}

static void marks_close(struct marks *marks)
{
	os_page_source.resize(marks->once, marks->bits / 8, 0);
	os_page_source.resize(marks->again, marks->bits / 8, 0);
	os_page_source.resize(marks->keys, (marks->block_count + 1) * sizeof(*marks->keys), 0);
}

static void marks_set(struct marks *marks, uint32_t block, const struct hash *hash)
{
	uint32_t key = (uint32_t)hash->a ? (uint32_t)hash->a : 1;
	uint64_t bit = key & (marks->bits - 1), mask = (uint64_t)1 << bit % 64;

	marks->keys[block] = key;
	if (marks->once[bit / 64] & mask)
		marks->again[bit / 64] |= mask;
	marks->once[bit / 64] |= mask;
}

static bool marks_again(const struct marks *marks, uint32_t block)
{
	uint64_t bit = marks->keys[block] & (marks->bits - 1);

	return marks->again[bit / 64] >> bit % 64 & 1;
}

// --- the table -----------------------------------------------------------------------------------
struct slot {
	struct hash hash;
	uint32_t group; // + 1; 0: empty
};

struct table {
	struct slot *slots; // open addressing, a power of two, at most three quarters full
	size_t count, used;
};

static struct slot *slot_at(const struct table *table, const struct hash *hash)
{
	size_t i = (size_t)(hash->a >> 32 ^ hash->b) & (table->count - 1);

	while (table->slots[i].group &&
	       (table->slots[i].hash.a != hash->a || table->slots[i].hash.b != hash->b))
		i = (i + 1) & (table->count - 1);
	return &table->slots[i];
}

static void table_free(struct table *table)
{
	if (table->slots)
		os_page_source.resize(table->slots, table->count * sizeof(*table->slots), 0);
}

static void table_grow(struct table *table)
{
	struct table old = *table;

	table->count = old.count ? old.count * 2 : FIRST_SLOTS;
	table->slots = os_page_source.resize(NULL, 0, table->count * sizeof(*table->slots));
	for (size_t i = 0; i < old.count; i++)
		if (old.slots[i].group)
			*slot_at(table, &old.slots[i].hash) = old.slots[i];
	table_free(&old);
}

// --- groups --------------------------------------------------------------------------------------
static bool is_zero(const uint8_t *bytes, size_t n)
{
	return !bytes[0] && !memcmp(bytes, bytes + 1, n - 1);
}

// The bytes of a first block, kept as long as there is room for them.
static void group_keep(struct pass *pass, struct dups_group *group)
{
	struct look *look = pass->dups->look;
	uint64_t address = look->heaps->blocks[group->first].hb_address + group->text.offset;
	const uint8_t *bytes;
	size_t n;

	bytes = dups_reader_bytes(&pass->reader, address, group->text.bytes, &n);
	if (n && n == group->text.bytes)
		group->is_zero = is_zero(bytes, n);
	if (n != group->text.bytes || look->arena->ar_bytes + n > KEPT_BYTES)
		return;
	group->contents = memcpy(arena_alloc(look->arena, n), bytes, n);
}

static uint32_t group_begin(struct pass *pass, uint32_t block, const struct content *content)
{
	struct dups *dups = pass->dups;
	struct dups_group *group = vec_add(&dups->groups);

	*group = (struct dups_group){ .first = block,
		                      .text = content->text,
		                      .least_bytes = UINT64_MAX };
	group->type = types_of(dups->look->types, block);
	group_keep(pass, group);
	return (uint32_t)dups->groups.n - 1;
}

// Equal hashes are not enough: who wants two contents to look equal could have made them so.
static bool same_bytes(struct pass *pass, const struct dups_group *group, uint32_t block,
                       const struct types_text *text)
{
	const struct heaps *heaps = pass->dups->look->heaps;
	uint64_t first = heaps->blocks[group->first].hb_address + group->text.offset;
	uint64_t address = heaps->blocks[block].hb_address + text->offset, at;
	uint8_t piece[4096];
	const uint8_t *bytes;
	size_t n, m;

	if (text->kind != group->text.kind || text->encoding != group->text.encoding ||
	    text->bytes != group->text.bytes)
		return false;
	for (at = 0; at < text->bytes; at += n) {
		uint64_t left = text->bytes - at;

		if (!group->contents && left > sizeof(piece))
			left = sizeof(piece);
		bytes = dups_reader_bytes(&pass->reader, address + at, left, &n);
		m = group->contents
		            ? n
		            : target_read_some(pass->dups->look->target, first + at, piece, n);
		if (!n || m < n ||
		    memcmp(bytes, group->contents ? group->contents + at : piece, n) != 0)
			return false;
	}
	return true;
}

static void group_add(struct pass *pass, struct table *table, uint32_t block,
                      const struct content *content)
{
	struct dups *dups = pass->dups;
	uint64_t size = dups->look->heaps->blocks[block].hb_size;
	struct dups_group *group;
	struct slot *slot;

	if ((table->used + 1) * 4 > table->count * 3)
		table_grow(table);
	slot = slot_at(table, &content->hash);
	if (!slot->group) {
		*slot = (struct slot){ content->hash, group_begin(pass, block, content) + 1 };
		table->used++;
	}
	group = &dups->groups.v[slot->group - 1];
	if (group->first != block && !same_bytes(pass, group, block, &content->text))
		return;
	group->count++;
	group->bytes += size;
	if (size < group->least_bytes)
		group->least_bytes = size;
	vec_push(&dups->members, ((struct dups_member){ block, slot->group - 1, 0 }));
}

static bool is_compared(const struct heap_block *block)
{
	return block->hb_state == HEAP_USED && !(block->hb_flags & HEAP_LOADER);
}

static void mark_all(struct dups *dups, struct marks *marks)
{
	const struct heaps *heaps = dups->look->heaps;
	struct pass pass = { .dups = dups };
	struct content content;

	dups_reader_open(&pass.reader, dups->look->target);
	for (uint32_t i = 0; i < heaps->block_count; i++) {
		if (!is_compared(&heaps->blocks[i]))
			continue;
		dups->block_count++;
		if (content_hash(&pass, i, true, &content))
			marks_set(marks, i, &content.hash);
	}
	dups_reader_close(&pass.reader);
}

static void group_all(struct dups *dups, const struct marks *marks)
{
	const struct heaps *heaps = dups->look->heaps;
	struct pass pass = { .dups = dups };
	struct table table = { 0 };
	struct content content;

	table_grow(&table);
	dups_reader_open(&pass.reader, dups->look->target);
	for (uint32_t i = 0; i < heaps->block_count; i++)
		if (marks->keys[i] && (dups->minimum < 2 || marks_again(marks, i)) &&
		    content_hash(&pass, i, false, &content))
			group_add(&pass, &table, i, &content);
	dups_reader_close(&pass.reader);
	table_free(&table);
}

// Of hashes that share a bit, and what has too few blocks.
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

	marks_open(&marks, dups->look->heaps->block_count);
	mark_all(dups, &marks);
	group_all(dups, &marks);
	marks_close(&marks);
	drop_small(dups);
	if (dups->block_count && dups->unreadable_count == dups->block_count)
		return error_new(ERROR_UNSUPPORTED,
		                 "there are no contents of blocks in it: write a snapshot with "
		                 "-fullContent, or a core file with all memory");
	return NULL;
}
