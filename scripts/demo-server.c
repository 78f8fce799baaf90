// SPDX-License-Identifier: MIT
/*
 * The leaking server of `make demo`: an ordinary program that knows nothing of Heapwright. It serves
 * one line per connection on a loopback port, which it prints, and loses memory in three ways that
 * real servers do. scripts/demo builds it with plain `cc -O2`, strips it and sends the requests.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct header {
	struct header *next;
	char *value;
};

struct session {
	struct session *peer;
	char user[48];
};

static char *last_request;
static struct header *cached_headers;

static struct header *header_create(struct header *next, const char *value)
{
	struct header *header = malloc(sizeof(*header));
	header->next = next;
	header->value = strdup(value);
	return header;
}

/* Leak 1: the old text is forgotten, not freed. */
static void remember_request(const char *line)
{
	last_request = strdup(line);
}

/* Leak 2: only the head of the old list is freed; the rest is lost with its texts. */
static void replace_headers(const char *line)
{
	if (cached_headers) {
		free(cached_headers->value);
		free(cached_headers);
	}
	cached_headers = header_create(NULL, "Accept: text/plain");
	cached_headers = header_create(cached_headers, line);
}

/* Leak 3: two sessions refer to each other, and nobody to them. */
static void pair_sessions(const char *line)
{
	struct session *first = calloc(1, sizeof(*first));
	struct session *second = calloc(1, sizeof(*second));
	first->peer = second;
	second->peer = first;
	snprintf(first->user, sizeof(first->user), "%.40s", line);
}

static void serve(int connection)
{
	char line[256];
	ssize_t length = read(connection, line, sizeof(line) - 1);
	if (length <= 0)
		return;
	line[length] = '\0';
	remember_request(line);
	replace_headers(line);
	pair_sessions(line);
	if (write(connection, "ok\n", 3) != 3)
		perror("write");
}

int main(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
		                       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	if (bind(listener, (struct sockaddr *)&address, length) || listen(listener, 16) ||
	    getsockname(listener, (struct sockaddr *)&address, &length)) {
		perror("demo-server");
		return 1;
	}
	printf("%d\n", ntohs(address.sin_port));
	fflush(stdout);
	for (;;) {
		int connection = accept(listener, NULL, NULL);
		if (connection >= 0) {
			serve(connection);
			close(connection);
		}
	}
}
