"""Tools that behave as badly as a program can: each run ends with the right status, in its time, with nobody left and memory bounded."""
import json
import os
import signal
import subprocess
import uuid

import pytest

from conftest import BINARY, calls, clean_environment, reply
from evil import MARK, left_of, measured, note

EVIL = r'''
import os, signal, sys, time

def forever():
    while True:
        time.sleep(60)

def detach():
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)

def daemon(ignore=()):
    """A child in a session of its own, whose parents are gone and whose output is closed."""
    if os.fork() == 0:
        for one in ignore:
            signal.signal(one, signal.SIG_IGN)
        os.closerange(0, 100)
        detach()
        forever()

def main(what):
    if what == "never ends":
        forever()
    elif what == "ignores everything":
        for number in range(1, 65):
            try: signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError): pass
        forever()
    elif what == "floods its output":
        while True:
            os.write(1, b"flood " * 10000)
    elif what == "floods its errors":
        while True:
            os.write(2, b"flood " * 10000)
    elif what == "floods and ends":
        for _ in range(1000):
            os.write(1, b"x" * 100000)
    elif what == "one endless line of nulls":
        while True:
            os.write(1, b"\0" * 65536)
    elif what == "forks":
        made = 0
        for _ in range(60):
            try:
                if os.fork() == 0:
                    forever()
                made += 1
            except OSError:
                break
        print("forked", made, flush=True)
        forever()
    elif what == "daemonises":
        for _ in range(3):
            daemon()
        print("gone")
    elif what == "daemons that ignore SIGTERM":
        daemon([signal.SIGTERM, signal.SIGHUP])
        forever()
    elif what == "closes its output":
        os.closerange(0, 3)
        forever()
    elif what == "prints binary":
        os.write(1, bytes(range(256)) * 400)
    elif what == "prints half characters":
        os.write(1, b"\xe2\x82" * 50000 + b"\xf0\x9f")
    elif what == "drives the terminal":
        os.write(1, b"\x1b[2J\x1b]0;owned\x07\x1bP\x1b[31mred\r\x08\x08" + "\u202egnp.exe".encode())
    elif what == "dies":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif what == "kills everybody it sees":
        os.kill(-1, signal.SIGKILL)
    elif what == "kills its parent":
        for _ in range(5):
            os.kill(os.getppid(), signal.SIGKILL)
        forever()
    elif what == "stops itself":
        os.kill(0, signal.SIGSTOP)
    elif what == "eats memory":
        held = []
        while True:
            held.append(bytearray(b"x" * (16 << 20)))
    elif what == "burns the processor":
        while True:
            pass
    elif what == "fills its disk":
        with open("/tmp/full", "wb") as file:
            while True:
                file.write(b"x" * (1 << 20))
    elif what == "reads nothing":
        sys.exit(0)

main(sys.argv[1])
'''

TABLE = [  # what it does, the outcome of its call, seconds at most
    ("never ends", "timed_out", 6),
    ("ignores everything", "timed_out", 8),
    ("floods its output", "timed_out", 8),
    ("floods its errors", "timed_out", 8),
    ("floods and ends", "ok", 8),
    ("one endless line of nulls", "timed_out", 8),
    ("forks", ("timed_out", "failed"), 8),
    ("daemonises", "ok", 6),
    ("daemons that ignore SIGTERM", "timed_out", 8),
    ("closes its output", "timed_out", 6),
    ("prints binary", "ok", 6),
    ("prints half characters", "ok", 6),
    ("drives the terminal", "ok", 6),
    ("dies", "failed", 6),
    ("kills everybody it sees", "failed", 6),
    ("kills its parent", ("timed_out", "failed"), 8),
    ("stops itself", "timed_out", 8),
    ("eats memory", "failed", 8),
    ("burns the processor", ("timed_out", "failed"), 8),
    ("fills its disk", ("timed_out", "failed"), 8),
    ("reads nothing", "ok", 6),
]
PEAK_MIB = 80  # of troupe itself, whatever its tools print
TOOL = {"kind": "process", "description": "A program", "effect": "none", "retries": 0, "timeout": "1500ms", "env_from": [MARK],
        "command": ["/usr/bin/python3", "evil.py", "{{ what }}"], "stdin": "{{ text }}" * 8, "limits": {"memory": "128MiB", "processes": 16, "cpu": "3s", "output": "256KiB"},
        "parameters": {"type": "object", "required": ["what"], "properties": {"what": {"type": "string"}, "text": {"type": "string"}}}}


def outcomes(project):
    return {event["call_id"]: event for event in project.events("R1", "tool_finished")}


@pytest.fixture
def mark():
    mark = uuid.uuid4().hex
    yield mark
    assert left_of(mark) == [], "somebody is left"


def start(project, mark, *wanted, tool=TOOL):
    project.write("evil.py", EVIL)
    project.scripted([calls(*wanted), reply("done")], agent={"tools": ["evil"]}, tools={"evil": tool})
    return measured(project, env={MARK: mark})


def test_whoever_is_left_would_be_found():
    """The test of the test: a process that carries a mark is seen, and no other."""
    import subprocess
    mark = uuid.uuid4().hex
    child = subprocess.Popen(["sleep", "30"], env={"PATH": os.environ["PATH"], MARK: mark})
    try:
        assert left_of(mark) == [child.pid] and left_of(mark[:-1]) == []
    finally:
        child.kill()
        child.wait()
    assert left_of(mark) == []


@pytest.mark.parametrize("what, outcome, seconds", TABLE, ids=[row[0] for row in TABLE])
def test_a_tool_that_does_its_worst(what, outcome, seconds, project, mark, request):
    text = "x" * 60_000 if what == "reads nothing" else ""
    ended = start(project, mark, ("evil", {"what": what, "text": text}))
    assert ended.status == 0 and ended.doc["workflow_status"] == "completed", ended
    told = list(outcomes(project).values())
    assert len(told) == 1 and told[0]["status"] in ([outcome] if isinstance(outcome, str) else outcome), told
    assert ended.seconds < seconds and ended.peak_mib < PEAK_MIB, ended
    assert len(told[0]["text"].encode()) < 300_000, "the output is cut"
    note(request, ended)


def test_all_of_them_at_once(project, mark, request):
    ended = start(project, mark, *[("evil", {"what": row[0]}) for row in TABLE])
    assert ended.status == 0 and ended.doc["workflow_status"] == "completed", ended
    told = list(outcomes(project).values())
    assert len(told) == len(TABLE) and ended.seconds < 40 and ended.peak_mib < PEAK_MIB, ended
    note(request, ended)


def test_a_run_that_is_killed_takes_its_tools_with_it(project, mark):
    from conftest import wait_for
    project.write("evil.py", EVIL)
    project.scripted([calls(("evil", {"what": "daemons that ignore SIGTERM"}), ("evil", {"what": "ignores everything"})), reply("done")],
                     agent={"tools": ["evil"]}, tools={"evil": {**TOOL, "timeout": "60s"}})
    background = project.start("--json", env={MARK: mark})
    wait_for(lambda: len(left_of(mark)) >= 4, "the tools")
    background.kill()
    wait_for(lambda: left_of(mark) == [], "the end of the tools", 10)


FORGER = """
import os, struct, time
with open(f"/proc/{os.getppid()}/fd/4", "wb", buffering=0) as reports:
    reports.write(struct.pack("<iiii", 2, 0, 0, 0))
print("forged", flush=True)
time.sleep(1000)
"""


def test_a_tool_that_tells_of_its_end_before_it_ends(project):
    """Without a sandbox it can write to its reaper's pipe. Its time is up all the same, and nobody is left."""
    mark = uuid.uuid4().hex
    project.scripted([calls(("forge", {})), reply("done")], agent={"tools": ["forge"]},
                     tools={"forge": {"kind": "process", "description": "x", "effect": "once", "timeout": "1s", "sandbox": "off", "command": ["python3", "-c", FORGER], "env_from": [MARK]}})
    told = project.run(env={MARK: mark}).expect(0)
    assert told.seconds < 10 and left_of(mark) == []


@pytest.mark.parametrize("sandbox", [{}, "off"], ids=["sandboxed", "bare"])
def test_who_started_us_ignores_the_ends_of_children(sandbox, project):
    """As daemons and some shells do: exec keeps it, and the kernel then tells of no child's end."""
    project.scripted([calls(("hello", {})), reply("It said {{ last }}")], agent={"tools": ["hello"]},
                     tools={"hello": {"kind": "process", "description": "x", "effect": "none", "timeout": "20s", "sandbox": sandbox, "command": ["echo", "hello"]}})
    done = subprocess.run([BINARY, "run", "troupe.yaml", "job", "--json"], cwd=project.folder, env=clean_environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
                          preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN))
    assert done.returncode == 0 and "hello" in json.loads(done.stdout)["result"]


def test_programs_that_are_none_leave_no_zombies_to_an_init(project):
    """In a container troupe may be everybody's init."""
    project.write("bad", "no program").chmod(0o755)
    count = "grep -l 'troupe-reaper) Z' /proc/[0-9]*/stat 2>/dev/null | wc -l"
    project.scripted([calls(("bad", {})), calls(("bad", {"n": 2}), when={"turn": 2}), calls(("look", {}), when={"turn": 3}), reply("{{ last }}")], agent={"tools": ["bad", "look"]},
                     tools={"bad": {"kind": "process", "description": "x", "effect": "none", "retries": 0, "sandbox": "off", "command": ["./bad"]},
                            "look": {"kind": "process", "description": "x", "effect": "none", "sandbox": "off", "command": ["sh", "-c", count]}})
    done = subprocess.run(["bwrap", "--dev-bind", "/", "/", "--unshare-pid", "--as-pid-1", "--proc", "/proc", BINARY, "run", "troupe.yaml", "job", "--json"],
                          cwd=project.folder, env=clean_environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and json.loads(done.stdout)["result"].strip() == "0", done
