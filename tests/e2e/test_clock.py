"""A wall clock that is set, and a process that stands still: nothing expires, no duration is negative, the order holds (SEMANTICS 9)."""
import os
import struct
import time

import pytest

from conftest import calls, reply, wait_for

HOURS = 3600


class Clock:
    """The program's wall clock."""

    def __init__(self, folder, library):
        self.file = folder / "clock"
        self.set(0)
        self.env = {"LD_PRELOAD": str(library), "SHIM_CLOCK": str(self.file)}

    def set(self, seconds):
        """So far from the true time."""
        if not self.file.exists():
            self.file.write_bytes(bytes(8))
        with open(self.file, "r+b") as file:
            file.write(struct.pack("=q", seconds))


@pytest.fixture
def clock(tmp_path, shim):
    return Clock(tmp_path, shim("clock"))


def waiting(project, mock_llm, **more):
    """Runs wait in their second request."""
    server = mock_llm([reply("two", when={"last": "do b"}, fault={"timeout": True, "times": 1}), reply("{{ last }}")])
    project.on(server.provider(), tasks=[{"id": "a", "agent": "worker", "instruction": "do a"}, {"id": "b", "agent": "worker", "instruction": "do b", "needs": ["a"]},
                                         {"id": "c", "agent": "worker", "instruction": "do c", "needs": ["b"]}], workflow={"budget": {"time": "20s"}}, **more)
    return server


def check_times(project, document):
    events = project.events("R1")
    times = [event["time_us"] for event in events]
    assert times == sorted(times), "the order of times is the order of the events"
    assert 0 <= document["duration_seconds"] < 15, "what passed, not what the wall clock says"
    assert all(event["duration_us"] >= 0 for event in events if "duration_us" in event)
    assert not project.events("R1", "budget_warned")
    assert "-0:" not in project.troupe("show", "troupe.yaml", "R1").expect(0).stdout


@pytest.mark.parametrize("jump", [10 * HOURS, -10 * HOURS], ids=["ahead", "back"])
def test_a_clock_that_is_set_while_a_run_goes_expires_nothing(jump, project, mock_llm, clock):
    server = waiting(project, mock_llm, model={"retry": {"attempts": 3, "base": "5ms"}})
    running = project.start("--json", env=clock.env)
    wait_for(lambda: server.requests == 2, "the second request")
    clock.set(jump)
    running.signal(2)
    running.wait(10).expect(130)
    document = project.resume(env=clock.env).expect(0).doc
    assert [row["output"] for row in document["results"]] == ["do a", "two", "do c"]
    check_times(project, document)


@pytest.mark.parametrize("jump", [10 * HOURS, -10 * HOURS], ids=["ahead", "back"])
def test_a_clock_that_is_set_between_run_and_resume_expires_nothing(jump, project, mock_llm, clock):
    server = waiting(project, mock_llm)
    running = project.start(env=clock.env)
    wait_for(lambda: server.requests == 2, "the second request")
    running.kill()
    clock.set(jump)
    document = project.resume(env=clock.env).expect(0).doc
    assert [row["output"] for row in document["results"]] == ["do a", "two", "do c"]
    check_times(project, document)
    assert "R1" in project.troupe("runs", "troupe.yaml").expect(0).stdout


def test_a_clock_that_goes_to_and_fro_changes_no_run(project, mock_llm, clock):
    server = mock_llm([calls(("tick", {})), reply("{{ last }}", latency="150ms")])
    project.on(server.provider(), agent={"tools": ["tick"], "timeout": "20s"}, workflow={"budget": {"time": "20s"}},
               tools={"tick": {"kind": "process", "description": "x", "effect": "none", "command": ["sh", "-c", "sleep 0.2; echo ticked"], "timeout": "10s"}})
    running = project.start("--json", env=clock.env)
    for turn in range(60):
        if running.child.poll() is not None:
            break
        clock.set((-1) ** turn * turn * HOURS)
        time.sleep(0.01)
    check_times(project, running.wait().expect(0).doc)
