// SPDX-License-Identifier: MIT
// Lets others run, for the rare wait that no lock stands for.
#include <errno.h>
#include <sched.h>

#include "os/inside.h"

void inside_yield(void)
{
	int saved = errno;

	sched_yield();
	errno = saved;
}
