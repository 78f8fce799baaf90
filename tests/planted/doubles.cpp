// SPDX-License-Identifier: MIT
/*
 * Planted equal contents for stringdups. Prints its truth as lines "KIND COUNT LEAST_BYTES MOST_BYTES
 * CONTENT", the sizes being those of the blocks as malloc_usable_size gives them; then "ready". Each block
 * stays reachable through `kept` or through the objects that own it.
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <string>
#include <unistd.h>

struct named {
	virtual ~named()
	{
	}
	std::string name;
	char *title;
};

static void *volatile kept[4096];
static named *owners[64];
static int kept_count;
static char **array;

static void truth(const char *kind, int count, size_t least, size_t most, const char *content)
{
	printf("%s %d %zu %zu %s\n", kind, count, least, most, content);
}

static void *keep(void *block)
{
	return kept[kept_count++] = block;
}

// The slack behind a block's bytes is not the program's; it is filled so that nothing is equal by chance.
static void *fresh(size_t bytes)
{
	static unsigned char filler;
	void *block = keep(malloc(bytes));

	memset(block, 0, malloc_usable_size(block));
	memset((char *)block + bytes, ++filler, malloc_usable_size(block) - bytes);
	return block;
}

static void c_strings(int count, size_t room, const char *text)
{
	size_t size = 0;

	for (int i = 0; i < count; i++) {
		char *block = (char *)fresh(strlen(text) + 1 + room);

		strcpy(block, text);
		size = malloc_usable_size(block);
	}
	truth("c_string", count, size, size, text);
}

// Equal texts in blocks of two sizes are one content.
static void c_strings_of_two_sizes(const char *text)
{
	char *small = (char *)fresh(strlen(text) + 1), *big = (char *)fresh(400);

	strcpy(small, text);
	strcpy(big, text);
	truth("c_string", 2, malloc_usable_size(small), malloc_usable_size(big), text);
}

static void equal_blocks(int count, size_t bytes, bool zero)
{
	size_t size = 0;

	for (int i = 0; i < count; i++) {
		unsigned char *block = (unsigned char *)keep(calloc(1, bytes));

		size = malloc_usable_size(block);
		memset(block, 0, size);
		for (size_t k = 0; !zero && k < size; k++)
			block[k] = (unsigned char)(200 + k % 11);
	}
	truth(zero ? "zero" : "block", count, size, size, "-");
}

static void std_strings(int count)
{
	const char *text = "a text too long for the short form";

	for (int i = 0; i < count; i++) {
		owners[i] = new named;
		owners[i]->name = text;
		owners[i]->title = NULL;
	}
	truth("std_string", count, malloc_usable_size((void *)owners[0]->name.c_str()),
	      malloc_usable_size((void *)owners[0]->name.c_str()), text);
}

// Which only a long array of pointers holds.
static void strings_in_array(int count, const char *text)
{
	size_t size = 0;

	array = (char **)malloc(1000 * sizeof(*array));
	memset(array, 0, 1000 * sizeof(*array));
	for (int i = 0; i < count; i++) {
		char *block = (char *)fresh(strlen(text) + 1);

		strcpy(block, text);
		kept[--kept_count] = NULL;
		array[i * 3] = block;
		size = malloc_usable_size(block);
	}
	truth("array", count, size, size, text);
}

// Once each: nothing of these may be reported.
static void single(void)
{
	for (int i = 0; i < 500; i++)
		sprintf((char *)fresh(40), "only once %d", i);
	truth("absent", 0, 0, 0, "only once");
	// The same beginning, but not the same bytes.
	for (int i = 0; i < 2; i++) {
		unsigned char *block = (unsigned char *)fresh(64);

		memset(block, 3, malloc_usable_size(block));
		block[60] = (unsigned char)i;
	}
}

int main(void)
{
	setvbuf(stdout, NULL, _IONBF, 0);
	c_strings(1000, 0, "GET /index.html");
	c_strings(30, 200, "short text in a long buffer");
	c_strings(3, 0,
	          "gr\xc3\xbc\xc3\x9f"
	          "e, \xe2\x82\xac 5");
	c_strings_of_two_sizes("in two sizes");
	c_strings(4, 0, "to the terminal: \"quoted\"");
	equal_blocks(17, 100, false);
	equal_blocks(9, 3000000, false); // more than one window
	equal_blocks(40, 72, true);
	std_strings(25);
	strings_in_array(200, "one of many in an array");
	single();
	owners[0]->title = (char *)memcpy(keep(malloc(32)), "owned by an object, twice 23456", 32);
	owners[1]->title = (char *)memcpy(keep(malloc(32)), "owned by an object, twice 23456", 32);
	kept[kept_count - 1] = kept[kept_count - 2] = NULL;
	truth("owned", 2, 40, 40, "owned by an object, twice 23456");
	puts("ready");
	pause();
}
