// SPDX-License-Identifier: MIT
// A function of another process whose calls are led elsewhere: which bytes are to be written. Writes
// nothing itself. Part of os.h; used by collect's attach.
//
// The first instructions of the function are replaced by a jump to an island, a piece of code of ours
// near it. The island holds two things: a jump on to our own function, and the replaced instructions
// followed by a jump to what is left of the original, so that ours can call that. The jump lies in one
// aligned word, so that it is written whole or not at all, and putting that word back undoes it.
#pragma once

#include <stddef.h>
#include <stdint.h>

#define OS_PATCH_ISLAND_BYTES 64
#define OS_PATCH_CODE_BYTES   96 // how much of a function is looked at

struct os_patch {
	uint64_t word_address;  // aligned
	uint64_t before, after; // what stands there and what is to be written
	uint64_t original;      // address in the island of code that does what the function did
	unsigned covered;       // bytes of the replaced instructions: no thread may be inside them
	uint8_t island[OS_PATCH_ISLAND_BYTES];
};

// How calls of the function at site, whose first bytes are code, can be led to hook by way of an island
// at the address island, which must lie within 2 GiB of site. NULL, or why that cannot be (a sentence
// part): nothing is replaced that is not understood.
const char *os_patch_make(const uint8_t *code, size_t bytes, uint64_t site, uint64_t island,
                          uint64_t hook, struct os_patch *ret);
