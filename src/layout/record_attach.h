// SPDX-License-Identifier: MIT
// What a tool that gets the recorder into a running program (collect) and the part of the recorder
// inside it (interpose) agree on: one struct in the library's data, found by its symbol. All that is
// needed to get out again stands in it, so that any tool can, whatever became of the first one.
//
// 1. The tool loads the library. Nothing happens by that.
// 2. It fills in the settings and has a thread of the program call start(room).
// 3. For each function that it leads to one of ours it writes island code, `original`, and the fields
//    from `site` on; then, all threads standing still, the word at `site`.
// 4. Getting out: all threads standing still, the words are put back; then stop(room). A thread may
//    still be inside our functions and return through them: library and island stay mapped.
#pragma once

#include <stdint.h>

#define RECORD_ATTACH_SYMBOL  "heapwright_attach_room"
#define RECORD_ATTACH_LIBRARY "librecord.so"
#define RECORD_ATTACH_MAGIC   "HWattach" // 8 bytes, no NUL
#define RECORD_ATTACH_VERSION 4

enum {
	RECORD_ATTACH_NAME_BYTES = 48,
	RECORD_ATTACH_REASON_BYTES = 256,
	RECORD_ATTACH_PATH_BYTES = 4096,
};

// Where the function is looked for.
enum record_attach_where {
	RECORD_ATTACH_MALLOC = 1, // in what defines the malloc that the program uses
	RECORD_ATTACH_LIBC = 2,
	RECORD_ATTACH_FOREIGN = 3, // as MALLOC, but only when that is not the C library
	// A word of the switch below, which becomes hook; name is one of its members. Where the malloc of
	// the program has a switch, those of MALLOC and FOREIGN are left alone.
	RECORD_ATTACH_SWITCH = 4,
	// As LIBC, but not where the switch tells of its calls: the switch's library goes on to libc's.
	RECORD_ATTACH_FORWARDED = 5,
};

// Exported by libheapwright, which tells recorders of each call when it is told to: no function of its
// malloc needs to be patched. All addresses are the program's, the words aligned, 0 while nobody records.
#define RECORD_SWITCH_SYMBOL  "heapwright_record_switch"
#define RECORD_SWITCH_MAGIC   "HWswitch" // 8 bytes, no NUL
#define RECORD_SWITCH_VERSION 2

struct record_switch {
	char magic[8];
	uint32_t version, bytes;
	uint64_t allocated, freed, stack, called; // words: struct record_hooks
	uint64_t records;                         // word: 1 while something is recorded
	uint64_t every_call;                      // word: not 0 while no thread has a short way
	// A thread has none when its word at thread pointer + offset is this; it gets it back by itself
	// when every_call is 0. offset 0: not known yet.
	uint64_t thread_offset, thread_none;
	// Words of mmap and its family, where they are this library's: told of each call, as called, and of
	// mappings that are shared. 0: they are libc's.
	uint64_t mapped, mapped_shared;
};

enum record_attach_need {
	RECORD_ATTACH_MAY_LACK = 0, // where it is missing or cannot be patched, it goes unrecorded
	RECORD_ATTACH_MUST = 1,
};

struct record_attach_function {
	char name[RECORD_ATTACH_NAME_BYTES]; // in the program's dynamic symbols
	uint32_t where, need;
	uint32_t what; // RECORD_WHAT_*: patched only when that is recorded; 0: always
	uint32_t reserved;
	uint64_t hook; // our function
	// The tool's. original: code that does what the function did; ours call it through here.
	uint64_t original;
	uint64_t site;          // 0: not changed; the word there,
	uint64_t before, after; // as it was, and with the jump
};

enum record_attach_state {
	RECORD_ATTACH_IDLE = 0,
	RECORD_ATTACH_ON = 1,
	RECORD_ATTACH_REFUSED = 2, // start failed; reason says why
};

enum record_attach_follow {
	RECORD_ATTACH_FOLLOWS = 1,  // processes that it makes are recorded, and let go with it
	RECORD_ATTACH_FOLLOWED = 2, // it is one of them
};

struct record_attach_room {
	char magic[8];
	uint32_t version, bytes;
	uint32_t function_bytes, function_count;
	uint64_t functions;   // struct record_attach_function[function_count]
	uint64_t start, stop; // void (*)(struct record_attach_room *), called in any thread
	// Settings, the tool's, as struct record_settings has them.
	uint32_t mode, what, ring_bytes, follow_fork; // enum record_attach_follow, 0 no
	uint64_t sample_bytes, wait_ns, max_log_bytes;
	char log_path[RECORD_ATTACH_PATH_BYTES];
	// Results of start and stop.
	uint32_t state;
	int32_t descriptor;            // of the recorder's memory; -1: the tool had it closed
	uint64_t shared, shared_bytes; // where that is mapped
	uint64_t process;              // that called start, as it sees itself
	char reason[RECORD_ATTACH_REASON_BYTES];
	// The tool's.
	int32_t owner; // process that will get out again, as the tool sees it
	uint32_t reserved2;
	uint64_t owner_start; // when that began (ns since the epoch), so that it is known again
	uint64_t island, island_bytes; // code, stays for the next time
};
