// SPDX-License-Identifier: MIT
// Feeds any bytes to the reader of heapwright monitor's recordings, and shows what comes out.
#include <stdlib.h>
#include <string.h>

#include "monitor/monitor.h"
#include "os/os.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

static volatile size_t sink;

static void take_line(void *context, enum monitor_style style, const char *text)
{
	(void)context;
	(void)style;
	if (strchr(text, '\x1b'))
		abort();
	sink += strlen(text);
}

static void show(const struct monitor_file *file)
{
	struct monitor_page page = { .width = 80,
		                     .height = 24,
		                     .title = file->host,
		                     .status = file->system,
		                     .interval_ns = file->interval_ns };
	struct monitor_sample sample;
	struct monitor_view view;

	monitor_sample_init(&sample);
	monitor_view_init(&view);
	for (size_t i = 0; i < file->samples.n && i < 100; i++) {
		if (monitor_file_read(file, i, &sample))
			break;
		monitor_view_add(&view, &sample);
		monitor_view_sort(&view, (enum monitor_order)(i % MONITOR_ORDER_COUNT), i % 2);
		monitor_page_write(&view, &page, take_line, NULL);
	}
	monitor_view_deinit(&view);
	monitor_sample_deinit(&sample);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
	struct monitor_file file;

	if (!monitor_file_parse(bytes, count, &file)) {
		show(&file);
		monitor_file_close(&file);
	}
	return 0;
}
