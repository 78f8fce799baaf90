// SPDX-License-Identifier: MIT
// ELF cores of the kernel, of gdb's gcore and of systemd-coredump as targets.
// The file is mapped, and images of segments point into it, so nothing is
// copied. Relies on nobody truncating the file meanwhile. Called by open.c.
#include "target/target_impl.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#define VSYSCALL_ADDRESS UINT64_C(0xffffffffff600000)

static struct core *core_of(struct target *target)
{
	return target->own;
}

static size_t read_mapped(void *context, uint64_t offset, void *buffer, size_t n)
{
	const struct core *core = context;

	if (offset >= core->size)
		return 0;
	if (n > core->size - offset)
		n = core->size - offset;
	memcpy(buffer, core->bytes + offset, n);
	return n;
}

// --- operations ----------------------------------------------------------------------------------
static int local_file(struct core_file *file)
{
	if (file->fd < 0 && core_file_verify(file, &file->fd))
		file->fd = -1;
	return file->fd;
}

// The pages that come from a file: the rest of its last page reads as zero.
static size_t read_file_part(const struct target_segment *segment, uint64_t address, void *buffer,
                             size_t n)
{
	struct core_file *file = (struct core_file *)segment->file;
	uint64_t offset = segment->file_offset + (address - segment->start);
	int fd = local_file(file);
	size_t got;

	if (fd < 0)
		return 0;
	got = os_pread(fd, buffer, n, offset);
	memset((uint8_t *)buffer + got, 0, n - got);
	return n;
}

static size_t core_read(struct target *target, const struct target_segment *segment,
                        uint64_t address, void *buffer, size_t n)
{
	struct core *core = core_of(target);
	size_t got;

	if (!segment->readable || address >= segment->contents_end)
		return 0;
	if (n > segment->contents_end - address)
		n = segment->contents_end - address;
	got = core_read_dumped(segment, core, address, buffer, n);
	if (got == n || !segment->file)
		return got;
	return got + read_file_part(segment, address + got, (uint8_t *)buffer + got, n - got);
}

static struct error *core_load(struct target *target, struct target_segment *segment)
{
	struct core *core = core_of(target);
	size_t bytes = segment->contents_end - segment->start;
	struct core_copy *copy;
	void *memory;

	if (segment->image || !segment->readable)
		return NULL;
	memory = os_reserve(bytes);
	if (!memory)
		return &error_out_of_memory;
	copy = vec_add(&core->copies);
	copy->memory = memory;
	copy->bytes = bytes;
	segment->contents_end =
		segment->start + core_read(target, segment, segment->start, memory, bytes);
	segment->image = memory;
	return NULL;
}

// Kernel and gcore leave holes in the file for pages that were never touched.
static struct error *core_present(struct target *target, uint64_t start, uint64_t end,
                                  void (*each)(void *, uint64_t, uint64_t), void *context)
{
	struct core *core = core_of(target);
	const struct target_segment *segment = target_segment_at(target, start);
	const struct core_part *part = segment ? &core->parts[segment - core->segments] : NULL;
	uint64_t at, last, from, to;

	if (!part || part->bytes < segment->end - segment->start) {
		each(context, start, end);
		return NULL;
	}
	at = part->offset + (start - segment->start);
	last = part->offset + (end - segment->start);
	for (; at < last && os_file_data(core->fd, at, &from, &to) && from < last; at = to) {
		to = to < last ? to : last;
		each(context, segment->start + (from - part->offset),
		     segment->start + (to - part->offset));
		if (to <= at)
			break;
	}
	return NULL;
}

static struct error *core_file_open(struct target *target, const struct target_file *file, int *ret)
{
	struct error *error = core_file_verify((const struct core_file *)file, ret);

	(void)target;
	return error ? error_prefix(error, "%s", file->path) : NULL;
}

static void core_close(struct target *target)
{
	struct core *core = core_of(target);

	for (size_t i = 0; i < core->file_count; i++)
		os_close(core->files[i].fd);
	for (size_t i = 0; i < core->copies.n; i++)
		os_release(core->copies.v[i].memory, core->copies.v[i].bytes);
	vec_deinit(&core->copies);
	vec_deinit(&core->threads);
	if (core->bytes)
		os_release((void *)core->bytes, core->size);
	os_close(core->fd);
}

static const struct target_ops core_ops = {
	.read = core_read,
	.load = core_load,
	.present = core_present,
	.file_open = core_file_open,
	.close = core_close,
};

// --- opening -------------------------------------------------------------------------------------
bool core_is(int fd)
{
	Elf64_Ehdr header; // e_type stands at the same place in both classes
	size_t got = core_is_compressed(fd) ? core_decompress_start(fd, &header, sizeof(header))
	                                    : os_pread(fd, &header, sizeof(header), 0);
	uint16_t type;

	if (got < EI_NIDENT + sizeof(type) || memcmp(&header, ELFMAG, SELFMAG) != 0)
		return false;
	type = header.e_type;
	if (header.e_ident[EI_DATA] == ELFDATA2MSB)
		type = (uint16_t)(type >> 8 | type << 8);
	return type == ET_CORE;
}

static struct error *map_core(struct target *target, struct core *core)
{
	struct error *damage = NULL;
	struct os_status status;

	TRY(os_file_status(core->fd, &status));
	target->looked_ns = status.modified_ns;
	if (core_is_compressed(core->fd)) {
		TRY(core_decompress(&core->fd, &damage));
		TRY(os_file_status(core->fd, &status));
	}
	if (damage) {
		target_warn(target, "%s", damage->text);
		target->complete = false;
	}
	if (!status.bytes)
		return error_new(ERROR_DAMAGED, "the file is empty");
	TRY(os_map_file(core->fd, 0, status.bytes, (const void **)&core->bytes));
	core->size = status.bytes;
	return NULL;
}

// The kernel writes the section header that holds the number of segments last, so that a truncated
// core has lost it; the notes come right behind the program headers (fs/binfmt_elf.c).
static void recover_segment_count(const struct core *core, struct target_elf *elf)
{
	Elf64_Phdr first;

	if (elf->segment_count != PN_XNUM || target_elf_read_segment(&core->source, elf, 0, &first))
		return;
	if (first.p_type == PT_NOTE && first.p_offset > elf->header.e_phoff)
		elf->segment_count =
			(first.p_offset - elf->header.e_phoff) / elf->header.e_phentsize;
}

static struct error *read_header(struct target *target, struct core *core)
{
	uint64_t most;

	core->source = (struct target_elf_source){ read_mapped, core };
	TRY(target_elf_read_header(&core->source, &core->elf));
	if (core->elf.header.e_type != ET_CORE)
		return error_new(ERROR_DAMAGED, "an ELF file, but not a core");
	recover_segment_count(core, &core->elf);
	most = core->size / (core->elf.word_bytes == 8 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr));
	if (core->elf.segment_count > most)
		target_warn(target, "damaged core: %llu program headers do not fit in it",
		            (unsigned long long)core->elf.segment_count);
	core->cpu = os_cpu_of_machine(core->elf.header.e_machine, core->elf.word_bytes);
	target->word_bytes = core->elf.word_bytes;
	target->cpu = core->cpu ? core->cpu->name : "unknown";
	return NULL;
}

static void name_segment(struct core *core, const struct target *target, uint64_t address,
                         const char *name)
{
	size_t index = address ? target_segment_index(target, address) : core->segment_count;

	if (index < core->segment_count && core->segments[index].start <= address &&
	    !core->segments[index].file)
		core->segments[index].name = name;
}

// A core has no names for mappings without a file. The auxiliary vector tells where the first stack and
// the vdso are; the pages of the kernel's clocks lie before the vdso and are never dumped
// (arch/x86/entry/vdso/vma.c); the page of the oldest system calls has a fixed address.
static void name_segments(struct target *target, struct core *core)
{
	uint64_t vdso = target_auxv(target, AT_SYSINFO_EHDR);
	const struct target_segment *clocks = vdso ? target_segment_at(target, vdso - 1) : NULL;

	name_segment(core, target, target_auxv(target, AT_RANDOM), "[stack]");
	name_segment(core, target, vdso, "[vdso]");
	if (clocks && clocks->protection == TARGET_READ && !clocks->readable)
		name_segment(core, target, vdso - 1, "[vvar]");
	if (core->elf.header.e_machine == EM_X86_64)
		name_segment(core, target, VSYSCALL_ADDRESS, "[vsyscall]");
}

static void name_target(struct target *target, struct core *core)
{
	const struct core_file *file = core_file_at(core, target_auxv(target, AT_PHDR));
	const char *slash;

	if (!file)
		file = core_file_at(core, target_auxv(target, AT_ENTRY));
	target->name = arena_copy(target->arena, core->command[0] ? core->command : "unknown");
	if (!file)
		return;
	target->path = file->file.path;
	slash = strrchr(target->path, '/');
	target->name = slash && slash[1] ? slash + 1 : target->path;
}

static void describe(struct target *target, const struct core *core)
{
	char end[64] = "";

	if (core->signal)
		snprintf(end, sizeof(end), "; its last signal was %d (%s)", core->signal,
		         sigdescr_np(core->signal) ? sigdescr_np(core->signal) : "unknown");
	target->how = arena_format(target->arena, "read from a core file of %zu thread%s%s",
	                           core->threads.n, core->threads.n == 1 ? "" : "s", end);
}

static struct error *fill_target(struct target *target, struct core *core)
{
	TRY(map_core(target, core));
	TRY(read_header(target, core));
	core_read_notes(target, core);
	TRY(core_read_segments(target, core));
	core_attach_files(target, core);
	core_explain_missing(target, core);
	name_segments(target, core);
	name_target(target, core);
	if (core->threads.n)
		snprintf(core->threads.v[0].name, sizeof(core->threads.v[0].name), "%s",
		         core->command);
	describe(target, core);
	return NULL;
}

struct error *core_open(const char *path, int fd, const struct target_options *options,
                        struct target **ret)
{
	struct target *target = target_new(TARGET_CORE, &core_ops);
	struct core *core = arena_alloc(target->arena, sizeof(*core));
	struct error *error;

	(void)options; // a core has all that any tool wants, or lacks it for all
	target->own = core;
	target->source = arena_copy(target->arena, path);
	core->fd = fd;
	vec_init(&core->copies, &os_page_source);
	vec_init(&core->threads, &os_page_source);
	error = fill_target(target, core);
	if (error) {
		target_close(target);
		return error_prefix(error, "%s", path);
	}
	*ret = target;
	return NULL;
}

const struct target_file_kind core_file_kind = { core_is, core_open };
