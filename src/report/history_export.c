// SPDX-License-Identifier: MIT
// malloc_history -export: which forms there are, the file, and what their writers share.
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/text.h"
#include "os/os.h"
#include "report/history_export_impl.h"

#define FIRST_INDEX_COUNT 1024

// --- strings -------------------------------------------------------------------------------------
void export_strings_init(struct export_strings *strings)
{
	*strings = (struct export_strings){ 0 };
	vec_init(&strings->v, &os_page_source);
}

static void index_free(struct export_strings *strings)
{
	if (strings->index)
		os_page_source.resize(strings->index, strings->index_count * sizeof(uint32_t), 0);
}

void export_strings_deinit(struct export_strings *strings)
{
	index_free(strings);
	vec_deinit(&strings->v);
}

static uint32_t *string_at(const struct export_strings *strings, const char *text)
{
	uint64_t hash = 0xcbf29ce484222325u;
	size_t at;

	for (const char *c = text; *c; c++)
		hash = (hash ^ (unsigned char)*c) * 0x100000001b3u;
	at = (size_t)(hash ^ hash >> 29) & (strings->index_count - 1);
	while (strings->index[at] && strcmp(strings->v.v[strings->index[at] - 1], text) != 0)
		at = (at + 1) & (strings->index_count - 1);
	return &strings->index[at];
}

uint32_t export_string(struct export_strings *strings, const char *text, bool *ret_new)
{
	uint32_t *at;

	if ((strings->v.n + 1) * 2 > strings->index_count) {
		index_free(strings);
		strings->index_count =
			strings->index_count ? strings->index_count * 2 : FIRST_INDEX_COUNT;
		strings->index =
			os_page_source.resize(NULL, 0, strings->index_count * sizeof(uint32_t));
		for (size_t i = 0; i < strings->v.n; i++)
			*string_at(strings, strings->v.v[i]) = (uint32_t)i + 1;
	}
	at = string_at(strings, text);
	*ret_new = !*at;
	if (!*at) {
		vec_push(&strings->v, text);
		*at = (uint32_t)strings->v.n;
	}
	return *at;
}

const char *export_function(struct arena *arena, const struct history_frame *frame)
{
	if (frame->function)
		return frame->function;
	return arena_format(arena, "0x%" PRIx64 " (%s)", frame->address,
	                    frame->module ? frame->module->name : "???");
}

// --- the file ------------------------------------------------------------------------------------
static const struct {
	const char *name;
	struct error *(*write)(struct history_view *view, FILE *out);
} forms[] = {
	{ "folded", export_folded },         { "pprof", export_pprof },
	{ "speedscope", export_speedscope }, { "csv", export_csv },
	{ "perfetto", export_perfetto },     { "heaptrack", export_heaptrack },
};

// A reader that has seen enough is no error.
static struct error *write_stream(struct history_view *view, size_t form, FILE *out)
{
	struct error *error;
	int failure;

	errno = 0;
	error = forms[form].write(view, out);
	if (!fflush(out) && !ferror(out))
		return error;
	failure = errno ? errno : EIO;
	clearerr(out);
	return failure == EPIPE ? NULL : error_system(failure, "cannot write the output");
}

static struct error *write_new_file(struct history_view *view, size_t form, const char *path)
{
	struct error *error;
	FILE *out;
	bool failed;

	TRY(os_create_private(path, &out));
	errno = 0;
	error = forms[form].write(view, out);
	failed = ferror(out);
	failed |= fclose(out) != 0;
	if (failed)
		error = error_system(errno ? errno : EIO, "cannot write %s", path);
	else if (error)
		error = error_prefix(error, "%s", path);
	if (error)
		remove(path);
	return error;
}

// "-", and every other name of what the output is anyway: /dev/stdout, /dev/fd/1.
static bool is_output(const struct history_view *view, const char *path,
                      const struct os_status *there)
{
	struct os_status output;

	if (!strcmp(path, "-"))
		return true;
	return there && !os_file_status(fileno(view->settings->common.out), &output) &&
	       output.device == there->device && output.inode == there->inode;
}

static struct error *write_file(struct history_view *view, size_t form)
{
	const char *path = view->settings->export_path;
	struct os_status status, *there = os_path_status(path, &status) ? NULL : &status;
	struct error *error;
	FILE *out;

	if (is_output(view, path, there))
		return write_stream(view, form, view->settings->common.out);
	if (!there)
		return write_new_file(view, form, path);
	if (!there->stream)
		return error_new(ERROR_USAGE, "cannot write %s: it is there already%s",
		                 text_printable(view->arena, path),
		                 there->regular ? "; remove it, or name another file" : "");
	TRY(os_open_stream(path, &out));
	error = write_stream(view, form, out);
	fclose(out);
	return error;
}

struct error *history_export(struct history_view *view)
{
	const char *name = view->settings->export_format;

	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++)
		if (!strcmp(forms[i].name, name))
			return write_file(view, i);
	return error_new(ERROR_USAGE,
	                 "there is no form '%s'; there are folded, pprof, speedscope, csv, "
	                 "perfetto and heaptrack",
	                 text_printable(view->arena, name));
}
