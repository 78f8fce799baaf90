// SPDX-License-Identifier: MIT
// What the files of the collector share. The flow: share (the mapping) -> drain (rings, in order) ->
// stream (events as the log has them; live blocks, stacks, threads, types) -> pack (one block of the
// log with all that it names) -> a second thread that writes it. Everything but the writing happens in
// one thread.
//
// The program may write anything into the shared mapping at any time. Therefore: every number is
// loaded once, by the functions of this header, into a variable of ours, checked, and then used.
#pragma once

#include <stdatomic.h>

#include "base/arena.h"
#include "base/vec.h"
#include "collect/collect.h"
#include "layout/record.h"
#include "log/log.h"
#include "os/os.h"

enum {
	COLLECT_NO_THREAD = UINT32_MAX,
	COLLECT_TEXT_BYTES = RECORD_TEXT_BYTES,
};

static inline uint32_t collect_load_32(const uint32_t *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static inline uint64_t collect_load_64(const uint64_t *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

// --- share.c -------------------------------------------------------------------------------------
// The shared mapping; all numbers are copies that were checked against its size.
struct collect_share {
	int descriptor; // -1: memory of a test
	struct record_header *header;
	uint64_t bytes;
	const struct record_node *nodes;
	const struct record_module *modules;
	const char *texts;
	uint8_t *rings;
	uint64_t ring_stride;
	uint32_t node_capacity, module_capacity, text_capacity, ring_capacity, ring_events;
	uint32_t mode, what, clock;
	uint64_t clock_start, start_ns, wall_ns, sample_bytes, wait_ns;
	int own_process; // id of the program as it sees itself
};

// Checks a mapping. ERROR_DAMAGED names the field that cannot be.
struct error *collect_share_check(void *memory, uint64_t bytes, struct collect_share *ret);
// Opens that of a process: descriptor as in struct collect_settings.
struct error *collect_share_open(int process, int descriptor, struct collect_share *ret);
void collect_share_close(struct collect_share *share);

// Where a process has the mapping. ERROR_NOT_FOUND: nowhere.
struct error *collect_share_find(int process, uint64_t *ret_start, uint64_t *ret_end);

// Whether a process still has this mapping; true when that cannot be known.
bool collect_share_is_mapped(const struct collect_share *share, int process);

static inline struct record_ring *collect_ring(const struct collect_share *share, uint32_t ring)
{
	return (struct record_ring *)(share->rings + ring * share->ring_stride);
}

static inline const struct record_event *collect_ring_event(const struct collect_share *share,
                                                            const struct record_ring *ring,
                                                            uint64_t number)
{
	return (const struct record_event *)(ring + 1) + (number & (share->ring_events - 1));
}

// --- clock.c -------------------------------------------------------------------------------------
// Ticks of the program's stamps as ns since the start of the recording, from two clocks that are read
// together again and again. Never goes back.
struct collect_clock {
	uint32_t kind; // enum record_clock
	uint64_t start_ticks, start_ns;
	uint64_t base_ticks, base_ns; // since the start
	uint64_t scale;               // ns per tick, 32 bits behind the point
	uint64_t settle_ticks;        // younger stamps may not be visible yet
};

void collect_clock_init(struct collect_clock *clock, const struct collect_share *share);
uint64_t collect_clock_ticks(const struct collect_clock *clock); // now, since the start
// Reads both clocks: what is converted from now on is not older than base_ticks.
void collect_clock_settle(struct collect_clock *clock, uint64_t until_ticks);

static inline uint64_t collect_clock_ns(const struct collect_clock *clock, uint64_t ticks)
{
	if (ticks <= clock->base_ticks)
		return clock->base_ns;
	return clock->base_ns +
	       (uint64_t)((unsigned __int128)(ticks - clock->base_ticks) * clock->scale >> 32);
}

// --- live.c --------------------------------------------------------------------------------------
// One live block in 16 bytes.
struct collect_slot {
	uint64_t word;  // address 48 bits | kind 3 | upper 13 bits of the thread, or of the size
	uint32_t bytes; // lower 32 bits of the size
	uint32_t node;  // 24 bits | lower 7 bits of the thread | whether the size has upper bits
};

// Open addressing; big tables are up to 80 % full.
struct collect_live {
	struct collect_slot *slots;
	uint64_t capacity, count, limit;
	// Called between pieces of work that take long, so that rings do not fill meanwhile.
	void (*breathe)(void *context);
	void *context;
};

void collect_live_init(struct collect_live *live);
void collect_live_deinit(struct collect_live *live);
// Whether a slot can hold this.
static inline bool collect_live_fits(uint64_t address, uint64_t bytes)
{
	return address && !(address >> 48) && !(bytes >> 45);
}

// True when the address was live: *ret_old then has the size it had. Only what fits.
// Of 2^20 threads and more, and of 127 where a block has 4 GiB and more, the last are unknown; so are
// stacks from 2^24 on, which no recorder gives.
bool collect_live_put(struct collect_live *live, const struct log_live *block, uint64_t *ret_old);
bool collect_live_take(struct collect_live *live, uint64_t address, uint64_t *ret_bytes);
bool collect_live_holds(const struct collect_live *live, uint64_t address);
// What a slot holds.
uint64_t collect_slot_address(const struct collect_slot *slot);
struct log_live collect_slot_block(const struct collect_slot *slot);

// Where an address belongs; grows with its hash.
static inline uint64_t collect_live_home(uint64_t capacity, uint64_t address)
{
	return (uint64_t)((unsigned __int128)(address * UINT64_C(0x9e3779b97f4a7c15)) * capacity >>
	                  64);
}

static inline void collect_live_prefetch(const struct collect_live *live, uint64_t address)
{
	__builtin_prefetch(&live->slots[collect_live_home(live->capacity, address)], 1);
}

// --- ranges.c ------------------------------------------------------------------------------------
struct collect_range {
	uint64_t start, end;
	uint32_t node, thread;
};

struct collect_ranges {
	VEC(struct collect_range) ranges; // ascending, without overlap
	uint64_t bytes;
};

void collect_ranges_init(struct collect_ranges *ranges);
void collect_ranges_deinit(struct collect_ranges *ranges);
void collect_ranges_put(struct collect_ranges *ranges, uint64_t start, uint64_t bytes,
                        uint32_t node, uint32_t thread);
void collect_ranges_take(struct collect_ranges *ranges, uint64_t start, uint64_t bytes);

// --- frame.c -------------------------------------------------------------------------------------
// All live blocks at one moment. Blocks lie as they came at the end of the memory of as many
// struct log_live, until the thread that writes sorts and unfolds them.
struct collect_frame {
	struct log_live *blocks; // for os_release, with bytes; NULL: none
	uint64_t count, bytes;
	struct collect_range *ranges; // mappings that come between them
	uint64_t range_count;
};

// False when there is no memory for it. The ranges are copied to the arena.
bool collect_frame_copy(const struct collect_live *live, const struct collect_ranges *ranges,
                        struct arena *arena, struct collect_frame *ret);
// Ascending by address, all of them: blocks[0 .. count).
void collect_frame_finish(struct collect_frame *frame);

// --- pack.c --------------------------------------------------------------------------------------
struct collect_new_name {
	uint32_t thread;
	char name[32];
};

struct collect_module_end {
	uint64_t module, unloaded_ns;
};

struct collect_note {
	enum log_note_kind kind;
	uint64_t time_ns;
	const char *text;
};

// A block of events and what must stand in the log before it. Texts are in the arena.
struct collect_pack {
	struct log_event *events; // LOG_BLOCK_EVENTS
	size_t count;
	uint32_t thread_first, type_first; // the index that the first of these will get
	VEC(struct log_node) nodes;
	VEC(struct log_module) modules;
	VEC(struct collect_module_end) module_ends;
	VEC(struct log_thread) threads;
	VEC(struct collect_new_name) names;
	VEC(uint64_t) types;
	VEC(struct log_text) texts;
	VEC(struct collect_note) notes;
	struct collect_frame frame; // blocks NULL: none
	uint64_t frame_ns;
	bool frame_is_complete;
	struct log_summary summary;
	uint32_t flush; // for header.flush_done, with flushes
	bool flushes;
	struct arena arena;
};

struct collect_packer;

// Takes the writer over. header: for flush_done.
struct error *collect_packer_start(struct log_writer *writer, struct record_header *header,
                                   struct collect_packer **ret);
// An empty pack; waits while all are being written, and calls meanwhile (NULL is allowed) then, now and
// again.
struct collect_pack *collect_packer_take(struct collect_packer *packer,
                                         void (*meanwhile)(void *context), void *context);
void collect_packer_give(struct collect_packer *packer, struct collect_pack *pack);
// The first error of writing; packs are thrown away since then. NULL: none.
struct error *collect_packer_error(struct collect_packer *packer);
uint64_t collect_packer_written_bytes(struct collect_packer *packer);
// Waits for all packs, then writes the last note (NULL: none), closes the log, frees all.
struct error *collect_packer_finish(struct collect_packer *packer, uint64_t time_ns,
                                    const char *note);

// --- nodes.c, modules.c, types.c, threads.c: what events name ---------------------------------------
// Ids of the program's stacks -> ids in the log, given at first use.
struct collect_nodes {
	uint32_t *ids; // by the program's id; node_capacity
	uint32_t capacity;
	uint32_t next;
	VEC(uint32_t) path; // of collect_nodes_add
};

struct error *collect_nodes_init(struct collect_nodes *nodes, const struct collect_share *share);
void collect_nodes_deinit(struct collect_nodes *nodes);
uint32_t collect_nodes_add(struct collect_nodes *nodes, const struct collect_share *share,
                           uint32_t node, struct collect_pack *pack);

static inline uint32_t collect_nodes_id(struct collect_nodes *nodes,
                                        const struct collect_share *share, uint32_t node,
                                        struct collect_pack *pack)
{
	if (node >= nodes->capacity)
		return 0;
	if (__builtin_expect(nodes->ids[node] != 0, 1))
		return nodes->ids[node];
	return node ? collect_nodes_add(nodes, share, node, pack) : 0;
}

struct collect_module {
	uint64_t start, end;
	bool ended;
};

enum { COLLECT_MODULE_CHUNKS = 4096 };

struct collect_modules {
	VEC(struct collect_module) modules;          // as in the shared table
	VEC(struct collect_module) sorted;           // those that are mapped, by start
	uint64_t chunks[COLLECT_MODULE_CHUNKS / 64]; // hashed 2 MiB pieces that modules touch
};

void collect_modules_init(struct collect_modules *modules);
void collect_modules_deinit(struct collect_modules *modules);
// Takes new modules and ends over from the shared table. again: also looks for ends.
void collect_modules_update(struct collect_modules *modules, const struct collect_share *share,
                            const struct collect_clock *clock, bool again,
                            struct collect_pack *pack);
bool collect_modules_hold(const struct collect_modules *modules, uint64_t address);

static inline bool collect_modules_may_hold(const struct collect_modules *modules, uint64_t address)
{
	uint64_t chunk = address >> 21 & (COLLECT_MODULE_CHUNKS - 1);

	return modules->chunks[chunk / 64] >> (chunk % 64) & 1;
}

enum {
	COLLECT_TYPES = 1 << 16,      // of a log, at most
	COLLECT_TYPE_SLOTS = 1 << 17, // of the table
};

struct collect_types {
	struct collect_type_slot {
		uint64_t word;
		uint32_t type;
	} * slots;
	uint32_t count;
};

struct error *collect_types_init(struct collect_types *types);
void collect_types_deinit(struct collect_types *types);
// The log's type of a freed block whose first word this is; LOG_TYPE_NONE when it points into no module.
uint32_t collect_types_of(struct collect_types *types, const struct collect_modules *modules,
                          uint64_t word, struct collect_pack *pack);

struct collect_thread {
	int32_t id;
	bool ended;
	uint64_t born_ns, look_ns; // when its name is to be read again
	char name[32];
};

struct collect_threads {
	VEC(struct collect_thread) threads; // by index in the log
	size_t next;                        // to look at
};

void collect_threads_init(struct collect_threads *threads);
void collect_threads_deinit(struct collect_threads *threads);
// A new one; its name is read if its id counts in our namespace.
uint32_t collect_threads_add(struct collect_threads *threads, int process, int32_t id,
                             uint64_t time_ns, struct collect_pack *pack);
// Reads names that are due; a few of them.
void collect_threads_look(struct collect_threads *threads, int process, uint64_t now_ns,
                          struct collect_pack *pack);

// --- stream.c ------------------------------------------------------------------------------------
// Where events come from: a ring, or what tools and the collector itself add.
struct collect_source {
	uint32_t thread; // index in the log, COLLECT_NO_THREAD
	int32_t id;      // of the thread, for the case that it does not say so itself
	uint64_t last;   // number of its last event in the log, for texts
	uint32_t text_bytes;
	bool text_open;
	char text[COLLECT_TEXT_BYTES];
};

struct collect_stream {
	const struct collect_share *share;
	int process; // pid as we see it, 0 when its threads' ids are not ours
	struct collect_clock clock;
	struct collect_packer *packer;
	struct collect_pack *pack;
	struct collect_live live;
	struct collect_ranges ranges;
	struct collect_nodes nodes;
	struct collect_modules modules;
	struct collect_types types;
	struct collect_threads threads;
	struct collect_source own; // marks from outside, gaps that nobody reported
	uint64_t events;           // in the log, with those of pack
	uint64_t last_ns;
	uint64_t live_bytes, peak_bytes; // peak: within pack
	uint32_t peak_event;
	uint64_t frame_events; // at the last keyframe
	uint64_t seen_lost;    // as gaps told
	bool attached, execs, stops, modules_changed;
	VEC(int)
	forks; // numbers of the processes that it made, as it sees them, since they were taken
	bool knows_before;             // attached: all blocks from before are among the live ones
	struct collect_before *before; // these are awaited; NULL: not, or not any more
};

struct error *collect_stream_init(struct collect_stream *stream, const struct collect_share *share,
                                  int process, bool attached, struct collect_packer *packer);
void collect_stream_deinit(struct collect_stream *stream);
// The event's stamp is not older than those before it, or its time is set to theirs.
void collect_stream_event(struct collect_stream *stream, struct collect_source *source,
                          const struct record_event *event);
// An event of the collector's own, with a text or NULL.
void collect_stream_own(struct collect_stream *stream, uint64_t ticks, uint32_t kind,
                        uint64_t bytes, const char *text);
void collect_stream_note(struct collect_stream *stream, enum log_note_kind kind, uint64_t time_ns,
                         const char *text);
// Gives the pack to the writer and takes the next.
void collect_stream_cut(struct collect_stream *stream);
// A keyframe before the events of the pack, which has none yet.
void collect_stream_frame(struct collect_stream *stream);

// --- before.c ------------------------------------------------------------------------------------
// From now on a list of blocks from before is awaited; the descriptor becomes the stream's. After
// collect_drain_init.
void collect_before_start(struct collect_stream *stream, int list);
void collect_before_stop(struct collect_stream *stream);
// A free, while they are awaited.
void collect_before_freed(struct collect_stream *stream, uint64_t address);
// Takes the list into the live blocks, and a keyframe with them, when it is there and all events up to that
// moment are in the stream. limit_ticks: up to when they are; is_final: no more will come.
void collect_before_look(struct collect_stream *stream, uint64_t limit_ticks, bool is_final);

// --- drain.c -------------------------------------------------------------------------------------
struct collect_cursor {
	struct record_ring *ring;
	uint64_t read, told, written;  // events taken; as the ring was told; there
	VEC(struct record_event) kept; // copied out of the ring, come before those in it
	size_t kept_next;
	uint64_t clear;      // stamps from now on are not older: it was not busy then
	uint64_t gaps;       // events that gaps of this ring told as lost
	uint64_t busy_stamp; // while it is busy without progress
	uint64_t busy_since_ns;
	uint64_t trickle_ns; // when it last got room that nobody asked the stream for
	bool is_busy, broken;
	struct collect_source source;
};

struct collect_turn {
	uint64_t ticks;
	uint32_t cursor;
};

struct collect_drain {
	const struct collect_share *share;
	struct collect_stream *stream;
	VEC(struct collect_cursor *) cursors; // by number of the ring
	VEC(struct collect_turn) turns;       // a heap: the earliest first
	uint64_t
		limit; // ticks up to which everything is in the stream, or will be after this round
	uint64_t future;   // later stamps are damaged
	uint64_t kept;     // events, of all cursors
	uint32_t marks;    // taken
	uint64_t lost;     // of header.lost, told
	uint64_t waits_ns; // since when a mark is incomplete
};

void collect_drain_init(struct collect_drain *drain, struct collect_stream *stream);
void collect_drain_deinit(struct collect_drain *drain);
// One round over all rings: everything up to a moment ago, in order; at the end of the program
// (is_final) really everything. Returns how many events went to the stream.
uint64_t collect_drain_round(struct collect_drain *drain, bool is_final);
// Whether some ring is half full (and its owner may have found us awake).
bool collect_drain_is_pressed(const struct collect_drain *drain);

// --- process.c -----------------------------------------------------------------------------------
// What the log says about the process, which /proc shows under a number that may not be its own.
void collect_process_describe(struct arena *arena, int shown, bool attached,
                              const struct collect_share *share, struct log_process *ret);
const char *collect_process_end(struct arena *arena, int process, int watch); // how it ended

// --- follow.c ------------------------------------------------------------------------------------
struct collect_follow {
	const struct collect_settings *settings;
	const char *log;
	int shown;           // number of the process in /proc
	VEC(int) collectors; // our children
};
void collect_follow_init(struct collect_follow *follow, const struct collect_settings *settings,
                         const char *log, int shown);
void collect_follow_start(struct collect_follow *follow, const int *forks, size_t count);
// Until those that were started have ended, ten seconds at most.
void collect_follow_finish(struct collect_follow *follow);

// --- beside.c ------------------------------------------------------------------------------------
struct collect_beside;

struct error *collect_beside_start(const struct collect_settings *settings,
                                   struct collect_beside **ret);
// Puts what was made meanwhile into the stream.
void collect_beside_take(struct collect_beside *beside, struct collect_stream *stream);
// Waits for what is being made, takes it, and frees all; NULL is allowed.
void collect_beside_finish(struct collect_beside *beside, struct collect_stream *stream);
