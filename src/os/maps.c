// SPDX-License-Identifier: MIT
// The texts /proc/PID/maps and smaps as values. Pure functions over a byte
// buffer, so that tests and a fuzzer can feed them; the text's form is that of
// Linux fs/proc/task_mmu.c (show_map_vma).
#include "os/os.h"

#include <string.h>
#include <sys/sysmacros.h>

#include "os/scan_impl.h"

static bool scan_permissions(struct scan *scan, struct os_mapping *ret)
{
	static const char letters[] = "rwx";

	if (scan->end - scan->at < 4)
		return false;
	for (unsigned i = 0; i < 3; i++) {
		if (scan->at[i] == letters[i])
			ret->protection |= (uint8_t)(1 << i);
		else if (scan->at[i] != '-')
			return false;
	}
	ret->shared = scan->at[3] == 's';
	if (scan->at[3] != 's' && scan->at[3] != 'p')
		return false;
	scan->at += 4;
	return true;
}

// The kernel writes a newline of a name as \012 and nothing else.
static char *unescape(struct arena *arena, const char *name, size_t length)
{
	char *copy = arena_alloc(arena, length + 1);
	size_t n = 0;

	for (size_t i = 0; i < length; i++) {
		if (length - i >= 4 && !memcmp(name + i, "\\012", 4)) {
			copy[n++] = '\n';
			i += 3;
		} else {
			copy[n++] = name[i];
		}
	}
	copy[n] = '\0';
	return copy;
}

static void take_name(struct arena *arena, struct scan *line, struct os_mapping *ret)
{
	static const char suffix[] = " (deleted)";
	size_t length = (size_t)(line->end - line->at), cut = sizeof(suffix) - 1;

	if (!length)
		return;
	if (ret->inode && length > cut && !memcmp(line->end - cut, suffix, cut)) {
		ret->deleted = true;
		length -= cut;
	}
	ret->name = unescape(arena, line->at, length);
}

// Up to the name.
bool scan_mapping_head(struct scan *line, struct os_mapping *ret)
{
	uint64_t major_number, minor_number;

	if (!scan_number(line, 16, &ret->start) || !scan_char(line, '-') ||
	    !scan_number(line, 16, &ret->end) || !scan_char(line, ' ') ||
	    !scan_permissions(line, ret) || !scan_char(line, ' ') ||
	    !scan_number(line, 16, &ret->offset) || !scan_char(line, ' ') ||
	    !scan_number(line, 16, &major_number) || !scan_char(line, ':') ||
	    !scan_number(line, 16, &minor_number) || !scan_char(line, ' ') ||
	    !scan_number(line, 10, &ret->inode))
		return false;
	if (major_number > UINT32_MAX || minor_number > UINT32_MAX)
		return false;
	ret->device = makedev((unsigned)major_number, (unsigned)minor_number);
	scan_blanks(line);
	return true;
}

static bool scan_mapping(struct arena *arena, struct scan *line, struct os_mapping *ret)
{
	if (!scan_mapping_head(line, ret))
		return false;
	take_name(arena, line, ret);
	return true;
}

static struct error *add_mapping(struct maps_parser *parser, struct scan *line)
{
	struct os_mapping mapping = { 0 };
	size_t count = parser->mappings.n;

	if (!scan_mapping(parser->arena, line, &mapping))
		return error_new(ERROR_DAMAGED, "line %zu of the list of mappings makes no sense",
		                 parser->line);
	if (mapping.start >= mapping.end ||
	    (count && mapping.start < parser->mappings.v[count - 1].end))
		return error_at(ERROR_DAMAGED, mapping.start,
		                "line %zu of the list of mappings is out of order", parser->line);
	vec_push(&parser->mappings, mapping);
	return NULL;
}

// A line of smaps behind its mapping.
static void take_count(struct maps_parser *parser, struct scan *line)
{
	struct os_mapping *mapping = &parser->mappings.v[parser->mappings.n - 1];

	if (!mapping->counts)
		mapping->counts = arena_alloc(parser->arena, sizeof(*mapping->counts));
	scan_count(line, &parser->next_key, mapping->counts);
}

void maps_parser_begin(struct maps_parser *parser, struct arena *arena)
{
	*parser = (struct maps_parser){ .arena = arena };
	vec_init(&parser->mappings, &os_page_source);
}

struct error *maps_parser_take(void *context, struct scan lines)
{
	struct maps_parser *parser = context;
	struct scan line;

	while (scan_line(&lines, &line)) {
		parser->line++;
		if (line.at < line.end && scan_digit(*line.at) < 16)
			TRY(add_mapping(parser, &line));
		else if (parser->mappings.n)
			take_count(parser, &line);
		else
			return error_new(ERROR_DAMAGED,
			                 "line 1 of the list of mappings makes no sense");
	}
	return NULL;
}

struct error *maps_parser_end(struct maps_parser *parser, struct error *error,
                              struct os_mapping **ret, size_t *ret_count)
{
	size_t count = parser->mappings.n;

	*ret_count = 0;
	if (!error) {
		*ret_count = count;
		*ret = arena_array(parser->arena, count, sizeof(**ret));
		if (count)
			memcpy(*ret, parser->mappings.v, count * sizeof(**ret));
	}
	vec_deinit(&parser->mappings);
	return error;
}

struct error *os_maps_parse(struct arena *arena, const char *text, size_t bytes,
                            struct os_mapping **ret, size_t *ret_count)
{
	struct maps_parser parser;
	struct error *error;

	maps_parser_begin(&parser, arena);
	error = maps_parser_take(&parser, (struct scan){ text, text + bytes });
	return maps_parser_end(&parser, error, ret, ret_count);
}
