// SPDX-License-Identifier: MIT
// Facts about this machine and this program, as text for report headers.
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "os/os.h"

#define MOST_RELEASE_BYTES 65536

// PRETTY_NAME of /etc/os-release, without its quotes; NULL when there is none.
static const char *distribution(struct arena *arena)
{
	static const char key[] = "PRETTY_NAME=\"";
	char *text, *name;
	size_t bytes;

	if (os_read_text(arena, "/etc/os-release", MOST_RELEASE_BYTES, &text, &bytes))
		return NULL;
	name = strstr(text, key);
	if (!name)
		return NULL;
	name += strlen(key);
	return arena_copy_n(arena, name, strcspn(name, "\"\n"));
}

const char *os_host_name(struct arena *arena)
{
	struct utsname names;

	return uname(&names) ? "unknown" : arena_copy(arena, names.nodename);
}

const char *os_version_text(struct arena *arena)
{
	const char *name = distribution(arena);
	struct utsname kernel;

	if (uname(&kernel))
		return name ? name : "Linux";
	if (!name)
		return arena_format(arena, "%s %s", kernel.sysname, kernel.release);
	return arena_format(arena, "%s (%s %s)", name, kernel.sysname, kernel.release);
}

// The first CPU's "model name : ..." (arch/x86/kernel/cpu/proc.c); aarch64 has no such line.
const char *os_cpu_name(struct arena *arena)
{
	static const char key[] = "model name\t: ";
	OS_DESCRIPTOR int fd = -1;
	char text[4096], *name;

	if (os_open("/proc/cpuinfo", &fd))
		return "";
	text[os_pread(fd, text, sizeof(text) - 1, 0)] = '\0';
	name = strstr(text, key);
	if (!name)
		return "";
	name += strlen(key);
	return arena_copy_n(arena, name, strcspn(name, "\n"));
}

const char *os_self_path(struct arena *arena)
{
	const char *path;

	return os_read_link(arena, "/proc/self/exe", &path) ? "unknown" : path;
}
