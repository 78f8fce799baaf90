# SPDX-License-Identifier: MIT
"""Victims and looks at them, for the tests of this folder. Programs come from the Meson build."""
import json
import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "planted"))
from watching import check, skip, status, wait_until  # noqa: E402, F401

FOLDER = os.path.join(os.environ["BUILD"], "tests/target")
LOOK = os.path.join(FOLDER, "look")
VICTIM = os.path.join(FOLDER, "victim")


class Victim:
    """A running victim; `said` are the lines that it printed before it was ready."""

    def __init__(self, *arguments, prefix=(), **options):
        self.process = subprocess.Popen([*prefix, VICTIM, *arguments], stdout=subprocess.PIPE,
                                        stdin=subprocess.DEVNULL, text=True, **options)
        self.pid = self.process.pid
        self.said = []
        for line in self.process.stdout:
            if line.strip() == "ready":
                return
            self.said.append(line.split())
        raise AssertionError("the victim ended with status %d" % self.process.wait())

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if self.process.poll() is None:
            os.kill(self.pid, signal.SIGCONT)
            self.process.kill()
        self.process.wait()

    def end(self):
        """Asks the victim to end and returns what it has to say."""
        self.process.terminate()
        return self.process.communicate(timeout=120)[0].strip()


def look(target, *words, prefix=()):
    run = subprocess.run([*prefix, LOOK, str(target), *words], stdout=subprocess.PIPE,
                         stdin=subprocess.DEVNULL, timeout=120)
    assert run.returncode in (0, 2), "look ended with status %d" % run.returncode
    return json.loads(run.stdout.decode("utf-8", "replace"))


def state(pid):
    return status(pid, "State")[:1]
