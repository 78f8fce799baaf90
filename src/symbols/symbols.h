// SPDX-License-Identifier: MIT
// symbols: from an address to module, function, file and line; from a name to
// an address; demangling. Reads ELF files as the target sees them.
//
//   symbols.c   opens, closes; what modules alone can answer
//   modules.c   the ELF files that a target has mapped
//   image.c     an ELF file's sections, with checked bounds
//   tables.c    one module's symbols, sorted
//   sources.c   where they come from: .symtab, .dynsym, .gnu_debugdata, separate debug files
//   server.c    debug files from debuginfod servers
//   dynamic.c   the dynamic symbols in memory, when a file is gone
//   lines.c     file and line from DWARF
//   lookup.c    names and addresses
//   unwind.c    stacks of threads
//   demangle.c  C++, Rust and D names
//   snapshot.c  modules and names that a snapshot file has
//   recorded.c  the modules that a recording lists, without a target
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "target/target.h"

struct symbols;

// A loaded ELF file.
struct symbols_module {
	const struct target_file *file; // NULL: the vdso, which is in memory only
	const char *name;               // base name of the path, made printable
	const char *path;               // made printable
	uint64_t start, end;            // first and last mapped address
	uint64_t bias;                  // run-time address minus ELF address
	bool executable;                // the main program
};

struct symbols_name {
	const struct symbols_module *module; // NULL: in no module
	const char *function;                // demangled; NULL when unknown
	uint64_t offset;                     // from the function, or from the module's start
	const char *file;                    // source file, NULL when unknown
	unsigned line;
};

// Finds the modules; opens no file before it is needed. Never fails on damaged ELF files: those have
// no symbols, and symbols_warnings says why. Not thread-safe.
struct error *symbols_open(struct target *target, struct symbols **ret);
void symbols_close(struct symbols *symbols);

// A module as it was recorded. Ascending by start, never overlapping.
struct symbols_recorded {
	uint64_t start, end, bias;
	const char *path; // as the program saw it
	const uint8_t *build_id;
	size_t build_id_bytes; // 0: none
};

// The same without a target: files of this machine that have the recorded build-id, debug files of it,
// and debuginfod's when DEBUGINFOD_URLS is set. root is put before the paths ("" or "/proc/PID/root").
// symbols_unwind and symbols_section_at are for targets only.
struct error *symbols_open_recorded(const struct symbols_recorded *modules, size_t count,
                                    const char *root, struct symbols **ret);

const struct symbols_module *symbols_modules(const struct symbols *symbols, size_t *ret_count);
const struct symbols_module *symbols_module_at(const struct symbols *symbols, uint64_t address);

// Names a code or data address as well as can be. Strings live as long as symbols.
void symbols_name_at(struct symbols *symbols, uint64_t address, struct symbols_name *ret);

// The functions whose code was inlined at an address, innermost first, and last the one that they are
// in: each with the file and line where it stands. At least one, at most `most`.
size_t symbols_names_at(struct symbols *symbols, uint64_t address, struct symbols_name *ret,
                        size_t most);

// The run-time address and size of a symbol of any module whose base name starts with module_prefix
// (NULL = any). ERROR_NOT_FOUND when there is none.
struct error *symbols_find(struct symbols *symbols, const char *module_prefix, const char *name,
                           uint64_t *ret_address, uint64_t *ret_bytes);

// The section of a module that holds a run-time address (".data", ".bss", ".text"), or NULL.
const char *symbols_section_at(struct symbols *symbols, uint64_t address);

// A frame of a stack.
struct symbols_frame {
	uint64_t pc;
	bool is_return; // pc is where a call returns to: the call itself is named by pc - 1
};

// The stack of target->threads[thread_index], innermost frame first, at most `most` frames; as far as
// it can be unwound, at least the place where the thread stood. ERROR_NOT_FOUND when not even that is
// known.
struct error *symbols_unwind(struct symbols *symbols, size_t thread_index,
                             struct symbols_frame *frames, size_t most, size_t *ret_count);

// A demangled copy in arena of a C++, Rust or D name; a copy of mangled when it is none. A type name as
// std::type_info gives it ("3Foo", "N2ns3BarE") goes to symbols_demangle_type. Made printable.
const char *symbols_demangle(struct arena *arena, const char *mangled);
const char *symbols_demangle_type(struct arena *arena, const char *mangled);

const char *const *symbols_warnings(const struct symbols *symbols, size_t *ret_count);

// What went wrong with the debuginfod servers that the environment names, a sentence; NULL: nothing.
const char *symbols_server_trouble(const struct symbols *symbols);
