// SPDX-License-Identifier: MIT
// What a control group uses and may use, of version 1 and 2 of the memory controller. Files as in Linux
// Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst. Called by report.
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "base/text.h"
#include "machine/machine_impl.h"

#define PATH_BYTES 4096
#define NO_LIMIT   (UINT64_MAX >> 2) // version 1 says "none" by a number near 2^63

// One key of memory.stat and the counter that means the same. Version 2 tells sizes in bytes, version 1
// too; both tell events in pages.
struct group_key {
	const char *key;
	enum machine_counter counter;
};

static const struct group_key keys_2[] = {
	{ "anon", MACHINE_ANON },
	{ "file", MACHINE_FILE },
	{ "kernel_stack", MACHINE_KERNEL_STACK },
	{ "pagetables", MACHINE_PAGE_TABLES },
	{ "sec_pagetables", MACHINE_SECOND_PAGE_TABLES },
	{ "percpu", MACHINE_PERCPU },
	{ "hugetlb", MACHINE_HUGETLB },
	{ "shmem", MACHINE_SHMEM },
	{ "zswap", MACHINE_ZSWAP_OCCUPIED },
	{ "zswapped", MACHINE_ZSWAP_STORED },
	{ "file_mapped", MACHINE_MAPPED },
	{ "file_dirty", MACHINE_DIRTY },
	{ "file_writeback", MACHINE_WRITEBACK },
	{ "swapcached", MACHINE_SWAP_CACHE },
	{ "anon_thp", MACHINE_THP_ANON },
	{ "file_thp", MACHINE_THP_FILE },
	{ "shmem_thp", MACHINE_THP_SHMEM },
	{ "active_anon", MACHINE_ACTIVE_ANON },
	{ "inactive_anon", MACHINE_INACTIVE_ANON },
	{ "active_file", MACHINE_ACTIVE_FILE },
	{ "inactive_file", MACHINE_INACTIVE_FILE },
	{ "unevictable", MACHINE_UNEVICTABLE },
	{ "slab_reclaimable", MACHINE_SLAB_RECLAIMABLE },
	{ "slab_unreclaimable", MACHINE_SLAB_UNRECLAIMABLE },
	{ "workingset_refault_anon", MACHINE_REFAULT_ANON },
	{ "workingset_refault_file", MACHINE_REFAULT_FILE },
	{ "workingset_activate_anon", MACHINE_REACTIVATE_ANON },
	{ "workingset_activate_file", MACHINE_REACTIVATE_FILE },
	{ "workingset_restore_anon", MACHINE_RESTORE_ANON },
	{ "workingset_restore_file", MACHINE_RESTORE_FILE },
	{ "pswpin", MACHINE_SWAPPED_IN },
	{ "pswpout", MACHINE_SWAPPED_OUT },
	{ "pgscan_kswapd", MACHINE_SCAN_KSWAPD },
	{ "pgscan_direct", MACHINE_SCAN_DIRECT },
	{ "pgscan_khugepaged", MACHINE_SCAN_KHUGEPAGED },
	{ "pgscan_proactive", MACHINE_SCAN_PROACTIVE },
	{ "pgsteal_kswapd", MACHINE_STEAL_KSWAPD },
	{ "pgsteal_direct", MACHINE_STEAL_DIRECT },
	{ "pgsteal_khugepaged", MACHINE_STEAL_KHUGEPAGED },
	{ "pgsteal_proactive", MACHINE_STEAL_PROACTIVE },
	{ "pgfault", MACHINE_FAULTS },
	{ "pgmajfault", MACHINE_MAJOR_FAULTS },
	{ "pgactivate", MACHINE_ACTIVATED },
	{ "pgdeactivate", MACHINE_DEACTIVATED },
	{ "pglazyfree", MACHINE_LAZY_FREED },
	{ "pglazyfreed", MACHINE_LAZY_RECLAIMED },
	{ "zswpin", MACHINE_ZSWAP_IN },
	{ "zswpout", MACHINE_ZSWAP_OUT },
	{ "zswpwb", MACHINE_ZSWAP_WRITEBACK },
	{ "thp_fault_alloc", MACHINE_THP_FAULT },
	{ "thp_collapse_alloc", MACHINE_THP_COLLAPSE },
};

// Those that count what is below the group, too. Its pgpgin and pgpgout are charges, not transfers.
static const struct group_key keys_1[] = {
	{ "total_rss", MACHINE_ANON },
	{ "total_cache", MACHINE_FILE },
	{ "total_shmem", MACHINE_SHMEM },
	{ "total_rss_huge", MACHINE_THP_ANON },
	{ "total_mapped_file", MACHINE_MAPPED },
	{ "total_dirty", MACHINE_DIRTY },
	{ "total_writeback", MACHINE_WRITEBACK },
	{ "total_active_anon", MACHINE_ACTIVE_ANON },
	{ "total_inactive_anon", MACHINE_INACTIVE_ANON },
	{ "total_active_file", MACHINE_ACTIVE_FILE },
	{ "total_inactive_file", MACHINE_INACTIVE_FILE },
	{ "total_unevictable", MACHINE_UNEVICTABLE },
	{ "total_workingset_refault_anon", MACHINE_REFAULT_ANON },
	{ "total_workingset_refault_file", MACHINE_REFAULT_FILE },
	{ "total_pgfault", MACHINE_FAULTS },
	{ "total_pgmajfault", MACHINE_MAJOR_FAULTS },
};

struct stat_reader {
	struct machine_group *group;
	const struct group_key *keys;
	size_t key_count;
};

static bool name_is(const char *name, size_t length, const char *wanted)
{
	return strlen(wanted) == length && !memcmp(name, wanted, length);
}

static void take_stat(void *context, const char *name, size_t length, uint64_t value)
{
	const struct stat_reader *reader = context;

	if (reader->group->version == 1 && name_is(name, length, "total_swap")) {
		reader->group->swap_bytes = value;
		reader->group->has_swap = true;
	}
	for (size_t i = 0; i < reader->key_count; i++) {
		enum machine_counter counter = reader->keys[i].counter;
		bool in_pages = machine_counter_rows[counter].unit == MACHINE_UNIT_PAGES &&
		                !machine_counter_rows[counter].is_total;

		if (name_is(name, length, reader->keys[i].key))
			machine_counter_put(&reader->group->counters, counter,
			                    in_pages ? value / os_page_bytes() : value);
	}
}

static void take_event(void *context, const char *name, size_t length, uint64_t value)
{
	struct machine_group *group = context;

	if (name_is(name, length, "oom_kill")) {
		group->oom_kills = value;
		group->has_oom_kills = true;
	} else if (name_is(name, length, "max")) {
		group->limit_hits = value;
		group->has_limit_hits = true;
	}
}

// --- one file ------------------------------------------------------------------------------------

struct folder {
	const char *root;
	struct arena *arena;
	const char *path;
};

static bool read_number(const struct folder *folder, const char *file, uint64_t *ret)
{
	size_t bytes;
	char *text = machine_text(folder->root, folder->arena, &bytes, "%s/%s", folder->path, file);

	return text && os_limit_parse(text, bytes, ret);
}

static void read_lines(const struct folder *folder, const char *file,
                       void (*each)(void *context, const char *name, size_t length, uint64_t value),
                       void *context)
{
	size_t bytes;
	char *text = machine_text(folder->root, folder->arena, &bytes, "%s/%s", folder->path, file);

	if (text)
		os_counters_parse(text, bytes, each, context);
}

// The lowest limit of the folder and all above it, where a group may not have more than its parent.
static uint64_t lowest_limit(const struct folder *folder, const char *file)
{
	struct folder at = { folder->root, folder->arena, arena_copy(folder->arena, folder->path) };
	uint64_t lowest = UINT64_MAX, limit;
	char *slash;

	for (;;) {
		if (read_number(&at, file, &limit) && limit < NO_LIMIT && limit < lowest)
			lowest = limit;
		slash = strrchr(at.path, '/');
		if (!slash || slash == at.path)
			return lowest;
		*slash = '\0';
	}
}

// --- the two versions ----------------------------------------------------------------------------

static bool read_2(const struct folder *folder, struct machine_group *ret)
{
	struct stat_reader reader = { ret, keys_2, sizeof(keys_2) / sizeof(keys_2[0]) };
	size_t bytes;
	char *text;

	ret->version = 2;
	read_lines(folder, "memory.stat", take_stat, &reader);
	if (!ret->counters.is_known[MACHINE_ANON])
		return false;
	if (!read_number(folder, "memory.current", &ret->usage_bytes))
		ret->usage_bytes =
			(ret->counters.value[MACHINE_ANON] + ret->counters.value[MACHINE_FILE]) *
			os_page_bytes();
	ret->limit_bytes = lowest_limit(folder, "memory.max");
	ret->high_bytes = lowest_limit(folder, "memory.high");
	read_number(folder, "memory.peak", &ret->peak_bytes);
	ret->has_swap = read_number(folder, "memory.swap.current", &ret->swap_bytes);
	ret->swap_limit_bytes = lowest_limit(folder, "memory.swap.max");
	read_lines(folder, "memory.events", take_event, ret);
	text = machine_text(folder->root, folder->arena, &bytes, "%s/memory.pressure",
	                    folder->path);
	if (text)
		os_pressure_parse(text, bytes, &ret->memory);
	return true;
}

static bool read_1(const struct folder *folder, struct machine_group *ret)
{
	struct stat_reader reader = { ret, keys_1, sizeof(keys_1) / sizeof(keys_1[0]) };

	ret->version = 1;
	if (!read_number(folder, "memory.usage_in_bytes", &ret->usage_bytes))
		return false;
	read_lines(folder, "memory.stat", take_stat, &reader);
	ret->limit_bytes = lowest_limit(folder, "memory.limit_in_bytes");
	ret->high_bytes = ret->swap_limit_bytes = UINT64_MAX;
	read_number(folder, "memory.max_usage_in_bytes", &ret->peak_bytes);
	ret->has_limit_hits = read_number(folder, "memory.failcnt", &ret->limit_hits);
	read_lines(folder, "memory.oom_control", take_event, ret);
	return true;
}

static bool read_folder(const char *root, struct arena *arena, const char *path,
                        struct machine_group *ret)
{
	struct folder folder = { root, arena, path };

	*ret = (struct machine_group){ .path = path };
	if (!read_1(&folder, ret)) {
		*ret = (struct machine_group){ .path = path };
		if (!read_2(&folder, ret))
			return false;
	}
	if (ret->limit_bytes != UINT64_MAX) {
		uint64_t room = ret->limit_bytes > ret->usage_bytes
		                        ? ret->limit_bytes - ret->usage_bytes
		                        : 0;

		machine_counter_put(&ret->counters, MACHINE_FREE, room / os_page_bytes());
		machine_counter_put(&ret->counters, MACHINE_TOTAL, ret->limit_bytes);
	}
	return true;
}

// --- names ---------------------------------------------------------------------------------------

// Where the hierarchy with the memory controller is mounted: version 2 or 1.
static const char *mount_of(const char *root, struct arena *arena, unsigned version)
{
	size_t bytes;
	char *text = machine_text(root, arena, &bytes, "/proc/self/mountinfo");
	char path[PATH_BYTES];

	if (!text || !os_mount_find(text, bytes, version == 2 ? "cgroup2" : "cgroup",
	                            version == 2 ? NULL : "memory", path, sizeof(path)))
		return NULL;
	return arena_copy(arena, path);
}

static const char *own_name(const char *root, struct arena *arena, unsigned version)
{
	size_t bytes;
	char *text = machine_text(root, arena, &bytes, "/proc/self/cgroup");
	char path[PATH_BYTES];

	if (!text ||
	    !os_group_find(text, bytes, version == 2 ? NULL : "memory", path, sizeof(path)))
		return NULL;
	return arena_copy(arena, path);
}

// A folder without the slashes at its end.
static const char *trimmed(struct arena *arena, const char *path)
{
	size_t length = strlen(path);

	while (length > 1 && path[length - 1] == '/')
		length--;
	return arena_copy_n(arena, path, length);
}

static bool read_named(const char *root, struct arena *arena, const char *what, unsigned version,
                       struct machine_group *ret)
{
	const char *mount = mount_of(root, arena, version);
	const char *name = what;

	if (!strcmp(what, "self"))
		name = own_name(root, arena, version);
	if (!mount || !name)
		return false;
	// Inside a container the name may lead above what is mounted there: then this is the top.
	if (read_folder(root, arena,
	                trimmed(arena, arena_format(arena, "%s/%s", mount, name + (*name == '/'))),
	                ret))
		return true;
	return !strcmp(what, "self") && read_folder(root, arena, mount, ret);
}

struct error *machine_group_read(const char *root, struct arena *arena, const char *what,
                                 struct machine_group *ret)
{
	if (!*what)
		return error_new(ERROR_USAGE, "an empty text names no control group");
	if (read_named(root, arena, what, 2, ret) || read_named(root, arena, what, 1, ret))
		return NULL;
	if (*what == '/' && read_folder(root, arena, trimmed(arena, what), ret))
		return NULL;
	return error_new(ERROR_NOT_FOUND,
	                 "there is no control group '%s' with a memory controller (it may be "
	                 "switched off there: cgroup.subtree_control of its parent)",
	                 what);
}
