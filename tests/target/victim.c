// SPDX-License-Identifier: MIT
// The programs that the tests of this folder look at. Each prints a line that
// says what is where, then "ready", and goes on until it is killed.
//
// usage: victim MODE [ARGUMENT]
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void ready(void)
{
	puts("ready");
	fflush(stdout);
}

static _Noreturn void wait_for_ever(void)
{
	for (;;)
		pause();
}

// --- contents: every kind of mapping, filled with a pattern that its first word tells -------------
#define PATTERN_BYTES  65536
#define BIG_FILE_BYTES (4u << 20)

static uint64_t data_words[PATTERN_BYTES / 8] = { 1 };
static uint64_t bss_words[PATTERN_BYTES / 8];

static void fill(void *memory, size_t bytes, uint64_t seed)
{
	uint64_t *words = memory;

	for (size_t i = 0; i < bytes / 8; i++)
		words[i] = seed * 0x9e3779b97f4a7c15u + i;
}

static void announce(const char *name, const void *memory, size_t bytes, uint64_t seed)
{
	printf("%s %lu %zu %lu\n", name, (unsigned long)(uintptr_t)memory, bytes,
	       (unsigned long)seed);
}

static void *map(size_t bytes, int flags, int fd)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, fd, 0);

	if (memory == MAP_FAILED)
		die("mmap");
	return memory;
}

// A file of zeros, unlinked, mapped privately, with one block in the middle written to.
static void private_file(const char *name, size_t bytes, uint64_t seed)
{
	char path[] = "/tmp/heapwright-victim-XXXXXX";
	int fd = mkstemp(path);
	char *memory;

	if (fd < 0 || ftruncate(fd, (off_t)bytes))
		die("file");
	unlink(path);
	if (pwrite(fd, "from the file", 13, 0) != 13)
		die("write");
	memory = map(bytes, MAP_PRIVATE, fd);
	fill(memory + bytes / 2, 4096, seed);
	announce(name, memory + bytes / 2, 4096, seed);
	printf("%s-head %lu 13 0\n", name, (unsigned long)(uintptr_t)memory);
}

// Shared memory whose contents came by write and were never touched through the mapping.
static void written_memfd(void)
{
	int fd = memfd_create("written", 0);
	uint64_t words[1024];

	fill(words, sizeof(words), 11);
	if (fd < 0 || ftruncate(fd, 1 << 20) ||
	    pwrite(fd, words, sizeof(words), 65536) != sizeof(words))
		die("memfd");
	announce("written", (char *)map(1 << 20, MAP_SHARED, fd) + 65536, sizeof(words), 11);
}

static void contents(void)
{
	uint64_t stack_words[512];
	char *memory;
	int fd;

	memory = map(PATTERN_BYTES, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	fill(memory, PATTERN_BYTES, 1);
	announce("anonymous", memory, PATTERN_BYTES, 1);
	memory = map(PATTERN_BYTES, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	fill(memory, PATTERN_BYTES, 2);
	mprotect(memory, PATTERN_BYTES, PROT_READ);
	announce("read-only", memory, PATTERN_BYTES, 2);
	memory = map(PATTERN_BYTES, MAP_SHARED | MAP_ANONYMOUS, -1);
	fill(memory, PATTERN_BYTES, 3);
	announce("shared", memory, PATTERN_BYTES, 3);
	fd = memfd_create("victim", 0);
	if (fd < 0 || ftruncate(fd, PATTERN_BYTES))
		die("memfd");
	memory = map(PATTERN_BYTES, MAP_SHARED, fd);
	fill(memory, PATTERN_BYTES, 4);
	announce("memfd", memory, PATTERN_BYTES, 4);
	written_memfd();
	private_file("small-file", 65536, 5);
	private_file("big-file", BIG_FILE_BYTES, 6);
	fill(data_words, PATTERN_BYTES, 7);
	announce("data", data_words, PATTERN_BYTES, 7);
	fill(bss_words, PATTERN_BYTES, 8);
	announce("bss", bss_words, PATTERN_BYTES, 8);
	memory = malloc(PATTERN_BYTES);
	fill(memory, PATTERN_BYTES, 9);
	announce("heap", memory, PATTERN_BYTES, 9);
	fill(stack_words, sizeof(stack_words), 10);
	announce("stack", stack_words, sizeof(stack_words), 10);
	ready();
	wait_for_ever();
}

// --- threads N: N idle threads; ended-main: the main thread has ended -------------------------------
static void *idle(void *argument)
{
	(void)argument;
	wait_for_ever();
}

static void threads(int count)
{
	pthread_attr_t attributes;
	pthread_t thread;

	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, 128 << 10);
	for (int i = 0; i < count; i++) {
		if (pthread_create(&thread, &attributes, idle, NULL))
			die("thread");
	}
	ready();
	wait_for_ever();
}

static void ended_main(void)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, idle, NULL))
		die("thread");
	ready();
	pthread_exit(NULL);
}

// --- births: threads that are made and end without pause -------------------------------------------
static void *nothing(void *argument)
{
	return argument;
}

static void births(void)
{
	ready();
	for (;;) {
		pthread_t thread;

		if (!pthread_create(&thread, NULL, nothing, NULL))
			pthread_join(thread, NULL);
	}
}

// --- signals: counts queued signals; SIGTERM prints the count and ends ------------------------------
static atomic_ulong taken;
static volatile sig_atomic_t ending;

static void take(int signal)
{
	(void)signal;
	atomic_fetch_add(&taken, 1);
}

static void end(int signal)
{
	(void)signal;
	ending = 1;
}

static void signals(void)
{
	struct sigaction action = { .sa_handler = take };

	sigaction(SIGRTMIN, &action, NULL);
	action.sa_handler = end;
	sigaction(SIGTERM, &action, NULL);
	ready();
	while (!ending)
		usleep(100);
	printf("%lu\n", (unsigned long)atomic_load(&taken));
	exit(0);
}

// --- churn: four threads allocate, fill, check and free; SIGTERM ends it with a word ----------------
static atomic_ulong rounds, wrong;

static void *churn_thread(void *argument)
{
	unsigned long x = (unsigned long)(uintptr_t)argument;

	while (!ending) {
		size_t words = 1 + (x = x * 6364136223846793005u + 1) % 500;
		unsigned long *block = malloc(words * sizeof(*block));

		for (size_t i = 0; i < words; i++)
			block[i] = x + i;
		for (size_t i = 0; i < words; i++)
			atomic_fetch_add(&wrong, block[i] != x + i);
		free(block);
		atomic_fetch_add(&rounds, 1);
	}
	return NULL;
}

static void churn(void)
{
	struct sigaction action = { .sa_handler = end };
	pthread_t all[4];

	sigaction(SIGTERM, &action, NULL);
	announce("rounds", &rounds, sizeof(rounds), 0);
	for (uintptr_t i = 0; i < 4; i++) {
		if (pthread_create(&all[i], NULL, churn_thread, (void *)(i + 1)))
			die("thread");
	}
	ready();
	for (int i = 0; i < 4; i++)
		pthread_join(all[i], NULL);
	printf("%s\n", wrong ? "wrong" : "right");
	exit(0);
}

// --- vfork: the parent sleeps uninterruptibly until the child, which sleeps, is killed --------------
static void vfork_parent(void)
{
	ready();
	if (!vfork()) {
		for (;;)
			pause();
	}
	wait_for_ever();
}

// --- restart: executes itself without pause ---------------------------------------------------------
static void restart(const char *count)
{
	char next[16];

	if (!strcmp(count, "0"))
		ready();
	snprintf(next, sizeof(next), "%d", atoi(count) + 1);
	execl("/proc/self/exe", "victim", "restart", next, (char *)NULL);
	die("exec");
}

// --- held: pointers that only the kernel holds ------------------------------------------------------
static void kernel_held(void)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u64 = 0x123456789abcdef0u };
	struct sigevent notice = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 };
	int epoll = epoll_create1(0), ends[2];
	timer_t timer;

	notice.sigev_value.sival_ptr = (void *)0x7654321000u;
	if (epoll < 0 || pipe(ends) || epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &event))
		die("epoll");
	if (timer_create(CLOCK_MONOTONIC, &notice, &timer))
		die("timer");
	ready();
	wait_for_ever();
}

// --- faults: shared memory whose faults a thread of the program has to let go on ---------------------
static void *serve_faults(void *argument)
{
	int faults = (int)(intptr_t)argument;
	struct uffd_msg message;

	while (read(faults, &message, sizeof(message)) == sizeof(message)) {
		struct uffdio_continue go = { .range = { message.arg.pagefault.address, 4096 } };

		ioctl(faults, UFFDIO_CONTINUE, &go);
	}
	return NULL;
}

static void faults(void)
{
	int faults = (int)syscall(SYS_userfaultfd, O_CLOEXEC), fd = memfd_create("faults", 0);
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_MINOR_SHMEM };
	struct uffdio_register all = { .mode = UFFDIO_REGISTER_MODE_MINOR };
	uint64_t words[PATTERN_BYTES / 8];
	pthread_t thread;

	if (faults < 0 || ioctl(faults, UFFDIO_API, &api) ||
	    !(api.features & UFFD_FEATURE_MINOR_SHMEM)) {
		puts("unsupported");
		ready();
		wait_for_ever();
	}
	fill(words, sizeof(words), 12);
	if (fd < 0 || pwrite(fd, words, sizeof(words), 0) != sizeof(words))
		die("memfd");
	all.range.len = PATTERN_BYTES;
	all.range.start = (uintptr_t)map(PATTERN_BYTES, MAP_SHARED, fd);
	if (ioctl(faults, UFFDIO_REGISTER, &all) ||
	    pthread_create(&thread, NULL, serve_faults, (void *)(intptr_t)faults))
		die("userfaultfd");
	announce("faults", (void *)(uintptr_t)all.range.start, PATTERN_BYTES, 12);
	ready();
	wait_for_ever();
}

// --- heap MEGABYTES: that much in small blocks -------------------------------------------------------
static void heap(size_t megabytes)
{
	for (size_t i = 0; i < megabytes << 14; i++)
		memset(malloc(40), 1, 40);
	ready();
	wait_for_ever();
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";
	const char *argument = argc > 2 ? argv[2] : "0";

	if (!strcmp(mode, "contents"))
		contents();
	else if (!strcmp(mode, "threads"))
		threads(atoi(argument));
	else if (!strcmp(mode, "ended-main"))
		ended_main();
	else if (!strcmp(mode, "births"))
		births();
	else if (!strcmp(mode, "signals"))
		signals();
	else if (!strcmp(mode, "churn"))
		churn();
	else if (!strcmp(mode, "vfork"))
		vfork_parent();
	else if (!strcmp(mode, "restart"))
		restart(argument);
	else if (!strcmp(mode, "held"))
		kernel_held();
	else if (!strcmp(mode, "faults"))
		faults();
	else if (!strcmp(mode, "heap"))
		heap((size_t)atoi(argument));
	else if (!strcmp(mode, "protected")) {
		prctl(PR_SET_DUMPABLE, 0);
		ready();
		wait_for_ever();
	} else if (!strcmp(mode, "idle")) {
		ready();
		wait_for_ever();
	}
	return 64;
}
