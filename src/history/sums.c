// SPDX-License-Identifier: MIT
// Which blocks a question counts, and their sums by stack. Estimates of a sampled recording weigh each
// block by one over the chance that it was taken (Horvitz and Thompson).
#include <math.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>

#include "history/history_impl.h"

#define FIRST_INDEX_COUNT 1024
#define SIGMAS_99_PERCENT 2.576

// --- the filter ----------------------------------------------------------------------------------
struct filter {
	struct history *history;
	const struct history_question *question;
	regex_t module, function, type;
	bool has_module, has_function, has_type;
	uint8_t *stacks; // per node: not asked yet, no, yes
};

enum { STACK_UNKNOWN, STACK_NO, STACK_YES };

struct error *history_pattern(const char *pattern, regex_t *ret)
{
	char why[100];
	int failed = regcomp(ret, pattern, REG_EXTENDED | REG_NOSUB);

	if (!failed)
		return NULL;
	regerror(failed, ret, why, sizeof(why));
	return error_new(ERROR_USAGE, "'%s' is no extended regular expression: %s", pattern, why);
}

static struct error *compile(const char *pattern, regex_t *ret, bool *ret_has)
{
	if (pattern)
		TRY(history_pattern(pattern, ret));
	*ret_has = pattern;
	return NULL;
}

static struct error *filter_init(struct filter *filter, struct history *history,
                                 const struct history_question *question)
{
	*filter = (struct filter){ .history = history, .question = question };
	TRY(compile(question->module, &filter->module, &filter->has_module));
	TRY(compile(question->function, &filter->function, &filter->has_function));
	TRY(compile(question->type, &filter->type, &filter->has_type));
	if (filter->has_module || filter->has_function)
		filter->stacks = os_page_source.resize(NULL, 0, history->given.node_count + 1);
	return NULL;
}

static void filter_deinit(struct filter *filter)
{
	if (filter->has_module)
		regfree(&filter->module);
	if (filter->has_function)
		regfree(&filter->function);
	if (filter->has_type)
		regfree(&filter->type);
	if (filter->stacks)
		os_page_source.resize(filter->stacks, filter->history->given.node_count + 1, 0);
}

static bool frame_matches(const struct filter *filter, const struct history_frame *frame)
{
	const char *module = frame->module ? frame->module->name : "???";
	const char *function = frame->function ? frame->function : "???";

	return (!filter->has_module || !regexec(&filter->module, module, 0, NULL, 0)) &&
	       (!filter->has_function || !regexec(&filter->function, function, 0, NULL, 0));
}

static bool node_matches(const struct filter *filter, uint32_t node)
{
	const struct history_frame *frames;
	size_t count;

	history_frames_of(filter->history, node, &frames, &count);
	for (size_t i = 0; i < count; i++)
		if (frame_matches(filter, &frames[i]))
			return true;
	return false;
}

// A stack matches when its innermost frame does, or the stack above it. What is found is kept for all
// nodes on the way.
static bool stack_matches(const struct filter *filter, uint32_t node)
{
	struct log_node found;
	uint32_t end = node;
	uint8_t answer = STACK_NO;

	while (history_node(filter->history, end, &found)) {
		if (filter->stacks[end])
			answer = filter->stacks[end];
		else if (node_matches(filter, end))
			answer = filter->stacks[end] = STACK_YES;
		if (answer == STACK_YES || filter->stacks[end])
			break;
		end = found.parent;
	}
	while (node != end && history_node(filter->history, node, &found)) {
		filter->stacks[node] = answer;
		node = found.parent;
	}
	return answer == STACK_YES;
}

static int compare_address(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static bool thread_matches(const struct filter *filter, uint32_t thread)
{
	const struct log_thread *found = history_thread(filter->history, thread);

	return found && found->id == filter->question->thread_id;
}

static bool is_listed(uint64_t address, const uint64_t *list, size_t count)
{
	return count && bsearch(&address, list, count, sizeof(*list), compare_address);
}

// Few types, asked often: the recording gives each class one number.
static bool type_matches(const struct filter *filter, const struct history_block *block,
                         const struct log_event *death)
{
	const struct history_question *q = filter->question;
	const char *name;

	if (!death)
		return is_listed(block->address, q->typed, q->typed_count);
	name = history_type_name(filter->history, death->type);
	return name && !regexec(&filter->type, name, 0, NULL, 0);
}

static bool counts(const struct filter *filter, const struct history_block *block,
                   const struct log_event *death)
{
	const struct history_question *q = filter->question;
	bool mapping = history_is_mapping((uint8_t)block->kind);

	if (mapping ? !q->mappings && !q->only_mappings : q->only_mappings)
		return false;
	if (block->bytes < q->least || (q->most && block->bytes > q->most))
		return false;
	if (q->has_thread && !thread_matches(filter, block->thread))
		return false;
	if (filter->has_type && !type_matches(filter, block, death))
		return false;
	if (q->addresses && !is_listed(block->address, q->addresses, q->address_count))
		return false;
	return !filter->stacks || stack_matches(filter, block->node);
}

// --- passing over blocks -------------------------------------------------------------------------
struct pass {
	struct filter filter;
	struct history_table table;
	void (*each)(void *context, const struct history_block *block,
	             const struct log_event *death);
	void *context;
};

static void pass_block(struct pass *pass, const struct history_block *block,
                       const struct log_event *death)
{
	if (counts(&pass->filter, block, death))
		pass->each(pass->context, block, death);
}

static void pass_made(void *context, const struct history_block *block)
{
	pass_block(context, block, NULL);
}

static void pass_died(void *context, const struct history_block *block,
                      const struct log_event *death, uint64_t number)
{
	struct pass *pass = context;
	uint64_t longest = pass->filter.question->lifetime_ns;

	(void)number;
	if (!longest || death->time_ns - block->time_ns <= longest)
		pass_block(pass, block, death);
}

static bool pass_events(void *context, const struct history_piece *piece)
{
	struct pass *pass = context;

	for (size_t i = 0; i < piece->count; i++)
		history_table_apply(&pass->table, piece->first + i, &piece->events[i]);
	return true;
}

// What was made needs no table of live blocks.
static bool pass_allocations(void *context, const struct history_piece *piece)
{
	for (size_t i = 0; i < piece->count; i++) {
		const struct log_event *event = &piece->events[i];
		struct history_block block;

		if (!history_is_allocation(event->kind) &&
		    (event->kind != RECORD_MAP || event->extra & RECORD_FAILED))
			continue;
		block = history_block_made(piece->first + i, event);
		pass_made(context, &block);
	}
	return true;
}

static void pass_live(struct pass *pass)
{
	for (size_t i = 0; i < pass->table.blocks.n; i++)
		if (pass->table.blocks.v[i].address)
			pass_block(pass, &pass->table.blocks.v[i], NULL);
	for (size_t i = 0; i < pass->table.mappings.n; i++)
		pass_block(pass, &pass->table.mappings.v[i], NULL);
}

static struct error *pass_range(struct history *history, const struct history_question *question,
                                struct pass *pass)
{
	bool by_type = question->type || question->by_type;
	bool made = question->set == HISTORY_MADE;
	struct history_scan scan = { .first = question->first,
		                     .last = question->last,
		                     .piece = made && !by_type ? pass_allocations : pass_events,
		                     .context = pass };

	pass->table.context = pass;
	if (question->set == HISTORY_FREED || (made && by_type))
		pass->table.died = pass_died;
	TRY(history_scan(history, &scan));
	if (question->set != HISTORY_FREED)
		pass_live(pass);
	return NULL;
}

static struct error *pass_state(struct history *history, const struct history_question *question,
                                uint64_t moment, struct pass *pass, bool *ret_complete)
{
	TRY(history_state_table(history, moment, question->by_thread || question->has_thread,
	                        &pass->table, ret_complete));
	pass_live(pass);
	return NULL;
}

static struct error *pass_question(struct history *history, const struct history_question *question,
                                   struct pass *pass, uint64_t *ret_moment, bool *ret_complete)
{
	uint64_t bytes;

	*ret_moment = question->last < history->events ? question->last : history->events;
	*ret_complete = true;
	TRY(filter_init(&pass->filter, history, question));
	if (question->set == HISTORY_PEAK)
		TRY(history_peak(history, question->first, question->last, ret_moment, &bytes));
	if (question->set == HISTORY_PEAK || question->set == HISTORY_LIVE)
		return pass_state(history, question, *ret_moment, pass, ret_complete);
	return pass_range(history, question, pass);
}

static struct error *run(struct history *history, const struct history_question *question,
                         struct pass *pass, uint64_t *ret_moment, bool *ret_complete)
{
	struct error *error;

	history_table_init(&pass->table);
	error = pass_question(history, question, pass, ret_moment, ret_complete);
	history_table_deinit(&pass->table);
	filter_deinit(&pass->filter);
	return error;
}

struct error *history_each_counted(struct history *history, const struct history_question *question,
                                   void (*each)(void *context, const struct history_block *block,
                                                const struct log_event *death),
                                   void *context)
{
	struct pass pass = { .each = each, .context = context };
	uint64_t moment;
	bool complete;

	return run(history, question, &pass, &moment, &complete);
}

// --- sums ----------------------------------------------------------------------------------------
struct summing {
	struct history_sums *ret;
	VEC(double)
	weights;         // two per sum: estimated count and bytes; empty when nothing is estimated
	uint32_t *index; // sum + 1, 0: empty
	size_t index_count;
	bool by_thread, by_type;
	double mean_bytes; // of the sample; 0: every event
	double count_variance, bytes_variance;
};

static uint32_t *sum_at(const struct summing *summing, const struct history_sum *key)
{
	uint64_t hash = (key->node ^ (uint64_t)key->thread << 40 ^ (uint64_t)key->type << 20 ^
	                 key->before) *
	                0x9e3779b97f4a7c15u;
	size_t at = (size_t)(hash >> 32) & (summing->index_count - 1);

	for (; summing->index[at]; at = (at + 1) & (summing->index_count - 1)) {
		const struct history_sum *sum = &summing->ret->sums.v[summing->index[at] - 1];

		if (sum->node == key->node && sum->thread == key->thread &&
		    sum->type == key->type && sum->before == key->before)
			break;
	}
	return &summing->index[at];
}

static void summing_grow(struct summing *summing)
{
	size_t bytes = summing->index_count * sizeof(*summing->index);

	if (bytes)
		os_page_source.resize(summing->index, bytes, 0);
	summing->index_count = summing->index_count ? summing->index_count * 2 : FIRST_INDEX_COUNT;
	summing->index =
		os_page_source.resize(NULL, 0, summing->index_count * sizeof(*summing->index));
	for (size_t i = 0; i < summing->ret->sums.n; i++)
		*sum_at(summing, &summing->ret->sums.v[i]) = (uint32_t)i + 1;
}

static size_t sum_of(struct summing *summing, const struct history_sum *key)
{
	uint32_t *at;

	if ((summing->ret->sums.n + 1) * 2 > summing->index_count)
		summing_grow(summing);
	at = sum_at(summing, key);
	if (!*at) {
		vec_push(&summing->ret->sums, *key);
		*at = (uint32_t)summing->ret->sums.n;
		if (summing->mean_bytes > 0) {
			vec_push(&summing->weights, 0);
			vec_push(&summing->weights, 0);
		}
	}
	return *at - 1;
}

// p is the chance that a block of this size was in the sample.
static void add_estimate(struct summing *summing, size_t sum, const struct history_block *block)
{
	double size = (double)block->bytes;
	double p = history_is_mapping((uint8_t)block->kind) || block->bytes == 0
	                   ? 1
	                   : -expm1(-size / summing->mean_bytes);

	summing->weights.v[2 * sum] += 1 / p;
	summing->weights.v[2 * sum + 1] += size / p;
	summing->count_variance += (1 - p) / (p * p);
	summing->bytes_variance += size * size * (1 - p) / (p * p);
}

static void add_block(void *context, const struct history_block *block,
                      const struct log_event *death)
{
	struct summing *summing = context;
	struct history_sum key = {
		.node = block->node,
		.thread = summing->by_thread ? block->thread : HISTORY_NO_THREAD,
		.type = summing->by_type && death ? death->type : LOG_TYPE_NONE,
		.before = block->kind == RECORD_NONE,
	};
	size_t at = sum_of(summing, &key);

	summing->ret->sums.v[at].count++;
	summing->ret->sums.v[at].bytes += block->bytes;
	if (summing->mean_bytes > 0)
		add_estimate(summing, at, block);
}

static int compare_sums(const void *a, const void *b)
{
	const struct history_sum *x = a, *y = b;

	if (x->node != y->node)
		return x->node < y->node ? -1 : 1;
	if (x->thread != y->thread)
		return x->thread < y->thread ? -1 : 1;
	if (x->type != y->type)
		return x->type < y->type ? -1 : 1;
	return x->before - y->before;
}

static void finish_sums(struct summing *summing)
{
	struct history_sums *sums = summing->ret;

	sums->estimated = summing->mean_bytes > 0;
	for (size_t i = 0; i < sums->sums.n; i++) {
		struct history_sum *sum = &sums->sums.v[i];

		if (sums->estimated) {
			sum->count = (uint64_t)llround(summing->weights.v[2 * i]);
			sum->bytes = (uint64_t)llround(summing->weights.v[2 * i + 1]);
		}
		sums->count += sum->count;
		sums->bytes += sum->bytes;
	}
	sums->count_off = (uint64_t)ceil(SIGMAS_99_PERCENT * sqrt(summing->count_variance));
	sums->bytes_off = (uint64_t)ceil(SIGMAS_99_PERCENT * sqrt(summing->bytes_variance));
	if (sums->sums.n)
		qsort(sums->sums.v, sums->sums.n, sizeof(*sums->sums.v), compare_sums);
}

struct error *history_sum_up(struct history *history, const struct history_question *question,
                             struct history_sums *ret)
{
	struct summing summing = { .ret = ret,
		                   .by_thread = question->by_thread,
		                   .by_type = question->by_type };
	struct pass pass = { .each = add_block, .context = &summing };
	const struct log_process *process = history->given.process;
	struct error *error;

	*ret = (struct history_sums){ 0 };
	vec_init(&ret->sums, &os_page_source);
	vec_init(&summing.weights, &os_page_source);
	if (process->mode == RECORD_SAMPLED)
		summing.mean_bytes = (double)process->sample_bytes;
	error = run(history, question, &pass, &ret->moment, &ret->complete);
	if (!error)
		finish_sums(&summing);
	if (summing.index)
		os_page_source.resize(summing.index, summing.index_count * sizeof(*summing.index),
		                      0);
	vec_deinit(&summing.weights);
	if (error)
		history_sums_free(ret);
	return error;
}

void history_sums_free(struct history_sums *sums)
{
	vec_deinit(&sums->sums);
}
