// SPDX-License-Identifier: MIT
// The reader of glibc's malloc, 2.26 and later, without symbols. Everything is
// found by structure (glibc_find.c) and then must close: chunks fill each heap
// exactly, bins hold exactly the free chunks, mapped chunks add up to what mp_
// counts, heaps to what their arena counts. What does not close is a fault with
// its place; the rest is reported all the same.
//
// A thread may have been stopped inside malloc. An arena whose mutex is taken is
// read with patience: contradictions that one half done operation leaves are no
// faults, blocks in the hands of such a thread are marked (glibc_transit.c), and
// heaps.in_malloc asks the caller to look again.
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "heaps/glibc.h"

static void glibc_deinit(struct glibc *glibc)
{
	vec_deinit(&glibc->arenas);
	vec_deinit(&glibc->pieces);
	vec_deinit(&glibc->mapped);
	vec_deinit(&glibc->frees);
	vec_deinit(&glibc->caches);
	vec_deinit(&glibc->vectors);
	peek_deinit(&glibc->peek);
	window_deinit(&glibc->window);
}

static void tell_broken(struct heap_build *build, uint64_t bins)
{
	const char *evidence = arena_format(
		build->arena,
		"damaged: the arena whose bins are at 0x%llx is not in a ring of arenas "
		"that closes",
		(unsigned long long)bins);

	build_unknown(build, "glibc", evidence);
}

static bool glibc_probe(struct heap_build *build, void **ret_state)
{
	struct glibc *glibc = arena_alloc(build->arena, sizeof(*glibc));

	glibc->build = build;
	glibc->target = build->target;
	glibc->mapped_zone = ~0u;
	vec_init(&glibc->arenas, build->source);
	vec_init(&glibc->pieces, build->source);
	vec_init(&glibc->mapped, build->source);
	vec_init(&glibc->frees, build->source);
	vec_init(&glibc->caches, build->source);
	vec_init(&glibc->vectors, build->source);
	peek_init(&glibc->peek, build->target);
	window_init(&glibc->window, build->target);
	if (!glibc_find(glibc)) {
		bool unused = !glibc->broken_at && glibc_find_unused(glibc);
		glibc_deinit(glibc);
		glibc->arenas.n = 0;
		if (glibc->broken_at)
			tell_broken(build, glibc->broken_at);
		if (!unused)
			return false;
	}
	*ret_state = glibc;
	return true;
}

// Each arena is pushed to the front of the ring, so that the oldest stands last.
static void name_zones(struct glibc *glibc)
{
	size_t n = glibc->arenas.n;

	for (size_t i = 0; i < n; i++) {
		size_t k = i ? n - i : 0;
		struct glibc_arena *arena = &glibc->arenas.v[k];
		const char *name =
			i ? arena_format(glibc->build->arena, "arena_%zu", i) : "main_arena";

		arena->zone = build_zone(glibc->build, name, "glibc", arena->address);
	}
}

static void emit_mapped(struct glibc *glibc, const struct glibc_mapped *mapped)
{
	if (glibc->mapped_zone == ~0u)
		glibc->mapped_zone = build_zone(glibc->build, "mmapped", "glibc", 0);
	struct heap_block *block = vec_add(&glibc->build->blocks);
	block->hb_address = mapped->memory;
	block->hb_size = mapped->usable;
	block->hb_zone = glibc->mapped_zone;
	block->hb_flags = HEAP_MMAPPED;
	build_range(glibc->build, mapped->start, mapped->end, HEAP_RANGE_BLOCKS,
	            glibc->mapped_zone);
}

// Pieces and mapped chunks in order of address, so that the blocks come out sorted.
static void walk_all(struct glibc *glibc)
{
	size_t mapped = 0;

	for (size_t i = 0; i < glibc->pieces.n; i++) {
		while (mapped < glibc->mapped.n &&
		       glibc->mapped.v[mapped].start < glibc->pieces.v[i].start)
			emit_mapped(glibc, &glibc->mapped.v[mapped++]);
		glibc_walk(glibc, &glibc->pieces.v[i]);
	}
	while (mapped < glibc->mapped.n)
		emit_mapped(glibc, &glibc->mapped.v[mapped++]);
}

// system_mem counts what an arena got from the kernel: brk with foreign gaps, or its heaps.
static void check_sums(struct glibc *glibc)
{
	for (size_t i = 0; i < glibc->arenas.n; i++) {
		const struct glibc_arena *arena = &glibc->arenas.v[i];
		bool known = !arena->main || (glibc->parameters.address && !arena->noncontiguous);
		bool lost = arena->system_mem && !arena->pieces_bytes; // missing from a core

		if (!lost && (arena->locked || !arena->top || !known))
			continue;
		if (arena->system_mem == arena->pieces_bytes)
			continue;
		struct heap_fault fault = { .zone = arena->zone,
			                    .address = arena->address,
			                    .what = "memory of the arena",
			                    .expected = arena->system_mem,
			                    .found = arena->pieces_bytes };
		build_fault(glibc->build, &fault,
		            "its heaps have %llu bytes, but the arena counts %llu",
		            (unsigned long long)arena->pieces_bytes,
		            (unsigned long long)arena->system_mem);
	}
}

static void tell_how(struct glibc *glibc)
{
	const struct glibc_layout *layout = &glibc->layout;
	const char *path =
		glibc->module && glibc->module->path ? glibc->module->path : "the executable";
	static const char *const links[] = { "unknown", "plain", "safe" };
	const char *arenas = "1 arena";

	if (glibc->arenas.n > 1)
		arenas = arena_format(glibc->build->arena,
		                      "%zu arenas in heaps of %lluM with headers of %u",
		                      glibc->arenas.n, (unsigned long long)layout->heap_max >> 20,
		                      layout->heap_info_bytes);
	const char *how = arena_format(
		glibc->build->arena,
		"glibc malloc: main_arena at 0x%llx in %s by structure (bins +%u, top +%u, next +%u, %u fastbins), "
		"%s, mp_ %s%llx counts %u mapped chunks, links %s, "
		"%u thread caches with %u blocks, %u blocks in fastbins, %u in bins",
		(unsigned long long)glibc->arenas.v[0].address,
		text_printable(glibc->build->arena, path), layout->bins, layout->top, layout->next,
		layout->fast_count, arenas, glibc->parameters.address ? "near 0x" : "not found ",
		(unsigned long long)glibc->parameters.address, glibc->parameters.mapped_count,
		links[glibc->links], glibc->tcaches, glibc->cached_chunks, glibc->fast_chunks,
		glibc->bin_chunks);
	build_how(glibc->build, how);
}

// Where another allocator serves the program libc's own is there, but has no memory: a zone of nothing
// would only be in the way.
static bool serves_nobody(const struct glibc *glibc)
{
	return glibc->build->claims.n && glibc->arenas.n == 1 && !glibc->arenas.v[0].system_mem &&
	       !glibc->parameters.mapped_count;
}

static struct error *glibc_read(struct heap_build *build, void *state)
{
	struct glibc *glibc = state;

	if (!glibc->arenas.n) {
		build_how(build, "glibc malloc, which was never called");
		return NULL;
	}
	if (serves_nobody(glibc)) {
		build_how(build, "glibc malloc, which serves nobody here");
		glibc_deinit(glibc);
		return NULL;
	}
	name_zones(glibc);
	glibc_busy(glibc);
	glibc_pieces(glibc);
	glibc_mapped_find(glibc);
	walk_all(glibc);
	build_index(build);
	glibc_lists(glibc);
	glibc_tcaches(glibc);
	glibc_vectors(glibc);
	glibc_transit(glibc);
	glibc_mapped_check(glibc);
	check_sums(glibc);
	tell_how(glibc);
	glibc_deinit(glibc);
	return NULL;
}

const struct heap_reader heap_reader_glibc = {
	.allocator = "glibc",
	.probe = glibc_probe,
	.read = glibc_read,
};
