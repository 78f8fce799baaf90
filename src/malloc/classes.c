// SPDX-License-Identifier: MIT
// The sizes of blocks: steps of 16 bytes to 1 KiB, of 256 to 4 KiB, of 512 to 15 KiB, then pages to
// 32 KiB. Class 0 is for size 0 and as large as class 1. A slab has the fewest slices that hold four
// blocks: of a larger one more pages stay in memory for the few blocks of such sizes. Included tables are constants, so that they cost no start-up time and no memory of the
// program.
#include "malloc/malloc_impl.h"

// clang-format off
#define SLICE 65536
#define SLICES(size) \
	(SLICE / (size) >= 4 ? 1 : 2)
#define BLOCKS(size)  (SLICES(size) * SLICE / (size))
#define CLASS(size)   { (size), BLOCKS(size), SLICES(size), (BLOCKS(size) + 63) / 64 },
#define DIVISOR(size) UINT64_MAX / (size) + 1,

#define FOUR(X, size, step)    X(size) X((size) + (step)) X((size) + 2 * (step)) X((size) + 3 * (step))
#define EIGHT(X, size, step)   FOUR(X, size, step) FOUR(X, (size) + 4 * (step), step)
#define SIXTEEN(X, size, step) EIGHT(X, size, step) EIGHT(X, (size) + 8 * (step), step)

#define CLASSES(X)                                                                               \
	X(16)                                                                                    \
	SIXTEEN(X, 16, 16) SIXTEEN(X, 272, 16) SIXTEEN(X, 528, 16) SIXTEEN(X, 784, 16)           \
		EIGHT(X, 1280, 256) FOUR(X, 3328, 256) SIXTEEN(X, 4608, 512) FOUR(X, 12800, 512) \
			X(14848) X(15360) FOUR(X, 16384, 4096) X(32768)

const struct malloc_class malloc_classes[CLASS_COUNT] = { CLASSES(CLASS) };
const uint64_t malloc_divisor[MALLOC_CLASSES_MAX] = { CLASSES(DIVISOR) };

// The entry for sizes in (256 * (i - 1), 256 * i] is the class of 256 * i.
#define FIRST_256          65
#define FIRST_512          77
#define FIRST_PAGES        99
#define HALF(class)        (class), (class),
#define PAGES(class)       EIGHT_TIMES(class) EIGHT_TIMES(class)
#define EIGHT_TIMES(class) HALF(class) HALF(class) HALF(class) HALF(class)
#define FOUR_HALVES(class) HALF(class) HALF((class) + 1) HALF((class) + 2) HALF((class) + 3)
#define ONE(class)         (class),

const uint8_t malloc_class_of_small[MALLOC_SMALL_MAX / 256 + 1] = {
	16,
	16,
	32,
	48,
	64, // never asked for: below 1 KiB
	EIGHT(ONE, FIRST_256, 1) FOUR(ONE, FIRST_256 + 8, 1) FOUR_HALVES(FIRST_512)
		FOUR_HALVES(FIRST_512 + 4) FOUR_HALVES(FIRST_512 + 8) FOUR_HALVES(FIRST_512 + 12)
			FOUR_HALVES(FIRST_512 + 16) HALF(FIRST_512 + 20) HALF(FIRST_512 + 21)
				FOUR(ONE, FIRST_PAGES, 0) // the rest of the first 16 KiB
	PAGES(FIRST_PAGES + 1) PAGES(FIRST_PAGES + 2) PAGES(FIRST_PAGES + 3) PAGES(FIRST_PAGES + 4)
};
// clang-format on
