// SPDX-License-Identifier: MIT
// Sockets between processes of one user, and signals to those at the other end (os/pressure.h).
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "os/os.h"

#define WAITING_CONNECTIONS 16

// Linux include/uapi/asm-generic/socket.h, 6.5; older headers do not have it.
#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

static bool is_folder(const char *path)
{
	struct stat status;

	return path && *path == '/' && !stat(path, &status) && S_ISDIR(status.st_mode);
}

struct error *os_local_folder(struct arena *arena, const char **ret)
{
	const char *base = os_variable("XDG_RUNTIME_DIR");
	struct stat status;

	if (!is_folder(base))
		base = arena_format(arena, "/run/user/%u", (unsigned)geteuid());
	*ret = is_folder(base) ? arena_format(arena, "%s/heapwright", base)
	                       : arena_format(arena, "/tmp/heapwright-%u", (unsigned)geteuid());
	if (mkdir(*ret, 0700) && errno != EEXIST)
		return error_system(errno, "cannot make %s", *ret);
	if (lstat(*ret, &status) || !S_ISDIR(status.st_mode) || status.st_uid != geteuid() ||
	    (status.st_mode & 077))
		return error_new(ERROR_RIGHTS, "%s is not a folder that only this user may enter",
		                 *ret);
	return NULL;
}

static struct error *local_address(const char *path, struct sockaddr_un *ret)
{
	*ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof(ret->sun_path))
		return error_system(ENAMETOOLONG, "no socket can be at %s", path);
	strcpy(ret->sun_path, path);
	return NULL;
}

static struct error *local_socket(int *ret)
{
	*ret = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	return *ret < 0 ? error_system(errno, "cannot make a socket") : NULL;
}

struct error *os_local_connect(const char *path, int *ret)
{
	struct sockaddr_un address;
	int failure;

	TRY(local_address(path, &address));
	TRY(local_socket(ret));
	if (!connect(*ret, (struct sockaddr *)&address, sizeof(address)))
		return NULL;
	failure = errno;
	os_close(*ret);
	*ret = -1;
	return error_system(failure, "nobody answers at %s", path);
}

struct error *os_local_listen(const char *path, int *ret)
{
	struct sockaddr_un address;
	int other, failure;

	TRY(local_address(path, &address));
	if (!os_local_connect(path, &other)) {
		os_close(other);
		return error_new(ERROR_USAGE, "somebody answers at %s already", path);
	}
	unlink(path);
	TRY(local_socket(ret));
	if (!bind(*ret, (struct sockaddr *)&address, sizeof(address)) &&
	    !listen(*ret, WAITING_CONNECTIONS))
		return NULL;
	failure = errno;
	os_close(*ret);
	*ret = -1;
	return error_system(failure, "cannot listen at %s", path);
}

static int peer_process(int fd, int pid)
{
	socklen_t bytes = sizeof(int);
	int process;

	if (!getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &process, &bytes)) {
		fcntl(process, F_SETFD, FD_CLOEXEC);
		return process;
	}
	return pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
}

bool os_local_accept(int listener, struct os_peer *ret)
{
	struct ucred peer;
	socklen_t bytes = sizeof(peer);
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return false;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes)) {
		os_close(fd);
		return false;
	}
	*ret = (struct os_peer){ fd, peer.pid, peer_process(fd, peer.pid), peer.uid };
	return true;
}

bool os_local_send(int fd, const char *text)
{
	size_t length = strlen(text);

	return send(fd, text, length, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)length;
}

int os_local_receive(int fd, char *ret, size_t n)
{
	ssize_t got = recv(fd, ret, n - 1, MSG_DONTWAIT);

	ret[got > 0 ? got : 0] = '\0';
	if (got >= 0)
		return (int)got;
	return errno == EAGAIN || errno == EINTR ? -1 : 0;
}

void os_local_remove(const char *path)
{
	unlink(path);
}

int os_signal_number(const char *name)
{
	for (int number = 1; number < NSIG; number++) {
		const char *known = sigabbrev_np(number);

		if (known && !strcmp(known, name))
			return number;
	}
	return 0;
}

struct error *os_process_signal(int process, int signal, int value)
{
	siginfo_t info = { .si_signo = signal, .si_code = SI_QUEUE };

	info.si_pid = getpid();
	info.si_uid = geteuid();
	info.si_value.sival_int = value;
	if (syscall(SYS_pidfd_send_signal, process, signal, &info, 0))
		return error_system(errno, "cannot send signal %d", signal);
	return NULL;
}
