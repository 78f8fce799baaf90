// SPDX-License-Identifier: MIT
// What segments.c and segments_users.c share.
#pragma once

#include "accounts/accounts_impl.h"

// A segment while users are still being found; users are a list that grows.
struct finding {
	struct segment segment;
	VEC(struct segment_user) users;
};

struct search {
	struct accounts *accounts;
	struct arena *arena;
	VEC(struct finding) found;
	VEC(uint32_t) index; // by device and inode: number in found + 1, 0: free; a power of two
	VEC(struct segment_mount) mounts;
	VEC(uint64_t) devices; // of the mounts
	uint64_t kernel_device;
	size_t unseen;
	// The process at work.
	int pid, tid; // tid is asked: os_memory_tid
	char name[64];
};

// The segment of a file, made when it is new. Pointers are valid until the next call.
struct finding *segment_of(struct search *search, uint64_t device, uint64_t inode);
bool segment_is_device(const struct search *search, uint64_t device);
void segment_take_extent(struct finding *finding, const struct os_extent *extent);

// segments_users.c: what each process maps and has open.
struct error *segments_find_users(struct search *search);
