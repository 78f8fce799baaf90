// SPDX-License-Identifier: MIT
// Tells which allocators a target has that no reader can read, with the evidence:
// the name of a mapped library, or an ELF note of the executable. Blocks of these
// are invisible, so that a report without this list would lie.
#include <string.h>

#include "heaps/heaps_impl.h"

struct foreign_library {
	const char *prefix; // of the base name of a mapped file
	const char *name;
};

static const struct foreign_library foreign_libraries[] = {
	{ "libjemalloc", "jemalloc" },
	{ "libtcmalloc", "tcmalloc" },
	{ "libmimalloc", "mimalloc" },
	{ "librpmalloc", "rpmalloc" },
	{ "libsnmalloc", "snmalloc" },
	{ "libhoard", "Hoard" },
	{ "libhardened_malloc", "hardened_malloc" },
	{ "libscudo", "Scudo" },
	{ "libclang_rt.scudo", "Scudo" },
	{ "libasan", "AddressSanitizer" },
	{ "libclang_rt.asan", "AddressSanitizer" },
	{ "liblsan", "LeakSanitizer" },
	{ "libclang_rt.lsan", "LeakSanitizer" },
	{ "libtsan", "ThreadSanitizer" },
	{ "libclang_rt.tsan", "ThreadSanitizer" },
	{ "libtbbmalloc", "TBB malloc" },
	{ "libdieharder", "DieHarder" },
	{ "ld-musl-", "musl" },
	{ "libc.musl-", "musl" },
	{ "libjvm.so", "Java" },
	{ "libv8", "V8" },
};

enum { FOREIGN_NOTES_MAX = 64 << 10, FOREIGN_PROGRAM_HEADERS_MAX = 128 };

static void detect_libraries(struct heap_build *build)
{
	const struct target *target = build->target;
	const struct target_file *last = NULL;
	for (size_t i = 0; i < target->segment_count; i++) {
		const struct target_file *file = target->segments[i].file;
		if (!file || file == last || !file->path || file->anonymous)
			continue;
		last = file;
		const char *slash = strrchr(file->path, '/');
		const char *name = slash ? slash + 1 : file->path;
		for (size_t k = 0; k < sizeof(foreign_libraries) / sizeof(foreign_libraries[0]);
		     k++)
			if (strncmp(name, foreign_libraries[k].prefix,
			            strlen(foreign_libraries[k].prefix)) == 0)
				build_unknown(build, foreign_libraries[k].name,
				              arena_format(build->arena, "%s is mapped", name));
	}
}

// --- Go: the linker puts a note with owner "Go" into every program -----------------------------------
static uint32_t u32_at(const struct target *target, const uint8_t *bytes)
{
	return (uint32_t)(target->big_endian ? target_word_swapped(bytes, 4)
	                                     : bytes[0] | bytes[1] << 8 | bytes[2] << 16 |
	                                               (uint32_t)bytes[3] << 24);
}

static bool is_go_note(const struct target *target, const uint8_t *bytes, size_t n)
{
	while (n >= 16) {
		uint64_t owner = u32_at(target, bytes), body = u32_at(target, bytes + 4);
		if (owner == 4 && memcmp(bytes + 12, "Go\0\0", 4) == 0)
			return true;
		uint64_t next = 12 + ((owner + 3) & ~3ull) + ((body + 3) & ~3ull);
		if (next >= n)
			return false;
		bytes += next;
		n -= next;
	}
	return false;
}

// Reads a note segment; offsets are of ELF64, Go has no ELF32 program of weight.
static bool note_is_go(struct heap_build *build, uint64_t bias, const uint8_t *header)
{
	uint8_t notes[512];
	if (u32_at(build->target, header) != 4) // PT_NOTE
		return false;
	uint64_t address = target_word(build->target, header + 16) + bias;
	uint64_t bytes = target_word(build->target, header + 32);
	if (bytes > sizeof(notes))
		bytes = sizeof(notes);
	size_t n = target_read_some(build->target, address, notes, bytes);
	return is_go_note(build->target, notes, n);
}

// AT_PHDR and AT_PHNUM of the auxiliary vector lead to the program headers of the executable.
static void detect_go(struct heap_build *build)
{
	const struct target *target = build->target;
	uint64_t headers = 0, count = 0, bias = 0;
	for (size_t i = 0; i < target->auxv_count; i++) {
		if (target->auxv[2 * i] == 3)
			headers = target->auxv[2 * i + 1];
		else if (target->auxv[2 * i] == 5)
			count = target->auxv[2 * i + 1];
	}
	if (!headers || target->word_bytes != 8 || count > FOREIGN_PROGRAM_HEADERS_MAX)
		return;
	uint8_t header[56];
	for (int find_bias = 1; find_bias >= 0; find_bias--)
		for (uint64_t i = 0; i < count; i++) {
			if (target_read_some(build->target, headers + i * 56, header, 56) != 56)
				return;
			if (find_bias && u32_at(target, header) == 6) // PT_PHDR
				bias = headers - target_word(target, header + 16);
			if (!find_bias && note_is_go(build, bias, header)) {
				build_unknown(build, "Go", "the executable has a Go build note");
				return;
			}
		}
}

void foreign_detect(struct heap_build *build)
{
	detect_libraries(build);
	detect_go(build);
	if (!build->found && !build->unknown.n)
		build_unknown(build, "unknown", "no allocator was recognised");
}
