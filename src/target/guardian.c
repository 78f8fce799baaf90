// SPDX-License-Identifier: MIT
// The process that makes, keeps and ends a clone, so that the tool may die at any
// time. Forked by clone.c before anything is stopped.
//
// 1. It never asks the tool for anything while the target is stopped: a tool that is stopped itself
//    cannot keep the target waiting. Results go to shared memory.
// 2. Whatever goes wrong with a traced thread, ending is always right: the kernel lets all threads
//    go, one that was in an injected call restores itself (os/inject.h), and the clone is killed.
// 3. A dead clone is a child of the target that nobody waits for. Its exit signal is 0, so ordinary
//    waits of the target do not see it, but it would stay a zombie. So at the end one thread of the
//    target executes a wait4 for it.
#include "target/clone_impl.h"

#include <stdio.h>
#include <string.h>

#define SECOND_NS          1000000000ull
#define CALL_WAIT_NS       (60 * SECOND_NS) // a busy machine may leave a process waiting for seconds
#define CLONE_WAIT_NS      (60 * SECOND_NS)
#define RUN_LOOK_NS        2000000ull       // how soon the tool's death is noticed while code runs
#define REAP_SLEEP_WAIT_NS 100000000ull     // for a thread that sleeps uninterruptibly
#define REAP_STOP_WAIT_NS  (20 * SECOND_NS) // for any other
#define REAP_PAUSE_NS      5000000ull
#define REAP_ROUNDS        400
#define IMAGE_BYTES_MOST   (64ull << 20)
#define ALIGN_BYTES        16

#define CLOSE_RANGE_UNSHARE 2
#define MFD_CLOEXEC         1
#define MAP_SHARED_FLAG     1
#define WAIT_NO_HANG        1
#define WAIT_ALL            0x40000000

static uint64_t in(uint64_t ns)
{
	return os_monotonic_ns() + ns;
}

// --- results -------------------------------------------------------------------------------------
static void *block_alloc(struct guardian_block *block, size_t bytes)
{
	size_t at = (block->used + ALIGN_BYTES - 1) & ~(size_t)(ALIGN_BYTES - 1);

	if (at > block->bytes || bytes > block->bytes - at)
		return NULL;
	block->used = at + bytes;
	return (uint8_t *)block + at;
}

static struct error *keep_threads(struct guardian_block *block, const struct stop *stop)
{
	size_t bytes = stop->threads.n * sizeof(*stop->threads.v);

	block->threads = block_alloc(block, bytes);
	block->vectors = block_alloc(block, stop->vectors.n);
	if (!block->threads || !block->vectors)
		return error_new(ERROR_UNSUPPORTED,
		                 "it has more threads (%zu) than we have room for",
		                 stop->threads.n);
	if (stop->threads.n)
		memcpy(block->threads, stop->threads.v, bytes);
	if (stop->vectors.n)
		memcpy(block->vectors, stop->vectors.v, stop->vectors.n);
	block->thread_count = stop->threads.n;
	block->vector_bytes = stop->vectors.n;
	block->unstopped = stop->unstopped;
	return NULL;
}

// Contents of mappings that a clone lacks (MADV_DONTFORK) or gets empty (MADV_WIPEONFORK).
static void keep_images(struct guardian *guardian)
{
	struct guardian_block *block = guardian->block;

	block->images = block_alloc(block, guardian->uncloned_count * sizeof(*block->images));
	for (size_t i = 0; block->images && i < guardian->uncloned_count; i++) {
		const struct os_mapping *mapping = guardian->uncloned[i];
		uint64_t bytes = mapping->end - mapping->start;
		struct live_image image = { mapping->start, mapping->end, NULL };

		if (bytes > IMAGE_BYTES_MOST || !(image.memory = block_alloc(block, bytes)))
			continue;
		if (os_remote_read(guardian->memory_tid, -1, mapping->start, image.memory, bytes))
			block->images[block->image_count++] = image;
	}
}

// --- the clone -----------------------------------------------------------------------------------
static const char *refuse_thread(int pid, int tid)
{
	bool filtered;
	const char *refusal = os_inject_refuse_status(pid, tid, &filtered);

	return !refusal && filtered ? os_inject_refuse_filters(tid) : refusal;
}

// A thread whose interrupted call the kernel resumes with its remaining time serves only when no
// other can: should we die meanwhile, that call starts anew.
static struct error *choose_thread(struct guardian *guardian, const struct stop *stop,
                                   const char **ret_refusal)
{
	struct os_injection *injection = &guardian->block->injection;

	*ret_refusal = "no thread could be stopped";
	for (int round = 0; round < 2; round++) {
		for (size_t i = 0; i < stop->threads.n; i++) {
			const struct stop_thread *thread = &stop->threads.v[i];
			const char *refusal;

			if (!thread->interrupted || thread->signal || !thread->has_registers)
				continue;
			if (round == 0 && os_inject_cpu()->has_restart_block(thread->registers))
				continue;
			refusal = refuse_thread(guardian->pid, thread->tid);
			if (!refusal)
				TRY(os_inject_begin(thread->tid, &guardian->gadgets,
				                    guardian->mappings, guardian->mapping_count,
				                    injection, &refusal));
			*ret_refusal = refusal;
			if (!refusal)
				return NULL;
		}
	}
	return NULL;
}

static struct error *make_clone(struct guardian *guardian, const struct stop *stop)
{
	struct guardian_block *block = guardian->block;
	const char *refusal;
	int reason;

	if (stop->unstopped) {
		snprintf(block->why_not, sizeof(block->why_not),
		         "a thread sleeps uninterruptibly in the kernel");
		return NULL;
	}
	TRY(choose_thread(guardian, stop, &refusal));
	if (refusal) {
		snprintf(block->why_not, sizeof(block->why_not), "no thread can serve: %s",
		         refusal);
		return NULL;
	}
	TRY(os_inject_clone(&block->injection, in(CLONE_WAIT_NS), &reason));
	if (reason)
		snprintf(block->why_not, sizeof(block->why_not), "the kernel refused it (%s)",
		         error_system(reason, "clone")->text);
	guardian->clone_stands = !reason;
	return NULL;
}

static struct error *call_in_clone(struct guardian *guardian, enum os_call_name name,
                                   const uint64_t arguments[6], uint64_t *ret)
{
	struct os_call call = { .number = os_inject_cpu()->numbers[name] };
	int64_t result;

	memcpy(call.arguments, arguments, sizeof(call.arguments));
	TRY(os_inject_call(&guardian->in_clone, &call, in(CALL_WAIT_NS), &result));
	if (result < 0 && result > -4096)
		return error_system((int)-result, "a call in the clone failed");
	*ret = (uint64_t)result;
	return NULL;
}

// The clone shares the table of descriptors with the target at first. It gets an empty one, so that
// nothing it holds keeps a pipe, a lock or a connection of the target open.
static struct error *settle_clone(struct guardian *guardian)
{
	const uint64_t arguments[6] = { 0, ~0u, CLOSE_RANGE_UNSHARE };
	int clone = guardian->block->injection.child;
	const char *refusal;
	uint64_t ignored;

	os_process_humble(clone);
	guardian->in_clone.dies_with_us = true;
	TRY(os_inject_begin(clone, &guardian->gadgets, guardian->mappings, guardian->mapping_count,
	                    &guardian->in_clone, &refusal));
	if (refusal)
		return error_new(ERROR_UNSUPPORTED, "the clone cannot serve: %s", refusal);
	return call_in_clone(guardian, OS_CALL_CLOSE_RANGE, arguments, &ignored);
}

static struct error *while_stopped(struct guardian *guardian, struct stop *stop)
{
	TRY(stop_read_registers(stop));
	keep_images(guardian);
	return make_clone(guardian, stop);
}

static struct error *look(struct guardian *guardian)
{
	struct guardian_block *block = guardian->block;
	struct error *error;
	struct stop stop;

	os_hurry();
	stop_init(&stop, guardian->pid, guardian->cpu);
	stop.tracer_stays = true;
	error = stop_prepare_look(&stop, guardian->thread_count);
	if (!error)
		error = stop_begin(&stop);
	if (!error) {
		error = while_stopped(guardian, &stop);
		// A thread inside an injected call cannot be let go one by one: our end does it.
		if (block->injection.armed)
			return error;
		stop_end(&stop);
	}
	// To copy what was read takes long when there are thousands of threads.
	if (!error)
		error = keep_threads(block, &stop);
	block->began_ns = stop.began_ns;
	block->ended_ns = stop.ended_ns;
	stop_deinit(&stop);
	if (!error && guardian->clone_stands)
		error = settle_clone(guardian);
	return error;
}

// --- code in the clone ---------------------------------------------------------------------------
// Returns when the code has ended; does not return when the tool has gone.
static void finish(struct guardian *guardian) __attribute__((noreturn));

static struct error *run(struct guardian *guardian, const uint64_t arguments[3])
{
	struct os_stop stop;
	bool again = true;
	int clone = guardian->in_clone.tid;

	TRY(os_inject_start(&guardian->in_clone, arguments[0], arguments[1], arguments[2]));
	while (again) {
		TRY(os_trace_wait(clone, in(RUN_LOOK_NS), &stop));
		if (stop.kind == OS_STOP_NONE && os_channel_closed(guardian->channel))
			finish(guardian);
		if (stop.kind == OS_STOP_ENDED)
			guardian->clone_stands = false;
		TRY(os_inject_stopped(clone, &stop, &again));
	}
	return NULL;
}

static struct error *map(struct guardian *guardian, uint64_t descriptor, uint64_t bytes,
                         uint64_t *ret)
{
	const uint64_t map_arguments[6] = {
		0, bytes, OS_READ | OS_WRITE | OS_EXEC, MAP_SHARED_FLAG, descriptor, 0
	};
	const uint64_t close_arguments[6] = { descriptor };
	uint64_t ignored;

	TRY(call_in_clone(guardian, OS_CALL_MMAP, map_arguments, ret));
	return call_in_clone(guardian, OS_CALL_CLOSE, close_arguments, &ignored);
}

// --- serving -------------------------------------------------------------------------------------
static struct error *handle(struct guardian *guardian, const struct guardian_request *request,
                            uint64_t *ret)
{
	const uint64_t memfd[6] = { guardian->gadgets.empty_text, MFD_CLOEXEC };

	if (request->verb == GUARDIAN_LOOK)
		return look(guardian);
	if (!guardian->clone_stands)
		return error_new(ERROR_GONE, "the clone has ended");
	if (request->verb == GUARDIAN_MEMFD)
		return call_in_clone(guardian, OS_CALL_MEMFD_CREATE, memfd, ret);
	if (request->verb == GUARDIAN_MAP)
		return map(guardian, request->arguments[0], request->arguments[1], ret);
	return run(guardian, request->arguments);
}

void guardian_serve(struct guardian *guardian)
{
	struct guardian_request request;

	while (os_channel_receive(guardian->channel, &request, sizeof(request))) {
		struct guardian_reply reply = { 0 };
		struct error *error = handle(guardian, &request, &reply.result);

		if (error) {
			reply.failed = true;
			reply.error = *error;
		}
		if (!os_channel_send(guardian->channel, &reply, sizeof(reply)))
			break;
		if (guardian->block->injection.armed || guardian->in_clone.armed)
			break;
		// Nothing to guard; a thread that we could not stop would stop later, until our end.
		if (request.verb == GUARDIAN_LOOK && !guardian->clone_stands)
			break;
	}
	finish(guardian);
}

// --- the end -------------------------------------------------------------------------------------
static void finish(struct guardian *guardian)
{
	struct guardian_block *block = guardian->block;
	int clone = block->injection.child;

	// A thread inside an injected call restores itself and reaps, once we are gone.
	if (block->injection.armed || !clone)
		os_guardian_exit(0);
	os_process_kill(clone);
	os_process_collect(clone);
	os_guardian_exit(!guardian_reap(guardian->pid, &block->injection, &guardian->gadgets));
}

struct reap {
	int pid;
	int64_t clone;             // its number in the target's pid namespace
	struct os_gadgets gadgets; // where they were before; anew when the program is another one
	bool find_anew;
	struct os_injection injection;
	bool done;
};

static struct error *reap_call(struct reap *reap)
{
	const struct os_call call = {
		.number = os_inject_cpu()->numbers[OS_CALL_WAIT4],
		.arguments = { (uint64_t)reap->clone, 0, WAIT_NO_HANG | WAIT_ALL, 0 },
	};
	int64_t result = 0;

	TRY(os_inject_call(&reap->injection, &call, in(CALL_WAIT_NS), &result));
	reap->done = result != 0; // its number, or that there is no such child
	return NULL;
}

// The mappings are read while the thread stands: the program may be executing another one.
static struct error *reap_stopped(struct reap *reap, struct arena *arena, int tid)
{
	struct os_mapping *mappings;
	const char *refusal;
	size_t count;

	if (refuse_thread(reap->pid, tid))
		return NULL;
	TRY(os_mappings_read_once(arena, tid, &mappings, &count));
	if (reap->find_anew)
		os_inject_find_gadgets(tid, mappings, count, &reap->gadgets);
	if (!reap->gadgets.call_return || !reap->gadgets.sigreturn)
		return NULL;
	TRY(os_inject_begin(tid, &reap->gadgets, mappings, count, &reap->injection, &refusal));
	if (!refusal)
		TRY(reap_call(reap));
	os_inject_undo_interrupt(tid, reap->injection.registers,
	                         reap->injection.register_bytes / sizeof(uint64_t));
	return NULL;
}

// A thread that sleeps uninterruptibly is left to itself: it stops only until our end.
static struct error *reap_wait(const struct reap *reap, int tid, struct os_stop *ret)
{
	struct os_process thread;

	TRY(os_trace_wait(tid, in(REAP_SLEEP_WAIT_NS), ret));
	if (ret->kind != OS_STOP_NONE || os_thread_read(reap->pid, tid, &thread) ||
	    thread.state == 'D')
		return NULL;
	return os_trace_wait(tid, in(REAP_STOP_WAIT_NS), ret);
}

// Returns whether to go on with the next thread.
static bool reap_in_thread(void *context, int tid)
{
	struct reap *reap = context;
	struct os_stop stop = { .kind = OS_STOP_NONE };
	struct arena arena;

	if (os_trace_seize(tid, 0))
		return true;
	if (os_trace_interrupt(tid) || reap_wait(reap, tid, &stop))
		return true;
	if (stop.kind == OS_STOP_EVENT || stop.kind == OS_STOP_GROUP) {
		arena_init(&arena, &os_page_source);
		(void)reap_stopped(reap, &arena, tid);
		arena_deinit(&arena);
	}
	if (reap->injection.armed)
		return false; // it restores itself when its tracer ends
	// One that was killed meanwhile is collected, or its process would never end for its parent.
	if (stop.kind != OS_STOP_NONE && stop.kind != OS_STOP_ENDED &&
	    os_trace_detach(tid, stop.signal))
		(void)os_trace_wait(tid, in(REAP_SLEEP_WAIT_NS), &stop);
	return !reap->done;
}

// What has ended left its children to init, also while its own parent has not collected it.
static bool has_ended(int pid)
{
	struct os_process process;

	return os_process_read(pid, &process) ||
	       (process.state == 'Z' && process.thread_count <= 1);
}

bool guardian_reap(int pid, const struct os_injection *made, const struct os_gadgets *gadgets)
{
	static struct reap reap;
	char path[64];

	reap = (struct reap){ .pid = pid, .clone = made->child_there, .gadgets = *gadgets };
	if (reap.clone <= 0)
		return false; // no number: waiting for it would take other children
	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	if (!reap_in_thread(&reap, made->tid))
		return reap.done;
	for (int round = 0; round < REAP_ROUNDS; round++) {
		if (os_each_number(path, reap_in_thread, &reap) || reap.done || has_ended(pid))
			return true;
		if (reap.injection.armed)
			return false;
		reap.find_anew = true;
		os_sleep_ns(REAP_PAUSE_NS);
	}
	return false;
}
