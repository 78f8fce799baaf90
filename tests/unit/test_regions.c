// SPDX-License-Identifier: MIT
// Regions and roots of a made-up process: how segments are split at heaps, thread stacks and guards,
// what is found without any symbol in libc's lists of stacks, and which bytes are roots.
#include "unit.h"

#include "regions/regions.h"

#define PAGE        4096u
#define DATA        0x400000ull       // data of a module: heads of libc's lists, the main arena
#define HEAP        0x500000ull       // eight pages of blocks
#define MIXED       0x7f0000000000ull // one mapping with two thread stacks whose guards are invisible
#define STACK_BYTES (16 * PAGE)       // guard included
#define FROZEN      0x7f0000100000ull
#define NOTHING     0x7f0000200000ull
#define SHARED      0x7f0000300000ull
#define LOADER      0x7f0000400000ull // the first thread's control block
#define FIRST       0x7ffff0000000ull // [stack]

// Offsets in our struct pthread; the reader must find them by itself.
enum { LIST = 0x2c0, TID = 0x2d0, BLOCK = 0x690, CONTROL = 0x6c0 };

enum { SEGMENTS = 8, USED_HEAD = 0x100, USER_HEAD = 0x110, CACHE_HEAD = 0x120 };

struct world {
	struct target *target;
	struct target_segment segments[SEGMENTS];
	struct target_file program, memfd;
	struct target_thread threads[2];
	struct heap_zone zone;
	struct heap_range ranges[2];
	struct heaps heaps;
	struct symbols_module module;
	struct regions *regions;
};

static struct world *current;

// The room symbols would need ELF files; these stand in for it.
const struct symbols_module *symbols_modules(const struct symbols *symbols, size_t *ret_count)
{
	(void)symbols;
	*ret_count = 0;
	return NULL;
}

const struct symbols_module *symbols_module_at(const struct symbols *symbols, uint64_t address)
{
	(void)symbols;
	return address >= DATA && address < DATA + 2 * PAGE ? &current->module : NULL;
}

struct error *symbols_find(struct symbols *symbols, const char *module_prefix, const char *name,
                           uint64_t *ret_address, uint64_t *ret_bytes)
{
	(void)symbols, (void)module_prefix, (void)ret_address, (void)ret_bytes;
	return error_new(ERROR_NOT_FOUND, "no symbol %s", name);
}

void symbols_name_at(struct symbols *symbols, uint64_t address, struct symbols_name *ret)
{
	(void)symbols, (void)address;
	*ret = (struct symbols_name){ .module = &current->module, .function = "sessions" };
}

const char *symbols_section_at(struct symbols *symbols, uint64_t address)
{
	(void)symbols, (void)address;
	return ".data";
}

ssize_t heaps_find(const struct heaps *heaps, uint64_t address)
{
	(void)heaps, (void)address;
	return -1;
}

static struct target_segment *segment_add(struct world *world, size_t index, uint64_t start,
                                          size_t pages, uint8_t protection)
{
	struct target_segment *segment = &world->segments[index];

	*segment = (struct target_segment){
		.start = start,
		.end = start + pages * PAGE,
		.protection = protection,
		.max_protection = TARGET_READ | TARGET_WRITE | TARGET_EXEC,
		.readable = true,
		.contents_end = start + pages * PAGE,
		.image = calloc(pages, PAGE),
	};
	return segment;
}

static void put(struct world *world, uint64_t address, uint64_t value)
{
	for (size_t i = 0; i < SEGMENTS; i++) {
		struct target_segment *segment = &world->segments[i];

		if (address >= segment->start && address < segment->end) {
			memcpy((uint8_t *)segment->image + (address - segment->start), &value, 8);
			return;
		}
	}
	fail();
}

// A circular list: head, then the nodes.
static void link_list(struct world *world, uint64_t head, const uint64_t *controls, size_t n)
{
	uint64_t previous = head;

	for (size_t i = 0; i < n; i++) {
		put(world, previous, controls[i] + LIST);
		put(world, controls[i] + LIST + 8, previous);
		previous = controls[i] + LIST;
	}
	put(world, previous, head);
	put(world, head + 8, previous);
}

static void put_control(struct world *world, uint64_t control, uint32_t tid, uint64_t block)
{
	put(world, control, control);
	put(world, control + 16, control);
	put(world, control + TID, tid);
	if (!block)
		return;
	put(world, control + BLOCK, block);
	put(world, control + BLOCK + 8, STACK_BYTES);
	put(world, control + BLOCK + 16, PAGE);
}

static uint64_t stack_of(unsigned index)
{
	return MIXED + index * STACK_BYTES;
}

static uint64_t control_of(unsigned index)
{
	return stack_of(index) + STACK_BYTES - PAGE + CONTROL;
}

static void make_libc(struct world *world)
{
	uint64_t live = control_of(0), dead = control_of(1), first = LOADER + 0x740;

	put_control(world, live, 101, stack_of(0));
	put_control(world, dead, 0, stack_of(1));
	put_control(world, first, 100, 0);
	link_list(world, DATA + USED_HEAD, &live, 1);
	link_list(world, DATA + USER_HEAD, &first, 1);
	link_list(world, DATA + CACHE_HEAD, &dead, 1);
}

static void make_segments(struct world *world)
{
	const uint8_t rw = TARGET_READ | TARGET_WRITE;

	segment_add(world, 0, DATA, 2, rw)->file = &world->program;
	segment_add(world, 1, HEAP, 8, rw)->name = "[heap]";
	segment_add(world, 2, MIXED, 2 * STACK_BYTES / PAGE, rw);
	segment_add(world, 3, FROZEN, 1, TARGET_READ);
	segment_add(world, 4, NOTHING, 4, 0)->readable = false;
	segment_add(world, 5, SHARED, 1, rw)->file = &world->memfd;
	world->segments[5].shared = true;
	segment_add(world, 6, LOADER, 2, rw);
	segment_add(world, 7, FIRST, 4, rw)->name = "[stack]";
}

static void make_heaps(struct world *world)
{
	world->zone = (struct heap_zone){ .name = "main_arena", .address = DATA + 0x800 };
	world->ranges[0] =
		(struct heap_range){ DATA + 0x800, DATA + 0x1000, HEAP_RANGE_METADATA, 0 };
	world->ranges[1] =
		(struct heap_range){ HEAP + 0x100, HEAP + 7 * PAGE, HEAP_RANGE_BLOCKS, 0 };
	world->heaps = (struct heaps){
		.zones = &world->zone, .zone_count = 1, .ranges = world->ranges, .range_count = 2
	};
}

static void world_make(struct world *world)
{
	*world = (struct world){
		.program = { .path = "/bin/server" },
		.memfd = { .path = "/memfd:ring", .anonymous = true },
		.threads = { { .tid = 100,
		               .own_tid = 100,
		               .sp = FIRST + 2 * PAGE,
		               .tp = LOADER + 0x740,
		               .has_registers = true },
		             { .tid = 101,
		               .own_tid = 101,
		               .name = "worker",
		               .sp = stack_of(0) + 8 * PAGE,
		               .tp = control_of(0),
		               .has_registers = true } },
		.module = { .name = "server",
		            .path = "/bin/server",
		            .start = DATA,
		            .end = DATA + 2 * PAGE },
	};
	make_segments(world);
	make_heaps(world);
	make_libc(world);
	current = world;
}

static const struct roots *world_read(struct world *world)
{
	const struct roots *roots = NULL;

	world->target = target_from_segments(world->segments, SEGMENTS, 8);
	world->target->cpu = "x86_64";
	world->target->pid = 100;
	world->target->threads = world->threads;
	world->target->thread_count = 2;
	assert_null(regions_read(world->target, &world->heaps, NULL, &world->regions));
	assert_null(regions_roots(world->regions, &roots));
	return roots;
}

static void world_close(struct world *world)
{
	regions_close(world->regions);
	target_close(world->target);
	for (size_t i = 0; i < SEGMENTS; i++)
		free((void *)world->segments[i].image);
}

static const struct region *at(const struct world *world, uint64_t address)
{
	const struct region *region = regions_at(world->regions, address);

	assert_non_null(region);
	assert_in_range(address, region->start, region->end - 1);
	return region;
}

static const struct root_range *root_at(const struct roots *roots, uint64_t address)
{
	for (size_t i = 0; i < roots->range_count; i++)
		if (address >= roots->ranges[i].start && address < roots->ranges[i].end)
			return &roots->ranges[i];
	return NULL;
}

static void check_stack(const struct world *world, unsigned index, enum region_kind kind,
                        int thread)
{
	assert_int_equal(at(world, stack_of(index))->kind, REGION_STACK_GUARD);
	assert_int_equal(at(world, stack_of(index))->end, stack_of(index) + PAGE);
	assert_int_equal(at(world, stack_of(index) + PAGE)->kind, kind);
	assert_int_equal(at(world, stack_of(index) + PAGE)->thread, thread);
	assert_int_equal(at(world, stack_of(index) + PAGE)->end, stack_of(index) + STACK_BYTES);
}

static void test_kinds(void **state)
{
	struct world world;

	(void)state;
	world_make(&world);
	world_read(&world);
	assert_int_equal(at(&world, DATA)->kind, REGION_DATA);
	assert_true(at(&world, DATA)->whole_segment); // the arena in it is less than a page
	assert_int_equal(at(&world, HEAP)->kind, REGION_MALLOC);
	assert_int_equal(at(&world, HEAP)->zone, 0);
	assert_int_equal(at(&world, HEAP)->end, HEAP + 7 * PAGE);
	assert_int_equal(at(&world, HEAP + 7 * PAGE)->kind, REGION_ANONYMOUS);
	assert_int_equal(at(&world, NOTHING)->kind, REGION_RESERVED);
	assert_int_equal(at(&world, SHARED)->kind, REGION_MEMFD);
	assert_int_equal(at(&world, FIRST)->kind, REGION_STACK);
	assert_int_equal(at(&world, FIRST)->thread, 0);
	check_stack(&world, 0, REGION_STACK, 1);
	check_stack(&world, 1, REGION_DEAD_STACK, -1);
	assert_null(regions_at(world.regions, 0x10));
	world_close(&world);
}

static void test_live_stack_counts_from_its_pointer(void **state)
{
	struct world world;
	const struct roots *roots;
	uint64_t sp;

	(void)state;
	world_make(&world);
	sp = world.threads[1].sp;
	roots = world_read(&world);
	assert_non_null(root_at(roots, sp - 128));
	assert_null(root_at(roots, sp - 136));
	assert_int_equal(root_at(roots, sp)->kind, ROOT_STACK);
	assert_int_equal(root_at(roots, sp)->thread, 1);
	assert_non_null(root_at(roots, stack_of(0) + STACK_BYTES - 8));
	assert_int_equal(root_at(roots, control_of(0))->kind, ROOT_TLS);
	assert_null(root_at(roots, stack_of(0)));
	assert_int_equal(root_at(roots, LOADER + 0x740)->kind, ROOT_TLS);
	world_close(&world);
}

static void test_thread_on_another_stack(void **state)
{
	struct world world;
	const struct roots *roots;
	bool found = false;

	(void)state;
	world_make(&world);
	world.threads[1].sp = HEAP + 3 * PAGE; // a coroutine on a malloc'ed stack
	roots = world_read(&world);
	assert_non_null(root_at(roots, stack_of(0) + PAGE)); // its own stack counts whole
	assert_null(root_at(roots, HEAP + 3 * PAGE));
	for (size_t i = 0; i < roots->value_count; i++)
		found |= roots->values[i].value == HEAP + 3 * PAGE && roots->values[i].thread == 1;
	assert_true(found);
	world_close(&world);
}

static void test_dead_stack_counts_by_its_control_block(void **state)
{
	struct world world;
	const struct roots *roots;

	(void)state;
	world_make(&world);
	roots = world_read(&world);
	assert_null(root_at(roots, stack_of(1)));
	assert_null(root_at(roots, control_of(1) - 8));
	assert_non_null(root_at(roots, control_of(1)));
	assert_non_null(root_at(roots, stack_of(1) + STACK_BYTES - 8));
	world_close(&world);
}

static void test_ranges(void **state)
{
	struct world world;
	const struct roots *roots;

	(void)state;
	world_make(&world);
	roots = world_read(&world);
	assert_int_equal(root_at(roots, DATA)->kind, ROOT_DATA);
	assert_null(root_at(roots, DATA + 0x800)); // the main arena
	assert_non_null(root_at(roots, DATA + 0x1000));
	// What lies before the first block is not malloc's: TLS of a static program, other users of brk.
	assert_int_equal(root_at(roots, HEAP)->kind, ROOT_MAPPING);
	assert_null(root_at(roots, HEAP + 0x100));
	assert_int_equal(root_at(roots, HEAP + 7 * PAGE)->kind, ROOT_MAPPING);
	assert_int_equal(root_at(roots, FROZEN)->kind, ROOT_READ_ONLY);
	assert_int_equal(root_at(roots, SHARED)->kind, ROOT_MAPPING);
	assert_null(root_at(roots, NOTHING));
	for (size_t i = 0; i + 1 < roots->range_count; i++)
		assert_true(roots->ranges[i].end <= roots->ranges[i + 1].start);
	world_close(&world);
}

// A list that is damaged must not be believed: the mapping serves instead.
static void test_damaged_list(void **state)
{
	struct world world;
	const struct roots *roots;

	(void)state;
	world_make(&world);
	put(&world, control_of(1) + LIST, 0x4141414141414141);
	roots = world_read(&world);
	assert_non_null(root_at(roots, control_of(1) - 8));
	assert_non_null(root_at(roots, stack_of(1) + 8 * PAGE));
	world_close(&world);
}

static void test_registers(void **state)
{
	struct world world;
	const struct roots *roots;
	uint64_t registers[27] = { [12] = HEAP + 64 };
	uint64_t vector[4] = { 0, 0, 0, HEAP + 128 };
	unsigned found = 0;

	(void)state;
	world_make(&world);
	world.threads[0].registers = registers;
	world.threads[0].register_count = 27;
	world.threads[0].vector = (const uint8_t *)vector;
	world.threads[0].vector_bytes = sizeof(vector);
	roots = world_read(&world);
	for (size_t i = 0; i < roots->value_count; i++) {
		const struct root_value *value = &roots->values[i];

		found += value->value == HEAP + 64 && !strcmp(value->what, "rdx");
		found += value->value == HEAP + 128 && !value->what;
	}
	assert_int_equal(found, 2);
	world_close(&world);
}

// The parts of a segment share out its page counts without losing any.
static void test_page_counts_add_up(void **state)
{
	struct world world;
	uint64_t resident = 0, swapped = 0;

	(void)state;
	world_make(&world);
	world.segments[2].has_pages = true;
	world.segments[2].pages.resident = 7 * PAGE;
	world.segments[2].pages.swapped = 3 * PAGE;
	world_read(&world);
	for (size_t i = 0; i < world.regions->region_count; i++) {
		const struct region *region = &world.regions->regions[i];

		resident += region->pages.resident;
		swapped += region->pages.swapped;
		assert_int_equal(region->pages.resident % PAGE, 0);
	}
	assert_int_equal(resident, 7 * PAGE);
	assert_int_equal(swapped, 3 * PAGE);
	assert_int_equal(at(&world, stack_of(0))->pages.resident, 0); // a guard holds nothing
	world_close(&world);
}

static void test_descriptions(void **state)
{
	struct world world;
	struct arena arena;

	(void)state;
	world_make(&world);
	world_read(&world);
	arena_init(&arena, &unit_pages);
	assert_string_equal(regions_describe(world.regions, NULL, &arena, DATA + 8),
	                    "sessions in server (.data)");
	assert_string_equal(regions_describe(world.regions, NULL, &arena, stack_of(0) + 9 * PAGE),
	                    "stack of thread 101");
	assert_string_equal(regions_describe(world.regions, NULL, &arena, FIRST),
	                    "stack of thread 100 (main)");
	assert_string_equal(regions_describe(world.regions, NULL, &arena, SHARED + 64),
	                    "memfd /memfd:ring + 64");
	arena_deinit(&arena);
	world_close(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_live_stack_counts_from_its_pointer),
		cmocka_unit_test(test_thread_on_another_stack),
		cmocka_unit_test(test_dead_stack_counts_by_its_control_block),
		cmocka_unit_test(test_ranges),
		cmocka_unit_test(test_damaged_list),
		cmocka_unit_test(test_registers),
		cmocka_unit_test(test_page_counts_add_up),
		cmocka_unit_test(test_descriptions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
