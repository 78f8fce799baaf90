// SPDX-License-Identifier: MIT
// Arithmetic on numbers that came from outside: a sum or product that does not
// fit is told, never wrapped.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool checked_add(uint64_t a, uint64_t b, uint64_t *ret)
{
	return !__builtin_add_overflow(a, b, ret);
}

static inline bool checked_mul(uint64_t a, uint64_t b, uint64_t *ret)
{
	return !__builtin_mul_overflow(a, b, ret);
}

// Whether [offset, offset + length) lies within [0, size).
static inline bool checked_within(uint64_t offset, uint64_t length, uint64_t size)
{
	return offset <= size && length <= size - offset;
}

static inline uint64_t round_down(uint64_t value, uint64_t power_of_two)
{
	return value & ~(power_of_two - 1);
}

// The caller made sure that value + power_of_two does not overflow.
static inline uint64_t round_up(uint64_t value, uint64_t power_of_two)
{
	return (value + power_of_two - 1) & ~(power_of_two - 1);
}
