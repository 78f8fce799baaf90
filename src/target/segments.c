// SPDX-License-Identifier: MIT
// The making and ending of a target, whatever its kind, and targets made of byte
// buffers for tests.
#include "target/target_impl.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define WARNING_BYTES 1024

static size_t read_nothing(struct target *target, const struct target_segment *segment,
                           uint64_t address, void *buffer, size_t n)
{
	(void)target, (void)segment, (void)address, (void)buffer, (void)n;
	return 0;
}

static struct error *load_nothing(struct target *target, struct target_segment *segment)
{
	(void)target, (void)segment;
	return NULL;
}

static struct error *present_whole(struct target *target, uint64_t start, uint64_t end,
                                   void (*each)(void *, uint64_t, uint64_t), void *context)
{
	(void)target;
	each(context, start, end);
	return NULL;
}

static struct error *no_file(struct target *target, const struct target_file *file, int *ret)
{
	(void)target;
	*ret = -1;
	return error_new(ERROR_NOT_FOUND, "%s cannot be had from this kind of target", file->path);
}

static struct error *no_share(struct target *target, size_t bytes, struct target_shared *ret)
{
	(void)target, (void)bytes, (void)ret;
	return error_new(ERROR_UNSUPPORTED, "only a clone can share memory");
}

static struct error *no_run(struct target *target, uint64_t entry, uint64_t argument,
                            uint64_t stack)
{
	(void)target, (void)entry, (void)argument, (void)stack;
	return error_new(ERROR_UNSUPPORTED, "only a clone can run code");
}

static struct error *no_section(struct target *target, uint32_t id, const void **ret, size_t *bytes)
{
	(void)target, (void)ret, (void)bytes;
	return error_new(ERROR_NOT_FOUND, "there is no section %u: this is no snapshot", id);
}

static void close_nothing(struct target *target)
{
	(void)target;
}

static const struct target_ops *fill_ops(struct arena *arena, const struct target_ops *ops)
{
	struct target_ops *all = arena_alloc(arena, sizeof(*all));

	*all = *ops;
	all->read = ops->read ? ops->read : read_nothing;
	all->load = ops->load ? ops->load : load_nothing;
	all->present = ops->present ? ops->present : present_whole;
	all->file_open = ops->file_open ? ops->file_open : no_file;
	all->share = ops->share ? ops->share : no_share;
	all->run = ops->run ? ops->run : no_run;
	all->section = ops->section ? ops->section : no_section;
	all->close = ops->close ? ops->close : close_nothing;
	return all;
}

struct target *target_new(enum target_kind kind, const struct target_ops *ops)
{
	struct arena seed, *arena;
	struct target *target;

	arena_init(&seed, &os_page_source);
	arena = arena_alloc(&seed, sizeof(*arena));
	target = arena_alloc(&seed, sizeof(*target));
	*arena = seed; // the arena lives in its own first chunk
	target->kind = kind;
	target->arena = arena;
	target->ops = fill_ops(arena, ops);
	target->word_bytes = 8;
	target->complete = true;
	target->how = "";
	return target;
}

void target_close(struct target *target)
{
	struct arena arena;

	if (!target)
		return;
	target->ops->close(target);
	arena = *target->arena;
	arena_deinit(&arena);
}

// Warnings are few, so each one copies the array.
void target_warn(struct target *target, const char *format, ...)
{
	const char **warnings =
		arena_array(target->arena, target->warning_count + 1, sizeof(*warnings));
	char text[WARNING_BYTES];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	for (size_t i = 0; i < target->warning_count; i++)
		warnings[i] = target->warnings[i];
	warnings[target->warning_count++] = arena_copy(target->arena, text);
	target->warnings = warnings;
}

struct target *target_from_segments(const struct target_segment *segments, size_t count,
                                    unsigned word_bytes)
{
	static const struct target_ops ops;
	struct target *target = target_new(TARGET_SNAPSHOT, &ops);
	struct target_segment *copy = arena_array(target->arena, count, sizeof(*copy));

	if (count)
		memcpy(copy, segments, count * sizeof(*copy));
	for (size_t i = 0; i < count; i++) {
		if (copy[i].image && !copy[i].contents_end)
			copy[i].contents_end = copy[i].end;
	}
	target->segments = copy;
	target->segment_count = count;
	target->word_bytes = word_bytes;
	target->name = "test";
	return target;
}
