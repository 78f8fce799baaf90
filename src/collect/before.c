// SPDX-License-Identifier: MIT
// Blocks that were there before a running program was attached to. The tool reads the program's heap
// while it is recorded already, and writes what it found to a file that the collector has open, too.
// Which of these blocks are from before follows without exact times: what was made since the
// attach has its event, and what was freed meanwhile has, too. Relies on live.c; called by collector.c and
// stream.c, the writing half by the tool.
#include "collect/collect_impl.h"

#define MOST_FREED  (UINT64_C(1) << 23) // addresses, 160 MB: who frees more meanwhile goes without
#define MOST_BLOCKS (UINT64_C(1) << 28)
#define LINGER_NS   UINT64_C(20000000) // between a block's making and its event
#define POLL_NS     UINT64_C(2000000)
#define CHUNK       1024u

enum list_state {
	LIST_AWAITED = 0,
	LIST_PARTLY = 1, // some blocks are not in it
	LIST_WHOLE = 2,
};

// At the start of the file; blocks follow. Written last.
struct list_header {
	uint64_t state; // enum list_state
	uint64_t count;
};

// Behind it: enum collect_before_answer, written by the collector.

struct collect_before {
	int list;
	struct collect_live freed; // addresses of all blocks that were freed since the start
	uint64_t due_ns; // when the list is taken; 0: it was not seen yet. As the log's times
	uint64_t answer; // enum collect_before_answer
};

// --- the tool's half -----------------------------------------------------------------------------
struct error *collect_before_open(int *ret)
{
	const uint64_t awaited[3] = { LIST_AWAITED, 0, COLLECT_BEFORE_NONE };
	struct error *error;

	TRY(os_scratch_open(ret));
	error = os_pwrite(*ret, awaited, sizeof(awaited), 0);
	if (!error)
		error = os_inherit(*ret);
	if (!error)
		return NULL;
	os_close(*ret);
	*ret = -1;
	return error;
}

static uint64_t place_of(uint64_t block)
{
	return sizeof(struct list_header) + sizeof(uint64_t) +
	       block * sizeof(struct collect_before_block);
}

struct error *collect_before_add(int list, uint64_t first,
                                 const struct collect_before_block *blocks, size_t count)
{
	return os_pwrite(list, blocks, count * sizeof(*blocks), place_of(first));
}

struct error *collect_before_end(int list, uint64_t count, bool complete)
{
	struct list_header header = { complete ? LIST_WHOLE : LIST_PARTLY, count };

	return os_pwrite(list, &header, sizeof(header), 0);
}

enum collect_before_answer collect_before_await(int list, uint64_t limit_ns)
{
	uint64_t end_ns = os_monotonic_ns() + limit_ns, answer = COLLECT_BEFORE_NONE;

	for (;;) {
		if (os_pread(list, &answer, sizeof(answer), sizeof(struct list_header)) !=
		    sizeof(answer))
			return COLLECT_BEFORE_GIVEN_UP;
		if (answer || os_monotonic_ns() >= end_ns)
			return (enum collect_before_answer)answer;
		os_sleep_ns(POLL_NS);
	}
}

// --- the collector's half ------------------------------------------------------------------------
void collect_before_start(struct collect_stream *stream, int list)
{
	struct collect_before *before = os_page_source.resize(NULL, 0, sizeof(*before));

	before->list = list;
	before->answer = COLLECT_BEFORE_ENDED;
	collect_live_init(&before->freed);
	before->freed.breathe = stream->live.breathe;
	before->freed.context = stream->live.context;
	stream->before = before;
}

void collect_before_stop(struct collect_stream *stream)
{
	struct collect_before *before = stream->before;

	if (!before)
		return;
	stream->before = NULL;
	// Who waits for it in vain says so himself.
	(void)os_pwrite(before->list, &before->answer, sizeof(before->answer),
	                sizeof(struct list_header));
	collect_live_deinit(&before->freed);
	os_close(before->list);
	os_release(before, sizeof(*before));
}

static void give_up(struct collect_stream *stream)
{
	stream->before->answer = COLLECT_BEFORE_GIVEN_UP;
	collect_before_stop(stream);
}

void collect_before_freed(struct collect_stream *stream, uint64_t address)
{
	struct collect_before *before = stream->before;
	uint64_t old;

	if (!collect_live_fits(address, 0))
		return;
	collect_live_put(&before->freed, &(struct log_live){ .address = address }, &old);
	if (before->freed.count >= MOST_FREED)
		give_up(stream);
}

static void take_block(struct collect_stream *stream, const struct collect_before_block *block)
{
	uint64_t old;

	if (!collect_live_fits(block->address, block->bytes) ||
	    collect_live_holds(&stream->live, block->address) ||
	    collect_live_holds(&stream->before->freed, block->address))
		return;
	collect_live_put(&stream->live,
	                 &(struct log_live){ .address = block->address,
	                                     .bytes = block->bytes,
	                                     .kind = RECORD_NONE,
	                                     .thread = LOG_NO_THREAD },
	                 &old);
	stream->live_bytes += block->bytes;
}

// False when the file ends before its time.
static bool take_blocks(struct collect_stream *stream, uint64_t count)
{
	struct collect_before_block blocks[CHUNK];

	for (uint64_t done = 0; done < count;) {
		size_t n = count - done < CHUNK ? (size_t)(count - done) : CHUNK;

		if (os_pread(stream->before->list, blocks, n * sizeof(*blocks), place_of(done)) !=
		    n * sizeof(*blocks))
			return false;
		for (size_t i = 0; i < n; i++)
			take_block(stream, &blocks[i]);
		done += n;
		if (stream->live.breathe)
			stream->live.breathe(stream->live.context);
	}
	return true;
}

static void take_list(struct collect_stream *stream, const struct list_header *header)
{
	bool whole = header->state == LIST_WHOLE;

	// What has been so far ends with the sums that it began with.
	collect_stream_cut(stream);
	whole &= take_blocks(stream, header->count);
	stream->before->answer = COLLECT_BEFORE_TAKEN;
	collect_before_stop(stream);
	stream->knows_before = whole;
	stream->peak_bytes = stream->live_bytes;
	collect_stream_frame(stream);
}

void collect_before_look(struct collect_stream *stream, uint64_t limit_ticks, bool is_final)
{
	struct collect_before *before = stream->before;
	struct list_header header = { LIST_AWAITED, 0 };

	if (!before || os_pread(before->list, &header, sizeof(header), 0) != sizeof(header) ||
	    header.state == LIST_AWAITED)
		return;
	if (!before->due_ns)
		before->due_ns =
			collect_clock_ns(&stream->clock, collect_clock_ticks(&stream->clock)) +
			LINGER_NS;
	if (!is_final && collect_clock_ns(&stream->clock, limit_ticks) < before->due_ns)
		return;
	if (header.count && header.count <= MOST_BLOCKS)
		take_list(stream, &header);
	else
		give_up(stream);
}
