# SPDX-License-Identifier: MIT
"""Compiles programs of this folder and runs them under libgmalloc.so. Used by the tests beside it."""
import os
import signal
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
STAGE = os.environ["STAGE"]
LIBRARY = os.path.join(STAGE, "lib/libgmalloc.so")


class Failed(Exception):
    """What a test found, in words."""


def compile_program(folder, name, *flags):
    path = os.path.join(folder, name)
    subprocess.run(["cc", "-O1", "-g", "-fno-builtin", "-w", "-pthread", *flags, "-o", path,
                    os.path.join(HERE, name + ".c")], check=True)
    return path


class Run:
    """One finished run: status as of a shell (negative: by a signal), what it wrote."""

    def __init__(self, command, timeout_s=240, library=LIBRARY, **variables):
        environment = {k: v for k, v in os.environ.items() if not k.upper().startswith("MALLOC")}
        environment.update(variables)
        if library:
            environment["LD_PRELOAD"] = library
        done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout_s,
                              check=False)
        self.status = done.returncode
        self.stdout = done.stdout.decode("utf-8", "replace")
        self.stderr = done.stderr.decode("utf-8", "replace")

    def without_banner(self):
        return "\n".join(line for line in self.stderr.splitlines()
                         if not line.startswith("GuardMalloc["))

    def demand(self, fact, what):
        if not fact:
            raise Failed("%s\nstatus %d\n%s%s" % (what, self.status, self.stdout, self.stderr))

    def demand_fine(self, stdout):
        self.demand(self.status == 0, "the program failed")
        self.demand(not self.without_banner(), "something was reported")
        self.demand(self.stdout == stdout, "not the output %r" % stdout)


def main(test):
    """Runs test(folder), with a folder for what it compiles."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    if not os.path.exists(LIBRARY):
        print("skipped: Guard Malloc is not built here")
        sys.exit(77)
    with tempfile.TemporaryDirectory(prefix="heapwright-guard-") as folder:
        try:
            test(folder)
        except Failed as failed:
            print(failed)
            sys.exit(1)
