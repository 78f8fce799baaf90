// SPDX-License-Identifier: MIT
// Memory from the kernel for code inside the program. Relies on nothing but system calls; called by
// the rooms of the target wing. Facts about mremap and madvise: mm/mremap.c, mm/madvise.c of Linux.
#include <errno.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "os/inside.h"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE  103
#endif

enum { PAGE_BYTES = 4096 };

// The library finds its blocks by 47 bits of address; a kernel with more of them to give away (aarch64)
// is asked for some below.
#define ADDRESS_END (1ull << 47)

INSIDE_AT_START static long failed(long result, int saved)
{
	int error = errno;

	errno = saved;
	return result == -1 ? -error : result;
}

INSIDE_AT_START static int protection_bits(enum inside_protection protection)
{
	if (protection == INSIDE_NO_ACCESS)
		return PROT_NONE;
	return protection == INSIDE_READ_ONLY ? PROT_READ : PROT_READ | PROT_WRITE;
}

INSIDE_AT_START static uintptr_t map_at(uintptr_t hint, size_t bytes, int protection)
{
	int saved = errno;
	long got = syscall(SYS_mmap, hint, bytes, protection,
	                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0l);

	got = failed(got, saved);
	return got < 0 && got > -PAGE_BYTES ? 0 : (uintptr_t)got;
}

INSIDE_AT_START static uintptr_t map_low(size_t bytes, int protection)
{
	static uintptr_t hint = ADDRESS_END / 4;
	uintptr_t got = map_at(0, bytes, protection);

	if (got + bytes <= ADDRESS_END)
		return got;
	inside_unmap((void *)got, bytes);
	got = map_at(__atomic_fetch_add(&hint, (bytes | 0xffff) + 1, __ATOMIC_RELAXED), bytes,
	             protection);
	if (got + bytes <= ADDRESS_END)
		return got;
	inside_unmap((void *)got, bytes);
	return 0;
}

void *inside_map(size_t bytes, size_t alignment, enum inside_protection protection)
{
	int bits = protection_bits(protection);
	uintptr_t got = map_low(bytes, bits);
	uintptr_t aligned;

	if (!got || got % alignment == 0)
		return (void *)got;
	inside_unmap((void *)got, bytes);
	if (bytes + alignment < bytes)
		return NULL;
	got = map_low(bytes + alignment, bits);
	if (!got)
		return NULL;
	aligned = (got + alignment - 1) & -alignment;
	if (aligned > got)
		inside_unmap((void *)got, aligned - got);
	if (got + alignment > aligned)
		inside_unmap((void *)(aligned + bytes), got + alignment - aligned);
	return (void *)aligned;
}

void inside_unmap(void *memory, size_t bytes)
{
	int saved = errno;

	syscall(SYS_munmap, memory, bytes);
	errno = saved;
}

int inside_protect(void *memory, size_t bytes, enum inside_protection protection)
{
	int saved = errno;

	return failed(syscall(SYS_mprotect, memory, bytes, protection_bits(protection)), saved);
}

int inside_move(void *old, size_t old_bytes, void *new_address, size_t new_bytes)
{
	int saved = errno;
	long got = syscall(SYS_mremap, old, old_bytes, new_bytes, MREMAP_MAYMOVE | MREMAP_FIXED,
	                   new_address);

	got = failed(got, saved);
	return got < 0 && got > -PAGE_BYTES ? (int)got : 0;
}

static int advise(void *memory, size_t bytes, int advice)
{
	int saved = errno;

	return failed(syscall(SYS_madvise, memory, bytes, advice), saved);
}

int inside_discard(void *memory, size_t bytes)
{
	return advise(memory, bytes, MADV_DONTNEED);
}

int inside_residents(void *memory, size_t bytes, unsigned char *ret)
{
	int saved = errno;

	return failed(syscall(SYS_mincore, memory, bytes, ret), saved);
}

int inside_offer(void *memory, size_t bytes)
{
	return advise(memory, bytes, MADV_FREE);
}

int inside_guard_install(void *memory, size_t bytes)
{
	return advise(memory, bytes, MADV_GUARD_INSTALL);
}

int inside_guard_remove(void *memory, size_t bytes)
{
	return advise(memory, bytes, MADV_GUARD_REMOVE);
}

void inside_name(void *memory, size_t bytes, const char *name)
{
	int saved = errno;

	syscall(SYS_prctl, PR_SET_VMA, PR_SET_VMA_ANON_NAME, memory, bytes, name);
	errno = saved;
}
