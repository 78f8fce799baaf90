// SPDX-License-Identifier: MIT
// malloc_history -monitor: what the process and the machine used beside the recording, over its time.
#include <inttypes.h>

#include "report/emit.h"
#include "report/history_impl.h"

static void put_size(struct emitter *e, const char *key, uint64_t bytes, int width)
{
	char text[TEXT_SIZE_BYTES];

	emit_text(e, "%*s", width, bytes == HISTORY_UNKNOWN ? "n/a" : text_size_k(bytes, text));
	emit_known_u64(e, key, bytes != HISTORY_UNKNOWN, bytes, NULL);
}

// The text shows what came since the value before, JSON the total.
static void put_count(struct emitter *e, const char *key, uint64_t before, uint64_t now, int width)
{
	if (now == HISTORY_UNKNOWN)
		emit_text(e, "%*s", width, "n/a");
	else
		emit_text(e, "%*" PRIu64, width, before == HISTORY_UNKNOWN ? 0 : now - before);
	emit_known_u64(e, key, now != HISTORY_UNKNOWN, now, NULL);
}

static void put_stall(struct emitter *e, const char *key, uint64_t before, uint64_t now,
                      uint64_t ns)
{
	bool known = before != HISTORY_UNKNOWN && ns;

	if (now == HISTORY_UNKNOWN)
		emit_text(e, "%6s", "n/a");
	else
		emit_text(e, "%5.1f%%", known ? 100.0 * (double)(now - before) / (double)ns : 0.0);
	emit_known_u64(e, key, now != HISTORY_UNKNOWN, now, NULL);
}

static void print_sample(struct emitter *e, const struct history_sample *sample,
                         const struct history_sample *before, struct arena *arena)
{
	uint64_t ns = sample->time_ns - before->time_ns;

	emit_object(e, NULL);
	emit_text(e, "%12s", history_time_text(arena, sample->time_ns));
	emit_u64(e, "time_ns", sample->time_ns, NULL);
	put_size(e, "footprint_bytes", sample->footprint_bytes, 10);
	put_size(e, "resident_bytes", sample->resident_bytes, 9);
	put_size(e, "swapped_bytes", sample->swapped_bytes, 7);
	put_count(e, "threads", 0, sample->threads, 8);
	put_count(e, "soft_faults", before->soft_faults, sample->soft_faults, 8);
	put_count(e, "hard_faults", before->hard_faults, sample->hard_faults, 6);
	put_stall(e, "stalled_ns", before->stalled_ns, sample->stalled_ns, ns);
	put_size(e, "machine_available_bytes", sample->machine_available_bytes, 7);
	put_stall(e, "machine_stalled_ns", before->machine_stalled_ns, sample->machine_stalled_ns,
	          ns);
	emit_text(e, "\n");
	emit_object_end(e);
}

static void print_heading(struct emitter *e)
{
	emit_text(e, "%46s%14s%6s%13s\n", "", "-- FAULTS --", "", "-- MACHINE --");
	emit_text(e, "%12s%10s%9s%7s%8s%8s%6s%6s%7s%6s\n", "TIME", "FOOTPRINT", "RESIDENT", "SWAP",
	          "THREADS", "SOFT", "HARD", "STALL", "AVAIL", "STALL");
	emit_text(e, "%12s%10s%9s%7s%8s%8s%6s%6s%7s%6s\n", "====", "=========", "========", "====",
	          "=======", "====", "====", "=====", "=====", "=====");
}

struct error *history_print_samples(struct emitter *e, struct history_view *view)
{
	const struct history_sample *samples;
	size_t count;

	TRY(history_samples(view->history, view->first, view->last, view->arena, &samples, &count));
	if (count)
		print_heading(e);
	else
		emit_text(e, "no samples (heapwright record -monitor)\n");
	emit_array(e, "samples");
	for (size_t i = 0; i < count; i++)
		print_sample(e, &samples[i], &samples[i ? i - 1 : 0], view->arena);
	emit_array_end(e);
	return NULL;
}
