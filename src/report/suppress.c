// SPDX-License-Identifier: MIT
// Rules that drop leak trees: -exclude, and suppression files of our own form,
// LeakSanitizer's and valgrind's. Rules about call stacks are understood, but can
// only match once stacks were recorded; unused rules are reported.
#include <fnmatch.h>
#include <inttypes.h>
#include <string.h>

#include "base/text.h"
#include "base/vec.h"
#include "os/os.h"
#include "report/leaks_impl.h"
#include "report/stacks.h"

#define MOST_FILE_BYTES ((size_t)16 << 20)

enum rule_kind {
	RULE_TYPE,   // glob over the type name
	RULE_MODULE, // glob over the binary that defines the type
	RULE_ANY,    // glob over either
	RULE_SIZE,
	RULE_SITE, // about the call stack of the allocation
};

struct rule {
	enum rule_kind kind;
	const char *pattern;
	uint64_t low, high;
	const char *source; // "-exclude" or "FILE:12"
	const char *text;   // as it was written
	uint64_t used_count, used_bytes;
};

struct rules {
	VEC(struct rule) rules;
	struct arena *arena;
};

static struct rule *rule_add(struct rules *rules, enum rule_kind kind, const char *pattern,
                             const char *source, const char *text)
{
	struct rule *rule = vec_add(&rules->rules);

	*rule = (struct rule){ .kind = kind,
		               .pattern = pattern,
		               .source = source,
		               .text = text_printable(rules->arena, text) };
	return rule;
}

// "N", "A-B", "A+" or "-B".
static struct error *size_rule(struct rules *rules, const char *text, const char *source,
                               const char *whole)
{
	const char *dash = strchr(text, '-'), *plus = strchr(text, '+');
	struct rule *rule = rule_add(rules, RULE_SIZE, NULL, source, whole);
	const char *low = text;
	bool ok = true;

	rule->high = UINT64_MAX;
	if (plus || dash)
		low = arena_copy_n(rules->arena, text, (size_t)((plus ? plus : dash) - text));
	if (*low)
		ok = !text_parse_u64(low, &rule->low);
	if (dash && dash[1])
		ok = ok && !text_parse_u64(dash + 1, &rule->high);
	else if (!plus && !dash)
		rule->high = rule->low;
	if (!ok || (plus && plus[1]) || (!*low && !dash))
		return error_new(ERROR_USAGE,
		                 "%s: '%s' is no size rule (size:N, size:A-B, size:A+)", source,
		                 whole);
	return NULL;
}

static const char *after(const char *text, const char *prefix)
{
	size_t n = strlen(prefix);

	return strncmp(text, prefix, n) ? NULL : text + n;
}

// One rule of our own form or LeakSanitizer's.
static struct error *rule_parse(struct rules *rules, const char *text, const char *source)
{
	const char *value;

	if ((value = after(text, "type:")))
		rule_add(rules, RULE_TYPE, value, source, text);
	else if ((value = after(text, "module:")))
		rule_add(rules, RULE_MODULE, value, source, text);
	else if ((value = after(text, "site:")))
		rule_add(rules, RULE_SITE, value, source, text);
	else if ((value = after(text, "size:")))
		return size_rule(rules, value, source, text);
	else if ((value = after(text, "leak:"))) // matches anywhere in the name, '^' and '$' anchor
		rule_add(rules, RULE_ANY,
		         arena_format(rules->arena, "%s%.*s%s", value[0] == '^' ? "" : "*",
		                      (int)strcspn(value + (value[0] == '^'), "$"),
		                      value + (value[0] == '^'), strchr(value, '$') ? "" : "*"),
		         source, text);
	else
		rule_add(rules, RULE_ANY, text, source, text);
	return NULL;
}

// --- files --------------------------------------------------------------------------------------

struct rule_file {
	struct rules *rules;
	const char *path;
	char *next; // rest of the text
	unsigned line;
};

static char *line_take(struct rule_file *file)
{
	char *line = file->next, *end;

	if (!line || !*line)
		return NULL;
	end = line + strcspn(line, "\n");
	file->next = *end ? end + 1 : end;
	*end = '\0';
	file->line++;
	line += strspn(line, " \t\r");
	for (end = line + strlen(line); end > line && strchr(" \t\r", end[-1]);)
		*--end = '\0';
	return line;
}

// A block of valgrind: "{", a name, "Tool:Kind", then lines "fun:", "obj:", "...", "}". A leak rule
// whose frames name no function but an object applies to types of that object.
static struct error *valgrind_rule(struct rule_file *file)
{
	const char *source = arena_format(file->rules->arena, "%s:%u", file->path, file->line);
	const char *name = "?", *object = NULL, *function = NULL;
	bool leak = false;
	char *line;

	for (unsigned i = 0; (line = line_take(file)) && strcmp(line, "}"); i++) {
		if (i == 0)
			name = line;
		else if (i == 1)
			leak = strstr(line, "Memcheck:Leak") != NULL;
		else if (!object && after(line, "obj:"))
			object = line + 4;
		else if (!function && after(line, "fun:"))
			function = line + 4;
	}
	if (!line)
		return error_new(ERROR_USAGE, "%s: the rule has no closing }", source);
	if (leak && object && !function)
		rule_add(file->rules, RULE_MODULE, object, source, name);
	else if (leak)
		rule_add(file->rules, RULE_SITE, function ? function : "*", source, name);
	return NULL;
}

static struct error *file_read(struct rules *rules, const char *path)
{
	struct rule_file file = { .rules = rules, .path = text_printable(rules->arena, path) };
	size_t bytes;
	char *line;

	TRY(os_read_text(rules->arena, path, MOST_FILE_BYTES, &file.next, &bytes));
	while ((line = line_take(&file))) {
		if (!*line || *line == '#')
			continue;
		if (*line == '{')
			TRY(valgrind_rule(&file));
		else
			TRY(rule_parse(rules, line,
			               arena_format(rules->arena, "%s:%u", file.path, file.line)));
	}
	return NULL;
}

struct error *rules_open(const struct option_list *exclude, const struct option_list *files,
                         struct arena *arena, struct rules **ret)
{
	struct rules *rules = arena_alloc(arena, sizeof(*rules));

	rules->arena = arena;
	vec_init(&rules->rules, arena->ar_source);
	for (size_t i = 0; i < exclude->n; i++)
		TRY(rule_parse(rules, exclude->v[i], "-exclude"));
	for (size_t i = 0; i < files->n; i++)
		TRY(file_read(rules, files->v[i]));
	*ret = rules;
	return NULL;
}

// --- matching -----------------------------------------------------------------------------------

static bool glob(const char *pattern, const char *text)
{
	return text && !fnmatch(pattern, text, 0);
}

static bool site_matches(const struct rule *rule, struct look *look, uint32_t block)
{
	uint32_t node = stacks_node(look, block);

	return node && stacks_match(look, node, rule->pattern);
}

static bool rule_matches(const struct rule *rule, struct look *look, uint32_t block,
                         const struct type *type)
{
	uint64_t size = look->heaps->blocks[block].hb_size;

	switch (rule->kind) {
	case RULE_TYPE:
		return type && glob(rule->pattern, type->name);
	case RULE_MODULE:
		return type && glob(rule->pattern, type->binary);
	case RULE_ANY:
		return (type &&
		        (glob(rule->pattern, type->name) || glob(rule->pattern, type->binary))) ||
		       site_matches(rule, look, block);
	case RULE_SIZE:
		return size >= rule->low && size <= rule->high;
	case RULE_SITE:
		return site_matches(rule, look, block);
	}
	return false;
}

bool rules_match(struct rules *rules, struct look *look, uint32_t leak)
{
	const struct leak *l = &look->graph->leaks[leak];
	const struct type *type = rules->rules.n ? types_of(look->types, l->lk_block) : NULL;

	for (size_t i = 0; i < rules->rules.n; i++) {
		struct rule *rule = &rules->rules.v[i];

		if (!rule_matches(rule, look, l->lk_block, type))
			continue;
		rule->used_count++;
		rule->used_bytes += l->lk_tree_bytes;
		return true;
	}
	return false;
}

void rules_emit_unused(struct emitter *e, const struct rules *rules)
{
	bool any = false;

	emit_array(e, "unused_rules");
	for (size_t i = 0; i < rules->rules.n; i++) {
		const struct rule *rule = &rules->rules.v[i];

		if (rule->used_count)
			continue;
		emit_object(e, NULL);
		emit_text(e, "%s", any ? "" : "\n");
		any = true;
		emit_string(e, "source", rule->source, "Unused rule (%s): ");
		emit_string(e, "rule", rule->text, "%s");
		emit_bool(e, "needs_stacks", rule->kind == RULE_SITE,
		          ", which needs recorded call stacks to match");
		emit_object_end(e);
		emit_text(e, "\n");
	}
	emit_array_end(e);
}
