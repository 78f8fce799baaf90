// SPDX-License-Identifier: MIT
// The pattern around a block, in the pages that are open because of it. Filled and verified in
// whole vectors where it can: most blocks are small, so that nearly a page of pattern belongs to
// each.
#include "guard/guard_impl.h"

typedef uint64_t vector __attribute__((vector_size(32), aligned(8)));

static const vector pattern = { GUARD_CANARY, GUARD_CANARY, GUARD_CANARY, GUARD_CANARY };

static uint8_t byte_at(uint64_t address)
{
	return (uint8_t)(GUARD_CANARY >> address % 8 * 8);
}

static uint64_t fill_bytes(uint64_t at, uint64_t end)
{
	for (; at < end; at++)
		*(uint8_t *)at = byte_at(at);
	return at;
}

void guard_canary_fill(uint64_t start, uint64_t end)
{
	uint64_t at = fill_bytes(start, round_up(start, 8) < end ? round_up(start, 8) : end);

	for (; at + sizeof(vector) <= end; at += sizeof(vector))
		*(vector *)at = pattern;
	fill_bytes(at, end);
}

static uint64_t verify_bytes(uint64_t at, uint64_t end)
{
	while (at < end && *(const uint8_t *)at == byte_at(at))
		at++;
	return at;
}

uint64_t guard_canary_verify(uint64_t start, uint64_t end)
{
	uint64_t aligned = round_up(start, 8) < end ? round_up(start, 8) : end;
	uint64_t at = verify_bytes(start, aligned);

	if (at < aligned)
		return at;
	for (; at + 4 * sizeof(vector) <= end; at += 4 * sizeof(vector)) {
		const vector *v = (const vector *)at;
		vector wrong =
			(v[0] ^ pattern) | (v[1] ^ pattern) | (v[2] ^ pattern) | (v[3] ^ pattern);

		if (wrong[0] | wrong[1] | wrong[2] | wrong[3])
			break;
	}
	return verify_bytes(at, end);
}

uint64_t guard_canary_verify_end(uint64_t start, uint64_t end)
{
	while (end > start && *(const uint8_t *)(end - 1) == byte_at(end - 1))
		end--;
	return end;
}
