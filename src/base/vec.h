// SPDX-License-Identifier: MIT
// Growing arrays over a page source. Declare one as VEC(struct foo) foos;
// its elements are foos.v[0 .. foos.n). Growing may move v. Not thread-safe.
#pragma once

#include <stddef.h>

#include "base/pages.h"

#define VEC(type)                                 \
	struct {                                  \
		type *v;                          \
		size_t n, capacity;               \
		const struct page_source *source; \
	}

#define vec_init(vec, from) \
	((vec)->v = NULL, (vec)->n = (vec)->capacity = 0, (vec)->source = (from))

// Room for count elements in all.
#define vec_reserve(vec, count) \
	((vec)->v = vec_grow((vec)->source, (vec)->v, sizeof(*(vec)->v), &(vec)->capacity, (count)))

// Appends one element and gives its address: zeroed, unless n was made smaller before.
#define vec_add(vec) (vec_reserve(vec, (vec)->n + 1), &(vec)->v[(vec)->n++])

#define vec_push(vec, element) \
	((void)(vec_reserve(vec, (vec)->n + 1), (vec)->v[(vec)->n++] = (element)))

#define vec_deinit(vec)                                                                    \
	((vec)->v = vec_free((vec)->source, (vec)->v, sizeof(*(vec)->v), (vec)->capacity), \
	 (vec)->n = (vec)->capacity = 0)

// The functions behind the macros.
void *vec_grow(const struct page_source *source, void *old, size_t element_bytes, size_t *capacity,
               size_t need);
void *vec_free(const struct page_source *source, void *old, size_t element_bytes, size_t capacity);
