// SPDX-License-Identifier: MIT
// Recording a program that runs already: the tool's side. It looks whether the
// program can take the recorder, and has a guardian process do everything that touches it. Called by
// the record tool.
#include "collect/attach_impl.h"

#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "layout/record.h"

_Static_assert(COLLECT_FULL == (int)RECORD_FULL && COLLECT_LITE == (int)RECORD_LITE &&
                       COLLECT_SAMPLED == (int)RECORD_SAMPLED,
               "enum record_mode");
_Static_assert(COLLECT_MALLOC == (int)RECORD_WHAT_MALLOC && COLLECT_VM == (int)RECORD_WHAT_VM &&
                       COLLECT_SHARED_MEMORY == (int)RECORD_WHAT_SHARED_MEMORY,
               "enum record_what");

#define OUR_NAME      "heapwright"
#define GUARDIAN_NAME OUR_NAME "-att"
// How long somebody else may hold the program until that is said; one of ours lets go soon.
#define HOLD_LIMIT_NS     500000000ull
#define OUR_HOLD_LIMIT_NS 10000000000ull
#define HOLD_PAUSE_NS     5000000ull
#define WORD_BYTES_64     8
// How long getting in and getting out may take, and how much longer the guardian to say so. It may go on
// getting out when we have ended.
#define LIMIT_NS        60000000000ull
#define ANSWER_LIMIT_NS 15000000000ull
#define END_LIMIT_NS    30000000000ull
#define END_PAUSE_NS    2000000ull
#define AFTER_TRIES     6
#define AFTER_PAUSE_NS  50000000ull // doubled each time

#define WAYS "start it under the recorder (heapwright record -- COMMAND)"

// --- whether ---------------------------------------------------------------------------------------
static struct error *check_machine(int pid, int memory_tid)
{
	const struct os_inject_cpu *cpu = os_inject_cpu();
	uint16_t machine;
	unsigned word_bytes;

	if (!cpu->supported)
		return error_new(ERROR_UNSUPPORTED,
		                 "only 64-bit x86 programs can be recorded once they run; " WAYS);
	TRY(os_process_machine(memory_tid, &machine, &word_bytes));
	if (word_bytes != WORD_BYTES_64 || machine != cpu->elf_machine)
		return error_new(ERROR_UNSUPPORTED,
		                 "process %d is a %u-bit program, and the recorder is made for "
		                 "64-bit x86; leaks and heap can look at it",
		                 pid, word_bytes * 8);
	return NULL;
}

static uint64_t hold_limit_ns(int tracer_pid)
{
	struct os_process tracer;

	return !os_process_read(tracer_pid, &tracer) && text_starts_with(tracer.name, OUR_NAME)
	               ? OUR_HOLD_LIMIT_NS
	               : HOLD_LIMIT_NS;
}

static struct error *interrupted(void)
{
	struct error *error = error_new(ERROR_SYSTEM, "interrupted before anything was recorded");

	error->errno_value = EINTR;
	return error;
}

static bool await_interrupt(const struct collect_attach_settings *settings, uint64_t limit_ns)
{
	struct os_awaited interrupt = { .fd = settings->has_interrupt ? settings->interrupt : -1 };

	return os_await(&interrupt, 1, limit_ns);
}

// Another look at the program may be under way, or a guardian of ours on its way out.
static struct error *read_settled(const struct collect_attach_settings *settings,
                                  struct os_process *ret)
{
	uint64_t start_ns = os_monotonic_ns();
	int pid = settings->process;

	for (;;) {
		TRY(os_process_read(pid, ret));
		ret->pid = pid;
		if (!ret->tracer_pid ||
		    os_monotonic_ns() - start_ns > hold_limit_ns(ret->tracer_pid))
			return NULL;
		if (await_interrupt(settings, HOLD_PAUSE_NS))
			return interrupted();
	}
}

static struct error *check_state(int pid, const struct os_process *process)
{
	if (process->state == 'Z' || process->state == 'X')
		return error_new(ERROR_GONE, "process %d has ended", pid);
	if (process->tracer_pid)
		return error_new(ERROR_UNSUPPORTED,
		                 "process %d (%s) is traced by process %d (a debugger?), and only "
		                 "one can at a time; detach that one first",
		                 pid, process->name, process->tracer_pid);
	if (process->state == 'T' || process->state == 't')
		return error_new(ERROR_UNSUPPORTED,
		                 "process %d (%s) is stopped, and stays so; let it go on first "
		                 "(kill -CONT %d)",
		                 pid, process->name, pid);
	return NULL;
}

static struct error *explain(const struct os_process *process, struct error *cause)
{
	struct error *error;

	if (cause->errno_value == ETIMEDOUT)
		return error_new(ERROR_SYSTEM,
		                 "%.300s; it was given up, and nothing is recorded: try again "
		                 "when the machine has more time for it, or " WAYS,
		                 cause->text);
	if (cause->kind != ERROR_RIGHTS)
		return cause;
	error = error_new(ERROR_RIGHTS,
	                  "no right to record process %d (%s): %s; " WAYS ", or use sudo",
	                  process->pid, process->name, target_refused_why(process));
	error->errno_value = cause->errno_value;
	return error;
}

static struct error *check(const struct collect_attach_settings *settings, struct os_process *ret)
{
	int pid = settings->process;
	struct error *error;

	TRY(read_settled(settings, ret));
	TRY(check_state(pid, ret));
	error = check_machine(pid, ret->memory_tid);
	return error ? explain(ret, error) : NULL;
}

// --- the guardian ----------------------------------------------------------------------------------
static struct error *start_guardian(int pid, const struct collect_attach_settings *settings,
                                    struct collect_attached *ret)
{
	TRY(os_guardian_fork(GUARDIAN_NAME, &ret->guardian, &ret->channel));
	if (ret->guardian == 0)
		attach_serve(ret->channel, pid, settings);
	ret->process = pid;
	return NULL;
}

// Returns whether it has ended, and whether it was killed, which its channel may not tell yet; else it goes on
// getting out.
static bool end_guardian(struct collect_attached *attached, bool *ret_killed)
{
	uint64_t end_ns = os_monotonic_ns() + END_LIMIT_NS;
	int status = 0;

	*ret_killed = false;
	os_close(attached->channel);
	attached->channel = -1;
	do {
		if (os_child_ended(attached->guardian, &status)) {
			*ret_killed = status != 0;
			return true;
		}
		os_sleep_ns(END_PAUSE_NS);
	} while (os_monotonic_ns() < end_ns);
	return false;
}

static struct error *say_unfinished(const struct collect_attached *attached, struct error *error)
{
	return error_new(error->kind, "%.400s; process %d goes on getting out of it", error->text,
	                 attached->guardian);
}

static void take_result(struct collect_attached *attached, const struct collect_attached *part)
{
	attached->stops += part->stops;
	if (part->stopped_ns > attached->stopped_ns)
		attached->stopped_ns = part->stopped_ns;
	if (part->held > attached->held)
		attached->held = part->held;
	attached->borrowed_ns += part->borrowed_ns;
	if (part->island) {
		attached->island = part->island;
		attached->descriptor = part->descriptor;
	}
	attached->remains = part->remains;
	if (part->patched)
		attached->patched = part->patched;
	if (part->lacking[0])
		memcpy(attached->lacking, part->lacking, sizeof(attached->lacking));
}

// A guardian that does not answer hangs in the kernel; its end lets go of everything.
static struct error *kill_guardian(const struct collect_attached *attached)
{
	os_process_kill(attached->guardian);
	(void)os_channel_await(attached->channel, os_monotonic_ns() + END_LIMIT_NS);
	return error_new(ERROR_SYSTEM, "process %d does not let itself be traced in time",
	                 attached->process);
}

// settings: of who may want an end of it meanwhile, or NULL.
static struct error *await_answer(const struct collect_attached *attached,
                                  const struct collect_attach_settings *settings,
                                  uint64_t deadline_ns)
{
	struct os_awaited looks[] = {
		{ .fd = attached->channel },
		{ .fd = settings && settings->has_interrupt ? settings->interrupt : -1 },
	};
	uint64_t now_ns;

	while ((now_ns = os_monotonic_ns()) < deadline_ns) {
		if (!os_await(looks, sizeof(looks) / sizeof(looks[0]), deadline_ns - now_ns))
			continue;
		return looks[0].ready ? NULL : interrupted();
	}
	return kill_guardian(attached);
}

static struct error *ask(struct collect_attached *attached,
                         const struct collect_attach_settings *settings, enum attach_verb verb,
                         uint64_t deadline_ns)
{
	const struct attach_request request = { .verb = verb, .deadline_ns = deadline_ns };
	static struct attach_reply reply;
	struct error *error;

	if (!os_channel_send(attached->channel, &request, sizeof(request)))
		return error_new(ERROR_SYSTEM, "the guardian process was killed");
	TRY(await_answer(attached, settings, deadline_ns + ANSWER_LIMIT_NS));
	if (!os_channel_receive(attached->channel, &reply, sizeof(reply)))
		return error_new(ERROR_SYSTEM, "the guardian process was killed");
	take_result(attached, &reply.result);
	if (!reply.failed)
		return NULL;
	error = error_new(reply.error.kind, "%.500s", reply.error.text);
	error->errno_value = reply.error.errno_value;
	return error;
}

static struct error *get_in(const struct collect_attach_settings *settings,
                            struct collect_attached *ret)
{
	uint64_t end_ns = os_monotonic_ns() + (settings->limit_ns ? settings->limit_ns : LIMIT_NS);

	TRY(ask(ret, settings, ATTACH_LOAD, end_ns));
	if (settings->ready)
		TRY(settings->ready(settings->context, settings->process, ret->descriptor));
	return ask(ret, settings, ATTACH_PATCH, end_ns);
}

// The guardian was killed while it got in. The thread that worked for it comes to its end alone, which may
// be the start of the recorder.
static void get_out_of_attempt(int process)
{
	for (unsigned i = 0; i < AFTER_TRIES; i++) {
		struct collect_attached ignored = { 0 };

		if (i)
			os_sleep_ns(AFTER_PAUSE_NS << (i - 1));
		(void)collect_detach_process(process, &ignored);
	}
}

struct error *collect_attach(const struct collect_attach_settings *settings,
                             struct collect_attached *ret)
{
	struct os_process process;
	struct os_status status;
	struct error *error;
	bool killed;

	*ret = (struct collect_attached){ .channel = -1 };
	TRY(check(settings, &process));
	TRY(os_path_status(settings->library, &status));
	TRY(start_guardian(settings->process, settings, ret));
	error = get_in(settings, ret);
	if (!error)
		return NULL;
	if (!end_guardian(ret, &killed)) // which gets out, if it got in
		error = say_unfinished(ret, error);
	else if (killed)
		get_out_of_attempt(settings->process);
	return explain(&process, error);
}

// What has ended, or became another program, has nothing of ours any more.
static struct error *unless_gone(int pid, struct error *error)
{
	struct os_process process;

	if (!error || error->kind == ERROR_GONE || os_process_read(pid, &process) ||
	    (process.state == 'Z' && process.thread_count <= 1))
		return NULL;
	return error;
}

struct error *collect_detach(struct collect_attached *attached)
{
	struct error *error = ask(attached, NULL, ATTACH_OUT, os_monotonic_ns() + LIMIT_NS);
	bool killed;

	if (!end_guardian(attached, &killed) && error)
		error = say_unfinished(attached, error);
	else if (error && killed)
		error = collect_detach_process(attached->process, attached);
	if (error && error->kind == ERROR_NOT_FOUND)
		return NULL;
	return unless_gone(attached->process, error);
}

struct error *collect_detach_process(int process, struct collect_attached *ret)
{
	struct error *error;
	bool killed;

	TRY(start_guardian(process, NULL, ret));
	error = ask(ret, NULL, ATTACH_OUT, os_monotonic_ns() + LIMIT_NS);
	if (!end_guardian(ret, &killed) && error)
		error = say_unfinished(ret, error);
	return unless_gone(process, error);
}
