// SPDX-License-Identifier: MIT
// Opens logs and answers what stands in them. The file is foreign: see scan.c. Called by history and by
// whatever asks a recording.
#include <stdlib.h>

#include "log/reader_impl.h"

// --- desks -----------------------------------------------------------------------------------------------

struct log_desk *log_desk_take(const struct log_reader *reader)
{
	struct log_desk *desk;

	pthread_mutex_lock(&reader->desks->lock);
	desk = reader->desks->first;
	if (desk)
		reader->desks->first = desk->next;
	pthread_mutex_unlock(&reader->desks->lock);
	if (desk)
		return desk;
	desk = os_page_source.resize(NULL, 0, sizeof(*desk));
	*desk = (struct log_desk){ .decoder = log_decoder_new(), .zstd = ZSTD_createDCtx() };
	vec_init(&desk->body, &os_page_source);
	vec_init(&desk->column, &os_page_source);
	return desk;
}

void log_desk_give(const struct log_reader *reader, struct log_desk *desk)
{
	pthread_mutex_lock(&reader->desks->lock);
	desk->next = reader->desks->first;
	reader->desks->first = desk;
	pthread_mutex_unlock(&reader->desks->lock);
}

static void desk_free(struct log_desk *desk)
{
	log_decoder_free(desk->decoder);
	ZSTD_freeDCtx(desk->zstd);
	vec_deinit(&desk->body);
	vec_deinit(&desk->column);
	os_page_source.resize(desk, sizeof(*desk), 0);
}

static struct error *part_read(const struct log_reader *reader, uint64_t offset, uint64_t bytes,
                               uint32_t crc, log_bytes *to, struct log_cursor *ret)
{
	vec_reserve(to, bytes + LOG_PADDING);
	if (os_pread(reader->fd, to->v, bytes, offset) != bytes || log_crc(0, to->v, bytes) != crc)
		return error_new(ERROR_DAMAGED, "a block of the log is damaged");
	memset(to->v + bytes, 0, LOG_PADDING);
	*ret = (struct log_cursor){ to->v, to->v + bytes, false };
	return NULL;
}

struct error *log_front_read(const struct log_reader *reader, const struct log_place *place,
                             struct log_desk *desk, struct log_cursor *ret)
{
	return part_read(reader, place->offset + sizeof(struct log_block_header),
	                 place->front_bytes, place->front_crc, &desk->column, ret);
}

struct error *log_body_read(const struct log_reader *reader, const struct log_place *place,
                            struct log_desk *desk, struct log_cursor *ret)
{
	if (!desk->zstd)
		return &error_out_of_memory;
	return part_read(reader,
	                 place->offset + sizeof(struct log_block_header) + place->front_bytes,
	                 place->body_bytes, place->body_crc, &desk->body, ret);
}

struct error *log_error_at(const struct log_place *place, struct error *cause)
{
	return cause ? error_prefix(cause, "block at byte %llu", (unsigned long long)place->offset)
	             : NULL;
}

// --- opening ---------------------------------------------------------------------------------------------

static struct log_reader *reader_new(const char *path)
{
	struct arena arena;
	struct log_reader *reader;

	arena_init(&arena, &os_page_source);
	reader = arena_alloc(&arena, sizeof(*reader));
	reader->path = arena_copy(&arena, path);
	reader->desks = arena_alloc(&arena, sizeof(*reader->desks));
	pthread_mutex_init(&reader->desks->lock, NULL);
	reader->arena = arena;
	reader->fd = -1;
	vec_init(&reader->nodes, &os_page_source);
	vec_init(&reader->modules, &os_page_source);
	vec_init(&reader->threads, &os_page_source);
	vec_init(&reader->types, &os_page_source);
	vec_init(&reader->blocks, &os_page_source);
	vec_init(&reader->keyframes, &os_page_source);
	vec_init(&reader->notes, &os_page_source);
	log_codes_init(&reader->codes);
	vec_push(&reader->nodes, ((struct log_node_entry){ 0 }));
	vec_push(&reader->types, ((struct log_type){ 0 }));
	return reader;
}

static struct error *file_header_read(struct log_reader *reader)
{
	struct log_file_header header;

	if (os_pread(reader->fd, &header, sizeof(header), 0) != sizeof(header))
		return error_new(ERROR_DAMAGED, "the log is cut short");
	if (memcmp(header.magic, LOG_MAGIC, sizeof(header.magic)))
		return error_new(ERROR_USAGE, "this is no log");
	if (header.version != LOG_VERSION)
		return error_new(ERROR_UNSUPPORTED, "log version %u cannot be read, only %u",
		                 header.version, LOG_VERSION);
	if (header.crc != log_crc(0, &header, offsetof(struct log_file_header, crc)) ||
	    !header.time_unit_ns)
		return error_new(ERROR_DAMAGED, "the head of the log is damaged");
	reader->time_unit_ns = header.time_unit_ns;
	reader->end = sizeof(header);
	return NULL;
}

static struct error *reader_fill(struct log_reader *reader)
{
	TRY(os_open_regular(reader->path, &reader->fd));
	TRY(file_header_read(reader));
	TRY(log_scan(reader));
	if (!reader->has_process)
		return error_new(ERROR_DAMAGED, "the log does not say what was recorded");
	return NULL;
}

struct error *log_open(const char *path, struct log_reader **ret)
{
	struct log_reader *reader = reader_new(path);
	struct error *error = reader_fill(reader);

	if (error) {
		log_close(reader);
		return error_prefix(error, "%s", path);
	}
	*ret = reader;
	return NULL;
}

void log_close(struct log_reader *reader)
{
	struct arena arena;

	if (!reader)
		return;
	while (reader->desks->first) {
		struct log_desk *desk = reader->desks->first;

		reader->desks->first = desk->next;
		desk_free(desk);
	}
	pthread_mutex_destroy(&reader->desks->lock);
	os_close(reader->fd);
	vec_deinit(&reader->nodes);
	log_codes_deinit(&reader->codes);
	vec_deinit(&reader->modules);
	vec_deinit(&reader->threads);
	vec_deinit(&reader->types);
	vec_deinit(&reader->blocks);
	vec_deinit(&reader->keyframes);
	vec_deinit(&reader->notes);
	arena = reader->arena;
	arena_deinit(&arena);
}

struct error *log_refresh(struct log_reader *reader)
{
	if (reader->complete)
		return NULL;
	if (reader->cut_off) // it may be whole now
		reader->damage[0] = '\0';
	return log_scan(reader);
}

bool log_is(const char *path)
{
	OS_DESCRIPTOR int fd = -1;
	uint8_t magic[sizeof(LOG_MAGIC) - 1];

	return !os_open_regular(path, &fd) &&
	       os_pread(fd, magic, sizeof(magic), 0) == sizeof(magic) &&
	       !memcmp(magic, LOG_MAGIC, sizeof(magic));
}

// --- what is in it ---------------------------------------------------------------------------------------

bool log_complete(const struct log_reader *reader)
{
	return reader->complete;
}

const char *log_damage(const struct log_reader *reader)
{
	return reader->damage[0] ? reader->damage : NULL;
}

const struct log_process *log_process(const struct log_reader *reader)
{
	return &reader->process;
}

uint32_t log_node_count(const struct log_reader *reader)
{
	return (uint32_t)reader->nodes.n;
}

struct log_node log_node(const struct log_reader *reader, uint32_t node)
{
	const struct log_node_entry *entry = &reader->nodes.v[node < reader->nodes.n ? node : 0];

	return (struct log_node){ reader->codes.codes.v[entry->code], entry->parent };
}

const struct log_module *log_modules(const struct log_reader *reader, size_t *ret_count)
{
	*ret_count = reader->modules.n;
	return reader->modules.v;
}

const struct log_thread *log_threads(const struct log_reader *reader, size_t *ret_count)
{
	*ret_count = reader->threads.n;
	return reader->threads.v;
}

const struct log_type *log_types(const struct log_reader *reader, size_t *ret_count)
{
	*ret_count = reader->types.n;
	return reader->types.v;
}

size_t log_block_count(const struct log_reader *reader)
{
	return reader->blocks.n;
}

const struct log_summary *log_block(const struct log_reader *reader, size_t block)
{
	return &reader->blocks.v[block].summary;
}

// --- events ----------------------------------------------------------------------------------------------

static bool any_between(const uint64_t *addresses, size_t count, uint64_t low, uint64_t high)
{
	for (size_t i = 0; i < count; i++)
		if (addresses[i] >= low && addresses[i] <= high)
			return true;
	return false;
}

bool log_block_may_hold(const struct log_reader *reader, size_t block, const uint64_t *addresses,
                        size_t count)
{
	const struct log_block_entry *entry = &reader->blocks.v[block];
	struct log_summary summary;
	struct log_cursor front;
	struct log_desk *desk;
	bool holds = true;

	if (!any_between(addresses, count, entry->summary.low_address, entry->summary.high_address))
		return false;
	desk = log_desk_take(reader);
	if (!log_front_read(reader, &entry->place, desk, &front)) {
		log_take_summary(&front, &summary);
		holds = log_filter_holds(&front, addresses, count);
	}
	log_desk_give(reader, desk);
	return holds;
}

static struct log_limits limits_of(const struct log_reader *reader)
{
	return (struct log_limits){ (uint32_t)reader->nodes.n, (uint32_t)reader->threads.n,
		                    (uint32_t)reader->types.n, reader->time_unit_ns,
		                    reader->damage[0] != '\0' };
}

struct error *log_read_events(const struct log_reader *reader, size_t block,
                              struct log_event *events)
{
	const struct log_block_entry *entry = &reader->blocks.v[block];
	struct log_limits limits = limits_of(reader);
	struct log_desk *desk = log_desk_take(reader);
	struct log_cursor body;
	struct error *error = log_body_read(reader, &entry->place, desk, &body);

	if (!error)
		error = log_decode_events(desk->decoder, &body, entry->summary.events,
		                          entry->summary.first_ns / reader->time_unit_ns, &limits,
		                          events);
	log_desk_give(reader, desk);
	return log_error_at(&entry->place, error);
}

struct error *log_read_about(const struct log_reader *reader, size_t block,
                             const struct log_about *about, struct log_event *events,
                             uint32_t *numbers, size_t *ret_count)
{
	const struct log_block_entry *entry = &reader->blocks.v[block];
	struct log_limits limits = limits_of(reader);
	struct log_desk *desk = log_desk_take(reader);
	struct log_cursor body;
	struct error *error = log_body_read(reader, &entry->place, desk, &body);

	if (!error)
		error = log_decode_about(desk->decoder, &body, entry->summary.events,
		                         entry->summary.first_ns / reader->time_unit_ns, &limits,
		                         about, events, numbers, ret_count);
	log_desk_give(reader, desk);
	return log_error_at(&entry->place, error);
}

static struct error *texts_take(struct log_desk *desk, struct log_cursor *body,
                                const struct log_summary *summary, struct arena *arena,
                                const struct log_text **ret, size_t *ret_count)
{
	uint64_t count, event = summary->first_event;
	struct log_cursor column;
	struct log_text *texts;

	if (!log_skip_events(body))
		return error_new(ERROR_DAMAGED, "a column has an impossible length");
	count = take_varint(body);
	TRY(log_take_column(desk->zstd, body, SIZE_MAX / 2, &desk->column, &column));
	if (count > (size_t)(column.end - column.at))
		return error_new(ERROR_DAMAGED, "there are more texts than room for them");
	texts = arena_array(arena, count, sizeof(*texts));
	for (uint64_t i = 0; i < count; i++) {
		uint64_t length;
		const uint8_t *bytes;

		event += take_varint(&column);
		length = take_varint(&column);
		bytes = take_bytes(&column, length);
		if (!bytes || event - summary->first_event >= summary->events)
			return error_new(ERROR_DAMAGED, "a text belongs to no event");
		texts[i] = (struct log_text){ event,
			                      arena_copy_n(arena, (const char *)bytes, length) };
	}
	*ret = texts;
	*ret_count = count;
	return NULL;
}

struct error *log_read_texts(const struct log_reader *reader, size_t block, struct arena *arena,
                             const struct log_text **ret, size_t *ret_count)
{
	const struct log_block_entry *entry = &reader->blocks.v[block];
	struct log_desk *desk = log_desk_take(reader);
	struct log_cursor body;
	struct error *error = log_body_read(reader, &entry->place, desk, &body);

	if (!error)
		error = texts_take(desk, &body, &entry->summary, arena, ret, ret_count);
	log_desk_give(reader, desk);
	return log_error_at(&entry->place, error);
}

// --- keyframes and notes ---------------------------------------------------------------------------------

size_t log_keyframe_count(const struct log_reader *reader)
{
	return reader->keyframes.n;
}

const struct log_keyframe *log_keyframe(const struct log_reader *reader, size_t keyframe)
{
	return &reader->keyframes.v[keyframe].keyframe;
}

struct error *log_read_live(const struct log_reader *reader, size_t keyframe,
                            struct log_live *blocks)
{
	const struct log_keyframe_entry *entry = &reader->keyframes.v[keyframe];
	struct log_limits limits = limits_of(reader);
	struct log_desk *desk = log_desk_take(reader);
	struct log_cursor body;
	struct error *error = log_body_read(reader, &entry->place, desk, &body);

	if (!error)
		error = log_decode_live(desk->zstd, &body, &entry->keyframe, &limits, blocks);
	log_desk_give(reader, desk);
	return log_error_at(&entry->place, error);
}

size_t log_note_count(const struct log_reader *reader)
{
	return reader->notes.n;
}

const struct log_note *log_note(const struct log_reader *reader, size_t note)
{
	return &reader->notes.v[note].note;
}

struct error *log_read_note(const struct log_reader *reader, size_t note, struct arena *arena,
                            const char **ret)
{
	const struct log_note_entry *entry = &reader->notes.v[note];
	struct log_desk *desk = log_desk_take(reader);
	struct log_cursor body, column;
	struct error *error = log_body_read(reader, &entry->place, desk, &body);

	if (!error)
		error = log_take_column(desk->zstd, &body, entry->note.bytes, &desk->column,
		                        &column);
	if (!error && (size_t)(column.end - column.at) != entry->note.bytes)
		error = error_new(ERROR_DAMAGED, "a note has another length than told");
	if (!error) {
		char *text = arena_alloc(arena, entry->note.bytes + 1);

		memcpy(text, column.at, entry->note.bytes);
		*ret = text;
	}
	log_desk_give(reader, desk);
	return log_error_at(&entry->place, error);
}
