// SPDX-License-Identifier: MIT
// Pages for base's containers and big mappings for images, straight from mmap,
// so that this room serves both wings.
#include "os/os.h"

#include <sys/mman.h>
#include <unistd.h>

#include "base/checked.h"
#include "os/scan_impl.h"

#define HUGE_PAGE_BYTES ((size_t)2 << 20)
#define EXIT_EXHAUSTED  2

static void (*exhausted_handler)(void);

void os_on_exhausted(void (*handler)(void))
{
	exhausted_handler = handler;
}

static _Noreturn void exhausted(void)
{
	if (exhausted_handler)
		exhausted_handler();
	_exit(EXIT_EXHAUSTED);
}

size_t os_page_bytes(void)
{
	static size_t bytes;

	if (!bytes)
		bytes = (size_t)sysconf(_SC_PAGESIZE);
	return bytes;
}

static size_t whole_pages(size_t bytes)
{
	size_t page = os_page_bytes();

	if (bytes > SIZE_MAX - page)
		exhausted();
	return round_up(bytes, page);
}

static void *pages_map(size_t bytes)
{
	void *memory =
		mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		exhausted();
	return memory;
}

static void *pages_resize(void *old, size_t old_bytes, size_t new_bytes)
{
	void *memory;

	if (!new_bytes) {
		os_release(old, old_bytes);
		return NULL;
	}
	new_bytes = whole_pages(new_bytes);
	if (!old)
		return pages_map(new_bytes);
	old_bytes = whole_pages(old_bytes);
	if (old_bytes == new_bytes)
		return old;
	memory = mremap(old, old_bytes, new_bytes, MREMAP_MAYMOVE);
	if (memory == MAP_FAILED)
		exhausted();
	return memory;
}

const struct page_source os_page_source = { pages_resize };

void *os_reserve(size_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
	                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

void os_release(void *memory, size_t bytes)
{
	if (memory && bytes)
		munmap(memory, whole_pages(bytes));
}

void os_populate(void *memory, size_t bytes, bool huge)
{
	uintptr_t page = os_page_bytes();
	uintptr_t start = round_down((uintptr_t)memory, page);
	uintptr_t end = round_up((uintptr_t)memory + bytes, page);

	if (huge && end - start >= HUGE_PAGE_BYTES)
		madvise((void *)start, end - start, MADV_HUGEPAGE);
	madvise((void *)start, end - start, MADV_POPULATE_WRITE);
}

void os_prefer_huge(void *memory, size_t bytes)
{
	uintptr_t start = round_up((uintptr_t)memory, os_page_bytes());
	uintptr_t end = round_down((uintptr_t)memory + bytes, os_page_bytes());

	if (end > start)
		madvise((void *)start, end - start, MADV_HUGEPAGE);
}

uint64_t os_memory_available_bytes(void)
{
	OS_DESCRIPTOR int fd = -1;
	char text[4096];
	struct scan all, line;
	uint64_t kilobytes;

	if (os_open("/proc/meminfo", &fd))
		return UINT64_MAX;
	all = (struct scan){ text, text + os_pread(fd, text, sizeof(text), 0) };
	while (scan_line(&all, &line)) {
		if (!scan_word(&line, "MemAvailable:"))
			continue;
		scan_blanks(&line);
		return scan_number(&line, 10, &kilobytes) ? kilobytes << 10 : UINT64_MAX;
	}
	return UINT64_MAX;
}
