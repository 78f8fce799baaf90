// SPDX-License-Identifier: MIT
// The part of an attach that runs inside the program: the room that the tool finds, and
// the functions to which it leads those of the program's malloc (layout/record_attach.h). They forward
// to the original through code that the tool wrote, and tell the recorder.
//
// An original may call another function that leads here, too (realloc calls malloc): then the outer
// one alone is an event. What interrupts an original by a signal and allocates is none.
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "interpose/interpose_impl.h"
#include "layout/record_attach.h"
#include "os/inside.h"
#include "record/record.h"

static struct record_hooks hooks; // emptied by the recorder when it ends, at any time
static unsigned what;             // is recorded, RECORD_WHAT_*
static __thread bool inside;      // an original
static __thread void *told_last;  // the block that was told last

enum number {
	MALLOC,
	FREE,
	CALLOC,
	REALLOC,
	MEMALIGN,
	ALIGNED_ALLOC,
	POSIX_MEMALIGN,
	VALLOC,
	PVALLOC,
	REALLOCARRAY,
	CFREE,
	NEW,
	NEW_ARRAY,
	NEW_NOTHROW,
	NEW_ARRAY_NOTHROW,
	NEW_ALIGNED,
	NEW_ARRAY_ALIGNED,
	NEW_ALIGNED_NOTHROW,
	NEW_ARRAY_ALIGNED_NOTHROW,
	DELETE,
	DELETE_ARRAY,
	DELETE_SIZED,
	DELETE_ARRAY_SIZED,
	DELETE_NOTHROW,
	DELETE_ARRAY_NOTHROW,
	DELETE_ALIGNED,
	DELETE_ARRAY_ALIGNED,
	DELETE_SIZED_ALIGNED,
	DELETE_ARRAY_SIZED_ALIGNED,
	MALLOCX,
	RALLOCX,
	DALLOCX,
	SDALLOCX,
	MMAP,
	MUNMAP,
	MREMAP,
	SBRK,
	BRK,
	SHM_OPEN,
	SHM_UNLINK,
	MEMFD_CREATE,
	SHMGET,
	SHMAT,
	SHMDT,
	SHMCTL,
	FORK,
	EXECVE,
	DLCLOSE,
	SWITCH_ALLOCATED,
	SWITCH_FREED,
	SWITCH_STACK,
	SWITCH_CALLED,
	SWITCH_RECORDS,
	SWITCH_EVERY_CALL,
	SWITCH_MAPPED,
	SWITCH_MAPPED_SHARED,
	NUMBER_COUNT,
};

static struct record_attach_function functions[NUMBER_COUNT];

__attribute__((visibility("default"))) extern struct record_attach_room heapwright_attach_room;

// The original behind a number, as a function of that type.
#define ORIGINAL(number, type) ((type)(uintptr_t)functions[number].original)

#define EVERY_CALL 2 // the bit of a tool, MALLOC_EVERY_CALL_TOOL

#define BREAK_EXTRA (PROT_READ | PROT_WRITE | RECORD_VM_BREAK)

#define HOOK(name) __atomic_load_n(&hooks.name, __ATOMIC_RELAXED)

static void tell(uint32_t kind, void *block, size_t bytes, uint32_t extra,
                 const struct record_position *at)
{
	__typeof__(hooks.allocated) told = HOOK(allocated);

	if (!block || !told)
		return;
	told_last = block;
	if (record_skips_allocation(bytes))
		return;
	told(kind, (uint64_t)(uintptr_t)block, bytes, extra, at);
}

static void tell_freed(uint32_t kind, void *block, const struct record_position *at)
{
	__typeof__(hooks.freed) told = HOOK(freed);

	if (told && !record_skips_free((uint64_t)(uintptr_t)block))
		told(kind, (uint64_t)(uintptr_t)block, at);
}

static void tell_called(uint32_t kind, void *address, size_t bytes, uint32_t extra,
                        const struct record_position *at)
{
	__typeof__(hooks.called) told = HOOK(called);

	if (told)
		told(kind, (uint64_t)(uintptr_t)address, bytes, extra, NULL, at);
}

static uint32_t log2_of(size_t alignment)
{
	return alignment ? (uint32_t)__builtin_ctzl(alignment) : 0;
}

// --- malloc and its kin ----------------------------------------------------------------------------
typedef void *one_size(size_t);
typedef void *two_sizes(size_t, size_t);
typedef void one_block(void *);

static void *hook_malloc(size_t bytes)
{
	one_size *original = ORIGINAL(MALLOC, one_size *);
	void *block;

	if (inside)
		return original(bytes);
	inside = true;
	block = original(bytes);
	inside = false;
	tell(RECORD_MALLOC, block, bytes, 0, &RECORD_POSITION_HERE());
	return block;
}

static void *hook_calloc(size_t count, size_t bytes)
{
	two_sizes *original = ORIGINAL(CALLOC, two_sizes *);
	void *block;

	if (inside)
		return original(count, bytes);
	inside = true;
	block = original(count, bytes);
	inside = false;
	tell(RECORD_CALLOC, block, count * bytes, 0, &RECORD_POSITION_HERE());
	return block;
}

static inline __attribute__((always_inline)) void free_by(enum number number, void *block,
                                                          const struct record_position *at)
{
	one_block *original = ORIGINAL(number, one_block *);

	if (inside || !block) {
		original(block);
		return;
	}
	tell_freed(RECORD_FREE, block, at);
	inside = true;
	original(block);
	inside = false;
}

static void hook_free(void *block)
{
	free_by(FREE, block, &RECORD_POSITION_HERE());
}

static void hook_cfree(void *block)
{
	free_by(CFREE, block, &RECORD_POSITION_HERE());
}

// The old block is told as freed before the original may give it to another thread. When that fails,
// the block is there again, with a size that it surely has.
static inline __attribute__((always_inline)) void *resized(void *old, size_t bytes, void *block,
                                                           const struct record_position *at)
{
	if (block)
		tell(old ? RECORD_REALLOC : RECORD_MALLOC, block, bytes, 0, at);
	else if (old && bytes)
		tell(RECORD_REALLOC, old, 1, 0, at);
	return block;
}

static inline __attribute__((always_inline)) void resize(void *old, size_t bytes,
                                                         const struct record_position *at)
{
	if (old)
		tell_freed(bytes ? RECORD_REALLOC_FREE : RECORD_FREE, old, at);
}

static void *hook_realloc(void *old, size_t bytes)
{
	void *(*original)(void *, size_t) = ORIGINAL(REALLOC, void *(*)(void *, size_t));
	void *block;

	if (inside)
		return original(old, bytes);
	resize(old, bytes, &RECORD_POSITION_HERE());
	inside = true;
	block = original(old, bytes);
	inside = false;
	return resized(old, bytes, block, &RECORD_POSITION_HERE());
}

static void *hook_reallocarray(void *old, size_t count, size_t bytes)
{
	void *(*original)(void *, size_t, size_t) =
		ORIGINAL(REALLOCARRAY, void *(*)(void *, size_t, size_t));
	void *block;
	size_t product;

	if (inside || __builtin_mul_overflow(count, bytes, &product))
		return original(old, count, bytes);
	resize(old, product, &RECORD_POSITION_HERE());
	inside = true;
	block = original(old, count, bytes);
	inside = false;
	return resized(old, product, block, &RECORD_POSITION_HERE());
}

static inline __attribute__((always_inline)) void *align_by(enum number number, size_t alignment,
                                                            size_t bytes,
                                                            const struct record_position *at)
{
	two_sizes *original = ORIGINAL(number, two_sizes *);
	void *block;

	if (inside)
		return original(alignment, bytes);
	inside = true;
	block = original(alignment, bytes);
	inside = false;
	tell(RECORD_ALIGNED, block, bytes, log2_of(alignment), at);
	return block;
}

static void *hook_memalign(size_t alignment, size_t bytes)
{
	return align_by(MEMALIGN, alignment, bytes, &RECORD_POSITION_HERE());
}

static void *hook_aligned_alloc(size_t alignment, size_t bytes)
{
	return align_by(ALIGNED_ALLOC, alignment, bytes, &RECORD_POSITION_HERE());
}

static int hook_posix_memalign(void **ret, size_t alignment, size_t bytes)
{
	int (*original)(void **, size_t, size_t) =
		ORIGINAL(POSIX_MEMALIGN, int (*)(void **, size_t, size_t));
	int failed;

	if (inside)
		return original(ret, alignment, bytes);
	inside = true;
	failed = original(ret, alignment, bytes);
	inside = false;
	if (!failed)
		tell(RECORD_ALIGNED, *ret, bytes, log2_of(alignment), &RECORD_POSITION_HERE());
	return failed;
}

static inline __attribute__((always_inline)) void *page_by(enum number number, size_t bytes,
                                                           const struct record_position *at)
{
	one_size *original = ORIGINAL(number, one_size *);
	void *block;

	if (inside)
		return original(bytes);
	inside = true;
	block = original(bytes);
	inside = false;
	tell(RECORD_ALIGNED, block, bytes, 12, at);
	return block;
}

static void *hook_valloc(size_t bytes)
{
	return page_by(VALLOC, bytes, &RECORD_POSITION_HERE());
}

static void *hook_pvalloc(size_t bytes)
{
	return page_by(PVALLOC, bytes, &RECORD_POSITION_HERE());
}

// --- C++, in allocators that define it themselves ----------------------------------------------------
// They may throw, so `inside` is not set; if one of them goes through malloc, that has told already.
// Those without a last argument are given one that they do not look at.
#define DEFINE_NEW(name, number)                                                       \
	static void *name(size_t bytes, const void *nothrow)                           \
	{                                                                              \
		void *(*original)(size_t, const void *) =                              \
			ORIGINAL(number, void *(*)(size_t, const void *));             \
		void *block;                                                           \
                                                                                       \
		told_last = NULL;                                                      \
		block = original(bytes, nothrow);                                      \
		if (!inside && told_last != block)                                     \
			tell(RECORD_MALLOC, block, bytes, 0, &RECORD_POSITION_HERE()); \
		return block;                                                          \
	}

#define DEFINE_NEW_ALIGNED(name, number)                                           \
	static void *name(size_t bytes, size_t alignment, const void *nothrow)     \
	{                                                                          \
		void *(*original)(size_t, size_t, const void *) =                  \
			ORIGINAL(number, void *(*)(size_t, size_t, const void *)); \
		void *block;                                                       \
                                                                                   \
		told_last = NULL;                                                  \
		block = original(bytes, alignment, nothrow);                       \
		if (!inside && told_last != block)                                 \
			tell(RECORD_ALIGNED, block, bytes, log2_of(alignment),     \
			     &RECORD_POSITION_HERE());                             \
		return block;                                                      \
	}

#define DEFINE_DELETE(name, number)                                              \
	static void name(void *block, size_t bytes, size_t alignment)            \
	{                                                                        \
		void (*original)(void *, size_t, size_t) =                       \
			ORIGINAL(number, void (*)(void *, size_t, size_t));      \
		bool outer = !inside && block;                                   \
                                                                                 \
		if (outer)                                                       \
			tell_freed(RECORD_FREE, block, &RECORD_POSITION_HERE()); \
		inside |= outer;                                                 \
		original(block, bytes, alignment);                               \
		inside &= !outer;                                                \
	}

DEFINE_NEW(hook_new, NEW)
DEFINE_NEW(hook_new_array, NEW_ARRAY)
DEFINE_NEW(hook_new_nothrow, NEW_NOTHROW)
DEFINE_NEW(hook_new_array_nothrow, NEW_ARRAY_NOTHROW)
DEFINE_NEW_ALIGNED(hook_new_aligned, NEW_ALIGNED)
DEFINE_NEW_ALIGNED(hook_new_array_aligned, NEW_ARRAY_ALIGNED)
DEFINE_NEW_ALIGNED(hook_new_aligned_nothrow, NEW_ALIGNED_NOTHROW)
DEFINE_NEW_ALIGNED(hook_new_array_aligned_nothrow, NEW_ARRAY_ALIGNED_NOTHROW)
DEFINE_DELETE(hook_delete, DELETE)
DEFINE_DELETE(hook_delete_array, DELETE_ARRAY)
DEFINE_DELETE(hook_delete_sized, DELETE_SIZED)
DEFINE_DELETE(hook_delete_array_sized, DELETE_ARRAY_SIZED)
DEFINE_DELETE(hook_delete_nothrow, DELETE_NOTHROW)
DEFINE_DELETE(hook_delete_array_nothrow, DELETE_ARRAY_NOTHROW)
DEFINE_DELETE(hook_delete_aligned, DELETE_ALIGNED)
DEFINE_DELETE(hook_delete_array_aligned, DELETE_ARRAY_ALIGNED)
DEFINE_DELETE(hook_delete_sized_aligned, DELETE_SIZED_ALIGNED)
DEFINE_DELETE(hook_delete_array_sized_aligned, DELETE_ARRAY_SIZED_ALIGNED)

// --- jemalloc's own ------------------------------------------------------------------------------------
#define JEMALLOC_ALIGN 63 // of its flags: log2 of the alignment

static void *hook_mallocx(size_t bytes, int flags)
{
	void *block = ORIGINAL(MALLOCX, void *(*)(size_t, int))(bytes, flags);
	uint32_t alignment = (uint32_t)flags & JEMALLOC_ALIGN;

	if (!inside)
		tell(alignment ? RECORD_ALIGNED : RECORD_MALLOC, block, bytes, alignment,
		     &RECORD_POSITION_HERE());
	return block;
}

static void *hook_rallocx(void *old, size_t bytes, int flags)
{
	void *(*original)(void *, size_t, int) = ORIGINAL(RALLOCX, void *(*)(void *, size_t, int));
	void *block;

	if (inside)
		return original(old, bytes, flags);
	resize(old, bytes, &RECORD_POSITION_HERE());
	inside = true;
	block = original(old, bytes, flags);
	inside = false;
	return resized(old, bytes, block, &RECORD_POSITION_HERE());
}

DEFINE_DELETE(hook_dallocx, DALLOCX)
DEFINE_DELETE(hook_sdallocx, SDALLOCX)

// --- mappings ------------------------------------------------------------------------------------------
static uint32_t map_extra(int protection, int flags)
{
	return ((uint32_t)protection & 0xff) | (flags & MAP_SHARED ? RECORD_VM_SHARED : 0) |
	       (flags & MAP_ANONYMOUS ? 0 : RECORD_VM_FILE) |
	       (flags & MAP_STACK ? RECORD_VM_STACK : 0);
}

static void *hook_mmap(void *address, size_t bytes, int protection, int flags, int fd, off_t offset)
{
	void *(*original)(void *, size_t, int, int, int, off_t) =
		ORIGINAL(MMAP, void *(*)(void *, size_t, int, int, int, off_t));
	void *got = original(address, bytes, protection, flags, fd, offset);

	if (inside || got == MAP_FAILED)
		return got;
	if (what & RECORD_WHAT_VM)
		tell_called(RECORD_MAP, got, bytes, map_extra(protection, flags),
		            &RECORD_POSITION_HERE());
	if (what & RECORD_WHAT_SHARED_MEMORY && flags & MAP_SHARED)
		interpose_shared_map(got, bytes, map_extra(protection, flags), fd,
		                     &RECORD_POSITION_HERE());
	return got;
}

static int hook_munmap(void *address, size_t bytes)
{
	int (*original)(void *, size_t) = ORIGINAL(MUNMAP, int (*)(void *, size_t));

	if (!inside)
		tell_called(RECORD_UNMAP, address, bytes, 0, &RECORD_POSITION_HERE());
	return original(address, bytes);
}

static void *hook_mremap(void *old, size_t old_bytes, size_t bytes, int flags, void *wanted)
{
	void *(*original)(void *, size_t, size_t, int, void *) =
		ORIGINAL(MREMAP, void *(*)(void *, size_t, size_t, int, void *));
	void *got = original(old, old_bytes, bytes, flags, wanted);

	if (inside || got == MAP_FAILED)
		return got;
	tell_called(RECORD_REMAP_FREE, old, old_bytes, 0, &RECORD_POSITION_HERE());
	tell_called(RECORD_MAP, got, bytes, 0, &RECORD_POSITION_HERE());
	return got;
}

// malloc of libc comes here, too, from inside.
static void *hook_sbrk(intptr_t change)
{
	bool outer = !inside;
	uint8_t *before;

	inside = true;
	before = ORIGINAL(SBRK, void *(*)(intptr_t))(change);
	inside = !outer;
	if (!outer || before == (void *)-1 || !change)
		return before;
	if (change > 0)
		tell_called(RECORD_MAP, before, (size_t)change, BREAK_EXTRA,
		            &RECORD_POSITION_HERE());
	else
		tell_called(RECORD_UNMAP, before + change, (size_t)-change, RECORD_VM_BREAK,
		            &RECORD_POSITION_HERE());
	return before;
}

static int hook_brk(void *end)
{
	uint8_t *before = (uint8_t *)syscall(SYS_brk, 0), *after = end;
	int failed = ORIGINAL(BRK, int (*)(void *))(end);

	if (inside || failed || after == before)
		return failed;
	if (after > before)
		tell_called(RECORD_MAP, before, (size_t)(after - before), BREAK_EXTRA,
		            &RECORD_POSITION_HERE());
	else
		tell_called(RECORD_UNMAP, after, (size_t)(before - after), RECORD_VM_BREAK,
		            &RECORD_POSITION_HERE());
	return failed;
}

// --- shared memory -------------------------------------------------------------------------------------
static int hook_shm_open(const char *name, int flags, mode_t mode)
{
	return interpose_told_fd(RECORD_SHM_OPEN,
	                         ORIGINAL(SHM_OPEN, int (*)(const char *, int, mode_t))(name, flags,
	                                                                                mode),
	                         name, (uint32_t)flags, &RECORD_POSITION_HERE());
}

static int hook_shm_unlink(const char *name)
{
	return interpose_told_unlink(ORIGINAL(SHM_UNLINK, int (*)(const char *))(name), name,
	                             &RECORD_POSITION_HERE());
}

static int hook_memfd_create(const char *name, unsigned flags)
{
	return interpose_told_fd(RECORD_MEMFD_CREATE,
	                         ORIGINAL(MEMFD_CREATE, int (*)(const char *, unsigned))(name,
	                                                                                 flags),
	                         name, flags, &RECORD_POSITION_HERE());
}

static int hook_shmget(key_t key, size_t bytes, int flags)
{
	return interpose_told_shmget(ORIGINAL(SHMGET, int (*)(key_t, size_t, int))(key, bytes,
	                                                                           flags),
	                             key, bytes, flags, &RECORD_POSITION_HERE());
}

static void *hook_shmat(int id, const void *address, int flags)
{
	return interpose_told_shmat(ORIGINAL(SHMAT, void *(*)(int, const void *, int))(id, address,
	                                                                               flags),
	                            id, flags, &RECORD_POSITION_HERE());
}

static int hook_shmdt(const void *address)
{
	return interpose_told_shmdt(ORIGINAL(SHMDT, int (*)(const void *))(address), address,
	                            &RECORD_POSITION_HERE());
}

static int hook_shmctl(int id, int command, void *segment)
{
	return interpose_told_shmctl(ORIGINAL(SHMCTL, int (*)(int, int, void *))(id, command,
	                                                                         segment),
	                             id, command, &RECORD_POSITION_HERE());
}

// --- the program's life --------------------------------------------------------------------------------
// A child that is followed has a recording of its own, out of which a tool gets as out of ours; in
// another the recorder has ended, and the room tells that it is inherited.
static void begin_in_child(void)
{
	struct record_attach_room *room = &heapwright_attach_room;
	struct record_header *shared;

	if (room->follow_fork)
		room->follow_fork = RECORD_ATTACH_FOLLOWED;
	record_fork_child();
	shared = record_shared();
	if (!shared || shared->process_id != (uint32_t)inside_process_id())
		return;
	room->shared = (uint64_t)(uintptr_t)shared;
	room->shared_bytes = shared->total_bytes;
	room->process = shared->process_id;
	room->descriptor = -1;
}

static int hook_fork(void)
{
	int child = ORIGINAL(FORK, int (*)(void))();

	if (!child)
		begin_in_child();
	else if (child > 0)
		record_forked(child, &RECORD_POSITION_HERE());
	return child;
}

static int hook_execve(const char *path, char *const *words, char *const *environment)
{
	int result;

	record_exec(&RECORD_POSITION_HERE());
	result = ORIGINAL(EXECVE, int (*)(const char *, char *const *, char *const *))(path, words,
	                                                                               environment);
	record_exec_failed(&RECORD_POSITION_HERE());
	return result;
}

static int hook_dlclose(void *handle)
{
	int failed = ORIGINAL(DLCLOSE, int (*)(void *))(handle);

	record_modules_changed();
	return failed;
}

// --- the room --------------------------------------------------------------------------------------------
#define ROW(number, symbol, where_, need_, what_, function) \
	[number] = {                                        \
		.name = (symbol),                           \
		.where = RECORD_ATTACH_##where_,            \
		.need = RECORD_ATTACH_##need_,              \
		.what = (what_),                            \
		.hook = (uintptr_t)(function),              \
	}
#define HEAP   RECORD_WHAT_MALLOC
#define SHARED RECORD_WHAT_SHARED_MEMORY

static struct record_attach_function functions[NUMBER_COUNT] = {
	ROW(MALLOC, "malloc", MALLOC, MUST, HEAP, hook_malloc),
	ROW(FREE, "free", MALLOC, MUST, HEAP, hook_free),
	ROW(CALLOC, "calloc", MALLOC, MUST, HEAP, hook_calloc),
	ROW(REALLOC, "realloc", MALLOC, MUST, HEAP, hook_realloc),
	ROW(MEMALIGN, "memalign", MALLOC, MAY_LACK, HEAP, hook_memalign),
	ROW(ALIGNED_ALLOC, "aligned_alloc", MALLOC, MAY_LACK, HEAP, hook_aligned_alloc),
	ROW(POSIX_MEMALIGN, "posix_memalign", MALLOC, MAY_LACK, HEAP, hook_posix_memalign),
	ROW(VALLOC, "valloc", MALLOC, MAY_LACK, HEAP, hook_valloc),
	ROW(PVALLOC, "pvalloc", MALLOC, MAY_LACK, HEAP, hook_pvalloc),
	ROW(REALLOCARRAY, "reallocarray", FOREIGN, MAY_LACK, HEAP, hook_reallocarray),
	ROW(CFREE, "cfree", FOREIGN, MAY_LACK, HEAP, hook_cfree),
	ROW(NEW, "_Znwm", FOREIGN, MAY_LACK, HEAP, hook_new),
	ROW(NEW_ARRAY, "_Znam", FOREIGN, MAY_LACK, HEAP, hook_new_array),
	ROW(NEW_NOTHROW, "_ZnwmRKSt9nothrow_t", FOREIGN, MAY_LACK, HEAP, hook_new_nothrow),
	ROW(NEW_ARRAY_NOTHROW, "_ZnamRKSt9nothrow_t", FOREIGN, MAY_LACK, HEAP,
	    hook_new_array_nothrow),
	ROW(NEW_ALIGNED, "_ZnwmSt11align_val_t", FOREIGN, MAY_LACK, HEAP, hook_new_aligned),
	ROW(NEW_ARRAY_ALIGNED, "_ZnamSt11align_val_t", FOREIGN, MAY_LACK, HEAP,
	    hook_new_array_aligned),
	ROW(NEW_ALIGNED_NOTHROW, "_ZnwmSt11align_val_tRKSt9nothrow_t", FOREIGN, MAY_LACK, HEAP,
	    hook_new_aligned_nothrow),
	ROW(NEW_ARRAY_ALIGNED_NOTHROW, "_ZnamSt11align_val_tRKSt9nothrow_t", FOREIGN, MAY_LACK,
	    HEAP, hook_new_array_aligned_nothrow),
	ROW(DELETE, "_ZdlPv", FOREIGN, MAY_LACK, HEAP, hook_delete),
	ROW(DELETE_ARRAY, "_ZdaPv", FOREIGN, MAY_LACK, HEAP, hook_delete_array),
	ROW(DELETE_SIZED, "_ZdlPvm", FOREIGN, MAY_LACK, HEAP, hook_delete_sized),
	ROW(DELETE_ARRAY_SIZED, "_ZdaPvm", FOREIGN, MAY_LACK, HEAP, hook_delete_array_sized),
	ROW(DELETE_NOTHROW, "_ZdlPvRKSt9nothrow_t", FOREIGN, MAY_LACK, HEAP, hook_delete_nothrow),
	ROW(DELETE_ARRAY_NOTHROW, "_ZdaPvRKSt9nothrow_t", FOREIGN, MAY_LACK, HEAP,
	    hook_delete_array_nothrow),
	ROW(DELETE_ALIGNED, "_ZdlPvSt11align_val_t", FOREIGN, MAY_LACK, HEAP, hook_delete_aligned),
	ROW(DELETE_ARRAY_ALIGNED, "_ZdaPvSt11align_val_t", FOREIGN, MAY_LACK, HEAP,
	    hook_delete_array_aligned),
	ROW(DELETE_SIZED_ALIGNED, "_ZdlPvmSt11align_val_t", FOREIGN, MAY_LACK, HEAP,
	    hook_delete_sized_aligned),
	ROW(DELETE_ARRAY_SIZED_ALIGNED, "_ZdaPvmSt11align_val_t", FOREIGN, MAY_LACK, HEAP,
	    hook_delete_array_sized_aligned),
	ROW(MALLOCX, "mallocx", FOREIGN, MAY_LACK, HEAP, hook_mallocx),
	ROW(RALLOCX, "rallocx", FOREIGN, MAY_LACK, HEAP, hook_rallocx),
	ROW(DALLOCX, "dallocx", FOREIGN, MAY_LACK, HEAP, hook_dallocx),
	ROW(SDALLOCX, "sdallocx", FOREIGN, MAY_LACK, HEAP, hook_sdallocx),
	ROW(MMAP, "mmap", LIBC, MAY_LACK, RECORD_WHAT_VM | SHARED, hook_mmap),
	ROW(MUNMAP, "munmap", LIBC, MAY_LACK, RECORD_WHAT_VM, hook_munmap),
	ROW(MREMAP, "mremap", LIBC, MAY_LACK, RECORD_WHAT_VM, hook_mremap),
	ROW(SBRK, "sbrk", FORWARDED, MAY_LACK, RECORD_WHAT_VM, hook_sbrk),
	ROW(BRK, "brk", FORWARDED, MAY_LACK, RECORD_WHAT_VM, hook_brk),
	ROW(SHM_OPEN, "shm_open", LIBC, MAY_LACK, SHARED, hook_shm_open),
	ROW(SHM_UNLINK, "shm_unlink", LIBC, MAY_LACK, SHARED, hook_shm_unlink),
	ROW(MEMFD_CREATE, "memfd_create", LIBC, MAY_LACK, SHARED, hook_memfd_create),
	ROW(SHMGET, "shmget", LIBC, MAY_LACK, SHARED, hook_shmget),
	ROW(SHMAT, "shmat", LIBC, MAY_LACK, SHARED, hook_shmat),
	ROW(SHMDT, "shmdt", LIBC, MAY_LACK, SHARED, hook_shmdt),
	ROW(SHMCTL, "shmctl", LIBC, MAY_LACK, SHARED, hook_shmctl),
	ROW(FORK, "fork", LIBC, MAY_LACK, 0, hook_fork),
	ROW(EXECVE, "execve", LIBC, MAY_LACK, 0, hook_execve),
	ROW(DLCLOSE, "dlclose", LIBC, MAY_LACK, 0, hook_dlclose),
	// start fills in the hooks.
	ROW(SWITCH_ALLOCATED, "allocated", SWITCH, MUST, HEAP, 0),
	ROW(SWITCH_FREED, "freed", SWITCH, MUST, HEAP, 0),
	ROW(SWITCH_STACK, "stack", SWITCH, MUST, HEAP, 0),
	ROW(SWITCH_CALLED, "called", SWITCH, MUST, HEAP, 0),
	ROW(SWITCH_RECORDS, "records", SWITCH, MUST, HEAP, 1),
	ROW(SWITCH_EVERY_CALL, "every_call", SWITCH, MUST, HEAP, EVERY_CALL),
	ROW(SWITCH_MAPPED, "mapped", SWITCH, MAY_LACK, RECORD_WHAT_VM, 0),
	ROW(SWITCH_MAPPED_SHARED, "mapped_shared", SWITCH, MAY_LACK, SHARED, interpose_shared_map),
};

static void start(struct record_attach_room *room)
{
	const struct record_settings settings = {
		.mode = (enum record_mode)room->mode,
		.what = room->what,
		.log_path = room->log_path[0] ? room->log_path : NULL,
		.sample_bytes = room->sample_bytes,
		.wait_ns = room->wait_ns,
		.max_log_bytes = room->max_log_bytes,
		.ring_bytes = room->ring_bytes,
		.follow_fork = room->follow_fork != 0,
		.keep_descriptor = true,
	};
	const char *reason = "";
	int before = errno;

	room->state = RECORD_ATTACH_REFUSED;
	room->reason[0] = '\0';
	if (!record_start(&settings, &hooks, &reason)) {
		strncpy(room->reason, reason, sizeof(room->reason) - 1);
		errno = before;
		return;
	}
	functions[SWITCH_ALLOCATED].hook = (uintptr_t)hooks.allocated;
	functions[SWITCH_FREED].hook = (uintptr_t)hooks.freed;
	functions[SWITCH_STACK].hook = (uintptr_t)hooks.stack;
	functions[SWITCH_CALLED].hook = functions[SWITCH_MAPPED].hook = (uintptr_t)hooks.called;
	what = room->what;
	if (what & RECORD_WHAT_SHARED_MEMORY)
		interpose_shared_hooks = hooks;
	room->shared = (uint64_t)(uintptr_t)record_shared();
	room->shared_bytes = record_shared()->total_bytes;
	room->process = record_shared()->process_id;
	room->descriptor = record_descriptor();
	room->state = RECORD_ATTACH_ON;
	errno = before;
}

static void stop(struct record_attach_room *room)
{
	int before = errno;

	record_stop();
	interpose_shared_hooks = (struct record_hooks){ 0 };
	room->state = RECORD_ATTACH_IDLE;
	errno = before;
}

struct record_attach_room heapwright_attach_room = {
	.magic = RECORD_ATTACH_MAGIC,
	.version = RECORD_ATTACH_VERSION,
	.bytes = sizeof(heapwright_attach_room),
	.function_bytes = sizeof(functions[0]),
	.function_count = NUMBER_COUNT,
	.functions = (uintptr_t)functions,
	.start = (uintptr_t)start,
	.stop = (uintptr_t)stop,
};
