// SPDX-License-Identifier: MIT
// The stringdups report: equal contents among the live blocks, what they cost, whose they are and where
// they come from. Called by tools/stringdups.c.
#include "report/stringdups_impl.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "os/os.h"
#include "report/stacks.h"

#define SHOWN_LETTERS 40 // of a text
#define SHOWN_BYTES   12 // of what is none
#define JSON_LETTERS  1024
#define NAME_COLUMNS  11

// --- contents as text ------------------------------------------------------------------------------
struct shown {
	VEC(char) text;
	size_t letters, most;
};

static void put(struct shown *shown, const char *text)
{
	for (; *text; text++)
		vec_push(&shown->text, *text);
}

static void put_utf8(struct shown *shown, uint32_t value)
{
	char bytes[5] = "";

	if (value < 0x80) {
		bytes[0] = (char)value;
	} else if (value < 0x800) {
		bytes[0] = (char)(0xc0 | value >> 6);
		bytes[1] = (char)(0x80 | (value & 63));
	} else if (value < 0x10000) {
		bytes[0] = (char)(0xe0 | value >> 12);
		bytes[1] = (char)(0x80 | (value >> 6 & 63));
		bytes[2] = (char)(0x80 | (value & 63));
	} else {
		bytes[0] = (char)(0xf0 | value >> 18);
		bytes[1] = (char)(0x80 | (value >> 12 & 63));
		bytes[2] = (char)(0x80 | (value >> 6 & 63));
		bytes[3] = (char)(0x80 | (value & 63));
	}
	put(shown, bytes);
}

// Escapes as in C; what could drive a terminal (also U+0080..U+009F, marks that turn the direction)
// comes out as its number.
static void put_letter(struct shown *shown, uint32_t value)
{
	static const char plain[] = "\"\\\n\t\r", escaped[] = "\"\\ntr";
	const char *found = value && value < 0x80 ? strchr(plain, (int)value) : NULL;
	char number[16];

	shown->letters++;
	if (found) {
		snprintf(number, sizeof(number), "\\%c", escaped[found - plain]);
		put(shown, number);
	} else if (value < 0x20 || value == 0x7f) {
		snprintf(number, sizeof(number), "\\x%02x", (unsigned)value);
		put(shown, number);
	} else if ((value >= 0x80 && value < 0xa0) || (value >= 0x2028 && value <= 0x202e) ||
	           (value >= 0x2066 && value <= 0x2069) || (value >= 0xd800 && value < 0xe000) ||
	           value > 0x10ffff || value == 0xfeff) {
		snprintf(number, sizeof(number), "\\u%04x", (unsigned)value);
		put(shown, number);
	} else {
		put_utf8(shown, value);
	}
}

// The next letter of a text of n bytes; how many of them it takes, at least one.
static size_t letter_at(const uint8_t *bytes, size_t n, enum types_encoding encoding, uint32_t *ret)
{
	char padded[5] = "";
	uint16_t two;
	size_t length;

	*ret = bytes[0];
	switch (encoding) {
	case TYPES_UCS2:
		if (n < sizeof(two))
			return n;
		memcpy(&two, bytes, sizeof(two));
		*ret = two;
		return sizeof(two);
	case TYPES_UCS4:
		if (n < sizeof(*ret))
			return n;
		memcpy(ret, bytes, sizeof(*ret));
		return sizeof(*ret);
	case TYPES_UTF8:
		memcpy(padded, bytes, n < 4 ? n : 4);
		length = text_utf8(padded, ret);
		return length ? length : 1;
	default:
		return 1;
	}
}

static void put_text(struct shown *shown, const struct types_text *text, const uint8_t *bytes,
                     size_t n)
{
	uint32_t letter;
	char number[16];
	size_t at = 0;

	put(shown, "\"");
	while (at < n && shown->letters < shown->most) {
		at += letter_at(bytes + at, n - at, text->encoding, &letter);
		if (text->encoding == TYPES_BYTES && letter >= 0x80) {
			snprintf(number, sizeof(number), "\\x%02x", (unsigned)letter);
			put(shown, number);
			shown->letters++;
		} else {
			put_letter(shown, letter);
		}
	}
	put(shown, at < text->bytes ? "\"..." : "\"");
}

static void put_bytes(struct shown *shown, const uint8_t *bytes, size_t n, uint64_t all)
{
	char number[16];

	for (size_t i = 0; i < n && i < SHOWN_BYTES; i++) {
		snprintf(number, sizeof(number), i ? " %02x" : "%02x", bytes[i]);
		put(shown, number);
	}
	if (n > SHOWN_BYTES || all > n)
		put(shown, " ...");
}

// Until the next call.
static const char *content_text(struct shown *shown, const struct dups *dups,
                                const struct dups_group *group)
{
	const struct heap_block *block = dups_block(dups, group->first);
	uint8_t bytes[4 * JSON_LETTERS];
	size_t n = 4 * shown->most;

	if (group->text.bytes < n)
		n = (size_t)group->text.bytes;
	if (group->contents)
		memcpy(bytes, group->contents, n);
	else
		n = target_read_some(dups->look->target, block->hb_address + group->text.offset,
		                     bytes, n);
	shown->text.n = shown->letters = 0;
	if (group->text.kind != TYPES_TEXT_NONE)
		put_text(shown, &group->text, bytes, n);
	else if (group->is_zero)
		put(shown, "all zero");
	else
		put_bytes(shown, bytes, n, group->text.bytes);
	vec_push(&shown->text, '\0');
	return shown->text.v;
}

// --- rows ------------------------------------------------------------------------------------------
static const char *const kind_names[] = {
	[TYPES_TEXT_NONE] = "block",
	[TYPES_TEXT_C] = "C string",
	[TYPES_TEXT_STD_STRING] = "std::string",
	[TYPES_TEXT_PYTHON] = "str",
	[TYPES_TEXT_PYTHON_BYTES] = "bytes",
};

// In JSON.
static const char *const kind_words[] = {
	[TYPES_TEXT_NONE] = "block",
	[TYPES_TEXT_C] = "c_string",
	[TYPES_TEXT_STD_STRING] = "std_string",
	[TYPES_TEXT_PYTHON] = "python_str",
	[TYPES_TEXT_PYTHON_BYTES] = "python_bytes",
};

// What one copy of each would save.
static uint64_t wasted_bytes(const struct dups_group *group)
{
	return group->bytes - group->least_bytes;
}

static const char *type_name(const struct dups_group *group)
{
	return group->type ? group->type->name : kind_names[group->text.kind];
}

static void print_owners(struct emitter *e, const struct dups_group *group)
{
	emit_array(e, "owners");
	for (size_t i = 0; i < group->owner_count; i++) {
		emit_object(e, NULL);
		emit_string(e, "name", group->owners[i].name, i ? NULL : "  <- %s");
		emit_u64(e, "count", group->owners[i].count, NULL);
		emit_object_end(e);
	}
	emit_array_end(e);
	emit_bool(e, "more_owners", group->more_owners, NULL);
	if (group->owner_count > 1)
		emit_text(e, " and %zu more", group->owner_count - 1);
}

static void print_row(struct emitter *e, const struct dups *dups, const struct dups_group *group,
                      struct shown *shown)
{
	emit_object(e, NULL);
	emit_u64(e, "count", group->count, "%8" PRIu64);
	emit_u64(e, "bytes", group->bytes, " %11" PRIu64);
	emit_double(e, "average_bytes", (double)group->bytes / group->count, " %9.1f");
	emit_u64(e, "wasted_bytes", wasted_bytes(group), NULL);
	emit_string(e, "kind", kind_words[group->text.kind], NULL);
	emit_u64(e, "content_bytes", group->text.bytes, NULL);
	emit_bool(e, "all_zero", group->is_zero, NULL);
	emit_string(e, "type", group->type ? group->type->name : NULL, NULL);
	emit_text(e, "  %-*s", NAME_COLUMNS, type_name(group));
	emit_address(e, "first_address", dups_block(dups, group->first)->hb_address, NULL);
	emit_string(e, "content",
	            dups->settings->common.no_content ? NULL : content_text(shown, dups, group),
	            "  %s");
	print_owners(e, group);
	emit_text(e, "\n");
	dups_print_stacks(e, dups, group);
	emit_object_end(e);
}

static int compare_groups(const void *a, const void *b)
{
	const struct dups_group *x = a, *y = b;

	if (x->bytes != y->bytes)
		return x->bytes > y->bytes ? -1 : 1;
	if (x->count != y->count)
		return x->count > y->count ? -1 : 1;
	return x->first < y->first ? -1 : x->first > y->first;
}

struct total {
	uint64_t count, bytes, wasted;
};

static struct total total_of(const struct dups *dups)
{
	struct total total = { 0 };

	for (size_t i = 0; i < dups->groups.n; i++) {
		total.count += dups->groups.v[i].count;
		total.bytes += dups->groups.v[i].bytes;
		total.wasted += wasted_bytes(&dups->groups.v[i]);
	}
	return total;
}

static void print_totals(struct emitter *e, const struct dups *dups)
{
	const struct total total = total_of(dups);
	const size_t groups = dups->groups.n;
	char size[TEXT_SIZE_BYTES];

	emit_text(e, "Process %d: ", dups->look->target->pid);
	emit_u64(e, "nodes", dups->block_count, "%" PRIu64 " nodes malloced\n");
	emit_u64(e, "unreadable_count", dups->unreadable_count, NULL);
	if (dups->unreadable_count)
		emit_text(e, "%" PRIu64 " of them cannot be read and are not compared.\n",
		          dups->unreadable_count);
	emit_u64(e, "minimum_count", dups->minimum, NULL);
	emit_u64(e, "group_count", groups, NULL);
	emit_u64(e, "total_count", total.count, NULL);
	emit_u64(e, "total_bytes", total.bytes, NULL);
	emit_u64(e, "total_wasted_bytes", total.wasted, NULL);
	emit_text(e,
	          "%" PRIu64 " blocks (%" PRIu64 " bytes) hold %zu content%s %" PRIu64
	          " times or more.\nOne copy of each would save %" PRIu64 " bytes (%s).\n\n",
	          total.count, total.bytes, groups, groups == 1 ? "" : "s", dups->minimum,
	          total.wasted, text_size(total.wasted, size));
}

static struct error *print_report(struct dups *dups)
{
	const struct report_options *options = &dups->settings->common;
	const struct total total = total_of(dups);
	struct emitter *e = emit_begin(options->out, options->json ? EMIT_JSON : EMIT_TEXT);
	struct shown shown = { .most = emit_is_text(e) ? SHOWN_LETTERS : JSON_LETTERS };

	vec_init(&shown.text, &os_page_source);
	report_header(e, dups->look, options);
	emit_text(e, "stringdups Report Version:  1.0\n");
	print_totals(e, dups);
	if (dups->groups.n) {
		qsort(dups->groups.v, dups->groups.n, sizeof(*dups->groups.v), compare_groups);
		emit_text(e, "%8s %11s %9s  %-*s  %s\n", "COUNT", "BYTES", "AVG", NAME_COLUMNS,
		          "TYPE", "CONTENT  <- OWNER");
		emit_text(e, "%8s %11s %9s  %-*s  %s\n", "=====", "=====", "===", NAME_COLUMNS,
		          "====", "=======");
	}
	emit_array(e, "duplicates");
	for (size_t i = 0; i < dups->groups.n; i++)
		print_row(e, dups, &dups->groups.v[i], &shown);
	emit_array_end(e);
	vec_deinit(&shown.text);
	if (dups->groups.n)
		emit_text(e, "%8" PRIu64 " %11" PRIu64 " %9.1f  TOTAL, %" PRIu64 " bytes wasted\n",
		          total.count, total.bytes, (double)total.bytes / (double)total.count,
		          total.wasted);
	return emit_end(e);
}

// --- the flow --------------------------------------------------------------------------------------
static struct error *report_look(struct look *look, const struct stringdups_settings *settings,
                                 int *ret_exit)
{
	struct dups dups = { .look = look, .settings = settings, .minimum = 2 };
	struct error *error;

	if (settings->has_minimum)
		dups.minimum = settings->minimum ? settings->minimum : 1;
	vec_init(&dups.groups, &os_page_source);
	vec_init(&dups.members, &os_page_source);
	error = dups_find_strings(&dups);
	if (!error)
		error = types_python_objects(look->types, look->arena, &dups.objects,
		                             &dups.object_count);
	if (!error)
		error = dups_group(&dups);
	if (!error)
		error = dups_find_owners(&dups);
	if (!error && settings->common.output_graph)
		error = report_snapshot(look, &settings->common);
	if (!error)
		error = print_report(&dups);
	*ret_exit = report_completeness(look);
	vec_deinit(&dups.groups);
	vec_deinit(&dups.members);
	return error;
}

struct error *report_stringdups(const char *target, const struct stringdups_settings *settings,
                                int *ret_exit)
{
	struct target_options options =
		report_target_options(&settings->common, TARGET_WANT_MEMORY);
	struct look look;
	struct error *error;

	TRY(look_open(target, &options, LOOK_GRAPH, &look));
	error = report_look(&look, settings, ret_exit);
	look_close(&look);
	return error;
}
