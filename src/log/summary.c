// SPDX-License-Identifier: MIT
// What a block of events says about itself, as a list of varints in its front and in the index.
#include "log/log_impl.h"

void log_add_summary(log_bytes *to, const struct log_summary *summary)
{
	uint64_t live_from = summary->peak_bytes;

	log_add_varint(to, summary->allocations);
	log_add_varint(to, summary->allocated_bytes);
	log_add_varint(to, summary->frees);
	log_add_varint(to, summary->freed_bytes);
	log_add_varint(to, summary->live_blocks);
	log_add_varint(to, live_from);
	log_add_varint(to, fold((int64_t)(live_from - summary->live_bytes)));
	log_add_varint(to, summary->map_bytes);
	log_add_varint(to, summary->peak_event);
	log_add_varint(to, summary->lost);
	log_add_varint(to, summary->low_address);
	log_add_varint(to, summary->high_address - summary->low_address);
}

void log_take_summary(struct log_cursor *from, struct log_summary *ret)
{
	ret->allocations = take_varint(from);
	ret->allocated_bytes = take_varint(from);
	ret->frees = take_varint(from);
	ret->freed_bytes = take_varint(from);
	ret->live_blocks = take_varint(from);
	ret->peak_bytes = take_varint(from);
	ret->live_bytes = ret->peak_bytes - (uint64_t)unfold(take_varint(from));
	ret->map_bytes = take_varint(from);
	ret->peak_event = (uint32_t)take_varint(from);
	ret->lost = take_varint(from);
	ret->low_address = take_varint(from);
	ret->high_address = ret->low_address + take_varint(from);
}
