// SPDX-License-Identifier: MIT
// Feeds any bytes to the reader of call frame information: the input is an .eh_frame_hdr with the
// .eh_frame behind it, and in its last four bytes the distance from its start to the code address that
// is looked up. Each caller's registers are computed too, from memory that the input makes up.
#include <stdlib.h>
#include <string.h>

#include "record/cfi.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

static volatile uint64_t sink;

struct memory {
	const uint8_t *bytes;
	size_t count;
};

static bool read_word(void *context, uint64_t address, uint64_t *ret)
{
	const struct memory *memory = context;
	uint64_t offset = address - (uintptr_t)memory->bytes;

	if (memory->count < sizeof(*ret))
		return false;
	memcpy(ret, memory->bytes + offset % (memory->count - sizeof(*ret) + 1), sizeof(*ret));
	return address % 16 != 3;
}

static void look_up(const uint8_t *table, size_t count, int32_t distance)
{
	static struct record_cfi cfi;
	struct record_cfi_section section = { .start = table,
		                              .end = table + count,
		                              .header = table };
	struct memory memory = { table, count };
	struct record_registers registers = { .known = UINT64_MAX };

	for (unsigned i = 0; i < INSIDE_REGISTERS; i++)
		registers.values[i] = (uintptr_t)table + i * 8;
	if (!record_cfi_find(&cfi, &section, (uintptr_t)table + (uint64_t)(int64_t)distance))
		return;
	if (record_cfi_step(&cfi, &registers, read_word, &memory))
		sink += registers.values[inside_frame.sp];
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
	uint8_t *table;
	int32_t distance;

	if (count < sizeof(distance))
		return 0;
	count -= sizeof(distance);
	memcpy(&distance, bytes + count, sizeof(distance));
	table = malloc(count ? count : 1); // of its own, so that a sanitizer knows its ends
	if (!table)
		return 0;
	memcpy(table, bytes, count);
	look_up(table, count, distance);
	free(table);
	return 0;
}
