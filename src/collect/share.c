// SPDX-License-Identifier: MIT
// The shared mapping of a recorded process: found, opened and checked. What stands in its header is
// copied once; nobody here looks at the header again for a size or a place.
#include "collect/collect_impl.h"

#include <stdio.h>
#include <string.h>

#include "base/checked.h"

#define MEMFD_PATH      "/memfd:" RECORD_NAME
#define COLLECTOR_NAME  "hw-collector"
#define MOST_EVENTS     (1u << 24) // per ring
#define MOST_RINGS      4096
#define PROC_PATH_BYTES 96

// --- checking ------------------------------------------------------------------------------------
struct table {
	const char *name;
	uint64_t offset, count, bytes;
};

static struct error *check_table(const struct table *table, uint64_t total)
{
	uint64_t bytes;

	if (table->offset % 8 || table->offset < sizeof(struct record_header) ||
	    !checked_mul(table->count, table->bytes, &bytes) ||
	    !checked_within(table->offset, bytes, total))
		return error_new(ERROR_DAMAGED,
		                 "the shared memory of the recording names a place for %s that "
		                 "does not lie in it",
		                 table->name);
	return NULL;
}

static struct error *check_sizes(const struct record_header *header)
{
	if (header->bytes != sizeof(*header) || header->node_bytes != sizeof(struct record_node) ||
	    header->module_bytes != sizeof(struct record_module) ||
	    header->ring_header_bytes != sizeof(struct record_ring) ||
	    header->event_bytes != sizeof(struct record_event))
		return error_new(ERROR_DAMAGED,
		                 "the shared memory of the recording has other sizes than ours");
	return NULL;
}

static struct error *check_rings(const struct record_header *header)
{
	uint64_t events = header->ring_events;

	if (events < 2 || events > MOST_EVENTS || (events & (events - 1)) ||
	    header->ring_stride % 8 ||
	    header->ring_stride < sizeof(struct record_ring) + events * sizeof(struct record_event))
		return error_new(ERROR_DAMAGED,
		                 "the rings of the recording cannot have %u events in %llu bytes",
		                 header->ring_events, (unsigned long long)header->ring_stride);
	if (header->ring_capacity > MOST_RINGS)
		return error_new(ERROR_DAMAGED, "the recording cannot have %u rings",
		                 header->ring_capacity);
	return NULL;
}

static struct error *check_kind(const struct record_header *header)
{
	if (memcmp(header->magic, RECORD_MAGIC, sizeof(header->magic)) != 0)
		return error_new(ERROR_DAMAGED, "the shared memory is not that of a recording");
	if (header->version != RECORD_VERSION)
		return error_new(ERROR_UNSUPPORTED,
		                 "the recording is of version %u, and this collector of %u",
		                 header->version, RECORD_VERSION);
	if (header->clock != RECORD_CLOCK_MONOTONIC && header->clock != RECORD_CLOCK_TSC)
		return error_new(ERROR_DAMAGED, "the recording has an unknown clock (%u)",
		                 header->clock);
	if (header->mode < RECORD_FULL || header->mode > RECORD_SAMPLED)
		return error_new(ERROR_DAMAGED, "the recording has an unknown mode (%u)",
		                 header->mode);
	return NULL;
}

static void take_over(struct collect_share *share, const struct record_header *header)
{
	char *base = (char *)share->header;

	share->nodes = (const struct record_node *)(base + header->nodes_offset);
	share->modules = (const struct record_module *)(base + header->modules_offset);
	share->texts = base + header->texts_offset;
	share->rings = (uint8_t *)base + header->rings_offset;
	share->ring_stride = header->ring_stride;
	share->node_capacity = header->node_capacity;
	share->module_capacity = header->module_capacity;
	share->text_capacity = header->text_capacity;
	share->ring_capacity = header->ring_capacity;
	share->ring_events = header->ring_events;
	share->mode = header->mode;
	share->what = header->what;
	share->clock = header->clock;
	share->clock_start = header->clock_start;
	share->start_ns = header->start_ns;
	share->wall_ns = header->wall_ns;
	share->sample_bytes = header->sample_bytes;
	share->wait_ns = header->wait_ns;
	share->own_process = (int)header->process_id;
}

// The part of the header that the recorder writes, as it is at one moment.
static void copy_header(struct record_header *copy, const struct record_header *shared)
{
	memcpy(copy, shared, offsetof(struct record_header, collector));
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

struct error *collect_share_check(void *memory, uint64_t bytes, struct collect_share *ret)
{
	static struct record_header copy;
	const struct record_header *header = &copy;

	*ret = (struct collect_share){ .descriptor = -1, .header = memory, .bytes = bytes };
	if (bytes < sizeof(copy))
		return error_new(ERROR_DAMAGED,
		                 "the shared memory of the recording is too small (%llu bytes)",
		                 (unsigned long long)bytes);
	copy_header(&copy, memory);
	const struct table tables[] = {
		{ "stacks", header->nodes_offset, header->node_capacity,
		  sizeof(struct record_node) },
		{ "modules", header->modules_offset, header->module_capacity,
		  sizeof(struct record_module) },
		{ "texts", header->texts_offset, header->text_capacity, 1 },
		{ "rings", header->rings_offset, header->ring_capacity, header->ring_stride },
	};

	TRY(check_kind(header));
	TRY(check_sizes(header));
	TRY(check_rings(header));
	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
		TRY(check_table(&tables[i], bytes));
	take_over(ret, header);
	return NULL;
}

// --- finding -------------------------------------------------------------------------------------
static bool is_ours(const struct os_mapping *mapping)
{
	return mapping->name && strcmp(mapping->name, MEMFD_PATH) == 0 && mapping->shared;
}

static struct error *find_mapping(struct arena *arena, int process, struct os_mapping *ret)
{
	struct os_mapping *mappings;
	size_t count;

	TRY(os_mappings_read_once(arena, os_memory_tid(process), &mappings, &count));
	for (size_t i = 0; i < count; i++)
		if (is_ours(&mappings[i]) && !mappings[i].offset) {
			*ret = mappings[i];
			// The kernel may show one mapping in parts, when the program protected some.
			for (; i + 1 < count && is_ours(&mappings[i + 1]) &&
			       mappings[i + 1].start == ret->end &&
			       mappings[i + 1].inode == ret->inode;
			     i++)
				ret->end = mappings[i + 1].end;
			return NULL;
		}
	return error_new(ERROR_NOT_FOUND, "process %d is not being recorded", process);
}

struct error *collect_share_find(int process, uint64_t *ret_start, uint64_t *ret_end)
{
	struct os_mapping mapping;
	struct arena arena;
	struct error *error;

	arena_init(&arena, &os_page_source);
	error = find_mapping(&arena, process, &mapping);
	if (!error) {
		*ret_start = mapping.start;
		*ret_end = mapping.end;
	}
	arena_deinit(&arena);
	return error;
}

bool collect_share_is_mapped(const struct collect_share *share, int process)
{
	struct os_mapping mapping;
	struct os_status status;
	struct arena arena;
	struct error *error;
	bool is_mapped;

	arena_init(&arena, &os_page_source);
	error = find_mapping(&arena, process, &mapping);
	is_mapped =
		error ? error->kind != ERROR_NOT_FOUND
		      : os_file_status(share->descriptor, &status) || status.inode == mapping.inode;
	arena_deinit(&arena);
	return is_mapped;
}

// Looks for a descriptor of the memfd among those of a process.
struct search {
	const struct os_mapping *mapping;
	int process, found;
};

static bool look_at_descriptor(void *context, int number)
{
	struct search *search = context;
	struct os_status status;
	char path[PROC_PATH_BYTES];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", search->process, number);
	if (os_shared_open(path, RECORD_NAME, &fd))
		return true;
	if (!os_file_status(fd, &status) && status.inode == search->mapping->inode) {
		search->found = fd;
		return false;
	}
	os_close(fd);
	return true;
}

static bool look_at_process(void *context, int process)
{
	struct search *search = context;
	char path[PROC_PATH_BYTES];

	search->process = os_memory_tid(process);
	snprintf(path, sizeof(path), "/proc/%d/fd", search->process);
	os_each_number(path, look_at_descriptor, search);
	return search->found < 0;
}

static bool look_at_collector(void *context, int process)
{
	char name[32];

	if (!os_thread_name(process, process, name) || strcmp(name, COLLECTOR_NAME) != 0)
		return true;
	return look_at_process(context, process);
}

// The mapping's own file needs a capability, the program may have closed its descriptor, and the
// collector keeps one.
static struct error *open_found(struct arena *arena, int process, int *ret)
{
	struct os_mapping mapping;
	struct search search = { .mapping = &mapping, .found = -1 };
	char path[PROC_PATH_BYTES];

	TRY(find_mapping(arena, process, &mapping));
	snprintf(path, sizeof(path), "/proc/%d/map_files/%llx-%llx", os_memory_tid(process),
	         (unsigned long long)mapping.start, (unsigned long long)mapping.end);
	if (os_shared_open(path, RECORD_NAME, ret) == NULL)
		return NULL;
	if (look_at_process(&search, process))
		os_each_number("/proc", look_at_collector, &search);
	*ret = search.found;
	if (*ret >= 0)
		return NULL;
	return error_new(ERROR_RIGHTS,
	                 "process %d is being recorded, but its shared memory can be opened by "
	                 "root only",
	                 process);
}

static struct error *open_descriptor(int process, int descriptor, int *ret)
{
	struct error *error, *inherited;
	struct arena arena;
	char path[PROC_PATH_BYTES];

	if (descriptor < 0) {
		arena_init(&arena, &os_page_source);
		error = open_found(&arena, process, ret);
		arena_deinit(&arena);
		return error;
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", descriptor);
	inherited = os_shared_open(path, RECORD_NAME, ret);
	if (!inherited)
		return NULL;
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", os_memory_tid(process), descriptor);
	return os_shared_open(path, RECORD_NAME, ret);
}

struct error *collect_share_open(int process, int descriptor, struct collect_share *ret)
{
	struct error *error;
	uint64_t bytes;
	void *memory;
	int fd;

	TRY(open_descriptor(process, descriptor, &fd));
	error = os_shared_map(fd, &memory, &bytes);
	if (!error) {
		error = collect_share_check(memory, bytes, ret);
		if (error)
			os_release(memory, bytes);
	}
	if (error) {
		os_close(fd);
		return error;
	}
	ret->descriptor = fd;
	return NULL;
}

void collect_share_close(struct collect_share *share)
{
	os_release(share->header, share->bytes);
	os_close(share->descriptor);
}
