// SPDX-License-Identifier: MIT
// The hashed part of the address filter: a Bloom filter of the granules, pieces of memory of a power of
// two bytes, in which small blocks of memory lie. All bits of a granule are in one line of 64 bytes. When
// there are many granules they are taken larger. docs/log-format.md has the arithmetic. Called by filter.c.
#include "log/log_impl.h"

#define LEAST_SHIFT     6
#define MOST_SHIFT      9
#define LINE_BYTES      64
#define LINE_BITS       (LINE_BYTES * 8)
#define PROBES          4
#define KEY_BITS        10 // of the filter per granule: 1.5 % of other granules seem to be in it
#define BITS_PER_EVENT  2  // of the filter at most
#define COUNT_BITS      20 // of the hash by which granules are told apart while they are counted
#define HASH_MULTIPLIER UINT64_C(0x9e3779b97f4a7c15)

static uint64_t granule_hash(uint64_t granule)
{
	uint64_t hash = granule * HASH_MULTIPLIER;

	return hash ^ hash >> 32;
}

// How many granules; those that share a hash are one.
static size_t granules_count(uint8_t *bitmap, unsigned shift, const struct log_span *spans,
                             size_t count)
{
	size_t found = 0;

	memset(bitmap, 0, (size_t)1 << (COUNT_BITS - 3));
	for (size_t i = 0; i < count; i++)
		for (uint64_t at = spans[i].start >> shift; at <= spans[i].last >> shift; at++) {
			uint32_t place = (uint32_t)(granule_hash(at) >> (64 - COUNT_BITS));

			found += !(bitmap[place / 8] >> place % 8 & 1);
			bitmap[place / 8] |= (uint8_t)(1 << place % 8);
		}
	return found;
}

void log_granules_plan(struct log_granules *ret, const struct log_span *spans, size_t count,
                       size_t event_count, uint64_t page_bytes)
{
	size_t most_bits = event_count * BITS_PER_EVENT, bits = SIZE_MAX;
	log_bytes bitmap;
	bool tight;

	vec_init(&bitmap, &os_page_source);
	vec_reserve(&bitmap, (size_t)1 << (COUNT_BITS - 3));
	ret->shift = LEAST_SHIFT - 1;
	do {
		bits = KEY_BITS * granules_count(bitmap.v, ++ret->shift, spans, count);
		tight = ret->shift == LEAST_SHIFT &&
		        page_bytes <= 2 * ((uint64_t)bits / KEY_BITS << LEAST_SHIFT);
	} while (!tight && bits > most_bits && ret->shift < MOST_SHIFT);
	ret->lines = ((bits < most_bits ? bits : most_bits) + LINE_BITS - 1) / LINE_BITS;
	if (tight)
		*ret = (struct log_granules){ 0 };
	vec_deinit(&bitmap);
}

// The bits of a granule in its line: the four numbers of nine bits in what is returned.
static uint64_t granule_bits(uint64_t granule, uint64_t lines, uint64_t *ret_line)
{
	uint64_t hash = granule_hash(granule);

	*ret_line = (hash & UINT32_MAX) * lines >> 32;
	return hash * HASH_MULTIPLIER >> 28;
}

static void granule_add(uint8_t *filter, uint64_t lines, uint64_t granule)
{
	uint64_t line, bits = granule_bits(granule, lines, &line);

	for (int i = 0; i < PROBES; i++, bits >>= 9)
		filter[line * LINE_BYTES + bits % LINE_BITS / 8] |= (uint8_t)(1 << bits % 8);
}

void log_add_granules(log_bytes *to, const struct log_granules *granules,
                      const struct log_span *spans, size_t count)
{
	unsigned shift = granules->shift;
	size_t bytes = granules->lines * LINE_BYTES;
	uint8_t *filter;

	log_add_varint(to, shift);
	if (!shift)
		return;
	log_add_varint(to, granules->lines);
	vec_reserve(to, to->n + bytes);
	filter = to->v + to->n;
	memset(filter, 0, bytes);
	for (size_t i = 0; i < count; i++)
		for (uint64_t at = spans[i].start >> shift; at <= spans[i].last >> shift; at++)
			granule_add(filter, granules->lines, at);
	to->n += bytes;
}

static bool granule_holds(const uint8_t *filter, uint64_t lines, uint64_t granule)
{
	uint64_t line, bits = granule_bits(granule, lines, &line);

	for (int i = 0; i < PROBES; i++, bits >>= 9)
		if (!(filter[line * LINE_BYTES + bits % LINE_BITS / 8] >> bits % 8 & 1))
			return false;
	return true;
}

bool log_granules_hold(struct log_cursor *from, const uint64_t *addresses, size_t count)
{
	uint64_t shift = take_varint(from), lines;
	const uint8_t *filter;

	if (!shift)
		return from->bad;
	lines = take_varint(from);
	if (from->bad || shift > 63 || !lines || lines > UINT32_MAX)
		return true;
	filter = take_bytes(from, lines * LINE_BYTES);
	for (size_t i = 0; i < count && filter; i++)
		if (granule_holds(filter, lines, addresses[i] >> shift))
			return true;
	return !filter;
}
