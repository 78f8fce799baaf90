// SPDX-License-Identifier: MIT
// Export for pprof (google/pprof, proto/profile.proto): gzip around a protobuf message, whose few kinds of
// fields are written by hand, in the order in which they become known: the profile is never in memory. Values as
// Go's heap profiles have them: all that was allocated, and what is still there.
#include <string.h>
#include <zlib.h>

#include "base/text.h"
#include "os/os.h"
#include "report/history_export_impl.h"

#define GZIP_WINDOW (15 + 16)
#define PIECE_BYTES 65536

// Field numbers of profile.proto.
enum {
	PROFILE_SAMPLE_TYPE = 1,
	PROFILE_SAMPLE = 2,
	PROFILE_MAPPING = 3,
	PROFILE_LOCATION = 4,
	PROFILE_FUNCTION = 5,
	PROFILE_STRING = 6,
	PROFILE_TIME_NANOS = 9,
	PROFILE_DURATION_NANOS = 10,
	PROFILE_DEFAULT_SAMPLE_TYPE = 14,
};

struct message {
	VEC(uint8_t) bytes;
};

struct pprof {
	struct history_view *view;
	struct export_strings strings;
	FILE *out;
	z_stream gzip;
	struct message profile;                 // what was not packed yet
	struct message part, line, ids, values; // are put together for profile
	VEC(bool) places;                       // written, by place
	VEC(bool) functions;                    // written, by key
	const struct log_module *modules;
	size_t module_count;
};

// --- protobuf ------------------------------------------------------------------------------------
static void put_varint(struct message *m, uint64_t value)
{
	for (; value >= 0x80; value >>= 7)
		vec_push(&m->bytes, (uint8_t)(value | 0x80));
	vec_push(&m->bytes, (uint8_t)value);
}

static void put_number(struct message *m, unsigned field, uint64_t value)
{
	put_varint(m, field << 3);
	put_varint(m, value);
}

static void put_bytes(struct message *m, unsigned field, const void *bytes, size_t n)
{
	put_varint(m, field << 3 | 2);
	put_varint(m, n);
	vec_reserve(&m->bytes, m->bytes.n + n);
	if (n)
		memcpy(m->bytes.v + m->bytes.n, bytes, n);
	m->bytes.n += n;
}

// Packs what there is of the profile, and writes it.
static void pack(struct pprof *p, int flush)
{
	uint8_t piece[PIECE_BYTES];

	p->gzip.next_in = p->profile.bytes.v;
	p->gzip.avail_in = (uInt)p->profile.bytes.n;
	do {
		p->gzip.next_out = piece;
		p->gzip.avail_out = sizeof(piece);
		deflate(&p->gzip, flush);
		fwrite(piece, 1, sizeof(piece) - p->gzip.avail_out, p->out);
	} while (!p->gzip.avail_out);
	p->profile.bytes.n = 0;
}

// Puts a message as a field and empties it.
static void put_message(struct message *m, unsigned field, struct message *part)
{
	put_bytes(m, field, part->bytes.v, part->bytes.n);
	part->bytes.n = 0;
}

// Part becomes a field of the profile.
static void put_part(struct pprof *p, unsigned field)
{
	put_message(&p->profile, field, &p->part);
	if (p->profile.bytes.n >= PIECE_BYTES)
		pack(p, Z_NO_FLUSH);
}

// The string table begins with "".
static uint64_t string(struct pprof *p, const char *text)
{
	bool is_new;

	return export_string(&p->strings, text, &is_new) - 1;
}

// --- what stacks are made of ---------------------------------------------------------------------
static void put_function(struct pprof *p, const struct history_frame *frame)
{
	while (p->functions.n <= frame->key)
		vec_push(&p->functions, false);
	if (p->functions.v[frame->key])
		return;
	p->functions.v[frame->key] = true;
	put_number(&p->part, 1, frame->key);
	put_number(&p->part, 2, string(p, export_function(p->view->arena, frame)));
	put_number(&p->part, 3, string(p, export_function(p->view->arena, frame)));
	if (frame->file)
		put_number(&p->part, 4, string(p, frame->file));
	put_part(p, PROFILE_FUNCTION);
}

// The number of the module that has the address, 0 none.
static uint64_t mapping_of(const struct pprof *p, uint64_t address)
{
	for (size_t i = p->module_count; i-- > 0;)
		if (address >= p->modules[i].start && address < p->modules[i].end)
			return i + 1;
	return 0;
}

// A place in the code, with the functions that were inlined there, innermost first.
static void put_location(struct pprof *p, const struct history_frame *frames, size_t count)
{
	while (p->places.n <= frames->place)
		vec_push(&p->places, false);
	if (p->places.v[frames->place])
		return;
	p->places.v[frames->place] = true;
	for (size_t i = 0; i < count; i++)
		put_function(p, &frames[i]);
	put_number(&p->part, 1, frames->place);
	put_number(&p->part, 2, mapping_of(p, frames->address));
	put_number(&p->part, 3, frames->address);
	for (size_t i = 0; i < count; i++) {
		put_number(&p->line, 1, frames[i].key);
		put_number(&p->line, 2, frames[i].line);
		put_message(&p->part, 4, &p->line);
	}
	put_part(p, PROFILE_LOCATION);
}

static void put_mappings(struct pprof *p)
{
	for (size_t i = 0; i < p->module_count; i++) {
		const struct log_module *module = &p->modules[i];
		char *id = arena_alloc(p->view->arena, 2 * RECORD_BUILD_ID_BYTES + 1);

		if (module->build_id_bytes <= RECORD_BUILD_ID_BYTES)
			text_hex(module->build_id, module->build_id_bytes, id);
		put_number(&p->part, 1, i + 1);
		put_number(&p->part, 2, module->start);
		put_number(&p->part, 3, module->end);
		put_number(&p->part, 5, string(p, text_printable(p->view->arena, module->path)));
		put_number(&p->part, 6, string(p, id));
		put_number(&p->part, 7, 1); // has functions, files and lines: nothing to look up
		put_number(&p->part, 8, 1);
		put_number(&p->part, 9, 1);
		put_part(p, PROFILE_MAPPING);
	}
}

// --- samples -------------------------------------------------------------------------------------
static void put_locations(struct pprof *p, uint32_t node)
{
	const struct history_frame *const *frames;
	struct arena arena;
	size_t count;

	arena_init(&arena, &os_page_source);
	history_stack(p->view->history, node, &arena, &frames, &count);
	for (size_t i = 0, next; i < count; i = next) {
		for (next = i + 1; next < count && frames[next] == frames[next - 1] + 1 &&
		                   frames[next]->place == frames[i]->place;)
			next++;
		put_location(p, frames[i], next - i);
		put_varint(&p->ids, frames[i]->place);
	}
	arena_deinit(&arena);
}

static void put_sample(struct pprof *p, uint32_t node, const struct history_sum *made,
                       const struct history_sum *live)
{
	const uint64_t values[] = { made ? made->count : 0, made ? made->bytes : 0,
		                    live ? live->count : 0, live ? live->bytes : 0 };

	put_locations(p, node);
	put_message(&p->part, 1, &p->ids);
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
		put_varint(&p->values, values[i]);
	put_message(&p->part, 2, &p->values);
	put_part(p, PROFILE_SAMPLE);
}

// Both are sorted by node.
static void put_samples(struct pprof *p, const struct history_sums *made,
                        const struct history_sums *live)
{
	size_t m = 0, l = 0;

	while ((m < made->sums.n || l < live->sums.n) && !ferror(p->out)) {
		const struct history_sum *a = m < made->sums.n ? &made->sums.v[m] : NULL;
		const struct history_sum *b = l < live->sums.n ? &live->sums.v[l] : NULL;
		uint32_t node = a ? a->node : UINT32_MAX;

		if (b && b->node < node)
			node = b->node;
		a = a && a->node == node ? a : NULL;
		b = b && b->node == node ? b : NULL;
		put_sample(p, node, a, b);
		m += a != NULL;
		l += b != NULL;
	}
}

static void put_profile(struct pprof *p, const struct history_sums *made,
                        const struct history_sums *live)
{
	static const char *const types[][2] = { { "alloc_objects", "count" },
		                                { "alloc_space", "bytes" },
		                                { "inuse_objects", "count" },
		                                { "inuse_space", "bytes" } };

	string(p, "");
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		put_number(&p->part, 1, string(p, types[i][0]));
		put_number(&p->part, 2, string(p, types[i][1]));
		put_part(p, PROFILE_SAMPLE_TYPE);
	}
	put_mappings(p);
	put_samples(p, made, live);
	put_number(&p->profile, PROFILE_TIME_NANOS, history_process(p->view->history)->wall_ns);
	put_number(&p->profile, PROFILE_DURATION_NANOS, history_end_ns(p->view->history));
	put_number(&p->profile, PROFILE_DEFAULT_SAMPLE_TYPE, string(p, "inuse_space"));
	for (size_t i = 0; i < p->strings.v.n; i++)
		put_bytes(&p->profile, PROFILE_STRING, p->strings.v.v[i],
		          strlen(p->strings.v.v[i]));
}

// -------------------------------------------------------------------------------------------------
static struct error *pprof_init(struct pprof *p)
{
	if (deflateInit2(&p->gzip, Z_DEFAULT_COMPRESSION, Z_DEFLATED, GZIP_WINDOW, 8,
	                 Z_DEFAULT_STRATEGY) != Z_OK)
		return &error_out_of_memory;
	export_strings_init(&p->strings);
	vec_init(&p->profile.bytes, &os_page_source);
	vec_init(&p->part.bytes, &os_page_source);
	vec_init(&p->line.bytes, &os_page_source);
	vec_init(&p->ids.bytes, &os_page_source);
	vec_init(&p->values.bytes, &os_page_source);
	vec_init(&p->places, &os_page_source);
	vec_init(&p->functions, &os_page_source);
	p->modules = history_modules(p->view->history, &p->module_count);
	return NULL;
}

static void pprof_deinit(struct pprof *p)
{
	deflateEnd(&p->gzip);
	export_strings_deinit(&p->strings);
	vec_deinit(&p->profile.bytes);
	vec_deinit(&p->part.bytes);
	vec_deinit(&p->line.bytes);
	vec_deinit(&p->ids.bytes);
	vec_deinit(&p->values.bytes);
	vec_deinit(&p->places);
	vec_deinit(&p->functions);
}

static struct error *write_profile(struct pprof *p, const struct history_sums *made,
                                   const struct history_sums *live)
{
	TRY(pprof_init(p));
	put_profile(p, made, live);
	pack(p, Z_FINISH);
	pprof_deinit(p);
	return NULL;
}

struct error *export_pprof(struct history_view *view, FILE *out)
{
	struct pprof p = { .view = view, .out = out };
	struct history_question question = view->question;
	struct history_sums made, live;
	struct error *error;

	TRY(history_sum_up(view->history, &question, &live));
	question.set = HISTORY_MADE;
	error = history_sum_up(view->history, &question, &made);
	if (!error) {
		error = write_profile(&p, &made, &live);
		history_sums_free(&made);
	}
	history_sums_free(&live);
	return error;
}
