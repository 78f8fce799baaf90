// SPDX-License-Identifier: MIT
// heapwright run and heapwright env: the malloc library for a command, or for a shell. Their options
// are the variables of base/variables.h; `run` becomes the command, `env` prints what a shell sets.
#include <stdio.h>
#include <string.h>
#include <sys/types.h>

#include "base/text.h"
#include "base/variables.h"
#include "os/os.h"
#include "tools/tools.h"

// Every variable's value, in the form that its option's type stores.
union value {
	bool flag;
	const char *text;
	uint64_t number;
};

struct settings {
	union value value[VARIABLE_COUNT];
	bool given[VARIABLE_COUNT];
	bool guard;
	const char *shell; // of env
	bool off;
};

#define OPTION_OF_VARIABLE_FLAG          OPTION_FLAG
#define OPTION_OF_VARIABLE_CHOICE        OPTION_OPTIONAL
#define OPTION_OF_VARIABLE_TEXT          OPTION_TEXT
#define OPTION_OF_VARIABLE_NUMBER        OPTION_NUMBER
#define OPTION_OF_VARIABLE_SIGNED_NUMBER OPTION_TEXT
#define OPTION_OF_VARIABLE_BYTES         OPTION_SIZE

#define ROW(identifier, name, option, type, argument, help)        \
	{ option,                                                  \
	  NULL,                                                    \
	  OPTION_OF_##type,                                        \
	  argument,                                                \
	  NULL,                                                    \
	  help " Sets " name ".",                                  \
	  offsetof(struct settings, value[VARIABLE_##identifier]), \
	  offsetof(struct settings, given[VARIABLE_##identifier]) },

#define FEATURE_ROWS                                                                                     \
	MALLOC_VARIABLES(ROW){                                                                           \
		"guard",                                                                                 \
		"gmalloc",                                                                               \
		OPTION_FLAG,                                                                             \
		NULL,                                                                                    \
		NULL,                                                                                    \
		"Use Guard Malloc: each block gets pages of its own with pages that fault around them.", \
		offsetof(struct settings, guard),                                                        \
		0                                                                                        \
	},                                                                                               \
		GUARD_VARIABLES(ROW)

static const struct option_row run_rows[] = { FEATURE_ROWS };

static const struct option_row env_rows[] = {
	{ "shell", NULL, OPTION_TEXT, "SHELL", "sh",
	  "Print for sh (and bash, zsh, ksh), csh or fish.", offsetof(struct settings, shell), 0 },
	{ "off", NULL, OPTION_FLAG, NULL, NULL,
	  "Print what takes the library and all its variables out of the shell again.",
	  offsetof(struct settings, off), 0 },
	FEATURE_ROWS
};

static const struct variable_row variables[VARIABLE_COUNT] = {
	MALLOC_VARIABLES(VARIABLE_ROW)       //
	MALLOC_OTHER_VARIABLES(VARIABLE_ROW) //
	GUARD_VARIABLES(VARIABLE_ROW)        //
	GUARD_OTHER_VARIABLES(VARIABLE_ROW)  //
};

// Names and values in turns, NULL at the end.
struct assignments {
	const char *v[2 * VARIABLE_COUNT + 4];
	size_t n;
};

static void assign(struct assignments *a, const char *name, const char *value)
{
	a->v[a->n++] = name;
	a->v[a->n++] = value;
}

static const char *value_text(struct arena *arena, const struct settings *settings, int variable)
{
	const union value *value = &settings->value[variable];

	switch (variables[variable].type) {
	case VARIABLE_FLAG:
		return "1";
	case VARIABLE_CHOICE:
		return value->text[0] ? value->text : "1";
	case VARIABLE_TEXT:
	case VARIABLE_SIGNED_NUMBER:
		return value->text;
	case VARIABLE_NUMBER:
	case VARIABLE_BYTES:
		return arena_format(arena, "%llu", (unsigned long long)value->number);
	}
	return "";
}

static const char *folder_of(struct arena *arena, const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? arena_copy_n(arena, path, (size_t)(slash - path)) : "..";
}

// A file of this installation, whose place is known from that of the program itself.
static struct error *own_file(struct arena *arena, const char *name, const char **ret)
{
	const char *self = os_self_path(arena);
	struct os_status status;

	*ret = arena_format(arena, "%s/lib/%s", folder_of(arena, folder_of(arena, self)), name);
	if (strpbrk(*ret, ": "))
		return error_new(ERROR_UNSUPPORTED,
		                 "%s cannot be preloaded: the loader separates its list by colons "
		                 "and spaces",
		                 *ret);
	return os_path_status(*ret, &status);
}

// The library, those that are preloaded already, and the checker of copies when it is asked for.
static struct error *preload_list(struct arena *arena, const struct settings *settings,
                                  const char **ret)
{
	const char *library, *copies, *others = os_variable("LD_PRELOAD");

	TRY(own_file(arena, settings->guard ? "libgmalloc.so" : "libheapwright.so", &library));
	*ret = library;
	if (settings->given[VARIABLE_CHECK_COPIES]) {
		TRY(own_file(arena, "heapwright/libheapwright-copies.so", &copies));
		*ret = arena_format(arena, "%s:%s", *ret, copies);
	}
	if (others && others[0] && !strstr(others, library))
		*ret = arena_format(arena, "%s:%s", *ret, others);
	return NULL;
}

static struct error *check_settings(const struct settings *settings)
{
	if (settings->given[VARIABLE_CHECK_START] != settings->given[VARIABLE_CHECK_EACH])
		return error_new(ERROR_USAGE,
		                 "-check-heap-start and -check-heap-each check the heap "
		                 "only together");
	if (settings->guard && settings->given[VARIABLE_PROB_GUARD])
		return error_new(ERROR_USAGE,
		                 "-guard guards all blocks, -sample-guard some: one of "
		                 "them, please");
	for (int i = VARIABLE_PROTECT_BEFORE; i < VARIABLE_COUNT; i++)
		if (settings->given[i] && !settings->guard)
			return error_new(ERROR_USAGE, "-%s is about Guard Malloc: give -guard, too",
			                 variables[i].option);
	return NULL;
}

static struct error *collect(struct arena *arena, const struct settings *given,
                             struct assignments *ret)
{
	struct settings settings = *given;
	const char *preload;

	TRY(check_settings(&settings));
	TRY(preload_list(arena, &settings, &preload));
	if (settings.given[VARIABLE_LOG_FILE])
		settings.value[VARIABLE_LOG_FILE].text =
			os_absolute_path(arena, settings.value[VARIABLE_LOG_FILE].text);
	assign(ret, "LD_PRELOAD", preload);
	for (int i = 0; i < VARIABLE_COUNT; i++)
		if (settings.given[i])
			assign(ret, variables[i].name, value_text(arena, &settings, i));
	return NULL;
}

// --- run ------------------------------------------------------------------------------------------
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

// Whether the library can be loaded into it. Of a script, its interpreter is what is started.
static struct error *check_program(struct arena *arena, const char *name)
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

static struct error *run_command_line(struct arena *arena, const struct settings *settings,
                                      const struct option_list *operands)
{
	struct assignments variables_set = { .n = 0 };
	const char **words = arena_array(arena, operands->n + 1, sizeof(*words));

	if (!operands->n)
		return error_new(ERROR_USAGE, "no command given");
	TRY(collect(arena, settings, &variables_set));
	TRY(check_program(arena, operands->v[0]));
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

// --- env ------------------------------------------------------------------------------------------
enum shell { SHELL_SH, SHELL_CSH, SHELL_FISH };

static struct error *parse_shell(const char *name, enum shell *ret)
{
	static const struct {
		const char *name;
		enum shell shell;
	} shells[] = {
		{ "sh", SHELL_SH },    { "bash", SHELL_SH },   { "zsh", SHELL_SH },
		{ "ksh", SHELL_SH },   { "dash", SHELL_SH },   { "csh", SHELL_CSH },
		{ "tcsh", SHELL_CSH }, { "fish", SHELL_FISH },
	};

	*ret = SHELL_SH;
	for (size_t i = 0; name && i < sizeof(shells) / sizeof(shells[0]); i++)
		if (!strcmp(name, shells[i].name)) {
			*ret = shells[i].shell;
			return NULL;
		}
	return name ? error_new(ERROR_USAGE, "-shell: '%s' is none of sh, csh, fish", name) : NULL;
}

// Inside single quotes all shells take everything literally but the quote itself, csh also not "!".
static void print_quoted(const char *text, enum shell shell)
{
	putchar('\'');
	for (; *text; text++)
		if (*text == '\'')
			fputs("'\\''", stdout);
		else if ((*text == '!' && shell == SHELL_CSH) ||
		         (*text == '\\' && shell == SHELL_FISH))
			printf("\\%c", *text);
		else
			putchar(*text);
	putchar('\'');
}

static void print_set(const char *name, const char *value, enum shell shell)
{
	static const char *const before[] = { "export %s=", "setenv %s ", "set -gx %s " };

	printf(before[shell], name);
	print_quoted(value, shell);
	puts(";");
}

static void print_unset(const char *name, enum shell shell)
{
	static const char *const before[] = { "unset %s;\n", "unsetenv %s;\n", "set -e %s;\n" };

	printf(before[shell], name);
}

static struct error *print_off(struct arena *arena, enum shell shell)
{
	(void)arena;
	print_unset("LD_PRELOAD", shell);
	for (int i = 0; i < VARIABLE_COUNT; i++)
		if (os_variable(variables[i].name))
			print_unset(variables[i].name, shell);
	return NULL;
}

static struct error *print_environment(struct arena *arena, const struct settings *settings,
                                       const struct option_list *operands)
{
	struct assignments variables_set = { .n = 0 };
	enum shell shell;

	if (operands->n)
		return error_new(ERROR_USAGE, "env takes options only, not '%s'", operands->v[0]);
	TRY(parse_shell(settings->shell, &shell));
	if (settings->off)
		return print_off(arena, shell);
	TRY(collect(arena, settings, &variables_set));
	for (size_t i = 0; i < variables_set.n; i += 2)
		print_set(variables_set.v[i], variables_set.v[i + 1], shell);
	return NULL;
}

static int env(const void *settings, const struct option_list *operands)
{
	struct arena arena;
	struct error *error;

	arena_init(&arena, &os_page_source);
	error = print_environment(&arena, settings, operands);
	arena_deinit(&arena);
	return error ? tools_fail("heapwright env", error) : EXIT_FINE;
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
	.settings_bytes = sizeof(struct settings),
	.examples = run_examples,
	.exits = run_exits,
	.see_also = "heapwright-env heapwright leaks heap",
	.run = run,
};

static const char *const env_description[] = {
	"heapwright env prints what a shell must set so that every program it starts runs under the malloc "
	"library of Heapwright, as with heapwright run. After that the variables can be set and unset one "
	"by one in the shell.",
	NULL,
};

static const struct option_example env_examples[] = {
	{ "eval \"$(heapwright env)\" && env", "Puts the library into a shell.", 0 },
	{ "heapwright env -scribble", "Shows what would be set.", 0 },
	{ NULL, NULL, 0 },
};

static const struct option_exit env_exits[] = {
	{ EXIT_FINE, "The variables were printed." },
	{ EXIT_PARTLY, "The library is not where it should be." },
	{ EXIT_WRONG_USE, "Wrong use." },
	{ 0, NULL },
};

const struct command env_command = {
	.name = "env",
	.title = "heapwright env",
	.one_line = "print the variables that put the malloc library into a shell",
	.synopsis = "[options]",
	.description = env_description,
	.rows = env_rows,
	.row_count = sizeof(env_rows) / sizeof(env_rows[0]),
	.settings_bytes = sizeof(struct settings),
	.examples = env_examples,
	.exits = env_exits,
	.see_also = "heapwright-run heapwright",
	.run = env,
};
