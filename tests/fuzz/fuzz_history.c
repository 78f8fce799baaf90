// SPDX-License-Identifier: MIT
// What malloc_history and diff say, and what they export, about logs of foreign making: files are put
// together as for fuzz_log, whose corpus serves here, too.
#define LLVMFuzzerTestOneInput fuzz_log_one
#include "fuzz_log.c"
#undef LLVMFuzzerTestOneInput

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

#include "report/report.h"

static void question(const char *path, struct history_settings *settings)
{
	int status;

	settings->common.tool = "malloc_history";
	settings->common.out = fopen("/dev/null", "we");
	if (!settings->common.out)
		abort();
	(void)report_history(path, settings, &status);
	fclose(settings->common.out);
}

static void ask_sums(const char *path)
{
	question(path, &(struct history_settings){ .all_by_size = true, .virtual_memory = true });
	question(path, &(struct history_settings){ .all_by_size = true, .overall = true });
	question(path, &(struct history_settings){
			       .all_by_count = true, .has_temporary = true, .type = "a" });
	question(path, &(struct history_settings){ .high_water_mark = true,
	                                           .has_thread = true,
	                                           .thread = 1,
	                                           .function = "main" });
	question(path, &(struct history_settings){ .all_by_size = true, .leaks = true });
	question(path, &(struct history_settings){
			       .all_by_size = true, .since = "+0.001s", .until = "-0.001s" });
}

static void ask_others(const char *path)
{
	static const char *const addresses[] = { "0x555555560000", "0x10" };

	question(path, &(struct history_settings){ .addresses = { addresses, 2 } });
	question(path, &(struct history_settings){ .all_events = true, .common.json = true });
	question(path, &(struct history_settings){ .call_tree = true });
	question(path, &(struct history_settings){ .call_tree = true,
	                                           .invert = true,
	                                           .ignore_threads = true,
	                                           .common.json = true });
	question(path, &(struct history_settings){ .call_tree = true, .flat = true });
	question(path, &(struct history_settings){ .growth = true });
	question(path, &(struct history_settings){ .marks = true });
	question(path, &(struct history_settings){ .monitor = true });
	question(path, &(struct history_settings){ .leaks = true });
}

static void ask_exports(const char *path)
{
	static const char *const forms[] = { "folded", "pprof",    "speedscope",
		                             "csv",    "perfetto", "heaptrack" };

	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++)
		question(path, &(struct history_settings){ .export_format = forms[i],
		                                           .export_path = "-" });
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
	struct diff_settings diff = { .common.tool = "diff" };
	int fd = memfd_create("log", MFD_CLOEXEC), status;
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (count >= 8 && memcmp(bytes, LOG_MAGIC, 8) == 0)
		write_all(fd, bytes, count);
	else
		file_make(fd, bytes, count);
	if (log_is(path)) {
		ask_sums(path);
		ask_others(path);
		ask_exports(path);
		diff.common.out = fopen("/dev/null", "we");
		(void)report_diff(path, path, &diff, &status);
		fclose(diff.common.out);
	}
	close(fd);
	return 0;
}
