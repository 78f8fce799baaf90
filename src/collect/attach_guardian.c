// SPDX-License-Identifier: MIT
// The process that gets the recorder into a program and out again, so that the tool
// may die at any time. Forked by attach.c.
//
// 1. It traces only while it works. Each piece of work is that of one thread, whose end lets go of
//    everything, whatever went wrong; a thread inside a borrowed call comes back by itself.
// 2. It keeps nothing in mind: what has to be undone stands in the program (layout/record_attach.h).
//    So when it is killed, the tool starts another one that gets out.
// 3. When the tool is gone, also while it gets in, it gets out and ends.
// 4. Processes that the program made by fork have its functions and its room. When they are followed, they
//    are let go with it: each process of the same file whose room names the same owner.
#include "collect/attach_impl.h"

#include <errno.h>
#include <stdio.h>

#define FAMILY_ROUNDS 5
#define PATH_BYTES    64

#define OUT_TRIES      20
#define OUT_PAUSE_NS   50000000ull
#define OUT_LIMIT_NS   60000000000ull  // for one try
#define OUT_GIVE_UP_NS 600000000000ull // for all, when nobody waits for it any more

#define CLAIM_LIMIT_NS 20000000000ull
#define CLAIM_PAUSE_NS 10000000ull
#define CLAIM_SURE_NS  1500000000ull

struct work {
	struct attach attach;
	enum attach_verb verb;
	struct error *error;
};

// The program and those that it made.
static struct family {
	bool follows;
	int32_t owner; // who got in
	uint64_t owner_start;
	struct os_status file; // of the program
} family;

static struct os_injection the_injection;
static int tool_channel;
static bool claimed; // the process is ours to work at

static struct error *get_out(struct attach *attach)
{
	struct os_process process;

	TRY(attach_read_modules(attach));
	if (attach->library)
		TRY(attach_read_room(attach));
	if (!attach->library || (attach->only_own && attach->room.owner != os_own_pid()) ||
	    (attach->room.state != RECORD_ATTACH_ON && !attach_room_is_patched(attach)))
		return error_new(ERROR_NOT_FOUND, "process %d is not recorded", attach->pid);
	family.follows |= attach->room.follow_fork == RECORD_ATTACH_FOLLOWS;
	family.owner = attach->room.owner;
	family.owner_start = attach->room.owner_start;
	if (attach_room_is_inherited(attach)) {
		attach->room.shared = 0; // the recorder has unmapped it
		attach->room.descriptor = -1;
	}
	attach->suspended = !os_process_read(attach->pid, &process) && process.state == 'T';
	TRY(attach_unpatch(attach));
	return attach->room.state == RECORD_ATTACH_ON ? attach_unload(attach) : NULL;
}

static bool is_recorded(struct attach *attach)
{
	return !attach_read_modules(attach) && attach->library && !attach_read_room(attach) &&
	       attach_room_is_patched(attach);
}

// One guardian at a time works at a process. Another may be on its way out, as after the end of its
// tool: who is recorded must be so for a while before that is said.
static struct error *claim(struct attach *attach)
{
	const char *name = arena_format(attach->arena, "heapwright-attach-%d", attach->pid);
	uint64_t now_ns = os_monotonic_ns(), end_ns = now_ns + CLAIM_LIMIT_NS;
	uint64_t sure_ns = now_ns + CLAIM_SURE_NS;

	while (!claimed && !(claimed = os_claim(name))) {
		if (os_monotonic_ns() > sure_ns && is_recorded(attach))
			return error_new(ERROR_UNSUPPORTED,
			                 "process %d is being recorded already (by process %d)",
			                 attach->pid, attach->room.owner);
		if (os_monotonic_ns() > end_ns || attach_is_late(attach))
			return error_new(ERROR_UNSUPPORTED,
			                 "somebody else attaches to process %d at this moment",
			                 attach->pid);
		os_sleep_ns(CLAIM_PAUSE_NS);
	}
	return NULL;
}

static void work_main(void *context)
{
	struct work *work = context;
	struct attach *attach = &work->attach;

	work->error = claim(attach);
	if (work->error)
		return;
	if (work->verb == ATTACH_LOAD)
		work->error = attach_load(attach);
	else if (work->verb == ATTACH_PATCH)
		work->error = attach_patch(attach);
	else
		work->error = get_out(attach);
}

static struct error *find_gadgets(struct attach *attach)
{
	TRY(os_mappings_read_once(attach->arena, attach->memory_tid, &attach->mappings,
	                          &attach->mapping_count));
	os_inject_find_gadgets(attach->memory_tid, attach->mappings, attach->mapping_count,
	                       &attach->gadgets);
	if (!attach->gadgets.call_return || !attach->gadgets.sigreturn)
		return error_new(ERROR_UNSUPPORTED,
		                 "its code has no system call that we could use");
	return NULL;
}

static struct error *work(enum attach_verb verb, int pid, bool only_own, uint64_t deadline_ns,
                          const struct collect_attach_settings *settings,
                          struct collect_attached *ret)
{
	struct work work = { .attach = { .pid = pid,
		                         .memory_tid = os_memory_tid(pid),
		                         .only_own = only_own,
		                         .deadline_ns = deadline_ns,
		                         .channel = verb == ATTACH_OUT ? 0 : tool_channel,
		                         .settings = settings,
		                         .injection = &the_injection,
		                         .result = ret },
		             .verb = verb };
	struct arena arena;
	struct error *error;

	arena_init(&arena, &os_page_source);
	work.attach.arena = &arena;
	the_injection.armed = false;
	error = find_gadgets(&work.attach);
	if (!error)
		error = os_run_thread(work_main, &work);
	arena_deinit(&arena);
	return error ? error : work.error;
}

static uint64_t out_end_ns(void)
{
	return os_monotonic_ns() + OUT_LIMIT_NS;
}

// --- processes that it made --------------------------------------------------------------------------
struct search {
	int program;
	VEC(int) found;
};

static bool is_of_family(int process)
{
	struct attach attach = { .pid = process, .memory_tid = os_memory_tid(process) };
	struct arena arena;
	bool is = false;

	arena_init(&arena, &os_page_source);
	attach.arena = &arena;
	if (!attach_read_modules(&attach) && attach.library && !attach_read_room(&attach))
		is = attach.room.owner == family.owner &&
		     attach.room.owner_start == family.owner_start &&
		     attach.room.state == RECORD_ATTACH_ON;
	arena_deinit(&arena);
	return is;
}

static bool look_at(void *context, int process)
{
	struct search *search = context;
	struct os_status status;
	char path[PATH_BYTES];

	snprintf(path, sizeof(path), "/proc/%d/exe", process);
	if (process != search->program && !os_path_status(path, &status) &&
	    status.inode == family.file.inode && status.device == family.file.device &&
	    is_of_family(process))
		vec_push(&search->found, process);
	return true;
}

// One that is just made is found in the next round.
static void let_family_go(int program)
{
	struct search search = { .program = program };

	vec_init(&search.found, &os_page_source);
	for (unsigned i = 0; family.follows && i < FAMILY_ROUNDS; i++) {
		search.found.n = 0;
		if (os_each_number("/proc", look_at, &search) || !search.found.n)
			break;
		for (size_t k = 0; k < search.found.n; k++) {
			struct collect_attached ignored = { 0 };

			// Who cannot be let go now is asked again.
			(void)work(ATTACH_OUT, search.found.v[k], false, out_end_ns(), NULL,
			           &ignored);
		}
	}
	vec_deinit(&search.found);
}

static void begin_family(int program, const struct collect_attach_settings *settings)
{
	char path[PATH_BYTES];

	snprintf(path, sizeof(path), "/proc/%d/exe", os_memory_tid(program));
	if (os_path_status(path, &family.file))
		return;
	family.follows = settings && settings->follow_fork;
	family.owner = os_own_pid();
	if (attach_own_start(os_own_pid(), &family.owner_start))
		family.follows = false;
}

// --- serving -----------------------------------------------------------------------------------------
// The program may be suspended in the middle of something, or another tracer hold it for a moment.
static void get_out_alone(int pid)
{
	uint64_t give_up_ns = os_monotonic_ns() + OUT_GIVE_UP_NS;
	struct collect_attached ignored = { 0 };

	for (unsigned i = 0; claimed && i < OUT_TRIES && os_monotonic_ns() < give_up_ns;) {
		struct error *error = work(ATTACH_OUT, pid, true, out_end_ns(), NULL, &ignored);

		if (!error || error->kind == ERROR_GONE || error->kind == ERROR_NOT_FOUND)
			break;
		i += error->errno_value != ETIMEDOUT;
		os_sleep_ns(OUT_PAUSE_NS);
	}
	if (claimed)
		let_family_go(pid);
}

void attach_serve(int channel, int pid, const struct collect_attach_settings *settings)
{
	struct attach_request request;
	bool inside = false; // or perhaps: an attempt that failed may have come to its end half-way

	tool_channel = channel;
	begin_family(pid, settings);
	while (os_channel_receive(channel, &request, sizeof(request))) {
		struct attach_reply reply = { .result = { .process = pid } };
		struct error *error = work(request.verb, pid, false, request.deadline_ns, settings,
		                           &reply.result);

		if (request.verb == ATTACH_OUT)
			let_family_go(pid);
		inside = request.verb != ATTACH_OUT || error;
		if (error) {
			reply.failed = true;
			reply.error = *error;
		}
		if (!os_channel_send(channel, &reply, sizeof(reply)))
			break;
	}
	if (inside)
		get_out_alone(pid);
	os_guardian_exit(0);
}
