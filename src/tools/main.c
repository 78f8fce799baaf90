// SPDX-License-Identifier: MIT
// One program for all commands: `leaks` is a link to it and also `heapwright
// leaks`. Prints errors, help and generated documents.
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "os/os.h"
#include "tools/tools.h"

enum { DESCRIPTORS_NEEDED = 16 };

// clang-format off
static const struct command *const commands[] = {
	&leaks_command,
	&heap_command,
	&vmmap_command,
	&footprint_command,
	&monitor_command,
	&pagestuff_command,
	&run_command,
	&env_command,
	&record_command,
	&mark_command,
	&malloc_history_command,
	&diff_command,
	&shm_command, // its example reads a log that mark's made
	&vm_stat_command,
	&pressure_command,
	&serve_metrics_command,
	&stringdups_command,
};
// clang-format on

const struct option_exit tools_plain_exits[] = {
	{ EXIT_FINE, "Everything could be read." },
	{ EXIT_PARTLY,
	  "Not everything could be read or trusted, or the target could not be looked at." },
	{ EXIT_WRONG_USE, "Wrong use." },
	{ 0, NULL },
};

#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

static const struct command *command_find(const char *name)
{
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		if (!strcmp(commands[i]->name, name) ||
		    (commands[i]->also && !strcmp(commands[i]->also, name)))
			return commands[i];
	return NULL;
}

// The page heapwright(1): what all commands share.
static const char *const description[] = {
	"heapwright holds the memory tools; those named as on Mac OS X (leaks, heap, vmmap, footprint, "
	"malloc_history, pagestuff, stringdups, vm_stat) are also installed under their own names. They "
	"look at a process that is running now, which needs no preparation, at its core file, or at a "
	"snapshot file that one of them wrote; the process runs on unchanged.",
	"heapwright run and heapwright env start programs under the malloc library of Heapwright, with the "
	"debugging features that are asked for. heapwright record writes down every allocation of a "
	"program with its call stack.",
	"heapwright COMMAND -help explains a command, and so does its own page.",
	NULL,
};

static const struct option_example examples[] = {
	{ "heapwright leaks server", "The same as leaks server.", 1 },
	{ NULL, NULL, 0 },
};

static const struct option_exit exits[] = {
	{ EXIT_FINE, "Everything could be read, and nothing was found that a command looks for." },
	{ EXIT_FOUND,
	  "A command found what it looks for: leaks, damage, segments that nobody uses, "
	  "pressure." },
	{ EXIT_PARTLY,
	  "Not everything could be read or trusted, or the target could not be looked at." },
	{ EXIT_WRONG_USE, "Wrong use." },
	{ 0, NULL },
};

static const struct command heapwright_command = {
	.name = "heapwright",
	.one_line = "look into the memory of any running process",
	.synopsis = "COMMAND [options] TARGET",
	.description = description,
	.examples = examples,
	.exits = exits,
	.see_also =
		"leaks heap vmmap footprint malloc_history pagestuff stringdups vm_stat heapwright-run "
		"heapwright-env heapwright-record heapwright-mark heapwright-diff heapwright-monitor "
		"heapwright-shm heapwright-pressure heapwright-serve-metrics",
};

static int usage(FILE *out)
{
	fprintf(out, "Usage: heapwright COMMAND [options] TARGET\n\n");
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		fprintf(out, "  %-14s %s\n", commands[i]->name, commands[i]->one_line);
	fprintf(out,
	        "\n`heapwright COMMAND --help` explains a command; those named as on Mac OS X are\n"
	        "also installed under their own names.\n");
	return out == stdout ? EXIT_FINE : EXIT_WRONG_USE;
}

static void examples_print(const struct command *command)
{
	for (const struct option_example *x = command->examples; x->command; x++)
		printf("%d\t%s\n", x->exit_code, x->command);
}

static void document_examples(void)
{
	examples_print(&heapwright_command);
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		examples_print(commands[i]);
}

// "heapwright doc man leaks", "heapwright doc completion bash", "heapwright doc examples": what the
// build installs and what the tests run.
static int document(int argc, char **argv, struct arena *arena)
{
	const struct command *command = argc > 3 ? command_find(argv[3]) : NULL;
	const char *text = NULL;

	if (argc > 3 && !strcmp(argv[3], heapwright_command.name))
		command = &heapwright_command;
	if (command && !strcmp(argv[2], "man"))
		text = options_man(command, arena, HEAPWRIGHT_VERSION);
	else if (argc > 3 && !strcmp(argv[2], "completion"))
		text = options_completion(commands, COMMAND_COUNT, argv[3], arena);
	else if (argc > 2 && !strcmp(argv[2], "examples"))
		document_examples();
	else
		return usage(stderr);
	if (text)
		fputs(text, stdout);
	return EXIT_FINE;
}

// Errors quote names that others chose; only our own line breaks may reach the terminal.
static void print_safely(const char *text)
{
	struct arena arena;
	size_t n;

	arena_init(&arena, &os_page_source);
	for (;; text += n + 1) {
		n = strcspn(text, "\n");
		fputs(text_printable(&arena, arena_copy_n(&arena, text, n)), stderr);
		if (!text[n])
			break;
		fputc('\n', stderr);
	}
	arena_deinit(&arena);
}

int tools_fail(const char *tool, const struct error *error)
{
	fflush(stdout);
	fprintf(stderr, "%s: ", tool);
	print_safely(error->text);
	if (error->has_address)
		fprintf(stderr, " (at 0x%" PRIx64 ")", error->address);
	fprintf(stderr, "\n");
	if (error->kind != ERROR_USAGE)
		return EXIT_PARTLY;
	fprintf(stderr, "Try '%s --help'.\n", tool);
	return EXIT_WRONG_USE;
}

struct error *tools_one_target(const struct option_list *operands, const char **ret)
{
	if (operands->n != 1)
		return error_new(ERROR_USAGE,
		                 operands->n ? "one target at a time, please" : "no target given");
	*ret = operands->v[0];
	return NULL;
}

// A descriptor more or less decides what a tool finds out; with too few it would take what it cannot
// open for gone.
static struct error *check_descriptors(void)
{
	int taken[DESCRIPTORS_NEEDED], n = 0, failure;

	while (n < DESCRIPTORS_NEEDED && (taken[n] = dup(STDERR_FILENO)) >= 0)
		n++;
	failure = errno;
	for (int i = 0; i < n; i++)
		close(taken[i]);
	return n < DESCRIPTORS_NEEDED
	               ? error_system(failure, "cannot open %d files", DESCRIPTORS_NEEDED)
	               : NULL;
}

static int command_run(const struct command *command, int argc, char **argv, struct arena *arena)
{
	struct option_list operands;
	void *settings = arena_alloc(arena, command->settings_bytes);
	int asked;
	struct error *error =
		options_parse(command, arena, argc, argv, settings, &operands, &asked);

	if (error)
		return tools_fail(options_title(command), error);
	if (asked == 'h') {
		fputs(options_help(command, arena), stdout);
		return EXIT_FINE;
	}
	if (asked == 'V') {
		printf("%s (Heapwright) %s\n", options_title(command), HEAPWRIGHT_VERSION);
		return EXIT_FINE;
	}
	error = check_descriptors();
	return error ? tools_fail(options_title(command), error)
	             : command->run(settings, &operands);
}

static int dispatch(int argc, char **argv, struct arena *arena)
{
	const struct command *command = command_find(text_base_name(argv[0]));

	if (command && !command->title)
		return command_run(command, argc, argv, arena);
	if (argc < 2)
		return usage(stderr);
	if (!strcmp(argv[1], "doc"))
		return document(argc, argv, arena);
	if (!strcmp(argv[1], "help") && argc > 2 && (command = command_find(argv[2]))) {
		fputs(options_help(command, arena), stdout);
		return EXIT_FINE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-help") || !strcmp(argv[1], "-h") ||
	    !strcmp(argv[1], "help"))
		return usage(stdout);
	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-version")) {
		printf("Heapwright %s\n", HEAPWRIGHT_VERSION);
		return EXIT_FINE;
	}
	command = command_find(argv[1]);
	if (!command) {
		fprintf(stderr, "heapwright: there is no command '%s'\n", argv[1]);
		return usage(stderr);
	}
	return command_run(command, argc - 1, argv + 1, arena);
}

static void out_of_memory(void)
{
	static const char text[] = "heapwright: out of memory\n";

	if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
		_exit(EXIT_PARTLY);
}

// A report that is cut off (a full disk) must not look like a whole one.
static bool output_written(void)
{
	errno = 0;
	if (!fflush(stdout) && !ferror(stdout))
		return true;
	fprintf(stderr, "heapwright: cannot write the output: %s\n",
	        errno ? strerror(errno) : "it is cut off");
	return false;
}

int main(int argc, char **argv)
{
	struct arena arena;
	int code;

	if (argc < 1)
		return EXIT_WRONG_USE;
	os_own_prepare();
	os_on_exhausted(out_of_memory);
	arena_init(&arena, &os_page_source);
	code = dispatch(argc, argv, &arena);
	arena_deinit(&arena);
	return output_written() ? code : EXIT_PARTLY;
}
