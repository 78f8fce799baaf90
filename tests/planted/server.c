// SPDX-License-Identifier: MIT
/*
 * A small server with small mistakes, for `make demo` and the tests: one request per line on
 * stdin, or on a TCP connection to 127.0.0.1 when a port is given as argv[1]. Each request forgets
 * a list of records, every third one a session and its connection that refer to each other; its
 * caches are healthy. It knows nothing of the tools, and is built with plain `cc -O2` and stripped.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CACHE_SLOTS = 64, RECORDS = 4 };

struct record {
	struct record *next;
	char *text;
	long number;
};

struct session {
	struct connection *connection;
	char user[48];
};

struct connection {
	struct session *session;
	char peer[96];
};

struct entry {
	struct entry *next;
	char key[32];
	unsigned hits;
};

static struct entry *cache[CACHE_SLOTS];
static unsigned long requests;

static char *copy_text(const char *text, unsigned long number)
{
	char *copy = malloc(strlen(text) + 24);

	sprintf(copy, "request %lu: %s", number, text);
	return copy;
}

static struct record *make_records(const char *text)
{
	struct record *list = NULL;

	for (int i = 0; i < RECORDS; i++) {
		struct record *record = malloc(sizeof(*record));

		record->next = list;
		record->text = copy_text(text, requests);
		record->number = i;
		list = record;
	}
	return list;
}

static long sum_records(const struct record *list)
{
	long sum = 0;

	for (; list; list = list->next)
		sum += list->number + (long)strlen(list->text);
	return sum;
}

// The mistake: the two point at each other, and nobody takes either apart.
static void open_session(const char *user)
{
	struct session *session = calloc(1, sizeof(*session));
	struct connection *connection = calloc(1, sizeof(*connection));

	session->connection = connection;
	connection->session = session;
	snprintf(session->user, sizeof(session->user), "%s", user);
	snprintf(connection->peer, sizeof(connection->peer), "peer of request %lu", requests);
}

static unsigned count_hit(const char *key)
{
	unsigned slot = 0;

	for (const char *c = key; *c; c++)
		slot = slot * 31 + (unsigned char)*c;
	slot %= CACHE_SLOTS;
	for (struct entry *entry = cache[slot]; entry; entry = entry->next)
		if (!strncmp(entry->key, key, sizeof(entry->key) - 1))
			return ++entry->hits;
	struct entry *entry = calloc(1, sizeof(*entry));

	snprintf(entry->key, sizeof(entry->key), "%.31s", key);
	entry->next = cache[slot];
	cache[slot] = entry;
	return entry->hits = 1;
}

static void serve(const char *line, int out)
{
	char answer[128];

	requests++;
	// The other mistake: the list is summed up and forgotten.
	long sum = sum_records(make_records(line));

	if (requests % 3 == 0)
		open_session(line);
	int n = snprintf(answer, sizeof(answer), "%lu %ld %u\n", requests, sum, count_hit(line));

	if (write(out, answer, (size_t)n) != n)
		exit(1);
}

static void serve_stream(int in, int out)
{
	char line[256];
	size_t n = 0;
	char c;

	while (read(in, &c, 1) == 1) {
		if (c != '\n' && n + 1 < sizeof(line)) {
			line[n++] = c;
			continue;
		}
		line[n] = 0;
		n = 0;
		serve(line, out);
	}
}

static int listen_on(int port)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
		                       .sin_port = htons((unsigned short)port) };
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	int yes = 1;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	if (bind(listener, (struct sockaddr *)&address, sizeof(address)) || listen(listener, 8)) {
		perror("listen");
		exit(1);
	}
	return listener;
}

int main(int argc, char **argv)
{
	int listener = argc > 1 ? listen_on(atoi(argv[1])) : -1;

	if (write(1, "ready\n", 6) != 6)
		return 1;
	if (listener < 0) {
		serve_stream(0, 1);
		return 0;
	}
	for (;;) {
		int connection = accept(listener, NULL, NULL);

		if (connection < 0)
			continue;
		serve_stream(connection, connection);
		close(connection);
	}
}
