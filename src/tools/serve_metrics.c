// SPDX-License-Identifier: MIT
// heapwright serve-metrics: the metrics of vm_stat for a scraper on this machine.
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "os/os.h"
#include "tools/tools.h"
#include "web/web.h"

#define DEFAULT_PORT 9465

struct settings {
	uint64_t port;
	bool has_port;
	const char *group;
	const char *root;
};

#define AT(field) offsetof(struct settings, field)

static const struct option_row rows[] = {
	{ "port", NULL, OPTION_NUMBER, "PORT", "9465", "The port at 127.0.0.1; 0 for any.",
	  AT(port), AT(has_port) },
	{ "cgroup", NULL, OPTION_TEXT, "PATH", NULL,
	  "Metrics of a control group, too: its folder, its name, or self.", AT(group), 0 },
	{ "root", NULL, OPTION_TEXT, "FOLDER", NULL,
	  "Read proc and sys below FOLDER: a copy from another machine.", AT(root), 0 },
};

static const char *const description[] = {
	"heapwright serve-metrics serves the numbers of vm_stat as metrics for Prometheus and others "
	"that read its text format: of the machine, and of the processes that are named, which are "
	"looked up anew for each request. A request that asks for OpenMetrics gets that.",
	"It listens at 127.0.0.1 only, answers GET and HEAD of /metrics, refuses requests for another "
	"host than localhost, and serves 16 connections at most. It runs until an interrupt.",
	NULL,
};

static const struct option_example examples[] = {
	{ "timeout -s INT 1 heapwright serve-metrics -port 0 server",
	  "Serves the machine's metrics and those of the processes named server.", 124 },
	{ NULL, NULL, 0 },
};

static const struct option_exit exits[] = {
	{ EXIT_FINE, "An interrupt came." },
	{ EXIT_PARTLY,
	  "There is nothing to serve, the port cannot be had, or libmicrohttpd is not installed." },
	{ EXIT_WRONG_USE, "Wrong use." },
	{ 0, NULL },
};

static struct error *write_page(void *context, FILE *out)
{
	return report_metrics(out, context);
}

// What cannot be answered once is said now, not to a scraper.
static struct error *first_page(const struct metrics_settings *settings)
{
	FILE *nowhere = fopen("/dev/null", "w");
	struct error *error;

	if (!nowhere)
		return error_system(errno, "cannot open /dev/null");
	error = report_metrics(nowhere, settings);
	fclose(nowhere);
	return error;
}

static struct error *serve(const struct settings *settings, const struct option_list *operands)
{
	struct metrics_settings usual = { false, settings->group, *operands, settings->root };
	struct metrics_settings strict = { true, settings->group, *operands, settings->root };
	const struct web_page pages[] = {
		{ "/metrics", "application/openmetrics-text; version=1.0.0; charset=utf-8",
		  "application/openmetrics-text", write_page, &strict },
		{ "/metrics", "text/plain; version=0.0.4; charset=utf-8", NULL, write_page,
		  &usual },
		{ NULL, NULL, NULL, NULL, NULL },
	};
	struct os_awaited interrupt = { .fd = -1 };
	struct web_server *server = NULL;
	struct error *error = first_page(&usual);

	if (!error)
		error = os_interrupts_take(&interrupt.fd); // before the server's thread is made
	if (!error)
		error = web_open(pages, (uint16_t)settings->port, &server);
	if (!error) {
		printf("serving http://127.0.0.1:%u/metrics\n", web_port(server));
		fflush(stdout);
		while (!os_await(&interrupt, 1, UINT64_MAX))
			;
	}
	web_close(server);
	os_interrupts_return(interrupt.fd);
	return error;
}

static int run(const void *given, const struct option_list *operands)
{
	struct settings settings = *(const struct settings *)given;
	struct error *error = NULL;

	if (!settings.has_port)
		settings.port = DEFAULT_PORT;
	if (settings.port > UINT16_MAX)
		error = error_new(ERROR_USAGE, "%" PRIu64 " is no port", settings.port);
	else
		error = serve(&settings, operands);
	return error ? tools_fail("heapwright serve-metrics", error) : EXIT_FINE;
}

const struct command serve_metrics_command = {
	.name = "serve-metrics",
	.title = "heapwright serve-metrics",
	.one_line = "serve the numbers of vm_stat as metrics on this machine",
	.synopsis = "[options] [PROCESS...]",
	.operands =
		"PROCESS is a process id, or the whole name that the kernel shows for processes.",
	.description = description,
	.rows = rows,
	.row_count = sizeof(rows) / sizeof(rows[0]),
	.settings_bytes = sizeof(struct settings),
	.examples = examples,
	.exits = exits,
	.see_also = "vm_stat",
	.run = run,
};
