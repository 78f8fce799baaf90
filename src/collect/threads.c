// SPDX-License-Identifier: MIT
// The threads of the recording and their names. Most threads get their name after they began to
// allocate, and few change it later: it is read again when a thread is twice as old. Called by
// stream.c.
#include "collect/collect_impl.h"

#include <string.h>

enum { LOOKS = 32 }; // at a time

#define FIRST_LOOK_NS UINT64_C(5000000)

void collect_threads_init(struct collect_threads *threads)
{
	vec_init(&threads->threads, &os_page_source);
	threads->next = 0;
}

void collect_threads_deinit(struct collect_threads *threads)
{
	vec_deinit(&threads->threads);
}

uint32_t collect_threads_add(struct collect_threads *threads, int process, int32_t id,
                             uint64_t time_ns, struct collect_pack *pack)
{
	struct collect_thread thread = { .id = id, .born_ns = time_ns, .look_ns = FIRST_LOOK_NS };
	struct log_thread log = { .id = id, .first_ns = time_ns };

	thread.look_ns += time_ns;
	if (!process || !id || !os_thread_name(process, id, thread.name))
		thread.name[0] = '\0';
	log.name = arena_copy(&pack->arena, thread.name);
	vec_push(&pack->threads, log);
	vec_push(&threads->threads, thread);
	return (uint32_t)threads->threads.n - 1;
}

static void look(struct collect_threads *threads, int process, uint32_t index, uint64_t now_ns,
                 struct collect_pack *pack)
{
	struct collect_thread *thread = &threads->threads.v[index];
	struct collect_new_name name = { .thread = index };

	thread->look_ns = now_ns + (now_ns - thread->born_ns);
	if (!os_thread_name(process, thread->id, name.name)) {
		thread->ended = true;
		return;
	}
	if (!strcmp(name.name, thread->name))
		return;
	memcpy(thread->name, name.name, sizeof(thread->name));
	vec_push(&pack->names, name);
}

void collect_threads_look(struct collect_threads *threads, int process, uint64_t now_ns,
                          struct collect_pack *pack)
{
	size_t seen = 0;

	if (!process)
		return;
	for (size_t n = threads->threads.n; n && seen < LOOKS; n--) {
		size_t index = threads->next++ % threads->threads.n;
		const struct collect_thread *thread = &threads->threads.v[index];

		if (thread->ended || !thread->id || thread->look_ns > now_ns)
			continue;
		look(threads, process, (uint32_t)index, now_ns, pack);
		seen++;
	}
}
