# SPDX-License-Identifier: MIT
"""Real programs that were never prepared: started, looked at with every tool, asked to work on.

Used by the tests of this folder. Each program reads commands on stdin; `question` is one to which
it must still give `answer` after the look, and the same memory must still be where it was.
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "planted"))
import planted
from planted import Failure

TOOLS = ("leaks", "heap", "vmmap")
WAYS = tuple(planted.LIVE_OPTIONS.values())


def check_document(tool, answer):
    good = (0, 1) if tool == "leaks" else (0,)
    if answer.status not in good:
        raise Failure("%s: %s" % (tool, answer.about()))
    faults = answer.document.get("heap_faults")
    if faults:
        raise Failure("%s finds faults in a healthy heap: %s" % (tool, faults[:5]))
    content = {"leaks": "leaks", "heap": "zones", "vmmap": "regions"}[tool]
    if not isinstance(answer.document.get(content), list):
        raise Failure("%s gives no %s" % (tool, content))
    if tool != "leaks" and not answer.document[content]:
        raise Failure("%s gives no %s at all" % (tool, content))


def look(target, tool, options=(), with_memory=True):
    before = planted.Look(target.pid, with_memory)
    answer = planted.run_tool(tool, *options, target.pid)
    problems = planted.Look(target.pid, with_memory).differences(before)
    problems += planted.reap_orphans({target.process.pid})
    if problems:
        raise Failure("%s harmed the target: %s" % (tool, "\n".join(problems)))
    check_document(tool, answer)
    return answer.document


def tell(tool, document):
    if tool == "leaks":
        leaks = document["leaks"]
        print("leaks: %d leaked blocks, %d bytes" %
              (len(leaks), sum(leak["size_bytes"] for leak in leaks)))


def look_with_all_tools(command, question, answer, preparation=(), env=None, before_exec=None,
                        cwd=None):
    """preparation: (command, expected answer) pairs that give the program something to hold."""
    planted.become_subreaper()
    env = dict(env or os.environ, GLIBC_TUNABLES="glibc.pthread.rseq=0")
    with planted.Target(command, env, before_exec, cwd) as target:
        for line, reply in preparation:
            expect(target, line, reply)
        expect(target, question, answer)
        for options in WAYS:
            for tool in TOOLS:
                tell(tool, look(target, tool, options))
                expect(target, question, answer)


def expect(target, question, answer):
    """Lines before the answer (prompts, banners) are passed over."""
    target.process.stdin.write(question.encode() + b"\n")
    while True:
        if target.read_line().strip().endswith(answer):
            return
