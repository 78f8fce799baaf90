# SPDX-License-Identifier: MIT
"""Measuring of processes for the benchmarks: CPU of a whole process tree, peak memory, medians.

A tool that works through a clone spends CPU in three places: in itself, in helpers that outlive it
for a moment, and in the clone, which the kernel accounts to the program it was made of.
"""
import ctypes
import os
import statistics
import subprocess
import time

PR_SET_CHILD_SUBREAPER = 36
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class Run:
    """What one run of a command cost."""

    def __init__(self, status, wall, usage):
        self.status = status
        self.wall_s = wall
        self.cpu_s = usage.ru_utime + usage.ru_stime
        self.peak_bytes = usage.ru_maxrss * 1024
        self.output = b""


def adopt_orphans():
    """Makes helpers that lose their parent our children, so that they can be counted."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children():
    with open("/proc/self/task/%d/children" % os.getpid()) as listing:
        return [int(pid) for pid in listing.read().split()]


TARGETS = set()  # children that no run may wait for


def run(command, stdin=subprocess.DEVNULL, **environment):
    """Runs a command and waits for all that it leaves behind."""
    started = time.monotonic()
    with open(os.devnull, "w") as null:
        process = subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE, stderr=null,
                                   env=dict(os.environ, **environment))
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stdout.close()
    result = Run(process.returncode, time.monotonic() - started, usage)
    for pid in children():
        if pid not in TARGETS:
            _, _, usage = os.wait4(pid, 0)
            result.cpu_s += usage.ru_utime + usage.ru_stime
    result.output = output
    return result


def process_cpu(pid):
    """Seconds of CPU of a process and of the children it has reaped."""
    with open("/proc/%d/stat" % pid) as stat:
        fields = stat.read().rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15]) / TICKS_PER_SECOND


class Target:
    """A program that runs until the block ends; it has written "ready"."""

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.pid = self.process.pid
        TARGETS.add(self.pid)

    def __enter__(self):
        if self.process.stdout.readline() != b"ready\n":
            raise SystemExit("bench: %s did not get ready" % self.process.args)
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()
        TARGETS.discard(self.pid)
        self.process.stdout.close()


def median(values):
    return statistics.median(values)


def spread(values, form):
    """"median [least-most]" in the format of one number."""
    return "%s [%s-%s]" % (form % median(values), form % min(values), form % max(values))
