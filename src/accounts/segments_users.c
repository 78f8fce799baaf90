// SPDX-License-Identifier: MIT
// Who uses which segment: the mappings and descriptors of every process. Called by segments.c.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "accounts/segments_impl.h"
#include "base/text.h"

#define PATH_BYTES 96

static struct segment_user *user_of(struct search *search, struct finding *finding)
{
	struct segment_user *last =
		finding->users.n ? &finding->users.v[finding->users.n - 1] : NULL;

	// Processes are looked at one after the other.
	if (last && last->pid == search->pid)
		return last;
	last = vec_add(&finding->users);
	last->pid = search->pid;
	memcpy(last->name, search->name, sizeof(last->name));
	return last;
}

static enum segment_kind kind_of(const struct search *search, uint64_t device, const char *name)
{
	if (device != search->kernel_device)
		return text_starts_with(name, "/dev/shm/") ? SEGMENT_POSIX : SEGMENT_TMPFS;
	if (text_starts_with(name, "/memfd:"))
		return SEGMENT_MEMFD;
	if (text_starts_with(name, "/SYSV"))
		return SEGMENT_SYSV;
	return text_starts_with(name, "/dev/zero") ? SEGMENT_ANONYMOUS : SEGMENT_OTHER;
}

// "/memfd:NAME (deleted)" is NAME, for it never had another place.
static void name_segment(struct search *search, struct segment *segment, const char *name)
{
	static const char deleted[] = " (deleted)";
	size_t length = strlen(name), cut = sizeof(deleted) - 1;
	bool ends = length > cut && !strcmp(name + length - cut, deleted);

	segment->kind = kind_of(search, segment->device, name);
	if (segment->kind == SEGMENT_ANONYMOUS)
		return;
	if (ends)
		length -= cut;
	if (segment->kind == SEGMENT_MEMFD) {
		name += strlen("/memfd:");
		length -= strlen("/memfd:");
	} else {
		segment->deleted = ends;
	}
	segment->name = arena_copy_n(search->arena, name, length);
}

static bool is_new(const struct finding *finding)
{
	return !finding->users.n && !*finding->segment.name;
}

// Through the kernel's link to the file of a mapping, which needs more rights than its list.
static void measure_mapped(struct search *search, struct finding *finding,
                           const struct os_smaps_mapping *mapping)
{
	struct os_extent extent;
	char path[PATH_BYTES];

	snprintf(path, sizeof(path), "%d/map_files/%" PRIx64 "-%" PRIx64, search->tid,
	         mapping->start, mapping->end);
	if (os_extent_of(search->accounts->proc, path, &extent))
		segment_take_extent(finding, &extent);
}

static void take_mapping(void *context, const struct os_smaps_mapping *mapping)
{
	struct search *search = context;
	struct segment_user *user;
	struct finding *finding;
	bool posix = text_starts_with(mapping->name, "/dev/shm/");

	// /dev/shm of another mount namespace is on a device that is not mounted here.
	if (!mapping->inode || (!posix && !segment_is_device(search, mapping->device)))
		return;
	finding = segment_of(search, mapping->device, mapping->inode);
	if (is_new(finding))
		name_segment(search, &finding->segment, mapping->name);
	if (!finding->segment.has_bytes)
		measure_mapped(search, finding, mapping);
	user = user_of(search, finding);
	user->mapped_bytes += mapping->end - mapping->start;
	user->mapping_count++;
}

static bool may_be_segment(const struct search *search, const char *target)
{
	if (text_starts_with(target, "/memfd:") || text_starts_with(target, "/dev/shm/") ||
	    text_starts_with(target, "/SYSV") || text_starts_with(target, "/dev/zero (deleted)"))
		return true;
	for (size_t i = 0; i < search->mounts.n; i++)
		if (text_starts_with(target, search->mounts.v[i].place))
			return true;
	return false;
}

static void take_descriptor(void *context, int number, const char *target)
{
	struct search *search = context;
	struct finding *finding;
	struct os_extent extent;
	char path[PATH_BYTES];

	if (!may_be_segment(search, target))
		return;
	snprintf(path, sizeof(path), "%d/fd/%d", search->tid, number);
	if (!os_extent_of(search->accounts->proc, path, &extent) || !extent.regular)
		return;
	if (!text_starts_with(target, "/dev/shm/") && !segment_is_device(search, extent.device))
		return;
	finding = segment_of(search, extent.device, extent.inode);
	if (is_new(finding))
		name_segment(search, &finding->segment, target);
	segment_take_extent(finding, &extent);
	user_of(search, finding)->descriptor_count++;
}

static bool look_at(void *context, const struct account *account)
{
	struct search *search = context;
	int proc = search->accounts->proc, tid = account->process.memory_tid;
	struct error *error;

	search->pid = account->process.pid;
	search->tid = tid;
	memcpy(search->name, account->process.name, sizeof(search->name));
	error = os_smaps_read(proc, tid, OS_SMAPS_PLACES, take_mapping, search);
	if (!error)
		error = os_each_descriptor(proc, tid, take_descriptor, search);
	search->unseen += error && error->kind == ERROR_RIGHTS;
	return true;
}

struct error *segments_find_users(struct search *search)
{
	return accounts_each(search->accounts, false, look_at, search);
}
