// SPDX-License-Identifier: MIT
// Marks in the recording of this program: a moment with a name, for malloc_history and the viewer.
// Include this and call heapwright_mark; nothing has to be linked. While nobody records the program it
// costs a test of an address and does nothing.
#pragma once

#ifdef __cplusplus
extern "C" {
#endif

// The recorder's, when there is one in the process. Thread-safe; names are cut at 255 bytes.
extern void heapwright_mark(const char *name) __attribute__((weak));

// A call of it is one of nothing as long as there is none.
#define heapwright_mark(name) (heapwright_mark ? heapwright_mark(name) : (void)0)

#ifdef __cplusplus
}
#endif
