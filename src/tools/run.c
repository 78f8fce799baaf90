// SPDX-License-Identifier: MIT
// heapwright run: becomes a command that runs on the malloc library, if the library can be loaded into
// it. The options are the variables of base/variables.h, by preload.c.
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "os/os.h"
#include "tools/tools_impl.h"

static const struct option_row run_rows[] = { TOOLS_PRELOAD_ROWS };

static struct error *refuse_rights(const struct os_program *program)
{
	return error_new(
		ERROR_RIGHTS,
		"%s runs with other rights than yours (set-user-id, set-group-id or "
		"capabilities): the system loads no library into it.\nTwo ways around: run a "
		"copy of it that has these permissions removed, which may then lack access to "
		"files; or run it as the user it belongs to (user id %u), with su",
		program->path, program->owner);
}

static bool is_glibc_loader(const char *loader)
{
	return text_starts_with(text_base_name(loader), "ld-linux");
}

// Of a script, its interpreter is what is started.
struct error *tools_program_check(struct arena *arena, const char *name)
{
	struct os_program program;

	TRY(os_program_find(arena, name, &program));
	if (program.interpreter && !program.gives_rights)
		TRY(os_program_find(arena, program.interpreter, &program));
	if (program.gives_rights)
		return refuse_rights(&program);
	if (!program.is_elf)
		return NULL;
	if (!program.is_native)
		return error_new(ERROR_UNSUPPORTED,
		                 "%s is a 32-bit program, and the library is for 64-bit ones",
		                 program.path);
	if (!program.loader)
		return error_new(
			ERROR_UNSUPPORTED,
			"%s is linked statically: no library can be loaded into it. Link it "
			"with libheapwright.a; the variables then count for it as well",
			program.path);
	if (!is_glibc_loader(program.loader))
		return error_new(ERROR_UNSUPPORTED,
		                 "%s runs on another C library (%s): link it with libheapwright.a",
		                 program.path, program.loader);
	return NULL;
}

// The program is started all the same: what it loads may still allocate by the library. One that was linked
// with our own needs no preload.
static void warn_of_own_malloc(struct arena *arena, const char *name)
{
	struct os_program program;

	if (os_program_find(arena, name, &program) ||
	    (program.interpreter && os_program_find(arena, program.interpreter, &program)) ||
	    !os_program_defines(program.path, "malloc") ||
	    os_program_defines(program.path, "heapwright_mark"))
		return;
	fprintf(stderr,
	        "heapwright run: %s defines malloc itself, before which no library can stand: "
	        "its calls are answered there, and no option counts for them\n",
	        text_printable(arena, program.path));
}

static struct error *run_command_line(struct arena *arena, const struct preload_settings *settings,
                                      const struct option_list *operands)
{
	struct preload_assignments variables_set = { .n = 0 };
	const char **words = arena_array(arena, operands->n + 1, sizeof(*words));

	if (!operands->n)
		return error_new(ERROR_USAGE, "no command given");
	TRY(tools_preload_collect(arena, settings, &variables_set));
	TRY(tools_program_check(arena, operands->v[0]));
	warn_of_own_malloc(arena, operands->v[0]);
	memcpy(words, operands->v, operands->n * sizeof(*words));
	return os_become(words, variables_set.v);
}

static int run(const void *settings, const struct option_list *operands)
{
	struct arena arena;
	struct error *error;

	arena_init(&arena, &os_page_source);
	error = run_command_line(&arena, settings, operands);
	return tools_fail("heapwright run", error);
}

// --- documents ------------------------------------------------------------------------------------
static const char *const run_description[] = {
	"heapwright run starts a command under the malloc library of Heapwright. Without options that is "
	"all; each option switches on a feature that finds a kind of memory error. The options are the "
	"environment variables of the library, which can also be set by hand, as malloc on Mac OS X has "
	"them: a variable counts when it is there, whatever its value.",
	"Double frees and frees of what is no block are reported and end the command with or without "
	"options. Messages begin with PROGRAM(PID,THREAD) malloc: and go to the standard error. Set a "
	"breakpoint in malloc_error_break to stop at each. Under a debugger damage stops the command "
	"where it is found.",
	"The programs that the command starts run in the same way, unless -no-children is given. A program "
	"that runs with the rights of somebody else, one that is linked statically, and one for another "
	"C library cannot be started so, and are refused.",
	NULL,
};

static const struct option_example run_examples[] = {
	{ "heapwright run -scribble -- /bin/echo fine",
	  "Runs a command whose freed blocks are overwritten with 0x55.", 0 },
	{ "heapwright run -check-heap-start=1000 -check-heap-each=100 -- ls /",
	  "Checks the heap at every 100th allocation from the 1000th on.", 0 },
	{ "heapwright run -guard -- /bin/echo fine", "Runs a command under Guard Malloc.", 0 },
	{ NULL, NULL, 0 },
};

static const struct option_exit run_exits[] = {
	{ EXIT_PARTLY, "The command could not be started." },
	{ EXIT_WRONG_USE, "Wrong use. In all other cases the status is the command's own." },
	{ 0, NULL },
};

const struct command run_command = {
	.name = "run",
	.title = "heapwright run",
	.ends_at_operand = true,
	.one_line = "run a command under the malloc library, with debugging features",
	.synopsis = "[options] [--] COMMAND [ARGUMENTS]",
	.description = run_description,
	.rows = run_rows,
	.row_count = sizeof(run_rows) / sizeof(run_rows[0]),
	.settings_bytes = sizeof(struct preload_settings),
	.examples = run_examples,
	.exits = run_exits,
	.see_also = "heapwright-env heapwright leaks heap",
	.run = run,
};
