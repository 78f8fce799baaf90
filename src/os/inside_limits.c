// SPDX-License-Identifier: MIT
// Limits of the system that code inside the program must keep away from. Relies on system calls
// only.
#include "os/inside.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MAPPINGS_DEFAULT = 65530 }; // DEFAULT_MAX_MAP_COUNT, Linux include/linux/mm.h

static uint64_t read_number(const char *path, uint64_t otherwise)
{
	char text[24];
	uint64_t number = 0;
	int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
	ssize_t count = fd < 0 ? 0 : syscall(SYS_read, fd, text, sizeof(text));

	if (fd >= 0)
		syscall(SYS_close, fd);
	for (ssize_t i = 0; i < count && text[i] >= '0' && text[i] <= '9'; i++)
		number = number * 10 + (uint64_t)(text[i] - '0');
	return number ? number : otherwise;
}

uint64_t inside_mapping_limit(void)
{
	int kept = errno;
	uint64_t limit = read_number("/proc/sys/vm/max_map_count", MAPPINGS_DEFAULT);

	errno = kept;
	return limit;
}

// The kernel's struct has 64 bits for each limit (include/uapi/linux/resource.h, struct rlimit64).
uint64_t inside_address_limit(void)
{
	uint64_t limit[2] = { UINT64_MAX, UINT64_MAX };
	int kept = errno;

	syscall(SYS_prlimit64, 0, RLIMIT_AS, NULL, limit);
	errno = kept;
	return limit[0];
}
