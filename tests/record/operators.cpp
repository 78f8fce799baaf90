// SPDX-License-Identifier: MIT
// Calls of operators new and delete, counted as calls.c counts them: each is one allocation or one free,
// whether the allocator's operators call its malloc or not.
#include <cstdint>
#include <cstdio>
#include <new>

static char *marked(void *block)
{
	*(volatile uint64_t *)block = UINT64_C(0x6d61726b65640001);
	return (char *)block;
}

int main()
{
	const int rounds = 1000;
	const size_t bytes = 1701;

	for (int i = 0; i < rounds; i++) {
		delete[] marked(new char[bytes]);
		::operator delete(marked(::operator new(bytes)));
		::operator delete(marked(::operator new(bytes)), bytes);
		::operator delete[](marked(::operator new[](bytes, std::nothrow)));
	}
	printf("1 %d\n8 %d\n", 4 * rounds, 4 * rounds);
}
