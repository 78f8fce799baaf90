// SPDX-License-Identifier: MIT
/*
 * A process with one mapping of every kind. It prints "NAME ADDRESS BYTES" for each, "pid" and
 * "ready", then answers "change" (one mapping goes, one comes, two change) and "ping" on its stdin.
 * The only argument is a folder for its files. Used by test-vmmap-*.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif
#ifndef PR_SET_VMA
#define PR_SET_VMA           0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

enum { PAGES = 8, PAGE = 4096, BYTES = PAGES * PAGE };

static volatile char sum;
static pthread_barrier_t started;
static char *zero, *private_memory, *vanishing;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void tell(const char *name, void *memory, size_t bytes)
{
	printf("%s %p %zu\n", name, memory, bytes);
}

// No two of our mappings may become one: each gets a page without access behind it.
static char *map(const char *name, int protection, int flags, int fd)
{
	char *room = mmap(NULL, BYTES + PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *memory;

	if (room == MAP_FAILED)
		die("mmap");
	memory = mmap(room, BYTES, protection, flags | MAP_FIXED, fd, 0);
	if (memory == MAP_FAILED)
		die("mmap");
	tell(name, memory, BYTES);
	return memory;
}

static void write_pages(char *memory, int pages)
{
	for (int i = 0; i < pages; i++)
		memory[i * PAGE] = 1;
}

static void read_pages(char *memory, int pages)
{
	for (int i = 0; i < pages; i++)
		sum += memory[i * PAGE];
}

static int new_file(const char *folder, const char *name)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || ftruncate(fd, BYTES))
		die(path);
	return fd;
}

static int new_memfd(void)
{
	int fd = memfd_create("ring", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, BYTES))
		die("memfd_create");
	return fd;
}

// A relative that shares the first mapping (copy on write) and the pages of one memory file.
static void start_child(int fd)
{
	char *memory;
	int ends[2];
	char byte;

	if (pipe(ends))
		die("pipe");
	if (fork()) {
		if (read(ends[0], &byte, 1) != 1)
			die("child");
		return;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	memory = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	read_pages(memory, PAGES);
	if (write(ends[1], "x", 1) == 1)
		for (;;)
			pause();
	_exit(1);
}

static void map_anonymous(void)
{
	const int rw = PROT_READ | PROT_WRITE, anonymous = MAP_PRIVATE | MAP_ANONYMOUS;
	char *memory;

	zero = map("zero", rw, anonymous, -1);
	private_memory = map("private", rw, anonymous, -1);
	write_pages(private_memory, PAGES);
	vanishing = map("vanishing", rw, anonymous, -1);
	write_pages(vanishing, 1);
	map("none", PROT_NONE, anonymous, -1);
	write_pages(map("shared", rw, MAP_SHARED | MAP_ANONYMOUS, -1), PAGES);
	memory = map("locked", rw, anonymous, -1);
	if (mlock(memory, PAGE * 2) == 0)
		mlock(memory, BYTES);
	memory = map("dontfork", rw, anonymous, -1);
	madvise(memory, BYTES, MADV_DONTFORK);
	memory = map("guarded", rw, anonymous, -1); // as the stacks of glibc 2.42 and later are
	write_pages(memory, PAGES);
	madvise(memory, PAGE, MADV_GUARD_INSTALL);
	memory = map("named", rw, anonymous, -1);
	write_pages(memory, 1);
	prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, memory, BYTES, "our cache");
}

static void map_files(const char *folder)
{
	const int rw = PROT_READ | PROT_WRITE;
	int fd = new_file(folder, "plain");

	read_pages(map("file_read", PROT_READ, MAP_PRIVATE, fd), PAGES);
	map("file_untouched", PROT_READ, MAP_PRIVATE, new_file(folder, "untouched"));
	write_pages(map("file_partly_written", rw, MAP_PRIVATE, fd), 3);
	read_pages(map("file_partly_read", rw, MAP_PRIVATE, new_file(folder, "partly")), PAGES);
	write_pages(map("file_all_written", rw, MAP_PRIVATE, fd), PAGES);
	write_pages(map("file_shared", rw, MAP_SHARED, new_file(folder, "shared")), 2);
	read_pages(map("file_hostile", PROT_READ, MAP_PRIVATE,
	               new_file(folder, "red \033[31m\xff new\nline")),
	           1);
}

static void map_aliases(int shared_fd)
{
	const int rw = PROT_READ | PROT_WRITE;
	int fd = new_memfd();

	write_pages(map("memfd", rw, MAP_SHARED, new_memfd()), 1);
	write_pages(map("alias_one", rw, MAP_SHARED, fd), PAGES);
	read_pages(map("alias_two", rw, MAP_SHARED, fd), PAGES);
	write_pages(map("shared_alias_one", rw, MAP_SHARED, shared_fd), PAGES);
	read_pages(map("shared_alias_two", rw, MAP_SHARED, shared_fd), PAGES);
}

static void *waits(void *argument)
{
	tell("thread", (void *)&argument, 1);
	pthread_barrier_wait(&started);
	for (;;)
		pause();
	return argument;
}

static void *ends(void *argument)
{
	return argument;
}

static void start_threads(void)
{
	pthread_t live, ended[2];

	pthread_barrier_init(&started, NULL, 2);
	if (pthread_create(&ended[0], NULL, ends, NULL) || pthread_create(&live, NULL, waits, NULL))
		die("pthread_create");
	pthread_barrier_wait(&started);
	pthread_join(ended[0], NULL);
}

static void change(void)
{
	munmap(vanishing, BYTES);
	write_pages(map("appearing", PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1), 2);
	write_pages(zero, 3);
	mprotect(private_memory, BYTES, PROT_READ);
}

int main(int argc, char **argv)
{
	char line[64];
	int shared_fd = new_memfd();
	char *relative = map("relative", PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);

	if (argc != 2)
		return 64;
	setvbuf(stdout, NULL, _IOLBF, 0);
	write_pages(relative, PAGES);
	start_child(shared_fd);
	map_anonymous();
	map_files(argv[1]);
	map_aliases(shared_fd);
	tell("big_block", memset(malloc(1 << 20), 1, 1 << 20), 1 << 20);
	tell("small_block", strdup("small"), 6);
	start_threads();
	printf("pid %d\nready\n", (int)getpid());
	while (fgets(line, sizeof(line), stdin)) {
		if (strcmp(line, "change\n") == 0)
			change();
		puts("pong");
	}
	return 0;
}
