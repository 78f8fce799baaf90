// SPDX-License-Identifier: MIT
// heapwright record: starts a command, or goes to a process that runs, so that all its allocations come
// to a log. The recorder is lib/heapwright/librecord.so; its settings go there by a variable that
// docs/recording.md describes. The log is written by a process of its own (src/collect).
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "collect/collect.h"
#include "os/os.h"
#include "tools/tools_impl.h"

struct settings {
	const char *output, *mode;
	uint64_t sample_bytes, max_bytes, duration_ns, leaks_every_ns, monitor_ns, ring_bytes,
		wait_ns;
	bool shared_memory, vm, follow_fork, only_vm, on_library;
	bool has_sample, has_output, detach;
};

#define AT(field) offsetof(struct settings, field)

static const struct option_row rows[] = {
	{ "output", "o", OPTION_TEXT, "LOG", NULL,
	  "Write the log to LOG, which is replaced. Without it: NAME-PID.hwlog here.", AT(output),
	  AT(has_output) },
	{ "mode", NULL, OPTION_TEXT, "MODE", "full",
	  "full: every event. lite: only the blocks that live now, kept in memory, no log. sampled: a "
	  "sample of the allocations by bytes, for use in production.",
	  AT(mode), 0 },
	{ "sample", NULL, OPTION_SIZE, "BYTES", "512k",
	  "Sampled mode: one sample in so many allocated bytes, on average.", AT(sample_bytes),
	  AT(has_sample) },
	{ "run", NULL, OPTION_FLAG, NULL, NULL,
	  "Run the command on the malloc library of Heapwright, as heapwright run does. In sampled mode a "
	  "program that mostly allocates is then faster than without any recording on libc's malloc.",
	  AT(on_library), 0 },
	{ "vm", NULL, OPTION_FLAG, NULL, NULL, "Record mmap, munmap, mremap, brk and sbrk, too.",
	  AT(vm), 0 },
	{ "only-vm", NULL, OPTION_FLAG, NULL, NULL, "Record these, and not malloc.", AT(only_vm),
	  0 },
	{ "shared-memory", NULL, OPTION_FLAG, NULL, NULL,
	  "Record the calls that make, map and remove shared memory, with their arguments, too.",
	  AT(shared_memory), 0 },
	{ "follow-fork", NULL, OPTION_FLAG, NULL, NULL,
	  "Record the processes that the command makes as well, each to LOG.PID. Of a PID: those that it "
	  "makes by fork.",
	  AT(follow_fork), 0 },
	{ "max-size", NULL, OPTION_SIZE, "BYTES", NULL, "End the log when it has so many bytes.",
	  AT(max_bytes), 0 },
	{ "duration", NULL, OPTION_SECONDS, "SECONDS", NULL, "Record only so long.",
	  AT(duration_ns), 0 },
	{ "leaks-every", NULL, OPTION_SECONDS, "SECONDS", NULL,
	  "Look for leaks so often, and keep what was found in the log.", AT(leaks_every_ns), 0 },
	{ "monitor", NULL, OPTION_SECONDS, "SECONDS", NULL,
	  "Note the memory use of the process and the machine in the log so often.", AT(monitor_ns),
	  0 },
	{ "ring", NULL, OPTION_SIZE, "BYTES", "512k",
	  "Memory for the events of each thread that are not in the log yet.", AT(ring_bytes), 0 },
	{ "wait", NULL, OPTION_SECONDS, "SECONDS", "0.1",
	  "How long a thread waits at most when this memory is full; then events are lost, and the log "
	  "says how many.",
	  AT(wait_ns), 0 },
	{ "detach", NULL, OPTION_FLAG, NULL, NULL,
	  "Get the recorder out of the process PID, when the tool that brought it in was killed with "
	  "its guardian process.",
	  AT(detach), 0 },
};

// --- the variable ---------------------------------------------------------------------------------
struct run {
	const struct settings *settings;
	const struct option_list *operands;
	const char *preload, *log; // the log may hold a %d for the process
};

static const char *log_of(struct arena *arena, const struct run *run, int process)
{
	if (run->settings->output)
		return run->log;
	return arena_format(arena, "%s-%d.hwlog", run->log, process);
}

// What the collector shall do besides.
static const char *collector_options(struct arena *arena, const struct settings *settings)
{
	const struct {
		const char *name;
		uint64_t ns;
	} rows_of_time[] = { { "duration", settings->duration_ns },
		             { "leaks-every", settings->leaks_every_ns },
		             { "monitor", settings->monitor_ns } };
	const char *text = "";

	for (size_t i = 0; i < sizeof(rows_of_time) / sizeof(rows_of_time[0]); i++)
		if (rows_of_time[i].ns)
			text = arena_format(arena, "%s%s--%s=%.3f", text, *text ? " " : "",
			                    rows_of_time[i].name, (double)rows_of_time[i].ns / 1e9);
	return text;
}

static const char *what_of(struct arena *arena, const struct settings *settings)
{
	return arena_format(arena, "%s%s%s", settings->only_vm ? "vm" : "malloc",
	                    settings->vm && !settings->only_vm ? "+vm" : "",
	                    settings->shared_memory ? "+shared" : "");
}

static const char *variable_value(struct arena *arena, const struct run *run, int process)
{
	const struct settings *s = run->settings;
	const char *text = arena_format(arena, "process=%d,mode=%s,what=%s", process,
	                                s->mode ? s->mode : "full", what_of(arena, s));
	const char *options = collector_options(arena, s);

	if (s->sample_bytes)
		text = arena_format(arena, "%s,sample=%llu", text,
		                    (unsigned long long)s->sample_bytes);
	if (s->ring_bytes)
		text = arena_format(arena, "%s,ring=%llu", text, (unsigned long long)s->ring_bytes);
	if (s->wait_ns)
		text = arena_format(arena, "%s,wait=%llu", text,
		                    (unsigned long long)(s->wait_ns / 1000000));
	if (s->max_bytes)
		text = arena_format(arena, "%s,max=%llu", text, (unsigned long long)s->max_bytes);
	if (s->follow_fork)
		text = arena_format(arena, "%s,follow=1", text);
	if (*options)
		text = arena_format(arena, "%s,options=%s", text, options);
	return arena_format(arena, "%s,log=%s", text, log_of(arena, run, process));
}

// --- a command ------------------------------------------------------------------------------------
// The recorder, the malloc library when it is wanted and not there already, and what is preloaded anyway.
static struct error *preload_list(struct arena *arena, const struct settings *settings,
                                  const char **ret)
{
	const char *library, *others = os_variable("LD_PRELOAD");

	TRY(tools_own_file(arena, "heapwright/librecord.so", ret));
	if (settings->on_library) {
		TRY(tools_own_file(arena, "libheapwright.so", &library));
		if (!others || !strstr(others, library))
			*ret = arena_format(arena, "%s:%s", *ret, library);
	}
	if (others && *others)
		*ret = arena_format(arena, "%s:%s", *ret, others);
	return NULL;
}

static struct error *become(struct arena *arena, const struct run *run)
{
	const char *variables[] = { "LD_PRELOAD", run->preload, "HEAPWRIGHT_RECORD",
		                    variable_value(arena, run, os_process_id()), NULL };
	const char **words = arena_array(arena, run->operands->n + 1, sizeof(*words));

	memcpy(words, run->operands->v, run->operands->n * sizeof(*words));
	return os_become(words, variables);
}

static int child(const void *context)
{
	struct arena arena;

	arena_init(&arena, &os_page_source);
	return tools_fail("heapwright record", become(&arena, context));
}

static void say(const char *text)
{
	fprintf(stderr, "heapwright record: %s\n", text);
}

enum { LOG_LIMIT_S = 60, TICK_NS_MAX = 10000000 };

static void wait_for_log(void)
{
	if (!os_run_await("hw-collector", LOG_LIMIT_S * UINT64_C(1000000000)))
		say("the log is still being written");
}

// An exec begins a log of its own, .2 and so on; older files of such names are none of ours. Returns the number
// of the last, 1 when there is only the first.
static unsigned last_part(struct arena *arena, const char *log, uint64_t begun_ns)
{
	struct os_status status;

	for (unsigned n = 2;; n++) {
		const char *path = arena_format(arena, "%s.%u", log, n);

		if (os_path_status(path, &status) || status.modified_ns < begun_ns)
			return n - 1;
	}
}

// A log that was there before is not of this recording. Files have the time of the last clock tick.
static bool is_written_since(const char *log, uint64_t begun_ns)
{
	struct os_status status;

	return !os_path_status(log, &status) && status.modified_ns + TICK_NS_MAX >= begun_ns &&
	       collect_log_is(log);
}

static bool say_log(struct arena *arena, const char *log, const char *what)
{
	const char *failure = collect_log_failure(log, arena);

	say(arena_format(arena, "%s %s", what, text_printable(arena, log)));
	if (failure)
		say(arena_format(arena, "the log is cut, what came last is missing: %s", failure));
	return !failure;
}

bool tools_record_say_log(struct arena *arena, const char *log, uint64_t begun_ns)
{
	const char *last = log;
	unsigned parts;
	bool whole;

	if (!is_written_since(log, begun_ns)) {
		say(arena_format(arena, "there is no log %s of it", text_printable(arena, log)));
		return false;
	}
	whole = say_log(arena, log, "the log is");
	parts = last_part(arena, log, begun_ns);
	if (parts > 1) {
		say(parts > 2 ? arena_format(arena,
		                             "it became another program %u times, each with a log "
		                             "of its own",
		                             parts - 1)
		              : "it became another program, which has a log of its own");
		last = arena_format(arena, "%s.%u", log, parts);
		whole = say_log(arena, last, "the last is") && whole;
	}
	say(arena_format(arena, "ask with: malloc_history %s -callTree",
	                 text_printable(arena, last)));
	return whole;
}

static bool writes_log(const struct settings *settings)
{
	return !settings->mode || strcmp(settings->mode, "lite");
}

static struct error *record_a_command(struct arena *arena, struct run *run, int *ret_status,
                                      bool *ret_whole)
{
	const char *log;
	uint64_t begun_ns = os_wall_ns();
	int process;

	TRY(tools_program_check(arena, run->operands->v[0]));
	TRY(preload_list(arena, run->settings, &run->preload));
	if (!run->settings->output)
		run->log = os_absolute_path(arena, text_base_name(run->operands->v[0]));
	if (writes_log(run->settings))
		TRY(os_check_replaceable(log_of(arena, run, os_process_id())));
	TRY(os_run(child, run, &process, ret_status));
	*ret_whole = true;
	if (!writes_log(run->settings))
		return NULL;
	wait_for_log();
	log = log_of(arena, run, process);
	*ret_whole = tools_record_say_log(arena, log, begun_ns);
	if (run->settings->follow_fork)
		say(arena_format(arena,
		                 "the processes that it made, if any, have logs beside it: %s.PID",
		                 text_printable(arena, log)));
	return NULL;
}

// --- a process ------------------------------------------------------------------------------------
static bool is_process(const struct option_list *operands, uint64_t *ret)
{
	return operands->n == 1 && !text_parse_u64(operands->v[0], ret) && *ret > 0 &&
	       *ret <= INT32_MAX;
}

static enum collect_mode mode_of(const struct settings *settings)
{
	if (!settings->mode || !strcmp(settings->mode, "full"))
		return COLLECT_FULL;
	return strcmp(settings->mode, "lite") ? COLLECT_SAMPLED : COLLECT_LITE;
}

static struct error *record_a_process(struct arena *arena, const struct run *run, int process,
                                      bool *ret_whole)
{
	const struct settings *s = run->settings;
	const struct tools_attach wanted = {
		.process = process,
		.writes_log = mode_of(s) != COLLECT_LITE,
		.log = run->log,
		.mode = mode_of(s),
		.what = (s->only_vm ? 0u : COLLECT_MALLOC) |
		        (s->vm || s->only_vm ? COLLECT_VM : 0u) |
		        (s->shared_memory ? COLLECT_SHARED_MEMORY : 0u),
		.sample_bytes = s->sample_bytes,
		.wait_ns = s->wait_ns,
		.max_bytes = s->max_bytes,
		.ring_bytes = (uint32_t)s->ring_bytes,
		.follow_fork = s->follow_fork,
		.collector_options = collector_options(arena, s),
	};

	if (s->on_library)
		return error_new(ERROR_USAGE,
		                 "-run is about a command: process %d has its malloc already",
		                 process);
	*ret_whole = true;
	return s->detach ? tools_record_detach(process)
	                 : tools_record_process(arena, &wanted, ret_whole);
}

// --- the command line -----------------------------------------------------------------------------
static struct error *check(const struct settings *settings, const struct option_list *operands)
{
	const char *mode = settings->mode ? settings->mode : "full";

	if (!operands->n)
		return error_new(ERROR_USAGE, "no command and no process given");
	if (strcmp(mode, "full") && strcmp(mode, "lite") && strcmp(mode, "sampled"))
		return error_new(ERROR_USAGE, "-mode: '%s' is none of full, lite, sampled", mode);
	if (settings->has_sample && strcmp(mode, "sampled"))
		return error_new(ERROR_USAGE, "-sample is about -mode=sampled");
	if (settings->has_output && !strcmp(mode, "lite"))
		return error_new(ERROR_USAGE, "-mode=lite writes no log");
	if (settings->vm && settings->only_vm)
		return error_new(ERROR_USAGE, "-vm or -only-vm: one of them, please");
	return NULL;
}

static int run_record(const void *settings, const struct option_list *operands)
{
	struct run run = { .settings = settings, .operands = operands };
	struct arena arena;
	struct error *error;
	uint64_t process = 0;
	bool whole = false;
	int status = 0;

	arena_init(&arena, &os_page_source);
	if (run.settings->output)
		run.log = os_absolute_path(&arena, run.settings->output);
	error = check(settings, operands);
	if (!error && is_process(operands, &process))
		error = record_a_process(&arena, &run, (int)process, &whole);
	else if (!error)
		error = record_a_command(&arena, &run, &status, &whole);
	if (error)
		return tools_fail("heapwright record", error);
	if (process || !whole)
		return whole ? EXIT_FINE : EXIT_PARTLY;
	os_run_end_as(status);
	return EXIT_FINE;
}

// --- documents ------------------------------------------------------------------------------------
static const char *const description[] = {
	"heapwright record writes down every allocation and every free of a command, with its call stack, "
	"thread and time, over whatever malloc the command has. malloc_history answers questions about "
	"the log, also while the command runs; leaks, heap and vmmap show where blocks come from.",
	"The command needs no preparation. The log is written by a process of its own: when the command or "
	"that process is killed, the log is good up to there. A command that allocates faster than the log "
	"can be written waits for it, each time for a tenth of a second at most; what is lost "
	"then is counted in the log and shown with every answer.",
	"Only the command itself is recorded, not the processes that it starts, unless -follow-fork is "
	"given. When it becomes another program by exec, that one is recorded to LOG.2. A program that runs "
	"with the rights of somebody else, one that is linked statically, and one for another C library "
	"cannot be recorded so, and are refused.",
	"With a PID in place of a command, the process is recorded from now on until an interrupt (Ctrl-C), "
	"or until it ends. It needs no preparation either, goes on as it was afterwards, and stands still "
	"for some milliseconds at the beginning and the end only. docs/attaching.md says how that is done "
	"and what cannot be recorded so.",
	"With a PID and -follow-fork, each process that it makes by fork is recorded from its first moment "
	"on, and so are those that this one makes. All of them are let go when the recording ends. What "
	"becomes another program by exec is recorded up to there only: nothing is put into the environment "
	"of a process that was not started for it, where it would stay, and reach programs that never "
	"asked; such a program is recorded by its own PID.",
	NULL,
};

static const struct option_example examples[] = {
	{ "heapwright record -o echo.hwlog -- /bin/echo fine", "Records a command.", 0 },
	{ "heapwright record -mode=sampled -run -o echo.hwlog -- /bin/echo fine",
	  "Records a sample of a command's allocations, on the malloc library of Heapwright.", 0 },
	{ NULL, NULL, 0 },
};

static const struct option_exit exits[] = {
	{ EXIT_PARTLY,
	  "The command could not be started, or the log not be written, or not as a whole." },
	{ EXIT_WRONG_USE, "Wrong use. In all other cases the status is the command's own." },
	{ 0, NULL },
};

const struct command record_command = {
	.name = "record",
	.title = "heapwright record",
	.ends_at_operand = true,
	.one_line = "record every allocation of a command or process with its call stack",
	.synopsis = "[options] PID | [--] COMMAND [ARGUMENTS]",
	.description = description,
	.rows = rows,
	.row_count = sizeof(rows) / sizeof(rows[0]),
	.settings_bytes = sizeof(struct settings),
	.examples = examples,
	.exits = exits,
	.see_also = "malloc_history leaks heap vmmap",
	.run = run_record,
};
