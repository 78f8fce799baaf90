// SPDX-License-Identifier: MIT
// Error values of the observer wing. A fallible function returns NULL for
// success or a pointer to an error that says what went wrong and where.
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum error_kind {
	ERROR_USAGE,       // the user asked for something that has no meaning
	ERROR_NOT_FOUND,   // no such process, file, symbol or allocator
	ERROR_RIGHTS,      // the kernel refuses; the text names the right and the ways around
	ERROR_GONE,        // the target ended while we looked
	ERROR_FAULT,       // an address of the target cannot be read
	ERROR_DAMAGED,     // foreign bytes (core, heap, ELF, snapshot) contradict themselves
	ERROR_UNSUPPORTED, // a thing that this target, kernel or CPU cannot do
	ERROR_SYSTEM,      // a system call failed; errno_value is set
	ERROR_MEMORY,      // out of memory; always the static error_out_of_memory
};

// An error lives in a fixed ring of 64 entries per program and needs no free:
// it stays valid until 64 more errors were made. Creating one is thread-safe.
struct error {
	enum error_kind kind;
	int errno_value;  // 0 unless kind is ERROR_SYSTEM or ERROR_RIGHTS
	bool has_address; // whether address says where in the target
	uint64_t address;
	char text[512]; // one sentence without a final full stop or newline
};

extern struct error error_out_of_memory;

struct error *error_new(enum error_kind kind, const char *format, ...)
	__attribute__((returns_nonnull, format(printf, 2, 3)));

// Like error_new, with the target address that the error is about.
struct error *error_at(enum error_kind kind, uint64_t address, const char *format, ...)
	__attribute__((returns_nonnull, format(printf, 3, 4)));

// ": " and the text of errno_value are appended. EPERM and EACCES become ERROR_RIGHTS,
// ESRCH becomes ERROR_GONE, everything else ERROR_SYSTEM.
struct error *error_system(int errno_value, const char *format, ...)
	__attribute__((returns_nonnull, format(printf, 2, 3)));

// Puts "what: " before the text of cause; kind and place stay. Returns cause.
struct error *error_prefix(struct error *cause, const char *format, ...)
	__attribute__((returns_nonnull, format(printf, 2, 3)));

// Returns the error of an expression from the enclosing function, if there is one.
#define TRY(expression)                                  \
	do {                                             \
		struct error *try_error_ = (expression); \
		if (try_error_)                          \
			return try_error_;               \
	} while (0)
