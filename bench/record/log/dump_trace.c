// SPDX-License-Identifier: MIT
// A preload that writes every malloc and free of a program, with stacks and times, to the file that
// DUMP_TRACE names: input for log_bench without a recorder. Slow (backtrace of libgcc); the time that it
// takes itself is not in the stamps. glibc only. Build: cc -O2 -shared -fPIC dump_trace.c -o dump_trace.so
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "dump_trace.h"

#define MOST_FRAMES  256
#define OWN_FRAMES   2
#define NODE_SLOTS   (1u << 24)
#define BUFFER_COUNT 4096
#define MOST_MODULES 64

void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *old, size_t bytes);
void *__libc_memalign(size_t alignment, size_t bytes);
void __libc_free(void *block);

struct slot {
	uint64_t pc;
	uint32_t parent, node;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int file = -1;
static uint64_t spent_ns;
static struct trace_event buffer[BUFFER_COUNT];
static unsigned buffered;
static struct slot *slots;
static uint32_t node_count = 1, thread_count;
static struct {
	uint64_t start, end;
} modules[MOST_MODULES];
static unsigned module_count;
static __thread bool inside;
static __thread uint32_t thread_number; // + 1

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void flush(void)
{
	if (buffered && write(file, buffer, buffered * sizeof(buffer[0])) < 0)
		_exit(9);
	buffered = 0;
}

static void put(const struct trace_event *event)
{
	buffer[buffered++] = *event;
	if (buffered == BUFFER_COUNT)
		flush();
}

static uint32_t node_of(uint32_t parent, uint64_t pc)
{
	uint64_t hash = (pc ^ (uint64_t)parent << 40) * 0x9e3779b97f4a7c15u;
	struct slot *slot;

	for (uint32_t i = (uint32_t)(hash >> 40);; i++) {
		slot = &slots[i % NODE_SLOTS];
		if (!slot->node || (slot->pc == pc && slot->parent == parent))
			break;
	}
	if (!slot->node) {
		*slot = (struct slot){ pc, parent, node_count++ };
		put(&(struct trace_event){ .kind = TRACE_NODE, .address = pc, .node = parent });
	}
	return slot->node;
}

static void event(uint32_t kind, void *block, uint64_t bytes, uint32_t extra)
{
	void *frames[MOST_FRAMES];
	uint64_t from = now_ns();
	struct trace_event e = {
		.kind = kind, .address = (uint64_t)block, .bytes = bytes, .extra = extra
	};
	int depth;

	if (file < 0 || inside)
		return;
	inside = true;
	if (!thread_number)
		thread_number = __atomic_add_fetch(&thread_count, 1, __ATOMIC_RELAXED);
	depth = backtrace(frames, MOST_FRAMES);
	pthread_mutex_lock(&lock);
	for (int i = depth - 1; i >= OWN_FRAMES; i--)
		e.node = node_of(e.node, (uint64_t)frames[i]);
	e.thread = thread_number - 1;
	e.time_ns = from - spent_ns;
	put(&e);
	spent_ns += now_ns() - from;
	pthread_mutex_unlock(&lock);
	inside = false;
}

static uint64_t type_word(void *block)
{
	uint64_t word = 0;

	if (malloc_usable_size(block) >= 8)
		memcpy(&word, block, 8);
	for (unsigned i = 0; i < module_count; i++)
		if (word >= modules[i].start && word < modules[i].end)
			return word;
	return 0;
}

void *malloc(size_t bytes)
{
	void *block = __libc_malloc(bytes);

	event(1, block, bytes, 0);
	return block;
}

void *calloc(size_t count, size_t bytes)
{
	void *block = __libc_calloc(count, bytes);

	event(2, block, count * bytes, 0);
	return block;
}

void free(void *block)
{
	if (block)
		event(8, block, type_word(block), 0);
	__libc_free(block);
}

void *realloc(void *old, size_t bytes)
{
	void *block;

	if (old)
		event(9, old, type_word(old), 0);
	block = __libc_realloc(old, bytes);
	event(4, block, bytes, 0);
	return block;
}

void *memalign(size_t alignment, size_t bytes)
{
	void *block = __libc_memalign(alignment, bytes);

	event(3, block, bytes, (uint32_t)__builtin_ctzl(alignment));
	return block;
}

void *aligned_alloc(size_t alignment, size_t bytes)
{
	return memalign(alignment, bytes);
}

int posix_memalign(void **ret, size_t alignment, size_t bytes)
{
	*ret = memalign(alignment, bytes);
	return *ret ? 0 : 12;
}

static int module_add(struct dl_phdr_info *info, size_t size, void *context)
{
	(void)size;
	(void)context;
	for (int i = 0; i < info->dlpi_phnum && module_count < MOST_MODULES; i++)
		if (info->dlpi_phdr[i].p_type == PT_LOAD) {
			uint64_t start = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;

			modules[module_count].start = start;
			modules[module_count++].end = start + info->dlpi_phdr[i].p_memsz;
		}
	return 0;
}

__attribute__((constructor)) static void start(void)
{
	const char *path = getenv("DUMP_TRACE");
	void *frames[4];

	if (!path)
		return;
	backtrace(frames, 4);
	dl_iterate_phdr(module_add, NULL);
	slots = mmap(NULL, NODE_SLOTS * sizeof(*slots), PROT_READ | PROT_WRITE,
	             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	unsetenv("DUMP_TRACE"); // children are not dumped
	unsetenv("LD_PRELOAD");
}

__attribute__((destructor)) static void stop(void)
{
	if (file < 0)
		return;
	pthread_mutex_lock(&lock);
	flush();
	close(file);
	file = -1;
	pthread_mutex_unlock(&lock);
}
