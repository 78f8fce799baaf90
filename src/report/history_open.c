// SPDX-License-Identifier: MIT
// A TARGET of malloc_history and diff becomes a recording: a log file, and the moment behind an @.
#include <string.h>

#include "base/text.h"
#include "os/os.h"
#include "report/history_impl.h"

static bool is_file(const char *path)
{
	struct os_status status;

	return !os_path_status(path, &status) && status.regular;
}

// The @ that begins a moment: the last one, unless a file has the whole name.
static const char *moment_of(const char *what)
{
	const char *at = strrchr(what, '@');

	return at && at != what && !is_file(what) ? at : NULL;
}

static struct error *open_source(struct recording *recording)
{
	if (!log_is(recording->source))
		return error_new(ERROR_NOT_FOUND, "%s is no recording",
		                 text_printable(&recording->arena, recording->source));
	return history_open_log(recording->source, &recording->history);
}

struct error *recording_open(const char *what, struct recording *ret)
{
	const char *at = moment_of(what);

	*ret = (struct recording){ .moment = HISTORY_END };
	arena_init(&ret->arena, &os_page_source);
	ret->source = at ? arena_copy_n(&ret->arena, what, (size_t)(at - what)) : what;
	TRY(open_source(ret));
	return at ? history_moment(ret->history, at + 1, &ret->moment) : NULL;
}

void recording_close(struct recording *recording)
{
	history_close(recording->history);
	arena_deinit(&recording->arena);
}
