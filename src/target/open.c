// SPDX-License-Identifier: MIT
// What a user names becomes a target: a pid, a file that is a core or a snapshot,
// or a process name. The one opener of every tool.
#include "target/target_impl.h"

#include <stdio.h>
#include <string.h>

// --- process names -------------------------------------------------------------------------------
#define LISTED_MATCHES 8

struct match {
	int pid;
	char name[32];
};

struct finder {
	const char *wanted;
	VEC(struct match) exact, partial;
};

// Our tools are links to one program; an instance of it is never what the user means.
static bool is_own_tool(int pid)
{
	struct os_status own, other;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	return !os_path_status("/proc/self/exe", &own) && !os_path_status(path, &other) &&
	       own.inode == other.inode && own.device == other.device;
}

static bool look_at_process(void *context, int pid)
{
	struct finder *finder = context;
	struct match match = { .pid = pid };
	struct os_process process;
	const char *path, *name;
	struct arena scratch;

	if (os_process_read(pid, &process) || process.state == 'Z')
		return true;
	memcpy(match.name, process.name, sizeof(match.name));
	arena_init(&scratch, &os_page_source);
	// The kernel cuts names at 15 bytes, so the executable's counts too.
	path = os_process_path(&scratch, process.memory_tid);
	if (!path && !process.resident_peak_bytes) { // a thread of the kernel
		arena_deinit(&scratch);
		return true;
	}
	name = path ? text_base_name(path) : "";
	if (strcmp(match.name, finder->wanted) == 0 || strcmp(name, finder->wanted) == 0)
		vec_push(&finder->exact, match);
	else if (strstr(match.name, finder->wanted) || strstr(name, finder->wanted))
		vec_push(&finder->partial, match);
	arena_deinit(&scratch);
	return true;
}

static struct error *name_every(const char *wanted, const struct match *matches, size_t count)
{
	char list[320] = "";
	size_t used = 0;
	struct arena scratch;

	arena_init(&scratch, &os_page_source);
	for (size_t i = 0; i < count && i < LISTED_MATCHES && used < sizeof(list); i++)
		used += (size_t)snprintf(list + used, sizeof(list) - used, "\n%10d  %s",
		                         matches[i].pid, text_printable(&scratch, matches[i].name));
	arena_deinit(&scratch);
	return error_new(ERROR_USAGE, "%zu processes match \"%s\"; name one by its number:%s%s",
	                 count, wanted, list, count > LISTED_MATCHES ? "\n       ..." : "");
}

// Those that the tool prefers, when there are any.
static size_t keep_preferred(const struct target_options *options, struct match *matches,
                             size_t count)
{
	size_t kept = 0;

	for (size_t i = 0; i < count; i++)
		if (options->prefers(matches[i].pid))
			matches[kept++] = matches[i];
	return kept ? kept : count;
}

static struct error *choose(const char *wanted, const struct target_options *options,
                            struct match *matches, size_t count, int *ret)
{
	size_t kept = 0;

	for (size_t i = 0; i < count; i++) {
		if (matches[i].pid != os_own_pid() && !is_own_tool(matches[i].pid))
			matches[kept++] = matches[i];
	}
	if (kept > 1 && options->prefers)
		kept = keep_preferred(options, matches, kept);
	if (kept > 1)
		return name_every(wanted, matches, kept);
	*ret = kept ? matches[0].pid : 0;
	return NULL;
}

static struct error *find_by_name(const char *wanted, const struct target_options *options,
                                  int *ret_pid)
{
	struct finder finder = { .wanted = wanted };
	struct error *error;

	*ret_pid = 0;
	if (!*wanted)
		return error_new(ERROR_USAGE, "an empty text names no process");
	vec_init(&finder.exact, &os_page_source);
	vec_init(&finder.partial, &os_page_source);
	error = os_each_number("/proc", look_at_process, &finder);
	if (!error)
		error = choose(wanted, options, finder.exact.v, finder.exact.n, ret_pid);
	if (!error && !*ret_pid)
		error = choose(wanted, options, finder.partial.v, finder.partial.n, ret_pid);
	vec_deinit(&finder.exact);
	vec_deinit(&finder.partial);
	if (!error && !*ret_pid)
		error = error_new(ERROR_NOT_FOUND, "\"%s\" is no process%s; wanted is %s", wanted,
		                  strchr(wanted, '/') ? " and no ordinary file" : "",
		                  options->accepts ? options->accepts
		                                   : "a pid, a process name, a core or a snapshot");
	return error;
}

// --- pids ----------------------------------------------------------------------------------------
static bool is_digits(const char *what)
{
	return *what && strspn(what, "0123456789") == strlen(what);
}

static struct error *open_pid(const char *what, const struct target_options *options,
                              struct target **ret)
{
	uint64_t pid;

	if (text_parse_u64(what, &pid) || !pid || pid > INT32_MAX)
		return error_new(ERROR_NOT_FOUND, "there is no process %s", what);
	return live_open((int)pid, options, ret);
}

// --- files ---------------------------------------------------------------------------------------
static const struct target_file_kind *const file_kinds[] = {
	&core_file_kind,
	&snapshot_file_kind,
};

static struct error *refuse_file(const char *path, int fd)
{
	static const uint8_t lz4[] = { 0x04, 0x22, 0x4d, 0x18 }, xz[] = { 0xfd, '7', 'z', 'X' };
	uint8_t start[4] = { 0 };

	os_pread(fd, start, sizeof(start), 0);
	if (memcmp(start, lz4, sizeof(lz4)) == 0 || memcmp(start, xz, sizeof(xz)) == 0)
		return error_new(ERROR_UNSUPPORTED, "%s is compressed with %s: decompress it first",
		                 path, start[0] == lz4[0] ? "lz4" : "xz");
	return error_new(ERROR_USAGE, "%s is neither a core file nor a snapshot file", path);
}

// *ret stays NULL when no such file is there, so that `what` may still name a process.
static struct error *open_file(const char *what, const struct target_options *options,
                               struct target **ret)
{
	struct os_status status;
	struct error *error;
	int fd;

	if (os_path_status(what, &status) || !status.regular)
		return NULL;
	TRY(os_open_regular(what, &fd));
	for (size_t i = 0; i < sizeof(file_kinds) / sizeof(file_kinds[0]); i++)
		if (file_kinds[i]->is(fd))
			return file_kinds[i]->open(what, fd, options, ret);
	error = strchr(what, '/') ? refuse_file(what, fd) : NULL;
	os_close(fd);
	return error;
}

struct error *target_open(const char *what, const struct target_options *options,
                          struct target **ret)
{
	int pid;

	if (is_digits(what))
		return open_pid(what, options, ret);
	*ret = NULL;
	TRY(open_file(what, options, ret));
	if (*ret)
		return NULL;
	TRY(find_by_name(what, options, &pid));
	return live_open(pid, options, ret);
}
