// SPDX-License-Identifier: MIT
// entry: the face of libheapwright. It exports malloc and its family, reads the environment once and
// chooses the zone that answers. No other room calls it; a program does.
//
//   start.c        the first call: environment, zones, fork handlers
//   environment.c  the variables of base/variables.h
//   help.c         what is said about them: MallocHelp, unknown names, malformed values
//   malloc.c       malloc, free, calloc, realloc and what is one step away from them
//   aligned.c      aligned_alloc, memalign, posix_memalign, valloc, pvalloc
//   gnustep.c      NSCreateZone and two more of GNUstep's (shared libraries only)
//   new.c          operators new and delete of C++ (shared libraries only)
//   statistics.c   mallinfo, mallopt, malloc_trim, malloc_stats, malloc_info
//   perturb.c      mallopt(M_PERTURB)
//   record.c       MallocStackLogging and its relatives: the recorder is told what they ask for
//   mappings.c     mmap and its family, for the recorder (shared libraries only)
//   mark.c         heapwright_mark
//   slow.c         the calls that the short paths do not answer: zones, foreign pointers
//   libc_blocks.c  blocks of libc's own malloc that reach our free
//   face_*.c       what tells libheapwright.so and libgmalloc.so apart
//
// Which calls are short: with no feature on, malloc_cache of a thread is its own after its first call,
// and malloc and free end in malloc_fast and malloc_fast_free without a call. Everything else goes
// through entry_*. With a feature on malloc_cache stays malloc_no_cache, which answers nothing, and each
// call goes to the function table of the zone that the feature made.
//
// C++: operator new is malloc here. Only when there is no memory, the next operator new behind ours
// (libstdc++'s or libc++'s) is called, which tries again through malloc, asks the new-handler and
// throws; so this library needs neither of them. In a static program the operators of libstdc++.a
// stay, which call our malloc.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "malloc/malloc.h"
#include "base/variables.h"

// True in libgmalloc.so: Guard Malloc is the default zone.
extern const bool entry_guard_malloc;
