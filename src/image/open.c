// SPDX-License-Identifier: MIT
// An ELF file, its header and its two tables. Every number in them is checked
// before it is used; what is wrong becomes a fault and is left out.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image/image_impl.h"

#define MOST_FAULTS     32
#define MOST_SEGMENTS   ((uint64_t)1 << 20)
#define MOST_SECTIONS   ((uint64_t)1 << 22)
#define MOST_NAME_BYTES ((uint64_t)1 << 30) // of one string table
#define LONGEST_NAME    16384               // of a section

void image_fault(struct image *image, const char *format, ...)
{
	char text[512];
	va_list arguments;

	if (image->fault_count++ >= MOST_FAULTS)
		return;
	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	vec_push(&image->faults, arena_copy(&image->arena, text));
}

bool image_fault_wanted(struct image *image)
{
	if (image->fault_count < MOST_FAULTS)
		return true;
	image->fault_count++;
	return false;
}

// --- bytes ----------------------------------------------------------------------------------------
static size_t read_file(const struct image_source *source, uint64_t offset, void *buffer, size_t n)
{
	return os_pread(source->fd, buffer, n, offset);
}

static size_t read_bytes(const struct image_source *source, uint64_t offset, void *buffer, size_t n)
{
	if (offset >= source->n)
		return 0;
	if (n > source->n - offset)
		n = source->n - offset;
	memcpy(buffer, source->bytes + offset, n);
	return n;
}

bool image_read(const struct image *image, uint64_t offset, void *buffer, size_t n)
{
	return image->source->read(image->source, offset, buffer, n) == n;
}

const char *image_load(struct image *image, uint64_t offset, uint64_t bytes, const char *what)
{
	struct image_buffer buffer;

	if (!checked_within(offset, bytes, image->bytes)) {
		image_fault(image, "%s is not in the file: 0x%lx bytes at 0x%lx", what, bytes,
		            offset);
		return NULL;
	}
	if (bytes > MOST_NAME_BYTES) {
		image_fault(image, "%s has more than 0x%lx bytes and is left out", what,
		            MOST_NAME_BYTES);
		return NULL;
	}
	buffer = (struct image_buffer){ os_page_source.resize(NULL, 0, bytes + 1), bytes + 1 };
	vec_push(&image->buffers, buffer);
	if (image_read(image, offset, buffer.bytes, bytes))
		return buffer.bytes;
	image_fault(image, "%s cannot be read: 0x%lx bytes at 0x%lx", what, bytes, offset);
	return NULL;
}

// --- the program headers --------------------------------------------------------------------------
static void add_segment(struct image *image, const Elf64_Phdr *row)
{
	struct image_segment segment = {
		row->p_type,  row->p_flags, row->p_offset, row->p_filesz,
		row->p_vaddr, row->p_memsz, row->p_align,
	};

	if (segment.type == PT_NULL)
		segment.file_bytes = 0;
	vec_push(&image->segments, segment);
}

// e_phnum does not hold more than 65,534; the first section header then does (gABI).
static uint64_t segment_count(const struct image *image, const Elf64_Ehdr *header)
{
	Elf64_Shdr first;

	if (header->e_phnum != PN_XNUM)
		return header->e_phnum;
	if (header->e_shoff > image->bytes ||
	    !image_read_sections(image, header->e_shoff, 1, &first))
		return PN_XNUM;
	return first.sh_info;
}

// How many of count rows of row_bytes at offset the file has, with a fault when not all.
static uint64_t rows_within(struct image *image, const char *what, uint64_t offset, uint64_t count,
                            uint64_t row_bytes, uint64_t most)
{
	uint64_t there = offset < image->bytes ? (image->bytes - offset) / row_bytes : 0;

	if (count > there)
		image_fault(image, "the %s at 0x%lx end behind the end of the file: %lu of %lu fit",
		            what, offset, there, count);
	if (count > there)
		count = there;
	if (count > most)
		image_fault(image, "there are %lu %s; the first %lu are read", count, what, most);
	return count < most ? count : most;
}

static void read_segments(struct image *image, const Elf64_Ehdr *header)
{
	uint64_t row = image_segment_bytes(image), count = segment_count(image, header);
	Elf64_Phdr rows[IMAGE_ROWS];

	if (!count)
		return;
	if (header->e_phentsize != row) {
		image_fault(image,
		            "the program headers are of %u bytes each, not %lu; none is read",
		            header->e_phentsize, row);
		return;
	}
	count = rows_within(image, "program headers", header->e_phoff, count, row, MOST_SEGMENTS);
	image->segment_table = header->e_phoff;
	image->segment_table_bytes = count * row;
	for (uint64_t done = 0; done < count;) {
		size_t n = count - done < IMAGE_ROWS ? count - done : IMAGE_ROWS;

		if (!image_read_segments(image, header->e_phoff + done * row, n, rows))
			return;
		for (size_t i = 0; i < n; i++)
			add_segment(image, &rows[i]);
		done += n;
	}
}

// --- the section headers --------------------------------------------------------------------------
static void add_section(struct image *image, const Elf64_Shdr *row)
{
	struct image_section *section = vec_add(&image->sections);

	*section = (struct image_section){
		.name = "",
		.name_offset = row->sh_name,
		.type = row->sh_type,
		.link = row->sh_link,
		.info = row->sh_info,
		.flags = row->sh_flags,
		.address = row->sh_addr,
		.offset = row->sh_offset,
		.bytes = row->sh_size,
		.alignment = row->sh_addralign,
		.entry_bytes = row->sh_entsize,
	};
	// Of the first the numbers may mean something else.
	if (image->sections.n == 1 && section->type == SHT_NULL)
		section->bytes = section->offset = 0;
}

static void read_section_rows(struct image *image, uint64_t offset, uint64_t count)
{
	uint64_t row = image_section_bytes(image);
	Elf64_Shdr rows[IMAGE_ROWS];

	for (uint64_t done = 0; done < count;) {
		size_t n = count - done < IMAGE_ROWS ? count - done : IMAGE_ROWS;

		if (!image_read_sections(image, offset + done * row, n, rows))
			return;
		for (size_t i = 0; i < n; i++)
			add_section(image, &rows[i]);
		done += n;
	}
}

// A table without a NUL would give each section a name as long as the table.
static const char *bounded(struct image *image, const char *name)
{
	if (strnlen(name, LONGEST_NAME) < LONGEST_NAME)
		return name;
	return arena_format(&image->arena, "%.64s...", name);
}

// Points each name into the table, behind whose last byte is a NUL of ours.
static void name_sections(struct image *image, uint64_t names)
{
	const struct image_section *table;
	const char *text;

	if (names == SHN_UNDEF)
		return;
	if (names >= image->sections.n || image->sections.v[names].type == SHT_NOBITS) {
		image_fault(image, "the names of sections should be in section %lu, which is none",
		            names);
		return;
	}
	table = &image->sections.v[names];
	image->section_names = (uint32_t)names;
	text = image_load(image, table->offset, table->bytes, "the table of section names");
	for (size_t i = 0; text && i < image->sections.n; i++) {
		struct image_section *section = &image->sections.v[i];

		if (section->name_offset < table->bytes)
			section->name = bounded(image, text + section->name_offset);
		else
			image_fault(image, "the name of section %zu is not in the table of names",
			            i);
	}
}

static void read_sections(struct image *image, const Elf64_Ehdr *header)
{
	uint64_t row = image_section_bytes(image), count = header->e_shnum;
	uint64_t names = header->e_shstrndx;
	Elf64_Shdr first;

	if (!header->e_shoff)
		return;
	if (header->e_shentsize != row) {
		image_fault(image,
		            "the section headers are of %u bytes each, not %lu; none is read",
		            header->e_shentsize, row);
		return;
	}
	if (rows_within(image, "section headers", header->e_shoff, 1, row, 1) < 1 ||
	    !image_read_sections(image, header->e_shoff, 1, &first))
		return;
	// e_shnum and e_shstrndx do not hold more than 65,279; the first section header then does.
	if (!count)
		count = first.sh_size;
	if (names == SHN_XINDEX)
		names = first.sh_link;
	count = rows_within(image, "section headers", header->e_shoff, count, row, MOST_SECTIONS);
	image->section_table = header->e_shoff;
	image->section_table_bytes = count * row;
	read_section_rows(image, header->e_shoff, count);
	if (count)
		name_sections(image, names);
}

const char *image_name_of(struct image *image, uint32_t section)
{
	char start[64];

	snprintf(start, sizeof(start), "%s", image->sections.v[section].name);
	return arena_format(&image->arena, "section %u (%s)", section,
	                    text_printable(&image->arena, start));
}

// --- what they say together -----------------------------------------------------------------------
static void check_section(struct image *image, uint32_t index)
{
	struct image_section *section = &image->sections.v[index];
	uint64_t there;

	if (section->type == SHT_NULL || section->type == SHT_NOBITS ||
	    checked_within(section->offset, section->bytes, image->bytes))
		return;
	there = section->offset < image->bytes ? image->bytes - section->offset : 0;
	if (image_fault_wanted(image))
		image_fault(image, "%s ends behind the end of the file: 0x%lx bytes at 0x%lx",
		            image_name_of(image, index), section->bytes, section->offset);
	section->bytes = there;
}

static void check_segment(struct image *image, uint32_t index)
{
	struct image_segment *segment = &image->segments.v[index];

	// The headers of a debug file describe the program that it belongs to; they are only shown.
	if (image->debug_file || checked_within(segment->offset, segment->file_bytes, image->bytes))
		return;
	image_fault(image, "segment %u ends behind the end of the file: 0x%lx bytes at 0x%lx",
	            index, segment->file_bytes, segment->offset);
	segment->file_bytes = segment->offset < image->bytes ? image->bytes - segment->offset : 0;
}

// A debug file has the headers of all sections, and the bytes of those only that no process loads.
static bool is_debug_file(const struct image *image)
{
	bool code_elsewhere = false;

	for (size_t i = 0; i < image->sections.n; i++) {
		const struct image_section *section = &image->sections.v[i];

		if (!(section->flags & SHF_ALLOC) || !section->bytes)
			continue;
		if (section->type != SHT_NOBITS && section->type != SHT_NOTE)
			return false;
		code_elsewhere |= section->flags & SHF_EXECINSTR;
	}
	return code_elsewhere && (image->type == ET_EXEC || image->type == ET_DYN);
}

static int compare_loads(const void *left, const void *right)
{
	const struct image_load *a = left, *b = right;

	if (a->address != b->address)
		return a->address < b->address ? -1 : 1;
	return (a->segment > b->segment) - (a->segment < b->segment);
}

static void sort_loads(struct image *image)
{
	for (size_t i = 0; i < image->segments.n; i++) {
		const struct image_segment *segment = &image->segments.v[i];

		if (segment->type == PT_LOAD && segment->file_bytes && !image->debug_file)
			vec_push(&image->loads,
			         ((struct image_load){ segment->address, (uint32_t)i }));
	}
	if (image->loads.n)
		qsort(image->loads.v, image->loads.n, sizeof(*image->loads.v), compare_loads);
}

static void check_tables(struct image *image)
{
	image->debug_file = is_debug_file(image);
	for (size_t i = 0; i < image->sections.n; i++)
		check_section(image, (uint32_t)i);
	for (size_t i = 0; i < image->segments.n; i++)
		check_segment(image, (uint32_t)i);
	sort_loads(image);
}

// --- opening --------------------------------------------------------------------------------------
static struct error *read_identity(struct image *image)
{
	uint8_t ident[EI_NIDENT];

	if (!image_read(image, 0, ident, sizeof(ident)) || memcmp(ident, ELFMAG, SELFMAG) != 0)
		return error_new(ERROR_UNSUPPORTED, "%s is no ELF file", image->path);
	if (ident[EI_CLASS] != ELFCLASS32 && ident[EI_CLASS] != ELFCLASS64)
		return error_new(ERROR_DAMAGED, "%s is an ELF file of unknown class %u",
		                 image->path, ident[EI_CLASS]);
	if (ident[EI_DATA] != ELFDATA2LSB && ident[EI_DATA] != ELFDATA2MSB)
		return error_new(ERROR_DAMAGED, "%s is an ELF file of unknown byte order %u",
		                 image->path, ident[EI_DATA]);
	image->word_bytes = ident[EI_CLASS] == ELFCLASS64 ? 8 : 4;
	image->encoding = ident[EI_DATA];
	image->big_endian = image->encoding == ELFDATA2MSB;
	return NULL;
}

static struct error *read_all(struct image *image)
{
	Elf64_Ehdr header;

	TRY(read_identity(image));
	if (!image_read_header(image, &header))
		return error_new(ERROR_DAMAGED, "%s ends within the ELF header", image->path);
	image->type = header.e_type;
	image->machine = header.e_machine;
	image->entry = header.e_entry;
	read_segments(image, &header);
	read_sections(image, &header);
	check_tables(image);
	image_pieces_make(image);
	image_symbols_make(image);
	image_relocations_make(image);
	return NULL;
}

static struct image *image_new(const char *path, uint64_t page_bytes)
{
	struct image *image = os_page_source.resize(NULL, 0, sizeof(*image));

	arena_init(&image->arena, &os_page_source);
	image->path = arena_copy(&image->arena, path);
	image->page_bytes = page_bytes;
	vec_init(&image->segments, &os_page_source);
	vec_init(&image->sections, &os_page_source);
	vec_init(&image->pieces.list, &os_page_source);
	vec_init(&image->loads, &os_page_source);
	vec_init(&image->symbols, &os_page_source);
	vec_init(&image->relocations, &os_page_source);
	vec_init(&image->faults, &os_page_source);
	vec_init(&image->buffers, &os_page_source);
	image_presence_init(&image->cached);
	image_presence_init(&image->process.mapped);
	image_presence_init(&image->process.private);
	return image;
}

static struct error *finish(struct image *image, struct image **ret)
{
	struct error *error = read_all(image);

	if (error) {
		image_close(image);
		image = NULL;
	}
	*ret = image;
	return error;
}

struct error *image_open(const char *path, uint64_t page_bytes, struct image **ret)
{
	struct image_source *source;
	struct image *image;
	struct os_status status;
	struct error *error;
	int fd;

	*ret = NULL;
	TRY(os_open_regular(path, &fd));
	error = os_file_status(fd, &status);
	if (error) {
		os_close(fd);
		return error;
	}
	image = image_new(path, page_bytes);
	source = arena_alloc(&image->arena, sizeof(*source));
	*source = (struct image_source){ .read = read_file, .fd = fd };
	image->source = source;
	image->bytes = status.bytes;
	image_cache_look(image);
	return finish(image, ret);
}

struct error *image_open_part(const uint8_t *bytes, size_t n, uint64_t page_bytes, bool is_embedded,
                              struct image **ret)
{
	struct image *image = image_new("these bytes", page_bytes);
	struct image_source *source = arena_alloc(&image->arena, sizeof(*source));

	*source = (struct image_source){ .read = read_bytes, .fd = -1, .bytes = bytes, .n = n };
	image->source = source;
	image->bytes = n;
	image->is_embedded = is_embedded;
	return finish(image, ret);
}

struct error *image_open_bytes(const uint8_t *bytes, size_t n, uint64_t page_bytes,
                               struct image **ret)
{
	return image_open_part(bytes, n, page_bytes, false, ret);
}

void image_close(struct image *image)
{
	if (!image)
		return;
	image_close(image->embedded);
	os_close(image->source->fd);
	for (size_t i = 0; i < image->buffers.n; i++)
		os_page_source.resize(image->buffers.v[i].bytes, image->buffers.v[i].n, 0);
	vec_deinit(&image->segments);
	vec_deinit(&image->sections);
	vec_deinit(&image->pieces.list);
	vec_deinit(&image->loads);
	vec_deinit(&image->symbols);
	vec_deinit(&image->relocations);
	vec_deinit(&image->faults);
	vec_deinit(&image->buffers);
	image_presence_deinit(&image->cached);
	image_presence_deinit(&image->process.mapped);
	image_presence_deinit(&image->process.private);
	arena_deinit(&image->arena);
	os_page_source.resize(image, sizeof(*image), 0);
}
