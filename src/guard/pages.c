// SPDX-License-Identifier: MIT
// Opening and forbidding pages of runs, in one of two ways. Guard regions of the kernel
// (MADV_GUARD_INSTALL, Linux 6.13, mm/madvise.c) are marks in page tables: they fault like unmapped
// pages, split no mapping, and installing one gives the page's memory back. On an older kernel, for
// big runs, for locked memory and with reads allowed (a guard region can never be read) it is
// mprotect, which makes a mapping of its own of every block, and of those vm.max_map_count is the
// limit.
#include "guard/guard_impl.h"

#include <errno.h>

static bool regions; // guard regions are used for runs that are not big
static uint64_t open_mappings, open_mappings_most;

static enum inside_protection forbidden(void)
{
	return guard_settings.allow_reads ? INSIDE_READ_ONLY : INSIDE_NO_ACCESS;
}

// Each open run makes two mappings more: itself, and what was one around it. A quarter of all is
// left to the program, its libraries and the allocator that serves it when these are used up.
static void set_limit(void)
{
	open_mappings_most = inside_mapping_limit() * 3 / 4 / 2;
}

static void set_regions(bool use)
{
	regions = use;
	if (!use)
		guard_descriptor.flags |= GUARD_FLAG_MPROTECT;
}

void guard_pages_start(void)
{
	char *page = inside_map(GUARD_PAGE_BYTES, GUARD_PAGE_BYTES, INSIDE_READ_WRITE);

	set_limit();
	set_regions(page && !guard_settings.allow_reads &&
	            !inside_guard_install(page, GUARD_PAGE_BYTES));
	if (page)
		inside_unmap(page, GUARD_PAGE_BYTES);
}

int guard_pages_commit(uint64_t start, uint64_t bytes, bool own_mappings)
{
	void *memory = (void *)start;
	int error;

	if (own_mappings)
		return guard_settings.allow_reads ? inside_protect(memory, bytes, INSIDE_READ_ONLY)
		                                  : 0;
	error = inside_protect(memory, bytes, INSIDE_READ_WRITE);
	if (error)
		return error;
	error = inside_guard_install(memory, bytes);
	if (!error)
		return 0;
	inside_protect(memory, bytes, INSIDE_NO_ACCESS);
	// The program locks its memory. Runs that were made before stay as they are.
	if (error == -EINVAL)
		set_regions(false);
	return error;
}

bool guard_pages_by_region(uint64_t pages)
{
	return regions && pages < GUARD_BIG_PAGES;
}

static int open_mapping(void *memory, size_t bytes)
{
	int error = -ENOMEM;

	// With reads allowed a freed block kept its contents until now.
	if (guard_settings.allow_reads)
		inside_discard(memory, bytes);
	if (__atomic_add_fetch(&open_mappings, 1, __ATOMIC_RELAXED) <= open_mappings_most)
		error = inside_protect(memory, bytes, INSIDE_READ_WRITE);
	if (error)
		__atomic_fetch_sub(&open_mappings, 1, __ATOMIC_RELAXED);
	return error;
}

static int forbid_mapping(void *memory, size_t bytes)
{
	int error = inside_protect(memory, bytes, forbidden());

	if (!guard_settings.allow_reads)
		inside_discard(memory, bytes);
	if (!error)
		__atomic_fetch_sub(&open_mappings, 1, __ATOMIC_RELAXED);
	return error;
}

int guard_pages_open(const struct guard_record *record, uint64_t start, uint64_t pages)
{
	void *memory = (void *)start;
	size_t bytes = pages * GUARD_PAGE_BYTES;

	if (record->flags & GUARD_OWN_MAPPING)
		return open_mapping(memory, bytes);
	return inside_guard_remove(memory, bytes);
}

int guard_pages_forbid(const struct guard_record *record, uint64_t start, uint64_t pages)
{
	void *memory = (void *)start;
	size_t bytes = pages * GUARD_PAGE_BYTES;
	int error;

	if (record->flags & GUARD_OWN_MAPPING)
		return forbid_mapping(memory, bytes);
	error = inside_guard_install(memory, bytes);
	// Locked by the program, most likely.
	if (error)
		inside_protect(memory, bytes, INSIDE_NO_ACCESS);
	return error;
}
