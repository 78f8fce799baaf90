// SPDX-License-Identifier: MIT
// Writes a snapshot file: everything a look has found, so that every tool reads
// it back on any machine. The file appears under its name only when it is whole.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "base/text.h"
#include "os/os.h"
#include "report/snapshot_impl.h"

#define LEVEL         3
#define FIRST_SLOTS   4096
#define CONTENT_BYTES ((size_t)1 << 20) // of one frame of memory

// --- sections and strings -----------------------------------------------------------------------

void section_add(struct section *section, const void *bytes, size_t n)
{
	if (!n)
		return;
	vec_reserve(&section->bytes, section->bytes.n + n);
	memcpy(section->bytes.v + section->bytes.n, bytes, n);
	section->bytes.n += n;
}

static uint32_t text_hash(const char *text)
{
	uint32_t hash = 2166136261u;

	for (; *text; text++)
		hash = (hash ^ (uint8_t)*text) * 16777619u;
	return hash;
}

static struct string_slot *slot_find(struct snapshot *s, const char *text, uint32_t hash)
{
	size_t i = hash & (s->slot_count - 1);

	while (s->slots[i].offset != SNAPSHOT_NO_INDEX &&
	       (s->slots[i].hash != hash ||
	        strcmp((char *)s->strings.bytes.v + s->slots[i].offset, text)))
		i = (i + 1) & (s->slot_count - 1);
	return &s->slots[i];
}

static void slots_grow(struct snapshot *s)
{
	struct string_slot *old = s->slots;
	size_t count = s->slot_count;

	s->slot_count = count ? count * 2 : FIRST_SLOTS;
	s->slots = arena_array(s->look->arena, s->slot_count, sizeof(*s->slots));
	memset(s->slots, 0xff, s->slot_count * sizeof(*s->slots));
	for (size_t i = 0; i < count; i++)
		if (old[i].offset != SNAPSHOT_NO_INDEX)
			*slot_find(s, (char *)s->strings.bytes.v + old[i].offset, old[i].hash) =
				old[i];
}

uint32_t snapshot_string(struct snapshot *s, const char *text)
{
	uint32_t hash;
	struct string_slot *slot;

	if (!text)
		return SNAPSHOT_NO_INDEX;
	if (s->slots_used * 2 >= s->slot_count)
		slots_grow(s);
	hash = text_hash(text);
	slot = slot_find(s, text, hash);
	if (slot->offset == SNAPSHOT_NO_INDEX) {
		*slot = (struct string_slot){ (uint32_t)s->strings.bytes.n, hash };
		s->slots_used++;
		section_add(&s->strings, text, strlen(text) + 1);
	}
	return slot->offset;
}

// --- the file -----------------------------------------------------------------------------------

static struct error *file_write(struct snapshot *s, const void *bytes, size_t n)
{
	if (fwrite(bytes, 1, n, s->out) != n)
		return error_system(errno, "cannot write the snapshot %s",
		                    s->options->output_graph);
	s->written += n;
	return NULL;
}

// Packs bytes as one frame at the end of the file.
static struct error *frame_write(struct snapshot *s, const void *bytes, size_t n,
                                 uint64_t *ret_stored)
{
	size_t bound = ZSTD_compressBound(n), packed;
	ZSTD_CCtx *context = ZSTD_createCCtx();
	void *buffer = os_page_source.resize(NULL, 0, bound);
	struct error *error;

	if (!context)
		return &error_out_of_memory;
	ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, LEVEL);
	ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
	packed = ZSTD_compress2(context, buffer, bound, bytes, n);
	ZSTD_freeCCtx(context);
	if (ZSTD_isError(packed))
		error = error_new(ERROR_SYSTEM, "cannot pack the snapshot: %s",
		                  ZSTD_getErrorName(packed));
	else
		error = file_write(s, buffer, packed);
	os_page_source.resize(buffer, bound, 0);
	*ret_stored = packed;
	return error;
}

static struct error *section_write(struct snapshot *s, struct section *section)
{
	struct snapshot_section *entry = &s->table[s->section_count++];

	*entry = (struct snapshot_section){ .id = section->id,
		                            .offset = s->written,
		                            .bytes = section->bytes.n };
	return frame_write(s, section->bytes.v, section->bytes.n, &entry->stored_bytes);
}

static void section_begin(struct section *section, uint32_t id)
{
	section->id = id;
	vec_init(&section->bytes, &os_page_source);
}

typedef void (*put_function)(struct snapshot *s, struct section *out);

static const struct {
	uint32_t id;
	put_function put;
} simple_sections[] = {
	{ SNAPSHOT_TARGET, put_target },       { SNAPSHOT_FILES, put_files },
	{ SNAPSHOT_SEGMENTS, put_segments },   { SNAPSHOT_KERNEL_ROOTS, put_kernel_roots },
	{ SNAPSHOT_AUXV, put_auxv },           { SNAPSHOT_WARNINGS, put_warnings },
	{ SNAPSHOT_MODULES, put_modules },     { SNAPSHOT_FRAMES, put_frames },
	{ SNAPSHOT_HEAPS, put_heaps },         { SNAPSHOT_ZONES, put_zones },
	{ SNAPSHOT_BLOCKS, put_blocks },       { SNAPSHOT_RANGES, put_ranges },
	{ SNAPSHOT_FAULTS, put_faults },       { SNAPSHOT_UNKNOWN, put_unknown },
	{ SNAPSHOT_REQUESTED, put_requested }, { SNAPSHOT_MESSAGES, put_messages },
	{ SNAPSHOT_REGIONS, put_regions },     { SNAPSHOT_REACHED, put_reached },
};

static struct error *write_simple(struct snapshot *s)
{
	for (size_t i = 0; i < sizeof(simple_sections) / sizeof(simple_sections[0]); i++) {
		struct section section;
		struct error *error;

		section_begin(&section, simple_sections[i].id);
		simple_sections[i].put(s, &section);
		error = section_write(s, &section);
		vec_deinit(&section.bytes);
		if (error)
			return error;
	}
	return NULL;
}

// Sections that come in pairs: what one holds, the other points into.
static struct error *write_pair(struct snapshot *s, uint32_t first_id, uint32_t second_id)
{
	struct section first, second;
	struct error *error = NULL;

	section_begin(&first, first_id);
	section_begin(&second, second_id);
	if (first_id == SNAPSHOT_THREADS)
		put_threads(s, &first, &second);
	else if (first_id == SNAPSHOT_TYPES)
		put_types(s, &first, &second);
	else
		error = put_references(s, &first, &second);
	if (!error)
		error = section_write(s, &first);
	if (!error)
		error = section_write(s, &second);
	vec_deinit(&first.bytes);
	vec_deinit(&second.bytes);
	return error;
}

// A program that was not recorded has no such sections.
static struct error *write_stacks(struct snapshot *s)
{
	static const uint32_t ids[] = { SNAPSHOT_BLOCK_STACKS, SNAPSHOT_MAPPING_STACKS,
		                        SNAPSHOT_NODES, SNAPSHOT_PLACES };
	enum { COUNT = sizeof(ids) / sizeof(ids[0]) };
	struct section sections[COUNT];
	struct error *error = NULL;
	bool known;

	for (int i = 0; i < COUNT; i++)
		section_begin(&sections[i], ids[i]);
	known = put_stacks(s, sections);
	for (int i = 0; i < COUNT; i++) {
		if (known && !error)
			error = section_write(s, &sections[i]);
		vec_deinit(&sections[i].bytes);
	}
	return error;
}

static struct error *write_log(struct snapshot *s)
{
	struct section section;
	struct error *error;

	if (!s->options->full_stack_history)
		return NULL;
	section_begin(&section, SNAPSHOT_LOG);
	error = put_log(s, &section);
	if (!error)
		error = section_write(s, &section);
	vec_deinit(&section.bytes);
	return error;
}

// --- contents -----------------------------------------------------------------------------------

static bool segment_wanted(const struct snapshot *s, const struct target_segment *segment)
{
	if (!segment->readable || !(segment->protection & TARGET_READ))
		return false;
	if (s->content == SNAPSHOT_CONTENT_READ_ONLY)
		return !(segment->protection & (TARGET_WRITE | TARGET_EXEC));
	return s->content == SNAPSHOT_CONTENT_FULL;
}

struct piece_writer {
	struct snapshot *s;
	uint8_t *buffer;
	struct error *error;
};

static void piece_write(void *context, uint64_t start, uint64_t end)
{
	struct piece_writer *writer = context;
	struct snapshot *s = writer->s;

	while (start < end && !writer->error) {
		size_t want = end - start < CONTENT_BYTES ? end - start : CONTENT_BYTES;
		size_t n = target_read_some(s->look->target, start, writer->buffer, want);
		struct snapshot_contents piece = { start, n, s->written, 0 };

		if (n) {
			writer->error = frame_write(s, writer->buffer, n, &piece.stored_bytes);
			vec_push(&s->contents, piece);
		}
		start += n == want ? n
		                   : round_up(n + 1, os_page_bytes()); // past what cannot be read
	}
}

static struct error *write_contents(struct snapshot *s)
{
	struct target *t = s->look->target;
	struct piece_writer writer = { s, arena_alloc(s->look->arena, CONTENT_BYTES), NULL };
	struct section section = { .id = SNAPSHOT_CONTENTS };

	for (size_t i = 0; i < t->segment_count && !writer.error; i++)
		if (segment_wanted(s, &t->segments[i]))
			TRY(target_present(t, t->segments[i].start, t->segments[i].end, piece_write,
			                   &writer));
	if (writer.error)
		return writer.error;
	section_begin(&section, SNAPSHOT_CONTENTS);
	section_add(&section, s->contents.v, s->contents.n * sizeof(*s->contents.v));
	writer.error = section_write(s, &section);
	vec_deinit(&section.bytes);
	return writer.error;
}

static struct error *write_all(struct snapshot *s)
{
	struct snapshot_header header = { .version = SNAPSHOT_VERSION };

	TRY(file_write(s, &header, sizeof(header)));
	TRY(write_log(s));
	TRY(write_simple(s));
	TRY(write_pair(s, SNAPSHOT_THREADS, SNAPSHOT_REGISTERS));
	TRY(write_pair(s, SNAPSHOT_REFERENCES, SNAPSHOT_ROOT_REFERENCES));
	TRY(write_pair(s, SNAPSHOT_TYPES, SNAPSHOT_BLOCK_TYPES));
	TRY(write_stacks(s));
	TRY(write_contents(s));
	TRY(section_write(s, &s->strings));
	memcpy(header.magic, SNAPSHOT_MAGIC, sizeof(header.magic));
	header.section_count = s->section_count;
	header.sections_offset = s->written;
	TRY(file_write(s, s->table, s->section_count * sizeof(s->table[0])));
	if (fseek(s->out, 0, SEEK_SET))
		return error_system(errno, "cannot write the snapshot %s",
		                    s->options->output_graph);
	return file_write(s, &header, sizeof(header));
}

// --- names --------------------------------------------------------------------------------------

// A directory gets a file named after the process; a name without a suffix gets one.
static const char *path_choose(const struct look *look, const char *wanted)
{
	const char *base = strrchr(wanted, '/');
	struct os_status status;

	if (!os_path_status(wanted, &status) && status.directory) {
		char *name = arena_copy(look->arena, look->target->name);

		for (char *slash; (slash = strchr(name, '/'));) // a process may name itself so
			*slash = '_';
		return arena_format(look->arena, "%s/%s-%d.hwsnap", wanted, name,
		                    look->target->pid);
	}
	if (!strchr(base ? base : wanted, '.'))
		return arena_format(look->arena, "%s.hwsnap", wanted);
	return wanted;
}

static enum snapshot_content content_choose(const struct report_options *options)
{
	if (options->full_content)
		return SNAPSHOT_CONTENT_FULL;
	return options->no_content ? SNAPSHOT_CONTENT_NONE : SNAPSHOT_CONTENT_READ_ONLY;
}

struct error *report_snapshot(struct look *look, const struct report_options *options)
{
	const char *path = path_choose(look, options->output_graph);
	const char *unfinished = arena_format(look->arena, "%s.%d.part", path, os_own_pid());
	struct snapshot s = { .look = look,
		              .options = options,
		              .content = content_choose(options) };
	struct error *error;

	error = os_create_private(unfinished, &s.out);
	if (error)
		return error_system(error->errno_value, "cannot write %s", path);
	section_begin(&s.strings, SNAPSHOT_STRINGS);
	vec_init(&s.contents, &os_page_source);
	error = write_all(&s);
	if (fclose(s.out) && !error)
		error = error_system(errno, "cannot write %s", path);
	if (!error && rename(unfinished, path))
		error = error_system(errno, "cannot write %s", path);
	if (error)
		remove(unfinished);
	else if (!options->json)
		fprintf(options->out, "Snapshot written to %s\n\n",
		        text_printable(look->arena, path));
	vec_deinit(&s.strings.bytes);
	vec_deinit(&s.contents);
	return error;
}
