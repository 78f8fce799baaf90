// SPDX-License-Identifier: MIT
// What the files of symbols share.
#pragma once

#include "base/base.h"
#include "os/os.h"
#include "symbols/symbols.h"

// --- ELF files as bytes (image.c) ----------------------------------------------------------------
// An ELF file that is read with checked bounds: a file, the memory of a target, or a buffer. Files
// are read with pread and never mapped, because a file that shrinks while it is mapped kills us.
struct symbols_image {
	struct target_elf_source source;
	uint64_t bytes; // how many there are
	int fd;         // -1: none
	struct target *target;
	uint64_t base; // in the target's memory
	const uint8_t *buffer;
	size_t buffer_bytes;
	struct target_elf elf;
	Elf64_Shdr *sections;
	size_t section_count;
	char *names; // of sections; a NUL stands behind the last one
	size_t name_bytes;
	uint8_t build_id[TARGET_BUILD_ID_BYTES];
	size_t build_id_bytes;
};

// Each fills ret, which symbols_image_close ends also after an error. _fd takes the descriptor over.
struct error *symbols_image_open_fd(int fd, struct symbols_image *ret);
struct error *symbols_image_open_memory(struct target *target, uint64_t base, uint64_t bytes,
                                        struct symbols_image *ret);
// The headers at the start of a mapping only: sections do not lie in memory as they do in the file.
struct error *symbols_image_open_mapped(struct target *target, uint64_t base,
                                        struct symbols_image *ret);
struct error *symbols_image_open_buffer(const uint8_t *buffer, size_t bytes,
                                        struct symbols_image *ret);
void symbols_image_close(struct symbols_image *image);

const char *symbols_image_section_name(const struct symbols_image *image,
                                       const Elf64_Shdr *section);
const Elf64_Shdr *symbols_image_section(const struct symbols_image *image, const char *name);

// The contents of a section with a zero byte behind them, from os_page_source; NULL when they do not
// lie in the file. symbols_contents_free takes the same section.
void *symbols_contents_read(const struct symbols_image *image, const Elf64_Shdr *section);
void symbols_contents_free(void *contents, const Elf64_Shdr *section);

// --- one module's symbols (tables.c) -------------------------------------------------------------
struct symbols_symbol {
	uint64_t address, bytes; // as in the ELF file
	uint32_t name;           // into names
	uint8_t rank;            // which of several at one address is shown: the highest
	const char *shown;       // demangled, once it was asked for
};

struct symbols_section {
	uint64_t address, bytes;
	const char *name;
};

struct symbols_table {
	VEC(struct symbols_symbol) symbols;
	VEC(char) names;
	VEC(struct symbols_section) sections;
	bool own_read, debug_read; // the module's own file; its separate debug file
	bool sorted;
	bool has_full_table; // .symtab was there
	struct symbols_lines *lines;
};

struct symbols {
	struct target *target; // NULL: modules of a recording
	// How a module's file is found.
	struct error *(*open_file)(struct symbols *symbols, const struct symbols_module *module,
	                           int *ret);
	struct arena arena;
	VEC(struct symbols_module) modules; // sorted by start, never overlapping
	VEC(const char *) warnings;
	struct symbols_table *tables;      // one per module
	struct symbols_unwinder *unwinder; // NULL until it is needed first
	struct symbols_places *places;     // names that a snapshot has; NULL: none
	bool server_silent;                // no answer came: not to be asked again
	const char *server_trouble;        // NULL: none
};

#define SYMBOLS_VDSO_NAME "[vdso]"

// --- snapshot.c ----------------------------------------------------------------------------------
// False: the target is no snapshot.
bool symbols_recorded_modules(struct symbols *symbols);
void symbols_read_places(struct symbols *symbols);
// As symbols_names_at; 0 when nothing was recorded about the address.
size_t symbols_recorded_names(struct symbols *symbols, uint64_t address, struct symbols_name *ret,
                              size_t most);

void symbols_table_init(struct symbols_table *table);
void symbols_table_deinit(struct symbols_table *table);

// Adds the symbols of .symtab and .dynsym. Damaged tables add what can be read.
void symbols_table_add(struct symbols_table *table, const struct symbols_image *image);
void symbols_table_add_rows(struct symbols_table *table, unsigned word_bytes, const uint8_t *rows,
                            size_t count, const char *names, size_t name_bytes);

// dynamic.c: adds what the program itself keeps mapped.
void symbols_table_add_dynamic(struct symbols_table *table, struct target *target,
                               const struct symbols_module *module);
void symbols_table_sort(struct symbols_table *table);

// The symbol that holds an ELF address, or NULL. The table must be sorted.
struct symbols_symbol *symbols_table_at(const struct symbols_table *table, uint64_t address);
const struct symbols_symbol *symbols_table_find(const struct symbols_table *table,
                                                const char *name);

// --- where symbols come from (sources.c) ---------------------------------------------------------
struct symbols_table *symbols_table_of(struct symbols *symbols,
                                       const struct symbols_module *module);

// Reads the module's own file (or its memory), then what belongs to it: .gnu_debugdata and, when
// with_debug, a separate debug file. network allows debuginfod, when the environment asks for it.
void symbols_read_own(struct symbols *symbols, const struct symbols_module *module);
void symbols_read_debug(struct symbols *symbols, const struct symbols_module *module, bool network);

// A descriptor of a debug file with this build-id below /usr/lib/debug, or -1; the same from the servers
// that the environment names, also of the executable itself.
int symbols_open_by_build_id(const uint8_t *build_id, size_t bytes);
int symbols_open_by_server(struct symbols *symbols, const uint8_t *build_id, size_t bytes,
                           bool executable);

// A descriptor of the separate debug file of an image, or -1.
int symbols_debug_open(struct symbols *symbols, const struct symbols_image *image, const char *path,
                       bool network);

// Opens the module's file; the vdso's memory.
struct error *symbols_module_image(struct symbols *symbols, const struct symbols_module *module,
                                   struct symbols_image *ret);

// --- file and line (lines.c) ---------------------------------------------------------------------
// Fills file and line of ret when the module or its debug file has DWARF. address is the ELF file's.
void symbols_line_at(struct symbols *symbols, const struct symbols_module *module, uint64_t address,
                     struct symbols_name *ret);
// The functions inlined at an address of the ELF file, innermost first: their names and, behind each,
// where it was inlined. names[0] has file and line already. How many there are, below `most`.
size_t symbols_inlined_at(struct symbols *symbols, const struct symbols_module *module,
                          uint64_t address, struct symbols_name *names, size_t most);
void symbols_lines_close(struct symbols_lines *lines);

// --- stacks (unwind.c) ---------------------------------------------------------------------------
void symbols_unwinder_close(struct symbols_unwinder *unwinder); // NULL is allowed

// modules.c: finds the ELF files that the target has mapped.
void symbols_find_modules(struct symbols *symbols);

// symbols.c: without modules yet, and the tables once they are all there.
struct symbols *symbols_create(const struct page_source *pages);
void symbols_make_tables(struct symbols *symbols);
