# SPDX-License-Identifier: MIT
"""Victims and looks at them, for the tests of this folder. Programs come from the Meson build."""
import json
import os
import signal
import subprocess
import sys
import time

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
        return self.process.communicate(timeout=60)[0].strip()


def look(target, *words, prefix=()):
    run = subprocess.run([*prefix, LOOK, str(target), *words], stdout=subprocess.PIPE,
                         stdin=subprocess.DEVNULL, timeout=120)
    assert run.returncode in (0, 2), "look ended with status %d" % run.returncode
    return json.loads(run.stdout.decode("utf-8", "replace"))


def status(pid, key):
    """A field of /proc/PID/status, as text."""
    with open("/proc/%d/status" % pid) as lines:
        for line in lines:
            if line.startswith(key + ":"):
                return line.split(":", 1)[1].strip()
    return ""


def state(pid):
    return status(pid, "State")[:1]


def wait_until(condition, text, seconds=30):
    """What a look set going again needs a moment to get there on a busy machine."""
    end = time.monotonic() + seconds
    while not condition():
        check(time.monotonic() < end, text)
        time.sleep(0.001)


def check(condition, text):
    if not condition:
        print("wrong: " + text)
        sys.exit(1)


def skip(reason):
    print(reason)
    sys.exit(77)
