// SPDX-License-Identifier: MIT
// heapwright record PID: the recorder is brought into a process that runs, the collector is started for
// it, the heap is looked at once for what was there before, and both are ended by an interrupt, by the
// end of the process, or when the log is to end. When this tool is killed, the guardian that collect
// keeps gets the recorder out again.
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "collect/collect.h"
#include "os/os.h"
#include "report/report.h"
#include "tools/tools_impl.h"

#define TITLE "heapwright record"

enum {
	START_LIMIT_S = 20,
	LOG_LIMIT_S = 60,
	POLL_NS = 3000000,
	LEAVE_LIMIT_NS = 500000000,
	CHUNK = 1024,
};

#define TAKEN_LIMIT_NS UINT64_C(5000000000)
#define TAKEN_LOOK_NS  UINT64_C(20000000)

struct session {
	struct arena *arena;
	const struct tools_attach *wanted;
	const char *log, *library, *program; // of the collector
	int collector;                       // 0 none
	int interrupts;                      // readable when somebody wants an end
	int before; // list for the blocks that were there before; -1: the collector waits for none
	struct collect_attached attached;
	uint64_t begun_ns; // os_wall_ns
};

static void say(const char *text)
{
	fprintf(stderr, TITLE ": %s\n", text);
}

// --- the collector ----------------------------------------------------------------------------------
static struct error *spawn_collector(struct session *session, int process, int descriptor)
{
	struct arena *arena = session->arena;
	char *options = arena_copy(arena, session->wanted->collector_options), *rest;
	const char *words[16] = {
		session->program,
		arena_format(arena, "%d", process),
		arena_format(arena, "%d", descriptor),
		arena_format(arena, "--log=%s", session->log),
		"--replace",
		"--attached",
	};
	size_t n = 6;

	if (session->wanted->follow_fork)
		words[n++] = "--follow";
	if (session->wanted->max_bytes)
		words[n++] = arena_format(arena, "--max-size=%llu",
		                          (unsigned long long)session->wanted->max_bytes);
	if (session->before >= 0)
		words[n++] = arena_format(arena, "--before=%d", session->before);
	for (char *word = strtok_r(options, " ", &rest); word && n < 15;
	     word = strtok_r(NULL, " ", &rest))
		words[n++] = word;
	return os_start(words, &session->collector);
}

static bool is_interrupted(const struct session *session)
{
	struct os_awaited interrupts = { .fd = session->interrupts };

	return os_await(&interrupts, 1, 0);
}

static struct error *await_collector(struct session *session, int process)
{
	uint64_t end_ns = os_monotonic_ns() + START_LIMIT_S * UINT64_C(1000000000);
	struct collect_recording recording = { 0 };
	int status;

	do {
		if (os_child_ended(session->collector, &status)) {
			session->collector = 0;
			return error_new(ERROR_SYSTEM, "the log cannot be written");
		}
		if (!collect_find(process, session->arena, &recording) && recording.collector)
			return NULL;
		if (is_interrupted(session))
			return error_new(ERROR_SYSTEM, "interrupted before anything was recorded");
		os_sleep_ns(POLL_NS);
	} while (os_monotonic_ns() < end_ns);
	return error_new(ERROR_SYSTEM, "the collector of the log does not answer");
}

static struct error *on_ready(void *context, int process, int descriptor)
{
	struct session *session = context;

	TRY(spawn_collector(session, process, descriptor));
	return await_collector(session, process);
}

// --- what was there before --------------------------------------------------------------------------
struct before {
	uint64_t count, bytes;
	bool complete, failed;
	char why[512]; // it failed
};

// A sample has no use for blocks that nobody can tell whether they would be in it.
static bool wants_before(const struct session *session)
{
	return session->log && session->wanted->mode == COLLECT_FULL &&
	       session->wanted->what & COLLECT_MALLOC;
}

// What libc made for itself has no events when it goes.
static struct error *hand_over(const struct look *look, int list, uint64_t *ret_count,
                               uint64_t *ret_bytes)
{
	struct collect_before_block blocks[CHUNK];
	size_t n = 0;

	for (size_t i = 0; i < look->heaps->block_count; i++) {
		const struct heap_block *block = &look->heaps->blocks[i];

		if (block->hb_state != HEAP_USED || block->hb_flags & HEAP_LOADER)
			continue;
		blocks[n] = (struct collect_before_block){ block->hb_address,
			                                   look_block_bytes(look, i) };
		*ret_bytes += blocks[n].bytes;
		if (++n < CHUNK)
			continue;
		TRY(collect_before_add(list, *ret_count, blocks, n));
		*ret_count += n;
		n = 0;
	}
	TRY(collect_before_add(list, *ret_count, blocks, n));
	*ret_count += n;
	return NULL;
}

static void say_lacking(struct session *session, const struct heaps *heaps)
{
	struct arena *arena = session->arena;

	if (heaps->unknown_count)
		say(arena_format(arena, "blocks from before are not all known: %s cannot be read",
		                 text_printable(arena, heaps->unknown[0].name)));
	else if (heaps->fault_count)
		say(arena_format(arena, "blocks from before are not all known: %s",
		                 text_printable(arena, heaps->faults[0].text)));
}

static struct error *list_before(struct session *session, struct before *ret)
{
	const struct report_options common = { .tool = "heapwright record" };
	const struct target_options options = report_target_options(&common, TARGET_WANT_MEMORY);
	struct error *error;
	struct look look;

	TRY(look_open(arena_format(session->arena, "%d", session->attached.process), &options,
	              LOOK_REGIONS, &look));
	error = hand_over(&look, session->before, &ret->count, &ret->bytes);
	if (!error) {
		ret->complete = look.target->complete && !look.heaps->unknown_count &&
		                !look.heaps->fault_count;
		say_lacking(session, look.heaps);
	}
	look_close(&look);
	return error;
}

static void list_as_child(void *context, void *result)
{
	struct before *before = result;
	struct error *error = list_before(context, before);

	before->failed = error != NULL;
	if (error)
		snprintf(before->why, sizeof(before->why), "%s", error->text);
}

// Why the collector did not take the list; NULL: it did.
static const char *await_taken(const struct session *session)
{
	uint64_t end_ns = os_monotonic_ns() + TAKEN_LIMIT_NS;

	for (;;) {
		bool is_late = os_monotonic_ns() > end_ns;
		bool ends = is_interrupted(session); // then the collector takes what is listed

		switch (collect_before_await(session->before, TAKEN_LOOK_NS)) {
		case COLLECT_BEFORE_TAKEN:
			return NULL;
		case COLLECT_BEFORE_ENDED:
			return "blocks from before are not known: the recording ended while "
			       "they were looked at";
		case COLLECT_BEFORE_GIVEN_UP:
			return "blocks from before are not known: too much happened meanwhile";
		case COLLECT_BEFORE_NONE:
			if (ends)
				return NULL;
			if (is_late)
				return "blocks from before may not be known: too much happens "
				       "meanwhile";
		}
	}
}

static void end_list(struct session *session, const struct before *before)
{
	struct error *error = collect_before_end(session->before, before->count, before->complete);
	const char *why = !error && before->count ? await_taken(session) : NULL;

	if (error || why)
		say(error ? error->text : why);
	else if (before->count)
		say(arena_format(session->arena, "%llu blocks with %llu bytes were there before",
		                 (unsigned long long)before->count,
		                 (unsigned long long)before->bytes));
}

// That they are not known is no reason not to record. The look at a big heap takes seconds: a child does
// it, which an interrupt ends.
static void look_before(struct session *session)
{
	static const struct before none;
	struct before before = none;
	struct error *error;
	const char *why = NULL;
	bool done = false;

	if (session->before < 0)
		return;
	error = os_work(list_as_child, session, &before, sizeof(before), session->interrupts,
	                &done);
	if (error || (done && before.failed))
		why = error ? error->text : before.why;
	else if (!done)
		why = is_interrupted(session) ? "interrupted while they were looked at"
		                              : "the look at them failed";
	if (why) {
		say(arena_format(session->arena, "blocks from before are not known: %s", why));
		before = none;
	}
	end_list(session, &before);
	os_close(session->before);
	session->before = -1;
}

// --- while it is recorded ---------------------------------------------------------------------------
static void say_begun(struct session *session, const char *name)
{
	const struct collect_attached *attached = &session->attached;

	say(arena_format(
		session->arena,
		"recording process %d (%s), which stood still for %.1f ms; end with Ctrl-C",
		attached->process, text_printable(session->arena, name),
		(double)attached->stopped_ns / 1e6));
	if (attached->lacking[0])
		say(arena_format(session->arena, "not recorded: %s", attached->lacking));
}

// Until somebody wants an end, or there is one.
static void attend(struct session *session)
{
	int program = -1, collector = -1;

	(void)os_watch_open(session->attached.process, &program);
	if (session->collector)
		(void)os_watch_open(session->collector, &collector);
	const int descriptors[] = { session->interrupts, program, collector,
		                    session->attached.channel };

	(void)os_await_any(descriptors, sizeof(descriptors) / sizeof(descriptors[0]));
	os_close(program);
	os_close(collector);
}

static struct error *leave(struct session *session)
{
	int status;

	TRY(collect_detach(&session->attached));
	if (session->attached.remains)
		say("some of the recorder's memory stays in the process: a thread may be inside");
	for (uint64_t end_ns = os_monotonic_ns() + LOG_LIMIT_S * UINT64_C(1000000000);
	     session->collector && os_monotonic_ns() < end_ns; os_sleep_ns(POLL_NS))
		if (os_child_ended(session->collector, &status))
			return NULL;
	if (session->collector)
		say("the log is still being written");
	return NULL;
}

// --- one recording ----------------------------------------------------------------------------------
static struct error *record(struct session *session, const char *name)
{
	const struct tools_attach *wanted = session->wanted;
	const struct collect_attach_settings settings = {
		.process = wanted->process,
		.library = session->library,
		.mode = wanted->mode,
		.what = wanted->what,
		.log_path = session->log,
		.sample_bytes = wanted->sample_bytes,
		.wait_ns = wanted->wait_ns,
		.max_log_bytes = wanted->max_bytes,
		.ring_bytes = wanted->ring_bytes,
		.follow_fork = wanted->follow_fork,
		.ready = session->log ? on_ready : NULL,
		.context = session,
		.has_interrupt = true,
		.interrupt = session->interrupts,
	};

	if (wants_before(session))
		TRY(collect_before_open(&session->before));
	TRY(collect_attach(&settings, &session->attached));
	say_begun(session, name);
	look_before(session);
	attend(session);
	return leave(session);
}

// By a recorder that it was started under, which the one that is brought in would disturb. Who is on
// his way out gets a moment.
static struct error *check_not_recorded(struct arena *arena, int process)
{
	uint64_t end_ns = os_monotonic_ns() + LEAVE_LIMIT_NS;
	struct collect_recording found = { 0 };

	while (!collect_find(process, arena, &found) && found.collector) {
		if (os_monotonic_ns() >= end_ns)
			return error_new(ERROR_UNSUPPORTED,
			                 "process %d is being recorded already (by process %d), to "
			                 "%.200s",
			                 process, found.collector,
			                 text_printable(arena, found.log_path));
		os_sleep_ns(POLL_NS);
	}
	return NULL;
}

struct error *tools_record_process(struct arena *arena, const struct tools_attach *wanted,
                                   bool *ret_whole)
{
	struct session session = {
		.arena = arena,
		.wanted = wanted,
		.log = wanted->log,
		.before = -1,
		.begun_ns = os_wall_ns(),
	};
	struct os_process process;

	TRY(os_process_read(wanted->process, &process));
	TRY(check_not_recorded(arena, wanted->process));
	TRY(tools_own_file(arena, "heapwright/librecord.so", &session.library));
	TRY(tools_own_file(arena, "heapwright/collector", &session.program));
	if (!session.log && wanted->writes_log)
		session.log = os_absolute_path(arena, arena_format(arena, "%s-%d.hwlog",
		                                                   text_base_name(process.name),
		                                                   wanted->process));
	if (session.log)
		TRY(os_check_replaceable(session.log));
	TRY(os_interrupts_take(&session.interrupts));
	TRY(record(&session, process.name));
	if (session.collector) // lite mode has none
		*ret_whole = tools_record_say_log(arena, session.log, session.begun_ns);
	if (session.collector && wanted->follow_fork)
		say(arena_format(arena,
		                 "the processes that it made, if any, have logs beside it: %s.PID",
		                 text_printable(arena, session.log)));
	return NULL;
}

struct error *tools_record_detach(int process)
{
	struct collect_attached attached = { 0 };

	return collect_detach_process(process, &attached);
}
