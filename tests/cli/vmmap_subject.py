# SPDX-License-Identifier: MIT
"""Starts vmmap_subject and reads what the kernel says about it. Used by test-vmmap-*."""
import os
import re
import signal
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "planted"))
import planted
from planted import Failure

# Our names of the numbers of smaps that vmmap shows; not Pss, which every process that starts
# meanwhile (and maps libc) changes.
SMAPS_FIELDS = {
    "Rss": "resident_bytes", "Swap": "swapped_bytes",
    "Private_Clean": "private_clean_bytes", "Private_Dirty": "private_dirty_bytes",
    "Shared_Clean": "shared_clean_bytes", "Shared_Dirty": "shared_dirty_bytes",
    "Anonymous": "anonymous_bytes", "Locked": "locked_bytes",
}


def build(folder, compiler=("cc", "-pthread")):
    program = os.path.join(folder, "vmmap_subject")
    subprocess.run([*compiler, "-O2", "-o", program, os.path.join(HERE, "vmmap_subject.c")],
                   check=True)
    return program


class Subject(planted.Target):
    """`places` maps names to (start, end)."""

    def __init__(self, program, folder):
        super().__init__([program, folder])
        self.places = {}
        self.read_places()

    def read_places(self):
        while True:
            line = self.read_line()
            if line in ("ready", "pong"):
                return
            words = line.split()
            if words[0] == "pid":
                self.pid = int(words[1])
            else:
                start = int(words[1], 16)
                self.places[words[0]] = (start, start + int(words[2]))

    def change(self):
        self.process.stdin.write(b"change\n")
        self.read_places()

    def hold_still(self):
        os.kill(self.pid, signal.SIGSTOP)
        while planted.task_state(self.pid)[0] != "T":
            pass


class Mapping:
    def __init__(self, start, end, words):
        self.start, self.end, self.words = start, end, words
        self.bytes = {}


def read_smaps(pid):
    """Every mapping with the kernel's counts in bytes."""
    mappings = []
    with open("/proc/%d/smaps" % pid, errors="surrogateescape") as lines:
        for line in lines:
            head = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+) ", line)
            if head:
                mappings.append(Mapping(int(head[1], 16), int(head[2], 16), head[3]))
                continue
            count = re.match(r"(\w+): +(\d+) kB", line)
            if count:
                mappings[-1].bytes[count[1]] = int(count[2]) * 1024
    return mappings


def region_at(document, address):
    for region in document["regions"]:
        if int(region["start"], 16) <= address < int(region["end"], 16):
            return region
    raise Failure("no region holds 0x%x" % address)


def expect(found, wanted, what):
    if found != wanted:
        raise Failure("%s: found %s, expected %s" % (what, found, wanted))


def run_text(*arguments, status=0):
    """The text that vmmap prints, which must be printable UTF-8."""
    done = subprocess.run([planted.tool_path("vmmap"), *[str(a) for a in arguments]],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode != status:
        raise Failure("vmmap %s: status %d\n%s" % (" ".join(map(str, arguments)), done.returncode,
                                                 done.stderr.decode("utf-8", "replace")))
    text = done.stdout.decode("utf-8")
    control = [c for c in text if ord(c) < 32 and c not in "\n\t" or 127 <= ord(c) < 160]
    if control:
        raise Failure("control characters in the output: %r" % control)
    return text


def run_json(*arguments):
    answer = planted.run_tool("vmmap", *arguments)
    if answer.status != 0:
        raise Failure(answer.about())
    return answer.document
