// SPDX-License-Identifier: MIT
// The lines of vm_stat in the order of macOS, and which counters of Linux mean the same. What Linux does
// not count has no counters, and says why. docs/vm-stat-on-linux.md is the long form of this table.
#include "machine/machine_impl.h"

#define COUNT_OF(...) \
	(sizeof((enum machine_counter[]){ __VA_ARGS__ }) / sizeof(enum machine_counter))
#define PLUS(...)  .plus = { __VA_ARGS__ }, .plus_count = COUNT_OF(__VA_ARGS__)
#define MINUS(...) .minus = { __VA_ARGS__ }, .minus_count = COUNT_OF(__VA_ARGS__)

const struct machine_line machine_lines[MACHINE_LINE_COUNT] = {
	{ .label = "Pages free",
	  .column = "free",
	  .name = "free_pages",
	  .old_name = "Pages free",
	  PLUS(MACHINE_FREE),
	  .formula = "nr_free_pages",
	  .meaning = "Pages on the free lists of all zones. --nodes shows the thresholds at which "
	             "the kernel begins to reclaim.",
	  .source = "mm/page_alloc.c" },
	{ .label = "Pages active",
	  .column = "active",
	  .name = "active_pages",
	  .old_name = "Pages active",
	  PLUS(MACHINE_ACTIVE_ANON, MACHINE_ACTIVE_FILE),
	  .formula = "nr_active_anon + nr_active_file",
	  .meaning = "Pages on the active lists: used not long ago.",
	  .source = "mm/vmscan.c" },
	{ .label = "Pages inactive",
	  .column = "inactive",
	  .name = "inactive_pages",
	  .old_name = "Pages inactive",
	  PLUS(MACHINE_INACTIVE_ANON, MACHINE_INACTIVE_FILE),
	  .formula = "nr_inactive_anon + nr_inactive_file",
	  .meaning = "Pages on the inactive lists: the next to be reclaimed. New file pages and, "
	             "in newer kernels, new anonymous ones begin here.",
	  .source = "mm/vmscan.c" },
	{ .label = "Pages speculative",
	  .column = "specul",
	  .name = "speculative_pages",
	  .meaning = "Linux puts pages that it read ahead on the inactive list and does not count "
	             "them apart.",
	  .source = "mm/readahead.c" },
	{ .label = "Pages throttled",
	  .column = "throttle",
	  .name = "throttled_pages",
	  .meaning =
	          "Linux makes those wait who dirty pages, and keeps no list of pages that wait.",
	  .source = "mm/page-writeback.c" },
	{ .label = "Pages wired down",
	  .column = "wired",
	  .name = "wired_pages",
	  .old_name = "Pages wired down",
	  PLUS(MACHINE_UNEVICTABLE, MACHINE_SLAB_UNRECLAIMABLE, MACHINE_KERNEL_STACK,
	       MACHINE_PAGE_TABLES, MACHINE_SECOND_PAGE_TABLES, MACHINE_PERCPU, MACHINE_HUGETLB),
	  .formula = "nr_unevictable + nr_slab_unreclaimable + KernelStack + nr_page_table_pages + "
	             "nr_sec_page_table_pages + Percpu + Hugetlb",
	  .meaning = "Memory that cannot be paged out: locked pages, and what the kernel uses and "
	             "counts. What drivers take without a counter, the kernel's own image and the "
	             "array of page structures are not in it.",
	  .source = "mm/vmstat.c, fs/proc/meminfo.c" },
	{ .label = "Pages purgeable",
	  .column = "prgable",
	  .name = "purgeable_pages",
	  PLUS(MACHINE_ACTIVE_FILE, MACHINE_INACTIVE_FILE, MACHINE_ISOLATED_FILE, MACHINE_SHMEM,
	       MACHINE_SWAP_CACHE),
	  MINUS(MACHINE_FILE),
	  .formula = "nr_active_file + nr_inactive_file + nr_isolated_file - (nr_file_pages - "
	             "nr_shmem - nr_swapcached)",
	  .meaning =
	          "Anonymous pages given to the kernel with MADV_FREE stand on the lists of file "
	          "pages; this is what those lists hold beyond the file cache. Pages that were "
	          "written to since count until reclaim looks at them; locked file pages and "
	          "pages on their way to a list make it too small.",
	  .source = "mm/swap.c (lru_lazyfree)" },
	{ .label = "\"Translation faults\"",
	  .column = "faults",
	  .name = "faults",
	  .is_total = true,
	  .old_name = "\"Translation faults\"",
	  PLUS(MACHINE_FAULTS),
	  .formula = "pgfault",
	  .meaning = "Page faults, soft and hard; pgmajfault counts the hard ones, which had to "
	             "read.",
	  .source = "mm/memory.c (mm_account_fault)" },
	{ .label = "Pages copy-on-write",
	  .column = "copy",
	  .name = "copied_pages",
	  .is_total = true,
	  .old_name = "Pages copy-on-write",
	  .meaning =
	          "Linux counts no copies (pgreuse counts those it could avoid, cow_ksm those of "
	          "merged pages).",
	  .source = "mm/memory.c (wp_page_copy)" },
	{ .label = "Pages zero filled",
	  .column = "0fill",
	  .name = "zero_filled_pages",
	  .is_total = true,
	  .old_name = "Pages zero filled",
	  .meaning = "Linux counts no pages that it filled with zeros.",
	  .source = "mm/memory.c (do_anonymous_page)" },
	{ .label = "Pages reactivated",
	  .column = "reactive",
	  .name = "reactivated_pages",
	  .is_total = true,
	  .old_name = "Pages reactivated",
	  PLUS(MACHINE_ACTIVATED),
	  .formula = "pgactivate",
	  .meaning = "Pages that went from the inactive to the active list.",
	  .source = "mm/swap.c (lru_activate)" },
	{ .label = "Pages purged",
	  .column = "purged",
	  .name = "purged_pages",
	  .is_total = true,
	  PLUS(MACHINE_LAZY_RECLAIMED),
	  .formula = "pglazyfreed",
	  .meaning = "Pages given with MADV_FREE that the kernel took.",
	  .source = "mm/vmscan.c (shrink_folio_list)" },
	{ .label = "File-backed pages",
	  .column = "file-backed",
	  .name = "file_backed_pages",
	  PLUS(MACHINE_FILE),
	  MINUS(MACHINE_SHMEM, MACHINE_SWAP_CACHE),
	  .formula = "nr_file_pages - nr_shmem - nr_swapcached",
	  .meaning = "The cache of files and block devices, mapped or not.",
	  .source = "mm/filemap.c" },
	{ .label = "Anonymous pages",
	  .column = "anonymous",
	  .name = "anonymous_pages",
	  PLUS(MACHINE_ANON, MACHINE_SHMEM),
	  .formula = "nr_anon_pages + nr_shmem",
	  .meaning = "Memory without a file: private, and shared memory and tmpfs.",
	  .source = "mm/rmap.c, mm/shmem.c" },
	{ .label = "Pages stored in compressor",
	  .column = "cmprssed",
	  .name = "compressor_stored_pages",
	  PLUS(MACHINE_ZSWAP_STORED, MACHINE_ZRAM_STORED),
	  .formula = "Zswapped + orig_data_size of zram",
	  .meaning = "What zswap and the zram devices used as swap hold, before compression.",
	  .source = "mm/zswap.c, drivers/block/zram" },
	{ .label = "Pages occupied by compressor",
	  .column = "cmprssor",
	  .name = "compressor_occupied_pages",
	  PLUS(MACHINE_ZSWAP_OCCUPIED, MACHINE_ZRAM_OCCUPIED),
	  .formula = "Zswap + mem_used_total of zram",
	  .meaning = "The memory that this takes.",
	  .source = "mm/zswap.c, drivers/block/zram" },
	{ .label = "Decompressions",
	  .column = "dcomprs",
	  .name = "decompressions",
	  .is_total = true,
	  PLUS(MACHINE_ZSWAP_IN, MACHINE_ZRAM_READ),
	  .formula = "zswpin + sectors read from zram",
	  .meaning = "Pages that came back from the compressor.",
	  .source = "mm/zswap.c (zswap_load)" },
	{ .label = "Compressions",
	  .column = "comprs",
	  .name = "compressions",
	  .is_total = true,
	  PLUS(MACHINE_ZSWAP_OUT, MACHINE_ZRAM_WRITTEN),
	  .formula = "zswpout + sectors written to zram",
	  .meaning = "Pages that went to the compressor.",
	  .source = "mm/zswap.c (zswap_store)" },
	{ .label = "Pageins",
	  .column = "pageins",
	  .name = "pageins",
	  .is_total = true,
	  .old_name = "Pageins",
	  PLUS(MACHINE_PAGED_IN),
	  .formula = "pgpgin / page size",
	  .meaning = "What was read from block devices, files and swap alike, in pages. Network "
	             "file systems are not in it.",
	  .source = "block/blk-core.c (submit_bio)" },
	{ .label = "Pageouts",
	  .column = "pageout",
	  .name = "pageouts",
	  .is_total = true,
	  .old_name = "Pageouts",
	  PLUS(MACHINE_PAGED_OUT),
	  .formula = "pgpgout / page size",
	  .meaning = "What was written to block devices, in pages; ordinary writes to files too.",
	  .source = "block/blk-core.c (submit_bio)" },
	{ .label = "Swapins",
	  .column = "swapins",
	  .name = "swapins",
	  .is_total = true,
	  PLUS(MACHINE_SWAPPED_IN),
	  .formula = "pswpin",
	  .meaning = "Pages read from swap devices; zram is one, zswap is not.",
	  .source = "mm/page_io.c" },
	{ .label = "Swapouts",
	  .column = "swapouts",
	  .name = "swapouts",
	  .is_total = true,
	  PLUS(MACHINE_SWAPPED_OUT),
	  .formula = "pswpout",
	  .meaning = "Pages written to swap devices; zram is one, zswap is not.",
	  .source = "mm/page_io.c" },
};

bool machine_line_value(const struct machine_line *line, const struct machine_counters *counters,
                        uint64_t page_bytes, uint64_t *ret)
{
	bool events =
		line->plus_count && machine_counter_rows[line->plus[0]].unit == MACHINE_UNIT_EVENTS;
	uint64_t plus, minus;
	bool known, ignored;

	plus = machine_sum(counters, page_bytes, line->plus, line->plus_count, &known);
	minus = machine_sum(counters, page_bytes, line->minus, line->minus_count, &ignored);
	if (!known || !counters->is_known[line->plus[0]])
		return false;
	*ret = plus > minus ? plus - minus : 0;
	if (!events && page_bytes)
		*ret /= page_bytes;
	return true;
}
