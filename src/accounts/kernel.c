// SPDX-License-Identifier: MIT
// The kernel's memory that a process costs, as far as the kernel counts it by process: page tables,
// stacks of threads, and what hangs on descriptors; and what its control group holds. Called by
// footprint.c.
#include <stdio.h>
#include <string.h>

#include "accounts/accounts_impl.h"
#include "base/text.h"

#define TEXT_LIMIT ((size_t)256 << 10)
#define PATH_BYTES 512

// The machine's kernel stacks by its threads, to the next power of two of pages: what THREAD_SIZE is
// (arch/*/include/asm/thread_info.h). "N/THREADS" is the fourth word of loadavg.
uint64_t accounts_kernel_stack_bytes(void)
{
	uint64_t all, bytes = os_page_bytes();
	unsigned threads;
	struct arena arena;
	char *text;
	size_t size;

	arena_init(&arena, &os_page_source);
	if (os_read_text(&arena, "/proc/meminfo", TEXT_LIMIT, &text, &size) ||
	    !os_kilobytes_find(text, size, "KernelStack", &all) ||
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

	os_kilobytes_find(text, bytes, "VmHWM", &ret->resident_peak_bytes);
	os_kilobytes_find(text, bytes, "VmPTE", &ret->kernel.page_table_bytes);
	os_kilobytes_find(text, bytes, "VmPin", &ret->kernel.pinned_bytes);
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
// "ID:CONTROLLERS:PATH" a line; of version 2 the one with id 0 and no controllers (cgroups(7)). The path
// below where the group's files are mounted, or NULL.
static const char *group_path(struct arena *arena, char *text)
{
	const char *found = NULL;

	for (char *line = text, *next; line && *line; line = next) {
		char *controllers = strchr(line, ':'), *path;

		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		path = controllers ? strchr(controllers + 1, ':') : NULL;
		if (!path || strstr(path, "/.."))
			continue;
		*path++ = '\0';
		if (!strcmp(controllers + 1, "memory"))
			return arena_format(arena, "/sys/fs/cgroup/memory%s", path);
		if (!*(controllers + 1))
			found = arena_format(arena, "/sys/fs/cgroup%s", path);
	}
	return found;
}

static bool read_number(struct arena *arena, const char *group, const char *file, const char *key,
                        uint64_t *ret)
{
	const char *path = arena_format(arena, "%s/%s", group, file), *at;
	unsigned long long number;
	char *text;
	size_t bytes;

	if (os_read_text(arena, path, TEXT_LIMIT, &text, &bytes))
		return false;
	at = *key ? strstr(text, key) : text;
	if (!at || sscanf(at + strlen(key), "%llu", &number) != 1)
		return false;
	*ret = number;
	return true;
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
	ret->cgroup = group_path(arena, text);
	if (!ret->cgroup)
		return;
	ret->has_cgroup_bytes = read_number(arena, ret->cgroup, "memory.stat", "\nslab ",
	                                    &ret->cgroup_slab_bytes) ||
	                        read_number(arena, ret->cgroup, "memory.kmem.usage_in_bytes", "",
	                                    &ret->cgroup_slab_bytes);
	ret->cgroup_process_count =
		count_lines(arena, arena_format(arena, "%s/cgroup.procs", ret->cgroup));
}

void kernel_read(int proc, int pid, unsigned want, struct arena *arena, struct footprint *ret)
{
	static uint64_t stack_bytes;

	if (!stack_bytes)
		stack_bytes = accounts_kernel_stack_bytes();
	read_status(proc, pid, ret);
	ret->kernel.stack_bytes = ret->account.process.threads * stack_bytes;
	if (!(want & FOOTPRINT_KERNEL))
		return;
	ret->kernel.has_descriptors =
		!os_each_descriptor(proc, pid, count_descriptor, &ret->kernel);
	read_group(pid, arena, &ret->kernel);
}
