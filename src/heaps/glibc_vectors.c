// SPDX-License-Identifier: MIT
// TLS vectors: ld.so callocs one for each thread (elf/dl-tls.c: allocate_dtv) and keeps the only
// pointer, two words into it, in the thread's control block. Stacks of ended threads are
// cached with theirs, and need not be seen as stacks. A vector proves itself: its first
// pair holds how many pairs it has, and the TLS blocks it points at lie next to a
// control block that points back.
#include "heaps/glibc.h"

enum {
	VECTOR_SLOTS_MIN = 14, // DTV_SURPLUS
	VECTOR_SLOTS_MAX = 4096,
	VECTOR_REACH = 16 << 10, // from a TLS block up to the control block (x86)
	VECTOR_BACK = 128,       // or down to it (other CPUs)
};

// Cheap enough for every block: word and second are the first two of it.
bool glibc_vector_likely(const struct glibc *glibc, uint64_t usable, uint64_t word, uint64_t second)
{
	uint64_t pair = 2 * glibc->layout.word;

	if (word < VECTOR_SLOTS_MIN || word > VECTOR_SLOTS_MAX || second)
		return false;
	uint64_t bytes = (word + 2) * pair;
	return usable >= bytes && usable < bytes + 2 * pair;
}

static bool points_at(struct glibc *glibc, uint64_t address, uint64_t value)
{
	uint64_t word;

	return peek_word(&glibc->peek, address, &word) && word == value;
}

// Whether a control block near the TLS block at tls holds the vector: {self, vector} on x86,
// {vector, ...} right before the first TLS block elsewhere.
static bool has_control_block(struct glibc *glibc, uint64_t tls, uint64_t vector)
{
	unsigned word = glibc->layout.word;

	tls &= ~(uint64_t)(word - 1);
	for (uint64_t at = tls; at < tls + VECTOR_REACH; at += word) {
		uint64_t self;

		if (!peek_word(&glibc->peek, at, &self))
			break;
		if (self == at && points_at(glibc, at + word, vector))
			return true;
	}
	for (uint64_t back = word; back <= VECTOR_BACK && back <= tls; back += word)
		if (points_at(glibc, tls - back, vector))
			return true;
	return false;
}

static bool is_vector(struct glibc *glibc, uint64_t block)
{
	uint64_t pair = 2 * glibc->layout.word, slots;

	if (!peek_word(&glibc->peek, block, &slots))
		return false;
	for (uint64_t i = 2; i < slots + 2; i++) {
		uint64_t tls;

		if (!peek_word(&glibc->peek, block + i * pair, &tls))
			return false;
		const struct target_segment *segment = target_segment_at(glibc->target, tls);
		if (!segment || !(segment->protection & TARGET_WRITE) ||
		    build_find(glibc->build, tls) >= 0)
			continue;
		return has_control_block(glibc, tls, block + pair);
	}
	return false;
}

void glibc_vectors(struct glibc *glibc)
{
	for (size_t i = 0; i < glibc->vectors.n; i++) {
		ssize_t block = build_find_start(glibc->build, glibc->vectors.v[i]);

		if (block >= 0 && glibc->build->blocks.v[block].hb_state == HEAP_USED &&
		    is_vector(glibc, glibc->vectors.v[i]))
			glibc->build->blocks.v[block].hb_flags |= HEAP_LOADER;
	}
}
