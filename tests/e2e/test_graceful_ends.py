"""Ctrl-C, SIGTERM, cancel, a second Ctrl-C, SIGSTOP: what is in flight ends with the program, and nothing that was recorded is lost (SEMANTICS 1, 4, 9)."""
import os
import pathlib
import shutil
import signal
import sqlite3
import subprocess
import time

import pytest

from conftest import BINARY, DEADLINE, SIGINT, SIGTERM, calls, clean_environment, openai_answer, processes_with, reply, wait_for

SIGHUP, SIGSTOP, SIGCONT = 1, 19, 18


def check_closed_properly(project):
    left = sorted(path.name for path in (project.folder / ".troupe").iterdir())
    assert left == ["journal.db", "journal.db-lock"], "no log is left beside the journal"
    database = sqlite3.connect(project.folder / ".troupe/journal.db")
    assert database.execute("pragma integrity_check").fetchone() == ("ok",)
    database.close()


class Silent:
    """A provider that answers requests with tools by calling `slow`, and leaves the others waiting; notes how each of those connections ended."""

    def __init__(self):
        self.waiting, self.closed = 0, []

    def __call__(self, connection, server):
        _, body = server.requests[-1]
        if body.get("tools"):
            tool = {"id": "call_1", "type": "function", "function": {"name": "slow", "arguments": "{}"}}
            connection.sendall(openai_answer(None, tool_calls=[tool]))
            return
        self.waiting += 1
        connection.settimeout(DEADLINE)
        try:
            self.closed.append(connection.recv(1))
        except OSError as why:
            self.closed.append(why)


@pytest.fixture
def busy(project, odd_server):
    """A run with two calls in flight and a tool with a grandchild in a session of its own."""
    project.mark = f"0.8{os.getpid()}"
    project.silent = Silent()
    project.server = odd_server([], then=project.silent)
    script = f"echo $TROUPE_IDEMPOTENCY_KEY >> out/ran; setsid sh -c 'trap \"\" TERM; while :; do sleep {project.mark}; done' & while :; do sleep {project.mark}; done"
    (project.folder / "out").mkdir()
    project.on(project.server.provider(stream=False), agents={"talker": {"system": "talker"}, "doer": {"system": "doer", "tools": ["slow"]}},
               supervision={"children": [{"pool": "talker", "size": 2}, {"agent": "doer"}]},
               tasks=[{"id": "a", "agent": "talker", "instruction": "a"}, {"id": "b", "agent": "talker", "instruction": "b"}, {"id": "c", "agent": "doer", "instruction": "c"}],
               tools={"slow": {"kind": "process", "description": "x", "effect": "once", "timeout": "600s", "command": ["sh", "-c", script], "sandbox": {"write": ["out"]}}})
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # these tests may have been started by nohup, which children inherit
    project.running = project.start("--json")
    signal.signal(signal.SIGHUP, before)
    wait_for(lambda: project.silent.waiting == 2 and (project.folder / "out/ran").exists() and len(processes_with(f"sleep {project.mark}")) >= 4, "two calls and a tool")
    return project


def check_nobody_left(busy):
    """At once, with no waiting: the program answers only when all are gone."""
    assert processes_with(busy.mark) == []
    wait_for(lambda: len(busy.silent.closed) == 2, "the end of both connections", 5)
    assert busy.silent.closed == [b"", b""], "aborted, not left to a timeout"
    check_closed_properly(busy)


@pytest.mark.parametrize("number", [SIGINT, SIGTERM, SIGHUP], ids=["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_ends_transfers_and_tools_before_the_program(number, busy):
    busy.running.signal(number)
    told = busy.running.wait(10).expect(130)
    check_nobody_left(busy)
    assert "resume" in told.stderr and told.seconds < 8
    assert busy.count("R1", "run_interrupted") == 1
    assert len(busy.read("out/ran").split()) == 1


def test_cancel_ends_transfers_and_tools_before_the_program(busy):
    busy.troupe("cancel", "troupe.yaml", "R1").expect(0)
    document = busy.running.wait(10).expect(3).doc
    check_nobody_left(busy)
    assert {row["status"] for row in document["results"]} == {"cancelled"}
    asked = len(busy.server.requests)
    assert busy.events("R1")[-1]["type"] == "run_finished" and asked == 3


def test_a_tool_of_effect_once_that_a_signal_cut_off_is_told_and_not_repeated(busy):
    busy.running.signal(SIGINT)
    left = busy.running.wait(10).expect(130)
    assert "1 call of a tool with an effect may or may not have taken effect" in left.stderr, "who never resumes it is told, too"
    shown = busy.troupe("show", "troupe.yaml", "R1", "--json").expect(0).doc
    assert shown["in_doubt"] == 1 and shown["workflow_status"] == "interrupted"
    said = []

    def answer(connection, server):
        said.append(server.requests[-1][1]["messages"])
        connection.sendall(openai_answer("fine"))

    busy.server.then = answer
    document = busy.resume().expect(0).doc
    assert [row["output"] for row in document["results"]] == ["fine"] * 3
    assert len(busy.read("out/ran").split()) == 1, "it is not run again"
    result = next(message["content"] for messages in said for message in messages if message["role"] == "tool")
    assert "may or may not" in result or "nobody knows" in result, result
    check_closed_properly(busy)


def test_the_document_of_a_run_that_is_left_says_so(project):
    project.scripted([reply("late", latency="60s")])
    running = project.start("--json")
    wait_for(lambda: '"llm_requested"' in project.troupe("show", "troupe.yaml", "R1", "--events").stdout, "a request")
    running.signal(SIGINT)
    assert running.wait(10).expect(130).doc["workflow_status"] == "interrupted"


def test_who_watches_a_run_that_another_process_cancels_is_told_at_once(project):
    """Its tool takes its time to end."""
    project.scripted([calls(("slow", {}))], agent={"tools": ["slow"]}, tools={"slow": {"kind": "process", "description": "x", "effect": "none", "command": ["sh", "-c", "trap '' TERM; sleep 60"]}})
    running = project.start()
    running.wait_line("tool slow")
    project.troupe("cancel", "troupe.yaml", "R1").expect(0)
    running.wait_line("it is cancelled")
    assert running.wait(DEADLINE).expect(3).stderr.index("it is cancelled") > 0


def test_a_second_signal_ends_at_once_and_loses_nothing(busy):
    before = [event["type"] for event in busy.events("R1")]
    busy.running.signal(SIGINT)
    status = pathlib.Path(f"/proc/{busy.running.child.pid}/status")
    wait_for(lambda: "ShdPnd:\t0000000000000000" in status.read_text(), "the first to be taken: two that wait are one")
    busy.running.signal(SIGINT)
    began = time.monotonic()
    told = busy.running.wait(10)
    assert told.status == 130 and time.monotonic() - began < 2.5, str(told)
    assert "ended at once" in told.stderr and "troupe resume troupe.yaml R1" in told.stderr
    wait_for(lambda: processes_with(busy.mark) == [], "the end of the tools", 6)
    assert [event["type"] for event in busy.events("R1")][:len(before)] == before
    busy.server.then = openai_answer("fine")
    asked = len(busy.server.requests)
    document = busy.resume().expect(0).doc
    assert document["workflow_status"] == "completed" and len(busy.read("out/ran").split()) == 1
    assert len(busy.server.requests) == asked + 3, "the two that were in flight, and what comes after the tool"
    check_closed_properly(busy)


def test_a_signal_while_it_ends_a_run_that_is_done(project, mock_llm):
    """At whatever moment it comes: the run is kept or told, and the status says which."""
    server = mock_llm([reply("fine", latency="20ms")])
    project.on(server.provider())
    for turn in range(12):
        running = project.start("--json", run_id=f"R{turn}")
        time.sleep(0.03 + turn * 0.008)
        running.signal(SIGINT)
        told = running.wait(10)
        if told.status == 0:
            assert told.doc["result"] == "fine"
        elif told.status == 130 and project.troupe("show", "troupe.yaml", f"R{turn}").status == 0:
            assert project.resume(f"R{turn}").expect(0).doc["result"] == "fine"
        else:  # before the run began
            assert told.status in (130, -SIGINT), str(told)
    check_closed_properly(project)


def test_a_signal_while_the_program_starts_ends_it_at_once(project):
    """Servers of tools may take long to start. Nothing is recorded then that could not go on: the same command begins the run."""
    mark = f"late{os.getpid()}"
    shutil.copy(pathlib.Path(__file__).resolve().parent / "mcp_server.py", project.folder / "mcp_server.py")
    (project.folder / "state").mkdir()
    project.write("late.py", "import os, sys, time\nopen('state/began', 'w').close()\nwhile not os.path.exists('state/go'):\n    time.sleep(0.01)\n"
                             "os.execv(sys.executable, [sys.executable, 'mcp_server.py', 'state'])\n")
    project.scripted([reply("Heard: {{ last }}")], agent={"tools": ["s"]}, tasks=[{"id": "t", "agent": "worker", "instruction": "{{ input.what }}"}],
                     tools={"s": {"kind": "mcp", "command": ["python3", "late.py", mark], "sandbox": {"write": ["state"]}}})
    project.write("in.json", {"what": "hello"})
    running = project.start("--json", "--input", "in.json")
    wait_for(lambda: (project.folder / "state/began").exists(), "the server's start")
    running.signal(SIGINT)
    told = running.wait(5).expect(130)
    assert "resume" not in told.stderr and project.troupe("show", "troupe.yaml", "R1").status == 2
    wait_for(lambda: processes_with(mark) == [], "the end of the server", 6)
    project.write("state/go", "")
    assert project.run("--id", "R1", "--input", "in.json").expect(0).doc["result"] == "Heard: hello"


# --- a process that stands still -----------------------------------------------------------------------------------------------------------------


def test_a_process_that_stood_still_beyond_its_timeouts_goes_on(project, mock_llm):
    """The provider answers meanwhile, the tool ends meanwhile: what came counts, though the time for it has passed."""
    server = mock_llm([calls(("x", {})), reply("{{ last }}", latency="200ms")])
    (project.folder / "out").mkdir()
    project.on(server.provider(timeout="1s"), agent={"tools": ["x"]}, workflow={"budget": {"time": "60s"}},
               tools={"x": {"kind": "process", "description": "x", "effect": "once", "timeout": "1s", "command": ["sh", "-c", "echo x >> out/ran; sleep 0.3; echo done"], "sandbox": {"write": ["out"]}}})
    running = project.start("--json")
    wait_for(lambda: (project.folder / "out/ran").exists(), "the tool")
    running.signal(SIGSTOP)
    time.sleep(1.6)
    running.signal(SIGCONT)
    wait_for(lambda: server.requests == 2 or running.child.poll() is not None or server.stats()["max_in_flight"] > 1, "the second request")
    running.signal(SIGSTOP)
    time.sleep(1.6)
    running.signal(SIGCONT)
    document = running.wait().expect(0).doc
    assert project.read("out/ran").split() == ["x"]
    assert document["workflow_status"] == "completed" and 3 <= document["duration_seconds"] < 20
    assert server.requests <= 3
    check_closed_properly(project)


def test_a_process_that_stands_still_holds_up_no_other_run(project, mock_llm):
    server = mock_llm([reply("fine", fault={"timeout": True, "times": 1})])
    project.on(server.provider())
    still = project.start()
    wait_for(lambda: server.requests == 1, "its request")
    still.signal(SIGSTOP)
    assert project.run("--id", "R2").expect(0).doc["result"] == "fine"
    told = project.resume("R1", timeout=15)
    assert told.status == 2 and "R1" in told.stderr, "it is alive, and has its run"
    still.kill()
    assert project.resume("R1").expect(0).doc["result"] == "fine"


# --- before the run has begun ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("signal", [SIGINT, SIGTERM])
def test_a_signal_while_the_input_is_read_ends_the_program(signal, project):
    project.scripted([reply("fine")])
    os.mkfifo(project.folder / "slow.json")
    process = project.troupe.start("run", "troupe.yaml", "job", "--input", "slow.json", cwd=project.folder)
    wait_for(lambda: "troupe" in pathlib.Path(f"/proc/{process.pid}/comm").read_text() and len(os.listdir(f"/proc/{process.pid}/task")) > 1, "its threads")
    process.signal(signal)
    process.wait().expect(130)


def test_a_signal_while_servers_are_started_ends_the_program_and_them(project):
    mark = f"0.9{os.getpid()}"
    project.scripted([reply("fine")], agent={"tools": ["slow"]},
                     tools={"slow": {"kind": "mcp", "command": ["sh", "-c", f"while :; do sleep {mark}; done"], "start_timeout": "30s"}})
    process = project.troupe.start("run", "troupe.yaml", "job", cwd=project.folder)
    wait_for(lambda: processes_with(f"sleep {mark}"), "the server")
    process.signal(SIGINT)
    process.wait(10).expect(130)
    wait_for(lambda: not processes_with(f"sleep {mark}"), "the server's end")


def test_the_first_signal_is_answered_at_once_and_nohup_is_heard(project):
    """A tool that does not care for SIGTERM has its grace; somebody who has pressed Ctrl-C hears so. Who started it by nohup wants it to outlive its terminal."""
    project.scripted([calls(("slow", {})), reply("fine")], agent={"tools": ["slow"]},
                     tools={"slow": {"kind": "process", "description": "x", "effect": "none", "command": ["sh", "-c", "trap '' TERM; echo > out/ran; while :; do sleep 0.1; done"], "sandbox": {"write": ["out"]}}})
    (project.folder / "out").mkdir()
    for number, ignored in ((SIGINT, False), (SIGHUP, True)):
        (project.folder / "out/ran").unlink(missing_ok=True)
        command = [BINARY, "run", "troupe.yaml", "job", "--id", f"R{number}"]
        child = subprocess.Popen((["nohup"] if ignored else []) + command, cwd=project.folder, env=clean_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        wait_for(lambda: (project.folder / "out/ran").exists(), "the tool")
        if ignored:
            child.send_signal(number)  # were it heard, the next one would be the second
            number = SIGINT
        child.send_signal(number)
        said = child.stderr.read()
        assert child.wait(DEADLINE) == 130 and "troupe: stopping" in said and said.index("troupe: stopping") < said.index("is interrupted"), said
        assert "ended at once" not in said
