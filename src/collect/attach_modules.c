// SPDX-License-Identifier: MIT
// The ELF files in a running program as its dynamic linker knows them, in the order
// in which it looks symbols up, and their dynamic symbols, read from its memory. glibc: elf/link.h
// (struct r_debug, struct link_map). What is read is the program's own and not trusted.
#include "collect/attach_impl.h"

#include <elf.h>
#include <stdio.h>
#include <string.h>

#define MODULES_MAX   65536
#define NAME_MAX_     4096
#define DYNAMIC_MAX   512
#define HEADERS_MAX   512
#define CHAIN_MAX     (1u << 22)
#define VERSION_HIDES 0x8000u // VERSYM_HIDDEN
#define DEBUG_TRIES   200
#define DEBUG_WAIT_NS 5000000ull

// Around the functions that libc exports of its malloc, for those that it does not.
#define MALLOC_MARGIN (16u << 10)

// --- reading -------------------------------------------------------------------------------------
static bool get(const struct attach *attach, uint64_t address, void *ret, size_t bytes)
{
	return os_remote_read(attach->memory_tid, -1, address, ret, bytes) == bytes;
}

static const char *get_text(const struct attach *attach, uint64_t address, size_t limit)
{
	char text[NAME_MAX_];
	size_t got = os_remote_read(attach->memory_tid, -1, address, text,
	                            limit < sizeof(text) ? limit : sizeof(text));

	return memchr(text, '\0', got) ? arena_copy(attach->arena, text) : "";
}

static const struct os_mapping *mapping_at(const struct attach *attach, uint64_t address)
{
	for (size_t i = 0; i < attach->mapping_count; i++)
		if (address >= attach->mappings[i].start && address < attach->mappings[i].end)
			return &attach->mappings[i];
	return NULL;
}

// --- symbols -------------------------------------------------------------------------------------
static bool symbol_is(const struct attach *attach, const struct attach_module *module,
                      uint32_t index, const char *name, Elf64_Sym *ret)
{
	char text[RECORD_ATTACH_NAME_BYTES + 1];
	size_t bytes = strlen(name) + 1;
	uint16_t version = 0;

	if (bytes > sizeof(text) ||
	    !get(attach, module->symbols + (uint64_t)index * sizeof(*ret), ret, sizeof(*ret)) ||
	    ret->st_name >= module->strings_bytes ||
	    !get(attach, module->strings + ret->st_name, text, bytes) || memcmp(text, name, bytes))
		return false;
	if (module->versions && !get(attach, module->versions + (uint64_t)index * sizeof(version),
	                             &version, sizeof(version)))
		return false;
	return ret->st_shndx != SHN_UNDEF && ret->st_value && !(version & VERSION_HIDES) &&
	       ELF64_ST_TYPE(ret->st_info) != STT_GNU_IFUNC &&
	       ELF64_ST_TYPE(ret->st_info) != STT_TLS;
}

static uint32_t gnu_hash(const char *name)
{
	uint32_t hash = 5381;

	for (; *name; name++)
		hash = hash * 33 + (uint8_t)*name;
	return hash;
}

static uint64_t find_by_gnu_hash(const struct attach *attach, const struct attach_module *module,
                                 const char *name)
{
	uint32_t header[4], hash = gnu_hash(name), index, link;
	Elf64_Sym symbol;
	uint64_t buckets, chains;

	if (!get(attach, module->gnu_hash, header, sizeof(header)) || !header[0])
		return 0;
	buckets = module->gnu_hash + sizeof(header) + (uint64_t)header[2] * sizeof(uint64_t);
	chains = buckets + (uint64_t)header[0] * sizeof(uint32_t);
	if (!get(attach, buckets + (uint64_t)(hash % header[0]) * sizeof(index), &index,
	         sizeof(index)) ||
	    index < header[1])
		return 0;
	for (unsigned i = 0; i < CHAIN_MAX; i++, index++) {
		if (!get(attach, chains + (uint64_t)(index - header[1]) * sizeof(link), &link,
		         sizeof(link)))
			return 0;
		if ((link | 1) == (hash | 1) && symbol_is(attach, module, index, name, &symbol))
			return module->bias + symbol.st_value;
		if (link & 1)
			return 0;
	}
	return 0;
}

static uint64_t find_by_hash(const struct attach *attach, const struct attach_module *module,
                             const char *name)
{
	uint32_t header[2], hash = 0, index;
	Elf64_Sym symbol;
	uint64_t chains;

	for (const char *at = name; *at; at++) {
		hash = (hash << 4) + (uint8_t)*at;
		hash = (hash ^ (hash >> 24 & 0xf0)) & 0x0fffffff;
	}
	if (!get(attach, module->hash, header, sizeof(header)) || !header[0])
		return 0;
	chains = module->hash + sizeof(header) + (uint64_t)header[0] * sizeof(uint32_t);
	if (!get(attach,
	         module->hash + sizeof(header) + (uint64_t)(hash % header[0]) * sizeof(index),
	         &index, sizeof(index)))
		return 0;
	for (unsigned i = 0; i < CHAIN_MAX && index; i++) {
		if (symbol_is(attach, module, index, name, &symbol))
			return module->bias + symbol.st_value;
		if (!get(attach, chains + (uint64_t)index * sizeof(index), &index, sizeof(index)))
			return 0;
	}
	return 0;
}

uint64_t attach_symbol(const struct attach *attach, const struct attach_module *module,
                       const char *name)
{
	if (!module->symbols || !module->strings)
		return 0;
	if (module->gnu_hash)
		return find_by_gnu_hash(attach, module, name);
	return module->hash ? find_by_hash(attach, module, name) : 0;
}

// --- modules -------------------------------------------------------------------------------------
// glibc adds the bias to what stands there, but for the vdso.
static uint64_t table(const struct attach_module *module, uint64_t value)
{
	return value < module->bias ? value + module->bias : value;
}

static void read_dynamic(const struct attach *attach, struct attach_module *module,
                         uint64_t *ret_debug)
{
	Elf64_Dyn entries[DYNAMIC_MAX];
	size_t count =
		os_remote_read(attach->memory_tid, -1, module->dynamic, entries, sizeof(entries)) /
		sizeof(*entries);

	for (size_t i = 0; i < count && entries[i].d_tag != DT_NULL; i++) {
		uint64_t value = entries[i].d_un.d_val;

		if (entries[i].d_tag == DT_SYMTAB)
			module->symbols = table(module, value);
		else if (entries[i].d_tag == DT_STRTAB)
			module->strings = table(module, value);
		else if (entries[i].d_tag == DT_STRSZ)
			module->strings_bytes = value;
		else if (entries[i].d_tag == DT_VERSYM)
			module->versions = table(module, value);
		else if (entries[i].d_tag == DT_GNU_HASH)
			module->gnu_hash = table(module, value);
		else if (entries[i].d_tag == DT_HASH)
			module->hash = table(module, value);
		else if (entries[i].d_tag == DT_DEBUG)
			*ret_debug = value;
	}
}

static void find_texts(const struct attach *attach, struct attach_module *module)
{
	const struct os_mapping *own = mapping_at(attach, module->dynamic);

	for (size_t i = 0; own && own->inode && i < attach->mapping_count; i++) {
		const struct os_mapping *mapping = &attach->mappings[i];

		if (mapping->inode == own->inode && mapping->device == own->device &&
		    mapping->protection & OS_EXEC && module->text_count < ATTACH_TEXTS_MAX)
			module->texts[module->text_count++] =
				(struct os_range){ mapping->start, mapping->end };
	}
}

bool attach_module_has_code(const struct attach_module *module, uint64_t address)
{
	for (size_t i = 0; i < module->text_count; i++)
		if (address >= module->texts[i].start && address < module->texts[i].end)
			return true;
	return false;
}

static uint64_t auxv_value(const uint64_t *auxv, size_t pairs, uint64_t type)
{
	for (size_t i = 0; i < pairs; i++)
		if (auxv[2 * i] == type)
			return auxv[2 * i + 1];
	return 0;
}

static bool find_dynamic(const struct attach *attach, uint64_t headers, uint64_t count,
                         struct attach_module *ret)
{
	uint64_t bias = 0, dynamic = 0;

	for (uint64_t i = 0; i < count && i < HEADERS_MAX; i++) {
		Elf64_Phdr header;

		if (!get(attach, headers + i * sizeof(header), &header, sizeof(header)))
			return false;
		if (header.p_type == PT_PHDR)
			bias = headers - header.p_vaddr;
		if (header.p_type == PT_DYNAMIC)
			dynamic = header.p_vaddr;
	}
	*ret = (struct attach_module){ .name = "", .bias = bias, .dynamic = bias + dynamic };
	return dynamic;
}

// struct link_map begins with these.
struct map_start {
	uint64_t bias, name, dynamic, next, previous;
};

static struct error *read_list(struct attach *attach, uint64_t debug)
{
	struct {
		uint32_t version, pad;
		uint64_t first, where;
		uint32_t state, pad2; // 0: consistent
	} head;
	struct map_start map;
	VEC(struct attach_module) modules;

	vec_init(&modules, &os_page_source);
	if (!get(attach, debug, &head, sizeof(head)) || head.state)
		return error_new(ERROR_UNSUPPORTED, "its dynamic linker was busy all the time");
	for (uint64_t at = head.first; at && modules.n < MODULES_MAX; at = map.next) {
		struct attach_module module = { 0 };
		uint64_t ignored;

		if (!get(attach, at, &map, sizeof(map)))
			break;
		module.bias = map.bias;
		module.dynamic = map.dynamic;
		module.name = get_text(attach, map.name, NAME_MAX_);
		read_dynamic(attach, &module, &ignored);
		find_texts(attach, &module);
		vec_push(&modules, module);
	}
	attach->module_count = modules.n;
	attach->modules = arena_array(attach->arena, modules.n + 1, sizeof(*modules.v));
	if (modules.n)
		memcpy(attach->modules, modules.v, modules.n * sizeof(*modules.v));
	vec_deinit(&modules);
	return NULL;
}

static struct error *read_program(struct attach *attach, uint64_t *ret_debug, uint64_t *ret_loader)
{
	struct attach_module program;
	uint64_t *auxv;
	size_t pairs;

	*ret_debug = 0;
	TRY(os_process_auxv(attach->arena, attach->memory_tid, sizeof(uint64_t), &auxv, &pairs));
	*ret_loader = auxv_value(auxv, pairs, AT_BASE);
	if (find_dynamic(attach, auxv_value(auxv, pairs, AT_PHDR),
	                 auxv_value(auxv, pairs, AT_PHNUM), &program))
		read_dynamic(attach, &program, ret_debug);
	if (!*ret_debug)
		return error_new(ERROR_UNSUPPORTED,
		                 "it is statically linked: nothing can be loaded into it; link it "
		                 "with libheapwright.a, which can record");
	return NULL;
}

// --- who is who ----------------------------------------------------------------------------------
static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static void find_malloc_of_libc(struct attach *attach)
{
	static const char *const names[] = {
		"malloc",   "free",           "calloc",
		"realloc",  "memalign",       "valloc",
		"pvalloc",  "posix_memalign", "malloc_usable_size",
		"mallopt",  "malloc_info",    "malloc_trim",
		"mallinfo",
	};
	uint64_t start = UINT64_MAX, end = 0;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		uint64_t at = attach_symbol(attach, attach->libc, names[i]);

		if (at && at < start)
			start = at;
		if (at > end)
			end = at;
	}
	attach->malloc_start = start - MALLOC_MARGIN;
	attach->malloc_end = end + MALLOC_MARGIN;
}

// A compiler that saw malloc and its callers together (one file, or link-time optimization) lets these rely
// on what exactly malloc does: registers that it leaves alone, a stack that it does not want aligned (gcc
// 12, -fipa-ra). A function of ours in its place breaks such callers. Across libraries nobody knows that.
static struct error *check_provider(const struct attach *attach)
{
	if (attach->provider->name[0])
		return NULL;
	return error_new(ERROR_UNSUPPORTED,
	                 "it defines malloc itself, and its callers may rely on how that is made");
}

static struct error *name_modules(struct attach *attach, uint64_t loader)
{
	attach->libc = attach->loader = attach->provider = attach->library = NULL;
	for (size_t i = 0; i < attach->module_count; i++) {
		const struct attach_module *module = &attach->modules[i];

		if (strstr(base_name(module->name), "musl"))
			return error_new(
				ERROR_UNSUPPORTED,
				"its C library is musl, for which the recorder is not made");
		if (module->bias == loader)
			attach->loader = module;
		if (!strcmp(base_name(module->name), "libc.so.6"))
			attach->libc = module;
		if (attach_symbol(attach, module, RECORD_ATTACH_SYMBOL))
			attach->library = module;
		else if (!attach->provider && attach_symbol(attach, module, "malloc"))
			attach->provider = module;
	}
	if (!attach->libc || !attach->loader || !attach->provider)
		return error_new(ERROR_UNSUPPORTED,
		                 "its C library is not glibc, for which the recorder is made");
	TRY(check_provider(attach));
	find_malloc_of_libc(attach);
	return NULL;
}

struct error *attach_read_modules(struct attach *attach)
{
	struct error *error;
	uint64_t debug, loader;
	unsigned tries = 0;

	do {
		if (tries)
			os_sleep_ns(DEBUG_WAIT_NS);
		TRY(os_mappings_read_once(attach->arena, attach->memory_tid, &attach->mappings,
		                          &attach->mapping_count));
		TRY(read_program(attach, &debug, &loader));
		error = read_list(attach, debug);
	} while (error && ++tries < DEBUG_TRIES);
	TRY(error);
	return name_modules(attach, loader);
}
