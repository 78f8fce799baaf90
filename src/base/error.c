// SPDX-License-Identifier: MIT
// The ring of error values behind base/error.h. Formatting uses vsnprintf,
// which is why only the observer wing may call these functions.
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define RING_ENTRIES 64

static struct error ring[RING_ENTRIES];
static atomic_uint ring_next;

struct error error_out_of_memory = { .kind = ERROR_MEMORY, .text = "out of memory" };

static struct error *ring_take(enum error_kind kind)
{
	struct error *error = &ring[atomic_fetch_add(&ring_next, 1) % RING_ENTRIES];

	*error = (struct error){ .kind = kind };
	return error;
}

static enum error_kind kind_of_errno(int errno_value)
{
	if (errno_value == EPERM || errno_value == EACCES)
		return ERROR_RIGHTS;
	return errno_value == ESRCH ? ERROR_GONE : ERROR_SYSTEM;
}

struct error *error_new(enum error_kind kind, const char *format, ...)
{
	struct error *error = ring_take(kind);
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(error->text, sizeof(error->text), format, arguments);
	va_end(arguments);
	return error;
}

struct error *error_at(enum error_kind kind, uint64_t address, const char *format, ...)
{
	struct error *error = ring_take(kind);
	va_list arguments;

	error->has_address = true;
	error->address = address;
	va_start(arguments, format);
	vsnprintf(error->text, sizeof(error->text), format, arguments);
	va_end(arguments);
	return error;
}

struct error *error_system(int errno_value, const char *format, ...)
{
	struct error *error = ring_take(kind_of_errno(errno_value));
	va_list arguments;
	size_t used;

	error->errno_value = errno_value;
	va_start(arguments, format);
	vsnprintf(error->text, sizeof(error->text), format, arguments);
	va_end(arguments);
	used = strlen(error->text);
	snprintf(error->text + used, sizeof(error->text) - used, ": %s", strerror(errno_value));
	return error;
}

struct error *error_prefix(struct error *cause, const char *format, ...)
{
	char old[sizeof(cause->text)];
	va_list arguments;
	size_t used;

	if (cause == &error_out_of_memory)
		return cause;
	memcpy(old, cause->text, sizeof(old));
	va_start(arguments, format);
	vsnprintf(cause->text, sizeof(cause->text), format, arguments);
	va_end(arguments);
	used = strlen(cause->text);
	snprintf(cause->text + used, sizeof(cause->text) - used, ": %s", old);
	return cause;
}
