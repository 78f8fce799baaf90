// SPDX-License-Identifier: MIT
// One page of the file: what it contains, the symbols by ranges of addresses, what the kernel and the
// loader do with it. Called by pagestuff.c.
#include <elf.h>
#include <inttypes.h>

#include "base/base.h"
#include "report/pagestuff_impl.h"

#define MOST_ARENA_BYTES ((size_t)1 << 20)

const char *pagestuff_name(struct pagestuff_view *view, const char *name)
{
	return text_printable(view->arena, name);
}

// --- contents -------------------------------------------------------------------------------------
static const char *kind_word(enum image_kind kind)
{
	static const char *const words[] = {
		[IMAGE_ELF_HEADER] = "elf_header",
		[IMAGE_PROGRAM_HEADERS] = "program_headers",
		[IMAGE_SECTION_HEADERS] = "section_headers",
		[IMAGE_SECTION] = "section",
		[IMAGE_SEGMENT] = "segment",
		[IMAGE_PADDING] = "padding",
		[IMAGE_UNNAMED] = "unnamed",
	};

	return words[kind];
}

// "LOAD 3 r-x"
static const char *segment_text(struct pagestuff_view *view, uint32_t index)
{
	const struct image_segment *segment = &view->image->segments.v[index];

	return arena_format(view->arena, "%s %" PRIu32 " %s",
	                    pagestuff_segment_type(view->arena, segment->type), index,
	                    pagestuff_protection(segment->flags));
}

static void emit_contents_text(struct emitter *e, struct pagestuff_view *view,
                               const struct image_piece *piece, const char *name)
{
	switch (piece->kind) {
	case IMAGE_ELF_HEADER:
		emit_text(e, "the ELF header\n");
		break;
	case IMAGE_PROGRAM_HEADERS:
		emit_text(e, "program headers\n");
		break;
	case IMAGE_SECTION_HEADERS:
		emit_text(e, "section headers\n");
		break;
	case IMAGE_SECTION:
		if (piece->load == IMAGE_NONE || !piece->has_address)
			emit_text(e, "contents of section (%s)\n", name);
		else
			emit_text(e, "contents of section (%s,%s)\n",
			          segment_text(view, piece->load), name);
		break;
	case IMAGE_SEGMENT:
		emit_text(e, "contents of segment (%s)\n", segment_text(view, piece->index));
		break;
	case IMAGE_PADDING:
		emit_text(e, "padding\n");
		break;
	case IMAGE_UNNAMED:
		emit_text(e, "%" PRIu64 " bytes that nothing names\n", piece->end - piece->start);
		break;
	}
}

static void emit_index(struct emitter *e, const char *key, uint32_t index)
{
	emit_known_u64(e, key, index != IMAGE_NONE, index, NULL);
}

static void emit_piece(struct emitter *e, struct pagestuff_view *view,
                       const struct image_page *page, const struct image_piece *piece)
{
	bool section = piece->kind == IMAGE_SECTION;
	const char *name =
		section ? pagestuff_name(view, view->image->sections.v[piece->index].name) : NULL;

	// Gaps between sections are usual; as lines they would only hide what the page is for.
	if (emit_is_text(e) && (piece->kind != IMAGE_PADDING || page->pieces.list.n == 1)) {
		emit_text(e, "File Page %" PRIu64 " contains ", page->number);
		emit_contents_text(e, view, piece, name);
	}
	emit_object(e, NULL);
	emit_string(e, "kind", kind_word(piece->kind), NULL);
	emit_u64(e, "start", piece->start, NULL);
	emit_u64(e, "end", piece->end, NULL);
	emit_index(e, "section", section ? piece->index : IMAGE_NONE);
	emit_string(e, "name", name, NULL);
	emit_index(e, "segment", piece->kind == IMAGE_SEGMENT ? piece->index : piece->load);
	if (piece->has_address)
		emit_address(e, "address", piece->address, NULL);
	else
		emit_null(e, "address");
	emit_object_end(e);
}

// --- symbols --------------------------------------------------------------------------------------
// Bytes of the page that follow each other in memory, too; or bytes of one section that has no address.
struct range {
	uint64_t start, end; // of the file
	bool has_address;
	uint32_t section; // IMAGE_NONE, or the section when there is no address
	uint64_t address; // or the offset in the section
};

static struct range range_of(const struct image *image, const struct image_piece *piece)
{
	struct range range = {
		.start = piece->start,
		.end = piece->end,
		.has_address = piece->has_address,
		.section = IMAGE_NONE,
		.address = piece->address,
	};

	if (!piece->has_address && piece->kind == IMAGE_SECTION) {
		range.section = piece->index;
		range.address = piece->start - image->sections.v[piece->index].offset;
	}
	return range;
}

static void emit_symbol(struct emitter *e, struct pagestuff_view *view,
                        const struct image_symbol *symbol)
{
	static const char *const sources[] = { "symtab", "dynsym", "gnu_debugdata" };

	emit_object(e, NULL);
	emit_address(e, "address", symbol->value,
	             view->image->word_bytes == 8 ? " 0x%016" PRIx64 : " 0x%08" PRIx64);
	emit_string(e, "name", pagestuff_name(view, symbol->name), " %s\n");
	emit_u64(e, "bytes", symbol->bytes, NULL);
	emit_string(e, "source", sources[symbol->source], NULL);
	emit_bool(e, "cold", symbol->heat == IMAGE_COLD, NULL);
	emit_object_end(e);
}

static bool is_shown(const struct pagestuff_view *view, const struct range *range, bool has_symbols)
{
	if (range->has_address || has_symbols)
		return true;
	return range->section != IMAGE_NONE && view->image->type == ET_REL &&
	       view->image->sections.v[range->section].flags & SHF_ALLOC;
}

// *at is the first symbol that was not shown yet; those of a page are ascending as its ranges are.
static void emit_range(struct emitter *e, struct pagestuff_view *view,
                       const struct image_page *page, const struct range *range, size_t *at)
{
	size_t end = page->first_symbol + page->symbol_count;
	const struct image_symbol *symbols = view->image->symbols.v;
	bool has_symbols = *at < end && symbols[*at].offset < range->end;

	if (!is_shown(view, range, has_symbols))
		return;
	emit_object(e, NULL);
	emit_text(e, "Symbols on file page %" PRIu64, page->number);
	if (range->has_address)
		emit_text(e, " virtual address");
	else if (range->section != IMAGE_NONE)
		emit_text(e, " section (%s) offset",
		          pagestuff_name(view, view->image->sections.v[range->section].name));
	else
		emit_text(e, " file offset");
	emit_bool(e, "has_address", range->has_address, NULL);
	emit_index(e, "section", range->section);
	emit_address(e, "start", range->address, " 0x%" PRIx64);
	emit_address(e, "end", range->address + (range->end - range->start), " to 0x%" PRIx64 "\n");
	emit_array(e, "symbols");
	for (; *at < end && symbols[*at].offset < range->end; ++*at)
		emit_symbol(e, view, &symbols[*at]);
	emit_array_end(e);
	emit_object_end(e);
}

static void emit_ranges(struct emitter *e, struct pagestuff_view *view,
                        const struct image_page *page)
{
	size_t at = page->first_symbol;
	struct range open = { 0 };

	emit_array(e, "ranges");
	for (size_t i = 0; i < page->pieces.list.n; i++) {
		struct range next = range_of(view->image, &page->pieces.list.v[i]);

		if (open.end && open.has_address && next.has_address &&
		    next.address == open.address + (open.end - open.start)) {
			open.end = next.end;
			continue;
		}
		if (open.end)
			emit_range(e, view, page, &open, &at);
		open = next;
	}
	if (open.end)
		emit_range(e, view, page, &open, &at);
	emit_array_end(e);
}

// --- what is done with it -------------------------------------------------------------------------
static void emit_kernel(struct emitter *e, const struct pagestuff_view *view,
                        const struct image_page *page)
{
	const struct image *image = view->image;
	uint64_t bytes = page->end - page->start;

	emit_known_u64(e, "cached_bytes", image->cached.known, page->cached_bytes, NULL);
	emit_known_u64(e, "mapped_bytes", image->process.mapped.known, page->mapped_bytes, NULL);
	emit_known_u64(e, "private_bytes", image->process.private.known, page->private_bytes, NULL);
	if (view->settings->common.verbose && image->cached.known)
		emit_text(e, "File Page %" PRIu64 " is %s the page cache\n", page->number,
		          page->cached_bytes == bytes ? "in"
		          : page->cached_bytes        ? "partly in"
		                                      : "not in");
	if (image->process.pid)
		emit_text(e, "File Page %" PRIu64 " is %smapped by process %d%s\n", page->number,
		          page->mapped_bytes == bytes ? ""
		          : page->mapped_bytes        ? "partly "
		                                      : "not ",
		          image->process.pid,
		          page->private_bytes ? ", which has a copy of its own" : "");
}

static bool is_mixed(const struct image_page *page)
{
	return page->cold_functions && (page->hot_functions || page->other_functions);
}

static void emit_loader(struct emitter *e, const struct pagestuff_view *view,
                        const struct image_page *page)
{
	const struct image_relocations *counts = &page->relocations;
	bool shown = view->settings->common.verbose &&
	             (counts->relative || counts->symbolic || counts->lazy);

	emit_object(e, "relocations");
	if (shown)
		emit_text(e, "File Page %" PRIu64 " is written to by the loader:", page->number);
	emit_u64(e, "relative", counts->relative, shown ? " %" PRIu64 " relative," : NULL);
	emit_u64(e, "symbolic", counts->symbolic, shown ? " %" PRIu64 " symbolic," : NULL);
	emit_u64(e, "lazy", counts->lazy, shown ? " %" PRIu64 " lazy\n" : NULL);
	emit_object_end(e);
}

static void emit_code(struct emitter *e, const struct pagestuff_view *view,
                      const struct image_page *page)
{
	bool verbose = view->settings->common.verbose, shown = verbose && is_mixed(page);

	emit_u64(e, "padding_bytes", page->padding_bytes, NULL);
	if (verbose && page->padding_bytes)
		emit_text(e, "File Page %" PRIu64 " has %" PRIu64 " bytes of padding\n",
		          page->number, page->padding_bytes);
	emit_object(e, "functions");
	if (shown)
		emit_text(e, "File Page %" PRIu64 " mixes functions:", page->number);
	emit_u64(e, "cold", page->cold_functions, shown ? " %" PRIu64 " cold" : NULL);
	emit_u64(e, "cold_bytes", page->cold_bytes, shown ? " (%" PRIu64 " bytes)," : NULL);
	emit_u64(e, "hot", page->hot_functions, shown ? " %" PRIu64 " hot," : NULL);
	emit_u64(e, "other", page->other_functions, shown ? " %" PRIu64 " others\n" : NULL);
	emit_object_end(e);
}

// --- all of it ------------------------------------------------------------------------------------
static void add_totals(struct pagestuff_view *view, const struct image_page *page)
{
	struct pagestuff_totals *totals = &view->totals;
	const struct image_relocations *counts = &page->relocations;
	uint64_t relocations = counts->relative + counts->symbolic + counts->lazy;

	totals->pages++;
	totals->bytes += page->end - page->start;
	totals->cached_pages += page->cached_bytes != 0;
	totals->mapped_pages += page->mapped_bytes != 0;
	totals->private_pages += page->private_bytes != 0;
	totals->relocated_pages += relocations != 0;
	totals->relocations += relocations;
	totals->padding_bytes += page->padding_bytes;
	totals->symbols += page->symbol_count;
	totals->mixed_pages += is_mixed(page);
	totals->cold_bytes += page->cold_bytes;
	totals->mapped_cold_bytes += page->mapped_bytes ? page->cold_bytes : 0;
	for (size_t i = 0; i < page->pieces.list.n; i++)
		if (page->pieces.list.v[i].kind == IMAGE_UNNAMED)
			totals->unnamed_bytes +=
				page->pieces.list.v[i].end - page->pieces.list.v[i].start;
}

static void tidy(struct pagestuff_view *view)
{
	const struct page_source *source = view->arena->ar_source;

	if (view->arena->ar_bytes < MOST_ARENA_BYTES)
		return;
	arena_deinit(view->arena);
	arena_init(view->arena, source);
}

void pagestuff_emit_page(struct emitter *e, struct pagestuff_view *view,
                         const struct image_page *page)
{
	add_totals(view, page);
	if (view->settings->summary)
		return;
	emit_object(e, NULL);
	emit_u64(e, "page", page->number, NULL);
	emit_u64(e, "start", page->start, NULL);
	emit_u64(e, "end", page->end, NULL);
	emit_array(e, "contents");
	for (size_t i = 0; i < page->pieces.list.n; i++)
		emit_piece(e, view, page, &page->pieces.list.v[i]);
	emit_array_end(e);
	emit_ranges(e, view, page);
	emit_kernel(e, view, page);
	emit_loader(e, view, page);
	emit_code(e, view, page);
	emit_object_end(e);
	tidy(view);
}

// --- sections without bytes -----------------------------------------------------------------------
static size_t symbols_of(const struct image *image, uint32_t section, size_t first)
{
	size_t end = first;

	while (end < image->symbols.n && image->symbols.v[end].section == section)
		end++;
	return end;
}

static void emit_one_elsewhere(struct emitter *e, struct pagestuff_view *view, uint32_t index,
                               size_t first, size_t end)
{
	const struct image_section *section =
		index == IMAGE_NONE ? NULL : &view->image->sections.v[index];
	const char *name = section ? pagestuff_name(view, section->name) : NULL;
	uint64_t address = section ? section->address : 0;

	emit_object(e, NULL);
	emit_index(e, "section", index);
	emit_string(e, "name", name, "Section (%s) has no bytes in the file");
	if (!section)
		emit_text(e, "Symbols without a place in the file\n");
	emit_address(e, "start", address, section ? ": virtual address 0x%" PRIx64 : NULL);
	emit_address(e, "end", section ? address + section->bytes : 0,
	             section ? " to 0x%" PRIx64 "\n" : NULL);
	emit_array(e, "symbols");
	for (size_t i = first; i < end; i++) {
		emit_symbol(e, view, &view->image->symbols.v[i]);
		tidy(view);
	}
	emit_array_end(e);
	emit_object_end(e);
}

void pagestuff_emit_elsewhere(struct emitter *e, struct pagestuff_view *view)
{
	const struct image *image = view->image;
	size_t at = 0, end;

	while (at < image->symbols.n && image->symbols.v[at].offset != IMAGE_NO_OFFSET)
		at++;
	view->totals.symbols += image->symbols.n - at;
	if (view->settings->summary)
		return;
	emit_array(e, "without_bytes");
	for (uint32_t i = 0; i < image->sections.n; i++, at = end) {
		const struct image_section *section = &image->sections.v[i];

		end = symbols_of(image, i, at);
		if (end > at || (section->type == SHT_NOBITS && section->bytes))
			emit_one_elsewhere(e, view, i, at, end);
	}
	if (at < image->symbols.n)
		emit_one_elsewhere(e, view, IMAGE_NONE, at, image->symbols.n);
	emit_array_end(e);
}
