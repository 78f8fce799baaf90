// SPDX-License-Identifier: MIT
// One table per command. Its rows give parsing, --help, the man page and the
// completion of three shells, so that none of them can lag behind.
//
//   options.c      parsing
//   options_doc.c  help, man page, completion
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"

enum option_type {
	OPTION_FLAG,     // bool
	OPTION_TEXT,     // const char *
	OPTION_LIST,     // struct option_list: repeatable
	OPTION_NUMBER,   // uint64_t
	OPTION_SIZE,     // uint64_t bytes: 4096, 4k, 1M
	OPTION_ADDRESS,  // uint64_t
	OPTION_SECONDS,  // uint64_t nanoseconds
	OPTION_REST,     // struct option_list: this and all words behind it ("-atExit -- CMD ARGS")
	OPTION_OPTIONAL, // const char *: an optional argument, which follows '=' only; "" when bare
};

struct option_list {
	const char *const *v;
	size_t n;
};

// Accepted with one dash or two. A required argument follows '=' or a space, an optional one only
// '='. Names compare exactly; `also` holds older spellings, separated by spaces.
struct option_row {
	const char *name; // "sortBySize"
	const char *also; // "s nocontext", or NULL
	enum option_type type;
	const char *argument; // "FILE", NULL for flags
	const char *fallback; // the default as text, for the documents, or NULL
	const char *help;     // one sentence or two, for --help and the man page
	size_t offset;        // of the destination in the command's settings struct
	size_t given_offset;  // of a bool that is set when the option was given; 0 = none
};

struct option_example {
	const char *command; // run as a test: "leaks -quiet server"
	const char *shows;   // one sentence
	int exit_code;       // that it must end with
};

struct option_exit {
	int code;
	const char *means;
};

struct command {
	const char *name;  // "leaks"
	const char *also;  // another name that it is installed under, or NULL
	const char *title; // "heapwright run" when it is not installed under name; NULL
	bool ends_at_operand; // the first operand begins another command line: no options of ours in it
	const char *one_line;           // for NAME and the list of commands
	const char *synopsis;           // "[options] TARGET"
	const char *operands;           // what TARGET may be, one sentence
	const char *const *description; // paragraphs, NULL at the end
	const struct option_row *rows;
	size_t row_count;
	size_t settings_bytes;
	const struct option_example *examples; // command NULL at the end
	const struct option_exit *exits;       // means NULL at the end
	const char *see_also;                  // "heap vmmap"
	int (*run)(const void *settings, const struct option_list *operands);
};

// Fills settings (zeroed by the caller) and gives the operands that remain, in arena. "--" ends
// options. --help, -h and --version are the caller's: they come back in *ret_asked ('h', 'V', or 0).
struct error *options_parse(const struct command *command, struct arena *arena, int argc,
                            char *const *argv, void *settings, struct option_list *ret,
                            int *ret_asked);

// What the user types to run it: its title, or its name.
const char *options_title(const struct command *command);

// Documents as text in arena. `all` lists every command for completion's first word.
const char *options_help(const struct command *command, struct arena *arena);
const char *options_man(const struct command *command, struct arena *arena, const char *version);
const char *options_completion(const struct command *const *all, size_t count, const char *shell,
                               struct arena *arena); // "bash", "zsh" or "fish"; NULL for another
