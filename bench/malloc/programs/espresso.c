// SPDX-License-Identifier: MIT
/*
 * Sets of cubes, as in the minimiser of logic espresso: each cube is a small array of words, each
 * cover a list of cubes that grows by realloc; a recursion makes covers and drops them at every
 * level, and some results live on. It complements random covers and proves the result at points.
 *
 * usage: espresso [COVERS]
 */
#include <string.h>

#include "common.h"

#define VARIABLES 24 // that cubes depend on; further words of a cube only make it longer
#define CUBES     14
#define POINTS    64
#define KEPT      64

// Of each variable: bit 2v says that the cube has points where it is 0, bit 2v + 1 where it is 1.
struct cover {
	uint64_t **cubes;
	size_t count, space, words;
};

static struct cover *kept[KEPT];

static struct cover *cover_new(size_t words)
{
	struct cover *cover = allocate(sizeof(*cover));

	*cover = (struct cover){ .words = words };
	return cover;
}

static void cover_free(struct cover *cover)
{
	if (!cover)
		return;
	for (size_t i = 0; i < cover->count; i++)
		free(cover->cubes[i]);
	free(cover->cubes);
	free(cover);
}

// Takes the cube over.
static void cover_add(struct cover *cover, uint64_t *cube)
{
	if (cover->count == cover->space) {
		cover->space = cover->space ? cover->space + cover->space / 2 : 2;
		cover->cubes = realloc(cover->cubes, cover->space * sizeof(*cover->cubes));
		if (!cover->cubes)
			fail("realloc returned NULL");
	}
	cover->cubes[cover->count++] = cube;
}

static uint64_t *cube_copy(const uint64_t *cube, size_t words)
{
	return memcpy(allocate(words * sizeof(*cube)), cube, words * sizeof(*cube));
}

static uint64_t *cube_universe(size_t words)
{
	return memset(allocate(words * sizeof(uint64_t)), 0xff, words * sizeof(uint64_t));
}

static int cube_contains(const uint64_t *a, const uint64_t *b, size_t words)
{
	for (size_t i = 0; i < words; i++) {
		if (b[i] & ~a[i])
			return 0;
	}
	return 1;
}

// What the cover says where the variable has the value, with the variable free.
static struct cover *cover_cofactor(const struct cover *cover, unsigned int variable, int value)
{
	struct cover *part = cover_new(cover->words);

	for (size_t i = 0; i < cover->count; i++) {
		uint64_t *cube;

		if (!(cover->cubes[i][0] >> (2 * variable + (unsigned int)value) & 1))
			continue;
		cube = cube_copy(cover->cubes[i], cover->words);
		cube[0] |= (uint64_t)3 << 2 * variable;
		cover_add(part, cube);
	}
	return part;
}

// The variable that most cubes depend on, or VARIABLES when a cube depends on none.
static unsigned int cover_split_variable(const struct cover *cover)
{
	unsigned int best = 0, most = 0;

	for (size_t i = 0; i < cover->count; i++) {
		if (cover->cubes[i][0] == UINT64_MAX)
			return VARIABLES;
	}
	for (unsigned int variable = 0; variable < VARIABLES; variable++) {
		unsigned int uses = 0;

		for (size_t i = 0; i < cover->count; i++)
			uses += (cover->cubes[i][0] >> 2 * variable & 3) != 3;
		if (uses > most) {
			most = uses;
			best = variable;
		}
	}
	return best;
}

// Moves the cubes over that no cube there contains, restricted to one value of the variable.
static void cover_merge(struct cover *into, struct cover *from, unsigned int variable, int value)
{
	for (size_t i = 0; i < from->count; i++) {
		uint64_t *cube = from->cubes[i];
		size_t k = 0;

		cube[0] &= ~((uint64_t)1 << (2 * variable + !value));
		while (k < into->count && !cube_contains(into->cubes[k], cube, into->words))
			k++;
		if (k == into->count)
			cover_add(into, cube);
		else
			free(cube);
	}
	from->count = 0;
	cover_free(from);
}

// Frees the cover.
static struct cover *cover_complement(struct cover *cover)
{
	struct cover *result = cover_new(cover->words);
	unsigned int variable = cover_split_variable(cover);

	if (cover->count == 0) {
		cover_add(result, cube_universe(cover->words));
	} else if (variable < VARIABLES) {
		for (int value = 0; value < 2; value++) {
			struct cover *part = cover_cofactor(cover, variable, value);

			cover_merge(result, cover_complement(part), variable, value);
		}
	}
	cover_free(cover);
	return result;
}

static struct cover *cover_random(size_t words, uint64_t *random)
{
	struct cover *cover = cover_new(words);

	for (size_t i = 0; i < CUBES; i++) {
		uint64_t *cube = cube_universe(words);

		for (unsigned int k = 0; k < 6; k++) {
			uint64_t choice = random_next(random) >> 32;
			uint64_t variable = choice / 2 % VARIABLES;

			cube[0] |= (uint64_t)3 << 2 * variable;
			cube[0] &= ~((uint64_t)1 << (2 * variable + choice % 2));
		}
		cover_add(cover, cube);
	}
	return cover;
}

static int cover_has_point(const struct cover *cover, uint64_t point)
{
	for (size_t i = 0; i < cover->count; i++) {
		if ((point & ~cover->cubes[i][0]) == 0)
			return 1;
	}
	return 0;
}

static uint64_t point_random(uint64_t *random)
{
	uint64_t values = random_next(random), point = 0;

	for (unsigned int variable = 0; variable < VARIABLES; variable++)
		point |= (uint64_t)1 << (2 * variable + (values >> variable & 1));
	return point;
}

static struct cover *complement_proven(struct cover *cover, uint64_t *random)
{
	uint64_t points[POINTS];
	int inside[POINTS];
	struct cover *result;

	for (size_t i = 0; i < POINTS; i++) {
		points[i] = point_random(random);
		inside[i] = cover_has_point(cover, points[i]);
	}
	result = cover_complement(cover);
	for (size_t i = 0; i < POINTS; i++) {
		if (cover_has_point(result, points[i]) == inside[i])
			fail("a cube was changed by another");
	}
	return result;
}

int main(int argc, char **argv)
{
	size_t covers = argument(argc, argv, 1, 150);
	uint64_t random = random_seed(0);

	for (size_t i = 0; i < covers; i++) {
		struct cover *cover = cover_random(1 + i % 8, &random);

		cover_free(kept[i % KEPT]);
		kept[i % KEPT] = complement_proven(cover, &random);
	}
	for (size_t i = 0; i < KEPT; i++)
		cover_free(kept[i]);
	return 0;
}
