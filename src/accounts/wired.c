// SPDX-License-Identifier: MIT
// The kernel's own memory by what it is for, out of meminfo, vmstat, zoneinfo and the list of modules; and
// what of all memory nobody accounts for. Called by report/wired.c.
#include <stdio.h>
#include <string.h>

#include "accounts/accounts_impl.h"

#define TEXT_LIMIT ((size_t)16 << 20)

struct reading {
	char *meminfo, *vmstat, *zoneinfo, *modules;
	size_t meminfo_bytes;
	VEC(struct wired_part) parts, others;
	struct wired *wired;
	uint64_t accounted; // of MemTotal
};

static uint64_t meminfo(const struct reading *r, const char *key)
{
	uint64_t bytes = 0;

	os_kilobytes_find(r->meminfo, r->meminfo_bytes, key, &bytes);
	return bytes;
}

// "KEY N" at the start of a line of vmstat; false when this kernel has no such count.
static bool vmstat(const struct reading *r, const char *key, uint64_t *ret)
{
	size_t length = strlen(key);
	unsigned long long number;

	for (const char *at = r->vmstat; at; at = strchr(at, '\n')) {
		at += *at == '\n';
		if (strncmp(at, key, length) || at[length] != ' ')
			continue;
		if (sscanf(at + length, "%llu", &number) != 1)
			return false;
		*ret = number;
		return true;
	}
	return false;
}

// Sum over all zones of the lines "        KEY   N" of zoneinfo.
static uint64_t zones(const struct reading *r, const char *key)
{
	unsigned long long number;
	uint64_t sum = 0;
	char word[32];

	for (const char *at = r->zoneinfo; at; at = strchr(at, '\n')) {
		at += *at == '\n';
		if (sscanf(at, " %31[a-z] %llu", word, &number) == 2 && !strcmp(word, key))
			sum += number;
	}
	return sum;
}

// "NAME BYTES ..." a line.
static uint64_t module_bytes(const struct reading *r)
{
	unsigned long long number;
	uint64_t sum = 0;

	for (const char *at = r->modules; at && *at; at = strchr(at, '\n')) {
		at += *at == '\n';
		if (sscanf(at, "%*s %llu", &number) == 1)
			sum += number;
	}
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
	add_within(r, "drivers (modules)", r->modules, module_bytes(r), "modules");
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

static char *read_file(struct arena *arena, const char *path)
{
	size_t bytes;
	char *text;

	return os_read_text(arena, path, TEXT_LIMIT, &text, &bytes) ? NULL : text;
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
	TRY(os_read_text(arena, "/proc/meminfo", TEXT_LIMIT, &r.meminfo, &r.meminfo_bytes));
	r.vmstat = read_file(arena, "/proc/vmstat");
	r.zoneinfo = read_file(arena, "/proc/zoneinfo");
	r.modules = read_file(arena, "/proc/modules");
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
