// SPDX-License-Identifier: MIT
// A GNUstep program that uses zones as its documentation says. Run under the malloc library with the
// argument "ours" it also asks that library whose the blocks are.
#import <Foundation/Foundation.h>

#include <dlfcn.h>
#include <malloc/malloc.h>

static malloc_zone_t *(*from_ptr)(const void *);
static const char *(*name_of)(malloc_zone_t *);
static unsigned *zone_count;

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "line %d: not true: %s\n", __LINE__, #condition);          \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

static void look_up(void)
{
	from_ptr = (malloc_zone_t *(*)(const void *))dlsym(RTLD_DEFAULT, "malloc_zone_from_ptr");
	name_of = (const char *(*)(malloc_zone_t *))dlsym(RTLD_DEFAULT, "malloc_get_zone_name");
	zone_count = (unsigned *)dlsym(RTLD_DEFAULT, "malloc_num_zones");
	CHECK(from_ptr && name_of && zone_count && *zone_count == 1);
}

static void objects_in(NSZone *zone)
{
	NSMutableArray *array = [[NSMutableArray allocWithZone: zone] initWithCapacity: 10];

	for (int i = 0; i < 1000; i++) {
		NSMutableString *text = [[NSMutableString allocWithZone: zone] init];

		[text appendFormat: @"object %d", i];
		CHECK([text zone] == zone);
		[array addObject: text];
		[text release];
	}
	CHECK([[array objectAtIndex: 999] isEqual: @"object 999"]);
	CHECK([array zone] == zone);
	[array release];
}

int main(int argc, char **argv)
{
	NSAutoreleasePool *pool = [NSAutoreleasePool new];
	NSZone *zone, *kept;
	char *block, *survivor;
	BOOL raised = NO;

	(void)argv;
	if (argc > 1)
		look_up();
	zone = NSCreateZone(4096, 4096, YES);
	NSSetZoneName(zone, @"Zone of a GNUstep program");
	CHECK([NSZoneName(zone) isEqual: @"Zone of a GNUstep program"]);
	block = NSZoneMalloc(zone, 100);
	CHECK(NSZoneFromPointer(block) == zone && !NSZoneFromPointer(NULL));
	CHECK(NSZoneFromPointer(NSZoneMalloc(NULL, 10)) == NSDefaultMallocZone());
	block = NSZoneRealloc(zone, block, 100000);
	CHECK(NSZoneFromPointer(block) == zone);
	if (from_ptr) {
		CHECK(!strcmp(name_of(from_ptr(block)), "Zone of a GNUstep program"));
		CHECK(*zone_count == 2);
	}
	NSZoneFree(zone, block);
	CHECK(((char *)NSZoneCalloc(zone, 10, 10))[99] == 0);
	objects_in(zone);
	objects_in(NSDefaultMallocZone());

	kept = NSCreateZone(4096, 4096, YES);
	survivor = NSZoneMalloc(kept, 10);
	strcpy(survivor, "survivor");
	NSRecycleZone(kept);
	CHECK(!strcmp(survivor, "survivor"));
	NS_DURING
		NSZoneMalloc(kept, 10);
	NS_HANDLER
		raised = [[localException name] isEqual: NSMallocException];
	NS_ENDHANDLER
	CHECK(raised);
	if (zone_count)
		CHECK(*zone_count == 3);
	NSZoneFree(kept, survivor);
	if (zone_count)
		CHECK(*zone_count == 2);
	[pool release];
	return 0;
}
