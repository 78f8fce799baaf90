// SPDX-License-Identifier: MIT
// The notes of a core: threads with registers, auxiliary vector, mapped files,
// name. Layouts are the kernel's: include/uapi/linux/elfcore.h,
// include/linux/elfcore-compat.h, fs/binfmt_elf.c (fill_note_info,
// fill_files_note). gdb's gcore writes the same. Called by core.c.
#include "target/target_impl.h"

#include <string.h>

static uint64_t word_at(const struct core *core, const uint8_t *from)
{
	uint64_t wide;
	uint32_t narrow;

	if (core->elf.word_bytes == 8) {
		memcpy(&wide, from, sizeof(wide));
		return wide;
	}
	memcpy(&narrow, from, sizeof(narrow));
	return narrow;
}

static int int_at(const uint8_t *from)
{
	int value;

	memcpy(&value, from, sizeof(value));
	return value;
}

// struct elf_prstatus and compat_elf_prstatus: where the thread id and the registers stand.
static size_t status_tid_offset(const struct core *core)
{
	return core->elf.word_bytes == 8 ? 32 : 24;
}

static size_t status_registers_offset(const struct core *core)
{
	return core->elf.word_bytes == 8 ? 112 : 72;
}

static void set_registers(struct target *target, const struct core *core,
                          struct target_thread *thread, const uint8_t *set, size_t bytes)
{
	const struct os_cpu *cpu = core->cpu;
	uint64_t *registers;

	if (!cpu || cpu->word_bytes != core->elf.word_bytes)
		return;
	registers = arena_array(target->arena, OS_REGISTERS_MAX, sizeof(*registers));
	if (!os_cpu_widen(cpu, set, bytes, registers))
		return;
	thread->has_registers = true;
	thread->registers = registers;
	thread->register_count = cpu->register_count;
	thread->sp = registers[cpu->sp];
	thread->pc = registers[cpu->pc];
	if (cpu->tp != OS_NO_REGISTER)
		thread->tp = registers[cpu->tp];
}

static void read_status(struct target *target, struct core *core,
                        const struct target_elf_note *note)
{
	size_t registers = status_registers_offset(core);
	struct target_thread *thread;

	if (note->bytes < registers)
		return;
	thread = vec_add(&core->threads);
	thread->tid = thread->own_tid = int_at(note->contents + status_tid_offset(core));
	thread->state = '?';
	set_registers(target, core, thread, note->contents + registers, note->bytes - registers);
}

// Vector state belongs to the thread whose NT_PRSTATUS came last. The full state replaces the plain
// floating point registers.
static void read_vector(struct target *target, struct core *core,
                        const struct target_elf_note *note)
{
	struct target_thread *thread;
	uint8_t *copy;

	if (!core->threads.n)
		return;
	thread = &core->threads.v[core->threads.n - 1];
	if (thread->vector && note->type == NT_FPREGSET)
		return;
	copy = arena_alloc(target->arena, note->bytes);
	memcpy(copy, note->contents, note->bytes);
	thread->vector = copy;
	thread->vector_bytes = note->bytes;
}

static void read_thread_pointer(struct core *core, const struct target_elf_note *note)
{
	struct target_thread *thread;

	if (!core->threads.n || !core->cpu->thread_pointer)
		return;
	thread = &core->threads.v[core->threads.n - 1];
	if (thread->has_registers)
		thread->tp =
			core->cpu->thread_pointer(thread->registers, note->contents, note->bytes);
}

// struct elf_prpsinfo: 136 bytes in 64 bit; 124 in 32 bit where a user id has 16 bits, else 128.
static void read_process(struct target *target, struct core *core,
                         const struct target_elf_note *note)
{
	size_t pid = note->bytes == 124 ? 12 : note->bytes == 128 ? 16 : 24;
	size_t name = note->bytes == 124 ? 28 : note->bytes == 128 ? 32 : 40;

	if (note->bytes != 124 && note->bytes != 128 && note->bytes != 136)
		return;
	target->pid = int_at(note->contents + pid);
	target->parent_pid = int_at(note->contents + pid + 4);
	memcpy(core->command, note->contents + name, sizeof(core->command) - 1);
	if (core->threads.n && note->contents[1])
		core->threads.v[0].state = (char)note->contents[1];
}

static void read_auxv(struct target *target, struct core *core, const struct target_elf_note *note)
{
	size_t pair = 2 * core->elf.word_bytes, count = note->bytes / pair;
	uint64_t *auxv = arena_array(target->arena, count + 1, 2 * sizeof(*auxv));
	size_t n = 0;

	for (size_t i = 0; i < count; i++, n++) {
		auxv[2 * n] = word_at(core, note->contents + i * pair);
		auxv[2 * n + 1] = word_at(core, note->contents + i * pair + pair / 2);
		if (auxv[2 * n] == AT_NULL)
			break;
	}
	// An AT_NULL always ends it: the array has one zero pair more than the note.
	auxv[2 * n] = auxv[2 * n + 1] = 0;
	target->auxv = auxv;
	target->auxv_count = n + 1;
}

// NT_FILE: count, page size, count times (start, end, offset in pages), then count strings.
static struct error *read_files(struct target *target, struct core *core,
                                const struct target_elf_note *note)
{
	size_t word = core->elf.word_bytes;
	uint64_t count, unit, table, text;

	if (note->bytes < 2 * word)
		return error_new(ERROR_DAMAGED, "the list of mapped files is cut off");
	count = word_at(core, note->contents);
	unit = word_at(core, note->contents + word);
	if (!checked_mul(count, 3 * word, &table) || !checked_add(table, 2 * word, &text) ||
	    text > note->bytes)
		return error_new(ERROR_DAMAGED,
		                 "the list of mapped files claims %llu files in %u bytes",
		                 (unsigned long long)count, note->bytes);
	core->mappings = arena_array(target->arena, count, sizeof(*core->mappings));
	for (uint64_t i = 0; i < count; i++) {
		const uint8_t *row = note->contents + (2 + 3 * i) * word;
		struct core_mapping *mapping = &core->mappings[core->mapping_count];
		const char *path = (const char *)note->contents + text;
		size_t length = strnlen(path, note->bytes - text);

		if (text + length >= note->bytes)
			return error_new(ERROR_DAMAGED,
			                 "the list of mapped files ends within file %llu",
			                 (unsigned long long)i);
		text += length + 1;
		mapping->start = word_at(core, row);
		mapping->end = word_at(core, row + word);
		mapping->path = path;
		if (mapping->start < mapping->end &&
		    checked_mul(word_at(core, row + 2 * word), unit, &mapping->offset))
			core->mapping_count++;
	}
	return NULL;
}

static void read_note(struct target *target, struct core *core, const struct target_elf_note *note)
{
	struct error *error = NULL;

	if (target_elf_note_is(note, "CORE", NT_PRSTATUS))
		read_status(target, core, note);
	else if (target_elf_note_is(note, "CORE", NT_PRPSINFO))
		read_process(target, core, note);
	else if (target_elf_note_is(note, "CORE", NT_AUXV))
		read_auxv(target, core, note);
	else if (target_elf_note_is(note, "CORE", NT_FILE) && !core->mapping_count)
		error = read_files(target, core, note);
	else if (target_elf_note_is(note, "CORE", NT_SIGINFO) && note->bytes >= 4)
		core->signal = int_at(note->contents);
	else if (target_elf_note_is(note, "CORE", NT_FPREGSET))
		read_vector(target, core, note);
	else if (core->cpu && target_elf_note_is(note, "LINUX", core->cpu->vector_set))
		read_vector(target, core, note);
	else if (core->cpu && core->cpu->thread_set &&
	         target_elf_note_is(note, "LINUX", core->cpu->thread_set))
		read_thread_pointer(core, note);
	if (error)
		target_warn(target, "damaged core: %s", error->text);
}

static void read_note_segment(struct target *target, struct core *core, const Elf64_Phdr *segment)
{
	struct target_elf_note note;
	uint64_t start = segment->p_offset < core->size ? segment->p_offset : core->size;
	uint64_t bytes = segment->p_filesz, offset = 0;

	if (bytes > core->size - start)
		bytes = core->size - start;
	while (target_elf_next_note(core->bytes + start, bytes, segment->p_align, &offset, &note))
		read_note(target, core, &note);
	if (bytes < segment->p_filesz || offset < bytes) {
		target_warn(
			target,
			"the core's notes are cut off or damaged: threads or mapped files may be missing");
		target->complete = false;
	}
}

void core_read_notes(struct target *target, struct core *core)
{
	Elf64_Phdr segment;

	for (uint64_t i = 0; i < core->elf.segment_count; i++) {
		if (target_elf_read_segment(&core->source, &core->elf, i, &segment))
			break; // the segments' pass tells about it
		if (segment.p_type == PT_NOTE)
			read_note_segment(target, core, &segment);
	}
	target->threads = core->threads.v;
	target->thread_count = core->threads.n;
	if (!core->threads.n) {
		target_warn(
			target,
			"the core has no threads: pointers in registers and stacks are unknown");
		target->complete = false;
	} else if (!core->threads.v[0].has_registers) {
		target_warn(target, "the registers of this core's CPU (ELF machine %u) are unknown",
		            core->elf.header.e_machine);
		target->complete = false;
	}
}
