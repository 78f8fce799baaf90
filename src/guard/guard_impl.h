// SPDX-License-Identifier: MIT
// What the files of guard share. Order of locks: guard_lock, then none.
#pragma once

#include "guard/guard.h"

#include "base/checked.h"
#include "layout/guard.h"
#include "malloc/malloc.h"
#include "os/inside.h"

enum {
	GUARD_PAGE_BITS = 12,
	GUARD_PAGE_BYTES = 1 << GUARD_PAGE_BITS,
	GUARD_LEAF_BITS = 30, // one leaf of the map of pages per GiB
	GUARD_LEAF_PAGES = 1 << (GUARD_LEAF_BITS - GUARD_PAGE_BITS),
	GUARD_ROOT_LEAVES = 1 << (47 - GUARD_LEAF_BITS),
	GUARD_ZONES_MAX = 1 << 16,
	GUARD_SLOT_PAGES = 16, // sampled mode: every run has so many, larger blocks are not sampled
};

extern struct guard_settings guard_settings;
extern struct guard_descriptor guard_descriptor;

// --- block.c: for malloc_stack_elsewhere
uint32_t *guard_block_stack(const void *block);

// --- record.c ------------------------------------------------------------------------------------
// Makes the tables. 0 or -ENOMEM.
int guard_records_start(void);

// A new record; 0 when there is no memory. Under guard_lock.
uint32_t guard_record_create(void);

static inline struct guard_record *guard_record_at(uint32_t number)
{
	const uint64_t *tables = (const uint64_t *)guard_descriptor.tables;
	struct guard_record *table = (struct guard_record *)tables[number / GUARD_TABLE_RECORDS];

	return table + number % GUARD_TABLE_RECORDS;
}

// Says that a page belongs to the run of a record. -ENOMEM when the map has no memory for it.
int guard_record_mark(uint64_t address, uint32_t number);

// The record that the page of an address was marked with; NULL when it was not. Any thread, no
// lock.
struct guard_record *guard_record_marked(uint64_t address);

// Whether an address lies in the room's address space. Any thread, no lock.
bool guard_record_covers(uint64_t address);

// The record in whose run, or in the page behind it, the address lies; NULL when there is none.
struct guard_record *guard_record_around(uint64_t address);

// The number of a record: that of the mark on its first page.
uint32_t guard_record_number(const struct guard_record *record);

static inline uint64_t guard_run_end(const struct guard_record *record)
{
	return record->run_start + (uint64_t)record->run_pages * GUARD_PAGE_BYTES;
}

static inline uint32_t guard_state(const struct guard_record *record)
{
	return __atomic_load_n(&record->state, __ATOMIC_ACQUIRE);
}

static inline bool guard_state_change(struct guard_record *record, uint8_t from, uint8_t to)
{
	return __atomic_compare_exchange_n(&record->state, &from, to, false, __ATOMIC_ACQ_REL,
	                                   __ATOMIC_RELAXED);
}

// Whether the run of a record lies where its extent and the map of pages say. Under guard_lock.
bool guard_record_sound(uint32_t number);

// Memory for the room's own use between two pages that fault; NULL when there is none.
void *guard_metadata_map(size_t bytes);

// --- pages.c -------------------------------------------------------------------------------------
// Runs of so many pages are opened and forbidden by mprotect, as a page table entry for each of
// their pages costs more than a mapping.
enum { GUARD_BIG_PAGES = 512 };

// Finds out what the kernel can do.
void guard_pages_start(void);

// Whether a new run of so many pages is to be guarded by regions of the kernel; else its open pages
// are a mapping of their own (GUARD_OWN_MAPPING). May turn false, never true.
bool guard_pages_by_region(uint64_t pages);

// Makes fresh address space, mapped INSIDE_NO_ACCESS, ready for runs of one of the two kinds.
int guard_pages_commit(uint64_t start, uint64_t bytes, bool own_mappings);

// The pages can be read and written, and are zero. On an error they are as they were.
int guard_pages_open(const struct guard_record *record, uint64_t start, uint64_t pages);

// The pages fault from now on and their memory is the system's again. On an error they fault as
// well, but the run cannot be used again.
int guard_pages_forbid(const struct guard_record *record, uint64_t start, uint64_t pages);

// --- arena.c -------------------------------------------------------------------------------------
int guard_arena_start(void);

// A run with so many pages or more: a new one, or one whose quarantine is over. State
// GUARD_PREPARED; its only page may be open already, which *ret_opened tells. NULL when there is no
// address space.
struct guard_record *guard_arena_take(uint64_t pages, bool *ret_opened);

// The run of a freed block (its pages forbidden) for use after the quarantine.
void guard_arena_give(struct guard_record *record);

// One lock for the arena, the records and the zones. The thread that holds it over fork may take it
// again.
void guard_lock(void);
void guard_unlock(void);
bool guard_locked(void);

// The calling thread is in a signal handler that interrupted it while it held or waited for the lock, or
// was in the core, for whose locks the holder may wait (before a fork).
bool guard_interrupts(void);

// --- canary.c ------------------------------------------------------------------------------------
void guard_canary_fill(uint64_t start, uint64_t end);

// The first byte in [start, end) that is not as filled; end when there is none.
uint64_t guard_canary_verify(uint64_t start, uint64_t end);

// The end of the last such byte; start when there is none.
uint64_t guard_canary_verify_end(uint64_t start, uint64_t end);

// --- block.c -------------------------------------------------------------------------------------
struct guard_request {
	uint64_t bytes;
	uint64_t alignment; // a power of two
	bool zero;          // never filled with fill_byte
	bool at_start;      // as with protect_before
	uint16_t zone;
	void *caller; // return address of the call
};

// NULL when it cannot be guarded, with no message.
void *guard_block_create(const struct guard_request *request);

// The block that starts at p and is the program's; NULL when there is none.
struct guard_record *guard_block_live(const void *p);

// Ends a block: verifies it when check_header is set, forbids its pages. False when another thread
// was faster.
bool guard_block_end(struct guard_record *record, void *caller);

// Whether a block lies in its run, as its record and the map of pages say.
bool guard_block_sound(const struct guard_record *record);

// Verifies the canaries and reports damage, fatal as in guard_report_damage; true when whole.
bool guard_block_verify(const struct guard_record *record, bool fatal);

// --- report.c ------------------------------------------------------------------------------------
// Why p cannot be freed or reallocated.
void guard_report_pointer(const void *p, bool reallocates);

// The canary in [start, end), before or behind a block, was overwritten. Fatal: as malloc_fault
// says, else only a message.
void guard_report_damage(const struct guard_record *record, uint64_t start, uint64_t end,
                         bool fatal);

// An access at address faulted, most probably meant for block (NULL: none is near); other is one
// that lies as near, or NULL. Context is the third argument of the signal handler.
void guard_report_fault(const struct guard_record *block, const struct guard_record *other,
                        uint64_t address, const void *context);

// --- fault.c -------------------------------------------------------------------------------------
// Installs the handler of faults.
void guard_fault_start(void);

// --- zone.c --------------------------------------------------------------------------------------
// What a malloc_zone_t of this room is. Blocks that cannot be guarded, and those that the sampled
// mode leaves out, are the core's.
struct guard_zone {
	malloc_zone_t zone;
	malloc_zone_t *core;
	uint32_t index;
	uint32_t next_unused; // index of the next one that is free for use
};

// Of the default zone, whose core is malloc_core_default(). NULL when there is no memory.
malloc_zone_t *guard_zone_create_first(void);

// The kernel's number of the calling thread, kept in the thread.
int guard_thread_id(void);
void guard_thread_forget(void); // in the child of a fork

// --- introspect.c --------------------------------------------------------------------------------
extern struct malloc_introspection_t guard_introspection;

// --- sample.c ------------------------------------------------------------------------------------
// Whether this allocation of the calling thread is one to be guarded (and at which end of its
// pages); always true in normal mode.
bool guard_sample_take(struct guard_request *request);

// In sampled mode: true when this call is none to be guarded, and counted as such; else
// guard_sample_take decides.
bool guard_sample_skip(void);
