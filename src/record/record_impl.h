// SPDX-License-Identifier: MIT
// What start.c, thread.c, event.c, sample.c, live.c and fork.c share.
#pragma once

#include "os/inside.h"
#include "record/record.h"
#include "record/paths.h"

#define RECORD_LIKELY(condition)   __builtin_expect(!!(condition), 1)
#define RECORD_UNLIKELY(condition) __builtin_expect(!!(condition), 0)

// Nothing is moved across it by the compiler: what a signal handler of the same thread sees.
#define RECORD_BARRIER() __asm__ volatile("" ::: "memory")

enum {
	RECORD_SIDE_EVENTS = 120,
	RECORD_RINGS_MAX = 2048,
	RECORD_PAGE_BYTES = 4096,
};

// What a thread has in our own memory, as long as it owns the ring of the same number. The first line
// is what each event needs.
struct record_thread {
	// Stack pointer of the call that is inside the recorder; 0: none is.
	volatile uintptr_t inside;
	struct record_ring *ring;
	struct record_event *events;
	uint64_t mask, written;
	uint64_t
		limit; // written may grow so far before the collector's progress is looked at again
	struct record_unwinder *unwinder;
	uint64_t lost; // events that a RECORD_GAP shall tell of

	uint64_t random; // sampled mode: state of the generator, 0 not yet
	bool samples;    // its first distance was drawn
	uint32_t lost_why;
	uint32_t index;
	bool ended; // its last destructor ran
	bool owned; // by a thread, whose record_self it is
	bool stale; // of a recording that has ended; inside is set then
	// Events of signal handlers that came while the thread was inside the recorder; those below
	// side_done are in the ring.
	volatile uint32_t side_count;
	uint32_t side_done, side_lost;
	struct record_event side[RECORD_SIDE_EVENTS];
};

// --- start.c --------------------------------------------------------------------------------------
// Whether events are wanted. A page of its own that a child made by fork finds zeroed, so that no child
// ever writes to its parent's rings.
struct record_gate {
	uint32_t open;
};
extern RECORD_HIDDEN struct record_gate *record_gate;
extern RECORD_HIDDEN struct record_header *record_header;
extern struct record_settings record_settings; // its texts are copies
extern RECORD_HIDDEN uint64_t record_clock_start;
extern RECORD_HIDDEN bool record_clock_ticks; // else ns

static inline uint64_t record_now(void)
{
	return (record_clock_ticks ? inside_ticks() : inside_monotonic_ns()) - record_clock_start;
}

static inline void *record_at(uint64_t offset)
{
	return (char *)record_header + offset;
}

// No more events, for good.
void record_close(void);
void record_wake_collector(void);

// In a child made by fork: away from the parent's recording; then one of its own, if there is memory
// for it and a collector.
void record_detach_child(void);
bool record_start_again(const char *log);

// --- own.c ----------------------------------------------------------------------------------------
// Lists memory (whole pages, NULL is allowed) in the header, so that no search for references counts it
// as the program's.
void record_own_list(void *memory, size_t bytes);

// --- thread.c -------------------------------------------------------------------------------------
extern RECORD_HIDDEN __thread struct record_thread *record_self;

struct record_thread *record_thread_enter_slow(const struct record_position *at);

// The calling thread's, which is inside the recorder from now on; NULL when there is nothing to record
// or the thread is inside already.
static inline struct record_thread *record_thread_enter(const struct record_position *at)
{
	struct record_thread *self = record_self;

	if (RECORD_UNLIKELY(!self || self->inside || !record_gate->open))
		return record_thread_enter_slow(at);
	self->inside = at->sp;
	RECORD_BARRIER();
	return self;
}

void record_thread_leave_slow(struct record_thread *self);

static inline void record_thread_leave(struct record_thread *self)
{
	RECORD_BARRIER();
	self->inside = 0;
	RECORD_BARRIER();
	if (RECORD_UNLIKELY(self->side_count | self->ended))
		record_thread_leave_slow(self);
}

// An event of a thread that could not enter.
void record_thread_aside(uint32_t kind, uint64_t address, uint64_t bytes, uint32_t extra,
                         const struct record_position *at);

extern RECORD_HIDDEN bool record_threads_many; // more than one ring was ever claimed

// Before the first thread, and again for each further recording: in a child that is recorded on its
// own, or when a tool attaches once more.
void record_thread_start(void);
void record_event_start(void);

// --- event.c --------------------------------------------------------------------------------------
// The thread must be inside. At the time of now.
void record_event_append(struct record_thread *self, uint32_t kind, uint64_t address,
                         uint64_t bytes, uint32_t node, uint32_t extra);
// With text behind it, or NULL.
void record_event_append_text(struct record_thread *self, uint32_t kind, uint64_t address,
                              uint64_t bytes, uint32_t node, uint32_t extra, const char *text);
// From a signal handler: for later. Then, by the thread: those of them that are older than the limit.
void record_event_put_aside(struct record_thread *self, uint32_t kind, uint64_t address,
                            uint64_t bytes, uint32_t node, uint32_t extra);
void record_event_take_aside(struct record_thread *self, uint64_t limit_ticks);

void record_event_called(uint32_t kind, uint64_t address, uint64_t bytes, uint32_t extra,
                         const char *text, const struct record_position *at);
// The node of a stack alone.
uint32_t record_event_stack(const struct record_position *at);

extern const struct record_hooks record_event_hooks;

// --- sample.c -------------------------------------------------------------------------------------
bool record_sample_start(void); // false: no memory
extern const struct record_hooks record_sample_hooks;

// --- live.c ---------------------------------------------------------------------------------------
uint64_t record_live_bytes(unsigned shrink); // of the mapping, with capacities halved so often
bool record_live_start(void);                // false: no memory
void record_live_apply(const struct record_event *event); // an allocation or a free
extern const struct record_hooks record_live_hooks;
extern const struct record_hooks record_live_node_hooks; // inside our malloc
