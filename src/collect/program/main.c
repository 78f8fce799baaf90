// SPDX-License-Identifier: MIT
// lib/heapwright/collector: the process that writes the log of a recorded program. The recorder in the
// program starts it, or the tool that attaches; see collect.h for the command line.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "collect/collect.h"
#include "os/os.h"

enum {
	EXIT_FINE = 0,
	EXIT_NOT = 2,
	EXIT_WRONG_USE = 64,
	MOST_JSON_BYTES = 64 << 20,
};

#define MORE_OPTIONS "HEAPWRIGHT_COLLECTOR"

// The tools lie in bin/, beside lib/heapwright/ where this program is.
static const char *tool_path(struct arena *arena)
{
	const char *self = os_self_path(arena), *slash = strrchr(self, '/');

	return arena_format(arena, "%.*s/../../bin/heapwright", slash ? (int)(slash - self) : 1,
	                    slash ? self : ".");
}

static struct error *check_leaks(int process, struct arena *arena, const char **ret)
{
	const char *words[] = { tool_path(arena), "leaks", "-json",
		                arena_format(arena, "%d", process), NULL };
	size_t bytes;
	char *text;
	int status;

	TRY(os_command_output(arena, words, MOST_JSON_BYTES, &text, &bytes, &status));
	*ret = text;
	if (!bytes)
		return error_new(ERROR_UNSUPPORTED,
		                 "the leak check of process %d failed (status %d)", process,
		                 status);
	return NULL;
}

static bool take_option(struct collect_settings *settings, const char *option)
{
	const char *value = strchr(option, '=');
	size_t length = value ? (size_t)(value - option) : strlen(option);
	struct {
		const char *name;
		uint64_t *to;
		int (*parse)(const char *text, uint64_t *ret);
	} rows[] = {
		{ "--max-size", &settings->max_log_bytes, text_parse_u64 },
		{ "--duration", &settings->duration_ns, text_parse_seconds },
		{ "--leaks-every", &settings->leaks_every_ns, text_parse_seconds },
		{ "--monitor", &settings->monitor_every_ns, text_parse_seconds },
	};

	if (!strcmp(option, "--replace"))
		return settings->replace = true;
	if (!strcmp(option, "--attached"))
		return settings->attached = true;
	if (!strcmp(option, "--follow"))
		return settings->follows = true;
	if (!strcmp(option, "--await"))
		return settings->awaits = true;
	if (!value)
		return false;
	if (length == strlen("--before") && !strncmp(option, "--before", length))
		return (settings->before = atoi(value + 1)) > 0;
	if (length == strlen("--log") && !strncmp(option, "--log", length)) {
		settings->log_path = value + 1;
		return true;
	}
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (strlen(rows[i].name) == length && !strncmp(option, rows[i].name, length))
			return !rows[i].parse(value + 1, rows[i].to);
	return false;
}

static bool take_variable(struct collect_settings *settings, struct arena *arena)
{
	const char *variable = os_variable(MORE_OPTIONS);
	char *words, *word, *rest;

	if (!variable)
		return true;
	words = arena_copy(arena, variable);
	for (word = strtok_r(words, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
		if (!take_option(settings, word))
			return false;
	return true;
}

static bool take_words(struct collect_settings *settings, int argc, char **argv)
{
	if (argc < 3)
		return false;
	settings->process = atoi(argv[1]);
	settings->descriptor = atoi(argv[2]);
	if (settings->process <= 0)
		return false;
	for (int i = 3; i < argc; i++)
		if (!take_option(settings, argv[i]))
			return false;
	return true;
}

static int kept_errors = -1;

// From now on the program's terminal, pipe or file is its own.
static void let_go(void)
{
	os_close(kept_errors);
	kept_errors = -1;
}

static int run(const struct collect_settings *settings, struct arena *arena)
{
	struct error *error;
	int keep[] = { settings->descriptor, os_keep_errors(), settings->before };

	kept_errors = keep[1];
	os_background("hw-collector", keep, sizeof(keep) / sizeof(keep[0]));
	error = collect_run(settings);
	if (error)
		os_say_kept(kept_errors,
		            arena_format(arena, "heapwright: cannot record: %s", error->text));
	return error ? EXIT_NOT : EXIT_FINE;
}

int main(int argc, char **argv)
{
	struct collect_settings settings = {
		.leaks = check_leaks,
		.monitor = collect_monitor_sample,
		.started = let_go,
	};
	struct arena arena;
	int code;

	arena_init(&arena, &os_page_source);
	if (take_words(&settings, argc, argv) && take_variable(&settings, &arena)) {
		code = run(&settings, &arena);
	} else {
		fprintf(stderr, "heapwright collector: wrong use; heapwright record starts it\n");
		code = EXIT_WRONG_USE;
	}
	arena_deinit(&arena);
	return code;
}
