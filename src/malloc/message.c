// SPDX-License-Identifier: MIT
// What is said when the heap is misused, and what then happens to the program. A message is composed
// on the stack and written by one call, and its first MALLOC_MESSAGE_BYTES stay in a ring that the
// descriptor points to, so that a core still shows them. Called by every room of the library, from
// signal handlers too; errno is left alone.
#include "malloc/malloc.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "os/inside.h"

static struct malloc_messages ring INSIDE_RARELY;

static const char advice[] = "*** set a breakpoint in malloc_error_break to debug\n";

// A message being composed: prefix, text, newline.
struct line {
	char bytes[1024];
	size_t count, text_start;
};

static size_t format_at(struct line *line, const char *format, ...)
{
	size_t room = sizeof(line->bytes) - line->count;
	va_list arguments;
	size_t written;

	va_start(arguments, format);
	written = malloc_format(line->bytes + line->count, room, format, arguments);
	va_end(arguments);
	line->count += written;
	return written;
}

// As Apple's prefix: the thread is what a debugger shows as its pthread_t.
static void put_prefix(struct line *line)
{
	format_at(line, "%s(%d,%p) malloc: ", program_invocation_short_name, inside_process_id(),
	          (void *)pthread_self());
}

static void put_text(struct line *line, const char *format, va_list arguments)
{
	size_t room = sizeof(line->bytes) - line->count - 1; // for the newline

	line->text_start = line->count;
	line->count += malloc_format(line->bytes + line->count, room, format, arguments);
	if (line->bytes[line->count - 1] != '\n')
		line->bytes[line->count++] = '\n';
}

// The slot is taken before it is written; a reader that comes between sees a short text.
static void keep(const struct line *line)
{
	uint64_t slot = __atomic_fetch_add(&ring.next, 1, __ATOMIC_RELAXED) % MALLOC_MESSAGES;
	size_t count = line->count - 1; // without the newline

	if (count >= MALLOC_MESSAGE_BYTES)
		count = MALLOC_MESSAGE_BYTES - 1;
	ring.text[slot][0] = '\0';
	memcpy(ring.text[slot], line->bytes, count);
	ring.text[slot][count] = '\0';
	__atomic_store_n(&heapwright_malloc.messages, (uintptr_t)&ring, __ATOMIC_RELEASE);
}

// On a full disk the log takes nothing: what was found must still be seen.
static void write_text(const char *text, size_t count)
{
	int log = malloc_settings.log;

	if (log >= 0 && !inside_write(log, text, count) && log != STDERR_FILENO)
		inside_write(STDERR_FILENO, text, count);
}

static void message_va(const char *format, va_list arguments)
{
	struct line line = { .count = 0 };

	put_prefix(&line);
	put_text(&line, format, arguments);
	keep(&line);
	write_text(line.bytes, line.count);
}

void malloc_message(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	message_va(format, arguments);
	va_end(arguments);
}

MALLOC_EXPORT void malloc_printf(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	message_va(format, arguments);
	va_end(arguments);
}

void malloc_print(const char *format, ...)
{
	char text[1024];
	va_list arguments;
	size_t count;

	va_start(arguments, format);
	count = malloc_format(text, sizeof(text), format, arguments);
	va_end(arguments);
	write_text(text, count);
}

// A name for breakpoints. The empty statement keeps the call from being seen as free of effects.
MALLOC_EXPORT __attribute__((noinline)) void malloc_error_break(void)
{
	__asm__ volatile("");
}

enum { ERROR_SLEEP_SECONDS = 3600 };

// Time to attach a debugger.
static void wait_for_debugger(void)
{
	if (malloc_settings.stop_on_error)
		inside_stop();
	else if (malloc_settings.sleep_on_error)
		inside_sleep_seconds(ERROR_SLEEP_SECONDS);
}

static bool ends_program(enum malloc_fault fault)
{
	if (fault == MALLOC_FAULT_NO_MEMORY)
		return malloc_settings.abort_on_error;
	return !malloc_settings.continue_on_error;
}

void malloc_fault_va(enum malloc_fault fault, const char *format, va_list arguments)
{
	struct line line = { .count = 0 };

	put_prefix(&line);
	put_text(&line, format, arguments);
	keep(&line);
	if (line.count + 200 < sizeof(line.bytes)) {
		put_prefix(&line);
		format_at(&line, "%s", advice);
	}
	write_text(line.bytes, line.count);
	if (heapwright_malloc.record)
		malloc_stacks_print();
	malloc_error_break();
	if (fault == MALLOC_FAULT_NO_MEMORY && !malloc_settings.abort_on_error)
		return;
	wait_for_debugger();
	if (inside_traced())
		inside_trap();
	else if (ends_program(fault))
		inside_abort();
}

void malloc_fault(enum malloc_fault fault, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	malloc_fault_va(fault, format, arguments);
	va_end(arguments);
}
