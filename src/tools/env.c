// SPDX-License-Identifier: MIT
// heapwright env: prints what a shell sets so that its programs run on the malloc library. The options
// are the variables of base/variables.h, by preload.c.
#include <stdio.h>
#include <string.h>

#include "os/os.h"
#include "tools/tools_impl.h"

struct settings {
	struct preload_settings preload;
	const char *shell;
	bool off;
};

_Static_assert(offsetof(struct settings, preload) == 0, "offsets of TOOLS_PRELOAD_ROWS");

static const struct option_row env_rows[] = {
	{ "shell", NULL, OPTION_TEXT, "SHELL", "sh",
	  "Print for sh (and bash, zsh, ksh), csh or fish.", offsetof(struct settings, shell), 0 },
	{ "off", NULL, OPTION_FLAG, NULL, NULL,
	  "Print what takes our libraries and all their variables out of the shell again.",
	  offsetof(struct settings, off), 0 },
	TOOLS_PRELOAD_ROWS
};

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

// Of any installation, in any version.
static bool is_ours(const char *path, size_t length)
{
	static const char *const names[] = { "libheapwright", "libgmalloc.so" };
	const char *slash = memrchr(path, '/', length);
	const char *name = slash ? slash + 1 : path;
	size_t left = length - (size_t)(name - path);

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (left >= strlen(names[i]) && !memcmp(name, names[i], strlen(names[i])))
			return true;
	return false;
}

// What is preloaded besides our libraries; the loader separates them by colons and spaces.
static const char *preloaded_others(struct arena *arena)
{
	const char *at = os_variable("LD_PRELOAD"), *others = "";

	for (size_t n; at && *at; at += n + strspn(at + n, ": ")) {
		n = strcspn(at, ": ");
		if (n && !is_ours(at, n))
			others = arena_format(arena, "%s%s%.*s", others, *others ? ":" : "", (int)n,
			                      at);
	}
	return others;
}

static void print_off(struct arena *arena, enum shell shell)
{
	const char *others = preloaded_others(arena);

	if (*others)
		print_set("LD_PRELOAD", others, shell);
	else
		print_unset("LD_PRELOAD", shell);
	for (int i = 0; i < VARIABLE_COUNT; i++)
		if (os_variable(tools_preload_variables[i].name))
			print_unset(tools_preload_variables[i].name, shell);
}

static struct error *print_environment(struct arena *arena, const struct settings *settings,
                                       const struct option_list *operands)
{
	struct preload_assignments variables_set = { .n = 0 };
	enum shell shell;

	if (operands->n)
		return error_new(ERROR_USAGE, "env takes options only, not '%s'", operands->v[0]);
	TRY(parse_shell(settings->shell, &shell));
	if (settings->off) {
		print_off(arena, shell);
		return NULL;
	}
	TRY(tools_preload_collect(arena, &settings->preload, &variables_set));
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
