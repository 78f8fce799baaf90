// SPDX-License-Identifier: MIT
// The operators new and delete of C++ under their mangled names (Itanium C++ ABI). Those of a C++ library
// call malloc, where they are told of: here they are jumped to, so that no frame of ours is on the
// stack. An allocator that is a library of its own may bring operators that do not call malloc: these are
// told of here. Called by C++ code.
#include <dlfcn.h>
#include <stdlib.h>

#include "interpose/interpose_impl.h"

#define NAMED(name) __asm__(name) INTERPOSE_EXPORT

#define HOOK(name) __atomic_load_n(&interpose_hooks.name, __ATOMIC_RELAXED)

// Where the allocator lies: its operators do not call malloc.
static uintptr_t allocator_start, allocator_end;

void interpose_new_start(uintptr_t start, uintptr_t end)
{
	allocator_start = start;
	allocator_end = end;
}

static bool is_allocators(const void *function)
{
	return (uintptr_t)function - allocator_start < allocator_end - allocator_start;
}

static void *in_library(const char *file, const char *name)
{
	void *library = dlopen(file, RTLD_LAZY | RTLD_NOLOAD);

	return library ? dlsym(library, name) : NULL;
}

// A C++ library that was opened by dlopen does not stand behind us in the order of libraries.
static void *find(const char *name)
{
	void *found = interpose_next(name);

	if (!found)
		found = in_library("libstdc++.so.6", name);
	return found ? found : in_library("libc++.so.1", name);
}

// The type is the caller's.
static __attribute__((noinline)) void *find_or_end(const char *name)
{
	void *found = find(name);

	if (!found)
		abort(); // an operator was called, and there is no C++ library
	return found;
}

// Some operators of an allocator call its malloc, by the name that leads to us. Of new that is learnt
// at its first call, because what it is inside of may be left by an exception; delete is never left so.
enum way {
	WAY_UNKNOWN,
	WAY_TELL,
	WAY_CALLS_MALLOC,
};

// What follows the bytes (alignment, tag) or the block (bytes, alignment, tag) is in registers, and goes on
// in them.
__thread bool interpose_deletes;

typedef void *new_function(size_t bytes, uintptr_t second, uintptr_t third);
typedef void delete_function(void *block, uintptr_t second, uintptr_t third);

#define NEW(function, name, kind, extra)                                             \
	void *function(size_t bytes, uintptr_t second, uintptr_t third) NAMED(name); \
	void *function(size_t bytes, uintptr_t second, uintptr_t third)              \
	{                                                                            \
		static new_function *next;                                           \
		static enum way way;                                                 \
		__typeof__(interpose_hooks.allocated) told = HOOK(allocated);        \
		uint64_t before;                                                     \
		void *block;                                                         \
                                                                                     \
		if (!next)                                                           \
			next = find_or_end(name);                                    \
		if (way == WAY_TELL && record_skips_allocation(bytes))               \
			return next(bytes, second, third);                           \
		if (way == WAY_CALLS_MALLOC || !told || !is_allocators(next))        \
			return next(bytes, second, third);                           \
		before = record_told();                                              \
		block = next(bytes, second, third);                                  \
		if (way == WAY_UNKNOWN)                                              \
			way = before == record_told() ? WAY_TELL : WAY_CALLS_MALLOC; \
		if (way == WAY_TELL && block) {                                      \
			const struct record_position at = RECORD_POSITION_HERE();    \
                                                                                     \
			told(kind, (uint64_t)block, bytes, extra, &at);              \
		}                                                                    \
		return block;                                                        \
	}

#define DELETE(function, name)                                                     \
	void function(void *block, uintptr_t second, uintptr_t third) NAMED(name); \
	void function(void *block, uintptr_t second, uintptr_t third)              \
	{                                                                          \
		static delete_function *next;                                      \
		__typeof__(interpose_hooks.freed) told = HOOK(freed);              \
                                                                                   \
		if (!next)                                                         \
			next = find_or_end(name);                                  \
		if (!block || !told || record_skips_free((uint64_t)block) ||       \
		    !is_allocators(next)) {                                        \
			next(block, second, third);                                \
			return;                                                    \
		}                                                                  \
		{                                                                  \
			const struct record_position at = RECORD_POSITION_HERE();  \
                                                                                   \
			told(RECORD_FREE, (uint64_t)block, &at);                   \
		}                                                                  \
		interpose_deletes = true;                                          \
		next(block, second, third);                                        \
		interpose_deletes = false;                                         \
	}

#define LOG2(alignment) ((alignment) ? 63 - (uint32_t)__builtin_clzll(alignment) : 0)

NEW(interpose_new, "_Znwm", RECORD_MALLOC, 0)
NEW(interpose_new_array, "_Znam", RECORD_MALLOC, 0)
NEW(interpose_new_nothrow, "_ZnwmRKSt9nothrow_t", RECORD_MALLOC, 0)
NEW(interpose_new_array_nothrow, "_ZnamRKSt9nothrow_t", RECORD_MALLOC, 0)
NEW(interpose_new_aligned, "_ZnwmSt11align_val_t", RECORD_ALIGNED, LOG2(second))
NEW(interpose_new_array_aligned, "_ZnamSt11align_val_t", RECORD_ALIGNED, LOG2(second))
NEW(interpose_new_aligned_nothrow, "_ZnwmSt11align_val_tRKSt9nothrow_t", RECORD_ALIGNED,
    LOG2(second))
NEW(interpose_new_array_aligned_nothrow, "_ZnamSt11align_val_tRKSt9nothrow_t", RECORD_ALIGNED,
    LOG2(second))

DELETE(interpose_delete, "_ZdlPv")
DELETE(interpose_delete_array, "_ZdaPv")
DELETE(interpose_delete_nothrow, "_ZdlPvRKSt9nothrow_t")
DELETE(interpose_delete_array_nothrow, "_ZdaPvRKSt9nothrow_t")
DELETE(interpose_delete_sized, "_ZdlPvm")
DELETE(interpose_delete_array_sized, "_ZdaPvm")
DELETE(interpose_delete_aligned, "_ZdlPvSt11align_val_t")
DELETE(interpose_delete_array_aligned, "_ZdaPvSt11align_val_t")
DELETE(interpose_delete_aligned_nothrow, "_ZdlPvSt11align_val_tRKSt9nothrow_t")
DELETE(interpose_delete_array_aligned_nothrow, "_ZdaPvSt11align_val_tRKSt9nothrow_t")
DELETE(interpose_delete_sized_aligned, "_ZdlPvmSt11align_val_t")
DELETE(interpose_delete_array_sized_aligned, "_ZdaPvmSt11align_val_t")
