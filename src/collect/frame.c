// SPDX-License-Identifier: MIT
// All live blocks at one moment, for a keyframe: copied by the thread that drains, sorted and unfolded
// by the one that writes, in one piece of memory. Called by stream.c and pack.c.
#include "collect/collect_impl.h"

#include <string.h>

enum {
	BREATH_SLOTS = 1 << 15,
	ADDRESS_BITS = 48,
	DIGIT_BITS = 8,
	DIGITS = 1 << DIGIT_BITS,
	FEW = 48,
};

_Static_assert(sizeof(struct log_live) >= sizeof(struct collect_slot) &&
                       sizeof(struct log_live) % _Alignof(struct collect_slot) == 0,
               "the slots lie at the end of the memory of the blocks");

static struct collect_slot *slots_of(const struct collect_frame *frame)
{
	size_t more = sizeof(struct log_live) - sizeof(struct collect_slot);

	return (struct collect_slot *)((char *)frame->blocks + frame->count * more);
}

bool collect_frame_copy(const struct collect_live *live, const struct collect_ranges *ranges,
                        struct arena *arena, struct collect_frame *ret)
{
	struct collect_slot *to;

	*ret = (struct collect_frame){ .count = live->count, .range_count = ranges->ranges.n };
	ret->bytes = (ret->count + ret->range_count + 1) * sizeof(*ret->blocks);
	ret->blocks = os_reserve(ret->bytes);
	if (!ret->blocks)
		return false;
	ret->ranges = arena_array(arena, ret->range_count, sizeof(*ret->ranges));
	if (ret->range_count)
		memcpy(ret->ranges, ranges->ranges.v, ret->range_count * sizeof(*ret->ranges));
	to = slots_of(ret);
	for (uint64_t i = 0; i < live->capacity; i++) {
		if (live->slots[i].word)
			*to++ = live->slots[i];
		if (i % BREATH_SLOTS == BREATH_SLOTS - 1 && live->breathe)
			live->breathe(live->context);
	}
	return true;
}

static void insertion_sort(struct collect_slot *slots, uint64_t count)
{
	for (uint64_t i = 1; i < count; i++) {
		struct collect_slot slot = slots[i];
		uint64_t j = i;

		for (; j && collect_slot_address(&slots[j - 1]) > collect_slot_address(&slot); j--)
			slots[j] = slots[j - 1];
		slots[j] = slot;
	}
}

// By the most significant digit first, in place (the American flag), then each part by the next.
static void radix_sort(struct collect_slot *slots, uint64_t count, unsigned shift)
{
	uint64_t ends[DIGITS] = { 0 }, next[DIGITS], sum = 0;

	if (count <= FEW) {
		insertion_sort(slots, count);
		return;
	}
	for (uint64_t i = 0; i < count; i++)
		ends[collect_slot_address(&slots[i]) >> shift & (DIGITS - 1)]++;
	for (unsigned digit = 0; digit < DIGITS; digit++) {
		next[digit] = sum;
		sum += ends[digit];
		ends[digit] = sum;
	}
	for (unsigned digit = 0; digit < DIGITS; digit++)
		while (next[digit] < ends[digit]) {
			struct collect_slot *slot = &slots[next[digit]], other;
			unsigned wanted = collect_slot_address(slot) >> shift & (DIGITS - 1);

			if (wanted == digit) {
				next[digit]++;
				continue;
			}
			other = slots[next[wanted]];
			slots[next[wanted]++] = *slot;
			*slot = other;
		}
	for (unsigned digit = 0; shift && digit < DIGITS; digit++) {
		uint64_t start = digit ? ends[digit - 1] : 0;

		radix_sort(slots + start, ends[digit] - start, shift - DIGIT_BITS);
	}
}

// From the end, so that a block that moves up never meets one that has not moved yet.
static void merge_ranges(struct collect_frame *frame)
{
	uint64_t to = frame->count + frame->range_count, block = frame->count;

	for (uint64_t range = frame->range_count; range;) {
		const struct collect_range *last = &frame->ranges[range - 1];

		if (block && frame->blocks[block - 1].address > last->start) {
			frame->blocks[--to] = frame->blocks[--block];
			continue;
		}
		frame->blocks[--to] = (struct log_live){ .address = last->start,
			                                 .bytes = last->end - last->start,
			                                 .node = last->node,
			                                 .kind = RECORD_MAP,
			                                 .thread = log_live_thread(last->thread) };
		range--;
	}
	frame->count += frame->range_count;
	frame->range_count = 0;
}

// Slots lie as far behind as blocks are bigger, all together: block i ends where slot i does at most.
void collect_frame_finish(struct collect_frame *frame)
{
	struct collect_slot *slots = slots_of(frame);

	radix_sort(slots, frame->count, ADDRESS_BITS - DIGIT_BITS);
	for (uint64_t i = 0; i < frame->count; i++) {
		struct collect_slot slot = slots[i];

		frame->blocks[i] = collect_slot_block(&slot);
	}
	merge_ranges(frame);
}
