// SPDX-License-Identifier: MIT
// Parsing of a command line by the command's table (base/options.h).
#include "base/options.h"

#include <string.h>

#include "base/text.h"

struct parser {
	const struct command *command;
	struct arena *arena;
	int argc;
	char *const *argv;
	int next;
	char *settings;
	const char **operands;
	size_t operand_count;
};

static bool name_matches(const char *names, const char *given, size_t length)
{
	while (names && *names) {
		size_t n = strcspn(names, " ");

		if (n == length && !memcmp(names, given, n))
			return true;
		names += n + strspn(names + n, " ");
	}
	return false;
}

static const struct option_row *row_find(const struct command *command, const char *given,
                                         size_t length)
{
	for (size_t i = 0; i < command->row_count; i++) {
		const struct option_row *row = &command->rows[i];

		if (name_matches(row->name, given, length) ||
		    name_matches(row->also, given, length))
			return row;
	}
	return NULL;
}

static void list_add(struct arena *arena, struct option_list *list, const char *value)
{
	const char **grown = arena_array(arena, list->n + 1, sizeof(*grown));

	if (list->n)
		memcpy(grown, list->v, list->n * sizeof(*grown));
	grown[list->n] = value;
	*list = (struct option_list){ grown, list->n + 1 };
}

static struct error *value_wrong(const struct option_row *row, const char *value)
{
	return error_new(ERROR_USAGE, "-%s: '%s' is not a valid %s", row->name, value,
	                 row->argument ? row->argument : "value");
}

static struct error *value_store(struct parser *p, const struct option_row *row, const char *value)
{
	void *to = p->settings + row->offset;

	switch (row->type) {
	case OPTION_FLAG:
		*(bool *)to = true;
		return NULL;
	case OPTION_TEXT:
	case OPTION_OPTIONAL:
		*(const char **)to = value;
		return NULL;
	case OPTION_LIST:
	case OPTION_REST:
		list_add(p->arena, to, value);
		return NULL;
	case OPTION_NUMBER:
	case OPTION_SIZE:
	case OPTION_ADDRESS:
		return text_parse_u64(value, to) ? value_wrong(row, value) : NULL;
	case OPTION_SECONDS:
		return text_parse_seconds(value, to) ? value_wrong(row, value) : NULL;
	}
	return NULL;
}

// "-atExit -- CMD ARGS": everything behind it belongs to the option; "--" itself is optional.
static struct error *take_rest(struct parser *p, const struct option_row *row)
{
	if (p->next < p->argc && !strcmp(p->argv[p->next], "--"))
		p->next++;
	else if (p->next < p->argc && p->argv[p->next][0] == '-')
		return error_new(ERROR_USAGE, "options stand before -%s -- %s, not '%s' behind it",
		                 row->name, row->argument, p->argv[p->next]);
	if (p->next >= p->argc)
		return error_new(ERROR_USAGE, "-%s needs %s", row->name, row->argument);
	while (p->next < p->argc)
		TRY(value_store(p, row, p->argv[p->next++]));
	return NULL;
}

static struct error *take_option(struct parser *p, const struct option_row *row, const char *value)
{
	if (row->given_offset)
		*(bool *)(p->settings + row->given_offset) = true;
	if (row->type == OPTION_REST && !value)
		return take_rest(p, row);
	if (row->type == OPTION_FLAG && value)
		return error_new(ERROR_USAGE, "-%s takes no value", row->name);
	if (row->type == OPTION_OPTIONAL && !value)
		value = "";
	if (row->type != OPTION_FLAG && !value) {
		if (p->next >= p->argc)
			return error_new(ERROR_USAGE, "-%s needs %s", row->name, row->argument);
		value = p->argv[p->next++];
	}
	return value_store(p, row, value);
}

static bool begins_alike(const char *name, const char *given, size_t length)
{
	size_t n = 0;

	while (n < length && name[n] && (name[n] | 0x20) == (given[n] | 0x20))
		n++;
	return n == length && n > 1;
}

// An option whose spelling differs only in case, or of which the beginning was given.
static struct error *option_unknown(const struct command *command, const char *word,
                                    const char *name, size_t length)
{
	for (size_t i = 0; i < command->row_count; i++)
		if (begins_alike(command->rows[i].name, name, length))
			return error_new(ERROR_USAGE, "unknown option '%s' (is -%s meant?)", word,
			                 command->rows[i].name);
	return error_new(ERROR_USAGE, "unknown option '%s'", word);
}

// A word that begins with a dash and is more than one or two of them.
static struct error *take_word(struct parser *p, const char *word, int *ret_asked)
{
	const char *name = word + 1 + (word[1] == '-');
	size_t length = strcspn(name, "=");
	const struct option_row *row = row_find(p->command, name, length);

	if (!strcmp(name, "help") || !strcmp(name, "version") || (!row && !strcmp(name, "h"))) {
		*ret_asked = name[0] == 'v' ? 'V' : 'h';
		return NULL;
	}
	if (!row)
		return option_unknown(p->command, word, name, length);
	return take_option(p, row, name[length] ? name + length + 1 : NULL);
}

struct error *options_parse(const struct command *command, struct arena *arena, int argc,
                            char *const *argv, void *settings, struct option_list *ret,
                            int *ret_asked)
{
	struct parser p = { command, arena, argc, argv, 1, settings, NULL, 0 };
	bool options_ended = false;

	p.operands = arena_array(arena, (size_t)argc + 1, sizeof(*p.operands));
	*ret_asked = 0;
	while (p.next < argc && !*ret_asked) {
		const char *word = argv[p.next++];

		if (options_ended || word[0] != '-' || !word[1]) {
			p.operands[p.operand_count++] = word;
			options_ended |= command->ends_at_operand;
		} else if (!strcmp(word, "--"))
			options_ended = true;
		else
			TRY(take_word(&p, word, ret_asked));
	}
	*ret = (struct option_list){ p.operands, p.operand_count };
	return NULL;
}
