// SPDX-License-Identifier: MIT
/*
 * What every planted program shares: it plants blocks, writes the truth about each of them into
 * the file named by argv[1], says "ready" and then answers commands on stdin until it is closed.
 *
 * A planted program must not hold the leaked addresses anywhere, so truth lines leave by write(2)
 * at once, planting happens in PLANT functions (never inlined), and scrub() wipes the stack and
 * the registers that they used. The addresses in the truth file are text, which is no reference.
 *
 * Truth lines (sizes are malloc_usable_size):
 *   leak direct 0xADDR SIZE          nothing but leaked memory (if anything) refers to it
 *   leak indirect 0xADDR SIZE 0xROOT reachable from the leaked ROOT only
 *   leak cycle 0xADDR SIZE 0xMEMBER  part of a ring; MEMBER is the same for all blocks of the ring
 *   live 0xADDR SIZE WHY             must not be reported
 *   held 0xADDR SIZE WHY             held by the kernel only: live, but a core cannot tell
 *   freed 0xADDR SIZE WHERE          must not be reported
 *   hidden 0xADDR SIZE WHY           live, but by arithmetic or stale memory: either answer is right
 *   damaged 0xADDR SIZE              its header was overwritten; the heap walk must say so
 */
#ifndef PLANT_H
#define PLANT_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <fcntl.h>
#include <malloc.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PLANT __attribute__((noinline, unused)) static

// Written and never read: without volatile the compiler drops the stores and plants more leaks.
typedef void *volatile held_pointer;

static int plant_truth_fd = -1;
static volatile unsigned char plant_scrub_sink;

PLANT void plant_fail(const char *what)
{
	perror(what);
	exit(3);
}

// Wipes the dead stack below the caller and the registers that a called function may change.
PLANT void scrub(void)
{
	volatile unsigned char dead[48 * 1024];

	for (size_t i = 0; i < sizeof(dead); i++)
		dead[i] = 0;
	plant_scrub_sink = dead[sizeof(dead) / 2];
#if defined(__x86_64__)
	__asm__ volatile("xor %%ecx, %%ecx\n\txor %%edx, %%edx\n\txor %%esi, %%esi\n\t"
	                 "xor %%edi, %%edi\n\txor %%r8d, %%r8d\n\txor %%r9d, %%r9d\n\t"
	                 "xor %%r10d, %%r10d\n\txor %%r11d, %%r11d" ::
	                         : "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11");
	if (__builtin_cpu_supports("avx"))
		__asm__ volatile(".byte 0xc5, 0xfc, 0x77" ::: "memory"); // vzeroall
#endif
}

PLANT void plant_open(int argc, char **argv)
{
	if (argc < 2) {
		fprintf(stderr, "usage: %s TRUTH-FILE\n", argv[0]);
		exit(64);
	}
	plant_truth_fd = open(argv[1], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (plant_truth_fd < 0)
		plant_fail(argv[1]);
}

PLANT void plant_line(const char *kind, const void *block, size_t size, const void *root,
                      const char *why)
{
	char line[200];
	int n = snprintf(line, sizeof(line), "%s 0x%zx %zu", kind, (size_t)block, size);

	if (root)
		n += snprintf(line + n, sizeof(line) - n, " 0x%zx", (size_t)root);
	if (why)
		n += snprintf(line + n, sizeof(line) - n, " %s", why);
	line[n++] = '\n';
	if (write(plant_truth_fd, line, n) != n)
		plant_fail("truth file");
}

// A block whose every usable byte is set, so that no stale pointer is left in it.
PLANT void *plant_filled(void *block)
{
	if (!block)
		plant_fail("malloc");
	memset(block, 0x11, malloc_usable_size(block));
	return block;
}

PLANT void *plant_block(size_t size)
{
	return plant_filled(malloc(size));
}

PLANT void truth_direct(const void *block)
{
	plant_line("leak direct", block, malloc_usable_size((void *)block), NULL, NULL);
}

PLANT void truth_indirect(const void *block, const void *root)
{
	plant_line("leak indirect", block, malloc_usable_size((void *)block), root, NULL);
}

PLANT void truth_cycle(const void *block, const void *member)
{
	plant_line("leak cycle", block, malloc_usable_size((void *)block), member, NULL);
}

PLANT void truth_live(const void *block, const char *why)
{
	plant_line("live", block, malloc_usable_size((void *)block), NULL, why);
}

PLANT void truth_held(const void *block, const char *why)
{
	plant_line("held", block, malloc_usable_size((void *)block), NULL, why);
}

PLANT void truth_hidden(const void *block, const char *why)
{
	plant_line("hidden", block, malloc_usable_size((void *)block), NULL, why);
}

// Writes the line before the block is freed; frees it too.
PLANT void truth_freed(void *block, const char *where)
{
	plant_line("freed", block, malloc_usable_size(block), NULL, where);
	free(block);
}

PLANT void plant_leak(size_t size)
{
	truth_direct(plant_block(size));
}

// An ended thread is seen from outside for some moments more; nlink counts the tasks.
PLANT void plant_wait_for_threads(unsigned count)
{
	struct stat tasks;

	do {
		sched_yield();
		if (stat("/proc/self/task", &tasks))
			plant_fail("/proc/self/task");
	} while (tasks.st_nlink != count + 2);
}

// Text that leaves without stdio: its buffer would be one more block in the heap.
PLANT void plant_say(const char *text)
{
	if (write(1, text, strlen(text)) != (ssize_t)strlen(text))
		exit(3);
}

// Reads one line; returns 0 at the end of input.
PLANT int plant_read_line(char *line, size_t size)
{
	size_t n = 0;

	while (n + 1 < size) {
		ssize_t got = read(0, line + n, 1);

		if (got == 0)
			return 0;
		if (got < 0)
			continue;
		if (line[n] == '\n')
			break;
		n++;
	}
	line[n] = 0;
	return 1;
}

PLANT void plant_answer(int (*check)(void))
{
	char line[64];

	while (plant_read_line(line, sizeof(line))) {
		if (!strcmp(line, "ping"))
			plant_say("pong\n");
		else if (!strcmp(line, "check"))
			plant_say(!check || check() ? "checksum ok\n" : "checksum WRONG\n");
		else if (!strcmp(line, "quit"))
			break;
	}
}

// Says ready, then answers `ping` with `pong` and `check` with the program's own verdict. The
// frames that stay are made after the scrubbing, so that nothing stale shines through them.
PLANT void plant_serve(int (*check)(void))
{
	scrub();
	plant_say("ready\n");
	plant_answer(check);
	// No exit handlers: memory stays as planted for a tool that looks at the exit.
	_exit(0);
}

#endif
