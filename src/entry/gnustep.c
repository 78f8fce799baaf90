// SPDX-License-Identifier: MIT
// GNUstep's zones made of ours, for programs that run on libgnustep-base: its functions for zones call
// each other and are called through the dynamic linker, so ours take the place of the three below, and
// all others work on what NSCreateZone returns, through the functions in it. Shared libraries only.
//
// An NSZone is a struct that Foundation/NSZone.h shows: seven functions, granularity, name, next. What
// is freed when it is recycled follows OpenStep: blocks in use stay, and the zone ends with the last.
// GNUstep is not linked: what is needed of it, and of the Objective-C runtime, is looked up when the
// first zone is made. The rest of the program is not touched by this file.
#include <dlfcn.h>
#include <stdbool.h>
#include <stdlib.h>

#include "entry/entry.h"

typedef unsigned char ns_bool;
typedef void *id;
typedef void *(*message)(id self, void *selector, ...);

struct ns_zone_stats {
	size_t bytes_total, chunks_used, bytes_used, chunks_free, bytes_free;
};

struct ns_zone {
	void *(*malloc)(struct ns_zone *zone, size_t size);
	void *(*realloc)(struct ns_zone *zone, void *ptr, size_t size);
	void (*free)(struct ns_zone *zone, void *ptr);
	void (*recycle)(struct ns_zone *zone);
	ns_bool (*check)(struct ns_zone *zone);
	ns_bool (*lookup)(struct ns_zone *zone, void *ptr);
	struct ns_zone_stats (*stats)(struct ns_zone *zone);
	size_t granularity;
	id name; // an NSString that the zone owns
	struct ns_zone *next;

	malloc_zone_t *zone; // ours, from here on
	size_t blocks;       // in use, plus one until it is recycled
};

// A zone of ours that serves an NSZone has that in reserved1 and the address of this in reserved2.
static char tag;

MALLOC_EXPORT struct ns_zone *NSCreateZone(size_t start, size_t granularity, ns_bool can_free);
MALLOC_EXPORT struct ns_zone *NSZoneFromPointer(void *ptr);
MALLOC_EXPORT void NSSetZoneName(struct ns_zone *zone, id name);

// --- Objective-C ------------------------------------------------------------------------------------
// Sends a message with up to two arguments; nil when the runtime is not there.
static id send(id receiver, const char *name, const void *first, const void *second)
{
	void *(*selector_of)(const char *) = dlsym(RTLD_DEFAULT, "sel_registerName");
	message (*lookup)(id, void *) = dlsym(RTLD_DEFAULT, "objc_msg_lookup");
	void *selector;

	if (!receiver || !selector_of || !lookup)
		return NULL;
	selector = selector_of(name);
	return lookup(receiver, selector)(receiver, selector, first, second);
}

static id class_named(const char *name)
{
	id (*get_class)(const char *) = dlsym(RTLD_DEFAULT, "objc_getClass");

	return get_class ? get_class(name) : NULL;
}

// As GNUstep's own zones do. Returns only when there is no NSException.
static void raise_exception(const char *reason)
{
	id *name = dlsym(RTLD_DEFAULT, "NSMallocException");
	id text = send(class_named("NSString"), "stringWithUTF8String:", reason, NULL);

	if (name)
		send(class_named("NSException"), "raise:format:", *name, text);
}

// --- the functions of a zone ------------------------------------------------------------------------
static void *zone_malloc(struct ns_zone *zone, size_t size)
{
	void *block = malloc_zone_malloc(zone->zone, size);

	if (block)
		__atomic_fetch_add(&zone->blocks, 1, __ATOMIC_RELAXED);
	else
		raise_exception("Zone has run out of memory");
	return block;
}

static void let_go(struct ns_zone *zone)
{
	if (__atomic_sub_fetch(&zone->blocks, 1, __ATOMIC_ACQ_REL))
		return;
	malloc_destroy_zone(zone->zone);
	free(zone);
}

static void zone_free(struct ns_zone *zone, void *ptr)
{
	if (!ptr)
		return;
	malloc_zone_free(zone->zone, ptr);
	let_go(zone);
}

static void *zone_realloc(struct ns_zone *zone, void *ptr, size_t size)
{
	void *block;

	if (!ptr)
		return zone_malloc(zone, size);
	if (!size) {
		zone_free(zone, ptr);
		return NULL;
	}
	block = malloc_zone_realloc(zone->zone, ptr, size);
	if (!block)
		raise_exception("Zone has run out of memory");
	return block;
}

static void *recycled_malloc(struct ns_zone *zone, size_t size)
{
	(void)zone;
	(void)size;
	raise_exception("Attempt to malloc memory in recycled zone");
	return NULL;
}

static void *recycled_realloc(struct ns_zone *zone, void *ptr, size_t size)
{
	(void)zone;
	(void)ptr;
	(void)size;
	raise_exception("Attempt to realloc memory in recycled zone");
	return NULL;
}

static void recycled_recycle(struct ns_zone *zone)
{
	(void)zone;
	raise_exception("Attempt to recycle a recycled zone");
}

static void zone_recycle(struct ns_zone *zone)
{
	id name = zone->name;

	zone->name = NULL;
	send(name, "release", NULL, NULL);
	zone->malloc = recycled_malloc;
	zone->realloc = recycled_realloc;
	zone->recycle = recycled_recycle;
	let_go(zone);
}

static ns_bool zone_check(struct ns_zone *zone)
{
	return malloc_zone_check(zone->zone) != 0;
}

static ns_bool zone_lookup(struct ns_zone *zone, void *ptr)
{
	return malloc_zone_claimed_address(zone->zone, ptr) != 0;
}

static struct ns_zone_stats zone_stats(struct ns_zone *zone)
{
	malloc_statistics_t sums;

	malloc_zone_statistics(zone->zone, &sums);
	return (struct ns_zone_stats){
		.bytes_total = sums.size_allocated,
		.chunks_used = sums.blocks_in_use,
		.bytes_used = sums.size_in_use,
		.bytes_free = sums.size_allocated - sums.size_in_use,
	};
}

// --- in place of GNUstep's --------------------------------------------------------------------------
// A zone whose blocks cannot be freed one by one may free them all the same.
struct ns_zone *NSCreateZone(size_t start, size_t granularity, ns_bool can_free)
{
	struct ns_zone *zone = calloc(1, sizeof(*zone));

	(void)can_free;
	if (zone)
		zone->zone = malloc_create_zone(start, 0);
	if (!zone || !zone->zone) {
		free(zone);
		raise_exception("No memory to create zone");
		return NULL;
	}
	zone->malloc = zone_malloc;
	zone->realloc = zone_realloc;
	zone->free = zone_free;
	zone->recycle = zone_recycle;
	zone->check = zone_check;
	zone->lookup = zone_lookup;
	zone->stats = zone_stats;
	zone->granularity = granularity;
	zone->blocks = 1;
	zone->zone->reserved1 = zone;
	zone->zone->reserved2 = &tag;
	return zone;
}

struct search {
	void *ptr;
	malloc_zone_t *found;
};

static bool look_in_zone(void *context, malloc_zone_t *zone)
{
	struct search *search = context;

	if (zone->reserved2 == &tag && malloc_zone_claimed_address(zone, search->ptr))
		search->found = zone;
	return !search->found;
}

// The zone of a block by its start or, as GNUstep allows, any address in it. Objects have a word of
// GNUstep's before them, so that is what -zone asks for.
static malloc_zone_t *zone_around(void *ptr)
{
	struct search search = { .ptr = ptr };
	const struct malloc_zone_record *records;
	struct malloc_block block;

	if (malloc_block_at(ptr, &block)) {
		records = (const struct malloc_zone_record *)heapwright_malloc.zones;
		return (malloc_zone_t *)records[malloc_core_index(block.zone)].address;
	}
	malloc_registry_each(look_in_zone, &search);
	return search.found;
}

struct ns_zone *NSZoneFromPointer(void *ptr)
{
	struct ns_zone *(*default_zone)(void) = dlsym(RTLD_DEFAULT, "NSDefaultMallocZone");
	malloc_zone_t *zone = ptr ? zone_around(ptr) : NULL;

	if (zone && zone->reserved2 == &tag)
		return zone->reserved1;
	return ptr && default_zone ? default_zone() : NULL;
}

void NSSetZoneName(struct ns_zone *zone, id name)
{
	void (*next)(struct ns_zone *, id) = dlsym(RTLD_NEXT, "NSSetZoneName");
	malloc_zone_t *ours = zone && zone->malloc == zone_malloc ? zone->zone : NULL;

	if (next)
		next(zone, name);
	if (ours)
		malloc_set_zone_name(ours, (const char *)send(name, "UTF8String", NULL, NULL));
}
