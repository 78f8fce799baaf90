// SPDX-License-Identifier: MIT
// Reads the memory of another process. process_vm_readv is the fastest way and
// takes many pieces at once; /proc/PID/mem also reads pages without read permission.
#include "os/os.h"

#include <errno.h>
#include <sys/uio.h>

// IOV_MAX of the kernel (UIO_MAXIOV).
#define PIECES_PER_CALL 1024

// One call moves at most MAX_RW_COUNT bytes (just under 2 GiB); more is cut short silently.
#define BYTES_PER_CALL ((size_t)1 << 30)

static size_t read_once(int pid, uint64_t address, void *buffer, size_t n)
{
	struct iovec here = { buffer, n };
	struct iovec there = { (void *)(uintptr_t)address, n };
	ssize_t got;

	do {
		got = process_vm_readv(pid, &here, 1, &there, 1, 0);
	} while (got < 0 && errno == EINTR);
	return got < 0 ? 0 : (size_t)got;
}

size_t os_remote_read(int pid, int memory, uint64_t address, void *buffer, size_t n)
{
	size_t done = 0;

	while (done < n) {
		size_t part = n - done < BYTES_PER_CALL ? n - done : BYTES_PER_CALL;
		size_t got = read_once(pid, address + done, (char *)buffer + done, part);

		if (!got && memory >= 0)
			got = os_pread(memory, (char *)buffer + done, part, address + done);
		if (!got)
			break;
		done += got;
	}
	return done;
}

// Reads as many of the pieces as go into one call; what a fault cut off is left for the caller.
static size_t read_batch(int pid, struct os_piece *pieces, size_t count)
{
	struct iovec here[PIECES_PER_CALL], there[PIECES_PER_CALL];
	size_t n = 0, bytes = 0, left;
	ssize_t got;

	while (n < count && n < PIECES_PER_CALL &&
	       (!n || bytes + pieces[n].bytes <= BYTES_PER_CALL)) {
		here[n] = (struct iovec){ pieces[n].buffer, pieces[n].bytes };
		there[n] = (struct iovec){ (void *)(uintptr_t)pieces[n].address, pieces[n].bytes };
		bytes += pieces[n++].bytes;
	}
	got = process_vm_readv(pid, here, n, there, n, 0);
	left = got < 0 ? 0 : (size_t)got;
	for (size_t i = 0; i < n; i++) {
		pieces[i].done = left < pieces[i].bytes ? left : pieces[i].bytes;
		left -= pieces[i].done;
	}
	return n;
}

void os_remote_read_pieces(int pid, int memory, struct os_piece *pieces, size_t count)
{
	size_t at = 0;

	while (at < count) {
		size_t n = read_batch(pid, pieces + at, count - at);

		for (size_t i = at; i < at + n; i++) {
			struct os_piece *piece = &pieces[i];

			if (piece->done < piece->bytes)
				piece->done +=
					os_remote_read(pid, memory, piece->address + piece->done,
				                       (char *)piece->buffer + piece->done,
				                       piece->bytes - piece->done);
		}
		at += n;
	}
}
