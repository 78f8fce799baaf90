// SPDX-License-Identifier: MIT
// Feeds any bytes to the parsers of /proc texts. What comes out is touched, so
// that a sanitizer sees each address.
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "os/os.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

static volatile uint64_t sink;

static void take(void *context, uint64_t value)
{
	(void)context;
	sink += value;
}

static void take_timer(void *context, uint64_t id, uint64_t value)
{
	(void)context;
	sink += id ^ value;
}

static void take_smaps(void *context, const struct os_smaps_mapping *mapping)
{
	(void)context;
	if (mapping->start > mapping->end)
		abort();
	sink += strlen(mapping->name) + mapping->counts.resident + strlen(mapping->counts.flags);
}

static void take_sysv(void *context, const struct os_sysv_segment *segment)
{
	(void)context;
	sink += segment->bytes + (uint64_t)segment->id;
}

static void take_mount(void *context, const struct os_mount *mount)
{
	(void)context;
	sink += strlen(mount->place) + mount->device;
}

static void check_mappings(const struct os_mapping *mappings, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct os_mapping *mapping = &mappings[i];

		if (mapping->start >= mapping->end || (i && mapping->start < mapping[-1].end))
			abort();
		sink += mapping->name ? strlen(mapping->name) : 0;
		sink += mapping->counts ? strlen(mapping->counts->flags) : 0;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
	const char *text = (const char *)bytes;
	struct os_process process = { 0 };
	struct os_account account = { 0 };
	struct os_mapping *mappings;
	struct arena arena;
	size_t found;

	arena_init(&arena, &os_page_source);
	if (!os_maps_parse(&arena, text, count, &mappings, &found))
		check_mappings(mappings, found);
	(void)os_status_parse(text, count, &process);
	os_sysv_parse(text, count, take_sysv, NULL);
	os_mounts_parse(text, count, take_mount, NULL);
	(void)os_smaps_parse(text, count, take_smaps, NULL);
	(void)os_account_parse_stat(text, count, &account);
	(void)os_account_parse_statm(text, count, &account);
	(void)os_counter_find(text, count, "VmSwap", &account.swapped_bytes);
	sink += strlen(account.name) + account.swapped_bytes;
	os_epoll_parse(text, count, take, NULL);
	os_timers_parse(text, count, take_timer, NULL);
	sink += strlen(process.name);
	arena_deinit(&arena);
	return 0;
}
