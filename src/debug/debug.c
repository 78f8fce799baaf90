// SPDX-License-Identifier: MIT
// Settings, wrapped zones and fork. Wrapped zones lie in pages of their own that are never given back:
// a destroyed one is used again, since programs keep the address of a zone longer than they should.
#include "debug/debug_impl.h"

#include <string.h>
#include <sys/auxv.h>

#include "os/inside.h"

enum { CHUNK_BYTES = 64 << 10 };

struct debug_settings debug_settings;
size_t debug_page_bytes = 4096;

static struct inside_lock lock; // guards the next two
static struct debug_zone *unused_zones;
static bool closed_for_fork;

MALLOC_AT_START bool debug_wanted(const struct debug_settings *settings)
{
	return settings->scribble || settings->pre_scribble || settings->zero_on_free ||
	       settings->guard_edges || settings->guard_edges_all || settings->edges ||
	       settings->notes || settings->check_heap;
}

uint32_t debug_features(const struct debug_settings *settings)
{
	uint32_t features = 0;

	if (debug_wanted(settings))
		features |= MALLOC_FEATURE_NOTES;
	if (settings->edges || settings->check_heap)
		features |= MALLOC_FEATURE_EDGES | MALLOC_FEATURE_SCRIBBLE;
	if (settings->scribble || settings->zero_on_free)
		features |= MALLOC_FEATURE_SCRIBBLE;
	if (settings->guard_edges || settings->guard_edges_all)
		features |= MALLOC_FEATURE_GUARD_EDGES;
	return features;
}

void debug_start(const struct debug_settings *settings)
{
	malloc_stack_of_frees = true;
	debug_settings = *settings;
	if (!debug_settings.check_each)
		debug_settings.check_each = 1;
	// The core's tables lie out of reach of an overrun: a check needs edges to find one.
	if (debug_settings.check_heap && !debug_settings.edges) {
		debug_settings.edges = true;
		debug_settings.keep_back_bytes = 0;
	}
	debug_page_bytes = getauxval(AT_PAGESZ);
	if (debug_settings.scribble || debug_settings.pre_scribble || debug_settings.edges ||
	    debug_settings.guard_edges || debug_settings.guard_edges_all)
		debug_crash_start();
}

// --- zones ----------------------------------------------------------------------------------------
static void add_chunk(void)
{
	struct debug_zone *chunk = inside_map(CHUNK_BYTES, debug_page_bytes, INSIDE_READ_WRITE);

	for (size_t i = 0; chunk && i < CHUNK_BYTES / sizeof(*chunk); i++) {
		chunk[i].next = unused_zones;
		unused_zones = &chunk[i];
	}
}

static struct debug_zone *take_unused(void)
{
	struct debug_zone *zone;
	uint64_t signals = inside_signals_block();

	inside_lock(&lock);
	if (!unused_zones)
		add_chunk();
	zone = unused_zones;
	if (zone)
		unused_zones = zone->next;
	inside_unlock(&lock);
	inside_signals_restore(signals);
	return zone;
}

malloc_zone_t *debug_zone_wrap(malloc_zone_t *core)
{
	struct debug_zone *zone = take_unused();

	if (!zone)
		return NULL;
	zone->core = core;
	debug_zone_functions(zone);
	return &zone->zone;
}

void debug_zone_release(struct debug_zone *zone)
{
	uint64_t signals = inside_signals_block();

	memset(zone, 0, sizeof(*zone));
	inside_lock(&lock);
	zone->next = unused_zones;
	unused_zones = zone;
	inside_unlock(&lock);
	inside_signals_restore(signals);
}

// --- fork -----------------------------------------------------------------------------------------
void debug_fork_prepare(void)
{
	closed_for_fork = debug_wanted(&debug_settings) && debug_gate_close();
}

void debug_fork_parent(void)
{
	if (closed_for_fork)
		debug_gate_open();
}

void debug_fork_child(void)
{
	debug_keep_child();
	debug_check_child();
	lock.state = 0;
	debug_gate_reset(closed_for_fork);
}
