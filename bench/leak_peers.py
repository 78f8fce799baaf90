# SPDX-License-Identifier: MIT
"""Leaks of a running program as Heapwright, valgrind and LSan count them, for bench/compare-leaks.

Each meter wraps the start of a program (`command`, `environment`) and then counts at the moment
when it is asked (`count`), while the program sits and waits. No meter ends the program.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "tests", "planted"))
import planted  # noqa: E402  needs the path above

CHECK_SIGNAL = 40
ANSWER_S = 60
HOOK_SOURCE = os.path.join(HERE, "programs", "check_on_signal.c")


class Count:
    """addresses: of the leaked blocks, None where the meter does not tell them."""

    def __init__(self, blocks, size_bytes, addresses=None, note=""):
        self.blocks = blocks
        self.size_bytes = size_bytes
        self.addresses = addresses
        self.note = note

    def __str__(self):
        text = "%d blocks, %d bytes" % (self.blocks, self.size_bytes) if self.blocks else "0"
        return text + (" (%s)" % self.note if self.note else "")


class Meter:
    name = ""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="compare-")
        # Some programs run as another user.
        os.chmod(self.folder, 0o777)
        self.details = ""

    def close(self):
        shutil.rmtree(self.folder)

    def skip_unless_usable(self):
        pass

    def program(self, name):
        """Builds a planted program."""
        return planted.build(name)

    def accept_foreign(self):
        """What is started next is a program that cannot be built anew."""

    def command(self, command):
        return command

    def environment(self, environment):
        return environment


class Heapwright(Meter):
    name = "leaks"

    def count(self, pid):
        answer = planted.run_tool("leaks", pid)
        if answer.status not in (0, 1):
            raise planted.Failure("leaks: " + answer.about())
        sizes = {int(leak["address"], 16): leak["size_bytes"] for leak in answer.document["leaks"]}
        self.details = answer.output
        return Count(len(sizes), sum(sizes.values()), sizes)


class HeapwrightFilled(Heapwright):
    """
    The same where malloc fills what it hands out: stale words in blocks that a program got and
    has not written to hold nothing then. The peers' own malloc has the same effect.
    """
    name = "leaks, blocks filled"

    def environment(self, environment):
        return dict(environment, G_SLICE="always-malloc", GLIBC_TUNABLES="glibc.pthread.rseq=0:"
                    "glibc.malloc.perturb=165:glibc.malloc.tcache_count=0")


def number(text):
    return int(text.replace(",", ""))


class Valgrind(Meter):
    """memcheck, asked through vgdb; counts the bytes that were requested."""
    name = "valgrind"
    with_blocks = True

    def skip_unless_usable(self):
        planted.skip_unless("valgrind")
        planted.skip_unless("vgdb")

    def command(self, command):
        return ["valgrind", "--leak-check=no", "--undef-value-errors=no", "--vgdb=yes",
                "--vgdb-prefix=%s/vgdb" % self.folder, "--log-file=%s/log.%%p" % self.folder,
                "--num-callers=12", "--trace-children=yes", "--max-threads=2000",
                *command]

    def ask(self, pid, *words):
        """Says a monitor command to the valgrind of this process."""
        try:
            done = subprocess.run(["vgdb", "--vgdb-prefix=%s/vgdb" % self.folder,
                                   "--pid=%d" % pid, *words], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                  timeout=ANSWER_S)
        except subprocess.TimeoutExpired:
            raise planted.Failure("vgdb does not get through to it")
        return done.stdout

    def lost_blocks(self, pid):
        """Sizes by address, of the loss records that the last full check numbered."""
        numbers = re.findall(r"(?:definitely|indirectly) lost in loss record (\d+)", self.details)
        lists = [self.ask(pid, "block_list", number, "unlimited") for number in numbers]
        return {int(address, 16): int(size) for text in lists for address, size in
                re.findall(r"^==\d+== (0x[0-9A-F]+)\[(\d+)\]", text, re.M)}

    def count(self, pid):
        self.details = self.ask(pid, "leak_check", "full", "kinds", "definite,indirect,possible",
                                "any")
        summary = self.ask(pid, "leak_check", "summary", "any")
        self.details += summary
        found = dict((kind, (number(blocks), number(size))) for kind, size, blocks in re.findall(
            r"(\w+) lost: ([\d,]+).*? bytes in ([\d,]+)", summary))
        if not found and "no leaks are possible" not in summary:
            raise planted.Failure("no answer of valgrind:\n" + summary[-1500:])
        lost = [found.get(kind, (0, 0)) for kind in ("definitely", "indirectly")]
        possible = found.get("possibly", (0, 0))[0]
        return Count(sum(blocks for blocks, _ in lost), sum(size for _, size in lost),
                     self.lost_blocks(pid) if self.with_blocks else None,
                     note="and %d possibly" % possible if possible else "")

    def accept_foreign(self):
        self.with_blocks = False


class Lsan(Meter):
    """LSan of gcc, linked in for planted programs, preloaded for others."""
    name = "LSan"

    def __init__(self):
        super().__init__()
        self.preload = []

    def skip_unless_usable(self):
        planted.skip_unless("cc")
        self.library = subprocess.run(["cc", "-print-file-name=liblsan.so"],
                                      stdout=subprocess.PIPE, text=True).stdout.strip()
        if not os.path.isabs(self.library):
            raise planted.Skip("gcc has no LSan")

    def program(self, name):
        command, _ = planted.compile_command(name, "", None)
        program = os.path.join(self.folder, name)
        subprocess.run(command + [self.hook_object(), "-fsanitize=leak", "-o", program, "-lrt",
                                  "-ldl"], check=True)
        return program

    def hook_object(self):
        hook = os.path.join(self.folder, "hook.o")
        subprocess.run(["cc", "-O2", "-c", "-o", hook, HOOK_SOURCE], check=True)
        return hook

    def accept_foreign(self):
        hook = os.path.join(self.folder, "hook.so")
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", hook, HOOK_SOURCE, self.library],
                       check=True)
        self.preload = [self.library, hook]

    def environment(self, environment):
        options = "leak_check_at_exit=0:report_objects=1:max_leaks=0:malloc_context_size=12:" \
            "log_path=%s/log" % self.folder
        added = {"LSAN_OPTIONS": options, "CHECK_DONE": os.path.join(self.folder, "done")}
        if self.preload:
            added["LD_PRELOAD"] = ":".join(self.preload)
        return dict(environment, **added)

    def count(self, pid):
        os.kill(pid, CHECK_SIGNAL)
        done = os.path.join(self.folder, "done")
        deadline = time.monotonic() + ANSWER_S
        while not os.path.exists(done) or not os.path.getsize(done):
            if time.monotonic() > deadline:
                raise planted.Failure("no answer of LSan")
            time.sleep(0.01)
        log = os.path.join(self.folder, "log.%d" % pid)
        if not os.path.exists(log):
            return Count(0, 0, {})
        with open(log) as text:
            self.details = text.read()
        if "LeakSanitizer has encountered a fatal error" in self.details:
            raise planted.Failure(self.details)
        sizes = {int(address, 16): int(size) for address, size in
                 re.findall(r"^(0x[0-9a-f]+) \((\d+) bytes\)", self.details, re.M)}
        total = re.search(r"SUMMARY: .*?(\d+) byte\(s\) leaked in (\d+) alloc", self.details)
        return Count(int(total.group(2)), int(total.group(1)), sizes)
