// SPDX-License-Identifier: MIT
// libgmalloc: the same library with Guard Malloc as the default zone.
#include "entry/entry.h"

__attribute__((section(".data.rel.ro"))) const bool entry_guard_malloc = true;
