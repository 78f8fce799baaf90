// SPDX-License-Identifier: MIT
// The kernel's memory that a process costs, as far as the kernel counts it by process: page tables,
// stacks of threads, and what hangs on descriptors; and what its control group holds. Called by
// footprint.c.
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "accounts/accounts_impl.h"
#include "base/text.h"

#define TEXT_LIMIT ((size_t)256 << 10)
#define PATH_BYTES 512

// The machine's kernel stacks by its threads, to the next power of two of pages: what THREAD_SIZE is
// (arch/*/include/asm/thread_info.h). "N/THREADS" is the fourth word of loadavg.
static uint64_t stack_bytes_of_one(void)
{
	uint64_t all, bytes = os_page_bytes();
	unsigned threads;
	struct arena arena;
	char *text;
	size_t size;

	arena_init(&arena, &os_page_source);
	if (os_read_text(&arena, "/proc/meminfo", TEXT_LIMIT, &text, &size) ||
	    !os_counter_find(text, size, "KernelStack", &all) ||
	    os_read_text(&arena, "/proc/loadavg", TEXT_LIMIT, &text, &size) ||
	    sscanf(text, "%*s %*s %*s %*u/%u", &threads) != 1 || !threads)
		all = threads = 0;
	while (threads && bytes * 3 / 2 < all / threads)
		bytes *= 2;
	arena_deinit(&arena);
	return threads ? bytes : 0;
}

static void read_status(int proc, int pid, struct footprint *ret)
{
	char text[PATH_BYTES * 16];
	size_t bytes = os_process_text(proc, pid, "status", text, sizeof(text));

	os_counter_find(text, bytes, "VmHWM", &ret->resident_peak_bytes);
	os_counter_find(text, bytes, "VmPTE", &ret->kernel.page_table_bytes);
	os_counter_find(text, bytes, "VmPin", &ret->kernel.pinned_bytes);
}

static void count_descriptor(void *context, int number, const char *target)
{
	struct footprint_kernel *kernel = context;

	(void)number;
	kernel->descriptor_count++;
	kernel->socket_count += text_starts_with(target, "socket:");
	kernel->pipe_count += text_starts_with(target, "pipe:");
}

// --- the control group ---------------------------------------------------------------------------
// Its folder where the groups of version 1 and 2 usually are, or NULL.
static const char *group_path(struct arena *arena, const char *text, size_t bytes)
{
	char path[PATH_MAX];
	bool old = os_group_find(text, bytes, "memory", path, sizeof(path));

	if (!old && !os_group_find(text, bytes, NULL, path, sizeof(path)))
		return NULL;
	// What our namespace does not show (cgroup_namespaces(7)).
	if (strstr(path, "/.."))
		return NULL;
	return arena_format(arena, "/sys/fs/cgroup%s%s", old ? "/memory" : "", path);
}

static bool read_slab(struct arena *arena, const char *group, uint64_t *ret)
{
	size_t bytes;
	char *text;

	if (!os_read_text(arena, arena_format(arena, "%s/memory.stat", group), TEXT_LIMIT, &text,
	                  &bytes) &&
	    os_counter_find(text, bytes, "slab", ret))
		return true;
	return !os_read_text(arena, arena_format(arena, "%s/memory.kmem.usage_in_bytes", group),
	                     TEXT_LIMIT, &text, &bytes) &&
	       os_limit_parse(text, bytes, ret);
}

static uint64_t count_lines(struct arena *arena, const char *path)
{
	uint64_t lines = 0;
	char *text;
	size_t bytes;

	if (os_read_text(arena, path, (size_t)64 << 20, &text, &bytes))
		return 0;
	for (size_t i = 0; i < bytes; i++)
		lines += text[i] == '\n';
	return lines;
}

static void read_group(int pid, struct arena *arena, struct footprint_kernel *ret)
{
	char path[PATH_BYTES], *text;
	size_t bytes;

	snprintf(path, sizeof(path), "/proc/%d/cgroup", pid);
	if (os_read_text(arena, path, TEXT_LIMIT, &text, &bytes))
		return;
	ret->cgroup = group_path(arena, text, bytes);
	if (!ret->cgroup)
		return;
	ret->has_cgroup_bytes = read_slab(arena, ret->cgroup, &ret->cgroup_slab_bytes);
	ret->cgroup_process_count =
		count_lines(arena, arena_format(arena, "%s/cgroup.procs", ret->cgroup));
}

void kernel_read(int proc, unsigned want, struct arena *arena, struct footprint *ret)
{
	static uint64_t stack_bytes;
	int tid = ret->account.process.memory_tid;

	if (!stack_bytes)
		stack_bytes = stack_bytes_of_one();
	read_status(proc, tid, ret);
	ret->kernel.stack_bytes = ret->account.process.threads * stack_bytes;
	if (!(want & FOOTPRINT_KERNEL))
		return;
	ret->kernel.has_descriptors =
		!os_each_descriptor(proc, tid, count_descriptor, &ret->kernel);
	read_group(tid, arena, &ret->kernel);
}
