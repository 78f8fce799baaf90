// SPDX-License-Identifier: MIT
// What the files of target share: how each kind makes a target, and the state of
// a look at a live process that its two ways (in place, clone) have in common.
#pragma once

#include "base/base.h"
#include "os/os.h"
#include "target/target.h"

// --- making a target (segments.c) ----------------------------------------------------------------
// An empty target with an arena over os_page_source, complete and without warnings. Operations that
// ops leaves NULL are filled with ones that say ERROR_UNSUPPORTED, so callers never test for NULL.
struct target *target_new(enum target_kind kind, const struct target_ops *ops);

// Adds a sentence to target->warnings.
void target_warn(struct target *target, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

// --- kinds of files (open.c asks each row in turn) -----------------------------------------------
// is() reads from offset 0 with pread and keeps the descriptor as it was; open() takes the descriptor
// over, also when it fails.
struct target_file_kind {
	bool (*is)(int fd);
	struct error *(*open)(const char *path, int fd, const struct target_options *options,
	                      struct target **ret);
};

extern const struct target_file_kind snapshot_file_kind;

// --- a look at a live process ---------------------------------------------------------------------
// Memory of ours for the contents of a range of the target.
struct live_image {
	uint64_t start, end;
	uint8_t *memory;
};

// Memory that small images are cut from, so that a process with many mappings does not cost us as many.
struct live_room {
	uint8_t *memory;
	size_t bytes, used;
};

// From the first reading until a target is made of it; then target->own of the kinds TARGET_LIVE and
// TARGET_CLONE. Lives in the target's arena.
struct live {
	struct target *target; // its facts, files and auxv are there before the stop
	struct target_options options;
	int pid;
	int memory_tid; // whose memory is asked for: pid, unless the main thread has ended
	int memory;     // /proc/PID/mem, or -1
	// Whether memory_tid is the clone. It shares its pages with the target, and process_vm_readv
	// pins a page, for which the kernel first makes a copy of one that is shared (gup_must_unshare
	// in mm/internal.h, since Linux 5.19): the look would double the memory.
	bool is_clone;
	int pagemap; // /proc/PID/pagemap, or -1
	const struct os_cpu *cpu;
	struct os_process process; // before the stop
	const struct os_mapping
		*counted; // with their counts, as read before the stop; NULL: not yet
	size_t counted_count;
	char *maps_text; // that target->segments were made of, or NULL
	size_t maps_bytes;
	VEC(struct target_file *) files;
	VEC(struct target_thread) threads; // names and states before the stop
	VEC(struct live_image) images;
	VEC(struct live_room) rooms; // all memory of the images
	struct os_ranges present; // what was there at the stop, in the copied segments; ascending
	uint64_t copy_bytes;      // that a stop in place copies, as predicted
	struct clone *clone;      // of the kind TARGET_CLONE, else NULL
};

// live.c: opens a pid, in place, or through a clone when the predicted stop is long.
struct error *live_open(int pid, const struct target_options *options, struct target **ret);

// live_facts.c: fills what needs no stop: names, executable, auxv, threads' names, kernel roots.
struct error *live_read_facts(struct live *live);

// Whether the process has executed another program since its facts were read: then nothing fits any
// more. Its start addresses and random bytes tell (auxv).
bool live_has_restarted(struct live *live);

// Replaces target->threads by those of a stop.
void live_set_threads(struct live *live, const struct stop *stop);

// live_segments.c: replaces target->segments by what the kernel says now. tid is the process that is
// asked: the target, or its clone. Files found before keep their address. counts asks for smaps.
struct error *live_read_segments(struct live *live, int tid, bool counts);

// The same without counts, and without any work when nothing has changed since: for the stop, where
// building thousands of segments would cost more than reading their memory.
struct error *live_update_segments(struct live *live, int tid);

// Copies the page counts of the segments `from` to the equal ones of target->segments.
void live_take_counts(struct live *live, const struct target_segment *from, size_t count);

// live_files.c: state of one list of segments while its files are found.
struct live_file_reading {
	struct live *live;
	int tid;
	int maps; // /proc/TID/maps once a build-id was asked for, else -1; the owner closes it
	const struct target_file *last;
};

// The file of a mapping with an inode and a name.
const struct target_file *live_file_of(struct live_file_reading *reading,
                                       const struct os_mapping *mapping);

// Whether a path is that of memory rather than of a file (memfd, System V, /dev/shm).
bool live_contents_are_own(const char *path);

// target_ops.file_open of a live process: through map_files, its root directory or ours.
struct error *live_file_open(struct target *target, const struct target_file *file, int *ret);

// live_memory.c: before the stop: memory for the copy, so that the stop meets no page fault.
struct error *live_prepare_copy(struct live *live);

// During the stop: copies what may change afterwards.
struct error *live_copy(struct live *live);

// After the stop: completes the images of big file mappings.
void live_fill_files(struct live *live);

// target_ops.read, load and present over the images and the running process.
size_t live_read(struct target *target, const struct target_segment *segment, uint64_t address,
                 void *buffer, size_t n);
struct error *live_load(struct target *target, struct target_segment *segment);
struct error *live_present(struct target *target, uint64_t start, uint64_t end,
                           void (*each)(void *, uint64_t, uint64_t), void *context);

// target_ops.close: descriptors and images.
void live_close(struct target *target);

// live_held.c: whether all threads stand still without our doing (a debugger, SIGSTOP).
bool live_is_held(const struct live *live);

// Reads a process that is traced already, without stopping or releasing anything.
struct error *live_look_held(struct live *live);

// live_rights.c: a refused look as a sentence that names the right and the ways around.
struct error *live_explain(const struct live *live, struct error *cause);

// --- through a clone (clone.c) -------------------------------------------------------------------
// Makes live->target one of the kind TARGET_CLONE: stops, clones and lets go. Facts, files and
// segments (with counts, when wanted) must be there. When a clone is not wise or not possible,
// *ret_refusal is a sentence part that says why ("it is small"), nothing was changed, and the
// caller reads in place. Errors: the target ended, or rights are missing.
struct error *clone_look(struct live *live, const char **ret_refusal);

// --- ELF cores (core*.c) -------------------------------------------------------------------------
// A file named by NT_FILE. The descriptor is opened when its pages are needed first.
struct core_file {
	struct target_file file; // first: a segment's file is found back by its address
	bool has_base;
	uint64_t base;          // where its first byte is mapped
	bool is_module;         // ELF, or mapped with the right to execute
	bool lacks_pages;       // the core left some out
	uint64_t missing_bytes; // that neither the core nor a file of this machine has
	int fd;                 // -1: not open
};

struct core_mapping {
	uint64_t start, end, offset;
	const char *path;
	struct core_file *file;
};

// Where the core holds the first bytes of the segment with the same index.
struct core_part {
	uint64_t offset, bytes;
	uint64_t claimed_bytes; // that the program header promises; more when the core is truncated
	bool unlisted;          // no program header tells of it, only the list of files
};

struct core_copy {
	void *memory;
	size_t bytes;
};

struct core {
	int fd;
	const uint8_t *bytes; // the whole file, mapped
	uint64_t size;
	struct target_elf_source source; // over bytes
	struct target_elf elf;
	const struct os_cpu *cpu; // NULL when its registers are unknown to us
	struct target_segment *segments;
	struct core_part *parts;
	size_t segment_count;
	struct core_mapping *mappings; // ascending
	size_t mapping_count;
	struct core_file *files;
	size_t file_count;
	char command[17]; // of NT_PRPSINFO
	int signal;       // that ended the process, 0 = none
	VEC(struct target_thread) threads;
	VEC(struct core_copy) copies; // segments that target_load copied
};

extern const struct target_file_kind core_file_kind;
bool core_is(int fd);
struct error *core_open(const char *path, int fd, const struct target_options *options,
                        struct target **ret);

// Replaces *fd by a scratch file with what a zstd stream holds; *ret_damage is set when only the
// first part could be had.
struct error *core_decompress(int *fd, struct error **ret_damage);
bool core_is_compressed(int fd);
size_t core_decompress_start(int fd, void *buffer, size_t n); // the first bytes

void core_read_notes(struct target *target, struct core *core);

uint8_t core_protection_of(uint32_t flags); // PF_* to TARGET_*
struct error *core_read_segments(struct target *target, struct core *core);
void core_explain_missing(struct target *target, struct core *core);

// Gives segments their files, files their build-ids, and segments without contents those of the file.
void core_attach_files(struct target *target, struct core *core);

// Opens the file of this machine when its build-id is that of the core; ERROR_NOT_FOUND says why not.
struct error *core_file_verify(const struct core_file *file, int *ret);

// The file that has its code or headers mapped at address, or NULL.
const struct core_file *core_file_at(const struct core *core, uint64_t address);

// Reads what the core itself holds; 0 when it holds nothing there.
size_t core_read_dumped(const struct target_segment *segment, const struct core *core,
                        uint64_t address, void *buffer, size_t n);
