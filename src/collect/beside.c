// SPDX-License-Identifier: MIT
// What is recorded beside the events on their clock: leak checks and samples of a monitor, made by
// callbacks in a thread of their own, because the rings do not wait. Called by collector.c.
#include "collect/collect_impl.h"

#include <pthread.h>
#include <string.h>

struct made {
	enum log_note_kind kind;
	uint64_t time_ns;
	const char *text;
};

struct collect_beside {
	struct collect_settings settings;
	struct os_thread *thread;
	pthread_mutex_t lock;
	VEC(struct made) made; // texts are in the arena
	struct arena arena;
	uint32_t ends; // a futex
};

// One thing to be made again and again.
struct job {
	enum log_note_kind kind;
	uint64_t every_ns, next_ns;
	struct error *(*make)(int process, struct arena *arena, const char **ret);
};

// The text of an error as a JSON string's inside.
static const char *escaped(struct arena *arena, const char *text)
{
	char *copy = arena_copy(arena, text);

	for (char *c = copy; *c; c++)
		if ((unsigned char)*c < ' ' || *c == '"' || *c == '\\')
			*c = '\'';
	return copy;
}

static void make(struct collect_beside *beside, const struct job *job)
{
	struct made made = { .kind = job->kind, .time_ns = os_monotonic_ns() };
	struct arena arena;
	const char *text = NULL;
	struct error *error;

	arena_init(&arena, &os_page_source);
	error = job->make(beside->settings.process, &arena, &text);
	if (error)
		text = arena_format(&arena, "{\"error\":\"%s\"}", escaped(&arena, error->text));
	pthread_mutex_lock(&beside->lock);
	made.text = arena_copy(&beside->arena, text);
	vec_push(&beside->made, made);
	pthread_mutex_unlock(&beside->lock);
	arena_deinit(&arena);
}

static struct job *next_job(struct job *jobs, size_t count)
{
	struct job *next = NULL;

	for (size_t i = 0; i < count; i++)
		if (jobs[i].make && jobs[i].every_ns && (!next || jobs[i].next_ns < next->next_ns))
			next = &jobs[i];
	return next;
}

static void work(void *context)
{
	struct collect_beside *beside = context;
	const struct collect_settings *settings = &beside->settings;
	uint64_t start = os_monotonic_ns();
	struct job jobs[] = {
		{ LOG_NOTE_LEAKS, settings->leaks_every_ns, start + settings->leaks_every_ns,
		  settings->leaks },
		{ LOG_NOTE_MONITOR, settings->monitor_every_ns, start, settings->monitor },
	};

	while (!collect_load_32(&beside->ends)) {
		struct job *job = next_job(jobs, sizeof(jobs) / sizeof(jobs[0]));
		uint64_t now = os_monotonic_ns();

		if (now < job->next_ns) {
			os_shared_wait(&beside->ends, 0, job->next_ns - now);
			continue;
		}
		make(beside, job);
		// Not later and later, and not all at once after something that took long.
		now = os_monotonic_ns();
		while (job->next_ns <= now)
			job->next_ns += job->every_ns;
	}
}

struct error *collect_beside_start(const struct collect_settings *settings,
                                   struct collect_beside **ret)
{
	bool leaks = settings->leaks && settings->leaks_every_ns;
	bool monitor = settings->monitor && settings->monitor_every_ns;
	struct collect_beside *beside;
	struct error *error;

	*ret = NULL;
	if (!leaks && !monitor)
		return NULL;
	beside = os_page_source.resize(NULL, 0, sizeof(*beside));
	beside->settings = *settings;
	pthread_mutex_init(&beside->lock, NULL);
	vec_init(&beside->made, &os_page_source);
	arena_init(&beside->arena, &os_page_source);
	error = os_thread_start(work, beside, &beside->thread);
	if (error) {
		os_release(beside, sizeof(*beside));
		return error;
	}
	*ret = beside;
	return NULL;
}

void collect_beside_take(struct collect_beside *beside, struct collect_stream *stream)
{
	if (!beside)
		return;
	pthread_mutex_lock(&beside->lock);
	for (size_t i = 0; i < beside->made.n; i++) {
		const struct made *made = &beside->made.v[i];
		uint64_t start = stream->share->start_ns;

		collect_stream_note(stream, made->kind,
		                    made->time_ns > start ? made->time_ns - start : 0, made->text);
	}
	if (beside->made.n) {
		beside->made.n = 0;
		arena_deinit(&beside->arena);
		arena_init(&beside->arena, &os_page_source);
	}
	pthread_mutex_unlock(&beside->lock);
}

void collect_beside_finish(struct collect_beside *beside, struct collect_stream *stream)
{
	if (!beside)
		return;
	__atomic_store_n(&beside->ends, 1, __ATOMIC_RELEASE);
	os_shared_wake(&beside->ends);
	os_thread_join(beside->thread);
	collect_beside_take(beside, stream);
	vec_deinit(&beside->made);
	arena_deinit(&beside->arena);
	pthread_mutex_destroy(&beside->lock);
	os_release(beside, sizeof(*beside));
}
