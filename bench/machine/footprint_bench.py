# SPDX-License-Identifier: MIT
"""The figures of footprint and of vmmap on many mappings: time and CPU against smem and pmap -X."""
import os
import shutil
import subprocess
import tempfile

from measure import Target, adopt_orphans, median, run, spread

HERE = os.path.dirname(os.path.abspath(__file__))
PROCESSES = 1000
MAPPINGS = 60000
SAMPLES = 51  # of --sample 0.02 --sample-duration 1


def build(folder, name):
    path = os.path.join(folder, name)
    subprocess.run(["gcc", "-O2", "-o", path, os.path.join(HERE, "programs", name + ".c")],
                   check=True)
    return path


def measured(command):
    done = run(command)
    if done.status not in (0, 2):  # 2: a process that nobody may look at was among them
        raise SystemExit("bench: %s ended with %d" % (command, done.status))
    return done


def alternate(runs, ours, peer):
    found = [], []
    for i in range(runs):
        for which in (0, 1) if i % 2 == 0 else (1, 0):
            found[which].append(measured((ours, peer)[which]))
    return found


def rows(what, peer, found):
    text = ""
    for figure, values in (("CPU", lambda r: r.cpu_s), ("time", lambda r: r.wall_s)):
        ours, theirs = ([values(one) for one in side] for side in found)
        text += "| %s: %s, s | %s | %s %s | %.2f | <= 0.5 |\n" % (
            what, figure, spread(ours, "%.3f"), peer, spread(theirs, "%.3f"),
            median(ours) / median(theirs))
    return text


def sample_row(runs):
    """CPU of one reading of all processes, as the memory monitor makes it each second."""
    base = ["footprint", "-a", "--sample", "1", "--sample-duration", "0.001"]
    often = ["footprint", "-a", "--sample", "0.02", "--sample-duration", "1"]
    each = []
    for _ in range(runs):
        once, many = measured(base), measured(often)
        each.append((many.cpu_s - once.cpu_s) / (SAMPLES - 1) * 1000)
    return ("| the cheap numbers of %d processes, printed: CPU, ms | %s | one core a second | %.3f "
            "| <= 0.03 |\n" % (PROCESSES, spread(each, "%.1f"), median(each) / 1000))


def tables(runs):
    for peer in ("smem", "pmap"):
        if not shutil.which(peer):
            raise SystemExit("bench: no %s here (see packaging/debian-packages.txt)" % peer)
    adopt_orphans()
    text = "| figure | measured | peer | measured / peer | promised |\n| --- | --- | --- | --- | --- |\n"
    with tempfile.TemporaryDirectory() as folder:
        with Target([build(folder, "crowd"), str(PROCESSES)]):
            text += rows("footprint of %d processes" % PROCESSES, "smem",
                         alternate(runs, ["footprint", "-a"], ["smem"]))
            text += sample_row(runs)
        with Target([build(folder, "mappings"), str(MAPPINGS)]) as target:
            pid = str(target.pid)
            peer = ["pmap", "-X", pid]
            text += rows("vmmap of %d mappings" % MAPPINGS, "pmap -X",
                         alternate(runs, ["vmmap", pid], peer))
            text += rows("footprint of %d mappings" % MAPPINGS, "pmap -X",
                         alternate(runs, ["footprint", pid], peer))
    return text
