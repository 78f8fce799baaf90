// SPDX-License-Identifier: MIT
// The mappings of a live process as segments. Called by live.c before and during
// the stop, and for a clone.
#include "target/target_impl.h"

#include <string.h>

// Registers of devices have side effects when they are read, so a mapped device is left alone.
static bool is_device(const struct os_mapping *mapping)
{
	const char *name = mapping->name;

	if (mapping->counts && (os_flags_have(mapping->counts->flags, "io") ||
	                        os_flags_have(mapping->counts->flags, "pf")))
		return true;
	if (!name)
		return false;
	if (text_starts_with(name, "[vvar") || text_starts_with(name, "[vsyscall"))
		return true;
	return text_starts_with(name, "/dev/") && !live_contents_are_own(name);
}

static uint8_t max_protection(const struct os_mapping *mapping)
{
	const char *flags = mapping->counts ? mapping->counts->flags : "";
	uint8_t protection = mapping->protection; // all that [vsyscall] says of itself

	// Without VmFlags: a private mapping can be given every right.
	if (!flags[0])
		return mapping->shared ? mapping->protection
		                       : TARGET_READ | TARGET_WRITE | TARGET_EXEC;
	protection |= os_flags_have(flags, "mr") ? TARGET_READ : 0;
	protection |= os_flags_have(flags, "mw") ? TARGET_WRITE : 0;
	protection |= os_flags_have(flags, "me") ? TARGET_EXEC : 0;
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
		.locked = counts->locked_proportional,
		.huge = counts->huge + counts->huge_reserved,
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

static struct error *read_mappings(struct live *live, int tid, bool counts, struct os_mapping **ret,
                                   size_t *ret_count)
{
	struct arena *arena = live->target->arena;
	bool stable;

	live->maps_text = NULL;
	if (!counts) {
		struct os_maps_text text;

		TRY(os_maps_read(arena, tid, &text, ret, ret_count));
		live->maps_text = text.text;
		live->maps_bytes = text.bytes;
		return NULL;
	}
	TRY(os_mappings_read(arena, tid, true, ret, ret_count, &stable));
	live->counted = *ret;
	live->counted_count = *ret_count;
	if (!stable)
		target_warn(live->target, "the mappings changed while they were read, %s",
		            "so sums may be off by a few pages");
	return NULL;
}

struct error *live_read_segments(struct live *live, int tid, bool counts)
{
	struct live_file_reading files = { .live = live, .tid = tid, .maps = -1 };
	struct target *target = live->target;
	struct target_segment *segments;
	struct os_mapping *mappings;
	size_t count;

	TRY(read_mappings(live, tid, counts, &mappings, &count));
	if (!count)
		return error_new(ERROR_GONE, "process %d has no memory (any more)", live->pid);
	segments = arena_array(target->arena, count, sizeof(*segments));
	for (size_t i = 0; i < count; i++) {
		fill_segment(&mappings[i], &segments[i]);
		if (mappings[i].inode && mappings[i].name)
			segments[i].file = live_file_of(&files, &mappings[i]);
		else
			segments[i].name = mappings[i].name;
	}
	os_close(files.maps);
	target->segments = segments;
	target->segment_count = count;
	return NULL;
}

struct error *live_update_segments(struct live *live, int tid)
{
	if (live->maps_text && os_maps_are(tid, live->maps_text, live->maps_bytes))
		return NULL;
	return live_read_segments(live, tid, false);
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
