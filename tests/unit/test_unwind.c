// SPDX-License-Identifier: MIT
// Stacks as nodes: one node per stack whoever asks, chains of callers, modules that are published when
// first met, and what happens when the table is full. That stacks are right is tested against another
// unwinder in tests/record.
#include "unit.h"

#include <pthread.h>
#include <sys/mman.h>

#include "record/unwind.h"

enum { NODES = 1 << 16, MODULES = 64, THREADS = 4, CHILDREN = 5000 };

static struct record_header *header;
static struct record_node *nodes;
static struct record_module *modules;

static void *map(size_t bytes)
{
	void *memory =
		mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_true(memory != MAP_FAILED);
	return memory;
}

static int start(void **state)
{
	size_t nodes_bytes = NODES * sizeof(struct record_node);

	(void)state;
	header = map(sizeof(*header) + nodes_bytes + MODULES * sizeof(struct record_module));
	header->nodes_offset = sizeof(*header);
	header->node_capacity = NODES;
	header->modules_offset = sizeof(*header) + nodes_bytes;
	header->module_capacity = MODULES;
	nodes = (struct record_node *)(header + 1);
	modules = (struct record_module *)((char *)nodes + nodes_bytes);
	record_nodes_start(header);
	record_modules_start(header);
	return 0;
}

static struct record_unwinder *unwinder_new(void)
{
	return map(sizeof(struct record_unwinder));
}

__attribute__((noinline)) static uint32_t node_here(struct record_unwinder *u)
{
	struct record_position at = RECORD_POSITION_HERE();

	return record_unwinder_node(u, &at);
}

// --- Nodes ----------------------------------------------------------------------------------------
static void a_place_has_one_node(void **state)
{
	uint32_t a = record_node_child(0, 0x1000), b = record_node_child(a, 0x2000);

	(void)state;
	assert_int_not_equal(a, 0);
	assert_int_equal(record_node_child(0, 0x1000), a);
	assert_int_equal(record_node_child(a, 0x2000), b);
	assert_int_not_equal(record_node_child(0, 0x2000), b);
	assert_true(b > a);
	assert_int_equal(nodes[b].parent, a);
	assert_int_equal(nodes[b].code, 0x2000);
}

static void *add_children(void *parent)
{
	static __thread uint32_t ids[CHILDREN];

	for (uint32_t i = 0; i < CHILDREN; i++)
		ids[i] = record_node_child(*(uint32_t *)parent, 0x400000 + i * 5);
	for (uint32_t i = 0; i < CHILDREN; i++)
		if (nodes[ids[i]].code != 0x400000 + i * 5 ||
		    nodes[ids[i]].parent != *(uint32_t *)parent)
			return parent;
	return NULL;
}

static void threads_agree_on_nodes(void **state)
{
	static uint8_t seen[CHILDREN];
	pthread_t threads[THREADS];
	uint32_t parent = record_node_child(0, 0x3000);
	void *failed;

	(void)state;
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, add_children, &parent), 0);
	for (int i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_join(threads[i], &failed), 0);
		assert_null(failed);
	}
	// Each is found again under one number, however many were made at once.
	for (uint32_t i = 0; i < CHILDREN; i++) {
		uint32_t id = record_node_child(parent, 0x400000 + i * 5);

		assert_int_equal(nodes[id].code, 0x400000 + i * 5);
		assert_int_equal(seen[i]++, 0);
	}
}

// --- Stacks ---------------------------------------------------------------------------------------
static void a_stack_has_one_node_whoever_walks(void **state)
{
	struct record_unwinder *unwinders[] = { unwinder_new(), unwinder_new() };
	uint32_t node, first = 0;
	volatile int i; // one call in the code

	(void)state;
	for (i = 0; i < 6; i++) {
		node = node_here(unwinders[i % 2]);
		assert_int_not_equal(node, 0);
		first = first ? first : node;
		assert_int_equal(node, first);
	}
	munmap(unwinders[0], sizeof(*unwinders[0]));
	munmap(unwinders[1], sizeof(*unwinders[1]));
}

__attribute__((noinline)) static uint32_t inner(struct record_unwinder *u, uint32_t *ret_other)
{
	uint32_t node = node_here(u);

	*ret_other = node_here(u);
	return node;
}

static unsigned depth_of(uint32_t node)
{
	unsigned depth = 0;

	for (; node; node = nodes[node].parent)
		depth++;
	return depth;
}

static void callers_are_parents(void **state)
{
	struct record_unwinder *u = unwinder_new();
	uint32_t outer = node_here(u), other, node = inner(u, &other);

	(void)state;
	assert_int_not_equal(node, other);
	assert_int_equal(nodes[node].parent, nodes[other].parent);
	// inner was called from this function, from elsewhere than node_here.
	assert_int_equal(nodes[nodes[node].parent].parent, nodes[outer].parent);
	assert_int_equal(depth_of(node), depth_of(outer) + 1);
	for (; node; node = nodes[node].parent)
		assert_int_equal(nodes[node].code & RECORD_NODE_TRUNCATED, 0);
	munmap(u, sizeof(*u));
}

__attribute__((noinline)) static uint32_t recurse(struct record_unwinder *u, unsigned depth)
{
	uint32_t node = depth ? recurse(u, depth - 1) : node_here(u);

	__asm__ volatile("" : "+r"(node));
	return node;
}

static void a_stack_that_is_too_deep_is_cut_at_its_outer_end(void **state)
{
	struct record_unwinder *u = unwinder_new();
	uint32_t node = recurse(u, RECORD_FRAMES + 1000), parent = node;

	(void)state;
	for (; nodes[parent].parent; parent = nodes[parent].parent)
		assert_int_equal(nodes[parent].code & RECORD_NODE_TRUNCATED, 0);
	assert_int_not_equal(nodes[parent].code & RECORD_NODE_TRUNCATED, 0);
	assert_int_equal(depth_of(node), RECORD_FRAMES);
	// And is whole again when it is not.
	node = recurse(u, 100);
	for (; node; node = nodes[node].parent)
		assert_int_equal(nodes[node].code & RECORD_NODE_TRUNCATED, 0);
	munmap(u, sizeof(*u));
}

static void modules_are_published_when_they_are_met(void **state)
{
	struct record_unwinder *u = unwinder_new();
	uint32_t node = node_here(u);

	(void)state;
	assert_true(header->module_count >= 2); // this program and libc
	for (; node; node = nodes[node].parent) {
		uint64_t code = nodes[node].code & RECORD_NODE_ADDRESS;
		const struct record_module *found = NULL;

		for (uint32_t i = 0; i < header->module_count; i++)
			if (code >= modules[i].start && code <= modules[i].end)
				found = &modules[i];
		assert_non_null(found);
		assert_int_not_equal(found->loaded, 0);
		assert_int_equal(found->unloaded, 0);
		assert_int_not_equal(found->inode, 0);
		assert_true(found->path[0] == '/');
	}
	munmap(u, sizeof(*u));
}

static void a_full_table_says_so(void **state)
{
	uint32_t node = 0;

	(void)state;
	for (uint32_t i = 0; i < NODES; i++)
		node = record_node_child(0, 0x10000000 + i);
	assert_int_not_equal(nodes[node].code & RECORD_NODE_TRUNCATED, 0);
	assert_int_equal(nodes[node].code & RECORD_NODE_ADDRESS, 0);
	assert_int_equal(nodes[node].parent, 0);
	assert_int_equal(record_node_child(node, 0x5000), node);
	assert_int_equal(header->node_count, NODES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_place_has_one_node),
		cmocka_unit_test(threads_agree_on_nodes),
		cmocka_unit_test(a_stack_has_one_node_whoever_walks),
		cmocka_unit_test(callers_are_parents),
		cmocka_unit_test(a_stack_that_is_too_deep_is_cut_at_its_outer_end),
		cmocka_unit_test(modules_are_published_when_they_are_met),
		cmocka_unit_test(a_full_table_says_so),
	};

	return cmocka_run_group_tests_name("stacks", tests, start, NULL);
}
