// SPDX-License-Identifier: MIT
// Snapshot files: the input is packed into a well-formed file, section by section, so
// that mutations reach what the sections say instead of breaking checksums. Input:
// {u8 id, u16 bytes} and that many bytes, again and again; what is left of the input
// is not used. Everything that tools ask of a snapshot is asked of it.
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zstd.h>

#include "base/base.h"
#include "layout/snapshot.h"
#include "report/report.h"
#include "report/stacks.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

struct file {
	int fd;
	uint64_t written;
	struct snapshot_section table[SNAPSHOT_MOST_SECTIONS];
	uint32_t sections;
};

static void file_add(struct file *file, const void *bytes, size_t n)
{
	if (write(file->fd, bytes, n) != (ssize_t)n)
		abort();
	file->written += n;
}

static void section_add(struct file *file, uint32_t id, const uint8_t *bytes, size_t n)
{
	char packed[70000];
	size_t stored = ZSTD_compress(packed, sizeof(packed), bytes, n, 1);

	if (ZSTD_isError(stored) || file->sections == SNAPSHOT_MOST_SECTIONS)
		return;
	file->table[file->sections++] =
		(struct snapshot_section){ id, 0, file->written, stored, n };
	file_add(file, packed, stored);
}

static void file_make(struct file *file, const uint8_t *bytes, size_t count)
{
	struct snapshot_header header = { .version = SNAPSHOT_VERSION };

	file_add(file, &header, sizeof(header));
	while (count >= 3) {
		size_t n = bytes[1] | (size_t)bytes[2] << 8;

		if (n > count - 3)
			n = count - 3;
		section_add(file, bytes[0], bytes + 3, n);
		bytes += 3 + n;
		count -= 3 + n;
	}
	memcpy(header.magic, SNAPSHOT_MAGIC, sizeof(header.magic));
	header.section_count = file->sections;
	header.sections_offset = file->written;
	file_add(file, file->table, file->sections * sizeof(file->table[0]));
	if (pwrite(file->fd, &header, sizeof(header), 0) != sizeof(header))
		abort();
}

static bool each_reference(void *context, const struct graph_reference *reference)
{
	*(uint64_t *)context += reference->to_offset;
	return true;
}

// The questions of leaks, heap and vmmap.
static void ask(struct look *look)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < look->heaps->block_count; i++) {
		const struct type *type = types_of(look->types, i);
		const struct graph_reference *steps;
		size_t step_count;

		sum += type ? strlen(type->name) : 0;
		graph_references_from(look->graph, i, each_reference, &sum);
		graph_references_to(look->graph, &i, 1, each_reference, &sum);
		if (look->heaps->blocks[i].hb_state == HEAP_USED && graph_reached(look->graph, i))
			graph_path(look->graph, look->arena, i, &steps, &step_count);
		report_block_text(look, i);
		if (i == 64)
			break;
	}
	for (size_t i = 0; i < look->regions->region_count && i < 64; i++) {
		uint64_t start = look->regions->regions[i].start;

		regions_describe(look->regions, look->symbols, look->arena, start);
		sum += stacks_mapping_node(look, start);
	}
	for (uint32_t i = 0; i < look->heaps->block_count && i < 64; i++)
		stacks_block_name(look, i);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
	struct target_options options = { .want = TARGET_WANT_MEMORY };
	struct file file = { .fd = memfd_create("snapshot", MFD_CLOEXEC) };
	char path[64];
	struct look look;

	if (file.fd < 0)
		abort();
	file_make(&file, bytes, count);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", file.fd);
	if (!look_open(path, &options, LOOK_GRAPH, &look)) {
		ask(&look);
		look_close(&look);
	}
	close(file.fd);
	return 0;
}
