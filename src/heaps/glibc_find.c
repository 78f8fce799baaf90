// SPDX-License-Identifier: MIT
// Finds main_arena by what cannot be otherwise: most of its 127 bins are empty and
// link to themselves, and behind them stands a ring of arenas that leads back to
// it. All offsets follow from where the ring and the bins are, so that neither
// fastbins (gone in 2.43) nor have_fastchunks (new in 2.27) need a version.
// mp_ lies in the same module and is told by its neighbours: counters that agree
// with each other and defaults that hardly anybody changes.
#include <string.h>

#include "base/text.h"
#include "heaps/glibc.h"

enum {
	FIND_PAIRS_MIN = 8,         // self-linked bins that make a candidate
	FIND_HEADER_WORDS_MIN = 2,  // what may stand before the bins: mutex and flags, top, ...
	FIND_HEADER_WORDS_MAX = 24, // ... fastbins
	FIND_ANONYMOUS_MAX =
		64 << 20, // of a core that names no files: larger ones hold no module's data
	FIND_PARAMETERS_MIN = 5,
};

typedef VEC(uint64_t) addresses_t;

static bool is_writable_private(const struct target_segment *segment)
{
	return segment->readable && !segment->shared && segment->protection & TARGET_WRITE;
}

static bool is_claimed(const struct glibc *glibc, const struct target_segment *segment)
{
	const struct heap_claim *claim = build_claim_behind(glibc->build, segment->start);

	return claim && claim->start < segment->end;
}

// Searched in this order: libc itself, the data and bss of all modules, whatever else is writable and
// no other allocator's.
static bool belongs_to_pass(const struct glibc *glibc, size_t i, int pass)
{
	const struct target_segment *segment = &glibc->target->segments[i];

	if (!is_writable_private(segment) ||
	    (segment->name && strncmp(segment->name, "[stack", 6) == 0))
		return false;
	const char *path = segment->file ? segment->file->path : NULL;
	const char *name = path ? text_base_name(path) : NULL;
	bool libc = name && (text_starts_with(name, "libc.so") || text_starts_with(name, "libc-2"));
	bool module = segment->file && !segment->file->anonymous;
	bool bss = i > 0 && !segment->file && segment[-1].end == segment->start && segment[-1].file;
	if (pass == 0)
		return libc;
	if (pass == 1)
		return !libc && (module || bss);
	return !module && !bss && segment->end - segment->start <= FIND_ANONYMOUS_MAX &&
	       !is_claimed(glibc, segment);
}

// Each place where two words both point two words before themselves: an empty bin (bin_at and
// malloc_init_state).
static void self_links(struct glibc *glibc, const struct target_segment *segment, addresses_t *ret)
{
	unsigned word = glibc->layout.word;
	uint64_t at = (segment->start + word - 1) & ~(uint64_t)(word - 1);

	for (; at + 2 * word <= segment->contents_end; at += word) {
		const uint8_t *bytes = window_bytes(&glibc->window, at, 2 * word);

		if (!bytes)
			return;
		if (target_word(glibc->target, bytes) == at - 2 * word &&
		    target_word(glibc->target, bytes + word) == at - 2 * word)
			vec_push(ret, at);
	}
}

static bool word_at(struct glibc *glibc, uint64_t address, uint64_t *ret)
{
	return peek_word(&glibc->peek, address, ret);
}

// mutex and flags are two ints at the start of malloc_state: a lock word and three bits.
static bool plausible_head(struct glibc *glibc, uint64_t arena)
{
	uint64_t word;

	if (!word_at(glibc, arena, &word))
		return false;
	uint64_t mutex = word & 0xffffffff, flags = word >> 32;
	if (glibc->target->big_endian || glibc->layout.word == 4)
		mutex = word >> (glibc->layout.word == 4 ? 0 : 32);
	if (glibc->layout.word == 4 && !word_at(glibc, arena + 4, &flags))
		return false;
	if (glibc->layout.word == 8 && glibc->target->big_endian)
		flags = word & 0xffffffff;
	return mutex <= 2 && flags <= 7;
}

// Follows the ring from first until it comes back to arena.
static bool ring_closes(struct glibc *glibc, uint64_t arena, uint64_t first, unsigned next_offset)
{
	uint64_t at = first;

	for (unsigned i = 0; i < GLIBC_ARENAS_MAX; i++) {
		if (at % glibc->layout.word || !plausible_head(glibc, at))
			return false;
		if (at == arena)
			return true;
		if (!word_at(glibc, at + next_offset, &at))
			return false;
	}
	return false;
}

static void layout_derive(struct glibc_layout *layout, unsigned bins)
{
	unsigned word = layout->word;

	layout->bins = bins;
	layout->top = bins - 2 * word;
	layout->next = bins + 2 * GLIBC_BINS * word + 16; // behind the bins and unsigned binmap[4]
	layout->system_mem = layout->next + 3 * word;
	layout->state_bytes = layout->next + 5 * word;
	// fastbinsY: 80 * SIZE_SZ / 4 bytes at most, so 10 or 11 lists.
	layout->fast_count = word == 4 && layout->align == 16 ? 11 : 10;
	if (layout->top < 8 + layout->fast_count * word)
		layout->fast_count = 0;
	layout->fast_first = layout->top - layout->fast_count * word;
}

// Whether the 127 bins start at bins: the word behind the binmap must be the ring.
static bool try_bins(struct glibc *glibc, uint64_t bins, uint64_t *ret_arena)
{
	unsigned word = glibc->layout.word;
	uint64_t next;

	if (!word_at(glibc, bins + 2 * GLIBC_BINS * word + 16, &next) || !next || next % word)
		return false;
	for (unsigned k = FIND_HEADER_WORDS_MIN; k <= FIND_HEADER_WORDS_MAX; k++) {
		unsigned header = k * word;

		if (ring_closes(glibc, bins - header, next, header + 2 * GLIBC_BINS * word + 16)) {
			*ret_arena = bins - header;
			layout_derive(&glibc->layout, header);
			return true;
		}
	}
	return false;
}

// The self-linked pairs from v[0] on that could be bins of one arena.
static bool try_pairs(struct glibc *glibc, const uint64_t *v, size_t n, uint64_t *ret_arena)
{
	unsigned pair = 2 * glibc->layout.word;
	uint64_t last = v[0];
	size_t count = 0;

	for (size_t i = 0; i < n && v[i] < v[0] + GLIBC_BINS * pair; i++)
		if ((v[i] - v[0]) % pair == 0) {
			last = v[i];
			count++;
		}
	if (count < FIND_PAIRS_MIN)
		return false;
	unsigned span = (unsigned)((last - v[0]) / pair) + 1;
	for (unsigned before = 0; before + span <= GLIBC_BINS; before++)
		if (try_bins(glibc, v[0] - before * pair, ret_arena))
			return true;
	return false;
}

static bool find_main_arena(struct glibc *glibc, uint64_t *ret)
{
	struct target *target = glibc->target;
	addresses_t pairs;

	vec_init(&pairs, glibc->build->source);
	bool found = false;
	for (int pass = 0; pass < 3 && !found; pass++)
		for (size_t i = 0; i < target->segment_count && !found; i++) {
			if (!belongs_to_pass(glibc, i, pass))
				continue;
			pairs.n = 0;
			self_links(glibc, &target->segments[i], &pairs);
			for (size_t k = 0; k + FIND_PAIRS_MIN <= pairs.n && !found; k++)
				found = try_pairs(glibc, pairs.v + k, pairs.n - k, ret);
			if (pass == 0 && !found && pairs.n >= FIND_PAIRS_MIN)
				glibc->broken_at = pairs.v[0];
		}
	vec_deinit(&pairs);
	return found;
}

// Where the bins are no longer what they should be, the symbol tells the place, and the ring behind the
// bins still tells the offsets.
static bool find_by_symbol(struct glibc *glibc, uint64_t *ret)
{
	unsigned word = glibc->layout.word;
	uint64_t arena, bytes, next;

	if (!glibc->build->symbols ||
	    symbols_find(glibc->build->symbols, NULL, "main_arena", &arena, &bytes))
		return false;
	for (unsigned k = FIND_HEADER_WORDS_MIN; k <= FIND_HEADER_WORDS_MAX; k++) {
		unsigned next_offset = (k + 2 * GLIBC_BINS) * word + 16;

		if (!word_at(glibc, arena + next_offset, &next) ||
		    !ring_closes(glibc, arena, next, next_offset))
			continue;
		layout_derive(&glibc->layout, k * word);
		*ret = arena;
		return true;
	}
	return false;
}

// The file of the module that holds main_arena; its bss follows its data without a gap.
static const struct target_file *module_of(const struct target *target, uint64_t address)
{
	size_t i = target_segment_index(target, address);

	while (i < target->segment_count && i > 0 && !target->segments[i].file &&
	       target->segments[i - 1].end == target->segments[i].start)
		i--;
	return i < target->segment_count ? target->segments[i].file : NULL;
}

// --- mp_ ----------------------------------------------------------------------------------------------
static uint32_t int_at(const struct target *target, const uint8_t *bytes)
{
	uint32_t value;

	memcpy(&value, bytes, 4);
	return target->big_endian ? __builtin_bswap32(value) : value;
}

// ints are n_mmaps, n_mmaps_max, max_n_mmaps, no_dyn_threshold; words are mmapped_mem, max_mmapped_mem,
// sbrk_base, tcache_bins, tcache_max_bytes, tcache_count. Returns how well they fit together.
static int parameters_score(const struct glibc *glibc, const uint8_t *ints, const uint8_t *words,
                            uint64_t top, struct glibc_parameters *ret)
{
	const struct target *target = glibc->target;
	unsigned word = glibc->layout.word;
	uint64_t unit = glibc_counter_drifts(&glibc->layout) ? 2 * word : glibc->layout.page;
	uint32_t count = int_at(target, ints), limit = int_at(target, ints + 4);
	uint32_t most = int_at(target, ints + 8), fixed = int_at(target, ints + 12);
	uint64_t mapped = target_word(target, words),
		 mapped_most = target_word(target, words + word);

	if (limit > 1 << 30 || count > 1 << 24 || fixed > 1 || (mapped_most == 0) != (most == 0) ||
	    mapped % unit || mapped_most % unit)
		return 0;
	*ret = (struct glibc_parameters){
		.sbrk_base = target_word(target, words + 2 * word),
		.tcache_bins = target_word(target, words + 3 * word),
		.tcache_count = target_word(target, words + 5 * word),
		.mmapped_bytes = mapped,
		.mapped_count = count,
	};
	uint64_t cached_most = target_word(target, words + 4 * word);
	const struct target_segment *segment = target_segment_at(target, ret->sbrk_base);
	if (ret->sbrk_base && (!segment || !is_writable_private(segment)))
		return 0;
	int score = limit == 65536 ? 3 : 0;
	score += ret->tcache_bins == 64 ? 2 : 0;
	score += cached_most >= 16 && cached_most <= 8 << 20 ? 1 : 0;
	score += ret->tcache_count == 7 || ret->tcache_count == 16 ? 2 : 0;
	if (segment && segment == target_segment_at(target, top) && ret->sbrk_base <= top)
		score += 3;
	else if (segment && segment->name && strcmp(segment->name, "[heap]") == 0)
		score += 2;
	return score;
}

// The four ints end where mmapped_mem begins, or 4 bytes before: hp_flags of 2.35 moved them.
static void find_parameters_in(struct glibc *glibc, const struct target_segment *segment,
                               uint64_t top, int *best)
{
	enum { INTS_BYTES = 20 };
	unsigned word = glibc->layout.word, bytes_needed = INTS_BYTES + 6 * word;
	uint64_t at = ((segment->start + word - 1) & ~(uint64_t)(word - 1)) + 24;
	for (; at + 6 * word <= segment->contents_end; at += word) {
		const uint8_t *bytes = window_bytes(&glibc->window, at - INTS_BYTES, bytes_needed);

		if (!bytes)
			return;
		for (unsigned pad = 0; pad <= (word == 8 ? 4 : 0); pad += 4) {
			struct glibc_parameters parameters;
			int score = parameters_score(glibc, bytes + 4 - pad, bytes + INTS_BYTES,
			                             top, &parameters);

			if (score <= *best)
				continue;
			*best = score;
			glibc->parameters = parameters;
			glibc->parameters.address = at + 2 * word;
		}
	}
}

static void find_parameters(struct glibc *glibc, uint64_t arena, uint64_t top)
{
	const struct target *target = glibc->target;
	const struct target_file *owner = NULL; // as module_of finds it, for each segment in turn
	int best = FIND_PARAMETERS_MIN - 1;

	for (size_t i = 0; i < target->segment_count; i++) {
		const struct target_segment *segment = &target->segments[i];
		bool holds_arena = arena >= segment->start && arena < segment->end;
		bool near =
			segment->start <= arena + (16 << 20) && segment->end + (16 << 20) >= arena;

		if (segment->file || (i && segment[-1].end != segment->start))
			owner = segment->file;
		if (is_writable_private(segment) && near && (holds_arena || owner == glibc->module))
			find_parameters_in(glibc, segment, top, &best);
	}
}

// --- arenas -------------------------------------------------------------------------------------------
static bool arena_load(struct glibc *glibc, uint64_t address)
{
	const struct glibc_layout *layout = &glibc->layout;
	struct glibc_arena *arena = vec_add(&glibc->arenas);

	if (target_read_some(glibc->target, address, arena->state, layout->state_bytes) !=
	    layout->state_bytes) {
		glibc->arenas.n--;
		return false;
	}
	arena->address = address;
	arena->main = glibc->arenas.n == 1;
	arena->top = glibc_state_word(glibc, arena, layout->top);
	arena->system_mem = glibc_state_word(glibc, arena, layout->system_mem);
	arena->locked = int_at(glibc->target, arena->state) != 0;
	arena->noncontiguous =
		(int_at(glibc->target, arena->state + 4) & 2) != 0; // NONCONTIGUOUS_BIT
	uint64_t head;
	if (arena->top == address + layout->top) // initial_top: nothing was asked of it yet
		arena->top = arena->top_end = 0;
	else if (word_at(glibc, arena->top + layout->word, &head))
		arena->top_end = arena->top + (head & ~(uint64_t)CHUNK_FLAGS);
	else
		arena->top_end = arena->top;
	return true;
}

static void load_arenas(struct glibc *glibc, uint64_t main_arena)
{
	uint64_t at = main_arena;

	do {
		if (!arena_load(glibc, at))
			return;
		at = glibc_state_word(glibc, &glibc->arenas.v[glibc->arenas.n - 1],
		                      glibc->layout.next);
	} while (at != main_arena && glibc->arenas.n < GLIBC_ARENAS_MAX);
}

// HEAP_MAX_SIZE: 64 MiB or 1 MiB (arena.c); with the huge page tunables of 2.35 to 2.41 four huge
// pages (heap_max_size). The first heap of an arena starts at such a boundary with a heap_info whose
// first word points at the arena, right behind it: the size for which most arenas agree is it.
static void derive_heap_size(struct glibc *glibc)
{
	static const uint64_t sizes[] = { 64ull << 20,  1ull << 20, 8ull << 20,
		                          128ull << 20, 4ull << 30, 32ull << 20 };
	struct glibc_layout *layout = &glibc->layout;
	size_t best = 0;

	for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
		size_t votes = 0;
		unsigned header = 0;

		for (size_t i = 1; i < glibc->arenas.n; i++) {
			uint64_t arena = glibc->arenas.v[i].address, heap = arena & ~(sizes[s] - 1),
				 owner;

			if (arena - heap < 4 * layout->word || arena - heap > 16 * layout->word ||
			    !word_at(glibc, heap, &owner) || owner != arena)
				continue;
			votes++;
			header = (unsigned)(arena - heap);
		}
		if (votes > best) {
			best = votes;
			layout->heap_max = sizes[s];
			layout->heap_info_bytes = header;
		}
	}
}

// MALLOC_ALIGNMENT: two words, or what long double needs: 16 on i386 (sysdeps/i386) and powerpc.
static unsigned alignment_of(const struct target *target)
{
	if (target->word_bytes == 8)
		return 16;
	const char *cpu = target->cpu ? target->cpu : "";
	return strncmp(cpu, "arm", 3) == 0 || strncmp(cpu, "mips", 4) == 0 ? 8 : 16;
}

bool glibc_find(struct glibc *glibc)
{
	struct glibc_layout *layout = &glibc->layout;

	layout->word = glibc->target->word_bytes;
	layout->align = alignment_of(glibc->target);
	layout->minimum = layout->word == 8 ? 32 : 16;
	layout->page = target_page_bytes(glibc->target);
	uint64_t main_arena;
	if (!find_main_arena(glibc, &main_arena) && !find_by_symbol(glibc, &main_arena))
		return false;
	glibc->module = module_of(glibc->target, main_arena);
	load_arenas(glibc, main_arena);
	if (!glibc->arenas.n)
		return false;
	derive_heap_size(glibc);
	find_parameters(glibc, main_arena, glibc->arenas.v[0].top);
	return true;
}

// --- before the first malloc --------------------------------------------------------------------------
// Until ptmalloc_init, main_arena is as malloc.c initialises it: nothing but a ring of one and one
// thread attached. Seeing that is the proof that malloc was never called; not finding an arena is not,
// because libc's data may be missing from a core or come, not relocated, from its file.
static bool rests_at(struct glibc *glibc, uint64_t next_at, uint64_t arena)
{
	unsigned word = glibc->layout.word;
	uint64_t header = next_at - arena - 16 - 2 * GLIBC_BINS * word, value;
	if (arena > next_at || header % word || header < FIND_HEADER_WORDS_MIN * word ||
	    header > FIND_HEADER_WORDS_MAX * word)
		return false;
	for (uint64_t at = arena; at < next_at + 4 * word; at += word) {
		uint64_t wanted = at == next_at ? arena : at == next_at + 2 * word ? 1 : 0;
		if (!word_at(glibc, at, &value) || value != wanted)
			return false;
	}
	return true;
}

static bool rests_in(struct glibc *glibc, const struct target_segment *segment)
{
	unsigned word = glibc->layout.word;
	uint64_t at = (segment->start + word - 1) & ~(uint64_t)(word - 1);
	for (; at + word <= segment->contents_end; at += word) {
		const uint8_t *bytes = window_bytes(&glibc->window, at, word);
		if (!bytes)
			return false;
		uint64_t value = target_word(glibc->target, bytes);
		if (value >= segment->start && value < at && rests_at(glibc, at, value))
			return true;
	}
	return false;
}

bool glibc_find_unused(struct glibc *glibc)
{
	const struct target *target = glibc->target;
	for (int pass = 0; pass < 2; pass++)
		for (size_t i = 0; i < target->segment_count; i++)
			if (belongs_to_pass(glibc, i, pass) &&
			    rests_in(glibc, &target->segments[i]))
				return true;
	return false;
}
