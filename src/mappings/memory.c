// SPDX-License-Identifier: MIT
// mmap and its family. Called by the program and its libraries; not by libc's own malloc, which takes
// its memory past these. What an allocator in a library of its own maps for its heap is not the
// program's either, and not told of. The calls go straight to the kernel, as libc's do, because they
// come before anything is set up.
#include <dlfcn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "layout/record.h"
#include "mappings/mappings.h"

enum { PAGE_MASK = 4095, PROTECTION_BITS = 0xff };

#define PUBLIC __attribute__((visibility("default")))

struct record_hooks mappings_hooks;
void (*mappings_shared)(void *address, size_t bytes, uint32_t extra, int fd,
                        const struct record_position *at);

static uintptr_t allocator_start, allocator_end;

void mappings_leave_out(uintptr_t start, uintptr_t end)
{
	allocator_start = start;
	allocator_end = end;
}

static bool is_programs(const struct record_position *at)
{
	return at->pc - allocator_start >= allocator_end - allocator_start;
}

static bool wanted(const struct record_position *at)
{
	return __atomic_load_n(&mappings_hooks.called, __ATOMIC_RELAXED) && is_programs(at);
}

// A tool that gets out may take the hook away at any moment.
static void tell(uint32_t kind, const void *address, size_t bytes, uint32_t extra,
                 const struct record_position *at)
{
	__typeof__(mappings_hooks.called) called =
		__atomic_load_n(&mappings_hooks.called, __ATOMIC_RELAXED);

	if (called)
		called(kind, (uint64_t)address, (bytes + PAGE_MASK) & ~(size_t)PAGE_MASK, extra,
		       NULL, at);
}

static uint32_t extra_of(int protection, int flags)
{
	return ((uint32_t)protection & PROTECTION_BITS) |
	       ((flags & MAP_TYPE) == MAP_PRIVATE ? 0 : RECORD_VM_SHARED) |
	       (flags & MAP_ANONYMOUS ? 0 : RECORD_VM_FILE) |
	       (flags & (MAP_STACK | MAP_GROWSDOWN) ? RECORD_VM_STACK : 0);
}

// --- mmap -----------------------------------------------------------------------------------------
static void told_of_map(void *address, size_t bytes, int protection, int flags, int fd,
                        const struct record_position *at)
{
	uint32_t extra = extra_of(protection, flags);
	__typeof__(mappings_shared) shared = __atomic_load_n(&mappings_shared, __ATOMIC_RELAXED);

	if (wanted(at))
		tell(RECORD_MAP, address, bytes, extra, at);
	if ((extra & RECORD_VM_SHARED) && shared && is_programs(at))
		shared(address, bytes, extra, fd, at);
}

// Both by their names for the linker: the header gives them one.
#define NAMED(name) __asm__(name) PUBLIC

void *mappings_map(void *address, size_t bytes, int protection, int flags, int fd, int64_t offset)
	NAMED("mmap");
void *mappings_map(void *address, size_t bytes, int protection, int flags, int fd, int64_t offset)
{
	void *got = (void *)syscall(SYS_mmap, address, bytes, protection, flags, fd, offset);

	if (got != MAP_FAILED) {
		const struct record_position at = RECORD_POSITION_HERE();

		told_of_map(got, bytes, protection, flags, fd, &at);
	}
	return got;
}

void *mappings_map_wide(void *address, size_t bytes, int protection, int flags, int fd,
                        int64_t offset) NAMED("mmap64") __attribute__((alias("mmap")));

PUBLIC int munmap(void *address, size_t bytes)
{
	const struct record_position at = RECORD_POSITION_HERE();

	// Before: another thread may get the range as soon as it is free.
	if (wanted(&at))
		tell(RECORD_UNMAP, address, bytes, 0, &at);
	return (int)syscall(SYS_munmap, address, bytes);
}

PUBLIC void *mremap(void *old, size_t old_bytes, size_t bytes, int flags, ...)
{
	const struct record_position at = RECORD_POSITION_HERE();
	bool told = wanted(&at);
	void *target = NULL, *got;
	va_list list;

	if (flags & MREMAP_FIXED) {
		va_start(list, flags);
		target = va_arg(list, void *);
		va_end(list);
	}
	if (told && !(flags & MREMAP_DONTUNMAP) && old_bytes)
		tell(RECORD_REMAP_FREE, old, old_bytes, 0, &at);
	got = (void *)syscall(SYS_mremap, old, old_bytes, bytes, flags, target);
	if (told)
		tell(RECORD_MAP, got == MAP_FAILED ? old : got,
		     got == MAP_FAILED ? old_bytes : bytes, PROT_READ | PROT_WRITE, &at);
	return got;
}

// --- the break ------------------------------------------------------------------------------------
static void told_of_break(uintptr_t before, uintptr_t after, const struct record_position *at)
{
	if (after > before)
		tell(RECORD_MAP, (void *)before, after - before,
		     PROT_READ | PROT_WRITE | RECORD_VM_BREAK, at);
	else if (after < before)
		tell(RECORD_UNMAP, (void *)after, before - after, RECORD_VM_BREAK, at);
}

PUBLIC void *sbrk(intptr_t change)
{
	static void *(*next)(intptr_t);
	const struct record_position at = RECORD_POSITION_HERE();
	void *before;

	if (!next)
		*(void **)&next = dlsym(RTLD_NEXT, "sbrk");
	before = next(change);
	if (before != (void *)-1 && wanted(&at))
		told_of_break((uintptr_t)before, (uintptr_t)before + (uintptr_t)change, &at);
	return before;
}

PUBLIC int brk(void *end)
{
	static int (*next)(void *);
	const struct record_position at = RECORD_POSITION_HERE();
	uintptr_t before = (uintptr_t)syscall(SYS_brk, 0);
	int result;

	if (!next)
		*(void **)&next = dlsym(RTLD_NEXT, "brk");
	result = next(end);
	if (!result && wanted(&at))
		told_of_break(before, (uintptr_t)end, &at);
	return result;
}
