// SPDX-License-Identifier: MIT
// What the files of this room share. Nobody else includes it.
#pragma once

#include "accounts/accounts.h"
#include "base/vec.h"

struct accounts {
	struct arena arena;
	int proc;    // descriptor of /proc
	int meminfo; // of /proc/meminfo
	bool with_swap;
};

// What the name of a mapping tells.
enum mapped_kind {
	MAPPED_ANONYMOUS,
	MAPPED_FILE, // becomes one of the next when it turns out to be loaded
	MAPPED_HEAP,
	MAPPED_STACK,
	MAPPED_KERNEL,
	MAPPED_NAMED,
	MAPPED_SHARED_MEMORY,
	MAPPED_MEMFD,
	MAPPED_DEVICE,
};

// A mapping of a process, without its name.
struct mapped {
	uint64_t start, end, offset, inode, device;
	enum mapped_kind kind;
	const char *category;
	const char *name; // with FOOTPRINT_REGIONS; else NULL unless kind is MAPPED_NAMED
	uint8_t protection;
	bool shared;
	bool is_accounted; // private memory that may be or once could be written (ac of VmFlags)
	struct footprint_counts counts, share;
	uint64_t shared_clean_bytes, shared_dirty_bytes; // that others may have, too
	uint64_t resident_bytes;
};

typedef VEC(struct mapped) mapped_vec;

// category.c: sets kind of one mapping, then category of all.
enum mapped_kind category_kind_of(const struct os_smaps_mapping *mapping);
void category_name_all(struct mapped *mappings, size_t count);

// once.c
struct once;
struct once *once_open(void); // NULL without the right
void once_close(struct once *once);
// Takes out of the shares what a mapping before had. False when that cannot be found out.
bool once_count(struct once *once, int proc, int tid, struct mapped *mappings, size_t count);

// kernel.c
void kernel_read(int proc, unsigned want, struct arena *arena, struct footprint *ret);
