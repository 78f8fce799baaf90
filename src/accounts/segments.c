// SPDX-License-Identifier: MIT
// The shared memory of the machine: what exists whether or not somebody uses it (System V, /dev/shm, file
// systems in memory), and what is used (segments_users.c). A segment is a file of a tmpfs: one of those
// that are mounted, or the kernel's own. Called by report/shm.c.
#include <stdlib.h>
#include <string.h>

#include "accounts/segments_impl.h"
#include "base/text.h"

#define TEXT_LIMIT  ((size_t)64 << 20)
#define FIRST_SLOTS 256
#define POSIX_PLACE "/dev/shm"

static uint32_t *slot_of(struct search *search, uint64_t device, uint64_t inode)
{
	size_t mask = search->index.n - 1;
	size_t at = ((inode ^ device << 32) * 0x9e3779b97f4a7c15ull >> 24) & mask;

	for (; search->index.v[at]; at = (at + 1) & mask) {
		const struct segment *segment = &search->found.v[search->index.v[at] - 1].segment;

		if (segment->inode == inode && segment->device == device)
			break;
	}
	return &search->index.v[at];
}

static void index_grow(struct search *search)
{
	size_t slots = search->index.n ? search->index.n * 2 : FIRST_SLOTS;

	vec_deinit(&search->index);
	vec_reserve(&search->index, slots);
	search->index.n = slots;
	for (size_t i = 0; i < search->found.n; i++)
		*slot_of(search, search->found.v[i].segment.device,
		         search->found.v[i].segment.inode) = (uint32_t)i + 1;
}

struct finding *segment_of(struct search *search, uint64_t device, uint64_t inode)
{
	struct finding *finding;
	uint32_t *slot;

	if (search->found.n * 2 >= search->index.n)
		index_grow(search);
	slot = slot_of(search, device, inode);
	if (*slot)
		return &search->found.v[*slot - 1];
	finding = vec_add(&search->found);
	*finding = (struct finding){ .segment = { .device = device, .inode = inode, .name = "" } };
	vec_init(&finding->users, &os_page_source);
	*slot = (uint32_t)search->found.n;
	return finding;
}

bool segment_is_device(const struct search *search, uint64_t device)
{
	if (device == search->kernel_device)
		return device;
	for (size_t i = 0; i < search->devices.n; i++)
		if (search->devices.v[i] == device)
			return true;
	return false;
}

void segment_take_extent(struct finding *finding, const struct os_extent *extent)
{
	struct segment *segment = &finding->segment;

	segment->has_bytes = segment->has_owner = true;
	segment->bytes = extent->bytes;
	segment->allocated_bytes = extent->allocated_bytes;
	segment->owner_uid = extent->uid;
}

// --- what exists ---------------------------------------------------------------------------------
static void add_mount(void *context, const struct os_mount *mount)
{
	struct search *search = context;
	struct segment_mount *added;

	if (!mount->in_memory || segment_is_device(search, mount->device))
		return;
	vec_push(&search->devices, mount->device);
	for (size_t i = 0; i < search->mounts.n; i++) // a later one at the same place hides it
		if (!strcmp(search->mounts.v[i].place, mount->place))
			search->mounts.v[i].has_bytes = false;
	added = vec_add(&search->mounts);
	added->place = arena_copy(search->arena, mount->place);
	added->has_bytes = os_mount_usage(mount->place, &added->bytes, &added->limit_bytes);
}

// A number may have gone to another process since: it must not be younger than the segment.
static bool lives(struct search *search, const struct os_sysv_segment *sysv)
{
	uint64_t boot_s = (os_wall_ns() - os_since_boot_ns()) / 1000000000;
	struct account account;

	return accounts_read(search->accounts, sysv->creator_pid, &account) &&
	       boot_s + account.process.start_ticks / os_ticks_per_second() <= sysv->changed_s + 1;
}

static void add_sysv(void *context, const struct os_sysv_segment *sysv)
{
	struct search *search = context;
	// Its number is that of its inode (ipc/shm.c, newseg).
	struct finding *finding = segment_of(search, search->kernel_device, (unsigned)sysv->id);
	struct segment *segment = &finding->segment;

	segment->kind = SEGMENT_SYSV;
	segment->name = arena_format(search->arena, "key 0x%08x id %d", sysv->key, sysv->id);
	segment->has_bytes = segment->has_owner = true;
	segment->bytes = sysv->bytes;
	segment->has_swapped = sysv->has_pages;
	segment->resident_bytes = sysv->resident_bytes;
	segment->swapped_bytes = sysv->swapped_bytes;
	segment->allocated_bytes = sysv->resident_bytes + sysv->swapped_bytes;
	segment->owner_uid = sysv->uid;
	segment->key = sysv->key;
	segment->id = sysv->id;
	segment->creator_pid = sysv->creator_pid;
	segment->last_pid = sysv->last_pid;
	segment->creator_lives = lives(search, sysv);
	if (!sysv->attached_count)
		segment->verdict = segment->creator_lives ? SEGMENT_UNUSED : SEGMENT_ORPHANED;
}

static void add_posix(void *context, const char *name)
{
	struct search *search = context;
	const char *path = arena_format(search->arena, POSIX_PLACE "/%s", name);
	struct os_extent extent;
	struct finding *finding;

	if (!os_extent_of(-1, path, &extent) || !extent.regular)
		return;
	finding = segment_of(search, extent.device, extent.inode);
	finding->segment.kind = SEGMENT_POSIX;
	finding->segment.name = path;
	segment_take_extent(finding, &extent);
}

static void find_existing(struct search *search)
{
	char *text;
	size_t bytes;

	search->kernel_device = os_kernel_shm_device();
	if (!os_read_text(search->arena, "/proc/self/mountinfo", TEXT_LIMIT, &text, &bytes))
		os_mounts_parse(text, bytes, add_mount, search);
	if (!os_read_text(search->arena, "/proc/sysvipc/shm", TEXT_LIMIT, &text, &bytes))
		os_sysv_parse(text, bytes, add_sysv, search);
	(void)os_each_name(POSIX_PLACE, add_posix, search);
}

// --- the answer ----------------------------------------------------------------------------------
static int compare_segments(const void *a, const void *b)
{
	const struct segment *x = a, *y = b;

	if (x->allocated_bytes != y->allocated_bytes)
		return (x->allocated_bytes < y->allocated_bytes) -
		       (x->allocated_bytes > y->allocated_bytes);
	if (x->kind != y->kind)
		return (int)x->kind - (int)y->kind;
	return (x->inode > y->inode) - (x->inode < y->inode);
}

static int compare_users(const void *a, const void *b)
{
	const struct segment_user *x = a, *y = b;

	return (x->pid > y->pid) - (x->pid < y->pid);
}

static void finish_segment(struct search *search, const struct finding *finding,
                           struct segment *ret)
{
	size_t count = finding->users.n;
	struct segment_user *users = arena_array(search->arena, count, sizeof(*users));

	*ret = finding->segment;
	if (count) {
		memcpy(users, finding->users.v, count * sizeof(*users));
		qsort(users, count, sizeof(*users), compare_users);
	}
	ret->users = users;
	ret->user_count = count;
	if (!count && ret->kind != SEGMENT_SYSV)
		ret->verdict = SEGMENT_UNUSED;
}

static void finish(struct search *search, struct segments *ret)
{
	struct segment *segments = arena_array(search->arena, search->found.n, sizeof(*segments));
	struct segment_mount *mounts =
		arena_array(search->arena, search->mounts.n, sizeof(*mounts));

	for (size_t i = 0; i < search->found.n; i++)
		finish_segment(search, &search->found.v[i], &segments[i]);
	if (search->found.n)
		qsort(segments, search->found.n, sizeof(*segments), compare_segments);
	if (search->mounts.n)
		memcpy(mounts, search->mounts.v, search->mounts.n * sizeof(*mounts));
	*ret = (struct segments){ .segments = segments,
		                  .count = search->found.n,
		                  .mounts = mounts,
		                  .mount_count = search->mounts.n,
		                  .unseen_count = search->unseen };
}

struct error *segments_read(struct accounts *accounts, struct arena *arena, struct segments *ret)
{
	struct search search = { .accounts = accounts, .arena = arena };
	struct error *error;

	vec_init(&search.found, &os_page_source);
	vec_init(&search.index, &os_page_source);
	vec_init(&search.mounts, &os_page_source);
	vec_init(&search.devices, &os_page_source);
	find_existing(&search);
	error = segments_find_users(&search);
	if (!error)
		finish(&search, ret);
	for (size_t i = 0; i < search.found.n; i++)
		vec_deinit(&search.found.v[i].users);
	vec_deinit(&search.found);
	vec_deinit(&search.index);
	vec_deinit(&search.mounts);
	vec_deinit(&search.devices);
	return error;
}
