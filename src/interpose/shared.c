// SPDX-License-Identifier: MIT
// Shared memory objects, POSIX and System V: every call with its arguments, its result and the name of
// the object. The functions here are called by the program; what they tell, also by attach.c.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "interpose/interpose_impl.h"

// The result of a call that failed is its errno.
static void tell(uint32_t kind, int64_t result, uint64_t address, uint64_t bytes, uint32_t extra,
                 const char *text, const struct record_position *at)
{
	__typeof__(interpose_shared_hooks.called) told =
		__atomic_load_n(&interpose_shared_hooks.called, __ATOMIC_RELAXED);

	if (!told)
		return;
	if (result < 0)
		told(kind, address, bytes, RECORD_FAILED | (uint32_t)errno, text, at);
	else
		told(kind, address, bytes, extra, text, at);
}

// The file that is mapped, by the name that the kernel gives it.
void interpose_shared_map(void *address, size_t bytes, uint32_t extra, int fd,
                          const struct record_position *at)
{
	char link[48], name[RECORD_TEXT_BYTES];
	int saved = errno;
	long length = 0;

	if (extra & RECORD_VM_FILE) {
		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		length = syscall(SYS_readlinkat, AT_FDCWD, link, name, sizeof(name) - 1);
	}
	errno = saved;
	name[length > 0 ? length : 0] = '\0';
	tell(RECORD_SHM_MAP, 0, (uint64_t)address, bytes, extra, name[0] ? name : NULL, at);
}

#define NEXT(name)                                                \
	static __typeof__(&(name)) next;                          \
	const struct record_position at = RECORD_POSITION_HERE(); \
	if (!next)                                                \
	next = (__typeof__(next))interpose_next(#name)

// --- objects by name -----------------------------------------------------------------------------
int interpose_told_fd(uint32_t kind, int fd, const char *name, uint32_t flags,
                      const struct record_position *at)
{
	tell(kind, fd, (uint64_t)fd, 0, flags, name, at);
	return fd;
}

int interpose_told_unlink(int result, const char *name, const struct record_position *at)
{
	tell(RECORD_SHM_UNLINK, result, 0, 0, 0, name, at);
	return result;
}

INTERPOSE_EXPORT int shm_open(const char *name, int flags, mode_t mode)
{
	NEXT(shm_open);

	return interpose_told_fd(RECORD_SHM_OPEN, next(name, flags, mode), name, (uint32_t)flags,
	                         &at);
}

INTERPOSE_EXPORT int shm_unlink(const char *name)
{
	NEXT(shm_unlink);

	return interpose_told_unlink(next(name), name, &at);
}

INTERPOSE_EXPORT int memfd_create(const char *name, unsigned flags)
{
	NEXT(memfd_create);

	return interpose_told_fd(RECORD_MEMFD_CREATE, next(name, flags), name, flags, &at);
}

// --- System V ------------------------------------------------------------------------------------
int interpose_told_shmget(int id, key_t key, size_t bytes, int flags,
                          const struct record_position *at)
{
	char text[24];

	snprintf(text, sizeof(text), "key 0x%x", (unsigned)key);
	tell(RECORD_SHMGET, id, (uint64_t)id, bytes, (uint32_t)flags, text, at);
	return id;
}

static size_t segment_bytes(int id)
{
	struct shmid_ds segment = { 0 };

	return syscall(SYS_shmctl, id, IPC_STAT, &segment) < 0 ? 0 : segment.shm_segsz;
}

void *interpose_told_shmat(void *got, int id, int flags, const struct record_position *at)
{
	char text[24];

	snprintf(text, sizeof(text), "id %d", id);
	tell(RECORD_SHMAT, got == (void *)-1 ? -1 : 0, (uint64_t)got,
	     got == (void *)-1 ? 0 : segment_bytes(id), (uint32_t)flags, text, at);
	return got;
}

int interpose_told_shmdt(int result, const void *address, const struct record_position *at)
{
	tell(RECORD_SHMDT, result, (uint64_t)address, 0, 0, NULL, at);
	return result;
}

int interpose_told_shmctl(int result, int id, int command, const struct record_position *at)
{
	if (command == IPC_RMID)
		tell(RECORD_SHM_REMOVE, result, (uint64_t)id, 0, 0, NULL, at);
	return result;
}

INTERPOSE_EXPORT int shmget(key_t key, size_t bytes, int flags)
{
	NEXT(shmget);

	return interpose_told_shmget(next(key, bytes, flags), key, bytes, flags, &at);
}

INTERPOSE_EXPORT void *shmat(int id, const void *address, int flags)
{
	NEXT(shmat);

	return interpose_told_shmat(next(id, address, flags), id, flags, &at);
}

INTERPOSE_EXPORT int shmdt(const void *address)
{
	NEXT(shmdt);

	return interpose_told_shmdt(next(address), address, &at);
}

INTERPOSE_EXPORT int shmctl(int id, int command, struct shmid_ds *segment)
{
	NEXT(shmctl);

	return interpose_told_shmctl(next(id, command, segment), id, command, &at);
}
