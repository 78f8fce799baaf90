// SPDX-License-Identifier: MIT
// The mappings of a live process, and which of their pages are there. The
// structs of the two ioctls are those of Linux include/uapi/linux/fs.h (PAGEMAP_SCAN since 6.7,
// PROCMAP_QUERY since 6.11); they are written down here because older headers lack them.
#include "os/os.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "os/scan_impl.h"

// A program may have 65530 mappings (vm.max_map_count) and raise that; smaps takes about 1 KB each.
#define MAPS_TEXT_LIMIT ((size_t)4 << 30)
#define TRIES           5
#define TORN_TRIES      50
#define PROC_PATH_BYTES 64

// --- the list of mappings ------------------------------------------------------------------------
// A list whose borders move while the kernel writes it can overlap: what it writes at once fits
// together, and between two reads the process runs on (fs/proc/task_mmu.c). Then it is read again.
static bool is_torn(const struct error *error, unsigned try)
{
	return error && error->kind == ERROR_DAMAGED && try < TORN_TRIES;
}

static struct error *read_maps_once(struct arena *arena, int pid, const char *name,
                                    struct os_mapping **ret, size_t *ret_count)
{
	OS_DESCRIPTOR int fd = -1;
	char path[PROC_PATH_BYTES];
	struct maps_parser parser;
	struct error *error;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	TRY(os_open(path, &fd));
	maps_parser_begin(&parser, arena);
	error = scan_read_lines(fd, MAPS_TEXT_LIMIT, maps_parser_take, &parser);
	return maps_parser_end(&parser, error, ret, ret_count);
}

static struct error *read_maps(struct arena *arena, int pid, const char *name,
                               struct os_mapping **ret, size_t *ret_count)
{
	struct error *error;
	unsigned try = 0;

	do
		error = read_maps_once(arena, pid, name, ret, ret_count);
	while (is_torn(error, ++try));
	return error;
}

static bool same_mappings(const struct os_mapping *a, size_t a_count, const struct os_mapping *b,
                          size_t b_count)
{
	if (a_count != b_count)
		return false;
	for (size_t i = 0; i < a_count; i++) {
		if (a[i].start != b[i].start || a[i].end != b[i].end ||
		    a[i].protection != b[i].protection || a[i].inode != b[i].inode ||
		    a[i].offset != b[i].offset)
			return false;
	}
	return true;
}

// Reads the list with `name`, then plain maps until both agree.
static struct error *read_verified(struct arena *arena, int pid, const char *name,
                                   struct os_mapping **ret, size_t *ret_count, bool *ret_stable)
{
	struct arena scratch;
	struct error *error = NULL;

	*ret_stable = false;
	arena_init(&scratch, &os_page_source);
	for (unsigned try = 0; !error && !*ret_stable && try < TRIES; try++) {
		struct os_mapping *again;
		size_t again_count;

		error = read_maps(arena, pid, name, ret, ret_count);
		if (!error)
			error = read_maps(&scratch, pid, "maps", &again, &again_count);
		if (!error)
			*ret_stable = same_mappings(*ret, *ret_count, again, again_count);
	}
	arena_deinit(&scratch);
	return error;
}

struct error *os_mappings_read(struct arena *arena, int pid, bool counts, struct os_mapping **ret,
                               size_t *ret_count, bool *ret_stable)
{
	return read_verified(arena, pid, counts ? "smaps" : "maps", ret, ret_count, ret_stable);
}

struct error *os_mappings_read_once(struct arena *arena, int pid, struct os_mapping **ret,
                                    size_t *ret_count)
{
	return read_maps(arena, pid, "maps", ret, ret_count);
}

struct error *os_maps_read(struct arena *arena, int pid, struct os_maps_text *ret_text,
                           struct os_mapping **ret, size_t *ret_count)
{
	char path[PROC_PATH_BYTES];
	struct error *error;
	unsigned try = 0;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	do {
		TRY(os_read_text(arena, path, MAPS_TEXT_LIMIT, &ret_text->text, &ret_text->bytes));
		error = os_maps_parse(arena, ret_text->text, ret_text->bytes, ret, ret_count);
	} while (is_torn(error, ++try));
	return error;
}

bool os_maps_are(int pid, const char *text, size_t bytes)
{
	char path[PROC_PATH_BYTES];

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	return os_text_is(path, text, bytes);
}

struct procmap_query {
	uint64_t size, query_flags, query_addr;
	uint64_t vma_start, vma_end, vma_flags, vma_page_size, vma_offset, inode;
	uint32_t dev_major, dev_minor, vma_name_size, build_id_size;
	uint64_t vma_name_addr, build_id_addr;
};

#define PROCMAP_QUERY _IOWR('f', 17, struct procmap_query)

bool os_mapping_build_id(int maps, uint64_t address, uint8_t ret[32], uint8_t *ret_bytes)
{
	struct procmap_query query = {
		.size = sizeof(query),
		.query_addr = address,
		.build_id_size = 32,
		.build_id_addr = (uintptr_t)ret,
	};

	*ret_bytes = 0;
	if (ioctl(maps, PROCMAP_QUERY, &query) < 0 || query.build_id_size > 32)
		return false;
	*ret_bytes = (uint8_t)query.build_id_size;
	return true;
}

// --- present pages -------------------------------------------------------------------------------
struct page_region {
	uint64_t start, end, categories;
};

struct pm_scan_arg {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};

#define PAGEMAP_SCAN    _IOWR('f', 16, struct pm_scan_arg)
#define PAGE_IS_FILE    (1u << 2)
#define PAGE_IS_PRESENT (1u << 3)
#define PAGE_IS_SWAPPED (1u << 4)
#define PAGE_IS_PFNZERO (1u << 5)
#define PAGE_IS_GUARD   (1u << 8) // Linux 6.15; guards count as swapped too
#define SCAN_REGIONS    512

// Joins neighbours, but never with what an earlier call appended, whose caller counts its ranges.
static void add_range(struct os_ranges *ranges, size_t first, uint64_t start, uint64_t end)
{
	if (ranges->ranges.n > first && ranges->ranges.v[ranges->ranges.n - 1].end == start)
		ranges->ranges.v[ranges->ranges.n - 1].end = end;
	else
		vec_push(&ranges->ranges, ((struct os_range){ start, end }));
}

// Pages that have none of the categories `not`. Returns false when the kernel has no such ioctl, or
// does not know one of them; nothing is appended then.
static bool scan_by_ioctl(int pagemap, uint64_t start, uint64_t end, uint64_t not,
                          struct os_ranges *ret)
{
	struct page_region regions[SCAN_REGIONS];
	size_t first = ret->ranges.n;

	while (start < end) {
		struct pm_scan_arg arg = {
			.size = sizeof(arg),
			.start = start,
			.end = end,
			.vec = (uintptr_t)regions,
			.vec_len = SCAN_REGIONS,
			.category_inverted = not,
			.category_mask = not,
			.category_anyof_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
			.return_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
		};
		int count = ioctl(pagemap, PAGEMAP_SCAN, &arg);

		if (count < 0 || count > SCAN_REGIONS || arg.walk_end <= start) {
			ret->ranges.n = first;
			return false;
		}
		for (int i = 0; i < count; i++)
			add_range(ret, first, regions[i].start, regions[i].end);
		start = arg.walk_end;
	}
	return true;
}

// Documentation/admin-guide/mm/pagemap.rst
#define WORD_PRESENT (1ull << 63)
#define WORD_SWAPPED (1ull << 62)
#define WORD_FILE    (1ull << 61)
#define WORD_GUARD   (1ull << 58)
#define WORDS        4096

static struct error *scan_by_words(int pagemap, uint64_t start, uint64_t end,
                                   enum os_presence which, struct os_ranges *ret)
{
	uint64_t page = os_page_bytes(), words[WORDS];
	size_t first = ret->ranges.n;

	while (start < end) {
		uint64_t left = (end - start) / page;
		size_t want = (left < WORDS ? left : WORDS) * sizeof(words[0]);
		size_t got = os_pread(pagemap, words, want, start / page * sizeof(words[0]));

		// fs/proc/task_mmu.c, pagemap_read: nothing is read once the address space is gone, and
		// the descriptor stays that of the one that it was opened for.
		if (got < sizeof(words[0]))
			return error_at(ERROR_GONE, start,
			                "cannot tell which pages are present: the process ended or "
			                "became another program");
		for (size_t i = 0; i < got / sizeof(words[0]); i++, start += page) {
			if (words[i] & (WORD_PRESENT | WORD_SWAPPED) && !(words[i] & WORD_GUARD) &&
			    (which == OS_PRESENT || !(words[i] & WORD_FILE)))
				add_range(ret, first, start, start + page);
		}
	}
	return NULL;
}

bool os_present_ranges_at_once(int pagemap, uint64_t start, uint64_t end, enum os_presence which,
                               struct os_ranges *ret)
{
	uint64_t not = PAGE_IS_PFNZERO | (which == OS_PRESENT_OWN ? PAGE_IS_FILE : 0);

	return scan_by_ioctl(pagemap, start, end, not | PAGE_IS_GUARD, ret) ||
	       scan_by_ioctl(pagemap, start, end, not, ret);
}

struct error *os_present_ranges(int pagemap, uint64_t start, uint64_t end, enum os_presence which,
                                struct os_ranges *ret)
{
	if (os_present_ranges_at_once(pagemap, start, end, which, ret))
		return NULL;
	return scan_by_words(pagemap, start, end, which, ret);
}
