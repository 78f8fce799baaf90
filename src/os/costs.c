// SPDX-License-Identifier: MIT
// Makes many of one thing that the kernel keeps something for, in a child that then ends, and tells by how
// much the kernel's own counts (meminfo) grew. Called by accounts, which takes medians: whatever else the
// machine does meanwhile is in the difference.
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define MEMINFO_BYTES      8192
#define STACK_BYTES        ((size_t)16 << 10) // PTHREAD_STACK_MIN of the CPUs that we know
#define SETTLE_NS          30000000ull
#define LIBRARY_MAPPINGS   4
#define LIBRARY_FILE_PAGES 16
#define SPARE_DESCRIPTORS  64

static const char *const count_keys[OS_COST_COUNTS] = {
	[OS_COST_SLAB] = "Slab",
	[OS_COST_STACKS] = "KernelStack",
	[OS_COST_PAGE_TABLES] = "PageTables",
	[OS_COST_PERCPU] = "Percpu",
};

static bool counts_read(uint64_t ret[OS_COST_COUNTS])
{
	OS_DESCRIPTOR int refresh = -1, fd = -1;
	char text[MEMINFO_BYTES];
	size_t bytes;

	// Each CPU keeps back some of what it counted; reading this adds it up (mm/vmstat.c,
	// vmstat_refresh). Only root may, and the counts are coarser without.
	if (!os_open("/proc/sys/vm/stat_refresh", &refresh) && read(refresh, text, 1) < 0)
		return false;
	if (os_open("/proc/meminfo", &fd))
		return false;
	bytes = os_pread(fd, text, sizeof(text), 0);
	for (unsigned i = 0; i < OS_COST_COUNTS; i++)
		if (!os_counter_find(text, bytes, count_keys[i], &ret[i]))
			ret[i] = 0;
	return bytes;
}

// --- one of each ---------------------------------------------------------------------------------
static bool make_process(void)
{
	pid_t parent = getpid(), pid = fork();

	if (pid)
		return pid > 0;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (getppid() == parent)
		pause();
	_exit(0);
}

static void *wait_for_ever(void *context)
{
	for (;;)
		pause();
	return context;
}

// Of the lowest kind of priority: what else the machine does is not held up.
static void *run_for_ever(void *context)
{
	struct sched_param none = { 0 };

	sched_setscheduler(0, SCHED_IDLE, &none);
	for (;;)
		__asm__ volatile("");
	return context;
}

static bool make_thread_of(void *(*life)(void *context))
{
	pthread_attr_t attributes;
	pthread_t thread;
	bool made;

	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK_BYTES);
	pthread_attr_setguardsize(&attributes, 0);
	made = !pthread_create(&thread, &attributes, life, NULL);
	pthread_attr_destroy(&attributes);
	return made;
}

static bool make_thread(void)
{
	return make_thread_of(wait_for_ever);
}

static bool make_running_thread(void)
{
	return make_thread_of(run_for_ever);
}

// Neighbours differ in what may be done with them, so that the kernel does not join them.
static bool make_mapping(void)
{
	static bool odd;

	odd = !odd;
	return mmap(NULL, os_page_bytes(), odd ? PROT_READ : PROT_NONE,
	            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) != MAP_FAILED;
}

static bool make_pipe(void)
{
	int ends[2];

	return !pipe2(ends, O_CLOEXEC);
}

static bool make_file(void)
{
	return open("/dev/null", O_RDONLY | O_CLOEXEC) >= 0;
}

static bool make_local_socket(void)
{
	return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) >= 0;
}

static bool make_tcp_socket(void)
{
	return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) >= 0;
}

static bool make_udp_socket(void)
{
	return socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0) >= 0;
}

// A file with some pages in memory, as a library's is; the pages themselves are not the kernel's own.
static bool make_library(void)
{
	int fd = memfd_create("library", MFD_CLOEXEC);
	static const char page[4096] = { 1 };

	for (int i = 0; fd >= 0 && i < LIBRARY_FILE_PAGES; i++)
		if (write(fd, page, sizeof(page)) < 0)
			return false;
	return fd >= 0;
}

// As the loader maps a library: so many parts of a file, a page of each in use.
static bool use_library(void)
{
	static int fd = -1;
	size_t page = os_page_bytes();

	if (fd < 0)
		fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	for (int i = 0; i < LIBRARY_MAPPINGS; i++) {
		volatile char *part = mmap(NULL, page, i % 2 ? PROT_READ : PROT_READ | PROT_EXEC,
		                           MAP_PRIVATE, fd, 0);

		if (part == MAP_FAILED)
			return false;
		(void)part[0];
	}
	return true;
}

static const struct {
	bool (*make)(void);
	unsigned descriptors; // that one takes
} things[OS_COST_THINGS] = {
	[OS_COST_PROCESS] = { make_process, 0 },
	[OS_COST_THREAD] = { make_thread, 0 },
	[OS_COST_RUNNING] = { make_running_thread, 0 },
	[OS_COST_MAPPING] = { make_mapping, 0 },
	[OS_COST_PIPE] = { make_pipe, 2 },
	[OS_COST_FILE] = { make_file, 1 },
	[OS_COST_LOCAL_SOCKET] = { make_local_socket, 1 },
	[OS_COST_TCP_SOCKET] = { make_tcp_socket, 1 },
	[OS_COST_UDP_SOCKET] = { make_udp_socket, 1 },
	[OS_COST_LIBRARY] = { make_library, 1 },
	[OS_COST_LIBRARY_USE] = { use_library, 0 },
};

// --- the child -----------------------------------------------------------------------------------
static unsigned allow_descriptors(unsigned wanted)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return 0;
	if (limit.rlim_cur < wanted + SPARE_DESCRIPTORS) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	return limit.rlim_cur < SPARE_DESCRIPTORS ? 0
	                                          : (unsigned)limit.rlim_cur - SPARE_DESCRIPTORS;
}

static void measure(enum os_cost_thing thing, unsigned count, struct os_cost *ret)
{
	unsigned each = things[thing].descriptors;
	unsigned most = each ? allow_descriptors(count * each) / each : count;
	uint64_t before[OS_COST_COUNTS], after[OS_COST_COUNTS];

	// What the child before gave back is freed by and by, after a grace period of RCU.
	os_sleep_ns(SETTLE_NS);
	// The first of a kind may make what all others share.
	if (!things[thing].make() || !counts_read(before))
		return;
	while (ret->count < count && ret->count < most && things[thing].make())
		ret->count++;
	if (!counts_read(after))
		ret->count = 0;
	for (unsigned i = 0; i < OS_COST_COUNTS; i++)
		ret->bytes[i] = (int64_t)(after[i] - before[i]);
}

struct error *os_cost_measure(enum os_cost_thing thing, unsigned count, struct os_cost *ret)
{
	int ends[2];
	ssize_t got;
	pid_t pid;

	*ret = (struct os_cost){ 0 };
	if (pipe2(ends, O_CLOEXEC))
		return error_system(errno, "cannot make a pipe");
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		measure(thing, count, ret);
		_exit(write(ends[1], ret, sizeof(*ret)) != sizeof(*ret));
	}
	close(ends[1]);
	got = pid < 0 ? -1 : read(ends[0], ret, sizeof(*ret));
	close(ends[0]);
	if (pid < 0)
		return error_system(errno, "cannot start a process");
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	if (got != sizeof(*ret) || !ret->count)
		return error_new(ERROR_SYSTEM, "nothing could be made to be measured");
	return NULL;
}
