// SPDX-License-Identifier: MIT
// The counters of the kernel that we know, one row each: who reads, shows or exports them goes by this
// table. A row: X(identifier, file, key, unit, kind, name).
//
// file: VMSTAT is /proc/vmstat (Linux mm/vmstat.c, vmstat_text), MEMINFO /proc/meminfo
// (fs/proc/meminfo.c), ZRAM the sum over the zram devices that are swap (drivers/block/zram/zram_drv.c).
// unit: PAGES, BYTES (what the kernel tells in kB was multiplied) or EVENTS.
// kind: GAUGE is a state, TOTAL a number since boot that only grows.
// name: of the JSON member and of the metric, without the unit.
#pragma once

// clang-format off
#define MACHINE_COUNTERS(X) \
	X(FREE, VMSTAT, "nr_free_pages", PAGES, GAUGE, "free") \
	X(ACTIVE_ANON, VMSTAT, "nr_active_anon", PAGES, GAUGE, "active_anonymous") \
	X(INACTIVE_ANON, VMSTAT, "nr_inactive_anon", PAGES, GAUGE, "inactive_anonymous") \
	X(ACTIVE_FILE, VMSTAT, "nr_active_file", PAGES, GAUGE, "active_file") \
	X(INACTIVE_FILE, VMSTAT, "nr_inactive_file", PAGES, GAUGE, "inactive_file") \
	X(UNEVICTABLE, VMSTAT, "nr_unevictable", PAGES, GAUGE, "unevictable") \
	X(MLOCKED, VMSTAT, "nr_mlock", PAGES, GAUGE, "locked") \
	X(ISOLATED_ANON, VMSTAT, "nr_isolated_anon", PAGES, GAUGE, "isolated_anonymous") \
	X(ISOLATED_FILE, VMSTAT, "nr_isolated_file", PAGES, GAUGE, "isolated_file") \
	X(ANON, VMSTAT, "nr_anon_pages", PAGES, GAUGE, "anonymous") \
	X(MAPPED, VMSTAT, "nr_mapped", PAGES, GAUGE, "mapped_file") \
	X(FILE, VMSTAT, "nr_file_pages", PAGES, GAUGE, "file_cache") \
	X(SHMEM, VMSTAT, "nr_shmem", PAGES, GAUGE, "shared_memory") \
	X(SWAP_CACHE, VMSTAT, "nr_swapcached", PAGES, GAUGE, "swap_cache") \
	X(DIRTY, VMSTAT, "nr_dirty", PAGES, GAUGE, "dirty") \
	X(WRITEBACK, VMSTAT, "nr_writeback", PAGES, GAUGE, "writeback") \
	X(SLAB_RECLAIMABLE, VMSTAT, "nr_slab_reclaimable", PAGES, GAUGE, "slab_reclaimable") \
	X(SLAB_UNRECLAIMABLE, VMSTAT, "nr_slab_unreclaimable", PAGES, GAUGE, "slab_unreclaimable") \
	X(KERNEL_STACK, MEMINFO, "KernelStack", BYTES, GAUGE, "kernel_stack") \
	X(PAGE_TABLES, VMSTAT, "nr_page_table_pages", PAGES, GAUGE, "page_table") \
	X(SECOND_PAGE_TABLES, VMSTAT, "nr_sec_page_table_pages", PAGES, GAUGE, "secondary_page_table") \
	X(PERCPU, MEMINFO, "Percpu", BYTES, GAUGE, "percpu") \
	X(HUGETLB, MEMINFO, "Hugetlb", BYTES, GAUGE, "hugetlb") \
	X(TOTAL, MEMINFO, "MemTotal", BYTES, GAUGE, "memory_size") \
	X(AVAILABLE, MEMINFO, "MemAvailable", BYTES, GAUGE, "available") \
	X(BUFFERS, MEMINFO, "Buffers", BYTES, GAUGE, "buffers") \
	X(COMMITTED, MEMINFO, "Committed_AS", BYTES, GAUGE, "committed") \
	X(COMMIT_LIMIT, MEMINFO, "CommitLimit", BYTES, GAUGE, "commit_limit") \
	X(SWAP_TOTAL, MEMINFO, "SwapTotal", BYTES, GAUGE, "swap_size") \
	X(SWAP_FREE, MEMINFO, "SwapFree", BYTES, GAUGE, "swap_free") \
	X(ZSWAP_OCCUPIED, MEMINFO, "Zswap", BYTES, GAUGE, "zswap_occupied") \
	X(ZSWAP_STORED, MEMINFO, "Zswapped", BYTES, GAUGE, "zswap_stored") \
	X(ZRAM_STORED, ZRAM, "orig_data_size", BYTES, GAUGE, "zram_stored") \
	X(ZRAM_OCCUPIED, ZRAM, "mem_used_total", BYTES, GAUGE, "zram_occupied") \
	X(ZRAM_READ, ZRAM, "stat", BYTES, TOTAL, "zram_read") \
	X(ZRAM_WRITTEN, ZRAM, "stat", BYTES, TOTAL, "zram_written") \
	X(THP_ANON, MEMINFO, "AnonHugePages", BYTES, GAUGE, "huge_anonymous") \
	X(THP_SHMEM, MEMINFO, "ShmemHugePages", BYTES, GAUGE, "huge_shared_memory") \
	X(THP_FILE, MEMINFO, "FileHugePages", BYTES, GAUGE, "huge_file") \
	X(HUGE_TOTAL, MEMINFO, "HugePages_Total", EVENTS, GAUGE, "hugetlb_pages") \
	X(HUGE_FREE, MEMINFO, "HugePages_Free", EVENTS, GAUGE, "hugetlb_pages_free") \
	X(HUGE_SIZE, MEMINFO, "Hugepagesize", BYTES, GAUGE, "hugetlb_page_size") \
	X(FAULTS, VMSTAT, "pgfault", EVENTS, TOTAL, "faults") \
	X(MAJOR_FAULTS, VMSTAT, "pgmajfault", EVENTS, TOTAL, "hard_faults") \
	X(ACTIVATED, VMSTAT, "pgactivate", PAGES, TOTAL, "activated") \
	X(DEACTIVATED, VMSTAT, "pgdeactivate", PAGES, TOTAL, "deactivated") \
	X(REUSED, VMSTAT, "pgreuse", PAGES, TOTAL, "copies_avoided") \
	X(LAZY_FREED, VMSTAT, "pglazyfree", PAGES, TOTAL, "lazily_freed") \
	X(LAZY_RECLAIMED, VMSTAT, "pglazyfreed", PAGES, TOTAL, "lazily_freed_reclaimed") \
	X(PAGED_IN, VMSTAT, "pgpgin", BYTES, TOTAL, "block_read") \
	X(PAGED_OUT, VMSTAT, "pgpgout", BYTES, TOTAL, "block_written") \
	X(SWAPPED_IN, VMSTAT, "pswpin", PAGES, TOTAL, "swapped_in") \
	X(SWAPPED_OUT, VMSTAT, "pswpout", PAGES, TOTAL, "swapped_out") \
	X(ZSWAP_IN, VMSTAT, "zswpin", PAGES, TOTAL, "zswap_in") \
	X(ZSWAP_OUT, VMSTAT, "zswpout", PAGES, TOTAL, "zswap_out") \
	X(ZSWAP_WRITEBACK, VMSTAT, "zswpwb", PAGES, TOTAL, "zswap_written_back") \
	X(SCAN_KSWAPD, VMSTAT, "pgscan_kswapd", PAGES, TOTAL, "scanned_background") \
	X(SCAN_DIRECT, VMSTAT, "pgscan_direct", PAGES, TOTAL, "scanned_direct") \
	X(SCAN_KHUGEPAGED, VMSTAT, "pgscan_khugepaged", PAGES, TOTAL, "scanned_khugepaged") \
	X(SCAN_PROACTIVE, VMSTAT, "pgscan_proactive", PAGES, TOTAL, "scanned_proactive") \
	X(STEAL_KSWAPD, VMSTAT, "pgsteal_kswapd", PAGES, TOTAL, "reclaimed_background") \
	X(STEAL_DIRECT, VMSTAT, "pgsteal_direct", PAGES, TOTAL, "reclaimed_direct") \
	X(STEAL_KHUGEPAGED, VMSTAT, "pgsteal_khugepaged", PAGES, TOTAL, "reclaimed_khugepaged") \
	X(STEAL_PROACTIVE, VMSTAT, "pgsteal_proactive", PAGES, TOTAL, "reclaimed_proactive") \
	X(SLABS_SCANNED, VMSTAT, "slabs_scanned", EVENTS, TOTAL, "slabs_scanned") \
	X(REFAULT_ANON, VMSTAT, "workingset_refault_anon", PAGES, TOTAL, "refaulted_anonymous") \
	X(REFAULT_FILE, VMSTAT, "workingset_refault_file", PAGES, TOTAL, "refaulted_file") \
	X(REACTIVATE_ANON, VMSTAT, "workingset_activate_anon", PAGES, TOTAL, "refaulted_hot_anonymous") \
	X(REACTIVATE_FILE, VMSTAT, "workingset_activate_file", PAGES, TOTAL, "refaulted_hot_file") \
	X(RESTORE_ANON, VMSTAT, "workingset_restore_anon", PAGES, TOTAL, "restored_anonymous") \
	X(RESTORE_FILE, VMSTAT, "workingset_restore_file", PAGES, TOTAL, "restored_file") \
	X(OOM_KILLS, VMSTAT, "oom_kill", EVENTS, TOTAL, "oom_kills") \
	X(STALL_DMA, VMSTAT, "allocstall_dma", EVENTS, TOTAL, "allocation_stalls_dma") \
	X(STALL_DMA32, VMSTAT, "allocstall_dma32", EVENTS, TOTAL, "allocation_stalls_dma32") \
	X(STALL_NORMAL, VMSTAT, "allocstall_normal", EVENTS, TOTAL, "allocation_stalls_normal") \
	X(STALL_MOVABLE, VMSTAT, "allocstall_movable", EVENTS, TOTAL, "allocation_stalls_movable") \
	X(COMPACT_STALL, VMSTAT, "compact_stall", EVENTS, TOTAL, "compaction_stalls") \
	X(COMPACT_FAIL, VMSTAT, "compact_fail", EVENTS, TOTAL, "compaction_failures") \
	X(THP_FAULT, VMSTAT, "thp_fault_alloc", EVENTS, TOTAL, "huge_faults") \
	X(THP_FALLBACK, VMSTAT, "thp_fault_fallback", EVENTS, TOTAL, "huge_fault_fallbacks") \
	X(THP_COLLAPSE, VMSTAT, "thp_collapse_alloc", EVENTS, TOTAL, "huge_collapses") \
	X(THP_SPLIT, VMSTAT, "thp_split_page", EVENTS, TOTAL, "huge_splits") \
	X(KSM_COPIES, VMSTAT, "cow_ksm", EVENTS, TOTAL, "ksm_copies") \
	X(NUMA_HIT, VMSTAT, "numa_hit", PAGES, TOTAL, "numa_hits") \
	X(NUMA_MISS, VMSTAT, "numa_miss", PAGES, TOTAL, "numa_misses") \
	X(NUMA_FOREIGN, VMSTAT, "numa_foreign", PAGES, TOTAL, "numa_foreign") \
	X(NUMA_MIGRATED, VMSTAT, "numa_pages_migrated", PAGES, TOTAL, "numa_migrated")
// clang-format on
