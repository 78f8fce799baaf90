# SPDX-License-Identifier: MIT
"""Attaches to running programs and looks whether anything of it is left, for the tests of this folder."""
import os
import random
import re
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "planted"))
from watching import check, skip, status, wait_until  # noqa: E402

FOLDER = os.path.join(os.environ["BUILD"], "tests/record")
STAGE = os.environ["STAGE"]
ATTACH = os.path.join(FOLDER, "attach")
LOOP = os.path.join(FOLDER, "attach_loop")
HEAPWRIGHT = os.path.join(STAGE, "bin/heapwright")
LIBRARY = os.path.join(STAGE, "lib/heapwright/librecord.so")
SECONDS = 120


def living(pid):
    """A thread whose directory in /proc shows the memory: a main thread that has ended has none."""
    if status(pid, "State")[:1] == "Z":
        for tid in sorted(int(name) for name in threads(pid)):
            if status(tid, "State")[:1] not in ("Z", ""):
                return tid
    return pid


def maps(pid):
    with open("/proc/%d/maps" % living(pid)) as text:
        return text.read().splitlines()


def threads(pid):
    return set(os.listdir("/proc/%d/task" % pid))


def descriptors(pid):
    return set(os.listdir("/proc/%d/fd" % living(pid)))


def read_memory(pid, address, size):
    with open("/proc/%d/mem" % living(pid), "rb", 0) as memory:
        memory.seek(address)
        return memory.read(size)


def changed_code(pid):
    """Files whose code in the process is not that of the file (relocations in code: none on x86-64)."""
    found = []
    for line in maps(pid):
        words = line.split(None, 5)
        if len(words) < 6 or words[1][:3] != "r-x" or not words[5].startswith("/"):
            continue
        start, end = (int(word, 16) for word in words[0].split("-"))
        if "librecord.so" in words[5] or "memfd:" in words[5]:
            continue
        path = "/proc/%d/root%s" % (living(pid), words[5])
        # Of a program under another root the kernel tells us the path as we see it.
        with open(path if os.path.exists(path) else words[5], "rb") as file:
            file.seek(int(words[2], 16))
            there = file.read(end - start)
        if read_memory(pid, start, len(there)) != there:
            found.append(words[5])
    return found


class Program:
    """A program that runs until it is told to end; it says "ready" first when it is one of ours."""

    def __init__(self, *words, ready=True, prefix=(), **options):
        self.process = subprocess.Popen([*prefix, *words], stdout=subprocess.PIPE,
                                        **{"stdin": subprocess.DEVNULL, "text": True, **options})
        self.pid = self.process.pid
        if ready:
            line = self.process.stdout.readline()
            check(line == "ready\n", "the program says %r" % line)
        self.start = None

    def remember(self):
        self.start = (threads(self.pid), descriptors(self.pid))

    def check_left_alone(self, mapped=True):
        """Nothing of ours runs in it, no code is changed, and it goes on."""
        if self.process.poll() is not None:
            check(False, "the program ended with status %d" % self.process.returncode)
        wait_until(lambda: not changed_code(self.pid),
                   lambda: "changed code in %s" % changed_code(self.pid))
        wait_until(lambda: status(living(self.pid), "TracerPid") == "0", "it is still traced")
        wait_until(lambda: status(living(self.pid), "State")[:1] in "RSD",
                   lambda: "it is in state " + status(living(self.pid), "State"))
        if mapped:
            wait_until(lambda: not any("memfd:heapwright-record" in line for line in maps(self.pid)),
                       lambda: "the recorder's memory is still mapped (%s)" %
                       status(self.pid, "State"))
        if self.start:
            wait_until(lambda: threads(self.pid) == self.start[0], "it has other threads")
            # While a library is loaded, and nothing was changed yet, its file is open.
            wait_until(lambda: descriptors(self.pid) == self.start[1], "it has other descriptors")

    def end(self, expected=0):
        """Asks it to end, as it would without us."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        said = self.process.communicate(timeout=SECONDS)[0]
        check(self.process.returncode == expected,
              "it ended with status %d: %s" % (self.process.returncode, said))
        return said

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if self.process.poll() is None:
            os.kill(self.pid, signal.SIGCONT)
            self.process.kill()
        self.process.wait()


def attach_often(pid, times):
    """Gets in and out; the longest stop in ms. The program must take it."""
    run = subprocess.run([ATTACH, str(pid), LIBRARY, "times", str(times)], text=True,
                         stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=600)
    check(run.returncode == 0, "attach ended with %d: %s" % (run.returncode, run.stdout[-500:]))
    outs = [line for line in run.stdout.splitlines() if line.startswith("out ")]
    check(len(outs) == times, "%d of %d times" % (len(outs), times))
    return max(int(re.search(r"stopped_us=(\d+)", line).group(1)) for line in outs) / 1000


def refusal(pid, *words):
    """Why a process is not recorded."""
    run = subprocess.run([ATTACH, str(pid), LIBRARY, *words], text=True, stdout=subprocess.PIPE,
                         stdin=subprocess.DEVNULL, timeout=SECONDS)
    check(run.stdout.startswith("refused: "), "it is not refused: %s" % run.stdout)
    return run.stdout[len("refused: "):].strip()


class Recording:
    """`heapwright record PID` once it records."""

    def __init__(self, pid, log, *options, prefix=()):
        self.log = log
        to = ["-o", log] if log else []  # lite mode writes none
        self.tool = subprocess.Popen([*prefix, HEAPWRIGHT, "record", *options, *to, str(pid)],
                                     stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        self.said = self.tool.stderr.readline()

    def runs(self):
        return self.said.startswith("heapwright record: recording process")

    def must_run(self):
        check(self.runs(), "the tool says " + self.said)
        return self

    def children(self):
        """{name: pid} of the guardian and the collector."""
        found = {}
        for pid in open("/proc/%d/task/%d/children" % (self.tool.pid, self.tool.pid)).read().split():
            found[status(int(pid), "Name")] = int(pid)
        return found

    def interrupt(self):
        self.tool.send_signal(signal.SIGINT)
        return self.wait()

    def wait(self):
        self.said += self.tool.stderr.read()
        self.tool.stderr.close()
        return self.tool.wait(timeout=SECONDS)


class Killer:
    """Kills tool, guardian, collector or all of them at random moments of a recording, from its start on."""

    def __init__(self, program, folder):
        self.program, self.folder, self.counts = program, folder, {}
        began = time.monotonic()
        recording = Recording(program.pid, os.path.join(folder, "unharmed")).must_run()
        self.whole = time.monotonic() - began
        check(recording.interrupt() == 0, "the tool says " + recording.said)
        program.remember()

    def children(self, tool):
        try:
            with open("/proc/%d/task/%d/children" % (tool.pid, tool.pid)) as text:
                return [int(word) for word in text.read().split()]
        except FileNotFoundError:
            return []

    def kill(self, tool, whom):
        tool.send_signal(signal.SIGSTOP)  # it must not start another guardian meanwhile
        children = self.children(tool)
        names = {"guardian": "heapwright-att", "collector": "hw-collector"}
        for pid in children:
            if whom == "all" or status(pid, "Name") == names.get(whom):
                os.kill(pid, signal.SIGKILL)
        if whom in ("tool", "all"):
            tool.kill()
        tool.send_signal(signal.SIGCONT)
        return children

    def once(self, number):
        whom = random.choice(("tool", "guardian", "collector", "all"))
        log = os.path.join(self.folder, "killed%d" % (number % 4))
        tool = subprocess.Popen([HEAPWRIGHT, "record", "-o", log, str(self.program.pid)], stdin=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(random.random() * self.whole * 2)
        helpers = self.kill(tool, whom)
        if tool.poll() is None:
            tool.send_signal(signal.SIGINT)
        tool.wait(timeout=SECONDS)
        # Nobody may be left to get out, and a thread that works for the recorder end its call only now.
        for _ in range(4 if whom == "all" else 0):
            subprocess.run([HEAPWRIGHT, "record", "-detach", str(self.program.pid)], check=False,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=SECONDS)
            time.sleep(0.05)
        self.program.check_left_alone()
        for pid in helpers:
            wait_until(lambda: status(pid, "State")[:1] in ("", "Z"), "a helper of a killed tool stays")
        self.counts[whom] = self.counts.get(whom, 0) + 1

    def often(self, times):
        for number in range(times):
            self.once(number)
        return ", ".join("%s %d" % pair for pair in sorted(self.counts.items()))


def history(log, *words):
    """The answer of malloc_history about a log, as text."""
    run = subprocess.run([os.path.join(STAGE, "bin/malloc_history"), log, *words], text=True,
                         stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=SECONDS)
    # 2: not everything is known, as in a recording that began when the program ran already.
    check(run.returncode in (0, 2), "malloc_history ended with %d" % run.returncode)
    return run.stdout


def event_count(log):
    found = re.search(r"Recorded: .* (\d+) events", history(log, "-callTree"))
    check(found, "malloc_history does not say how many events there are")
    return int(found.group(1))


def need_attach():
    with Program(LOOP, "1") as program:
        run = subprocess.run([ATTACH, str(program.pid), LIBRARY, "times", "1"], text=True,
                             stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=SECONDS)
        if "64-bit x86" in run.stdout or "no right" in run.stdout:
            skip(run.stdout.strip())
