// SPDX-License-Identifier: MIT
// A program file before it is started: what kind of file it is, whether it gives other rights, and the
// start itself (os/os.h). The file is somebody else's: only what lies inside it is read.
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/text.h"
#include "os/os.h"

enum { HEAD_BYTES = 4096, LOADER_BYTES_MAX = 4096 };

static bool is_runnable(const char *path)
{
	struct stat status;

	return !stat(path, &status) && S_ISREG(status.st_mode) && !access(path, X_OK);
}

// As execvp looks it up.
static const char *find(struct arena *arena, const char *name)
{
	const char *list = getenv("PATH");

	if (strchr(name, '/'))
		return is_runnable(name) ? name : NULL;
	if (!list)
		list = "/bin:/usr/bin";
	for (;;) {
		size_t n = strcspn(list, ":");
		const char *path = n ? arena_format(arena, "%.*s/%s", (int)n, list, name) : name;

		if (is_runnable(path))
			return path;
		if (!list[n])
			return NULL;
		list += n + 1;
	}
}

// Whether the kernel would start it with rights that this user does not have, and so in secure mode
// (security/commoncap.c: for root, capabilities of a file change nothing).
static bool gives_rights(const char *path, const struct stat *status)
{
	if ((status->st_mode & S_ISUID) && status->st_uid != getuid())
		return true;
	if ((status->st_mode & S_ISGID) && (status->st_mode & S_IXGRP) &&
	    status->st_gid != getgid())
		return true;
	return getuid() && getxattr(path, "security.capability", NULL, 0) > 0;
}

static const char *loader_at(struct arena *arena, int fd, const Elf64_Phdr *header)
{
	size_t bytes = header->p_filesz < LOADER_BYTES_MAX ? header->p_filesz : LOADER_BYTES_MAX;
	char *text = arena_alloc(arena, bytes + 1);

	return os_pread(fd, text, bytes, header->p_offset) == bytes ? text : NULL;
}

static void read_elf(struct arena *arena, int fd, const Elf64_Ehdr *elf, struct os_program *ret)
{
	ret->is_elf = true;
	ret->is_native = elf->e_ident[EI_CLASS] == ELFCLASS64;
	for (size_t i = 0; ret->is_native && i < elf->e_phnum; i++) {
		Elf64_Phdr header;

		if (os_pread(fd, &header, sizeof(header), elf->e_phoff + i * sizeof(header)) !=
		    sizeof(header))
			return;
		if (header.p_type == PT_INTERP)
			ret->loader = loader_at(arena, fd, &header);
	}
}

// "#! /usr/bin/perl -w": the first word.
static void read_script(struct arena *arena, const char *head, struct os_program *ret)
{
	const char *word = head + 2 + strspn(head + 2, " \t");

	ret->interpreter = arena_copy_n(arena, word, strcspn(word, " \t\n"));
}

struct error *os_program_find(struct arena *arena, const char *name, struct os_program *ret)
{
	OS_DESCRIPTOR int fd = -1;
	char head[HEAD_BYTES] = { 0 };
	struct stat status;
	size_t n;

	*ret = (struct os_program){ .path = find(arena, name) };
	if (!ret->path && strchr(name, '/') && !access(name, F_OK))
		return error_new(ERROR_NOT_FOUND, "%s is no program: it is not executable", name);
	if (!ret->path)
		return error_new(ERROR_NOT_FOUND, "there is no program %s", name);
	if (stat(ret->path, &status))
		return error_system(errno, "cannot look at %s", ret->path);
	ret->gives_rights = gives_rights(ret->path, &status);
	ret->owner = status.st_uid;
	// A program that may be started but not read tells nothing more.
	if (access(ret->path, R_OK))
		return NULL;
	TRY(os_open(ret->path, &fd));
	ret->is_readable = true;
	n = os_pread(fd, head, sizeof(head) - 1, 0);
	if (n >= sizeof(Elf64_Ehdr) && !memcmp(head, ELFMAG, SELFMAG))
		read_elf(arena, fd, (const Elf64_Ehdr *)head, ret);
	else if (n > 2 && text_starts_with(head, "#!"))
		read_script(arena, head, ret);
	return NULL;
}

struct error *os_become(const char *const *words, const char *const *variables)
{
	for (; *variables; variables += 2)
		if (setenv(variables[0], variables[1], 1))
			return error_system(errno, "cannot set %s", variables[0]);
	execvp(words[0], (char *const *)words);
	return error_system(errno, "cannot start %s", words[0]);
}

const char *os_variable(const char *name)
{
	return getenv(name);
}

const char *os_absolute_path(struct arena *arena, const char *path)
{
	char folder[4096];

	if (path[0] == '/' || !getcwd(folder, sizeof(folder)))
		return path;
	return arena_format(arena, "%s/%s", folder, path);
}

int os_process_id(void)
{
	return (int)getpid();
}
