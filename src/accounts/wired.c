// SPDX-License-Identifier: MIT
// The kernel's own memory by what it is for, out of meminfo, vmstat, zoneinfo and the list of modules; and
// what of all memory nobody accounts for. Called by report/wired.c.
#include <string.h>

#include "accounts/accounts_impl.h"

#define TEXT_LIMIT ((size_t)16 << 20)

struct text {
	const char *v;
	size_t bytes;
	bool is_known; // else it cannot be read, and is empty
};

struct reading {
	struct text meminfo, vmstat, zoneinfo, modules;
	VEC(struct wired_part) parts, others;
	struct wired *wired;
	uint64_t accounted; // of MemTotal
};

static uint64_t meminfo(const struct reading *r, const char *key)
{
	uint64_t bytes = 0;

	os_counter_find(r->meminfo.v, r->meminfo.bytes, key, &bytes);
	return bytes;
}

// False when this kernel has no such count.
static bool vmstat(const struct reading *r, const char *key, uint64_t *ret)
{
	return os_counter_find(r->vmstat.v, r->vmstat.bytes, key, ret);
}

struct zone_sum {
	const char *key;
	uint64_t sum;
};

static void add_zone(void *context, const struct os_zone_name *zone, bool in_node, const char *key,
                     size_t length, uint64_t value)
{
	struct zone_sum *sum = context;

	(void)zone;
	if (!in_node && strlen(sum->key) == length && !memcmp(sum->key, key, length))
		sum->sum += value;
}

// Sum over all zones, in pages.
static uint64_t zones(const struct reading *r, const char *key)
{
	struct zone_sum sum = { key, 0 };

	os_zoneinfo_parse(r->zoneinfo.v, r->zoneinfo.bytes, add_zone, &sum);
	return sum.sum;
}

static void add_module(void *context, const char *name, size_t length, uint64_t bytes)
{
	(void)name;
	(void)length;
	*(uint64_t *)context += bytes;
}

// "NAME BYTES ..." a line.
static uint64_t module_bytes(const struct reading *r)
{
	uint64_t sum = 0;

	os_counters_parse(r->modules.v, r->modules.bytes, add_module, &sum);
	return sum;
}

static void add(struct reading *r, const char *name, uint64_t bytes, const char *from)
{
	vec_push(&r->parts, ((struct wired_part){ name, true, bytes, false, from }));
	r->accounted += bytes;
	r->wired->wired_bytes += bytes;
}

static void add_within(struct reading *r, const char *name, bool known, uint64_t bytes,
                       const char *from)
{
	vec_push(&r->parts, ((struct wired_part){ name, known, bytes, true, from }));
}

static void add_other(struct reading *r, const char *name, const char *key, bool within)
{
	uint64_t bytes = meminfo(r, key);

	vec_push(&r->others, ((struct wired_part){ name, true, bytes, within, key }));
	if (!within)
		r->accounted += bytes;
}

// Page structs are partly made before the kernel manages its memory, so outside of MemTotal.
static void add_boot(struct reading *r)
{
	uint64_t page = os_page_bytes(), boot = 0, later = 0;
	uint64_t present = zones(r, "present"), managed = zones(r, "managed");
	bool known = vmstat(r, "nr_memmap_boot_pages", &boot);

	vec_push(&r->parts,
	         ((struct wired_part){ "reserved at boot", present > managed,
	                               (present - managed) * page, false,
	                               "zoneinfo: present - managed; not in MemTotal" }));
	add_within(r, "page structs", known, boot * page,
	           known ? "vmstat: nr_memmap_boot_pages" : "not told by this kernel (Linux 6.11)");
	if (vmstat(r, "nr_memmap_pages", &later))
		add(r, "page structs, later", later * page, "vmstat: nr_memmap_pages");
}

static void add_parts(struct reading *r)
{
	uint64_t vmalloc = meminfo(r, "VmallocUsed"), stacks = meminfo(r, "KernelStack");

	add_boot(r);
	add(r, "page tables", meminfo(r, "PageTables"), "PageTables");
	add(r, "page tables, devices", meminfo(r, "SecPageTables"), "SecPageTables");
	add(r, "stacks of threads", stacks, "KernelStack");
	add(r, "slab", meminfo(r, "Slab"), "Slab");
	add_within(r, "reclaimable", true, meminfo(r, "SReclaimable"), "SReclaimable");
	add_within(r, "unreclaimable", true, meminfo(r, "SUnreclaim"), "SUnreclaim");
	add(r, "per CPU", meminfo(r, "Percpu"), "Percpu");
	// Stacks lie in vmalloc space where the kernel maps them (CONFIG_VMAP_STACK).
	add(r, "vmalloc without stacks", vmalloc > stacks ? vmalloc - stacks : 0,
	    "VmallocUsed - KernelStack");
	add_within(r, "drivers (modules)", r->modules.is_known, module_bytes(r), "modules");
	add(r, "huge pages set aside", meminfo(r, "Hugetlb"), "Hugetlb");
}

static void add_others(struct reading *r)
{
	add_other(r, "free", "MemFree", false);
	add_other(r, "active", "Active", false);
	add_other(r, "inactive", "Inactive", false);
	add_other(r, "unevictable", "Unevictable", false);
	add_other(r, "locked by programs", "Mlocked", true);
	add_other(r, "of programs (anonymous)", "AnonPages", true);
	add_other(r, "of files", "Cached", true);
	add_other(r, "shared memory", "Shmem", true);
	add_other(r, "buffers", "Buffers", true);
}

static struct error *read_file(struct arena *arena, const char *path, struct text *ret)
{
	char *text;
	size_t bytes;

	*ret = (struct text){ .v = "" };
	TRY(os_read_text(arena, path, TEXT_LIMIT, &text, &bytes));
	*ret = (struct text){ text, bytes, true };
	return NULL;
}

static const struct wired_part *keep(struct arena *arena, const struct wired_part *parts,
                                     size_t count)
{
	struct wired_part *kept = arena_array(arena, count, sizeof(*kept));

	memcpy(kept, parts, count * sizeof(*kept));
	return kept;
}

struct error *wired_read(struct arena *arena, struct wired *ret)
{
	struct reading r = { .wired = ret };

	*ret = (struct wired){ 0 };
	TRY(read_file(arena, "/proc/meminfo", &r.meminfo));
	(void)read_file(arena, "/proc/vmstat", &r.vmstat);
	(void)read_file(arena, "/proc/zoneinfo", &r.zoneinfo);
	(void)read_file(arena, "/proc/modules", &r.modules);
	vec_init(&r.parts, &os_page_source);
	vec_init(&r.others, &os_page_source);
	ret->total_bytes = meminfo(&r, "MemTotal");
	add_parts(&r);
	add_others(&r);
	ret->unknown_bytes = ret->total_bytes > r.accounted ? ret->total_bytes - r.accounted : 0;
	ret->parts = keep(arena, r.parts.v, r.parts.n);
	ret->part_count = r.parts.n;
	ret->others = keep(arena, r.others.v, r.others.n);
	ret->other_count = r.others.n;
	vec_deinit(&r.parts);
	vec_deinit(&r.others);
	return NULL;
}
