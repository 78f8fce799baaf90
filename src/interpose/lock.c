// SPDX-License-Identifier: MIT
// mlockall without the memory that the recorder shares with its collector: most of that is never
// touched, and locking would make all of it. Called by the program. The kernel leaves no mapping out, so
// where the program is recorded, all are locked as they are first, and then filled one by one.
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "interpose/interpose_impl.h"
#include "os/inside.h"

static bool is_shared(const struct inside_mapping *mapping)
{
	static const char path[] = "/memfd:" RECORD_NAME " ";

	return mapping->path && !strncmp(mapping->path, path, sizeof(path) - 1);
}

static void look(void *context, const struct inside_mapping *mapping)
{
	*(bool *)context |= is_shared(mapping);
}

static bool is_recorded(void)
{
	bool found = false;

	inside_mappings_each(look, &found);
	return found;
}

static void unlock_shared(void *context, const struct inside_mapping *mapping)
{
	(void)context;
	if (is_shared(mapping))
		munlock((void *)mapping->start, mapping->end - mapping->start);
}

// What cannot be filled (nobody may touch it) mlockall passes over, too.
static void fill(void *context, const struct inside_mapping *mapping)
{
	(void)context;
	if (!is_shared(mapping))
		mlock((void *)mapping->start, mapping->end - mapping->start);
}

static int lock_all(int flags)
{
	return (int)syscall(SYS_mlockall, flags);
}

INTERPOSE_EXPORT int mlockall(int flags)
{
	if (!(flags & MCL_CURRENT) || (flags & ~(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT)) ||
	    !is_recorded())
		return lock_all(flags);
	if (lock_all(MCL_CURRENT | MCL_ONFAULT))
		return -1;
	inside_mappings_each(unlock_shared, NULL);
	if (!(flags & MCL_ONFAULT))
		inside_mappings_each(fill, NULL);
	return flags & MCL_FUTURE ? lock_all(flags & ~MCL_CURRENT) : 0;
}
