// SPDX-License-Identifier: MIT
// Exports of sums over stacks as text: folded stacks (flamegraph.pl, inferno), CSV, and the file of
// speedscope (its file-format-spec.ts: one sampled profile of bytes, one of blocks).
#include <inttypes.h>
#include <string.h>

#include "base/text.h"
#include "os/os.h"
#include "report/history_export_impl.h"

// Names with the separator in them would become two frames.
static void put_folded_name(FILE *out, const char *name)
{
	for (; *name; name++)
		fputc(*name == ';' ? ':' : *name, out);
}

static void put_folded(struct history_view *view, const struct history_sum *sum, FILE *out)
{
	const struct history_frame *const *frames;
	struct arena arena;
	size_t count;

	arena_init(&arena, &os_page_source);
	history_stack(view->history, sum->node, &arena, &frames, &count);
	if (!count)
		fputs(sum->before ? "(before the recording)" : "(no stack)", out);
	while (count--) {
		put_folded_name(out, export_function(&arena, frames[count]));
		if (count)
			fputc(';', out);
	}
	arena_deinit(&arena);
}

static struct error *take_sums(struct history_view *view, struct history_sums *ret)
{
	return history_sum_up(view->history, &view->question, ret);
}

struct error *export_folded(struct history_view *view, FILE *out)
{
	struct history_sums sums;

	TRY(take_sums(view, &sums));
	for (size_t i = 0; i < sums.sums.n; i++) {
		put_folded(view, &sums.sums.v[i], out);
		fprintf(out, " %" PRIu64 "\n", sums.sums.v[i].bytes);
	}
	history_sums_free(&sums);
	return NULL;
}

// --- CSV (RFC 4180) ------------------------------------------------------------------------------
static void put_csv_text(FILE *out, const char *text)
{
	for (; *text; text++) {
		if (*text == '"')
			fputc('"', out);
		fputc(*text, out);
	}
}

static void put_csv_stack(struct history_view *view, uint32_t node, FILE *out)
{
	const struct history_frame *const *frames;
	struct arena arena;
	size_t count;

	arena_init(&arena, &os_page_source);
	history_stack(view->history, node, &arena, &frames, &count);
	while (count--) {
		const struct history_frame *frame = frames[count];

		put_csv_text(out, export_function(&arena, frame));
		if (frame->file) {
			fputs(" (", out);
			put_csv_text(out, text_base_name(frame->file));
			fprintf(out, ":%u)", frame->line);
		}
		if (count)
			fputs(" | ", out);
	}
	arena_deinit(&arena);
}

struct error *export_csv(struct history_view *view, FILE *out)
{
	struct history_sums sums;

	TRY(take_sums(view, &sums));
	fputs("count,bytes,stack\r\n", out);
	for (size_t i = 0; i < sums.sums.n; i++) {
		const struct history_sum *sum = &sums.sums.v[i];

		fprintf(out, "%" PRIu64 ",%" PRIu64 ",\"", sum->count, sum->bytes);
		put_csv_stack(view, sum->node, out);
		fputs("\"\r\n", out);
	}
	history_sums_free(&sums);
	return NULL;
}

// --- speedscope ----------------------------------------------------------------------------------
// Frames are numbered by function: the key of a frame counts from 1 without gaps, in order of appearance
// over the whole history, so only those that occur are written, under numbers of their own.
struct speedscope {
	struct history_view *view;
	const struct history_sums *sums;
	struct emitter *e;
	VEC(uint32_t) numbers; // by key: number + 1, 0: none yet
	uint32_t count;
};

static void number_frame(struct speedscope *s, const struct history_frame *frame)
{
	while (s->numbers.n <= frame->key)
		vec_push(&s->numbers, 0);
	if (s->numbers.v[frame->key])
		return;
	s->numbers.v[frame->key] = ++s->count;
	emit_object(s->e, NULL);
	emit_string(s->e, "name", export_function(s->view->arena, frame), NULL);
	if (frame->file) {
		emit_string(s->e, "file", frame->file, NULL);
		emit_u64(s->e, "line", frame->line, NULL);
	}
	emit_object_end(s->e);
}

static void put_shared(struct speedscope *s)
{
	const struct history_frame *const *frames;
	struct arena arena;
	size_t count;

	emit_object(s->e, "shared");
	emit_array(s->e, "frames");
	for (size_t i = 0; i < s->sums->sums.n; i++) {
		arena_init(&arena, &os_page_source);
		history_stack(s->view->history, s->sums->sums.v[i].node, &arena, &frames, &count);
		while (count--)
			number_frame(s, frames[count]);
		arena_deinit(&arena);
	}
	emit_array_end(s->e);
	emit_object_end(s->e);
}

static void put_samples(struct speedscope *s)
{
	const struct history_frame *const *frames;
	struct arena arena;
	size_t count;

	emit_array(s->e, "samples");
	for (size_t i = 0; i < s->sums->sums.n; i++) {
		arena_init(&arena, &os_page_source);
		history_stack(s->view->history, s->sums->sums.v[i].node, &arena, &frames, &count);
		emit_array(s->e, NULL);
		while (count--)
			emit_u64(s->e, NULL, s->numbers.v[frames[count]->key] - 1, NULL);
		emit_array_end(s->e);
		arena_deinit(&arena);
	}
	emit_array_end(s->e);
}

static void put_profile(struct speedscope *s, const char *name, const char *unit, bool bytes)
{
	emit_object(s->e, NULL);
	emit_string(s->e, "type", "sampled", NULL);
	emit_string(s->e, "name", name, NULL);
	emit_string(s->e, "unit", unit, NULL);
	emit_u64(s->e, "startValue", 0, NULL);
	emit_u64(s->e, "endValue", bytes ? s->sums->bytes : s->sums->count, NULL);
	put_samples(s);
	emit_array(s->e, "weights");
	for (size_t i = 0; i < s->sums->sums.n; i++)
		emit_u64(s->e, NULL, bytes ? s->sums->sums.v[i].bytes : s->sums->sums.v[i].count,
		         NULL);
	emit_array_end(s->e);
	emit_object_end(s->e);
}

struct error *export_speedscope(struct history_view *view, FILE *out)
{
	struct speedscope s = { .view = view };
	struct history_sums sums;

	TRY(take_sums(view, &sums));
	vec_init(&s.numbers, &os_page_source);
	s.sums = &sums;
	s.e = emit_begin(out, EMIT_JSON);
	emit_string(s.e, "$schema", "https://www.speedscope.app/file-format-schema.json", NULL);
	emit_string(s.e, "exporter", "heapwright " HEAPWRIGHT_VERSION, NULL);
	emit_string(s.e, "name", history_process(view->history)->name, NULL);
	put_shared(&s);
	emit_array(s.e, "profiles");
	put_profile(&s, "bytes", "bytes", true);
	put_profile(&s, "blocks", "none", false);
	emit_array_end(s.e);
	vec_deinit(&s.numbers);
	history_sums_free(&sums);
	return emit_end(s.e);
}
