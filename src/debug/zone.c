// SPDX-License-Identifier: MIT
// The functions of a wrapped zone. Each call that allocates counts as one operation for the heap
// check; everything that touches blocks happens inside the gate. free finds the zone of a block by
// itself, so that any wrapped zone frees any block of a core zone, as free() needs it.
#include "debug/debug_impl.h"

#include <errno.h>
#include <string.h>

enum {
	ANY_ALIGNMENT = 16,
	OPTION_CLEAR = 1,     // of malloc_with_options
	VERSION_UNTYPED = 15, // up to malloc_with_options: typed calls come as the plain ones
};

static bool fills_freed(void)
{
	return debug_settings.scribble || debug_settings.edges || debug_settings.zero_on_free;
}

static void *out_of_memory(void)
{
	errno = ENOMEM;
	return NULL;
}

// Zeroed runs of pages come from the core, which knows when they are fresh. Small blocks are cleared
// here, since the filling of their last life has to be looked at first.
static void *allocate_shape(malloc_zone_t *core, const struct debug_shape *shape, size_t bytes,
                            bool zeroed)
{
	bool clear_here = zeroed && (shape->alignment > ANY_ALIGNMENT ||
	                             (fills_freed() && shape->total_bytes <= MALLOC_SMALL_MAX));
	enum debug_contents contents = DEBUG_CONTENTS_ANY;
	void *start;

	if (zeroed)
		contents = clear_here ? DEBUG_CONTENTS_CLEAR : DEBUG_CONTENTS_ZERO;
	if (shape->alignment > ANY_ALIGNMENT)
		start = core->memalign(core, shape->alignment, shape->total_bytes);
	else if (contents == DEBUG_CONTENTS_ZERO)
		start = core->calloc(core, 1, shape->total_bytes);
	else
		start = core->malloc(core, shape->total_bytes);
	return start ? debug_block_open(start, shape, bytes, contents) : NULL;
}

static void *allocate(malloc_zone_t *zone, size_t alignment, size_t bytes, bool zeroed)
{
	malloc_zone_t *core = debug_zone_core(zone);
	struct debug_shape shape;
	void *user;

	debug_check_operation();
	if (!debug_shape_make(alignment, bytes, &shape))
		return out_of_memory();
	debug_gate_enter();
	user = allocate_shape(core, &shape, bytes, zeroed);
	if (!user && debug_keep_give_back())
		user = allocate_shape(core, &shape, bytes, zeroed);
	debug_gate_leave();
	return user;
}

static void *zone_malloc(malloc_zone_t *zone, size_t bytes)
{
	return allocate(zone, ANY_ALIGNMENT, bytes, false);
}

static void *zone_calloc(malloc_zone_t *zone, size_t count, size_t bytes)
{
	size_t total;

	if (__builtin_mul_overflow(count, bytes, &total))
		return out_of_memory();
	return allocate(zone, ANY_ALIGNMENT, total, true);
}

static void *zone_valloc(malloc_zone_t *zone, size_t bytes)
{
	return allocate(zone, debug_page_bytes, bytes, true);
}

static void *zone_memalign(malloc_zone_t *zone, size_t alignment, size_t bytes)
{
	size_t power = ANY_ALIGNMENT;

	while (power < alignment && power <= PTRDIFF_MAX)
		power *= 2;
	return allocate(zone, power, bytes, false);
}

static void *zone_malloc_with_options(malloc_zone_t *zone, size_t alignment, size_t bytes,
                                      uint64_t options)
{
	return allocate(zone, alignment > ANY_ALIGNMENT ? alignment : ANY_ALIGNMENT, bytes,
	                options & OPTION_CLEAR);
}

// The edges of a block that was claimed; damage there is said while the block is nobody's.
static void verify_edges(const struct debug_block *block)
{
	struct debug_damage damage;

	if (block->flags & MALLOC_NOTE_REPORTED)
		return;
	if (debug_damage_before(block, &damage))
		debug_damage_report(&damage, true);
	if (debug_damage_behind(block, &damage))
		debug_damage_report(&damage, true);
}

static void zone_free(malloc_zone_t *zone, void *user)
{
	struct debug_block block;
	int saved_errno = errno;

	(void)zone;
	if (!user)
		return;
	debug_gate_enter();
	if (debug_block_claim(user, &block)) {
		verify_edges(&block);
		debug_block_close(&block);
	} else {
		debug_fault_pointer(user, DEBUG_USE_FREE);
	}
	debug_gate_leave();
	errno = saved_errno;
}

// What the program may have written behind what it asked for, knowing the usable size, comes along.
static void *move(malloc_zone_t *zone, struct debug_block *old, size_t bytes)
{
	struct debug_shape shape;
	size_t old_bytes = debug_block_usable(old);
	void *user = NULL;

	if (debug_shape_make(ANY_ALIGNMENT, bytes, &shape))
		user = allocate_shape(debug_zone_core(zone), &shape, bytes, false);
	if (!user) {
		debug_block_unclaim(old);
		return out_of_memory();
	}
	memcpy(user, old->user, old_bytes < bytes ? old_bytes : bytes);
	debug_block_close(old);
	return user;
}

static void *resize(malloc_zone_t *zone, void *user, size_t bytes)
{
	struct debug_block block;

	if (!debug_block_claim(user, &block)) {
		debug_fault_pointer(user, DEBUG_USE_REALLOC);
		return out_of_memory();
	}
	verify_edges(&block);
	if (debug_block_refit(&block, bytes))
		return user;
	return move(zone, &block, bytes);
}

static void *zone_realloc(malloc_zone_t *zone, void *user, size_t bytes)
{
	void *result;

	if (!user)
		return zone_malloc(zone, bytes);
	debug_check_operation();
	debug_gate_enter();
	result = resize(zone, user, bytes);
	debug_gate_leave();
	return result;
}

// 0 would say that the block is not this zone's.
static size_t zone_size(malloc_zone_t *zone, const void *user)
{
	struct debug_block block;
	size_t bytes;

	if (!debug_block_at(user, &block) || block.user != user ||
	    !(block.flags & MALLOC_NOTE_LIVE) || block.core.zone != debug_zone_core(zone))
		return 0;
	bytes = debug_block_usable(&block);
	return bytes ? bytes : 1;
}

static unsigned zone_batch_malloc(malloc_zone_t *zone, size_t bytes, void **results, unsigned count)
{
	unsigned done = 0;

	while (done < count && (results[done] = zone_malloc(zone, bytes)))
		done++;
	return done;
}

static void zone_batch_free(malloc_zone_t *zone, void **blocks, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		zone_free(zone, blocks[i]);
}

static void zone_free_definite_size(malloc_zone_t *zone, void *user, size_t bytes)
{
	(void)bytes;
	zone_free(zone, user);
}

static size_t zone_pressure_relief(malloc_zone_t *zone, size_t goal)
{
	size_t returned;

	debug_gate_enter();
	returned = malloc_core_relieve(debug_zone_core(zone), goal);
	debug_gate_leave();
	return returned;
}

static boolean_t zone_claimed_address(malloc_zone_t *zone, void *address)
{
	struct malloc_block block;

	return malloc_block_at(address, &block) && block.zone == debug_zone_core(zone);
}

static void zone_destroy(malloc_zone_t *zone)
{
	malloc_zone_t *core = debug_zone_core(zone);

	debug_gate_enter();
	debug_keep_forget(core);
	core->destroy(core);
	debug_gate_leave();
	debug_zone_release((struct debug_zone *)zone);
}

// --- introspection: the core's, of the zone inside; the check is ours ------------------------------
static size_t zone_good_size(malloc_zone_t *zone, size_t bytes)
{
	size_t pages = debug_page_bytes - 1;

	(void)zone;
	if (debug_settings.edges)
		return bytes ? bytes : 1;
	if (debug_settings.guard_edges_all && debug_settings.protect_postlude &&
	    bytes < SIZE_MAX - pages)
		return bytes ? (bytes + pages) & ~pages : 1;
	return malloc_core_good_size(bytes);
}

static boolean_t zone_check(malloc_zone_t *zone)
{
	(void)zone;
	return debug_check_all();
}

static void zone_print(malloc_zone_t *zone, boolean_t verbose)
{
	malloc_zone_t *core = debug_zone_core(zone);

	core->introspect->print(core, verbose);
}

static void zone_log(malloc_zone_t *zone, void *address)
{
	malloc_zone_t *core = debug_zone_core(zone);

	core->introspect->log(core, address);
}

static void zone_force_lock(malloc_zone_t *zone)
{
	malloc_zone_t *core = debug_zone_core(zone);

	core->introspect->force_lock(core);
}

static void zone_force_unlock(malloc_zone_t *zone)
{
	malloc_zone_t *core = debug_zone_core(zone);

	core->introspect->force_unlock(core);
}

static void zone_reinit_lock(malloc_zone_t *zone)
{
	malloc_zone_t *core = debug_zone_core(zone);

	core->introspect->reinit_lock(core);
}

static boolean_t zone_locked(malloc_zone_t *zone)
{
	malloc_zone_t *core = debug_zone_core(zone);

	return core->introspect->zone_locked(core);
}

static void zone_statistics(malloc_zone_t *zone, malloc_statistics_t *ret)
{
	malloc_zone_t *core = debug_zone_core(zone);

	core->introspect->statistics(core, ret);
}

static void fill_introspection(struct debug_zone *zone)
{
	malloc_introspection_t *own = &zone->introspection;

	*own = *zone->core->introspect;
	own->zone_type = MALLOC_ZONE_TYPE_WRAPPER;
	own->good_size = zone_good_size;
	own->check = zone_check;
	own->print = own->print ? zone_print : NULL;
	own->log = own->log ? zone_log : NULL;
	own->force_lock = own->force_lock ? zone_force_lock : NULL;
	own->force_unlock = own->force_unlock ? zone_force_unlock : NULL;
	own->reinit_lock = own->reinit_lock ? zone_reinit_lock : NULL;
	own->zone_locked = own->zone_locked ? zone_locked : NULL;
	own->statistics = own->statistics ? zone_statistics : NULL;
}

void debug_zone_functions(struct debug_zone *zone)
{
	zone->zone = *zone->core;
	zone->zone.size = zone_size;
	zone->zone.malloc = zone_malloc;
	zone->zone.calloc = zone_calloc;
	zone->zone.valloc = zone_valloc;
	zone->zone.free = zone_free;
	zone->zone.realloc = zone_realloc;
	zone->zone.destroy = zone_destroy;
	zone->zone.batch_malloc = zone_batch_malloc;
	zone->zone.batch_free = zone_batch_free;
	zone->zone.memalign = zone_memalign;
	zone->zone.free_definite_size = zone_free_definite_size;
	zone->zone.pressure_relief = zone_pressure_relief;
	zone->zone.claimed_address = zone_claimed_address;
	zone->zone.try_free_default = zone_free;
	zone->zone.malloc_with_options = zone_malloc_with_options;
	zone->zone.version = VERSION_UNTYPED;
	fill_introspection(zone);
	zone->zone.introspect = &zone->introspection;
}
