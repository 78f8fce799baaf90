// SPDX-License-Identifier: MIT
// A log of a program that never ran, with all kinds of events. Included by tests of logs.
#pragma once

#include "base/base.h"
#include "log/log.h"

static const struct log_process process = {
	.id = 4711,
	.mode = RECORD_FULL,
	.what = RECORD_WHAT_MALLOC | RECORD_WHAT_VM,
	.wall_ns = 1790000000000000000u,
	.monotonic_ns = 123456789,
	.attached = 1,
	.parent = 42,
	.name = "toy",
	.path = "/usr/bin/toy",
	.command_line = "toy --loud 'a b'",
	.host = "here",
	.system = "Linux",
	.cpu = "x86_64",
};

// count events of a program that allocates and frees in a loop, with all kinds now and then.
static struct log_event *events_make(size_t count, uint64_t seed)
{
	struct log_event *events = calloc(count, sizeof(*events));
	static const uint8_t kinds[] = { RECORD_CALLOC,       RECORD_ALIGNED,    RECORD_REALLOC,
		                         RECORD_REALLOC_FREE, RECORD_MAP,        RECORD_UNMAP,
		                         RECORD_REMAP_FREE,   RECORD_SHM_OPEN,   RECORD_SHMAT,
		                         RECORD_THREAD,       RECORD_THREAD_END, RECORD_FORK,
		                         RECORD_EXEC,         RECORD_GAP,        RECORD_MARK,
		                         RECORD_STOP,         RECORD_MODULES,    RECORD_RETAIN,
		                         RECORD_MEMCPY };
	uint64_t time_ns = 0;

	for (size_t i = 0; i < count; i++) {
		uint64_t dice = random_next(&seed);
		struct log_event *event = &events[i];

		time_ns += 1000 * (dice % 3);
		event->time_ns = time_ns;
		event->thread = dice / 7 % 50 ? 0 : 1;
		event->node = 1 + (uint32_t)(dice / 3 % 9);
		event->kind = dice % 2 ? RECORD_MALLOC : RECORD_FREE;
		event->address = 0x555555550000 + dice / 5 % 4096 * 16;
		if (dice / 11 % 100 == 0) {
			event->kind = kinds[dice / 1100 % sizeof(kinds)];
			event->extra = (uint32_t)random_next(&seed);
			event->address = random_next(&seed) << 33 | random_next(&seed);
		}
		if (event->kind == RECORD_FREE)
			event->type = dice / 13 % 4 ? LOG_TYPE_NONE : 1;
		else
			event->bytes = dice / 17 % 1000 ? 8 + dice / 19 % 300 : UINT64_MAX - 4096;
	}
	return events;
}

static void tables_write(struct log_writer *writer)
{
	const struct log_node nodes[] = { { 0x7f0000001234, 0 },
		                          { 0x7f0000001234 | RECORD_NODE_EXACT, 1 },
		                          { 0x555500001111 | RECORD_NODE_TRUNCATED, 2 },
		                          { 0x555500001111, 0 },
		                          { 0x555500001112, 4 },
		                          { 0x555500001113, 5 },
		                          { 0x555500001114, 6 },
		                          { 0x555500001115, 6 },
		                          { 1, 0 } };
	const struct log_module module = { .start = 0x7f0000000000,
		                           .end = 0x7f0000010000,
		                           .bias = 0x7f0000000000,
		                           .loaded_ns = 5,
		                           .unloaded_ns = UINT64_MAX,
		                           .device = 8,
		                           .inode = 99,
		                           .build_id = { 1, 2, 3 },
		                           .build_id_bytes = 20,
		                           .path = "/lib/libtoy.so" };
	const struct log_thread threads[] = { { 4711, 0, "toy" }, { -3, 77, "" } };
	uint32_t index;

	assert_null(log_write_nodes(writer, nodes, 9));
	assert_null(log_write_module(writer, &module));
	assert_null(log_write_thread(writer, &threads[0], &index));
	assert_int_equal(index, 0);
	assert_null(log_write_thread(writer, &threads[1], &index));
	assert_int_equal(index, 1);
	assert_null(log_write_type(writer, 0x7f0000002000, &index));
	assert_int_equal(index, 1);
}

static void events_write(struct log_writer *writer, const struct log_event *events, size_t count)
{
	struct log_summary summary = {
		.allocations = count, .live_bytes = 1000, .peak_bytes = 2000, .peak_event = 3
	};

	assert_null(log_write_events(writer, events, count, NULL, 0, &summary));
}
