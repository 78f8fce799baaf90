# SPDX-License-Identifier: MIT
"""Builds and runs planted programs, reads their truth, and holds a tool's answer against it.

Used by `drive` and by the tests of tests/live and tests/soak. Relies on the environment that
scripts/run-tests sets (SRC, BUILD, STAGE) and on nothing of the tools' own code.
"""
import contextlib
import ctypes
import glob
import json
import os
import re
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time

SRC = os.environ.get("SRC") or os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
BUILD = os.environ.get("BUILD") or os.path.join(SRC, "build")
STAGE = os.environ.get("STAGE") or os.path.join(BUILD, "stage")
PROGRAMS = os.path.join(SRC, "tests", "planted")

# An answer that has not come after this long never will; nothing is asserted about time.
PATIENCE_S = 120
SKIPPED = 77

PR_SET_CHILD_SUBREAPER = 36

# How leaks is told to read a live target.
LIVE_OPTIONS = {"live": [], "no-inject": ["--no-inject"], "clone": ["--clone"]}


class Skip(Exception):
    """The test cannot run here; the text says why."""


class Failure(Exception):
    """Something a user relies on does not hold; the text says what."""


def skip_unless(command):
    if not shutil.which(command):
        raise Skip("%s is not installed" % command)


def main(test):
    """Runs a test function and turns its exceptions into the statuses of scripts/run-tests."""
    try:
        test()
    except Skip as reason:
        print("skipped: %s" % reason)
        sys.exit(SKIPPED)
    except Failure as failure:
        print(failure)
        sys.exit(1)
    sys.exit(0)


# Building

def newest_change(paths):
    return max(os.path.getmtime(path) for path in paths)


def compile_command(name, flavour, suite):
    """flavour: "" for a plain dynamic program, or "static" or "static-pie"; suite: a Glibc."""
    source = glob.glob(os.path.join(PROGRAMS, name + ".c*"))[0]
    command = ["c++" if source.endswith(".cpp") else "cc", "-O2", "-pthread"]
    if flavour:
        command += ["-" + flavour, "-DPLANT_STATIC"]
    if name == "tls_library":
        command += ["-shared", "-fPIC", "-fvisibility=hidden"]
    if suite:
        command += suite.compile_flags(flavour)
    return command + [source], source


def build(name, flavour="", suite=None, archive=None):
    """Returns the path of the stripped program, built when its source (or our archive) is newer."""
    folder = os.path.join(BUILD, "planted", suite.name if suite else "host", flavour or "plain",
                          *["own-malloc"] * bool(archive))
    program = os.path.join(folder, name)
    command, source = compile_command(name, flavour, suite)
    header = os.path.join(PROGRAMS, "plant.h")
    sources = [source, header] + [archive] * bool(archive)
    if os.path.exists(program) and newest_change([program]) > newest_change(sources):
        return program
    os.makedirs(folder, exist_ok=True)
    # Tests run side by side: the finished program appears in one step.
    unfinished = "%s.%d" % (program, os.getpid())
    if archive:
        command += [archive]
    result = subprocess.run(command + ["-s", "-o", unfinished, "-lrt", "-ldl"],
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if result.returncode:
        raise Failure("%s does not compile:\n%s" % (name, result.stdout))
    os.rename(unfinished, program)
    return program


# Truth

class Block:
    def __init__(self, words):
        self.kind = " ".join(words[:2]) if words[0] == "leak" else words[0]
        rest = words[2:] if words[0] == "leak" else words[1:]
        self.address = int(rest[0], 16)
        self.size_bytes = int(rest[1])
        self.root = int(rest[2], 16) if len(rest) > 2 and rest[2].startswith("0x") else None
        self.why = " ".join(rest[2:])

    def __str__(self):
        return "%s 0x%x %d %s" % (self.kind, self.address, self.size_bytes, self.why)


def read_truth(path):
    """Blocks by address; a later line about the same address replaces an earlier one."""
    with open(path) as lines:
        blocks = [Block(line.split()) for line in lines]
    return {block.address: block for block in blocks}


# The target

class Target:
    """A running program that answers commands on stdin; ends with the `with` block."""

    def __init__(self, command, env=None, before_exec=None, cwd=None, stderr=None):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=stderr, bufsize=0, env=env, cwd=cwd,
                                        preexec_fn=before_exec)
        self.pid = self.process.pid
        self.name = os.path.basename(command[0])
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.stop()

    def read_line(self):
        deadline = time.monotonic() + PATIENCE_S
        while b"\n" not in self.buffer:
            ready, _, _ = select.select([self.process.stdout], [], [],
                                        max(0, deadline - time.monotonic()))
            if not ready:
                raise Failure("the target (pid %d) does not answer; state %s" %
                              (self.pid, task_state(self.pid)))
            more = os.read(self.process.stdout.fileno(), 4096)
            if not more:
                raise Failure("the target (pid %d) has ended: %s" %
                              (self.pid, self.process.wait()))
            self.buffer += more
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line.decode("utf-8", "replace")

    def wait_ready(self):
        while True:
            line = self.read_line()
            if line.startswith("pid "):
                self.pid = int(line[4:])
            if line == "ready":
                return

    def ask(self, command):
        try:
            self.process.stdin.write(command.encode() + b"\n")
        except BrokenPipeError:
            raise Failure("the target (pid %d) has ended: %s" % (self.pid, self.process.wait()))
        return self.read_line()

    def stop(self):
        self.process.kill()
        if self.pid != self.process.pid:
            try:
                os.kill(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


def own_malloc(library="libheapwright.so"):
    path = os.path.join(STAGE, "lib", library)
    if not os.path.exists(path):
        raise Skip("%s is not staged" % path)
    return path


def start_planted(program, truth, suite=None, env=None, before_exec=None, cwd=None):
    library = []
    if os.path.basename(program) == "threads" and "/plain/" in program:
        library = [build("tls_library", "", suite)]
    command = [program, truth] + library
    # The kernel writes the current CPU into glibc's rseq area, which would look like a change.
    env = dict(env or os.environ, GLIBC_TUNABLES="glibc.pthread.rseq=0")
    target = Target(command, env, before_exec, cwd)
    try:
        target.wait_ready()
        wait_until_asleep(target.pid)
    except BaseException:
        target.stop()
        raise
    return target


# What can be seen of a process from outside

STEADY_FIELDS = ("TracerPid", "Threads", "SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt", "Uid",
                 "Gid", "Seccomp", "NoNewPrivs", "FDSize")


def status_fields(pid):
    with open("/proc/%d/status" % pid) as lines:
        return dict(line.rstrip("\n").split(":\t", 1) for line in lines if ":\t" in line)


def task_state(pid):
    try:
        return status_fields(pid)["State"]
    except OSError:
        return "gone"


def children_of(pid):
    found = []
    for path in glob.glob("/proc/%d/task/*/children" % pid):
        with open(path) as text:
            found += [int(word) for word in text.read().split()]
    return sorted(found)


def read_maps(pid):
    """(start, end, permissions, file) of each mapping."""
    with open("/proc/%d/maps" % pid) as lines:
        for line in lines:
            words = line.split(None, 5)
            start, end = (int(word, 16) for word in words[0].split("-"))
            yield start, end, words[1], words[5].strip() if len(words) > 5 else ""


def stack_pointers(pid):
    """The sp of each sleeping task; None when one runs or the kernel does not tell."""
    pointers = []
    for path in glob.glob("/proc/%d/task/*/syscall" % pid):
        try:
            with open(path) as text:
                words = text.read().split()
        except OSError:
            return None
        if len(words) < 3:
            return None
        pointers.append(int(words[-2], 16))
    return pointers


restless = set()


def wait_until_asleep(pid):
    """
    Right after its last word a target may still be on the way into its next read. One that has
    not come to rest the first time never will, and is not waited for again.
    """
    deadline = time.monotonic() + PATIENCE_S / 24
    while pid not in restless and stack_pointers(pid) is None:
        if time.monotonic() > deadline:
            restless.add(pid)
        time.sleep(0.001)


DEAD_STACK_BYTES = 64 * 1024
COMPARED_BYTES_MAX = 96 << 20


def read_range(memory, start, end):
    """A guard page inside a mapping (glibc 2.42's thread stacks) reads as nothing."""
    try:
        memory.seek(start)
        return memory.read(end - start)
    except OSError:
        if end - start <= 4096:
            return b""
        middle = (start + end) // 8192 * 4096
        return read_range(memory, start, middle) + read_range(memory, middle, end)


def memory_digest(pid):
    """Hash of each writable mapping but the dead parts of stacks; None when that is too much."""
    pointers = stack_pointers(pid)
    writable = [m for m in read_maps(pid) if m[2].startswith("rw")]
    if pointers is None or len(pointers) > 50:
        return None
    if sum(end - start for start, end, _, _ in writable) > COMPARED_BYTES_MAX:
        return None
    digest = {}
    with open("/proc/%d/mem" % pid, "rb", buffering=0) as memory:
        for start, end, _, name in writable:
            content = bytearray(read_range(memory, start, end))
            for pointer in pointers:
                low, high = max(start, pointer - DEAD_STACK_BYTES), min(end, pointer)
                if low < high:
                    content[low - start:high - start] = bytes(high - low)
            digest["%x-%x %s" % (start, end, name)] = hash(bytes(content))
    return digest


class Look:
    """What must be the same before and after a look at a target that waits."""

    def __init__(self, pid, with_memory=True):
        wait_until_asleep(pid)
        fields = status_fields(pid)
        self.state = fields["State"].split()[0]
        self.facts = {name: fields.get(name) for name in STEADY_FIELDS}
        self.facts["children"] = children_of(pid)
        self.facts["threads"] = sorted(os.listdir("/proc/%d/task" % pid))
        self.facts["descriptors"] = sorted(os.listdir("/proc/%d/fd" % pid))
        # A target that runs changes by itself.
        asleep = stack_pointers(pid) is not None
        self.facts["maps"] = [m for m in read_maps(pid) if m[3] != "[stack]"] if asleep else None
        self.facts["memory"] = memory_digest(pid) if with_memory else None

    def differences(self, before):
        found = []
        for name, value in self.facts.items():
            old = before.facts[name]
            if value == old or name in ("maps", "memory") and None in (value, old):
                continue
            if isinstance(value, dict):
                changed = [key for key in {**old, **value} if old.get(key) != value.get(key)]
                found.append("%s differs in %s" % (name, changed))
                continue
            if isinstance(value, list):
                old, value = ([v for v in old if v not in value], [v for v in value if v not in old])
            found.append("%s was %s, is %s" % (name, old, value))
        if self.state != before.state and self.state not in "SRD":
            found.append("state was %s, is %s" % (before.state, self.state))
        return found


def become_subreaper():
    """Orphans come to us, so that no helper process of a tool can hide."""
    if ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise Skip("PR_SET_CHILD_SUBREAPER does not work here")


def reap_orphans(known):
    """Waits until no child but the known ones is left; names those that stay."""
    deadline = time.monotonic() + PATIENCE_S / 4
    while True:
        strange = [pid for pid in children_of(os.getpid()) if pid not in known]
        for pid in strange:
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                pass
        if not strange:
            return []
        if time.monotonic() > deadline:
            return ["process %d left over: %s, %s" % (pid, task_state(pid), command_line(pid))
                    for pid in strange]
        time.sleep(0.002)


def command_line(pid):
    try:
        with open("/proc/%d/cmdline" % pid, "rb") as text:
            return text.read().replace(b"\0", b" ").decode("utf-8", "replace")
    except OSError:
        return "gone"


# The tools

def tool_path(tool):
    path = os.path.join(STAGE, "bin", tool)
    if not os.path.exists(path):
        raise Failure("%s is not staged" % path)
    return path


@contextlib.contextmanager
def open_folder():
    """A folder where every user may enter, with the tools in it, which are the staged ones from then on. The
    tree they were staged in and TMPDIR may be closed to others."""
    global STAGE
    kept = STAGE, os.environ["PATH"]
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o777)
        STAGE = os.path.join(folder, "stage")
        shutil.copytree(kept[0], STAGE, symlinks=True)
        os.environ["PATH"] = os.path.join(STAGE, "bin") + ":" + kept[1]
        try:
            yield folder
        finally:
            STAGE, os.environ["PATH"] = kept


class Answer:
    def __init__(self, status, output, errors):
        self.status = status
        self.errors = errors
        self.output = output
        try:
            self.document = json.loads(output) if output.strip() else None
        except ValueError as error:
            raise Failure("no valid JSON: %s\n%s\n%s" % (error, output[:2000], errors))

    def about(self):
        return "status %s, stderr: %s" % (self.status, self.errors.strip()[:1500] or "empty")


def run_tool(tool, *arguments, **options):
    """Runs `TOOL --json ARGUMENTS`; kills and fails when there is no answer."""
    command = [tool_path(tool), "--json", *[str(a) for a in arguments]]
    with tempfile.TemporaryDirectory() as scratch:
        options.setdefault("env", dict(os.environ, TMPDIR=scratch))
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, cwd=scratch, timeout=PATIENCE_S,
                                  **options)
        except subprocess.TimeoutExpired:
            raise Failure("no answer within %d s: %s" % (PATIENCE_S, " ".join(command)))
        left = os.listdir(scratch)
    if left:
        raise Failure("%s left files: %s" % (tool, left))
    text = (done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace"))
    if done.returncode < 0:
        raise Failure("%s died of signal %d\n%s" % (tool, -done.returncode, text[1]))
    return Answer(done.returncode, *text)


def mentions(answer, blocks):
    """Whether the answer names the block or its header, which lies in the word before."""
    text = (answer.output + answer.errors).lower()
    places = [place for block in blocks for place in (block.address, block.root or 0)]
    return any("0x%x" % (place - back) in text for place in places for back in (0, 8, 16))


# Truth against answer

JSON_KIND = {"leak direct": "root_leak", "leak indirect": "indirect", "leak cycle": "root_cycle"}


class Comparison:
    def __init__(self, truth, leaks, from_core):
        self.truth = truth
        self.reported = {int(leak["address"], 16): leak for leak in leaks}
        self.doubled = len(leaks) - len(self.reported)
        self.expected = {a: b for a, b in truth.items() if b.kind.startswith("leak")}
        either = ("hidden", "damaged") + (("held",) if from_core else ())
        self.either = {a for a, b in truth.items() if b.kind in either}
        self.ring_of = {a: b.root for a, b in self.expected.items() if b.kind == "leak cycle"}

    def what_is(self, address):
        for block in self.truth.values():
            if block.address <= address < block.address + block.size_bytes:
                return str(block)
        return "a block that was not planted"

    def same_root(self, told, true_root):
        """Any member of a ring may stand for the ring."""
        return told == true_root or \
            told in self.ring_of and self.ring_of[told] == self.ring_of.get(true_root)

    def kind_problem(self, block, leak):
        kind = leak["kind"]
        root = int(leak.get("root") or "0", 16)
        if block.kind == "leak cycle":
            good = kind == "root_cycle" or kind == "indirect" and self.same_root(root, block.root)
        elif block.kind == "leak indirect":
            good = kind == "indirect" and self.same_root(root, block.root)
        else:
            good = kind == JSON_KIND[block.kind]
        return None if good else "wrong kind: %s reported as %s of root 0x%x" % (block, kind, root)

    def rings_without_leader(self):
        leaders = {ring for a, ring in self.ring_of.items()
                   if self.reported.get(a, {}).get("kind") == "root_cycle"}
        return sorted(set(self.ring_of.values()) - leaders)

    def problems(self):
        found = ["not reported: %s" % b for a, b in self.expected.items() if a not in self.reported]
        found += ["false report: 0x%x, %s bytes, %s; it is: %s" %
                  (a, leak["size_bytes"], leak["kind"], self.what_is(a))
                  for a, leak in self.reported.items()
                  if a not in self.expected and a not in self.either]
        for address, block in self.expected.items():
            leak = self.reported.get(address)
            if leak and leak["size_bytes"] != block.size_bytes:
                found.append("wrong size: %s reported with %s" % (block, leak["size_bytes"]))
            problem = self.kind_problem(block, leak) if leak else None
            found += [problem] if problem else []
        found += ["no block of the ring of 0x%x is a root_cycle" % r
                  for r in self.rings_without_leader()]
        if self.doubled:
            found.append("%d blocks reported twice" % self.doubled)
        return found


def check_answer(answer, truth, from_core):
    """Raises Failure unless the answer is the truth, all of it and nothing else."""
    document = answer.document
    if not document or "leaks" not in document:
        raise Failure("no list of leaks; " + answer.about())
    comparison = Comparison(truth, document["leaks"], from_core)
    problems = comparison.problems()
    damaged = [block for block in truth.values() if block.kind == "damaged"]
    allowed = {1} if document["leaks"] else {2} if damaged else {0}
    if damaged and not mentions(answer, damaged):
        problems.append("nothing said about the damage: %s" % damaged[0])
    if not damaged:
        problems += ["a fault of a heap that is whole: %s" % f for f in document["heap_faults"]]
    if answer.status not in allowed:
        problems.append("%s with %d leaks" % (answer.about(), len(document["leaks"])))
    for key in ("tool", "version", "target"):
        if key not in document:
            problems.append("the document has no %s" % key)
    if problems:
        shown = problems[:15] + ["... %d in all" % len(problems)] * (len(problems) > 15)
        raise Failure("\n".join(shown + [answer.about()]))
    return len(comparison.expected)


# Cores

def gdb_core(pid, folder):
    skip_unless("gcore")
    prefix = os.path.join(folder, "core")
    done = subprocess.run(["gcore", "-o", prefix, str(pid)], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    path = "%s.%d" % (prefix, pid)
    # The page of vsyscall can never be read; a stack with a guard page inside is lost as a whole.
    if any(int(size) > 65536 for size in re.findall(r"Memory read failed .* (\d+) bytes",
                                                    done.stdout)):
        raise Skip("this gdb cannot read mappings with guard pages inside (stacks of glibc 2.42, Guard Malloc)")
    if not os.path.exists(path):
        raise Skip("gcore gave no core: %s" % done.stdout.strip()[-300:])
    return path


def allow_kernel_core():
    resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def skip_unless_kernel_core():
    with open("/proc/sys/kernel/core_pattern") as text:
        pattern = text.read().strip()
    if not re.match(r"core", pattern):
        raise Skip("the kernel writes cores to %s" % pattern)


def kernel_core(target, folder):
    """Ends the target, which was started in this folder with allow_kernel_core."""
    os.kill(target.pid, signal.SIGABRT)
    target.process.wait()
    cores = glob.glob(os.path.join(folder, "core*"))
    if not cores:
        raise Skip("the kernel wrote no core")
    return cores[0]
