// SPDX-License-Identifier: MIT
// Where memory comes from. Everything in base that grows asks such a source.
#pragma once

#include <stddef.h>

// resize(NULL, 0, n) maps n zeroed bytes, resize(p, o, n) grows or shrinks (contents kept, new
// bytes zeroed, the address may change), resize(p, o, 0) gives back. Sizes are rounded up to pages
// by the source. It never returns NULL for n > 0: a source that has nothing left ends the program
// in the way its owner chose. Must be thread-safe.
struct page_source {
	void *(*resize)(void *old, size_t old_bytes, size_t new_bytes);
};
