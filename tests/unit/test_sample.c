// SPDX-License-Identifier: MIT
// Sampled mode from end to end, with a seed and sizes that are the same in every run: which allocations the
// recorder takes, and what malloc_history makes of them, against a calculation by the book.
#include "unit.h"

#include <math.h>
#include <string.h>

#include "history/history.h"
#include "record/record_impl.h"

enum { MEAN = 1000, BLOCKS = 4000, SIZES = 5, BLOCK_STRIDE = 8192 };

#define SEED UINT64_C(20261123)
#define BASE UINT64_C(0x7f0000000000)

// The chance that a block of a size is taken is p = 1 - e^(-size/1000); 1/p, and (1-p)/p^2, the variance
// that one taken block adds to the estimated number.
static const struct {
	uint64_t bytes;
	double weight, variance;
} sizes[SIZES] = {
	{ 16, 63.001333, 3906.1667 },      { 100, 10.508332, 99.916708 },
	{ 24, 42.168667, 1736.0278 },      { 1000, 1.5819767, 0.92067359 },
	{ 5000, 1.0067837, 0.0068296729 },
};

static uint64_t bytes_of(size_t block)
{
	return sizes[block % SIZES].bytes;
}

static size_t block_of(const struct record_event *event)
{
	return (event->address - BASE) / BLOCK_STRIDE;
}

// --- by the book ----------------------------------------------------------------------------------
// xorshift64* and exponential distances.
static double draw(uint64_t *state)
{
	double chance;

	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	chance = (double)((*state * UINT64_C(0x2545f4914f6cdd1d) >> 11) + 1) / 9007199254740992.;
	return -log(chance) * MEAN;
}

static size_t take_by_the_book(bool taken[static BLOCKS])
{
	uint64_t state = SEED;
	double distance = draw(&state);
	size_t n = 0;

	for (size_t i = 0; i < BLOCKS; i++) {
		taken[i] = (double)bytes_of(i) >= distance;
		distance = taken[i] ? draw(&state) : distance - (double)bytes_of(i);
		n += taken[i];
	}
	return n;
}

// --- by the recorder ------------------------------------------------------------------------------
static void record_blocks(void)
{
	const struct record_settings settings = { .mode = RECORD_SAMPLED,
		                                  .what = RECORD_WHAT_MALLOC,
		                                  .sample_bytes = MEAN };
	const struct record_position here = RECORD_POSITION_HERE();
	struct record_hooks hooks;
	struct record_thread *self;
	const char *reason;

	assert_true(record_start(&settings, &hooks, &reason));
	self = record_thread_enter(&here);
	self->random = SEED;
	record_thread_leave(self);
	for (size_t i = 0; i < BLOCKS; i++)
		if (!record_skips_allocation(bytes_of(i)))
			hooks.allocated(RECORD_MALLOC, BASE + i * BLOCK_STRIDE, bytes_of(i), 0,
			                &here);
}

static size_t recorded(struct log_live blocks[static BLOCKS])
{
	const struct record_thread *self = record_self;
	size_t n = 0;

	for (uint64_t i = 0; i < self->written; i++) {
		const struct record_event *event = &self->events[i];

		if ((event->stamp & 255) != RECORD_MALLOC)
			continue;
		assert_true(n < BLOCKS);
		assert_int_equal(event->bytes, bytes_of(block_of(event)));
		blocks[n++] = (struct log_live){ .address = event->address,
			                         .bytes = event->bytes,
			                         .kind = RECORD_MALLOC };
	}
	return n;
}

static void close_to(uint64_t number, double wanted)
{
	assert_true(fabs((double)number - wanted) <= 1 + wanted * 1e-6);
}

// Against the weights of the table, and against what was really allocated.
static void check_estimate(const struct history_sums *sums, const struct log_live *blocks,
                           size_t count)
{
	double number = 0, bytes = 0, number_variance = 0, bytes_variance = 0, true_bytes = 0;

	for (size_t i = 0; i < count; i++) {
		size_t size = (blocks[i].address - BASE) / BLOCK_STRIDE % SIZES;
		double each = (double)sizes[size].bytes;

		number += sizes[size].weight;
		bytes += each * sizes[size].weight;
		number_variance += sizes[size].variance;
		bytes_variance += each * each * sizes[size].variance;
	}
	for (size_t i = 0; i < BLOCKS; i++)
		true_bytes += (double)bytes_of(i);
	assert_true(sums->estimated);
	close_to(sums->count, number);
	close_to(sums->bytes, bytes);
	close_to(sums->count_off, 2.576 * sqrt(number_variance));
	close_to(sums->bytes_off, 2.576 * sqrt(bytes_variance));
	assert_true(fabs((double)sums->count - BLOCKS) <= (double)sums->count_off);
	assert_true(fabs((double)sums->bytes - true_bytes) <= (double)sums->bytes_off);
	assert_true(sums->count_off < BLOCKS / 2);
}

static void a_sample_tells_of_all(void **state)
{
	static bool taken[BLOCKS];
	static struct log_live blocks[BLOCKS];
	static const struct log_node no_stack;
	const struct log_process process = { .mode = RECORD_SAMPLED, .sample_bytes = MEAN };
	struct history_given given = {
		.process = &process, .nodes = &no_stack, .node_count = 1, .blocks = blocks
	};
	struct history_question question = { .set = HISTORY_LIVE, .last = HISTORY_END };
	size_t wanted = take_by_the_book(taken);
	struct history *history;
	struct history_sums sums;

	(void)state;
	record_blocks();
	given.block_count = recorded(blocks);
	assert_int_equal(given.block_count, wanted);
	for (size_t i = 0; i < given.block_count; i++)
		assert_true(taken[(blocks[i].address - BASE) / BLOCK_STRIDE]);
	assert_null(history_open_blocks(&given, &history));
	assert_null(history_sum_up(history, &question, &sums));
	check_estimate(&sums, blocks, given.block_count);
	history_sums_free(&sums);
	history_close(history);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(a_sample_tells_of_all) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
