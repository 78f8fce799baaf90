# SPDX-License-Identifier: MIT
"""docs/benchmarks.md: one section of tables for each benchmark, with the date and the machine."""
import datetime
import os
import platform

PATH = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "docs",
                    "benchmarks.md")
HEADING = "# Benchmarks: "


def machine():
    model = "unknown processor"
    with open("/proc/cpuinfo") as lines:
        for line in lines:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return "%s, %d CPUs, Linux %s, load %.1f" % (model, os.cpu_count(), platform.release(),
                                                 os.getloadavg()[0])


def section(name, tables, runs=0):
    """runs is 0 where there is nothing to take the median of."""
    how = " Medians of %d alternating runs, spread in brackets." % runs if runs else ""
    return "%s%s\n\n%s; %s.%s\n\n%s" % (HEADING, name, datetime.date.today().isoformat(), machine(),
                                      how, tables)


def replace(name, text):
    """Puts the section of a benchmark in the place of its old one, or at the end."""
    with open(PATH) as document:
        parts = ("\n" + document.read()).split("\n" + HEADING)
    sections = {part.partition("\n")[0]: HEADING + part.strip() + "\n" for part in parts[1:]}
    sections[name] = text
    with open(PATH, "w") as document:
        document.write("\n".join(sections.values()))
