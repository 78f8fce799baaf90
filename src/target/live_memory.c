// SPDX-License-Identifier: MIT
// Copies the memory of a stopped process out, and reads what needs no copy from
// the running one. Called by live.c.
//
// Only what may change after the release is copied: pages that are the process's own (not those of
// a mapped file), in writable mappings, and in anonymous ones that were made read-only. Images are
// reserved and touched before the stop, because the first touch of memory costs more than the copy.
#include "target/target_impl.h"

#include <string.h>

#include "base/search.h"

// A writable private file mapping up to this size is copied whole during the stop, so that it is of
// one moment; of bigger ones the pages that nobody wrote to are read afterwards.
#define SMALL_FILE_BYTES ((uint64_t)1 << 20)

// An image is reserved a bit larger than its mapping, which may grow until the stop.
#define GROWTH_SHARE 8
#define GROWTH_BYTES ((uint64_t)1 << 20)

// Images smaller than this share rooms of that size.
#define SMALL_BYTES ((size_t)64 << 10)
#define ROOM_BYTES  ((size_t)1 << 20)

#define PIECE_BYTES    ((uint64_t)16 << 20)
#define HUGE_RUN_BYTES ((uint64_t)4 << 20)

// process_vm_readv moves 1.3 to 3 GiB a second into memory that is there already.
#define COPIED_PER_SECOND    ((uint64_t)1 << 30)
#define LONGEST_STOP_SECONDS 10

typedef VEC(struct os_piece) piece_vec;

static bool must_copy(const struct target_segment *segment)
{
	if (!segment->readable)
		return false;
	if (segment->protection & TARGET_WRITE)
		return true;
	return !segment->shared && !segment->file && !segment->name;
}

// Whether pages that are not there have contents all the same: those of the file.
static bool absent_is_file(const struct target_segment *segment)
{
	return segment->file && !segment->file->anonymous;
}

// --- what is there -------------------------------------------------------------------------------
// Pages of shared memory that other processes wrote, or that were swapped out, are not in the page
// table of this one; its file knows them.
static bool find_in_file(struct live *live, const struct target_segment *segment,
                         struct os_ranges *ret)
{
	uint64_t offset = segment->file_offset, end = offset + (segment->end - segment->start);
	uint64_t data_start, data_end;
	OS_DESCRIPTOR int fd = -1;

	if (live_file_open(live->target, segment->file, &fd))
		return false;
	while (offset < end && os_file_data(fd, offset, &data_start, &data_end)) {
		struct os_range range = { .end = data_end < end ? data_end : end };

		if (data_start >= end)
			break;
		range.start = segment->start + (data_start - segment->file_offset);
		range.end = segment->start + (range.end - segment->file_offset);
		vec_push(&ret->ranges, range);
		offset = data_end;
	}
	return true;
}

// The process's own pages, found with few calls for all mappings together.
struct own_pages {
	bool known;
	struct os_ranges all;
	size_t next; // the first range that may concern the next segment
};

static void own_pages_find(const struct live *live, struct own_pages *ret)
{
	const struct target *target = live->target;
	uint64_t start = UINT64_MAX, end = 0;

	*ret = (struct own_pages){ .known = false };
	vec_init(&ret->all.ranges, &os_page_source);
	for (size_t i = 0; i < target->segment_count; i++) {
		if (!must_copy(&target->segments[i]))
			continue;
		start = start < target->segments[i].start ? start : target->segments[i].start;
		end = target->segments[i].end;
	}
	ret->known = start < end && os_present_ranges_at_once(live->pagemap, start, end,
	                                                      OS_PRESENT_OWN, &ret->all);
}

static void own_pages_of(struct own_pages *own, const struct target_segment *segment,
                         struct os_ranges *ret)
{
	const struct os_range *ranges = own->all.ranges.v;

	while (own->next < own->all.ranges.n && ranges[own->next].end <= segment->start)
		own->next++;
	for (size_t i = own->next; i < own->all.ranges.n && ranges[i].start < segment->end; i++) {
		struct os_range range = ranges[i];

		range.start = range.start > segment->start ? range.start : segment->start;
		range.end = range.end < segment->end ? range.end : segment->end;
		vec_push(&ret->ranges, range);
	}
}

// own may be NULL: then the kernel is asked for this segment alone.
static struct error *find_contents(struct live *live, struct own_pages *own,
                                   const struct target_segment *segment, struct os_ranges *ret)
{
	if (segment->shared && segment->file && segment->file->anonymous &&
	    find_in_file(live, segment, ret))
		return NULL;
	if (segment->shared || !own || !own->known)
		return os_present_ranges(live->pagemap, segment->start, segment->end,
		                         segment->shared ? OS_PRESENT : OS_PRESENT_OWN, ret);
	own_pages_of(own, segment, ret);
	return NULL;
}

// --- images --------------------------------------------------------------------------------------
static uint8_t *image_memory(struct live *live, size_t bytes)
{
	struct live_room *room = live->rooms.n ? &live->rooms.v[live->rooms.n - 1] : NULL;
	struct live_room fresh = { .bytes = bytes < SMALL_BYTES ? ROOM_BYTES : bytes };

	if (!room || room->bytes - room->used < bytes) {
		fresh.memory = os_reserve(fresh.bytes);
		if (!fresh.memory)
			return NULL;
		room = vec_add(&live->rooms);
		*room = fresh;
	}
	room->used += bytes;
	return room->memory + room->used - bytes;
}

static struct live_image *add_image(struct live *live, uint64_t start, uint64_t end)
{
	struct live_image image = { start, end, image_memory(live, end - start) };

	if (!image.memory)
		return NULL;
	vec_push(&live->images, image);
	return &live->images.v[live->images.n - 1];
}

static void no_room(struct live *live, const struct target_segment *segment)
{
	target_warn(live->target, "no room for the contents of the mapping at 0x%llx (%llu bytes)",
	            (unsigned long long)segment->start,
	            (unsigned long long)(segment->end - segment->start));
	live->target->complete = false;
}

// Where a mapping may end at the stop: it does not grow over the next one.
static uint64_t grown_end(const struct target *target, const struct target_segment *segment)
{
	uint64_t spare =
		round_down((segment->end - segment->start) / GROWTH_SHARE, os_page_bytes());
	uint64_t end = segment->end + spare + GROWTH_BYTES;
	bool last = segment == target->segments + target->segment_count - 1;

	return last || segment[1].start > end ? end : segment[1].start;
}

static struct error *prepare_segment(struct live *live, struct own_pages *own,
                                     const struct target_segment *segment)
{
	size_t first = live->present.ranges.n;

	TRY(find_contents(live, own, segment, &live->present));
	for (size_t i = first; i < live->present.ranges.n; i++)
		live->copy_bytes += live->present.ranges.v[i].end - live->present.ranges.v[i].start;
	// Without room for it the copy tries again, without the spare part.
	(void)add_image(live, segment->start, grown_end(live->target, segment));
	return NULL;
}

// A copy that exhausts the machine could cost the target its life.
static struct error *check_room(const struct live *live)
{
	uint64_t available_bytes = os_memory_available_bytes();
	char size[TEXT_SIZE_BYTES], room[TEXT_SIZE_BYTES];

	text_size(live->copy_bytes, size);
	if (live->copy_bytes > available_bytes / 2)
		return error_new(ERROR_UNSUPPORTED,
		                 "a copy of the %s of process %d needs more than half of the %s "
		                 "that this machine has free; a core may be read elsewhere",
		                 size, live->pid, text_size(available_bytes, room));
	if (live->copy_bytes / COPIED_PER_SECOND > LONGEST_STOP_SECONDS)
		return error_new(ERROR_UNSUPPORTED,
		                 "process %d would stand still for about %llu seconds while its %s "
		                 "are copied; read it through a clone, or look at a core",
		                 live->pid,
		                 (unsigned long long)(live->copy_bytes / COPIED_PER_SECOND), size);
	return NULL;
}

static void populate_run(uint8_t *start, uint8_t *end)
{
	size_t bytes = (size_t)(end - start);

	if (bytes)
		os_populate(start, bytes, bytes >= HUGE_RUN_BYTES);
}

// Neighbouring images of a room are asked for together.
static void populate(struct live *live)
{
	uint8_t *start = NULL, *end = NULL;
	size_t at = 0;

	for (size_t i = 0; i < live->present.ranges.n; i++) {
		const struct os_range *range = &live->present.ranges.v[i];
		uint64_t bytes = range->end - range->start;
		uint8_t *memory;

		while (at + 1 < live->images.n && live->images.v[at + 1].start <= range->start)
			at++;
		if (at >= live->images.n || live->images.v[at].start > range->start ||
		    live->images.v[at].end < range->end)
			continue;
		memory = live->images.v[at].memory + (range->start - live->images.v[at].start);
		if (memory != end) {
			populate_run(start, end);
			start = memory;
		}
		end = memory + bytes;
	}
	populate_run(start, end);
}

struct error *live_prepare_copy(struct live *live)
{
	struct error *error = NULL;
	struct own_pages own;

	live->present.ranges.n = 0;
	live->copy_bytes = 0;
	own_pages_find(live, &own);
	for (size_t i = 0; !error && i < live->target->segment_count; i++)
		if (must_copy(&live->target->segments[i]))
			error = prepare_segment(live, &own, &live->target->segments[i]);
	vec_deinit(&own.all.ranges);
	TRY(error);
	TRY(check_room(live));
	populate(live);
	return NULL;
}

// --- copying -------------------------------------------------------------------------------------
static void add_pieces(piece_vec *pieces, const struct target_segment *segment, uint64_t start,
                       uint64_t end)
{
	while (start < end) {
		uint64_t bytes = end - start < PIECE_BYTES ? end - start : PIECE_BYTES;
		struct os_piece piece = {
			.address = start,
			.buffer = (uint8_t *)segment->image + (start - segment->start),
			.bytes = bytes,
		};

		vec_push(pieces, piece);
		start += bytes;
	}
}

// Calls for what lies between the ranges [first, count) of a segment.
static void add_gaps(struct live *live, piece_vec *pieces, const struct target_segment *segment,
                     size_t first)
{
	uint64_t at = segment->start;

	for (size_t i = first; i < live->present.ranges.n; i++) {
		add_pieces(pieces, segment, at, live->present.ranges.v[i].start);
		at = live->present.ranges.v[i].end;
	}
	add_pieces(pieces, segment, at, segment->end);
}

struct plan {
	piece_vec own;   // must be there
	piece_vec small; // pages of files that need not be there: behind their end they fault
	size_t next_image, prepared_images;
	struct own_pages own_pages;
};

// The image that was prepared for a segment, if it has not grown beyond it. Both lists ascend.
static struct live_image *find_image(struct live *live, struct plan *plan,
                                     const struct target_segment *segment)
{
	struct live_image *image = live->images.v + plan->next_image;

	while (plan->next_image < plan->prepared_images && image->start < segment->start) {
		plan->next_image++;
		image++;
	}
	if (plan->next_image < plan->prepared_images && image->start == segment->start &&
	    image->end >= segment->end)
		return image;
	return add_image(live, segment->start, segment->end);
}

// From the file: reading shared memory through the process may fault, and with userfaultfd it is a
// thread of the process, which stands still, that would have to let the fault go on.
static bool copy_from_file(struct live *live, const struct target_segment *segment,
                           struct plan *plan)
{
	size_t first = live->present.ranges.n;
	OS_DESCRIPTOR int fd = -1;

	if (!segment->shared || !segment->file || !segment->file->anonymous ||
	    live_file_open(live->target, segment->file, &fd) ||
	    !find_in_file(live, segment, &live->present))
		return false;
	for (size_t i = first; i < live->present.ranges.n; i++) {
		const struct os_range *range = &live->present.ranges.v[i];
		uint64_t at = range->start - segment->start;
		size_t done = os_pread(fd, (uint8_t *)segment->image + at,
		                       range->end - range->start, segment->file_offset + at);

		add_pieces(&plan->own, segment, range->start + done, range->end);
	}
	return true;
}

static struct error *plan_segment(struct live *live, struct target_segment *segment,
                                  struct plan *plan)
{
	struct live_image *image = find_image(live, plan, segment);
	size_t first = live->present.ranges.n;

	if (!image) {
		no_room(live, segment);
		return NULL;
	}
	segment->image = image->memory;
	if (copy_from_file(live, segment, plan))
		return NULL;
	TRY(find_contents(live, &plan->own_pages, segment, &live->present));
	for (size_t i = first; i < live->present.ranges.n; i++)
		add_pieces(&plan->own, segment, live->present.ranges.v[i].start,
		           live->present.ranges.v[i].end);
	if (absent_is_file(segment) && segment->end - segment->start <= SMALL_FILE_BYTES)
		add_gaps(live, &plan->small, segment, first);
	return NULL;
}

static void report_missing(struct live *live, const piece_vec *pieces)
{
	uint64_t missing_bytes = 0, first = 0;

	for (size_t i = 0; i < pieces->n; i++) {
		const struct os_piece *piece = &pieces->v[i];

		if (piece->done == piece->bytes)
			continue;
		first = missing_bytes ? first : piece->address + piece->done;
		missing_bytes += piece->bytes - piece->done;
	}
	if (!missing_bytes)
		return;
	target_warn(live->target, "%llu bytes of memory could not be read, the first at 0x%llx",
	            (unsigned long long)missing_bytes, (unsigned long long)first);
	live->target->complete = false;
}

static struct error *copy_planned(struct live *live, struct plan *plan)
{
	for (size_t i = 0; i < live->target->segment_count; i++) {
		struct target_segment *segment =
			(struct target_segment *)&live->target->segments[i];

		if (must_copy(segment))
			TRY(plan_segment(live, segment, plan));
	}
	os_remote_read_pieces(live->memory_tid, live->memory, plan->own.v, plan->own.n);
	os_remote_read_pieces(live->memory_tid, live->memory, plan->small.v, plan->small.n);
	report_missing(live, &plan->own);
	return NULL;
}

struct error *live_copy(struct live *live)
{
	struct plan plan = { .prepared_images = live->images.n };
	struct error *error;

	vec_init(&plan.own, &os_page_source);
	vec_init(&plan.small, &os_page_source);
	live->present.ranges.n = 0;
	own_pages_find(live, &plan.own_pages);
	error = copy_planned(live, &plan);
	vec_deinit(&plan.own_pages.all.ranges);
	vec_deinit(&plan.own);
	vec_deinit(&plan.small);
	return error;
}

// --- after the stop: the pages of big file mappings that nobody wrote to ---------------------------
static void read_gap(struct live *live, const struct target_segment *segment, int fd,
                     uint64_t start, uint64_t end)
{
	uint8_t *to = (uint8_t *)segment->image + (start - segment->start);

	if (start >= end)
		return;
	if (fd >= 0)
		os_pread(fd, to, end - start, segment->file_offset + (start - segment->start));
	else
		os_remote_read(live->memory_tid, live->memory, start, to, end - start);
}

static void fill_segment(struct live *live, const struct target_segment *segment, size_t range)
{
	OS_DESCRIPTOR int fd = -1;
	uint64_t at = segment->start;

	// From the file rather than from the process, whose page tables then stay as they are.
	(void)live_file_open(live->target, segment->file, &fd);
	for (; range < live->present.ranges.n && live->present.ranges.v[range].start < segment->end;
	     range++) {
		read_gap(live, segment, fd, at, live->present.ranges.v[range].start);
		at = live->present.ranges.v[range].end;
	}
	read_gap(live, segment, fd, at, segment->end);
}

void live_fill_files(struct live *live)
{
	size_t range = 0;

	for (size_t i = 0; i < live->target->segment_count; i++) {
		const struct target_segment *segment = &live->target->segments[i];

		while (range < live->present.ranges.n &&
		       live->present.ranges.v[range].end <= segment->start)
			range++;
		if (segment->image && absent_is_file(segment) &&
		    segment->end - segment->start > SMALL_FILE_BYTES)
			fill_segment(live, segment, range);
	}
}

// --- reading what was not copied -----------------------------------------------------------------
size_t live_read(struct target *target, const struct target_segment *segment, uint64_t address,
                 void *buffer, size_t n)
{
	struct live *live = target->own;

	(void)segment;
	if (live->is_clone && live->memory >= 0)
		return os_pread(live->memory, buffer, n, address);
	return os_remote_read(live->memory_tid, live->memory, address, buffer, n);
}

struct load {
	struct target *target;
	struct target_segment *segment;
	uint8_t *memory;
};

static void load_range(void *context, uint64_t start, uint64_t end)
{
	struct load *load = context;

	live_read(load->target, load->segment, start, load->memory + (start - load->segment->start),
	          end - start);
}

struct error *live_load(struct target *target, struct target_segment *segment)
{
	struct live *live = target->own;
	struct live_image *image = add_image(live, segment->start, segment->end);
	struct load load = { target, segment, image ? image->memory : NULL };

	if (!image)
		return &error_out_of_memory;
	TRY(target->ops->present(target, segment->start, segment->end, load_range, &load));
	segment->image = image->memory;
	return NULL;
}

static void each_recorded(const struct live *live, uint64_t start, uint64_t end,
                          void (*each)(void *, uint64_t, uint64_t), void *context)
{
	size_t at = first_index(live->present.ranges.n, i, live->present.ranges.v[i].end > start);

	for (; at < live->present.ranges.n && live->present.ranges.v[at].start < end; at++) {
		const struct os_range *range = &live->present.ranges.v[at];

		each(context, range->start > start ? range->start : start,
		     range->end < end ? range->end : end);
	}
}

static struct error *each_now(struct live *live, const struct target_segment *segment,
                              uint64_t start, uint64_t end,
                              void (*each)(void *, uint64_t, uint64_t), void *context)
{
	struct target_segment part = *segment;
	struct error *error;
	struct os_ranges ranges;

	part.start = round_down(start, os_page_bytes());
	part.end = round_up(end, os_page_bytes());
	part.file_offset += part.start - segment->start;
	vec_init(&ranges.ranges, &os_page_source);
	error = find_contents(live, NULL, &part, &ranges);
	for (size_t i = 0; !error && i < ranges.ranges.n; i++) {
		const struct os_range *range = &ranges.ranges.v[i];

		each(context, range->start > start ? range->start : start,
		     range->end < end ? range->end : end);
	}
	vec_deinit(&ranges.ranges);
	return error;
}

struct error *live_present(struct target *target, uint64_t start, uint64_t end,
                           void (*each)(void *, uint64_t, uint64_t), void *context)
{
	const struct target_segment *segment = target_segment_at(target, start);
	struct live *live = target->own;

	if (absent_is_file(segment) || live->pagemap < 0)
		each(context, start, end);
	else if (segment->image && must_copy(segment))
		each_recorded(live, start, end, each, context);
	else
		return each_now(live, segment, start, end, each, context);
	return NULL;
}

void live_close(struct target *target)
{
	struct live *live = target->own;

	for (size_t i = 0; i < live->rooms.n; i++)
		os_release(live->rooms.v[i].memory, live->rooms.v[i].bytes);
	vec_deinit(&live->rooms);
	vec_deinit(&live->images);
	vec_deinit(&live->files);
	vec_deinit(&live->threads);
	vec_deinit(&live->present.ranges);
	os_close(live->memory);
	os_close(live->pagemap);
}
