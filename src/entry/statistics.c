// SPDX-License-Identifier: MIT
// glibc's functions about the heap as a whole, answered for ours. Called by the program.
#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <stdio.h>

#include "entry/entry_impl.h"

// Bytes of zones and of what libc may still hold do not mix: these numbers are about our zones only.
static malloc_statistics_t all_zones(void)
{
	malloc_statistics_t all = { 0 };

	malloc_zone_statistics(NULL, &all);
	return all;
}

MALLOC_EXPORT struct mallinfo2 mallinfo2(void)
{
	malloc_statistics_t all = all_zones();
	struct mallinfo2 ret = {
		.arena = all.size_allocated,
		.ordblks = 1,
		.uordblks = all.size_in_use,
		.fordblks = all.size_allocated - all.size_in_use,
		.keepcost = all.size_allocated - all.size_in_use,
	};

	return ret;
}

static int as_int(size_t n)
{
	return n > INT_MAX ? INT_MAX : (int)n;
}

// The older form, whose numbers are too narrow: they stop at their largest value instead of wrapping.
MALLOC_EXPORT struct mallinfo mallinfo(void)
{
	struct mallinfo2 wide = mallinfo2();
	struct mallinfo ret = {
		.arena = as_int(wide.arena),
		.ordblks = as_int(wide.ordblks),
		.uordblks = as_int(wide.uordblks),
		.fordblks = as_int(wide.fordblks),
		.keepcost = as_int(wide.keepcost),
	};

	return ret;
}

// Most of glibc's knobs are about its own ways to find memory. Programs that turn them are told yes,
// because what they want (fewer system calls, less memory kept) is what happens here anyway.
MALLOC_EXPORT int mallopt(int parameter, int value)
{
	switch (parameter) {
	case M_PERTURB:
		return entry_perturb_set(value);
	case M_MXFAST:
	case M_TRIM_THRESHOLD:
	case M_TOP_PAD:
	case M_MMAP_THRESHOLD:
	case M_MMAP_MAX:
	case M_CHECK_ACTION:
	case M_ARENA_TEST:
	case M_ARENA_MAX:
		return 1;
	}
	return 0;
}

// The pad is for glibc's top of the heap, which we do not have.
MALLOC_EXPORT int malloc_trim(size_t pad)
{
	(void)pad;
	return malloc_zone_pressure_relief(NULL, 0) > 0;
}

MALLOC_EXPORT void malloc_stats(void)
{
	malloc_statistics_t all = all_zones();

	malloc_print("Blocks in use:  %12u\n"
	             "bytes in use:   %12zu\n"
	             "at most in use: %12zu\n"
	             "system bytes:   %12zu\n",
	             all.blocks_in_use, all.size_in_use, all.max_size_in_use, all.size_allocated);
}

struct info {
	size_t free_count, free_bytes, system, system_most;
};

static void add_info(struct info *sum, const struct info *one)
{
	sum->free_count += one->free_count;
	sum->free_bytes += one->free_bytes;
	sum->system += one->system;
	sum->system_most += one->system_most;
}

// What is free is glibc's "rest"; "fast" are the chunks in its fastbins, which nobody has here. Readers
// subtract both from "system" to know what is in use.
static void print_info(FILE *out, const struct info *info)
{
	fprintf(out,
	        "<total type=\"fast\" count=\"0\" size=\"0\"/>\n"
	        "<total type=\"rest\" count=\"%zu\" size=\"%zu\"/>\n",
	        info->free_count, info->free_bytes);
}

static void print_system(FILE *out, const struct info *info)
{
	fprintf(out,
	        "<system type=\"current\" size=\"%zu\"/>\n<system type=\"max\" size=\"%zu\"/>\n"
	        "<aspace type=\"total\" size=\"%zu\"/>\n<aspace type=\"mprotect\" size=\"%zu\"/>\n",
	        info->system, info->system_most, info->system, info->system);
}

static void print_name(FILE *out, const char *name)
{
	fprintf(out, " name=\"");
	for (; *name; name++)
		if (*name == '"' || *name == '<' || *name == '&' || (unsigned char)*name < ' ')
			fprintf(out, "&#%d;", (unsigned char)*name);
		else
			fputc(*name, out);
	fprintf(out, "\"");
}

// Of one of our zones, also behind a feature.
static size_t count_free(const malloc_zone_t *zone)
{
	const struct malloc_introspection_t *table = zone->introspect;
	struct malloc_zone_sums sums;

	if (table && zone->version >= 14 && table->zone_type == MALLOC_ZONE_TYPE_WRAPPER)
		zone = ((const struct malloc_wrapper *)zone)->wrapped;
	if (malloc_core_index(zone) == UINT32_MAX)
		return 0;
	malloc_core_sums(zone, &sums);
	return sums.free_blocks;
}

static struct info zone_info(malloc_zone_t *zone)
{
	malloc_statistics_t s = { 0 };
	size_t free_bytes;

	malloc_zone_statistics(zone, &s);
	free_bytes = s.size_allocated > s.size_in_use ? s.size_allocated - s.size_in_use : 0;
	return (struct info){ .free_count = count_free(zone),
		              .free_bytes = free_bytes,
		              .system = s.size_allocated,
		              .system_most = s.size_allocated };
}

// The same elements as glibc's, one heap per zone (name is ours); no block lies in a mapping that is not
// counted in its heap.
MALLOC_EXPORT int malloc_info(int options, FILE *out)
{
	struct info all = { 0 };
	vm_address_t *zones = NULL;
	unsigned count = 0;

	if (options)
		return EINVAL;
	fprintf(out, "<malloc version=\"1\">\n");
	malloc_get_all_zones(0, NULL, &zones, &count);
	for (unsigned i = 0; i < count; i++) {
		malloc_zone_t *zone = (malloc_zone_t *)zones[i];
		const char *name = malloc_get_zone_name(zone);
		struct info info = zone_info(zone);

		fprintf(out, "<heap nr=\"%u\"", i);
		if (name)
			print_name(out, name);
		fprintf(out, ">\n<sizes>\n</sizes>\n");
		print_info(out, &info);
		print_system(out, &info);
		fprintf(out, "</heap>\n");
		add_info(&all, &info);
	}
	print_info(out, &all);
	fprintf(out, "<total type=\"mmap\" count=\"0\" size=\"0\"/>\n");
	print_system(out, &all);
	fprintf(out, "</malloc>\n");
	return 0;
}
