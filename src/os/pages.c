// SPDX-License-Identifier: MIT
// Which pages of memory the mappings of a process hold: numbers of page frames out of pagemap, and what
// the kernel says about a frame (Documentation/admin-guide/mm/pagemap.rst). The numbers need the
// capability SYS_ADMIN; without it they read as 0. Called by accounts.
#include "os/os.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>

#define WORD_PRESENT   (1ull << 63)
#define WORD_FILE      (1ull << 61)
#define WORD_EXCLUSIVE (1ull << 56)
#define WORD_FRAME     ((1ull << 55) - 1)

// Bits of /proc/kpageflags, include/uapi/linux/kernel-page-flags.h.
#define KPF_DIRTY     (1ull << 4)
#define KPF_ZERO_PAGE (1ull << 24)

struct error *os_pagemap_open(int proc, int pid, int *ret)
{
	char path[32];

	snprintf(path, sizeof(path), "%d/pagemap", pid);
	return os_open_at(proc, path, ret);
}

size_t os_frames_read(int pagemap, uint64_t start, struct os_frame *frames, size_t count)
{
	uint64_t words[OS_FRAMES_MAX];
	size_t n = count < OS_FRAMES_MAX ? count : OS_FRAMES_MAX;

	n = os_pread(pagemap, words, n * sizeof(words[0]),
	             start / os_page_bytes() * sizeof(words[0])) /
	    sizeof(words[0]);
	for (size_t i = 0; i < n; i++)
		frames[i] = (struct os_frame){
			.number = words[i] & WORD_PRESENT ? words[i] & WORD_FRAME : 0,
			.of_file = words[i] & WORD_FILE,
			.exclusive = words[i] & WORD_EXCLUSIVE,
		};
	return n;
}

// A page of our own that is surely there has a number, if we may see numbers at all.
bool os_frames_visible(void)
{
	OS_DESCRIPTOR int pagemap = -1;
	struct os_frame frame = { 0 };
	char *page = mmap(NULL, os_page_bytes(), PROT_READ | PROT_WRITE,
	                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		return false;
	*(volatile char *)page = 1;
	if (!os_open("/proc/self/pagemap", &pagemap))
		os_frames_read(pagemap, (uintptr_t)page, &frame, 1);
	munmap(page, os_page_bytes());
	return frame.number;
}

void os_frame_facts_open(struct os_frame_facts *ret)
{
	ret->first = UINT64_MAX;
	if (os_open("/proc/kpageflags", &ret->fd))
		ret->fd = -1;
}

void os_frame_facts_close(struct os_frame_facts *facts)
{
	os_close(facts->fd);
}

static uint64_t facts_of(struct os_frame_facts *facts, uint64_t number)
{
	uint64_t first = number / OS_FRAME_FACTS * OS_FRAME_FACTS;

	if (facts->first != first) {
		facts->count = os_pread(facts->fd, facts->words, sizeof(facts->words),
		                        first * sizeof(facts->words[0])) /
		               sizeof(facts->words[0]);
		facts->first = first;
	}
	return number - first < facts->count ? facts->words[number - first] : 0;
}

bool os_frame_is_zeros(struct os_frame_facts *facts, uint64_t number)
{
	return facts_of(facts, number) & KPF_ZERO_PAGE;
}

bool os_frame_is_dirty(struct os_frame_facts *facts, uint64_t number)
{
	return facts_of(facts, number) & KPF_DIRTY;
}
