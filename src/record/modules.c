// SPDX-License-Identifier: MIT
// Which ELF files are mapped: where their tables for walking lie, and the module table of the shared
// mapping. Called by rules.c when a place in the code is met for the first time, so a module is known
// from its first use and dlopen needs no hook; dlclose does (record_modules_changed).
//
// The dynamic linker is asked through _dl_find_object, which takes no lock and may be called anywhere
// (glibc 2.35), else its list is read as it lies there. dl_iterate_phdr is never called: another thread
// may hold the linker's lock and wait in malloc for one of ours.
#include <elf.h>
#include <link.h>
#include <string.h>
#include <sys/auxv.h>

#include "os/inside.h"
#include "record/record.h"
#include "record/unwind.h"

enum {
	IMAGES_MAX = 4096,
	HEADERS_MAX = 64,
	LINKS_MAX = 4096,
	PATIENCE = 1000,
};

// A module that is mapped now.
struct image {
	uint64_t start, end; // end 0: it was unloaded
	struct record_cfi_section section;
	const struct link_map *link;
	struct record_module *module;
};

static struct image *images;
static uint32_t image_count; // only grows
static struct inside_lock lock;
static struct record_header *header;
uint32_t record_modules_generation;
struct record_modules_linker record_modules_linker;

// What _dl_find_object gives (glibc, dlfcn.h); declared here because older ones and other C libraries
// have neither.
struct found_object {
	unsigned long long flags;
	void *start, *end;
	struct link_map *link;
	void *frame_header;
	unsigned long long reserved[7];
};

int linker_find_object(void *address, struct found_object *ret) __asm__("_dl_find_object")
	__attribute__((weak));

static uint64_t now_ticks(void)
{
	uint64_t now = header->clock == RECORD_CLOCK_TSC ? inside_ticks() : inside_monotonic_ns();

	return now > header->clock_start ? now - header->clock_start : 1;
}

// --- One ELF file ---------------------------------------------------------------------------------
struct elf {
	uint64_t bias, start, end;
	const ElfW(Phdr) * headers;
	unsigned count;
};

// The header of a file lies at the start of its first segment, with the program headers on the same
// page; of the main program the kernel says where they are.
static bool open_elf(uint64_t start, uint64_t bias, struct elf *ret)
{
	const ElfW(Ehdr) *file = (const ElfW(Ehdr) *)(uintptr_t)start;
	uint64_t low = UINT64_MAX, high = 0;

	if (memcmp(file, ELFMAG, SELFMAG) != 0 || file->e_phentsize != sizeof(*ret->headers) ||
	    file->e_phoff + (uint64_t)file->e_phnum * sizeof(*ret->headers) > 4096)
		return false;
	ret->headers = (const void *)((const char *)file + file->e_phoff);
	ret->count = file->e_phnum < HEADERS_MAX ? file->e_phnum : HEADERS_MAX;
	ret->bias = bias;
	for (unsigned i = 0; i < ret->count; i++) {
		const ElfW(Phdr) *segment = &ret->headers[i];

		if (segment->p_type != PT_LOAD)
			continue;
		low = segment->p_vaddr < low ? segment->p_vaddr : low;
		if (segment->p_vaddr + segment->p_memsz > high)
			high = segment->p_vaddr + segment->p_memsz;
	}
	ret->start = bias + low;
	ret->end = bias + high;
	return low < high && ret->start <= start && start < ret->end;
}

static void find_section(const struct elf *elf, struct record_cfi_section *ret)
{
	uint64_t at = 0;

	for (unsigned i = 0; i < elf->count; i++)
		if (elf->headers[i].p_type == PT_GNU_EH_FRAME)
			at = elf->headers[i].p_vaddr;
	for (unsigned i = 0; at && i < elf->count; i++) {
		const ElfW(Phdr) *segment = &elf->headers[i];

		if (segment->p_type != PT_LOAD || at < segment->p_vaddr ||
		    at - segment->p_vaddr >= segment->p_filesz)
			continue;
		ret->start = (const uint8_t *)(uintptr_t)(elf->bias + segment->p_vaddr);
		ret->end = ret->start + segment->p_filesz;
		ret->header = (const uint8_t *)(uintptr_t)(elf->bias + at);
	}
}

static bool copy_build_id(const char *at, uint64_t bytes, struct record_module *ret)
{
	while (bytes >= sizeof(ElfW(Nhdr))) {
		const ElfW(Nhdr) *note = (const void *)at;
		uint64_t name = (note->n_namesz + 3ull) & ~3ull;
		uint64_t whole = sizeof(*note) + name + ((note->n_descsz + 3ull) & ~3ull);

		if (whole > bytes)
			return false;
		if (note->n_type == NT_GNU_BUILD_ID && note->n_namesz == 4 &&
		    !memcmp(note + 1, "GNU", 4) && note->n_descsz <= RECORD_BUILD_ID_BYTES) {
			ret->build_id_bytes = note->n_descsz;
			memcpy(ret->build_id, (const char *)(note + 1) + name, note->n_descsz);
			return true;
		}
		at += whole;
		bytes -= whole;
	}
	return false;
}

static void find_build_id(const struct elf *elf, struct record_module *ret)
{
	for (unsigned i = 0; i < elf->count; i++) {
		const ElfW(Phdr) *notes = &elf->headers[i];
		uint64_t at = elf->bias + notes->p_vaddr;

		if (notes->p_type == PT_NOTE && at >= elf->start &&
		    notes->p_memsz <= elf->end - at &&
		    copy_build_id((const char *)(uintptr_t)at, notes->p_memsz, ret))
			return;
	}
}

// --- Publishing -----------------------------------------------------------------------------------
static void set_path(struct record_module *module, const char *path)
{
	size_t length = strlen(path), room = sizeof(module->path) - 1;

	if (length <= room) {
		memcpy(module->path, path, length + 1);
		return;
	}
	memcpy(module->path, "...", 3);
	memcpy(module->path + 3, path + length - (room - 3), room - 3 + 1);
}

static void find_program_path(struct record_module *module)
{
	char path[1024];

	if (inside_program_path(path, sizeof(path)))
		set_path(module, path);
}

static void find_mapped_path(uint64_t start, struct record_module *module)
{
	struct inside_module mapped;

	if (inside_module_at(start, &mapped))
		set_path(module, mapped.path);
}

// The linker has the name as the program gave it, and none for the main program.
static void find_path(const struct link_map *link, uint64_t start, struct record_module *module)
{
	const char *name = link && link->l_name ? link->l_name : "";

	if (start == getauxval(AT_SYSINFO_EHDR))
		set_path(module, "linux-vdso.so.1");
	else if (name[0] == '/')
		set_path(module, name);
	else if (!name[0])
		find_program_path(module);
	else
		find_mapped_path(start, module);
}

static struct record_module *publish(const struct elf *elf, const struct link_map *link)
{
	struct record_module *modules = (void *)((char *)header + header->modules_offset);
	uint32_t index = __atomic_fetch_add(&header->module_count, 1, __ATOMIC_RELAXED);
	struct record_module *module = &modules[index];

	if (index >= header->module_capacity) {
		__atomic_store_n(&header->module_count, header->module_capacity, __ATOMIC_RELAXED);
		return NULL;
	}
	module->start = elf->start;
	module->end = elf->end - 1;
	module->bias = elf->bias;
	find_build_id(elf, module);
	find_path(link, elf->start, module);
	inside_file_identity(module->path, &module->device, &module->inode);
	__atomic_store_n(&module->loaded, now_ticks(), __ATOMIC_RELEASE);
	return module;
}

static struct image *add_image(const struct elf *elf, const struct link_map *link)
{
	uint32_t index = __atomic_fetch_add(&image_count, 1, __ATOMIC_RELAXED);
	struct image *image = &images[index];

	if (index >= IMAGES_MAX) {
		__atomic_store_n(&image_count, IMAGES_MAX, __ATOMIC_RELAXED);
		return NULL;
	}
	*image = (struct image){ .start = elf->start, .link = link };
	find_section(elf, &image->section);
	image->module = publish(elf, link);
	__atomic_store_n(&image->end, elf->end, __ATOMIC_RELEASE);
	return image;
}

// --- Asking the dynamic linker --------------------------------------------------------------------
static bool contains(const struct elf *elf, uint64_t address)
{
	return address >= elf->start && address < elf->end;
}

// What the kernel mapped: the main program, whose program headers and entry it tells, and the vdso. There
// is nothing else in a static program.
static bool kernel_find(uint64_t address, struct elf *ret)
{
	uint64_t program = getauxval(AT_PHDR) & ~UINT64_C(4095);
	uint64_t vdso = getauxval(AT_SYSINFO_EHDR);
	const ElfW(Ehdr) *file = (const ElfW(Ehdr) *)(uintptr_t)program;

	if (program && open_elf(program, getauxval(AT_ENTRY) - file->e_entry, ret) &&
	    contains(ret, address))
		return true;
	return vdso && open_elf(vdso, vdso, ret) && contains(ret, address);
}

#pragma weak _r_debug // not in all static programs

static bool list_find(uint64_t address, struct elf *ret, const struct link_map **ret_link)
{
	const struct link_map *link = &_r_debug ? _r_debug.r_map : NULL;

	for (int i = 0; link && i < LINKS_MAX && inside_readable_word(link); i++) {
		uint64_t start = link->l_addr;

		// A program that is not relocated has its headers elsewhere.
		if (!start && i == 0)
			start = getauxval(AT_PHDR) & ~UINT64_C(4095);
		if (inside_readable_word((const void *)(uintptr_t)start) &&
		    open_elf(start, link->l_addr, ret) && address >= ret->start &&
		    address < ret->end) {
			*ret_link = link;
			return true;
		}
		link = link->l_next;
	}
	return false;
}

static bool linker_find(uint64_t address, struct elf *ret, const struct link_map **ret_link)
{
	struct found_object found;

	if (linker_find_object && !linker_find_object((void *)(uintptr_t)address, &found)) {
		*ret_link = found.link;
		if (open_elf((uintptr_t)found.start, found.link->l_addr, ret))
			return true;
	} else if (!linker_find_object && list_find(address, ret, ret_link))
		return true;
	*ret_link = NULL;
	return kernel_find(address, ret);
}

static uint32_t images_known(void)
{
	uint32_t count = __atomic_load_n(&image_count, __ATOMIC_ACQUIRE);

	return count < IMAGES_MAX ? count : IMAGES_MAX;
}

static struct image *known_image(uint64_t address)
{
	uint32_t count = images_known();

	for (uint32_t i = count; i--;) {
		uint64_t end = __atomic_load_n(&images[i].end, __ATOMIC_ACQUIRE);

		if (address < end && address >= images[i].start)
			return &images[i];
	}
	return NULL;
}

// A thread may have left the lock for good, out of a signal handler: it is waited for, not depended on.
// At worst a module is found twice.
static bool take_lock(void)
{
	for (int i = 0; i < PATIENCE; i++) {
		if (inside_lock_try(&lock))
			return true;
		inside_yield();
	}
	return false;
}

static void leave_lock(bool taken)
{
	if (taken)
		inside_unlock(&lock);
}

bool record_modules_find(uint64_t address, struct record_cfi_section *ret)
{
	struct image *image = images ? known_image(address) : NULL;
	const struct link_map *link;
	struct elf elf;

	if (!image && images) {
		bool taken = take_lock();

		image = known_image(address);
		if (!image && linker_find(address, &elf, &link))
			image = add_image(&elf, link);
		leave_lock(taken);
	}
	if (!image || !image->section.header)
		return false;
	*ret = image->section;
	return true;
}

// --- Changes --------------------------------------------------------------------------------------
static bool same_build(const struct elf *elf, const struct record_module *module)
{
	struct record_module now = { 0 };

	if (!module)
		return false;
	find_build_id(elf, &now);
	return now.build_id_bytes && now.build_id_bytes == module->build_id_bytes &&
	       !memcmp(now.build_id, module->build_id, now.build_id_bytes);
}

static bool is_still_there(const struct image *image)
{
	const struct link_map *link;
	struct elf elf;

	return linker_find(image->start, &elf, &link) && elf.start == image->start &&
	       elf.end == image->end && same_build(&elf, image->module);
}

void record_modules_changed(void)
{
	bool gone = false, taken;

	if (!images)
		return;
	taken = take_lock();
	for (uint32_t i = 0; i < images_known(); i++) {
		if (!images[i].end || is_still_there(&images[i]))
			continue;
		if (images[i].module)
			__atomic_store_n(&images[i].module->unloaded, now_ticks(),
			                 __ATOMIC_RELEASE);
		__atomic_store_n(&images[i].end, 0, __ATOMIC_RELEASE);
		gone = true;
	}
	if (gone) {
		record_rules_forget_shared();
		__atomic_fetch_add(&record_modules_generation, 1, __ATOMIC_RELEASE);
	}
	leave_lock(taken);
}

static void find_linker(void)
{
	uint64_t start = getauxval(AT_BASE);
	struct elf elf;

	if (start && open_elf(start, start, &elf)) {
		record_modules_linker.start = elf.start;
		record_modules_linker.bytes = elf.end - elf.start;
	}
}

void record_modules_start(struct record_header *mapping)
{
	header = mapping;
	find_linker();
	if (!images)
		images = inside_map(IMAGES_MAX * sizeof(*images), 4096, INSIDE_READ_WRITE);
	else
		memset(images, 0, images_known() * sizeof(*images));
	image_count = 0;
	// What is known from an earlier recording would keep modules from being published.
	record_rules_forget_shared();
}

void record_modules_fork_child(void)
{
	lock.state = 0;
}
