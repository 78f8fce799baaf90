// SPDX-License-Identifier: MIT
// All processes with their cheapest numbers. Relies on os/account.c; the memory monitor calls this once
// a second, footprint to find its processes.
#include "accounts/accounts_impl.h"

#define MEMINFO_BYTES 8192

struct each_call {
	struct accounts *accounts;
	bool with_kernel;
	bool (*each)(void *context, const struct account *account);
	void *context;
};

// The text that tells what is in swap costs more than all others; it is read only when something is.
static bool anything_swapped(const struct accounts *accounts)
{
	char text[MEMINFO_BYTES];
	size_t bytes = os_pread(accounts->meminfo, text, sizeof(text), 0);
	uint64_t total, unused;

	return os_counter_find(text, bytes, "SwapTotal", &total) &&
	       os_counter_find(text, bytes, "SwapFree", &unused) && unused < total;
}

struct error *accounts_open(struct accounts **ret)
{
	int proc = -1, meminfo = -1;
	struct arena arena;
	struct accounts *accounts;

	TRY(os_open("/proc", &proc));
	if (os_open("/proc/meminfo", &meminfo))
		meminfo = -1;
	arena_init(&arena, &os_page_source);
	accounts = arena_alloc(&arena, sizeof(*accounts));
	*accounts = (struct accounts){ .arena = arena, .proc = proc, .meminfo = meminfo };
	accounts->with_swap = anything_swapped(accounts);
	*ret = accounts;
	return NULL;
}

void accounts_close(struct accounts *accounts)
{
	struct arena arena = accounts->arena;

	os_close(accounts->proc);
	os_close(accounts->meminfo);
	arena_deinit(&arena);
}

bool accounts_read(struct accounts *accounts, int pid, struct account *ret)
{
	if (!os_account_read(accounts->proc, pid, accounts->with_swap, &ret->process))
		return false;
	ret->footprint_bytes = ret->process.anonymous_bytes + ret->process.swapped_bytes;
	return true;
}

static bool each_process(void *context, int pid)
{
	const struct each_call *call = context;
	struct account account;

	if (!accounts_read(call->accounts, pid, &account) ||
	    (account.process.is_kernel && !call->with_kernel))
		return true;
	return call->each(call->context, &account);
}

struct error *accounts_each(struct accounts *accounts, bool with_kernel,
                            bool (*each)(void *context, const struct account *account),
                            void *context)
{
	struct each_call call = { accounts, with_kernel, each, context };

	accounts->with_swap = anything_swapped(accounts);
	return os_each_number("/proc", each_process, &call);
}
