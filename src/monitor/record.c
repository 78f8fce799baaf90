// SPDX-License-Identifier: MIT
// Writes a recording (monitor.h; docs/monitor.md has the format). Every sample is a record of its own that
// needs no other, so a file that is cut off anywhere can be read, and samples can be dropped.
#include "monitor/monitor.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "os/os.h"

#define MOST_BY_FOOTPRINT 40
#define MOST_BY_OTHER     20 // growth, and faults

struct monitor_recorder {
	const char *path;
	FILE *out;
	uint64_t interval_ns, limit_bytes, written;
	VEC(uint8_t) bytes;   // of the record that is made
	VEC(uint8_t) head;    // what a file begins with
	VEC(uint32_t) chosen; // rows of the view
	struct arena arena;
};

// --- records -------------------------------------------------------------------------------------
static void put_number(struct monitor_recorder *recorder, uint64_t value)
{
	for (; value >= 0x80; value >>= 7)
		vec_push(&recorder->bytes, (uint8_t)(value | 0x80));
	vec_push(&recorder->bytes, (uint8_t)value);
}

static void put_text(struct monitor_recorder *recorder, const char *text)
{
	size_t n = strlen(text);

	put_number(recorder, n);
	for (size_t i = 0; i < n; i++)
		vec_push(&recorder->bytes, (uint8_t)text[i]);
}

static struct error *cannot_write(const struct monitor_recorder *recorder)
{
	return error_system(errno ? errno : EIO, "cannot write %s", recorder->path);
}

static struct error *write_bytes(struct monitor_recorder *recorder, const void *bytes, size_t n)
{
	errno = 0;
	if (fwrite(bytes, 1, n, recorder->out) != n)
		return cannot_write(recorder);
	recorder->written += n;
	return NULL;
}

// A reader beside us sees whole records only.
static struct error *write_flush(struct monitor_recorder *recorder)
{
	errno = 0;
	return fflush(recorder->out) ? cannot_write(recorder) : NULL;
}

static struct error *write_record(struct monitor_recorder *recorder, const uint8_t *bytes, size_t n)
{
	uint8_t length[4];

	for (size_t i = 0; i < sizeof(length); i++)
		length[i] = (uint8_t)(n >> (8 * i));
	TRY(write_bytes(recorder, length, sizeof(length)));
	return write_bytes(recorder, bytes, n);
}

static void make_head(struct monitor_recorder *recorder)
{
	const uint8_t version[4] = { MONITOR_FILE_VERSION };
	size_t n;

	recorder->bytes.n = 0;
	vec_push(&recorder->bytes, MONITOR_RECORD_MACHINE);
	put_text(recorder, os_host_name(&recorder->arena));
	put_text(recorder, os_version_text(&recorder->arena));
	put_number(recorder, recorder->interval_ns);
	put_number(recorder, MONITOR_NUMBER_COUNT);
	for (size_t i = 0; i < MONITOR_NUMBER_COUNT; i++)
		put_text(recorder, monitor_number_rows[i].name);
	n = recorder->bytes.n;
	for (const char *at = MONITOR_FILE_MAGIC; *at; at++)
		vec_push(&recorder->head, (uint8_t)*at);
	for (size_t i = 0; i < sizeof(version); i++)
		vec_push(&recorder->head, version[i]);
	for (size_t i = 0; i < 4; i++)
		vec_push(&recorder->head, (uint8_t)(n >> (8 * i)));
	for (size_t i = 0; i < n; i++)
		vec_push(&recorder->head, recorder->bytes.v[i]);
}

static struct error *write_head(struct monitor_recorder *recorder)
{
	TRY(write_bytes(recorder, recorder->head.v, recorder->head.n));
	return write_flush(recorder);
}

// --- which processes -----------------------------------------------------------------------------
static bool is_chosen(const struct monitor_recorder *recorder, uint32_t row)
{
	for (size_t i = 0; i < recorder->chosen.n; i++)
		if (recorder->chosen.v[i] == row)
			return true;
	return false;
}

static double weight(const struct monitor_row *row, enum monitor_order order)
{
	if (order == MONITOR_BY_GROWTH)
		return row->growth_bytes > 0 ? (double)row->growth_bytes : 0;
	return row->faults + row->hard;
}

// Those with most of it that are not chosen yet; one of them at a time, as they are few.
static void choose_by(struct monitor_recorder *recorder, const struct monitor_view *view,
                      enum monitor_order order)
{
	for (size_t n = 0; n < MOST_BY_OTHER; n++) {
		double most = 0;
		uint32_t best = 0;

		for (uint32_t i = 0; i < view->row_count; i++) {
			double own = weight(&view->rows.v[i], order);

			if (own > most && !is_chosen(recorder, i)) {
				most = own;
				best = i;
			}
		}
		if (most <= 0)
			return;
		vec_push(&recorder->chosen, best);
	}
}

// The view is in order of footprint.
static void choose(struct monitor_recorder *recorder, const struct monitor_view *view)
{
	recorder->chosen.n = 0;
	for (uint32_t i = 0; i < view->row_count && i < MOST_BY_FOOTPRINT; i++)
		vec_push(&recorder->chosen, i);
	choose_by(recorder, view, MONITOR_BY_GROWTH);
	choose_by(recorder, view, MONITOR_BY_FAULTS);
}

static void put_process(struct monitor_recorder *recorder, const struct monitor_process *process)
{
	put_number(recorder, (uint64_t)process->pid);
	put_number(recorder, process->start);
	put_text(recorder, process->name);
	put_number(recorder, process->footprint_bytes);
	put_number(recorder, process->resident_bytes);
	put_number(recorder, process->swapped_bytes);
	put_number(recorder, process->soft_faults);
	put_number(recorder, process->hard_faults);
}

// --- the limit -----------------------------------------------------------------------------------
static struct error *copy_half(struct monitor_recorder *recorder, const struct monitor_file *file)
{
	for (size_t i = 0; i < file->samples.n; i += 2) {
		size_t n;
		const uint8_t *record = monitor_file_record(file, i, &n);

		TRY(write_record(recorder, record, n));
	}
	return write_flush(recorder);
}

// Into a new file, which takes the place of the old one when it is whole.
static struct error *thin(struct monitor_recorder *recorder)
{
	const char *path = arena_format(&recorder->arena, "%s.new", recorder->path);
	struct monitor_file file;
	struct error *error;
	FILE *old = recorder->out, *fresh;

	TRY(os_create_private(path, &fresh));
	error = monitor_file_open(recorder->path, &file);
	if (!error) {
		recorder->out = fresh;
		recorder->written = 0;
		error = write_head(recorder);
		if (!error)
			error = copy_half(recorder, &file);
		if (!error && rename(path, recorder->path))
			error = cannot_write(recorder);
		recorder->out = error ? old : fresh;
		monitor_file_close(&file);
	}
	if (error)
		(void)remove(path);
	fclose(error ? fresh : old);
	return error;
}

// --- the face ------------------------------------------------------------------------------------
struct error *monitor_record_open(const char *path, uint64_t interval_ns, uint64_t limit_bytes,
                                  struct monitor_recorder **ret)
{
	struct monitor_recorder *recorder;
	struct arena arena;
	struct error *error;

	arena_init(&arena, &os_page_source);
	recorder = arena_alloc(&arena, sizeof(*recorder));
	recorder->path = arena_copy(&arena, path);
	recorder->interval_ns = interval_ns;
	recorder->limit_bytes = limit_bytes;
	recorder->arena = arena;
	vec_init(&recorder->bytes, &os_page_source);
	vec_init(&recorder->head, &os_page_source);
	vec_init(&recorder->chosen, &os_page_source);
	make_head(recorder);
	error = os_create_private(path, &recorder->out);
	if (!error)
		error = write_head(recorder);
	if (error) {
		(void)monitor_record_close(recorder);
		return error;
	}
	*ret = recorder;
	return NULL;
}

struct error *monitor_record_add(struct monitor_recorder *recorder,
                                 const struct monitor_sample *sample,
                                 const struct monitor_view *view)
{
	const struct monitor_numbers *numbers = &sample->numbers;

	choose(recorder, view);
	recorder->bytes.n = 0;
	vec_push(&recorder->bytes, MONITOR_RECORD_SAMPLE);
	put_number(recorder, sample->wall_ns);
	put_number(recorder, sample->when_ns);
	put_number(recorder, sample->level);
	for (size_t i = 0; i < MONITOR_NUMBER_COUNT; i++)
		put_number(recorder, numbers->is_known[i] ? numbers->value[i] + 1 : 0);
	put_number(recorder, sample->process_count);
	put_number(recorder, recorder->chosen.n);
	for (size_t i = 0; i < recorder->chosen.n; i++)
		put_process(recorder, &view->rows.v[recorder->chosen.v[i]].process);
	if (recorder->written + recorder->bytes.n + 4 > recorder->limit_bytes)
		TRY(thin(recorder));
	TRY(write_record(recorder, recorder->bytes.v, recorder->bytes.n));
	return write_flush(recorder);
}

struct error *monitor_record_close(struct monitor_recorder *recorder)
{
	struct error *error = NULL;
	struct arena arena;

	if (!recorder)
		return NULL;
	errno = 0;
	if (recorder->out && fclose(recorder->out))
		error = cannot_write(recorder);
	vec_deinit(&recorder->bytes);
	vec_deinit(&recorder->head);
	vec_deinit(&recorder->chosen);
	arena = recorder->arena; // the recorder itself lives in it
	arena_deinit(&arena);
	return error;
}
