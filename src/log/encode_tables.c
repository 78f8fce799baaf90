// SPDX-License-Identifier: MIT
// Nodes and live blocks into columns (docs/log-format.md).
#include "log/columns.h"
#include "log/log_impl.h"

static void columns_begin(log_bytes *columns, int count)
{
	for (int i = 0; i < count; i++)
		vec_init(&columns[i], &os_page_source);
}

static struct error *columns_end(ZSTD_CCtx *zstd, log_bytes *columns, int count, log_bytes *to)
{
	struct error *error = NULL;

	for (int i = 0; i < count; i++) {
		if (!error)
			error = log_add_column(zstd, to, columns[i].v, columns[i].n);
		vec_deinit(&columns[i]);
	}
	return error;
}

// --- nodes -----------------------------------------------------------------------------------------------

// Codes told in this block, and where: open addressing.
struct codes {
	uint64_t *codes; // number n at n - 1
	uint32_t count;
	uint32_t *slots; // numbers, 0 none
	size_t slot_count;
};

static void codes_begin(struct codes *codes, size_t count)
{
	codes->count = 0;
	for (codes->slot_count = 64; codes->slot_count < 2 * count;)
		codes->slot_count *= 2;
	codes->codes = os_page_source.resize(NULL, 0, count * sizeof(*codes->codes));
	codes->slots = os_page_source.resize(NULL, 0, codes->slot_count * sizeof(*codes->slots));
}

static void codes_end(struct codes *codes, size_t count)
{
	os_page_source.resize(codes->codes, count * sizeof(*codes->codes), 0);
	os_page_source.resize(codes->slots, codes->slot_count * sizeof(*codes->slots), 0);
}

// The number of a code, 0 when it is new; then it gets one.
static uint32_t codes_number(struct codes *codes, uint64_t code)
{
	size_t i = code * UINT64_C(0x9e3779b97f4a7c15) >> 32;

	for (;; i++) {
		uint32_t *slot = &codes->slots[i & (codes->slot_count - 1)];

		if (*slot && codes->codes[*slot - 1] == code)
			return *slot;
		if (!*slot) {
			codes->codes[codes->count++] = code;
			*slot = codes->count;
			return 0;
		}
	}
}

// Twice the steps up from the node before, or twice the distance of ids and 1.
static uint64_t parent_tell(const struct log_node *nodes, uint32_t first, uint32_t node)
{
	uint32_t parent = nodes[node - first].parent, at = node - 1;

	for (uint64_t steps = 0; steps < LOG_NODE_STEPS; steps++) {
		if (at == parent)
			return steps * 2;
		if (at < first)
			break;
		at = nodes[at - first].parent;
	}
	return (uint64_t)(node - parent) * 2 + 1;
}

struct error *log_encode_nodes(ZSTD_CCtx *zstd, const struct log_node *nodes, size_t count,
                               uint32_t first, log_bytes *to)
{
	log_bytes columns[NODE_COLUMNS];
	struct codes codes;
	uint64_t last = 0;

	columns_begin(columns, NODE_COLUMNS);
	codes_begin(&codes, count);
	for (uint32_t i = 0; i < count; i++) {
		uint32_t number = codes_number(&codes, nodes[i].code);

		log_add_varint(&columns[NODE_PARENTS], parent_tell(nodes, first, first + i));
		log_add_varint(&columns[NODE_NUMBERS], number);
		if (number)
			continue;
		log_add_varint(&columns[NODE_CODES], fold((int64_t)(nodes[i].code - last)));
		last = nodes[i].code;
	}
	codes_end(&codes, count);
	return columns_end(zstd, columns, NODE_COLUMNS, to);
}

// --- live blocks -----------------------------------------------------------------------------------------

static uint64_t thread_tell(const struct log_live *block)
{
	return block->thread == LOG_NO_THREAD ? 0 : block->thread + 1u;
}

struct error *log_encode_live(ZSTD_CCtx *zstd, const struct log_live *blocks, size_t count,
                              log_bytes *to)
{
	log_bytes columns[LIVE_COLUMNS];
	uint64_t address = 0;

	columns_begin(columns, LIVE_COLUMNS);
	for (size_t i = 0; i < count; i++) {
		uint8_t kind = blocks[i].kind;

		log_add_varint(&columns[LIVE_ADDRESSES],
		               fold((int64_t)(blocks[i].address - address)));
		log_add_varint(&columns[LIVE_BYTES], blocks[i].bytes);
		log_add_varint(&columns[LIVE_NODES], blocks[i].node);
		log_add(&columns[LIVE_KINDS], &kind, 1);
		log_add_varint(&columns[LIVE_THREADS], thread_tell(&blocks[i]));
		address = blocks[i].address;
	}
	return columns_end(zstd, columns, LIVE_COLUMNS, to);
}
