# SPDX-License-Identifier: MIT
"""Measures allocators over the rows of workloads.py, and makes the tables of it.

The allocators alternate within each round, in reverse order in every second round, so that a slow
minute of the machine meets all of them. CPU is user and system time: elapsed time says nothing on a
machine that does other work. The peak of memory is that of a second run, in which programs/launch.c
stops the program wherever it gives memory back, and is exact to the page: the kernel's own (VmHWM)
missed up to half a MiB, most of it with glibc, which gives memory back before the end of a program.
"""
import fnmatch
import glob
import math
import os
import statistics
import subprocess
import sys
import tempfile

import workloads

ROOT = os.path.dirname(os.path.dirname(workloads.HERE))
LIMIT = 1.15
STARTS = 10  # of true, for each run of the programs
OURS = "heapwright"
EXPLANATION = """\
A cell is CPU / best of the row [least-most], then peak memory / glibc. Debian links redis-server to
libjemalloc, so that its column "glibc" is jemalloc. The first programs are bench/malloc/programs, each
after the benchmark that its first lines name; the others run bench/malloc/scripts.
"""
PEERS = [("jemalloc", "libjemalloc.so.2"), ("mimalloc", "libmimalloc.so.2"),
         ("tcmalloc", "libtcmalloc_minimal.so.4")]


def allocators():
    """Name -> library to preload: "" for glibc, the peers that are installed, and ours if built."""
    found = {"glibc": ""}
    for name, library in PEERS:
        paths = glob.glob("/usr/lib/*-linux-gnu/" + library)
        if paths:
            found[name] = paths[0]
        else:
            print("bench: no %s here" % library, file=sys.stderr)
    stage = os.environ.get("STAGE", os.path.join(ROOT, "build", "stage"))
    ours = os.path.join(stage, "lib", "libheapwright.so")
    if os.path.exists(ours):
        found[OURS] = ours
    return found


class Report:
    """What launch wrote of one run."""

    def __init__(self, report):
        status, user, system, self.peak_kib, self.faults = (int(word) for word in report.split())
        self.cpu_s = (user + system) / 1e6
        if status != 0:
            raise SystemExit("bench: the program ended with %d" % status)


def launched(row, library, what):
    """The report of one run, of its "time" or its "peak"."""
    with tempfile.NamedTemporaryFile(mode="r", prefix="heapwright-bench-") as report:
        try:
            row.run([workloads.launcher(), what, report.name, library])
        except subprocess.CalledProcessError as problem:
            raise SystemExit("bench: %s under %s: %s" % (row.name, library or "glibc", problem))
        try:
            return Report(report.read())
        except (SystemExit, ValueError) as problem:
            raise SystemExit("bench: %s under %s: %s" % (row.name, library or "glibc", problem))


def measure(row, library):
    """What a program costs, from two runs."""
    cost = launched(row, library, "time")
    cost.peak_kib = launched(row, library, "peak").peak_kib
    return cost


def measure_row(row, libraries, runs, one=measure):
    """Allocator -> list of its costs."""
    costs = {name: [] for name in libraries}
    for number in range(runs):
        names = list(libraries)
        for name in names if number % 2 == 0 else reversed(names):
            costs[name].append(one(row, libraries[name]))
    return costs


class Result:
    """The medians of one row."""

    def __init__(self, row, costs):
        self.name = row.name
        self.cpu_s = {name: statistics.median(c.cpu_s for c in costs[name]) for name in costs}
        self.peak = {name: statistics.median(c.peak_kib for c in costs[name]) for name in costs}
        self.spread = {name: (min(c.cpu_s for c in costs[name]), max(c.cpu_s for c in costs[name]))
                       for name in costs}
        self.faults = {name: statistics.median(c.faults for c in costs[name]) for name in costs}
        self.best_s = min(self.cpu_s.values())

    def cpu_ratio(self, name):
        return self.cpu_s[name] / self.best_s

    def peak_ratio(self, name):
        return self.peak[name] / self.peak["glibc"]

    def line(self):
        cells = []
        for name in self.cpu_s:
            least, most = (value / self.best_s for value in self.spread[name])
            cells.append("%.2f [%.2f-%.2f], %.2f" % (self.cpu_ratio(name), least, most,
                                                     self.peak_ratio(name)))
        return "| %s | %.2f | %.1f | %s |\n" % (self.name, self.best_s, self.peak["glibc"] / 1024,
                                                " | ".join(cells))


    def details(self):
        return "".join("%-14s %-14s %7.3f s %10.1f MiB %9d page faults\n" % (
            self.name, name, self.cpu_s[name], self.peak[name] / 1024, self.faults[name])
            for name in self.cpu_s)


def geometric_mean(values):
    return math.exp(sum(math.log(value) for value in values) / len(values))


def verdict(results, name):
    """The line of one allocator over all rows."""
    cells = []
    for ratio in (Result.cpu_ratio, Result.peak_ratio):
        ratios = {result.name: ratio(result, name) for result in results}
        over = sum(value > LIMIT for value in ratios.values())
        worst = max(ratios, key=ratios.get)
        cells.append("%.3f | %d | %s %.2f" % (geometric_mean(ratios.values()), over, worst,
                                              ratios[worst]))
    return "| %s | %s |\n" % (name, " | ".join(cells))


def results_text(title, results, names):
    text = ("## malloc: %s\n\n| program | best CPU s | glibc MiB | %s |\n|%s\n" % (
        title, " | ".join(names), " --- |" * (len(names) + 3)))
    text += "".join(result.line() for result in results)
    text += ("\n| all of them | CPU / best | over %.2f | worst | memory / glibc | over %.2f | worst |\n"
             "|%s\n" % (LIMIT, LIMIT, " --- |" * 7))
    return text + "".join(verdict(results, name) for name in names)


def startup_text(libraries, runs):
    row = workloads.Row("true", ["/bin/true"])
    measured = dict(libraries, empty=workloads.empty_library())
    costs = measure_row(row, measured, runs * STARTS, lambda row, library:
                        launched(row, library, "peak"))
    peak = {name: statistics.median(c.peak_kib for c in costs[name]) for name in costs}
    text = ("## malloc: start-up memory of true\n\nMedians of %d runs: where the loader puts a library "
            "decides how many pages of it come in with the\none that is touched.\n\n"
            "| preloaded | peak KiB | over an empty library, MiB |\n| --- | --- | --- |\n" %
            (runs * STARTS))
    for name in measured:
        kib = [cost.peak_kib for cost in costs[name]]
        over = [(value - peak["empty"]) / 1024 for value in (peak[name], min(kib), max(kib))]
        text += "| %s | %d [%d-%d] | %.2f [%.2f-%.2f] |\n" % (name, peak[name], min(kib), max(kib),
                                                            *over)
    return text


class Selection:
    """Which rows, allocators and how many runs; the standard is everything."""

    def __init__(self, runs, pattern="*", names=(), extra=(), details=False):
        self.runs = runs
        self.details = details
        self.pattern = pattern
        self.libraries = allocators()
        if names:
            missing = set(names) - set(self.libraries)
            if missing:
                raise SystemExit("bench: no allocator %s" % ", ".join(sorted(missing)))
            wanted = ["glibc"] + [name for name in names if name != "glibc"]
            self.libraries = {name: self.libraries[name] for name in wanted}
        self.libraries.update(extra)

    def rows(self, rows):
        return [row for row in rows if fnmatch.fnmatch(row.name, self.pattern)]


def group_text(selection, title, rows):
    """The tables of a group of rows; each row is printed to stderr as it is done."""
    results = []
    for row in selection.rows(rows):
        costs = measure_row(row, selection.libraries, selection.runs)
        results.append(Result(row, costs))
        sys.stderr.write(results[-1].details() if selection.details else results[-1].line())
    return results, results_text(title, results, selection.libraries) if results else ""


def selection_text(selection):
    own, text = group_text(selection, "own programs", workloads.own_rows())
    debian, more = group_text(selection, "programs of Debian", workloads.debian_rows())
    parts = [EXPLANATION, text, more]
    if own and debian:
        parts.append("## malloc: all programs\n\n" + results_text("", own + debian,
                     selection.libraries).partition("\n\n")[2].partition("\n\n")[2])
    if fnmatch.fnmatch("true", selection.pattern):
        parts.append(startup_text(selection.libraries, selection.runs))
    return "\n".join(part for part in parts if part)


def tables(runs):
    return selection_text(Selection(runs))
