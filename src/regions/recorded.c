// SPDX-License-Identifier: MIT
// The regions that a snapshot file recorded: without contents they could not be
// told again. The file is foreign; what does not fit is an error.
#include <string.h>

#include "base/text.h"
#include "layout/snapshot.h"
#include "regions/regions_impl.h"

struct recorded {
	struct regions_own *own;
	const char *strings;
	size_t strings_bytes;
};

static const char *string_at(const struct recorded *recorded, uint32_t offset)
{
	if (offset >= recorded->strings_bytes)
		return "";
	return text_printable(&recorded->own->arena, recorded->strings + offset);
}

static struct error *region_add(const struct recorded *recorded, const struct snapshot_region *v)
{
	struct regions_own *own = recorded->own;
	const struct target *target = own->open.target;
	const struct target_segment *segment = target_segment_at(target, v->start);
	size_t zones = own->open.heaps ? own->open.heaps->zone_count : 0;
	struct region *region;

	if (!segment || v->end <= v->start || v->end > segment->end || v->kind > REGION_DEVICE ||
	    (own->list.n && own->list.v[own->list.n - 1].end > v->start))
		return error_at(ERROR_DAMAGED, v->start,
		                "the snapshot is damaged: a region is no "
		                "part of a segment");
	region = vec_add(&own->list);
	region->start = v->start;
	region->end = v->end;
	region->kind = (enum region_kind)v->kind;
	region->type = string_at(recorded, v->type);
	region->detail = string_at(recorded, v->detail);
	region->zone = v->zone >= 0 && (size_t)v->zone < zones ? v->zone : -1;
	region->thread =
		v->thread >= 0 && (size_t)v->thread < target->thread_count ? v->thread : -1;
	region->segment = segment;
	region->whole_segment = v->flags & 1;
	region->has_pages = v->flags & 2;
	region->pages = target_pages_recorded(&v->pages);
	memcpy(region->pages.flags, segment->pages.flags, sizeof(region->pages.flags));
	return NULL;
}

struct error *regions_read_recorded(struct regions_own *own, bool *ret_found)
{
	struct recorded recorded = { .own = own };
	const struct snapshot_region *v;
	size_t bytes;

	*ret_found = !target_section(own->open.target, SNAPSHOT_REGIONS, (const void **)&v, &bytes);
	if (!*ret_found)
		return NULL;
	TRY(target_section(own->open.target, SNAPSHOT_STRINGS, (const void **)&recorded.strings,
	                   &recorded.strings_bytes));
	for (size_t i = 0; i < bytes / sizeof(*v); i++)
		TRY(region_add(&recorded, &v[i]));
	return NULL;
}
