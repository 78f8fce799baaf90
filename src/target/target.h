// SPDX-License-Identifier: MIT
// target: a running process, a core file or a snapshot file as the same thing:
// segments that can be read, threads with registers, mapped files. Nothing
// above this room knows which kind it looks at.
//
//   open.c      a string becomes a pid, a core or a snapshot
//   live*.c     read in place: all threads stopped, memory copied out, let go
//   stop.c      stops every thread of a process and lets it go as it was
//   clone.c     read through a clone: a live copy made for one look
//   guardian.c  the process that traces and reaps a clone, whatever happens to us
//   core*.c     ELF cores, 32 and 64 bit
//   snapshot.c  snapshot files
//   launch.c    a command that is looked at when it exits
//   segments.c  makes and ends a target of any kind
//   read.c      reading through the segments; what the auxiliary vector and flags tell
//   elf.c       ELF headers and notes, from memory or file
//
// One thread at a time may use a target.
#pragma once

#include <elf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"

struct target;

enum target_kind {
	TARGET_LIVE,  // in place
	TARGET_CLONE, // a live copy made for this look; its memory does not change any more
	TARGET_CORE,
	TARGET_SNAPSHOT,
};

enum {
	TARGET_READ = 1,
	TARGET_WRITE = 2,
	TARGET_EXEC = 4,
};

#define TARGET_BUILD_ID_BYTES 32

// A mapped file, one per device and inode. Owned by the target.
struct target_file {
	const char *path; // as the target sees it, without " (deleted)"; not made printable
	bool deleted;
	bool anonymous; // memfd, /dev/zero, SysV or POSIX shared memory: contents are the target's own
	uint64_t device, inode;
	// Of the mapped ELF file, from the kernel, the core or the file itself.
	uint8_t build_id[TARGET_BUILD_ID_BYTES];
	uint8_t build_id_bytes; // 0 = none or unknown
};

// What the kernel counts for a range (smaps), in bytes. From a core only what the core tells.
struct target_pages {
	uint64_t resident, proportional, shared_clean, shared_dirty, private_clean, private_dirty;
	uint64_t referenced, anonymous, swapped, swapped_proportional, locked, huge;
	char flags[96]; // VmFlags as smaps prints them ("rd wr mr mw me ac sd"), "" when unknown
};

// A range of the address space with one set of properties; sorted, never overlapping.
struct target_segment {
	uint64_t start, end;
	uint8_t protection;     // TARGET_READ | ...
	uint8_t max_protection; // what mprotect could allow
	bool shared;            // MAP_SHARED
	bool readable;          // whether its contents can be had at all (a core may lack them)
	uint64_t contents_end;  // below end when a truncated core holds only the first part
	uint64_t file_offset;
	const struct target_file *file; // NULL when anonymous
	const char *name;               // "[heap]", "[stack]", "[vdso]", "[anon:...]", or NULL
	bool has_pages; // whether pages is filled (TARGET_WANT_PAGES, and this kind knows)
	struct target_pages pages;
	const uint8_t *
		image; // contents in our memory at image[address - start], or NULL; set by target_load
};

struct target_thread {
	int tid;     // as seen from our pid namespace; from a core as the core says
	int own_tid; // as the target sees itself (gettid); equals tid outside namespaces
	char name[32];
	char state; // of /proc/PID/stat before we stopped it: 'R', 'S', 'D', 'T', 't', 'Z'; '?' unknown
	bool has_registers;
	uint64_t sp, pc, tp; // stack pointer, program counter, thread pointer (fs base, tpidr)
	const uint64_t *registers; // all general registers, widened to 64 bit
	unsigned register_count;
	const uint8_t *vector; // raw vector and floating point state (XSAVE area), or NULL
	size_t vector_bytes;
};

// A value that only the kernel holds for the program, and that may be a pointer.
struct target_kernel_root {
	uint64_t value;
	const char *what; // "epoll data of descriptor 5", "value of timer 0"
};

// What a target says about itself. Fields are read by everyone, written only by this room.
struct target {
	enum target_kind kind;
	int pid; // 0 when a core or snapshot does not say
	int parent_pid;
	const char *name; // comm or executable's base name, not made printable
	const char *parent_name;
	const char *path;    // of the executable
	const char *source;  // what the user named: path of the core or snapshot, else NULL
	unsigned word_bytes; // 4 or 8
	bool big_endian;
	const char *cpu;                                // "x86_64", "aarch64", "i386", ...
	uint64_t launched_ns, looked_ns;                // since the epoch; 0 unknown
	uint64_t footprint_bytes, footprint_peak_bytes; // RSS anonymous + swap, peak RSS; 0 unknown
	bool has_stop;
	double stopped_ms; // how long the target stood still because of us
	const char *how;   // one sentence for -v: how it was read and why so
	bool held_stopped; // a debugger or SIGSTOP held it before we came

	const struct target_segment *segments;
	size_t segment_count;
	const struct target_thread *threads;
	size_t thread_count;
	const struct target_kernel_root *kernel_roots;
	size_t kernel_root_count;
	bool kernel_roots_known; // false: this source cannot tell (a core)
	const uint64_t *auxv;    // pairs, up to and with AT_NULL; widened to 64 bit
	size_t auxv_count;       // pairs
	const char *const
		*warnings; // e.g. "the core is truncated at ..."; each one printed at the top
	size_t warning_count;
	bool complete; // false when something of its memory is missing; leaks then cannot say 0

	struct arena *arena; // everything above lives here and dies with target_close
	const struct target_ops *ops;
	void *own; // of the kind's file
};

enum target_want {
	TARGET_WANT_MEMORY = 1, // a consistent state of the writable memory and threads
	TARGET_WANT_PAGES = 2,  // target_segment.pages
	TARGET_WANT_KERNEL_ROOTS = 4,
};

struct target_options {
	unsigned want;    // TARGET_WANT_*
	bool no_inject;   // never a clone
	bool force_clone; // a clone even for a short stop (tests)
	const char *
		accepts; // what this tool takes, for the error text: "a pid, a process name, a core or a snapshot"
	bool (*prefers)(int pid); // of several processes of a name those that it takes; NULL: none
};

// Opens a pid, a (part of a) process name, a core file or a snapshot file. A digit string is a pid;
// a name of an existing file that is a core or snapshot is that; else a process name: an exact match
// wins over partial ones; several matches are listed in the error.
// With TARGET_WANT_MEMORY a live process was stopped, copied or cloned, and let go again when this
// returns; one that somebody traces is read as it stands (target->how says so, and `complete` is
// false when it ran meanwhile). The target dies with target_close, also when it is a clone.
// ERROR_USAGE: several processes match; ERROR_NOT_FOUND, ERROR_GONE, ERROR_RIGHTS, ERROR_DAMAGED:
// there is none, it ended, it may not be looked at, the file makes no sense; ERROR_UNSUPPORTED: the
// look would cost the target or this machine too much, or nobody here can read it.
struct error *target_open(const char *what, const struct target_options *options,
                          struct target **ret);
void target_close(struct target *target); // NULL is allowed

// Reads exactly n bytes or fails with ERROR_FAULT at the first byte that cannot be had.
struct error *target_read(struct target *target, uint64_t address, void *buffer, size_t n);

// Reads as much as can be had from address on without a gap; 0 when nothing can.
size_t target_read_some(struct target *target, uint64_t address, void *buffer, size_t n);

// One pointer-sized word, in the target's size and byte order.
struct error *target_read_word(struct target *target, uint64_t address, uint64_t *ret);

// A NUL-terminated string of at most limit bytes with the NUL, copied into arena. ERROR_DAMAGED
// when there is no NUL in limit bytes.
struct error *target_read_string(struct target *target, struct arena *arena, uint64_t address,
                                 size_t limit, const char **ret);

// The value of an entry of the auxiliary vector (AT_*), 0 when it is not there.
uint64_t target_auxv(const struct target *target, uint64_t type);

// The size of the target's pages as its auxiliary vector tells it, 4096 when that makes no sense.
uint64_t target_page_bytes(const struct target *target);

// The n bytes at address when they lie in an image (core, snapshot, loaded), else NULL. Valid until
// target_close. No copying: for hot loops.
const void *target_bytes(struct target *target, uint64_t address, size_t n);

// Makes the contents of every readable and writable segment (and every other one that overlaps
// [start, end) when end > start) available as images. Pages that were never touched read as zero
// and cost nothing. Does nothing for what is loaded already.
struct error *target_load(struct target *target, uint64_t start, uint64_t end);

// Which parts of [start, end) hold anything (present or swapped pages): calls each(context, start,
// end) in ascending order. Where this cannot be told the whole range is given.
struct error *target_present(struct target *target, uint64_t start, uint64_t end,
                             void (*each)(void *context, uint64_t start, uint64_t end),
                             void *context);

const struct target_segment *target_segment_at(const struct target *target, uint64_t address);

// The index of the first segment whose end is above address (segment_count when none is).
size_t target_segment_index(const struct target *target, uint64_t address);

// A descriptor to read the file as the target sees it (through its root directory or map_files), or
// -1 in *ret with ERROR_NOT_FOUND. For a core or snapshot the file of this machine, only when its
// build-id is the same. The caller closes it.
struct error *target_file_open(struct target *target, const struct target_file *file, int *ret);

// --- a command that is looked at when it exits (launch.c) ----------------------------------------
// A command that has come to its end, but whose memory and threads are still there.
struct target_exit {
	int pid;
	const char *text; // "exited with status 3", "was killed by signal 11 (Segmentation fault)"
	unsigned status;  // as a shell gives it: the exit status, or 128 + the signal
	int threads[64];  // tids that we hold at their end, the first ones
	size_t thread_count;
};

// Runs a command with our own standard streams and returns when it is about to exit, its memory intact:
// target_open on its pid then reads it. Children of the command run on by themselves. Signals reach the
// command as without us. variables: as os_launch takes them.
struct os_launch_variable;
struct error *target_launch(const char *const *words, size_t count,
                            const struct os_launch_variable *variables, struct target_exit *ret);

// Lets the command end and waits for it.
void target_launch_end(struct target_exit *launched);

// --- ELF headers --------------------------------------------------------------------------------
// Where the bytes of an ELF file come from: read gives up to n of those at offset, and how many.
struct target_elf_source {
	size_t (*read)(void *context, uint64_t offset, void *buffer, size_t n);
	void *context;
};

// A header of either class, widened to 64 bit.
struct target_elf {
	Elf64_Ehdr header;
	uint64_t
		segment_count; // of program headers, also when there are more than e_phnum can hold
	unsigned word_bytes;   // 4 or 8
};

struct target_elf_note {
	uint32_t type;
	const char *owner; // owner_bytes long, usually with a NUL
	uint32_t owner_bytes;
	const uint8_t *contents; // not aligned
	uint32_t bytes;
};

// ERROR_DAMAGED when there is no ELF header, ERROR_UNSUPPORTED when it is big endian.
struct error *target_elf_read_header(const struct target_elf_source *source,
                                     struct target_elf *ret);

// Program header number index, widened. ERROR_DAMAGED when it cannot be read. Its own numbers are
// not checked.
struct error *target_elf_read_segment(const struct target_elf_source *source,
                                      const struct target_elf *elf, uint64_t index,
                                      Elf64_Phdr *ret);

// Writes the GNU build-id and returns how many bytes it has; 0 when there is none. Offsets are those
// of the file: in memory they hold for what the first mapping of the file covers, where linkers put it.
size_t target_elf_read_build_id(const struct target_elf_source *source,
                                const struct target_elf *elf, uint8_t ret[TARGET_BUILD_ID_BYTES]);

// The note at *offset of a note segment (alignment = its p_align), and *offset moved behind it;
// false at the end and at a note that does not fit.
bool target_elf_next_note(const uint8_t *notes, uint64_t bytes, uint64_t alignment,
                          uint64_t *offset, struct target_elf_note *ret);
bool target_elf_note_is(const struct target_elf_note *note, const char *owner, uint32_t type);

// --- code inside a clone ------------------------------------------------------------------------
// Memory that we and the clone share; dies with the target.
struct target_shared {
	uint8_t *here;  // in our address space
	uint64_t there; // in the clone's
	size_t bytes;
};

// ERROR_UNSUPPORTED for every kind but a clone: callers then scan images instead.
struct error *target_share(struct target *target, size_t bytes, struct target_shared *ret);

// Runs position independent code that lies in shared memory inside the clone: calls
// entry(argument) with a stack of its own (stack_there = its upper end) until it executes a
// breakpoint instruction. A fault of the code comes back as ERROR_FAULT with the address it touched.
struct error *target_run(struct target *target, uint64_t entry_there, uint64_t argument,
                         uint64_t stack_there);

// --- snapshot files -----------------------------------------------------------------------------
// The raw bytes of a section of a snapshot (ids in layout/snapshot.h); ERROR_NOT_FOUND when the
// target is none or has no such section. Valid until target_close.
struct error *target_section(struct target *target, uint32_t id, const void **ret,
                             size_t *ret_bytes);

struct snapshot_pages;
struct target_pages target_pages_recorded(const struct snapshot_pages *recorded);

// --- for unit tests and for the kinds' own files ----------------------------------------------------
// The kind's part of a target. All functions may assume a range inside one segment.
struct target_ops {
	// Reads up to n bytes at address of segment; returns how many, 0 for none.
	size_t (*read)(struct target *target, const struct target_segment *segment,
	               uint64_t address, void *buffer, size_t n);
	struct error *(*load)(struct target *target, struct target_segment *segment);
	struct error *(*present)(struct target *target, uint64_t start, uint64_t end,
	                         void (*each)(void *, uint64_t, uint64_t), void *context);
	struct error *(*file_open)(struct target *target, const struct target_file *file, int *ret);
	struct error *(*share)(struct target *target, size_t bytes, struct target_shared *ret);
	struct error *(*run)(struct target *target, uint64_t entry, uint64_t argument,
	                     uint64_t stack);
	struct error *(*section)(struct target *target, uint32_t id, const void **ret,
	                         size_t *bytes);
	void (*close)(struct target *target);
};

// A target made of byte buffers (segments with images) that the caller keeps alive: for tests.
struct target *target_from_segments(const struct target_segment *segments, size_t count,
                                    unsigned word_bytes);

// --- stop.c, live_rights.c: for who traces -------------------------------------------------------
#include "target/stop.h"
