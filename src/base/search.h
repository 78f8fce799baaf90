// SPDX-License-Identifier: MIT
// Binary search in whatever is sorted. Used by both wings.
#pragma once

#include <stddef.h>

// The first index i below count for which the condition, an expression of i, holds; count when there is
// none. Behind an index for which it holds it must hold too: first_index(n, i, list[i].end > address).
#define first_index(count, i, condition)                                        \
	({                                                                      \
		size_t first_low_ = 0, first_high_ = (count);                   \
                                                                                \
		while (first_low_ < first_high_) {                              \
			size_t i = first_low_ + (first_high_ - first_low_) / 2; \
                                                                                \
			if (condition)                                          \
				first_high_ = i;                                \
			else                                                    \
				first_low_ = (i) + 1;                           \
		}                                                               \
		first_low_;                                                     \
	})
