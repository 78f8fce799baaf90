// SPDX-License-Identifier: MIT
// What the code that answers malloc tells the recorder. The one instance is in entry (our malloc
// library) or in interpose (a forwarding preload); record fills it in. All NULL: nothing is recorded.
#pragma once

#include <stdint.h>

// Where the program goes on when the call that it made returns: that address, its stack pointer then,
// and the frame pointer register as the caller has it.
struct record_position {
	uint64_t pc, sp, bp;
};

// The position of the caller of the function that this stands in, which thereby keeps a frame pointer.
#define RECORD_POSITION_HERE()                                           \
	((struct record_position){                                       \
		.pc = ((const uint64_t *)__builtin_frame_address(0))[1], \
		.sp = (uint64_t)__builtin_frame_address(0) + 16,         \
		.bp = ((const uint64_t *)__builtin_frame_address(0))[0], \
	})

// All keep errno, allocate nothing, may be called from a signal handler, and do nothing when the thread
// is inside the recorder already.
struct record_hooks {
	// After malloc gave the block, before the program has it. Gives the node of the stack, 0 none.
	uint32_t (*allocated)(uint32_t kind, uint64_t address, uint64_t bytes, uint32_t extra,
	                      const struct record_position *at);
	// Before the block is given back. Its first word is readable.
	void (*freed)(uint32_t kind, uint64_t address, const struct record_position *at);
	// The node of a stack, of which nothing is told; 0 none.
	uint32_t (*stack)(const struct record_position *at);
	// After a call about mappings or shared memory, with the text that belongs to it, or NULL.
	void (*called)(uint32_t kind, uint64_t address, uint64_t bytes, uint32_t extra,
	               const char *text, const struct record_position *at);
};
