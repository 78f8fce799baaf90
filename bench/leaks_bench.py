# SPDX-License-Identifier: MIT
"""The figures of leaks: what it finds, how long the program stands still, CPU, memory.

The peers are LSan, gcore and chap. LSan checks inside a program that was built for it: its cost is
the CPU of the program with the check less the CPU without. chap reads a core, which gcore writes
while the program stands still.
"""
import json
import os
import re
import shutil
import subprocess
import tempfile

from measure import Target, adopt_orphans, median, process_cpu, run, spread

HERE = os.path.dirname(os.path.abspath(__file__))
BLOCK_TABLE_BYTES = 16  # per block
MEBIBYTE = 1 << 20
PLANTED_TESTS = ("test-shapes", "test-mappings", "test-threads", "test-many-threads", "test-cxx",
                 "test-fork", "test-static", "test-glibc-heap")
PLANTED_LINE = re.compile(r"ok (\S+) (\S+): (\d+) leaks, all found, no other")


def build(folder, name, *flags):
    path = os.path.join(folder, name + "".join(flags).replace("-fsanitize=", "."))
    source = os.path.join(HERE, "programs", name + ".c")
    subprocess.run(["gcc", "-O2", "-o", path, source] + list(flags), check=True)
    return path


class Look:
    """One run of leaks at a live process."""

    def __init__(self, target):
        before = process_cpu(target.pid)
        done = run(["leaks", "--json", str(target.pid)])
        document = json.loads(done.output)
        if done.status != 0:
            raise SystemExit("bench: leaks ended with %d" % done.status)
        self.stop_ms = document["target"]["stopped_ms"]
        self.blocks = document["nodes"]
        self.cpu_s = done.cpu_s + process_cpu(target.pid) - before
        self.wall_s = done.wall_s
        self.peak_bytes = done.peak_bytes - self.blocks * BLOCK_TABLE_BYTES


def lsan_check_cpu(program):
    """CPU of one check by LSan, or None when it cannot run here."""
    checked = run([program], LSAN_OPTIONS="detect_leaks=1")
    unchecked = run([program], LSAN_OPTIONS="detect_leaks=0")
    if checked.status != 0 or unchecked.status != 0:
        return None
    return checked.cpu_s - unchecked.cpu_s


def core_write(target, folder):
    """Writes a core; returns the run of gcore and the path, or None and None."""
    if not shutil.which("gcore"):
        return None, None
    done = run(["gcore", "-o", os.path.join(folder, "core"), str(target.pid)])
    path = os.path.join(folder, "core.%d" % target.pid)
    return (done, path) if os.path.exists(path) else (None, None)


def chap_run(core, folder):
    script = os.path.join(folder, "script")
    with open(script, "w") as text:
        text.write("count leaked\n")
    with open(script) as text:
        return run([os.environ["CHAP"], core], stdin=text)


class Table:
    def __init__(self, title):
        self.text = ("## %s\n\n| figure | measured | promised | peer | measured / peer |\n"
                     "| --- | --- | --- | --- | --- |\n" % title)

    def row(self, figure, values, form, promise, peer="", peer_values=()):
        ratio = ""
        if peer_values:
            peer += " " + spread(peer_values, form)
            ratio = "%.2f" % (median(values) / median(peer_values))
        self.text += "| %s | %s | %s | %s | %s |\n" % (figure, spread(values, form), promise, peer,
                                                      ratio)


def million_table(runs, folder):
    program, checked = build(folder, "million"), build(folder, "million", "-fsanitize=leak")
    looks, lsan, cores, chaps = [], [], [], []
    with Target([program, "wait"]) as target:
        for _ in range(runs):
            looks.append(Look(target))
            lsan.append(lsan_check_cpu(checked))
            gcore, core = core_write(target, folder)
            if core:
                cores.append(gcore)
                if "CHAP" in os.environ:
                    chaps.append(chap_run(core, folder))
                os.unlink(core)
    lsan = [cpu for cpu in lsan if cpu is not None]
    table = Table("leaks at a live process with %d blocks" % looks[0].blocks)
    cpu = [look.cpu_s for look in looks]
    table.row("stop, ms", [look.stop_ms for look in looks], "%.1f", "<= 50", "gcore",
              [core.wall_s * 1000 for core in cores])
    table.row("CPU of everything, s", cpu, "%.2f", "<= 0.25", "LSan's check", lsan)
    if chaps:
        table.row("CPU of everything, s", cpu, "%.2f", "<= 0.25", "chap, core at hand",
                  [chap.cpu_s for chap in chaps])
    table.row("memory over the block table, MiB",
              [look.peak_bytes / MEBIBYTE for look in looks], "%.1f", "<= 64",
              "chap" if chaps else "", [chap.peak_bytes / MEBIBYTE for chap in chaps])
    table.row("time until the answer, s", [look.wall_s for look in looks], "%.2f", "")
    return table.text + notes(lsan, cores, chaps)


def notes(lsan, cores, chaps):
    missing = []
    if not lsan:
        missing.append("LSan cannot run here.")
    if not cores:
        missing.append("gcore is missing or could not write a core.")
    if not chaps:
        missing.append("No chap: name one with CHAP=PATH.")
    return "\n" + " ".join(missing) + "\n" if missing else ""


def large_table(runs, folder):
    looks = []
    with Target([build(folder, "heap3g")]) as target:
        for _ in range(runs):
            looks.append(Look(target))
    table = Table("leaks at a live process with a heap of 3 GiB, %d blocks" % looks[0].blocks)
    table.row("stop, ms", [look.stop_ms for look in looks], "%.0f", "<= 200")
    table.row("CPU of everything, s", [look.cpu_s for look in looks], "%.2f", "")
    table.row("memory over the block table, MiB",
              [look.peak_bytes / MEBIBYTE for look in looks], "%.0f", "")
    table.row("time until the answer, s", [look.wall_s for look in looks], "%.2f", "")
    return table.text


def recall_table():
    """Leaks planted by the test programs, in each way of looking."""
    root = os.path.dirname(HERE)
    build_folder = os.path.join(root, "build")
    environment = {"SRC": root, "BUILD": build_folder, "STAGE": os.path.join(build_folder, "stage")}
    found, failed = {}, []
    for test in PLANTED_TESTS:
        done = run([os.path.join(root, "tests", "planted", test)], **environment)
        for line in done.output.decode(errors="replace").splitlines():
            match = PLANTED_LINE.match(line)
            if match:
                programs, leaks = found.get(match.group(2), (0, 0))
                found[match.group(2)] = programs + 1, leaks + int(match.group(3))
            elif line.startswith("FAILED"):
                failed.append(line[7:])
    text = ("## leaks on planted programs\n\n"
            "| look | programs | planted leaks, all found, no other |\n| --- | --- | --- |\n")
    for look in sorted(found):
        text += "| %s | %d | %d |\n" % ((look,) + found[look])
    if failed:
        text += "\nFailed: %s.\n" % "; ".join(failed)
    return text


def tables(runs):
    adopt_orphans()
    with tempfile.TemporaryDirectory(prefix="heapwright-bench-") as folder:
        return "\n".join([recall_table(), million_table(runs, folder), large_table(runs, folder)])
