// SPDX-License-Identifier: MIT
// Finds the descriptor of our malloc library: by its ELF note, which stripped static programs have too;
// else by its symbol; else by its magic in the data of the executable. Other versions of the layout
// are told as an allocator that cannot be read, never guessed at.
#include <elf.h>
#include <string.h>

#include "base/checked.h"
#include "base/text.h"
#include "heaps/heapwright.h"

enum {
	FIND_SEGMENTS_MAX = 256,   // program headers of one file
	FIND_NOTES_MAX = 16 << 10, // bytes of one note segment
	FIND_MAGIC_MAX = 16 << 20, // bytes of data to look through for the magic
	FIND_CANDIDATES_MAX = 64,
};

struct candidates {
	uint64_t v[FIND_CANDIDATES_MAX];
	size_t n;
	const char *found_by;
};

static void add_candidate(struct candidates *found, uint64_t address)
{
	for (size_t i = 0; i < found->n; i++)
		if (found->v[i] == address)
			return;
	if (found->n < FIND_CANDIDATES_MAX)
		found->v[found->n++] = address;
}

// --- the note -------------------------------------------------------------------------------------
struct module_source {
	struct target *target;
	uint64_t start;
};

static size_t module_read(void *context, uint64_t offset, void *buffer, size_t n)
{
	const struct module_source *module = context;
	uint64_t address;

	if (__builtin_add_overflow(module->start, offset, &address))
		return 0;
	return target_read_some(module->target, address, buffer, n);
}

static void find_in_notes(struct heap_build *build, uint64_t address, const Elf64_Phdr *segment,
                          struct candidates *ret)
{
	uint8_t notes[FIND_NOTES_MAX];
	size_t bytes = segment->p_memsz < sizeof(notes) ? segment->p_memsz : sizeof(notes);
	struct target_elf_note note;
	uint64_t offset = 0;

	bytes = target_read_some(build->target, address, notes, bytes);
	while (target_elf_next_note(notes, bytes, segment->p_align, &offset, &note)) {
		int64_t distance;

		if (!target_elf_note_is(&note, MALLOC_NOTE_OWNER, MALLOC_NOTE_TYPE) ||
		    note.bytes < sizeof(distance))
			continue;
		memcpy(&distance, note.contents, sizeof(distance));
		add_candidate(ret,
		              address + (uint64_t)(note.contents - notes) + (uint64_t)distance);
	}
}

static void find_in_module(struct heap_build *build, const struct symbols_module *module,
                           struct candidates *ret)
{
	struct module_source from = { build->target, module->start };
	struct target_elf_source source = { module_read, &from };
	struct target_elf elf;
	Elf64_Phdr segment;

	if (target_elf_read_header(&source, &elf) || elf.word_bytes != 8)
		return;
	for (uint64_t i = 0; i < elf.segment_count && i < FIND_SEGMENTS_MAX; i++) {
		if (target_elf_read_segment(&source, &elf, i, &segment))
			return;
		if (segment.p_type == PT_NOTE)
			find_in_notes(build, module->bias + segment.p_vaddr, &segment, ret);
	}
}

static void find_by_note(struct heap_build *build, struct candidates *ret)
{
	size_t count = 0;
	const struct symbols_module *modules =
		build->symbols ? symbols_modules(build->symbols, &count) : NULL;

	ret->found_by = "its note";
	for (size_t i = 0; i < count; i++)
		find_in_module(build, &modules[i], ret);
}

// --- the symbol -----------------------------------------------------------------------------------
static void find_by_symbol(struct heap_build *build, struct candidates *ret)
{
	size_t count = 0;
	const struct symbols_module *modules =
		build->symbols ? symbols_modules(build->symbols, &count) : NULL;

	ret->found_by = "its symbol";
	for (size_t i = 0; i < count; i++) {
		uint64_t address, bytes;

		bool ours =
			modules[i].name && (modules[i].executable ||
		                            text_starts_with(modules[i].name, "libheapwright") ||
		                            text_starts_with(modules[i].name, "libgmalloc"));

		if (!ours)
			continue;
		if (!symbols_find(build->symbols, modules[i].name, MALLOC_SYMBOL, &address, &bytes))
			add_candidate(ret, address);
	}
}

// --- the magic ------------------------------------------------------------------------------------
static void find_magic_in(struct heap_build *build, const struct target_segment *segment,
                          struct candidates *ret)
{
	struct window window;

	window_init(&window, build->target);
	for (uint64_t at = round_up(segment->start, 8); at + 8 <= segment->contents_end; at += 8) {
		const uint8_t *bytes = window_bytes(&window, at, 8);

		if (!bytes)
			break;
		if (memcmp(bytes, MALLOC_MAGIC, 8) == 0)
			add_candidate(ret, at);
	}
	window_deinit(&window);
}

// The data of the executable and the .bss that follows it.
static void find_by_magic(struct heap_build *build, struct candidates *ret)
{
	const struct target *target = build->target;
	const struct target_segment *headers =
		target_segment_at(target, target_auxv(target, AT_PHDR));
	uint64_t left = FIND_MAGIC_MAX, end = 0;

	ret->found_by = "its magic";
	if (!headers)
		return;
	for (size_t i = 0; i < target->segment_count; i++) {
		const struct target_segment *segment = &target->segments[i];
		bool own = segment->file ? segment->file == headers->file : segment->start == end;
		uint64_t bytes = segment->end - segment->start;

		if (!own)
			continue;
		end = segment->end;
		if (!(segment->protection & TARGET_WRITE) || !segment->readable || bytes > left)
			continue;
		left -= bytes;
		find_magic_in(build, segment, ret);
	}
}

// --- is it one that can be read? ------------------------------------------------------------------
static bool sizes_agree(const struct malloc_descriptor *d)
{
	return d->bytes == sizeof(*d) && d->leaf_bytes == sizeof(struct malloc_leaf) &&
	       d->slab_bytes == sizeof(struct malloc_slab) &&
	       d->thread_bytes == sizeof(struct malloc_thread) &&
	       d->zone_cache_bytes == sizeof(struct malloc_zone_cache) &&
	       d->zone_bytes == sizeof(struct malloc_zone_record) &&
	       d->region_bytes == sizeof(struct malloc_region) &&
	       d->note_bytes == sizeof(struct malloc_note) &&
	       d->class_count <= MALLOC_CLASSES_MAX && d->zone_count <= MALLOC_ZONES_MAX;
}

static bool version_known(struct heap_build *build, const struct malloc_descriptor *d)
{
	if (d->version == MALLOC_VERSION && sizes_agree(d))
		return true;
	const char *evidence =
		d->version > MALLOC_VERSION
			? arena_format(build->arena,
	                               "its layout is version %u, newer than the version %d that "
	                               "this tool knows",
	                               d->version, MALLOC_VERSION)
			: arena_format(
				  build->arena,
				  "damaged: its descriptor of version %u tells impossible sizes",
				  d->version);
	build_unknown(build, "libheapwright", evidence);
	return false;
}

static size_t check_candidates(struct heap_build *build, const struct candidates *found,
                               struct heapwright *heaps, bool *ret_idle)
{
	size_t count = 0;

	for (size_t i = 0; i < found->n && count < HEAPWRIGHT_HEAPS_MAX; i++) {
		struct malloc_descriptor d;
		size_t n = target_read_some(build->target, found->v[i], &d, sizeof(d));

		// Only the magic and the version are the same in all versions.
		if (n < offsetof(struct malloc_descriptor, bytes) ||
		    memcmp(d.magic, MALLOC_MAGIC, sizeof(d.magic)) != 0)
			continue;
		memset((uint8_t *)&d + n, 0, sizeof(d) - n);
		if (d.version && !version_known(build, &d))
			continue;
		if (!d.version || !d.ready) {
			*ret_idle = true;
			continue;
		}
		heaps[count++] = (struct heapwright){ .build = build,
			                              .target = build->target,
			                              .address = found->v[i],
			                              .found_by = found->found_by,
			                              .descriptor = d };
	}
	return count;
}

size_t heapwright_find(struct heap_build *build, struct heapwright *heaps, bool *ret_idle)
{
	static void (*const ways[])(struct heap_build *, struct candidates *) = {
		find_by_note,
		find_by_symbol,
		find_by_magic,
	};
	struct candidates found = { .n = 0 };

	*ret_idle = false;
	if (build->target->word_bytes != 8 || build->target->big_endian)
		return 0;
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]) && !found.n; i++)
		ways[i](build, &found);
	return check_candidates(build, &found, heaps, ret_idle);
}
