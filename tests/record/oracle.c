// SPDX-License-Identifier: MIT
// A preload that takes the stack of each allocation and free twice, by the recorder's unwinder and by
// libunwind, and compares. What it counted is appended to the file ORACLE_REPORT at the end of each
// process: one line "program pid=... events=... wrong=..." and, for the first that are wrong or truncated, both stacks.
//
// Not compared, but counted: events while another thread stays at it (libunwind may wait for the dynamic
// linker's lock, whose owner may wait in malloc), and events that libunwind's own path does not reach.
#define UNW_LOCAL_ONLY
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <libunwind.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "walking.h"

enum {
	FRAMES = 1 << 16, // what libunwind is asked for
	SHOWN = 5,
	LINES = 60,
	PATIENCE = 10000,
};

// Weak in programs that want to be compared at other places, too.
PUBLIC void oracle_probe(void);

static struct {
	uint64_t events, compared, frames, wrong, truncated, longer, passed, unreached, exact,
		deepest;
} counts;

static struct record_header *header;
static const struct record_node *nodes;
static uint64_t *codes; // of libunwind, the innermost first
static int oracle_lock, shown_wrong, shown_truncated;
static __thread int busy;
static __thread struct record_unwinder *unwinder;

// What the parent has counted is the parent's to report.
static void forget_counts(void)
{
	memset(&counts, 0, sizeof(counts));
	oracle_lock = 0;
}

static void start(void)
{
	struct record_header *made = walking_start();

	nodes = (const void *)((const char *)made + made->nodes_offset);
	codes = map(FRAMES * sizeof(*codes));
	header = made;
	pthread_atfork(NULL, NULL, forget_counts);
}

static int report_file(void)
{
	const char *path = getenv("ORACLE_REPORT");

	return path ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666) : -1;
}

static void show(const char *what, uint32_t node, unsigned count)
{
	int fd = report_file();

	dprintf(fd, "%s in %s\n", what, program_invocation_short_name);
	for (unsigned i = 0; i < LINES && (i < count || node); i++, node = nodes[node].parent) {
		Dl_info theirs = { 0 };

		if (i < count)
			dladdr((void *)codes[i], &theirs);
		dprintf(fd, "%16llx %16llx %s %s+0x%llx\n", (unsigned long long)nodes[node].code,
		        i < count ? (unsigned long long)codes[i] : 0, theirs.dli_fname,
		        theirs.dli_sname,
		        theirs.dli_fbase
		                ? (unsigned long long)(codes[i] - (uintptr_t)theirs.dli_fbase)
		                : 0);
	}
	close(fd);
}

static void add(uint64_t *counter, uint64_t by)
{
	__atomic_fetch_add(counter, by, __ATOMIC_RELAXED);
}

static void compare(uint32_t node, unsigned count)
{
	uint32_t at = node;
	bool wrong = false, truncated = false;
	unsigned i = 0;

	for (; at && i < count; at = nodes[at].parent, i++) {
		truncated |= (nodes[at].code & RECORD_NODE_TRUNCATED) != 0;
		wrong |= (nodes[at].code & RECORD_NODE_ADDRESS) != codes[i];
		add(&counts.exact, (nodes[at].code & RECORD_NODE_EXACT) != 0);
	}
	wrong |= i < count && !truncated;
	counts.compared++;
	counts.frames += i;
	counts.deepest = i > counts.deepest ? i : counts.deepest;
	counts.truncated += truncated;
	counts.longer += at != 0; // the oracle gave up
	counts.wrong += wrong;
	if (wrong && shown_wrong++ < SHOWN)
		show("WRONG", node, count);
	if (truncated && shown_truncated++ < SHOWN)
		show("TRUNCATED", node, count);
}

// The frames from the position on; 0 when libunwind does not come by there.
static unsigned ask_oracle(const struct record_position *at)
{
	unw_context_t context;
	unw_cursor_t cursor;
	unw_word_t pc = 0, sp = 0;
	unsigned count = 0;

	unw_getcontext(&context);
	unw_init_local(&cursor, &context);
	do {
		unw_get_reg(&cursor, UNW_REG_IP, &pc);
		unw_get_reg(&cursor, UNW_REG_SP, &sp);
		if (count || (pc == at->pc && sp == at->sp))
			codes[count++] = pc;
	} while (count < FRAMES && unw_step(&cursor) > 0);
	while (count && !codes[count - 1])
		count--;
	return count;
}

static bool take_oracle(void)
{
	for (int i = 0; i < PATIENCE; i++) {
		if (!__atomic_exchange_n(&oracle_lock, 1, __ATOMIC_ACQUIRE))
			return true;
		sched_yield();
	}
	return false;
}

static void event(const struct record_position *at)
{
	unsigned count;
	uint32_t node;

	if (busy++)
		goto out;
	if (!header)
		start();
	if (!unwinder)
		unwinder = map(sizeof(*unwinder));
	node = record_unwinder_node(unwinder, at);
	add(&counts.events, 1);
	if (!take_oracle()) {
		add(&counts.passed, 1);
		goto out;
	}
	count = ask_oracle(at);
	if (count)
		compare(node, count);
	else
		counts.unreached++;
	__atomic_store_n(&oracle_lock, 0, __ATOMIC_RELEASE);
out:
	busy--;
}

PUBLIC void oracle_probe(void)
{
	struct record_position at = RECORD_POSITION_HERE();

	event(&at);
}

PUBLIC int dlclose(void *library)
{
	static int (*real)(void *);
	int result;

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "dlclose");
	result = real(library);
	busy++;
	unw_flush_cache(unw_local_addr_space, 0, 0);
	busy--;
	return result;
}

__attribute__((destructor)) static void finish(void)
{
	int fd;

	busy++;
	fd = report_file();
	dprintf(fd,
	        "%s pid=%d events=%lu compared=%lu wrong=%lu truncated=%lu longer=%lu passed=%lu "
	        "unreached=%lu exact=%lu deepest=%lu frames=%lu nodes=%u modules=%u\n",
	        program_invocation_short_name, getpid(), counts.events, counts.compared,
	        counts.wrong, counts.truncated, counts.longer, counts.passed, counts.unreached,
	        counts.exact, counts.deepest, counts.frames, header ? header->node_count : 0,
	        header ? header->module_count : 0);
	close(fd);
}
