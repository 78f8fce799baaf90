// SPDX-License-Identifier: MIT
// The counters of the machine: /proc/vmstat, /proc/meminfo, the swap devices of zram, and the stalls of
// /proc/pressure (machine/machine.h).
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "machine/machine_impl.h"

#define TEXT_LIMIT   ((size_t)4 << 20)
#define SECTOR_BYTES 512

const struct machine_counter_row machine_counter_rows[MACHINE_COUNTER_COUNT] = {
#define KIND_GAUGE false
#define KIND_TOTAL true
#define ROW(identifier, file, key, unit, kind, name)                                    \
	[MACHINE_##identifier] = { key, name, MACHINE_FILE_##file, MACHINE_UNIT_##unit, \
		                   KIND_##kind },
	MACHINE_COUNTERS(ROW)
#undef ROW
};

char *machine_text(const char *root, struct arena *arena, size_t *ret_bytes, const char *path, ...)
{
	va_list arguments;
	char whole[4096];
	int prefix = snprintf(whole, sizeof(whole), "%s", root ? root : ""), length;
	char *text;

	if (prefix < 0 || (size_t)prefix >= sizeof(whole))
		return NULL;
	va_start(arguments, path);
	length = vsnprintf(whole + prefix, sizeof(whole) - (size_t)prefix, path, arguments);
	va_end(arguments);
	if (length < 0 || (size_t)length >= sizeof(whole) - (size_t)prefix ||
	    os_read_text(arena, whole, TEXT_LIMIT, &text, ret_bytes))
		return NULL;
	return text;
}

void machine_counter_put(struct machine_counters *counters, enum machine_counter which,
                         uint64_t value)
{
	counters->value[which] = value;
	counters->is_known[which] = true;
}

// pgpgin and pgpgout are counted in sectors and shown in kB (mm/vmstat.c, vmstat_start).
static uint64_t in_its_unit(enum machine_counter which, uint64_t value)
{
	if (which != MACHINE_PAGED_IN && which != MACHINE_PAGED_OUT)
		return value;
	return value > UINT64_MAX / 1024 ? UINT64_MAX : value * 1024;
}

bool machine_counter_set(struct machine_counters *counters, enum machine_file file, const char *key,
                         size_t length, uint64_t value)
{
	for (size_t i = 0; i < MACHINE_COUNTER_COUNT; i++) {
		const struct machine_counter_row *row = &machine_counter_rows[i];

		if (row->file != file || strncmp(row->key, key, length) != 0 || row->key[length])
			continue;
		machine_counter_put(counters, (enum machine_counter)i,
		                    in_its_unit((enum machine_counter)i, value));
		return true;
	}
	return false;
}

static void take_vmstat(void *context, const char *name, size_t length, uint64_t value)
{
	machine_counter_set(context, MACHINE_FILE_VMSTAT, name, length, value);
}

static void take_meminfo(void *context, const char *name, size_t length, uint64_t value)
{
	machine_counter_set(context, MACHINE_FILE_MEMINFO, name, length, value);
}

// --- zram ----------------------------------------------------------------------------------------
struct zram_look {
	const char *root;
	struct arena *arena;
	struct machine_counters *counters;
};

static void add(struct machine_counters *counters, enum machine_counter which, uint64_t value)
{
	if (__builtin_add_overflow(counters->value[which], value, &value))
		value = UINT64_MAX;
	machine_counter_put(counters, which, value);
}

static uint64_t sectors(uint64_t count)
{
	return count > UINT64_MAX / SECTOR_BYTES ? UINT64_MAX : count * SECTOR_BYTES;
}

// mm_stat: orig_data_size compr_data_size mem_used_total ...; stat: the third number is sectors read, the
// seventh sectors written (Documentation/admin-guide/blockdev/zram.rst, Documentation/block/stat.rst).
static void take_swap(void *context, const char *path)
{
	const struct zram_look *look = context;
	const char *name = text_base_name(path);
	uint64_t memory[3], transfers[7];
	size_t bytes;
	char *text;

	if (!text_starts_with(path, "/dev/zram"))
		return;
	text = machine_text(look->root, look->arena, &bytes, "/sys/block/%s/mm_stat", name);
	if (text && os_numbers_parse(text, bytes, memory, 3) == 3) {
		add(look->counters, MACHINE_ZRAM_STORED, memory[0]);
		add(look->counters, MACHINE_ZRAM_OCCUPIED, memory[2]);
	}
	text = machine_text(look->root, look->arena, &bytes, "/sys/block/%s/stat", name);
	if (text && os_numbers_parse(text, bytes, transfers, 7) == 7) {
		add(look->counters, MACHINE_ZRAM_READ, sectors(transfers[2]));
		add(look->counters, MACHINE_ZRAM_WRITTEN, sectors(transfers[6]));
	}
}

static void read_zram(const char *root, struct arena *arena, struct machine_counters *counters)
{
	struct zram_look look = { root, arena, counters };
	size_t bytes;
	char *text = machine_text(root, arena, &bytes, "/proc/swaps");

	if (!text)
		return;
	for (int i = MACHINE_ZRAM_STORED; i <= MACHINE_ZRAM_WRITTEN; i++)
		machine_counter_put(counters, (enum machine_counter)i, 0);
	os_swaps_parse(text, bytes, take_swap, &look);
}

// --- a sample ------------------------------------------------------------------------------------

static void read_pressure(const char *root, struct arena *arena, const char *what,
                          struct os_pressure *ret)
{
	size_t bytes;
	char *text = machine_text(root, arena, &bytes, "/proc/pressure/%s", what);

	*ret = (struct os_pressure){ 0 };
	if (text)
		os_pressure_parse(text, bytes, ret);
}

static struct error *read_all(const char *root, struct arena *arena, struct machine_sample *ret)
{
	size_t bytes;
	char *text;

	*ret = (struct machine_sample){ .when_ns = os_monotonic_ns(),
		                        .page_bytes = os_page_bytes() };
	TRY(os_read_text(arena, arena_format(arena, "%s/proc/vmstat", root ? root : ""), TEXT_LIMIT,
	                 &text, &bytes));
	os_counters_parse(text, bytes, take_vmstat, &ret->counters);
	if (!ret->counters.is_known[MACHINE_FREE])
		return error_new(ERROR_DAMAGED, "%s/proc/vmstat does not say how much is free",
		                 root ? root : "");
	text = machine_text(root, arena, &bytes, "/proc/meminfo");
	if (text)
		os_counters_parse(text, bytes, take_meminfo, &ret->counters);
	read_zram(root, arena, &ret->counters);
	read_pressure(root, arena, "memory", &ret->memory);
	read_pressure(root, arena, "io", &ret->io);
	read_pressure(root, arena, "cpu", &ret->cpu);
	return NULL;
}

struct error *machine_read(const char *root, struct machine_sample *ret)
{
	struct arena arena;
	struct error *error;

	arena_init(&arena, &os_page_source);
	error = read_all(root, &arena, ret);
	arena_deinit(&arena);
	return error;
}

// --- two samples ---------------------------------------------------------------------------------

static uint64_t grown(uint64_t before, uint64_t after)
{
	return after > before ? after - before : 0;
}

void machine_counters_subtract(const struct machine_counters *before,
                               const struct machine_counters *after, struct machine_counters *ret)
{
	for (size_t i = 0; i < MACHINE_COUNTER_COUNT; i++) {
		bool is_total = machine_counter_rows[i].is_total;
		bool known = after->is_known[i] && (!is_total || before->is_known[i]);

		ret->value[i] =
			is_total ? grown(before->value[i], after->value[i]) : after->value[i];
		ret->is_known[i] = known;
	}
}

static void subtract_stall(const struct os_stall *before, const struct os_stall *after,
                           struct os_stall *ret)
{
	struct os_stall stall = *after;

	stall.total_us = grown(before->total_us, after->total_us);
	stall.is_known = before->is_known && after->is_known;
	*ret = stall;
}

void machine_pressure_subtract(const struct os_pressure *before, const struct os_pressure *after,
                               struct os_pressure *ret)
{
	subtract_stall(&before->some, &after->some, &ret->some);
	subtract_stall(&before->full, &after->full, &ret->full);
}

void machine_subtract(const struct machine_sample *before, const struct machine_sample *after,
                      struct machine_sample *ret)
{
	machine_counters_subtract(&before->counters, &after->counters, &ret->counters);
	machine_pressure_subtract(&before->memory, &after->memory, &ret->memory);
	machine_pressure_subtract(&before->io, &after->io, &ret->io);
	machine_pressure_subtract(&before->cpu, &after->cpu, &ret->cpu);
	ret->when_ns = after->when_ns;
	ret->page_bytes = after->page_bytes;
}

uint64_t machine_sum(const struct machine_counters *counters, uint64_t page_bytes,
                     const enum machine_counter *which, size_t count, bool *ret_known)
{
	uint64_t sum = 0;

	*ret_known = false;
	for (size_t i = 0; i < count; i++) {
		uint64_t value = counters->value[which[i]];

		if (!counters->is_known[which[i]])
			continue;
		*ret_known = true;
		if (machine_counter_rows[which[i]].unit == MACHINE_UNIT_PAGES &&
		    __builtin_mul_overflow(value, page_bytes, &value))
			value = UINT64_MAX;
		if (__builtin_add_overflow(sum, value, &sum))
			sum = UINT64_MAX;
	}
	return sum;
}
