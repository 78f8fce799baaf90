# SPDX-License-Identifier: MIT
"""Looks through clones, for the tests of this folder."""
import os
import subprocess

from victims import FOLDER, LOOK, Victim, check, look, skip, state, status, wait_until

LIVE, CLONE = 0, 1  # enum target_kind


class CloneVictim(Victim):
    """A running clone_victim."""

    def __init__(self, mode, program="clone_victim", **options):
        self.process = subprocess.Popen([os.path.join(FOLDER, program), mode],
                                        stdout=subprocess.PIPE, stdin=subprocess.DEVNULL,
                                        text=True, **options)
        self.pid = self.process.pid
        self.said = []
        line = self.process.stdout.readline()
        check(line == "ready\n", "the victim says " + line)


class PausedLook:
    """A tool that holds a clone until it is told to go on."""

    def __init__(self, pid):
        self.tool = subprocess.Popen([LOOK, str(pid), "memory", "clone", "pause"],
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        text = b""
        while b"\"reads\": [" not in text:
            line = self.tool.stdout.readline()
            check(line, "the look ended: " + text.decode())
            text += line
        self.guardian = children(self.tool.pid)[0]
        self.clones = [child for child in children(pid) if status(child, "TracerPid") ==
                       str(self.guardian)]

    def end(self):
        self.tool.stdin.close()
        self.tool.wait()
        self.tool.stdout.close()
        return self.tool.returncode

    def kill(self):
        self.tool.kill()
        return self.end()


def need_clones():
    with Victim("idle") as victim:
        seen = look(victim.pid, "memory", "clone")
        if "64-bit x86 programs only" in seen.get("how", ""):
            skip("clones are not made on this CPU")


def children(pid):
    found = []
    try:
        for tid in os.listdir("/proc/%d/task" % pid):
            with open("/proc/%d/task/%s/children" % (pid, tid)) as text:
                found += [int(word) for word in text.read().split()]
    except (FileNotFoundError, ProcessLookupError):
        pass
    return found


def is_gone(pid):
    """Whether a process has ended; its parent may not have collected it yet."""
    return state(pid) in ("", "Z", "X")


def check_clone(seen, what):
    check("error" not in seen, "%s: %s" % (what, seen))
    check(seen["kind"] == CLONE, "%s: %s" % (what, seen["how"]))


def check_in_place(seen, reason, what):
    check("error" not in seen, "%s: %s" % (what, seen))
    check(seen["kind"] == LIVE and reason in seen["how"], "%s: %s" % (what, seen["how"]))


def check_alone(pid, what):
    wait_until(lambda: not children(pid), "%s: a process is left: %s" % (what, children(pid)))
    check(status(pid, "TracerPid") == "0", "%s: still traced" % what)
