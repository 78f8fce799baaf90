// SPDX-License-Identifier: MIT
// Slabs: runs of slices cut into blocks of one class, whose state is one bit a block, out of line.
//
// 1. Who may do what. A set bit means that the block is free and in nobody's hands. Anybody who owns
//    blocks may set their bits, at any time and without a lock: one fetch_or for all blocks of a word.
//    Only the holder of the shard's lock clears bits, raises bump, and makes or releases slabs. So bits
//    that the holder has seen set stay set until he takes them.
// 2. How a slab with free blocks is found. Whoever has set bits looks at the flag QUEUED of the slab. If
//    it is clear he sets it, and the one who was first pushes the slab on the queue of its shard. The
//    holder takes the whole queue with one exchange (nobody else pops, so an entry cannot come back
//    while a push is under way: there is no ABA) and moves it to his list, where slabs stay, flag
//    LISTED, QUEUED still set, until they have no bit left. Then he clears both and looks once more:
//    a flusher who set bits before that may have seen QUEUED and relied on it. Bits and flag are
//    written and read in one total order (seq_cst), so either the flusher sees QUEUED clear or the
//    holder sees the bits.
// 3. How an empty slab is released. Only when it is LISTED and every block below bump has its bit set,
//    under the lock. Then nobody owns a block of it. But a flusher may have set the last bits and not
//    yet looked at QUEUED. He may find the descriptor used again, so after he has won the flag he reads
//    the slice's word again and pushes the slab to the shard that it is of now, which at worst queues a
//    slab without free blocks; if it is no slab any more he clears the flag. A slab whose flag he holds
//    cannot be released meanwhile, for it is not LISTED. Descriptors are never unmapped, and whoever
//    makes runs and slabs from them keeps the bit QUEUED (malloc_slab_flags_set).
// 4. What a flusher checks for nothing: a bit that is set already, twice in one word of the batch, or a
//    block at or above bump, is a block freed twice or never handed out.
// 5. Transit records, for readers of a stopped program: layout/malloc.h.
#include "malloc/malloc_impl.h"

#include <string.h>

enum {
	GROUP = 64, // entries that are sorted by word and set together
	PLACES_BITS = 7,
	PLACES = 1 << PLACES_BITS, // of a hash table for them
	KEY_BITS = 6,              // enough for the words of a slab
};

// --- the list of a shard --------------------------------------------------------------------------
static void list_add(struct shard *shard, uint32_t slice)
{
	struct malloc_slab *slab = slice_slab(slice);

	slab->previous = 0;
	slab->next = shard->list;
	if (shard->list)
		slice_slab(shard->list)->previous = slice;
	shard->list = slice;
	__atomic_fetch_or(&slab->flags, MALLOC_SLAB_LISTED, __ATOMIC_RELAXED);
}

static void list_remove(struct shard *shard, uint32_t slice)
{
	struct malloc_slab *slab = slice_slab(slice);

	if (slab->next)
		slice_slab(slab->next)->previous = slab->previous;
	if (slab->previous)
		slice_slab(slab->previous)->next = slab->next;
	else
		shard->list = slab->next;
	__atomic_fetch_and(&slab->flags, ~(MALLOC_SLAB_LISTED | MALLOC_SLAB_QUEUED),
	                   __ATOMIC_SEQ_CST);
}

static void queue_push(struct shard *shard, uint32_t slice)
{
	uint32_t head = __atomic_load_n(&shard->queue, __ATOMIC_RELAXED);

	do
		slice_slab(slice)->next = head;
	while (!__atomic_compare_exchange_n(&shard->queue, &head, slice, true, __ATOMIC_RELEASE,
	                                    __ATOMIC_RELAXED));
}

static void queue_take(struct shard *shard)
{
	uint32_t next, slice;

	if (!__atomic_load_n(&shard->queue, __ATOMIC_RELAXED))
		return;
	for (slice = __atomic_exchange_n(&shard->queue, 0, __ATOMIC_ACQUIRE); slice; slice = next) {
		next = slice_slab(slice)->next;
		list_add(shard, slice);
	}
}

// --- making and releasing -------------------------------------------------------------------------
static uint64_t *bits_of(const struct malloc_slab *slab)
{
	return (uint64_t *)slab->freed;
}

static void slab_describe(struct malloc_slab *slab, const struct malloc_class *c, uint64_t *bits,
                          void *notes, void *stacks)
{
	slab->freed = (uintptr_t)bits;
	slab->notes = (uintptr_t)notes;
	slab->bytes = c->bytes;
	slab->stacks = (uintptr_t)stacks;
	slab->block_count = c->blocks;
	slab->bump = 0;
	slab->slice_count = c->slices;
	slab->freed_count = 0;
	malloc_slab_flags_set(slab, 0);
}

// The very first slab of a class may stay nearly empty: it gets pages that cost nothing until they are used.
static uint32_t slab_make(struct cache *cache, struct core_zone *zone, unsigned class)
{
	const struct malloc_class *c = &malloc_classes[class];
	enum run_state first = zone->shards[class].slabs_ever ? RUN_DIRTY : RUN_CLEAN;
	uint64_t *bits = NULL;
	struct run run;
	void *notes = NULL, *stacks = NULL;

	if (notes_kept() && !(notes = malloc_meta_take(c->blocks * sizeof(struct malloc_note))))
		return 0;
	if (stacks_kept()) // without them the blocks have no stacks
		stacks = malloc_meta_take(c->blocks * sizeof(uint32_t));
	inside_lock(&zone->pool.lock);
	run = malloc_run_take(&zone->pool, c->slices, 1, first);
	if (run.slice && !(bits = malloc_bitmap_take(&zone->pool, c->words)))
		malloc_run_give_locked(&zone->pool, run.slice, c->slices, run.zeroed);
	if (bits) {
		slab_describe(slice_slab(run.slice), c, bits, notes, stacks);
		malloc_map_set_slab(run.slice, c->slices, zone->number, class);
	}
	inside_unlock(&zone->pool.lock);
	if (!bits) {
		malloc_meta_give(notes, c->blocks * sizeof(struct malloc_note));
		malloc_meta_give(stacks, c->blocks * sizeof(uint32_t));
		return 0;
	}
	__atomic_store_n(&zone->shards[class].slabs, zone->shards[class].slabs + 1,
	                 __ATOMIC_RELAXED);
	zone->shards[class].slabs_ever++;
	cache->grew |= run.zeroed;
	return run.slice;
}

// Of a slab that is listed and empty.
static void slab_release(struct core_zone *zone, unsigned class, uint32_t slice)
{
	const struct malloc_class *c = &malloc_classes[class];
	struct shard *shard = &zone->shards[class];
	struct malloc_slab *slab = slice_slab(slice);
	uint64_t *bits = bits_of(slab);
	void *notes = (void *)slab->notes, *stacks = (void *)slab->stacks;
	bool untouched = slab->bump == 0;

	list_remove(shard, slice);
	if (shard->fresh == slice)
		shard->fresh = 0;
	__atomic_store_n(&shard->slabs, shard->slabs - 1, __ATOMIC_RELAXED);
	slab->notes = 0;
	slab->stacks = 0;
	inside_lock(&zone->pool.lock);
	malloc_run_give_locked(&zone->pool, slice, c->slices, untouched);
	malloc_bitmap_give(&zone->pool, bits, c->words);
	inside_unlock(&zone->pool.lock);
	malloc_meta_give(notes, c->blocks * sizeof(struct malloc_note));
	malloc_meta_give(stacks, c->blocks * sizeof(uint32_t));
}

// Whether every block below bump has its bit set.
static bool slab_empty(const struct malloc_slab *slab)
{
	const uint64_t *bits = bits_of(slab);
	uint32_t bump = __atomic_load_n(&slab->bump, __ATOMIC_RELAXED);

	for (uint32_t i = 0; i < bump / 64; i++)
		if (~__atomic_load_n(&bits[i], __ATOMIC_RELAXED))
			return false;
	return !(bump % 64) ||
	       __atomic_load_n(&bits[bump / 64], __ATOMIC_ACQUIRE) == (1ull << bump % 64) - 1;
}

// After a word became full. One empty slab is kept when it is all that the class has.
static void release_if_empty(struct core_zone *zone, unsigned class, uint32_t slice)
{
	struct shard *shard = &zone->shards[class];
	struct inside_lock *lock = shard_lock(zone, class);
	struct malloc_slab *slab = slice_slab(slice);

	if (!slab_empty(slab) || !inside_lock_try(lock))
		return;
	queue_take(shard);
	if (slice_word(slice) == malloc_word(zone->number, MALLOC_SLAB, class) &&
	    slab->flags & MALLOC_SLAB_LISTED && shard->slabs > 1 && slab_empty(slab))
		slab_release(zone, class, slice);
	inside_unlock(lock);
}

size_t malloc_slab_trim(struct core_zone *zone, unsigned class)
{
	struct shard *shard = &zone->shards[class];
	size_t released = 0;
	uint32_t next;

	if (!__atomic_load_n(&shard->slabs, __ATOMIC_RELAXED))
		return 0;
	inside_lock(shard_lock(zone, class));
	queue_take(shard);
	for (uint32_t slice = shard->list; slice; slice = next) {
		next = slice_slab(slice)->next;
		if (!slab_empty(slice_slab(slice)))
			continue;
		slab_release(zone, class, slice);
		released += (size_t)malloc_classes[class].slices << MALLOC_SLICE_BITS;
	}
	inside_unlock(shard_lock(zone, class));
	return released;
}

// --- refill ---------------------------------------------------------------------------------------
// A batch that grows in slots, published before the blocks leave the slab.
struct batch {
	struct malloc_transit *transit;
	uint64_t *slots;
	uint32_t count, want;
};

static void batch_publish(struct batch *batch)
{
	in_this_order();
	batch->transit->count = batch->count;
	in_this_order();
}

static uint64_t keep_lowest(uint64_t bits, unsigned count)
{
	uint64_t rest = bits;

	while (count--)
		rest &= rest - 1;
	return bits & ~rest;
}

static void put_blocks(uint64_t *slots, uint64_t mask, uintptr_t first, uint32_t bytes)
{
	if (mask == ~0ull) {
		for (unsigned i = 0; i < 64; i++)
			slots[i] = first + (uintptr_t)(63 - i) * bytes;
		return;
	}
	for (; mask; slots++) {
		unsigned bit = 63 - (unsigned)__builtin_clzll(mask);

		*slots = first + (uintptr_t)bit * bytes;
		mask ^= 1ull << bit;
	}
}

static void take_word(struct batch *batch, uint64_t *word, uint64_t mask, uintptr_t first,
                      uint32_t bytes)
{
	put_blocks(batch->slots + batch->count, mask, first, bytes);
	batch->count += (uint32_t)__builtin_popcountll(mask);
	batch_publish(batch);
	__atomic_fetch_and(word, ~mask, __ATOMIC_ACQUIRE);
}

// Takes the lowest blocks that are free, the highest of them first. Whether none is left.
static bool take_freed(struct batch *batch, uint32_t slice)
{
	struct malloc_slab *slab = slice_slab(slice);
	uint32_t words = (slab->bump + 63) / 64, bytes = (uint32_t)slab->bytes, end = 0;
	uint64_t *bits = bits_of(slab), found[CLASS_WORDS_MAX];
	unsigned left = batch->want - batch->count;

	for (; end < words && left; end++) {
		unsigned count;

		found[end] = __atomic_load_n(&bits[end], __ATOMIC_RELAXED);
		count = (unsigned)__builtin_popcountll(found[end]);
		if (count > left)
			found[end] = keep_lowest(found[end], count = left);
		left -= count;
	}
	for (uint32_t i = end; i-- > 0;)
		if (found[i])
			take_word(batch, &bits[i], found[i],
			          slice_address(slice) + (uintptr_t)i * 64 * bytes, bytes);
	return end == words && left;
}

static bool any_freed(const struct malloc_slab *slab)
{
	for (uint32_t i = 0; i < (slab->bump + 63) / 64; i++)
		if (__atomic_load_n(&bits_of(slab)[i], __ATOMIC_SEQ_CST))
			return true;
	return false;
}

static void list_leave(struct shard *shard, uint32_t slice)
{
	struct malloc_slab *slab = slice_slab(slice);

	list_remove(shard, slice);
	if (any_freed(slab) &&
	    !(__atomic_fetch_or(&slab->flags, MALLOC_SLAB_QUEUED, __ATOMIC_SEQ_CST) &
	      MALLOC_SLAB_QUEUED))
		list_add(shard, slice);
}

static void take_fresh(struct batch *batch, struct shard *shard)
{
	struct malloc_slab *slab = slice_slab(shard->fresh);
	uint32_t bump = slab->bump, count = batch->want - batch->count;
	uintptr_t first = slice_address(shard->fresh) + bump * slab->bytes;

	if (count > slab->block_count - bump)
		count = slab->block_count - bump;
	for (uint32_t i = count; i-- > 0;)
		batch->slots[batch->count++] = first + i * slab->bytes;
	batch_publish(batch);
	__atomic_store_n(&slab->bump, bump + count, __ATOMIC_RELEASE);
	if (bump + count == slab->block_count)
		shard->fresh = 0;
}

uint32_t malloc_slab_refill(struct cache *cache, struct core_zone *zone, unsigned class,
                            uint64_t *slots, uint32_t want)
{
	struct malloc_transit *transit = &cache->thread.transit;
	struct batch batch = { .transit = transit, .slots = slots, .want = want };
	struct shard *shard = &zone->shards[class];
	struct inside_lock *lock = shard_lock(zone, class);

	transit->count = 0;
	transit->done = 0;
	transit->group = 0;
	transit->class = class;
	in_this_order();
	transit->entries = (uintptr_t)slots;
	inside_lock(lock);
	while (batch.count < want && (shard->list || (queue_take(shard), shard->list)))
		if (take_freed(&batch, shard->list))
			list_leave(shard, shard->list);
	while (batch.count < want) {
		if (!shard->fresh && !(shard->fresh = slab_make(cache, zone, class)))
			break;
		take_fresh(&batch, shard);
		if (batch.count && !shard->fresh)
			break;
	}
	inside_unlock(lock);
	return batch.count;
}

// --- flush ----------------------------------------------------------------------------------------
// Blocks of one word of a slab that go back together. The key is the slab's first slice and the number
// of the word in it.
struct group {
	uint64_t key, mask;
};

static uint32_t group_slice(const struct group *group)
{
	return (uint32_t)(group->key >> KEY_BITS);
}

static uint32_t group_word(const struct group *group)
{
	return (uint32_t)(group->key & ((1 << KEY_BITS) - 1));
}

static void slab_queue(struct malloc_slab *slab, uint32_t slice)
{
	uint32_t word;

	if (__atomic_load_n(&slab->flags, __ATOMIC_SEQ_CST) & MALLOC_SLAB_QUEUED)
		return;
	if (__atomic_fetch_or(&slab->flags, MALLOC_SLAB_QUEUED, __ATOMIC_SEQ_CST) &
	    MALLOC_SLAB_QUEUED)
		return;
	word = slice_word(slice);
	if (word_kind(word) == MALLOC_SLAB)
		queue_push(&malloc_zone_of_word(word)->shards[word & 0xff], slice);
	else
		__atomic_fetch_and(&slab->flags, ~MALLOC_SLAB_QUEUED, __ATOMIC_SEQ_CST);
}

bool malloc_slab_lenient;

static void fault_freed(const struct group *group, uint64_t wrong)
{
	uint32_t index = group_word(group) * 64 + (uint32_t)__builtin_ctzll(wrong);
	struct malloc_slab *slab = slice_slab(group_slice(group));
	void *block = (void *)(slice_address(group_slice(group)) + index * slab->bytes);

	if (malloc_slab_lenient)
		return;
	if (index >= slab->bump)
		malloc_fault(MALLOC_FAULT_MISUSE,
		             "*** error for object %p: pointer being freed was "
		             "not allocated",
		             block);
	else
		malloc_fault(MALLOC_FAULT_MISUSE, "*** error for object %p: double free", block);
}

static uint64_t below_bump(const struct malloc_slab *slab, uint32_t number)
{
	uint32_t bump = __atomic_load_n(&slab->bump, __ATOMIC_RELAXED);

	if (likely(bump >= (number + 1) * 64))
		return ~0ull;
	return bump > number * 64 ? (1ull << (bump - number * 64)) - 1 : 0;
}

static void group_set(const struct group *group)
{
	uint32_t slice = group_slice(group), number = group_word(group), word;
	struct malloc_slab *slab = slice_slab(slice);
	uint64_t good = group->mask & below_bump(slab, number), before;

	if (unlikely(good != group->mask))
		fault_freed(group, group->mask & ~good);
	before = __atomic_fetch_or(&bits_of(slab)[number], good, __ATOMIC_SEQ_CST);
	if (unlikely(before & good))
		fault_freed(group, before & good);
	slab_queue(slab, slice);
	if (~(before | good) || malloc_slab_lenient)
		return;
	word = slice_word(slice);
	if (word_kind(word) == MALLOC_SLAB)
		release_if_empty(malloc_zone_of_word(word), word & 0xff, slice);
}

// The groups of one part of a batch; places finds the group of a key by hash, plus 1.
struct groups {
	uint32_t count;
	uint8_t places[PLACES];
	struct group group[GROUP];
};

static struct group *group_of(struct groups *groups, uint64_t key)
{
	uint32_t place = (uint32_t)(key * 0x9e3779b97f4a7c15ull >> (64 - PLACES_BITS));
	struct group *group;

	for (; groups->places[place]; place = (place + 1) % PLACES) {
		group = &groups->group[groups->places[place] - 1];
		if (group->key == key)
			return group;
	}
	group = &groups->group[groups->count++];
	*group = (struct group){ .key = key };
	groups->places[place] = (uint8_t)groups->count;
	return group;
}

// Neighbours in a batch are often of one word.
static void group_part(struct groups *groups, const uint64_t *entries, uint32_t count,
                       unsigned class)
{
	bool one_slice = malloc_classes[class].slices == 1;
	struct group *group = &groups->group[0];

	group->key = 0;
	for (uint32_t i = 0; i < count; i++) {
		uint32_t slice = address_slice(entries[i]), index;
		uint64_t key, bit;

		if (!one_slice)
			slice -= word_kind(slice_word(slice)) & 0xf;
		index = class_index(class, (uint32_t)(entries[i] - slice_address(slice)));
		key = (uint64_t)slice << KEY_BITS | index / 64;
		bit = 1ull << index % 64;
		if (group->key != key)
			group = group_of(groups, key);
		if (unlikely(group->mask & bit))
			fault_freed(group, bit);
		group->mask |= bit;
	}
}

// How many entries from the first on are of its class.
static uint32_t same_class(const uint64_t *entries, uint32_t count, unsigned *ret_class)
{
	uint32_t class = malloc_word_at(entries[0]) & 0xff, same = 1;

	while (same < count && (malloc_word_at(entries[same]) & 0xff) == class)
		same++;
	*ret_class = class;
	return same;
}

static void release_class(struct malloc_transit *transit, const uint64_t *entries, uint32_t count,
                          unsigned class)
{
	struct groups groups;

	for (uint32_t done = 0, part; done < count; done += part) {
		part = count - done < GROUP ? count - done : GROUP;
		groups.count = 0;
		memset(groups.places, 0, sizeof(groups.places));
		group_part(&groups, entries + done, part, class);
		transit->group = part;
		in_this_order();
		for (uint32_t i = 0; i < groups.count; i++)
			group_set(&groups.group[i]);
		in_this_order();
		transit->done += part;
		in_this_order();
		transit->group = 0;
		in_this_order();
	}
}

void malloc_slab_release(struct cache *cache, const uint64_t *entries, uint32_t count)
{
	struct malloc_transit *transit = &cache->thread.transit;
	unsigned class;

	transit->done = 0;
	for (uint32_t at = 0, same; at < count; at += same) {
		same = same_class(entries + at, count - at, &class);
		release_class(transit, entries + at, same, class);
	}
}

void malloc_slab_release_class(struct cache *cache, const uint64_t *entries, uint32_t count,
                               unsigned class)
{
	release_class(&cache->thread.transit, entries, count, class);
}

bool malloc_slab_block_freed(const struct malloc_slab *slab, uint32_t index)
{
	return __atomic_load_n(&bits_of(slab)[index / 64], __ATOMIC_RELAXED) >> index % 64 & 1;
}
