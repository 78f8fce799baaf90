// SPDX-License-Identifier: MIT
// A sample of the memory of a process and of the machine, as JSON, for the log's monitor notes. What
// the kernel does not tell is left out. Called through struct collect_settings.
#include "collect/collect_impl.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_TEXT_BYTES ((size_t)1 << 20)

static const char *read_file(struct arena *arena, const char *path)
{
	char *text;
	size_t bytes;

	return os_read_text(arena, path, MOST_TEXT_BYTES, &text, &bytes) ? "" : text;
}

// The decimal number after a key at the start of a line.
static bool number_after(const char *text, const char *key, uint64_t *ret)
{
	const char *at = text;

	while ((at = strstr(at, key)) != NULL) {
		if (at == text || at[-1] == '\n') {
			*ret = strtoull(at + strlen(key), NULL, 10);
			return true;
		}
		at++;
	}
	return false;
}

// Fields 10, 12, 14 and 15 of stat: faults and time (fs/proc/array.c, do_task_stat).
static const char *faults(struct arena *arena, int process)
{
	char path[64];
	const char *end;
	uint64_t minor, major;

	snprintf(path, sizeof(path), "/proc/%d/stat", process);
	end = strrchr(read_file(arena, path), ')');
	if (!end || sscanf(end, ") %*c %*d %*d %*d %*d %*d %*u %" SCNu64 " %*u %" SCNu64, &minor,
	                   &major) != 2)
		return "";
	return arena_format(arena, ",\"minor_faults\":%" PRIu64 ",\"major_faults\":%" PRIu64, minor,
	                    major);
}

// "some avg10=0.00 avg60=0.00 avg300=0.00 total=123" and the same with full (kernel/sched/psi.c);
// total is in microseconds.
static const char *pressure(struct arena *arena, const char *path)
{
	const char *text = read_file(arena, path), *full = strstr(text, "full");
	double some_10 = 0, full_10 = 0;
	uint64_t some_us = 0, full_us = 0;

	if (sscanf(text, "some avg10=%lf %*s %*s total=%" SCNu64, &some_10, &some_us) != 2)
		return "";
	if (full && sscanf(full, "full avg10=%lf %*s %*s total=%" SCNu64, &full_10, &full_us) != 2)
		full_us = 0;
	return arena_format(arena,
	                    ",\"pressure\":{\"some_percent\":%.2f,\"some_ns\":%" PRIu64
	                    ",\"full_percent\":%.2f,\"full_ns\":%" PRIu64 "}",
	                    some_10, some_us * 1000, full_10, full_us * 1000);
}

// The group of version 2, "0::/path".
static const char *group_pressure(struct arena *arena, int process)
{
	char path[64];
	const char *text, *group;

	snprintf(path, sizeof(path), "/proc/%d/cgroup", process);
	text = read_file(arena, path);
	group = strstr(text, "0::/");
	if (!group || (group != text && group[-1] != '\n'))
		return "";
	group += strlen("0::");
	return pressure(arena, arena_format(arena, "/sys/fs/cgroup%.*s/memory.pressure",
	                                    (int)strcspn(group, "\n"), group));
}

static const char *machine(struct arena *arena)
{
	static const struct {
		const char *key, *name;
	} rows[] = {
		{ "MemTotal:", "total_bytes" },
		{ "MemAvailable:", "available_bytes" },
		{ "SwapTotal:", "swap_bytes" },
		{ "SwapFree:", "swap_free_bytes" },
	};
	const char *text = read_file(arena, "/proc/meminfo"), *json = "";
	const char *counts = read_file(arena, "/proc/vmstat");
	uint64_t value;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (number_after(text, rows[i].key, &value))
			json = arena_format(arena, "%s%s\"%s\":%" PRIu64, json, *json ? "," : "",
			                    rows[i].name, value * 1024);
	if (number_after(counts, "pgmajfault ", &value))
		json = arena_format(arena, "%s%s\"major_faults\":%" PRIu64, json, *json ? "," : "",
		                    value);
	return json;
}

struct error *collect_monitor_sample(int process, struct arena *arena, const char **ret)
{
	struct os_process facts;

	TRY(os_process_read(process, &facts));
	*ret = arena_format(arena,
	                    "{\"process\":{\"footprint_bytes\":%" PRIu64
	                    ",\"resident_bytes\":%" PRIu64 ",\"anonymous_bytes\":%" PRIu64
	                    ",\"file_bytes\":%" PRIu64 ",\"shared_bytes\":%" PRIu64
	                    ",\"swapped_bytes\":%" PRIu64 ",\"page_table_bytes\":%" PRIu64
	                    ",\"threads\":%u%s%s},\"machine\":{%s%s}}",
	                    facts.anonymous_bytes + facts.swapped_bytes + facts.page_table_bytes,
	                    facts.resident_bytes, facts.anonymous_bytes, facts.file_bytes,
	                    facts.shared_bytes, facts.swapped_bytes, facts.page_table_bytes,
	                    facts.thread_count, faults(arena, process),
	                    group_pressure(arena, process), machine(arena),
	                    pressure(arena, "/proc/pressure/memory"));
	return NULL;
}
