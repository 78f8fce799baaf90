// SPDX-License-Identifier: MIT
// Values that the kernel keeps for a process and hands back to it later, most
// often pointers: the data of epoll entries and of POSIX timers. No memory
// reader sees them. Text forms: Linux fs/eventpoll.c (ep_show_fdinfo), fs/proc/base.c (show_timer).
#include "os/os.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "os/scan_impl.h"

#define PROC_PATH_BYTES 64
#define TEXT_LIMIT      ((size_t)64 << 20)

struct finder {
	struct arena *arena;
	int pid;
	VEC(struct os_held) held;
};

// "tfd: 7 events: 19 data: 5581f0c2a2a0 pos:0 ino:... sdev:..."
static bool epoll_data(struct scan line, uint64_t *ret)
{
	uint64_t number;

	if (!scan_word(&line, "tfd:"))
		return false;
	scan_blanks(&line);
	if (!scan_number(&line, 10, &number))
		return false;
	scan_blanks(&line);
	if (!scan_word(&line, "events:"))
		return false;
	scan_blanks(&line);
	if (!scan_number(&line, 16, &number))
		return false;
	scan_blanks(&line);
	if (!scan_word(&line, "data:"))
		return false;
	scan_blanks(&line);
	return scan_number(&line, 16, ret);
}

void os_epoll_parse(const char *text, size_t bytes, void (*each)(void *context, uint64_t value),
                    void *context)
{
	struct scan all = { text, text + bytes }, line;
	uint64_t value;

	while (scan_line(&all, &line)) {
		if (epoll_data(line, &value))
			each(context, value);
	}
}

struct epoll_look {
	struct finder *finder;
	const char *what;
};

static void add_epoll(void *context, uint64_t value)
{
	struct epoll_look *look = context;

	vec_push(&look->finder->held, ((struct os_held){ value, look->what }));
}

static bool is_epoll(int pid, int descriptor)
{
	static const char wanted[] = "anon_inode:[eventpoll]";
	char path[PROC_PATH_BYTES], target[sizeof(wanted)];

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, descriptor);
	return readlink(path, target, sizeof(target)) == sizeof(wanted) - 1 &&
	       !memcmp(target, wanted, sizeof(wanted) - 1);
}

static bool look_at_descriptor(void *context, int descriptor)
{
	struct finder *finder = context;
	struct epoll_look look = { .finder = finder };
	char path[PROC_PATH_BYTES], *text;
	struct arena scratch;
	size_t bytes;

	if (!is_epoll(finder->pid, descriptor))
		return true;
	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", finder->pid, descriptor);
	arena_init(&scratch, &os_page_source);
	// A descriptor that was closed meanwhile holds nothing any more.
	if (!os_read_text(&scratch, path, TEXT_LIMIT, &text, &bytes)) {
		look.what = arena_format(finder->arena, "epoll data of descriptor %d", descriptor);
		os_epoll_parse(text, bytes, add_epoll, &look);
	}
	arena_deinit(&scratch);
	return true;
}

// "ID: 0", then "signal: 10/000055...": the number behind the slash is the timer's sigval.
void os_timers_parse(const char *text, size_t bytes,
                     void (*each)(void *context, uint64_t id, uint64_t value), void *context)
{
	struct scan all = { text, text + bytes }, line;
	uint64_t id = 0, signal, value;

	while (scan_line(&all, &line)) {
		if (scan_word(&line, "ID: ")) {
			scan_number(&line, 10, &id);
		} else if (scan_word(&line, "signal: ") && scan_number(&line, 10, &signal) &&
		           scan_char(&line, '/')) {
			scan_word(&line, "0x");
			if (scan_number(&line, 16, &value))
				each(context, id, value);
		}
	}
}

static void add_timer(void *context, uint64_t id, uint64_t value)
{
	struct finder *finder = context;
	const char *what =
		arena_format(finder->arena, "value of timer %llu", (unsigned long long)id);

	vec_push(&finder->held, ((struct os_held){ value, what }));
}

// A kernel without CONFIG_POSIX_TIMERS and CONFIG_CHECKPOINT_RESTORE has no such text.
static void look_at_timers(struct finder *finder)
{
	char path[PROC_PATH_BYTES], *text;
	struct arena scratch;
	size_t bytes;

	snprintf(path, sizeof(path), "/proc/%d/timers", finder->pid);
	arena_init(&scratch, &os_page_source);
	if (!os_read_text(&scratch, path, TEXT_LIMIT, &text, &bytes))
		os_timers_parse(text, bytes, add_timer, finder);
	arena_deinit(&scratch);
}

struct error *os_held_read(struct arena *arena, int pid, struct os_held **ret, size_t *ret_count)
{
	struct finder finder = { .arena = arena, .pid = pid };
	char path[PROC_PATH_BYTES];
	struct error *error;

	vec_init(&finder.held, &os_page_source);
	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	error = os_each_number(path, look_at_descriptor, &finder);
	if (!error) {
		look_at_timers(&finder);
		*ret_count = finder.held.n;
		*ret = arena_array(arena, finder.held.n, sizeof(**ret));
		if (finder.held.n)
			memcpy(*ret, finder.held.v, finder.held.n * sizeof(**ret));
	}
	vec_deinit(&finder.held);
	return error;
}
