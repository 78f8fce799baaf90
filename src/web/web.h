// SPDX-License-Identifier: MIT
// web: a loopback server that hands out documents. It listens at 127.0.0.1 only, answers GET and HEAD,
// refuses requests that name another host (a page elsewhere whose name was made to lead here), and bounds
// connections, their time and what they may send.
//
//   server.c      pages, requests, answers
//   microhttpd.c  libmicrohttpd, loaded when it is needed
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"

struct web_page {
	const char *path;    // "/metrics"
	const char *type;    // "text/plain; charset=utf-8"
	const char *accepts; // only for requests whose Accept holds this word; NULL any
	// Writes the document; an error becomes status 500. Called by the server's one thread.
	struct error *(*write)(void *context, FILE *out);
	void *context;
};

struct web_server;

// Serves pages, an array that ends with a path of NULL and outlives the server; of several with the same
// path the first whose accepts fits. port 0: any. ERROR_UNSUPPORTED without libmicrohttpd.
struct error *web_open(const struct web_page *pages, uint16_t port, struct web_server **ret);
uint16_t web_port(const struct web_server *server);
void web_close(struct web_server *server); // NULL is allowed
