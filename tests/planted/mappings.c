// SPDX-License-Identifier: MIT
/*
 * Blocks whose only pointer lies in memory that malloc does not know: mappings of every kind,
 * among them those that a forked copy of the process does not see as the process does.
 */
#include "plant.h"

#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>

enum { SIZE = 16 * 4096, SLOT = 3 * 4096 + 128 };

PLANT void *map(int prot, int flags, int fd)
{
	void *memory = mmap(NULL, SIZE, prot, flags, fd, 0);

	if (memory == MAP_FAILED)
		plant_fail("mmap");
	return memory;
}

PLANT void hold(void *mapping, const char *why)
{
	void *block = plant_block(240);

	truth_live(block, why);
	*(held_pointer *)((char *)mapping + SLOT) = block;
}

PLANT void plant_anonymous(void)
{
	void *memory = map(PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);

	hold(memory, "private anonymous mapping");
	hold(map(PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1),
	     "shared anonymous mapping");
	memory = map(PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	hold(memory, "anonymous mapping made read-only");
	mprotect(memory, SIZE, PROT_READ);
	memory = map(PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	hold(memory, "executable anonymous mapping");
}

PLANT int new_file(void)
{
	char path[] = "/tmp/planted-mapped-XXXXXX";
	int fd = mkstemp(path);

	if (fd < 0 || ftruncate(fd, SIZE))
		plant_fail("mapped file");
	unlink(path);
	return fd;
}

PLANT int new_memfd(void)
{
	int fd = memfd_create("planted", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, SIZE))
		plant_fail("memfd_create");
	return fd;
}

PLANT void plant_files(void)
{
	int fd = new_file();

	hold(map(PROT_READ | PROT_WRITE, MAP_SHARED, fd), "shared mapping of a deleted file");
	hold(map(PROT_READ | PROT_WRITE, MAP_PRIVATE, fd), "private mapping of a deleted file");
	close(fd);
	fd = new_memfd();
	hold(map(PROT_READ | PROT_WRITE, MAP_SHARED, fd), "memfd");
	close(fd);
}

// The page reaches the file through the descriptor only: no page table knows it yet.
PLANT void plant_untouched_memfd(void)
{
	int fd = new_memfd();
	void *block = plant_block(250);

	map(PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	truth_live(block, "memfd page never touched");
	if (pwrite(fd, &block, sizeof(block), SLOT) != sizeof(block))
		plant_fail("pwrite");
	close(fd);
}

PLANT void plant_system_v(void)
{
	int id = shmget(IPC_PRIVATE, SIZE, IPC_CREAT | 0600);
	void *memory = id < 0 ? (void *)-1 : shmat(id, NULL, 0);

	if (memory == (void *)-1)
		return;
	shmctl(id, IPC_RMID, NULL);
	hold(memory, "System V shared memory");
}

PLANT void plant_not_for_children(void)
{
	void *memory = map(PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);

	hold(memory, "mapping that a fork leaves out");
	if (madvise(memory, SIZE, MADV_DONTFORK))
		plant_fail("MADV_DONTFORK");
	memory = map(PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	hold(memory, "mapping that a fork wipes");
	if (madvise(memory, SIZE, MADV_WIPEONFORK))
		plant_fail("MADV_WIPEONFORK");
}

int main(int argc, char **argv)
{
	plant_open(argc, argv);
	plant_anonymous();
	plant_files();
	plant_untouched_memfd();
	plant_system_v();
	plant_not_for_children();
	for (int i = 0; i < 10; i++)
		plant_leak(320);
	plant_serve(NULL);
}
