// SPDX-License-Identifier: MIT
// Guard Malloc's start: settings, the published descriptor, the banner; and the check of all
// blocks, at exit and on demand.
#include "guard/guard_impl.h"

#include <errno.h>
#include <string.h>

enum {
	SAMPLE_SLOTS = 1024,
	SAMPLE_BUDGET_BYTES = 8 << 20,
	LARGE_REQUEST_BYTES = 100 << 20,
};

#define QUARANTINE_BYTES       (4ULL << 30)
#define QUARANTINE_READS_BYTES (256ULL << 20) // freed blocks keep their memory then

struct guard_settings guard_settings;
struct guard_descriptor guard_descriptor;

void guard_settings_default(struct guard_settings *ret)
{
	*ret = (struct guard_settings){
		.fill_byte = 0x55,
		.check_header = true,
		.vector_size = 16,
		.large_request_bytes = LARGE_REQUEST_BYTES,
		.log = 2,
	};
}

// What was left open, and what would make no sense.
static void complete_settings(struct guard_settings *settings)
{
	if (!settings->vector_size || settings->vector_size & (settings->vector_size - 1) ||
	    settings->vector_size > GUARD_PAGE_BYTES)
		settings->vector_size = 16;
	if (!settings->quarantine_bytes)
		settings->quarantine_bytes =
			settings->allow_reads ? QUARANTINE_READS_BYTES : QUARANTINE_BYTES;
	if (!settings->sample_slots)
		settings->sample_slots = SAMPLE_SLOTS;
	if (!settings->sample_budget_bytes)
		settings->sample_budget_bytes = SAMPLE_BUDGET_BYTES;
	if (settings->sample_every > UINT32_MAX / 2)
		settings->sample_every = UINT32_MAX / 2;
}

static void publish(void)
{
	struct guard_descriptor *descriptor = &guard_descriptor;

	memcpy(descriptor->magic, GUARD_MAGIC, sizeof(GUARD_MAGIC));
	descriptor->version = GUARD_VERSION;
	descriptor->bytes = sizeof(*descriptor);
	descriptor->page_bytes = GUARD_PAGE_BYTES;
	descriptor->sample_every = guard_settings.sample_every;
	descriptor->flags |= (guard_settings.protect_before ? GUARD_FLAG_BEFORE : 0) |
	                     (guard_settings.allow_reads ? GUARD_FLAG_READS : 0) |
	                     (guard_settings.strict_size ? GUARD_FLAG_STRICT : 0);
	__atomic_store_n(&heapwright_malloc.guard, (uintptr_t)descriptor, __ATOMIC_RELEASE);
}

static void banner_line(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void banner_line(const char *format, ...)
{
	char line[512];
	va_list arguments;
	size_t count;

	count = malloc_text(line, sizeof(line),
	                    "GuardMalloc[%s-%d]: ", program_invocation_short_name,
	                    inside_process_id());
	va_start(arguments, format);
	count += malloc_format(line + count, sizeof(line) - count, format, arguments);
	va_end(arguments);
	inside_write(guard_settings.log, line, count);
}

static void write_banner(void)
{
	if (guard_settings.quiet || guard_settings.log < 0)
		return;
	if (guard_settings.sample_every) {
		banner_line("1 in %u allocations is guarded\n", guard_settings.sample_every);
		return;
	}
	if (guard_settings.protect_before)
		banner_line("Blocks start at the start of a page\n");
	else if (guard_settings.strict_size)
		banner_line(
			"Blocks end exactly at the end of a page, on no particular alignment\n");
	else
		banner_line("Blocks end at the end of a page, on multiples of %zu bytes\n",
		            guard_settings.vector_size);
	if (guard_settings.protect_before)
		banner_line(
			" - Overruns within the last page are noticed when the block is freed\n");
	else if (guard_settings.strict_size)
		banner_line(" - Code that expects aligned blocks may fail\n");
	else
		banner_line(
			" - Overruns of fewer than %zu bytes may be noticed only when the block "
			"is freed\n",
			guard_settings.vector_size);
	banner_line(" - Every block takes whole pages: expect more memory and less speed\n");
	banner_line("version %s of Heapwright\n", HEAPWRIGHT_VERSION);
}

malloc_zone_t *guard_zone_start(const struct guard_settings *settings)
{
	malloc_zone_t *zone;

	guard_settings = *settings;
	complete_settings(&guard_settings);
	guard_pages_start();
	if (guard_records_start() || guard_arena_start())
		return NULL;
	zone = guard_zone_create_first();
	if (!zone)
		return NULL;
	publish();
	malloc_stack_elsewhere = guard_block_stack;
	malloc_stack_of_frees = true;
	if (!guard_settings.sample_every)
		malloc_zone_wrap = guard_zone_wrap;
	guard_fault_start();
	write_banner();
	return zone;
}

// --- checks --------------------------------------------------------------------------------------

// A block that is being verified cannot be freed meanwhile; who wants to, waits for the lock. A
// signal handler that runs because of damage may use the heap.
static bool sound(uint32_t number, bool live)
{
	if (guard_record_sound(number) && (!live || guard_block_sound(guard_record_at(number))))
		return true;
	malloc_message("*** Guard Malloc: the tables are damaged: record %u of %u at %p", number,
	               guard_descriptor.record_count, (void *)guard_record_at(number));
	return false;
}

static unsigned count_damaged(void)
{
	unsigned damaged = 0;

	guard_fork_prepare();
	for (uint32_t i = 1; i < guard_descriptor.record_count; i++) {
		struct guard_record *record = guard_record_at(i);

		if (!guard_state_change(record, GUARD_LIVE, GUARD_CHECKED)) {
			damaged += !sound(i, false);
			continue;
		}
		damaged += !sound(i, true) || !guard_block_verify(record, false);
		__atomic_store_n(&record->state, GUARD_LIVE, __ATOMIC_RELEASE);
	}
	guard_fork_parent();
	return damaged;
}

// Nothing is looked at in a signal handler that may have interrupted a change.
bool guard_check(void)
{
	bool core;

	if (guard_interrupts())
		return true;
	core = malloc_core_check(NULL);
	return count_damaged() == 0 && core;
}

void guard_exit(void)
{
	static bool done;
	unsigned damaged;

	if (!guard_settings.check_header || !guard_descriptor.version ||
	    __atomic_exchange_n(&done, true, __ATOMIC_RELAXED))
		return;
	damaged = count_damaged();
	if (damaged)
		malloc_fault(MALLOC_FAULT_CORRUPTION,
		             "*** The heap is damaged at the end of the program: %u blocks",
		             damaged);
}
