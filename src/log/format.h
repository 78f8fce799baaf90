// SPDX-License-Identifier: MIT
// The log file, byte for byte. docs/log-format.md says what each field means; this header and that page
// change together. All numbers are little endian.
#pragma once

#include <stdint.h>

#define LOG_MAGIC       "HWLOG\r\n\x1a" // 8 bytes, no NUL; \r\n shows a transfer as text
#define LOG_VERSION     2
#define LOG_BLOCK_MAGIC UINT32_C(0x6b6c4248) // "HBlk"
#define LOG_END_MAGIC   "HWLOGEND"           // 8 bytes, no NUL

struct log_file_header {
	uint8_t magic[8];
	uint32_t version;
	uint32_t time_unit_ns; // times inside blocks of events count these
	uint32_t reserved;
	uint32_t crc; // of the bytes before
};

enum log_block_kind {
	LOG_KIND_PROCESS = 1,
	LOG_KIND_NODES = 2,
	LOG_KIND_TABLES = 3,
	LOG_KIND_EVENTS = 4,
	LOG_KIND_LIVE = 5,
	LOG_KIND_NOTE = 6,
	LOG_KIND_INDEX = 7,
};

struct log_block_header {
	uint32_t magic;
	uint32_t kind;        // enum log_block_kind
	uint32_t count;       // of events, nodes, records, live blocks
	uint32_t front_bytes; // what can be asked of the block without its body
	uint64_t body_bytes;
	uint64_t first; // number of the first event or node; flags of live blocks; kind of a note
	uint64_t first_ns, last_ns;
	uint32_t front_crc, body_crc;
	uint32_t reserved;
	uint32_t crc; // of the bytes before
};

// The last bytes of the index block, and so of a complete file.
struct log_end {
	uint64_t index_offset;
	uint8_t magic[8];
};

enum log_record_kind {
	LOG_RECORD_MODULE = 1,
	LOG_RECORD_MODULE_END = 2,
	LOG_RECORD_THREAD = 3,
	LOG_RECORD_THREAD_NAME = 4,
	LOG_RECORD_TYPE = 5,
};

enum {
	LOG_LIVE_COMPLETE = 1, // log_block_header.first of live blocks
	LOG_LIVE_THREADS = 2,
	LOG_MOST_NODES = 1 << 16,
	LOG_TIME_UNIT_NS = 1000,
};

_Static_assert(sizeof(struct log_file_header) == 24, "log_file_header");
_Static_assert(sizeof(struct log_block_header) == 64, "log_block_header");
_Static_assert(sizeof(struct log_end) == 16, "log_end");
