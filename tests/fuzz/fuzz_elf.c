// SPDX-License-Identifier: MIT
// Feeds any bytes to symbols as an ELF file that a target has mapped: headers,
// symbol tables, embedded tables, DWARF lines and unwind tables.
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "symbols/symbols.h"
#include "target/target_impl.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

// elfutils 0.188 loses a few bytes per damaged file (elf_strptr of a section that cannot be read).
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:libelf.so\n";
}

static volatile uint64_t sink;
static const uint8_t *file_bytes;
static size_t file_count;

static struct error *open_file(struct target *target, const struct target_file *file, int *ret)
{
	(void)target, (void)file;
	*ret = memfd_create("elf", MFD_CLOEXEC);
	if (*ret < 0 || write(*ret, file_bytes, file_count) != (ssize_t)file_count)
		abort();
	return NULL;
}

static void ask(struct symbols *symbols, uint64_t address)
{
	struct symbols_name name;
	const char *section = symbols_section_at(symbols, address);

	symbols_name_at(symbols, address, &name);
	sink += section ? strlen(section) : 0;
	sink += name.function ? strlen(name.function) : 0;
	sink += name.file ? strlen(name.file) : 0;
}

static void look(const struct target_ops *ops, const uint8_t *bytes, size_t count)
{
	struct target_file file = { .path = "/elf" };
	struct target_segment segment = { .start = 0x10000, .readable = true, .file = &file };
	// Registers of x86-64: all of them point into the file, a different way each.
	uint64_t registers[27], address, size;
	struct target_thread thread = { .tid = 1, .has_registers = true, .registers = registers };
	struct target *target = target_new(TARGET_LIVE, ops);
	struct symbols_frame frames[32];
	struct symbols *symbols;
	size_t frame_count;

	thread.register_count = 27;
	for (unsigned i = 0; i < 27; i++)
		registers[i] = 0x10000 + i * 64;
	target->cpu = "x86_64";
	target->threads = &thread;
	target->thread_count = 1;
	segment.image = bytes;
	segment.contents_end = 0x10000 + count;
	segment.end = round_up(0x10000 + count + 1, 4096);
	target->segments = &segment;
	target->segment_count = 1;
	if (!symbols_open(target, &symbols)) {
		(void)symbols_find(symbols, NULL, "shown", &address, &size);
		for (uint64_t at = 0x10000; at < segment.end && at < 0x18000; at += 509)
			ask(symbols, at);
		for (uint64_t pc = 0x10000; pc < segment.end && pc < 0x12000; pc += 1021) {
			thread.pc = registers[16] = pc;
			(void)symbols_unwind(symbols, 0, frames, 32, &frame_count);
			sink += frame_count;
		}
		symbols_close(symbols);
	}
	target_close(target);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
	static const struct target_ops with_file = { .file_open = open_file }, without_file;

	file_bytes = bytes;
	file_count = count;
	look(&with_file, bytes, count);
	look(&without_file, bytes, count);
	return 0;
}
