// SPDX-License-Identifier: MIT
/*
 * Arithmetic with numbers of a few words, each a block of 16 to 48 bytes: every operation allocates
 * its result, operands are freed as soon as they are used up, last in first out, and few live on
 * (the habits of cfrac). It proves Fermat's little theorem for bases modulo Mersenne primes.
 *
 * usage: cfrac [BASES]     for each prime
 */
#include <string.h>

#include "common.h"

#define KEPT 50000 // powers that live on for a while

struct number {
	uint32_t words;
	uint32_t word[]; // the lowest first, the highest not 0
};

static const unsigned int exponents[] = { 61, 89, 107, 127 };
static struct number *kept[KEPT];
static size_t kept_next;

static struct number *number_new(size_t words)
{
	struct number *number = allocate(sizeof(*number) + words * sizeof(uint32_t));

	number->words = (uint32_t)words;
	memset(number->word, 0, words * sizeof(uint32_t));
	return number;
}

static struct number *number_trim(struct number *number)
{
	while (number->words && number->word[number->words - 1] == 0)
		number->words--;
	return number;
}

static struct number *number_from(uint64_t value)
{
	struct number *number = number_new(2);

	number->word[0] = (uint32_t)value;
	number->word[1] = (uint32_t)(value >> 32);
	return number_trim(number);
}

static struct number *number_add(const struct number *a, const struct number *b)
{
	size_t words = (a->words > b->words ? a->words : b->words) + 1;
	struct number *sum = number_new(words);
	uint64_t carry = 0;

	for (size_t i = 0; i < words; i++) {
		carry += i < a->words ? a->word[i] : 0;
		carry += i < b->words ? b->word[i] : 0;
		sum->word[i] = (uint32_t)carry;
		carry >>= 32;
	}
	return number_trim(sum);
}

static struct number *number_multiply(const struct number *a, const struct number *b)
{
	struct number *product = number_new(a->words + b->words);

	for (size_t i = 0; i < a->words; i++) {
		uint64_t carry = 0;

		for (size_t k = 0; k < b->words; k++) {
			carry += (uint64_t)a->word[i] * b->word[k] + product->word[i + k];
			product->word[i + k] = (uint32_t)carry;
			carry >>= 32;
		}
		product->word[i + b->words] = (uint32_t)carry;
	}
	return number_trim(product);
}

static struct number *number_low_bits(const struct number *a, unsigned int bits)
{
	size_t words = (bits + 31) / 32;
	struct number *low = number_new(words < a->words ? words : a->words);

	memcpy(low->word, a->word, low->words * sizeof(uint32_t));
	if (low->words == words && bits % 32)
		low->word[words - 1] &= (1u << bits % 32) - 1;
	return number_trim(low);
}

static struct number *number_shift_right(const struct number *a, unsigned int bits)
{
	size_t skip = bits / 32, words = a->words > skip ? a->words - skip : 0;
	struct number *shifted = number_new(words);

	for (size_t i = 0; i < words; i++) {
		uint64_t pair = a->word[i + skip];

		if (i + skip + 1 < a->words)
			pair |= (uint64_t)a->word[i + skip + 1] << 32;
		shifted->word[i] = (uint32_t)(pair >> bits % 32);
	}
	return number_trim(shifted);
}

static int is_all_ones(const struct number *a, unsigned int bits)
{
	for (size_t i = 0; i < (bits + 31) / 32; i++) {
		uint32_t ones = bits - i * 32 < 32 ? (1u << (bits - i * 32)) - 1 : UINT32_MAX;

		if (i >= a->words || a->word[i] != ones)
			return 0;
	}
	return a->words == (bits + 31) / 32;
}

// The rest modulo 2^bits - 1, by adding the high part to the low part. Frees a.
static struct number *number_reduce(struct number *a, unsigned int bits)
{
	struct number *high = number_shift_right(a, bits);

	while (high->words) {
		struct number *low = number_low_bits(a, bits), *sum = number_add(low, high);

		free(low);
		free(high);
		free(a);
		a = sum;
		high = number_shift_right(a, bits);
	}
	free(high);
	if (is_all_ones(a, bits))
		a->words = 0;
	return a;
}

static void keep(struct number *number)
{
	free(kept[kept_next]);
	kept[kept_next] = number;
	kept_next = (kept_next + 1) % KEPT;
}

// base^(2^bits - 2) is base^2 * base^4 * ... * base^(2^(bits-1)).
static struct number *fermat_power(uint64_t base, unsigned int bits)
{
	struct number *square = number_reduce(number_from(base), bits), *result = number_from(1);

	for (unsigned int i = 1; i < bits; i++) {
		struct number *next = number_reduce(number_multiply(square, square), bits);
		struct number *product = number_multiply(result, next);

		if (i % 8)
			free(square);
		else
			keep(square);
		free(result);
		square = next;
		result = number_reduce(product, bits);
	}
	free(square);
	return result;
}

int main(int argc, char **argv)
{
	size_t bases = argument(argc, argv, 1, 5000);
	uint64_t random = random_seed(0);

	for (size_t i = 0; i < bases * 4; i++) {
		uint64_t base = random_next(&random) >> 4;
		struct number *power = fermat_power(base, exponents[i % 4]);

		if (power->words != 1 || power->word[0] != 1)
			fail("a number was changed by another");
		free(power);
	}
	for (size_t i = 0; i < KEPT; i++)
		free(kept[i]);
	return 0;
}
