// SPDX-License-Identifier: MIT
// The caches of threads (tcache_perthread_struct). Each is a block of its heap with
// a size that hardly any other block has, so that the walk collects candidates and
// all chains prove them: no thread register is needed, and caches of threads that
// are just ending are found too. The word of a thread's TLS that points at its
// cache then follows by votes, and tells for which threads there is none.
//
//   2.26-2.29  char counts[64],        entries[64]
//   2.30-2.41  uint16_t counts[64],    entries[64]
//   2.42-      uint16_t num_slots[76], entries[76]; counts down from tcache_count;
//              bins 64 to 75 hold chunks of mixed sizes by powers of two
#include "heaps/glibc.h"

struct tcache_form {
	unsigned bins, count_bytes;
	bool down;
};

static const struct tcache_form forms[] = {
	{ 64, 1, false },
	{ 64, 2, false },
	{ 76, 2, true },
};

enum { FORMS = sizeof(forms) / sizeof(forms[0]), TCACHE_SMALL_BINS = 64, TCACHE_BYTES_MAX = 1024 };

static unsigned form_entries(const struct glibc *glibc, const struct tcache_form *form)
{
	unsigned word = glibc->layout.word;

	return (form->bins * form->count_bytes + word - 1) / word * word;
}

static unsigned form_bytes(const struct glibc *glibc, const struct tcache_form *form)
{
	return form_entries(glibc, form) + form->bins * glibc->layout.word;
}

// A chunk may be one alignment larger than asked for, when the rest would have been too small.
static const struct tcache_form *form_of(const struct glibc *glibc, uint64_t usable)
{
	uint64_t chunk = usable + glibc->layout.word;

	for (unsigned i = 0; i < FORMS; i++) {
		uint64_t expected = glibc_chunk_bytes(&glibc->layout, form_bytes(glibc, &forms[i]));

		if (chunk == expected || chunk == expected + glibc->layout.align)
			return &forms[i];
	}
	return NULL;
}

bool glibc_tcache_size(const struct glibc *glibc, uint64_t usable)
{
	return usable < TCACHE_BYTES_MAX && usable >= 256 && form_of(glibc, usable);
}

static unsigned form_count(const struct glibc *glibc, const struct tcache_form *form,
                           const uint8_t *memory, unsigned bin)
{
	const uint8_t *bytes = memory + bin * form->count_bytes;

	if (form->count_bytes == 1)
		return bytes[0];
	return glibc->target->big_endian ? bytes[0] << 8 | bytes[1] : bytes[1] << 8 | bytes[0];
}

static uint64_t form_entry(const struct glibc *glibc, const struct tcache_form *form,
                           const uint8_t *memory, unsigned bin)
{
	return target_word(glibc->target,
	                   memory + form_entries(glibc, form) + bin * glibc->layout.word);
}

// Cheap enough for every block of such a size: something is cached, all of it could be blocks.
static bool form_likely(const struct glibc *glibc, const struct tcache_form *form,
                        const uint8_t *memory)
{
	uint64_t any = 0, all = 0;

	for (unsigned bin = 0; bin < form->bins; bin++) {
		uint64_t entry = form_entry(glibc, form, memory, bin);

		any |= entry;
		all |= entry & (glibc->layout.align - 1);
	}
	return any && !all;
}

bool glibc_tcache_likely(const struct glibc *glibc, const uint8_t *memory, uint64_t usable)
{
	const struct tcache_form *form = form_of(glibc, usable);
	return form && form_likely(glibc, form, memory);
}

static bool fits_bin(const struct glibc *glibc, ssize_t block, unsigned bin)
{
	if (block < 0)
		return false;
	uint64_t chunk = glibc->build->blocks.v[block].hb_size + glibc->layout.word;
	if (bin >= TCACHE_SMALL_BINS) // large_csize2tidx
		return chunk > glibc->layout.minimum +
		                       (uint64_t)(TCACHE_SMALL_BINS - 1) * glibc->layout.align;
	return chunk == glibc->layout.minimum + (uint64_t)bin * glibc->layout.align;
}

// Follows a chain; its length, or -1 when it is none. With mark its blocks become HEAP_CACHED.
static long follow(struct glibc *glibc, uint64_t entry, unsigned bin, enum glibc_links links,
                   bool mark)
{
	long length = 0;
	uint64_t stored;

	while (entry) {
		ssize_t i = build_find_start(glibc->build, entry);

		if (!fits_bin(glibc, i, bin) || length > 0xffff ||
		    !peek_word(&glibc->peek, entry, &stored))
			return -1;
		struct heap_block *block = &glibc->build->blocks.v[i];
		if (mark && block->hb_state == HEAP_USED) {
			block->hb_state = HEAP_CACHED;
			glibc->cached_chunks++;
		}
		length++;
		entry = glibc_link(entry, stored, links);
	}
	return length;
}

struct verdict {
	bool proved;       // every chain is one, and at least one is as long as its count
	bool counts_close; // all of them are
};

// count is what the cache says about a chain of length; in 2.42 it says how many more fit.
static bool count_agrees(const struct glibc *glibc, const struct tcache_form *form, unsigned count,
                         long length)
{
	uint64_t most = glibc->parameters.tcache_count;

	if (!form->down)
		return count == length;
	return most ? count + (uint64_t)length == most : true;
}

static struct verdict judge(struct glibc *glibc, const uint8_t *memory,
                            const struct tcache_form *form, enum glibc_links links, bool mark)
{
	struct verdict verdict = { .proved = true };
	unsigned off = 0, chains = 0;

	for (unsigned bin = 0; bin < form->bins; bin++) {
		long length = follow(glibc, form_entry(glibc, form, memory, bin), bin, links, mark);
		unsigned count = form_count(glibc, form, memory, bin);

		if (length < 0 || (!form->down && length > (long)count + 1)) {
			verdict.proved = false;
			if (!mark)
				return verdict;
			continue;
		}
		bool agrees = count_agrees(glibc, form, count, length);
		chains += length > 0 && agrees;
		off += !agrees;
	}
	verdict.proved = verdict.proved && chains;
	verdict.counts_close = off == 0;
	return verdict;
}

static bool read_cache(struct glibc *glibc, uint64_t address, uint8_t *memory,
                       const struct tcache_form **ret_form)
{
	ssize_t i = build_find_start(glibc->build, address);

	if (i < 0 || !glibc_tcache_size(glibc, glibc->build->blocks.v[i].hb_size) ||
	    glibc->build->blocks.v[i].hb_state == HEAP_FREE)
		return false;
	*ret_form = form_of(glibc, glibc->build->blocks.v[i].hb_size);
	if (!*ret_form)
		return false;
	size_t bytes = form_bytes(glibc, *ret_form);
	return target_read_some(glibc->target, address, memory, bytes) == bytes;
}

static void own(struct glibc *glibc, uint64_t address)
{
	ssize_t i = build_find_start(glibc->build, address);

	glibc->build->blocks.v[i].hb_flags |= HEAP_LOADER;
	glibc->tcaches++;
}

// Proves a candidate and marks what it holds. Which kind of links, the first good one tells.
static bool accept(struct glibc *glibc, uint64_t address)
{
	uint8_t memory[TCACHE_BYTES_MAX];
	const struct tcache_form *form;

	if (!read_cache(glibc, address, memory, &form))
		return false;
	enum glibc_links from = glibc->links == LINKS_UNKNOWN ? LINKS_PLAIN : glibc->links;
	enum glibc_links to = glibc->links == LINKS_UNKNOWN ? LINKS_SAFE : glibc->links;
	for (enum glibc_links links = from; links <= to; links++) {
		struct verdict verdict = judge(glibc, memory, form, links, false);

		if (!verdict.proved)
			continue;
		glibc->links = links;
		judge(glibc, memory, form, links, true);
		if (!verdict.counts_close) // between the link and the count of one malloc or free
			glibc->build->in_malloc = true;
		own(glibc, address);
		return true;
	}
	return false;
}

// --- which thread has which -----------------------------------------------------------------------
enum { TLS_WORDS = 1024 }; // below the thread pointer (x86); above it on CPUs with the other layout

static uint64_t tls_word(struct glibc *glibc, const struct target_thread *thread, int slot)
{
	uint64_t word = 0;
	uint64_t address = thread->tp + (uint64_t)((int64_t)slot * (int)glibc->layout.word);

	return peek_word(&glibc->peek, address, &word) ? word : 0;
}

static bool is_proved(const struct glibc *glibc, uint64_t address)
{
	ssize_t i = address ? build_find_start(glibc->build, address) : -1;

	return i >= 0 && glibc->build->blocks.v[i].hb_flags & HEAP_LOADER;
}

static bool has_cache_size(const struct glibc *glibc, uint64_t address)
{
	ssize_t i = address ? build_find_start(glibc->build, address) : -1;

	return i >= 0 && glibc_tcache_size(glibc, glibc->build->blocks.v[i].hb_size);
}

// A thread's cache is the first that it asks for, so the oldest thread of an arena has the arena's
// first block.
static bool is_first_block(const struct glibc *glibc, uint64_t address)
{
	for (size_t i = 0; i < glibc->pieces.n; i++)
		if (address == glibc->pieces.v[i].start + 2 * glibc->layout.word)
			return true;
	return false;
}

// The TLS word that points at what has a cache's size in most threads, and at a proved cache in one
// at least; when damage left none to be proved, at the first block of an arena. 0 when there is none.
static int vote_slot(struct glibc *glibc)
{
	unsigned votes[2 * TLS_WORDS + 1] = { 0 };
	bool known[2 * TLS_WORDS + 1] = { false };
	size_t sample = glibc->target->thread_count < 16 ? glibc->target->thread_count : 16;
	int best = 0;

	for (size_t t = 0; t < sample; t++) {
		if (!glibc->target->threads[t].tp)
			continue;
		for (int slot = -TLS_WORDS; slot <= TLS_WORDS; slot++) {
			uint64_t address = tls_word(glibc, &glibc->target->threads[t], slot);

			if (!has_cache_size(glibc, address))
				continue;
			votes[slot + TLS_WORDS]++;
			known[slot + TLS_WORDS] |= glibc->tcaches ? is_proved(glibc, address)
			                                          : is_first_block(glibc, address);
		}
	}
	for (int slot = -TLS_WORDS; slot <= TLS_WORDS; slot++)
		if (known[slot + TLS_WORDS] &&
		    (!best || votes[slot + TLS_WORDS] > votes[best + TLS_WORDS]))
			best = slot;
	return best;
}

// A cache that holds nothing proves nothing, but it is where the others have theirs.
static bool is_empty_cache(struct glibc *glibc, uint64_t address)
{
	uint8_t memory[TCACHE_BYTES_MAX];
	const struct tcache_form *form;

	if (!read_cache(glibc, address, memory, &form))
		return false;
	for (unsigned bin = 0; bin < form->bins; bin++)
		if (form_entry(glibc, form, memory, bin))
			return false;
	return true;
}

// One malloc or free is one off at most; only a cache that is being given up (tcache_thread_shutdown)
// is more, and no thread knows that any more.
static bool is_short(struct glibc *glibc, uint64_t address)
{
	uint8_t memory[TCACHE_BYTES_MAX];
	const struct tcache_form *form;

	if (!read_cache(glibc, address, memory, &form) || form->down)
		return false;
	for (unsigned bin = 0; bin < form->bins; bin++) {
		uint64_t entry = form_entry(glibc, form, memory, bin);
		long length = follow(glibc, entry, bin, glibc->links, false);

		if (length + 1 < (long)form_count(glibc, form, memory, bin))
			return true;
	}
	return false;
}

// What the chains of a damaged cache still lead to is no block of the program.
static void mark_remains(struct glibc *glibc, uint64_t address)
{
	uint8_t memory[TCACHE_BYTES_MAX];
	const struct tcache_form *form;

	if (glibc->links != LINKS_UNKNOWN && read_cache(glibc, address, memory, &form))
		judge(glibc, memory, form, glibc->links, true);
}

static void lost_cache(struct glibc *glibc, const struct target_thread *thread, uint64_t address)
{
	struct heap_fault fault = { .zone = glibc->arenas.v[0].zone,
		                    .address = address,
		                    .what = "cache of a thread" };

	build_fault(glibc->build, &fault,
	            "not all free blocks in the cache of thread %d at 0x%llx can be told",
	            thread->tid, (unsigned long long)address);
}

// 2.42 and later start with a pointer at a constant table of the module (__tcache_dummy).
static bool is_placeholder(const struct glibc *glibc, uint64_t address)
{
	const struct target_segment *segment = target_segment_at(glibc->target, address);

	return !segment || (segment->file && segment->file == glibc->module);
}

static void check_threads(struct glibc *glibc)
{
	int slot = vote_slot(glibc);

	if (!slot)
		return;
	for (size_t t = 0; t < glibc->target->thread_count; t++) {
		const struct target_thread *thread = &glibc->target->threads[t];
		uint64_t cache = thread->tp ? tls_word(glibc, thread, slot) : 0;

		if (!cache || is_placeholder(glibc, cache))
			continue;
		bool proved = is_proved(glibc, cache), empty = is_empty_cache(glibc, cache);
		if (empty && !proved)
			own(glibc, cache);
		if ((!proved && !empty && !glibc->build->in_malloc) ||
		    ((proved || empty) && is_short(glibc, cache))) {
			lost_cache(glibc, thread, cache);
			mark_remains(glibc, cache);
		}
	}
}

void glibc_tcaches(struct glibc *glibc)
{
	for (size_t i = 0; i < glibc->caches.n; i++)
		accept(glibc, glibc->caches.v[i]);
	check_threads(glibc);
}
