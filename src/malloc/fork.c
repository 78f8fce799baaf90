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
//   - Between enter and leave (cache.c) the handler finds an empty, full cache and then the orphans', so
//     it never sees a bin half changed. A free never waits for the lock of its class: the block is
//     parked then. A malloc can wait for ever when the thread that it interrupted holds the very lock
//     it needs, and so can both for that of the pool, of the orphans, of a zone that is not the default
//     one.
//   - In malloc_fast and malloc_fast_free pairs of malloc and free are harmless, for they leave bin and
//     slots as they were. A handler that keeps a block may get the one that the thread is about to
//     take; a block it frees may be forgotten.
#include "malloc/malloc_impl.h"

static void zone_lock(struct core_zone *zone)
{
	inside_lock(&zone->lock);
	if (!zone->number)
		for (unsigned class = 0; class < CLASS_COUNT; class ++)
			inside_lock(&zone->shards[class].lock);
	inside_lock(&zone->pool.lock);
}

static void zone_unlock(struct core_zone *zone, void (*unlock)(struct inside_lock *))
{
	unlock(&zone->pool.lock);
	if (!zone->number)
		for (unsigned class = 0; class < CLASS_COUNT; class ++)
			unlock(&zone->shards[class].lock);
	unlock(&zone->lock);
}

static void each_zone_unlock(void (*unlock)(struct inside_lock *))
{
	for (uint32_t i = 0; i < heapwright_malloc.zone_count; i++)
		if (malloc_core_zones[i])
			zone_unlock(malloc_core_zones[i], unlock);
}

void malloc_core_lock(void)
{
	malloc_start_once();
	inside_lock(&malloc_zones_lock);
	inside_lock(&malloc_threads_lock);
	inside_lock(&malloc_orphan_lock);
	for (uint32_t i = 0; i < heapwright_malloc.zone_count; i++)
		if (malloc_core_zones[i])
			zone_lock(malloc_core_zones[i]);
	inside_lock(&malloc_keep_lock);
	inside_lock(&malloc_region_lock);
	inside_lock(&malloc_map_lock);
	inside_lock(&malloc_meta_lock);
}

static void unlock_all(void (*unlock)(struct inside_lock *))
{
	unlock(&malloc_meta_lock);
	unlock(&malloc_map_lock);
	unlock(&malloc_region_lock);
	unlock(&malloc_keep_lock);
	each_zone_unlock(unlock);
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
	unlock_all(unlock);
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
	unlock_all(forget_holder);
	malloc_cache_forked();
	malloc_registry_fork_child();
}
