# SPDX-License-Identifier: MIT
"""Runs the crimes of this folder under the modes of the malloc library. Used by test-crimes and
test-programs."""
import os
import re
import subprocess
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
STAGE = os.environ.get("STAGE", os.path.join(HERE, "../../build/stage"))
LIBRARY = os.path.join(STAGE, "lib/libheapwright.so")
GUARD = os.path.join(STAGE, "lib/libgmalloc.so")

CHECK_EACH = {"MallocCheckHeapStart": "0", "MallocCheckHeapEach": "1", "MallocCheckHeapSleep": "0"}

# Name of the mode, what is preloaded, variables.
MODES = {
    "plain": (LIBRARY, {}),
    "scribble": (LIBRARY, {"MallocScribble": "1", "MallocPreScribble": "1"}),
    "guard edges": (LIBRARY, {"MallocGuardEdges": "all"}),
    "edges": (LIBRARY, {"MallocCheckEdges": "1"}),
    "heap check": (LIBRARY, CHECK_EACH),
    "Guard Malloc": (GUARD, {}),
    "Guard Malloc, before": (GUARD, {"MALLOC_PROTECT_BEFORE": "1"}),
}

# What a run that found nothing writes all the same.
NOT_A_FINDING = re.compile(r"PASSED check at operation|^GuardMalloc\[\S+\]: ")


class Run:
    """One finished run: status as of a shell, standard error, whether it complained."""

    def __init__(self, command, mode, timeout_s=120, **more):
        library, variables = MODES[mode]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("Malloc")}
        environment.update(variables, LD_PRELOAD=library, **more)
        done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout_s)
        self.status = done.returncode
        self.stdout = done.stdout
        self.stderr = done.stderr.decode("utf-8", "replace")

    def findings(self):
        return [line for line in self.stderr.splitlines() if not NOT_A_FINDING.search(line)]


def compile_all(folder):
    """Compiles every crime; returns {name: program}."""
    programs = {}
    for source in sorted(os.listdir(HERE)):
        name, extension = os.path.splitext(source)
        if extension != ".c":
            continue
        programs[name] = os.path.join(folder, name)
        subprocess.run(["cc", "-O1", "-g", "-fno-builtin", "-w", "-pthread", "-o", programs[name],
                        os.path.join(HERE, source)], check=True)
    return programs


def scratch_folder():
    return tempfile.TemporaryDirectory(prefix="heapwright-crimes-")
