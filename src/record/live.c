// SPDX-License-Identifier: MIT
// Lite mode over a foreign malloc: which blocks live, and whose they are, in the shared mapping
// (layout/record.h says how). Called through the hooks; read by tools, in the memory of the program.
//
// 1. All events of one address are in an order that malloc itself makes: a free is told of before malloc
//    gets the block, an allocation after malloc gave it. Only blocks of the same page meet.
// 2. A table is direct when each place that a block may have has a cell of its own: from 64 cells on over
//    glibc's malloc, whose blocks start 32 bytes apart or more, else with 256. Then an event is one store
//    of four bytes that nobody else writes: no lock, no atomic operation. A direct table stays for good.
// 3. Other tables are changed under a lock that some pages share, unless the program has one thread. They
//    grow when they are full; who gets the lock looks at the page anew.
// 4. A block whose free was not seen (by way of a name that nobody stands before) leaves its cell behind.
//    Of two cells of one place the first from where it wants to lie is the newer.
//
// A signal handler that interrupts the recorder may find the lock of its own thread: its events are put
// aside and applied when the thread goes on (thread.c).
#include <string.h>

#include "record/record_impl.h"

enum {
	ROOTS = 1 << (48 - RECORD_LIVE_LEAF_SHIFT),
	LEAVES = RECORD_LIVE_LEAVES,
	LOCKS = 64,
	SPINS = 64,
	NAP_NS = 20000, // its holder lost the processor
	CACHE_LINE = 64,
	LINE_CELLS = CACHE_LINE / sizeof(uint32_t),
	UNIT_CELLS = 2,
	TABLE_MASK = (1 << RECORD_LIVE_TABLE_BITS) - 1,
	GLIBC_DISTANCE = 32,
	GLIBC_ARENA_SHIFT = 26, // HEAP_MAX_SIZE, malloc/arena.c
	GLIBC_BITS = 6,
};

static const uint64_t leaf_bytes = RECORD_LIVE_PAGES * sizeof(uint32_t);

static struct record_live *live;
static uint16_t *roots; // 1 more than the leaf of a GiB
static uint32_t *pages, *cells;
static unsigned direct_bits;

// 1: held. Given back by a store: what they guard is so short that nobody sleeps until he is woken.
static struct {
	_Alignas(CACHE_LINE) uint32_t held;
} page_locks[LOCKS];

// Of leaves and cells; taken inside of a page's.
static struct inside_lock area_lock;
static uint32_t free_tables[RECORD_LIVE_CELLS_BITS + 1]; // 1 more than the first unit
// Where the next small table of an arena goes: a line of cells that other arenas do not write.
static struct {
	uint64_t at, end;
} open_lines[LOCKS];

static bool lock_unless_alone(struct inside_lock *lock)
{
	if (inside_alone())
		return false;
	inside_lock(lock);
	return true;
}

// The arenas of glibc's threads are so far apart, and all begin alike.
static uint64_t arena_of(uint64_t address)
{
	return address >> GLIBC_ARENA_SHIFT;
}

// NULL when it is not needed.
static uint32_t *lock_page(uint64_t address)
{
	uint64_t number = (address >> RECORD_LIVE_PAGE_SHIFT) + arena_of(address);
	uint32_t *held = &page_locks[number % LOCKS].held;
	unsigned turns = 0;

	if (inside_alone())
		return NULL;
	while (__atomic_exchange_n(held, 1, __ATOMIC_ACQUIRE))
		if (++turns % SPINS == 0)
			inside_share_wait(held, 1, NAP_NS);
	return held;
}

static void unlock_page(uint32_t *held)
{
	if (held)
		__atomic_store_n(held, 0, __ATOMIC_RELEASE);
}

static void count_lost(void)
{
	__atomic_fetch_add(&record_header->lost, 1, __ATOMIC_RELAXED);
}

// --- pages ----------------------------------------------------------------------------------------
// NULL: no block was ever in its leaf.
static inline uint32_t *page_of(uint64_t address)
{
	uint64_t root = address >> RECORD_LIVE_LEAF_SHIFT;
	uint64_t leaf = root < ROOTS ? __atomic_load_n(&roots[root], __ATOMIC_ACQUIRE) : 0;

	if (RECORD_UNLIKELY(!leaf))
		return NULL;
	return &pages[(leaf - 1) * RECORD_LIVE_PAGES +
	              (address >> RECORD_LIVE_PAGE_SHIFT) % RECORD_LIVE_PAGES];
}

static void add_leaf(uint64_t root)
{
	uint32_t leaf = live->leaf_count;

	if (leaf == live->leaf_capacity)
		return;
	live->leaves[leaf].number = root;
	__atomic_store_n(&live->leaf_count, leaf + 1, __ATOMIC_RELEASE);
	__atomic_store_n(&roots[root], (uint16_t)(leaf + 1), __ATOMIC_RELEASE);
}

// NULL: there is no room for its leaf.
static uint32_t *make_page(uint64_t address)
{
	uint64_t root = address >> RECORD_LIVE_LEAF_SHIFT;
	uint32_t *page = page_of(address);
	bool held;

	if (page || root >= ROOTS)
		return page;
	held = lock_unless_alone(&area_lock);
	if (!roots[root])
		add_leaf(root);
	if (held)
		inside_unlock(&area_lock);
	return page_of(address);
}

static void mark_used(const uint32_t *page)
{
	uint64_t at = (uint64_t)(page - pages);
	uint64_t group = at % RECORD_LIVE_PAGES >> RECORD_LIVE_GROUP_SHIFT;

	__atomic_fetch_or(&live->leaves[at / RECORD_LIVE_PAGES].used[group / 64],
	                  UINT64_C(1) << group % 64, __ATOMIC_RELEASE);
}

// --- tables ---------------------------------------------------------------------------------------
static inline unsigned bits_of(uint32_t table)
{
	return table & TABLE_MASK;
}

static inline uint32_t *cells_of(uint32_t table)
{
	return cells + (uint64_t)(table >> RECORD_LIVE_TABLE_BITS) * UNIT_CELLS;
}

static bool take_free(unsigned bits, uint32_t *ret_unit)
{
	uint32_t *first;

	if (!free_tables[bits])
		return false;
	*ret_unit = free_tables[bits] - 1;
	first = cells + (uint64_t)*ret_unit * UNIT_CELLS;
	free_tables[bits] = *first;
	*first = 0;
	return true;
}

static bool take_cells(uint64_t wanted, uint64_t *ret)
{
	if (live->cell_capacity - live->cell_count < wanted)
		return false;
	*ret = live->cell_count;
	live->cell_count += wanted;
	return true;
}

static bool take_unused(unsigned bits, uint64_t arena, uint32_t *ret_unit)
{
	uint64_t wanted = UINT64_C(1) << bits, at, *line = &open_lines[arena % LOCKS].at;

	if (wanted >= LINE_CELLS) {
		if (!take_cells(wanted, &at))
			return false;
	} else {
		if (open_lines[arena % LOCKS].end - *line < wanted) {
			if (!take_cells(LINE_CELLS, line))
				return false;
			open_lines[arena % LOCKS].end = *line + LINE_CELLS;
		}
		at = *line;
		*line += wanted;
	}
	*ret_unit = (uint32_t)(at / UNIT_CELLS);
	return true;
}

// All its cells are 0. 0: there is no room.
static uint32_t take_table(unsigned bits, uint64_t arena)
{
	bool held = lock_unless_alone(&area_lock);
	uint32_t unit = 0;
	bool taken = take_free(bits, &unit) || take_unused(bits, arena, &unit);

	if (held)
		inside_unlock(&area_lock);
	return taken ? unit << RECORD_LIVE_TABLE_BITS | bits : 0;
}

static void give_table(uint32_t table)
{
	unsigned bits = bits_of(table);
	uint32_t *first = cells_of(table);
	bool held;

	if (!bits)
		return;
	memset(first, 0, sizeof(*first) << bits);
	held = lock_unless_alone(&area_lock);
	*first = free_tables[bits];
	free_tables[bits] = (table >> RECORD_LIVE_TABLE_BITS) + 1;
	if (held)
		inside_unlock(&area_lock);
}

static inline bool is_direct(uint32_t table)
{
	return bits_of(table) >= direct_bits;
}

static inline uint32_t *home_of(uint32_t table, uint32_t place)
{
	return &cells_of(table)[record_live_home(place, bits_of(table))];
}

static inline bool is_of(const uint32_t *cell, uint32_t place)
{
	uint32_t value = __atomic_load_n(cell, __ATOMIC_RELAXED);

	return value && (value & 255) == place;
}

static inline void put_home(uint32_t table, uint32_t place, uint32_t node)
{
	__atomic_store_n(home_of(table, place), record_live_cell(node, place), __ATOMIC_RELAXED);
}

// Into the first cell that is free or the block's own. False when there is none.
static bool put(uint32_t table, uint32_t place, uint32_t node)
{
	unsigned bits = bits_of(table);
	uint32_t *first = cells_of(table), mask = (UINT32_C(1) << bits) - 1;
	uint32_t home = record_live_home(place, bits);

	if (!bits)
		return false;
	for (uint32_t i = 0; i <= mask; i++) {
		uint32_t *cell = &first[(home + i) & mask];

		if (!*cell || is_of(cell, place)) {
			*cell = record_live_cell(node, place);
			return true;
		}
	}
	return false;
}

static void copy_table(uint32_t from, uint32_t to)
{
	unsigned bits = bits_of(from);
	const uint32_t *old = cells_of(from);

	for (uint32_t i = 0; bits && i < UINT32_C(1) << bits; i++) {
		uint32_t place = old[i] & 255;

		if (!old[i] || record_live_find(old, bits, place) != i)
			continue;
		if (is_direct(to))
			put_home(to, place, old[i] >> 8);
		else
			put(to, place, old[i] >> 8);
	}
}

static unsigned count_used(uint32_t table)
{
	const uint32_t *first = cells_of(table);
	unsigned bits = bits_of(table), n = 0;

	for (uint32_t i = 0; bits && i < UINT32_C(1) << bits; i++)
		n += __atomic_load_n(&first[i], __ATOMIC_RELAXED) != 0;
	return n;
}

// A page's first table is as large as the page before it would need: programs go from one to the next.
// Others may change that meanwhile; any size will do.
static unsigned first_bits(const uint32_t *page)
{
	uint32_t before = (uint64_t)(page - pages) % RECORD_LIVE_PAGES
	                          ? __atomic_load_n(page - 1, __ATOMIC_RELAXED)
	                          : 0;
	unsigned n = count_used(before);

	if (n <= 2)
		return 1;
	if (n <= 8)
		return 3;
	return n <= 16 ? 5 : 6;
}

// Gives a page its first table, or a larger one. False when there is no room.
static bool grow(uint32_t *page, uint64_t address)
{
	static const uint8_t next_bits[] = { 1, 3, 3, 5, 5, 6, 8, 8 };
	uint32_t old = *page;
	uint32_t table =
		take_table(old ? next_bits[bits_of(old)] : first_bits(page), arena_of(address));

	if (!table)
		return false;
	copy_table(old, table);
	if (!old)
		mark_used(page);
	__atomic_store_n(page, table, __ATOMIC_RELEASE);
	give_table(old);
	return true;
}

// --- entries --------------------------------------------------------------------------------------
static bool put_held(uint32_t *page, uint64_t address, uint32_t node)
{
	uint32_t place = record_live_place(address);

	while (!is_direct(*page)) {
		if (put(*page, place, node))
			return true;
		if (!grow(page, address))
			return false;
	}
	put_home(*page, place, node);
	return true;
}

static __attribute__((noinline)) void insert_slowly(uint64_t address, uint32_t node)
{
	uint32_t *page = make_page(address), *held;
	bool done;

	if (!page) {
		count_lost();
		return;
	}
	held = lock_page(address);
	done = put_held(page, address, node);
	unlock_page(held);
	if (!done)
		count_lost();
}

// In a table that is not direct the first cell is as good as any, if nobody else looks at the table.
static inline bool takes_at_home(uint32_t table, uint32_t place)
{
	const uint32_t *home = home_of(table, place);

	return is_direct(table) || (table && inside_alone() && (!*home || is_of(home, place)));
}

static inline void insert(uint64_t address, uint32_t node)
{
	const uint32_t *page = page_of(address);
	uint32_t table = page ? __atomic_load_n(page, __ATOMIC_ACQUIRE) : 0;
	uint32_t place = record_live_place(address);

	if (RECORD_LIKELY(takes_at_home(table, place)))
		put_home(table, place, node);
	else
		insert_slowly(address, node);
}

static __attribute__((noinline)) void drop_slowly(uint64_t address, const uint32_t *page)
{
	uint32_t *held = lock_page(address);
	uint32_t table = *page;
	uint32_t at = record_live_find(cells_of(table), bits_of(table), record_live_place(address));

	if (at < UINT32_C(1) << bits_of(table))
		__atomic_store_n(&cells_of(table)[at], 0, __ATOMIC_RELAXED);
	unlock_page(held);
}

static inline void drop(uint64_t address)
{
	const uint32_t *page = page_of(address);
	uint32_t table = page ? __atomic_load_n(page, __ATOMIC_ACQUIRE) : 0;
	uint32_t place = record_live_place(address), *home = home_of(table, place);

	if (RECORD_UNLIKELY(!table))
		return;
	if (RECORD_LIKELY((is_direct(table) || inside_alone()) && is_of(home, place)))
		__atomic_store_n(home, 0, __ATOMIC_RELAXED);
	else if (!is_direct(table))
		drop_slowly(address, page);
}

void record_live_apply(const struct record_event *event)
{
	uint32_t kind = event->stamp & 0xff;

	if (kind >= RECORD_MALLOC && kind <= RECORD_REALLOC)
		insert(event->address, event->node);
	else if (kind == RECORD_FREE || kind == RECORD_REALLOC_FREE)
		drop(event->address);
}

// --- the start ------------------------------------------------------------------------------------
static uint64_t head_bytes(void)
{
	return (sizeof(struct record_live) + RECORD_PAGE_BYTES - 1) & -(uint64_t)RECORD_PAGE_BYTES;
}

// As many bytes for cells as for leaves.
uint64_t record_live_bytes(unsigned shrink)
{
	return head_bytes() + 2 * (leaf_bytes * LEAVES >> shrink);
}

static void lay_out(void)
{
	uint64_t leaf_capacity = (record_header->live_capacity - head_bytes()) / leaf_bytes / 2;

	live = record_at(record_header->live_offset);
	live->leaf_capacity = (uint32_t)leaf_capacity;
	live->leaves_offset = head_bytes();
	live->cells_offset = live->leaves_offset + leaf_capacity * leaf_bytes;
	live->cell_capacity = leaf_capacity * leaf_bytes / sizeof(*cells);
	pages = (uint32_t *)((char *)live + live->leaves_offset);
	cells = (uint32_t *)((char *)live + live->cells_offset);
}

bool record_live_start(void)
{
	size_t roots_bytes = ROOTS * sizeof(*roots);

	if (!record_header->live_capacity)
		return true;
	memset(page_locks, 0, sizeof(page_locks));
	memset(free_tables, 0, sizeof(free_tables));
	memset(open_lines, 0, sizeof(open_lines));
	area_lock = (struct inside_lock){ 0 };
	direct_bits = record_settings.block_distance >= GLIBC_DISTANCE ? GLIBC_BITS
	                                                               : RECORD_LIVE_CELLS_BITS;
	lay_out();
	if (roots)
		return !inside_discard(roots, roots_bytes);
	roots = inside_map(roots_bytes, RECORD_PAGE_BYTES, INSIDE_READ_WRITE);
	return roots;
}

// --- the hooks ------------------------------------------------------------------------------------
static uint32_t allocated(uint32_t kind, uint64_t address, uint64_t bytes, uint32_t extra,
                          const struct record_position *at)
{
	struct record_thread *self = record_thread_enter(at);
	uint32_t node;

	if (RECORD_UNLIKELY(!self)) {
		record_thread_aside(kind, address, bytes, extra, at);
		return 0;
	}
	node = record_paths_node(self->unwinder, at);
	insert(address, node);
	record_thread_leave(self);
	return node;
}

static void freed(uint32_t kind, uint64_t address, const struct record_position *at)
{
	struct record_thread *self = record_thread_enter(at);

	if (RECORD_UNLIKELY(!self)) {
		record_thread_aside(kind, address, 0, 0, at);
		return;
	}
	drop(address);
	record_thread_leave(self);
}

// Our own malloc keeps the nodes with its blocks.
static uint32_t allocated_node(uint32_t kind, uint64_t address, uint64_t bytes, uint32_t extra,
                               const struct record_position *at)
{
	(void)kind, (void)address, (void)bytes, (void)extra;
	return record_event_stack(at);
}

const struct record_hooks record_live_hooks = { .allocated = allocated,
	                                        .freed = freed,
	                                        .stack = record_event_stack };
const struct record_hooks record_live_node_hooks = { .allocated = allocated_node,
	                                             .stack = record_event_stack };
