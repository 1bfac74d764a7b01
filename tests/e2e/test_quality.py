"""What becomes of answers that break their contract: the command, the reviewer, the human (SEMANTICS 5)."""
import json

import pytest

from conftest import SIGINT, calls, reply, wait_for

SCHEMA = {"type": "object", "required": ["facts"], "properties": {"facts": {"type": "array", "items": {"type": "string"}}}}
BAD = '{"facts": [7]}'


def verdict(verdict, **more):
    return reply(json.dumps({"verdict": verdict, **more}), when={"agent": "critic"})


def reviewed(project, rules, *, output=None, **more):
    """A writer whose answers break their contract, and its critic."""
    project.scripted(rules, agents={"writer": {"output": {"schema": SCHEMA, "retries": 0, "reviewer": "critic", **(output or {})}}, "critic": {"system": "critic"}},
                     tasks=[{"id": "t", "agent": "writer", "instruction": "List the facts."}], **more)


def request_of(project, run_id="R1"):
    return wait_for(lambda: json.loads(project.troupe("approvals", "troupe.yaml", "--json").expect(0).stdout)["approvals"], "a request")[0]


# --- the command -----------------------------------------------------------------------------------------------------------------------------


def test_a_command_judges_what_the_other_rules_let_pass(project):
    project.scripted([reply('{"facts": ["one"]}', when={"turn": 1}), {"when": {"last": "two facts"}, "reply": {"text": '{"facts": ["one", "two"]}'}}],
                     agent={"output": {"schema": SCHEMA, "command": ["sh", "-c", "grep -q two || { echo 'two facts are wanted'; exit 1; }"]}})
    document = project.run("--id", "R1").expect(0).doc
    assert document["result"] == {"facts": ["one", "two"]} and document["tool_calls"] == 0
    assert [e["holds"] for e in project.events("R1", "output_checked")] == [False, True]
    assert "two facts are wanted (command)" in project.events("R1", "contract_violated")[0]["violations"][0]


def test_a_command_is_not_asked_about_what_breaks_the_other_rules(project):
    project.scripted([reply(BAD)], agent={"output": {"schema": SCHEMA, "retries": 0, "command": ["true"]}})
    project.run("--id", "R1").expect(1)
    assert project.count("R1", "output_checked") == 0


def test_a_command_reads_a_text_as_it_is(project):
    project.scripted([reply("a\n\"quoted\"\n")], agent={"output": {"command": ["sh", "-c", "test \"$(wc -l)\" = 2"]}})
    project.run("--id", "R1").expect(0)


def test_a_command_is_sandboxed(project):
    project.scripted([reply("x")], agent={"output": {"retries": 0, "command": ["sh", "-c", "echo x > written || { echo read-only; exit 1; }"]}})
    told = project.run("--id", "R1").expect(1)
    assert "read-only" in told.doc["results"][0]["error"] and not (project.folder / "written").exists()


def test_a_command_that_is_not_there_is_an_error_and_no_violation(project):
    project.scripted([reply("x")], agent={"output": {"command": ["no-such-program"]}})
    told = project.run("--id", "R1").expect(1)
    assert project.count("R1", "llm_requested") == 1 and told.doc["results"][0]["status"] == "error" and "no-such-program" in told.doc["results"][0]["error"]


def test_a_command_has_the_tasks_time_only(project):
    project.scripted([reply("x")], agent={"timeout": "500ms", "output": {"command": ["sleep", "60"]}})
    told = project.run("--id", "R1").expect(1)
    assert told.doc["results"][0]["status"] == "timeout" and told.seconds < 10


# --- what is left of a task that ends otherwise ----------------------------------------------------------------------------------------------


SLOW = {**reply(BAD, when={"turn": 2}), "latency": "60s"}
KEPT = {
    "the budget of its task": ("budget_exceeded", [], {}, {"budget": {"steps": 1}}, {}),
    "the budget of its run": ("budget_exceeded", [], {}, {}, {"budget": {"steps": 1}}),
    "its time, while it is asked again": ("timeout", [SLOW], {}, {"timeout": "1s"}, {}),
    "the time of its run": ("timeout", [SLOW], {}, {}, {"budget": {"time": "1s"}}),
    "its time, while its command looks": ("timeout", [reply('{"facts": []}', when={"agent": "writer"})], {"command": ["sleep", "60"]}, {"timeout": "1s"}, {}),
    "its time, while it is reviewed": ("timeout", [{**verdict("pass"), "latency": "60s"}], {"retries": 0, "reviewer": "critic"}, {"timeout": "1s"}, {}),
    "the time of its run, while a human is asked": ("timeout", [], {"retries": 0, "human": True}, {}, {"budget": {"time": "1s"}}),
    "the death of its agents": ("error", [{**reply(BAD, when={"agent": "writer", "turn": 2}), "fault": {"crash": True}}], {}, {}, {}),
    "an error of the model": ("error", [{**reply(BAD, when={"turn": 2}), "fault": {"status": 401}}], {}, {}, {}),
}


@pytest.mark.parametrize("name", KEPT)
def test_the_last_answer_is_kept_whatever_ends_the_task(name, project):
    status, rules, output, task, workflow = KEPT[name]
    project.scripted([*rules, reply(BAD)], agents={"writer": {"output": {"schema": SCHEMA, "retries": 3, **output}}, "critic": {"system": "critic"}},
                     tasks=[{"id": "t", "agent": "writer", "instruction": "List the facts.", **task}], workflow=workflow)
    row = project.run("--id", "R1").expect(3 if workflow else 1).doc["results"][0]
    assert row["status"] == status and row["output"] == ({"facts": []} if "command" in output else {"facts": [7]})


def test_an_agent_that_dies_is_not_asked_again_more_often(project):
    """It dies over its second answer; its next incarnation has one repair behind it."""
    project.scripted([reply("one", when={"turn": 1}), reply("two", fault={"crash": True, "times": 1})], agent={"output": {"min_length": 100, "retries": 1}})
    told = project.run("--id", "R1").expect(1)
    assert told.doc["results"][0]["status"] == "quality_failed" and project.count("R1", "agent_crashed") == 1
    assert [e["repair"] for e in project.events("R1", "contract_violated")] == [1, 0]


def test_the_last_answer_is_kept_over_kill_9(project, mock_llm):
    server = mock_llm([reply(BAD, when={"turn": 2}, fault={"timeout": True}), reply(BAD)])
    project.on(server.provider(), agents={"writer": {"system": "writer", "output": {"schema": SCHEMA}}},
               tasks=[{"id": "t", "agent": "writer", "instruction": "List the facts.", "budget": {"steps": 2}}])
    running = project.start()
    wait_for(lambda: server.requests == 2, "the request that asks again")
    running.kill()
    row = project.resume("R1").expect(1).doc["results"][0]
    assert row["status"] == "budget_exceeded" and row["output"] == {"facts": [7]} and server.requests == 2


# --- the reviewer ----------------------------------------------------------------------------------------------------------------------------


def test_a_reviewer_lets_it_pass_as_it_is(project):
    reviewed(project, [verdict("pass"), reply(BAD)])
    document = project.run("--id", "R1").expect(0).doc
    assert document["result"] == {"facts": [7]} and document["llm_calls"] == 2
    review = project.events("R1", "output_reviewed")[0]
    assert review["verdict"] == "pass" and review["reviewer"] == "critic"


def test_a_reviewer_sees_task_contract_output_and_violations(project):
    reviewed(project, [{"when": {"agent": "critic", "contains": "List the facts."}, "reply": {"json": {"verdict": "reject", "feedback": "{{ first }}"}}}, reply(BAD)])
    project.run("--id", "R1").expect(1)
    seen = project.events("R1", "task_started")[1]["instruction"]
    for part in ("List the facts.", '"required"', BAD, "/facts/0"):
        assert part in seen


def test_what_a_reviewer_revised_is_taken_when_it_holds(project):
    reviewed(project, [verdict("revise", revised_output={"facts": ["seven"]}), reply(BAD)])
    assert project.run("--id", "R1").expect(0).doc["result"] == {"facts": ["seven"]}


def test_what_a_reviewer_revised_must_hold_too(project):
    reviewed(project, [verdict("revise", revised_output={"facts": [8]}, feedback="words, not numbers"), reply('{"facts": ["good"]}', when={"last": "words, not numbers"}), reply(BAD)])
    assert project.run("--id", "R1").expect(0).doc["result"] == {"facts": ["good"]}


def test_a_reviewers_feedback_goes_to_the_agent_once(project):
    reviewed(project, [verdict("revise", feedback="again"), reply(BAD)])
    told = project.run("--id", "R1").expect(1)
    row = told.doc["results"][0]
    assert row["status"] == "quality_failed" and "still wants it revised" in row["error"] and row["output"] == {"facts": [7]}
    assert project.count("R1", "output_reviewed") == 2 and told.doc["llm_calls"] == 4


def test_a_reviewer_rejects(project):
    reviewed(project, [verdict("reject", feedback="useless"), reply(BAD)])
    row = project.run("--id", "R1").expect(1).doc["results"][0]
    assert row["status"] == "quality_failed" and "useless" in row["error"] and row["output"] == {"facts": [7]}


def test_a_review_in_one_attempt_of_a_sub_workflow_is_none_of_the_next(project):
    project.scripted([verdict("reject", feedback="useless"), reply(BAD)],
                     agents={"writer": {"output": {"schema": SCHEMA, "retries": 0, "reviewer": "critic"}}, "critic": {"system": "critic"}},
                     tasks=[{"id": "sub", "workflow": "inner", "attempts": 2}],
                     workflows={"inner": {"tasks": [{"id": "deep", "agent": "writer", "instruction": "List the facts."}]}})
    told = project.run("--id", "R1").expect(1)
    assert project.count("R1", "output_reviewed") == 2 and told.doc["llm_calls"] == 4


def test_a_reviewer_that_died_has_what_it_said(project):
    dies = {"when": {"agent": "critic", "turn": 2}, "reply": {"text": "x"}, "fault": {"crash": True}}
    reviewed(project, [dies, reply("perhaps", when={"agent": "critic"}), reply(BAD)])
    row = project.run("--id", "R1").expect(1).doc["results"][0]
    assert row["status"] == "quality_failed" and "no verdict" in row["error"]
    finished, = [event for event in project.events("R1", "task_finished") if event["task_id"] == "t/review"]
    assert finished["reason"] == "poison" and finished["output"] == "perhaps"


@pytest.mark.parametrize("budget, latency, reason, more", [({"steps": 1}, "0ms", "budget_exceeded", ["--add-steps", "5"]), ({"time": "1s"}, "3s", "timeout", ["--add-time", "30s"])],
                         ids=["steps", "time"])
def test_a_review_that_a_limit_of_the_run_cut_short_goes_on_with_more(budget, latency, reason, more, project):
    reviewed(project, [{**verdict("pass"), "latency": latency}, reply(BAD)], workflow={"budget": budget})
    assert project.run("--id", "R1").expect(3).doc["reason"] == reason
    assert project.resume("R1", *more).expect(0).doc["results"][0]["status"] == "success"
    assert project.count("R1", "llm_responded") == 2


def test_a_reviewer_has_a_contract_of_its_own(project):
    reviewed(project, [reply('{"verdict": "perhaps"}', when={"agent": "critic", "turn": 1}), reply('{"verdict": "pass"}', when={"agent": "critic", "last": "/verdict"}), reply(BAD)])
    assert project.run("--id", "R1").expect(0).doc["llm_calls"] == 3


def test_a_reviewer_that_brings_no_verdict_is_a_rejection(project):
    reviewed(project, [reply("well", when={"agent": "critic"}), reply(BAD)])
    assert "no verdict" in project.run("--id", "R1").expect(1).doc["results"][0]["error"]


def test_a_review_spends_from_the_budget_of_its_task(project):
    reviewed(project, [verdict("pass"), reply(BAD)])
    project.data["workflows"]["job"]["tasks"][0]["budget"] = {"steps": 1}
    project.configure(**{key: value for key, value in project.data.items() if key != "version"})
    told = project.run("--id", "R1").expect(1)
    assert told.doc["results"][0]["status"] == "budget_exceeded" and told.doc["llm_calls"] == 1


def test_a_review_that_was_paid_is_not_paid_again_after_kill_9(project, mock_llm):
    server = mock_llm([{**verdict("revise", feedback="again")}, reply('{"facts": ["good"]}', when={"last": "again"}, fault={"timeout": True, "times": 1}), reply(BAD)])
    project.on(server.provider(), agents={"writer": {"system": "writer", "output": {"schema": SCHEMA, "retries": 0, "reviewer": "critic"}}, "critic": {"system": "critic"}},
               tasks=[{"id": "t", "agent": "writer", "instruction": "List the facts."}])
    running = project.start()
    wait_for(lambda: server.requests == 3, "the answer after the review")
    running.kill()
    assert project.resume("R1").expect(0).doc["result"] == {"facts": ["good"]}
    assert server.requests == 4 and project.count("R1", "output_reviewed") == 1


def test_a_review_that_was_cut_short_by_kill_9_goes_on(project, mock_llm):
    server = mock_llm([verdict("pass") | {"fault": {"timeout": True, "times": 1}}, reply(BAD)])
    project.on(server.provider(), agents={"writer": {"system": "writer", "output": {"schema": SCHEMA, "retries": 0, "reviewer": "critic"}}, "critic": {"system": "critic"}},
               tasks=[{"id": "t", "agent": "writer", "instruction": "List the facts."}])
    running = project.start()
    wait_for(lambda: server.requests == 2, "the review")
    running.kill()
    assert project.resume("R1").expect(0).doc["result"] == {"facts": [7]}
    assert server.requests == 3 and len([e for e in project.events("R1", "task_started") if e["task_id"] == "t/review"]) == 1


@pytest.mark.parametrize("critic, tool", [({"tools": ["agent:helper"]}, "agent_helper"), ({"handoffs": ["helper"]}, "handoff_to_helper")])
def test_a_reviewer_asks_nobody(critic, tool, project):
    """A verdict is its own: what it may ask in tasks of its own it has not while it reviews, and is told so when it tries."""
    rules = [calls((tool, {"task": "look", "reason": "look"}), when={"agent": "critic", "turn": 1}), verdict("pass"), reply("none", when={"agent": "writer"})]
    project.scripted(rules, agents={"writer": {"output": {"schema": SCHEMA, "retries": 0, "reviewer": "critic"}}, "critic": {"system": "critic", **critic}, "helper": {"system": "helper"}},
                     tasks=[{"id": "t", "agent": "writer", "instruction": "List the facts."}])
    assert "while it reviews" in project.troupe("validate", "troupe.yaml").expect(0).stderr
    assert project.run("--id", "R1").expect(0).doc["result"] == "none"
    refused = [event["text"] for event in project.events("R1", "tool_finished")]
    assert len(refused) == 1 and "There is no tool named" in refused[0]
    assert project.count("R1", "agent_crashed") == 0 and {event["agent"] for event in project.events("R1", "llm_requested")} == {"writer", "critic"}


def test_a_circle_of_reviewers_is_refused(project):
    output = {"schema": SCHEMA, "retries": 0}
    project.scripted([reply("x")], agents={"a": {"output": {**output, "reviewer": "b"}}, "b": {"output": {**output, "reviewer": "a"}}})
    told = project.troupe("validate", "troupe.yaml").expect(2)
    assert "review each other in a circle" in told.stdout + told.stderr


# --- the human -------------------------------------------------------------------------------------------------------------------------------


def with_human(project, rules=(), **output):
    project.scripted([*rules, reply(BAD)], agent={"output": {"schema": SCHEMA, "retries": 0, "human": True, **output}})
    running = project.start("--json")
    return running, request_of(project)


def test_a_human_takes_the_output_as_it_is(project):
    running, request = with_human(project)
    assert request["kind"] == "output" and request["action"] == {"facts": [7]} and "/facts/0" in request["details"]["violations"][0]
    project.troupe("approve", "troupe.yaml", request["id"], "--reviewer", "ana").expect(0)
    assert running.wait().expect(0).doc["result"] == {"facts": [7]}


def test_a_human_modifies_the_output_and_that_must_hold(project):
    running, request = with_human(project)
    refused = project.troupe("modify", "troupe.yaml", request["id"], "--action", '{"facts": [8]}').expect(2)
    assert "/facts/0" in refused.stderr and "stays pending" in refused.stderr
    project.troupe("modify", "troupe.yaml", request["id"], "--action", '{"facts": ["mine"]}').expect(0)
    assert running.wait().expect(0).doc["result"] == {"facts": ["mine"]}


def test_a_human_rejects_the_output(project):
    running, request = with_human(project)
    project.troupe("reject", "troupe.yaml", request["id"], "--comment", "no use", "--reviewer", "ana").expect(0)
    row = running.wait().expect(1).doc["results"][0]
    assert row["status"] == "quality_failed" and "ana rejected the output: no use" in row["error"] and row["output"] == {"facts": [7]}


def test_a_human_comes_after_the_reviewer(project):
    project.scripted([verdict("reject", feedback="useless"), reply(BAD)],
                     agents={"writer": {"output": {"schema": SCHEMA, "retries": 0, "reviewer": "critic", "human": True}}, "critic": {"system": "critic"}})
    running = project.start("--json")
    request = request_of(project)
    assert request["details"]["review"]["feedback"] == "useless"
    project.troupe("approve", "troupe.yaml", request["id"]).expect(0)
    running.wait().expect(0)


def test_an_output_that_holds_asks_nobody(project):
    project.scripted([reply('{"facts": ["one"]}')], agent={"output": {"schema": SCHEMA, "human": True}})
    project.run("--id", "R1").expect(0)
    assert project.count("R1", "approval_requested") == 0
