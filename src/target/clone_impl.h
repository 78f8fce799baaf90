// SPDX-License-Identifier: MIT
// What clone.c (the tool's side) and guardian.c (the process that traces) agree on.
#pragma once

#include "target/target_impl.h"

enum guardian_verb {
	GUARDIAN_LOOK,  // stop, clone, let go
	GUARDIAN_MEMFD, // *result: a descriptor of new memory in the clone
	GUARDIAN_MAP,   // descriptor, bytes: maps it and closes it; *result: the address
	GUARDIAN_RUN,   // entry, argument, stack
};

struct guardian_request {
	enum guardian_verb verb;
	uint64_t arguments[3];
};

struct guardian_reply {
	bool failed;
	struct error error; // when failed
	uint64_t result;
};

// Lives in memory that both sides share at the same address, and is filled by the guardian. After
// GUARDIAN_LOOK it stays as it is.
struct guardian_block {
	size_t bytes, used; // of the whole shared memory
	char why_not[600];  // why there is no clone; "" when there is one
	uint64_t began_ns, ended_ns;
	unsigned unstopped;
	struct stop_thread *threads;
	size_t thread_count;
	uint8_t *vectors;
	size_t vector_bytes;
	struct live_image *images; // what the clone does not have: contents as of the stop
	size_t image_count;
	// Of the thread that made the clone. The child in it is the clone, which stays known when the
	// guardian is gone.
	struct os_injection injection;
};

// What the guardian knows from before its fork.
struct guardian {
	int channel;
	int pid;        // of the target
	int memory_tid; // whose mappings are the target's
	const struct os_cpu *cpu;
	unsigned thread_count;             // before the look
	const struct os_mapping *mappings; // with counts
	size_t mapping_count;
	const struct os_mapping **uncloned; // those that a clone lacks or gets empty
	size_t uncloned_count;
	struct os_gadgets gadgets;
	struct guardian_block *block;
	struct os_injection in_clone; // calls inside the clone
	bool clone_stands;
};

// Serves the tool until it is gone, then cleans up and ends.
void guardian_serve(struct guardian *guardian) __attribute__((noreturn));

// Makes the target forget its dead clone, so that no zombie stays with it; the caller becomes tracer
// of one of its threads for that moment. made is the injection that made it. False when no thread
// could serve.
bool guardian_reap(int pid, const struct os_injection *made, const struct os_gadgets *gadgets);
