// SPDX-License-Identifier: MIT
// The class table of heap: counting blocks by type (and size), sorting, printing
// (heap.c).
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "report/heap_impl.h"
#include "report/stacks.h"

#define FEWEST_NAME_COLUMNS 30
#define MOST_NAME_COLUMNS   48

const char *heap_block_name(const struct heap_view *view, uint32_t block)
{
	const struct type *type = types_of(view->look->types, block);
	uint32_t owner = view->field_owner ? view->field_owner[block] : GRAPH_NO_BLOCK;

	if (type)
		return type->name;
	if (owner == GRAPH_NO_BLOCK) {
		const char *site = stacks_block_name(view->look, block);

		return site ? site : "non-object";
	}
	return arena_format(view->look->arena, "%s[%u]", types_of(view->look->types, owner)->name,
	                    view->field_offset[block]);
}

static const char *row_name(const struct heap_view *view, const struct heap_row *row)
{
	if (row->label)
		return row->label;
	if (row->type)
		return row->type->name;
	if (row->size)
		return arena_format(view->look->arena, "malloc<%" PRIu64 ">", row->size);
	return "non-object";
}

// --- counting -----------------------------------------------------------------------------------

// What makes two blocks fall into one row.
struct row_key {
	uint32_t type;       // id, 0 = none
	uint32_t field_type; // id of the owner's type of a guessed field
	uint32_t field_offset;
	const char *site; // of a block without a type: who allocated it
	uint64_t size;
};

struct row_table {
	struct row_key *keys;
	struct heap_row *rows;
	uint32_t *index; // row + 1, 0 = empty
	size_t n, capacity, index_count;
	struct arena *arena;
};

static size_t key_hash(const struct row_key *key)
{
	uint64_t h = key->type + key->size * 0x9e3779b97f4a7c15ull;

	h ^= ((uint64_t)key->field_type << 32 | key->field_offset) * 0xff51afd7ed558ccdull;
	h ^= (uintptr_t)key->site;
	return (size_t)(h ^ h >> 29);
}

static bool key_equal(const struct row_key *a, const struct row_key *b)
{
	return a->type == b->type && a->field_type == b->field_type &&
	       a->field_offset == b->field_offset && a->size == b->size && a->site == b->site;
}

static uint32_t *index_slot(const struct row_table *table, const struct row_key *key)
{
	size_t i = key_hash(key) & (table->index_count - 1);

	while (table->index[i] && !key_equal(&table->keys[table->index[i] - 1], key))
		i = (i + 1) & (table->index_count - 1);
	return &table->index[i];
}

static void table_grow(struct row_table *table)
{
	size_t capacity = table->capacity ? table->capacity * 2 : 256;
	struct row_key *keys = arena_array(table->arena, capacity, sizeof(*keys));
	struct heap_row *rows = arena_array(table->arena, capacity, sizeof(*rows));

	if (table->n) {
		memcpy(keys, table->keys, table->n * sizeof(*keys));
		memcpy(rows, table->rows, table->n * sizeof(*rows));
	}
	table->keys = keys;
	table->rows = rows;
	table->capacity = capacity;
	table->index_count = capacity * 2;
	table->index = arena_array(table->arena, table->index_count, sizeof(*table->index));
	for (size_t i = 0; i < table->n; i++)
		*index_slot(table, &table->keys[i]) = (uint32_t)i + 1;
}

static struct heap_row *row_find(struct row_table *table, const struct row_key *key)
{
	uint32_t *slot;

	if (table->n == table->capacity)
		table_grow(table);
	slot = index_slot(table, key);
	if (!*slot) {
		table->keys[table->n++] = *key;
		*slot = (uint32_t)table->n;
	}
	return &table->rows[*slot - 1];
}

// The block whose row a block is counted in: itself, or with -sumObjectFields its owner.
static uint32_t counted_as(const struct heap_view *view, uint32_t block)
{
	if (!view->settings->sum_object_fields || types_of(view->look->types, block))
		return block;
	return view->field_owner[block] == GRAPH_NO_BLOCK ? block : view->field_owner[block];
}

static void count_block(const struct heap_view *view, struct row_table *table, uint32_t block)
{
	uint32_t as = counted_as(view, block);
	const struct type *type = types_of(view->look->types, as);
	uint64_t size = view->look->heaps->blocks[as].hb_size;
	struct row_key key = { .type = type ? type->id : 0,
		               .size = view->settings->show_sizes ? size : 0 };
	uint32_t owner = !type && view->field_owner ? view->field_owner[block] : GRAPH_NO_BLOCK;
	struct heap_row *row;

	if (owner != GRAPH_NO_BLOCK) {
		key.field_type = types_of(view->look->types, owner)->id;
		key.field_offset = view->field_offset[block];
	}
	if (!type && owner == GRAPH_NO_BLOCK)
		key.site = stacks_block_name(view->look, as);
	row = row_find(table, &key);
	if (!row->count) {
		row->type = type;
		row->size = key.size;
		row->label = owner != GRAPH_NO_BLOCK ? heap_block_name(view, block) : key.site;
	}
	row->count += as == block;
	row->bytes += view->look->heaps->blocks[block].hb_size;
}

static int compare_count(const void *a, const void *b)
{
	const struct heap_row *x = a, *y = b;

	if (x->count != y->count)
		return x->count > y->count ? -1 : 1;
	return x->bytes < y->bytes ? 1 : x->bytes > y->bytes ? -1 : 0;
}

static int compare_bytes(const void *a, const void *b)
{
	const struct heap_row *x = a, *y = b;

	if (x->bytes != y->bytes)
		return x->bytes > y->bytes ? -1 : 1;
	return compare_count(a, b);
}

struct heap_rows heap_rows_make(const struct heap_view *view, int zone)
{
	const struct heaps *heaps = view->look->heaps;
	struct row_table table = { .arena = view->look->arena };
	struct heap_rows rows = { 0 };

	for (size_t i = 0; i < heaps->block_count; i++) {
		if (!heap_counts(view, i) ||
		    (zone >= 0 && heaps->blocks[i].hb_zone != (unsigned)zone))
			continue;
		count_block(view, &table, (uint32_t)i);
		rows.count++;
		rows.bytes += heaps->blocks[i].hb_size;
	}
	rows.v = table.rows;
	rows.n = table.n;
	if (rows.n)
		qsort(rows.v, rows.n, sizeof(*rows.v),
		      view->settings->by_size ? compare_bytes : compare_count);
	return rows;
}

// --- printing -----------------------------------------------------------------------------------

static void print_bytes(struct emitter *e, const struct heap_view *view, uint64_t bytes)
{
	char size[TEXT_SIZE_BYTES];

	emit_u64(e, "bytes", bytes, view->settings->human ? NULL : " %10" PRIu64);
	if (view->settings->human)
		emit_text(e, " %10s", text_size_k(bytes, size));
}

// As wide as the longest class name, within limits: names of templates can fill many lines.
static int name_columns_for(const struct heap_view *view, const struct heap_rows *rows)
{
	size_t columns = FEWEST_NAME_COLUMNS;

	for (size_t i = 0; i < rows->n; i++) {
		size_t n = rows->v[i].type ? strlen(row_name(view, &rows->v[i])) : 0;

		if (n > columns)
			columns = n < MOST_NAME_COLUMNS ? n : MOST_NAME_COLUMNS;
	}
	return (int)columns;
}

static void print_row(struct emitter *e, const struct heap_view *view, const struct heap_row *row,
                      int name_columns)
{
	const char *name = row_name(view, row);

	emit_object(e, NULL);
	emit_u64(e, "count", row->count, "%9" PRIu64);
	print_bytes(e, view, row->bytes);
	emit_double(e, "average_bytes", row->count ? (double)row->bytes / (double)row->count : 0.0,
	            " %9.1f");
	if (row->type) {
		emit_string(e, "name", name, NULL);
		emit_text(e, "   %-*s", name_columns, name);
		emit_string(e, "language", row->type->language, " %-6s");
		emit_string(e, "binary", row->type->binary, " %s");
	} else {
		emit_string(e, "name", name, "   %s");
	}
	if (view->settings->show_sizes)
		emit_u64(e, "size_bytes", row->size, NULL);
	emit_text(e, "\n");
	emit_object_end(e);
}

void heap_rows_print(struct emitter *e, const struct heap_view *view, const struct heap_rows *rows)
{
	int columns = name_columns_for(view, rows);

	emit_text(e, "    COUNT      BYTES       AVG   %-*s %-6s %s\n", columns, "CLASS_NAME",
	          "TYPE", "BINARY");
	emit_text(e, "    =====      =====       ===   %-*s %-6s %s\n", columns,
	          "==========", "====", "======");
	emit_array(e, "types");
	for (size_t i = 0; i < rows->n; i++)
		print_row(e, view, &rows->v[i], columns);
	emit_array_end(e);
	emit_text(e, "\n");
}

// --- fields -------------------------------------------------------------------------------------

struct fields {
	const struct heap_view *view;
	uint32_t *owner, *offset;
};

static bool field_found(void *context, const struct graph_reference *reference)
{
	struct fields *fields = context;

	if (fields->owner[reference->to] == GRAPH_NO_BLOCK &&
	    !types_of(fields->view->look->types, reference->to)) {
		fields->owner[reference->to] = reference->from;
		fields->offset[reference->to] = (uint32_t)reference->from_offset;
	}
	return true;
}

struct error *heap_fields_find(struct heap_view *view)
{
	const struct heaps *heaps = view->look->heaps;
	struct fields fields = { .view = view };

	fields.owner = arena_array(view->look->arena, heaps->block_count, sizeof(uint32_t));
	fields.offset = arena_array(view->look->arena, heaps->block_count, sizeof(uint32_t));
	memset(fields.owner, 0xff, heaps->block_count * sizeof(uint32_t));
	for (uint32_t i = 0; i < heaps->block_count; i++)
		if (heap_counts(view, i) && types_of(view->look->types, i))
			TRY(graph_references_from(view->look->graph, i, field_found, &fields));
	view->field_owner = fields.owner;
	view->field_offset = fields.offset;
	return NULL;
}
