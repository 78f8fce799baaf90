# SPDX-License-Identifier: MIT
"""Measures Guard Malloc against Electric Fence, and makes the tables of it.

Electric Fence runs twice: as it is, and with EF_PROTECT_FREE=1, which forbids freed blocks for good, as
Guard Malloc does. All three alternate within each round. Time is CPU, which the program itself tells.
"""
import glob
import os
import statistics
import subprocess

import measure
import workloads

ROOT = os.path.dirname(os.path.dirname(workloads.HERE))
PROMISED = 0.35
LIVE = [1, 100, 1000, 10000]
PAIRS = 20000
MILLION = 1000000


def run(library, pairs, live, variables):
    """Nanoseconds per pair and mappings; None when the program did not come to its end."""
    environment = dict(os.environ, LD_PRELOAD=library, **variables)
    done = subprocess.run([workloads.built("pairs"), str(pairs), str(live)], env=environment,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    words = done.stdout.split()
    if done.returncode != 0 or len(words) != 2:
        return None
    return float(words[0]), int(words[1])


def staged_library():
    return os.path.join(os.environ.get("STAGE", os.path.join(ROOT, "build", "stage")), "lib",
                        "libgmalloc.so")


def peers(library):
    if not os.path.exists(library):
        raise SystemExit("bench: no %s; build first" % library)
    fences = glob.glob("/usr/lib/libefence.so.0") + glob.glob("/usr/lib/*-linux-gnu/libefence.so.0")
    if not fences:
        raise SystemExit("bench: no Electric Fence here (Debian package electric-fence)")
    quiet = {"EF_DISABLE_BANNER": "1"}
    return {"Guard Malloc": (library, {}), "Electric Fence": (fences[0], quiet),
            "Electric Fence, freed forbidden": (fences[0], dict(quiet, EF_PROTECT_FREE="1"))}


def pair_rows(contenders, runs):
    for live in LIVE:
        found = {name: [] for name in contenders}
        for i in range(runs):
            order = list(contenders)
            for name in order if i % 2 == 0 else reversed(order):
                result = run(contenders[name][0], PAIRS, live, contenders[name][1])
                if not result:
                    raise SystemExit("bench: the program failed under %s" % name)
                found[name].append(result[0] / 1000)
        ours = statistics.median(found["Guard Malloc"])
        ratios = [ours / statistics.median(found[name]) for name in list(contenders)[1:]]
        yield "| %d | %s | %s | <= %.2f |" % (
            live, " | ".join(measure.spread(values, "%.1f") for values in found.values()),
            " | ".join("%.2f" % ratio for ratio in ratios), PROMISED)


def live_row(name, library, variables):
    result = run(library, 0, MILLION, variables)
    if result:
        return "| %s | %d | %d |" % (name, MILLION, result[1])
    held, failed = 0, MILLION
    while failed - held > 500:
        tried = (held + failed) // 2
        held, failed = (tried, failed) if run(library, 0, tried, variables) else (held, tried)
    return "| %s | about %d, then the program ends | |" % (name, held)


def tables(runs, library=""):
    contenders = peers(library or staged_library())
    names = list(contenders)
    lines = ["## Guard Malloc: microseconds of CPU for a malloc and a free", "",
             "| live blocks | %s | / Electric Fence | / with freed forbidden | promised |"
             % " | ".join(names), "| --- " * 7 + "|"]
    lines += pair_rows(contenders, runs)
    lines += ["", "## Guard Malloc: live blocks with vm.max_map_count at %s"
              % open("/proc/sys/vm/max_map_count").read().strip(), "",
              "| library | live blocks | mappings |", "| --- | --- | --- |"]
    lines += [live_row(name, *contenders[name]) for name in names[:2]]
    return "\n".join(lines) + "\n"
