// SPDX-License-Identifier: MIT
// base: containers, arenas, checked arithmetic, text, error values and option
// tables. It makes no system call and never calls malloc: the caller supplies
// the pages, so that code inside a target and code in our tools can both use it.
//
//   error.h    error values: kind, text, place
//   pages.h    where memory comes from
//   arena.h    objects that die together
//   vec.h      growing arrays
//   checked.h  overflow-safe arithmetic on foreign numbers
//   text.h     sizes, addresses and hostile text made printable
//   search.h   the first of what is sorted
//   options.h  one table per command: parsing, help, man page, completion
#pragma once

#include "base/arena.h"
#include "base/checked.h"
#include "base/error.h"
#include "base/options.h"
#include "base/pages.h"
#include "base/search.h"
#include "base/text.h"
#include "base/vec.h"
