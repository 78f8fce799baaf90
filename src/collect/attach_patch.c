// SPDX-License-Identifier: MIT
// The functions of a running program are led to ours, and back. All threads stand
// still while that is written, and each function changes with one aligned word, so that even an end of
// ours in the middle leaves every function either as it was or led to ours. A malloc that has a switch for
// recorders (our own) is switched on instead, by words of its data.
#include "collect/attach_impl.h"

#include <stdio.h>
#include <string.h>

#define ROUNDS         1000
#define ROUND_PAUSE_NS 700000ull
#define STACK_BYTES    (64u << 10) // looked through for interrupted functions

struct site {
	size_t function; // in attach->functions
	struct os_patch patch;
	uint64_t island; // 0: a word of data
};

struct patching {
	struct attach *attach;
	VEC(struct site) sites;
	uint64_t lowest, highest; // all replaced instructions lie between
	bool again;               // a thread stood at a wrong place
};

// --- what is to be patched -------------------------------------------------------------------------
static const struct attach_module *module_of(const struct attach *attach,
                                             const struct record_attach_function *function)
{
	if (function->where == RECORD_ATTACH_LIBC || function->where == RECORD_ATTACH_FORWARDED)
		return attach->libc;
	if (function->where == RECORD_ATTACH_FOREIGN && attach->provider == attach->libc)
		return NULL;
	return attach->provider;
}

static bool is_patched_already(const struct patching *patching, uint64_t site)
{
	for (size_t i = 0; i < patching->sites.n; i++)
		if (patching->sites.v[i].patch.word_address == site)
			return true;
	return false;
}

static const char *make_site(struct patching *patching, size_t index, uint64_t address)
{
	struct attach *attach = patching->attach;
	struct site site = { .function = index,
		             .island = attach->room.island + index * OS_PATCH_ISLAND_BYTES };
	uint8_t code[OS_PATCH_CODE_BYTES];
	size_t got = os_remote_read(attach->memory_tid, -1, address, code, sizeof(code));
	const char *refusal;

	if ((index + 2) * OS_PATCH_ISLAND_BYTES > attach->room.island_bytes)
		return "there is no room for it";
	refusal = os_patch_make(code, got, address, site.island, attach->functions[index].hook,
	                        &site.patch);
	if (!refusal)
		vec_push(&patching->sites, site);
	return refusal;
}

static void remember_lacking(struct attach *attach, const char *name, const char *why)
{
	char *text = attach->result->lacking;
	size_t used = strlen(text), room = sizeof(attach->result->lacking);

	snprintf(text + used, room - used, "%s%s (%s)", used ? ", " : "", name, why);
}

static struct error *prepare_word(struct patching *patching, size_t index)
{
	struct attach *attach = patching->attach;
	const struct record_attach_function *function = &attach->functions[index];
	struct site site = { .function = index };

	site.patch.word_address = attach_switch_word(attach, function->name);
	site.patch.after = function->hook;
	if (!site.patch.word_address && function->need == RECORD_ATTACH_MAY_LACK)
		return NULL;
	if (!site.patch.word_address || site.patch.word_address % sizeof(uint64_t) ||
	    os_remote_read(attach->memory_tid, -1, site.patch.word_address, &site.patch.before,
	                   sizeof(site.patch.before)) != sizeof(site.patch.before))
		return error_new(ERROR_UNSUPPORTED,
		                 "the malloc of process %d cannot be told to record (%s)",
		                 attach->pid, function->name);
	site.patch.after |= site.patch.before; // of every_call: other reasons stay
	vec_push(&patching->sites, site);
	return NULL;
}

// Whether the switch of the program's malloc does what this row is for.
static bool is_switched(const struct attach *attach, const struct record_attach_function *function)
{
	if (function->where == RECORD_ATTACH_FORWARDED)
		return attach->switches.mapped != 0;
	return attach->switches.version && (function->where == RECORD_ATTACH_MALLOC ||
	                                    function->where == RECORD_ATTACH_FOREIGN);
}

static struct error *prepare_function(struct patching *patching, size_t index)
{
	struct attach *attach = patching->attach;
	const struct record_attach_function *function = &attach->functions[index];
	const struct attach_module *module = module_of(attach, function);
	uint64_t address = module ? attach_symbol(attach, module, function->name) : 0;
	const char *refusal;

	if (function->what && !(function->what & attach->room.what))
		return NULL;
	if (function->where == RECORD_ATTACH_SWITCH)
		return attach->switches.version ? prepare_word(patching, index) : NULL;
	if (!module || is_switched(attach, function))
		return NULL;
	if (address && is_patched_already(patching, address))
		return NULL; // another name of the same
	refusal = address ? make_site(patching, index, address) : "it is not there";
	if (refusal && function->need == RECORD_ATTACH_MUST)
		return error_new(ERROR_UNSUPPORTED, "%s of process %d cannot be recorded: %s",
		                 function->name, attach->pid, refusal);
	if (refusal && address)
		remember_lacking(attach, function->name, refusal);
	return NULL;
}

static struct error *prepare(struct patching *patching)
{
	attach_read_switch(patching->attach);
	for (size_t i = 0; i < patching->attach->room.function_count; i++)
		TRY(prepare_function(patching, i));
	return NULL;
}

// --- while all stand still -------------------------------------------------------------------------
// A thread inside the replaced instructions would go on inside the jump, now or when a handler that
// interrupted it there returns.
static bool is_inside(const struct patching *patching, uint64_t address)
{
	if (address <= patching->lowest || address >= patching->highest)
		return false;
	for (size_t i = 0; i < patching->sites.n; i++) {
		const struct os_patch *patch = &patching->sites.v[i].patch;

		if (address > patch->word_address && address < patch->word_address + patch->covered)
			return true;
	}
	return false;
}

static void find_limits(struct patching *patching)
{
	patching->lowest = UINT64_MAX;
	for (size_t i = 0; i < patching->sites.n; i++) {
		const struct os_patch *patch = &patching->sites.v[i].patch;
		uint64_t end = patch->word_address + patch->covered;

		if (patch->word_address < patching->lowest)
			patching->lowest = patch->word_address;
		if (end > patching->highest)
			patching->highest = end;
	}
}

static bool comes_back_inside(const struct patching *patching, const struct stop_thread *thread)
{
	static uint64_t words[STACK_BYTES / sizeof(uint64_t)];
	size_t count;

	if (!thread->sp || is_inside(patching, thread->pc))
		return true; // of one without registers nothing is known
	count = os_remote_read(thread->tid, -1, thread->sp & ~7ull, words, sizeof(words)) /
	        sizeof(*words);
	for (size_t i = 0; i < count; i++)
		if (is_inside(patching, words[i]))
			return true;
	return false;
}

static bool may_wait(void *context, const struct stop_thread *thread)
{
	return !comes_back_inside(context, thread);
}

static struct error *put_words(int tid, uint64_t address, const uint8_t *bytes, size_t n)
{
	uint64_t word;

	for (size_t i = 0; i < n; i += sizeof(word)) {
		memcpy(&word, bytes + i, sizeof(word));
		TRY(os_inject_poke(tid, address + i, word));
	}
	return NULL;
}

static struct error *put_island(const struct patching *patching, const struct site *site, int tid)
{
	struct attach *attach = patching->attach;
	struct record_attach_function *function = &attach->functions[site->function];
	uint64_t word;

	if (os_remote_read(attach->memory_tid, -1, site->patch.word_address, &word, sizeof(word)) !=
	            sizeof(word) ||
	    word != site->patch.before)
		return error_at(ERROR_UNSUPPORTED, site->patch.word_address,
		                "%s of process %d changed meanwhile", function->name, attach->pid);
	function->original = site->patch.original;
	function->site = site->patch.word_address;
	function->before = site->patch.before;
	function->after = site->patch.after;
	if (site->island)
		TRY(put_words(tid, site->island, site->patch.island, sizeof(site->patch.island)));
	return attach_write_function(attach, site->function);
}

static struct error *put_all(const struct patching *patching, int tid)
{
	for (size_t i = 0; i < patching->sites.n; i++)
		TRY(put_island(patching, &patching->sites.v[i], tid));
	for (size_t i = 0; i < patching->sites.n; i++)
		TRY(os_inject_poke(tid, patching->sites.v[i].patch.word_address,
		                   patching->sites.v[i].patch.after));
	patching->attach->result->patched = (unsigned)patching->sites.n;
	return NULL;
}

static int stopped_thread(const struct stop *stop)
{
	for (size_t i = 0; i < stop->threads.n; i++)
		if (stop->threads.v[i].stopped)
			return stop->threads.v[i].tid;
	return 0;
}

// Threads that libc made have a block whose words 0 and 2 hold its own address (glibc nptl, tcbhead_t).
static bool is_of_libc(const struct attach *attach, uint64_t tp)
{
	uint64_t words[3];

	return tp &&
	       os_remote_read(attach->memory_tid, -1, tp, words, sizeof(words)) == sizeof(words) &&
	       words[0] == tp && words[2] == tp;
}

// A thread keeps a short way past the recorder until its word says that it has none.
static void end_short_ways(const struct attach *attach, const struct stop *stop)
{
	const struct record_switch *switches = &attach->switches;

	for (size_t i = 0; switches->version && i < stop->threads.n; i++)
		if (is_of_libc(attach, stop->threads.v[i].tp))
			(void)os_inject_write(attach->memory_tid,
			                      stop->threads.v[i].tp + switches->thread_offset,
			                      &switches->thread_none,
			                      sizeof(switches->thread_none));
}

static struct error *patch_stopped(void *context, struct stop *stop)
{
	struct patching *patching = context;
	int tid = stopped_thread(stop);

	TRY(stop_read_registers(stop));
	patching->again = tid == 0;
	for (size_t i = 0; i < stop->threads.n && !patching->again; i++)
		patching->again = stop->threads.v[i].way != STOP_WAITS &&
		                  comes_back_inside(patching, &stop->threads.v[i]);
	if (patching->again)
		return NULL;
	TRY(put_all(patching, tid));
	if (patching->attach->room.what & COLLECT_MALLOC)
		end_short_ways(patching->attach, stop);
	return NULL;
}

static struct error *patch(struct patching *patching)
{
	TRY(prepare(patching));
	find_limits(patching);
	for (unsigned i = 0; i < ROUNDS; i++) {
		if (i)
			os_sleep_ns(ROUND_PAUSE_NS);
		TRY(attach_while_stopped(patching->attach, may_wait, patch_stopped, patching));
		if (!patching->again)
			return NULL;
	}
	return error_new(ERROR_UNSUPPORTED,
	                 "a thread of process %d stands all the time at the start of its malloc",
	                 patching->attach->pid);
}

struct error *attach_patch(struct attach *attach)
{
	struct patching patching = { .attach = attach };
	struct error *error;

	TRY(attach_read_modules(attach));
	if (!attach->library)
		return error_new(ERROR_GONE, "the recorder is no longer in process %d",
		                 attach->pid);
	TRY(attach_read_room(attach));
	TRY(attach_close_descriptor(attach));
	vec_init(&patching.sites, &os_page_source);
	error = patch(&patching);
	vec_deinit(&patching.sites);
	return error;
}

// --- and back --------------------------------------------------------------------------------------
static struct error *restore(struct attach *attach, size_t index, int tid)
{
	struct record_attach_function *function = &attach->functions[index];
	uint64_t word;

	if (!function->site)
		return NULL;
	if (os_remote_read(attach->memory_tid, -1, function->site, &word, sizeof(word)) !=
	    sizeof(word))
		return error_at(ERROR_FAULT, function->site, "%s of process %d cannot be read",
		                function->name, attach->pid);
	if (word == function->after)
		TRY(os_inject_poke(tid, function->site, function->before));
	else if (word != function->before)
		remember_lacking(attach, function->name, "somebody else changed it meanwhile");
	function->site = 0;
	return attach_write_function(attach, index);
}

static struct error *restore_all(void *context, struct stop *stop)
{
	struct attach *attach = context;
	int tid = stopped_thread(stop);

	if (!tid)
		return error_new(ERROR_SYSTEM, "no thread of process %d stands", attach->pid);
	TRY(stop_read_registers(stop)); // so that no wait of a thread is broken off
	for (size_t i = 0; i < attach->room.function_count; i++)
		TRY(restore(attach, i, tid));
	return NULL;
}

struct error *attach_unpatch(struct attach *attach)
{
	return attach_while_stopped(attach, NULL, restore_all, attach);
}
