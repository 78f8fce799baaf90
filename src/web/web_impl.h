// SPDX-License-Identifier: MIT
// The functions of libmicrohttpd that the server uses.
#pragma once

#include <microhttpd.h>

#include "web/web.h"

struct web_library {
	__typeof__(&MHD_start_daemon) start_daemon;
	__typeof__(&MHD_stop_daemon) stop_daemon;
	__typeof__(&MHD_get_daemon_info) get_daemon_info;
	__typeof__(&MHD_lookup_connection_value) lookup_connection_value;
	__typeof__(&MHD_create_response_from_buffer) create_response_from_buffer;
	__typeof__(&MHD_add_response_header) add_response_header;
	__typeof__(&MHD_queue_response) queue_response;
	__typeof__(&MHD_destroy_response) destroy_response;
};

// The same table each time; not thread-safe the first time.
struct error *web_library_load(const struct web_library **ret);
