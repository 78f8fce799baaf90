// SPDX-License-Identifier: MIT
// Guard Malloc as a zone: where blocks lie, what faults, what is said about it. A process starts
// the zone once, so each case runs in a child with settings of its own; what it writes to the log
// comes back through a pipe.
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "unit.h"

#include "guard/guard.h"
#include "layout/guard.h"
#include "malloc/malloc.h"

enum { PAGE = 4096 };

static malloc_zone_t *zone;

struct outcome {
	int signal, status;
	char text[8192];
};

typedef void (*scene)(void);

static void play(const struct guard_settings *settings, int log, scene run)
{
	struct malloc_settings general = { .every_call = true, .log = log };

	// A sanitizer's handler would stay in force.
	signal(SIGSEGV, SIG_DFL);
	signal(SIGBUS, SIG_DFL);
	malloc_start(&general);
	zone = guard_zone_start(settings);
	if (!zone)
		_exit(99);
	malloc_registry_start(zone);
	run();
	guard_exit();
	_exit(0);
}

static struct outcome run_with(const struct guard_settings *settings, scene run)
{
	struct outcome ret = { .signal = 0 };
	size_t count = 0;
	int ends[2], status;
	ssize_t got;
	pid_t child;

	assert_int_equal(pipe(ends), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		close(ends[0]);
		play(settings, ends[1], run);
	}
	close(ends[1]);
	while ((got = read(ends[0], ret.text + count, sizeof(ret.text) - 1 - count)) > 0)
		count += (size_t)got;
	close(ends[0]);
	assert_int_equal(waitpid(child, &status, 0), child);
	ret.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
	ret.status = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
	return ret;
}

static struct guard_settings plain(void)
{
	struct guard_settings settings;

	guard_settings_default(&settings);
	settings.quiet = true;
	return settings;
}

static struct outcome run_plain(scene run)
{
	struct guard_settings settings = plain();

	return run_with(&settings, run);
}

static void expect(bool fact, int status)
{
	if (!fact)
		_exit(status);
}

static void assert_fine(struct outcome outcome)
{
	assert_string_equal(outcome.text, "");
	assert_int_equal(outcome.signal, 0);
	assert_int_equal(outcome.status, 0);
}

static void assert_says(struct outcome outcome, int signal, const char *words)
{
	if (!strstr(outcome.text, words))
		fail_msg("\"%s\" is not in: %s", words, outcome.text);
	assert_int_equal(outcome.signal, signal);
}

// What the compiler must not look through.
static volatile char *hidden(void *p)
{
	__asm__ volatile("" : "+r"(p) : : "memory");
	return p;
}

// --- places and sizes ----------------------------------------------------------------------------

static void sizes_and_alignment(void)
{
	static const size_t alignments[] = { 16, 64, 4096, 65536, 1 << 21 };
	static const size_t sizes[] = { 1, 15, 16, 24, 4095, 4096, 4097, 70000, 3000000 };

	for (unsigned a = 0; a < 5; a++)
		for (unsigned i = 0; i < 9; i++) {
			char *block = zone->memalign(zone, alignments[a], sizes[i]);

			expect(block && (uintptr_t)block % alignments[a] == 0, 1);
			expect(zone->size(zone, block) == sizes[i], 2);
			expect(zone->size(zone, block + 1) == 0, 3);
			memset(block, 0x5a, sizes[i]);
			zone->free(zone, block);
			expect(zone->size(zone, block) == 0, 4);
		}
}

static void test_sizes_and_alignment(void **state)
{
	(void)state;
	assert_fine(run_plain(sizes_and_alignment));
}

static void ends_at_page(void)
{
	char *block = zone->malloc(zone, 100), *whole = zone->malloc(zone, 112);

	expect(((uintptr_t)block + 112) % PAGE == 0, 1);
	expect(((uintptr_t)whole + 112) % PAGE == 0, 2);
}

static void ends_at_page_exactly(void)
{
	char *block = zone->malloc(zone, 101);

	expect(((uintptr_t)block + 101) % PAGE == 0, 1);
	block = zone->memalign(zone, 32, 101);
	expect((uintptr_t)block % 32 == 0, 2);
}

static void starts_at_page(void)
{
	expect((uintptr_t)zone->malloc(zone, 101) % PAGE == 0, 1);
	expect((uintptr_t)zone->malloc(zone, 10001) % PAGE == 0, 2);
}

static void test_place_in_pages(void **state)
{
	struct guard_settings settings = plain();

	(void)state;
	assert_fine(run_plain(ends_at_page));
	settings.strict_size = true;
	assert_fine(run_with(&settings, ends_at_page_exactly));
	settings = plain();
	settings.protect_before = true;
	assert_fine(run_with(&settings, starts_at_page));
}

static bool is_zero(const char *block, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		if (block[i])
			return false;
	return true;
}

static void zeroed(void)
{
	for (unsigned i = 0; i < 1000; i++) {
		char *block = zone->calloc(zone, 3, i * 10);

		expect(block && is_zero(block, 30 * i), 1);
		memset(block, 0xff, 30 * i);
		zone->free(zone, block);
	}
	errno = 0;
	expect(!zone->calloc(zone, SIZE_MAX / 2, 3) && errno == ENOMEM, 2);
	errno = 0;
	expect(!zone->malloc(zone, SIZE_MAX) && errno == ENOMEM, 3);
}

static void test_calloc_after_reuse_is_zero(void **state)
{
	struct guard_settings settings = plain();

	(void)state;
	assert_fine(run_plain(zeroed));
	settings.quarantine_bytes = 1;
	settings.fill_space = true;
	assert_fine(run_with(&settings, zeroed));
	settings.allow_reads = true;
	assert_fine(run_with(&settings, zeroed));
}

static void filled(void)
{
	const char *block = zone->malloc(zone, 1000);

	for (unsigned i = 0; i < 1000; i++)
		expect(block[i] == 0x55, 1);
}

static void test_fill_space(void **state)
{
	struct guard_settings settings = plain();

	(void)state;
	settings.fill_space = true;
	assert_fine(run_with(&settings, filled));
}

static void resized(void)
{
	char *block = zone->realloc(zone, NULL, 10), *old;

	memcpy(block, "0123456789", 10);
	for (size_t bytes = 20; bytes < 100000; bytes = bytes * 3 / 2) {
		old = block;
		block = zone->realloc(zone, block, bytes);
		expect(block != old && !memcmp(block, "0123456789", 10), 1);
		expect(zone->size(zone, block) == bytes && !zone->size(zone, old), 2);
	}
	block = zone->realloc(zone, block, 5);
	expect(!memcmp(block, "01234", 5) && zone->size(zone, block) == 5, 3);
}

static void test_realloc_moves(void **state)
{
	(void)state;
	assert_fine(run_plain(resized));
}

// --- faults --------------------------------------------------------------------------------------

static void write_behind(void)
{
	hidden(zone->malloc(zone, 32))[32] = 1;
}

static void read_behind(void)
{
	(void)hidden(zone->malloc(zone, 32))[40];
}

static void write_far_before(void)
{
	volatile char *block = hidden(zone->malloc(zone, 32));

	block[-(int)((uintptr_t)block % PAGE) - 8] = 1;
}

static void read_just_before(void)
{
	(void)hidden(zone->malloc(zone, 32))[-1];
}

static void read_freed(void)
{
	volatile char *block = hidden(zone->malloc(zone, 32));

	zone->free(zone, (void *)block);
	(void)block[7];
}

static void write_freed_large(void)
{
	volatile char *block = hidden(zone->malloc(zone, 9000000));

	zone->free(zone, (void *)block);
	block[5000000] = 7;
}

static void use_empty(void)
{
	(void)hidden(zone->malloc(zone, 0))[0];
}

static void test_faults_name_the_block(void **state)
{
	struct guard_settings settings = plain();

	(void)state;
	assert_says(run_plain(write_behind), SIGSEGV,
	            ", 0 bytes behind the end of the block of 32 bytes at 0x");
	assert_says(run_plain(read_behind), SIGSEGV,
	            ", 8 bytes behind the end of the block of 32 bytes at 0x");
	assert_says(run_plain(write_far_before), SIGSEGV,
	            "before the start of the block of 32 bytes at 0x");
	assert_says(run_plain(read_freed), SIGSEGV,
	            ", 7 bytes behind the start of the freed block of 32 bytes at 0x");
	assert_says(run_plain(read_freed), SIGSEGV, "It was freed by thread ");
	assert_says(run_plain(read_freed), SIGSEGV, "The instruction is at 0x");
	assert_says(run_plain(write_freed_large), SIGSEGV,
	            ", 5000000 bytes behind the start of the freed block of 9000000 bytes");
	assert_says(run_plain(use_empty), SIGSEGV, "the block of 0 bytes at 0x");
	settings.protect_before = true;
	assert_says(run_with(&settings, read_just_before), SIGSEGV,
	            ", 1 bytes before the start of the block of 32 bytes at 0x");
}

static void test_faults_tell_reads_from_writes(void **state)
{
	(void)state;
	assert_says(run_plain(read_behind), SIGSEGV, "tried to read memory at 0x");
	assert_says(run_plain(write_behind), SIGSEGV, "tried to write to memory at 0x");
}

static void test_reads_can_be_allowed(void **state)
{
	struct guard_settings settings = plain();

	(void)state;
	settings.allow_reads = true;
	assert_fine(run_with(&settings, read_behind));
	assert_fine(run_with(&settings, read_freed));
	assert_says(run_with(&settings, write_behind), SIGSEGV, "tried to write to memory");
	assert_says(run_with(&settings, write_freed_large), SIGSEGV, "the freed block of 9000000");
}

static void end_well(int number)
{
	(void)number;
	_exit(5);
}

static void own_handler(void)
{
	signal(SIGSEGV, end_well);
	write_behind();
}

static void other_fault(void)
{
	*(volatile int *)hidden((void *)64) = 1; // never mapped
}

static void sent(void)
{
	kill(getpid(), SIGSEGV);
	pause();
}

static void test_other_faults_stay_as_they_are(void **state)
{
	struct outcome outcome = run_plain(own_handler);

	(void)state;
	assert_int_equal(outcome.status, 5);
	assert_string_equal(outcome.text, "");
	outcome = run_plain(other_fault);
	assert_int_equal(outcome.signal, SIGSEGV);
	assert_string_equal(outcome.text, "");
	outcome = run_plain(sent);
	assert_int_equal(outcome.signal, SIGSEGV);
	assert_string_equal(outcome.text, "");
}

// --- canaries ------------------------------------------------------------------------------------

static void underrun_freed(void)
{
	volatile char *block = hidden(zone->malloc(zone, 32));

	block[-3] = 1;
	zone->free(zone, (void *)block);
}

static void overrun_freed(void)
{
	volatile char *block = hidden(zone->malloc(zone, 27));

	block[28] = 1;
	zone->free(zone, (void *)block);
}

static void underrun_kept(void)
{
	hidden(zone->malloc(zone, 32))[-1] = 1;
}

static struct guard_record *record_of(uint64_t block)
{
	const struct guard_descriptor *descriptor = (const void *)heapwright_malloc.guard;
	struct guard_record *const *tables = (struct guard_record *const *)descriptor->tables;

	for (uint32_t i = 1; i < descriptor->record_count; i++)
		if (tables[i / GUARD_TABLE_RECORDS][i % GUARD_TABLE_RECORDS].block == block)
			return &tables[i / GUARD_TABLE_RECORDS][i % GUARD_TABLE_RECORDS];
	return NULL;
}

static void underrun_looked_for(void)
{
	volatile char *block = hidden(zone->malloc(zone, 32));
	struct guard_record *record;

	expect(guard_check(), 1);
	expect(zone->introspect->check(zone), 2);
	block[-1] = 1;
	expect(!zone->introspect->check(zone), 3);
	block[-1] = (char)(GUARD_CANARY >> 56);
	expect(guard_check(), 4);
	record = record_of((uintptr_t)block);
	record->open_pages++;
	expect(!zone->introspect->check(zone), 5);
	record->open_pages--;
	record->run_start += 1 << 30;
	expect(!zone->introspect->check(zone), 6);
	record->run_start -= 1 << 30;
	expect(zone->introspect->check(zone), 7);
}

static void test_canaries(void **state)
{
	struct guard_settings settings = plain();
	struct outcome outcome;

	(void)state;
	assert_says(run_plain(underrun_freed), SIGABRT,
	            "underrun: the memory before this block of 32 bytes was overwritten.\n< 1 ");
	assert_says(run_plain(overrun_freed), SIGABRT,
	            "overrun: the memory behind this block of 27 bytes was overwritten.\n> 1 ");
	assert_says(run_plain(underrun_kept), SIGABRT, "damaged at the end of the program: 1 ");
	outcome = run_plain(underrun_looked_for);
	assert_int_equal(outcome.status, 0);
	assert_says(outcome, 0, ", 1 bytes before its start: 01\n");
	settings.protect_before = true;
	assert_says(run_with(&settings, overrun_freed), SIGABRT, ", 1 bytes behind its end: 01\n");
	settings = plain();
	settings.check_header = false;
	assert_fine(run_with(&settings, overrun_freed));
}

// --- bad pointers --------------------------------------------------------------------------------

static void free_twice(void)
{
	void *block = zone->malloc(zone, 24);

	zone->free(zone, block);
	zone->free(zone, block);
}

static void free_inside(void)
{
	zone->free(zone, (char *)zone->malloc(zone, 100) + 8);
}

static void free_stack(void)
{
	int number;

	zone->free(zone, &number);
}

static void resize_freed(void)
{
	void *block = zone->malloc(zone, 24);

	zone->free(zone, block);
	zone->realloc(zone, block, 30);
}

static void test_bad_pointers(void **state)
{
	(void)state;
	assert_says(run_plain(free_twice), SIGABRT, "Double free of object 0x");
	assert_says(run_plain(free_twice), SIGABRT, "It was a block of 24 bytes, and it is free");
	assert_says(run_plain(free_inside), SIGABRT,
	            "pointer being freed was not allocated\n"
	            "It points 8 bytes behind the start of the block "
	            "of 100 bytes at 0x");
	assert_says(run_plain(free_stack), SIGABRT, "pointer being freed was not allocated\n");
	assert_says(run_plain(resize_freed), SIGABRT, "being reallocated was not allocated");
}

// --- limits, sampling, readers -------------------------------------------------------------------

// More than mappings allow; with reads allowed each takes mappings.
static void many(void)
{
	enum { COUNT = 40000 };
	static char *blocks[COUNT];

	for (unsigned i = 0; i < COUNT; i++) {
		blocks[i] = zone->malloc(zone, 40);
		expect(blocks[i] != NULL, 1);
		blocks[i][0] = (char)i;
	}
	for (unsigned i = 0; i < COUNT; i++) {
		expect(blocks[i][0] == (char)i, 2);
		zone->free(zone, blocks[i]);
	}
}

static void test_without_guards_left_blocks_are_served(void **state)
{
	struct guard_settings settings = plain();
	struct outcome outcome;

	(void)state;
	settings.allow_reads = true;
	outcome = run_with(&settings, many);
	assert_int_equal(outcome.status, 0);
	assert_says(outcome, 0, "some blocks are not guarded");
	settings = plain();
	settings.maximum_vm_bytes = 64 << 20;
	outcome = run_with(&settings, many);
	assert_int_equal(outcome.status, 0);
	assert_says(outcome, 0, "some blocks are not guarded");
}

static void sampled(void)
{
	const struct guard_descriptor *descriptor = (const void *)heapwright_malloc.guard;
	static void *blocks[20000];
	unsigned guarded = 0;

	for (unsigned i = 0; i < 20000; i++)
		blocks[i] = zone->malloc(zone, 40);
	guarded = (unsigned)descriptor->live_blocks;
	expect(guarded > 20 && guarded <= 64, 1);
	expect(descriptor->open_bytes <= 1 << 20, 2);
	for (unsigned i = 0; i < 20000; i++) {
		expect(zone->size(zone, blocks[i]) >= 40, 3);
		zone->free(zone, blocks[i]);
	}
	expect(descriptor->live_blocks == 0, 4);
}

static void sampled_use_after_free(void)
{
	for (unsigned i = 0; i < 10000; i++) {
		volatile char *block = hidden(zone->malloc(zone, 40));

		zone->free(zone, (void *)block);
		(void)block[1];
	}
}

static void test_sampled(void **state)
{
	struct guard_settings settings = plain();

	(void)state;
	settings.sample_every = 100;
	settings.sample_slots = 64;
	settings.sample_budget_bytes = 1 << 20;
	assert_fine(run_with(&settings, sampled));
	assert_says(run_with(&settings, sampled_use_after_free), SIGSEGV,
	            "the freed block of 40 bytes");
}

static void add_bytes(task_t task, void *context, unsigned type, vm_range_t *ranges, unsigned count)
{
	(void)task;
	(void)type;
	for (unsigned i = 0; i < count; i++)
		*(size_t *)context += ranges[i].size;
}

static void enumerated(void)
{
	malloc_statistics_t sums;
	size_t bytes = 0;
	void *last = NULL;

	for (unsigned i = 1; i <= 1000; i++)
		last = zone->malloc(zone, i);
	zone->free(zone, last);
	expect(!zone->introspect->enumerator(getpid(), &bytes, MALLOC_PTR_IN_USE_RANGE_TYPE,
	                                     (uintptr_t)zone, NULL, add_bytes),
	       1);
	expect(bytes == 999 * 1000 / 2, 2);
	zone->introspect->statistics(zone, &sums);
	expect(sums.blocks_in_use == 999 && sums.size_in_use == 999 * 1000 / 2, 3);
	expect(sums.max_size_in_use == 1000 * 1001 / 2, 4);
}

static void test_enumerator(void **state)
{
	(void)state;
	assert_fine(run_plain(enumerated));
}

static void other_zone(void)
{
	malloc_zone_t *other = malloc_create_zone(0, 0);
	volatile char *block = hidden(other->malloc(other, 24));

	expect(other->size(other, (void *)block) == 24 && !zone->size(zone, (void *)block), 1);
	malloc_destroy_zone(other);
	expect(malloc_create_zone(0, 0) != NULL, 2);
	block[1] = 1;
}

static void test_blocks_of_a_destroyed_zone_fault(void **state)
{
	(void)state;
	assert_says(run_plain(other_zone), SIGSEGV, "the freed block of 24 bytes");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes_and_alignment),
		cmocka_unit_test(test_place_in_pages),
		cmocka_unit_test(test_calloc_after_reuse_is_zero),
		cmocka_unit_test(test_fill_space),
		cmocka_unit_test(test_realloc_moves),
		cmocka_unit_test(test_faults_name_the_block),
		cmocka_unit_test(test_faults_tell_reads_from_writes),
		cmocka_unit_test(test_reads_can_be_allowed),
		cmocka_unit_test(test_other_faults_stay_as_they_are),
		cmocka_unit_test(test_canaries),
		cmocka_unit_test(test_bad_pointers),
		cmocka_unit_test(test_without_guards_left_blocks_are_served),
		cmocka_unit_test(test_sampled),
		cmocka_unit_test(test_enumerator),
		cmocka_unit_test(test_blocks_of_a_destroyed_zone_fault),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
