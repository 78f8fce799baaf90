// SPDX-License-Identifier: MIT
// Around fork. The forking thread takes every lock in the order of malloc_impl.h, so that the child's
// copy of what they guard is whole; the child then frees them by writing zero, for the threads that
// might wait in them are gone.
//
// What no lock guards is what other threads did at that instant: a bin between two steps of malloc_fast
// (at most one block is lost to the child), and a flush (its record says which blocks are in their
// slabs; of the group that was under way those without a bit may belong to another thread: they are
// taken for live). The child gives the rest of such threads' caches back and uses their records again.
//
// vfork needs nothing: the child runs on the parent's memory while the parent's thread waits, so its
// calls are those of that thread.
//
// Signal handlers. A handler that calls malloc or free on a thread that is inside these functions is
// undefined by POSIX, with libc's malloc too. What holds here:
//   - No handler waits for the thread that it interrupted. Between enter and leave (cache.c) it finds an
//     empty, full cache and then that of interrupters. With that it only tries the locks of shards,
//     pools and metadata for a while. What it cannot get so it takes from a mapping of its own
//     (large.c); what it cannot give back so it leaves to a later one: blocks are parked (cache.c),
//     spans and records wait in lists (extent.c, meta.c). All other locks that it may meet are held
//     with signals blocked: by interrupters and orphans for as long as they are inside, else where a
//     lock is rarely taken. Zones are not made or destroyed in handlers.
//   - Nothing else of this is lost or handed out twice, with one exception: malloc_fast and
//     malloc_fast_free, and their kin in core.c, are short because they say nobody that they are under
//     way. A handler that interrupts one of them and uses blocks of the same class may get the block
//     that the thread is about to take, and blocks may be forgotten. While a feature sees every call,
//     they run between enter and leave or not at all, and handlers are safe.
#include "malloc/malloc_impl.h"

static void each_shard(void (*act)(struct inside_lock *))
{
	for (unsigned arena = 0; arena < zone_arenas(&malloc_zone_default); arena++)
		for (unsigned class = 0; class < CLASS_COUNT; class ++)
			act(&zone_shard(&malloc_zone_default, class, arena)->lock);
}

static void zone_lock(struct core_zone *zone)
{
	inside_lock(&zone->lock);
	if (!zone->number)
		each_shard(inside_lock);
	inside_lock(&zone->pool.lock);
}

static void zone_unlock(struct core_zone *zone, void (*unlock)(struct inside_lock *))
{
	unlock(&zone->large_lock);
	unlock(&zone->pool.lock);
	if (!zone->number)
		each_shard(unlock);
	unlock(&zone->lock);
}

static void each_zone_unlock(void (*unlock)(struct inside_lock *))
{
	for (uint32_t i = 0; i < heapwright_malloc.zone_count; i++)
		if (malloc_core_zones[i])
			zone_unlock(malloc_core_zones[i], unlock);
}

static uint64_t signals; // blocked before; guarded by the lock of the zones

void malloc_core_lock(void)
{
	uint64_t before;

	malloc_start_once();
	before = malloc_lock_quietly(&malloc_zones_lock);
	signals = before;
	inside_lock(&malloc_threads_lock);
	inside_lock(&malloc_orphan_lock);
	for (uint32_t i = 0; i < heapwright_malloc.zone_count; i++)
		if (malloc_core_zones[i])
			zone_lock(malloc_core_zones[i]);
	// The holders of these two may be interrupted by one who waits for the third.
	malloc_depot_each_lock(inside_lock);
	inside_lock(&malloc_meta_lock);
	inside_lock(&malloc_interrupter_lock);
	for (uint32_t i = 0; i < heapwright_malloc.zone_count; i++)
		if (malloc_core_zones[i])
			inside_lock(&malloc_core_zones[i]->large_lock);
	inside_lock(&malloc_keep_lock);
	inside_lock(&malloc_region_lock);
	inside_lock(&malloc_map_lock);
}

static void unlock_all(void (*unlock)(struct inside_lock *))
{
	unlock(&malloc_map_lock);
	unlock(&malloc_region_lock);
	unlock(&malloc_keep_lock);
	each_zone_unlock(unlock);
	unlock(&malloc_interrupter_lock);
	unlock(&malloc_meta_lock);
	malloc_depot_each_lock(unlock);
	unlock(&malloc_orphan_lock);
	unlock(&malloc_threads_lock);
	unlock(&malloc_zones_lock);
}

static void unlock(struct inside_lock *lock)
{
	inside_unlock(lock);
}

static void forget_holder(struct inside_lock *lock)
{
	lock->state = 0;
}

void malloc_core_unlock(void)
{
	uint64_t before = signals;

	unlock_all(unlock);
	inside_signals_restore(before);
}

void malloc_fork_prepare(void)
{
	malloc_registry_fork_prepare();
	malloc_core_lock();
}

void malloc_fork_parent(void)
{
	malloc_core_unlock();
	malloc_registry_fork_parent();
}

void malloc_fork_child(void)
{
	uint64_t before = signals;

	unlock_all(forget_holder);
	malloc_cache_forked();
	inside_signals_restore(before);
	malloc_registry_fork_child();
}
