# SPDX-License-Identifier: MIT
"""Enumerates heaps of our malloc from outside while their threads allocate and free, and compares each
block with the list that the program keeps (tests/target/crowd.c, enumerate.c)."""
import os
import re
import statistics
import subprocess

import measure

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAMS = os.path.join(os.environ.get("BUILD", os.path.join(ROOT, "build")), "tests", "target")
THREADS = "2"
PROMISED_MS = 1000
FIGURES = re.compile(r"(\d+) blocks of (\d+) in use with ([\d.]+) MiB, stopped ([\d.]+) ms, opened in "
                     r"\d+ ms, enumerated in (\d+) ms \((\d+) ms of CPU\)")


def look(pid, words):
    done = subprocess.run([os.path.join(PROGRAMS, "enumerate"), str(pid), *words, THREADS, "clone"],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    figures = FIGURES.match(done.stdout)
    if done.returncode or not figures:
        raise SystemExit("bench: the lists differ:\n" + done.stdout)
    return [float(figure) for figure in figures.groups()]


def row(mib, runs, library):
    environment = dict(os.environ, LD_PRELOAD=library)
    crowd = subprocess.Popen([os.path.join(PROGRAMS, "crowd"), str(mib), THREADS], env=environment,
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        words = crowd.stdout.readline().split()[1:]
        looks = list(zip(*[look(crowd.pid, words) for _ in range(runs)]))
    finally:
        crowd.kill()
        crowd.wait()
    total, wall, cpu = looks[1], looks[4], looks[5]
    return "| %d MiB | %.1f million | 0 | %s | %s | < %d |" % (
        mib, statistics.median(total) / 1e6, measure.spread(wall, "%.0f"),
        measure.spread(cpu, "%.0f"), PROMISED_MS)


def tables(runs, library="", sizes=(64, 1024)):
    stage = os.environ.get("STAGE", os.path.join(ROOT, "build", "stage"))
    library = library or os.path.join(stage, "lib", "libheapwright.so")
    for needed in (library, os.path.join(PROGRAMS, "crowd")):
        if not os.path.exists(needed):
            raise SystemExit("bench: no %s; build first" % needed)
    lines = ["## Enumeration of our heap from outside, threads running", "",
             "| allocated | blocks | wrong or missing | ms | ms of CPU | promised ms |",
             "| --- " * 6 + "|"]
    lines += [row(mib, runs, library) for mib in sizes]
    return "\n".join(lines) + "\n"
