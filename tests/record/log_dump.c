// SPDX-License-Identifier: MIT
// Prints what our reader finds in a log, one line per thing, in the order of the file: log_reader.py, the
// other reader, prints the same. usage: log_dump FILE
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/base.h"
#include "log/log.h"
#include "os/os.h"

static void check(struct error *error)
{
	if (!error)
		return;
	fprintf(stderr, "log_dump: %s\n", error->text);
	exit(1);
}

static void quote(const char *text)
{
	for (; *text; text++)
		if (*text > 32 && *text < 127 && *text != '\\')
			putchar(*text);
		else
			printf("\\%03o", (uint8_t)*text);
	putchar('\n');
}

static void print_process(const struct log_process *p)
{
	const char *texts[] = { p->name, p->path, p->command_line, p->host, p->system, p->cpu };

	printf("process %d %u %u %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %u %d\n", p->id,
	       p->mode, p->what, p->wall_ns, p->monotonic_ns, p->sample_bytes, p->launched_ns,
	       p->attached, p->parent);
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		printf("text ");
		quote(texts[i]);
	}
}

static void print_module(const struct log_module *m)
{
	char hex[2 * RECORD_BUILD_ID_BYTES + 1] = "-";

	if (m->build_id_bytes)
		text_hex(m->build_id, m->build_id_bytes, hex);
	printf("module %" PRIx64 " %" PRIx64 " %" PRIx64 " %" PRIu64 " %" PRIu64 " %" PRIu64
	       " %" PRIu64 " %s ",
	       m->start, m->end, m->bias, m->loaded_ns, m->unloaded_ns + 1, m->device, m->inode,
	       hex);
	quote(m->path);
}

static void print_tables(const struct log_reader *reader)
{
	const struct log_module *modules;
	const struct log_thread *threads;
	const struct log_type *types;
	size_t count;

	for (uint32_t i = 1; i < log_node_count(reader); i++)
		printf("node %" PRIx64 " %u\n", log_node(reader, i).code,
		       log_node(reader, i).parent);
	modules = log_modules(reader, &count);
	for (size_t i = 0; i < count; i++)
		print_module(&modules[i]);
	threads = log_threads(reader, &count);
	for (size_t i = 0; i < count; i++) {
		printf("thread %d %" PRIu64 " ", threads[i].id, threads[i].first_ns);
		quote(threads[i].name);
	}
	types = log_types(reader, &count);
	for (size_t i = 1; i < count; i++)
		printf("type %" PRIx64 "\n", types[i].word);
}

static void print_events(const struct log_reader *reader, size_t block, struct arena *arena)
{
	const struct log_summary *s = log_block(reader, block);
	struct log_event *events = calloc(s->events, sizeof(*events));
	const struct log_text *texts;
	size_t count;

	printf("block %" PRIu64 " %u %" PRIu64 " %" PRIu64, s->first_event, s->events, s->first_ns,
	       s->last_ns);
	printf(" %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64,
	       s->allocations, s->allocated_bytes, s->frees, s->freed_bytes, s->live_blocks,
	       s->peak_bytes, s->live_bytes);
	printf(" %" PRIu64 " %u %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", s->map_bytes, s->peak_event,
	       s->lost, s->low_address, s->high_address);
	check(log_read_events(reader, block, events));
	for (uint32_t i = 0; i < s->events; i++)
		printf("%" PRIu64 " %u %u %" PRIx64 " %" PRIu64 " %u %u %u\n", events[i].time_ns,
		       events[i].thread, events[i].kind, events[i].address, events[i].bytes,
		       events[i].node, events[i].extra, events[i].type);
	check(log_read_texts(reader, block, arena, &texts, &count));
	for (size_t i = 0; i < count; i++) {
		printf("text %" PRIu64 " ", texts[i].event);
		quote(texts[i].text);
	}
	free(events);
}

static void print_live(const struct log_reader *reader, size_t number)
{
	const struct log_keyframe *keyframe = log_keyframe(reader, number);
	struct log_live *live = calloc(keyframe->blocks + 1, sizeof(*live));

	printf("live %" PRIu64 " %" PRIu64 " %d\n", keyframe->time_ns, keyframe->blocks,
	       keyframe->complete);
	check(log_read_live(reader, number, live));
	for (uint64_t i = 0; i < keyframe->blocks; i++)
		printf("%" PRIx64 " %" PRIu64 " %u %u %u\n", live[i].address, live[i].bytes,
		       live[i].node, live[i].kind, live[i].thread);
	free(live);
}

int main(int argc, char **argv)
{
	struct log_reader *reader;
	struct arena arena;
	const char *text;
	size_t keyframe = 0;

	if (argc != 2)
		return 64;
	arena_init(&arena, &os_page_source);
	check(log_open(argv[1], &reader));
	print_process(log_process(reader));
	print_tables(reader);
	for (size_t block = 0; block <= log_block_count(reader); block++) {
		for (; keyframe < log_keyframe_count(reader) &&
		       log_keyframe(reader, keyframe)->block == block;
		     keyframe++)
			print_live(reader, keyframe);
		if (block < log_block_count(reader))
			print_events(reader, block, &arena);
	}
	for (size_t i = 0; i < log_note_count(reader); i++) {
		check(log_read_note(reader, i, &arena, &text));
		printf("note %d %" PRIu64 " ", log_note(reader, i)->kind,
		       log_note(reader, i)->time_ns);
		quote(text);
	}
	puts(log_complete(reader) ? "complete" : "not complete");
	log_close(reader);
	arena_deinit(&arena);
	return 0;
}
