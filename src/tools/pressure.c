// SPDX-License-Identifier: MIT
// heapwright pressure: how short of memory the machine is; waits for a level, and does something then.
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "os/os.h"
#include "tools/pressure_impl.h"

#define AT(field) offsetof(struct pressure_settings, field)

static const struct option_row rows[] = {
	{ "wait", NULL, OPTION_TEXT, "LEVEL", NULL,
	  "Wait until the level is LEVEL or worse (normal: until it is normal).", AT(wait), 0 },
	{ "timeout", NULL, OPTION_SECONDS, "SECONDS", NULL,
	  "With -wait, -run, -serve and -end: no longer than this.", AT(timeout_ns),
	  AT(has_timeout) },
	{ "run", NULL, OPTION_REST, "CMD", NULL,
	  "When the level is reached (-wait; warning without it), become CMD, with the level in "
	  "HEAPWRIGHT_MEMORY_PRESSURE.",
	  AT(run), 0 },
	{ "serve", NULL, OPTION_FLAG, NULL, NULL,
	  "Tell the level, at once and at each change, to every process of this user that connects to "
	  "the socket heapwright/pressure below XDG_RUNTIME_DIR, and send it a signal when it wants "
	  "one; until an interrupt.",
	  AT(serve), 0 },
	{ "end", NULL, OPTION_LIST, "NAME", NULL,
	  "When the level is critical, end processes of this name, one at a time, the biggest first; "
	  "those of a second -end when there are no more of the first that it may end. SIGTERM, then "
	  "SIGKILL. Never process 1, this tool, or a process above it. Until an interrupt.",
	  AT(end), 0 },
	{ "grace", NULL, OPTION_SECONDS, "SECONDS", NULL, "Time between SIGTERM and SIGKILL (10).",
	  AT(grace_ns), AT(has_grace) },
	{ "dry-run", NULL, OPTION_FLAG, NULL, NULL, "With -end: only say what would be ended.",
	  AT(dry_run), 0 },
	{ "simulate", NULL, OPTION_TEXT, "LEVEL", NULL,
	  "Take this level for the one that was found, to try what happens then. With nothing but "
	  "-timeout: make a running -serve do so for that time.",
	  AT(simulate), 0 },
	{ "cgroup", NULL, OPTION_TEXT, "PATH", "self",
	  "The control group whose limit and stalls count besides the machine's; none for none.",
	  AT(group), 0 },
	{ "root", NULL, OPTION_TEXT, "FOLDER", NULL,
	  "Read proc and sys below FOLDER: a copy from another machine.", AT(root), 0 },
	{ "json", NULL, OPTION_FLAG, NULL, NULL, "Print one JSON document instead of text.",
	  AT(common.json), 0 },
	{ "verbose", "v", OPTION_FLAG, NULL, NULL, "Show each rule and what it found.",
	  AT(common.verbose), 0 },
};

static const char *const description[] = {
	"heapwright pressure says how short of memory the machine is, and the control group that it runs "
	"in: normal, warning or critical, from the time that tasks waited for memory, from the memory "
	"that can still be had, and from the room below the group's limit. -v shows the rules.",
	"It can wait for a level, become a command then, tell processes that want to know (they may free "
	"caches, as applications of iOS do), and end processes that were named for that. The kernel wakes "
	"it when tasks wait; between that it looks once a second.",
	NULL,
};

static const struct option_example examples[] = {
	{ "heapwright pressure -simulate normal", "The level; the exit status says it too.", 0 },
	{ "heapwright pressure -v -simulate warning", "The level and each rule.", 1 },
	{ "heapwright pressure -wait warning -simulate warning -run -- sh -c 'echo drop caches'",
	  "A command when memory gets short; -simulate tries it now.", 0 },
	{ "heapwright pressure -end server -dry-run -simulate critical",
	  "What would be ended when memory is critical.", 0 },
	{ NULL, NULL, 0 },
};

static const struct option_exit exits[] = {
	{ EXIT_FINE,
	  "The level is normal; with -wait, the level was reached; what was asked was done." },
	{ EXIT_FOUND, "The level is warning or critical; with -wait, the time was over before." },
	{ EXIT_PARTLY, "The kernel, a control group or the server could not be asked." },
	{ EXIT_WRONG_USE, "Wrong use." },
	{ 0, NULL },
};

static bool reached(const struct pressure_loop *loop, enum machine_level wanted)
{
	return wanted == MACHINE_NORMAL ? loop->level == MACHINE_NORMAL : loop->level >= wanted;
}

// Until the level is reached, the time is over or an interrupt came.
static struct error *wait_for(struct pressure_loop *loop, enum machine_level wanted, bool *ret)
{
	enum pressure_end end = PRESSURE_GOES_ON;

	TRY(pressure_loop_look(loop));
	while (!(*ret = reached(loop, wanted)) && end == PRESSURE_GOES_ON)
		TRY(pressure_loop_next(loop, NULL, 0, &end));
	return NULL;
}

static struct error *become(const struct pressure_settings *settings, enum machine_level level)
{
	const char *const variables[] = { "HEAPWRIGHT_MEMORY_PRESSURE", machine_level_name(level),
		                          NULL };
	const char *words[256];

	if (settings->run.n >= sizeof(words) / sizeof(words[0]))
		return error_new(ERROR_USAGE, "the command has too many words");
	for (size_t i = 0; i < settings->run.n; i++)
		words[i] = settings->run.v[i];
	words[settings->run.n] = NULL;
	fflush(stdout);
	return os_become(words, variables);
}

// Waits (when that is asked for), says the level, becomes the command.
static struct error *look_and_act(const struct pressure_settings *settings, int *ret_exit)
{
	bool waits = settings->wait || settings->run.n, done = true;
	enum machine_level wanted = MACHINE_WARNING;
	struct pressure_loop loop;
	struct error *error = pressure_loop_open(settings, &loop);

	if (settings->wait)
		machine_level_parse(settings->wait, &wanted);
	if (!error)
		error = waits ? wait_for(&loop, wanted, &done) : pressure_loop_look(&loop);
	pressure_loop_close(&loop);
	if (error)
		return error;
	if (settings->run.n && done)
		return become(settings, loop.level);
	TRY(report_pressure(&settings->common, &loop.verdict, settings->group, loop.is_simulated,
	                    ret_exit));
	if (waits)
		*ret_exit = done ? EXIT_FINE : EXIT_FOUND;
	return NULL;
}

// One round when the level is simulated, else until an interrupt.
static struct error *end_processes(const struct pressure_settings *settings)
{
	enum pressure_end end = PRESSURE_GOES_ON;
	struct pressure_loop loop;
	struct error *error = pressure_loop_open(settings, &loop);
	bool some = false;

	if (!error)
		error = pressure_loop_look(&loop);
	while (!error && end == PRESSURE_GOES_ON) {
		error = pressure_end_one(&loop, &some);
		if (settings->simulate)
			break;
		if (!error)
			error = pressure_loop_next(&loop, NULL, 0, &end);
	}
	if (!error && settings->simulate && !some)
		printf("no process to end\n");
	pressure_loop_close(&loop);
	return error;
}

static struct error *check(struct pressure_settings *settings, const struct option_list *operands)
{
	enum machine_level level;

	if (operands->n)
		return error_new(ERROR_USAGE, "'%s' is no option (a command goes behind -run --)",
		                 operands->v[0]);
	if ((settings->wait && !machine_level_parse(settings->wait, &level)) ||
	    (settings->simulate && !machine_level_parse(settings->simulate, &level)))
		return error_new(ERROR_USAGE, "a level is normal, warning or critical");
	for (size_t i = 0; i < settings->end.n; i++)
		if (!*settings->end.v[i] ||
		    (*settings->end.v[i] >= '0' && *settings->end.v[i] <= '9'))
			return error_new(ERROR_USAGE, "-end needs the name of a program");
	if ((settings->dry_run || settings->has_grace) && !settings->end.n)
		return error_new(ERROR_USAGE, "-dry-run and -grace need -end");
	if ((settings->end.n || settings->serve) && (settings->wait || settings->run.n))
		return error_new(ERROR_USAGE, "-serve and -end do not go with -wait and -run");
	return NULL;
}

// The own control group counts where it has a memory controller.
static void choose_group(struct pressure_settings *settings)
{
	struct machine_group group;
	struct arena arena;

	if (settings->group && !strcmp(settings->group, "none")) {
		settings->group = NULL;
	} else if (!settings->group) {
		arena_init(&arena, &os_page_source);
		if (!machine_group_read(settings->root, &arena, "self", &group))
			settings->group = "self";
		arena_deinit(&arena);
	}
}

static struct error *act(struct pressure_settings *settings, int *ret_exit)
{
	bool looks = settings->wait || settings->run.n || settings->common.json ||
	             settings->common.verbose;

	*ret_exit = EXIT_FINE;
	choose_group(settings);
	if (settings->serve)
		return pressure_serve(settings);
	if (settings->end.n)
		return end_processes(settings);
	if (settings->simulate && settings->has_timeout && !looks)
		return pressure_ask_simulation(settings);
	return look_and_act(settings, ret_exit);
}

static int run(const void *given, const struct option_list *operands)
{
	struct pressure_settings settings = *(const struct pressure_settings *)given;
	struct error *error = check(&settings, operands);
	int code = EXIT_PARTLY;

	settings.common.tool = "pressure";
	settings.common.out = stdout;
	if (!error)
		error = act(&settings, &code);
	return error ? tools_fail("heapwright pressure", error) : code;
}

const struct command pressure_command = {
	.name = "pressure",
	.title = "heapwright pressure",
	.one_line = "say how short of memory the machine is, wait for it, act on it",
	.synopsis = "[options] [-run -- CMD]",
	.operands = "A level is normal, warning or critical.",
	.description = description,
	.rows = rows,
	.row_count = sizeof(rows) / sizeof(rows[0]),
	.settings_bytes = sizeof(struct pressure_settings),
	.examples = examples,
	.exits = exits,
	.see_also = "vm_stat",
	.run = run,
};
