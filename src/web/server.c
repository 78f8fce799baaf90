// SPDX-License-Identifier: MIT
// The loopback server: which requests it answers, and with what (web/web.h). libmicrohttpd parses and
// waits, in one thread of its own that gets no signals when the caller has blocked them.
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "web/web_impl.h"

#define CONNECTIONS_MAX      16u
#define CONNECTION_SECONDS   10u
#define CONNECTION_BYTES     ((size_t)16 << 10) // for a request and its headers
#define STATUS_FINE          200u
#define STATUS_FORBIDDEN     403u
#define STATUS_NOT_FOUND     404u
#define STATUS_NO_METHOD     405u
#define STATUS_SERVER_FAILED 500u

struct web_server {
	const struct web_library *library;
	const struct web_page *pages;
	struct MHD_Daemon *daemon;
	uint16_t port;
};

// A page of another origin can make a browser send requests here under that origin's name, but not under
// one of ours. Names of hosts know no case.
static bool host_is_ours(const char *host)
{
	static const char *const ours[] = { "127.0.0.1", "localhost", "[::1]" };

	for (size_t i = 0; host && i < sizeof(ours) / sizeof(ours[0]); i++) {
		size_t length = strlen(ours[i]);

		if (!strncasecmp(host, ours[i], length) && (!host[length] || host[length] == ':'))
			return true;
	}
	return false;
}

static enum MHD_Result answer(const struct web_server *server, struct MHD_Connection *connection,
                              unsigned status, const char *type, char *text, size_t bytes,
                              enum MHD_ResponseMemoryMode mode)
{
	const struct web_library *library = server->library;
	struct MHD_Response *response = library->create_response_from_buffer(bytes, text, mode);
	enum MHD_Result result;

	if (!response) {
		if (mode == MHD_RESPMEM_MUST_FREE)
			free(text);
		return MHD_NO;
	}
	library->add_response_header(response, "Content-Type", type);
	library->add_response_header(response, "Cache-Control", "no-store");
	library->add_response_header(response, "X-Content-Type-Options", "nosniff");
	if (status == STATUS_NO_METHOD)
		library->add_response_header(response, "Allow", "GET, HEAD");
	result = library->queue_response(connection, status, response);
	library->destroy_response(response);
	return result;
}

static enum MHD_Result refuse(const struct web_server *server, struct MHD_Connection *connection,
                              unsigned status, const char *why)
{
	return answer(server, connection, status, "text/plain; charset=utf-8", (char *)why,
	              strlen(why), MHD_RESPMEM_PERSISTENT);
}

static const struct web_page *page_find(const struct web_page *pages, const char *path,
                                        const char *accept)
{
	for (const struct web_page *page = pages; page->path; page++)
		if (!strcmp(page->path, path) &&
		    (!page->accepts || (accept && strstr(accept, page->accepts))))
			return page;
	return NULL;
}

static enum MHD_Result serve_page(const struct web_server *server,
                                  struct MHD_Connection *connection, const struct web_page *page)
{
	char *text = NULL;
	size_t bytes = 0;
	FILE *out = open_memstream(&text, &bytes);
	struct error *error;

	if (!out)
		return MHD_NO;
	error = page->write(page->context, out);
	if (fclose(out) || !text) {
		free(text);
		return MHD_NO;
	}
	if (error) {
		free(text);
		return answer(server, connection, STATUS_SERVER_FAILED, "text/plain; charset=utf-8",
		              error->text, strlen(error->text), MHD_RESPMEM_MUST_COPY);
	}
	return answer(server, connection, STATUS_FINE, page->type, text, bytes,
	              MHD_RESPMEM_MUST_FREE);
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection,
                                  const char *path, const char *method, const char *version,
                                  const char *upload, size_t *upload_bytes, void **state)
{
	const struct web_server *server = context;
	const struct web_library *library = server->library;
	const struct web_page *page;

	(void)version;
	(void)upload;
	(void)upload_bytes;
	(void)state;
	if (!host_is_ours(library->lookup_connection_value(connection, MHD_HEADER_KIND, "Host")))
		return refuse(server, connection, STATUS_FORBIDDEN,
		              "This server answers to localhost only.\n");
	if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
		return refuse(server, connection, STATUS_NO_METHOD, "GET or HEAD, please.\n");
	page = page_find(server->pages, path,
	                 library->lookup_connection_value(connection, MHD_HEADER_KIND, "Accept"));
	if (!page)
		return refuse(server, connection, STATUS_NOT_FOUND, "There is no such page.\n");
	return serve_page(server, connection, page);
}

// No message of the library's own reaches the terminal: they quote what was sent.
static void no_log(void *context, const char *format, va_list arguments)
{
	(void)context;
	(void)format;
	(void)arguments;
}

static struct error *start(struct web_server *server, uint16_t port)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
		                       .sin_port = htons(port),
		                       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	const union MHD_DaemonInfo *bound;

	TRY(web_library_load(&server->library));
	errno = 0;
	server->daemon = server->library->start_daemon(
		MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_ERROR_LOG, port, NULL, NULL, on_request,
		server, MHD_OPTION_EXTERNAL_LOGGER, no_log, NULL, MHD_OPTION_SOCK_ADDR, &address,
		MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
		CONNECTION_SECONDS, MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_BYTES,
		MHD_OPTION_END);
	if (!server->daemon)
		return error_system(errno ? errno : EIO, "cannot serve at 127.0.0.1:%u", port);
	bound = server->library->get_daemon_info(server->daemon, MHD_DAEMON_INFO_BIND_PORT);
	server->port = bound && bound->port ? bound->port : port;
	return NULL;
}

struct error *web_open(const struct web_page *pages, uint16_t port, struct web_server **ret)
{
	struct web_server *server = calloc(1, sizeof(*server));
	struct error *error;

	*ret = NULL;
	if (!server)
		return &error_out_of_memory;
	server->pages = pages;
	error = start(server, port);
	if (error)
		web_close(server);
	else
		*ret = server;
	return error;
}

uint16_t web_port(const struct web_server *server)
{
	return server->port;
}

void web_close(struct web_server *server)
{
	if (server && server->daemon)
		server->library->stop_daemon(server->daemon);
	free(server);
}
