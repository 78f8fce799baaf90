// SPDX-License-Identifier: MIT
// History: what it says about a random program, whose every step a simple model followed too.
#include "unit_path.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "history/history.h"
#include "log/bytes.h"
#include "log/format.h"
#include "os/os.h"

#define EVENTS       6000
#define BLOCK_EVENTS 500
#define KEYFRAME     4 // blocks
#define PLACES       300
#define FIRST_PLACE  0x555555550000u
#define PLACE_BYTES  512
#define NODES        20

// A place of memory in the model.
struct place {
	uint64_t bytes, event;
	uint32_t node;
	bool live;
};

struct model {
	struct log_event events[EVENTS];
	struct place places[PLACES];
	uint64_t live_bytes, peak_bytes, peak_moment;
};

// Events number 1000, 2500 are marks, 3000 tells of 7 lost events, 4000 maps, 4500 unmaps the middle.
static struct log_event special(size_t number)
{
	switch (number) {
	case 1000:
	case 2500:
		return (struct log_event){ .kind = RECORD_MARK, .node = 1 };
	case 3000:
		return (struct log_event){ .kind = RECORD_GAP, .bytes = 7 };
	case 4000:
		return (struct log_event){
			.kind = RECORD_MAP, .address = 0x7f0000000000, .bytes = 0x3000, .node = 2
		};
	case 4500:
		return (struct log_event){
			.kind = RECORD_UNMAP, .address = 0x7f0000001000, .bytes = 0x1000, .node = 3
		};
	default:
		return (struct log_event){ 0 };
	}
}

static void model_step(struct model *model, size_t number, uint64_t *seed)
{
	size_t at = random_next(seed) % PLACES;
	struct place *place = &model->places[at];
	struct log_event *event = &model->events[number];

	*event = special(number);
	event->time_ns = number * 1000;
	event->thread = (uint32_t)(number % 2);
	if (event->kind)
		return;
	event->address = FIRST_PLACE + at * PLACE_BYTES;
	event->node = 1 + (uint32_t)(random_next(seed) % (NODES - 1));
	event->kind = place->live ? RECORD_FREE : RECORD_MALLOC;
	if (place->live) {
		model->live_bytes -= place->bytes;
		place->live = false;
		return;
	}
	event->bytes = random_next(seed) % PLACE_BYTES;
	*place = (struct place){ event->bytes, number, event->node, true };
	model->live_bytes += event->bytes;
	if (model->live_bytes <= model->peak_bytes)
		return;
	model->peak_bytes = model->live_bytes;
	model->peak_moment = number + 1;
}

static void model_run(struct model *model, size_t count)
{
	uint64_t seed = 1;

	*model = (struct model){ 0 };
	for (size_t i = 0; i < count; i++)
		model_step(model, i, &seed);
}

static void write_tables(struct log_writer *writer)
{
	struct log_node nodes[NODES - 1];
	uint32_t index;

	for (uint32_t i = 0; i < NODES - 1; i++)
		nodes[i] = (struct log_node){ 0x1000 + i * 16, i / 2 };
	assert_null(log_write_nodes(writer, nodes, NODES - 1));
	assert_null(log_write_thread(writer, &(struct log_thread){ 100, 0, "one" }, &index));
	assert_null(log_write_thread(writer, &(struct log_thread){ 101, 0, "two" }, &index));
}

static void write_keyframe(struct log_writer *writer, const struct model *model, uint64_t time_ns)
{
	struct log_live live[PLACES];
	size_t n = 0;

	for (size_t i = 0; i < PLACES; i++)
		if (model->places[i].live)
			live[n++] =
				(struct log_live){ FIRST_PLACE + i * PLACE_BYTES,
				                   model->places[i].bytes, model->places[i].node,
				                   RECORD_MALLOC, model->places[i].event % 2 };
	assert_null(log_write_live(writer, time_ns, live, n, true));
}

static void write_block(struct log_writer *writer, struct model *model, size_t first)
{
	struct log_summary summary = { 0 };
	struct log_text texts[2];
	size_t text_count = 0;

	for (size_t i = first; i < first + BLOCK_EVENTS; i++) {
		const struct log_event *event = &model->events[i];

		summary.lost += event->kind == RECORD_GAP ? event->bytes : 0;
		if (event->kind == RECORD_MARK)
			texts[text_count++] = (struct log_text){ i, i == 1000 ? "one" : "two" };
	}
	model_run(model, first + BLOCK_EVENTS);
	summary.live_bytes = model->live_bytes;
	if (model->peak_moment > first) {
		summary.peak_bytes = model->peak_bytes;
		summary.peak_event = (uint32_t)(model->peak_moment - 1 - first);
	}
	assert_null(log_write_events(writer, &model->events[first], BLOCK_EVENTS, texts, text_count,
	                             &summary));
}

static const struct log_process process = {
	.id = 100,
	.mode = RECORD_FULL,
	.name = "toy",
	.path = "/usr/bin/toy",
	.command_line = "toy",
	.host = "",
	.system = "",
	.cpu = "x86_64",
};

static struct history *history_make(struct model *model, const struct log_process *as)
{
	struct history *history;
	struct log_writer *writer;

	assert_null(log_create(unit_path, true, as, &writer));
	write_tables(writer);
	for (size_t first = 0; first < EVENTS; first += BLOCK_EVENTS) {
		if (first && first / BLOCK_EVENTS % KEYFRAME == 0)
			write_keyframe(writer, model, first * 1000);
		model_run(model, EVENTS);
		write_block(writer, model, first);
	}
	assert_null(log_close_writer(writer));
	assert_null(history_open_log(unit_path, &history));
	return history;
}

// As logs were before keyframes told threads: cut off before the index, which would tell otherwise.
static struct history *history_make_older(struct model *model)
{
	struct log_block_header header;
	struct history *history = history_make(model, &process);
	int fd = open(unit_path, O_RDWR | O_CLOEXEC);
	off_t at = sizeof(struct log_file_header);

	history_close(history);
	for (;;) {
		assert_int_equal(pread(fd, &header, sizeof(header), at), sizeof(header));
		if (header.kind == LOG_KIND_INDEX)
			break;
		if (header.kind == LOG_KIND_LIVE) {
			header.first &= ~(uint64_t)LOG_LIVE_THREADS;
			header.crc = log_crc(0, &header, offsetof(struct log_block_header, crc));
			assert_int_equal(pwrite(fd, &header, sizeof(header), at), sizeof(header));
		}
		at += (off_t)(sizeof(header) + header.front_bytes + header.body_bytes);
	}
	assert_int_equal(ftruncate(fd, at), 0);
	close(fd);
	assert_null(history_open_log(unit_path, &history));
	return history;
}

static void same_state(struct history *history, uint64_t moment, bool threads)
{
	static struct model model;
	struct history_blocks blocks;
	size_t n = 0;

	model_run(&model, moment < EVENTS ? moment : EVENTS);
	assert_null(history_state_at(history, moment, threads, &blocks));
	assert_true(blocks.complete);
	for (size_t i = 0; i < PLACES; i++) {
		const struct place *place = &model.places[i];
		const struct history_block *block;

		if (!place->live)
			continue;
		block = &blocks.blocks.v[n++];
		assert_int_equal(block->address, FIRST_PLACE + i * PLACE_BYTES);
		assert_int_equal(block->bytes, place->bytes);
		assert_int_equal(block->node, place->node);
		if (block->event != HISTORY_BEFORE)
			assert_int_equal(block->event, place->event);
		if (threads)
			assert_int_equal(block->thread, place->event % 2);
		assert_ptr_equal(history_block_at(&blocks, block->address), block);
	}
	assert_int_equal(blocks.blocks.n, n);
	history_blocks_free(&blocks);
}

static void test_state(void **state)
{
	static const uint64_t moments[] = { 0,    1,    499,  500,  501,  1999,       2000,
		                            2001, 3333, 4000, 4001, 5999, HISTORY_END };
	static struct model model;
	struct history *history = history_make(&model, &process);

	(void)state;
	assert_int_equal(history_event_count(history), EVENTS);
	for (size_t i = 0; i < sizeof(moments) / sizeof(moments[0]); i++) {
		same_state(history, moments[i], false);
		same_state(history, moments[i], true);
	}
	history_close(history);
	history = history_make_older(&model);
	for (size_t i = 0; i < sizeof(moments) / sizeof(moments[0]); i++) {
		same_state(history, moments[i], false);
		same_state(history, moments[i], true);
	}
	history_close(history);
}

static void test_mappings(void **state)
{
	static struct model model;
	struct history *history = history_make(&model, &process);
	struct history_blocks blocks;

	(void)state;
	assert_null(history_state_at(history, 4200, true, &blocks));
	assert_int_equal(blocks.mappings.n, 1);
	assert_int_equal(blocks.mappings.v[0].bytes, 0x3000);
	history_blocks_free(&blocks);
	assert_null(history_state_at(history, HISTORY_END, true, &blocks));
	assert_int_equal(blocks.mappings.n, 2);
	assert_int_equal(blocks.mappings.v[0].bytes, 0x1000);
	assert_int_equal(blocks.mappings.v[1].address, 0x7f0000002000);
	assert_int_equal(history_block_at(&blocks, 0x7f0000002010)->node, 2);
	assert_null(history_block_at(&blocks, 0x7f0000001000));
	history_blocks_free(&blocks);
	history_close(history);
}

// Every owner of every place, by its middle: the model's events at that place, in pairs.
static void test_address(void **state)
{
	static struct model model;
	struct history *history = history_make(&model, &process);
	struct arena arena;

	(void)state;
	arena_init(&arena, &os_page_source);
	for (size_t i = 0; i < PLACES; i += 7) {
		uint64_t start = FIRST_PLACE + i * PLACE_BYTES, inside = start + 20;
		const struct history_life *lives;
		size_t count, n = 0;
		bool held = false;

		assert_null(history_of_address(history, inside, 0, HISTORY_END, &arena, &lives,
		                               &count));
		for (size_t at = 0; at < EVENTS; at++) {
			const struct log_event *event = &model.events[at];

			if (event->address != start)
				continue;
			if (event->kind == RECORD_MALLOC) {
				held = event->bytes > 20;
				if (!held)
					continue;
				assert_true(n < count);
				assert_int_equal(lives[n].block.event, at);
				assert_int_equal(lives[n].block.bytes, event->bytes);
				n++;
			} else if (held) {
				assert_int_equal(lives[n - 1].end_event, at);
				assert_int_equal(lives[n - 1].end_node, event->node);
			}
		}
		assert_int_equal(n, count);
	}
	arena_deinit(&arena);
	history_close(history);
}

static struct log_event made(uint64_t start, uint64_t bytes, uint32_t node)
{
	return (struct log_event){
		.kind = RECORD_MALLOC, .address = start, .bytes = bytes, .node = node
	};
}

static struct log_event freed(uint64_t start, uint32_t node)
{
	return (struct log_event){ .kind = RECORD_FREE, .address = start, .node = node };
}

// With one event a block, blocks of the log between an owner's making and its end are about others only.
static struct history *history_of_events(const struct log_event *events, size_t count,
                                         size_t events_per_block)
{
	struct history *history;
	struct log_writer *writer;

	assert_null(log_create(unit_path, true, &process, &writer));
	write_tables(writer);
	for (size_t i = 0; i < count; i += events_per_block) {
		struct log_summary summary = { 0 };
		size_t left = count - i;

		assert_null(log_write_events(writer, &events[i],
		                             left < events_per_block ? left : events_per_block,
		                             NULL, 0, &summary));
	}
	assert_null(log_close_writer(writer));
	assert_null(history_open_log(unit_path, &history));
	return history;
}

// Owners that begin at different places and end far behind their making, one inside another, one that is not
// freed, and frees of smaller blocks that began where owners did.
static void test_address_of_neighbours(void **state)
{
	enum { START = 0x555555550000, FAR = 0x666666660000, INSIDE = START + 0x90 };
	const struct log_event events[] = {
		made(START, 0x100, 1),
		made(FAR, 16, 2),
		freed(FAR, 2),
		freed(START, 3),
		made(START, 0x20, 4),
		made(START + 0x40, 0x80, 5),
		made(START + 0x80, 0x20, 6),
		freed(START, 7),
		freed(START + 0x80, 8),
		made(FAR, 16, 2),
		freed(FAR, 2),
		freed(START + 0x40, 9),
		made(START + 0x90, 0x100, 1),
		made(START + 0x50, 8, 2),
	};
	const struct {
		uint64_t start, made, end;
		uint32_t end_node;
	} expected[] = {
		{ START, 0, 3, 3 },
		{ START + 0x40, 5, 11, 9 },
		{ START + 0x80, 6, 8, 8 },
		{ START + 0x90, 12, HISTORY_BEFORE, 0 },
	};
	struct history *history = history_of_events(events, sizeof(events) / sizeof(events[0]), 1);
	const struct history_life *lives;
	struct arena arena;
	size_t count;

	(void)state;
	arena_init(&arena, &os_page_source);
	assert_null(history_of_address(history, INSIDE, 0, HISTORY_END, &arena, &lives, &count));
	assert_int_equal(count, sizeof(expected) / sizeof(expected[0]));
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(lives[i].block.address, expected[i].start);
		assert_int_equal(lives[i].block.event, expected[i].made);
		assert_int_equal(lives[i].end_event, expected[i].end);
		assert_int_equal(lives[i].end_node, expected[i].end_node);
	}
	arena_deinit(&arena);
	history_close(history);
}

// Large blocks that begin far before the address, whose frees are in blocks of the log that are looked at
// for the address itself, too.
static void test_address_of_large_blocks(void **state)
{
	enum { START = 0x555555550000, LARGE = 64 << 20, INSIDE = START + LARGE / 2 };
	const struct log_event events[] = {
		made(START, LARGE, 1),      made(INSIDE + LARGE, 16, 2),
		freed(INSIDE + LARGE, 2),   freed(START, 3),
		made(START, LARGE, 4),      freed(START, 5),
		made(INSIDE, 16, 6),        freed(INSIDE, 7),
		made(START + 64, LARGE, 8),
	};
	struct history *history;
	const struct history_life *lives;
	struct arena arena;
	size_t count;

	(void)state;
	for (int together = 0; together < 2; together++) {
		history = history_of_events(events, sizeof(events) / sizeof(events[0]),
		                            together ? 5 : 1);
		arena_init(&arena, &os_page_source);
		assert_null(history_of_address(history, INSIDE, 0, HISTORY_END, &arena, &lives,
		                               &count));
		assert_int_equal(count, 4);
		assert_int_equal(lives[0].end_event, 3);
		assert_int_equal(lives[0].end_node, 3);
		assert_int_equal(lives[1].block.event, 4);
		assert_int_equal(lives[1].end_event, 5);
		assert_int_equal(lives[2].end_event, 7);
		assert_int_equal(lives[3].block.address, START + 64);
		assert_true(lives[3].end_event == HISTORY_BEFORE);
		arena_deinit(&arena);
		history_close(history);
	}
}

static void test_moments(void **state)
{
	static struct model model;
	struct history *history = history_make(&model, &process);
	uint64_t moment, bytes, lost;
	const struct history_gap *gaps;
	const struct history_mark *marks;
	size_t count;

	(void)state;
	model_run(&model, EVENTS);
	assert_null(history_peak(history, 0, HISTORY_END, &moment, &bytes));
	assert_int_equal(moment, model.peak_moment);
	assert_int_equal(bytes, model.peak_bytes);
	assert_null(history_marks(history, &marks, &count));
	assert_int_equal(count, 2);
	assert_string_equal(marks[1].name, "two");
	assert_null(history_moment(history, "one", &moment));
	assert_int_equal(moment, 1000);
	assert_null(history_moment(history, "+0.0015s", &moment));
	assert_int_equal(moment, 1501);
	assert_null(history_moment(history, "-1", &moment));
	assert_int_equal(moment, 1);
	assert_null(history_moment(history, "#77", &moment));
	assert_int_equal(moment, 77);
	assert_non_null(strstr(history_moment(history, "three", &moment)->text, "'one', 'two'"));
	assert_null(history_gaps(history, 0, HISTORY_END, &gaps, &count, &lost));
	assert_int_equal(count, 1);
	assert_int_equal(lost, 7);
	assert_int_equal(gaps[0].event, 3000);
	history_close(history);
}

static void test_peak_of_a_part(void **state)
{
	static struct model model;
	struct history *history = history_make(&model, &process);
	uint64_t moment, bytes, best = 0, best_moment = 0;

	(void)state;
	for (size_t i = 2101; i <= 2700; i++) {
		model_run(&model, i);
		if (model.live_bytes > best) {
			best = model.live_bytes;
			best_moment = i;
		}
	}
	assert_null(history_peak(history, 2100, 2700, &moment, &bytes));
	assert_int_equal(bytes, best);
	assert_int_equal(moment, best_moment);
	history_close(history);
}

// What the model says for one set: made and freed within [first, last).
static void model_sum(const struct model *model, enum history_set set, uint64_t first,
                      uint64_t last, uint64_t lifetime, uint64_t *ret_count, uint64_t *ret_bytes)
{
	*ret_count = *ret_bytes = 0;
	for (uint64_t i = first; i < last; i++) {
		const struct log_event *event = &model->events[i];
		uint64_t end = i + 1;

		if (event->kind != RECORD_MALLOC)
			continue;
		while (end < last && model->events[end].address != event->address)
			end++;
		if (set == HISTORY_SINCE && end < last)
			continue;
		if (set == HISTORY_FREED &&
		    (end >= last || (lifetime && (end - i) * 1000 > lifetime)))
			continue;
		++*ret_count;
		*ret_bytes += event->bytes;
	}
}

static void test_sums(void **state)
{
	static const struct {
		enum history_set set;
		uint64_t lifetime;
	} rows[] = { { HISTORY_SINCE, 0 },
		     { HISTORY_MADE, 0 },
		     { HISTORY_FREED, 0 },
		     { HISTORY_FREED, 50000 } };
	static struct model model;
	struct history *history = history_make(&model, &process);

	(void)state;
	model_run(&model, EVENTS);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct history_question question = { .set = rows[i].set,
			                             .first = 1000,
			                             .last = 5100,
			                             .lifetime_ns = rows[i].lifetime };
		struct history_sums sums;
		uint64_t count, bytes;

		model_sum(&model, rows[i].set, 1000, 5100, rows[i].lifetime, &count, &bytes);
		assert_null(history_sum_up(history, &question, &sums));
		assert_int_equal(sums.count, count);
		assert_int_equal(sums.bytes, bytes);
		history_sums_free(&sums);
		question.by_type = true; // another way through the same events
		assert_null(history_sum_up(history, &question, &sums));
		assert_int_equal(sums.count, count);
		assert_int_equal(sums.bytes, bytes);
		history_sums_free(&sums);
	}
	history_close(history);
}

static void test_filters(void **state)
{
	static struct model model;
	struct history *history = history_make(&model, &process);
	struct history_question question = { .set = HISTORY_LIVE,
		                             .last = HISTORY_END,
		                             .has_thread = true,
		                             .thread_id = 101,
		                             .least = 100,
		                             .most = 200 };
	struct history_sums sums;
	uint64_t count = 0;

	(void)state;
	model_run(&model, EVENTS);
	for (size_t i = 0; i < PLACES; i++)
		count += model.places[i].live && model.places[i].event % 2 &&
		         model.places[i].bytes >= 100 && model.places[i].bytes <= 200;
	assert_null(history_sum_up(history, &question, &sums));
	assert_int_equal(sums.count, count);
	history_sums_free(&sums);
	question.module = "(";
	assert_int_equal(history_sum_up(history, &question, &sums)->kind, ERROR_USAGE);
	history_close(history);
}

static void test_growth(void **state)
{
	static const uint64_t starts[] = { 0, 1000, 2500, EVENTS };
	static struct model model;
	struct history *history = history_make(&model, &process);
	const struct history_generation *generations;
	struct arena arena;
	size_t count;

	(void)state;
	arena_init(&arena, &os_page_source);
	assert_null(history_growth(history, HISTORY_END, &arena, &generations, &count));
	assert_int_equal(count, 3);
	for (size_t i = 0; i < count; i++) {
		uint64_t made, bytes, live = 0;

		model_run(&model, EVENTS);
		model_sum(&model, HISTORY_MADE, starts[i], starts[i + 1], 0, &made, &bytes);
		for (size_t at = 0; at < PLACES; at++)
			live += model.places[at].live && model.places[at].event >= starts[i] &&
			        model.places[at].event < starts[i + 1];
		assert_int_equal(generations[i].made_count, made);
		assert_int_equal(generations[i].made_bytes, bytes);
		assert_int_equal(generations[i].live_count, live);
		model_run(&model, starts[i]);
		assert_int_equal(generations[i].total_bytes, model.live_bytes);
	}
	arena_deinit(&arena);
	history_close(history);
}

static void test_trees(void **state)
{
	static struct model model;
	struct history *history = history_make(&model, &process);
	struct history_question question = { .set = HISTORY_LIVE,
		                             .last = HISTORY_END,
		                             .by_thread = true };
	struct history_sums sums;

	(void)state;
	assert_null(history_sum_up(history, &question, &sums));
	for (int form = 0; form < 2 * (HISTORY_TREE_FLAT + 1); form++) {
		struct history_tree_options options = { .mode = (enum history_tree_mode)(form / 2),
			                                .by_thread = form % 2 };
		struct history_tree tree;
		uint64_t own = 0;

		history_tree_build(history, &sums, &options, &tree);
		assert_int_equal(tree.branches.v[0].bytes, sums.bytes);
		assert_int_equal(tree.branches.v[0].count, sums.count);
		for (size_t i = 0; i < tree.branches.n; i++)
			own += tree.branches.v[i].own_bytes;
		assert_int_equal(own, sums.bytes);
		history_tree_free(&tree);
	}
	history_sums_free(&sums);
	history_close(history);
}

// A program of nothing but recursion into new code: the inverted tree of its stacks has a branch for each
// two of them. The tree that is pruned never grows them, the one that is not ends where its room ends.
static struct history *history_make_deep(size_t depth, struct log_node *nodes,
                                         struct log_live *live)
{
	struct history_given given = { .process = &process,
		                       .nodes = nodes,
		                       .node_count = (uint32_t)depth + 1,
		                       .blocks = live,
		                       .block_count = depth };
	struct history *history;

	for (size_t i = 1; i <= depth; i++) {
		nodes[i] = (struct log_node){ 0x1000 * i, (uint32_t)i - 1 };
		live[i - 1] = (struct log_live){ 0x100000 * i, i == depth ? 100000 : 1, (uint32_t)i,
			                         RECORD_MALLOC };
	}
	assert_null(history_open_blocks(&given, &history));
	return history;
}

static void test_deep_trees(void **state)
{
	enum { DEPTH = 3000 };
	static struct log_node nodes[DEPTH + 1];
	static struct log_live live[DEPTH];
	struct history *history = history_make_deep(DEPTH, nodes, live);
	struct history_question question = { .set = HISTORY_LIVE, .last = HISTORY_END };
	struct history_tree_options options = { .mode = HISTORY_TREE_INVERTED,
		                                .least_bytes = 100000 };
	struct history_sums sums;
	struct history_tree tree;
	uint32_t end;

	(void)state;
	assert_null(history_sum_up(history, &question, &sums));
	history_tree_build(history, &sums, &options, &tree);
	assert_int_equal(tree.branches.n, DEPTH + 1); // the stack of the one big block, whole
	assert_int_equal(tree.branches.v[DEPTH].own_bytes, 100000);
	assert_int_equal(tree.cut, 0);
	assert_true(history_tree_end(history, &tree, &options, &sums.sums.v[DEPTH - 1], &end));
	assert_int_equal(end, DEPTH);
	assert_false(history_tree_end(history, &tree, &options, &sums.sums.v[0], &end));
	history_tree_free(&tree);

	options = (struct history_tree_options){ .mode = HISTORY_TREE_INVERTED,
		                                 .most_branches = 10 * DEPTH };
	history_tree_build(history, &sums, &options, &tree);
	assert_in_range(tree.branches.n, 9 * DEPTH, 10 * DEPTH);
	for (size_t i = 1; i <= 9 * DEPTH; i++) // whole levels, each one branch shorter
		assert_in_range(tree.branches.v[i].depth, 1, 10);
	assert_int_equal(tree.branches.v[0].bytes, sums.bytes);
	assert_true(tree.cut > 0);
	history_tree_free(&tree);

	options = (struct history_tree_options){ .mode = HISTORY_TREE_FLAT };
	history_tree_build(history, &sums, &options, &tree);
	assert_int_equal(tree.branches.n, DEPTH + 1);
	assert_int_equal(tree.branches.v[tree.branches.v[0].first_child].bytes, sums.bytes);
	history_tree_free(&tree);
	history_sums_free(&sums);
	history_close(history);
}

// Blocks with stacks but without events answer what they can.
static void test_given(void **state)
{
	static const struct log_node nodes[] = { { 0, 0 }, { 0x1000, 0 }, { 0x2000, 1 } };
	static const struct log_live live[] = { { 0x5000, 32, 2, RECORD_MALLOC } };
	struct history_given given = { .process = &process,
		                       .nodes = nodes,
		                       .node_count = 3,
		                       .blocks = live,
		                       .block_count = 1 };
	const struct history_frame *const *frames;
	const struct history_life *lives;
	struct history *history;
	struct arena arena;
	uint64_t moment;
	size_t count;

	(void)state;
	arena_init(&arena, &os_page_source);
	assert_null(history_open_blocks(&given, &history));
	assert_null(history_of_address(history, 0x5010, 0, HISTORY_END, &arena, &lives, &count));
	assert_int_equal(count, 1);
	history_stack(history, lives[0].block.node, &arena, &frames, &count);
	assert_int_equal(count, 2);
	assert_int_equal(frames[0]->address, 0x2000);
	assert_int_equal(history_moment(history, "start", &moment)->kind, ERROR_UNSUPPORTED);
	history_close(history);
	arena_deinit(&arena);
}

// A sample stands for more than it holds, within the bounds that it states.
static void test_estimate(void **state)
{
	static struct model model;
	struct log_process sampled = process;
	struct history_question question = { .set = HISTORY_MADE, .last = HISTORY_END };
	struct history *history;
	struct history_sums sums;
	uint64_t count, bytes;

	(void)state;
	sampled.mode = RECORD_SAMPLED;
	sampled.sample_bytes = 1024;
	history = history_make(&model, &sampled);
	model_run(&model, EVENTS);
	model_sum(&model, HISTORY_MADE, 0, EVENTS, 0, &count, &bytes);
	assert_null(history_sum_up(history, &question, &sums));
	assert_true(sums.estimated);
	assert_true(sums.bytes > 3 * bytes); // blocks of 256 bytes: one in 4.5 is taken
	assert_true(sums.count > 3 * count);
	assert_true(sums.bytes_off > 0 && sums.bytes_off < sums.bytes / 10);
	history_sums_free(&sums);
	history_close(history);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PATH_TEST(test_state),
		PATH_TEST(test_mappings),
		PATH_TEST(test_address),
		PATH_TEST(test_address_of_neighbours),
		PATH_TEST(test_address_of_large_blocks),
		PATH_TEST(test_moments),
		PATH_TEST(test_peak_of_a_part),
		PATH_TEST(test_sums),
		PATH_TEST(test_filters),
		PATH_TEST(test_growth),
		PATH_TEST(test_trees),
		PATH_TEST(test_given),
		PATH_TEST(test_estimate),
		PATH_TEST(test_deep_trees),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
