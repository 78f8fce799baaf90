// SPDX-License-Identifier: MIT
// What the kernel knows about the pages of the file: which are in the page cache, and which a process has
// in its page tables. The latter is not quite "touched": at a fault in a mapped file the kernel maps up to
// 16 pages around it that are in the cache (mm/memory.c, do_fault_around). Nothing tells more.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/search.h"
#include "image/image_impl.h"

void image_presence_init(struct image_presence *presence)
{
	vec_init(&presence->ranges.ranges, &os_page_source);
}

void image_presence_deinit(struct image_presence *presence)
{
	vec_deinit(&presence->ranges.ranges);
}

void image_cache_look(struct image *image)
{
	struct image_presence *cached = &image->cached;

	cached->how = os_cached_ranges(image->source->fd, image->bytes, &cached->ranges);
	cached->known = cached->how != NULL;
	if (!cached->known)
		cached->why_not = "the kernel tells only those who own the file or may write to it";
}

uint64_t image_presence_bytes(const struct image_presence *presence, uint64_t start, uint64_t end)
{
	const struct os_range *ranges = presence->ranges.ranges.v;
	size_t at = first_index(presence->ranges.ranges.n, i, ranges[i].end > start);
	uint64_t bytes = 0;

	for (; at < presence->ranges.ranges.n && ranges[at].start < end; at++) {
		uint64_t from = ranges[at].start > start ? ranges[at].start : start;
		uint64_t to = ranges[at].end < end ? ranges[at].end : end;

		bytes += to - from;
	}
	return bytes;
}

// --- a process ------------------------------------------------------------------------------------
static int compare_ranges(const void *left, const void *right)
{
	const struct os_range *a = left, *b = right;

	return (a->start > b->start) - (a->start < b->start);
}

// A file may be mapped more than once; what any mapping has counts.
static void join_ranges(struct os_ranges *all)
{
	size_t kept = 0;

	if (all->ranges.n)
		qsort(all->ranges.v, all->ranges.n, sizeof(*all->ranges.v), compare_ranges);
	for (size_t i = 0; i < all->ranges.n; i++) {
		struct os_range *range = &all->ranges.v[i];
		struct os_range *last = kept ? &all->ranges.v[kept - 1] : NULL;

		if (!last || range->start > last->end)
			all->ranges.v[kept++] = *range;
		else if (range->end > last->end)
			last->end = range->end;
	}
	all->ranges.n = kept;
}

// From addresses to places in the file.
static struct error *add_mapping(int pagemap, const struct os_mapping *mapping,
                                 enum os_presence which, struct image_presence *ret)
{
	size_t first = ret->ranges.ranges.n;

	TRY(os_present_ranges(pagemap, mapping->start, mapping->end, which, &ret->ranges));
	for (size_t i = first; i < ret->ranges.ranges.n; i++) {
		struct os_range *range = &ret->ranges.ranges.v[i];

		range->start = range->start - mapping->start + mapping->offset;
		range->end = range->end - mapping->start + mapping->offset;
	}
	return NULL;
}

// The numbers in maps may be those of a layer below (btrfs, overlay); then the path as the process sees
// it decides.
static bool is_of_file(struct arena *arena, int tid, const struct os_mapping *mapping,
                       const struct os_status *file)
{
	struct os_status seen;

	if (!mapping->inode)
		return false;
	if (mapping->inode == file->inode && mapping->device == file->device)
		return true;
	if (mapping->inode != file->inode || !mapping->name || mapping->name[0] != '/' ||
	    mapping->deleted)
		return false;
	return !os_path_status(arena_format(arena, "/proc/%d/root%s", tid, mapping->name), &seen) &&
	       seen.inode == file->inode && seen.device == file->device;
}

static struct error *add_mappings(struct image *image, const struct os_process *status, int pagemap)
{
	struct image_process *process = &image->process;
	struct os_mapping *mappings;
	struct os_status file;
	bool stable, found = false;
	size_t count;

	TRY(os_file_status(image->source->fd, &file));
	TRY(os_mappings_read(&image->arena, status->memory_tid, false, &mappings, &count, &stable));
	for (size_t i = 0; i < count; i++) {
		if (!is_of_file(&image->arena, status->memory_tid, &mappings[i], &file))
			continue;
		found = true;
		TRY(add_mapping(pagemap, &mappings[i], OS_PRESENT, &process->mapped));
		if (!mappings[i].shared)
			TRY(add_mapping(pagemap, &mappings[i], OS_PRESENT_OWN, &process->private));
	}
	if (!found)
		return error_new(ERROR_NOT_FOUND, "process %d (%s) has not mapped %s", status->pid,
		                 process->name, image->path);
	return NULL;
}

struct error *image_rights_error(int pid)
{
	return error_new(ERROR_RIGHTS,
	                 "the pages of process %d may be looked at by its own user and with "
	                 "CAP_SYS_PTRACE (sudo)",
	                 pid);
}

static struct error *look_at_pagemap(struct image *image, const struct os_process *status)
{
	OS_DESCRIPTOR int pagemap = -1;

	TRY(os_open(arena_format(&image->arena, "/proc/%d/pagemap", status->memory_tid), &pagemap));
	return add_mappings(image, status, pagemap);
}

struct error *image_look_at_process(struct image *image, int pid)
{
	struct image_process *process = &image->process;
	struct os_process status = { 0 };
	struct error *error;

	TRY(os_process_read(pid, &status));
	snprintf(process->name, sizeof(process->name), "%s", status.name);
	error = look_at_pagemap(image, &status);
	if (error)
		return error->kind == ERROR_RIGHTS ? image_rights_error(pid) : error;
	process->pid = pid;
	process->mapped.known = process->private.known = true;
	process->mapped.how = process->private.how = "pagemap";
	join_ranges(&process->mapped.ranges);
	join_ranges(&process->private.ranges);
	return NULL;
}
