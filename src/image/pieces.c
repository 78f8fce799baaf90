// SPDX-License-Identifier: MIT
// Every byte of the file belongs to one thing. Headers come before sections,
// sections before segments; of two sections that overlap (which none should) the
// one that begins later has the bytes. One sweep over the sorted borders, so that
// a million sections cost n log n, also when all of them overlap.
#include <stdlib.h>
#include <string.h>

#include "base/search.h"
#include "image/image_impl.h"

struct extent {
	uint64_t start, end;
	enum image_kind kind;
	uint32_t index;
};

// Extents that cover the place where the sweep is: a heap with the owner at its root. Those that have
// ended are dropped when they come to the root.
struct cover {
	VEC(struct extent) extents; // by start
	VEC(uint32_t) heap;
	size_t next;
};

static bool owns_before(const struct extent *a, const struct extent *b)
{
	enum image_kind p = a->kind < IMAGE_SECTION ? a->kind : IMAGE_SECTION;
	enum image_kind q = b->kind < IMAGE_SECTION ? b->kind : IMAGE_SECTION;

	if (p != q)
		return p < q;
	if (a->start != b->start)
		return a->start > b->start;
	return a->end != b->end ? a->end < b->end : a->index < b->index;
}

static bool above(const struct cover *cover, size_t a, size_t b)
{
	return owns_before(&cover->extents.v[cover->heap.v[a]],
	                   &cover->extents.v[cover->heap.v[b]]);
}

static void exchange(struct cover *cover, size_t a, size_t b)
{
	uint32_t kept = cover->heap.v[a];

	cover->heap.v[a] = cover->heap.v[b];
	cover->heap.v[b] = kept;
}

static void heap_push(struct cover *cover, uint32_t extent)
{
	size_t at = cover->heap.n;

	vec_push(&cover->heap, extent);
	for (; at && above(cover, at, (at - 1) / 2); at = (at - 1) / 2)
		exchange(cover, at, (at - 1) / 2);
}

static void heap_pop(struct cover *cover)
{
	size_t at = 0, child;

	cover->heap.v[0] = cover->heap.v[--cover->heap.n];
	while ((child = 2 * at + 1) < cover->heap.n) {
		if (child + 1 < cover->heap.n && above(cover, child + 1, child))
			child++;
		if (!above(cover, child, at))
			break;
		exchange(cover, at, child);
		at = child;
	}
}

static const struct extent *cover_root(struct cover *cover, uint64_t offset)
{
	while (cover->heap.n && cover->extents.v[cover->heap.v[0]].end <= offset)
		heap_pop(cover);
	return cover->heap.n ? &cover->extents.v[cover->heap.v[0]] : NULL;
}

static void fault_overlap(struct image *image, const struct extent *a, const struct extent *b)
{
	if (!image_fault_wanted(image))
		return;
	if (a->kind == IMAGE_SECTION && b->kind == IMAGE_SECTION)
		image_fault(image, "%s overlaps %s at 0x%lx", image_name_of(image, a->index),
		            image_name_of(image, b->index), a->start);
	else
		image_fault(image, "headers overlap other headers or a section at 0x%lx", a->start);
}

// The owner of the bytes at offset. image: where overlaps are faults, NULL where they are usual.
static const struct extent *cover_at(struct cover *cover, uint64_t offset, struct image *image)
{
	for (; cover->next < cover->extents.n; cover->next++) {
		const struct extent *extent = &cover->extents.v[cover->next];
		const struct extent *root;

		if (extent->start > offset)
			break;
		root = cover_root(cover, offset);
		if (root && image)
			fault_overlap(image, extent, root);
		heap_push(cover, (uint32_t)cover->next);
	}
	return cover_root(cover, offset);
}

static int compare_extents(const void *left, const void *right)
{
	const struct extent *a = left, *b = right;

	if (a->start != b->start)
		return a->start < b->start ? -1 : 1;
	return owns_before(a, b) ? -1 : owns_before(b, a);
}

static void cover_init(struct cover *cover)
{
	vec_init(&cover->extents, &os_page_source);
	vec_init(&cover->heap, &os_page_source);
	cover->next = 0;
}

static void cover_deinit(struct cover *cover)
{
	vec_deinit(&cover->extents);
	vec_deinit(&cover->heap);
}

static void cover_add(struct cover *cover, uint64_t start, uint64_t bytes, enum image_kind kind,
                      uint32_t index)
{
	if (bytes)
		vec_push(&cover->extents, ((struct extent){ start, start + bytes, kind, index }));
}

// --- the sweep ------------------------------------------------------------------------------------
struct sweep {
	struct image *image;
	struct cover owners, segments, loads;
	VEC(uint64_t) borders;
};

static void add_borders(struct sweep *sweep, const struct cover *cover)
{
	for (size_t i = 0; i < cover->extents.n; i++) {
		vec_push(&sweep->borders, cover->extents.v[i].start);
		vec_push(&sweep->borders, cover->extents.v[i].end);
	}
}

static int compare_borders(const void *left, const void *right)
{
	uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;

	return (a > b) - (a < b);
}

static void sort_cover(struct cover *cover)
{
	if (cover->extents.n)
		qsort(cover->extents.v, cover->extents.n, sizeof(*cover->extents.v),
		      compare_extents);
}

static void collect_owners(struct image *image, struct cover *owners)
{
	cover_add(owners, 0, image->word_bytes == 8 ? sizeof(Elf64_Ehdr) : sizeof(Elf32_Ehdr),
	          IMAGE_ELF_HEADER, 0);
	cover_add(owners, image->segment_table, image->segment_table_bytes, IMAGE_PROGRAM_HEADERS,
	          0);
	cover_add(owners, image->section_table, image->section_table_bytes, IMAGE_SECTION_HEADERS,
	          0);
	for (size_t i = 0; i < image->sections.n; i++) {
		const struct image_section *section = &image->sections.v[i];

		if (section->type != SHT_NULL && section->type != SHT_NOBITS)
			cover_add(owners, section->offset, section->bytes, IMAGE_SECTION,
			          (uint32_t)i);
	}
}

static void collect_segments(const struct image *image, struct sweep *sweep)
{
	// Where the code of a debug file would be, is something else in it.
	if (image->debug_file)
		return;
	for (size_t i = 0; i < image->segments.n; i++) {
		const struct image_segment *segment = &image->segments.v[i];

		cover_add(&sweep->segments, segment->offset, segment->file_bytes, IMAGE_SEGMENT,
		          (uint32_t)i);
		if (segment->type == PT_LOAD)
			cover_add(&sweep->loads, segment->offset, segment->file_bytes,
			          IMAGE_SEGMENT, (uint32_t)i);
	}
}

static void set_address(const struct image *image, struct image_piece *piece)
{
	const struct image_segment *load =
		piece->load == IMAGE_NONE ? NULL : &image->segments.v[piece->load];
	const struct image_section *section =
		piece->kind == IMAGE_SECTION ? &image->sections.v[piece->index] : NULL;

	// What no process loads has no address, even when a segment reaches over it.
	if (section && (!(section->flags & SHF_ALLOC) || image->type == ET_REL))
		return;
	if (!section && !load)
		return;
	piece->has_address = true;
	piece->address = section ? section->address + (piece->start - section->offset)
	                         : load->address + (piece->start - load->offset);
}

static void add_piece(struct sweep *sweep, uint64_t start, uint64_t end)
{
	struct image *image = sweep->image;
	const struct extent *owner = cover_at(&sweep->owners, start, image);
	const struct extent *segment = cover_at(&sweep->segments, start, NULL);
	const struct extent *load = cover_at(&sweep->loads, start, NULL);
	const struct extent *named = owner ? owner : segment;
	struct image_piece piece = {
		.start = start,
		.end = end,
		.kind = named ? named->kind : IMAGE_UNNAMED,
		.index = named ? named->index : 0,
		.load = load ? load->index : IMAGE_NONE,
	};
	struct image_piece *last =
		image->pieces.list.n ? &image->pieces.list.v[image->pieces.list.n - 1] : NULL;

	if (last && last->kind == piece.kind && last->index == piece.index &&
	    last->load == piece.load) {
		last->end = end;
		return;
	}
	set_address(image, &piece);
	vec_push(&image->pieces.list, piece);
}

static void sweep_all(struct sweep *sweep)
{
	uint64_t from = 0;

	qsort(sweep->borders.v, sweep->borders.n, sizeof(*sweep->borders.v), compare_borders);
	for (size_t i = 0; i < sweep->borders.n; i++) {
		uint64_t border = sweep->borders.v[i];

		if (border <= from)
			continue;
		if (border > sweep->image->bytes)
			break;
		add_piece(sweep, from, border);
		from = border;
	}
}

void image_pieces_make(struct image *image)
{
	struct sweep sweep = { .image = image };

	cover_init(&sweep.owners);
	cover_init(&sweep.segments);
	cover_init(&sweep.loads);
	vec_init(&sweep.borders, &os_page_source);
	collect_owners(image, &sweep.owners);
	collect_segments(image, &sweep);
	sort_cover(&sweep.owners);
	sort_cover(&sweep.segments);
	sort_cover(&sweep.loads);
	add_borders(&sweep, &sweep.owners);
	add_borders(&sweep, &sweep.segments);
	vec_push(&sweep.borders, image->bytes);
	sweep_all(&sweep);
	vec_deinit(&sweep.borders);
	cover_deinit(&sweep.owners);
	cover_deinit(&sweep.segments);
	cover_deinit(&sweep.loads);
}

size_t image_piece_find(const struct image *image, uint64_t offset)
{
	return first_index(image->pieces.list.n, i, image->pieces.list.v[i].end > offset);
}

// --- padding --------------------------------------------------------------------------------------
#define PART_BYTES 4096

static bool is_all(const uint8_t *bytes, size_t n, uint8_t value)
{
	for (size_t i = 0; i < n; i++)
		if (bytes[i] != value)
			return false;
	return true;
}

// Linkers fill gaps between sections with zeros; in code some fill with one instruction of a byte.
bool image_is_padding(const struct image *image, const struct image_piece *piece)
{
	bool code = piece->load != IMAGE_NONE && image->segments.v[piece->load].flags & PF_X;
	uint8_t part[PART_BYTES], value = 0;

	for (uint64_t at = piece->start; at < piece->end;) {
		size_t n = piece->end - at < PART_BYTES ? piece->end - at : PART_BYTES;

		if (!image_read(image, at, part, n))
			return false;
		if (code && at == piece->start)
			value = part[0];
		if (!is_all(part, n, value))
			return false;
		at += n;
	}
	return true;
}
