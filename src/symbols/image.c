// SPDX-License-Identifier: MIT
// ELF files as checked bytes: section headers and contents, read only where they
// lie within the file. Everything is foreign; a damaged file has fewer sections.
// Called by tables.c and sources.c.
#include <string.h>

#include "symbols/symbols_impl.h"

#define MOST_SECTIONS      65536
#define MOST_SECTION_BYTES ((uint64_t)512 << 20)

static size_t read_fd(void *context, uint64_t offset, void *buffer, size_t n)
{
	const struct symbols_image *image = context;

	return os_pread(image->fd, buffer, n, offset);
}

static size_t read_memory(void *context, uint64_t offset, void *buffer, size_t n)
{
	const struct symbols_image *image = context;

	if (offset >= image->bytes)
		return 0;
	if (n > image->bytes - offset)
		n = image->bytes - offset;
	return target_read_some(image->target, image->base + offset, buffer, n);
}

static size_t read_buffer(void *context, uint64_t offset, void *buffer, size_t n)
{
	const struct symbols_image *image = context;

	if (offset >= image->buffer_bytes)
		return 0;
	if (n > image->buffer_bytes - offset)
		n = image->buffer_bytes - offset;
	memcpy(buffer, image->buffer + offset, n);
	return n;
}

static void widen(const Elf32_Shdr *from, Elf64_Shdr *ret)
{
	*ret = (Elf64_Shdr){
		.sh_name = from->sh_name,
		.sh_type = from->sh_type,
		.sh_flags = from->sh_flags,
		.sh_addr = from->sh_addr,
		.sh_offset = from->sh_offset,
		.sh_size = from->sh_size,
		.sh_link = from->sh_link,
		.sh_info = from->sh_info,
		.sh_entsize = from->sh_entsize,
	};
}

static bool read_section(const struct symbols_image *image, size_t index, Elf64_Shdr *ret)
{
	uint64_t at = image->elf.header.e_shoff;
	Elf32_Shdr narrow;

	if (image->elf.word_bytes == 8)
		return checked_add(at, index * sizeof(*ret), &at) &&
		       image->source.read(image->source.context, at, ret, sizeof(*ret)) ==
		               sizeof(*ret);
	if (!checked_add(at, index * sizeof(narrow), &at) ||
	    image->source.read(image->source.context, at, &narrow, sizeof(narrow)) !=
	            sizeof(narrow))
		return false;
	widen(&narrow, ret);
	return true;
}

// e_shnum and e_shstrndx do not hold more than 65,279; the first section header then does (gABI).
static void read_sections(struct symbols_image *image)
{
	const Elf64_Ehdr *header = &image->elf.header;
	size_t entry = image->elf.word_bytes == 8 ? sizeof(Elf64_Shdr) : sizeof(Elf32_Shdr);
	uint64_t count = header->e_shnum, names = header->e_shstrndx;
	Elf64_Shdr first;

	if (!header->e_shoff || header->e_shentsize != entry || !read_section(image, 0, &first))
		return;
	if (!count)
		count = first.sh_size;
	if (names == SHN_XINDEX)
		names = first.sh_link;
	if (count > MOST_SECTIONS || count > image->bytes / entry)
		return;
	image->sections = os_page_source.resize(NULL, 0, (count + 1) * sizeof(*image->sections));
	for (; image->section_count < count; image->section_count++)
		if (!read_section(image, image->section_count,
		                  &image->sections[image->section_count]))
			break;
	if (names < image->section_count) {
		image->names = symbols_contents_read(image, &image->sections[names]);
		image->name_bytes = image->names ? image->sections[names].sh_size + 1 : 0;
	}
}

static struct error *open_image(struct symbols_image *image)
{
	TRY(target_elf_read_header(&image->source, &image->elf));
	read_sections(image);
	image->build_id_bytes =
		target_elf_read_build_id(&image->source, &image->elf, image->build_id);
	return NULL;
}

struct error *symbols_image_open_fd(int fd, struct symbols_image *ret)
{
	struct os_status status;

	*ret = (struct symbols_image){ .fd = fd };
	TRY(os_file_status(fd, &status));
	ret->source = (struct target_elf_source){ read_fd, ret };
	ret->bytes = status.bytes;
	return open_image(ret);
}

struct error *symbols_image_open_memory(struct target *target, uint64_t base, uint64_t bytes,
                                        struct symbols_image *ret)
{
	*ret = (struct symbols_image){ .fd = -1, .target = target, .base = base, .bytes = bytes };
	ret->source = (struct target_elf_source){ read_memory, ret };
	return open_image(ret);
}

struct error *symbols_image_open_mapped(struct target *target, uint64_t base,
                                        struct symbols_image *ret)
{
	*ret = (struct symbols_image){
		.fd = -1, .target = target, .base = base, .bytes = UINT64_MAX - base
	};
	ret->source = (struct target_elf_source){ read_memory, ret };
	return target_elf_read_header(&ret->source, &ret->elf);
}

struct error *symbols_image_open_buffer(const uint8_t *buffer, size_t bytes,
                                        struct symbols_image *ret)
{
	*ret = (struct symbols_image){
		.fd = -1, .buffer = buffer, .buffer_bytes = bytes, .bytes = bytes
	};
	ret->source = (struct target_elf_source){ read_buffer, ret };
	return open_image(ret);
}

void symbols_image_close(struct symbols_image *image)
{
	if (image->names)
		os_page_source.resize(image->names, image->name_bytes, 0);
	if (image->sections)
		os_page_source.resize(image->sections,
		                      (image->section_count + 1) * sizeof(*image->sections), 0);
	os_close(image->fd);
	*image = (struct symbols_image){ .fd = -1 };
}

const char *symbols_image_section_name(const struct symbols_image *image, const Elf64_Shdr *section)
{
	return section->sh_name < image->name_bytes ? image->names + section->sh_name : "";
}

const Elf64_Shdr *symbols_image_section(const struct symbols_image *image, const char *name)
{
	for (size_t i = 0; i < image->section_count; i++)
		if (strcmp(symbols_image_section_name(image, &image->sections[i]), name) == 0)
			return &image->sections[i];
	return NULL;
}

void *symbols_contents_read(const struct symbols_image *image, const Elf64_Shdr *section)
{
	void *contents;

	if (section->sh_type == SHT_NOBITS || section->sh_size > MOST_SECTION_BYTES ||
	    !checked_within(section->sh_offset, section->sh_size, image->bytes))
		return NULL;
	contents = os_page_source.resize(NULL, 0, section->sh_size + 1);
	if (image->source.read(image->source.context, section->sh_offset, contents,
	                       section->sh_size) == section->sh_size)
		return contents;
	symbols_contents_free(contents, section);
	return NULL;
}

void symbols_contents_free(void *contents, const Elf64_Shdr *section)
{
	if (contents)
		os_page_source.resize(contents, section->sh_size + 1, 0);
}
