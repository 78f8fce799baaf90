// SPDX-License-Identifier: MIT
// A text of /proc read to its end and handed on in whole lines, so that nobody needs room for all of it:
// smaps of a process with 60,000 mappings has 60 MB. Called by mappings.c and smaps.c.
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "os/os.h"
#include "os/scan_impl.h"

// The longest line is a path of PATH_MAX bytes with each byte escaped.
#define BUFFER_BYTES ((size_t)64 << 10)

struct error *scan_read_lines(int fd, size_t limit_bytes,
                              struct error *(*take)(void *context, struct scan lines),
                              void *context)
{
	char buffer[BUFFER_BYTES];
	size_t kept = 0, all = 0;

	for (;;) {
		ssize_t got = read(fd, buffer + kept, sizeof(buffer) - kept);
		char *end, *last;

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return error_system(errno, "cannot read the mappings of a process");
		if (!got)
			break;
		all += (size_t)got;
		if (all > limit_bytes)
			return error_new(ERROR_DAMAGED,
			                 "the list of mappings is longer than %zu bytes",
			                 limit_bytes);
		end = buffer + kept + got;
		last = memrchr(buffer, '\n', (size_t)(end - buffer));
		if (last)
			TRY(take(context, (struct scan){ buffer, last + 1 }));
		last = last ? last + 1 : buffer;
		kept = (size_t)(end - last);
		if (kept == sizeof(buffer))
			return error_new(ERROR_DAMAGED,
			                 "a line of the list of mappings is too long");
		memmove(buffer, last, kept);
	}
	return kept ? take(context, (struct scan){ buffer, buffer + kept }) : NULL;
}
