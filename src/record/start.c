// SPDX-License-Identifier: MIT
// The shared mapping, the collector, the end. Relies on os for both; called by entry, interpose, or by
// a tool that attached. What may be refused (a sandbox without memfd, an address space limit) ends in
// a reason, and the program runs on unrecorded.
#include <errno.h>
#include <string.h>

#include "record/record_impl.h"

enum {
	NODES = 1 << 24,
	MODULES = 4096,
	TEXT_BYTES = 64 << 10,
	RING_BYTES = 512 << 10,
	RING_BYTES_MIN = 8 << 10,
	RING_BYTES_MAX = 256 << 20,
	SHRINKS = 9,      // how often half the size is tried
	RING_SHRINKS = 3, // after so many rings become smaller, too, and the list of modules
	RINGS_MIN = 32,
	MODULES_MIN = 256,
	LIMIT_PART = 16, // of a limited address space the program keeps all but one such part
	SAMPLE_BYTES = 512 << 10,
	PATH_BYTES = RECORD_PATH_BYTES,
	FIRST_PROCESS = 1,
	NOBODY = 0, // of ours
};

_Static_assert((int)NODES <= (int)RECORD_LIVE_NODES, "a live block's cell has room for its node");

static const uint64_t default_wait_ns = 100000000, start_limit_ns = 10000000000,
		      await_limit_ns = 2000000000;
// How often a collector that does not answer is looked for.
static const uint64_t look_ns = 50000000;
static const uint64_t flush_limit_ns = 2000000000;

static struct record_gate closed_gate;
struct record_gate *record_gate = &closed_gate;
struct record_header *record_header;
struct record_settings record_settings;
uint64_t record_clock_start;
bool record_clock_ticks;

static struct record_hooks *started_hooks;
static char log_path[PATH_BYTES], collector_path[PATH_BYTES];
static const char options_name[] = "HEAPWRIGHT_COLLECTOR=";
static char collector_options
	[PATH_BYTES]; // filled in late: programs that are not recorded do not touch it

// --- the mapping ----------------------------------------------------------------------------------
static uint64_t page_up(uint64_t bytes)
{
	return (bytes + RECORD_PAGE_BYTES - 1) & -(uint64_t)RECORD_PAGE_BYTES;
}

static uint32_t power_of_two_below(uint64_t n)
{
	return UINT32_C(1) << (31 - __builtin_clz((uint32_t)n));
}

static uint32_t ring_events(unsigned shrink)
{
	uint64_t bytes = record_settings.ring_bytes ? record_settings.ring_bytes : RING_BYTES;

	bytes >>= shrink > RING_SHRINKS ? shrink - RING_SHRINKS : 0;
	if (bytes < RING_BYTES_MIN)
		bytes = RING_BYTES_MIN;
	if (bytes > RING_BYTES_MAX)
		bytes = RING_BYTES_MAX;
	return power_of_two_below(bytes / sizeof(struct record_event));
}

static uint32_t halved(uint32_t count, unsigned times, uint32_t least)
{
	return count >> times > least ? count >> times : least;
}

static uint64_t place(uint64_t *end, uint64_t bytes)
{
	uint64_t at = *end;

	*end += page_up(bytes);
	return at;
}

// Where everything lies, with capacities halved so many times.
static void plan(struct record_header *header, unsigned shrink)
{
	bool drained = record_settings.mode != RECORD_LITE;
	uint64_t end = page_up(sizeof(*header));

	header->node_capacity = NODES >> shrink;
	header->module_capacity = halved(MODULES, shrink / 2, MODULES_MIN);
	header->text_capacity = TEXT_BYTES;
	header->ring_capacity = halved(RECORD_RINGS_MAX, shrink, RINGS_MIN);
	header->ring_events = drained ? ring_events(shrink) : 1; // else only for who owns it
	header->live_capacity =
		drained || record_settings.own_nodes_only ? 0 : record_live_bytes(shrink);
	header->ring_stride = page_up(sizeof(struct record_ring) +
	                              header->ring_events * sizeof(struct record_event));
	header->nodes_offset =
		place(&end, (uint64_t)header->node_capacity * sizeof(struct record_node));
	header->modules_offset =
		place(&end, (uint64_t)header->module_capacity * sizeof(struct record_module));
	header->texts_offset = place(&end, header->text_capacity);
	header->rings_offset = place(&end, header->ring_capacity * header->ring_stride);
	header->live_offset = place(&end, header->live_capacity);
	header->total_bytes = end;
}

static void describe(struct record_header *header)
{
	header->version = RECORD_VERSION;
	header->bytes = sizeof(*header);
	header->node_bytes = sizeof(struct record_node);
	header->module_bytes = sizeof(struct record_module);
	header->ring_header_bytes = sizeof(struct record_ring);
	header->event_bytes = sizeof(struct record_event);
	header->live_bytes = sizeof(struct record_live);
	header->mode = record_settings.mode;
	header->what = record_settings.what;
	header->process_id = (uint32_t)inside_process_id();
	header->sample_bytes = record_settings.sample_bytes;
	header->wait_ns = record_settings.wait_ns;
	header->node_count = 1; // 0 is no stack
	memcpy(header->log_path, log_path, strlen(log_path) + 1);
}

static void start_clock(struct record_header *header)
{
	record_clock_ticks = inside_ticks_steady();
	header->clock = record_clock_ticks ? RECORD_CLOCK_TSC : RECORD_CLOCK_MONOTONIC;
	header->wall_ns = inside_wall_ns();
	header->start_ns = inside_monotonic_ns();
	header->clock_start = record_clock_ticks ? inside_ticks() : header->start_ns;
	record_clock_start = header->clock_start;
}

// The descriptor, or a negated errno.
static int map_shared(struct record_header **ret)
{
	static struct record_header sizes; // too big for a small stack
	void *memory = NULL;
	int fd = inside_share_create(RECORD_NAME), error = 0;

	if (fd < 0)
		return fd;
	for (unsigned shrink = 0; shrink <= SHRINKS && !memory; shrink++) {
		plan(&sizes, shrink);
		error = sizes.total_bytes > inside_address_limit() / LIMIT_PART
		                ? -ENOMEM
		                : inside_share_map(fd, sizes.total_bytes, &memory);
	}
	if (!memory) {
		inside_close(fd);
		return error;
	}
	*ret = memory;
	plan(*ret, (unsigned)__builtin_ctz(NODES) - (unsigned)__builtin_ctz(sizes.node_capacity));
	return fd;
}

// --- the gate -------------------------------------------------------------------------------------
static struct record_gate *make_gate(void)
{
	struct record_gate *gate =
		inside_map(RECORD_PAGE_BYTES, RECORD_PAGE_BYTES, INSIDE_READ_WRITE);

	// An older kernel: the handlers of fork close it then.
	if (gate)
		inside_wipe_on_fork(gate, RECORD_PAGE_BYTES);
	return gate;
}

// --- the collector --------------------------------------------------------------------------------
// Its id, or a negated errno.
static int start_collector(int fd)
{
	char process[INSIDE_NUMBER_BYTES], descriptor[INSIDE_NUMBER_BYTES],
		limit[48] = "--max-size=";
	const char *const words[] = {
		record_settings.collector,
		inside_number_text(process + sizeof(process), (uint64_t)inside_process_id()),
		inside_number_text(descriptor + sizeof(descriptor), INSIDE_SPAWN_DESCRIPTOR),
		"--replace",
		record_settings.max_log_bytes ? limit : NULL,
		NULL,
	};
	const char *const environment[] = { collector_options, NULL };
	const struct inside_spawn_own own = { record_header, record_header->total_bytes };
	const char *digits =
		inside_number_text(limit + sizeof(limit), record_settings.max_log_bytes);

	memmove(limit + strlen("--max-size="), digits, strlen(digits) + 1);
	return inside_spawn(record_settings.collector, words, environment, fd, &own);
}

// One that ended may have answered just before.
static bool collector_ended(int collector)
{
	return !inside_process_lives(collector) &&
	       !__atomic_load_n(&record_header->collector, __ATOMIC_ACQUIRE);
}

static const char *await_collector(int collector, uint64_t limit_ns)
{
	uint64_t last_ns = inside_monotonic_ns() + limit_ns;

	while (!__atomic_load_n(&record_header->collector, __ATOMIC_ACQUIRE)) {
		if (inside_monotonic_ns() >= last_ns ||
		    (collector != NOBODY && collector_ended(collector)))
			return "the collector of the log did not answer";
		inside_share_wait(&record_header->collector, RECORD_COLLECTOR_NONE, look_ns);
	}
	return record_header->collector == RECORD_COLLECTOR_RUNS ? NULL
	                                                         : "the log could not be written";
}

static const char *begin_collector(int fd)
{
	int collector = start_collector(fd);

	return collector < 0 ? "the collector of the log cannot be started"
	                     : await_collector(collector, start_limit_ns);
}

static int kept_descriptor = -1;

// --- start and stop -------------------------------------------------------------------------------
static const char *copy_text(const char *text, char *room, size_t bytes)
{
	size_t n = text ? strlen(text) : 0;

	if (!n || n >= bytes) {
		*room = '\0';
		return NULL;
	}
	return memmove(room, text, n + 1);
}

static void copy_settings(const struct record_settings *settings)
{
	char *options = collector_options + sizeof(options_name) - 1;

	record_settings = *settings;
	record_settings.log_path = copy_text(settings->log_path, log_path, PATH_BYTES);
	record_settings.collector = copy_text(settings->collector, collector_path, PATH_BYTES);
	memcpy(collector_options, options_name, sizeof(options_name));
	record_settings.collector_options =
		copy_text(settings->collector_options, options,
	                  (size_t)(collector_options + PATH_BYTES - options));
	if (!record_settings.sample_bytes)
		record_settings.sample_bytes = SAMPLE_BYTES;
	if (!record_settings.wait_ns)
		record_settings.wait_ns = default_wait_ns;
}

static const char *reason_of(int error)
{
	if (error == -ENOMEM || error == -EFBIG)
		return "a limit of the process (address space or file size) leaves the recorder no room";
	return "the system gives the recorder no shared memory (a sandbox?)";
}

static const struct record_hooks *hooks_of_mode(void)
{
	switch (record_settings.mode) {
	case RECORD_LITE:
		return record_settings.own_nodes_only ? &record_live_node_hooks
		                                      : &record_live_hooks;
	case RECORD_SAMPLED:
		return &record_sample_hooks;
	case RECORD_FULL:
		break;
	}
	return &record_event_hooks;
}

// Of a recording that did not come to be.
static void forget(struct record_header *header)
{
	inside_unmap(header, header->total_bytes);
	record_header = NULL;
}

static const char *begin(void)
{
	struct record_gate *gate = record_gate != &closed_gate ? record_gate : make_gate();
	int fd = gate ? map_shared(&record_header) : -1;
	const char *reason = NULL;

	if (fd < 0)
		return reason_of(fd);
	describe(record_header);
	start_clock(record_header);
	record_nodes_start(record_header);
	record_modules_start(record_header);
	record_thread_start();
	record_event_start();
	if (!record_live_start() || !record_sample_start())
		reason = "there is no memory for the recorder";
	// Somebody may look for it from now on.
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	memcpy(record_header->magic, RECORD_MAGIC, sizeof(record_header->magic));
	if (!reason && record_settings.collector)
		reason = begin_collector(fd);
	else if (!reason && record_settings.awaits_collector)
		reason = await_collector(NOBODY, await_limit_ns);
	if (!record_settings.keep_descriptor || reason)
		inside_close(fd); // who comes later finds the mapping
	else
		kept_descriptor = fd;
	if (reason) {
		forget(record_header);
		return reason;
	}
	record_header->state = RECORD_ON;
	gate->open = 1;
	record_gate = gate;
	return NULL;
}

bool record_start(const struct record_settings *settings, struct record_hooks *ret_hooks,
                  const char **ret_reason)
{
	copy_settings(settings);
	*ret_reason = begin();
	if (*ret_reason)
		return false;
	started_hooks = ret_hooks;
	*ret_hooks = *hooks_of_mode();
	return true;
}

int record_descriptor(void)
{
	return kept_descriptor;
}

struct record_header *record_shared(void)
{
	return record_header;
}

void record_wake_collector(void)
{
	__atomic_fetch_add(&record_header->wake, 1, __ATOMIC_SEQ_CST);
	inside_share_wake(&record_header->wake);
}

void record_close(void)
{
	record_gate->open = 0;
	__atomic_store_n(&record_header->state, RECORD_OFF, __ATOMIC_RELEASE);
	record_wake_collector();
}

static void remove_hooks(void)
{
	if (!started_hooks)
		return;
	__atomic_store_n(&started_hooks->allocated, NULL, __ATOMIC_RELAXED);
	__atomic_store_n(&started_hooks->freed, NULL, __ATOMIC_RELAXED);
	__atomic_store_n(&started_hooks->stack, NULL, __ATOMIC_RELAXED);
	__atomic_store_n(&started_hooks->called, NULL, __ATOMIC_RELAXED);
}

void record_stop(void)
{
	const struct record_position here = RECORD_POSITION_HERE();
	struct record_thread *self;

	if (!record_header || !record_gate->open)
		return;
	remove_hooks();
	self = record_header->ring_capacity ? record_thread_enter(&here) : NULL;
	if (self) {
		record_event_append(self, RECORD_STOP, 0, 0, 0, 0);
		record_thread_leave(self);
	}
	record_close();
}

// The end of the first process of a pid namespace is that of all in it, the collector too.
static void flush(void)
{
	uint64_t last_ns = inside_monotonic_ns() + flush_limit_ns;
	uint32_t asked = __atomic_add_fetch(&record_header->flush_asked, 1, __ATOMIC_SEQ_CST);
	uint32_t done;

	record_wake_collector();
	while ((int32_t)((done = __atomic_load_n(&record_header->flush_done, __ATOMIC_ACQUIRE)) -
	                 asked) < 0 &&
	       record_header->collector == RECORD_COLLECTOR_RUNS && inside_monotonic_ns() < last_ns)
		inside_share_wait(&record_header->flush_done, done, look_ns);
}

void record_finish(void)
{
	if (!record_header || !record_gate->open)
		return;
	record_wake_collector();
	if (inside_process_id() == FIRST_PROCESS && record_header->mode != RECORD_LITE)
		flush();
}

// In a child made by fork: the parent's recording is none of ours. The mapping stays where a handler
// may have interrupted the recorder, which then goes on in it.
void record_detach_child(void)
{
	struct record_header *header = record_header;

	record_gate = &closed_gate;
	if (header && !(record_self && record_self->inside && !record_self->stale))
		forget(header);
}

// A recording of the same kind of this process alone.
bool record_start_again(const char *log)
{
	struct record_settings settings = record_settings;

	settings.log_path = log;
	settings.collector = collector_path;
	settings.keep_descriptor = false;
	settings.awaits_collector = !*collector_path;
	copy_settings(&settings);
	return !begin();
}
