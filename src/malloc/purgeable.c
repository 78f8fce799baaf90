// SPDX-License-Identifier: MIT
// The default purgeable zone: large blocks, each with a mapping of its own, whose contents may be given
// up. It is a zone of its own beside the core zones; small requests go to the default zone, as they
// cannot be purged.
//
// While a block is purgeable its pages are offered to the kernel (MADV_FREE), which takes whole pages
// when it needs memory, and those read as zero. So that this is seen afterwards, the place of one word
// that is not zero is remembered for each page. To end the state every page is written to, in another
// word than that: from then on the kernel leaves it alone, and the remembered word tells whether the
// page was taken before. A page that was all zero has nothing to lose.
#include "malloc/malloc.h"

#include <errno.h>
#include <string.h>

#include "os/inside.h"

enum { PAGE_BYTES = 4096, PAGE_WORDS = PAGE_BYTES / 8, ALL_ZERO = 0xffff };

struct block {
	uintptr_t start; // 0: unused
	size_t bytes;    // a multiple of the page size
	uint16_t *marks; // of each page; NULL while the block is not purgeable
};

// The blocks, found by hashing their start; at most half full.
struct zone {
	malloc_zone_t face; // first
	struct inside_lock lock;
	struct block *blocks;
	size_t capacity, count, size_in_use;
};

static struct zone zone;

// --- the table ----------------------------------------------------------------------------------------
static size_t home_of(uintptr_t start)
{
	return (start / PAGE_BYTES * 0x9e3779b97f4a7c15ull >> 20) & (zone.capacity - 1);
}

static struct block *find(const void *p)
{
	size_t i;

	if (!zone.capacity)
		return NULL;
	for (i = home_of((uintptr_t)p); zone.blocks[i].start; i = (i + 1) & (zone.capacity - 1))
		if (zone.blocks[i].start == (uintptr_t)p)
			return &zone.blocks[i];
	return NULL;
}

static void place(struct block block)
{
	size_t i = home_of(block.start);

	while (zone.blocks[i].start)
		i = (i + 1) & (zone.capacity - 1);
	zone.blocks[i] = block;
}

static bool make_room(void)
{
	size_t old_capacity = zone.capacity, capacity = old_capacity ? 2 * old_capacity : 256;
	struct block *old = zone.blocks;
	struct block *blocks;

	if (2 * (zone.count + 1) <= old_capacity)
		return true;
	blocks = inside_map(capacity * sizeof(*blocks), PAGE_BYTES, INSIDE_READ_WRITE);
	if (!blocks)
		return false;
	zone.blocks = blocks;
	zone.capacity = capacity;
	for (size_t i = 0; i < old_capacity; i++)
		if (old[i].start)
			place(old[i]);
	if (old)
		inside_unmap(old, old_capacity * sizeof(*old));
	return true;
}

// The entries behind it that were pushed on by it are placed again.
static void take_out(struct block *block)
{
	size_t i = (size_t)(block - zone.blocks);

	block->start = 0;
	for (;;) {
		struct block moved;

		i = (i + 1) & (zone.capacity - 1);
		moved = zone.blocks[i];
		if (!moved.start)
			return;
		zone.blocks[i].start = 0;
		place(moved);
	}
}

// --- allocation ---------------------------------------------------------------------------------------
static bool is_small(size_t bytes)
{
	return bytes <= MALLOC_SMALL_MAX;
}

static malloc_zone_t *helper(void)
{
	return malloc_registry_first();
}

static void *allocate_large(size_t bytes, size_t alignment)
{
	struct block block = { .bytes = (bytes + PAGE_BYTES - 1) & ~(size_t)(PAGE_BYTES - 1) };
	bool placed;

	if (bytes > PTRDIFF_MAX)
		return NULL;
	block.start = (uintptr_t)inside_map(
		block.bytes, alignment > PAGE_BYTES ? alignment : PAGE_BYTES, INSIDE_READ_WRITE);
	if (!block.start)
		return NULL;
	inside_name((void *)block.start, block.bytes, "MALLOC purgeable");
	inside_lock(&zone.lock);
	placed = make_room();
	if (placed) {
		place(block);
		zone.count++;
		zone.size_in_use += block.bytes;
	}
	inside_unlock(&zone.lock);
	if (placed)
		return (void *)block.start;
	inside_unmap((void *)block.start, block.bytes);
	return NULL;
}

static void *or_no_memory(void *block)
{
	if (!block)
		errno = ENOMEM;
	return block;
}

static void *zone_malloc(malloc_zone_t *self, size_t bytes)
{
	(void)self;
	if (is_small(bytes))
		return helper()->malloc(helper(), bytes);
	return or_no_memory(allocate_large(bytes, PAGE_BYTES));
}

static void *zone_calloc(malloc_zone_t *self, size_t count, size_t size)
{
	size_t bytes;

	(void)self;
	if (__builtin_mul_overflow(count, size, &bytes))
		return or_no_memory(NULL);
	if (is_small(bytes))
		return helper()->calloc(helper(), count, size);
	return or_no_memory(allocate_large(bytes, PAGE_BYTES));
}

static void *zone_valloc(malloc_zone_t *self, size_t bytes)
{
	(void)self;
	if (is_small(bytes))
		return helper()->valloc(helper(), bytes);
	return or_no_memory(allocate_large(bytes, PAGE_BYTES));
}

static void *zone_memalign(malloc_zone_t *self, size_t alignment, size_t bytes)
{
	(void)self;
	if (is_small(bytes))
		return malloc_zone_memalign(helper(), alignment, bytes);
	return or_no_memory(allocate_large(bytes, alignment));
}

static void release_marks(struct block *block)
{
	if (block->marks)
		inside_unmap(block->marks, block->bytes / PAGE_BYTES * sizeof(*block->marks));
	block->marks = NULL;
}

static void free_large(void *p, size_t bytes)
{
	inside_unmap(p, bytes);
}

static void zone_free(malloc_zone_t *self, void *p)
{
	struct block *block;
	malloc_zone_t *owner;
	size_t bytes = 0;

	inside_lock(&zone.lock);
	block = find(p);
	if (block) {
		bytes = block->bytes;
		release_marks(block);
		take_out(block);
		zone.count--;
		zone.size_in_use -= bytes;
	}
	inside_unlock(&zone.lock);
	if (block) {
		free_large(p, bytes);
		return;
	}
	owner = malloc_registry_owner(p, &bytes);
	if (owner && owner != self)
		owner->free(owner, p);
	else if (p)
		malloc_fault(MALLOC_FAULT_MISUSE,
		             "*** error for object %p: pointer being freed was not allocated", p);
}

static size_t zone_size(malloc_zone_t *self, const void *p)
{
	const struct block *block;
	size_t bytes;

	(void)self;
	inside_lock(&zone.lock);
	block = find(p);
	bytes = block ? block->bytes : 0;
	inside_unlock(&zone.lock);
	return bytes;
}

static void *zone_realloc(malloc_zone_t *self, void *p, size_t bytes)
{
	size_t old_bytes;
	void *moved;

	if (!p)
		return zone_malloc(self, bytes);
	if (!malloc_registry_owner(p, &old_bytes)) {
		malloc_fault(MALLOC_FAULT_MISUSE,
		             "*** error for object %p: pointer being realloc'd was not allocated",
		             p);
		return NULL;
	}
	if (bytes <= old_bytes && bytes >= old_bytes / 2)
		return p;
	malloc_make_nonpurgeable(p);
	moved = zone_malloc(self, bytes);
	if (!moved)
		return NULL;
	memcpy(moved, p, old_bytes < bytes ? old_bytes : bytes);
	zone_free(self, p);
	return moved;
}

static boolean_t zone_claimed_address(malloc_zone_t *self, void *p)
{
	bool inside = false;

	inside_lock(&zone.lock);
	for (size_t i = 0; i < zone.capacity && !inside; i++)
		inside = zone.blocks[i].start &&
		         (uintptr_t)p - zone.blocks[i].start < zone.blocks[i].bytes;
	inside_unlock(&zone.lock);
	(void)self;
	return inside || malloc_zone_claimed_address(helper(), p);
}

// --- the state ----------------------------------------------------------------------------------------
static uint16_t mark_of(const uint64_t *page)
{
	for (unsigned i = 0; i < PAGE_WORDS; i++)
		if (page[i])
			return (uint16_t)i;
	return ALL_ZERO;
}

static void make_purgeable(struct block *block)
{
	size_t pages = block->bytes / PAGE_BYTES;
	const uint64_t *page = (const uint64_t *)block->start;

	block->marks = inside_map(pages * sizeof(*block->marks), PAGE_BYTES, INSIDE_READ_WRITE);
	if (!block->marks)
		return;
	for (size_t i = 0; i < pages; i++, page += PAGE_WORDS)
		block->marks[i] = mark_of(page);
	inside_offer((void *)block->start, block->bytes);
}

// True when the page was taken.
static bool keep_page(volatile uint64_t *page, uint16_t mark)
{
	volatile uint64_t *other = page + (mark == ALL_ZERO ? 0 : (mark + 1) % PAGE_WORDS);

	*other = *other;
	return mark != ALL_ZERO && !page[mark];
}

static bool make_nonpurgeable(struct block *block)
{
	size_t pages = block->bytes / PAGE_BYTES;
	volatile uint64_t *page = (volatile uint64_t *)block->start;
	bool lost = false;

	for (size_t i = 0; i < pages; i++, page += PAGE_WORDS)
		lost |= keep_page(page, block->marks[i]);
	release_marks(block);
	return lost;
}

MALLOC_EXPORT void malloc_make_purgeable(void *ptr)
{
	struct block *block;

	inside_lock(&zone.lock);
	block = find(ptr);
	if (block && !block->marks)
		make_purgeable(block);
	inside_unlock(&zone.lock);
}

MALLOC_EXPORT int malloc_make_nonpurgeable(void *ptr)
{
	struct block *block;
	bool lost = false;

	inside_lock(&zone.lock);
	block = find(ptr);
	if (block && block->marks)
		lost = make_nonpurgeable(block);
	inside_unlock(&zone.lock);
	return lost ? EFAULT : 0;
}

static size_t zone_pressure_relief(malloc_zone_t *self, size_t goal)
{
	size_t given = 0;

	(void)self;
	inside_lock(&zone.lock);
	for (size_t i = 0; i < zone.capacity && (!goal || given < goal); i++) {
		struct block *block = &zone.blocks[i];

		if (block->start && block->marks &&
		    !inside_discard((void *)block->start, block->bytes))
			given += block->bytes;
	}
	inside_unlock(&zone.lock);
	return given;
}

// --- introspection ------------------------------------------------------------------------------------
// The table is read in one piece, whoever's it is; the lock does not count for another process.
static kern_return_t read_table(const struct malloc_task *task, vm_address_t address,
                                struct zone *ret_zone, struct block **ret_blocks)
{
	kern_return_t error = malloc_task_read(task, address, ret_zone, sizeof(*ret_zone));

	*ret_blocks = NULL;
	if (error || !ret_zone->capacity)
		return error;
	if (ret_zone->capacity > (size_t)1 << 32)
		return KERN_FAILURE;
	*ret_blocks = inside_map(ret_zone->capacity * sizeof(struct block), PAGE_BYTES,
	                         INSIDE_READ_WRITE);
	if (!*ret_blocks)
		return KERN_RESOURCE_SHORTAGE;
	return malloc_task_read(task, (uintptr_t)ret_zone->blocks, *ret_blocks,
	                        ret_zone->capacity * sizeof(struct block));
}

static kern_return_t zone_enumerator(task_t process, void *context, unsigned mask,
                                     vm_address_t address, memory_reader_t reader,
                                     vm_range_recorder_t recorder)
{
	struct malloc_task task;
	struct zone there;
	struct block *blocks = NULL;
	kern_return_t error = malloc_task_open(process, reader, &task);

	if (!error)
		error = read_table(&task, address, &there, &blocks);
	for (size_t i = 0; !error && blocks && i < there.capacity; i++) {
		vm_range_t range = { blocks[i].start, blocks[i].bytes };

		if (range.address && mask & MALLOC_PTR_REGION_RANGE_TYPE)
			recorder(process, context, MALLOC_PTR_REGION_RANGE_TYPE, &range, 1);
		if (range.address && mask & MALLOC_PTR_IN_USE_RANGE_TYPE)
			recorder(process, context, MALLOC_PTR_IN_USE_RANGE_TYPE, &range, 1);
	}
	if (blocks)
		inside_unmap(blocks, there.capacity * sizeof(*blocks));
	return error;
}

static void statistics_of(const struct zone *from, malloc_statistics_t *ret)
{
	*ret = (malloc_statistics_t){
		.blocks_in_use = (unsigned)from->count,
		.size_in_use = from->size_in_use,
		.max_size_in_use = from->size_in_use,
		.size_allocated = from->size_in_use,
	};
}

static void zone_statistics(malloc_zone_t *self, malloc_statistics_t *stats)
{
	(void)self;
	inside_lock(&zone.lock);
	statistics_of(&zone, stats);
	inside_unlock(&zone.lock);
}

static void zone_task_statistics(task_t process, vm_address_t address, memory_reader_t reader,
                                 malloc_statistics_t *stats)
{
	struct malloc_task task;
	struct zone there;

	memset(stats, 0, sizeof(*stats));
	if (!malloc_task_open(process, reader, &task) &&
	    !malloc_task_read(&task, address, &there, sizeof(there)))
		statistics_of(&there, stats);
}

static size_t zone_good_size(malloc_zone_t *self, size_t bytes)
{
	(void)self;
	if (is_small(bytes) || bytes > SIZE_MAX - PAGE_BYTES)
		return malloc_core_good_size(bytes);
	return (bytes + PAGE_BYTES - 1) & ~(size_t)(PAGE_BYTES - 1);
}

static boolean_t zone_check(malloc_zone_t *self)
{
	size_t count = 0, bytes = 0;
	bool sound;

	(void)self;
	inside_lock(&zone.lock);
	for (size_t i = 0; i < zone.capacity; i++) {
		count += zone.blocks[i].start != 0;
		bytes += zone.blocks[i].start ? zone.blocks[i].bytes : 0;
	}
	sound = count == zone.count && bytes == zone.size_in_use;
	inside_unlock(&zone.lock);
	return sound;
}

static void zone_print(malloc_zone_t *self, boolean_t verbose)
{
	malloc_statistics_t stats;

	(void)verbose;
	zone_statistics(self, &stats);
	malloc_print("%s: zone %p: %u blocks in use, %zu bytes in use\n", self->zone_name,
	             (void *)self, stats.blocks_in_use, stats.size_in_use);
}

static void zone_log(malloc_zone_t *self, void *address)
{
	(void)self;
	(void)address;
}

static void zone_force_lock(malloc_zone_t *self)
{
	(void)self;
	inside_lock(&zone.lock);
}

static void zone_force_unlock(malloc_zone_t *self)
{
	(void)self;
	inside_unlock(&zone.lock);
}

static void zone_reinit_lock(malloc_zone_t *self)
{
	(void)self;
	zone.lock.state = 0;
}

static boolean_t zone_locked(malloc_zone_t *self)
{
	(void)self;
	return __atomic_load_n(&zone.lock.state, __ATOMIC_RELAXED) != 0;
}

static struct malloc_introspection_t introspection = {
	.enumerator = zone_enumerator,
	.good_size = zone_good_size,
	.check = zone_check,
	.print = zone_print,
	.log = zone_log,
	.force_lock = zone_force_lock,
	.force_unlock = zone_force_unlock,
	.statistics = zone_statistics,
	.zone_locked = zone_locked,
	.reinit_lock = zone_reinit_lock,
	.task_statistics = zone_task_statistics,
};

static const malloc_zone_t face = {
	.size = zone_size,
	.malloc = zone_malloc,
	.calloc = zone_calloc,
	.valloc = zone_valloc,
	.free = zone_free,
	.realloc = zone_realloc,
	.zone_name = "DefaultPurgeableMallocZone",
	.introspect = &introspection,
	.version = 14,
	.memalign = zone_memalign,
	.pressure_relief = zone_pressure_relief,
	.claimed_address = zone_claimed_address,
};

MALLOC_EXPORT malloc_zone_t *malloc_default_purgeable_zone(void)
{
	static struct inside_lock making;

	inside_lock(&making);
	if (!zone.face.version) {
		zone.face = face;
		malloc_zone_register(&zone.face);
	}
	inside_unlock(&making);
	return &zone.face;
}
