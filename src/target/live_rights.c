// SPDX-License-Identifier: MIT
// A refused look as a sentence that says which right is missing and how to get
// the answer all the same. Called by live.c only.
#include "target/target_impl.h"

// The order of help: what needs the least from the user first.
#define WAYS \
	"start it under the tool (leaks -atExit -- COMMAND), use sudo, or look at a core (gcore)"

const char *target_refused_why(const struct os_process *process)
{
	uint32_t own = os_own_uid();
	int scope = os_yama_scope();

	if (process->tracer_pid)
		return "another program traces it";
	if (own != 0 && process->uid[0] != own)
		return "it belongs to another user";
	if (own != 0 && (process->uid[0] != process->uid[1] || process->uid[1] != process->uid[2]))
		return "it runs with the rights of another user (set-user-id)";
	if (scope == 3)
		return "the kernel forbids all tracing until the next boot "
		       "(/proc/sys/kernel/yama/ptrace_scope is 3)";
	if (scope == 2)
		return "only a program with CAP_SYS_PTRACE may trace "
		       "(/proc/sys/kernel/yama/ptrace_scope is 2)";
	if (scope == 1 && own != 0)
		return "only its parents may trace it (/proc/sys/kernel/yama/ptrace_scope is 1)";
	if (own == 0)
		return "CAP_SYS_PTRACE is missing in its user namespace";
	return "it is protected: it was set-user-id, has capabilities that we lack, or called "
	       "prctl(PR_SET_DUMPABLE, 0)";
}

struct error *live_explain(const struct live *live, struct error *cause)
{
	const char *name = live->target->name;
	struct error *error;

	if (name)
		name = arena_format(live->target->arena, " (%s)",
		                    text_printable(live->target->arena, name));
	// The kernel's threads have no executable, and no lines about memory in their status.
	if (name && live->process.state != 'Z' && !live->target->path &&
	    !live->process.resident_peak_bytes)
		return error_new(
			ERROR_UNSUPPORTED,
			"process %d%s is a thread of the kernel: it has no memory of its own",
			live->pid, name);
	if (cause->kind != ERROR_RIGHTS)
		return cause;
	error = error_new(ERROR_RIGHTS, "no right to look into process %d%s: %s; %s", live->pid,
	                  name ? name : "", target_refused_why(&live->process), WAYS);
	error->errno_value = cause->errno_value;
	return error;
}
