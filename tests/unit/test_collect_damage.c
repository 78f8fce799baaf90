// SPDX-License-Identifier: MIT
// The collector against a program that scribbles over the shared mapping: a header that cannot be is
// refused by name, and whatever stands in rings and tables, the log that comes out is a valid one.
// Also the parts of the collector that keep live blocks and mappings, against plain models of them.
#include "unit_played.h"

static uint64_t random_state;

static const struct player_sizes small = { 512, 16, 512, 4, 64 };

static uint64_t random_64(void)
{
	random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return random_state ^ random_state >> 29;
}

// --- the header -------------------------------------------------------------------------------------
#define FIELD(name)                                                  \
	{                                                            \
#name, offsetof(struct record_header, name),         \
			sizeof(((struct record_header *)NULL)->name) \
	}

static const struct field {
	const char *name;
	size_t offset, bytes;
} fields[] = {
	FIELD(version),        FIELD(bytes),         FIELD(node_bytes),
	FIELD(module_bytes),   FIELD(event_bytes),   FIELD(ring_events),
	FIELD(mode),           FIELD(clock),         FIELD(nodes_offset),
	FIELD(modules_offset), FIELD(texts_offset),  FIELD(rings_offset),
	FIELD(ring_stride),    FIELD(node_capacity), FIELD(module_capacity),
	FIELD(text_capacity),  FIELD(ring_capacity), FIELD(ring_header_bytes),
};

static void test_header(void **state)
{
	struct collect_share share;

	(void)state;
	check(collect_share_check(player.header, player.bytes, &share));
	assert_non_null(collect_share_check(player.header, 100, &share));
	assert_non_null(collect_share_check(player.header, player.bytes / 2, &share));
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		char *at = (char *)player.header + fields[i].offset;
		uint64_t right = 0, wrong = UINT64_MAX;

		memcpy(&right, at, fields[i].bytes);
		memcpy(at, &wrong, fields[i].bytes);
		if (!collect_share_check(player.header, player.bytes, &share))
			fail_msg("a wrong %s is accepted", fields[i].name);
		memcpy(at, &right, fields[i].bytes);
	}
	player.header->magic[0] = 'X';
	assert_non_null(collect_share_check(player.header, player.bytes, &share));
}

// Every single number of the header at random: refused, or nothing is out of the mapping.
static void test_header_at_random(void **state)
{
	struct record_header right = *player.header;
	struct collect_share share;

	(void)state;
	random_state = 1;
	for (int i = 0; i < 200000; i++) {
		const struct field *field =
			&fields[random_64() % (sizeof(fields) / sizeof(fields[0]))];
		uint64_t value = random_64() >> random_64() % 64;

		memcpy((char *)player.header + field->offset, &value, field->bytes);
		if (!collect_share_check(player.header, player.bytes, &share)) {
			const char *end = (const char *)player.header + player.bytes;

			assert_true((const char *)(share.nodes + share.node_capacity) <= end);
			assert_true((const char *)(share.modules + share.module_capacity) <= end);
			assert_true(share.texts + share.text_capacity <= end);
			if (share.ring_capacity)
				assert_true((const char *)collect_ring_event(
						    &share,
						    collect_ring(&share, share.ring_capacity - 1),
						    share.ring_events - 1) +
				                    sizeof(struct record_event) <=
				            end);
		}
		memcpy(player.header, &right, offsetof(struct record_header, collector));
	}
}

// --- rings and tables -------------------------------------------------------------------------------
// A collector without a process: rounds are made when the test wants them.
struct hand {
	struct collect_share share;
	struct collect_packer *packer;
	struct collect_stream stream;
	struct collect_drain drain;
};

static void hand_open(struct hand *hand)
{
	const struct log_process process = { .id = 1,
		                             .mode = RECORD_FULL,
		                             .name = "played",
		                             .path = "",
		                             .command_line = "",
		                             .host = "",
		                             .system = "",
		                             .cpu = "" };
	struct log_writer *writer;

	check(collect_share_check(player.header, player.bytes, &hand->share));
	check(log_create(unit_path, true, &process, &writer));
	check(collect_packer_start(writer, player.header, &hand->packer));
	check(collect_stream_init(&hand->stream, &hand->share, 0, false, hand->packer));
	collect_drain_init(&hand->drain, &hand->stream);
}

static void hand_round(struct hand *hand, bool is_final)
{
	collect_modules_update(&hand->stream.modules, &hand->share, &hand->stream.clock, true,
	                       hand->stream.pack);
	collect_drain_round(&hand->drain, is_final);
	collect_stream_cut(&hand->stream);
}

static void hand_close(struct hand *hand)
{
	hand_round(hand, true);
	check(collect_packer_finish(hand->packer, hand->stream.last_ns, "done"));
	collect_drain_deinit(&hand->drain);
	collect_stream_deinit(&hand->stream);
}

// Decodes all of the log; returns how many events it has.
static size_t read_all(void)
{
	struct log_reader *reader;
	size_t count = 0;

	check(log_open(unit_path, &reader));
	assert_null(log_damage(reader));
	assert_true(log_complete(reader));
	for (size_t i = 0; i < log_block_count(reader); i++) {
		size_t n = log_block(reader, i)->events;
		struct log_event *events = calloc(n, sizeof(*events));
		size_t threads;

		check(log_read_events(reader, i, events));
		log_threads(reader, &threads);
		for (size_t j = 0; j < n; j++) {
			assert_true(events[j].node < log_node_count(reader));
			assert_true(events[j].thread < threads);
			assert_true(!j || events[j].time_ns >= events[j - 1].time_ns);
		}
		count += n;
		free(events);
	}
	for (size_t i = 0; i < log_keyframe_count(reader); i++) {
		struct log_live *live = calloc(log_keyframe(reader, i)->blocks, sizeof(*live));

		check(log_read_live(reader, i, live));
		free(live);
	}
	log_close(reader);
	return count;
}

static void scribble(void *memory, size_t bytes, unsigned times)
{
	for (unsigned i = 0; i < times; i++) {
		uint64_t value = random_64() >> random_64() % 64;
		size_t at = random_64() % (bytes / 8);

		((uint64_t *)memory)[at] = value;
	}
}

// What a program with a stray pointer does: anything, anywhere, between and during our rounds.
static void test_scribbled_mapping(void **state)
{
	(void)state;
	for (int turn = 0; turn < 30; turn++) {
		struct hand hand = { .packer = NULL };

		end_test(NULL);
		begin_test(NULL);
		random_state = (uint64_t)turn;
		hand_open(&hand);
		player.header->ring_count = 4;
		player.header->node_count = 512;
		player.header->module_count = 16;
		for (int round = 0; round < 40; round++) {
			for (uint32_t i = 0; i < 4; i++)
				collect_ring(&hand.share, i)->written += random_64() % 64;
			scribble((char *)player.header + sizeof(*player.header),
			         player.bytes - sizeof(*player.header), 2000);
			if (turn % 2) // the rings' own numbers stay sensible
				for (uint32_t i = 0; i < 4; i++)
					memset(collect_ring(&hand.share, i), 0,
					       sizeof(struct record_ring));
			else
				scribble(player.header, sizeof(*player.header), 20);
			hand_round(&hand, false);
		}
		hand_close(&hand);
		read_all();
	}
}

// Random events of every kind in rings that are otherwise well: none is lost but those of no kind.
static void test_random_events(void **state)
{
	static const uint32_t kinds[] = { 1, 2, 3, 4, 8, 9, 16, 17, 18, 32, 38, 48, 49, 52, 53 };
	struct hand hand = { .packer = NULL };
	uint64_t put = 0;

	(void)state;
	random_state = 99;
	hand_open(&hand);
	for (int i = 0; i < 4; i++)
		player_claim_ring(&player);
	for (int round = 0; round < 500; round++) {
		for (int i = 0; i < 40; i++) {
			struct record_ring *ring = player_ring(&player, random_64() % 4);
			uint32_t kind = kinds[random_64() % (sizeof(kinds) / sizeof(kinds[0]))];

			if (ring->written - ring->read >= small.ring_events)
				continue;
			player_put(&player, ring, random_64() >> random_64() % 64, kind,
			           random_64() >> random_64() % 64, random_64() >> random_64() % 64,
			           (uint32_t)random_64(), (uint32_t)random_64());
			put++;
		}
		hand_round(&hand, round % 100 == 99);
	}
	hand_close(&hand);
	assert_true(read_all() >= put);
}

// A stack whose parents run in circles or upwards ends.
static void test_circular_nodes(void **state)
{
	struct hand hand = { .packer = NULL };
	struct record_ring *ring = player_claim_ring(&player);
	struct record_node *nodes = player_nodes(&player);
	struct log_reader *reader;

	(void)state;
	hand_open(&hand);
	nodes[5] = (struct record_node){ .code = 0x500, .parent = 7 };
	nodes[7] = (struct record_node){ .code = 0x700, .parent = 5 };
	nodes[9] = (struct record_node){ .code = 0x900, .parent = 9 };
	player_event(&player, ring, RECORD_MALLOC, 4096, 1, 7);
	player_event(&player, ring, RECORD_MALLOC, 8192, 1, 9);
	player_event(&player, ring, RECORD_MALLOC, 16384, 1, 511);
	player_event(&player, ring, RECORD_MALLOC, 32768, 1, UINT32_MAX);
	hand_close(&hand);
	assert_int_equal(read_all(), 4);
	check(log_open(unit_path, &reader));
	for (uint32_t i = 1; i < log_node_count(reader); i++)
		assert_true(log_node(reader, i).parent < i);
	log_close(reader);
}

// --- live blocks, mappings, keyframes -----------------------------------------------------------------
enum { MODEL = 1 << 16 };

static void test_live_blocks(void **state)
{
	static uint64_t model[MODEL]; // bytes + 1 by number of the block
	struct collect_live live;
	uint64_t count = 0;

	(void)state;
	memset(model, 0, sizeof(model));
	random_state = 5;
	collect_live_init(&live);
	for (int i = 0; i < 3000000; i++) {
		// Grows to many blocks, then shrinks to few.
		uint32_t number = random_64() % MODEL, grows = i < 1500000 ? 7 : 1;
		uint64_t address = 0x7f0000000000 + number * UINT64_C(48), old = 0;
		uint64_t bytes = random_64() >> (19 + random_64() % 45); // as far as a slot goes

		if (random_64() % 8 < grows) {
			assert_int_equal(
				collect_live_put(&live,
			                         &(struct log_live){ address, bytes, number, 1, 0 },
			                         &old),
				model[number] != 0);
			assert_true(!model[number] || old == model[number] - 1);
			count += !model[number];
			model[number] = bytes + 1;
		} else {
			assert_int_equal(collect_live_take(&live, address, &old),
			                 model[number] != 0);
			assert_true(!model[number] || old == model[number] - 1);
			count -= model[number] != 0;
			model[number] = 0;
		}
		assert_int_equal(live.count, count);
	}
	assert_true(live.capacity * sizeof(*live.slots) <= 2 << 20);
	collect_live_deinit(&live);
}

static void test_live_blocks_are_small(void **state)
{
	struct collect_live live;
	uint64_t old;

	(void)state;
	collect_live_init(&live);
	for (uint64_t i = 1; i < 2000000; i++) {
		collect_live_put(&live, &(struct log_live){ i * 16, i, 0, RECORD_MALLOC, 0 }, &old);
		if (i > 200000)
			assert_true(live.capacity * sizeof(*live.slots) <= i * 24 + (1 << 20));
	}
	collect_live_deinit(&live);
}

static uint32_t thread_of_block(uint64_t number)
{
	return number % 5 ? (uint32_t)(number % 3 ? number % 500 : number * 977 % 1048575)
	                  : LOG_NO_THREAD;
}

// Of blocks of 4 GiB and more only the first threads are.
static uint32_t known_thread(uint64_t number)
{
	uint32_t thread = thread_of_block(number);

	return number << 20 >> 32 && thread >= 127 ? LOG_NO_THREAD : thread;
}

static void test_keyframe(void **state)
{
	struct collect_live live;
	struct collect_ranges ranges;
	struct collect_frame frame;
	struct arena arena;
	uint64_t old;

	(void)state;
	arena_init(&arena, &os_page_source);
	for (uint64_t count = 0; count < 20000; count = count * 3 + 1) {
		collect_live_init(&live);
		collect_ranges_init(&ranges);
		for (uint64_t i = 1; i <= count; i++)
			collect_live_put(&live,
			                 &(struct log_live){ i * 0x1000010, i << 20, (uint32_t)i,
			                                     RECORD_MALLOC + i % 4,
			                                     thread_of_block(i) },
			                 &old);
		for (uint64_t i = 1; i <= count / 10; i++)
			collect_ranges_put(&ranges, i * 0x9000000 + 0x8000, 0x1000, 7, 3);
		assert_true(collect_frame_copy(&live, &ranges, &arena, &frame));
		collect_frame_finish(&frame);
		assert_int_equal(frame.count, count + count / 10);
		for (uint64_t i = 0; i < frame.count; i++) {
			const struct log_live *block = &frame.blocks[i];
			uint64_t number = block->address / 0x1000010;

			assert_true(!i || block->address > block[-1].address);
			if (block->kind == RECORD_MAP) {
				assert_int_equal(block->thread, 3);
				continue;
			}
			assert_int_equal(block->address, number * 0x1000010);
			assert_int_equal(block->bytes, number << 20);
			assert_int_equal(block->node, number);
			assert_int_equal(block->kind, RECORD_MALLOC + number % 4);
			assert_int_equal(block->thread, known_thread(number));
		}
		os_release(frame.blocks, frame.bytes);
		collect_ranges_deinit(&ranges);
		collect_live_deinit(&live);
	}
	arena_deinit(&arena);
}

static void test_ranges(void **state)
{
	static bool model[256];
	struct collect_ranges ranges;

	(void)state;
	memset(model, 0, sizeof(model));
	random_state = 11;
	collect_ranges_init(&ranges);
	for (int i = 0; i < 100000; i++) {
		uint64_t start = random_64() % 256, pages = random_64() % (257 - start), n = 0;
		bool put = random_64() % 2;

		if (put)
			collect_ranges_put(&ranges, start * 4096, pages * 4096, 1, 0);
		else
			collect_ranges_take(&ranges, start * 4096, pages * 4096);
		memset(model + start, put, pages);
		for (size_t j = 0; j < 256; j++)
			n += model[j];
		assert_int_equal(ranges.bytes, n * 4096);
		for (size_t j = 1; j < ranges.ranges.n; j++)
			assert_true(ranges.ranges.v[j].start >= ranges.ranges.v[j - 1].end);
	}
	collect_ranges_put(&ranges, UINT64_MAX - 10, UINT64_MAX, 1, 0);
	collect_ranges_take(&ranges, 0, UINT64_MAX);
	assert_int_equal(ranges.bytes, 0);
	collect_ranges_deinit(&ranges);
}

// --- the memory -------------------------------------------------------------------------------------
static struct error *open_shared(int memory)
{
	char path[64];
	int fd;
	struct error *error;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", memory);
	error = os_shared_open(path, RECORD_NAME, &fd);
	assert_true(error ? fd < 0 : fd >= 0);
	os_close(fd);
	return error;
}

// Reading behind the end of memory that became shorter ends a process by a signal.
static void test_memory_that_may_become_shorter(void **state)
{
	int open = memfd_create(RECORD_NAME, MFD_ALLOW_SEALING);
	int closed = memfd_create(RECORD_NAME, MFD_ALLOW_SEALING);

	(void)state;
	assert_int_equal(ftruncate(open, 4096), 0);
	assert_int_equal(ftruncate(closed, 4096), 0);
	assert_int_equal(fcntl(closed, F_ADD_SEALS, F_SEAL_SEAL), 0);
	check(open_shared(open));
	assert_int_equal(ftruncate(open, 0), -1);
	assert_non_null(open_shared(closed));
	close(open);
	close(closed);
}

static void test_too_many_rings(void **state)
{
	struct collect_share share;

	(void)state;
	player.header->ring_capacity = 1 << 30;
	player.header->ring_stride = 128;
	player.header->ring_events = 2;
	assert_non_null(collect_share_check(player.header, UINT64_C(1) << 46, &share));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PLAYED_TEST(test_header),
		PLAYED_TEST(test_header_at_random),
		PLAYED_TEST(test_scribbled_mapping),
		PLAYED_TEST(test_random_events),
		PLAYED_TEST(test_circular_nodes),
		cmocka_unit_test(test_memory_that_may_become_shorter),
		PLAYED_TEST(test_too_many_rings),
		cmocka_unit_test(test_live_blocks),
		cmocka_unit_test(test_live_blocks_are_small),
		cmocka_unit_test(test_keyframe),
		cmocka_unit_test(test_ranges),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
