# SPDX-License-Identifier: MIT
"""Conditions of tests about other processes: they hold, come to hold, or the test cannot run here."""
import sys
import time


def check(condition, text):
    if not condition:
        print("wrong: " + text)
        sys.exit(1)


def skip(reason):
    print(reason)
    sys.exit(77)


def wait_until(condition, text, seconds=120):
    """text may be a function: what is said about the last moment."""
    end = time.monotonic() + seconds
    while not condition():
        check(time.monotonic() < end, text() if callable(text) else text)
        time.sleep(0.002)


def status(pid, key):
    """A field of /proc/PID/status, as text; "" when the process is gone."""
    try:
        with open("/proc/%d/status" % pid) as lines:
            for line in lines:
                if line.startswith(key + ":"):
                    return line.split(":", 1)[1].strip()
    except (FileNotFoundError, ProcessLookupError):
        pass
    return ""
