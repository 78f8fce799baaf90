// SPDX-License-Identifier: MIT
// Shared by the files of the glibc reader. Facts are from glibc's malloc/malloc.c and
// malloc/arena.c, releases 2.26 to 2.43; where a file relies on one it says which.
//
//   glibc.c         the reader: order of the steps, sums, what it says with -v
//   glibc_find.c    main_arena, the ring of arenas, mp_, and from them the offsets
//   glibc_pieces.c  which memory each arena has, as pieces to walk
//   glibc_walk.c    from chunk to chunk through a piece
//   glibc_mapped.c  chunks with a mapping of their own
//   glibc_lists.c   bins and fastbins
//   glibc_tcache.c  the caches of threads
//   glibc_vectors.c TLS vectors of threads
//   glibc_transit.c blocks that a stopped malloc or free has in its hands
#pragma once

#include "heaps/heaps_impl.h"

enum {
	CHUNK_PREV_INUSE = 1,
	CHUNK_IS_MMAPPED = 2,
	CHUNK_NON_MAIN = 4,
	CHUNK_FLAGS = 7,
	GLIBC_BINS = 127,           // NBINS - 1
	GLIBC_ARENAS_MAX = 1 << 16, // a ring longer than this is taken for damage
	GLIBC_STATE_BYTES_MAX = 2304,
};

// Offsets into malloc_state and friends, derived from the target.
struct glibc_layout {
	unsigned word;    // SIZE_SZ
	unsigned align;   // MALLOC_ALIGNMENT
	unsigned minimum; // MINSIZE
	uint64_t page;
	unsigned bins, top, next, system_mem, state_bytes;
	unsigned fast_first, fast_count; // fastbinsY; 2.43 has none
	uint64_t heap_max;               // HEAP_MAX_SIZE
	unsigned heap_info_bytes;        // 0 while there is only the main arena
};

struct glibc_arena {
	uint64_t address, top, top_end, system_mem;
	uint64_t pieces_bytes; // of its pieces, to compare with system_mem
	uint32_t zone;
	bool main, noncontiguous;
	bool locked;                          // a thread is inside malloc with this arena
	unsigned in_transit;                  // contradictions that a stop inside malloc explains
	uint8_t state[GLIBC_STATE_BYTES_MAX]; // copy of its malloc_state
};

// Memory to walk, [start, end), where start is a chunk.
struct glibc_piece {
	uint64_t start, end;
	uint32_t arena;
	bool gaps; // the main arena's brk memory: somebody else's sbrk may lie in between
};

struct glibc_mapped {
	uint64_t start, end; // of the mapping
	uint64_t memory, usable;
};

// A free chunk in a bin, with its links.
struct glibc_free {
	uint64_t chunk, next, previous;
};

// mp_, as far as it is needed.
struct glibc_parameters {
	uint64_t address; // of sbrk_base; 0 when mp_ was not found
	uint64_t sbrk_base, mmapped_bytes;
	uint32_t mapped_count;
	uint64_t tcache_bins, tcache_count;
};

enum glibc_links { LINKS_UNKNOWN, LINKS_PLAIN, LINKS_SAFE }; // safe-linking: 2.32 and later

struct glibc {
	struct heap_build *build;
	struct target *target;
	struct glibc_layout layout;
	struct glibc_parameters parameters;
	enum glibc_links links;
	uint64_t broken_at; // bins of libc's without a ring of arenas that closes; or 0
	const struct target_file
		*module; // that holds main_arena: libc or the executable; may be NULL
	VEC(struct glibc_arena) arenas; // the first is main_arena
	VEC(struct glibc_piece) pieces;
	VEC(struct glibc_mapped) mapped;
	VEC(struct glibc_free) frees;
	VEC(uint64_t) vectors; // blocks that may be a TLS vector
	VEC(uint64_t) caches;  // blocks that may be a tcache_perthread_struct
	uint32_t mapped_zone;  // ~0 before there is one
	unsigned tcaches, fast_chunks, bin_chunks, cached_chunks;
	struct peek peek;
	struct window window;
};

// --- glibc_find.c: false when this is no glibc, or one whose malloc was never called.
bool glibc_find(struct glibc *glibc);

// Whether a main_arena is there that nobody has asked for anything yet.
bool glibc_find_unused(struct glibc *glibc);

// --- glibc_pieces.c
void glibc_pieces(struct glibc *glibc);

// --- glibc_walk.c
void glibc_walk(struct glibc *glibc, struct glibc_piece *piece);

enum { WALK_CHAIN = 24 }; // so many good chunks in a row are no accident

// Whether chunks from address on make sense: count of them, or to the end of the piece (the top
// included), or to a pair of fenceposts. *ret_end is where it stopped.
bool glibc_chain(struct glibc *glibc, struct window *window, const struct glibc_piece *piece,
                 uint64_t address, unsigned count, uint64_t *ret_end);

// --- glibc_mapped.c
void glibc_mapped_find(struct glibc *glibc);
void glibc_mapped_check(struct glibc *glibc);

// --- after the walk
void glibc_lists(struct glibc *glibc);
bool glibc_tcache_likely(const struct glibc *glibc, const uint8_t *memory, uint64_t usable);
bool glibc_tcache_size(const struct glibc *glibc, uint64_t usable);
void glibc_tcaches(struct glibc *glibc);
bool glibc_vector_likely(const struct glibc *glibc, uint64_t usable, uint64_t word,
                         uint64_t second);
void glibc_vectors(struct glibc *glibc);
void glibc_transit(struct glibc *glibc);

// A program with one thread takes no locks (SINGLE_THREAD_P): where it stands tells instead. Sets
// locked of the main arena; before the walk.
void glibc_busy(struct glibc *glibc);

// The link stored at position, decoded; plain in 2.31 and before.
static inline uint64_t glibc_link(uint64_t position, uint64_t stored, enum glibc_links links)
{
	return links == LINKS_SAFE ? stored ^ position >> 12 : stored;
}

static inline uint64_t glibc_state_word(const struct glibc *glibc, const struct glibc_arena *arena,
                                        unsigned offset)
{
	return target_word(glibc->target, arena->state + offset);
}

// mremap_chunk of 2.43 takes the old chunk for a header smaller than it was, so that mp_.mmapped_mem
// is more than the mappings by one header for each realloc that moved one.
static inline bool glibc_counter_drifts(const struct glibc_layout *layout)
{
	return layout->fast_count == 0;
}

// The smallest chunk that holds bytes (request2size).
static inline uint64_t glibc_chunk_bytes(const struct glibc_layout *layout, uint64_t bytes)
{
	uint64_t size = (bytes + layout->word + layout->align - 1) & ~(uint64_t)(layout->align - 1);

	return size < layout->minimum ? layout->minimum : size;
}
