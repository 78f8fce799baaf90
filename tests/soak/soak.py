# SPDX-License-Identifier: MIT
"""Many looks at a program that never rests, and tools killed at random moments.

Called with small counts by tests/live, with the full ones by `make soak` (tests/soak/run).
"""
import os
import random
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "planted"))
import planted
from planted import Failure

# In place and through a clone.
WAYS = (["--no-inject"], planted.LIVE_OPTIONS["clone"])


def wrong_answers(target):
    for command, answer in (("ping", "pong"), ("check", "checksum ok")):
        told = target.ask(command)
        if told != answer:
            yield "the target answers %s to %s" % (told, command)


def first_look(target):
    """The questions are asked before it: what they leave in the target's memory is no change."""
    problems = list(wrong_answers(target))
    if problems:
        raise Failure("\n".join(problems))
    return planted.Look(target.pid)


def check_unharmed(target, before):
    problems = planted.reap_orphans({target.process.pid})
    problems += planted.Look(target.pid).differences(before)
    problems += wrong_answers(target)
    if problems:
        raise Failure("\n".join(problems))


def look_often(count, preload=None):
    """`count` looks at four threads that allocate and free without pause: each the truth."""
    env = dict(os.environ, LD_PRELOAD=preload) if preload else None
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "truth")
        with planted.start_planted(planted.build("churn"), path, env=env) as target:
            truth = planted.read_truth(path)
            before = first_look(target)
            for number in range(count):
                answer = planted.run_tool("leaks", *WAYS[number % 2], target.pid)
                try:
                    planted.check_answer(answer, truth, from_core=False)
                    check_unharmed(target, before)
                except Failure as failure:
                    raise Failure("look %d (%s): %s" % (number, WAYS[number % 2], failure))
    print("%d looks%s, %d answers, no false one" %
          (count, " at our malloc" if preload else "", count))


def start_tool(way, pid, scratch):
    return subprocess.Popen([planted.tool_path("leaks"), "--json", *way, str(pid)], cwd=scratch,
                            env=dict(os.environ, TMPDIR=scratch), stdin=subprocess.DEVNULL,
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def full_run_s(way, pid, scratch):
    start = time.monotonic()
    start_tool(way, pid, scratch).wait()
    return time.monotonic() - start


def kill_one(target, way, moment_s, scratch):
    """Returns whether the tool was still at work."""
    tool = start_tool(way, target.pid, scratch)
    try:
        tool.wait(moment_s)
    except subprocess.TimeoutExpired:
        pass
    at_work = tool.poll() is None
    tool.kill()
    tool.wait()
    return at_work


def kill_often(name, count, seed=None):
    """kill -9 of the tool at `count` random moments: nobody notices, nothing is left over."""
    seed = seed or random.randrange(1 << 32)
    dice = random.Random(seed)
    caught = 0
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as scratch:
        path = os.path.join(folder, "truth")
        with planted.start_planted(planted.build(name), path) as target:
            before = first_look(target)
            longest_s = [full_run_s(way, target.pid, scratch) for way in WAYS]
            for number in range(count):
                way = WAYS[number % 2]
                moment_s = dice.random() * longest_s[number % 2]
                caught += kill_one(target, way, moment_s, scratch)
                try:
                    check_unharmed(target, before)
                except Failure as failure:
                    raise Failure("kill %d at %.4f s (%s, %s, seed %d): %s" %
                                  (number, moment_s, name, way, seed, failure))
            if os.listdir(scratch):
                raise Failure("files left: %s" % os.listdir(scratch))
            truth = planted.read_truth(path)
            planted.check_answer(planted.run_tool("leaks", target.pid), truth, from_core=False)
    print("%s: killed %d times, %d of them at work; target unharmed (seed %d)" %
          (name, count, caught, seed))
