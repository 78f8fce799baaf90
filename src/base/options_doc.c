// SPDX-License-Identifier: MIT
// Documents made from a command's table: --help, the man page and completion
// for bash, zsh and fish (base/options.h).
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/options.h"

#define HELP_INDENT 26
#define HELP_WIDTH  80

// Text that grows in an arena; the older pieces stay there until the arena dies.
struct sheet {
	struct arena *arena;
	char *text;
	size_t used, capacity;
};

static void sheet_add_n(struct sheet *sheet, const char *text, size_t n)
{
	if (sheet->used + n + 1 > sheet->capacity) {
		size_t capacity = (sheet->used + n + 1) * 2;
		char *grown = arena_alloc(sheet->arena, capacity);

		if (sheet->used)
			memcpy(grown, sheet->text, sheet->used);
		sheet->text = grown;
		sheet->capacity = capacity;
	}
	memcpy(sheet->text + sheet->used, text, n);
	sheet->used += n;
	sheet->text[sheet->used] = '\0';
}

static void sheet_add(struct sheet *sheet, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void sheet_add(struct sheet *sheet, const char *format, ...)
{
	char line[2048];
	va_list arguments;
	int n;

	va_start(arguments, format);
	n = vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	if (n > 0)
		sheet_add_n(sheet, line, (size_t)n < sizeof(line) ? (size_t)n : sizeof(line) - 1);
}

// Breaks text at spaces so that no line passes HELP_WIDTH; later lines start at indent.
static void sheet_wrap(struct sheet *sheet, const char *text, size_t column, size_t indent)
{
	bool line_start = true;

	while (*text) {
		size_t n = strcspn(text, " ");

		if (!line_start && column + 1 + n > HELP_WIDTH) {
			sheet_add(sheet, "\n%*s", (int)indent, "");
			column = indent;
			line_start = true;
		}
		sheet_add(sheet, "%s%.*s", line_start ? "" : " ", (int)n, text);
		column += n + !line_start;
		line_start = false;
		text += n + strspn(text + n, " ");
	}
	sheet_add_n(sheet, "\n", 1);
}

static const char help_text[] = "Explain the command and its options.";
static const char version_text[] = "Print the version.";

static const char *argument_mark(const struct option_row *row)
{
	switch (row->type) {
	case OPTION_FLAG:
		return "";
	case OPTION_OPTIONAL:
		return "[=";
	case OPTION_REST:
		return " -- ";
	default:
		return " ";
	}
}

// "  -left" and its explanation beside it, or below it when left is long.
static void help_pair(struct sheet *sheet, const char *left, const char *help)
{
	if (strlen(left) >= HELP_INDENT)
		sheet_add(sheet, "%s\n%*s", left, HELP_INDENT, "");
	else
		sheet_add(sheet, "%-*s", HELP_INDENT, left);
	sheet_wrap(sheet, help, HELP_INDENT, HELP_INDENT);
}

static void help_row(struct sheet *sheet, const struct option_row *row)
{
	char left[160];
	size_t used = (size_t)snprintf(left, sizeof(left), "  -%s", row->name);

	for (const char *also = row->also; also && *also && used < sizeof(left);) {
		size_t n = strcspn(also, " ");

		used += (size_t)snprintf(left + used, sizeof(left) - used, ", -%.*s", (int)n, also);
		also += n + strspn(also + n, " ");
	}
	if (used < sizeof(left))
		snprintf(left + used, sizeof(left) - used, "%s%s%s", argument_mark(row),
		         row->argument ? row->argument : "",
		         row->type == OPTION_OPTIONAL ? "]" : "");
	help_pair(sheet, left, row->help);
	if (row->fallback)
		sheet_add(sheet, "%*s(default: %s)\n", HELP_INDENT, "", row->fallback);
}

const char *options_title(const struct command *command)
{
	return command->title ? command->title : command->name;
}

const char *options_help(const struct command *command, struct arena *arena)
{
	struct sheet sheet = { .arena = arena };

	sheet_add(&sheet, "Usage: %s %s\n\n", options_title(command), command->synopsis);
	sheet_wrap(&sheet, command->one_line, 0, 0);
	if (command->operands)
		sheet_wrap(&sheet, command->operands, 0, 0);
	sheet_add(&sheet, "\nOptions (one dash or two):\n");
	for (size_t i = 0; i < command->row_count; i++)
		help_row(&sheet, &command->rows[i]);
	help_pair(&sheet, "  -help, -h", help_text);
	help_pair(&sheet, "  -version", version_text);
	sheet_add(&sheet, "\nExit status:\n");
	for (const struct option_exit *e = command->exits; e && e->means; e++) {
		sheet_add(&sheet, "  %-4d", e->code);
		sheet_wrap(&sheet, e->means, 6, 6);
	}
	sheet_add(&sheet, "\nExamples:\n");
	for (const struct option_example *e = command->examples; e && e->command; e++)
		sheet_add(&sheet, "  %s\n      %s\n", e->command, e->shows);
	return sheet.text;
}

// Escapes what roff would read as a request or a hyphenation point.
static void man_text(struct sheet *sheet, const char *text)
{
	for (bool line_start = true; *text; line_start = *text++ == '\n') {
		if (line_start && (*text == '.' || *text == '\''))
			sheet_add_n(sheet, "\\&", 2);
		if (*text == '-')
			sheet_add_n(sheet, "\\-", 2);
		else if (*text == '\\')
			sheet_add_n(sheet, "\\e", 2);
		else
			sheet_add_n(sheet, text, 1);
	}
}

static void man_paragraph(struct sheet *sheet, const char *text, bool first)
{
	if (!first)
		sheet_add(sheet, ".PP\n");
	man_text(sheet, text);
	sheet_add(sheet, "\n");
}

static void man_row(struct sheet *sheet, const struct option_row *row)
{
	sheet_add(sheet, ".TP\n\\fB\\-%s\\fR", row->name);
	for (const char *also = row->also; also && *also;) {
		size_t n = strcspn(also, " ");

		sheet_add(sheet, ", \\fB\\-%.*s\\fR", (int)n, also);
		also += n + strspn(also + n, " ");
	}
	if (row->type == OPTION_OPTIONAL)
		sheet_add(sheet, "[=\\fI%s\\fR]", row->argument);
	else if (row->argument)
		sheet_add(sheet, "%s\\fI%s\\fR", row->type == OPTION_REST ? " \\-\\- " : " ",
		          row->argument);
	sheet_add(sheet, "\n");
	man_text(sheet, row->help);
	if (row->fallback)
		sheet_add(sheet, " The default is %s.", row->fallback);
	sheet_add(sheet, "\n");
}

static void man_examples(struct sheet *sheet, const struct command *command)
{
	sheet_add(sheet, ".SH EXAMPLES\n");
	for (const struct option_example *e = command->examples; e && e->command; e++) {
		sheet_add(sheet, ".TP\n.B ");
		man_text(sheet, e->command);
		sheet_add(sheet, "\n");
		man_text(sheet, e->shows);
		sheet_add(sheet, "\n");
	}
}

// "heapwright run" has the page heapwright-run.
static void man_page_name(struct sheet *sheet, const struct command *command)
{
	for (const char *name = options_title(command); *name; name++)
		sheet_add(sheet, "%s", *name == ' ' ? "\\-" : (char[2]){ *name });
}

// Titles of pages are written in capitals (man-pages(7)).
static void man_title(struct sheet *sheet, const char *name, const char *version)
{
	sheet_add(sheet, ".TH ");
	for (; *name; name++)
		sheet_add(sheet, "%c", *name == ' ' ? '-' : toupper((unsigned char)*name));
	sheet_add(sheet, " 1 \"\" \"Heapwright %s\" \"Heapwright\"\n", version);
}

static void man_see_also(struct sheet *sheet, const char *names)
{
	const char *comma = "";

	sheet_add(sheet, ".SH SEE ALSO\n");
	while (*names) {
		size_t n = strcspn(names, " ");

		sheet_add(sheet, "%s\\fB%.*s\\fR(1)", comma, (int)n, names);
		comma = ",\n";
		names += n + strspn(names + n, " ");
	}
	sheet_add(sheet, "\n");
}

const char *options_man(const struct command *command, struct arena *arena, const char *version)
{
	struct sheet sheet = { .arena = arena };

	man_title(&sheet, options_title(command), version);
	sheet_add(&sheet, ".SH NAME\n");
	man_page_name(&sheet, command);
	sheet_add(&sheet, " \\- ");
	man_text(&sheet, command->one_line);
	sheet_add(&sheet, "\n.SH SYNOPSIS\n\\fB%s\\fR ", options_title(command));
	man_text(&sheet, command->synopsis);
	sheet_add(&sheet, "\n.SH DESCRIPTION\n");
	for (const char *const *paragraph = command->description; paragraph && *paragraph;
	     paragraph++)
		man_paragraph(&sheet, *paragraph, paragraph == command->description);
	if (command->operands)
		man_paragraph(&sheet, command->operands, !command->description);
	sheet_add(&sheet,
	          ".SH OPTIONS\nOptions are accepted with one dash or two. A required argument "
	          "follows = or a space, an optional one only =.\n");
	for (size_t i = 0; i < command->row_count; i++)
		man_row(&sheet, &command->rows[i]);
	sheet_add(&sheet, ".TP\n\\fB\\-help\\fR, \\fB\\-h\\fR\n%s\n", help_text);
	sheet_add(&sheet, ".TP\n\\fB\\-version\\fR\n%s\n", version_text);
	sheet_add(&sheet, ".SH EXIT STATUS\n");
	for (const struct option_exit *e = command->exits; e && e->means; e++) {
		sheet_add(&sheet, ".TP\n.B %d\n", e->code);
		man_text(&sheet, e->means);
		sheet_add(&sheet, "\n");
	}
	man_examples(&sheet, command);
	if (command->see_also)
		man_see_also(&sheet, command->see_also);
	return sheet.text;
}

// --- completion ---------------------------------------------------------------------------------

static void bash_command(struct sheet *sheet, const struct command *command)
{
	sheet_add(sheet, "\t%s%s%s) words='", command->name, command->also ? "|" : "",
	          command->also ? command->also : "");
	for (size_t i = 0; i < command->row_count; i++)
		sheet_add(sheet, "-%s%s ", command->rows[i].name,
		          command->rows[i].type == OPTION_FLAG ||
		                          command->rows[i].type == OPTION_REST ||
		                          command->rows[i].type == OPTION_OPTIONAL
		                  ? ""
		                  : "=");
	sheet_add(sheet, "-help -version' ;;\n");
}

// Names of processes are foreign text: they never pass through an expansion (as the words of
// compgen -W would), and readline quotes what it inserts because they count as file names.
static const char bash_targets[] =
	"_heapwright_targets() {\n\tlocal word=$1 pid name\n"
	"\twhile read -r pid name; do\n"
	"\t\t[[ $pid != \"$word\"* ]] || printf '%s\\n' \"$pid\"\n"
	"\t\t[[ $name != \"$word\"* ]] || printf '%s\\n' \"$name\"\n"
	"\tdone < <(ps -eo pid=,comm= 2>/dev/null)\n\tcompgen -f -- \"$word\"\n}\n";

// Of the commands that have a name of their own.
static void installed_names(struct sheet *sheet, const struct command *const *all, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!all[i]->title)
			sheet_add(sheet, " %s%s%s", all[i]->name, all[i]->also ? " " : "",
			          all[i]->also ? all[i]->also : "");
}

static void bash_completion(struct sheet *sheet, const struct command *const *all, size_t count)
{
	sheet_add_n(sheet, bash_targets, sizeof(bash_targets) - 1);
	sheet_add(
		sheet,
		"_heapwright() {\n\tlocal word=${COMP_WORDS[COMP_CWORD]} tool=${1##*/} words=\n"
		"\t[ \"$word\" != = ] || word=\n"
		"\tif [ \"$tool\" = heapwright ]; then\n"
		"\t\tif [ \"$COMP_CWORD\" = 1 ]; then\n\t\t\tmapfile -t COMPREPLY < <(compgen -W '");
	for (size_t i = 0; i < count; i++)
		sheet_add(sheet, "%s%s", i ? " " : "", all[i]->name);
	sheet_add(sheet, "' -- \"$word\")\n\t\t\treturn\n\t\tfi\n\t\ttool=${COMP_WORDS[1]}\n\tfi\n"
	                 "\tcase $tool in\n");
	for (size_t i = 0; i < count; i++)
		bash_command(sheet, all[i]);
	sheet_add(sheet,
	          "\tesac\n\tcase $word in --*) words=-${words// -/ --} ;; esac\n\tcase $word in\n"
	          "\t-*) mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$word\")\n"
	          "\t\tcase ${COMPREPLY[0]-} in *=) compopt -o nospace ;; esac ;;\n"
	          "\t*) mapfile -t COMPREPLY < <(_heapwright_targets \"$word\")\n"
	          "\t\tcompopt -o filenames ;;\n\tesac\n}\ncomplete -F _heapwright heapwright");
	installed_names(sheet, all, count);
	sheet_add(sheet, "\n");
}

// Text inside single quotes of a shell.
static void quoted(struct sheet *sheet, const char *text, bool zsh)
{
	for (; *text; text++) {
		if (*text == '\'')
			sheet_add(sheet, "'\\''");
		else if (zsh && strchr("[]:", *text))
			sheet_add(sheet, "\\%c", *text);
		else
			sheet_add_n(sheet, text, 1);
	}
}

static void zsh_row(struct sheet *sheet, const struct option_row *row)
{
	bool bare = row->type == OPTION_FLAG || row->type == OPTION_REST;

	sheet_add(sheet, "\t\t'-%s%s[", row->name,
	          bare                           ? ""
	          : row->type == OPTION_OPTIONAL ? "=-"
	                                         : "=");
	quoted(sheet, row->help, true);
	sheet_add(sheet, "]");
	if (!bare) {
		sheet_add(sheet, "%s:", row->type == OPTION_OPTIONAL ? ":" : "");
		quoted(sheet, row->argument, true);
		sheet_add(sheet, ":_files");
	}
	sheet_add(sheet, "' \\\n");
}

static void zsh_completion(struct sheet *sheet, const struct command *const *all, size_t count)
{
	sheet_add(sheet, "#compdef heapwright");
	installed_names(sheet, all, count);
	sheet_add(sheet, "\nlocal tool=${service}\nif [[ $tool = heapwright ]]; then\n"
	                 "\tif (( CURRENT == 2 )); then\n\t\t_values command");
	for (size_t i = 0; i < count; i++) {
		sheet_add(sheet, " '%s[", all[i]->name);
		quoted(sheet, all[i]->one_line, true);
		sheet_add(sheet, "]'");
	}
	sheet_add(sheet,
	          "\n\t\treturn\n\tfi\n\ttool=${words[2]}\n\tshift words\n\t(( CURRENT-- ))\nfi\n"
	          "case $tool in\n");
	for (size_t i = 0; i < count; i++) {
		sheet_add(sheet, "%s%s%s)\n\t_arguments \\\n", all[i]->name,
		          all[i]->also ? "|" : "", all[i]->also ? all[i]->also : "");
		for (size_t k = 0; k < all[i]->row_count; k++)
			zsh_row(sheet, &all[i]->rows[k]);
		sheet_add(sheet, "\t\t'*:target:{_pids; _files}' ;;\n");
	}
	sheet_add(sheet, "esac\n");
}

static void fish_row(struct sheet *sheet, const char *when, const struct option_row *row)
{
	bool bare = row->type == OPTION_FLAG || row->type == OPTION_REST ||
	            row->type == OPTION_OPTIONAL;

	sheet_add(sheet, "complete -c %s -o %s%s -d '", when, row->name, bare ? "" : " -r");
	quoted(sheet, row->help, false);
	sheet_add(sheet, "'\n");
}

static void fish_completion(struct sheet *sheet, const struct command *const *all, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		char when[128];

		sheet_add(sheet, "complete -c heapwright -n __fish_use_subcommand -a %s -d '",
		          all[i]->name);
		quoted(sheet, all[i]->one_line, false);
		sheet_add(sheet, "'\n");
		if (!all[i]->title)
			sheet_add(sheet, "complete -c %s -a '(__fish_complete_pids)'\n",
			          all[i]->name);
		if (all[i]->also)
			sheet_add(sheet, "complete -c %s -w %s\n", all[i]->also, all[i]->name);
		snprintf(when, sizeof(when), "heapwright -n '__fish_seen_subcommand_from %s'",
		         all[i]->name);
		for (size_t k = 0; k < all[i]->row_count; k++) {
			if (!all[i]->title)
				fish_row(sheet, all[i]->name, &all[i]->rows[k]);
			fish_row(sheet, when, &all[i]->rows[k]);
		}
	}
}

const char *options_completion(const struct command *const *all, size_t count, const char *shell,
                               struct arena *arena)
{
	struct sheet sheet = { .arena = arena };

	if (!strcmp(shell, "bash"))
		bash_completion(&sheet, all, count);
	else if (!strcmp(shell, "zsh"))
		zsh_completion(&sheet, all, count);
	else if (!strcmp(shell, "fish"))
		fish_completion(&sheet, all, count);
	return sheet.text;
}
