// SPDX-License-Identifier: MIT
// All threads of a program stand still for a moment, or wait in the kernel: while its functions are
// changed. On a busy machine a thread that waits for a processor stops late, and all others would wait for
// it; such an attempt is given up at once and another moment tried. To see whether a thread is inside our
// functions each is stopped for itself.
// Called by attach's other files.
#include "collect/attach_impl.h"

#include <string.h>

#define SHORT_TRIES       16
#define SHORT_PATIENCE_NS 10000000ull
#define LONG_TRIES        24
#define LONG_PATIENCE_NS  30000000ull
#define TRY_PAUSE_NS      2000000ull
#define STOP_LIMIT_NS     5000000000ull // for the last try, which takes what it takes

#define INSIDE_BYTES     (16u << 10) // of a stack that may lead back into our functions
#define OUTSIDE_ROUNDS   400
#define OUTSIDE_PAUSE_NS 2000000ull

struct attempt {
	struct attach *attach;
	bool (*look)(void *context, const struct stop_thread *thread);
	struct error *(*work)(void *context, struct stop *stop);
	void *context;
	uint64_t patience_ns;
	bool all_stood;
	struct error *error;
};

static void remember_stop(struct collect_attached *result, const struct stop *stop)
{
	uint64_t ns = stop->ended_ns - stop->began_ns;
	unsigned held = 0;

	for (size_t i = 0; i < stop->threads.n; i++)
		held += stop->threads.v[i].way != STOP_WAITS;
	if (held > result->held)
		result->held = held;
	result->stops++;
	if (ns > result->stopped_ns)
		result->stopped_ns = ns;
}

static void begin(const struct attach *attach, struct stop *ret)
{
	stop_init(ret, attach->pid,
	          os_cpu_of_machine(os_inject_cpu()->elf_machine, sizeof(uint64_t)));
	ret->without_vectors = true;
	ret->channel = attach->channel;
}

static void attempt_main(void *context)
{
	struct attempt *attempt = context;
	struct stop stop;

	begin(attempt->attach, &stop);
	stop.patience_ns = attempt->patience_ns;
	stop.prepare_end_ns = attempt->attach->deadline_ns;
	stop.limit_ns = STOP_LIMIT_NS;
	attempt->all_stood = false;
	attempt->error = stop_prepare(&stop, attempt->look, attempt->context);
	os_urgent(true);
	if (!attempt->error)
		attempt->error = stop_begin(&stop);
	attempt->all_stood = !attempt->error;
	if (attempt->all_stood) {
		attempt->error = attempt->work(attempt->context, &stop);
		stop_end(&stop);
	}
	os_urgent(false);
	if (stop.began_ns && stop.ended_ns)
		remember_stop(attempt->attach->result, &stop);
	stop_deinit(&stop);
}

// A thread that did not stand is let go while the tracing thread ends, which takes a moment longer than
// it takes us to hear of that; until then it may not be traced again.
static bool is_passing(const struct error *error)
{
	return error->kind == ERROR_SYSTEM || error->kind == ERROR_RIGHTS;
}

static uint64_t patience_of(unsigned try)
{
	if (try < SHORT_TRIES)
		return SHORT_PATIENCE_NS;
	return try < LONG_TRIES ? LONG_PATIENCE_NS : 0;
}

struct error *attach_while_stopped(struct attach *attach,
                                   bool (*look)(void *context, const struct stop_thread *thread),
                                   struct error *(*work)(void *context, struct stop *stop),
                                   void *context)
{
	struct attempt attempt = {
		.attach = attach, .look = look, .work = work, .context = context
	};

	for (unsigned try = 0;; try++) {
		attempt.patience_ns = patience_of(try);
		TRY(os_run_thread(attempt_main, &attempt));
		if (attempt.all_stood || !attempt.patience_ns || !is_passing(attempt.error) ||
		    attach_is_late(attach))
			return attempt.error;
		os_sleep_ns(TRY_PAUSE_NS);
	}
}

// --- leaving ---------------------------------------------------------------------------------------
struct leaving {
	struct attach *attach;
	VEC(int) inside; // threads that were inside, or could not be looked at, when last seen
	VEC(int) again;
	bool first;
	struct error *error;
};

static bool stack_leads_to_us(const struct attach *attach, const struct stop_thread *thread)
{
	static uint64_t words[INSIDE_BYTES / sizeof(uint64_t)];
	size_t count = os_remote_read(thread->tid, -1, thread->sp & ~7ull, words, sizeof(words)) /
	               sizeof(*words);

	if (!count)
		return true;
	if (os_inject_cpu()->waits(os_inject_cpu()->call(thread->tid, thread->registers)))
		return attach_interrupts_us(attach, words, count);
	for (size_t i = 0; i < count; i++)
		if (attach_is_ours(attach, words[i]))
			return true;
	return false;
}

// Nothing leads into our functions any more; whether this thread can still come out of them.
static bool may_be_inside(const struct attach *attach, const struct stop_thread *thread)
{
	return !thread->has_registers || attach_is_ours(attach, thread->pc) ||
	       stack_leads_to_us(attach, thread);
}

// Who is wanted is taken to be inside until the look shows that it is not.
static bool was_inside(void *context, int tid)
{
	struct leaving *leaving = context;
	bool wanted = leaving->first;

	for (size_t i = 0; i < leaving->inside.n && !wanted; i++)
		wanted = leaving->inside.v[i] == tid;
	if (wanted)
		vec_push(&leaving->again, tid);
	return wanted;
}

static void forget(struct leaving *leaving, int tid)
{
	for (size_t i = leaving->again.n; i-- > 0;)
		if (leaving->again.v[i] == tid) {
			leaving->again.v[i] = leaving->again.v[--leaving->again.n];
			return;
		}
}

static bool is_outside(void *context, const struct stop_thread *thread)
{
	struct leaving *leaving = context;

	if (may_be_inside(leaving->attach, thread))
		return false;
	forget(leaving, thread->tid);
	return true;
}

static void look_at_all(void *context)
{
	struct leaving *leaving = context;
	struct stop stop;

	begin(leaving->attach, &stop);
	stop.prepare_end_ns = leaving->attach->deadline_ns;
	leaving->again.n = 0;
	leaving->error = stop_look_at_each(&stop, was_inside, is_outside, leaving);
	stop_deinit(&stop);
}

static bool is_alive(const struct attach *attach, int tid)
{
	struct os_process thread;

	return !os_thread_read(attach->pid, tid, &thread) && thread.state != 'Z' &&
	       thread.state != 'X';
}

static bool look_again(struct leaving *leaving)
{
	if (os_run_thread(look_at_all, leaving) || leaving->error)
		return false;
	leaving->inside.n = 0;
	for (size_t i = 0; i < leaving->again.n; i++)
		if (is_alive(leaving->attach, leaving->again.v[i]))
			vec_push(&leaving->inside, leaving->again.v[i]);
	leaving->first = false;
	return true;
}

bool attach_wait_outside(struct attach *attach)
{
	struct leaving leaving = { .attach = attach, .first = true };

	vec_init(&leaving.inside, &os_page_source);
	vec_init(&leaving.again, &os_page_source);
	for (unsigned i = 0; i < OUTSIDE_ROUNDS; i++) {
		if (i)
			os_sleep_ns(OUTSIDE_PAUSE_NS);
		if (attach_is_late(attach) || !look_again(&leaving) || !leaving.inside.n)
			break;
	}
	bool outside = !leaving.first && !leaving.inside.n;

	vec_deinit(&leaving.inside);
	vec_deinit(&leaving.again);
	return outside;
}
