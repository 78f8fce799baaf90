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

// glibc's knobs are about its own ways to find memory. Programs that turn them are told yes, because
// what they want (fewer system calls, less memory kept) is what happens here anyway.
MALLOC_EXPORT int mallopt(int parameter, int value)
{
	(void)value;
	switch (parameter) {
	case M_MXFAST:
	case M_TRIM_THRESHOLD:
	case M_TOP_PAD:
	case M_MMAP_THRESHOLD:
	case M_MMAP_MAX:
	case M_CHECK_ACTION:
	case M_PERTURB:
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

static void zone_info(FILE *out, const malloc_zone_t *zone, unsigned number)
{
	malloc_statistics_t of_zone = { 0 };
	const char *name = malloc_get_zone_name((malloc_zone_t *)zone);

	malloc_zone_statistics((malloc_zone_t *)zone, &of_zone);
	fprintf(out, "<heap nr=\"%u\"", number);
	if (name) {
		fprintf(out, " name=\"");
		for (; *name; name++)
			if (*name == '"' || *name == '<' || *name == '&' ||
			    (unsigned char)*name < ' ')
				fprintf(out, "&#%d;", (unsigned char)*name);
			else
				fputc(*name, out);
		fprintf(out, "\"");
	}
	fprintf(out,
	        ">\n<total type=\"rest\" count=\"%u\" size=\"%zu\"/>\n"
	        "<system type=\"current\" size=\"%zu\"/>\n<system type=\"max\" size=\"%zu\"/>\n"
	        "</heap>\n",
	        of_zone.blocks_in_use, of_zone.size_in_use, of_zone.size_allocated,
	        of_zone.size_allocated);
}

// The same elements as glibc's, one heap per zone.
MALLOC_EXPORT int malloc_info(int options, FILE *out)
{
	malloc_statistics_t all;
	vm_address_t *zones = NULL;
	unsigned count = 0;

	if (options)
		return EINVAL;
	fprintf(out, "<malloc version=\"1\">\n");
	malloc_get_all_zones(0, NULL, &zones, &count);
	for (unsigned i = 0; i < count; i++)
		zone_info(out, (const malloc_zone_t *)zones[i], i);
	all = all_zones();
	fprintf(out,
	        "<total type=\"rest\" count=\"%u\" size=\"%zu\"/>\n"
	        "<system type=\"current\" size=\"%zu\"/>\n<system type=\"max\" size=\"%zu\"/>\n"
	        "</malloc>\n",
	        all.blocks_in_use, all.size_in_use, all.size_allocated, all.size_allocated);
	return 0;
}
