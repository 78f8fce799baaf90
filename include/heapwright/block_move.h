// SPDX-License-Identifier: MIT
// Moving and clearing memory under the names of Carbon's memory manager, for programs that come from
// Mac OS X. New code uses memmove and memset. Programs link -lheapwright or are started under it.
//
// A count is in bytes; one that is not positive does nothing. All functions are thread-safe as far as
// nobody else writes to the same bytes.
#pragma once

#ifdef __cplusplus
extern "C" {
#endif

typedef long Size;

// memmove(destination, source, count): the ranges may overlap. Code and data are the same here, so
// there is no difference between the two names; instructions that were moved need a flush of the
// instruction cache (__builtin___clear_cache) where the processor asks for one.
void BlockMove(const void *source, void *destination, Size count);
void BlockMoveData(const void *source, void *destination, Size count);

// memmove past the caches: what is written is not kept in them, so that moving much memory that is not
// used soon does not push out what is. Slower than BlockMoveData for what is used soon. When they
// return, other threads see the bytes as after memmove.
void BlockMoveUncached(const void *source, void *destination, Size count);
void BlockMoveDataUncached(const void *source, void *destination, Size count);

// memset(destination, 0, count), and the same past the caches.
void BlockZero(void *destination, Size count);
void BlockZeroData(void *destination, Size count);
void BlockZeroUncached(void *destination, Size count);
void BlockZeroDataUncached(void *destination, Size count);

#ifdef __cplusplus
}
#endif
