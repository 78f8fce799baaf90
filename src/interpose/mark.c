// SPDX-License-Identifier: MIT
// heapwright_mark of include/heapwright/mark.h, for programs that are recorded. Called by the program.
#include <dlfcn.h>

#include "interpose/interpose_impl.h"

INTERPOSE_EXPORT void heapwright_mark(const char *name);

void heapwright_mark(const char *name)
{
	const struct record_position at = RECORD_POSITION_HERE();
	void (*own)(const char *name);

	if (record_shared()) {
		record_mark(name, &at);
		return;
	}
	// That of our malloc library, when it records by itself.
	own = (void (*)(const char *))dlsym(RTLD_NEXT, "heapwright_mark");
	if (own)
		own(name);
}
