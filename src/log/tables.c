// SPDX-License-Identifier: MIT
// The tables of a log: process, nodes, modules, threads, types. What a damaged block held is made up
// for with entries that say nothing, so that the numbers of the rest stay right.
#include "log/reader_impl.h"

#define NODES_PER_LOST_BYTE 64 // more than packing can do to nodes

static struct error *out_of_order(void)
{
	return error_new(ERROR_DAMAGED, "a table of the log is not in order");
}

static const char *take_text(struct log_reader *reader, struct log_cursor *from)
{
	uint64_t length = take_varint(from);
	const uint8_t *bytes = take_bytes(from, length);

	return bytes ? arena_copy_n(&reader->arena, (const char *)bytes, length) : "";
}

// --- the process ---------------------------------------------------------------------------------------

static void process_take(struct log_reader *reader, struct log_cursor *from)
{
	struct log_process *process = &reader->process;

	process->id = (int32_t)take_varint(from);
	process->mode = (uint32_t)take_varint(from);
	process->what = (uint32_t)take_varint(from);
	process->wall_ns = take_varint(from);
	process->monotonic_ns = take_varint(from);
	process->sample_bytes = take_varint(from);
	process->launched_ns = take_varint(from);
	process->attached = (uint32_t)take_varint(from);
	process->parent = (int32_t)take_varint(from);
	process->name = take_text(reader, from);
	process->path = take_text(reader, from);
	process->command_line = take_text(reader, from);
	process->host = take_text(reader, from);
	process->system = take_text(reader, from);
	process->cpu = take_text(reader, from);
	reader->has_process = !from->bad;
}

// --- records -------------------------------------------------------------------------------------------

static void module_take(struct log_reader *reader, struct log_cursor *from,
                        struct log_module *module)
{
	const uint8_t *id;

	module->start = take_varint(from);
	module->end = module->start + take_varint(from);
	module->bias = take_varint(from);
	module->loaded_ns = take_varint(from);
	module->unloaded_ns = take_varint(from) - 1;
	module->device = take_varint(from);
	module->inode = take_varint(from);
	module->build_id_bytes = (uint32_t)take_varint(from);
	if (module->build_id_bytes > sizeof(module->build_id)) {
		from->bad = true;
		module->build_id_bytes = 0;
	}
	id = take_bytes(from, module->build_id_bytes);
	if (id)
		memcpy(module->build_id, id, module->build_id_bytes);
	module->path = take_text(reader, from);
}

// Makes up for entries that a damaged block held. A gap is allowed once something was lost.
#define MOST_GAP 65536
#define table_fill(reader, table, index, ...)                                                     \
	({                                                                                        \
		bool fits =                                                                       \
			(index) == (table)->n || ((reader)->lost_bytes && (index) > (table)->n && \
		                                  (index) - (table)->n <= MOST_GAP);              \
		while (fits && (table)->n < (index))                                              \
			vec_push((table), (__VA_ARGS__));                                         \
		fits;                                                                             \
	})

static bool record_take(struct log_reader *reader, struct log_cursor *from)
{
	uint64_t kind = take_varint(from), index = take_varint(from);
	const struct log_module no_module = { .path = "", .unloaded_ns = UINT64_MAX };
	const struct log_thread no_thread = { .name = "" };
	const struct log_type no_type = { 0 };

	switch (kind) {
	case LOG_RECORD_MODULE:
		if (!table_fill(reader, &reader->modules, index, no_module))
			return false;
		module_take(reader, from, vec_add(&reader->modules));
		break;
	case LOG_RECORD_MODULE_END: {
		uint64_t unloaded_ns = take_varint(from) - 1;

		if (index < reader->modules.n)
			reader->modules.v[index].unloaded_ns = unloaded_ns;
		break;
	}
	case LOG_RECORD_THREAD: {
		struct log_thread thread;

		if (!table_fill(reader, &reader->threads, index, no_thread))
			return false;
		thread.id = (int32_t)take_varint(from);
		thread.first_ns = take_varint(from);
		thread.name = take_text(reader, from);
		vec_push(&reader->threads, thread);
		break;
	}
	case LOG_RECORD_THREAD_NAME: {
		const char *name = take_text(reader, from);

		if (index < reader->threads.n)
			reader->threads.v[index].name = name;
		break;
	}
	case LOG_RECORD_TYPE:
		if (!table_fill(reader, &reader->types, index, no_type))
			return false;
		vec_push(&reader->types, ((struct log_type){ take_varint(from) }));
		break;
	default:
		return false;
	}
	return !from->bad;
}

// --- nodes ---------------------------------------------------------------------------------------------

static void nodes_fill(struct log_reader *reader, uint64_t count)
{
	while (reader->nodes.n < count)
		vec_push(&reader->nodes, ((struct log_node_entry){ 0 }));
}

// Nodes before this block that are missing were in a block that is damaged.
static struct error *nodes_gap(struct log_reader *reader, uint64_t first)
{
	uint64_t missing = first - reader->nodes.n;

	if (first < reader->nodes.n || first > UINT32_MAX ||
	    missing / NODES_PER_LOST_BYTE > reader->lost_bytes)
		return out_of_order();
	nodes_fill(reader, first);
	return NULL;
}

static struct error *nodes_take(struct log_reader *reader, struct log_desk *desk,
                                struct log_cursor *body, const struct log_block_header *header)
{
	struct error *error;

	TRY(nodes_gap(reader, header->first));
	if (header->count > UINT32_MAX - reader->nodes.n || header->count > LOG_MOST_NODES)
		return out_of_order();
	vec_reserve(&reader->nodes, reader->nodes.n + header->count);
	error = log_decode_nodes(desk->zstd, body, header->count, (uint32_t)header->first,
	                         &reader->codes, reader->nodes.v + reader->nodes.n);
	if (!error)
		reader->nodes.n += header->count;
	return error;
}

struct error *log_take_tables(struct log_reader *reader, const struct log_place *place,
                              const struct log_block_header *header)
{
	struct log_desk *desk = log_desk_take(reader);
	struct log_cursor body, column;
	struct error *error = log_body_read(reader, place, desk, &body);

	if (!error && header->kind == LOG_KIND_NODES) {
		error = nodes_take(reader, desk, &body, header);
	} else if (!error) {
		error = log_take_column(desk->zstd, &body, SIZE_MAX / 2, &desk->column, &column);
		if (!error && header->kind == LOG_KIND_PROCESS)
			process_take(reader, &column);
		else if (!error)
			for (uint32_t i = 0; i < header->count && !error; i++)
				error = record_take(reader, &column) ? NULL : out_of_order();
	}
	log_desk_give(reader, desk);
	return error;
}
