// SPDX-License-Identifier: MIT
// The lists of segments and sections (-p), and the sums.
#include <elf.h>
#include <inttypes.h>

#include "base/base.h"
#include "report/pagestuff_impl.h"

// NULL in text when the list was not asked for: then it stands in JSON only.
static const char *if_asked(const struct pagestuff_view *view, const char *format)
{
	return view->settings->sections ? format : NULL;
}

static void emit_heading(struct emitter *e, const struct pagestuff_view *view, const char *text)
{
	if (view->settings->sections)
		emit_text(e, "%s", text);
}

static const char *address_format(const struct image *image)
{
	return image->word_bytes == 8 ? " 0x%016" PRIx64 : " 0x%08" PRIx64;
}

void pagestuff_emit_segments(struct emitter *e, struct pagestuff_view *view)
{
	const struct image *image = view->image;

	emit_array(e, "segments");
	if (image->segments.n)
		emit_heading(e, view,
		             "Segments\n   NO TYPE          PRT     OFFSET      BYTES  IN MEMORY "
		             "ADDRESS\n");
	for (size_t i = 0; i < image->segments.n; i++) {
		const struct image_segment *segment = &image->segments.v[i];

		emit_object(e, NULL);
		emit_u64(e, "index", i, if_asked(view, "%5" PRIu64));
		emit_string(e, "type", pagestuff_segment_type(view->arena, segment->type),
		            if_asked(view, " %-13s"));
		emit_string(e, "protection", pagestuff_protection(segment->flags),
		            if_asked(view, " %s"));
		emit_u64(e, "offset", segment->offset, if_asked(view, " 0x%08" PRIx64));
		emit_u64(e, "file_bytes", segment->file_bytes, if_asked(view, " 0x%08" PRIx64));
		emit_u64(e, "memory_bytes", segment->memory_bytes, if_asked(view, " 0x%08" PRIx64));
		emit_address(e, "address", segment->address, if_asked(view, address_format(image)));
		emit_heading(e, view, "\n");
		emit_object_end(e);
	}
	emit_array_end(e);
}

// "3-7", "3", or "-" for a section without bytes.
static const char *pages_of(struct pagestuff_view *view, const struct image_section *section)
{
	uint64_t page = view->image->page_bytes, first, last;

	if (!section->bytes || section->type == SHT_NOBITS || section->type == SHT_NULL)
		return "-";
	first = section->offset / page;
	last = (section->offset + section->bytes - 1) / page;
	return first == last ? arena_format(view->arena, "%" PRIu64, first)
	                     : arena_format(view->arena, "%" PRIu64 "-%" PRIu64, first, last);
}

static void emit_section(struct emitter *e, struct pagestuff_view *view, size_t index)
{
	const struct image_section *section = &view->image->sections.v[index];

	emit_object(e, NULL);
	emit_u64(e, "index", index, if_asked(view, "%5" PRIu64));
	emit_string(e, "name", pagestuff_name(view, section->name), if_asked(view, " %-18s"));
	emit_string(e, "type", pagestuff_section_type(view->arena, section->type), NULL);
	emit_string(e, "flags", pagestuff_section_flags(view->arena, section->flags),
	            if_asked(view, " %-3s"));
	emit_u64(e, "offset", section->offset, if_asked(view, " 0x%08" PRIx64));
	emit_u64(e, "bytes", section->bytes, if_asked(view, " 0x%08" PRIx64));
	emit_string(e, "pages", pages_of(view, section), if_asked(view, " %9s"));
	emit_bool(e, "in_file", section->type != SHT_NOBITS && section->type != SHT_NULL, NULL);
	emit_address(e, "address", section->address,
	             if_asked(view, section->flags & SHF_ALLOC && view->image->type != ET_REL
	                                    ? address_format(view->image)
	                                    : ""));
	emit_heading(e, view, "\n");
	emit_object_end(e);
}

void pagestuff_emit_sections(struct emitter *e, struct pagestuff_view *view)
{
	emit_array(e, "sections");
	if (view->image->sections.n)
		emit_heading(
			e, view,
			"Sections\n   NO NAME               FLG     OFFSET      BYTES     PAGES "
			"ADDRESS\n");
	for (size_t i = 0; i < view->image->sections.n; i++)
		emit_section(e, view, i);
	emit_array_end(e);
}

// --- sums -----------------------------------------------------------------------------------------
void pagestuff_emit_totals(struct emitter *e, const struct pagestuff_view *view)
{
	const struct pagestuff_totals *totals = &view->totals;
	const struct image *image = view->image;
	bool shown = view->settings->summary || view->settings->common.verbose;
	bool process = image->process.pid != 0;

#define SHOWN(format) (shown ? (format) : NULL)
	emit_object(e, "totals");
	emit_u64(e, "pages", totals->pages, SHOWN("Pages looked at:             %8" PRIu64));
	emit_u64(e, "bytes", totals->bytes, SHOWN("  (%" PRIu64 " bytes)\n"));
	emit_known_u64(e, "cached_pages", image->cached.known, totals->cached_pages,
	               SHOWN("  in the page cache:         %8" PRIu64 "\n"));
	emit_known_u64(e, "mapped_pages", process, totals->mapped_pages,
	               SHOWN("  mapped by the process:     %8" PRIu64 "\n"));
	emit_known_u64(e, "private_pages", process, totals->private_pages,
	               SHOWN("  copied by the process:     %8" PRIu64 "\n"));
	emit_u64(e, "relocated_pages", totals->relocated_pages,
	         SHOWN("  written to by the loader:  %8" PRIu64));
	emit_u64(e, "relocations", totals->relocations, SHOWN("  (%" PRIu64 " relocations)\n"));
	emit_u64(e, "mixed_pages", totals->mixed_pages,
	         SHOWN("  cold code beside other:    %8" PRIu64));
	emit_u64(e, "cold_bytes", totals->cold_bytes, SHOWN("  (%" PRIu64 " cold bytes)\n"));
	emit_known_u64(e, "mapped_cold_bytes", process, totals->mapped_cold_bytes,
	               SHOWN("  cold bytes mapped:         %8" PRIu64 "\n"));
	emit_u64(e, "symbols", totals->symbols,
	         SHOWN("Symbols:                     %8" PRIu64 "\n"));
	emit_u64(e, "padding_bytes", totals->padding_bytes,
	         SHOWN("Bytes of padding:            %8" PRIu64 "\n"));
	emit_u64(e, "unnamed_bytes", totals->unnamed_bytes,
	         SHOWN("Bytes that nothing names:    %8" PRIu64 "\n"));
	emit_object_end(e);
#undef SHOWN
}
