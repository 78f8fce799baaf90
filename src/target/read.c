// SPDX-License-Identifier: MIT
// Reading through the segments of a target: from an image when there is one, else
// through the callback of its kind. All addresses are foreign and checked.
#include "target/target_impl.h"

#include <string.h>

#include "base/search.h"

#define STRING_STEP_BYTES 256
#define PAGE_BYTES_LEAST  4096
#define PAGE_BYTES_MOST   (1 << 20)

size_t target_segment_index(const struct target *target, uint64_t address)
{
	return first_index(target->segment_count, i, target->segments[i].end > address);
}

const struct target_segment *target_segment_at(const struct target *target, uint64_t address)
{
	size_t index = target_segment_index(target, address);

	if (index == target->segment_count || target->segments[index].start > address)
		return NULL;
	return &target->segments[index];
}

// Up to n bytes out of one segment.
static size_t read_segment(struct target *target, const struct target_segment *segment,
                           uint64_t address, void *buffer, size_t n)
{
	if (!segment->readable || address >= segment->contents_end)
		return 0;
	if (n > segment->contents_end - address)
		n = segment->contents_end - address;
	if (!segment->image)
		return target->ops->read(target, segment, address, buffer, n);
	memcpy(buffer, segment->image + (address - segment->start), n);
	return n;
}

size_t target_read_some(struct target *target, uint64_t address, void *buffer, size_t n)
{
	size_t index = target_segment_index(target, address), done = 0;

	for (; done < n && index < target->segment_count; index++) {
		const struct target_segment *segment = &target->segments[index];
		uint64_t at = address + done;
		size_t got;

		if (segment->start > at || at < address)
			break;
		got = read_segment(target, segment, at, (char *)buffer + done, n - done);
		done += got;
		if (at + got != segment->end)
			break;
	}
	return done;
}

struct error *target_read(struct target *target, uint64_t address, void *buffer, size_t n)
{
	size_t done = target_read_some(target, address, buffer, n);

	if (done == n)
		return NULL;
	return error_at(ERROR_FAULT, address + done, "memory at 0x%llx cannot be read",
	                (unsigned long long)(address + done));
}

struct error *target_read_word(struct target *target, uint64_t address, uint64_t *ret)
{
	bool swapped = target->big_endian != (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__);
	uint64_t wide;
	uint32_t narrow;

	if (target->word_bytes == 4) {
		TRY(target_read(target, address, &narrow, sizeof(narrow)));
		*ret = swapped ? __builtin_bswap32(narrow) : narrow;
	} else {
		TRY(target_read(target, address, &wide, sizeof(wide)));
		*ret = swapped ? __builtin_bswap64(wide) : wide;
	}
	return NULL;
}

// The length of the string at address when its NUL is within limit bytes, else limit.
static size_t string_length(struct target *target, uint64_t address, size_t limit)
{
	size_t length = 0;

	while (length < limit) {
		char step[STRING_STEP_BYTES];
		size_t want = limit - length < sizeof(step) ? limit - length : sizeof(step);
		size_t got = target_read_some(target, address + length, step, want);
		const char *end = memchr(step, '\0', got);

		if (end)
			return length + (size_t)(end - step);
		if (got < want)
			return limit;
		length += got;
	}
	return limit;
}

struct error *target_read_string(struct target *target, struct arena *arena, uint64_t address,
                                 size_t limit, const char **ret)
{
	size_t length = string_length(target, address, limit);
	char *copy;

	if (length == limit)
		return error_at(ERROR_DAMAGED, address, "no string ends within %zu bytes of 0x%llx",
		                limit, (unsigned long long)address);
	copy = arena_alloc(arena, length + 1);
	TRY(target_read(target, address, copy, length));
	*ret = copy;
	return NULL;
}

uint64_t target_auxv(const struct target *target, uint64_t type)
{
	for (size_t i = 0; i < target->auxv_count; i++)
		if (target->auxv[2 * i] == type)
			return target->auxv[2 * i + 1];
	return 0;
}

uint64_t target_page_bytes(const struct target *target)
{
	uint64_t bytes = target_auxv(target, AT_PAGESZ);
	bool possible = bytes >= PAGE_BYTES_LEAST && bytes <= PAGE_BYTES_MOST;

	return possible && (bytes & (bytes - 1)) == 0 ? bytes : PAGE_BYTES_LEAST;
}

const void *target_bytes(struct target *target, uint64_t address, size_t n)
{
	const struct target_segment *segment = target_segment_at(target, address);

	if (!segment || !segment->image || address > segment->contents_end ||
	    n > segment->contents_end - address)
		return NULL;
	return segment->image + (address - segment->start);
}

static bool must_load(const struct target_segment *segment, uint64_t start, uint64_t end)
{
	const uint8_t both = TARGET_READ | TARGET_WRITE;

	if (segment->image || !segment->readable)
		return false;
	if ((segment->protection & both) == both)
		return true;
	return end > start && segment->start < end && segment->end > start;
}

struct error *target_load(struct target *target, uint64_t start, uint64_t end)
{
	for (size_t i = 0; i < target->segment_count; i++) {
		// Segments are constant for every room but this one.
		struct target_segment *segment = (struct target_segment *)&target->segments[i];

		if (must_load(segment, start, end))
			TRY(target->ops->load(target, segment));
	}
	return NULL;
}

struct error *target_present(struct target *target, uint64_t start, uint64_t end,
                             void (*each)(void *context, uint64_t start, uint64_t end),
                             void *context)
{
	for (size_t i = target_segment_index(target, start); i < target->segment_count; i++) {
		const struct target_segment *segment = &target->segments[i];
		uint64_t from = segment->start > start ? segment->start : start;
		uint64_t to = segment->contents_end < end ? segment->contents_end : end;

		if (segment->start >= end)
			break;
		if (segment->readable && from < to)
			TRY(target->ops->present(target, from, to, each, context));
	}
	return NULL;
}

struct error *target_file_open(struct target *target, const struct target_file *file, int *ret)
{
	*ret = -1;
	return target->ops->file_open(target, file, ret);
}

struct error *target_share(struct target *target, size_t bytes, struct target_shared *ret)
{
	return target->ops->share(target, bytes, ret);
}

struct error *target_run(struct target *target, uint64_t entry_there, uint64_t argument,
                         uint64_t stack_there)
{
	return target->ops->run(target, entry_there, argument, stack_there);
}

struct error *target_section(struct target *target, uint32_t id, const void **ret,
                             size_t *ret_bytes)
{
	return target->ops->section(target, id, ret, ret_bytes);
}
