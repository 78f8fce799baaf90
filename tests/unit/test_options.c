// SPDX-License-Identifier: MIT
// base/options: one table gives parsing and documents. The command here has a row of each type.
#include "unit.h"

#include "base/options.h"

struct settings {
	bool first; // so that no row has offset 0 by accident
	bool list, trace_given;
	const char *file, *content;
	struct option_list exclude, command;
	uint64_t count, bytes, address, wait_ns;
};

static const struct option_row rows[] = {
	{ "list", "l", OPTION_FLAG, NULL, NULL, "One line per leak.",
	  offsetof(struct settings, list), 0 },
	{ "outputGraph", NULL, OPTION_TEXT, "FILE", NULL, "Writes a snapshot.",
	  offsetof(struct settings, file), 0 },
	{ "content", NULL, OPTION_OPTIONAL, "HOW", NULL, "Shows contents.",
	  offsetof(struct settings, content), 0 },
	{ "exclude", NULL, OPTION_LIST, "SYMBOL", NULL, "Leaves out.",
	  offsetof(struct settings, exclude), 0 },
	{ "count", NULL, OPTION_NUMBER, "N", "10", "So many.", offsetof(struct settings, count),
	  0 },
	{ "size", NULL, OPTION_SIZE, "BYTES", NULL, "So large.", offsetof(struct settings, bytes),
	  0 },
	{ "trace", NULL, OPTION_ADDRESS, "ADDRESS", NULL, "Who refers to it.",
	  offsetof(struct settings, address), offsetof(struct settings, trace_given) },
	{ "confirm", NULL, OPTION_SECONDS, "SECONDS", NULL, "Looks twice.",
	  offsetof(struct settings, wait_ns), 0 },
	{ "atExit", NULL, OPTION_REST, "COMMAND", NULL, "Runs it.",
	  offsetof(struct settings, command), 0 },
};

static const struct option_example examples[] = {
	{ "leaks -list server", "Lists.", 1 },
	{ NULL, NULL, 0 },
};

static const struct option_exit exits[] = { { 0, "no leaks" }, { 1, "leaks" }, { 0, NULL } };

static const struct command leaks = {
	.name = "leaks",
	.one_line = "finds leaked memory",
	.synopsis = "[options] TARGET",
	.rows = rows,
	.row_count = sizeof(rows) / sizeof(*rows),
	.settings_bytes = sizeof(struct settings),
	.examples = examples,
	.exits = exits,
	.see_also = "heap vmmap",
};

struct parsed {
	struct arena arena;
	struct settings settings;
	struct option_list operands;
	int asked;
	const struct error *error;
};

// Parses a NULL-terminated list of words; the caller deinits the arena.
static void parse(struct parsed *p, const char *const *words)
{
	int count = 0;

	memset(p, 0, sizeof(*p));
	arena_init(&p->arena, &unit_pages);
	while (words[count])
		count++;
	p->error = options_parse(&leaks, &p->arena, count, (char *const *)words, &p->settings,
	                         &p->operands, &p->asked);
}

#define PARSE(p, ...) parse(p, (const char *const[]){ "leaks", __VA_ARGS__, NULL })

static void options_take_one_dash_or_two(void **state)
{
	struct parsed p;

	(void)state;
	PARSE(&p, "-list", "--outputGraph", "a", "-size=4k", "--trace=0x10", "42");
	assert_null(p.error);
	assert_true(p.settings.list);
	assert_string_equal(p.settings.file, "a");
	assert_int_equal(p.settings.bytes, 4096);
	assert_int_equal(p.settings.address, 0x10);
	assert_true(p.settings.trace_given);
	assert_int_equal(p.operands.n, 1);
	assert_string_equal(p.operands.v[0], "42");
	arena_deinit(&p.arena);
}

static void optional_arguments_follow_an_equals_sign_only(void **state)
{
	struct parsed p;

	(void)state;
	PARSE(&p, "-content", "42");
	assert_string_equal(p.settings.content, "");
	assert_string_equal(p.operands.v[0], "42");
	arena_deinit(&p.arena);
	PARSE(&p, "-content=hex", "42");
	assert_string_equal(p.settings.content, "hex");
	arena_deinit(&p.arena);
}

static void lists_keep_their_order(void **state)
{
	struct parsed p;

	(void)state;
	PARSE(&p, "-exclude", "a", "-confirm", "0.5", "-exclude=b", "-count=3");
	assert_null(p.error);
	assert_int_equal(p.settings.exclude.n, 2);
	assert_string_equal(p.settings.exclude.v[0], "a");
	assert_string_equal(p.settings.exclude.v[1], "b");
	assert_int_equal(p.settings.wait_ns, 500000000);
	assert_int_equal(p.settings.count, 3);
	arena_deinit(&p.arena);
}

static void a_command_keeps_its_own_options(void **state)
{
	struct parsed p;

	(void)state;
	PARSE(&p, "-atExit", "--", "ls", "-list", "--", "x");
	assert_null(p.error);
	assert_false(p.settings.list);
	assert_int_equal(p.settings.command.n, 4);
	assert_string_equal(p.settings.command.v[1], "-list");
	assert_int_equal(p.operands.n, 0);
	arena_deinit(&p.arena);
}

static void a_double_dash_ends_options(void **state)
{
	struct parsed p;

	(void)state;
	PARSE(&p, "--", "-list", "-");
	assert_null(p.error);
	assert_false(p.settings.list);
	assert_int_equal(p.operands.n, 2);
	arena_deinit(&p.arena);
	PARSE(&p, "--help", "-nonsense");
	assert_null(p.error);
	assert_int_equal(p.asked, 'h');
	arena_deinit(&p.arena);
	PARSE(&p, "-version");
	assert_int_equal(p.asked, 'V');
	arena_deinit(&p.arena);
}

static void assert_wrong(const char *first, const char *second, const char *text)
{
	struct parsed p;

	parse(&p, (const char *const[]){ "leaks", first, second, NULL });
	assert_non_null(p.error);
	assert_int_equal(p.error->kind, ERROR_USAGE);
	assert_string_equal(p.error->text, text);
	arena_deinit(&p.arena);
}

static void wrong_use_is_an_error(void **state)
{
	(void)state;
	assert_wrong("-unknown", NULL, "unknown option '-unknown'");
	assert_wrong("-List", NULL, "unknown option '-List' (is -list meant?)");
	assert_wrong("-list=yes", NULL, "-list takes no value");
	assert_wrong("-outputGraph", NULL, "-outputGraph needs FILE");
	assert_wrong("-size", "many", "-size: 'many' is not a valid BYTES");
	assert_wrong("-trace=", NULL, "-trace: '' is not a valid ADDRESS");
	assert_wrong("-confirm", "-1", "-confirm: '-1' is not a valid SECONDS");
	assert_wrong("-atExit", NULL, "-atExit needs COMMAND");
	assert_wrong("-atExit", "-list",
	             "options stand before -atExit -- COMMAND, not '-list' behind it");
	assert_wrong("-OUTPUT", NULL, "unknown option '-OUTPUT' (is -outputGraph meant?)");
}

static void every_option_stands_in_every_document(void **state)
{
	const struct command *const all[] = { &leaks };
	struct arena arena;

	(void)state;
	arena_init(&arena, &unit_pages);
	const char *const documents[] = {
		options_help(&leaks, &arena),
		options_man(&leaks, &arena, "1.0"),
		options_completion(all, 1, "bash", &arena),
		options_completion(all, 1, "zsh", &arena),
		options_completion(all, 1, "fish", &arena),
	};
	for (size_t d = 0; d < sizeof(documents) / sizeof(*documents); d++)
		for (size_t i = 0; i < leaks.row_count; i++)
			if (!strstr(documents[d], rows[i].name))
				fail_msg("document %zu lacks -%s", d, rows[i].name);
	assert_null(options_completion(all, 1, "csh", &arena));
	assert_null(strstr(documents[0], " \n"));
	arena_deinit(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options_take_one_dash_or_two),
		cmocka_unit_test(optional_arguments_follow_an_equals_sign_only),
		cmocka_unit_test(lists_keep_their_order),
		cmocka_unit_test(a_command_keeps_its_own_options),
		cmocka_unit_test(a_double_dash_ends_options),
		cmocka_unit_test(wrong_use_is_an_error),
		cmocka_unit_test(every_option_stands_in_every_document),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
