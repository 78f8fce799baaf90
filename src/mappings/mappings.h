// SPDX-License-Identifier: MIT
// mappings: mmap and its family, standing before libc's in a library that is loaded before it. They forward
// to the kernel, and tell the recorder when it wants to know. In libheapwright and in the preload of
// heapwright record; never in libheapwright.a, where libc's own stand in the same program.
//
//   memory.c    mmap, munmap, mremap, sbrk, brk
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "layout/record_hooks.h"

// Told of each call; all NULL: nobody is. Filled in by who starts the recorder, in any thread, or from
// outside by a tool that attached, which empties it again.
extern struct record_hooks mappings_hooks;

// Told of mappings that are shared with others; NULL: nobody. fd as in mmap.
extern void (*mappings_shared)(void *address, size_t bytes, uint32_t extra, int fd,
                               const struct record_position *at);

// Calls of mmap by code between these addresses are the allocator's own, and not told of.
void mappings_leave_out(uintptr_t start, uintptr_t end);
