// SPDX-License-Identifier: MIT
// Recording a program that runs already: the tool's side. It looks whether the
// program can take the recorder, and has a guardian process do everything that touches it. Called by
// the record tool.
#include "collect/attach_impl.h"

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
#define AFTER_TRIES       4
#define AFTER_PAUSE_NS    50000000ull

#define WAYS "start it under the recorder (heapwright record -- COMMAND)"

// --- whether ---------------------------------------------------------------------------------------
static struct error *check_machine(int pid)
{
	const struct os_inject_cpu *cpu = os_inject_cpu();
	uint16_t machine;
	unsigned word_bytes;

	if (!cpu->supported)
		return error_new(ERROR_UNSUPPORTED,
		                 "only 64-bit x86 programs can be recorded once they run; " WAYS);
	TRY(os_process_machine(pid, &machine, &word_bytes));
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

// Another look at the program may be under way, or a guardian of ours on its way out.
static struct error *read_settled(int pid, struct os_process *ret)
{
	uint64_t start_ns = os_monotonic_ns();

	for (;;) {
		TRY(os_process_read(pid, ret));
		ret->pid = pid;
		if (!ret->tracer_pid ||
		    os_monotonic_ns() - start_ns > hold_limit_ns(ret->tracer_pid))
			return NULL;
		os_sleep_ns(HOLD_PAUSE_NS);
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

	if (cause->kind != ERROR_RIGHTS)
		return cause;
	error = error_new(ERROR_RIGHTS,
	                  "no right to record process %d (%s): %s; " WAYS ", or use sudo",
	                  process->pid, process->name, target_refused_why(process));
	error->errno_value = cause->errno_value;
	return error;
}

static struct error *check(int pid, struct os_process *ret)
{
	struct error *error;

	TRY(read_settled(pid, ret));
	TRY(check_state(pid, ret));
	error = check_machine(pid);
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

static void end_guardian(struct collect_attached *attached)
{
	os_close(attached->channel);
	attached->channel = -1;
	os_process_collect(attached->guardian);
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

static struct error *ask(struct collect_attached *attached, enum attach_verb verb)
{
	const struct attach_request request = { .verb = verb };
	static struct attach_reply reply;

	if (!os_channel_send(attached->channel, &request, sizeof(request)) ||
	    !os_channel_receive(attached->channel, &reply, sizeof(reply)))
		return error_new(ERROR_SYSTEM, "the guardian process was killed");
	take_result(attached, &reply.result);
	if (!reply.failed)
		return NULL;
	return error_new(reply.error.kind, "%.500s", reply.error.text);
}

static struct error *get_in(const struct collect_attach_settings *settings,
                            struct collect_attached *ret)
{
	TRY(ask(ret, ATTACH_LOAD));
	if (settings->ready)
		TRY(settings->ready(settings->context, settings->process, ret->descriptor));
	return ask(ret, ATTACH_PATCH);
}

// The guardian was killed while it got in. The thread that worked for it comes to its end alone, which may
// be the start of the recorder.
static void get_out_of_attempt(int process)
{
	for (unsigned i = 0; i < AFTER_TRIES; i++) {
		struct collect_attached ignored = { 0 };

		if (i)
			os_sleep_ns(AFTER_PAUSE_NS);
		(void)collect_detach_process(process, &ignored);
	}
}

struct error *collect_attach(const struct collect_attach_settings *settings,
                             struct collect_attached *ret)
{
	struct os_process process;
	struct os_status status;
	struct error *error;

	*ret = (struct collect_attached){ .channel = -1 };
	TRY(check(settings->process, &process));
	TRY(os_path_status(settings->library, &status));
	TRY(start_guardian(settings->process, settings, ret));
	error = get_in(settings, ret);
	if (!error)
		return NULL;
	bool killed = os_channel_closed(ret->channel);

	end_guardian(ret); // which gets out, if it got in
	if (killed)
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
	struct error *error = ask(attached, ATTACH_OUT);
	bool killed = os_channel_closed(attached->channel);

	end_guardian(attached);
	if (error && killed)
		error = collect_detach_process(attached->process, attached);
	if (error && error->kind == ERROR_NOT_FOUND)
		return NULL;
	return unless_gone(attached->process, error);
}

struct error *collect_detach_process(int process, struct collect_attached *ret)
{
	struct error *error;

	TRY(start_guardian(process, NULL, ret));
	error = ask(ret, ATTACH_OUT);
	end_guardian(ret);
	return unless_gone(process, error);
}
