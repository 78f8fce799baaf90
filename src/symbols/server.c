// SPDX-License-Identifier: MIT
// Debug files from the debuginfod servers that the user's environment names (DEBUGINFOD_URLS); without it
// nothing of this happens. libdebuginfod is loaded only then, because it brings a network stack. Servers
// that do not answer are asked once. Called by sources.c and recorded.c.
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "symbols/symbols_impl.h"

#define PATIENCE_S      30 // without a byte; DEBUGINFOD_TIMEOUT
#define MOST_FILE_BYTES ((long)8 << 30)

struct library {
	void *(*begin)(void);
	void (*end)(void *client);
	int (*find_debuginfo)(void *client, const unsigned char *id, int bytes, char **path);
	int (*find_executable)(void *client, const unsigned char *id, int bytes, char **path);
	void (*set_progressfn)(void *client, int (*progress)(void *client, long done, long total));
	void (*set_user_data)(void *client, void *data);
	void *(*get_user_data)(void *client);
};

struct request {
	uint64_t since_ns, patience_ns; // of the last byte
	long done;
	bool stopped; // by us, which the library reports as a file that is not there
};

static struct library current; // for on_progress, which has no other way to it

// It stays loaded: its own libraries do not bear to be unloaded.
static bool load(struct library *ret)
{
	static const char *const names[] = {
		"debuginfod_begin",          "debuginfod_end",
		"debuginfod_find_debuginfo", "debuginfod_find_executable",
		"debuginfod_set_progressfn", "debuginfod_set_user_data",
		"debuginfod_get_user_data"
	};
	void *library = dlopen("libdebuginfod.so.1", RTLD_NOW | RTLD_LOCAL);
	void *found[sizeof(names) / sizeof(names[0])];

	_Static_assert(sizeof(found) == sizeof(*ret), "one name per function");
	if (!library)
		return false;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		found[i] = dlsym(library, names[i]);
		if (!found[i])
			return false;
	}
	memcpy(ret, found, sizeof(*ret));
	return true;
}

// The library calls it at least once a second. Before a server has answered, total is 0 and done counts the
// calls. Anything but 0 ends the request.
static int on_progress(void *client, long done, long total)
{
	struct request *request = current.get_user_data(client);
	uint64_t now = os_monotonic_ns();

	if (total > 0 && done != request->done) {
		request->done = done;
		request->since_ns = now;
	}
	request->stopped = now - request->since_ns > request->patience_ns ||
	                   done > MOST_FILE_BYTES || total > MOST_FILE_BYTES;
	return request->stopped;
}

static uint64_t patience_ns(void)
{
	const char *text = getenv("DEBUGINFOD_TIMEOUT");
	long seconds = text ? strtol(text, NULL, 10) : 0;

	return (uint64_t)(seconds > 0 && seconds < 3600 ? seconds : PATIENCE_S) * 1000000000;
}

static int ask(const uint8_t *build_id, size_t bytes, bool executable)
{
	struct request request = { .since_ns = os_monotonic_ns(), .patience_ns = patience_ns() };
	void *client = current.begin();
	char *path = NULL;
	int fd;

	if (!client)
		return -ENOMEM;
	current.set_user_data(client, &request);
	current.set_progressfn(client, on_progress);
	fd = (executable ? current.find_executable : current.find_debuginfo)(client, build_id,
	                                                                     (int)bytes, &path);
	free(path);
	current.end(client);
	return fd < 0 && request.stopped ? -ETIME : fd;
}

static bool is_file_of(int fd, const uint8_t *build_id, size_t bytes)
{
	struct symbols_image image;
	bool same = !symbols_image_open_fd(fd, &image) && image.build_id_bytes == bytes &&
	            memcmp(image.build_id, build_id, bytes) == 0;

	image.fd = -1;
	symbols_image_close(&image);
	return same;
}

static void trouble(struct symbols *symbols, const char *what)
{
	if (!symbols->server_trouble)
		symbols->server_trouble =
			arena_format(&symbols->arena, "The servers of DEBUGINFOD_URLS %s", what);
}

// What the library returns is a file, or a negated errno.
static void give_up(struct symbols *symbols, int error)
{
	symbols->server_silent = true;
	if (error == ETIME || error == EINTR)
		trouble(symbols, arena_format(&symbols->arena,
		                              "sent nothing for %u s and are not asked again.",
		                              (unsigned)(patience_ns() / 1000000000)));
	else
		trouble(symbols,
		        arena_format(&symbols->arena, "do not answer (%s) and are not asked again.",
		                     strerror(error)));
}

int symbols_open_by_server(struct symbols *symbols, const uint8_t *build_id, size_t bytes,
                           bool executable)
{
	const char *servers = getenv("DEBUGINFOD_URLS");
	int fd;

	if (!servers || !servers[0] || !bytes || symbols->server_silent)
		return -1;
	if (!current.begin && !load(&current)) {
		symbols->server_silent = true;
		trouble(symbols, "are not asked: libdebuginfod is not installed.");
		return -1;
	}
	fd = ask(build_id, bytes, executable);
	if (fd < 0) {
		if (fd != -ENOENT && fd != -ENOSYS)
			give_up(symbols, -fd);
		return -1;
	}
	if (is_file_of(fd, build_id, bytes))
		return fd;
	os_close(fd);
	trouble(symbols,
	        "sent something else than the file of the build-id that they were asked for.");
	return -1;
}

const char *symbols_server_trouble(const struct symbols *symbols)
{
	return symbols->server_trouble;
}
