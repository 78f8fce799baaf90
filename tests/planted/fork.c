// SPDX-License-Identifier: MIT
// A fork child (without exec) with leaks inherited and of its own; it is the one to be examined.
#include "plant.h"

#include <sys/prctl.h>
#include <sys/wait.h>
#include <signal.h>

static held_pointer live[100];

PLANT void plant(size_t size)
{
	static int count;

	for (int i = 0; i < 40; i++) {
		live[count] = plant_block(size);
		truth_live(live[count++], "global");
		plant_leak(size);
	}
}

static void serve_as_child(void)
{
	char line[64];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	plant(280);
	snprintf(line, sizeof(line), "pid %d\n", getpid());
	plant_say(line);
	plant_serve(NULL);
}

int main(int argc, char **argv)
{
	plant_open(argc, argv);
	plant(270);
	pid_t child = fork();

	if (child < 0)
		plant_fail("fork");
	if (child == 0)
		serve_as_child();
	waitpid(child, NULL, 0);
	return 0;
}
