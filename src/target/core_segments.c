// SPDX-License-Identifier: MIT
// The memory of a core: its PT_LOAD headers, in any order and overlapping as
// hostile files may have them, become sorted segments; what they lack is filled
// from files of this machine or accounted for. Called by core.c.
#include "target/target_impl.h"

#include <stdlib.h>
#include <string.h>

uint8_t core_protection_of(uint32_t flags)
{
	return (uint8_t)((flags & PF_R ? TARGET_READ : 0) | (flags & PF_W ? TARGET_WRITE : 0) |
	                 (flags & PF_X ? TARGET_EXEC : 0));
}

// No 64-bit program has memory above, and steps beyond the end of a segment must not wrap around.
#define ADDRESSES_END (UINT64_MAX - (1u << 20))

struct load {
	uint64_t start, end, offset, bytes; // bytes = what the core should hold of it
	uint32_t flags;
};

struct loads {
	VEC(struct load) rows;
};

// Keeps what has a meaning: neither empty nor beyond the address space.
static bool load_of_header(const struct core *core, const Elf64_Phdr *header, struct load *ret)
{
	uint64_t most = core->elf.word_bytes == 8 ? ADDRESSES_END : UINT64_C(1) << 32;
	uint64_t bytes = header->p_memsz ? header->p_memsz : header->p_filesz;

	if (header->p_type != PT_LOAD || !bytes || header->p_vaddr >= most)
		return false;
	if (bytes > most - header->p_vaddr)
		bytes = most - header->p_vaddr;
	*ret = (struct load){
		.start = header->p_vaddr,
		.end = header->p_vaddr + bytes,
		.offset = header->p_offset,
		.bytes = header->p_filesz < bytes ? header->p_filesz : bytes,
		.flags = header->p_flags,
	};
	return true;
}

static int compare_loads(const void *left, const void *right)
{
	const struct load *a = left, *b = right;

	if (a->start != b->start)
		return a->start < b->start ? -1 : 1;
	return (a->offset > b->offset) - (a->offset < b->offset);
}

static void collect_loads(struct target *target, struct core *core, struct loads *loads)
{
	Elf64_Phdr header;

	for (uint64_t i = 0; i < core->elf.segment_count; i++) {
		struct error *error =
			target_elf_read_segment(&core->source, &core->elf, i, &header);
		struct load load;

		if (error) {
			target_warn(target, "the core is truncated: %s of %llu", error->text,
			            (unsigned long long)core->elf.segment_count);
			target->complete = false;
			break;
		}
		if (load_of_header(core, &header, &load))
			vec_push(&loads->rows, load);
	}
	if (loads->rows.n)
		qsort(loads->rows.v, loads->rows.n, sizeof(*loads->rows.v), compare_loads);
}

// Cuts off what lies below from; false when nothing is left.
static bool clip_load(struct load *load, uint64_t from)
{
	uint64_t cut;

	if (load->end <= from)
		return false;
	if (load->start >= from)
		return true;
	cut = from - load->start;
	load->start = from;
	load->bytes = load->bytes > cut ? load->bytes - cut : 0;
	return checked_add(load->offset, cut, &load->offset);
}

// The part that the file really holds.
static uint64_t held_bytes(const struct core *core, const struct load *load)
{
	if (load->offset >= core->size)
		return 0;
	return load->bytes < core->size - load->offset ? load->bytes : core->size - load->offset;
}

// Users read words through an image, so it must be as aligned as the address; what is not is copied
// when it is loaded.
static bool image_aligned(const struct target_segment *segment, const struct core_part *part)
{
	return (segment->start - part->offset) % sizeof(uint64_t) == 0;
}

static void add_segment(struct core *core, const struct load *load)
{
	struct target_segment *segment = &core->segments[core->segment_count];
	struct core_part *part = &core->parts[core->segment_count++];

	part->offset = load->offset;
	part->bytes = held_bytes(core, load);
	part->claimed_bytes = load->bytes;
	segment->start = load->start;
	segment->end = load->end;
	segment->protection = core_protection_of(load->flags);
	segment->max_protection = TARGET_READ | TARGET_WRITE | TARGET_EXEC;
	segment->readable = part->bytes > 0;
	segment->contents_end = load->start + part->bytes;
	if (part->bytes && image_aligned(segment, part))
		segment->image = core->bytes + part->offset;
}

static void warn_truncated(struct target *target, uint64_t bytes, uint64_t address)
{
	char size[TEXT_SIZE_BYTES];

	if (!bytes)
		return;
	target_warn(target, "the core is truncated: %s of memory are missing, the first at 0x%llx",
	            text_size(bytes, size), (unsigned long long)address);
}

struct error *core_read_segments(struct target *target, struct core *core)
{
	struct loads loads;
	uint64_t end = 0, lost = 0, lost_at = 0;
	size_t overlaps = 0;

	vec_init(&loads.rows, &os_page_source);
	collect_loads(target, core, &loads);
	core->segments = arena_array(target->arena, loads.rows.n, sizeof(*core->segments));
	core->parts = arena_array(target->arena, loads.rows.n, sizeof(*core->parts));
	for (size_t i = 0; i < loads.rows.n; i++) {
		struct load *load = &loads.rows.v[i];

		overlaps += load->start < end;
		if (!clip_load(load, end))
			continue;
		end = load->end;
		if (held_bytes(core, load) < load->bytes && !lost)
			lost_at = load->start + held_bytes(core, load);
		lost += load->bytes - held_bytes(core, load);
		if (held_bytes(core, load) < load->bytes && load->flags & PF_W)
			target->complete = false;
		add_segment(core, load);
	}
	vec_deinit(&loads.rows);
	warn_truncated(target, lost, lost_at);
	if (overlaps)
		target_warn(target, "damaged core: %zu segments overlap others and were cut",
		            overlaps);
	target->segments = core->segments;
	target->segment_count = core->segment_count;
	return core->segment_count ? NULL : error_new(ERROR_DAMAGED, "the core holds no memory");
}

// Device memory and rings of the kernel are not the program's own memory; the kernel never dumps them
// (VM_IO, VM_DONTDUMP in fs/coredump.c, vma_dump_size).
static bool is_device(const struct target_file *file)
{
	return file && !file->anonymous &&
	       (strncmp(file->path, "/dev/", 5) == 0 ||
	        strncmp(file->path, "anon_inode:", 11) == 0);
}

// What was left out of the core on purpose and no file gave. The end that a truncated core lacks is
// told already.
static uint64_t missing_bytes(const struct target_segment *segment, const struct core_part *part)
{
	if (part->bytes < part->claimed_bytes)
		return segment->end - segment->start - part->claimed_bytes;
	return segment->end - segment->contents_end;
}

static void explain_files(struct target *target, struct core *core)
{
	enum { MOST_WARNINGS = 5 };
	char size[TEXT_SIZE_BYTES];
	size_t warned = 0;

	for (size_t i = 0; i < core->file_count; i++) {
		struct core_file *file = &core->files[i];
		struct error *error;
		int fd = -1;

		if (!file->missing_bytes || !file->is_module || warned++ >= MOST_WARNINGS)
			continue;
		error = core_file_verify(file, &fd);
		os_close(fd);
		target_warn(target, "%s of %s are missing: %s",
		            text_size(file->missing_bytes, size),
		            text_printable(target->arena, file->file.path),
		            error ? text_printable(target->arena, error->text)
		                  : "the file is too short");
	}
	if (warned > MOST_WARNINGS)
		target_warn(target, "pages of %zu more files are missing", warned - MOST_WARNINGS);
}

static bool dumps_anonymous(const struct core *core)
{
	for (size_t i = 0; i < core->segment_count; i++)
		if (!core->segments[i].file && core->parts[i].claimed_bytes &&
		    core->segments[i].protection & TARGET_WRITE)
			return true;
	return false;
}

// Whether memory that the program may have written is not in the core. The kernel also leaves out
// anonymous memory that was never touched (no anon_vma); in a core that has other anonymous memory
// such a range is taken for that. An ELF file's pages, once written, are in the core.
static bool may_hold_own_data(const struct target_segment *segment, const struct core_part *part,
                              bool anonymous_dumped)
{
	if (!(segment->protection & TARGET_WRITE) || is_device(segment->file))
		return false;
	if (!segment->file)
		return part->claimed_bytes || !anonymous_dumped;
	return !((const struct core_file *)segment->file)->is_module;
}

void core_explain_missing(struct target *target, struct core *core)
{
	bool anonymous_dumped = dumps_anonymous(core);
	uint64_t bytes = 0, first = 0;
	char size[TEXT_SIZE_BYTES];
	size_t count = 0;

	for (size_t i = 0; i < core->segment_count; i++) {
		const struct target_segment *segment = &core->segments[i];
		uint64_t missing = missing_bytes(segment, &core->parts[i]);

		if (!missing)
			continue;
		if (segment->file)
			((struct core_file *)segment->file)->missing_bytes += missing;
		if (!may_hold_own_data(segment, &core->parts[i], anonymous_dumped))
			continue;
		if (!count++)
			first = segment->end - missing;
		bytes += missing;
	}
	explain_files(target, core);
	if (!count)
		return;
	target->complete = false;
	target_warn(
		target,
		"%s of writable memory in %zu %s not in the core (coredump_filter or MADV_DONTDUMP), the first at 0x%llx",
		text_size(bytes, size), count, count == 1 ? "range is" : "ranges are",
		(unsigned long long)first);
}
