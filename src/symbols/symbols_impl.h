// SPDX-License-Identifier: MIT
// What the files of symbols share.
#pragma once

#include "base/base.h"
#include "symbols/symbols.h"

struct symbols {
	struct target *target;
	struct arena arena;
	VEC(struct symbols_module) modules; // sorted by start, never overlapping
	VEC(const char *) warnings;
};

// modules.c: finds the ELF files that the target has mapped.
void symbols_find_modules(struct symbols *symbols);
