"""Humans decide, from the terminal of the run or from any other process (SEMANTICS 7)."""
import json
import time

import pytest

from approving import decide, deployed, deploying, out, pending, request_of  # noqa: F401 (a fixture)
from conftest import SIGINT, calls, reply, wait_for
from test_tools import STRING, process


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
