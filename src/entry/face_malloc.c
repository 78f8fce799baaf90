// SPDX-License-Identifier: MIT
// libheapwright: the plain library.
#include "entry/entry.h"

__attribute__((section(".data.rel.ro"))) const bool entry_guard_malloc = false;
