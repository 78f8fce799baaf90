// SPDX-License-Identifier: MIT
// A look through a clone (target/clone.c): what it shows, what it leaves behind,
// and what becomes of the program it looks at.
#include "unit.h"

#include <fcntl.h>

#include "os/os.h"
#include "target/target.h"
#include "victim.h"

#define PRIVATE_BYTES (1u << 20)

static struct victim *victim;
static uint64_t *secret, *kept_back, *wiped, *common;

static const struct target_options clone_options = {
	.want = TARGET_WANT_MEMORY,
	.force_clone = true,
	.accepts = "a pid",
};

static struct target *open_clone(pid_t pid)
{
	struct target *target = NULL;
	char text[16];

	snprintf(text, sizeof(text), "%d", pid);
	struct error *error = target_open(text, &clone_options, &target);

	if (error)
		fail_msg("%s", error->text);
	if (target->kind != TARGET_CLONE)
		fail_msg("no clone: %s", target->how);
	return target;
}

static uint64_t *pages(int flags)
{
	uint64_t *memory =
		mmap(NULL, PRIVATE_BYTES, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		abort();
	for (size_t i = 0; i < PRIVATE_BYTES / 8; i += 512)
		memory[i] = 0x5ec2e70000000000ull + i;
	return memory;
}

static void advise(void)
{
	madvise(kept_back, PRIVATE_BYTES, MADV_DONTFORK);
	madvise(wiped, PRIVATE_BYTES, MADV_WIPEONFORK);
}

static int start_victim(void **state)
{
	(void)state;
	victim = victim_share();
	secret = pages(MAP_PRIVATE);
	kept_back = pages(MAP_PRIVATE);
	wiped = pages(MAP_PRIVATE);
	common = pages(MAP_SHARED);
	return victim_start(victim, advise);
}

static int stop_victim(void **state)
{
	(void)state;
	return victim_stop(victim);
}

static void expect_word(struct target *target, const uint64_t *memory, size_t i)
{
	uint64_t word = 0;
	struct error *error = target_read_word(target, (uint64_t)(uintptr_t)&memory[i], &word);

	if (error)
		fail_msg("%s", error->text);
	assert_int_equal(word, 0x5ec2e70000000000ull + i);
}

static void test_memory_of_all_kinds(void **state)
{
	struct target *target = open_clone(victim->pid);

	(void)state;
	assert_int_equal(target->pid, victim->pid);
	assert_true(target->has_stop);
	assert_true(target->thread_count >= VICTIM_THREADS);
	for (size_t i = 0; i < PRIVATE_BYTES / 8; i += 512) {
		expect_word(target, secret, i);
		expect_word(target, kept_back, i);
		expect_word(target, wiped, i);
		expect_word(target, common, i);
	}
	for (size_t i = 0; i < target->thread_count; i++)
		assert_true(target->threads[i].has_registers);
	target_close(target);
	victim_expect_unharmed(victim, "clone", 0);
}

static void count_bytes(void *context, uint64_t start, uint64_t end)
{
	*(uint64_t *)context += end - start;
}

static void test_presence(void **state)
{
	struct target *target = open_clone(victim->pid);
	uint64_t *const all[] = { secret, kept_back, wiped, common };

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		uint64_t start = (uint64_t)(uintptr_t)all[i], bytes = 0;

		assert_null(
			target_present(target, start, start + PRIVATE_BYTES, count_bytes, &bytes));
		assert_int_equal(bytes, PRIVATE_BYTES);
		assert_null(target_load(target, start, start + PRIVATE_BYTES));
		assert_memory_equal(target_bytes(target, start, PRIVATE_BYTES), all[i],
		                    PRIVATE_BYTES);
	}
	target_close(target);
}

// A clone stays what it was while the program goes on.
static void test_clone_stands_still(void **state)
{
	struct target *target = open_clone(victim->pid);
	uint64_t address = (uint64_t)(uintptr_t)&victim_handled, before, after;

	(void)state;
	assert_null(target_read_word(target, address, &before));
	assert_true(victim_goes_on(victim));
	assert_null(target_read_word(target, address, &after));
	assert_int_equal(before, after);
	target_close(target);
	victim_expect_unharmed(victim, "clone", 0);
}

// mov (%rdi), %rax; mov (%rax), %rax; mov %rax, 8(%rdi); int3
static const uint8_t code[] = { 0x48, 0x8b, 0x07, 0x48, 0x8b, 0x00, 0x48, 0x89, 0x47, 0x08, 0xcc };

static void test_code_in_the_clone(void **state)
{
	struct target *target = open_clone(victim->pid);
	struct target_shared shared, second;
	struct error *error;

	(void)state;
	error = target_share(target, 3 * 4096, &shared);
	if (error)
		fail_msg("%s", error->text);
	assert_null(target_share(target, 4096, &second));
	assert_true(shared.there != second.there);
	memcpy(shared.here, code, sizeof(code));
	uint64_t *data = (uint64_t *)(shared.here + 4096);

	data[0] = (uint64_t)(uintptr_t)&secret[512];
	error = target_run(target, shared.there, shared.there + 4096, shared.there + 3 * 4096);
	if (error)
		fail_msg("%s", error->text);
	assert_int_equal(data[1], 0x5ec2e70000000000ull + 512);

	data[0] = 16;
	error = target_run(target, shared.there, shared.there + 4096, shared.there + 3 * 4096);
	assert_non_null(error);
	assert_int_equal(error->kind, ERROR_FAULT);
	assert_true(error->has_address);
	assert_int_equal(error->address, 16);

	data[0] = (uint64_t)(uintptr_t)&secret[1024];
	assert_null(target_run(target, shared.there, shared.there + 4096, shared.there + 3 * 4096));
	assert_int_equal(data[1], 0x5ec2e70000000000ull + 1024);
	target_close(target);
	victim_expect_unharmed(victim, "clone", 0);
}

static void test_many_looks(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 50; i++)
		target_close(open_clone(victim->pid));
	victim_expect_unharmed(victim, "clone", 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_memory_of_all_kinds),
		cmocka_unit_test(test_presence),
		cmocka_unit_test(test_clone_stands_still),
		cmocka_unit_test(test_code_in_the_clone),
		cmocka_unit_test(test_many_looks),
	};

	if (!os_inject_cpu()->supported) {
		printf("injection is not supported on this CPU\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, start_victim, stop_victim);
}
