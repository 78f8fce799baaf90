// SPDX-License-Identifier: MIT
// Events in order. Two threads decode blocks of the log ahead of the caller's thread, which sees them one
// after the other; a handful of buffers bounds the memory. Called by every file that passes over events.
#include <pthread.h>
#include <string.h>

#include "base/search.h"
#include "history/history_impl.h"

#define DECODERS 2
#define BUFFERS  5

struct buffer {
	size_t block; // of the log
	struct log_event *events;
	uint32_t *numbers; // where not all are wanted
	size_t count;
	struct error *error;
	bool decoded;
};

// Blocks that are wanted are items with numbers from 0; item i has buffer i % BUFFERS.
struct decoding {
	const struct log_reader *log;
	const struct log_about *about;
	size_t next, end; // blocks of the log that nobody looked at yet
	struct buffer buffers[BUFFERS];
	pthread_mutex_t lock;
	pthread_cond_t changed;
	size_t listed, begun, used; // items
	bool stop;
};

static const size_t buffer_bytes = LOG_BLOCK_EVENTS * sizeof(struct log_event);
static const size_t numbers_bytes = LOG_BLOCK_EVENTS * sizeof(uint32_t);

static uint64_t block_end(const struct log_summary *summary)
{
	return summary->first_event + summary->events;
}

// The block of the log that has the event; log_block_count when none has.
static size_t block_of(const struct history *history, uint64_t event)
{
	return first_index(log_block_count(history->log), i,
	                   block_end(log_block(history->log, i)) > event);
}

// Lists as many blocks as there are buffers, while the decoders work on those before.
static void list_blocks(const struct history_scan *scan, struct decoding *decoding)
{
	while (decoding->next < decoding->end && decoding->listed < decoding->used + BUFFERS) {
		size_t block = decoding->next++;

		// Blocks of a damaged log need not be in order.
		if (log_block(decoding->log, block)->first_event >= scan->last) {
			decoding->next = decoding->end;
			break;
		}
		if (scan->wants && !scan->wants(scan->context, block))
			continue;
		pthread_mutex_lock(&decoding->lock);
		decoding->buffers[decoding->listed++ % BUFFERS].block = block;
		pthread_cond_signal(&decoding->changed);
		pthread_mutex_unlock(&decoding->lock);
	}
}

static void decode(struct decoding *decoding, size_t item)
{
	struct buffer *buffer = &decoding->buffers[item % BUFFERS];
	size_t block = buffer->block;

	if (!buffer->events)
		buffer->events = os_page_source.resize(NULL, 0, buffer_bytes);
	if (decoding->about && !buffer->numbers)
		buffer->numbers = os_page_source.resize(NULL, 0, numbers_bytes);
	buffer->count = log_block(decoding->log, block)->events;
	if (buffer->count > LOG_BLOCK_EVENTS)
		buffer->error = error_new(ERROR_DAMAGED, "a block of the log has too many events");
	else if (decoding->about)
		buffer->error = log_read_about(decoding->log, block, decoding->about,
		                               buffer->events, buffer->numbers, &buffer->count);
	else
		buffer->error = log_read_events(decoding->log, block, buffer->events);
}

static void *decoder(void *context)
{
	struct decoding *decoding = context;

	pthread_mutex_lock(&decoding->lock);
	while (!decoding->stop) {
		size_t item = decoding->begun;

		if (item == decoding->listed) {
			pthread_cond_wait(&decoding->changed, &decoding->lock);
			continue;
		}
		decoding->begun++;
		pthread_mutex_unlock(&decoding->lock);
		decode(decoding, item);
		pthread_mutex_lock(&decoding->lock);
		decoding->buffers[item % BUFFERS].decoded = true;
		pthread_cond_broadcast(&decoding->changed);
	}
	pthread_mutex_unlock(&decoding->lock);
	return NULL;
}

// Without decoders the caller's thread does their work.
static void wait_for(struct decoding *decoding, size_t item, bool alone)
{
	if (alone) {
		decode(decoding, item);
		return;
	}
	pthread_mutex_lock(&decoding->lock);
	while (!decoding->buffers[item % BUFFERS].decoded)
		pthread_cond_wait(&decoding->changed, &decoding->lock);
	pthread_mutex_unlock(&decoding->lock);
}

static void release(struct decoding *decoding)
{
	pthread_mutex_lock(&decoding->lock);
	decoding->buffers[decoding->used++ % BUFFERS].decoded = false;
	pthread_mutex_unlock(&decoding->lock);
}

static bool show_piece(const struct history *history, const struct history_scan *scan,
                       const struct buffer *buffer)
{
	uint64_t first = log_block(history->log, buffer->block)->first_event;
	struct history_piece piece = { buffer->block, first, buffer->events, buffer->numbers,
		                       buffer->count };

	if (scan->about) {
		while (piece.count && history_piece_number(&piece, piece.count - 1) >= scan->last)
			piece.count--;
		return scan->piece(scan->context, &piece);
	}
	if (scan->first > piece.first && scan->first - piece.first >= piece.count)
		return true;
	if (scan->first > piece.first) {
		piece.events += scan->first - piece.first;
		piece.count -= scan->first - piece.first;
		piece.first = scan->first;
	}
	if (scan->last - piece.first < piece.count)
		piece.count = scan->last - piece.first;
	return scan->piece(scan->context, &piece);
}

static struct error *consume(struct history *history, const struct history_scan *scan,
                             struct decoding *decoding, bool alone)
{
	size_t first = decoding->buffers[0].block;
	struct error *error = NULL;
	bool more = true;

	while (decoding->used < decoding->listed && more && !error) {
		const struct buffer *buffer = &decoding->buffers[decoding->used % BUFFERS];

		wait_for(decoding, decoding->used, alone);
		error = buffer->error;
		if (!error)
			more = show_piece(history, scan, buffer);
		if (history->progress)
			history->progress(history->progress_context,
			                  (double)(buffer->block + 1 - first) /
			                          (double)(decoding->end - first));
		release(decoding);
		if (more && !error)
			list_blocks(scan, decoding);
	}
	return error;
}

static void stop_decoders(struct decoding *decoding, pthread_t *threads, size_t count)
{
	pthread_mutex_lock(&decoding->lock);
	decoding->stop = true;
	pthread_cond_broadcast(&decoding->changed);
	pthread_mutex_unlock(&decoding->lock);
	for (size_t i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
}

static void free_buffers(struct decoding *decoding)
{
	for (size_t i = 0; i < BUFFERS; i++) {
		struct buffer *buffer = &decoding->buffers[i];

		if (buffer->events)
			os_page_source.resize(buffer->events, buffer_bytes, 0);
		if (buffer->numbers)
			os_page_source.resize(buffer->numbers, numbers_bytes, 0);
	}
}

struct error *history_scan(struct history *history, const struct history_scan *scan)
{
	struct decoding decoding = { .log = history->log, .about = scan->about };
	pthread_t threads[DECODERS];
	struct error *error;
	size_t count = 0;

	TRY(history_needs_events(history));
	if (scan->first >= scan->last)
		return NULL;
	decoding.next = block_of(history, scan->first);
	decoding.end = first_index(log_block_count(history->log), i,
	                           log_block(history->log, i)->first_event >= scan->last);
	pthread_mutex_init(&decoding.lock, NULL);
	pthread_cond_init(&decoding.changed, NULL);
	list_blocks(scan, &decoding);
	while (decoding.listed > 1 && count < DECODERS &&
	       !pthread_create(&threads[count], NULL, decoder, &decoding))
		count++;
	error = consume(history, scan, &decoding, !count);
	stop_decoders(&decoding, threads, count);
	free_buffers(&decoding);
	pthread_cond_destroy(&decoding.changed);
	pthread_mutex_destroy(&decoding.lock);
	return error;
}

struct each {
	bool (*each)(void *context, uint64_t number, const struct log_event *event);
	void *context;
};

static bool each_piece(void *context, const struct history_piece *piece)
{
	const struct each *each = context;

	for (size_t i = 0; i < piece->count; i++)
		if (!each->each(each->context, piece->first + i, &piece->events[i]))
			return false;
	return true;
}

struct error *history_each_event(struct history *history, uint64_t first, uint64_t last,
                                 bool (*each)(void *context, uint64_t number,
                                              const struct log_event *event),
                                 void *context)
{
	struct each given = { each, context };

	return history_scan(history, &(struct history_scan){ .first = first,
	                                                     .last = last,
	                                                     .piece = each_piece,
	                                                     .context = &given });
}
