// SPDX-License-Identifier: MIT
// A sample of the memory of a process and of the machine, as JSON, for the log's monitor notes. What
// the kernel does not tell is left out. Called through struct collect_settings.
#include "collect/collect_impl.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define MOST_TEXT_BYTES ((size_t)1 << 20)

static const char *read_file(struct arena *arena, const char *path, size_t *ret_bytes)
{
	char *text;

	if (!os_read_text(arena, path, MOST_TEXT_BYTES, &text, ret_bytes))
		return text;
	*ret_bytes = 0;
	return "";
}

static const char *faults(struct arena *arena, int process)
{
	struct os_account account;
	char path[64];
	const char *text;
	size_t bytes;

	snprintf(path, sizeof(path), "/proc/%d/stat", process);
	text = read_file(arena, path, &bytes);
	if (!os_account_parse_stat(text, bytes, &account))
		return "";
	return arena_format(arena, ",\"minor_faults\":%" PRIu64 ",\"major_faults\":%" PRIu64,
	                    account.soft_faults, account.hard_faults);
}

static const char *pressure(struct arena *arena, const char *path)
{
	struct os_pressure waited;
	size_t bytes;
	const char *text = read_file(arena, path, &bytes);

	os_pressure_parse(text, bytes, &waited);
	if (!waited.some.is_known)
		return "";
	return arena_format(arena,
	                    ",\"pressure\":{\"some_percent\":%.2f,\"some_ns\":%" PRIu64
	                    ",\"full_percent\":%.2f,\"full_ns\":%" PRIu64 "}",
	                    waited.some.share_10, waited.some.total_us * 1000, waited.full.share_10,
	                    waited.full.total_us * 1000);
}

static const char *group_pressure(struct arena *arena, int process)
{
	char path[64], group[PATH_MAX];
	const char *text;
	size_t bytes;

	snprintf(path, sizeof(path), "/proc/%d/cgroup", process);
	text = read_file(arena, path, &bytes);
	if (!os_group_find(text, bytes, NULL, group, sizeof(group)))
		return "";
	return pressure(arena, arena_format(arena, "/sys/fs/cgroup%s/memory.pressure", group));
}

struct members {
	struct arena *arena;
	const char *json;
};

static void take_counter(void *context, const char *key, size_t length, uint64_t value)
{
	static const struct {
		const char *key, *name;
	} rows[] = {
		{ "MemTotal", "total_bytes" },    { "MemAvailable", "available_bytes" },
		{ "SwapTotal", "swap_bytes" },    { "SwapFree", "swap_free_bytes" },
		{ "pgmajfault", "major_faults" },
	};
	struct members *members = context;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (strlen(rows[i].key) == length && !memcmp(rows[i].key, key, length))
			members->json =
				arena_format(members->arena, "%s%s\"%s\":%" PRIu64, members->json,
			                     *members->json ? "," : "", rows[i].name, value);
}

static const char *machine(struct arena *arena)
{
	static const char *const paths[] = { "/proc/meminfo", "/proc/vmstat" };
	struct members members = { arena, "" };

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		size_t bytes;
		const char *text = read_file(arena, paths[i], &bytes);

		os_counters_parse(text, bytes, take_counter, &members);
	}
	return members.json;
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
