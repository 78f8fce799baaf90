// SPDX-License-Identifier: MIT
// Sampled mode: which allocations are recorded, and which frees are theirs. Called through the hooks when
// the short way of record.h says that an allocation is due or a free may be of a sample.
//
// The bytes that a thread allocates are a line with marks at random distances, exponential with the mean
// that was asked for. An allocation with a mark in it is a sample; it counts for one however many
// are in it, so a reader weighs it by 1 / (1 - exp(-bytes / mean)), which keeps counts and bytes right
// on average. The line forgets: behind a sample the distance is drawn anew.
//
// The addresses of live samples are in tables of buckets, without a lock and without marks for deleted
// ones: an address lies anywhere in its bucket or the next few. A larger table is used when a bucket of
// the one before is full, so that few samples touch few pages. In front of them the filter counts
// addresses by some of their bits, so that a free of another block needs one look.
#include <string.h>

#include "record/record_impl.h"

enum {
	BUCKET = 8,
	BUCKETS_TRIED = 4,
	TABLES = 3,
	FILTER_FULL = 255, // stays
};

static const unsigned table_buckets[TABLES] = { 1 << 6, 1 << 11, 1 << 17 };
static const size_t table_bytes =
	((1 << 6) + (1 << 11) + (1 << 17)) * BUCKET * sizeof(uint64_t); // of all together

__thread uint64_t record_sample_distance;
bool record_samples;
uint8_t record_sample_filter[RECORD_SAMPLE_FILTER];

static uint64_t *tables;
static unsigned tables_used;

// --- distances ------------------------------------------------------------------------------------
// xorshift64* (Marsaglia; Vigna).
static uint64_t next_random(struct record_thread *self)
{
	while (!self->random)
		if (inside_random(&self->random, sizeof(self->random)) != sizeof(self->random))
			self->random = record_now() * 2 + 1;
	self->random ^= self->random >> 12;
	self->random ^= self->random << 25;
	self->random ^= self->random >> 27;
	return self->random * UINT64_C(0x2545f4914f6cdd1d);
}

// The natural logarithm for x > 0, by x = m * 2^e with m around 1 and ln m = 2 artanh((m-1)/(m+1));
// some 1e-10 exact.
static double logarithm(double x)
{
	uint64_t bits;
	double m, s, square;
	int exponent;

	memcpy(&bits, &x, sizeof(bits));
	exponent = (int)(bits >> 52) - 1023;
	bits = (bits & ((UINT64_C(1) << 52) - 1)) | UINT64_C(1023) << 52;
	memcpy(&m, &bits, sizeof(m));
	if (m > 1.4142135623730951) {
		m /= 2;
		exponent++;
	}
	s = (m - 1) / (m + 1);
	square = s * s;
	return exponent * 0.6931471805599453 +
	       2 * s *
	               (1 +
	                square *
	                        (1. / 3 +
	                         square * (1. / 5 +
	                                   square * (1. / 7 +
	                                             square * (1. / 9 + square * (1. / 11 +
	                                                                          square / 13))))));
}

static uint64_t draw_distance(struct record_thread *self)
{
	double chance = (double)((next_random(self) >> 11) + 1) / (double)(UINT64_C(1) << 53);
	double bytes = -logarithm(chance) * (double)record_header->sample_bytes;

	return (uint64_t)bytes;
}

// A thread begins at a random place of the line, not at a mark.
static bool is_due(struct record_thread *self, uint64_t bytes)
{
	if (!self->samples || record_sample_distance >= RECORD_SAMPLE_NEVER / 2) {
		self->samples = true;
		record_sample_distance = draw_distance(self);
	}
	if (record_sample_passes(bytes))
		return false;
	record_sample_distance = draw_distance(self);
	return true;
}

// --- live samples ---------------------------------------------------------------------------------
static bool replace_in(uint64_t *table, unsigned buckets, uint64_t address, uint64_t from,
                       uint64_t to)
{
	uint64_t hash = (address >> 4) * UINT64_C(0x9e3779b97f4a7c15) >> 32;

	for (unsigned i = 0; i < BUCKETS_TRIED; i++) {
		uint64_t *bucket = &table[(hash + i) % buckets * BUCKET];

		for (unsigned j = 0; j < BUCKET; j++) {
			uint64_t found = from;

			if (__atomic_load_n(&bucket[j], __ATOMIC_RELAXED) == from &&
			    __atomic_compare_exchange_n(&bucket[j], &found, to, false,
			                                __ATOMIC_RELAXED, __ATOMIC_RELAXED))
				return true;
		}
	}
	return false;
}

// Of the table in which it was done, from 1; 0: in none of so many.
static unsigned replace(unsigned limit, uint64_t address, uint64_t from, uint64_t to)
{
	uint64_t *table = tables;

	for (unsigned i = 0; i < limit; i++) {
		if (replace_in(table, table_buckets[i], address, from, to))
			return i + 1;
		table += table_buckets[i] * BUCKET;
	}
	return 0;
}

static void filter_add(uint64_t address, int change)
{
	uint8_t *count = &record_sample_filter[record_sample_slot(address)];
	uint8_t old = __atomic_load_n(count, __ATOMIC_RELAXED);

	do {
		if (old == FILTER_FULL)
			return;
	} while (!__atomic_compare_exchange_n(count, &old, (uint8_t)(old + change), false,
	                                      __ATOMIC_RELAXED, __ATOMIC_RELAXED));
}

static bool remember(uint64_t address)
{
	unsigned used = replace(TABLES, address, 0, address);
	unsigned seen = __atomic_load_n(&tables_used, __ATOMIC_RELAXED);

	if (!used)
		return false;
	while (seen < used && !__atomic_compare_exchange_n(&tables_used, &seen, used, false,
	                                                   __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
	filter_add(address, 1);
	return true;
}

static bool forget(uint64_t address)
{
	if (!replace(__atomic_load_n(&tables_used, __ATOMIC_RELAXED), address, address, 0))
		return false;
	filter_add(address, -1);
	return true;
}

bool record_sample_start(void)
{
	record_samples = record_settings.mode == RECORD_SAMPLED;
	record_sample_distance = 0;
	if (!record_samples)
		return true;
	if (tables) {
		memset(record_sample_filter, 0, sizeof(record_sample_filter));
		inside_discard(tables, table_bytes);
	} else {
		tables = inside_map(table_bytes, RECORD_PAGE_BYTES, INSIDE_READ_WRITE);
	}
	return tables;
}

// --- the hooks ------------------------------------------------------------------------------------
static uint32_t allocated(uint32_t kind, uint64_t address, uint64_t bytes, uint32_t extra,
                          const struct record_position *at)
{
	struct record_thread *self = record_thread_enter(at);
	uint32_t node = 0;

	// In a handler that interrupted the recorder: the chance that it is due is small, and it goes
	// uncounted in a sample. In a child that is not recorded: the short way from now on.
	if (RECORD_UNLIKELY(!self)) {
		if (!record_gate->open)
			record_sample_distance = RECORD_SAMPLE_NEVER;
		return 0;
	}
	if (is_due(self, bytes)) {
		if (remember(address)) {
			node = record_paths_node(self->unwinder, at);
			record_event_append(self, kind, address, bytes, node, extra);
		} else {
			__atomic_fetch_add(&record_header->lost, 1, __ATOMIC_RELAXED);
		}
	}
	record_thread_leave(self);
	return node;
}

static void freed(uint32_t kind, uint64_t address, const struct record_position *at)
{
	uint64_t word = *(const uint64_t *)address;
	struct record_thread *self;

	if (!forget(address))
		return;
	self = record_thread_enter(at);
	if (RECORD_UNLIKELY(!self)) {
		record_thread_aside(kind, address, word, 0, at);
		return;
	}
	record_event_append(self, kind, address, word, record_paths_node(self->unwinder, at), 0);
	record_thread_leave(self);
}

const struct record_hooks record_sample_hooks = { .allocated = allocated,
	                                          .freed = freed,
	                                          .stack = record_event_stack,
	                                          .called = record_event_called };
