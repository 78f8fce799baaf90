// SPDX-License-Identifier: MIT
// The mappings of a live process as segments and files. Called by live.c before
// and during the stop, and for a clone.
#include "target/target_impl.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

// --- files ---------------------------------------------------------------------------------------
static bool starts_with(const char *text, const char *start)
{
	return !strncmp(text, start, strlen(start));
}

static bool contents_are_own(const char *path)
{
	return starts_with(path, "/memfd:") || starts_with(path, "/dev/zero") ||
	       starts_with(path, "/SYSV") || starts_with(path, "/dev/shm/") ||
	       starts_with(path, "anon_inode:");
}

static bool same_file(const struct target_file *file, const struct os_mapping *mapping)
{
	return file->inode == mapping->inode && file->device == mapping->device &&
	       !strcmp(file->path, mapping->name);
}

static const struct target_file *find_file(struct live *live, const struct os_mapping *mapping,
                                           const struct target_file *last)
{
	struct target_file *file;

	if (last && same_file(last, mapping))
		return last;
	for (size_t i = 0; i < live->files.n; i++) {
		if (same_file(live->files.v[i], mapping))
			return live->files.v[i];
	}
	file = arena_alloc(live->target->arena, sizeof(*file));
	*file = (struct target_file){
		.path = arena_copy(live->target->arena, mapping->name),
		.deleted = mapping->deleted,
		.anonymous = contents_are_own(mapping->name),
		.device = mapping->device,
		.inode = mapping->inode,
	};
	vec_push(&live->files, file);
	return file;
}

// --- segments ------------------------------------------------------------------------------------
static bool has_word(const char *flags, const char *word)
{
	for (const char *at = flags; (at = strstr(at, word)); at++) {
		if ((at == flags || at[-1] == ' ') && (!at[2] || at[2] == ' '))
			return true;
	}
	return false;
}

// Registers of devices have side effects when they are read, so a mapped device is left alone.
static bool is_device(const struct os_mapping *mapping)
{
	const char *name = mapping->name;

	if (mapping->counts &&
	    (has_word(mapping->counts->flags, "io") || has_word(mapping->counts->flags, "pf")))
		return true;
	if (!name)
		return false;
	if (starts_with(name, "[vvar") || starts_with(name, "[vsyscall"))
		return true;
	return starts_with(name, "/dev/") && !contents_are_own(name);
}

static uint8_t max_protection(const struct os_mapping *mapping)
{
	const char *flags = mapping->counts ? mapping->counts->flags : "";
	uint8_t protection = 0;

	// Without VmFlags: a private mapping can be given every right.
	if (!flags[0])
		return mapping->shared ? mapping->protection
		                       : TARGET_READ | TARGET_WRITE | TARGET_EXEC;
	protection |= has_word(flags, "mr") ? TARGET_READ : 0;
	protection |= has_word(flags, "mw") ? TARGET_WRITE : 0;
	protection |= has_word(flags, "me") ? TARGET_EXEC : 0;
	return protection;
}

static void take_pages(const struct os_counts *counts, struct target_segment *ret)
{
	ret->has_pages = true;
	ret->pages = (struct target_pages){
		.resident = counts->resident,
		.proportional = counts->proportional,
		.shared_clean = counts->shared_clean,
		.shared_dirty = counts->shared_dirty,
		.private_clean = counts->private_clean,
		.private_dirty = counts->private_dirty,
		.referenced = counts->referenced,
		.anonymous = counts->anonymous,
		.swapped = counts->swapped,
		.swapped_proportional = counts->swapped_proportional,
		.locked = counts->locked,
		.huge = counts->huge,
	};
	memcpy(ret->pages.flags, counts->flags, sizeof(ret->pages.flags));
}

static void fill_segment(const struct os_mapping *mapping, struct target_segment *ret)
{
	*ret = (struct target_segment){
		.start = mapping->start,
		.end = mapping->end,
		.contents_end = mapping->end,
		.protection = mapping->protection,
		.max_protection = max_protection(mapping),
		.shared = mapping->shared,
		.readable = mapping->protection & OS_READ && !is_device(mapping),
		.file_offset = mapping->offset,
	};
	if (mapping->counts)
		take_pages(mapping->counts, ret);
}

struct error *live_read_segments(struct live *live, int tid, bool counts)
{
	const struct target_file *file = NULL;
	struct target *target = live->target;
	struct target_segment *segments;
	struct os_mapping *mappings;
	bool stable = true;
	size_t count;

	if (counts)
		TRY(os_mappings_read(target->arena, tid, true, &mappings, &count, &stable));
	else
		TRY(os_mappings_read_once(target->arena, tid, &mappings, &count));
	if (!stable)
		target_warn(target, "the mappings changed while they were read, %s",
		            "so sums may be off by a few pages");
	if (!count)
		return error_new(ERROR_GONE, "process %d has no memory (any more)", live->pid);
	segments = arena_array(target->arena, count, sizeof(*segments));
	for (size_t i = 0; i < count; i++) {
		fill_segment(&mappings[i], &segments[i]);
		if (mappings[i].inode && mappings[i].name)
			segments[i].file = file = find_file(live, &mappings[i], file);
		else
			segments[i].name = mappings[i].name;
	}
	target->segments = segments;
	target->segment_count = count;
	return NULL;
}

void live_take_counts(struct live *live, const struct target_segment *from, size_t count)
{
	size_t j = 0;

	for (size_t i = 0; i < live->target->segment_count; i++) {
		struct target_segment *to = (struct target_segment *)&live->target->segments[i];

		while (j < count && from[j].start < to->start)
			j++;
		if (j == count || from[j].start != to->start || from[j].end != to->end)
			continue;
		to->has_pages = from[j].has_pages;
		to->pages = from[j].pages;
		to->max_protection = from[j].max_protection;
		to->readable &= from[j].readable;
	}
}

// --- opening a mapped file -----------------------------------------------------------------------
static const struct target_segment *segment_of(const struct target *target,
                                               const struct target_file *file)
{
	for (size_t i = 0; i < target->segment_count; i++) {
		if (target->segments[i].file == file)
			return &target->segments[i];
	}
	return NULL;
}

// Whether the path still leads to the file that is mapped. The device is not compared: of file
// systems with subvolumes or layers maps and stat tell different ones.
static bool open_same(const char *path, const struct target_file *file, int *ret)
{
	struct os_status status;

	if (os_open(path, ret))
		return false;
	if (!os_file_status(*ret, &status) && status.inode == file->inode && status.regular)
		return true;
	os_close(*ret);
	*ret = -1;
	return false;
}

struct error *live_file_open(struct target *target, const struct target_file *file, int *ret)
{
	const struct target_segment *segment = segment_of(target, file);
	struct live *live = target->own;
	char path[4200];

	*ret = -1;
	if (segment) {
		snprintf(path, sizeof(path), "/proc/%d/map_files/%llx-%llx", live->memory_tid,
		         (unsigned long long)segment->start, (unsigned long long)segment->end);
		if (open_same(path, file, ret))
			return NULL;
	}
	snprintf(path, sizeof(path), "/proc/%d/root%s", live->memory_tid, file->path);
	if (file->path[0] == '/' && open_same(path, file, ret))
		return NULL;
	if (file->path[0] == '/' && open_same(file->path, file, ret))
		return NULL;
	return error_new(ERROR_NOT_FOUND, "the mapped file %s cannot be opened%s", file->path,
	                 file->deleted ? " (it was deleted)" : "");
}
