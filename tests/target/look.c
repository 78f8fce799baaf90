// SPDX-License-Identifier: MIT
// Opens a target and prints what came of it as JSON, for the tests of this folder.
//
// usage: look TARGET [memory] [pages] [kernel] [clone] [no-inject] [read=ADDRESS:BYTES]... [pause]
// pause: prints a line and waits for one more on standard input before the end.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "target/target.h"

static void print_text(const char *text)
{
	putchar('"');
	for (; text && *text; text++) {
		if ((unsigned char)*text < ' ' || *text == '"' || *text == '\\')
			printf("\\u%04x", (unsigned char)*text);
		else
			putchar(*text);
	}
	putchar('"');
}

static void print_threads(const struct target *target)
{
	printf("\"threads\": [");
	for (size_t i = 0; i < target->thread_count; i++) {
		const struct target_thread *thread = &target->threads[i];

		printf("%s{\"tid\": %d, \"own_tid\": %d, \"state\": \"%c\", \"registers\": %u, "
		       "\"sp\": %llu, \"pc\": %llu, \"tp\": %llu, \"vector\": %zu, \"name\": ",
		       i ? ", " : "", thread->tid, thread->own_tid, thread->state,
		       thread->has_registers ? thread->register_count : 0,
		       (unsigned long long)thread->sp, (unsigned long long)thread->pc,
		       (unsigned long long)thread->tp, thread->vector_bytes);
		print_text(thread->name);
		printf("}");
	}
	printf("],\n");
}

static void print_segments(const struct target *target)
{
	printf("\"segments\": [");
	for (size_t i = 0; i < target->segment_count; i++) {
		const struct target_segment *segment = &target->segments[i];

		printf("%s{\"start\": %llu, \"end\": %llu, \"protection\": %u, \"shared\": %s, "
		       "\"image\": %s, \"build_id\": %u, \"resident\": %llu, \"name\": ",
		       i ? ",\n" : "", (unsigned long long)segment->start,
		       (unsigned long long)segment->end, segment->protection,
		       segment->shared ? "true" : "false", segment->image ? "true" : "false",
		       segment->file ? segment->file->build_id_bytes : 0,
		       (unsigned long long)segment->pages.resident);
		print_text(segment->file ? segment->file->path : segment->name);
		printf("}");
	}
	printf("],\n");
}

static void print_lists(const struct target *target)
{
	printf("\"warnings\": [");
	for (size_t i = 0; i < target->warning_count; i++) {
		printf("%s", i ? ", " : "");
		print_text(target->warnings[i]);
	}
	printf("],\n\"kernel_roots\": [");
	for (size_t i = 0; i < target->kernel_root_count; i++)
		printf("%s%llu", i ? ", " : "", (unsigned long long)target->kernel_roots[i].value);
	printf("],\n");
}

// "read=ADDRESS:BYTES" as hexadecimal text.
static void print_read(struct target *target, const char *what)
{
	char *end;
	uint64_t address = strtoull(what, &end, 0);
	size_t bytes = strtoull(end + 1, NULL, 0), got;
	uint8_t *buffer = malloc(bytes + 1);

	got = target_read_some(target, address, buffer, bytes);
	printf("\"");
	for (size_t i = 0; i < got; i++)
		printf("%02x", buffer[i]);
	printf("\"");
	free(buffer);
}

static unsigned count_files(struct target *target)
{
	const struct target_file *last = NULL;
	unsigned opened = 0;

	for (size_t i = 0; i < target->segment_count; i++) {
		const struct target_file *file = target->segments[i].file;
		int fd;

		if (file && file != last && !target_file_open(target, file, &fd))
			opened++;
		last = file;
	}
	return opened;
}

static void print_target(struct target *target, int argc, char **argv)
{
	const char *separator = "";

	printf("{\"kind\": %u, \"pid\": %d, \"word_bytes\": %u, \"stopped_ms\": %.3f, "
	       "\"complete\": %s, \"held_stopped\": %s, \"opened_files\": %u,\n",
	       target->kind, target->pid, target->word_bytes, target->stopped_ms,
	       target->complete ? "true" : "false", target->held_stopped ? "true" : "false",
	       count_files(target));
	printf("\"name\": ");
	print_text(target->name);
	printf(", \"path\": ");
	print_text(target->path);
	printf(", \"cpu\": ");
	print_text(target->cpu);
	printf(", \"how\": ");
	print_text(target->how);
	printf(",\n");
	print_threads(target);
	print_segments(target);
	print_lists(target);
	printf("\"reads\": [");
	for (int i = 2; i < argc; i++) {
		if (strncmp(argv[i], "read=", 5) != 0)
			continue;
		printf("%s", separator);
		print_read(target, argv[i] + 5);
		separator = ", ";
	}
	printf("]}\n");
}

static bool has_word(int argc, char **argv, const char *word)
{
	for (int i = 2; i < argc; i++) {
		if (!strcmp(argv[i], word))
			return true;
	}
	return false;
}

int main(int argc, char **argv)
{
	struct target_options options = {
		.want = (has_word(argc, argv, "memory") ? TARGET_WANT_MEMORY : 0u) |
		        (has_word(argc, argv, "pages") ? TARGET_WANT_PAGES : 0u) |
		        (has_word(argc, argv, "kernel") ? TARGET_WANT_KERNEL_ROOTS : 0u),
		.force_clone = has_word(argc, argv, "clone"),
		.no_inject = has_word(argc, argv, "no-inject"),
	};
	struct target *target;
	struct error *error;

	if (argc < 2)
		return 64;
	error = target_open(argv[1], &options, &target);
	if (error) {
		printf("{\"error\": %u, \"text\": ", error->kind);
		print_text(error->text);
		printf("}\n");
		return 2;
	}
	print_target(target, argc, argv);
	fflush(stdout);
	if (has_word(argc, argv, "pause"))
		getchar();
	target_close(target);
	return 0;
}
