// SPDX-License-Identifier: MIT
// The files that a live process has mapped: which they are, their build-ids, and
// how to open them as the process sees them. Called by live_segments.c and, as target_ops.file_open,
// by read.c.
#include "target/target_impl.h"

#include <stdio.h>
#include <string.h>

#define PATH_BYTES 4200 // PATH_MAX and what /proc puts before it

// --- which ---------------------------------------------------------------------------------------
bool live_contents_are_own(const char *path)
{
	return text_starts_with(path, "/memfd:") || text_starts_with(path, "/dev/zero") ||
	       text_starts_with(path, "/SYSV") || text_starts_with(path, "/dev/shm/") ||
	       text_starts_with(path, "anon_inode:");
}

// All nameless kernel files have one inode, so the name counts too.
static bool same_file(const struct target_file *file, const struct os_mapping *mapping)
{
	return file->inode == mapping->inode && file->device == mapping->device &&
	       !strcmp(file->path, mapping->name);
}

struct mapped {
	int tid;
	const struct os_mapping *mapping;
};

static size_t read_mapped(void *context, uint64_t offset, void *buffer, size_t n)
{
	const struct mapped *mapped = context;
	uint64_t bytes = mapped->mapping->end - mapped->mapping->start;

	if (offset >= bytes)
		return 0;
	return os_remote_read(mapped->tid, -1, mapped->mapping->start + offset, buffer,
	                      n < bytes - offset ? n : bytes - offset);
}

// Kernels before 6.11 do not tell; linkers put the note into the part that is mapped first.
static void read_build_id_mapped(const struct live_file_reading *reading,
                                 const struct os_mapping *mapping, struct target_file *ret)
{
	struct mapped mapped = { reading->tid, mapping };
	struct target_elf_source source = { read_mapped, &mapped };
	struct target_elf elf;

	if (!mapping->offset && mapping->protection & OS_READ &&
	    !target_elf_read_header(&source, &elf))
		ret->build_id_bytes =
			(uint8_t)target_elf_read_build_id(&source, &elf, ret->build_id);
}

static void read_build_id(struct live_file_reading *reading, const struct os_mapping *mapping,
                          struct target_file *ret)
{
	char path[64];

	if (reading->maps < 0) {
		snprintf(path, sizeof(path), "/proc/%d/maps", reading->tid);
		(void)os_open(path, &reading->maps);
	}
	if (reading->maps < 0 || !os_mapping_build_id(reading->maps, mapping->start, ret->build_id,
	                                              &ret->build_id_bytes))
		read_build_id_mapped(reading, mapping, ret);
}

const struct target_file *live_file_of(struct live_file_reading *reading,
                                       const struct os_mapping *mapping)
{
	struct live *live = reading->live;
	struct target_file *file;

	if (reading->last && same_file(reading->last, mapping))
		return reading->last;
	for (size_t i = 0; i < live->files.n; i++)
		if (same_file(live->files.v[i], mapping))
			return reading->last = live->files.v[i];
	file = arena_alloc(live->target->arena, sizeof(*file));
	*file = (struct target_file){
		.path = arena_copy(live->target->arena, mapping->name),
		.deleted = mapping->deleted,
		.anonymous = live_contents_are_own(mapping->name),
		.device = mapping->device,
		.inode = mapping->inode,
	};
	if (!file->anonymous && !text_starts_with(file->path, "/dev/"))
		read_build_id(reading, mapping, file);
	vec_push(&live->files, file);
	return reading->last = file;
}

// --- opening a mapped file -----------------------------------------------------------------------
static const struct target_segment *segment_of(const struct target *target,
                                               const struct target_file *file)
{
	for (size_t i = 0; i < target->segment_count; i++) {
		if (target->segments[i].file == file)
			return &target->segments[i];
	}
	return NULL;
}

// Whether the path still leads to the file that is mapped. The device is not compared: of file
// systems with subvolumes or layers maps and stat tell different ones.
static bool open_same(const char *path, const struct target_file *file, int *ret)
{
	struct os_status status;

	if (os_open_regular(path, ret))
		return false;
	if (!os_file_status(*ret, &status) && status.inode == file->inode)
		return true;
	os_close(*ret);
	*ret = -1;
	return false;
}

struct error *live_file_open(struct target *target, const struct target_file *file, int *ret)
{
	const struct target_segment *segment = segment_of(target, file);
	struct live *live = target->own;
	char path[PATH_BYTES];

	*ret = -1;
	if (segment) {
		snprintf(path, sizeof(path), "/proc/%d/map_files/%llx-%llx", live->memory_tid,
		         (unsigned long long)segment->start, (unsigned long long)segment->end);
		if (open_same(path, file, ret))
			return NULL;
	}
	snprintf(path, sizeof(path), "/proc/%d/root%s", live->memory_tid, file->path);
	if (file->path[0] == '/' && open_same(path, file, ret))
		return NULL;
	if (file->path[0] == '/' && open_same(file->path, file, ret))
		return NULL;
	return error_new(ERROR_NOT_FOUND, "the mapped file %s cannot be opened%s", file->path,
	                 file->deleted ? " (it was deleted)" : "");
}
