// SPDX-License-Identifier: MIT
// Which processes footprint is about: by number, by name or a part of it, their children, all. Called by
// footprint.c.
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "report/footprint_impl.h"

// So long a process must do nothing to be idle; the kernel counts in hundredths of a second.
#define IDLE_NS 100000000ull

struct listing {
	account_vec all;
	VEC(bool) taken; // beside all
};

static bool add_account(void *context, const struct account *account)
{
	struct listing *listing = context;

	vec_push(&listing->all, *account);
	vec_push(&listing->taken, false);
	return true;
}

static int compare_pids(const void *a, const void *b)
{
	const struct account *x = a, *y = b;

	return (x->process.pid > y->process.pid) - (x->process.pid < y->process.pid);
}

static const char *program_name(struct arena *arena, int tid)
{
	const char *path = os_process_path(arena, tid);

	return path ? text_base_name(path) : "";
}

enum match {
	MATCH_NONE,
	MATCH_PART,
	MATCH_WHOLE,
};

// A name in the kernel has 15 bytes; that of the executable is tried, too.
static enum match match_name(struct arena *arena, const struct account *account, const char *word)
{
	const char *program;

	if (!strcmp(account->process.name, word))
		return MATCH_WHOLE;
	if (strstr(account->process.name, word))
		return MATCH_PART;
	program = program_name(arena, account->process.memory_tid);
	return !strcmp(program, word)  ? MATCH_WHOLE
	       : strstr(program, word) ? MATCH_PART
	                               : MATCH_NONE;
}

static bool is_pid(const char *word, uint64_t *ret)
{
	return *word && strspn(word, "0123456789") == strlen(word) && !text_parse_u64(word, ret);
}

// Names that are equal win over those that contain the word. Gives how many were marked.
static size_t mark_word(struct arena *arena, struct listing *listing, const char *word, bool mark)
{
	enum match best = MATCH_PART;
	size_t marked = 0;
	uint64_t pid = 0;
	bool by_pid = is_pid(word, &pid);

	for (int pass = 0; pass < 2 && !marked; pass++) {
		best = pass ? MATCH_PART : MATCH_WHOLE;
		for (size_t i = 0; i < listing->all.n; i++) {
			const struct account *account = &listing->all.v[i];

			if (by_pid ? (uint64_t)account->process.pid != pid
			           : account->process.pid == os_own_pid() ||
			                     match_name(arena, account, word) < best)
				continue;
			listing->taken.v[i] = mark;
			marked++;
		}
	}
	return marked;
}

static struct error *mark_words(struct footprint_view *view, struct listing *listing,
                                const struct option_list *words)
{
	for (size_t i = 0; i < words->n; i++)
		if (!mark_word(&view->arena, listing, words->v[i], true))
			return error_new(ERROR_NOT_FOUND, "there is no process '%s'", words->v[i]);
	return NULL;
}

static size_t find_pid(const struct listing *listing, int pid)
{
	const struct account key = { .process.pid = pid };
	const struct account *found = bsearch(&key, listing->all.v, listing->all.n,
	                                      sizeof(*listing->all.v), compare_pids);

	return found ? (size_t)(found - listing->all.v) : SIZE_MAX;
}

// Until nothing is added: a child may have a smaller number than its parent.
static void mark_children(struct listing *listing)
{
	bool added = true;

	while (added) {
		added = false;
		for (size_t i = 0; i < listing->all.n; i++) {
			size_t parent = find_pid(listing, listing->all.v[i].process.parent_pid);

			if (listing->taken.v[i] || parent == SIZE_MAX || !listing->taken.v[parent])
				continue;
			listing->taken.v[i] = added = true;
		}
	}
}

static void drop_idle(struct footprint_view *view, struct listing *listing)
{
	os_sleep_ns(IDLE_NS);
	for (size_t i = 0; i < listing->all.n; i++) {
		struct account now;

		if (listing->taken.v[i] &&
		    accounts_read(view->accounts, listing->all.v[i].process.pid, &now) &&
		    now.process.cpu_ticks == listing->all.v[i].process.cpu_ticks &&
		    now.process.state != 'R')
			listing->taken.v[i] = false;
	}
}

static struct error *mark_all(struct footprint_view *view, struct listing *listing,
                              const struct option_list *names)
{
	const struct footprint_settings *settings = view->settings;

	for (size_t i = 0; settings->all && i < listing->all.n; i++)
		listing->taken.v[i] = true;
	TRY(mark_words(view, listing, &settings->processes));
	TRY(mark_words(view, listing, names));
	if (settings->children)
		mark_children(listing);
	for (size_t i = 0; i < settings->exclude.n; i++)
		mark_word(&view->arena, listing, settings->exclude.v[i], false);
	if (settings->skip_idle)
		drop_idle(view, listing);
	return NULL;
}

struct error *footprint_choose(struct footprint_view *view, const struct option_list *names)
{
	struct listing listing;
	struct error *error;

	if (!view->settings->all && !names->n && !view->settings->processes.n)
		return error_new(ERROR_USAGE, "no process given (a name, a pid, or -all)");
	vec_init(&listing.all, &os_page_source);
	vec_init(&listing.taken, &os_page_source);
	error = accounts_each(view->accounts, false, add_account, &listing);
	if (!error && listing.all.n)
		qsort(listing.all.v, listing.all.n, sizeof(*listing.all.v), compare_pids);
	if (!error)
		error = mark_all(view, &listing, names);
	for (size_t i = 0; !error && i < listing.all.n; i++)
		if (listing.taken.v[i] &&
		    listing.all.v[i].footprint_bytes >> 20 >= view->settings->least_mib)
			vec_push(&view->chosen, listing.all.v[i]);
	vec_deinit(&listing.all);
	vec_deinit(&listing.taken);
	return error;
}
