// SPDX-License-Identifier: MIT
// Snapshot files as targets (layout/snapshot.h, docs/snapshot-format.md). The file
// is foreign: every offset, count, string and index is checked when the file is
// opened; sections of other rooms are handed out raw and checked there.
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "base/search.h"
#include "layout/snapshot.h"
#include "target/target_impl.h"

#define MOST_SECTION_BYTES ((uint64_t)1 << 40)
#define MOST_RATIO         65536 // of unpacked to packed bytes; zstd itself stays below
#define MOST_PIECE_BYTES   ((uint64_t)64 << 20)

struct unpacked {
	uint8_t *bytes; // NULL: not asked for yet
	size_t n;
};

struct snapshot {
	int fd;
	uint64_t file_bytes;
	uint32_t section_count;
	struct snapshot_section sections[SNAPSHOT_MOST_SECTIONS];
	struct unpacked unpacked[SNAPSHOT_MOST_SECTIONS];
	const char *strings;
	size_t strings_bytes;
	const struct snapshot_contents *pieces;
	size_t piece_count;
	struct unpacked piece; // the last one that was read
	size_t piece_index;
};

static struct error *damaged(const char *what)
{
	return error_new(ERROR_DAMAGED, "the snapshot is damaged: %s", what);
}

// --- frames -------------------------------------------------------------------------------------

static struct error *frame_unpack(struct snapshot *s, uint64_t offset, uint64_t stored,
                                  uint64_t bytes, struct unpacked *ret)
{
	void *packed, *whole;
	size_t got;

	if (!checked_within(offset, stored, s->file_bytes))
		return damaged("a section lies outside the file");
	if (bytes > MOST_SECTION_BYTES || bytes / MOST_RATIO > stored)
		return damaged("a section has an impossible size");
	packed = os_reserve(stored ? stored : 1);
	whole = os_reserve(bytes ? bytes : 1);
	if (!packed || !whole || os_pread(s->fd, packed, stored, offset) != stored)
		got = (size_t)-1;
	else
		got = ZSTD_decompress(whole, bytes, packed, stored);
	if (packed)
		os_release(packed, stored ? stored : 1);
	if (got != bytes) {
		if (whole)
			os_release(whole, bytes ? bytes : 1);
		return damaged("a section cannot be unpacked");
	}
	*ret = (struct unpacked){ whole, bytes };
	return NULL;
}

static void unpacked_release(struct unpacked *unpacked)
{
	if (unpacked->bytes)
		os_release(unpacked->bytes, unpacked->n ? unpacked->n : 1);
	unpacked->bytes = NULL;
}

static struct error *snapshot_section(struct target *target, uint32_t id, const void **ret,
                                      size_t *ret_bytes)
{
	struct snapshot *s = target->own;

	for (uint32_t i = 0; i < s->section_count; i++) {
		const struct snapshot_section *entry = &s->sections[i];

		if (entry->id != id)
			continue;
		if (!s->unpacked[i].bytes)
			TRY(frame_unpack(s, entry->offset, entry->stored_bytes, entry->bytes,
			                 &s->unpacked[i]));
		*ret = s->unpacked[i].bytes;
		*ret_bytes = s->unpacked[i].n;
		return NULL;
	}
	return error_new(ERROR_NOT_FOUND, "the snapshot has no section %u", id);
}

// A section as an array of records of one size.
static struct error *records(struct target *target, uint32_t id, size_t record_bytes,
                             const void **ret, size_t *ret_count)
{
	size_t bytes = 0;

	*ret_count = 0;
	TRY(snapshot_section(target, id, ret, &bytes));
	if (bytes % record_bytes)
		return damaged("a section does not hold whole records");
	*ret_count = bytes / record_bytes;
	return NULL;
}

// --- contents -----------------------------------------------------------------------------------

// The first piece whose end is above address.
static size_t piece_above(const struct snapshot *s, uint64_t address)
{
	return first_index(s->piece_count, i, s->pieces[i].address + s->pieces[i].bytes > address);
}

static bool piece_read(struct snapshot *s, size_t index)
{
	const struct snapshot_contents *piece = &s->pieces[index];

	if (s->piece.bytes && s->piece_index == index)
		return true;
	unpacked_release(&s->piece);
	if (frame_unpack(s, piece->offset, piece->stored_bytes, piece->bytes, &s->piece))
		return false;
	s->piece_index = index;
	return s->piece.bytes != NULL;
}

static size_t snapshot_read(struct target *target, const struct target_segment *segment,
                            uint64_t address, void *buffer, size_t n)
{
	struct snapshot *s = target->own;
	size_t done = 0;

	(void)segment;
	while (done < n) {
		size_t i = piece_above(s, address + done), at, part;

		if (i == s->piece_count || s->pieces[i].address > address + done ||
		    !piece_read(s, i))
			break;
		at = address + done - s->pieces[i].address;
		part = s->piece.n - at < n - done ? s->piece.n - at : n - done;
		memcpy((char *)buffer + done, s->piece.bytes + at, part);
		done += part;
	}
	return done;
}

static struct error *snapshot_load(struct target *target, struct target_segment *segment)
{
	struct snapshot *s = target->own;
	uint8_t *image = os_reserve(segment->end - segment->start);

	if (!image)
		return error_at(ERROR_MEMORY, segment->start, "no room for the contents");
	for (size_t i = piece_above(s, segment->start);
	     i < s->piece_count && s->pieces[i].address < segment->end; i++) {
		uint64_t from = s->pieces[i].address;
		uint64_t to = from + s->pieces[i].bytes;

		if (from < segment->start || to > segment->end)
			continue; // pieces of a whole file never cross a segment
		snapshot_read(target, segment, from, image + (from - segment->start), to - from);
	}
	segment->image = image;
	return NULL;
}

static struct error *snapshot_present(struct target *target, uint64_t start, uint64_t end,
                                      void (*each)(void *, uint64_t, uint64_t), void *context)
{
	struct snapshot *s = target->own;

	for (size_t i = piece_above(s, start); i < s->piece_count && s->pieces[i].address < end;
	     i++) {
		uint64_t from = s->pieces[i].address, to = from + s->pieces[i].bytes;

		each(context, from > start ? from : start, to < end ? to : end);
	}
	return NULL;
}

static struct error *contents_open(struct target *target, struct snapshot *s)
{
	uint64_t end = 0;
	const void *v;

	TRY(records(target, SNAPSHOT_CONTENTS, sizeof(*s->pieces), &v, &s->piece_count));
	s->pieces = v;
	for (size_t i = 0; i < s->piece_count; i++) {
		const struct snapshot_contents *piece = &s->pieces[i];

		if (piece->address < end || piece->bytes > MOST_PIECE_BYTES || !piece->bytes ||
		    !checked_add(piece->address, piece->bytes, &end))
			return damaged("the pieces of memory are not in order");
	}
	return NULL;
}

// --- what the target says about itself ----------------------------------------------------------

static const char *string_at(const struct snapshot *s, uint32_t offset)
{
	return offset < s->strings_bytes ? s->strings + offset : NULL;
}

static const char *string_or(const struct snapshot *s, uint32_t offset, const char *other)
{
	const char *text = string_at(s, offset);

	return text ? text : other;
}

static struct error *strings_open(struct target *target, struct snapshot *s)
{
	const void *v;

	TRY(snapshot_section(target, SNAPSHOT_STRINGS, &v, &s->strings_bytes));
	s->strings = v;
	if (s->strings_bytes && s->strings[s->strings_bytes - 1])
		return damaged("its strings have no end");
	return NULL;
}

static struct error *files_open(struct target *target, struct snapshot *s, struct target_file **ret,
                                size_t *ret_count)
{
	const struct snapshot_file *v;
	size_t count;

	TRY(records(target, SNAPSHOT_FILES, sizeof(*v), (const void **)&v, &count));
	*ret = arena_array(target->arena, count, sizeof(**ret));
	*ret_count = count;
	for (size_t i = 0; i < count; i++) {
		struct target_file *file = &(*ret)[i];

		file->path = string_or(s, v[i].path, "");
		file->deleted = v[i].flags & 1;
		file->anonymous = v[i].flags & 2;
		file->device = v[i].device;
		file->inode = v[i].inode;
		memcpy(file->build_id, v[i].build_id, sizeof(file->build_id));
		file->build_id_bytes = (uint8_t)(v[i].build_id_bytes <= sizeof(file->build_id)
		                                         ? v[i].build_id_bytes
		                                         : 0);
	}
	return NULL;
}

struct target_pages target_pages_recorded(const struct snapshot_pages *recorded)
{
	return (struct target_pages){
		.resident = recorded->resident,
		.proportional = recorded->proportional,
		.shared_clean = recorded->shared_clean,
		.shared_dirty = recorded->shared_dirty,
		.private_clean = recorded->private_clean,
		.private_dirty = recorded->private_dirty,
		.referenced = recorded->referenced,
		.anonymous = recorded->anonymous,
		.swapped = recorded->swapped,
		.swapped_proportional = recorded->swapped_proportional,
		.locked = recorded->locked,
		.huge = recorded->huge,
	};
}

static void segment_fill(struct snapshot *s, const struct snapshot_segment *v,
                         const struct target_file *files, size_t file_count,
                         struct target_segment *segment)
{
	size_t piece = piece_above(s, v->start);

	segment->start = v->start;
	segment->end = segment->contents_end = v->end;
	segment->file_offset = v->file_offset;
	segment->file = v->file < file_count ? &files[v->file] : NULL;
	segment->name = string_at(s, v->name);
	segment->protection = v->protection & 7;
	segment->max_protection = v->max_protection & 7;
	segment->shared = v->flags & 1;
	segment->readable = piece < s->piece_count && s->pieces[piece].address < v->end;
	segment->has_pages = v->flags & 4;
	segment->pages = target_pages_recorded(&v->pages);
	strncpy(segment->pages.flags, string_or(s, v->page_flags, ""),
	        sizeof(segment->pages.flags) - 1);
}

static struct error *segments_open(struct target *target, struct snapshot *s)
{
	struct target_segment *segments;
	const struct snapshot_segment *v;
	struct target_file *files;
	size_t count, file_count;
	uint64_t end = 0;

	TRY(files_open(target, s, &files, &file_count));
	TRY(records(target, SNAPSHOT_SEGMENTS, sizeof(*v), (const void **)&v, &count));
	segments = arena_array(target->arena, count, sizeof(*segments));
	for (size_t i = 0; i < count; i++) {
		if (v[i].start < end || v[i].end <= v[i].start)
			return damaged("its segments are not in order");
		end = v[i].end;
		segment_fill(s, &v[i], files, file_count, &segments[i]);
	}
	target->segments = segments;
	target->segment_count = count;
	return NULL;
}

static struct error *threads_open(struct target *target, struct snapshot *s)
{
	const struct snapshot_thread *v;
	const uint8_t *state;
	struct target_thread *threads;
	size_t count, bytes;

	TRY(records(target, SNAPSHOT_THREADS, sizeof(*v), (const void **)&v, &count));
	TRY(snapshot_section(target, SNAPSHOT_REGISTERS, (const void **)&state, &bytes));
	threads = arena_array(target->arena, count, sizeof(*threads));
	for (size_t i = 0; i < count; i++) {
		uint64_t *registers;

		if (!checked_within(v[i].registers_offset, v[i].register_count * (uint64_t)8,
		                    bytes) ||
		    !checked_within(v[i].vector_offset, v[i].vector_bytes, bytes))
			return damaged("registers lie outside their section");
		registers = arena_array(target->arena, v[i].register_count, sizeof(*registers));
		memcpy(registers, state + v[i].registers_offset, v[i].register_count * (size_t)8);
		threads[i] = (struct target_thread){
			.tid = v[i].tid,
			.own_tid = v[i].own_tid,
			.state = (char)v[i].state,
			.has_registers = v[i].has_registers,
			.sp = v[i].sp,
			.pc = v[i].pc,
			.tp = v[i].tp,
			.registers = registers,
			.register_count = v[i].register_count,
			.vector = v[i].vector_bytes ? state + v[i].vector_offset : NULL,
			.vector_bytes = v[i].vector_bytes,
		};
		strncpy(threads[i].name, string_or(s, v[i].name, ""), sizeof(threads[i].name) - 1);
	}
	target->threads = threads;
	target->thread_count = count;
	return NULL;
}

static struct error *held_open(struct target *target, struct snapshot *s)
{
	const struct snapshot_kernel_root *v;
	struct target_kernel_root *held;
	size_t count;

	TRY(records(target, SNAPSHOT_KERNEL_ROOTS, sizeof(*v), (const void **)&v, &count));
	held = arena_array(target->arena, count, sizeof(*held));
	for (size_t i = 0; i < count; i++)
		held[i] =
			(struct target_kernel_root){ v[i].value, string_or(s, v[i].what,
			                                                   "held by the kernel") };
	target->kernel_roots = held;
	target->kernel_root_count = count;
	TRY(records(target, SNAPSHOT_AUXV, 16, (const void **)&target->auxv, &count));
	target->auxv_count = count;
	return NULL;
}

static void facts_fill(struct target *target, const struct snapshot *s,
                       const struct snapshot_target *v)
{
	target->pid = v->pid;
	target->parent_pid = v->parent_pid;
	target->name = string_or(s, v->name, "unknown");
	target->parent_name = string_at(s, v->parent_name);
	target->path = string_at(s, v->path);
	target->cpu = string_or(s, v->cpu, "unknown");
	target->word_bytes = v->word_bytes;
	target->big_endian = v->flags & SNAPSHOT_TARGET_BIG_ENDIAN;
	target->complete = v->flags & SNAPSHOT_TARGET_COMPLETE;
	target->kernel_roots_known = v->flags & SNAPSHOT_TARGET_KERNEL_ROOTS;
	target->has_stop = v->flags & SNAPSHOT_TARGET_STOPPED;
	target->stopped_ms = (double)v->stopped_ns / 1e6;
	target->launched_ns = v->launched_ns;
	target->looked_ns = v->looked_ns;
	target->footprint_bytes = v->footprint_bytes;
	target->footprint_peak_bytes = v->footprint_peak_bytes;
	target->how = arena_format(target->arena, "from a snapshot file; when it was written: %s",
	                           string_or(s, v->how, "unknown"));
}

static struct error *facts_open(struct target *target, struct snapshot *s)
{
	const struct snapshot_target *v;
	const uint32_t *warnings;
	size_t count;

	TRY(records(target, SNAPSHOT_TARGET, sizeof(*v), (const void **)&v, &count));
	if (count != 1 || (v->word_bytes != 4 && v->word_bytes != 8))
		return damaged("it does not say what it was taken from");
	facts_fill(target, s, v);
	TRY(records(target, SNAPSHOT_WARNINGS, sizeof(*warnings), (const void **)&warnings,
	            &count));
	for (size_t i = 0; i < count; i++)
		target_warn(target, "%s", string_or(s, warnings[i], "unknown"));
	if (v->content == SNAPSHOT_CONTENT_NONE)
		target_warn(target,
		            "the snapshot holds no contents: leaks, references, types, zones and "
		            "regions are as recorded, contents of blocks cannot be shown");
	else if (v->content == SNAPSHOT_CONTENT_READ_ONLY)
		target_warn(target,
		            "the snapshot holds the contents of read-only memory only: contents "
		            "of blocks cannot be shown");
	return NULL;
}

// --- opening ------------------------------------------------------------------------------------

static void snapshot_close(struct target *target)
{
	struct snapshot *s = target->own;

	for (size_t i = 0; i < target->segment_count; i++)
		if (target->segments[i].image)
			os_release((void *)target->segments[i].image,
			           target->segments[i].end - target->segments[i].start);
	for (uint32_t i = 0; i < s->section_count; i++)
		unpacked_release(&s->unpacked[i]);
	unpacked_release(&s->piece);
	os_close(s->fd);
}

static const struct target_ops snapshot_ops = {
	.read = snapshot_read,
	.load = snapshot_load,
	.present = snapshot_present,
	.section = snapshot_section,
	.close = snapshot_close,
};

static struct error *table_read(struct snapshot *s)
{
	struct snapshot_header header;
	struct os_status status;
	size_t bytes;

	TRY(os_file_status(s->fd, &status));
	s->file_bytes = status.bytes;
	if (os_pread(s->fd, &header, sizeof(header), 0) != sizeof(header))
		return damaged("it is cut short");
	if (header.version != SNAPSHOT_VERSION)
		return error_new(ERROR_UNSUPPORTED, "snapshot version %u cannot be read, only %u",
		                 header.version, SNAPSHOT_VERSION);
	if (header.section_count > SNAPSHOT_MOST_SECTIONS)
		return damaged("it has too many sections");
	s->section_count = header.section_count;
	bytes = s->section_count * sizeof(s->sections[0]);
	if (os_pread(s->fd, s->sections, bytes, header.sections_offset) != bytes)
		return damaged("it is cut short");
	return NULL;
}

static struct error *snapshot_fill(struct target *target, struct snapshot *s)
{
	TRY(table_read(s));
	TRY(strings_open(target, s));
	TRY(contents_open(target, s));
	TRY(facts_open(target, s));
	TRY(segments_open(target, s));
	TRY(threads_open(target, s));
	return held_open(target, s);
}

static bool snapshot_is(int fd)
{
	char magic[sizeof(SNAPSHOT_MAGIC) - 1];

	return os_pread(fd, magic, sizeof(magic), 0) == sizeof(magic) &&
	       !memcmp(magic, SNAPSHOT_MAGIC, sizeof(magic));
}

static struct error *snapshot_open(const char *path, int fd, const struct target_options *options,
                                   struct target **ret)
{
	struct target *target = target_new(TARGET_SNAPSHOT, &snapshot_ops);
	struct snapshot *s = arena_alloc(target->arena, sizeof(*s));
	struct error *error;

	(void)options;
	s->fd = fd;
	target->own = s;
	target->source = arena_copy(target->arena, path);
	error = snapshot_fill(target, s);
	if (error) {
		target_close(target);
		return error_prefix(error, "%s", path);
	}
	*ret = target;
	return NULL;
}

const struct target_file_kind snapshot_file_kind = { snapshot_is, snapshot_open };
