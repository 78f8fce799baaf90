// SPDX-License-Identifier: MIT
// The collector: opens the mapping and the log, says that it is there, and then goes round (drain,
// write, sleep) until something ends the recording. The order at the end: a process that has ended
// writes nothing more, so one last round after its end was seen has everything that it committed.
#include "collect/collect_impl.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define MS             UINT64_C(1000000)
#define SHORT_SLEEP_NS (10 * MS)
#define LONG_SLEEP_NS  (100 * MS)
#define BLOCK_AGE_NS   (1000 * MS) // a block of the log waits for more events at most so long
#define QUIET_AGE_NS   (100 * MS)  // when the program is quiet and the block is worth it
#define WORTH_EVENTS   2048
#define OFF_QUIET_NS   (5 * MS) // after the recorder said that it ends
#define OFF_LIMIT_NS   (1000 * MS)
#define END_WAIT_NS    (30 * MS)   // a recorder that ended may do so because its process exits
#define AWAIT_LIMIT_NS (2000 * MS) // for the recording of a process that was just made
#define LOOK_FIRST_NS  (1000 * MS) // whether the process still has the mapping
#define LOOK_LAST_NS   (60000 * MS)

struct collector {
	const struct collect_settings *settings;
	struct collect_share share;
	struct record_header *header;
	struct collect_packer *packer;
	struct collect_stream stream;
	struct collect_drain drain;
	struct collect_beside *beside;
	struct collect_follow follow;
	struct arena arena;
	int watch;
	int shown;  // number of the process in /proc, which may be of an outer pid namespace
	bool ended; // the process has
	bool quiet; // the last round found nothing
	uint64_t now_ns, sleep_ns;
	uint64_t start_ns, pack_ns, off_ns; // pack_ns: since when the pack has something
	uint64_t look_ns, look_after_ns;    // next look at the mapping
	uint64_t modules_ns;
	const char *end; // why the recording ends
};

// --- reasons to end ------------------------------------------------------------------------------
static const char *stopped(struct collector *collector, const char *why)
{
	return arena_format(&collector->arena, "recording stopped: %s", why);
}

// The recorder says that it ends, and everything was read, or it does not come to an end.
static bool is_off(struct collector *collector)
{
	if (collect_load_32(&collector->header->state) != RECORD_OFF)
		return false;
	if (!collector->off_ns || !collector->quiet)
		collector->off_ns =
			collector->off_ns && collector->now_ns - collector->off_ns > OFF_LIMIT_NS
				? collector->off_ns
				: collector->now_ns;
	return collector->now_ns - collector->off_ns > OFF_QUIET_NS;
}

// A process that was replaced by exec has not the mapping any more. Looked at soon after an exec was
// announced, and now and then for those that nobody announces.
static bool is_replaced(struct collector *collector)
{
	if (!collector->quiet || collector->now_ns < collector->look_ns) {
		if (collector->stream.execs)
			collector->look_ns = collector->now_ns;
		return false;
	}
	if (!collect_share_is_mapped(&collector->share, collector->shown))
		return true;
	collector->look_ns = collector->now_ns + collector->look_after_ns;
	if (collector->look_after_ns < LOOK_LAST_NS)
		collector->look_after_ns *= 2;
	// One that failed is no reason to look any more.
	if (collector->stream.execs && collector->look_after_ns > 4 * LOOK_FIRST_NS)
		collector->stream.execs = false;
	return false;
}

// What it became may have ended before this one was seen to be no more.
static const char *end_of_process(struct collector *collector)
{
	return collector->stream.execs
	               ? COLLECT_REPLACED
	               : collect_process_end(&collector->arena, collector->shown, collector->watch);
}

static const char *why_end(struct collector *collector)
{
	const struct collect_settings *settings = collector->settings;
	struct error *error = collect_packer_error(collector->packer);

	if (error) // the packer says in the log which
		return stopped(collector, error->text);
	if (collector->ended)
		return end_of_process(collector);
	if (settings->max_log_bytes &&
	    collect_packer_written_bytes(collector->packer) >= settings->max_log_bytes)
		return stopped(collector, arena_format(&collector->arena,
		                                       "the log has %" PRIu64 " bytes, as many as "
		                                       "were allowed",
		                                       settings->max_log_bytes));
	if (settings->duration_ns &&
	    collector->now_ns - collector->start_ns >= settings->duration_ns)
		return stopped(collector, "the time that was asked for is over");
	if (is_off(collector))
		return "detached";
	if (is_replaced(collector))
		return COLLECT_REPLACED;
	return NULL;
}

// --- rounds --------------------------------------------------------------------------------------
static void look_beside(struct collector *collector)
{
	struct collect_stream *stream = &collector->stream;
	uint64_t since_start = collector->now_ns - collector->share.start_ns;
	bool again = stream->modules_changed || collector->now_ns >= collector->modules_ns;

	// Not each time: who unloads a library says so.
	if (again)
		collector->modules_ns = collector->now_ns + BLOCK_AGE_NS;
	stream->modules_changed = false;
	collect_modules_update(&stream->modules, &collector->share, &stream->clock, again,
	                       stream->pack);
	collect_threads_look(&stream->threads, stream->process, since_start, stream->pack);
	collect_beside_take(collector->beside, stream);
}

static bool pack_is_empty(const struct collect_pack *pack)
{
	return !pack->count && !pack->frame.blocks && !pack->names.n && !pack->notes.n &&
	       !pack->modules.n && !pack->module_ends.n;
}

// Whether the pack shall go to the log although it is not full.
static bool is_due(struct collector *collector)
{
	const struct collect_pack *pack = collector->stream.pack;
	uint64_t age;

	if (pack_is_empty(pack)) {
		collector->pack_ns = 0;
		return false;
	}
	if (!collector->pack_ns)
		collector->pack_ns = collector->now_ns;
	age = collector->now_ns - collector->pack_ns;
	return age >= BLOCK_AGE_NS ||
	       (collector->quiet && age >= QUIET_AGE_NS && pack->count >= WORTH_EVENTS);
}

static void cut(struct collector *collector)
{
	collect_stream_cut(&collector->stream);
	collector->pack_ns = 0;
}

static void follow(struct collector *collector)
{
	struct collect_stream *stream = &collector->stream;

	if (collector->settings->follows)
		collect_follow_start(&collector->follow, stream->forks.v, stream->forks.n);
	stream->forks.n = 0;
}

static void go_round(struct collector *collector)
{
	struct collect_stream *stream = &collector->stream;
	uint32_t flush = collect_load_32(&collector->header->flush_asked);
	bool flushes = flush != collect_load_32(&collector->header->flush_done);
	uint64_t before = stream->events - stream->pack->count;

	collector->ended = os_watch_ended(collector->settings->process, collector->watch);
	// What a tool knows to have happened must be older than the limit of this round.
	if (flushes)
		os_sleep_ns(MS / 5);
	collector->now_ns = os_monotonic_ns();
	look_beside(collector);
	collector->quiet = !collect_drain_round(&collector->drain, collector->ended);
	collect_before_look(stream, collector->drain.limit, collector->ended);
	follow(collector);
	if (stream->events - stream->pack->count != before)
		collector->pack_ns = 0; // it is a new one
	if (stream->modules_changed)
		look_beside(collector);
	if (flushes) {
		stream->pack->flush = flush;
		stream->pack->flushes = true;
	}
	if (flushes || is_due(collector))
		cut(collector);
}

// Until rings are half full, or for a moment.
static void rest(struct collector *collector)
{
	struct record_header *header = collector->header;
	uint32_t wake = collect_load_32(&header->wake);

	if (!collector->quiet)
		collector->sleep_ns = SHORT_SLEEP_NS;
	else if (collector->sleep_ns < LONG_SLEEP_NS)
		collector->sleep_ns += SHORT_SLEEP_NS;
	if (collect_load_32(&header->flush_asked) != collect_load_32(&header->flush_done))
		collector->sleep_ns = MS;
	__atomic_store_n(&header->collector_sleeps, 1, __ATOMIC_SEQ_CST);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!collect_drain_is_pressed(&collector->drain))
		os_shared_wait(&header->wake, wake, collector->sleep_ns);
	// Who made a process wakes us, and that must be older than the limit of the next round.
	if (collector->settings->follows && collect_load_32(&header->wake) != wake)
		os_sleep_ns(MS / 5);
	__atomic_store_n(&header->collector_sleeps, 0, __ATOMIC_SEQ_CST);
}

static void take_signals(struct collector *collector)
{
	struct collect_stream *stream = &collector->stream;
	struct os_asked asked = os_background_asked();

	if (asked.mark)
		collect_stream_own(stream, collect_clock_ticks(&stream->clock), RECORD_MARK, 0,
		                   "signal");
	if (asked.end && !collector->end)
		collector->end = stopped(collector, "the collector was asked to end");
}

static void collect(struct collector *collector)
{
	while (!collector->end) {
		go_round(collector);
		take_signals(collector);
		if (!collector->end)
			collector->end = why_end(collector);
		if (!collector->end)
			rest(collector);
	}
}

// --- begin and end -------------------------------------------------------------------------------
// One collector per recording.
static struct error *claim(struct collector *collector)
{
	uint32_t nobody = 0;

	if (collector->share.mode == RECORD_LITE)
		return error_new(ERROR_UNSUPPORTED,
		                 "a recording of live blocks only has nothing to write");
	if (!__atomic_compare_exchange_n(&collector->header->collector_id, &nobody,
	                                 (uint32_t)os_own_pid(), false, __ATOMIC_SEQ_CST,
	                                 __ATOMIC_SEQ_CST))
		return error_new(ERROR_UNSUPPORTED,
		                 "process %d is being recorded already, by the collector %u",
		                 collector->settings->process, nobody);
	return NULL;
}

static void say(struct collector *collector, enum record_collector_state state)
{
	struct record_header *header = collector->header;

	__atomic_store_n(&header->collector, state, __ATOMIC_SEQ_CST);
	os_shared_wake(&header->collector);
	if (state != RECORD_COLLECTOR_ENDED)
		return;
	__atomic_store_n(&header->flush_done, collect_load_32(&header->flush_asked),
	                 __ATOMIC_SEQ_CST);
	os_shared_wake(&header->flush_done);
	for (uint32_t i = 0; i < collector->drain.cursors.n; i++)
		os_shared_wake(&collector->drain.cursors.v[i]->ring->waiting);
}

static struct error *open_log(struct collector *collector, struct log_writer **ret)
{
	const struct collect_settings *settings = collector->settings;
	const char *path = settings->log_path;
	struct log_process process;

	collect_follow_init(&collector->follow, settings, path, collector->shown);
	if (!path)
		path = arena_copy_n(&collector->arena, collector->header->log_path,
		                    sizeof(collector->header->log_path) - 1);
	if (!*path)
		return error_new(ERROR_DAMAGED, "the recording names no log");
	collect_process_describe(&collector->arena, collector->shown, settings->attached,
	                         &collector->share, &process);
	return log_create(path, settings->replace, &process, ret);
}

// The ids of threads are ours if the process lives in our namespace.
static int process_with_threads(int process)
{
	struct os_process facts;

	return !os_process_read(process, &facts) && facts.namespaces == 1 ? process : 0;
}

static struct error *refuse_leaks(int process, struct arena *arena, const char **ret)
{
	(void)arena;
	(void)ret;
	return error_new(ERROR_UNSUPPORTED,
	                 "no leak check of process %d: /proc is of another pid namespace", process);
}

// A tool would take its number for that of another process.
static struct error *start_beside(struct collector *collector)
{
	struct collect_settings settings = *collector->settings;

	if (collector->shown != settings.process && settings.leaks)
		settings.leaks = refuse_leaks;
	settings.process = collector->shown;
	return collect_beside_start(&settings, &collector->beside);
}

static struct error *begin(struct collector *collector)
{
	const struct collect_settings *settings = collector->settings;
	struct log_writer *writer;

	TRY(claim(collector));
	TRY(os_watch_open(settings->process, &collector->watch));
	collector->shown = os_watch_shown(settings->process, collector->watch);
	TRY(open_log(collector, &writer));
	TRY(collect_packer_start(writer, collector->header, &collector->packer));
	TRY(collect_stream_init(&collector->stream, &collector->share,
	                        process_with_threads(collector->shown), settings->attached,
	                        collector->packer));
	collect_drain_init(&collector->drain, &collector->stream);
	if (settings->before)
		collect_before_start(&collector->stream, settings->before);
	collector->start_ns = os_monotonic_ns();
	collector->look_after_ns = LOOK_FIRST_NS;
	collector->look_ns = collector->start_ns + LOOK_FIRST_NS;
	say(collector, RECORD_COLLECTOR_RUNS);
	if (settings->started)
		settings->started();
	return start_beside(collector);
}

// A recorder that ended has perhaps only been quicker than the rest of its process.
static void wait_for_end(struct collector *collector)
{
	uint64_t deadline = os_monotonic_ns() + END_WAIT_NS;

	if (collect_load_32(&collector->header->state) != RECORD_OFF || collector->ended)
		return;
	while (!collector->ended && os_monotonic_ns() < deadline) {
		os_sleep_ns(MS);
		collector->ended = os_watch_ended(collector->settings->process, collector->watch);
	}
	if (collector->ended)
		collector->end =
			collect_process_end(&collector->arena, collector->shown, collector->watch);
}

static struct error *finish(struct collector *collector)
{
	struct collect_stream *stream = &collector->stream;
	struct error *error;

	wait_for_end(collector);
	collect_beside_finish(collector->beside, stream);
	collector->beside = NULL;
	look_beside(collector);
	collect_drain_round(&collector->drain, true);
	collect_before_look(stream, collector->drain.limit, true);
	follow(collector);
	// What is counted from now on is lost, and the recorder knows.
	say(collector, RECORD_COLLECTOR_ENDED);
	look_beside(collector);
	collect_stream_cut(stream);
	error = collect_packer_finish(collector->packer, stream->last_ns, collector->end);
	collect_drain_deinit(&collector->drain);
	collect_stream_deinit(stream);
	collect_follow_finish(&collector->follow);
	return error;
}

// Of a process that was just made, which may have the mapping of its maker still.
static bool is_own(const struct collect_share *share, int process)
{
	struct os_process facts;

	return !os_process_read(process, &facts) && facts.own_pid == share->own_process;
}

static struct error *open_awaited(const struct collect_settings *settings,
                                  struct collect_share *ret)
{
	uint64_t end_ns = os_monotonic_ns() + AWAIT_LIMIT_NS;
	struct error *error;

	for (;;) {
		error = collect_share_open(settings->process, -1, ret);
		if (!error && is_own(ret, settings->process))
			return NULL;
		if (!error)
			collect_share_close(ret);
		if (os_monotonic_ns() >= end_ns || os_watch_ended(settings->process, -1))
			return error_new(ERROR_NOT_FOUND, "process %d is not being recorded",
			                 settings->process);
		os_sleep_ns(MS / 2);
	}
}

static struct error *open_share(const struct collect_settings *settings, struct collect_share *ret)
{
	if (settings->awaits)
		return open_awaited(settings, ret);
	return collect_share_open(settings->process, settings->descriptor, ret);
}

struct error *collect_run(const struct collect_settings *settings)
{
	struct collector *collector = os_page_source.resize(NULL, 0, sizeof(*collector));
	struct error *error;

	collector->settings = settings;
	collector->watch = -1;
	arena_init(&collector->arena, &os_page_source);
	error = open_share(settings, &collector->share);
	if (!error) {
		collector->header = collector->share.header;
		error = begin(collector);
		if (error)
			say(collector, RECORD_COLLECTOR_ENDED);
	}
	if (!error) {
		collect(collector);
		error = finish(collector);
	}
	os_close(collector->watch);
	if (collector->header)
		collect_share_close(&collector->share);
	arena_deinit(&collector->arena);
	os_release(collector, sizeof(*collector));
	return error;
}
