# SPDX-License-Identifier: MIT
"""The rows of the malloc benchmark: how each program is built, prepared and run.

A row's command is started by programs/launch under each allocator in turn. Rows of programs/ are
ours; the others are programs of Debian, run on the inputs in scripts/.
"""
import os
import shutil
import subprocess
import time

HERE = os.path.dirname(os.path.abspath(__file__))
SCRIPTS = os.path.join(HERE, "scripts")
PROGRAMS = os.path.join(HERE, "programs")
BUILD = os.path.join(os.path.dirname(os.path.dirname(HERE)), "build", "bench-malloc")
FLAGS = ["-std=gnu17", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Werror", "-fno-builtin",
         "-pthread"]


def newest(*paths):
    return max(os.stat(path).st_mtime for path in paths)


def built(name, *flags):
    """The path of programs/NAME.c compiled; compiles it when it has changed."""
    path = os.path.join(BUILD, name)
    source = os.path.join(PROGRAMS, name.split(".")[0] + ".c")
    sources = source, os.path.join(PROGRAMS, "common.h"), os.path.abspath(__file__)
    if not os.path.exists(path) or newest(path) < newest(*sources):
        os.makedirs(BUILD, exist_ok=True)
        subprocess.run(["gcc"] + FLAGS + list(flags) + ["-o", path, source], check=True)
    return path


def launcher():
    return built("launch", "-static")


def empty_library():
    return built("empty.so", "-shared", "-fPIC")


class Row:
    """One program with its arguments; stdin is the path of its input."""

    def __init__(self, name, command, stdin=os.devnull, **environment):
        self.name = name
        self.command = command
        self.stdin = stdin
        self.environment = environment

    def run(self, launch):
        """Runs the program as a child of launch, a list of words. Raises when it fails."""
        with open(self.stdin) as stdin:
            subprocess.run(launch + self.command, stdin=stdin, stdout=subprocess.DEVNULL,
                           env=dict(os.environ, **self.environment), check=True)


class Redis(Row):
    """A redis-server on a socket, with redis-benchmark as its client; the server is measured."""

    def __init__(self):
        self.socket = os.path.join(BUILD, "redis-%d.socket" % os.getpid())
        super().__init__("redis-server", [
            "redis-server", "--port", "0", "--unixsocket", self.socket, "--save", "",
            "--appendonly", "no", "--dir", BUILD])

    def load(self, *arguments):
        subprocess.run(["redis-benchmark", "-s", self.socket, "-P", "16", "-q"] + list(arguments),
                       stdout=subprocess.DEVNULL, check=True)

    def ask(self, *command):
        return subprocess.run(["redis-cli", "-s", self.socket] + list(command),
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False).stdout

    def run(self, launch):
        server = subprocess.Popen(launch + self.command, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.DEVNULL)
        while self.ask("ping") != b"PONG\n":
            if server.poll() is not None:
                raise SystemExit("bench: redis-server did not start")
            time.sleep(0.02)
        self.load("-n", "40000", "-r", "1000000", "lpush", "a", "1", "2", "3", "4", "5")
        self.load("-n", "200000", "-r", "100000", "-d", "100", "-t", "set,get")
        self.load("-n", "20000", "lrange", "a", "1", "5")
        self.ask("flushall")
        self.ask("shutdown", "nosave")
        if server.wait() != 0:
            raise SystemExit("bench: redis-server failed")


def compiler_row():
    """The compiler proper on a generated source; None where there is none."""
    cc1 = subprocess.run(["gcc", "-print-prog-name=cc1"], stdout=subprocess.PIPE,
                         check=True).stdout.decode().strip()
    source, script = os.path.join(BUILD, "generated.c"), os.path.join(SCRIPTS, "make-source")
    if not os.path.exists(source) or newest(source) < newest(script):
        os.makedirs(BUILD, exist_ok=True)
        with open(source, "w") as output:
            subprocess.run([script], stdout=output, check=True)
    return Row("cc1 -O0", [cc1, "-quiet", "-O0", "-fpreprocessed", "-w", source, "-o", os.devnull])


def script(name):
    return os.path.join(SCRIPTS, name)


def own_rows():
    """The programs of programs/, with their standard loads."""
    rows = [Row("shlike", [built("shlike"), "2", "2500", "0"]),
            Row("shlikeX", [built("shlike"), "4", "1500", "1"])]
    for name in ("larson", "xmalloc", "mstress", "cache-scratch", "glibc-simple", "glibc-thread",
                 "malloc-large", "cfrac", "espresso"):
        rows.append(Row(name, [built(name)]))
    return rows


def debian_rows():
    """Programs of Debian that are installed here."""
    rows = [Row("python3", ["/usr/bin/python3", script("objects.py")], PYTHONMALLOC="malloc"),
            Row("sqlite3", ["sqlite3", ":memory:"], stdin=script("rows.sql")),
            Row("perl", ["perl", script("hashes.pl")], PERL_HASH_SEED="0"),
            Row("gawk", ["gawk", "-f", script("strings.awk")]),
            compiler_row(), Redis()]
    return [row for row in rows if shutil.which(row.command[0])]
