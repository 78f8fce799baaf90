// SPDX-License-Identifier: MIT
// A program that a seccomp filter kills for any call but reading, writing and ending: a clone, a
// mapping or a memfd made in its name would be its end.
#include "plant.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#define ALLOW(number)                                        \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (number), 0, 1), \
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

static held_pointer live[50];

PLANT void plant(void)
{
	for (int i = 0; i < 50; i++) {
		live[i] = plant_block(140);
		truth_live(live[i], "global");
		plant_leak(140);
	}
}

PLANT void forbid(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		ALLOW(SYS_read),
		ALLOW(SYS_write),
		ALLOW(SYS_exit),
		ALLOW(SYS_exit_group),
		ALLOW(SYS_restart_syscall),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	};
	struct sock_fprog program = {
		.len = sizeof(filter) / sizeof(filter[0]),
		.filter = filter,
	};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		plant_fail("seccomp");
}

int main(int argc, char **argv)
{
	plant_open(argc, argv);
	plant();
	forbid();
	plant_serve(NULL);
}
