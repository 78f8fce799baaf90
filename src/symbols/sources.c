// SPDX-License-Identifier: MIT
// Where a module's symbols come from: its own file as the target sees it, the
// xz-compressed table that some distributions put into it (.gnu_debugdata), and
// a separate debug file of this machine or of a debuginfod server, accepted only
// with the same build-id or checksum. Called by lookup.c and lines.c.
#include <lzma.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "symbols/symbols_impl.h"

#define MOST_EMBEDDED_BYTES ((size_t)64 << 20)
#define UNXZ_MEMORY_BYTES   ((uint64_t)256 << 20)
#define PIECE_BYTES         65536
#define MOST_WARNINGS       16
#define DEBUG_FOLDER        "/usr/lib/debug"

__attribute__((format(printf, 2, 3))) static void warn_about(struct symbols *symbols,
                                                             const char *format, ...)
{
	char text[1024];
	va_list arguments;

	if (symbols->warnings.n >= MOST_WARNINGS)
		return;
	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	vec_push(&symbols->warnings, arena_copy(&symbols->arena, text));
}

struct symbols_table *symbols_table_of(struct symbols *symbols, const struct symbols_module *module)
{
	return &symbols->tables[module - symbols->modules.v];
}

struct error *symbols_module_image(struct symbols *symbols, const struct symbols_module *module,
                                   struct symbols_image *ret)
{
	int fd = -1;

	*ret = (struct symbols_image){ .fd = -1 };
	if (!module->file && !symbols->target)
		return error_new(ERROR_NOT_FOUND, "the program's own memory had it");
	if (!module->file) // the vdso, which is mapped as a whole
		return symbols_image_open_memory(symbols->target, module->start,
		                                 module->end - module->start, ret);
	TRY(symbols->open_file(symbols, module, &fd));
	return symbols_image_open_fd(fd, ret);
}

// --- .gnu_debugdata ------------------------------------------------------------------------------
struct unpacked {
	VEC(uint8_t) bytes;
};

// Appends what an xz stream holds, at most limit_bytes; false when it is damaged or longer.
static bool unxz(const uint8_t *from, size_t n, size_t limit_bytes, struct unpacked *ret)
{
	lzma_stream stream = LZMA_STREAM_INIT;
	lzma_ret result;

	if (lzma_stream_decoder(&stream, UNXZ_MEMORY_BYTES, 0) != LZMA_OK)
		return false;
	stream.next_in = from;
	stream.avail_in = n;
	do {
		vec_reserve(&ret->bytes, ret->bytes.n + PIECE_BYTES);
		stream.next_out = ret->bytes.v + ret->bytes.n;
		stream.avail_out = PIECE_BYTES;
		result = lzma_code(&stream, LZMA_FINISH);
		ret->bytes.n += PIECE_BYTES - stream.avail_out;
	} while (result == LZMA_OK && ret->bytes.n <= limit_bytes);
	lzma_end(&stream);
	return result == LZMA_STREAM_END && ret->bytes.n <= limit_bytes;
}

static void add_embedded(struct symbols_table *table, const struct symbols_image *image)
{
	const Elf64_Shdr *section = symbols_image_section(image, ".gnu_debugdata");
	uint8_t *packed = section ? symbols_contents_read(image, section) : NULL;
	struct unpacked unpacked;
	struct symbols_image embedded;

	if (!packed)
		return;
	vec_init(&unpacked.bytes, &os_page_source);
	if (unxz(packed, section->sh_size, MOST_EMBEDDED_BYTES, &unpacked)) {
		if (!symbols_image_open_buffer(unpacked.bytes.v, unpacked.bytes.n, &embedded))
			symbols_table_add(table, &embedded);
		symbols_image_close(&embedded);
	}
	vec_deinit(&unpacked.bytes);
	symbols_contents_free(packed, section);
}

// --- separate debug files ------------------------------------------------------------------------
static bool same_build_id(const struct symbols_image *a, const struct symbols_image *b)
{
	return a->build_id_bytes && a->build_id_bytes == b->build_id_bytes &&
	       memcmp(a->build_id, b->build_id, a->build_id_bytes) == 0;
}

static int open_checked(const char *path, const struct symbols_image *image, const uint32_t *crc);

int symbols_open_by_build_id(const uint8_t *build_id, size_t bytes)
{
	struct symbols_image wanted = { .build_id_bytes = bytes };
	char path[sizeof(DEBUG_FOLDER) + 32 + 2 * TARGET_BUILD_ID_BYTES];
	char hex[2 * TARGET_BUILD_ID_BYTES + 1];

	if (bytes < 2 || bytes > sizeof(wanted.build_id))
		return -1;
	memcpy(wanted.build_id, build_id, bytes);
	text_hex(build_id, bytes, hex);
	snprintf(path, sizeof(path), DEBUG_FOLDER "/.build-id/%.2s/%s.debug", hex, hex + 2);
	return open_checked(path, &wanted, NULL);
}

// The checksum of .gnu_debuglink: CRC-32 as in zlib (binutils, bfd/opncls.c describes it).
static uint32_t file_checksum(int fd)
{
	uint8_t piece[PIECE_BYTES];
	uint32_t crc = UINT32_MAX;
	uint64_t offset = 0;
	size_t n;

	while ((n = os_pread(fd, piece, sizeof(piece), offset)) > 0) {
		for (size_t i = 0; i < n; i++) {
			crc ^= piece[i];
			for (int bit = 0; bit < 8; bit++)
				crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
		}
		offset += n;
	}
	return ~crc;
}

// crc is NULL where only the build-id counts.
static int open_checked(const char *path, const struct symbols_image *image, const uint32_t *crc)
{
	struct symbols_image found;
	bool same = false;
	int fd, result = -1;

	if (os_open_regular(path, &fd))
		return -1;
	if (!symbols_image_open_fd(fd, &found)) {
		same = same_build_id(image, &found);
		if (!same && crc && !image->build_id_bytes)
			same = file_checksum(fd) == *crc;
	}
	if (same) {
		result = fd;
		found.fd = -1;
	}
	symbols_image_close(&found);
	return result;
}

// As gdb looks for it: beside the file, in .debug beside it, and below the debug folder.
static int open_in_folders(const struct symbols_image *image, const char *path, const char *name,
                           const uint32_t *crc)
{
	static const char *const places[][2] = { { "", "/.debug" },
		                                 { "", "" },
		                                 { DEBUG_FOLDER, "" } };
	const char *slash = strrchr(path, '/');
	int folder = slash ? (int)(slash - path) : 0;

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		char candidate[4096 + 512];
		int fd, length = snprintf(candidate, sizeof(candidate), "%s%.*s%s/%s", places[i][0],
		                          folder, path, places[i][1], name);

		if (length >= (int)sizeof(candidate) || strcmp(candidate, path) == 0)
			continue;
		fd = open_checked(candidate, image, crc);
		if (fd >= 0)
			return fd;
	}
	return -1;
}

static int open_by_link(const struct symbols_image *image, const char *path)
{
	const Elf64_Shdr *section = symbols_image_section(image, ".gnu_debuglink");
	char *contents = section ? symbols_contents_read(image, section) : NULL;
	uint64_t checksum_at;
	uint32_t checksum;
	int fd = -1;

	if (!contents)
		return -1;
	checksum_at = round_up(strlen(contents) + 1, 4);
	if (path[0] == '/' && contents[0] && !strchr(contents, '/') && strlen(contents) < 512 &&
	    checked_within(checksum_at, sizeof(checksum), section->sh_size)) {
		memcpy(&checksum, contents + checksum_at, sizeof(checksum));
		fd = open_in_folders(image, path, contents, &checksum);
	}
	symbols_contents_free(contents, section);
	return fd;
}

int symbols_debug_open(struct symbols *symbols, const struct symbols_image *image, const char *path,
                       bool network)
{
	int fd = symbols_open_by_build_id(image->build_id, image->build_id_bytes);

	if (fd < 0)
		fd = open_by_link(image, path);
	if (fd < 0 && network)
		fd = symbols_open_by_server(symbols, image->build_id, image->build_id_bytes, false);
	return fd;
}

// --- reading -------------------------------------------------------------------------------------
static void add_sections(struct symbols *symbols, struct symbols_table *table,
                         const struct symbols_image *image)
{
	for (size_t i = 0; i < image->section_count; i++) {
		const Elf64_Shdr *section = &image->sections[i];
		const char *name = symbols_image_section_name(image, section);

		// Thread-local templates have no memory of their own at their address (.tbss).
		if (!(section->sh_flags & SHF_ALLOC) || !name[0] || !section->sh_size ||
		    (section->sh_flags & SHF_TLS && section->sh_type == SHT_NOBITS))
			continue;
		*vec_add(&table->sections) =
			(struct symbols_section){ section->sh_addr, section->sh_size,
			                          text_printable(&symbols->arena, name) };
	}
}

void symbols_read_own(struct symbols *symbols, const struct symbols_module *module)
{
	struct symbols_table *table = symbols_table_of(symbols, module);
	struct symbols_image image;
	struct error *error;

	if (table->own_read)
		return;
	table->own_read = true;
	error = symbols_module_image(symbols, module, &image);
	if (error) {
		warn_about(symbols, "%s has %s symbols: %s", module->name,
		           symbols->target ? "only its dynamic" : "no",
		           text_printable(&symbols->arena, error->text));
		if (symbols->target)
			symbols_table_add_dynamic(table, symbols->target, module);
	} else {
		add_sections(symbols, table, &image);
		symbols_table_add(table, &image);
		if (!table->has_full_table)
			add_embedded(table, &image);
	}
	symbols_image_close(&image);
}

void symbols_read_debug(struct symbols *symbols, const struct symbols_module *module, bool network)
{
	struct symbols_table *table = symbols_table_of(symbols, module);
	struct symbols_image image, debug;
	int fd;

	symbols_read_own(symbols, module);
	if (table->debug_read || table->has_full_table)
		return;
	table->debug_read = network || !getenv("DEBUGINFOD_URLS");
	fd = -1;
	if (!symbols_module_image(symbols, module, &image))
		fd = symbols_debug_open(symbols, &image, module->file ? module->file->path : "",
		                        network);
	symbols_image_close(&image);
	if (fd < 0)
		return;
	table->debug_read = true;
	if (!symbols_image_open_fd(fd, &debug))
		symbols_table_add(table, &debug);
	symbols_image_close(&debug);
}
