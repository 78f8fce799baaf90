// SPDX-License-Identifier: MIT
// A library that is loaded and unloaded again and again, in two forms (PLUGIN is 1 or 2) of which one
// comes to lie where the other lay: at one address they have frames of different size.
void enter(void (*leaf)(unsigned), int depth);

static volatile int sink;

__attribute__((noinline)) static void inner(void (*leaf)(unsigned), int depth)
{
	volatile char local[PLUGIN * 100];

	local[depth] = 1;
	leaf((unsigned)depth);
	if (depth)
		inner(leaf, depth - 1);
	sink += local[depth];
	leaf(2);
}

__attribute__((visibility("default"))) void enter(void (*leaf)(unsigned), int depth)
{
	volatile char local[PLUGIN * 200];

	local[depth] = 1;
	inner(leaf, depth);
	leaf(local[depth]);
}
