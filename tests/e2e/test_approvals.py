"""Humans decide, from the terminal of the run or from any other process (SEMANTICS 7)."""
import json
import os
import pty
import re
import select
import subprocess
import time

import pytest

from conftest import BINARY, DEADLINE, SIGINT, calls, clean_environment, reply, wait_for
from test_tools import STRING, process


@pytest.fixture
def out(project):
    (project.folder / "out").mkdir()
    return project.folder / "out"


def deploying(project, *, rules=None, checkpoint=None, tool=None, **more):
    """An agent that wants to deploy, which is risky."""
    deploy = process("sh", "-c", "echo $0 >> out/deployed; printf %s \"deployed $0\"", "{{ text }}", parameters=STRING, sandbox={"write": ["out"]}, risk="high", **(tool or {}))
    sections = {"checkpoint": checkpoint} if checkpoint else {}
    project.scripted(rules or [calls(("deploy", {"text": "v1"})), reply("{{ last }}")], agent={"tools": ["deploy"]}, tools={"deploy": deploy}, **sections, **more)


def pending(project):
    return json.loads(project.troupe("approvals", "troupe.yaml", "--json").expect(0).stdout)["approvals"]


def request_of(project, count=1):
    found = wait_for(lambda: (rows := pending(project)) and len(rows) >= count and rows, "a request")
    return found[0] if count == 1 else found


def decide(project, verb, request, *args, status=0):
    return project.troupe(verb, "troupe.yaml", request["id"], *args).expect(status)


def deployed(out):
    return (out / "deployed").read_text().split() if (out / "deployed").exists() else []


# --- a risky call -----------------------------------------------------------------------------------------------------------------------------


def test_a_risky_call_waits_and_runs_once_when_approved(project, out):
    deploying(project)
    running = project.start("--json")
    request = request_of(project)
    assert request["status"] == "pending" and request["action"] == {"text": "v1"} and request["risk_level"] == "high" and request["workflow_id"] == "R1"
    assert deployed(out) == []
    listed = json.loads(project.troupe("runs", "troupe.yaml", "--json").expect(0).stdout)["runs"][0]
    assert listed["workflow_status"] == "waiting_approval"
    decide(project, "approve", request, "--reviewer", "ana", "--comment", "go")
    document = running.wait().expect(0).doc
    assert document["result"] == "deployed v1" and deployed(out) == ["v1"] and document["human_approvals"] == 1
    kinds = [e["type"] for e in project.events("R1")]
    assert kinds.index("approval_requested") < kinds.index("approval_decided") < kinds.index("tool_started")
    decided = project.events("R1", "approval_decided")[0]
    assert decided["reviewer"] == "ana" and decided["comment"] == "go" and decided["by_human"]


def test_a_rejection_goes_back_to_the_agent_with_its_comment(project, out):
    deploying(project)
    running = project.start("--json")
    decide(project, "reject", request_of(project), "--reviewer", "ana", "--comment", "not on a Friday")
    result = running.wait().expect(0).doc["result"]
    assert "Rejected" in result and "ana rejected it: not on a Friday" in result and deployed(out) == []


def test_a_modified_call_is_validated_and_runs_as_modified(project, out):
    deploying(project)
    running = project.start("--json")
    request = request_of(project)
    assert "/text" in decide(project, "modify", request, "--action", '{"text": 7}', status=2).stderr
    assert pending(project)[0]["status"] == "pending"
    decide(project, "modify", request, "--action", '{"text": "v2"}')
    running.wait().expect(0)
    assert deployed(out) == ["v2"]
    assert "v2" in project.events("R1", "message_injected")[0]["text"]


def test_an_action_that_is_no_json_is_refused(project, out):
    deploying(project)
    running = project.start("--json")
    request = request_of(project)
    assert "not JSON" in decide(project, "modify", request, "--action", "{text", status=2).stderr
    twice = decide(project, "modify", request, "--action", '{"text": "ab", "text": "cd"}', status=2).stderr
    assert "--action:1:16: /text: " in twice and "twice" in twice
    decide(project, "approve", request)
    running.wait().expect(0)


def test_the_first_decision_wins_and_later_ones_are_told(project, out):
    deploying(project, rules=[calls(("deploy", {"text": "v1"})), calls(("deploy", {"text": "v2"}), when={"turn": 2}), reply("done")])
    running = project.start("--json")
    first = request_of(project)
    decide(project, "approve", first, "--reviewer", "ana")
    assert "already decided: ana approved it" in decide(project, "reject", first, "--reviewer", "bob", status=1).stderr
    second = wait_for(lambda: [r for r in pending(project) if r["id"] != first["id"]], "the second request")[0]
    decide(project, "reject", second, "--reviewer", "bob")
    running.wait().expect(0)
    assert deployed(out) == ["v1"]
    assert "already decided" in decide(project, "approve", first, status=1).stderr


def test_what_was_approved_once_is_asked_again_later(project, out):
    deploying(project, rules=[calls(("deploy", {"text": "v1"})), calls(("deploy", {"text": "v1"}), when={"turn": 2}), reply("done")])
    running = project.start("--json")
    first = request_of(project)
    decide(project, "approve", first)
    second = wait_for(lambda: [r for r in pending(project) if r["id"] != first["id"]], "the second request")[0]
    assert second["sha256"] != first["sha256"]
    decide(project, "approve", second)
    running.wait().expect(0)
    assert deployed(out) == ["v1", "v1"]


def test_several_requests_are_answered_in_any_order(project, out):
    deploying(project, rules=[calls(*[("deploy", {"text": f"v{n}"}) for n in range(3)]), reply("done")])
    running = project.start("--json")
    requests = request_of(project, 3)
    assert len({r["id"] for r in requests}) == 3
    for request in reversed(requests):
        decide(project, "approve", request)
    assert running.wait().expect(0).doc["human_approvals"] == 3
    assert sorted(deployed(out)) == ["v0", "v1", "v2"]


def test_several_different_reviewers(project, out):
    deploying(project, checkpoint={"policy": {"high": {"approvals": 2}}})
    running = project.start("--json")
    request = request_of(project)
    assert "1 of 2 approvals" in decide(project, "approve", request, "--reviewer", "ana").stdout
    assert "approved it already" in decide(project, "approve", request, "--reviewer", "ana", status=1).stderr
    assert deployed(out) == []
    decide(project, "approve", request, "--reviewer", "bob")
    running.wait().expect(0)
    assert deployed(out) == ["v1"] and project.count("R1", "approval_voted") == 1


def test_one_rejection_ends_it(project, out):
    deploying(project, checkpoint={"policy": {"high": {"approvals": 3}}})
    running = project.start("--json")
    request = request_of(project)
    decide(project, "approve", request, "--reviewer", "ana")
    decide(project, "reject", request, "--reviewer", "bob")
    running.wait().expect(0)
    assert deployed(out) == []


# --- time ---------------------------------------------------------------------------------------------------------------------------------------


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


# --- the same request over processes ---------------------------------------------------------------------------------------------------------------


def test_after_kill_9_the_same_request_waits_with_the_same_deadline(project, out):
    deploying(project)
    running = project.start("--json")
    before = request_of(project)
    running.kill()
    assert pending(project)[0]["running"] is False
    again = project.troupe.start("resume", "troupe.yaml", "R1", "--json")
    wait_for(lambda: any(row["running"] for row in pending(project)), "the resumed run")
    after = pending(project)[0]
    assert (after["id"], after["deadline"], after["sha256"]) == (before["id"], before["deadline"], before["sha256"])
    decide(project, "approve", after)
    again.wait().expect(0)
    assert deployed(out) == ["v1"]
    asked = project.events("R1", "approval_requested")
    assert len(asked) == 2 and len({each["deadline_us"] for each in asked}) == 1, "who waits now waits until then, too"


def test_what_is_decided_while_nobody_works_counts_on_resume(project, out):
    deploying(project)
    running = project.start("--json")
    request = request_of(project)
    running.kill()
    assert "when its run is resumed" in decide(project, "approve", request).stdout
    project.resume("R1").expect(0)
    assert deployed(out) == ["v1"]


def test_a_vote_before_kill_9_counts_after_it(project, out):
    deploying(project, checkpoint={"policy": {"high": {"approvals": 2}}})
    running = project.start("--json")
    request = request_of(project)
    decide(project, "approve", request, "--reviewer", "ana")
    wait_for(lambda: project.count("R1", "approval_voted"), "the vote")
    running.kill()
    decide(project, "approve", request, "--reviewer", "bob")
    project.resume("R1").expect(0)
    assert deployed(out) == ["v1"] and project.count("R1", "approval_voted") == 1


def test_a_deadline_that_passed_while_nobody_worked_rejects(project, out):
    deploying(project, checkpoint={"timeout": "2s"})
    running = project.start("--json")
    request_of(project)
    running.kill()
    began = time.monotonic()
    wait_for(lambda: time.monotonic() > began + 2.2, "the deadline")
    assert "Auto-rejected" in project.resume("R1").expect(0).doc["result"]
    assert deployed(out) == []


def test_ctrl_c_while_it_waits_keeps_the_run(project, out):
    deploying(project)
    running = project.start("--json")
    request = request_of(project)
    running.signal(SIGINT)
    running.wait().expect(130)
    assert pending(project)[0]["id"] == request["id"]
    decide(project, "approve", request)
    project.resume("R1").expect(0)
    assert deployed(out) == ["v1"]


# --- tasks -------------------------------------------------------------------------------------------------------------------------------------------


def risky_task(project, **more):
    project.scripted([reply("{{ first }}")], tasks=[{"id": "publish", "agent": "worker", "instruction": "Publish it.", "approval": {"risk": "high"}, **more}])


def test_a_task_waits_before_it_works(project):
    risky_task(project)
    running = project.start("--json")
    request = request_of(project)
    assert request["kind"] == "task" and request["action"] == {"instruction": "Publish it."} and project.count("R1", "llm_requested") == 0
    decide(project, "approve", request)
    assert running.wait().expect(0).doc["result"] == "Publish it."


def test_a_task_may_be_told_something_else(project):
    risky_task(project)
    running = project.start("--json")
    request = request_of(project)
    assert "instruction" in decide(project, "modify", request, "--action", '{"text": "x"}', status=2).stderr
    decide(project, "modify", request, "--action", '{"instruction": "Publish half of it."}')
    assert running.wait().expect(0).doc["result"] == "Publish half of it."


def test_a_rejected_task_ends_as_rejected_and_is_not_tried_again(project):
    risky_task(project, attempts=3)
    running = project.start("--json")
    decide(project, "reject", request_of(project), "--reviewer", "ana", "--comment", "too early")
    row = running.wait().expect(1).doc["results"][0]
    assert row["status"] == "rejected" and "ana rejected it: too early" in row["error"] and row["attempts"] == 1


def test_a_task_that_waits_survives_kill_9_and_ctrl_c(project):
    risky_task(project)
    running = project.start("--json")
    request = request_of(project)
    running.kill()
    again = project.troupe.start("resume", "troupe.yaml", "R1", "--json")
    wait_for(lambda: any(row["running"] for row in pending(project)), "the resumed run")
    again.signal(SIGINT)
    again.wait().expect(130)
    assert pending(project)[0]["id"] == request["id"]
    decide(project, "approve", request)
    project.resume("R1").expect(0)


@pytest.mark.parametrize("shape", ["tasks", "elements", "members"])
def test_what_waits_stays_listed_when_another_request_was_decided_while_nobody_worked(shape, project):
    risky = {"approval": {"risk": "high"}, "instruction": "Publish it."}
    tasks = {"tasks": [{"id": "x", "agent": "worker", **risky}, {"id": "y", "agent": "worker", **risky}],
             "elements": [{"id": "x", "agent": "worker", "for_each": "{{ input.list }}", "parallel": 2, **risky}],
             "members": [{"id": "x", "agents": ["worker", "worker"], "resolve": {"by": "vote"}, **risky}]}[shape]
    project.scripted([reply("done")], tasks=tasks, workflow={"input": {"schema": {"type": "object", "properties": {"list": {"type": "array"}}}}})
    running = project.start("--json", "-i", "list=[1, 2]")
    first, second = request_of(project, 2)
    running.kill()
    decide(project, "approve", first)
    again = project.troupe.start("resume", "troupe.yaml", "R1", "--json")
    wait_for(lambda: project.count("R1", "approval_decided"), "the first decision's end")
    assert [row["id"] for row in pending(project)] == [second["id"]]
    assert project.events("R1", "approval_decided")[0]["pending"] == 1
    assert json.loads(project.troupe("runs", "troupe.yaml", "--json").expect(0).stdout)["runs"][0]["workflow_status"] == "waiting_approval"
    decide(project, "approve", second)
    assert again.wait().expect(0).doc["human_approvals"] == 2


def test_a_rejected_member_rejects_nobody_else_and_nothing_is_recorded_after_the_end(project):
    agents = {name: {"system": name, "output": {"min_length": 100, "retries": 0}} for name in ("x", "y")}
    project.scripted([reply("short")], agents=agents, tasks=[{"id": "t", "agents": ["x", "y"], "resolve": {"by": "vote"}, "approval": {"risk": "high"}, "attempts": 3, "instruction": "i"}])
    running = project.start("--json")
    first, second = request_of(project, 2)
    decide(project, "reject", first, "--comment", "no")
    wait_for(lambda: [row["id"] for row in pending(project)] == [second["id"]], "the other one, which still waits")
    decide(project, "approve", second)
    document = running.wait().expect(1).doc
    assert document["workflow_status"] == "failed" and document["results"][0]["attempts"] == 1
    assert project.events("R1")[-1]["type"] == "run_finished" and project.count("R1", "approval_requested") == 2
    assert pending(project) == []


def test_who_decides_between_approved_answers_is_not_approved_again(project):
    agents = {name: {"system": name} for name in ("x", "y", "judge")}
    project.scripted([reply('{"choice": 1}', when={"agent": "judge"}), reply("{{ agent }}")], agents=agents,
                     tasks=[{"id": "t", "agents": ["x", "y"], "resolve": {"by": "arbiter", "arbiter": "judge"}, "approval": {"risk": "high"}, "instruction": "i"}])
    running = project.start("--json")
    for request in request_of(project, 2):
        decide(project, "approve", request)
    assert running.wait().expect(0).doc["result"] in ("x", "y")
    assert project.count("R1", "approval_requested") == 2


def test_what_was_asked_for_an_attempt_is_not_answered_to_the_next(project):
    """A race: the winner stops who still waits; its withdrawn request is nobody's rejection, in this attempt or another."""
    agents = {name: {"system": name} for name in ("x", "y", "z")}
    said = {"x": "1", "y": "2", "z": "3"}
    project.scripted([reply(said[name], when={"agent": name}) for name in said], agents=agents,
                     tasks=[{"id": "t", "agents": list(said), "resolve": {"by": "vote", "quorum": 3}, "approval": {"risk": "high"}, "attempts": 2, "instruction": "i"}])
    running = project.start("--json")
    asked = request_of(project, 3)
    for request in asked[:2]:  # two that differ: a quorum of all is out of reach, and the third is stopped while it waits
        decide(project, "approve", request)
    again = wait_for(lambda: (rows := pending(project)) and len(rows) == 3 and not {r["id"] for r in rows} & {r["id"] for r in asked} and rows, "three new requests, and no old one")
    assert "nothing waits for this" in decide(project, "approve", asked[2], status=1).stderr
    for request in again[:2]:
        decide(project, "approve", request)
    document = running.wait().expect(1).doc
    assert document["reason"] == "conflict" and document["results"][0]["attempts"] == 2
    assert project.events("R1")[-1]["type"] == "run_finished" and pending(project) == []
    assert {event["status"] for event in project.events("R1", "approval_decided")} == {"approved"}


def test_what_was_approved_in_one_attempt_of_a_sub_workflow_is_asked_again_in_the_next(project, out):
    """Its tasks begin with their first attempt again: neither they nor their calls are those that were approved."""
    deploying(project, rules=[calls(("deploy", {"text": "v1"})), reply("short")], agents={"worker": {"system": "worker", "tools": ["deploy"], "output": {"min_length": 100, "retries": 0}}},
              tasks=[{"id": "sub", "workflow": "inner", "attempts": 2}],
              workflows={"inner": {"tasks": [{"id": "deep", "agent": "worker", "instruction": "Deploy.", "approval": {"risk": "high"}}]}})
    running = project.start("--json")
    asked = []
    for _ in range(4):  # the task, its call; and both once more
        asked.append(wait_for(lambda: [r for r in pending(project) if r["id"] not in asked], "the next request")[0]["id"])
        decide(project, "approve", {"id": asked[-1]})
    document = running.wait().expect(1).doc
    assert document["results"][0]["attempts"] == 2 and document["human_approvals"] == 4
    assert deployed(out) == ["v1", "v1"] and document["llm_calls"] == 4


def test_what_waits_in_a_second_attempt_of_a_sub_workflow_survives_kill_9(project):
    project.scripted([reply("short")], agent={"output": {"min_length": 100, "retries": 0}}, tasks=[{"id": "sub", "workflow": "inner", "attempts": 2}],
                     workflows={"inner": {"tasks": [{"id": "deep", "agent": "worker", "instruction": "Publish it.", "approval": {"risk": "high"}}]}})
    running = project.start("--json")
    first = request_of(project)
    decide(project, "approve", first)
    second = wait_for(lambda: [r for r in pending(project) if r["id"] != first["id"]], "the second request")[0]
    running.kill()
    assert [row["id"] for row in pending(project)] == [second["id"]]
    decide(project, "approve", second)
    assert project.resume("R1").expect(1).doc["human_approvals"] == 2
    assert project.count("R1", "approval_decided") == 2


def test_a_run_whose_last_request_was_withdrawn_waits_for_nobody(project):
    """A race: its winner stops who still waits, and the run goes on."""
    agents = {name: {"system": name} for name in ("x", "y", "slow")}
    project.scripted([{**reply("late", when={"agent": "slow"}), "latency": "60s"}, reply("done")], agents=agents,
                     tasks=[{"id": "t", "agents": ["x", "y"], "resolve": {"by": "first"}, "approval": {"risk": "high"}, "instruction": "i"},
                            {"id": "u", "agent": "slow", "instruction": "i", "needs": ["t"]}])
    project.start("--json")
    status = lambda: json.loads(project.troupe("runs", "troupe.yaml", "--json").expect(0).stdout)["runs"][0]["workflow_status"]
    first, second = request_of(project, 2)
    assert status() == "waiting_approval"
    decide(project, "approve", first)
    wait_for(lambda: project.count("R1", "llm_requested") == 2, "the next task")
    assert status() == "running" and pending(project) == []
    withdrawn, = project.events("R1", "approval_withdrawn")
    assert withdrawn["id"] == second["id"] and withdrawn["pending"] == 0
    assert "nothing waits for this" in decide(project, "approve", second, status=1).stderr


def test_a_rejected_output_is_not_asked_for_again(project):
    project.scripted([reply("short")], agent={"output": {"min_length": 100, "retries": 0, "human": True}}, tasks=[{"id": "t", "agent": "worker", "instruction": "i", "attempts": 3}])
    running = project.start("--json")
    decide(project, "reject", request_of(project), "--comment", "no")
    document = running.wait().expect(1).doc
    assert document["results"][0]["status"] == "quality_failed" and document["results"][0]["attempts"] == 1 and document["llm_calls"] == 1


def test_cancel_ends_what_waits(project):
    risky_task(project)
    running = project.start("--json")
    request_of(project)
    project.troupe("cancel", "troupe.yaml", "R1").expect(0)
    assert running.wait().expect(3).doc["reason"] == "cancelled"


# --- the command line -----------------------------------------------------------------------------------------------------------------------------


def test_the_list_is_for_people_and_escapes_what_models_wrote(project, out):
    deploying(project, rules=[calls(("deploy", {"text": "\x1b[31mred\nline"})), reply("done")])
    running = project.start("--json")
    request = request_of(project)
    told = project.troupe("approvals", "troupe.yaml").expect(0).stdout
    assert request["id"] in told and "tool deploy, risk high" in told and "\x1b" not in told
    decide(project, "reject", request)
    running.wait().expect(0)
    assert "Nothing waits" in project.troupe("approvals", "troupe.yaml").expect(0).stdout


def test_the_last_digits_of_an_id_are_enough(project, out):
    deploying(project)
    running = project.start("--json")
    request = request_of(project)
    project.troupe("approve", "troupe.yaml", request["id"].rsplit("-", 1)[1]).expect(0)
    running.wait().expect(0)


@pytest.mark.parametrize("id", ["R1-00000000", "00000000", "x"])
def test_an_unknown_id_is_told(id, project, out):
    deploying(project)
    project.run("--id", "R1", "--yes").expect(0)
    told = project.troupe("approve", "troupe.yaml", id)
    assert told.status == 2 and "no " in told.stderr


def on_terminal(project, *args, typed="", term="xterm", stdout=None):
    """The run on a terminal of its own, with what was typed there before: answers (process, read until, write)."""
    ours, theirs = pty.openpty()
    os.write(ours, typed.encode())
    child = subprocess.Popen([BINARY, "run", "troupe.yaml", "job", "--id", "R1", *args], cwd=project.folder, env=clean_environment(TERM=term), stdin=theirs, stdout=stdout or theirs, stderr=theirs,
                             start_new_session=True)
    os.close(theirs)
    seen = []

    def until(pattern):
        end = time.monotonic() + DEADLINE
        while not re.search(pattern, "".join(seen)):
            if time.monotonic() > end or not select.select([ours], [], [], end - time.monotonic())[0]:
                pytest.fail(f"no {pattern!r} in {''.join(seen)!r}")
            try:
                seen.append(os.read(ours, 65536).decode("utf-8", "replace"))
            except OSError:
                pytest.fail(f"the program ended without {pattern!r}: {''.join(seen)!r}")
        return "".join(seen)

    return child, until, lambda text: os.write(ours, text.encode())


def test_a_run_on_a_terminal_asks_there(project, out):
    deploying(project)
    child, until, write = on_terminal(project)
    assert "v1" in until(r"\[a\]pprove")
    write("what?\n")
    until(r"\[a\]pprove[\s\S]*\[a\]pprove")
    write("a\n")
    until("run R1 completed")
    assert child.wait(DEADLINE) == 0 and deployed(out) == ["v1"]


def test_a_question_on_the_terminal_ends_when_another_process_decides(project, out):
    deploying(project)
    child, until, write = on_terminal(project)
    until(r"\[a\]pprove")
    decide(project, "reject", request_of(project), "--comment", "no")
    until("run R1 completed")
    assert child.wait(DEADLINE) == 0 and deployed(out) == []


def test_what_was_typed_before_the_question_stood_there_is_no_answer_to_it(project, out):
    deploying(project)
    child, until, write = on_terminal(project, typed="y\n")
    until(r"\[a\]pprove")
    write("r not yet\n")  # behind the "y", which would have been read first
    until("run R1 completed")
    assert child.wait(DEADLINE) == 0 and deployed(out) == []
    decided = project.events("R1", "approval_decided")[0]
    assert decided["status"] == "rejected" and decided["comment"] == "not yet"


def test_after_ctrl_d_it_says_how_to_decide_elsewhere_and_still_listens(project, out):
    deploying(project)
    child, until, write = on_terminal(project)
    until(r"\[a\]pprove")
    write("\x04")
    until(r"JSON\? \r\nWaits for approval until \S+Z\. Decide with: troupe approve troupe\.yaml R1-[0-9a-f]{8} .*\r\n\[a\]pprove")
    assert len(pending(project)) == 1
    write("r no\x04t \x04")  # Ctrl-D behind some letters ends no line
    write("on a Friday\n")  # nothing of it is left for the shell
    until("run R1 completed")
    assert child.wait(DEADLINE) == 0 and deployed(out) == []
    assert project.events("R1", "approval_decided")[0]["comment"] == "not on a Friday"


@pytest.mark.parametrize("term", ["xterm", "dumb"])
def test_a_question_that_stands_ends_its_line_with_what_became_of_it(term, project, out):
    """Else the next thing that is told would stand behind the question."""
    deploying(project)
    child, until, write = on_terminal(project, term=term)
    until(r"\[a\]pprove")
    decide(project, "reject", request_of(project), "--reviewer", "ana", "--comment", "no")
    shown = until("run R1 completed")
    assert re.search(r"\[m\]odify JSON\? ana rejected it: no\r\n", shown)
    assert child.wait(DEADLINE) == 0 and deployed(out) == []


def test_lines_of_a_dumb_terminal_wait_while_a_question_stands(project, out):
    """Two tasks: what the other one does meanwhile is told after the answer."""
    agents = {"asker": {"system": "asker", "tools": ["deploy"]}, "other": {"system": "other"}}
    deploying(project, rules=[calls(("deploy", {"text": "v1"}), when={"agent": "asker", "turn": 1}), reply("fine", when={"agent": "asker"}), reply("meanwhile", when={"agent": "other"}, latency="300ms")],
              agents=agents, tasks=[{"id": name, "agent": name, "instruction": "x"} for name in agents])
    child, until, write = on_terminal(project, term="dumb")
    until(r"\[a\]pprove")
    wait_for(lambda: project.events("R1", "llm_responded")[-1]["task_id"] == "other", "the other one's end")
    write("a\n")
    shown = until("run R1 completed")
    assert child.wait(DEADLINE) == 0 and deployed(out) == ["v1"]
    assert re.search(r"\[m\]odify JSON\? a\r\n", shown) and shown.index("other [other] done: meanwhile") > shown.index("JSON? a")


def test_with_json_it_asks_there_too_and_standard_output_holds_the_document_alone(project, out):
    deploying(project)
    with open(project.folder / "document", "w") as document:
        child, until, write = on_terminal(project, "--json", stdout=document)
        until(r"\[a\]pprove")
        write("a\n")
        assert child.wait(DEADLINE) == 0
    assert json.loads(project.read("document"))["result"] == "deployed v1" and deployed(out) == ["v1"]


def test_nobody_is_asked_of_what_yes_decides(project):
    project.scripted([reply("short")], agent={"output": {"min_length": 100, "retries": 0, "human": True}})
    told = project.troupe("run", "troupe.yaml", "job", "--id", "R1", "--yes").expect(0)
    assert "no human is asked (--yes): output worker" in told.stderr and "APPROVED: approved by --yes" in told.stderr
    assert "WAITS" not in told.stderr and "Decide with" not in told.stderr
    asked, end = project.events("R1", "approval_requested")[0], project.events("R1", "approval_decided")[0]
    assert asked["needed"] == 0 and not end["by_human"] and end["id"] == asked["id"]


@pytest.mark.parametrize("how", ["decided", "late", "yes"])
def test_a_resumed_run_asks_nobody_again_what_is_decided_or_past_its_deadline(how, project, out):
    deploying(project, checkpoint={"timeout": "1s" if how == "late" else "5m"})
    running = project.start("--json")
    request = request_of(project)
    running.kill()
    if how == "decided":
        decide(project, "approve", request, "--reviewer", "ana")
    if how == "late":
        wait_for(lambda: time.time() > int(project.events("R1", "approval_requested")[0]["deadline_us"]) / 1e6, "its deadline")
    told = project.troupe("resume", "troupe.yaml", "R1", *(["--yes"] if how == "yes" else [])).expect(0)
    assert "WAITS" not in told.stderr and "Decide with" not in told.stderr
    assert {"decided": "APPROVED by ana", "late": "REJECTED: Auto-rejected: approval timeout", "yes": "APPROVED: approved by --yes"}[how] in told.stderr
    assert project.count("R1", "approval_requested") == 1 and project.count("R1", "approval_decided") == 1
    assert deployed(out) == ([] if how == "late" else ["v1"])


def test_an_answer_that_was_typed_twice_counts_for_one_question(project, out):
    deploying(project, rules=[calls(("deploy", {"text": "v1"}), ("deploy", {"text": "v2"})), reply("done")])
    child, until, write = on_terminal(project)
    until(r"\[a\]pprove")
    write("a\na\n")
    until(r"\[a\]pprove[\s\S]*\[a\]pprove")
    write("r not both\n")
    until("run R1 completed")
    assert child.wait(DEADLINE) == 0 and len(deployed(out)) == 1
    assert sorted(event["status"] for event in project.events("R1", "approval_decided")) == ["approved", "rejected"]


def test_what_comes_from_a_pipe_decides_nothing(project, out):
    deploying(project, checkpoint={"timeout": "300ms"})
    told = project.run("--id", "R1", stdin="y\n" * 1000).expect(0)
    assert "Auto-rejected" in told.doc["result"] and deployed(out) == [], "who decides without being asked says --yes"


# --- alternatives -----------------------------------------------------------------------------------------------------------------------------


def with_alternative(project, *, risk="critical", **more):
    """A harmless tool that fails, and whose alternative is risky."""
    harmless = process("false", parameters=STRING, retries=0, alternative="danger")
    danger = process("sh", "-c", "echo $0 >> out/deployed; echo done", "{{ text }}", parameters=STRING, sandbox={"write": ["out"]}, risk=risk)
    project.scripted([calls(("harmless", {"text": "v1"})), reply("{{ last }}")], agent={"tools": ["harmless"]}, tools={"harmless": harmless, "danger": danger}, **more)


def test_an_alternative_does_not_run_unasked(project, out):
    with_alternative(project)
    told = project.troupe("validate", "troupe.yaml").expect(0)
    assert "/tools/harmless/alternative" in told.stderr + told.stdout and "a human is asked before each call" in told.stderr + told.stdout
    running = project.start("--json")
    request = request_of(project)
    assert request["risk_level"] == "critical" and request["details"]["alternatives"][0]["tool"] == "danger"
    assert 'if it fails: "danger" (risk critical)' in project.troupe("approvals", "troupe.yaml").expect(0).stdout
    assert project.count("R1", "tool_started") == 0
    decide(project, "reject", request, "--reviewer", "ana", "--comment", "not that")
    assert "ana rejected it: not that" in running.wait().expect(0).doc["result"] and deployed(out) == []


def test_an_alternative_that_was_approved_runs(project, out):
    with_alternative(project)
    running = project.start("--json")
    decide(project, "approve", request_of(project))
    running.wait().expect(0)
    assert deployed(out) == ["v1"]
    assert [e["tool"] for e in project.events("R1", "tool_started")] == ["harmless", "danger"]


def test_an_alternative_that_the_policy_lets_run_is_not_asked_about(project, out):
    with_alternative(project, checkpoint={"policy": {"critical": "auto"}})
    project.run("--id", "R1").expect(0)
    assert deployed(out) == ["v1"] and project.count("R1", "approval_requested") == 0


def test_an_alternative_of_a_delegated_call_does_not_run_unasked(project, out):
    with_alternative(project)
    rules = [calls(("agent_worker", {"task": "Do it."}), when={"agent": "boss", "turn": 1}), calls(("harmless", {"text": "v1"}), when={"agent": "worker", "turn": 1}), reply("{{ last }}")]
    tools = project.data["tools"]
    project.scripted(rules, agents={"boss": {"system": "boss", "tools": ["agent:worker"], "delegate": {"rights": "own"}}, "worker": {"system": "worker", "tools": ["harmless"]}}, tools=tools)
    running = project.start("--json")
    request = request_of(project)
    assert request["risk_level"] == "critical" and request["action"] == {"text": "v1"}
    decide(project, "reject", request)
    running.wait().expect(0)
    assert deployed(out) == []


# --- --yes -------------------------------------------------------------------------------------------------------------------------------------


def test_an_output_that_is_taken_as_it_is_leaves_nothing_waiting(project):
    project.scripted([reply("x", when={"agent": "writer"}), reply("late", latency="20s")],
                     agents={"writer": {"output": {"min_length": 5, "retries": 0, "human": True}}, "slow": {}},
                     tasks=[{"id": "a", "agent": "writer", "instruction": "Write."}, {"id": "b", "agent": "slow", "instruction": "Wait."}])
    running = project.start("--json", "--yes")
    wait_for(lambda: "approval_decided" in project.troupe("show", "troupe.yaml", "R1", "--events").stdout, "the output's decision")
    decided = project.events("R1", "approval_decided")[0]
    assert decided["pending"] == 0 and not decided["by_human"]
    listed = json.loads(project.troupe("runs", "troupe.yaml", "--json").expect(0).stdout)["runs"][0]
    assert listed["workflow_status"] == "running"
    running.kill()


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
    assert ended["results"][0]["status"] == "timeout" and 4.8 < ended["duration_seconds"] < 7.5


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


def test_a_run_that_is_resumed_with_yes_waits_for_nobody(project, out):
    deploying(project, rules=[calls(("deploy", {"text": "v1"})), reply("{{ last }}", latency="2s")])
    running = project.start("--json")
    request = request_of(project)
    running.kill()
    again = project.troupe.start("resume", "troupe.yaml", "R1", "--yes", "--json")
    wait_for(lambda: deployed(out) == ["v1"], "the deployment")
    assert pending(project) == []
    assert '"waiting_approval"' not in project.troupe("runs", "troupe.yaml", "--json").expect(0).stdout
    again.wait().expect(0)
    decided = project.events("R1", "approval_decided")
    assert [(each["id"], each["status"], each["by_human"], each["pending"]) for each in decided] == [(request["id"], "approved", False, 0)]


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


# --- what is not listed is not decided ---------------------------------------------------------------------------------------------------------


def test_a_decision_about_an_aborted_run_is_refused_and_what_it_asks_anew_is_decidable(project, out):
    deploying(project, checkpoint={"timeout": "4s"})
    running = project.start("--json")
    request = request_of(project)
    project.troupe("cancel", "troupe.yaml", "R1").expect(0)
    running.wait().expect(3)
    assert pending(project) == []
    assert "R1 has ended" in decide(project, "approve", request, status=1).stderr
    wait_for(lambda: time.time() * 1e6 > project.events("R1", "approval_requested")[0]["deadline_us"], "its old deadline")
    again = project.troupe.start("resume", "troupe.yaml", "R1", "--json")
    anew = request_of(project)
    assert anew["id"] == request["id"] and deployed(out) == []
    decide(project, "approve", anew)
    again.wait().expect(0)
    assert deployed(out) == ["v1"]


# --- who decides -------------------------------------------------------------------------------------------------------------------------------


def test_spaces_around_a_name_make_no_other_reviewer(project, out):
    deploying(project, checkpoint={"policy": {"high": {"approvals": 2}}})
    running = project.start("--json")
    request = request_of(project)
    for nobody in ("", "  "):
        assert "the name of its reviewer" in decide(project, "approve", request, "--reviewer", nobody, status=2).stderr
    decide(project, "approve", request, "--reviewer", "ana")
    assert "approved it already" in decide(project, "approve", request, "--reviewer", " ana ", status=1).stderr
    assert deployed(out) == []
    decide(project, "approve", request, "--reviewer", " bob ")
    running.wait().expect(0)
    assert project.events("R1", "approval_decided")[0]["reviewer"] == "bob"


def test_an_output_asks_for_what_its_risk_needs(project):
    project.scripted([reply("too long")], agent={"output": {"max_length": 2, "retries": 0, "human": True}}, checkpoint={"policy": {"medium": {"approvals": 2}}})
    running = project.start("--json")
    request = request_of(project)
    assert request["risk_level"] == "medium"
    assert "1 of 2 approvals" in decide(project, "approve", request, "--reviewer", "ana").stdout
    decide(project, "approve", request, "--reviewer", "bob")
    assert running.wait().expect(0).doc["results"][0]["output"] == "too long"


# --- what several reviewers agree to -----------------------------------------------------------------------------------------------------------


def test_who_comes_after_a_modification_is_shown_it_and_approves_that(project, out):
    deploying(project, checkpoint={"policy": {"high": {"approvals": 2}}})
    running = project.start("--json")
    asked = request_of(project)
    changed = decide(project, "modify", asked, "--action", '{"text": "mine"}', "--reviewer", "mallory").stdout
    assert asked["id"] not in changed and "1 of 2" in changed
    now = pending(project)[0]
    assert now["request_id"] == asked["id"] != now["id"] and now["sha256"] != asked["sha256"] and now["modified_by"] == "mallory"
    assert now["action"] == {"text": "v1"} and now["modified_action"] == {"text": "mine"}
    listed = project.troupe("approvals", "troupe.yaml").expect(0).stdout
    assert 'CHANGED by: mallory' in listed and 'arguments: {"text":"mine"}' in listed and now["id"] in listed
    for unseen in (asked, {"id": asked["id"][-8:]}):
        told = decide(project, "approve", unseen, "--reviewer", "cyd", status=1).stderr
        assert "mallory has changed its action" in told and now["id"] in told
    decide(project, "approve", now, "--reviewer", "cyd")
    running.wait().expect(0)
    assert deployed(out) == ["mine"]
    end = project.events("R1", "approval_decided")[0]
    assert end["modified_by"] == "mallory" and end["reviewer"] == "cyd"
    timeline = project.troupe("show", "troupe.yaml", "R1").expect(0).stdout
    assert "CHANGED by mallory, 1 of 2" in timeline and "MODIFIED by mallory, approved by cyd" in timeline
    assert "cyd approved the call" in project.events("R1", "message_injected")[0]["text"] and "mallory" in project.events("R1", "message_injected")[0]["text"]


def test_votes_do_not_outlive_an_abort(project, out):
    deploying(project, checkpoint={"policy": {"high": {"approvals": 2}}}, workflow={"budget": {"time": "2s"}})
    running = project.start("--json")
    asked = request_of(project)
    decide(project, "modify", asked, "--action", '{"text": "mine"}', "--reviewer", "mallory")
    assert running.wait().expect(3).doc["reason"] == "timeout"
    again = project.troupe.start("resume", "troupe.yaml", "R1", "--add-time", "1m", "--json")
    now = request_of(project)
    assert now["approvals"] == 0 and now["id"] == asked["id"] and now["modified_action"] is None
    decide(project, "approve", now, "--reviewer", "mallory")
    assert pending(project)[0]["approvals"] == 1
    decide(project, "approve", now, "--reviewer", "cyd")
    again.wait().expect(0)
    assert deployed(out) == ["v1"]


def test_votes_outlive_a_kill(project, out):
    deploying(project, checkpoint={"policy": {"high": {"approvals": 2}}})
    running = project.start("--json")
    asked = request_of(project)
    decide(project, "approve", asked, "--reviewer", "ana")
    wait_for(lambda: project.events("R1", "approval_voted"), "the recorded vote")
    running.kill()
    again = project.troupe.start("resume", "troupe.yaml", "R1", "--json")
    wait_for(lambda: (rows := pending(project)) and rows[0]["running"], "its new owner")
    assert pending(project)[0]["approvals"] == 1
    decide(project, "approve", asked, "--reviewer", "bob")
    again.wait().expect(0)
    assert deployed(out) == ["v1"] and project.count("R1", "approval_voted") == 1


def test_all_of_what_is_to_be_approved_is_shown(project, out):
    long = "Invoice 4711 for office supplies, as agreed. " * 10
    texts = {"type": "object", "properties": {name: {"type": "string"} for name in ("text", "a_memo", "z_payee")}}
    project.scripted([calls(("deploy", {"text": "v1", "a_memo": long, "z_payee": "mallory"})), reply("{{ last }}")], agent={"tools": ["deploy"]},
                     tools={"deploy": process("echo", "{{ text }}", parameters=texts, risk="high")})
    running = project.start("--json")
    asked = request_of(project)
    listed = project.troupe("approvals", "troupe.yaml").expect(0).stdout
    assert f'    a_memo: "{long}"\n    text: "v1"\n    z_payee: "mallory"\n' in listed
    decide(project, "reject", asked)
    running.wait().expect(0)


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
