// SPDX-License-Identifier: MIT
// os: every Linux system call, every text of /proc and every CPU difference. It
// takes no decisions: the rooms above do. All texts and numbers that come from
// the kernel about a target are treated as hostile (names are the target's).
//
//   memory.c   pages for base, big mappings
//   file.c     files: open, read, map; names of a directory that are numbers (processes, threads)
//   cached.c   pages of a file that are in the page cache
//   scratch.c  files without a name, holes, careful opening
//   clock.c    monotonic and wall time, sleeping
//   maps.c     the texts maps and smaps as values: pure functions
//   counts.c   the numbers of smaps behind a mapping
//   smaps.c    smaps as a stream
//   lines.c    a text of any size in whole lines, for the two above
//   costs.c    what the kernel keeps for a process, a thread, a pipe and the like, measured
//   shm.c      System V segments, file systems in memory
//   pages.c    which pages of memory a mapping holds
//   mappings.c the mappings of a process through the cheapest interface; present pages
//   process.c  status, stat, comm, auxv, executable of a process or thread
//   account.c  what a process costs, without a single allocation
//   held.c     what the kernel holds for a process: epoll data, timers
//   remote.c   reading another process's memory
//   trace.c    ptrace, and threads that trace
//   inject*.c  system calls executed by a thread of another process, the guardian that does it
//              (inject.h)
//   launch.c   a command that is traced from its start
//   program.c  a program file before it is started, and its start in place of this one
//   own.c      our own process before a tool begins
//   run.c      a command as our child, and what it leaves behind
//   machine.c  texts about this machine
//   await.c, trigger.c, local.c   waiting with a limit, pressure triggers, sockets (pressure.h)
//   inside*.c  for code that runs inside a program (inside.h)
//   machine_text.c  counters, pressure, zones, control groups (machine_text.h)
//   shared.c, background.c, watch.c, attend.c   working beside a program (background.h)
//   cpu.c, x86_64/*.c, aarch64/*.c   register layouts, frames of injected calls, patched functions
//              (patch.h), checksums
//
// Errors: the system's errno as error_system gives it. Functions with an arena allocate what they
// return in it. Descriptors that a function gives out are the caller's to close.
// Thread-safe unless said otherwise.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/pages.h"
#include "base/vec.h"

// --- memory.c ------------------------------------------------------------------------------------
// Pages of this process. When nothing is left it calls the handler, then ends the program with
// status 2.
extern const struct page_source os_page_source;
void os_on_exhausted(void (*handler)(void));

size_t os_page_bytes(void);

// What the kernel believes can still be had without swapping; UINT64_MAX when it does not tell.
uint64_t os_memory_available_bytes(void);

// Zeroed address space that costs memory only where it is touched; NULL when there is no room.
void *os_reserve(size_t bytes);
void os_release(void *memory, size_t bytes);

// Touches the pages in advance, so that a later write meets no page fault; a wish only. huge asks for
// huge pages first.
void os_populate(void *memory, size_t bytes, bool huge);

// Huge pages where it is touched; a wish only.
void os_prefer_huge(void *memory, size_t bytes);

// --- file.c --------------------------------------------------------------------------------------
// A descriptor that is closed at the end of its block: OS_DESCRIPTOR int fd = -1;
#define OS_DESCRIPTOR __attribute__((cleanup(os_descriptor_cleanup)))
void os_descriptor_cleanup(int *fd);
void os_close(int fd); // -1 is allowed

struct error *os_open(const char *path, int *ret); // for reading, close on exec
// A new file that only its owner may read, for what was in somebody's memory; none may be there yet.
struct error *os_create_private(const char *path, FILE **ret);
// A stream (struct os_status) for writing; of a FIFO once somebody reads it.
struct error *os_open_stream(const char *path, FILE **ret);
// Whether a file could be made under this path, in the place of one that is there; an error says why
// not. Devices and directories are nothing to replace.
struct error *os_check_replaceable(const char *path);
struct error *os_open_at(int directory, const char *path, int *ret);

// Reads up to n bytes; fewer only at the end of the file or at an error, 0 for none.
size_t os_pread(int fd, void *buffer, size_t n, uint64_t offset);

// The whole of a file of unknown size (a text of /proc), with a NUL behind it. limit_bytes bounds
// what a hostile file can make us read; ERROR_DAMAGED beyond it.
struct error *os_read_text(struct arena *arena, const char *path, size_t limit_bytes, char **ret,
                           size_t *ret_bytes);

// Whether a file (a text of /proc) holds just this; allocates nothing.
bool os_text_is(const char *path, const char *text, size_t bytes);

// What stands in a symbolic link; error when it is none.
struct error *os_read_link(struct arena *arena, const char *path, const char **ret);

struct os_status {
	uint64_t device, inode, bytes;
	uint64_t links; // names that the file has
	bool regular, directory;
	bool stream; // a FIFO or a character device: a terminal, /dev/null
	uint64_t modified_ns;
};
struct error *os_file_status(int fd, struct os_status *ret);
struct error *os_path_status(const char *path, struct os_status *ret);

// Maps a file for reading. The caller releases it with os_release. The file may be truncated by
// somebody else meanwhile, which is a SIGBUS: for files that only we or nobody writes.
struct error *os_map_file(int fd, uint64_t offset, size_t bytes, const void **ret);

// Calls each for every entry of a directory whose name is a number, until it returns false.
struct error *os_each_number(const char *directory, bool (*each)(void *context, int number),
                             void *context);

// --- scratch.c -----------------------------------------------------------------------------------
// A file without a name, for reading and writing, in TMPDIR, /var/tmp or /tmp; in memory when none of
// them takes one.
struct error *os_scratch_open(int *ret);
// Programs that we start from now on have it, too, under its number.
struct error *os_inherit(int fd);
struct error *os_pwrite(int fd, const void *buffer, size_t n, uint64_t offset);
struct error *os_file_resize(int fd, uint64_t bytes);

// The first range at or behind offset that is no hole; false when only holes follow. Where the file
// system does not tell, everything is data up to UINT64_MAX.
bool os_file_data(int fd, uint64_t offset, uint64_t *ret_start, uint64_t *ret_end);

// Opens a path that somebody else chose, for reading: a regular file or an error, and no device or
// pipe is touched.
struct error *os_open_regular(const char *path, int *ret);

// --- clock.c -------------------------------------------------------------------------------------
uint64_t os_monotonic_ns(void);
uint64_t os_wall_ns(void);       // since the epoch
uint64_t os_since_boot_ns(void); // counts suspended time too
void os_sleep_ns(uint64_t ns);

// --- counts.c ------------------------------------------------------------------------------------
// The numbers of smaps, in bytes.
struct os_counts {
	uint64_t resident, proportional, proportional_dirty; // the last is 0 before Linux 6.0
	uint64_t shared_clean, shared_dirty, private_clean, private_dirty;
	uint64_t referenced, anonymous, lazy_free; // the last are pages that MADV_FREE gave up
	uint64_t swapped, swapped_proportional, locked_proportional;
	uint64_t huge;          // transparent huge pages of every kind
	uint64_t huge_reserved; // pages of hugetlb, which resident does not count
	char flags[96];         // VmFlags: two-letter words separated by one space
};

// Whether one of the words of flags is `word`.
bool os_flags_have(const char *flags, const char *word);

// --- maps.c --------------------------------------------------------------------------------------
enum {
	OS_READ = 1,
	OS_WRITE = 2,
	OS_EXEC = 4,
};

// One mapping as the kernel tells it.
struct os_mapping {
	uint64_t start, end, offset, device, inode;
	uint8_t protection;
	bool shared;
	bool deleted;     // the path ended in " (deleted)"; it is cut off
	const char *name; // path or "[heap]"; NULL for none; \012 of the text is a newline again
	uint8_t build_id[32];
	uint8_t build_id_bytes;   // 0: none, or this interface does not tell
	struct os_counts *counts; // of smaps, NULL when not asked for
};

// Parses a text of /proc/PID/maps or smaps. Pure: reads text[0 .. bytes) only. Mappings must ascend
// without overlap; ERROR_DAMAGED names the line otherwise.
struct error *os_maps_parse(struct arena *arena, const char *text, size_t bytes,
                            struct os_mapping **ret, size_t *ret_count);

// --- smaps.c -------------------------------------------------------------------------------------
#define OS_SMAPS_NAME_BYTES 4096

struct os_smaps_mapping {
	uint64_t start, end, offset, device, inode;
	uint8_t protection;
	bool shared;
	// As the kernel writes it, cut at OS_SMAPS_NAME_BYTES; valid during the call.
	const char *name;
	struct os_counts counts;
};

typedef void (*os_smaps_each_fn)(void *context, const struct os_smaps_mapping *mapping);

// Pure. Mappings come ascending; one that overlaps the one before it is cut.
struct error *os_smaps_parse(const char *text, size_t bytes, os_smaps_each_fn each, void *context);
enum os_smaps_depth {
	OS_SMAPS_COUNTS,
	OS_SMAPS_SUMS,   // one mapping that stands for all, without flags, for a third of the time
	OS_SMAPS_PLACES, // no counts and no flags, for a fifth of the time
};

// proc is a descriptor of /proc. ERROR_GONE, ERROR_RIGHTS.
struct error *os_smaps_read(int proc, int pid, enum os_smaps_depth depth, os_smaps_each_fn each,
                            void *context);

// --- pages.c -------------------------------------------------------------------------------------
#define OS_FRAMES_MAX  1024
#define OS_FRAME_FACTS 64

struct os_frame {
	uint64_t number; // of the page frame; 0: no page, or we have no right to know
	bool of_file;    // of a file or shared memory
	bool exclusive;  // mapped once only
};

struct error *os_pagemap_open(int proc, int pid, int *ret);
// The frames behind count pages from start on; at most OS_FRAMES_MAX at once. Gives how many were read.
size_t os_frames_read(int pagemap, uint64_t start, struct os_frame *frames, size_t count);
bool os_frames_visible(void); // whether we have the right to know numbers

// What the kernel says about frames; neighbours are read together.
struct os_frame_facts {
	int fd;
	uint64_t first;
	size_t count;
	uint64_t words[OS_FRAME_FACTS];
};

void os_frame_facts_open(struct os_frame_facts *ret);
void os_frame_facts_close(struct os_frame_facts *facts);
bool os_frame_is_zeros(struct os_frame_facts *facts, uint64_t number); // the kernel's page of zeros
bool os_frame_is_dirty(struct os_frame_facts *facts, uint64_t number);

// --- shm.c ---------------------------------------------------------------------------------------
// A line of /proc/sysvipc/shm.
struct os_sysv_segment {
	uint32_t key, uid;
	int id;
	int creator_pid, last_pid; // last: that attached or detached
	uint64_t bytes, attached_count;
	uint64_t changed_s; // since the epoch
	bool has_pages;     // whether the next two are known
	uint64_t resident_bytes, swapped_bytes;
};

// A line of mountinfo.
struct os_mount {
	uint64_t device;
	bool in_memory; // tmpfs
	char place[4096];
};

// Pure; lines that make no sense are left out.
void os_sysv_parse(const char *text, size_t bytes,
                   void (*each)(void *context, const struct os_sysv_segment *segment),
                   void *context);
void os_mounts_parse(const char *text, size_t bytes,
                     void (*each)(void *context, const struct os_mount *mount), void *context);

bool os_mount_usage(const char *place, uint64_t *ret_bytes, uint64_t *ret_limit_bytes);
// The device of the kernel's own tmpfs, which has memfd, System V and shared anonymous memory; 0 unknown.
uint64_t os_kernel_shm_device(void);

// A file by its path, through links.
struct os_extent {
	uint64_t device, inode, bytes, allocated_bytes, links;
	uint32_t uid;
	bool regular;
};
bool os_extent_of(int directory, const char *path, struct os_extent *ret);
struct error *os_each_name(const char *directory, void (*each)(void *context, const char *name),
                           void *context);

// --- costs.c -------------------------------------------------------------------------------------
enum os_cost_thing {
	OS_COST_PROCESS, // forked of this program
	OS_COST_THREAD,  // that waits
	OS_COST_RUNNING, // a thread that runs, when nothing else wants to
	OS_COST_MAPPING, // that nothing is in
	OS_COST_PIPE,    // empty
	OS_COST_FILE,    // opened: a descriptor
	OS_COST_LOCAL_SOCKET,
	OS_COST_TCP_SOCKET, // not connected
	OS_COST_UDP_SOCKET,
	OS_COST_LIBRARY,     // its file, once for all processes
	OS_COST_LIBRARY_USE, // in each process: four mappings with a page in use
	OS_COST_THINGS,
};

enum os_cost_count {
	OS_COST_SLAB,
	OS_COST_STACKS,
	OS_COST_PAGE_TABLES,
	OS_COST_PERCPU,
	OS_COST_COUNTS,
};

struct os_cost {
	unsigned count; // how many were made
	int64_t bytes
		[OS_COST_COUNTS]; // by which the kernel's counts grew meanwhile, on the whole machine
};

// Makes up to count things in a child that has ended when this returns.
struct error *os_cost_measure(enum os_cost_thing thing, unsigned count, struct os_cost *ret);

// --- mappings.c ----------------------------------------------------------------------------------
// All mappings of a process. counts asks for smaps. Consistent in itself: read again, a few times,
// while the process changes them meanwhile; *ret_stable is false when it never stood still.
struct error *os_mappings_read(struct arena *arena, int pid, bool counts, struct os_mapping **ret,
                               size_t *ret_count, bool *ret_stable);

// The same without counts, read once: for a process that stands still.
struct error *os_mappings_read_once(struct arena *arena, int pid, struct os_mapping **ret,
                                    size_t *ret_count);

// All mappings, read once, with the text of /proc/PID/maps that says so; and whether that is still the
// same.
struct os_maps_text {
	char *text;
	size_t bytes;
};

struct error *os_maps_read(struct arena *arena, int pid, struct os_maps_text *ret_text,
                           struct os_mapping **ret, size_t *ret_count);
bool os_maps_are(int pid, const char *text, size_t bytes);

// The build-id that the kernel finds in the file mapped at address (since Linux 6.11). maps is a
// descriptor of /proc/PID/maps. False when this kernel cannot tell.
bool os_mapping_build_id(int maps, uint64_t address, uint8_t ret[32], uint8_t *ret_bytes);

struct os_range {
	uint64_t start, end;
};

enum os_presence {
	OS_PRESENT,     // in memory or in swap, and not the page of zeros
	OS_PRESENT_OWN, // and not a page of a mapped file or of shared memory
};

struct os_ranges {
	VEC(struct os_range) ranges;
};

// Appends the ranges of [start, end) whose pages are there, ascending. pagemap is a descriptor of
// /proc/PID/pagemap; start and end are multiples of the page size.
struct error *os_present_ranges(int pagemap, uint64_t start, uint64_t end, enum os_presence which,
                                struct os_ranges *ret);

// The same over any stretch of address space, mapped or not, as far as the kernel can skip what is not
// (since Linux 6.7); false and nothing appended when it cannot. Neighbouring mappings are joined.
bool os_present_ranges_at_once(int pagemap, uint64_t start, uint64_t end, enum os_presence which,
                               struct os_ranges *ret);

// --- cached.c ------------------------------------------------------------------------------------
// Appends the ranges of a file's first `bytes` that are in the page cache now, in whole pages, ascending.
// Returns how that was asked, "mincore" or "cachestat", or NULL when the kernel does not tell us.
const char *os_cached_ranges(int fd, uint64_t bytes, struct os_ranges *ret);

// --- process.c -----------------------------------------------------------------------------------
struct os_process {
	int pid, parent_pid, tracer_pid;
	int memory_tid;      // os_memory_tid; state, tracer and sizes are of that thread
	int own_pid;         // in the innermost pid namespace
	unsigned namespaces; // how many numbers its pid has; 1 = it lives in ours
	char state;          // 'R', 'S', 'D', 'T', 't', 'Z', 'X'
	char name[32];       // comm, at most 15 bytes of a process; of a thread of the kernel cut
	uint32_t uid[4];     // real, effective, saved, file system
	int seccomp;         // 0 none, 1 strict, 2 filter
	unsigned thread_count;
	uint64_t resident_bytes, resident_peak_bytes, anonymous_bytes, file_bytes, shared_bytes;
	uint64_t swapped_bytes, page_table_bytes;
	uint64_t launched_ns; // since the epoch
};

// Of the text of status; ret is zeroed by the caller. Pure.
struct error *os_status_parse(const char *text, size_t bytes, struct os_process *ret);

// A main thread that has ended leaves a process that may live on, but whose own directory in /proc has
// no memory, files and descriptors any more; those of its other threads do. The one to ask: pid, or a
// thread that lives; pid also when there is none. For process_vm_readv, too.
int os_memory_tid(int pid);

// Of a process or a thread. ERROR_GONE when there is none.
struct error *os_process_read(int pid, struct os_process *ret);
struct error *os_thread_read(int pid, int tid, struct os_process *ret);

const char *os_process_path(struct arena *arena, int pid); // of the executable; NULL unknown
struct error *os_process_auxv(struct arena *arena, int pid, unsigned word_bytes, uint64_t **ret,
                              size_t *ret_pairs);

// The machine and word size of the ELF file that a process runs.
struct error *os_process_machine(int pid, uint16_t *ret_machine, unsigned *ret_word_bytes);

// Stack pointer and program counter of a thread that does not run; false when it runs or the kernel
// does not tell.
bool os_thread_where(int pid, int tid, uint64_t *ret_sp, uint64_t *ret_pc);

// The value of /proc/sys/kernel/yama/ptrace_scope, -1 when there is no Yama.
int os_yama_scope(void);
int os_own_pid(void);
uint32_t os_own_uid(void);

// --- account.c -----------------------------------------------------------------------------------
// The cheapest answer about a process: a few microseconds, no memory.
struct os_account {
	int pid, parent_pid;
	int memory_tid; // os_memory_tid; state and sizes are of that thread
	char name[64];  // comm, as the kernel has it; kernel threads may have long ones
	char state;
	bool is_kernel; // a thread of the kernel: it has no memory of its own
	unsigned threads;
	uint64_t start_ticks; // since boot; tells two processes of one number apart
	uint64_t cpu_ticks;   // user and system, of all its threads
	uint64_t virtual_bytes, resident_bytes;
	uint64_t anonymous_bytes; // resident, and neither of a file nor shared memory
	uint64_t swapped_bytes;
	uint64_t soft_faults, hard_faults;                   // minor and major, of all its threads
	uint64_t children_soft_faults, children_hard_faults; // of those that it waited for
};
// The one line of stat. Numbers that do not fit are 0; false when a field is missing.

// Pure parsers of the two texts; false when they make no sense.
bool os_account_parse_stat(const char *text, size_t bytes, struct os_account *ret);
bool os_account_parse_statm(const char *text, size_t bytes, struct os_account *ret);
// proc is a descriptor of /proc. False when there is no such process (any more). Without with_swap the
// dearest of the three texts is left alone and swapped_bytes stays 0.
bool os_account_read(int proc, int pid, bool with_swap, struct os_account *ret);
uint64_t os_ticks_per_second(void); // of start_ticks and cpu_ticks
// The first bytes of one text of a process ("status"), read at once; 0 when it cannot be read.
size_t os_process_text(int proc, int pid, const char *name, char *buffer, size_t bytes);
// Every descriptor of a process and where its link leads ("socket:[812]"); both are only valid during the
// call. ERROR_RIGHTS, ERROR_SYSTEM.
struct error *os_each_descriptor(int proc, int pid,
                                 void (*each)(void *context, int number, const char *target),
                                 void *context);

// --- held.c --------------------------------------------------------------------------------------
// A value that the kernel holds for a process and gives back to it.
struct os_held {
	uint64_t value;
	const char *what; // "epoll data of descriptor 5", "value of timer 0"
};
// Descriptors and timers of a process. Fails when its descriptors may not be listed.
struct error *os_held_read(struct arena *arena, int pid, struct os_held **ret, size_t *ret_count);

// The pure parsers of an epoll descriptor's fdinfo and of /proc/PID/timers.
void os_epoll_parse(const char *text, size_t bytes, void (*each)(void *context, uint64_t value),
                    void *context);
void os_timers_parse(const char *text, size_t bytes,
                     void (*each)(void *context, uint64_t id, uint64_t value), void *context);

// --- remote.c ------------------------------------------------------------------------------------
// Reads memory of another process; stops at the first byte that cannot be read. memory is a descriptor
// of /proc/PID/mem for what process_vm_readv refuses, or -1.
size_t os_remote_read(int pid, int memory, uint64_t address, void *buffer, size_t n);

// One piece of a big read.
struct os_piece {
	uint64_t address;
	void *buffer;
	size_t bytes;
	size_t done; // set: bytes read
};

// Reads many pieces with few system calls.
void os_remote_read_pieces(int pid, int memory, struct os_piece *pieces, size_t count);

// --- cpu.c ---------------------------------------------------------------------------------------
#define OS_REGISTERS_MAX 40
#define OS_NO_REGISTER   255

// How threads of a kind of CPU look in register sets and core notes.
struct os_cpu {
	const char *name;     // "x86_64"
	uint16_t elf_machine; // EM_*
	uint8_t word_bytes;
	uint8_t register_count; // words of the general set (NT_PRSTATUS)
	uint8_t sp, pc;
	uint8_t tp; // OS_NO_REGISTER: not in the general set
	const char *const *register_names;
	uint32_t vector_set;             // NT_*: the register set with vector state
	uint32_t thread_set;             // NT_*: the set that holds the thread pointer, 0 = none
	bool control_block_names_itself; // words 0 and 2 behind the thread pointer hold it
	// Where a system call leaves its number and its result, and whether a call of this number
	// that a tracer's stop ended with EINTR did nothing yet and may be begun again. NULL where the
	// kernel offers no way to begin it again.
	uint8_t call, result;
	bool (*begins_again)(uint64_t call);
	// The thread pointer out of the bytes of thread_set.
	uint64_t (*thread_pointer)(const uint64_t *registers, const void *set, size_t bytes);
};

// NULL when we know nothing about it.
const struct os_cpu *os_cpu_of_machine(uint16_t elf_machine, unsigned word_bytes);

// Widens a general register set in host byte order; false when bytes are too few.
bool os_cpu_widen(const struct os_cpu *cpu, const void *set, size_t bytes,
                  uint64_t ret[OS_REGISTERS_MAX]);

// --- trace.c -------------------------------------------------------------------------------------
// The calling thread is the tracer in all of these.
enum os_stop_kind {
	OS_STOP_NONE,   // still runs (or sleeps uninterruptibly)
	OS_STOP_EVENT,  // our interrupt
	OS_STOP_GROUP,  // the process is stopped by a signal (SIGSTOP and the like)
	OS_STOP_SIGNAL, // about to take a signal, which must be handed back at the release
	OS_STOP_ENDED,  // the thread is gone
	OS_STOP_OTHER,  // a ptrace event or system call stop
};

struct os_stop {
	enum os_stop_kind kind;
	int signal; // for OS_STOP_SIGNAL
	int event;  // for OS_STOP_OTHER, PTRACE_EVENT_*
};

struct error *os_trace_seize(int tid, unsigned long options);
struct error *os_trace_interrupt(int tid);
// Waits until the monotonic time deadline_ns (0 = only look). OS_STOP_ENDED also for the first thread of
// a process that has ended but cannot be collected before the others.
struct error *os_trace_wait(int tid, uint64_t deadline_ns, struct os_stop *ret);
struct error *os_trace_detach(int tid, int signal);
// The next stop or end of anything that the calling thread traces, if there is one: false when not.
bool os_trace_poll_any(int *ret_tid, struct os_stop *ret);
// Lets a thread that was seized with OS_TRACE_CALLS go on until it begins or ends a system call, which is
// then an OS_STOP_SIGNAL by OS_SIGNAL_OF_CALL.
#define OS_TRACE_CALLS    1ul // PTRACE_O_TRACESYSGOOD
#define OS_SIGNAL_OF_CALL 0x85
struct error *os_trace_resume_to_call(int tid);
// A register set; *ret_bytes is what the kernel gave.
struct error *os_trace_get_set(int tid, uint32_t set, void *buffer, size_t bytes,
                               size_t *ret_bytes);
struct error *os_trace_put_set(int tid, uint32_t set, const void *buffer, size_t bytes);

// Gives the calling thread the highest ordinary priority for the rest of its life, where we have the
// right: for what keeps a target standing still.
void os_hurry(void);
// From here to the end of the calling thread, or until told otherwise, before all ordinary threads, where
// we have the right: for some milliseconds in which a target stands still.
void os_urgent(bool is);

// Runs function(context) in a thread of its own, with all signals blocked and, where we have the
// right, the highest ordinary priority, until it returns. What the
// function traces is let go by the kernel at the latest when it returns.
struct error *os_run_thread(void (*function)(void *context), void *context);
// The same without the priority; late(context) is called once, by the calling thread, when the
// function is still at work after limit_ns. Returns when the function has.
struct error *os_run_within(uint64_t limit_ns, void (*function)(void *context),
                            void (*late)(void *context), void *context);

// --- launch.c ------------------------------------------------------------------------------------
// Starts a command (words end with NULL) traced from its first instruction, with stops at the exit of
// each of its threads and at new threads; the calling thread is the tracer. A failing exec writes its
// errno to *ret_failed. The variables are the command's, besides our own environment; the list ends
// with a name of NULL, and may be NULL.
struct os_launch_variable {
	const char *name, *value;
	bool numbered; // the number of the process goes behind the value
};
struct error *os_launch(const char *const *words, const struct os_launch_variable *variables,
                        int *ret_pid, int *ret_failed);

// The errno of the exec, 0 when it worked; waits for one of the two and closes the descriptor.
int os_launch_failure(int failed);

// The next stop or end of anything traced; status as waitpid gives it.
struct error *os_trace_wait_any(int *ret_tid, int *ret_status);
void os_trace_resume(int tid, int signal);
void os_trace_listen(int tid); // keeps a group stop a stop
unsigned long os_trace_event_message(int tid);

// Whether a thread that stands at its exit called exit, which ends this thread only; exit_group and
// deadly signals end the process.
bool os_thread_ends_alone(int pid, int tid);

// Lets a traced process of ours run to its end and collects it.
void os_reap(int pid);
const char *os_signal_name(int signal);

// While a command has the terminal, its interrupts are not ours.
void os_ignore_interrupts(bool ignore);

// --- program.c -----------------------------------------------------------------------------------
struct os_program {
	const char *path;
	bool gives_rights; // set-user-id, set-group-id or capabilities that this user does not have
	uint32_t owner;    // user id
	bool is_readable;  // if not, the rest is not known
	bool is_elf, is_native;  // native: of this word size
	const char *loader;      // of a dynamic ELF program; NULL for a static one
	const char *interpreter; // of a script, NULL
};

// Looks name up as a shell does. The texts are in arena.
struct error *os_program_find(struct arena *arena, const char *name, struct os_program *ret);

// Whether the tables of symbols of a 64-bit program or library say that it defines a function; false also
// when they do not tell.
bool os_program_defines(const char *path, const char *function);

// Turns this process into the command (words end with NULL) with these variables set (name and value
// in turns, NULL at the end). Returns only when it cannot.
struct error *os_become(const char *const *words, const char *const *variables);

const char *os_variable(const char *name); // NULL when not set
const char *os_absolute_path(struct arena *arena, const char *path);

int os_process_id(void);

// --- own.c ---------------------------------------------------------------------------------------
// For main, before anything is opened: standard descriptors that are closed are taken, so that no file
// gets their numbers, and writing beyond the limit of file sizes is an error (EFBIG). Neither reaches
// a command that is started.
void os_own_prepare(void);

// --- run.c ---------------------------------------------------------------------------------------
// Forks, runs child in the new process, which ends with its result unless it becomes a command, and
// waits for its end. Signals that are sent to us meanwhile go to it. Processes that it leaves behind
// become our children. The status is as waitpid gives it.
struct error *os_run(int (*child)(const void *context), const void *context, int *ret_pid,
                     int *ret_status);
// Waits until none of our children has this name (of at most 15 bytes); false when one still has.
bool os_run_await(const char *name, uint64_t limit_ns);
// Ends this process as a child ended: with its status, or by the same signal.
void os_run_end_as(int status);

// --- x86_64/checksum.c, aarch64/checksum.c --------------------------------------------------------
// Takes bytes into the register of a CRC-32 (reflected, polynomial 0xedb88320) as far as this processor has
// instructions for it. Returns how many bytes were taken, from the first: none, when it has not.
size_t os_crc32(uint32_t *crc, const void *bytes, size_t count);

// --- machine.c -----------------------------------------------------------------------------------
const char *os_host_name(struct arena *arena);    // "localhost"; not made printable
const char *os_version_text(struct arena *arena); // "Debian GNU/Linux 12 (bookworm) (Linux 6.1.0)"
const char *os_cpu_name(struct arena *arena);     // its model; "" where the kernel does not tell
const char *os_self_path(struct arena *arena);    // of this program

// --- machine_text.c ------------------------------------------------------------------------------
#include "os/machine_text.h"

// --- await.c, trigger.c, local.c -----------------------------------------------------------------
#include "os/pressure.h"

// --- inject.c ------------------------------------------------------------------------------------
#include "os/inject.h"

// --- shared.c, background.c, watch.c ---------------------------------------------------------------
#include "os/background.h"

// --- patch.c of the CPU --------------------------------------------------------------------------
#include "os/patch.h"
