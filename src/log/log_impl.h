// SPDX-License-Identifier: MIT
// What the files of log share.
#pragma once

#include "base/base.h"
#include "log/bytes.h"
#include "log/format.h"
#include "log/log.h"
#include "os/os.h"

// --- summary.c: the front of a block of events -------------------------------------------------------
void log_add_summary(log_bytes *to, const struct log_summary *summary);
void log_take_summary(struct log_cursor *from, struct log_summary *ret);

// --- filter.c: where the blocks of memory of some events lie ------------------------------------------
// Appends the filter and fills in the lowest and highest address.
void log_add_filter(log_bytes *to, const struct log_event *events, size_t count,
                    struct log_summary *summary);
// False: none of them holds one of the addresses. A damaged filter holds everything.
bool log_filter_holds(struct log_cursor *filter, const uint64_t *addresses, size_t count);

// --- granules.c: the finer part of the filter -------------------------------------------------------
struct log_span {
	uint64_t start, last; // addresses of the first and the last byte
};
typedef VEC(struct log_span) log_spans;
struct log_granules {
	unsigned shift; // of an address to the number of its granule; 0: there is no such filter
	size_t lines;   // of 64 bytes
};
// How large a filter of the spans, out of a block of so many events, will be; none when their granules fill
// half of page_bytes, their pages.
void log_granules_plan(struct log_granules *ret, const struct log_span *spans, size_t count,
                       size_t event_count, uint64_t page_bytes);
void log_add_granules(log_bytes *to, const struct log_granules *granules,
                      const struct log_span *spans, size_t count);
// As log_filter_holds.
bool log_granules_hold(struct log_cursor *from, const uint64_t *addresses, size_t count);

// --- encode.c, decode.c: events --------------------------------------------------------------------
struct log_encoder;
struct log_encoder *log_encoder_new(struct arena *arena);
void log_encoder_free(struct log_encoder *encoder);
// Appends the body of a block. first_ns is the time of the first event in units of the file.
struct error *log_encode_events(struct log_encoder *encoder, ZSTD_CCtx *zstd,
                                const struct log_event *events, size_t count, uint64_t first_unit,
                                log_bytes *to);

// What decoding one block needs beside its bytes. Kept for the next block, one thread at a time.
struct log_decoder;
struct log_decoder *log_decoder_new(void);
void log_decoder_free(struct log_decoder *decoder); // NULL is allowed
struct log_limits {
	uint32_t nodes, threads, types; // how many there are
	uint32_t time_unit_ns;
	bool damaged; // ids above them are unknown, not errors
};
// Decodes count events out of a body; the texts are left in it.
struct error *log_decode_events(struct log_decoder *decoder, struct log_cursor *body, size_t count,
                                uint64_t first_unit, const struct log_limits *limits,
                                struct log_event *events);
// As that, but only those of the events that are about something: log_read_about. events, numbers: room for
// count.
struct error *log_decode_about(struct log_decoder *decoder, struct log_cursor *body, size_t count,
                               uint64_t first_unit, const struct log_limits *limits,
                               const struct log_about *about, struct log_event *events,
                               uint32_t *numbers, size_t *ret_count);
// Only moves the cursor to the texts.
bool log_skip_events(struct log_cursor *body);

// --- codes.c ----------------------------------------------------------------------------------------
// Millions of nodes have some ten thousand codes: a node keeps the number of its own.
struct log_node_entry {
	uint32_t code, parent;
};

struct log_codes {
	VEC(uint64_t) codes; // v[0] is 0
	uint32_t *slots;     // numbers by code, 0 none
	size_t slot_count;
};

void log_codes_init(struct log_codes *codes);
void log_codes_deinit(struct log_codes *codes);
// The number of a code, which may be new.
uint32_t log_codes_number(struct log_codes *codes, uint64_t code);

// --- encode_tables.c, decode_tables.c ---------------------------------------------------------------
struct error *log_encode_nodes(ZSTD_CCtx *zstd, const struct log_node *nodes, size_t count,
                               uint32_t first, log_bytes *to);
struct error *log_decode_nodes(ZSTD_DCtx *zstd, struct log_cursor *body, size_t count,
                               uint32_t first, struct log_codes *codes,
                               struct log_node_entry *nodes);
struct error *log_encode_live(ZSTD_CCtx *zstd, const struct log_live *blocks, size_t count,
                              log_bytes *to);
struct error *log_decode_live(ZSTD_DCtx *zstd, struct log_cursor *body,
                              const struct log_keyframe *keyframe, const struct log_limits *limits,
                              struct log_live *blocks);
