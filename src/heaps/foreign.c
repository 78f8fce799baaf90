// SPDX-License-Identifier: MIT
// Tells which allocators a target has that no reader can read, with the evidence:
// the name of a mapped library, a symbol, a text or an ELF note of the executable.
// Blocks of these are invisible, so that a report without this list would lie.
#include <string.h>

#include "base/text.h"
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
};

enum {
	FOREIGN_PROGRAM_HEADERS_MAX = 128,
	FOREIGN_PIECE_BYTES = 256 << 10,
	FOREIGN_TEXTS_MAX = 32 << 20, // of read-only data
};

static void detect_libraries(struct heap_build *build)
{
	const struct target *target = build->target;
	const struct target_file *last = NULL;

	for (size_t i = 0; i < target->segment_count; i++) {
		const struct target_file *file = target->segments[i].file;

		if (!file || file == last || !file->path || file->anonymous)
			continue;
		last = file;
		const char *name = text_base_name(file->path);
		// glibc's libc.so is a text for the linker; a mapped file of this name is musl's.
		if (strcmp(name, "libc.so") == 0)
			build_unknown(build, "musl", "libc.so is mapped");
		for (size_t k = 0; k < sizeof(foreign_libraries) / sizeof(foreign_libraries[0]);
		     k++)
			if (strncmp(name, foreign_libraries[k].prefix,
			            strlen(foreign_libraries[k].prefix)) == 0)
				build_unknown(build, foreign_libraries[k].name,
				              arena_format(build->arena, "%s is mapped", name));
	}
}

// --- linked into the executable ------------------------------------------------------------------
struct foreign_symbol {
	const char *symbol, *name;
};

static const struct foreign_symbol foreign_symbols[] = {
	{ "mallctl", "jemalloc" },
	{ "je_mallctl", "jemalloc" },
	{ "_rjem_mallctl", "jemalloc" },
	{ "tc_malloc", "tcmalloc" },
	{ "mi_malloc", "mimalloc" },
	{ "rpmalloc", "rpmalloc" },
	{ "__asan_init", "AddressSanitizer" },
	{ "__tsan_init", "ThreadSanitizer" },
	{ "__msan_init", "MemorySanitizer" },
};

// Texts that each copy of an allocator has in its messages, without their first character: this
// program must not find itself.
struct foreign_text {
	char first;
	const char *rest, *name;
};

static const struct foreign_text foreign_texts[] = {
	{ '<', "jemalloc>: ", "jemalloc" },
	{ 'm', "imalloc: warning: ", "mimalloc" },
	{ 't', "cmalloc: large alloc ", "tcmalloc" },
};

static void detect_symbols(struct heap_build *build)
{
	size_t count = 0;
	const struct symbols_module *modules =
		build->symbols ? symbols_modules(build->symbols, &count) : NULL;

	for (size_t i = 0; i < count; i++) {
		if (!modules[i].executable || !modules[i].name)
			continue;
		for (size_t k = 0; k < sizeof(foreign_symbols) / sizeof(foreign_symbols[0]); k++) {
			uint64_t address, bytes;

			if (symbols_find(build->symbols, modules[i].name, foreign_symbols[k].symbol,
			                 &address, &bytes))
				continue;
			build_unknown(build, foreign_symbols[k].name,
			              arena_format(build->arena, "%s has %s", modules[i].name,
			                           foreign_symbols[k].symbol));
		}
	}
}

static bool is_ours(const struct heap_build *build)
{
	for (size_t i = 0; i < build->blocks.n; i++)
		if (build->zones.v[build->blocks.v[i].hb_zone].allocator ==
		    heap_reader_heapwright.allocator)
			return true;
	return false;
}

// A program that defines malloc takes it from nobody else, a preloaded library neither. A static one
// has the malloc of its libc, and one that was linked with our library has blocks of it.
static void detect_own_malloc(struct heap_build *build)
{
	size_t count = 0;
	const struct symbols_module *modules =
		build->symbols ? symbols_modules(build->symbols, &count) : NULL;
	uint64_t address, bytes;

	if (!count || is_ours(build) ||
	    symbols_find(build->symbols, "libc.so.", "malloc", &address, &bytes))
		return;
	for (size_t i = 0; i < count; i++) {
		const struct symbols_module *module = &modules[i];

		if (module->executable && module->name &&
		    !symbols_find(build->symbols, module->name, "malloc", &address, &bytes))
			build_unknown(build, "unknown",
			              arena_format(build->arena, "%s defines malloc",
			                           module->name));
	}
}

static bool has_text(const uint8_t *bytes, size_t n, const struct foreign_text *text)
{
	size_t length = strlen(text->rest);
	const uint8_t *at = bytes;

	while ((at = memmem(at, n - (size_t)(at - bytes), text->rest, length))) {
		if (at > bytes && at[-1] == (uint8_t)text->first)
			return true;
		at++;
	}
	return false;
}

static void detect_texts_in(struct heap_build *build, const struct target_segment *segment)
{
	uint8_t *piece = build->source->resize(NULL, 0, FOREIGN_PIECE_BYTES);

	for (uint64_t at = segment->start; at < segment->end; at += FOREIGN_PIECE_BYTES - 64) {
		size_t n = segment->end - at < FOREIGN_PIECE_BYTES ? segment->end - at
		                                                   : FOREIGN_PIECE_BYTES;

		n = target_read_some(build->target, at, piece, n);
		for (size_t k = 0; n && k < sizeof(foreign_texts) / sizeof(foreign_texts[0]); k++)
			if (has_text(piece, n, &foreign_texts[k]))
				build_unknown(build, foreign_texts[k].name,
				              arena_format(build->arena,
				                           "the executable contains \"%c%s\"",
				                           foreign_texts[k].first,
				                           foreign_texts[k].rest));
	}
	build->source->resize(piece, FOREIGN_PIECE_BYTES, 0);
}

// Read-only data of the executable, for stripped static programs.
static void detect_texts(struct heap_build *build)
{
	const struct target *target = build->target;
	const struct target_segment *headers =
		target_segment_at(target, target_auxv(target, AT_PHDR));
	uint64_t left = FOREIGN_TEXTS_MAX;

	if (!headers || !headers->file)
		return;
	for (size_t i = 0; i < target->segment_count; i++) {
		const struct target_segment *segment = &target->segments[i];
		uint64_t bytes = segment->end - segment->start;

		if (segment->file != headers->file || !segment->readable || bytes > left ||
		    segment->protection & (TARGET_WRITE | TARGET_EXEC))
			continue;
		left -= bytes;
		detect_texts_in(build, segment);
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
	uint64_t headers = target_auxv(target, AT_PHDR), count = target_auxv(target, AT_PHNUM),
		 bias = 0;

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
	detect_symbols(build);
	detect_texts(build);
	detect_go(build);
	if (!build->unknown.n)
		detect_own_malloc(build);
	if (!build->found && !build->unknown.n)
		build_unknown(build, "unknown", "no allocator was recognised");
}
