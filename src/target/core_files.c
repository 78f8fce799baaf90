// SPDX-License-Identifier: MIT
// The files that a core's process had mapped. The kernel leaves unchanged pages
// of files out of a core; they are taken from the file of this machine, but only
// when it has the build-id that the core's own copy of the ELF header leads to
// (the kernel dumps that page for this purpose: coredump_filter bit 4). Called
// by core.c and core_segments.c.
#include "target/target_impl.h"

#include <stdlib.h>
#include <string.h>

#include "base/search.h"

static int compare_paths(const void *left, const void *right)
{
	return strcmp(((const struct core_mapping *)left)->path,
	              ((const struct core_mapping *)right)->path);
}

static int compare_starts(const void *left, const void *right)
{
	const struct core_mapping *a = left, *b = right;

	return (a->start > b->start) - (a->start < b->start);
}

static bool is_anonymous(const char *path)
{
	static const char *const own[] = { "/memfd:", "/dev/zero", "/SYSV", "/dev/shm/" };

	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		if (strncmp(path, own[i], strlen(own[i])) == 0)
			return true;
	return false;
}

static void init_file(struct target *target, struct core_file *file, const char *path)
{
	static const char suffix[] = " (deleted)";
	size_t length = strlen(path), cut = sizeof(suffix) - 1;

	file->fd = -1;
	file->file.deleted = length > cut && strcmp(path + length - cut, suffix) == 0;
	file->file.anonymous = is_anonymous(path);
	file->file.path =
		arena_copy_n(target->arena, path, file->file.deleted ? length - cut : length);
}

static void make_files(struct target *target, struct core *core)
{
	if (!core->mapping_count)
		return;
	qsort(core->mappings, core->mapping_count, sizeof(*core->mappings), compare_paths);
	core->files = arena_array(target->arena, core->mapping_count, sizeof(*core->files));
	for (size_t i = 0; i < core->mapping_count; i++) {
		struct core_mapping *mapping = &core->mappings[i];
		struct core_file *file;

		if (!i || strcmp(mapping->path, mapping[-1].path) != 0)
			init_file(target, &core->files[core->file_count++], mapping->path);
		file = mapping->file = &core->files[core->file_count - 1];
		if (mapping->offset == 0 && (!file->has_base || mapping->start < file->base)) {
			file->has_base = true;
			file->base = mapping->start;
		}
	}
	qsort(core->mappings, core->mapping_count, sizeof(*core->mappings), compare_starts);
}

// The last mapping that starts at or below address, when it reaches it.
static const struct core_mapping *mapping_at(const struct core *core, uint64_t address)
{
	size_t at = first_index(core->mapping_count, i, core->mappings[i].start > address);

	return at && core->mappings[at - 1].end > address ? &core->mappings[at - 1] : NULL;
}

const struct core_file *core_file_at(const struct core *core, uint64_t address)
{
	const struct core_mapping *mapping = mapping_at(core, address);

	return mapping ? mapping->file : NULL;
}

size_t core_read_dumped(const struct target_segment *segment, const struct core *core,
                        uint64_t address, void *buffer, size_t n)
{
	const struct core_part *part = &core->parts[segment - core->segments];
	uint64_t skip = address - segment->start;

	if (skip >= part->bytes)
		return 0;
	if (n > part->bytes - skip)
		n = part->bytes - skip;
	memcpy(buffer, core->bytes + part->offset + skip, n);
	return n;
}

struct dumped_file {
	const struct target *target;
	const struct core *core;
	uint64_t base;
};

static size_t read_dumped_file(void *context, uint64_t offset, void *buffer, size_t n)
{
	const struct dumped_file *file = context;
	const struct target_segment *segment;
	uint64_t address;

	if (!checked_add(file->base, offset, &address))
		return 0;
	segment = target_segment_at(file->target, address);
	return segment ? core_read_dumped(segment, file->core, address, buffer, n) : 0;
}

static size_t read_local_file(void *context, uint64_t offset, void *buffer, size_t n)
{
	return os_pread(*(const int *)context, buffer, n, offset);
}

static size_t read_build_id(const struct target_elf_source *source,
                            uint8_t ret[TARGET_BUILD_ID_BYTES], bool *ret_is_elf)
{
	struct target_elf elf;

	*ret_is_elf = !target_elf_read_header(source, &elf);
	return *ret_is_elf ? target_elf_read_build_id(source, &elf, ret) : 0;
}

static void identify_file(const struct target *target, const struct core *core,
                          struct core_file *file)
{
	struct dumped_file dumped = { target, core, file->base };
	struct target_elf_source source = { read_dumped_file, &dumped };

	if (file->has_base && !file->file.anonymous)
		file->file.build_id_bytes =
			(uint8_t)read_build_id(&source, file->file.build_id, &file->is_module);
}

struct error *core_file_verify(const struct core_file *file, int *ret)
{
	uint8_t build_id[TARGET_BUILD_ID_BYTES];
	struct target_elf_source source = { read_local_file, ret };
	bool is_elf;
	size_t bytes;

	*ret = -1;
	if (!file->file.build_id_bytes)
		return error_new(ERROR_NOT_FOUND, "the core does not tell its build-id");
	if (os_open_regular(file->file.path, ret))
		return error_new(ERROR_NOT_FOUND, "the file is not on this machine");
	bytes = read_build_id(&source, build_id, &is_elf);
	if (bytes == file->file.build_id_bytes && memcmp(build_id, file->file.build_id, bytes) == 0)
		return NULL;
	os_close(*ret);
	*ret = -1;
	return error_new(ERROR_NOT_FOUND,
	                 "the file on this machine is another build (its build-id differs)");
}

// Where the contents of a segment would end that come from a file of that size: the kernel fills the
// last page with zeros and has nothing beyond it.
static uint64_t file_contents_end(const struct target_segment *segment, uint64_t file_bytes)
{
	uint64_t rest, page = os_page_bytes();

	if (segment->file_offset >= file_bytes)
		return segment->start;
	rest = round_up(file_bytes - segment->file_offset, page);
	return rest < segment->end - segment->start ? segment->start + rest : segment->end;
}

static void fill_segment(struct target_segment *segment, const struct core_part *part,
                         uint64_t file_bytes)
{
	uint64_t end = file_contents_end(segment, file_bytes);

	if (part->bytes < part->claimed_bytes || end <= segment->contents_end)
		return;
	segment->readable = true;
	segment->contents_end = end;
	segment->image = NULL;
}

// Nobody but the ELF file says what an unlisted mapping allows.
static uint8_t file_protection(const struct target_elf_source *source, const struct target_elf *elf,
                               uint64_t file_offset)
{
	Elf64_Phdr header;

	for (uint64_t i = 0; i < elf->header.e_phnum; i++) {
		if (target_elf_read_segment(source, elf, i, &header))
			break;
		if (header.p_type == PT_LOAD && file_offset >= round_down(header.p_offset, 4096) &&
		    file_offset < header.p_offset + header.p_filesz)
			return core_protection_of(header.p_flags);
	}
	return TARGET_READ;
}

static void fill_from_file(struct core *core, const struct core_file *file)
{
	OS_DESCRIPTOR int fd = -1;
	struct target_elf_source source = { read_local_file, &fd };
	struct os_status status;
	struct target_elf elf;

	if (core_file_verify(file, &fd) || os_file_status(fd, &status) ||
	    target_elf_read_header(&source, &elf))
		return;
	for (size_t i = 0; i < core->segment_count; i++) {
		struct target_segment *segment = &core->segments[i];

		if (segment->file != &file->file)
			continue;
		fill_segment(segment, &core->parts[i], status.bytes);
		if (core->parts[i].unlisted)
			segment->protection = file_protection(&source, &elf, segment->file_offset);
	}
}

static bool lacks_pages(const struct core *core, size_t index)
{
	const struct target_segment *segment = &core->segments[index];

	return segment->file && !segment->file->anonymous && segment->contents_end < segment->end;
}

struct gaps {
	VEC(struct target_segment) segments;
};

static void add_gap(struct gaps *gaps, uint64_t start, uint64_t end)
{
	struct target_segment *gap;

	if (start >= end)
		return;
	gap = vec_add(&gaps->segments);
	gap->start = gap->contents_end = start;
	gap->end = end;
	gap->protection = TARGET_READ;
	gap->max_protection = TARGET_READ | TARGET_WRITE | TARGET_EXEC;
}

// What mappings cover and no segment does, ascending.
static void find_gaps(const struct target *target, const struct core *core, struct gaps *gaps)
{
	uint64_t from = 0;

	for (size_t i = 0; i < core->mapping_count; i++) {
		const struct core_mapping *mapping = &core->mappings[i];
		size_t at;

		if (mapping->start > from)
			from = mapping->start;
		at = target_segment_index(target, from);
		for (; at < core->segment_count && core->segments[at].start < mapping->end; at++) {
			add_gap(gaps, from, core->segments[at].start);
			from = core->segments[at].end;
		}
		add_gap(gaps, from, mapping->end);
		if (mapping->end > from)
			from = mapping->end;
	}
}

// gdb's gcore writes no program header for a mapping whose pages it leaves out; only the list of files
// tells that it is there.
static void add_unlisted_segments(struct target *target, struct core *core)
{
	struct target_segment *all;
	struct core_part *parts;
	struct gaps gaps;
	size_t taken = 0;

	vec_init(&gaps.segments, &os_page_source);
	find_gaps(target, core, &gaps);
	all = arena_array(target->arena, core->segment_count + gaps.segments.n, sizeof(*all));
	parts = arena_array(target->arena, core->segment_count + gaps.segments.n, sizeof(*parts));
	for (size_t i = 0, gap = 0; i < core->segment_count || gap < gaps.segments.n; taken++) {
		if (gap < gaps.segments.n &&
		    (i == core->segment_count ||
		     gaps.segments.v[gap].start < core->segments[i].start)) {
			parts[taken].unlisted = true;
			all[taken] = gaps.segments.v[gap++];
		} else {
			parts[taken] = core->parts[i];
			all[taken] = core->segments[i++];
		}
	}
	vec_deinit(&gaps.segments);
	core->segments = all;
	core->parts = parts;
	core->segment_count = taken;
	target->segments = all;
	target->segment_count = taken;
}

void core_attach_files(struct target *target, struct core *core)
{
	make_files(target, core);
	add_unlisted_segments(target, core);
	for (size_t i = 0; i < core->file_count; i++)
		identify_file(target, core, &core->files[i]);
	for (size_t i = 0; i < core->segment_count; i++) {
		struct target_segment *segment = &core->segments[i];
		const struct core_mapping *mapping = mapping_at(core, segment->start);

		if (!mapping)
			continue;
		segment->file = &mapping->file->file;
		segment->file_offset = mapping->offset + (segment->start - mapping->start);
		segment->shared = segment->file->anonymous;
		if (segment->protection & TARGET_EXEC)
			mapping->file->is_module = true;
		if (lacks_pages(core, i))
			mapping->file->lacks_pages = true;
	}
	for (size_t i = 0; i < core->file_count; i++)
		if (core->files[i].lacks_pages)
			fill_from_file(core, &core->files[i]);
}
