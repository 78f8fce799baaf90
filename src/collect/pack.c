// SPDX-License-Identifier: MIT
// What goes to the log together, and the thread that writes it: encoding and compression are most of
// the collector's work, and the rings must not wait for them. A few packs go round between the two
// threads. Called by stream.c and collector.c.
#include "collect/collect_impl.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/checked.h"

enum {
	PACKS = 4,
	MOMENT_NS = 1000000,
	SECOND_NS = 1000000000,
};

struct collect_packer {
	struct log_writer *writer;
	struct record_header *header;
	struct os_thread *thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct collect_pack packs[PACKS];
	struct collect_pack *free[PACKS], *full[PACKS]; // full: oldest first
	unsigned free_count, full_count;
	bool ends;
	struct error *error;
	uint64_t written_bytes;
	void *events; // of all packs
};

// --- one pack ------------------------------------------------------------------------------------
static const size_t event_bytes = LOG_BLOCK_EVENTS * sizeof(struct log_event);
// Huge pages take a third off what a short program costs.
static const size_t huge_bytes = (size_t)2 << 20;
static const size_t reserved_bytes =
	PACKS * LOG_BLOCK_EVENTS * sizeof(struct log_event) + huge_bytes;

static void pack_init(struct collect_pack *pack, void *events)
{
	const struct page_source *source = &os_page_source;

	vec_init(&pack->nodes, source);
	vec_init(&pack->modules, source);
	vec_init(&pack->module_ends, source);
	vec_init(&pack->threads, source);
	vec_init(&pack->names, source);
	vec_init(&pack->types, source);
	vec_init(&pack->texts, source);
	vec_init(&pack->notes, source);
	arena_init(&pack->arena, source);
	pack->events = events;
}

static void pack_deinit(struct collect_pack *pack)
{
	vec_deinit(&pack->nodes);
	vec_deinit(&pack->modules);
	vec_deinit(&pack->module_ends);
	vec_deinit(&pack->threads);
	vec_deinit(&pack->names);
	vec_deinit(&pack->types);
	vec_deinit(&pack->texts);
	vec_deinit(&pack->notes);
	arena_deinit(&pack->arena);
	os_release(pack->frame.blocks, pack->frame.bytes);
}

static void pack_empty(struct collect_pack *pack)
{
	pack->count = pack->nodes.n = pack->modules.n = pack->module_ends.n = 0;
	pack->threads.n = pack->names.n = pack->types.n = pack->texts.n = pack->notes.n = 0;
	os_release(pack->frame.blocks, pack->frame.bytes);
	pack->frame = (struct collect_frame){ 0 };
	pack->flushes = false;
	arena_deinit(&pack->arena);
	arena_init(&pack->arena, &os_page_source);
}

static struct error *index_is(uint32_t index, size_t wanted, const char *what)
{
	if (index == wanted)
		return NULL;
	return error_new(ERROR_DAMAGED, "the log numbers %s in another way", what);
}

static struct error *write_names(struct log_writer *writer, struct collect_pack *pack)
{
	uint32_t index;

	for (size_t i = 0; i < pack->threads.n; i++) {
		TRY(log_write_thread(writer, &pack->threads.v[i], &index));
		TRY(index_is(index, pack->thread_first + i, "threads"));
	}
	for (size_t i = 0; i < pack->names.n; i++)
		TRY(log_write_thread_name(writer, pack->names.v[i].thread, pack->names.v[i].name));
	for (size_t i = 0; i < pack->types.n; i++) {
		TRY(log_write_type(writer, pack->types.v[i], &index));
		TRY(index_is(index, pack->type_first + i, "types"));
	}
	return NULL;
}

static struct error *write_modules(struct log_writer *writer, struct collect_pack *pack)
{
	for (size_t i = 0; i < pack->modules.n; i++)
		TRY(log_write_module(writer, &pack->modules.v[i]));
	for (size_t i = 0; i < pack->module_ends.n; i++)
		TRY(log_write_module_end(writer, pack->module_ends.v[i].module,
		                         pack->module_ends.v[i].unloaded_ns));
	return NULL;
}

static struct error *write_frame(struct log_writer *writer, struct collect_pack *pack)
{
	if (!pack->frame.blocks)
		return NULL;
	collect_frame_finish(&pack->frame);
	return log_write_live(writer, pack->frame_ns, pack->frame.blocks, pack->frame.count,
	                      pack->frame_is_complete);
}

static struct error *pack_write(struct log_writer *writer, struct collect_pack *pack)
{
	if (pack->nodes.n)
		TRY(log_write_nodes(writer, pack->nodes.v, pack->nodes.n));
	TRY(write_modules(writer, pack));
	TRY(write_names(writer, pack));
	TRY(write_frame(writer, pack));
	if (pack->count)
		TRY(log_write_events(writer, pack->events, pack->count, pack->texts.v,
		                     pack->texts.n, &pack->summary));
	for (size_t i = 0; i < pack->notes.n; i++)
		TRY(log_write_note(writer, pack->notes.v[i].kind, pack->notes.v[i].time_ns,
		                   pack->notes.v[i].text, strlen(pack->notes.v[i].text)));
	return NULL;
}

// --- the thread that writes ------------------------------------------------------------------------
static struct collect_pack *next_full(struct collect_packer *packer)
{
	struct collect_pack *pack = NULL;

	pthread_mutex_lock(&packer->lock);
	while (!packer->full_count && !packer->ends)
		pthread_cond_wait(&packer->changed, &packer->lock);
	if (packer->full_count)
		pack = packer->full[0];
	pthread_mutex_unlock(&packer->lock);
	return pack;
}

static void done_with(struct collect_packer *packer, struct collect_pack *pack, struct error *error)
{
	uint32_t flush = pack->flush;
	bool flushes = pack->flushes;

	pack_empty(pack);
	pthread_mutex_lock(&packer->lock);
	packer->full_count--;
	for (unsigned i = 0; i < packer->full_count; i++)
		packer->full[i] = packer->full[i + 1];
	packer->free[packer->free_count++] = pack;
	packer->written_bytes = log_written_bytes(packer->writer);
	if (!packer->error)
		packer->error = error;
	pthread_cond_broadcast(&packer->changed);
	pthread_mutex_unlock(&packer->lock);
	if (!flushes)
		return;
	__atomic_store_n(&packer->header->flush_done, flush, __ATOMIC_RELEASE);
	os_shared_wake(&packer->header->flush_done);
}

static void write_packs(void *context)
{
	struct collect_packer *packer = context;
	struct collect_pack *pack;
	struct error *error = NULL;

	while ((pack = next_full(packer)) != NULL) {
		if (!error)
			error = pack_write(packer->writer, pack);
		done_with(packer, pack, error);
	}
}

// --- the other side --------------------------------------------------------------------------------
static void packs_init(struct collect_packer *packer)
{
	char *events;

	packer->events = os_reserve(reserved_bytes);
	events = (char *)round_up((uintptr_t)packer->events, huge_bytes);
	if (packer->events)
		os_prefer_huge(events, PACKS * event_bytes);
	for (unsigned i = 0; i < PACKS; i++) {
		pack_init(&packer->packs[i], events + i * event_bytes);
		packer->free[packer->free_count++] = &packer->packs[i];
	}
}

static void packer_free(struct collect_packer *packer)
{
	for (unsigned i = 0; i < PACKS; i++)
		pack_deinit(&packer->packs[i]);
	os_release(packer->events, reserved_bytes);
	pthread_cond_destroy(&packer->changed);
	pthread_mutex_destroy(&packer->lock);
	os_release(packer, sizeof(*packer));
}

struct error *collect_packer_start(struct log_writer *writer, struct record_header *header,
                                   struct collect_packer **ret)
{
	struct collect_packer *packer = os_page_source.resize(NULL, 0, sizeof(*packer));
	struct error *error;

	packer->writer = writer;
	packer->header = header;
	pthread_mutex_init(&packer->lock, NULL);
	pthread_cond_init(&packer->changed, NULL);
	packs_init(packer);
	error = packer->events ? os_thread_start(write_packs, packer, &packer->thread)
	                       : &error_out_of_memory;
	if (error) {
		packer_free(packer);
		return error;
	}
	*ret = packer;
	return NULL;
}

static void wait_a_moment(struct collect_packer *packer)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += MOMENT_NS;
	if (until.tv_nsec >= SECOND_NS) {
		until.tv_nsec -= SECOND_NS;
		until.tv_sec++;
	}
	pthread_cond_timedwait(&packer->changed, &packer->lock, &until);
}

// The one that was used last: it may still be in the processor's cache.
struct collect_pack *collect_packer_take(struct collect_packer *packer,
                                         void (*meanwhile)(void *context), void *context)
{
	struct collect_pack *pack;

	pthread_mutex_lock(&packer->lock);
	while (!packer->free_count) {
		wait_a_moment(packer);
		if (packer->free_count || !meanwhile)
			continue;
		pthread_mutex_unlock(&packer->lock);
		meanwhile(context);
		pthread_mutex_lock(&packer->lock);
	}
	pack = packer->free[--packer->free_count];
	pthread_mutex_unlock(&packer->lock);
	return pack;
}

void collect_packer_give(struct collect_packer *packer, struct collect_pack *pack)
{
	pthread_mutex_lock(&packer->lock);
	packer->full[packer->full_count++] = pack;
	pthread_cond_broadcast(&packer->changed);
	pthread_mutex_unlock(&packer->lock);
}

struct error *collect_packer_error(struct collect_packer *packer)
{
	struct error *error;

	pthread_mutex_lock(&packer->lock);
	error = packer->error;
	pthread_mutex_unlock(&packer->lock);
	return error;
}

uint64_t collect_packer_written_bytes(struct collect_packer *packer)
{
	uint64_t bytes;

	pthread_mutex_lock(&packer->lock);
	bytes = packer->written_bytes;
	pthread_mutex_unlock(&packer->lock);
	return bytes;
}

struct error *collect_packer_finish(struct collect_packer *packer, uint64_t time_ns,
                                    const char *note)
{
	struct error *error, *closing;
	char failure[sizeof(error->text) + sizeof(COLLECT_FAILED)];

	pthread_mutex_lock(&packer->lock);
	packer->ends = true;
	pthread_cond_broadcast(&packer->changed);
	pthread_mutex_unlock(&packer->lock);
	os_thread_join(packer->thread);
	error = packer->error;
	if (!error && note)
		error = log_write_note(packer->writer, LOG_NOTE_END, time_ns, note, strlen(note));
	if (error) {
		snprintf(failure, sizeof(failure), COLLECT_FAILED "%s", error->text);
		(void)log_write_failure(packer->writer, time_ns, failure);
	}
	closing = log_close_writer(packer->writer);
	packer_free(packer);
	return error ? error : closing;
}
