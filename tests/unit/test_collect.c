// SPDX-License-Identifier: MIT
// The collector against a program that is played: a process that writes events into the shared mapping
// as the recorder does, and what then stands in the log.
#include "unit_played.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

static const struct player_sizes small = { 4096, 64, 4096, 16, 256 };

// --- a recorded process -----------------------------------------------------------------------------
static pid_t start_program(void (*program)(void))
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid) {
		player.header->process_id = (uint32_t)pid;
		return pid;
	}
	if (!player_wait_for_collector(&player))
		_exit(99);
	program();
	_exit(7);
}

static struct error *collect(pid_t pid)
{
	struct collect_settings settings = { .process = pid, .descriptor = player.fd };

	return collect_run(&settings);
}

// What the program did, as the log has it.
struct recorded {
	struct log_reader *reader;
	struct log_event *events;
	size_t count;
	struct arena arena;
	const struct log_text *texts;
	size_t text_count;
};

static void read_log(struct recorded *recorded)
{
	size_t blocks, done = 0;

	*recorded = (struct recorded){ .count = 0 };
	arena_init(&recorded->arena, &os_page_source);
	check(log_open(unit_path, &recorded->reader));
	blocks = log_block_count(recorded->reader);
	for (size_t i = 0; i < blocks; i++)
		recorded->count += log_block(recorded->reader, i)->events;
	recorded->events = calloc(recorded->count + 1, sizeof(*recorded->events));
	for (size_t i = 0; i < blocks; i++) {
		const struct log_text *texts;
		size_t text_count;

		check(log_read_events(recorded->reader, i, recorded->events + done));
		done += log_block(recorded->reader, i)->events;
		check(log_read_texts(recorded->reader, i, &recorded->arena, &texts, &text_count));
		if (text_count) {
			recorded->texts = texts;
			recorded->text_count = text_count;
		}
	}
}

static void close_log(struct recorded *recorded)
{
	free(recorded->events);
	log_close(recorded->reader);
	arena_deinit(&recorded->arena);
}

static const char *end_note(struct recorded *recorded)
{
	const char *text = "";

	for (size_t i = 0; i < log_note_count(recorded->reader); i++)
		if (log_note(recorded->reader, i)->kind == LOG_NOTE_END)
			check(log_read_note(recorded->reader, i, &recorded->arena, &text));
	return text;
}

static void record(void (*program)(void), struct recorded *ret)
{
	pid_t pid = start_program(program);

	check(collect(pid));
	waitpid(pid, NULL, 0);
	read_log(ret);
	assert_true(log_complete(ret->reader));
}

static size_t count_kind(const struct recorded *recorded, uint8_t kind)
{
	size_t n = 0;

	for (size_t i = 0; i < recorded->count; i++)
		n += recorded->events[i].kind == kind;
	return n;
}

static const char *text_of(const struct recorded *recorded, uint8_t kind)
{
	for (size_t i = 0; i < recorded->text_count; i++)
		if (recorded->events[recorded->texts[i].event].kind == kind)
			return recorded->texts[i].text;
	return "";
}

// --- one thread -------------------------------------------------------------------------------------
#define FIRST_ADDRESS UINT64_C(0x555555554000)

static void plain_program(void)
{
	struct record_ring *ring = player_claim_ring(&player);
	uint32_t outer = player_node(&player, 0, 0x401000), inner;

	player_module(&player, 0x400000, 0x500000, "/bin/played");
	inner = player_node(&player, outer, 0x402000);
	player_event(&player, ring, RECORD_THREAD, (uint64_t)getpid(), 0, 0);
	player_event(&player, ring, RECORD_MALLOC, FIRST_ADDRESS, 100, inner);
	player_event(&player, ring, RECORD_CALLOC, FIRST_ADDRESS + 256, 50, outer);
	player_event(&player, ring, RECORD_FREE, FIRST_ADDRESS, 0x400010, inner);
	player_event(&player, ring, RECORD_REALLOC_FREE, FIRST_ADDRESS + 256, 12345, inner);
	player_event(&player, ring, RECORD_REALLOC, FIRST_ADDRESS + 512, 5000000000, inner);
	strcpy(player_texts(&player) + 8, "half-way");
	player_event(&player, ring, RECORD_MARK, 8, 0, inner);
	player_event_text(&player, ring, RECORD_SHM_OPEN, 5, 0,
	                  "/a name that takes more than one event of text, and more");
	player_event(&player, ring, RECORD_MAP, 0x7f0000000000, 0x3000, inner);
	player_event(&player, ring, RECORD_UNMAP, 0x7f0000001000, 0x1000, inner);
}

static void test_plain(void **state)
{
	const struct log_summary *summary;
	struct recorded recorded;
	const struct log_event *event;
	size_t n;

	(void)state;
	record(plain_program, &recorded);
	event = recorded.events;
	assert_int_equal(recorded.count, 10);
	assert_int_equal(event[1].kind, RECORD_MALLOC);
	assert_int_equal(event[1].address, FIRST_ADDRESS);
	assert_int_equal(event[1].bytes, 100);
	assert_int_equal(event[3].kind, RECORD_FREE);
	assert_int_equal(event[3].bytes, 0);
	assert_int_not_equal(event[3].type, LOG_TYPE_NONE);
	assert_int_equal(log_types(recorded.reader, &n)[event[3].type].word, 0x400010);
	assert_int_equal(event[4].type, LOG_TYPE_NONE);
	assert_int_equal(event[5].bytes, 5000000000);
	assert_int_equal(log_node(recorded.reader, event[1].node).code, 0x402000);
	assert_int_equal(
		log_node(recorded.reader, log_node(recorded.reader, event[1].node).parent).code,
		0x401000);
	assert_string_equal(text_of(&recorded, RECORD_MARK), "half-way");
	assert_string_equal(text_of(&recorded, RECORD_SHM_OPEN),
	                    "/a name that takes more than one event of text, and more");
	assert_string_equal(log_modules(recorded.reader, &n)[0].path, "/bin/played");
	summary = log_block(recorded.reader, log_block_count(recorded.reader) - 1);
	assert_int_equal(summary->live_blocks, 1);
	assert_int_equal(summary->live_bytes, 5000000000);
	assert_int_equal(summary->map_bytes, 0x2000);
	assert_string_equal(end_note(&recorded), "exited with status 7");
	assert_int_equal(log_threads(recorded.reader, &n)[event[1].thread].id,
	                 log_process(recorded.reader)->id);
	close_log(&recorded);
}

// --- order over threads -----------------------------------------------------------------------------
enum {
	THREADS = 4,
	BLOCKS = 64,
	TURNS = 40000,
};

// Blocks that the threads hand to each other: 0 free, 1 in somebody's hands, 2 allocated.
static uint32_t blocks[BLOCKS];

static void *allocate_and_free(void *context)
{
	struct record_ring *ring = player_claim_ring(&player);
	unsigned random = (unsigned)(uintptr_t)context * 7919 + 1;

	player_event(&player, ring, RECORD_THREAD, (uint64_t)syscall(SYS_gettid), 0, 0);
	for (int i = 0; i < TURNS; i++) {
		uint32_t block = rand_r(&random) % BLOCKS;
		uint32_t was = __atomic_exchange_n(&blocks[block], 1, __ATOMIC_ACQ_REL);
		uint64_t address = FIRST_ADDRESS + block * 16;

		if (was == 1)
			continue;
		// A free is stamped before anybody else can have the block, an allocation after.
		if (was == 2)
			player_event(&player, ring, RECORD_FREE, address, 0, 0);
		else
			player_event(&player, ring, RECORD_MALLOC, address, 10 + block, 0);
		__atomic_store_n(&blocks[block], was == 2 ? 0 : 2, __ATOMIC_RELEASE);
	}
	player_event(&player, ring, RECORD_THREAD_END, 0, 0, 0);
	return NULL;
}

static void threads_program(void)
{
	pthread_t threads[THREADS];

	for (size_t i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, allocate_and_free, (void *)i);
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
}

static void test_order_of_threads(void **state)
{
	bool live[BLOCKS] = { false };
	struct recorded recorded;
	uint64_t written = 0, live_bytes = 0;
	size_t threads;

	(void)state;
	record(threads_program, &recorded);
	for (uint32_t i = 0; i < THREADS; i++)
		written += player_ring(&player, i)->written;
	assert_int_equal(recorded.count, written);
	for (size_t i = 0; i < recorded.count; i++) {
		const struct log_event *event = &recorded.events[i];
		uint64_t block = (event->address - FIRST_ADDRESS) / 16;

		assert_true(!i || event->time_ns >= event[-1].time_ns);
		if (event->kind == RECORD_MALLOC)
			live_bytes += event->bytes;
		else if (event->kind == RECORD_FREE)
			live_bytes -= 10 + block;
		else
			continue;
		assert_true(live[block] == (event->kind == RECORD_FREE));
		live[block] = !live[block];
	}
	log_threads(recorded.reader, &threads);
	assert_int_equal(threads, THREADS);
	assert_int_equal(
		log_block(recorded.reader, log_block_count(recorded.reader) - 1)->live_bytes,
		live_bytes);
	close_log(&recorded);
}

// --- what is lost is told ---------------------------------------------------------------------------
static void gaps_program(void)
{
	struct record_ring *ring = player_claim_ring(&player);

	player_event(&player, ring, RECORD_THREAD, (uint64_t)getpid(), 0, 0);
	player_event(&player, ring, RECORD_GAP, 0, 30, 0);
	player_event(&player, ring, RECORD_MALLOC, FIRST_ADDRESS, 1, 0);
	ring->lost = 42; // twelve more at its end
	player.header->lost = 5;
}

static void test_gaps(void **state)
{
	struct recorded recorded;
	uint64_t lost = 0;

	(void)state;
	record(gaps_program, &recorded);
	for (size_t i = 0; i < log_block_count(recorded.reader); i++)
		lost += log_block(recorded.reader, i)->lost;
	assert_int_equal(lost, 47);
	assert_int_equal(count_kind(&recorded, RECORD_GAP), 3);
	close_log(&recorded);
}

// --- a program that is killed -----------------------------------------------------------------------
static void killed_program(void)
{
	struct record_ring *ring = player_claim_ring(&player);

	for (uint64_t i = 0; i < 5000; i++)
		player_event(&player, ring, RECORD_MALLOC, FIRST_ADDRESS + 16 * i, 8, 0);
	raise(SIGKILL);
}

static void test_killed_program(void **state)
{
	struct recorded recorded;

	(void)state;
	record(killed_program, &recorded);
	assert_int_equal(count_kind(&recorded, RECORD_MALLOC), 5000);
	assert_string_equal(end_note(&recorded), "killed by signal 9 (Killed)");
	close_log(&recorded);
}

// --- while the program runs -------------------------------------------------------------------------
static void *collect_thread(void *context)
{
	return collect(*(pid_t *)context);
}

static void wait_until(const uint32_t *word, uint32_t value)
{
	while (__atomic_load_n(word, __ATOMIC_ACQUIRE) != value)
		usleep(1000);
}

// A thread that died while it was about to write, and one that goes on; reserved3 of the first ring
// tells how far the test is.
static void dead_program(void)
{
	struct record_ring *dead = player_claim_ring(&player), *ring = player_claim_ring(&player);

	dead->thread = 0x3ffffff;
	player_event(&player, dead, RECORD_MALLOC, FIRST_ADDRESS, 1, 0);
	player_begin(dead);
	for (uint64_t i = 1; i < 3000; i++)
		player_event(&player, ring, RECORD_MALLOC, FIRST_ADDRESS + 16 * i, 8, 0);
	__atomic_store_n(&dead->reserved3, 1, __ATOMIC_RELEASE);
	wait_until(&dead->reserved3, 2);
}

static void test_dead_busy_thread(void **state)
{
	pid_t pid = start_program(dead_program);
	struct record_ring *dead = player_ring(&player, 0);
	struct recorded recorded;
	pthread_t thread;
	void *error;

	(void)state;
	pthread_create(&thread, NULL, collect_thread, &pid);
	wait_until(&dead->reserved3, 1);
	do {
		check(collect_flush(pid, UINT64_C(30000000000)));
		read_log(&recorded);
		close_log(&recorded);
	} while (recorded.count < 3000);
	__atomic_store_n(&dead->reserved3, 2, __ATOMIC_RELEASE);
	pthread_join(thread, &error);
	check(error);
	waitpid(pid, NULL, 0);
}

static void marked_program(void)
{
	struct record_ring *ring = player_claim_ring(&player);

	player_event(&player, ring, RECORD_MALLOC, FIRST_ADDRESS, 1, 0);
	__atomic_store_n(&ring->reserved3, 1, __ATOMIC_RELEASE);
	wait_until(&ring->reserved3, 2);
	player_event(&player, ring, RECORD_MALLOC, FIRST_ADDRESS + 16, 1, 0);
	__atomic_store_n(&player.header->state, RECORD_OFF, __ATOMIC_RELEASE);
	wait_until(&ring->reserved3, 3);
}

static void test_mark_find_flush_detach(void **state)
{
	pid_t pid = start_program(marked_program);
	struct record_ring *ring = player_ring(&player, 0);
	struct collect_recording found;
	struct recorded recorded;
	struct arena arena;
	pthread_t thread;
	void *error;

	(void)state;
	arena_init(&arena, &os_page_source);
	pthread_create(&thread, NULL, collect_thread, &pid);
	wait_until(&ring->reserved3, 1);
	check(collect_find(pid, &arena, &found));
	assert_string_equal(found.log_path, unit_path);
	assert_int_equal(found.mode, RECORD_FULL);
	assert_int_equal(found.collector, getpid());
	check(collect_mark(pid, "before the rest"));
	check(collect_flush(pid, UINT64_C(30000000000)));
	read_log(&recorded); // while it is being written
	assert_int_equal(recorded.count, 2);
	assert_string_equal(text_of(&recorded, RECORD_MARK), "before the rest");
	close_log(&recorded);
	__atomic_store_n(&ring->reserved3, 2, __ATOMIC_RELEASE);
	pthread_join(thread, &error);
	check(error);
	read_log(&recorded);
	assert_string_equal(end_note(&recorded), "detached");
	assert_int_equal(count_kind(&recorded, RECORD_MALLOC), 2);
	assert_int_equal(recorded.events[recorded.count - 1].address, FIRST_ADDRESS + 16);
	assert_int_equal(player.header->collector, RECORD_COLLECTOR_ENDED);
	close_log(&recorded);
	__atomic_store_n(&ring->reserved3, 3, __ATOMIC_RELEASE);
	waitpid(pid, NULL, 0);
	assert_int_equal(collect_find(getpid(), &arena, &found) != NULL, 0);
	arena_deinit(&arena);
}

// --- blocks from before ------------------------------------------------------------------------------
static void attached_program(void)
{
	struct record_ring *ring = player_claim_ring(&player);

	player_event(&player, ring, RECORD_THREAD, (uint64_t)getpid(), 0, 0);
	player_event(&player, ring, RECORD_FREE, FIRST_ADDRESS, 0, 0); // made before
	player_event(&player, ring, RECORD_MALLOC, FIRST_ADDRESS + 16, 5, 0);
	player_event(&player, ring, RECORD_FREE, FIRST_ADDRESS + 16, 0, 0);
	player_event(&player, ring, RECORD_MALLOC, FIRST_ADDRESS + 32, 6, 0);
}

static void collect_with(const struct collect_before_block *given, size_t count, uint64_t told,
                         bool complete, struct recorded *ret)
{
	struct collect_settings settings = { .descriptor = player.fd, .attached = true };
	pid_t pid;

	check(collect_before_open(&settings.before));
	check(collect_before_add(settings.before, 0, given, count));
	check(collect_before_end(settings.before, told, complete));
	settings.process = pid = start_program(attached_program);
	check(collect_run(&settings));
	waitpid(pid, NULL, 0);
	read_log(ret);
}

static const struct collect_before_block listed[] = {
	{ FIRST_ADDRESS, 4 },           // freed meanwhile
	{ FIRST_ADDRESS + 16, 5 },      // made and freed meanwhile
	{ FIRST_ADDRESS + 32, 6 },      // made meanwhile
	{ FIRST_ADDRESS + 48, 7 },      // from before
	{ UINT64_MAX, 8 },              // nonsense
	{ FIRST_ADDRESS + 64, 1 << 30 } // from before
};

// What the program does is told before the list is taken, or after: both must do.
static void test_before(void **state)
{
	const struct log_keyframe *frame;
	struct recorded recorded;
	struct log_live live[8];
	size_t found = 0, last;

	(void)state;
	collect_with(listed, 6, 6, true, &recorded);
	assert_int_equal(log_keyframe_count(recorded.reader), 1);
	frame = log_keyframe(recorded.reader, 0);
	assert_true(frame->complete);
	assert_in_range(frame->blocks, 2, 5);
	check(log_read_live(recorded.reader, 0, live));
	last = frame->blocks - 1;
	assert_int_equal(live[last].address, FIRST_ADDRESS + 64);
	assert_int_equal(live[last].bytes, 1 << 30);
	assert_int_equal(live[last].kind, RECORD_NONE);
	for (size_t i = 0; i <= last; i++)
		found += live[i].address == FIRST_ADDRESS + 48 && live[i].kind == RECORD_NONE;
	assert_int_equal(found, 1);
	close_log(&recorded);
}

// A list that is shorter than it says.
static void test_before_partly(void **state)
{
	struct recorded recorded;

	(void)state;
	collect_with(listed, 4, 1000, true, &recorded);
	assert_int_equal(log_keyframe_count(recorded.reader), 1);
	assert_false(log_keyframe(recorded.reader, 0)->complete);
	close_log(&recorded);
}

static void test_before_unknown(void **state)
{
	struct recorded recorded;

	(void)state;
	collect_with(listed, 0, 0, false, &recorded);
	assert_int_equal(log_keyframe_count(recorded.reader), 0);
	close_log(&recorded);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PLAYED_TEST(test_plain),
		PLAYED_TEST(test_order_of_threads),
		PLAYED_TEST(test_gaps),
		PLAYED_TEST(test_killed_program),
		PLAYED_TEST(test_dead_busy_thread),
		PLAYED_TEST(test_mark_find_flush_detach),
		PLAYED_TEST(test_before),
		PLAYED_TEST(test_before_partly),
		PLAYED_TEST(test_before_unknown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
