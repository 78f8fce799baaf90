// SPDX-License-Identifier: MIT
// The cost of one stack: the recorder's unwinder against libunwind's unw_backtrace (with its cache, and
// without the tree that ours includes), in alternating runs within one process.
//
//   same        one function asks from two places in turn: one frame is new
//   tree        calls that branch in two: 2.5 frames are new, on average
//   redescend   back to the outermost function each time, then down again another way: three
//               frames differ, and all words were written anew
//   cold        a new path each time, and so new nodes
//
// usage: unwind-bench [ROUNDS [PATTERN]]. Prints ns of CPU per stack: pattern, depth, ours, libunwind; the medians of
// ROUNDS (9). Depth counts the frames of the pattern: the outer ones (main and so on) come on top.
#define UNW_LOCAL_ONLY
#include <libunwind.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "record/unwind.h"

enum { NODES = 1 << 24, MODULES = 256, STACKS = 200000, ROUNDS_MAX = 99, FRAMES_MAX = 256 };

enum way { OURS, LIBUNWIND, NOTHING, WAYS };

static struct record_unwinder *unwinder;
static enum way way;
static volatile uint64_t sink;
static unsigned asked, limit;

static void *map(size_t bytes)
{
	return mmap(NULL, bytes, PROT_READ | PROT_WRITE,
	            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

static void start(void)
{
	size_t nodes_bytes = NODES * sizeof(struct record_node);
	struct record_header *header =
		map(sizeof(*header) + nodes_bytes + MODULES * sizeof(struct record_module));

	header->nodes_offset = (sizeof(*header) + 63) & ~UINT64_C(63);
	header->node_capacity = NODES - 64;
	header->modules_offset = sizeof(*header) + nodes_bytes;
	header->module_capacity = MODULES;
	record_nodes_start(header);
	record_modules_start(header);
	unwinder = map(sizeof(*unwinder));
}

__attribute__((noinline)) static void ask(void)
{
	void *frames[FRAMES_MAX];

	asked++;
	if (way == OURS) {
		struct record_position at = RECORD_POSITION_HERE();

		sink += record_unwinder_node(unwinder, &at);
	} else if (way == LIBUNWIND)
		sink += (uint64_t)unw_backtrace(frames, FRAMES_MAX);
}

// Frames as compilers make them: some saved registers, some locals.
#define FRAME(name, bytes)                                                                 \
	__attribute__((noinline)) static void name(unsigned depth, void (*then)(unsigned), \
	                                           unsigned argument)                      \
	{                                                                                  \
		volatile char local[bytes];                                                \
		local[0] = (char)depth;                                                    \
		if (depth > 1)                                                             \
			FRAME_NEXT(depth - 1, then, argument);                             \
		else                                                                       \
			then(argument);                                                    \
		sink += (uint64_t)local[0];                                                \
	}
static void descend(unsigned depth, void (*then)(unsigned), unsigned argument);
#define FRAME_NEXT descend
FRAME(frame_a, 24)
FRAME(frame_b, 72)
FRAME(frame_c, 200)

static void descend(unsigned depth, void (*then)(unsigned), unsigned argument)
{
	if (depth % 3 == 0)
		frame_a(depth, then, argument);
	else if (depth % 3 == 1)
		frame_b(depth, then, argument);
	else
		frame_c(depth, then, argument);
}

__attribute__((noinline)) static void leaf_a(void)
{
	ask();
	sink++;
}

__attribute__((noinline)) static void leaf_b(void)
{
	ask();
	sink--;
}

__attribute__((noinline)) static void leaf(unsigned i)
{
	if (i % 2) {
		ask();
		sink++;
	} else {
		ask();
		sink--;
	}
}

static void ask_from_two(unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		leaf(i);
}

__attribute__((noinline)) static void branch(unsigned depth)
{
	if (!depth) {
		ask();
		sink++;
		return;
	}
	branch(depth - 1);
	sink++;
	branch(depth - 1);
	sink--;
}

static void ask_tree(unsigned depth)
{
	while (asked < limit) {
		branch(depth);
		sink++;
	}
}

static void ask_one_of(unsigned number)
{
	if (number % 2)
		leaf_a();
	else
		leaf_b();
	sink++;
}

__attribute__((noinline)) static void turn(unsigned bits, unsigned count);

__attribute__((noinline)) static void left(unsigned bits, unsigned count)
{
	turn(bits >> 1, count - 1);
	sink++;
}

__attribute__((noinline)) static void right(unsigned bits, unsigned count)
{
	turn(bits >> 1, count - 1);
	sink--;
}

__attribute__((noinline)) static void turn(unsigned bits, unsigned count)
{
	if (!count)
		ask();
	else if (bits & 1)
		left(bits, count);
	else
		right(bits, count);
	sink++;
}

static void ask_path(unsigned bits)
{
	turn(bits, 18);
}

static void run_same(unsigned depth)
{
	descend(depth - 2, ask_from_two, limit);
}

static void run_tree(unsigned depth)
{
	descend(depth - 6, ask_tree, 5);
}

static void run_redescend(unsigned depth)
{
	while (asked < limit)
		descend(depth - 1, ask_one_of, asked);
}

static unsigned paths;

static void run_cold(unsigned depth)
{
	while (asked < limit)
		descend(depth > 37 ? depth - 37 : 1, ask_path, paths++);
}

static const char *wanted; // NULL: all patterns

static double cpu_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static double measure(void (*run)(unsigned), unsigned depth, enum way how, unsigned stacks)
{
	double before;

	way = how;
	asked = 0;
	limit = stacks;
	before = cpu_ns();
	run(depth);
	return (cpu_ns() - before) / asked;
}

static int by_value(const void *a, const void *b)
{
	double difference = *(const double *)a - *(const double *)b;

	return difference < 0 ? -1 : difference > 0;
}

static void compare(const char *name, void (*run)(unsigned), unsigned depth, unsigned rounds,
                    unsigned stacks)
{
	static double results[WAYS][ROUNDS_MAX];

	if (wanted && strcmp(wanted, name) != 0)
		return;
	for (unsigned i = 0; i < rounds; i++)
		for (int how = 0; how < WAYS; how++)
			results[how][i] = measure(run, depth, (enum way)how, stacks);
	for (int how = 0; how < WAYS; how++)
		qsort(results[how], rounds, sizeof(double), by_value);
	printf("%-10s %3u %8.1f %8.1f   best %8.1f %8.1f\n", name, depth,
	       results[OURS][rounds / 2] - results[NOTHING][rounds / 2],
	       results[LIBUNWIND][rounds / 2] - results[NOTHING][rounds / 2],
	       results[OURS][0] - results[NOTHING][0], results[LIBUNWIND][0] - results[NOTHING][0]);
	fflush(stdout);
}

int main(int count, char **words)
{
	static const unsigned depths[] = { 10, 20, 50 };
	unsigned rounds = count > 1 ? (unsigned)atoi(words[1]) : 9;

	if (!rounds || rounds > ROUNDS_MAX)
		return 64;
	wanted = count > 2 ? words[2] : NULL;
	start();
	printf("pattern  depth     ours libunwind (ns per stack, without the program's own part)\n");
	for (int i = 0; i < 3; i++)
		compare("same", run_same, depths[i], rounds, STACKS);
	for (int i = 0; i < 3; i++)
		compare("tree", run_tree, depths[i], rounds, STACKS);
	for (int i = 0; i < 3; i++)
		compare("redescend", run_redescend, depths[i], rounds, STACKS);
	compare("cold", run_cold, 50, rounds, 20000);
	return 0;
}
