// SPDX-License-Identifier: MIT
// heapwright pressure -serve: tells the level to every process that connects to a socket of this user, at
// once and at each change. The protocol stands in docs/memory-pressure.md.
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "os/os.h"
#include "tools/pressure_impl.h"

#define CLIENTS_MAX   64
#define MESSAGE_BYTES 64
#define PATIENCE_NS   5000000000ull

struct client {
	struct os_peer peer;
	int signal; // to be sent besides; 0 none
	bool simulates;
};

struct server {
	struct pressure_loop loop;
	struct arena arena;
	const char *path;
	int listener;
	struct client clients[CLIENTS_MAX];
	size_t count;
	enum machine_level told;
};

static const char *socket_path(struct arena *arena, struct error **ret)
{
	const char *folder = NULL;

	*ret = os_local_folder(arena, &folder);
	return *ret ? NULL : arena_format(arena, "%s/pressure", folder);
}

static void client_drop(struct server *server, size_t at)
{
	struct client *client = &server->clients[at];

	if (client->simulates && server->loop.watch)
		server->loop.is_simulated = false; // the next look tells the truth again
	os_close(client->peer.fd);
	os_close(client->peer.process);
	*client = server->clients[--server->count];
}

// One that does not read is dropped: nobody waits for it.
static bool client_tell(struct client *client, enum machine_level level)
{
	if (client->signal && client->peer.process >= 0)
		(void)os_process_signal(client->peer.process, client->signal, (int)level);
	return os_local_send(client->peer.fd, machine_level_name(level));
}

static bool client_accept(struct server *server)
{
	struct client client = { 0 };

	if (!os_local_accept(server->listener, &client.peer))
		return false;
	if (server->count == CLIENTS_MAX || client.peer.user != os_own_uid() ||
	    !os_local_send(client.peer.fd, machine_level_name(server->loop.level))) {
		os_close(client.peer.fd);
		os_close(client.peer.process);
		return true;
	}
	server->clients[server->count++] = client;
	return true;
}

// "signal USR1", "simulate critical".
static bool client_obey(struct server *server, struct client *client, const char *message)
{
	enum machine_level level;

	if (text_starts_with(message, "signal ")) {
		client->signal = os_signal_number(message + strlen("signal "));
		return os_local_send(client->peer.fd,
		                     client->signal ? "ok" : "error no such signal");
	}
	if (text_starts_with(message, "simulate ") &&
	    machine_level_parse(message + strlen("simulate "), &level)) {
		client->simulates = true;
		pressure_simulate(&server->loop, level);
		return os_local_send(client->peer.fd, "ok");
	}
	return os_local_send(client->peer.fd, "error no such request");
}

static void client_hear(struct server *server, size_t at)
{
	char message[MESSAGE_BYTES];
	int length = os_local_receive(server->clients[at].peer.fd, message, sizeof(message));

	if (length < 0)
		return;
	if (!length || !client_obey(server, &server->clients[at], message))
		client_drop(server, at);
}

static void tell_all(struct server *server)
{
	server->told = server->loop.level;
	printf("%s%s\n", machine_level_name(server->told),
	       server->loop.is_simulated ? " (simulated)" : "");
	fflush(stdout);
	for (size_t i = server->count; i-- > 0;)
		if (!client_tell(&server->clients[i], server->told))
			client_drop(server, i);
}

static struct error *serve_once(struct server *server, enum pressure_end *ret)
{
	struct os_awaited list[CLIENTS_MAX + 1];
	size_t count = server->count;
	bool some;

	list[0] = (struct os_awaited){ .fd = server->listener };
	for (size_t i = 0; i < count; i++)
		list[i + 1] = (struct os_awaited){ .fd = server->clients[i].peer.fd };
	TRY(pressure_loop_next(&server->loop, list, count + 1, ret));
	// From the last to the first: a dropped one is replaced by one that was heard already.
	for (size_t i = count; i-- > 0;)
		if (list[i + 1].ready)
			client_hear(server, i);
	for (size_t i = 0; list[0].ready && i < CLIENTS_MAX && client_accept(server); i++)
		;
	if (!server->loop.is_simulated)
		TRY(pressure_loop_look(&server->loop));
	if (server->loop.level != server->told)
		tell_all(server);
	return pressure_end_one(&server->loop, &some);
}

static struct error *serve(struct server *server)
{
	enum pressure_end end = PRESSURE_GOES_ON;
	struct error *error = pressure_loop_look(&server->loop);

	server->told = server->loop.level;
	printf("listening at %s; %s\n", text_printable(&server->arena, server->path),
	       machine_level_name(server->told));
	fflush(stdout);
	while (!error && end == PRESSURE_GOES_ON)
		error = serve_once(server, &end);
	while (server->count)
		client_drop(server, server->count - 1);
	return error;
}

static struct error *serve_at(struct server *server, const struct pressure_settings *settings)
{
	struct error *error;

	server->path = socket_path(&server->arena, &error);
	if (!error)
		error = os_local_listen(server->path, &server->listener);
	if (error)
		return error;
	error = pressure_loop_open(settings, &server->loop);
	if (!error)
		error = serve(server);
	pressure_loop_close(&server->loop);
	os_local_remove(server->path);
	os_close(server->listener);
	return error;
}

struct error *pressure_serve(const struct pressure_settings *settings)
{
	struct server server = { .listener = -1 };
	struct error *error;

	arena_init(&server.arena, &os_page_source);
	error = serve_at(&server, settings);
	arena_deinit(&server.arena);
	return error;
}

// --- the other side ------------------------------------------------------------------------------

// Until the server's word or its end; false: it is gone.
static bool hear_word(int fd, const char *word)
{
	struct os_awaited answer = { .fd = fd };
	char message[MESSAGE_BYTES];
	int length;

	do {
		if (!os_await(&answer, 1, PATIENCE_NS))
			return false;
		length = os_local_receive(fd, message, sizeof(message));
	} while (length && strcmp(message, word) != 0);
	return length != 0;
}

struct error *pressure_ask_simulation(const struct pressure_settings *settings)
{
	OS_DESCRIPTOR int fd = -1;
	char request[MESSAGE_BYTES];
	struct error *error;
	struct arena arena;
	const char *path;

	arena_init(&arena, &os_page_source);
	path = socket_path(&arena, &error);
	if (!error)
		error = os_local_connect(path, &fd);
	if (!error) {
		snprintf(request, sizeof(request), "simulate %s", settings->simulate);
		if (!os_local_send(fd, request) || !hear_word(fd, "ok"))
			error = error_new(ERROR_GONE, "the server at %s does not answer", path);
	}
	arena_deinit(&arena);
	if (error)
		return error_prefix(error, "no `heapwright pressure -serve` to tell");
	printf("Memory pressure: %s (simulated)\n", settings->simulate);
	fflush(stdout);
	os_sleep_ns(settings->timeout_ns);
	return NULL;
}
