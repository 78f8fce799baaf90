// SPDX-License-Identifier: MIT
// Feeds any bytes to the parsers of the kernel's texts about the machine. What comes out is touched, so
// that a sanitizer sees each address.
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "os/os.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

static volatile uint64_t sink;

static void take(void *context, const char *name, size_t length, uint64_t value)
{
	(void)context;
	if (!length)
		abort();
	sink += value + (uint64_t)name[0] + (uint64_t)name[length - 1];
}

static void take_zone(void *context, const struct os_zone_name *zone, bool in_node,
                      const char *name, size_t length, uint64_t value)
{
	sink += strlen(zone->zone) + zone->node + in_node;
	take(context, name, length, value);
}

static void take_path(void *context, const char *path)
{
	(void)context;
	sink += strlen(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
	const char *text = (const char *)bytes;
	struct os_status_memory memory = { 0 };
	struct os_pressure pressure;
	uint64_t numbers[8], limit;
	char path[32];

	os_counters_parse(text, count, take, NULL);
	os_zoneinfo_parse(text, count, take_zone, NULL);
	os_swaps_parse(text, count, take_path, NULL);
	os_pressure_parse(text, count, &pressure);
	if (pressure.some.share_10 < 0 || pressure.some.share_10 >= 101)
		abort();
	sink += os_numbers_parse(text, count, numbers, 8);
	sink += os_limit_parse(text, count, &limit);
	if (os_mount_find(text, count, "cgroup2", NULL, path, sizeof(path)) ||
	    os_mount_find(text, count, "cgroup", "memory", path, sizeof(path)) ||
	    os_group_find(text, count, NULL, path, sizeof(path)) ||
	    os_group_find(text, count, "memory", path, sizeof(path)))
		sink += strlen(path);
	os_status_memory_parse(text, count, &memory);
	return 0;
}
