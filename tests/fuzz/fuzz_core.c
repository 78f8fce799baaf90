// SPDX-License-Identifier: MIT
// Feeds any bytes to the reader of cores, and reads all memory that it claims
// to have.
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "target/target_impl.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

static volatile uint64_t sink;

static void take_range(void *context, uint64_t start, uint64_t end)
{
	(void)context;
	if (start >= end)
		abort();
	sink += start;
}

static void check_segment(struct target *target, const struct target_segment *segment)
{
	uint64_t end = segment->contents_end;
	uint8_t buffer[256];

	if (segment->start >= segment->end || end > segment->end || end < segment->start)
		abort();
	sink += target_read_some(target, segment->start, buffer, sizeof(buffer));
	if (segment->readable && end - segment->start >= sizeof(buffer))
		sink += target_read_some(target, end - sizeof(buffer), buffer, sizeof(buffer));
	for (uint64_t at = segment->start; segment->image && at < end; at += 64)
		sink += segment->image[at - segment->start];
	sink += segment->file ? strlen(segment->file->path) : 0;
}

static void check_target(struct target *target)
{
	if (target_load(target, 0, UINT64_MAX))
		return;
	for (size_t i = 0; i < target->segment_count; i++) {
		if (i && target->segments[i].start < target->segments[i - 1].end)
			abort();
		check_segment(target, &target->segments[i]);
	}
	for (size_t i = 0; i < target->thread_count; i++) {
		const struct target_thread *thread = &target->threads[i];

		for (unsigned k = 0; k < thread->register_count; k++)
			sink += thread->registers[k];
		for (size_t k = 0; k < thread->vector_bytes; k++)
			sink += thread->vector[k];
	}
	for (size_t i = 0; i < target->warning_count; i++)
		sink += strlen(target->warnings[i]);
	(void)target_present(target, 0, UINT64_MAX, take_range, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
	struct target_options options = { .want = TARGET_WANT_MEMORY };
	struct target *target;
	int fd = memfd_create("core", MFD_CLOEXEC);

	if (fd < 0 || write(fd, bytes, count) != (ssize_t)count)
		abort();
	(void)core_is(fd);
	if (!core_open("core", fd, &options, &target)) {
		check_target(target);
		target_close(target);
	}
	return 0;
}
