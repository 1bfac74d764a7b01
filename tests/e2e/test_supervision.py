"""Agents that die: restarted, their task goes on; too often: poison or the end of the program (SEMANTICS 8)."""
import pytest

from conftest import calls, reply


def crash(times=None):
    return {"crash": True, **({"times": times} if times else {})}


ECHO_TOOL = {"kind": "process", "description": "x", "command": ["sh", "-c", "echo run >> out/runs; echo done"], "effect": "once", "sandbox": {"write": ["out"]}}


def test_an_agent_that_dies_takes_nothing_with_it(project):
    (project.folder / "out").mkdir()
    project.scripted([calls(("note", {})), {"when": {"turn": 2}, "reply": {"tool_calls": [{"name": "note", "arguments": {}}]}}, reply("fine", fault=crash(1))],
                     agent={"tools": ["note"]}, tools={"note": ECHO_TOOL})
    document = project.run("--id", "R1").expect(0).doc
    assert document["result"] == "fine" and document["results"][0]["attempts"] == 1
    assert project.read("out/runs").count("run") == 2, "recorded tool calls are not repeated"
    events = project.events("R1")
    answered = [e["step_id"] for e in events if e["type"] == "llm_responded"]
    assert len(answered) == len(set(answered)) == 3, "recorded steps are not repeated"
    assert [e["crashes"] for e in events if e["type"] == "agent_crashed"] == [1]
    assert len([e for e in events if e["type"] == "agent_restarted"]) == 1


def test_three_crashes_are_survived(project):
    project.scripted([reply("fine", fault=crash(3))], supervision={"max_restarts": 10, "children": [{"agent": "worker"}]})
    document = project.run("--id", "R1").expect(0).doc
    assert document["result"] == "fine"
    assert [e["crashes"] for e in project.events("R1", "agent_crashed")] == [1, 2, 3]


def test_a_task_that_kills_a_fourth_time_is_poison(project):
    project.scripted([reply("never", when={"last": "poison"}, fault=crash()), reply("fine")], supervision={"max_restarts": 10, "children": [{"agent": "worker"}]},
                     tasks=[{"id": "a", "agent": "worker", "instruction": "poison", "on_failure": "continue"}, {"id": "b", "agent": "worker", "instruction": "{{ tasks.a.status }}"}])
    document = project.run("--id", "R1").expect(0).doc
    rows = {row["task_id"]: row for row in document["results"]}
    assert rows["a"]["status"] == "error" and rows["b"]["output"] == "fine"
    assert {"task_id": "a", "agent": "worker", "reason": "poison"} in document["failures"]
    assert project.count("R1", "agent_crashed") == 4


def test_poison_that_is_not_forgiven_fails_the_run_with_its_document(project):
    project.scripted([reply("never", fault=crash())], supervision={"max_restarts": 10, "children": [{"agent": "worker"}]})
    document = project.run("--id", "R1").expect(1).doc
    assert (document["workflow_status"], document["reason"]) == ("failed", "poison")


def test_the_default_intensity_is_not_exceeded_by_one_poisonous_task(project):
    project.scripted([reply("never", fault=crash())])
    document = project.run("--id", "R1").expect(1).doc
    assert document["reason"] == "poison", "the fourth crash does not count towards the intensity"


@pytest.mark.parametrize("most", [0, 1])
def test_too_many_restarts_end_the_program_with_a_report(most, project):
    project.scripted([reply("fine", when={"last": "good"}), reply("never", fault=crash())], supervision={"max_restarts": most, "children": [{"agent": "worker"}]},
                     tasks=[{"id": "a", "agent": "worker", "instruction": "good"}, {"id": "b", "agent": "worker", "instruction": "bad", "needs": ["a"]}])
    told = project.run("--id", "R1", timeout=8).expect(1)
    assert told.doc["workflow_status"] == "failed" and told.doc["results"][0]["output"] == "fine"
    assert "root" in told.stderr or "root" in str(told.doc), told.stderr
    assert project.count("R1", "agent_restarted") <= most
    assert project.count("R1", "run_finished") == 1


def test_one_for_all_restarts_the_others_and_their_tasks_go_on(project, mock_llm):
    project.scripted([{"when": {"agent": "bad"}, "reply": {"text": "bad is fine"}, "fault": crash(1), "latency": "200ms"}, {"when": {"agent": "good"}, "reply": {"text": "good is fine"}, "latency": "600ms"}],
                     agents={"good": {"system": "good"}, "bad": {"system": "bad"}}, supervision={"strategy": "one_for_all", "children": [{"agent": "good"}, {"agent": "bad"}]},
                     tasks=[{"id": "a", "agent": "good", "instruction": "x"}, {"id": "b", "agent": "bad", "instruction": "x"}])
    document = project.run("--id", "R1").expect(0).doc
    assert [row["output"] for row in document["results"]] == ["good is fine", "bad is fine"]
    crashed = project.events("R1", "agent_crashed")
    assert [e["agent"] for e in crashed] == ["bad"], "the sibling did not die of its own task"


def test_a_task_that_is_cancelled_while_its_agent_is_ended_does_not_go_on(project):
    """Its sibling is poison: the run fails, and one_for_all ends the agent of the other at the same moment."""
    project.scripted([{"when": {"agent": "bad"}, "reply": {"text": "never"}, "fault": crash(), "latency": "300ms"}, {"when": {"agent": "good"}, "reply": {"text": "late"}, "latency": "8s"}],
                     agents={"good": {"system": "good"}, "bad": {"system": "bad", "crashes": 0}}, supervision={"strategy": "one_for_all", "children": [{"agent": "good"}, {"agent": "bad"}]},
                     tasks=[{"id": "a", "agent": "good", "instruction": "x"}, {"id": "b", "agent": "bad", "instruction": "x"}])
    told = project.run("--id", "R1").expect(1)
    assert told.doc["reason"] == "poison" and told.seconds < 4
    assert {row["task_id"]: row["status"] for row in told.doc["results"]} == {"a": "cancelled", "b": "error"}
    assert project.count("R1", "llm_requested") == 2 and project.count("R1", "llm_responded") == 0, "nothing more is asked for"
    events = project.events("R1")
    assert [e["type"] for e in events if e.get("task_id") == "a" and e["type"] == "llm_failed"] == ["llm_failed"], "what it asked for is settled"
    assert events[-1]["type"] == "run_finished", "before the run ends"


def test_a_temporary_agent_does_not_come_back_and_its_task_fails_at_once(project):
    project.scripted([reply("never", fault=crash(1))], supervision={"children": [{"agent": "worker", "restart": "temporary"}]})
    told = project.run("--id", "R1").expect(1)
    assert told.doc["results"][0]["status"] == "error" and told.seconds < 10


def test_a_pool_goes_on_with_what_is_left(project):
    project.scripted([reply("fine", when={"last": "^good"}), reply("saved", fault=crash(1))], supervision={"children": [{"pool": "worker", "size": 3}]},
                     tasks=[{"id": "all", "agent": "worker", "for_each": "{{ input.list }}", "instruction": "{{ item }}"}])
    project.write("in.json", {"list": ["good"] * 5 + ["bad"] + ["good"] * 5})
    document = project.run("--id", "R1", "--input", "in.json").expect(0).doc
    assert document["result"] == ["fine"] * 5 + ["saved"] + ["fine"] * 5
