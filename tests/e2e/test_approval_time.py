"""Whose time goes on while a human is waited for, and whose does not (SEMANTICS 7)."""
import time

import pytest

from approving import decide, deployed, deploying, out, request_of  # noqa: F401 (a fixture)
from conftest import calls, reply, wait_for
from test_tools import STRING, process


def test_the_deadline_rejects_and_is_nobodys_decision(project, out):
    deploying(project, checkpoint={"timeout": "300ms"})
    told = project.run("--id", "R1").expect(0)
    assert "Auto-rejected: approval timeout" in told.doc["result"] and told.doc["human_approvals"] == 0 and deployed(out) == []
    decided = project.events("R1", "approval_decided")[0]
    assert decided["status"] == "rejected" and not decided["by_human"] and decided["reviewer"] == ""
    assert told.seconds < 10 and "troupe approve troupe.yaml R1-" in told.stderr


def test_waiting_does_not_count_for_the_agents_time(project, out):
    deploying(project)
    project.data["agents"]["worker"]["timeout"] = "1s"
    project.configure(**{key: value for key, value in project.data.items() if key != "version"})
    running = project.start("--json")
    request = request_of(project)
    began = time.monotonic()
    wait_for(lambda: time.monotonic() > began + 1.5, "more than the agent's time")
    decide(project, "approve", request)
    assert running.wait().expect(0).doc["result"] == "deployed v1"


@pytest.mark.parametrize("pause", [False, True])
def test_waiting_counts_for_the_runs_time_unless_its_clock_is_paused(pause, project, out):
    deploying(project, checkpoint={"pause_clock": pause}, workflow={"budget": {"time": "1s"}})
    running = project.start("--json")
    request = request_of(project)
    began = time.monotonic()
    wait_for(lambda: time.monotonic() > began + 1.5, "more than the run's time")
    if pause:
        decide(project, "approve", request)
        assert running.wait().expect(0).doc["result"] == "deployed v1"
    else:
        assert running.wait().expect(3).doc["reason"] == "timeout"


def test_a_clock_that_was_paused_goes_on_with_the_decision(project, out):
    project.scripted([calls(("ask", {})), reply("late", latency="60s")], agent={"tools": ["ask"]}, tools={"ask": process("true", risk="high")},
                     checkpoint={"pause_clock": True}, workflow={"budget": {"time": "1s"}})
    running = project.start("--json")
    decide(project, "approve", request_of(project))
    assert running.wait().expect(3).doc["reason"] == "timeout"


def test_time_that_was_given_back_makes_no_task_unfinished_when_a_run_is_resumed(project, out, mock_llm):
    """A human takes longer than the run's time, then a task ends by its own timeout: kill -9, and it has still ended."""
    server = mock_llm([calls(("deploy", {"text": "v1"}), when={"last": "^deploy", "turn": 1}), reply("never", when={"last": "^late"}, fault={"timeout": True}),
                       reply("never", when={"last": "^other"}, fault={"timeout": True, "times": 1}), reply("fine")])
    deploy = process("sh", "-c", "echo $0 >> out/deployed", "{{ text }}", parameters=STRING, sandbox={"write": ["out"]}, risk="high")
    project.on(server.provider(), agents={"worker": {"tools": ["deploy"]}}, supervision={"children": [{"pool": "worker", "size": 2}]}, tools={"deploy": deploy},
               checkpoint={"pause_clock": True}, workflow={"budget": {"time": "3s"}},
               tasks=[{"id": "a", "agent": "worker", "instruction": "deploy it"},
                      {"id": "other", "agent": "worker", "instruction": "other", "needs": ["a"]},
                      {"id": "late", "agent": "worker", "instruction": "late", "needs": ["a"], "timeout": "300ms", "on_failure": "continue"}])
    running = project.start("--json")
    request = request_of(project)
    began = time.monotonic()
    wait_for(lambda: time.monotonic() > began + 3.2, "more than the run's time")
    decide(project, "approve", request)
    wait_for(lambda: any(e["task_id"] == "late" for e in project.events("R1", "task_finished")), "the end of the task that is late")
    running.kill()
    document = project.resume().expect(0).doc
    assert {row["task_id"]: row["status"] for row in document["results"]} == {"a": "success", "other": "success", "late": "timeout"}
    asked = [e["task_id"] for e in project.events("R1", "llm_requested")]
    assert asked.count("late") == 1 and asked.count("other") == 2


# --- a task's time, while humans are asked -------------------------------------------------------------------------------------------------------


def test_waiting_to_be_approved_takes_nothing_from_the_time_of_a_task(project):
    project.scripted([reply("fine")], tasks=[{"id": "t", "agent": "worker", "instruction": "{{ item }}", "for_each": "{{ input.list }}", "timeout": "2s", "approval": {"risk": "high"}}])
    project.write("in.json", {"list": ["one", "two"]})
    running = project.start("--json", "--input", "in.json")
    first, second = request_of(project, 2)
    decide(project, "approve", first)
    time.sleep(3)  # a human takes longer than the task may work
    decide(project, "approve", second)
    running.wait().expect(0)


def test_humans_who_are_asked_at_the_same_time_give_back_that_time_once(project):
    """Two elements wait together for 3 s, of a task that may work for 2 s: 3 s are given back, not 6."""
    project.scripted([calls(("ask", {})), reply("late", latency="60s")], agent={"tools": ["ask"]}, tools={"ask": process("true", risk="high")},
                     tasks=[{"id": "t", "agent": "worker", "instruction": "{{ item }}", "for_each": "{{ input.list }}", "parallel": 2, "timeout": "2s"}],
                     supervision={"children": [{"pool": "worker", "size": 2}]})
    project.write("in.json", {"list": ["one", "two"]})
    running = project.start("--json", "--input", "in.json")
    first, second = request_of(project, 2)
    time.sleep(3)
    decide(project, "approve", first)
    decide(project, "approve", second)
    running.wait()
    ended = project.troupe("show", "troupe.yaml", "R1", "--json").doc
    begin, end = project.events("R1", "approval_requested")[0]["time_us"], project.events("R1", "approval_decided")[-1]["time_us"]
    waited = (end - begin) / 1e6
    assert ended["results"][0]["status"] == "timeout" and waited + 1.8 < ended["duration_seconds"] < waited + 4


def test_time_that_humans_gave_back_stays_given_back_when_the_agent_dies(project):
    """It waits longer than it may work, and dies afterwards: its next incarnation has the time that was left to the first."""
    project.scripted([calls(("ask", {})), reply("fine", fault={"crash": True, "times": 1})], agent={"tools": ["ask"], "timeout": "2s"},
                     tools={"ask": process("true", risk="high")}, tasks=[{"id": "t", "agent": "worker", "instruction": "i", "timeout": "2s"}])
    running = project.start("--json")
    request = request_of(project)
    time.sleep(2.5)
    decide(project, "approve", request)
    assert running.wait().expect(0).doc["result"] == "fine"
    assert project.count("R1", "agent_crashed") == 1


ASKS = [calls(("ask", {}), when={"agent": "res", "turn": 1}), calls(("agent_res", {"task": "t"}), when={"agent": "lead", "turn": 1}),
        calls(("ask", {}), when={"agent": "critic", "turn": 1}), reply('{"verdict": "pass"}', when={"agent": "critic"}), reply("fine: {{ last }}")]
BELOW = {
    "the agent's, a delegated one waits": ({"lead": {"tools": ["agent:res", "ask"], "timeout": "2s"}}, {"agent": "lead"}, {}),
    "the task's, a delegated one waits": ({"lead": {"tools": ["agent:res", "ask"]}}, {"agent": "lead", "timeout": "2s"}, {}),
    "the agent's, its reviewer waits": ({"writer": {"output": {"max_length": 3, "retries": 0, "reviewer": "critic"}, "timeout": "2s"}}, {"agent": "writer"}, {}),
    "a sub-workflow's": ({}, {"workflow": "inner", "timeout": "2s"}, {}),
    "a sub-workflow's own": ({}, {"workflow": "inner"}, {"budget": {"time": "2s"}}),
}


@pytest.mark.parametrize("level", BELOW)
def test_waiting_takes_nothing_from_the_time_of_any_level_above(level, project):
    more, first, inner = BELOW[level]
    agents = {"res": {"system": "res", "description": "res", "tools": ["ask"]}, "critic": {"system": "critic", "tools": ["ask"]}, **more}
    given = {} if "workflow" in first else {"instruction": "x"}
    project.scripted(ASKS, agents=agents, tools={"ask": process("true", risk="high")}, tasks=[{"id": "t", **first, **given}],
                     workflows={"inner": {"tasks": [{"id": "d", "agent": "res", "instruction": "x"}], **inner}} if "workflow" in first else {})
    running = project.start("--json")
    request = request_of(project)
    time.sleep(3.2)  # a human takes longer than what is above may work
    decide(project, "approve", request)
    assert running.wait().expect(0).doc["results"][0]["status"] == "success"


def test_a_sub_workflow_that_was_given_time_back_still_ends_in_time(project):
    rules = [calls(("ask", {}), when={"turn": 1}), reply("late", latency="60s")]
    project.scripted(rules, agents={"res": {"system": "res", "tools": ["ask"]}}, tools={"ask": process("true", risk="high")},
                     tasks=[{"id": "t", "workflow": "inner", "timeout": "2s"}], workflows={"inner": {"tasks": [{"id": "d", "agent": "res", "instruction": "x"}]}})
    running = project.start("--json")
    request = request_of(project)
    time.sleep(3)
    decide(project, "approve", request)
    document = running.wait().expect(1).doc
    assert document["results"][0]["status"] == "timeout" and 4.8 < document["duration_seconds"] < 8


@pytest.mark.parametrize("what", ["model", "tool"])
def test_what_is_under_way_has_the_time_that_waiting_for_a_human_gives_back(what, project, out):
    """The run has 2 s, and stops its clock while the one task waits; the other one's call takes 3.5 s."""
    slow = {"model": [reply("slow", when={"agent": "slow"}, latency="3500ms")],
            "tool": [calls(("nap", {}), when={"agent": "slow", "turn": 1}), reply("slow", when={"agent": "slow"})]}[what]
    deploy = process("sh", "-c", "echo $0 >> out/deployed", "{{ text }}", parameters=STRING, sandbox={"write": ["out"]}, risk="high")
    nap = {"kind": "process", "description": "Sleeps.", "command": ["sleep", "3.5"], "effect": "none", "parameters": {"type": "object"}}
    project.scripted([*slow, calls(("deploy", {"text": "v1"}), when={"agent": "risky", "turn": 1}), reply("done")],
                     agents={"slow": {"tools": ["nap"]}, "risky": {"tools": ["deploy"]}}, tools={"deploy": deploy, "nap": nap},
                     checkpoint={"pause_clock": True}, workflow={"budget": {"time": "2s"}},
                     tasks=[{"id": "a", "agent": "risky", "instruction": "x"}, {"id": "b", "agent": "slow", "instruction": "y"}])
    running = project.start("--json")
    request = request_of(project)
    wait_for(lambda: any(e.get("task_id") == "b" for e in project.events("R1", "task_finished")), "the slow one's end")
    decide(project, "approve", request)
    document = running.wait().expect(0).doc
    assert {row["task_id"]: row["output"] for row in document["results"]} == {"a": "done", "b": "slow"}
    assert [e for e in project.events("R1") if e["type"] in ("llm_failed", "tool_failed")] == []
