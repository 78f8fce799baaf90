// SPDX-License-Identifier: MIT
// libheapwright: the plain library.
#include "entry/entry.h"

const bool entry_guard_malloc = false;
