// SPDX-License-Identifier: MIT
// libmicrohttpd, loaded when a server is started and never linked: it brings a TLS library and more, which
// every other command would load for nothing.
#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

#include "web/web_impl.h"

// Of libmicrohttpd 0.9.71 to 1.x.
static const char *const names[] = { "libmicrohttpd.so.12", "libmicrohttpd.so" };

static const struct {
	const char *name;
	size_t offset;
} functions[] = {
#define FUNCTION(name)                                           \
	{                                                        \
		"MHD_" #name, offsetof(struct web_library, name) \
	}
	FUNCTION(start_daemon),
	FUNCTION(stop_daemon),
	FUNCTION(get_daemon_info),
	FUNCTION(lookup_connection_value),
	FUNCTION(create_response_from_buffer),
	FUNCTION(add_response_header),
	FUNCTION(queue_response),
	FUNCTION(destroy_response),
#undef FUNCTION
};

struct error *web_library_load(const struct web_library **ret)
{
	static struct web_library library;
	void *handle = NULL;

	*ret = &library;
	if (library.start_daemon)
		return NULL;
	for (size_t i = 0; !handle && i < sizeof(names) / sizeof(names[0]); i++)
		handle = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
	if (!handle)
		return error_new(ERROR_UNSUPPORTED,
		                 "libmicrohttpd is not installed (Debian: libmicrohttpd12)");
	for (size_t i = sizeof(functions) / sizeof(functions[0]); i-- > 0;) {
		void *function = dlsym(handle, functions[i].name);

		if (!function)
			return error_new(ERROR_UNSUPPORTED, "libmicrohttpd has no %s",
			                 functions[i].name);
		memcpy((char *)&library + functions[i].offset, &function, sizeof(function));
	}
	return NULL;
}
