// SPDX-License-Identifier: MIT
// What /proc says about a process or thread: status, stat, names, auxv, its
// executable. The parsers are pure; forms as in Linux fs/proc/array.c.
#include "os/os.h"

#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "os/scan_impl.h"

#define PROC_TEXT_LIMIT ((size_t)1 << 20)
#define PROC_PATH_BYTES 64
#define SECOND_NS       1000000000ull

static bool field_number(struct scan *line, const char *key, unsigned base, uint64_t *ret)
{
	if (!scan_word(line, key))
		return false;
	scan_blanks(line);
	return scan_number(line, base, ret);
}

static void field_ids(struct scan *line, uint32_t ret[4])
{
	for (unsigned i = 0; i < 4; i++) {
		uint64_t id;

		scan_blanks(line);
		if (!scan_number(line, 10, &id))
			return;
		ret[i] = (uint32_t)id;
	}
}

// The last number is the one in the innermost namespace.
static void field_namespace_pids(struct scan *line, struct os_process *ret)
{
	uint64_t pid;

	ret->namespaces = 0;
	for (;;) {
		scan_blanks(line);
		if (!scan_number(line, 10, &pid))
			return;
		ret->own_pid = (int)pid;
		ret->namespaces++;
	}
}

static const struct {
	const char *key;
	size_t offset;
} kilobyte_fields[] = {
	{ "VmHWM:", offsetof(struct os_process, resident_peak_bytes) },
	{ "VmRSS:", offsetof(struct os_process, resident_bytes) },
	{ "RssAnon:", offsetof(struct os_process, anonymous_bytes) },
	{ "RssFile:", offsetof(struct os_process, file_bytes) },
	{ "RssShmem:", offsetof(struct os_process, shared_bytes) },
	{ "VmSwap:", offsetof(struct os_process, swapped_bytes) },
	{ "VmPTE:", offsetof(struct os_process, page_table_bytes) },
};

static bool take_kilobytes(struct scan *line, struct os_process *ret)
{
	for (size_t i = 0; i < sizeof(kilobyte_fields) / sizeof(kilobyte_fields[0]); i++) {
		uint64_t value;

		if (!field_number(line, kilobyte_fields[i].key, 10, &value))
			continue;
		if (value <= INT64_MAX / 1024)
			*(uint64_t *)((char *)ret + kilobyte_fields[i].offset) = value * 1024;
		return true;
	}
	return false;
}

static void take_status_line(struct scan *line, struct os_process *ret)
{
	uint64_t value;

	if (take_kilobytes(line, ret))
		return;
	if (scan_word(line, "State:")) {
		scan_blanks(line);
		ret->state = line->at < line->end ? *line->at : '?';
	} else if (field_number(line, "Tgid:", 10, &value)) {
		ret->pid = (int)value;
	} else if (field_number(line, "PPid:", 10, &value)) {
		ret->parent_pid = (int)value;
	} else if (field_number(line, "TracerPid:", 10, &value)) {
		ret->tracer_pid = (int)value;
	} else if (field_number(line, "Threads:", 10, &value)) {
		ret->thread_count = (unsigned)value;
	} else if (field_number(line, "Seccomp:", 10, &value)) {
		ret->seccomp = (int)value;
	} else if (scan_word(line, "Uid:")) {
		field_ids(line, ret->uid);
	} else if (scan_word(line, "NSpid:")) {
		field_namespace_pids(line, ret);
	}
}

struct error *os_status_parse(const char *text, size_t bytes, struct os_process *ret)
{
	struct scan all = { text, text + bytes }, line;

	ret->namespaces = 1;
	while (scan_line(&all, &line))
		take_status_line(&line, ret);
	if (!ret->pid || !ret->state)
		return error_new(ERROR_DAMAGED, "the status of the process makes no sense");
	if (!ret->own_pid)
		ret->own_pid = ret->pid;
	return NULL;
}

// The time of boot of /proc/stat has whole seconds only; the two clocks give it to the nanosecond.
static uint64_t boot_wall_ns(void)
{
	return os_wall_ns() - os_since_boot_ns();
}

static struct error *read_text(struct arena *arena, const char *directory, const char *name,
                               char **ret, size_t *ret_bytes)
{
	char path[PROC_PATH_BYTES];
	struct error *error;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	error = os_read_text(arena, path, PROC_TEXT_LIMIT, ret, ret_bytes);
	if (error && (error->errno_value == ENOENT || error->kind == ERROR_GONE))
		return error_new(ERROR_GONE, "there is no such process (%s)", directory);
	return error;
}

static struct error *directory_read(struct arena *arena, const char *directory,
                                    struct os_process *ret)
{
	struct os_account account;
	char *text;
	size_t bytes;

	*ret = (struct os_process){ 0 };
	TRY(read_text(arena, directory, "status", &text, &bytes));
	TRY(os_status_parse(text, bytes, ret));
	TRY(read_text(arena, directory, "stat", &text, &bytes));
	if (!os_account_parse_stat(text, bytes, &account))
		return error_new(ERROR_DAMAGED, "%s/stat makes no sense", directory);
	snprintf(ret->name, sizeof(ret->name), "%.*s", (int)sizeof(ret->name) - 1, account.name);
	ret->launched_ns =
		boot_wall_ns() + account.start_ticks * (SECOND_NS / os_ticks_per_second());
	return NULL;
}

static struct error *read_once(const char *directory, struct os_process *ret)
{
	struct arena arena;
	struct error *error;

	arena_init(&arena, &os_page_source);
	error = directory_read(&arena, directory, ret);
	arena_deinit(&arena);
	return error;
}

struct error *os_thread_read(int pid, int tid, struct os_process *ret)
{
	char directory[PROC_PATH_BYTES];

	snprintf(directory, sizeof(directory), "/proc/%d/task/%d", pid, tid);
	TRY(read_once(directory, ret));
	ret->memory_tid = tid;
	return NULL;
}

// --- a main thread that has ended ------------------------------------------------------------------
struct living {
	int pid;
	struct os_process thread; // memory_tid 0: none
};

static bool is_over(const struct os_process *thread)
{
	return thread->state == 'Z' || thread->state == 'X';
}

static bool take_living(void *context, int tid)
{
	struct living *living = context;

	if (!os_thread_read(living->pid, tid, &living->thread) && !is_over(&living->thread))
		return false;
	living->thread.memory_tid = 0;
	return true;
}

static bool find_living(int pid, struct living *ret)
{
	char path[PROC_PATH_BYTES];

	*ret = (struct living){ .pid = pid };
	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	return !os_each_number(path, take_living, ret) && ret->thread.memory_tid;
}

struct error *os_process_read(int pid, struct os_process *ret)
{
	char directory[PROC_PATH_BYTES];
	struct os_process read;
	struct living living;

	snprintf(directory, sizeof(directory), "/proc/%d", pid);
	TRY(read_once(directory, &read));
	*ret = read;
	ret->memory_tid = pid;
	if (!is_over(&read) || read.thread_count <= 1 || !find_living(pid, &living))
		return NULL;
	*ret = living.thread; // and what belongs to the process:
	ret->pid = read.pid;
	ret->own_pid = read.own_pid;
	memcpy(ret->name, read.name, sizeof(ret->name));
	ret->launched_ns = read.launched_ns;
	return NULL;
}

int os_memory_tid(int pid)
{
	struct os_process process;

	return os_process_read(pid, &process) ? pid : process.memory_tid;
}

const char *os_process_path(struct arena *arena, int pid)
{
	char path[PROC_PATH_BYTES];
	const char *target;

	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	return os_read_link(arena, path, &target) ? NULL : target;
}

struct error *os_process_auxv(struct arena *arena, int pid, unsigned word_bytes, uint64_t **ret,
                              size_t *ret_pairs)
{
	char path[PROC_PATH_BYTES], *text;
	size_t bytes, pairs;

	snprintf(path, sizeof(path), "/proc/%d/auxv", pid);
	TRY(os_read_text(arena, path, PROC_TEXT_LIMIT, &text, &bytes));
	pairs = bytes / (2 * word_bytes);
	*ret = arena_array(arena, pairs * 2, sizeof(**ret));
	*ret_pairs = pairs;
	for (size_t i = 0; i < pairs * 2; i++)
		memcpy(&(*ret)[i], text + i * word_bytes, word_bytes);
	for (size_t i = 0; i < pairs; i++) {
		if ((*ret)[2 * i] == AT_NULL)
			*ret_pairs = i + 1;
		if (*ret_pairs != pairs)
			break;
	}
	return NULL;
}

struct error *os_process_machine(int pid, uint16_t *ret_machine, unsigned *ret_word_bytes)
{
	OS_DESCRIPTOR int fd = -1;
	char path[PROC_PATH_BYTES];
	Elf32_Ehdr header;

	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	TRY(os_open(path, &fd));
	// e_machine stands at the same place in both classes.
	if (os_pread(fd, &header, sizeof(header), 0) != sizeof(header) ||
	    memcmp(header.e_ident, ELFMAG, SELFMAG) != 0)
		return error_new(ERROR_UNSUPPORTED, "the program of process %d is no ELF file",
		                 pid);
	*ret_machine = header.e_machine;
	*ret_word_bytes = header.e_ident[EI_CLASS] == ELFCLASS32 ? 4 : 8;
	return NULL;
}

// "NUMBER ARG*6 SP PC", "-1 SP PC" outside a system call, or "running" (fs/proc/base.c,
// proc_pid_syscall).
static bool where_parse(struct scan scan, uint64_t *ret_sp, uint64_t *ret_pc)
{
	uint64_t values[8], number;
	unsigned n = 0;
	bool outside = scan_word(&scan, "-1");

	if (!outside && !scan_number(&scan, 10, &number))
		return false;
	while (n < 8) {
		scan_blanks(&scan);
		if (!scan_word(&scan, "0x") || !scan_number(&scan, 16, &values[n]))
			break;
		n++;
	}
	if (n < 2 || (n != 8 && !outside))
		return false;
	*ret_sp = values[n - 2];
	*ret_pc = values[n - 1];
	return true;
}

bool os_thread_where(int pid, int tid, uint64_t *ret_sp, uint64_t *ret_pc)
{
	OS_DESCRIPTOR int fd = -1;
	char path[PROC_PATH_BYTES], text[256];
	size_t bytes;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/syscall", pid, tid);
	if (os_open(path, &fd))
		return false;
	bytes = os_pread(fd, text, sizeof(text), 0);
	return where_parse((struct scan){ text, text + bytes }, ret_sp, ret_pc);
}

int os_yama_scope(void)
{
	OS_DESCRIPTOR int fd = -1;
	char digit;

	if (os_open("/proc/sys/kernel/yama/ptrace_scope", &fd) || os_pread(fd, &digit, 1, 0) != 1)
		return -1;
	return digit - '0';
}

int os_own_pid(void)
{
	return getpid();
}

uint32_t os_own_uid(void)
{
	return geteuid();
}
