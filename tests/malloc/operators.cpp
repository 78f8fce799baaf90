// SPDX-License-Identifier: MIT
// operator new and delete in all their forms: sizes, alignments, and what they do when there is no
// memory: the new-handler is asked until it gives up, then std::bad_alloc is thrown, or null returned.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <thread>
#include <vector>

static int broken;
static int handler_calls;
static volatile std::size_t too_much = PTRDIFF_MAX / 2;

#define CHECK(condition)                                                    \
	do {                                                                \
		if (!(condition)) {                                         \
			std::printf("line %d: %s\n", __LINE__, #condition); \
			broken++;                                           \
		}                                                           \
	} while (0)

static void give_up_at_third()
{
	if (++handler_calls == 3)
		std::set_new_handler(nullptr);
}

static void throw_at_once()
{
	throw std::bad_alloc();
}

template <typename F> static bool throws(F f)
{
	try {
		f();
	} catch (const std::bad_alloc &) {
		return true;
	}
	return false;
}

template <typename F> static void check_handler(F f)
{
	handler_calls = 0;
	std::set_new_handler(give_up_at_third);
	CHECK(throws(f));
	CHECK(handler_calls == 3);
	CHECK(std::get_new_handler() == nullptr);
	CHECK(throws(f));
}

template <typename F> static void check_nothrow_handler(F f)
{
	handler_calls = 0;
	std::set_new_handler(give_up_at_third);
	CHECK(f() == nullptr);
	CHECK(handler_calls == 3);
	std::set_new_handler(throw_at_once);
	CHECK(f() == nullptr);
	std::set_new_handler(nullptr);
	CHECK(f() == nullptr);
}

static void check_no_memory()
{
	const std::align_val_t page{ 4096 };

	check_handler([] { return ::operator new(too_much); });
	check_handler([] { return ::operator new[](too_much); });
	check_handler([=] { return ::operator new(too_much, page); });
	check_handler([=] { return ::operator new[](too_much, page); });
	check_nothrow_handler([] { return ::operator new(too_much, std::nothrow); });
	check_nothrow_handler([] { return ::operator new[](too_much, std::nothrow); });
	check_nothrow_handler([=] { return ::operator new(too_much, page, std::nothrow); });
	check_nothrow_handler([=] { return ::operator new[](too_much, page, std::nothrow); });
}

static void check_forms()
{
	for (std::size_t bytes = 0; bytes < 300000; bytes = bytes * 3 / 2 + 1) {
		::operator delete(std::memset(::operator new(bytes), 1, bytes));
		::operator delete[](std::memset(::operator new[](bytes), 1, bytes));
		::operator delete(::operator new(bytes), bytes);
		::operator delete[](::operator new[](bytes), bytes);
		::operator delete(::operator new(bytes, std::nothrow), std::nothrow);
		::operator delete[](::operator new[](bytes, std::nothrow), std::nothrow);
		std::free(::operator new(bytes));
		for (std::size_t power = 1; power <= 65536; power *= 2) {
			const std::align_val_t alignment{ power };
			void *block = ::operator new(bytes, alignment);

			CHECK(reinterpret_cast<std::uintptr_t>(block) % power == 0);
			std::memset(block, 1, bytes);
			::operator delete(block, bytes, alignment);
			block = ::operator new[](bytes, alignment);
			CHECK(reinterpret_cast<std::uintptr_t>(block) % power == 0);
			::operator delete[](block, alignment);
			::operator delete(::operator new(bytes, alignment, std::nothrow), alignment,
			                  std::nothrow);
			::operator delete[](::operator new[](bytes, alignment, std::nothrow), bytes,
			                    alignment);
		}
	}
	void *a = ::operator new(0), *b = ::operator new(0);
	CHECK(a && b && a != b);
	::operator delete(a);
	::operator delete(b);
	::operator delete(nullptr);
}

struct alignas(128) wide {
	char bytes[200];
};

static void work()
{
	std::vector<std::unique_ptr<wide>> kept;
	std::string text;

	for (int i = 0; i < 3000; i++) {
		kept.emplace_back(new wide);
		CHECK(reinterpret_cast<std::uintptr_t>(kept.back().get()) % 128 == 0);
		text += std::to_string(i);
	}
}

int main()
{
	std::thread other(work);

	work();
	other.join();
	check_forms();
	check_no_memory();
	if (!broken)
		std::puts("kept");
	return broken > 100 ? 100 : broken;
}
