// SPDX-License-Identifier: MIT
// The operators new and delete of C++ under their mangled names (Itanium C++ ABI), for programs and
// libraries whose calls would otherwise take a step through libstdc++ first. Called by C++ code.
// What happens when there is no memory is libstdc++'s business: see entry.h.
#include <dlfcn.h>

#include "entry/entry_impl.h"

static void *unless_ours(void *found)
{
	Dl_info theirs, ours;

	if (found && dladdr(found, &theirs) && dladdr((void *)unless_ours, &ours) &&
	    theirs.dli_fbase == ours.dli_fbase)
		return NULL;
	return found;
}

static void *operator_of(const char *file, const char *name)
{
	void *library = file ? dlopen(file, RTLD_LAZY | RTLD_NOLOAD) : NULL;

	return library ? unless_ours(dlsym(library, name)) : NULL;
}

// The next definition of an operator: behind ours in the order of the program's libraries; or, when
// the C++ library was opened by dlopen without RTLD_GLOBAL, where the caller's library finds it; or,
// when the caller is not the one that was compiled (a call at the end of a function is a jump), in a
// C++ library that is there.
static void *next_operator(const char *name, const void *caller)
{
	void *found = unless_ours(dlsym(RTLD_NEXT, name));
	Dl_info info;

	if (!found)
		found = operator_of(dladdr(caller, &info) ? info.dli_fname : NULL, name);
	if (!found)
		found = operator_of("libstdc++.so.6", name);
	return found ? found : operator_of("libc++.so.1", name);
}

static void *no_operator(const char *name)
{
	malloc_fault(MALLOC_FAULT_MISUSE,
	             "*** no memory, and no C++ library whose %s could throw std::bad_alloc", name);
	return NULL;
}

static void *new_again(const char *name, size_t bytes, const void *caller)
{
	void *(*next)(size_t) = (void *(*)(size_t))next_operator(name, caller);

	return next ? next(bytes) : no_operator(name);
}

static void *new_again_aligned(const char *name, size_t bytes, size_t alignment, const void *caller)
{
	void *(*next)(size_t, size_t) = (void *(*)(size_t, size_t))next_operator(name, caller);

	return next ? next(bytes, alignment) : no_operator(name);
}

static void *new_again_nothrow(const char *name, size_t bytes, const void *tag, const void *caller)
{
	void *(*next)(size_t, const void *) =
		(void *(*)(size_t, const void *))next_operator(name, caller);

	return next ? next(bytes, tag) : NULL;
}

static void *new_again_aligned_nothrow(const char *name, size_t bytes, size_t alignment,
                                       const void *tag, const void *caller)
{
	void *(*next)(size_t, size_t, const void *) =
		(void *(*)(size_t, size_t, const void *))next_operator(name, caller);

	return next ? next(bytes, alignment, tag) : NULL;
}

static inline void *allocate(size_t bytes)
{
	void *block = malloc_fast(bytes);

	return ENTRY_LIKELY(block) ? block : entry_allocate(bytes, ENTRY_CALLER);
}

#define NAMED(name) __asm__(name) MALLOC_EXPORT

#define NEW(function, name)                                                                \
	void *function(size_t bytes) NAMED(name);                                          \
	void *function(size_t bytes)                                                       \
	{                                                                                  \
		void *block = allocate(bytes);                                             \
		return ENTRY_LIKELY(block) ? block : new_again(name, bytes, ENTRY_CALLER); \
	}

#define NEW_NOTHROW(function, name)                                                             \
	void *function(size_t bytes, const void *tag) NAMED(name);                              \
	void *function(size_t bytes, const void *tag)                                           \
	{                                                                                       \
		void *block = allocate(bytes);                                                  \
		return ENTRY_LIKELY(block) ? block                                              \
		                           : new_again_nothrow(name, bytes, tag, ENTRY_CALLER); \
	}

#define NEW_ALIGNED(function, name)                                                       \
	void *function(size_t bytes, size_t alignment) NAMED(name);                       \
	void *function(size_t bytes, size_t alignment)                                    \
	{                                                                                 \
		void *block = entry_allocate_aligned(alignment, bytes, ENTRY_CALLER);     \
		return ENTRY_LIKELY(block)                                                \
		               ? block                                                    \
		               : new_again_aligned(name, bytes, alignment, ENTRY_CALLER); \
	}

#define NEW_ALIGNED_NOTHROW(function, name)                                                    \
	void *function(size_t bytes, size_t alignment, const void *tag) NAMED(name);           \
	void *function(size_t bytes, size_t alignment, const void *tag)                        \
	{                                                                                      \
		void *block = entry_allocate_aligned(alignment, bytes, ENTRY_CALLER);          \
		return ENTRY_LIKELY(block) ? block                                             \
		                           : new_again_aligned_nothrow(name, bytes, alignment, \
		                                                       tag, ENTRY_CALLER);     \
	}

NEW(entry_new, "_Znwm")
NEW(entry_new_array, "_Znam")
NEW_NOTHROW(entry_new_nothrow, "_ZnwmRKSt9nothrow_t")
NEW_NOTHROW(entry_new_array_nothrow, "_ZnamRKSt9nothrow_t")
NEW_ALIGNED(entry_new_aligned, "_ZnwmSt11align_val_t")
NEW_ALIGNED(entry_new_array_aligned, "_ZnamSt11align_val_t")
NEW_ALIGNED_NOTHROW(entry_new_aligned_nothrow, "_ZnwmSt11align_val_tRKSt9nothrow_t")
NEW_ALIGNED_NOTHROW(entry_new_array_aligned_nothrow, "_ZnamSt11align_val_tRKSt9nothrow_t")

void entry_delete(void *block) NAMED("_ZdlPv");
void entry_delete(void *block)
{
	if (ENTRY_UNLIKELY(!malloc_fast_free(block)))
		entry_free(block, ENTRY_CALLER);
}

// The others get arguments behind the block that say what the block tells by itself: size, alignment,
// nothrow. One body serves them all, because a caller passes those in registers that it gives up.
#define DELETE(function, name) \
	void function(void *block) NAMED(name) __attribute__((alias("_ZdlPv")));

DELETE(entry_delete_array, "_ZdaPv")
DELETE(entry_delete_nothrow, "_ZdlPvRKSt9nothrow_t")
DELETE(entry_delete_array_nothrow, "_ZdaPvRKSt9nothrow_t")
DELETE(entry_delete_sized, "_ZdlPvm")
DELETE(entry_delete_array_sized, "_ZdaPvm")
DELETE(entry_delete_aligned, "_ZdlPvSt11align_val_t")
DELETE(entry_delete_array_aligned, "_ZdaPvSt11align_val_t")
DELETE(entry_delete_aligned_nothrow, "_ZdlPvSt11align_val_tRKSt9nothrow_t")
DELETE(entry_delete_array_aligned_nothrow, "_ZdaPvSt11align_val_tRKSt9nothrow_t")
DELETE(entry_delete_sized_aligned, "_ZdlPvmSt11align_val_t")
DELETE(entry_delete_array_sized_aligned, "_ZdaPvmSt11align_val_t")
