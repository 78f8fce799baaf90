# SPDX-License-Identifier: MIT
"""Starts footprint_subject and reads what the kernel says about it. Used by test-footprint*."""
import os
import signal
import struct
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "planted"))
import planted
from planted import Failure
import vmmap_subject

PAGE = os.sysconf("SC_PAGE_SIZE")
COUNTS = ("dirty_bytes", "clean_bytes", "reclaimable_bytes", "swapped_bytes", "wired_bytes",
          "region_count")


def build(folder):
    program = os.path.join(folder, "footprint_subject")
    subprocess.run(["cc", "-O2", "-D_GNU_SOURCE", "-o", program, os.path.join(HERE, "footprint_subject.c")],
                   check=True)
    return program


class Subject(planted.Target):
    """`pids`: the process and its children, in any order; the process first."""

    def __init__(self, program, *options):
        super().__init__([program, *options])
        self.pids = []
        wanted = 2 if "fork" in options else 1
        ready = 0
        while ready < wanted:
            words = self.read_line().split()
            if words[0] == "pid":
                self.pids.append(int(words[1]))
            ready += words[0] == "ready"

    def hold_still(self):
        for pid in self.pids:
            os.kill(pid, signal.SIGSTOP)
        for pid in self.pids:
            while planted.task_state(pid)[0] != "T":
                pass


def flags_of(pid):
    """VmFlags of each mapping, in order."""
    with open("/proc/%d/smaps" % pid, errors="surrogateescape") as lines:
        return [line.split()[1:] for line in lines if line.startswith("VmFlags:")]


def kernel_counts(mapping, flags):
    """What footprint shows for one mapping, from smaps by its own definition."""
    at = mapping.bytes.get
    huge = at("Shared_Hugetlb", 0) + at("Private_Hugetlb", 0)
    return {
        "dirty_bytes": at("Private_Dirty", 0) + at("Shared_Dirty", 0) + at("Swap", 0) + huge,
        "clean_bytes": at("Private_Clean", 0) + at("Shared_Clean", 0) - at("LazyFree", 0),
        "reclaimable_bytes": at("LazyFree", 0),
        "swapped_bytes": at("Swap", 0),
        "wired_bytes": (at("Rss", 0) if "lo" in flags else 0) + huge,
        "region_count": 1,
    }


def read_kernel(pid):
    """[(start, end, counts)] of all mappings."""
    mappings, flags = vmmap_subject.read_smaps(pid), flags_of(pid)
    if len(mappings) != len(flags):
        raise planted.Skip("this kernel shows no VmFlags")
    return [(m.start, m.end, kernel_counts(m, f)) for m, f in zip(mappings, flags)]


def add(all_counts):
    rows = list(all_counts)
    return {key: sum(counts[key] for counts in rows) for key in COUNTS}


def status_bytes(pid, key):
    with open("/proc/%d/status" % pid) as lines:
        for line in lines:
            if line.startswith(key + ":"):
                return int(line.split()[1]) * 1024
    return 0


def frames(pid, mappings):
    """The page frames of a process that smaps counts: not the page of zeros."""
    found = set()
    with open("/proc/%d/pagemap" % pid, "rb", buffering=0) as pagemap, \
            open("/proc/kpageflags", "rb", buffering=0) as facts:
        for start, end, counts in mappings:
            if not counts["dirty_bytes"] + counts["clean_bytes"] + counts["reclaimable_bytes"]:
                continue
            pagemap.seek(start // PAGE * 8)
            count = (end - start) // PAGE
            for word in struct.unpack("%dQ" % count, pagemap.read(count * 8)):
                number = word & (1 << 55) - 1
                if not word >> 63 or not number or number in found:
                    continue
                facts.seek(number * 8)
                if not struct.unpack("Q", facts.read(8))[0] >> 24 & 1:
                    found.add(number)
    return found


def run_json(*arguments, statuses=(0,)):
    answer = planted.run_tool("footprint", *arguments)
    if answer.status not in statuses:
        raise Failure(answer.about())
    return answer.document


def run_text(*arguments, statuses=(0,), **options):
    """The text, which must be printable UTF-8."""
    done = subprocess.run([planted.tool_path("footprint"), *[str(a) for a in arguments]],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
    if done.returncode not in statuses:
        raise Failure("footprint %s: status %d\n%s" % (
            arguments, done.returncode, done.stderr.decode("utf-8", "replace")))
    text = (done.stdout + done.stderr).decode("utf-8")
    control = [c for c in text if ord(c) < 32 and c not in "\n\t" or 127 <= ord(c) < 160]
    if control:
        raise Failure("control characters in the output: %r" % control)
    return text


def counts_of_document(row):
    return {key: row[key] for key in COUNTS}
