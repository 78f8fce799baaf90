// SPDX-License-Identifier: MIT
// The lines of /proc/PID/smaps behind a mapping as struct os_counts, for the list of mappings (maps.c)
// and for the stream of them (smaps.c). Form as in Linux fs/proc/task_mmu.c (__show_smap,
// show_smap_vma_flags). Pure.
#include "os/os.h"

#include <string.h>

#include "os/scan_impl.h"

#define FIELD(name) offsetof(struct os_counts, name), true
#define UNWANTED    0, false

// In the order of the kernel, so that the key behind the last one is nearly always the next.
static const struct {
	const char *key;
	size_t offset;
	bool wanted;
} keys[] = {
	{ "Size:", UNWANTED },
	{ "KernelPageSize:", UNWANTED },
	{ "MMUPageSize:", UNWANTED },
	{ "Rss:", FIELD(resident) },
	{ "Pss:", FIELD(proportional) },
	{ "Pss_Dirty:", FIELD(proportional_dirty) },
	{ "Shared_Clean:", FIELD(shared_clean) },
	{ "Shared_Dirty:", FIELD(shared_dirty) },
	{ "Private_Clean:", FIELD(private_clean) },
	{ "Private_Dirty:", FIELD(private_dirty) },
	{ "Referenced:", FIELD(referenced) },
	{ "Anonymous:", FIELD(anonymous) },
	{ "KSM:", UNWANTED },
	{ "LazyFree:", FIELD(lazy_free) },
	{ "AnonHugePages:", FIELD(huge) },
	{ "ShmemPmdMapped:", FIELD(huge) },
	{ "FilePmdMapped:", FIELD(huge) },
	{ "Shared_Hugetlb:", FIELD(huge_reserved) },
	{ "Private_Hugetlb:", FIELD(huge_reserved) },
	{ "Swap:", FIELD(swapped) },
	{ "SwapPss:", FIELD(swapped_proportional) },
	{ "Locked:", FIELD(locked_proportional) },
	{ "THPeligible:", UNWANTED },
	{ "ProtectionKey:", UNWANTED },
};

enum { KEY_COUNT = sizeof(keys) / sizeof(keys[0]) };

static void take_flags(struct scan *line, struct os_counts *counts)
{
	size_t n;

	scan_blanks(line);
	while (line->end > line->at && line->end[-1] == ' ')
		line->end--;
	n = (size_t)(line->end - line->at);
	if (n >= sizeof(counts->flags))
		n = sizeof(counts->flags) - 1;
	memcpy(counts->flags, line->at, n);
	counts->flags[n] = '\0';
}

static void take_number(struct scan *line, uint64_t *field)
{
	uint64_t kilobytes;

	scan_blanks(line);
	if (scan_number(line, 10, &kilobytes) && kilobytes <= (INT64_MAX - *field) / 1024)
		*field += kilobytes * 1024;
}

// Keys that we do not know are of newer kernels.
void scan_count(struct scan *line, unsigned *next_key, struct os_counts *ret)
{
	if (scan_word(line, "VmFlags:")) {
		take_flags(line, ret);
		return;
	}
	for (unsigned n = 0; n < KEY_COUNT; n++) {
		unsigned i = (*next_key + n) % KEY_COUNT;

		if (!scan_word(line, keys[i].key))
			continue;
		*next_key = i + 1;
		if (keys[i].wanted)
			take_number(line, (uint64_t *)((char *)ret + keys[i].offset));
		return;
	}
}

bool os_flags_have(const char *flags, const char *word)
{
	for (const char *at = flags; (at = strstr(at, word)); at++)
		if ((at == flags || at[-1] == ' ') && (!at[2] || at[2] == ' '))
			return true;
	return false;
}
