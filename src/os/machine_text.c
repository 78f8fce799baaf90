// SPDX-License-Identifier: MIT
// The kernel's texts about the machine as values (os/machine_text.h). Forms as in Linux mm/vmstat.c
// (vmstat_show, zoneinfo_show_print), fs/proc/meminfo.c, kernel/sched/psi.c (psi_show),
// mm/memcontrol.c (memory_stat_format), fs/proc_namespace.c (show_mountinfo), fs/proc/array.c.
#include <stdlib.h>
#include <string.h>

#include "os/os.h"
#include "os/scan_impl.h"

#define KIBIBYTE 1024

// Everything up to the next blank.
static struct scan take_word(struct scan *line)
{
	struct scan word = { line->at, line->at };

	while (line->at < line->end && *line->at != ' ' && *line->at != '\t')
		line->at++;
	word.end = line->at;
	scan_blanks(line);
	return word;
}

static bool word_is(struct scan word, const char *wanted)
{
	size_t length = strlen(wanted);

	return (size_t)(word.end - word.at) == length && !memcmp(word.at, wanted, length);
}

static bool take_value(struct scan *line, uint64_t *ret)
{
	if (!scan_number(line, 10, ret))
		return false;
	scan_blanks(line);
	return !scan_word(line, "kB") || !__builtin_mul_overflow(*ret, KIBIBYTE, ret);
}

void os_counters_parse(const char *text, size_t bytes,
                       void (*each)(void *context, const char *name, size_t length, uint64_t value),
                       void *context)
{
	struct scan all = { text, text + bytes }, line;

	while (scan_line(&all, &line)) {
		struct scan name;
		uint64_t value;

		scan_blanks(&line);
		name = take_word(&line);
		if (name.end > name.at && name.end[-1] == ':')
			name.end--;
		if (name.end > name.at && take_value(&line, &value))
			each(context, name.at, (size_t)(name.end - name.at), value);
	}
}

bool os_counter_find(const char *text, size_t bytes, const char *key, uint64_t *ret)
{
	struct scan all = { text, text + bytes }, line;
	uint64_t value;

	while (scan_line(&all, &line)) {
		if (!scan_word(&line, key))
			continue;
		scan_char(&line, ':');
		if (line.at == line.end || (*line.at != ' ' && *line.at != '\t'))
			continue;
		scan_blanks(&line);
		if (!take_value(&line, &value))
			return false;
		*ret = value;
		return true;
	}
	return false;
}

size_t os_numbers_parse(const char *text, size_t bytes, uint64_t *ret, size_t limit)
{
	struct scan all = { text, text + bytes }, line;
	size_t count = 0;

	if (!scan_line(&all, &line))
		return 0;
	while (count < limit) {
		bool negative;

		scan_blanks(&line);
		negative = scan_char(&line, '-');
		if (!scan_number(&line, 10, &ret[count]))
			break;
		if (negative)
			ret[count] = 0;
		count++;
	}
	return count;
}

bool os_limit_parse(const char *text, size_t bytes, uint64_t *ret)
{
	struct scan all = { text, text + bytes };

	if (scan_word(&all, "max")) {
		*ret = UINT64_MAX;
		return true;
	}
	return scan_number(&all, 10, ret);
}

// "avg10=1.23": two decimals, as the kernel always writes them.
static bool take_share(struct scan *line, const char *key, double *ret)
{
	uint64_t whole, hundredths;

	if (!scan_word(line, key) || !scan_number(line, 10, &whole) || !scan_char(line, '.') ||
	    !scan_number(line, 10, &hundredths) || whole > 100 || hundredths > 99)
		return false;
	*ret = (double)whole + (double)hundredths / 100;
	scan_blanks(line);
	return true;
}

static void take_stall(struct scan *line, struct os_stall *ret)
{
	struct os_stall stall = { .is_known = true };

	scan_blanks(line);
	if (take_share(line, "avg10=", &stall.share_10) &&
	    take_share(line, "avg60=", &stall.share_60) &&
	    take_share(line, "avg300=", &stall.share_300) && scan_word(line, "total=") &&
	    scan_number(line, 10, &stall.total_us))
		*ret = stall;
}

void os_pressure_parse(const char *text, size_t bytes, struct os_pressure *ret)
{
	struct scan all = { text, text + bytes }, line;

	*ret = (struct os_pressure){ 0 };
	while (scan_line(&all, &line)) {
		if (scan_word(&line, "some "))
			take_stall(&line, &ret->some);
		else if (scan_word(&line, "full "))
			take_stall(&line, &ret->full);
	}
}

// --- zones ---------------------------------------------------------------------------------------

// "Node 0, zone   Normal"
static bool take_zone(struct scan *line, struct os_zone_name *ret)
{
	struct scan name;
	uint64_t node;
	size_t length;

	if (!scan_word(line, "Node ") || !scan_number(line, 10, &node) || node > UINT32_MAX ||
	    !scan_word(line, ", zone"))
		return false;
	scan_blanks(line);
	name = take_word(line);
	length = (size_t)(name.end - name.at);
	if (!length || length >= sizeof(ret->zone))
		return false;
	ret->node = (unsigned)node;
	memcpy(ret->zone, name.at, length);
	ret->zone[length] = '\0';
	return true;
}

void os_zoneinfo_parse(const char *text, size_t bytes,
                       void (*each)(void *context, const struct os_zone_name *zone, bool in_node,
                                    const char *name, size_t length, uint64_t value),
                       void *context)
{
	struct scan all = { text, text + bytes }, line;
	struct os_zone_name zone;
	bool zoned = false, in_node = false;

	while (scan_line(&all, &line)) {
		struct scan name;
		uint64_t value;

		if (line.at < line.end && *line.at == 'N') {
			zoned = take_zone(&line, &zone);
			in_node = false;
			continue;
		}
		scan_blanks(&line);
		name = take_word(&line);
		if (word_is(name, "per-node")) {
			in_node = true;
			continue;
		}
		if (word_is(name, "pages")) { // "pages free     3840": the zone's own part begins
			in_node = false;
			name = take_word(&line);
		}
		// What stands below belongs to the lists of single CPUs.
		if (word_is(name, "pagesets"))
			zoned = false;
		if (zoned && name.end > name.at && scan_number(&line, 10, &value))
			each(context, &zone, in_node, name.at, (size_t)(name.end - name.at), value);
	}
}

// --- paths ---------------------------------------------------------------------------------------

// A path in which the kernel wrote blanks, tabs, newlines and backslashes as \NNN (seq_path). False when
// it does not fit.
static bool copy_path(struct scan word, char *ret, size_t ret_bytes)
{
	size_t n = 0;

	while (word.at < word.end) {
		struct scan digits = { word.at + 1, word.end };
		uint64_t value;

		if (n + 1 >= ret_bytes)
			return false;
		if (digits.end - digits.at > 3)
			digits.end = digits.at + 3;
		if (*word.at == '\\' && digits.at + 3 == digits.end &&
		    scan_number(&digits, 8, &value) && digits.at == digits.end && value &&
		    value <= UINT8_MAX) {
			ret[n++] = (char)value;
			word.at += 4;
		} else {
			ret[n++] = *word.at++;
		}
	}
	ret[n] = '\0';
	return true;
}

void os_swaps_parse(const char *text, size_t bytes, void (*each)(void *context, const char *path),
                    void *context)
{
	struct scan all = { text, text + bytes }, line;
	char path[256];

	while (scan_line(&all, &line))
		if (line.at < line.end && *line.at == '/' &&
		    copy_path(take_word(&line), path, sizeof(path)))
			each(context, path);
}

static bool has_option(struct scan options, const char *wanted)
{
	while (options.at < options.end) {
		const char *comma = memchr(options.at, ',', (size_t)(options.end - options.at));
		struct scan one = { options.at, comma ? comma : options.end };

		if (word_is(one, wanted))
			return true;
		options.at = comma ? comma + 1 : options.end;
	}
	return false;
}

bool os_mount_find(const char *text, size_t bytes, const char *kind, const char *option, char *ret,
                   size_t ret_bytes)
{
	struct scan all = { text, text + bytes }, line;

	while (scan_line(&all, &line)) {
		struct scan path;

		for (unsigned field = 0; field < 4; field++)
			take_word(&line);
		path = take_word(&line);
		// Optional fields end with a dash of its own.
		while (line.at < line.end && !word_is(take_word(&line), "-"))
			;
		if (!word_is(take_word(&line), kind))
			continue;
		take_word(&line);
		if ((!option || has_option(take_word(&line), option)) &&
		    copy_path(path, ret, ret_bytes))
			return true;
	}
	return false;
}

// "4:memory:/a/b" or, for version 2, "0::/a/b"; the path may hold colons.
bool os_group_find(const char *text, size_t bytes, const char *controller, char *ret,
                   size_t ret_bytes)
{
	struct scan all = { text, text + bytes }, line;

	while (scan_line(&all, &line)) {
		struct scan names;
		const char *colon;
		uint64_t number;

		if (!scan_number(&line, 10, &number) || !scan_char(&line, ':'))
			continue;
		colon = memchr(line.at, ':', (size_t)(line.end - line.at));
		if (!colon || colon + 1 >= line.end || colon[1] != '/')
			continue;
		names = (struct scan){ line.at, colon };
		if (controller ? !has_option(names, controller) : names.at != names.end)
			continue;
		if ((size_t)(line.end - colon - 1) >= ret_bytes)
			return false;
		memcpy(ret, colon + 1, (size_t)(line.end - colon - 1));
		ret[line.end - colon - 1] = '\0';
		return true;
	}
	return false;
}

// --- a process -----------------------------------------------------------------------------------

static void take_memory(void *context, const char *name, size_t length, uint64_t value)
{
	struct os_status_memory *ret = context;
	const struct scan word = { name, name + length };

	if (word_is(word, "VmRSS")) {
		ret->resident_bytes = value;
		ret->is_known = true;
	} else if (word_is(word, "VmSwap")) {
		ret->swapped_bytes = value;
	} else if (word_is(word, "VmLck")) {
		ret->locked_bytes = value;
	} else if (word_is(word, "VmPin")) {
		ret->pinned_bytes = value;
	}
}

void os_status_memory_parse(const char *text, size_t bytes, struct os_status_memory *ret)
{
	os_counters_parse(text, bytes, take_memory, ret);
}
