// SPDX-License-Identifier: MIT
// Names of C++ and Rust functions and types, through libiberty. Names are foreign:
// long ones are left as they are, so that nothing grows without bound.
#include <libiberty/demangle.h>
#include <stdlib.h>
#include <string.h>

#include "symbols/symbols_impl.h"

#define LONGEST_NAME 4096

static const char *demangle(struct arena *arena, const char *mangled, int options)
{
	const char *copy;
	char *name = NULL;

	if (strlen(mangled) < LONGEST_NAME)
		name = cplus_demangle(mangled, options);
	copy = text_printable(arena, name ? name : mangled);
	free(name);
	return copy;
}

const char *symbols_demangle(struct arena *arena, const char *mangled)
{
	return demangle(arena, mangled, DMGL_PARAMS | DMGL_ANSI | DMGL_AUTO);
}

// std::type_info gives the name of a class local to its object file with a star in front.
const char *symbols_demangle_type(struct arena *arena, const char *mangled)
{
	return demangle(arena, mangled + (*mangled == '*'),
	                DMGL_PARAMS | DMGL_ANSI | DMGL_TYPES | DMGL_GNU_V3);
}
