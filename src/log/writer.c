// SPDX-License-Identifier: MIT
// Writes a log: whole blocks with one write each, so that a reader never sees much of a half one. Tables
// (nodes, modules, threads, types) are gathered and written before the first block that may name
// them. Called by collect.
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "log/log_impl.h"

#define LEVEL 1

// The blocks that a full disk may take from the end of a log, so that it can say so. The smallest note and
// the smallest other block are of one size.
enum { TAKEN_BACK = 4 };

struct block_place {
	uint64_t offset;
	size_t index_bytes; // before it was added
};

struct log_writer {
	struct arena arena;
	const char *path;
	FILE *file;
	ZSTD_CCtx *zstd;
	struct log_encoder *encoder;
	uint64_t written;
	uint64_t events;     // ever
	uint64_t last_unit;  // time of the last event
	uint32_t node_count; // ever, with node 0
	uint32_t module_count, thread_count, type_count;
	VEC(struct log_node) nodes; // not yet written
	log_bytes records;          // not yet written
	uint32_t record_count;
	log_bytes block;      // header, front and body of the block in the making
	log_bytes index;      // header, and the summary if there is one, of each block
	size_t summary_bytes; // of the block in the making
	log_bytes filter;     // the same
	uint32_t index_count;
	struct block_place last[TAKEN_BACK]; // blocks, by their number
};

// --- blocks --------------------------------------------------------------------------------------------

static struct log_block_header *block_begin(struct log_writer *w, enum log_block_kind kind)
{
	struct log_block_header *header;

	vec_reserve(&w->block, sizeof(*header));
	header = (struct log_block_header *)w->block.v;
	*header = (struct log_block_header){ .magic = LOG_BLOCK_MAGIC, .kind = kind };
	w->block.n = sizeof(*header);
	return header;
}

// The block may have moved while it grew.
static struct log_block_header *block_header(struct log_writer *w)
{
	return (struct log_block_header *)w->block.v;
}

static void index_add(struct log_writer *w, const struct log_block_header *header)
{
	w->last[w->index_count % TAKEN_BACK] = (struct block_place){ w->written, w->index.n };
	log_add(&w->index, header, sizeof(*header));
	if (header->kind == LOG_KIND_EVENTS)
		log_add(&w->index, w->block.v + sizeof(*header), w->summary_bytes);
	w->index_count++;
}

static struct error *end_at_written(struct log_writer *w)
{
	fseeko(w->file, (off_t)w->written, SEEK_SET);
	return os_file_resize(fileno(w->file), w->written);
}

// What was written of a block that did not go in whole is taken back: the file ends with a whole block.
static struct error *block_fail(struct log_writer *w)
{
	struct error *error = error_system(errno, "cannot write %s", w->path);

	if (end_at_written(w))
		error = error_prefix(error, "the end of the log is damaged");
	return error;
}

static struct error *block_take_back(struct log_writer *w)
{
	const struct block_place *last = &w->last[--w->index_count % TAKEN_BACK];

	w->written = last->offset;
	w->index.n = last->index_bytes;
	return end_at_written(w);
}

static struct error *block_end(struct log_writer *w)
{
	struct log_block_header *header = block_header(w);
	const uint8_t *front = w->block.v + sizeof(*header);
	const uint8_t *body = front + header->front_bytes;

	header->body_bytes = w->block.n - sizeof(*header) - header->front_bytes;
	header->front_crc = log_crc(0, front, header->front_bytes);
	header->body_crc = log_crc(0, body, header->body_bytes);
	header->crc = log_crc(0, header, offsetof(struct log_block_header, crc));
	if (fwrite(w->block.v, 1, w->block.n, w->file) != w->block.n)
		return block_fail(w);
	index_add(w, header);
	w->written += w->block.n;
	return NULL;
}

// --- tables --------------------------------------------------------------------------------------------

static struct error *nodes_flush(struct log_writer *w)
{
	uint32_t first = w->node_count - (uint32_t)w->nodes.n;
	struct log_block_header *header;

	if (!w->nodes.n)
		return NULL;
	header = block_begin(w, LOG_KIND_NODES);
	header->count = (uint32_t)w->nodes.n;
	header->first = first;
	TRY(log_encode_nodes(w->zstd, w->nodes.v, w->nodes.n, first, &w->block));
	TRY(block_end(w));
	w->nodes.n = 0;
	return NULL;
}

static struct error *records_flush(struct log_writer *w)
{
	struct log_block_header *header;

	if (!w->record_count)
		return NULL;
	header = block_begin(w, LOG_KIND_TABLES);
	header->count = w->record_count;
	TRY(log_add_column(w->zstd, &w->block, w->records.v, w->records.n));
	TRY(block_end(w));
	w->records.n = 0;
	w->record_count = 0;
	return NULL;
}

static struct error *tables_flush(struct log_writer *w)
{
	TRY(nodes_flush(w));
	return records_flush(w);
}

static void record_begin(struct log_writer *w, enum log_record_kind kind, uint64_t index)
{
	log_add_varint(&w->records, kind);
	log_add_varint(&w->records, index);
	w->record_count++;
}

struct error *log_write_nodes(struct log_writer *w, const struct log_node *nodes, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (w->node_count == UINT32_MAX || nodes[i].parent >= w->node_count)
			return error_new(ERROR_DAMAGED,
			                 "node %u names a parent that is not above it",
			                 w->node_count);
		if (w->nodes.n == LOG_MOST_NODES)
			TRY(nodes_flush(w));
		vec_push(&w->nodes, nodes[i]);
		w->node_count++;
	}
	return NULL;
}

struct error *log_write_module(struct log_writer *w, const struct log_module *module)
{
	log_bytes *to = &w->records;
	uint32_t id_bytes = module->build_id_bytes;

	if (id_bytes > sizeof(module->build_id))
		id_bytes = sizeof(module->build_id);
	record_begin(w, LOG_RECORD_MODULE, w->module_count++);
	log_add_varint(to, module->start);
	log_add_varint(to, module->end - module->start);
	log_add_varint(to, module->bias);
	log_add_varint(to, module->loaded_ns);
	log_add_varint(to, module->unloaded_ns + 1);
	log_add_varint(to, module->device);
	log_add_varint(to, module->inode);
	log_add_varint(to, id_bytes);
	log_add(to, module->build_id, id_bytes);
	log_add_text(to, module->path);
	return NULL;
}

struct error *log_write_module_end(struct log_writer *w, size_t module, uint64_t unloaded_ns)
{
	record_begin(w, LOG_RECORD_MODULE_END, module);
	log_add_varint(&w->records, unloaded_ns + 1);
	return NULL;
}

struct error *log_write_thread(struct log_writer *w, const struct log_thread *thread,
                               uint32_t *ret_index)
{
	*ret_index = w->thread_count++;
	record_begin(w, LOG_RECORD_THREAD, *ret_index);
	log_add_varint(&w->records, (uint32_t)thread->id);
	log_add_varint(&w->records, thread->first_ns);
	log_add_text(&w->records, thread->name);
	return NULL;
}

struct error *log_write_thread_name(struct log_writer *w, uint32_t thread, const char *name)
{
	record_begin(w, LOG_RECORD_THREAD_NAME, thread);
	log_add_text(&w->records, name);
	return NULL;
}

struct error *log_write_type(struct log_writer *w, uint64_t word, uint32_t *ret_index)
{
	*ret_index = w->type_count++;
	record_begin(w, LOG_RECORD_TYPE, *ret_index);
	log_add_varint(&w->records, word);
	return NULL;
}

// --- events --------------------------------------------------------------------------------------------

static struct error *texts_add(struct log_writer *w, const struct log_text *texts, size_t count)
{
	log_bytes column;
	struct error *error;
	uint64_t before = w->events;

	vec_init(&column, &os_page_source);
	for (size_t i = 0; i < count; i++) {
		log_add_varint(&column, texts[i].event - before);
		log_add_text(&column, texts[i].text);
		before = texts[i].event;
	}
	log_add_varint(&w->block, count);
	error = log_add_column(w->zstd, &w->block, column.v, column.n);
	vec_deinit(&column);
	return error;
}

static uint64_t unit_not_before(uint64_t before, uint64_t time_ns)
{
	uint64_t unit = time_ns / LOG_TIME_UNIT_NS;

	return unit > before ? unit : before;
}

static struct error *events_check(const struct log_writer *w, const struct log_event *events,
                                  size_t count, const struct log_text *texts, size_t text_count,
                                  uint64_t *ret_last_ns)
{
	uint64_t before = w->events, last_ns = 0;
	bool unknown = false;

	if (!count || count > LOG_BLOCK_EVENTS)
		return error_new(ERROR_DAMAGED, "a block of a log has %zu events", count);
	for (size_t i = 0; i < text_count; i++) {
		if (texts[i].event < before || texts[i].event >= w->events + count)
			return error_new(ERROR_DAMAGED, "a text belongs to no event of its block");
		before = texts[i].event;
	}
	for (size_t i = 0; i < count; i++) {
		unknown |= events[i].node >= w->node_count || events[i].thread >= w->thread_count ||
		           events[i].type >= w->type_count;
		last_ns = events[i].time_ns > last_ns ? events[i].time_ns : last_ns;
	}
	*ret_last_ns = last_ns;
	return unknown ? error_new(ERROR_DAMAGED,
	                           "an event names a stack, thread or type not yet written")
	               : NULL;
}

// The header and front of a block of events; times in units.
static void events_begin(struct log_writer *w, const struct log_event *events, size_t count,
                         uint64_t first, uint64_t last, struct log_summary *summary)
{
	struct log_block_header *header = block_begin(w, LOG_KIND_EVENTS);

	header->count = summary->events = (uint32_t)count;
	header->first = summary->first_event = w->events;
	header->first_ns = summary->first_ns = first * LOG_TIME_UNIT_NS;
	header->last_ns = summary->last_ns = last * LOG_TIME_UNIT_NS;
	w->filter.n = 0;
	log_add_filter(&w->filter, events, count, summary);
	log_add_summary(&w->block, summary);
	w->summary_bytes = w->block.n - sizeof(*header);
	log_add(&w->block, w->filter.v, w->filter.n);
	block_header(w)->front_bytes = (uint32_t)(w->block.n - sizeof(*header));
}

struct error *log_write_events(struct log_writer *w, const struct log_event *events, size_t count,
                               const struct log_text *texts, size_t text_count,
                               struct log_summary *summary)
{
	uint64_t first, last, last_ns;

	TRY(events_check(w, events, count, texts, text_count, &last_ns));
	TRY(tables_flush(w));
	first = unit_not_before(w->last_unit, events[0].time_ns);
	last = unit_not_before(first, last_ns);
	events_begin(w, events, count, first, last, summary);
	TRY(log_encode_events(w->encoder, w->zstd, events, count, first, &w->block));
	TRY(texts_add(w, texts, text_count));
	TRY(block_end(w));
	w->events += count;
	w->last_unit = last;
	return NULL;
}

struct error *log_write_live(struct log_writer *w, uint64_t time_ns, const struct log_live *blocks,
                             size_t count, bool complete)
{
	struct log_block_header *header;

	if (count > UINT32_MAX)
		return error_new(ERROR_UNSUPPORTED, "too many live blocks for a log");
	TRY(tables_flush(w));
	header = block_begin(w, LOG_KIND_LIVE);
	header->count = (uint32_t)count;
	header->first = LOG_LIVE_THREADS | (complete ? LOG_LIVE_COMPLETE : 0);
	header->first_ns = header->last_ns = time_ns;
	TRY(log_encode_live(w->zstd, blocks, count, &w->block));
	return block_end(w);
}

static struct error *note_write(struct log_writer *w, enum log_note_kind kind, uint64_t time_ns,
                                const void *bytes, size_t count)
{
	struct log_block_header *header;

	if (count > UINT32_MAX)
		return error_new(ERROR_UNSUPPORTED, "a note is too long for a log");
	header = block_begin(w, LOG_KIND_NOTE);
	header->count = (uint32_t)count;
	header->first = kind;
	header->first_ns = header->last_ns = time_ns;
	TRY(log_add_column(w->zstd, &w->block, bytes, count));
	return block_end(w);
}

struct error *log_write_note(struct log_writer *w, enum log_note_kind kind, uint64_t time_ns,
                             const void *bytes, size_t count)
{
	TRY(tables_flush(w));
	return note_write(w, kind, time_ns, bytes, count);
}

// The first block, which says what was recorded, is never taken back. Tables that are not written belong to
// events that are not in the file.
struct error *log_write_failure(struct log_writer *w, uint64_t time_ns, const char *text)
{
	struct error *error;
	size_t left = TAKEN_BACK;

	w->nodes.n = 0;
	w->records.n = 0;
	w->record_count = 0;
	while ((error = note_write(w, LOG_NOTE_END, time_ns, text, strlen(text)))) {
		if (!left-- || w->index_count < 2)
			break;
		TRY(block_take_back(w));
	}
	return error;
}

uint64_t log_written_bytes(const struct log_writer *w)
{
	return w->written;
}

// --- opening and closing -------------------------------------------------------------------------------

static struct error *process_write(struct log_writer *w, const struct log_process *process)
{
	log_bytes text;
	struct error *error;

	vec_init(&text, &os_page_source);
	log_add_varint(&text, (uint32_t)process->id);
	log_add_varint(&text, process->mode);
	log_add_varint(&text, process->what);
	log_add_varint(&text, process->wall_ns);
	log_add_varint(&text, process->monotonic_ns);
	log_add_varint(&text, process->sample_bytes);
	log_add_varint(&text, process->launched_ns);
	log_add_varint(&text, process->attached);
	log_add_varint(&text, (uint32_t)process->parent);
	log_add_text(&text, process->name);
	log_add_text(&text, process->path);
	log_add_text(&text, process->command_line);
	log_add_text(&text, process->host);
	log_add_text(&text, process->system);
	log_add_text(&text, process->cpu);
	block_begin(w, LOG_KIND_PROCESS);
	error = log_add_column(w->zstd, &w->block, text.v, text.n);
	vec_deinit(&text);
	return error ? error : block_end(w);
}

static struct error *file_begin(struct log_writer *w, const struct log_process *process)
{
	struct log_file_header header = { .version = LOG_VERSION,
		                          .time_unit_ns = LOG_TIME_UNIT_NS };

	memcpy(header.magic, LOG_MAGIC, sizeof(header.magic));
	header.crc = log_crc(0, &header, offsetof(struct log_file_header, crc));
	if (fwrite(&header, 1, sizeof(header), w->file) != sizeof(header))
		return block_fail(w);
	w->written = sizeof(header);
	return process_write(w, process);
}

static void writer_free(struct log_writer *w)
{
	struct arena arena = w->arena;

	vec_deinit(&w->nodes);
	vec_deinit(&w->records);
	vec_deinit(&w->block);
	vec_deinit(&w->index);
	vec_deinit(&w->filter);
	log_encoder_free(w->encoder);
	ZSTD_freeCCtx(w->zstd);
	arena_deinit(&arena);
}

static struct log_writer *writer_new(const char *path)
{
	struct arena arena;
	struct log_writer *w;

	arena_init(&arena, &os_page_source);
	w = arena_alloc(&arena, sizeof(*w));
	w->path = arena_copy(&arena, path);
	w->encoder = log_encoder_new(&arena);
	w->arena = arena;
	w->node_count = 1;
	w->type_count = 1; // LOG_TYPE_NONE
	vec_init(&w->nodes, &os_page_source);
	vec_init(&w->records, &os_page_source);
	vec_init(&w->block, &os_page_source);
	vec_init(&w->index, &os_page_source);
	vec_init(&w->filter, &os_page_source);
	w->zstd = ZSTD_createCCtx();
	if (w->zstd)
		ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_compressionLevel, LEVEL);
	return w;
}

struct error *log_create(const char *path, bool replace, const struct log_process *process,
                         struct log_writer **ret)
{
	struct log_writer *w = writer_new(path);
	struct error *error = replace ? os_check_replaceable(path) : NULL;

	if (error) {
		writer_free(w);
		return error;
	}
	if (replace)
		remove(path);
	error = w->zstd ? os_create_private(path, &w->file) : &error_out_of_memory;
	if (!error) {
		setvbuf(w->file, NULL, _IONBF, 0); // a block is one write
		error = file_begin(w, process);
		if (error)
			fclose(w->file);
	}
	if (error)
		writer_free(w);
	else
		*ret = w;
	return error;
}

static struct error *index_write(struct log_writer *w)
{
	struct log_end end = { .index_offset = w->written };

	memcpy(end.magic, LOG_END_MAGIC, sizeof(end.magic));
	block_begin(w, LOG_KIND_INDEX)->count = w->index_count;
	TRY(log_add_column(w->zstd, &w->block, w->index.v, w->index.n));
	log_add(&w->block, &end, sizeof(end));
	return block_end(w);
}

struct error *log_close_writer(struct log_writer *w)
{
	struct error *error = tables_flush(w);

	if (!error)
		error = index_write(w);
	if (fclose(w->file) && !error)
		error = error_system(errno, "cannot write %s", w->path);
	writer_free(w);
	return error;
}
