// SPDX-License-Identifier: MIT
// The contract of malloc and its family, checked from inside a program that runs on the library:
// POSIX, C17, and glibc's manual where they leave something open. Prints each broken promise; the
// status is their number. Also built as a static program, and with musl.
#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern void *reallocarray(void *, size_t, size_t);
extern void cfree(void *) __attribute__((weak));
extern void free_sized(void *, size_t) __attribute__((weak));
extern void free_aligned_sized(void *, size_t, size_t) __attribute__((weak));
extern void *pvalloc(size_t) __attribute__((weak));

static int broken;

#define CHECK(condition)                                               \
	do {                                                           \
		if (!(condition)) {                                    \
			printf("line %d: %s\n", __LINE__, #condition); \
			broken++;                                      \
		}                                                      \
	} while (0)

// Keeps the compiler from knowing what malloc does.
static void *volatile sink;
static size_t volatile sizes_max = (size_t)PTRDIFF_MAX;

static void fill(void *block, size_t bytes, unsigned seed)
{
	unsigned char *at = block;

	for (size_t i = 0; i < bytes; i++)
		at[i] = (unsigned char)(seed + i * 7);
}

static int holds(const void *block, size_t bytes, unsigned seed)
{
	const unsigned char *at = block;

	for (size_t i = 0; i < bytes; i++)
		if (at[i] != (unsigned char)(seed + i * 7))
			return 0;
	return 1;
}

static int all_zero(const void *block, size_t bytes)
{
	const unsigned char *at = block;

	for (size_t i = 0; i < bytes; i++)
		if (at[i])
			return 0;
	return 1;
}

static void check_sizes(void)
{
	for (size_t bytes = 0; bytes < 70000; bytes += bytes < 2100 ? 1 : bytes / 17) {
		char *block = malloc(bytes);

		CHECK(block);
		CHECK((uintptr_t)block % 16 == 0);
		CHECK(malloc_usable_size(block) >= bytes);
		memset(block, 0x5c, malloc_usable_size(block));
		free(block);
	}
	for (size_t bytes = 1 << 17; bytes <= (size_t)1 << 27; bytes = bytes * 3 / 2 + 1) {
		char *block = malloc(bytes);

		CHECK(block && (uintptr_t)block % 16 == 0 && malloc_usable_size(block) >= bytes);
		block[0] = block[bytes / 2] = block[bytes - 1] = 1;
		free(block);
	}
}

static void check_zero(void)
{
	void *a = malloc(0), *b = malloc(0), *c = calloc(0, 4), *d = calloc(4, 0),
	     *e = realloc(NULL, 0);

	CHECK(a && b && c && d && e);
	CHECK(a != b && a != c && c != d && d != e);
	free(a);
	free(b);
	free(c);
	free(d);
	free(e);
	free(NULL);
	sink = malloc(24);
	CHECK(realloc(sink, 0) == NULL);
	CHECK(malloc_usable_size(NULL) == 0);
}

static void check_too_large(void)
{
	void *block = malloc(100);
	size_t huge[] = { sizes_max + 1, SIZE_MAX, SIZE_MAX - 4095, SIZE_MAX - 16, sizes_max - 16 };

	fill(block, 100, 3);
	for (size_t i = 0; i < sizeof(huge) / sizeof(huge[0]); i++) {
		errno = 0;
		CHECK(malloc(huge[i]) == NULL && errno == ENOMEM);
		errno = 0;
		CHECK(calloc(1, huge[i]) == NULL && errno == ENOMEM);
		errno = 0;
		CHECK(realloc(block, huge[i]) == NULL && errno == ENOMEM);
		errno = 0;
		CHECK(memalign(64, huge[i]) == NULL && errno == ENOMEM);
		errno = 0;
		CHECK(aligned_alloc(4096, huge[i]) == NULL && errno == ENOMEM);
		errno = 0;
		CHECK(valloc(huge[i]) == NULL && errno == ENOMEM);
		if (pvalloc) {
			errno = 0;
			CHECK(pvalloc(huge[i]) == NULL && errno == ENOMEM);
		}
		errno = 77;
		sink = block;
		CHECK(posix_memalign((void **)&sink, 64, huge[i]) == ENOMEM);
		CHECK(errno == 77 && sink == block);
	}
	errno = 0;
	CHECK(calloc(SIZE_MAX / 2, 3) == NULL && errno == ENOMEM);
	errno = 0;
	CHECK(calloc(SIZE_MAX / 8 + 2, 8) == NULL && errno == ENOMEM);
	errno = 0;
	CHECK(reallocarray(block, SIZE_MAX / 2, 3) == NULL && errno == ENOMEM);
	CHECK(holds(block, 100, 3));
	free(block);
}

static void check_alignments(void)
{
	void *block;

	for (size_t alignment = 8; alignment <= (size_t)4 << 20; alignment *= 2)
		for (size_t bytes = 0; bytes < 200000; bytes = bytes * 5 + 1) {
			CHECK(posix_memalign(&block, alignment, bytes) == 0);
			CHECK((uintptr_t)block % alignment == 0);
			CHECK(malloc_usable_size(block) >= bytes);
			memset(block, 1, bytes);
			block = realloc(block, bytes + 1);
			CHECK(block);
			free(block);
			block = aligned_alloc(alignment, bytes);
			CHECK(block && (uintptr_t)block % alignment == 0);
			if (bytes)
				((char *)block)[bytes - 1] = 1;
			free(block);
		}
	for (size_t alignment = 0; alignment < 70; alignment++) {
		size_t power = 1;

		while (power < alignment)
			power *= 2;
		block = memalign(alignment, 50);
		CHECK(block && (uintptr_t)block % power == 0);
		free(block);
	}
	block = valloc(10);
	CHECK(block && (uintptr_t)block % (size_t)getpagesize() == 0);
	free(block);
	if (pvalloc) {
		block = pvalloc(10);
		CHECK(block && (uintptr_t)block % (size_t)getpagesize() == 0);
		CHECK(malloc_usable_size(block) >= (size_t)getpagesize());
		free(block);
	}
}

static void check_wrong_alignments(void)
{
	size_t wrong[] = { 0, 1, 2, 3, 4, 12, 24, 100, SIZE_MAX, sizes_max };

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		errno = 77;
		sink = NULL;
		CHECK(posix_memalign((void **)&sink, wrong[i], 16) == EINVAL);
		CHECK(errno == 77 && !sink);
	}
	errno = 0;
	CHECK(aligned_alloc(48, 96) == NULL && errno == EINVAL);
	errno = 0;
	CHECK(aligned_alloc(0, 96) == NULL && errno == EINVAL);
	sink = aligned_alloc(1, 5);
	CHECK(sink);
	free(sink);
	errno = 0;
	CHECK(memalign(SIZE_MAX, 1) == NULL && errno == EINVAL);
}

static void check_calloc(void)
{
	for (size_t bytes = 1; bytes < 3000000; bytes = bytes * 3 / 2 + 1)
		for (int round = 0; round < 3; round++) {
			char *block = calloc(1, bytes);

			CHECK(block && all_zero(block, bytes));
			memset(block, 0xff, malloc_usable_size(block));
			free(block);
		}
}

static void check_realloc(void)
{
	char *block = NULL;
	size_t bytes = 0;

	for (size_t next = 1; next < 9000000; next = next * 5 / 4 + 3) {
		block = realloc(block, next);
		CHECK(block && holds(block, bytes, 9));
		CHECK(malloc_usable_size(block) >= next);
		fill(block, next, 9);
		bytes = next;
	}
	for (size_t next = bytes; next > 1; next = next * 4 / 5) {
		block = realloc(block, next);
		CHECK(block && holds(block, next, 9));
	}
	free(block);
}

// Up and down at random, several blocks at once.
static void check_realloc_chains(void)
{
	enum { BLOCKS = 16 };
	char *blocks[BLOCKS] = { 0 };
	size_t bytes[BLOCKS] = { 0 };
	uint64_t random = 88172645463325252u;

	for (int i = 0; i < 20000; i++) {
		size_t n, which;

		random ^= random << 13;
		random ^= random >> 7;
		random ^= random << 17;
		which = random % BLOCKS;
		n = random >> 20 & ((1u << (random >> 8 & 15)) | 0xff);
		if (!n)
			n = 1;
		blocks[which] = realloc(blocks[which], n);
		CHECK(blocks[which]);
		CHECK(holds(blocks[which], n < bytes[which] ? n : bytes[which], (unsigned)which));
		fill(blocks[which], n, (unsigned)which);
		bytes[which] = n;
	}
	for (int i = 0; i < BLOCKS; i++)
		free(blocks[i]);
}

static void check_errno(void)
{
	void *blocks[] = { malloc(1), malloc(1000), malloc(100000), malloc(5 << 20), calloc(3, 3) };

	for (size_t i = 0; i < sizeof(blocks) / sizeof(blocks[0]); i++) {
		errno = 4242;
		free(blocks[i]);
		CHECK(errno == 4242);
	}
	errno = 4242;
	free(NULL);
	CHECK(errno == 4242);
}

static void check_relatives(void)
{
	sink = reallocarray(NULL, 10, 30);
	CHECK(malloc_usable_size(sink) >= 300);
	if (cfree)
		cfree(sink);
	else
		free(sink);
	if (free_sized)
		free_sized(malloc(100), 100);
	if (free_aligned_sized)
		free_aligned_sized(aligned_alloc(64, 128), 64, 128);
}

static void *churn(void *seed)
{
	enum { BLOCKS = 200 };
	void *blocks[BLOCKS] = { 0 };
	uint64_t random = (uintptr_t)seed * 2654435761u + 1;

	for (int i = 0; i < 60000; i++) {
		size_t which = i % BLOCKS, bytes;

		random ^= random << 13;
		random ^= random >> 7;
		random ^= random << 17;
		bytes = random >> 40 & ((1u << (random >> 4 & 13)) | 0x3f);
		if (blocks[which]) {
			size_t kept = *(size_t *)blocks[which];

			if (!holds((size_t *)blocks[which] + 1, kept, (unsigned)which))
				return "a block was changed";
		}
		free(blocks[which]);
		blocks[which] = malloc(bytes + sizeof(size_t));
		if (!blocks[which])
			return "no memory";
		*(size_t *)blocks[which] = bytes;
		fill((size_t *)blocks[which] + 1, bytes, (unsigned)which);
	}
	for (int i = 0; i < BLOCKS; i++)
		free(blocks[i]);
	return NULL;
}

static void check_threads(void)
{
	enum { THREADS = 6 };
	pthread_t threads[THREADS];
	void *complaint;

	for (uintptr_t i = 0; i < THREADS; i++)
		CHECK(pthread_create(&threads[i], NULL, churn, (void *)(i + 1)) == 0);
	for (int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], &complaint);
		CHECK(!complaint);
	}
}

int main(void)
{
	check_sizes();
	check_zero();
	check_too_large();
	check_alignments();
	check_wrong_alignments();
	check_calloc();
	check_realloc();
	check_realloc_chains();
	check_errno();
	check_relatives();
	check_threads();
	if (!broken)
		puts("kept");
	return broken > 100 ? 100 : broken;
}
