"""Several agents at one task, whose answers become one, and the state that a run's agents share (SEMANTICS 6)."""
import json

import pytest

from conftest import ROOT, calls, reply, wait_for

NAMES = ("a", "b", "c")


def panel(project, answers, resolve, *, rules=(), names=NAMES, agents=None, task=None, latency=None, **sections):
    """Each of the agents answers what `answers` says; `judge` is there to be asked."""
    made = [{**reply(answers[name], when={"agent": name}), **({"latency": latency[name]} if latency and name in latency else {})} for name in names]
    everybody = {name: {"system": name, **(agents or {}).get(name, {})} for name in (*names, "judge")}
    tasks = [{"id": "check", "agents": list(names), "resolve": resolve, "instruction": "Is it so?", **(task or {})}]
    project.scripted([*rules, *made], agents=everybody, tasks=tasks, **sections)


def row_of(document):
    return document["results"][0]


def answers_of(document):
    return {answer["member"]: answer["output"] for answer in row_of(document)["answers"]}


# --- vote ----------------------------------------------------------------------------------------------------------------------------------


def test_a_vote_takes_the_answer_that_has_the_quorum(project):
    panel(project, {"a": "yes", "b": "no", "c": " yes\n"}, {"by": "vote", "quorum": 2})
    document = project.run("--id", "R1").expect(0).doc
    assert document["result"] == "yes"
    assert row_of(document)["resolution"]["by"] == "vote" and row_of(document)["resolution"]["chosen"] == "a"
    assert project.count("R1", "answers_resolved") == 1
    shown = project.troupe("show", "troupe.yaml", "R1").expect(0).stdout
    assert "DECIDED by vote: the answer of a, 2 of 3 agree" in shown and "a, c: yes" in shown


def test_answers_are_compared_as_canonical_json(project):
    schema = {"output": {"schema": {"type": "object"}}}
    panel(project, {"a": '{"x": 1, "y": [2]}', "b": '```json\n{"y": [2.0], "x": 1.0}\n```', "c": '{"x": 2}'}, {"by": "vote", "quorum": 2},
          agents={name: schema for name in NAMES})
    assert project.run().expect(0).doc["result"] == {"x": 1, "y": [2]}


@pytest.mark.parametrize("field", ["v", "/deep/v"])
def test_answers_are_compared_by_a_field(project, field):
    said = [{"v": 1, "deep": {"v": 1}, "n": n} for n in range(2)] + [{"v": 2, "deep": {"v": 2}}]
    panel(project, dict(zip(NAMES, map(json.dumps, said))), {"by": "vote", "quorum": 2, "field": field}, agents={name: {"output": {"schema": {"type": "object"}}} for name in NAMES})
    assert project.run().expect(0).doc["result"] == said[0]


def test_a_sure_vote_does_not_wait_for_the_rest(project):
    panel(project, {"a": "yes", "b": "yes", "c": "no"}, {"by": "vote", "quorum": 2}, latency={"c": "20s"})
    ended = project.run("--id", "R1").expect(0)
    assert ended.seconds < 10 and ended.doc["result"] == "yes"
    last = row_of(ended.doc)["answers"][2]
    assert last["member"] == "c" and last["status"] == "cancelled"
    assert ended.doc["failures"] == []
    order = [event["type"] for event in project.events("R1") if event["type"] in ("answers_resolved", "task_finished")]
    assert order == ["task_finished"] * 2 + ["answers_resolved"] + ["task_finished"] * 2, "decided before anybody was stopped"


@pytest.mark.parametrize("effect", ["none", "once"])
def test_a_sure_vote_does_not_stop_a_reviewer_half_way_through_what_has_an_effect(effect, project):
    """c's answer breaks its contract and is being reviewed when the others have decided."""
    (project.folder / "out").mkdir()
    tool = {"kind": "process", "description": "d", "effect": effect, "command": ["sh", "-c", "echo begun > out/begun; sleep 2; echo done > out/mark"], "sandbox": {"write": ["out"]}}
    rules = [{**calls(("act", {}), when={"agent": "judge", "turn": 1})}, reply('{"verdict": "pass"}', when={"agent": "judge"})]
    panel(project, {"a": "yes", "b": "yes", "c": "no"}, {"by": "vote", "quorum": 2}, rules=rules, latency={"a": "700ms", "b": "700ms"}, tools={"act": tool},
          agents={"c": {"output": {"min_length": 3, "retries": 0, "reviewer": "judge"}}, "judge": {"tools": ["act"]}})
    ended = project.run("--id", "R1").expect(0)
    assert ended.doc["result"] == "yes" and (project.folder / "out/begun").exists()
    assert (project.folder / "out/mark").exists() == (effect == "once")
    assert row_of(ended.doc)["answers"][2]["status"] == ("success" if effect == "once" else "cancelled")


@pytest.mark.parametrize("tools,asked", [(["agent:judge"], ("agent_judge", {"task": "act"})), (["look"], ("look", {}))], ids=["whom it asks", "an alternative"])
def test_a_sure_vote_does_not_stop_what_may_have_an_effect_behind_what_has_none(tools, asked, project):
    """c itself only asks another agent, or calls a tool that reads: what acts is behind that."""
    (project.folder / "out").mkdir()
    process = {"kind": "process", "description": "d", "retries": 0}
    act = {**process, "effect": "once", "command": ["sh", "-c", "echo begun > out/begun; sleep 2; echo done > out/mark"], "sandbox": {"write": ["out"]}}
    look = {**process, "effect": "none", "command": ["false"], "alternative": "act"}
    rules = [calls(asked, when={"agent": "c", "turn": 1}), calls(("act", {}), when={"agent": "judge", "turn": 1}), reply("done", when={"agent": "judge"})]
    panel(project, {"a": "yes", "b": "yes", "c": "no"}, {"by": "vote", "quorum": 2}, rules=rules, latency={"a": "700ms", "b": "700ms"}, tools={"act": act, "look": look},
          agents={"c": {"tools": tools, "delegate": {"rights": "own"}}, "judge": {"tools": ["act"]}}, supervision={"children": [{"agent": name} for name in (*NAMES, "judge")]})
    ended = project.run("--id", "R1").expect(0)
    assert ended.doc["result"] == "yes" and (project.folder / "out/begun").exists() and (project.folder / "out/mark").exists()
    assert row_of(ended.doc)["answers"][2]["status"] == "success"


def test_no_quorum_and_nobody_to_ask_is_a_conflict_that_keeps_all_answers(project):
    panel(project, {"a": "1", "b": "2", "c": "3"}, {"by": "vote", "quorum": 2})
    document = project.run("--id", "R1").expect(1).doc
    assert document["reason"] == "conflict" and row_of(document)["status"] == "conflict"
    assert answers_of(document) == {"a": "1", "b": "2", "c": "3"}
    assert "no answer reached the quorum of 2" in row_of(document)["error"]
    assert "CONFLICT: no answer reached the quorum" in project.troupe("show", "troupe.yaml", "R1").expect(0).stdout


def test_no_quorum_and_an_arbiter_decides(project):
    rule = {"when": {"agent": "judge"}, "capture": {"right": {"from": "last", "pattern": '"answer":"2","number":(\\d)'}}, "reply": {"text": '{"choice": {{ captured.right }}, "reason": "it is even"}'}}
    panel(project, {"a": "1", "b": "2", "c": "3"}, {"by": "vote", "quorum": 2, "tie": {"arbiter": "judge"}}, rules=[rule])
    document = project.run("--id", "R1").expect(0).doc
    assert document["result"] == "2" and document["llm_calls"] == 4 and document["agents_used"] == ["a", "b", "c", "judge"]
    assert row_of(document)["resolution"] == {"by": "arbiter", "chosen": "b", "why": "it is even", "groups": [{"value": v, "members": [n]} for n, v in zip(NAMES, "123")]}
    assert [event["next"] for event in project.events("R1", "answers_differ")] == ["arbiter"]
    asked = [event for event in project.events("R1", "llm_responded") if event["task_id"] == "check(:arbiter)"]
    assert len(asked) == 1, "it is a task of its own"


def test_one_that_failed_gives_no_vote(project):
    broken = {"when": {"agent": "a"}, "reply": {"text": "x"}, "fault": {"status": 400}}
    panel(project, {"b": "yes", "c": "yes", "a": ""}, {"by": "vote"}, rules=[broken])
    document = project.run().expect(0).doc
    assert document["result"] == "yes" and row_of(document)["answers"][0]["status"] == "error"


def test_the_same_agent_may_vote_several_times(project):
    project.scripted([reply("yes")], agents={"one": {"system": "one"}}, tasks=[{"id": "check", "agents": ["one"] * 3, "resolve": {"by": "vote", "quorum": 3}, "instruction": "x"}])
    document = project.run().expect(0).doc
    assert document["result"] == "yes" and set(answers_of(document)) == {"one", "one#2", "one#3"} and document["llm_calls"] == 3


def test_a_conflict_may_be_tried_again(project):
    rules = [reply("9", when={"contains": "Previous attempt failed"})]
    panel(project, {"a": "1", "b": "2", "c": "3"}, {"by": "vote", "quorum": 2}, rules=rules, task={"attempts": 2})
    document = project.run().expect(0).doc
    assert document["result"] == "9" and row_of(document)["attempts"] == 2


def test_a_vote_that_nobody_answered_ends_as_the_first_of_them_did_and_is_not_paid_again(project):
    refused = {"when": {"any": True}, "reply": {"text": "x"}, "fault": {"status": 401, "times": 100}}
    panel(project, dict.fromkeys(NAMES, ""), {"by": "vote"}, rules=[refused], task={"attempts": 3})
    document = project.run("--id", "R1").expect(1).doc
    assert row_of(document)["status"] == "error" and row_of(document)["attempts"] == 1
    assert "none of 3 agents answered" in row_of(document)["error"] and project.count("R1", "llm_requested") == 3


def test_a_vote_that_nobody_answered_in_time_may_be_tried_again(project):
    panel(project, dict.fromkeys(NAMES, "no"), {"by": "vote"}, task={"attempts": 2}, agents={name: {"output": {"min_length": 100, "retries": 0}} for name in NAMES})
    document = project.run().expect(1).doc
    assert row_of(document)["status"] == "quality_failed" and row_of(document)["attempts"] == 2


def test_answers_are_kept_when_the_budget_is_used_up(project):
    panel(project, dict.fromkeys(NAMES, "yes"), {"by": "vote", "quorum": 3}, task={"attempts": 3, "budget": {"steps": 2}})
    document = project.run().expect(1).doc
    assert row_of(document)["attempts"] == 1 and document["llm_calls"] == 2
    assert sorted(map(str, answers_of(document).values())) == ["None", "yes", "yes"]


@pytest.mark.parametrize("rule", [{"by": "human"}, {"by": "vote", "tie": "human"}])
def test_a_human_who_took_none_is_not_asked_again(rule, project):
    panel(project, {"a": "1", "b": "2", "c": "3"}, rule, task={"attempts": 3})
    running = project.start("--json")
    project.troupe("reject", "troupe.yaml", asked(project)["id"], "--comment", "none of them").expect(0)
    document = running.wait().expect(1).doc
    assert row_of(document)["status"] == "conflict" and row_of(document)["attempts"] == 1 and document["llm_calls"] == 3


def test_each_element_of_a_list_has_its_own_vote(project):
    rules = [reply("A", when={"contains": "about x"}), reply("1", when={"agent": "a"})]
    panel(project, {"a": "", "b": "2", "c": "2"}, {"by": "vote", "quorum": 2}, rules=rules, task={"for_each": "{{ input.l }}", "instruction": "about {{ item }}"},
          workflow={"input": {"schema": {"type": "object", "properties": {"l": {"type": "array"}}}}})
    document = project.run("-i", 'l=["x", "y"]').expect(0).doc
    assert document["result"] == ["A", "2"]
    items = row_of(document)["items"]
    assert [item["resolution"]["chosen"] for item in items] == ["a", "b"] and len(items[1]["answers"]) == 3


# --- arbiter -------------------------------------------------------------------------------------------------------------------------------


def test_an_arbiter_is_asked_only_when_answers_differ(project):
    panel(project, {"a": "same", "b": "same", "c": "same"}, {"by": "arbiter", "arbiter": "judge"})
    document = project.run().expect(0).doc
    assert document["result"] == "same" and document["llm_calls"] == 3 and row_of(document)["resolution"]["by"] == "agreement"


def test_an_arbiter_sees_no_names_and_may_answer_itself_under_the_contract(project, odd_server):
    schema = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}
    rules = [reply('{"answer": {"n": "seven"}}', when={"agent": "judge", "turn": 1}), reply('{"answer": {"n": 7}}', when={"agent": "judge", "turn": 2})]
    panel(project, {"alphabet": '{"n": 1}', "betatron": '{"n": 2}'}, {"by": "arbiter", "arbiter": "judge"}, names=("alphabet", "betatron"), rules=rules,
          agents={name: {"output": {"schema": schema}} for name in ("alphabet", "betatron")})
    document = project.run("--id", "R1").expect(0).doc
    assert document["result"] == {"n": 7}
    assert project.count("R1", "contract_violated") == 1, "its own answer stands under the members' contract"
    assert row_of(document)["resolution"]["chosen"] is None


def test_an_arbiter_that_fails_leaves_a_conflict(project):
    broken = {"when": {"agent": "judge"}, "reply": {"text": "x"}, "fault": {"status": 400}}
    panel(project, {"a": "1", "b": "2", "c": "3"}, {"by": "arbiter", "arbiter": "judge"}, rules=[broken])
    document = project.run().expect(1).doc
    assert row_of(document)["status"] == "conflict" and "the arbiter \"judge\" did not decide" in row_of(document)["error"]
    assert answers_of(document)["c"] == "3"


def test_all_of_them_spend_from_the_task(project, mock_llm):
    server = mock_llm([reply("1", when={"agent": "a"}), reply("2", when={"agent": "b"}), reply('{"choice": 1}', when={"agent": "judge"})])
    tasks = [{"id": "check", "agents": ["a", "b"], "resolve": {"by": "arbiter", "arbiter": "judge"}, "instruction": "x", "budget": {"steps": 2}}]
    project.on(server.provider(), agents={name: {"system": name} for name in ("a", "b", "judge")}, tasks=tasks)
    document = project.run().expect(1).doc
    assert server.requests == 2 and row_of(document)["status"] == "budget_exceeded"


# --- human -------------------------------------------------------------------------------------------------------------------------------


def asked(project):
    rows = wait_for(lambda: json.loads(project.troupe("approvals", "troupe.yaml", "--json").expect(0).stdout)["approvals"], "a request")
    return rows[0]


@pytest.mark.parametrize("how, end", [
    (["approve"], "2"),
    (["modify", "--action", '{"choice": %d}'], "1"),
    (["modify", "--action", '{"answer": "four"}'], "four"),
    (["reject", "--comment", "none of them"], None),
])
def test_a_human_decides_between_answers(project, how, end):
    panel(project, {"a": "1", "b": "2", "c": "2"}, {"by": "human"})
    running = project.start("--json")
    request = asked(project)
    assert sorted(answer["answer"] for answer in request["details"]["answers"]) == ["1", "2", "2"]
    numbers = {answer["answer"]: answer["number"] for answer in request["details"]["answers"]}
    verb, *options = [word % numbers["1"] if "%d" in word else word for word in how]
    project.troupe(verb, "troupe.yaml", request["id"], "--reviewer", "ana", *options).expect(0)
    document = running.wait().expect(0 if end else 1).doc
    assert document["result"] == end
    if end:
        assert row_of(document)["resolution"]["by"] == "human"
    else:
        assert row_of(document)["status"] == "conflict" and "none of them" in row_of(document)["error"] and len(row_of(document)["answers"]) == 4


def test_a_human_cannot_choose_what_there_is_not(project):
    panel(project, {"a": "1", "b": "2", "c": "3"}, {"by": "vote", "tie": "human"})
    running = project.start("--json")
    request = asked(project)
    for action in ('{"choice": 4}', '{"answer": 7}', '{}'):
        project.troupe("modify", "troupe.yaml", request["id"], "--action", action).expect(2)
    project.troupe("modify", "troupe.yaml", request["id"], "--action", '{"answer": "7"}').expect(0)
    assert running.wait().expect(0).doc["result"] == "7"


def test_who_waits_for_a_human_waits_on_after_a_kill(project):
    panel(project, {"a": "1", "b": "2", "c": "3"}, {"by": "human"})
    running = project.start()
    request = asked(project)
    running.kill()
    project.troupe("modify", "troupe.yaml", request["id"], "--action", '{"answer": "seven"}').expect(0)
    document = project.resume().expect(0).doc
    assert document["result"] == "seven" and document["llm_calls"] == 3
    assert len({event["id"] for event in project.events("R1", "approval_requested")}) == 1 and project.count("R1", "answers_resolved") == 1


# --- first ---------------------------------------------------------------------------------------------------------------------------------


def test_the_first_answer_that_holds_wins_and_the_others_are_stopped(project):
    panel(project, {"a": "slow", "b": "", "c": "quick"}, {"by": "first"}, latency={"a": "20s"}, agents={"b": {"output": {"min_length": 3, "retries": 0}}})
    ended = project.run("--id", "R1").expect(0)
    assert ended.doc["result"] == "quick" and ended.seconds < 10
    assert {answer["member"]: answer["status"] for answer in row_of(ended.doc)["answers"]}["a"] == "cancelled"


def test_a_race_admits_only_tools_without_an_effect(project):
    panel(project, dict.fromkeys(NAMES, "x"), {"by": "first"}, agents={"b": {"tools": ["state_set"]}}, tools={"state_set": {"kind": "builtin"}})
    refused = project.troupe("validate", "troupe.yaml").expect(2).stderr
    assert "agent \"b\" may call \"state_set\", whose effect is idempotent" in refused and "/workflows/job/tasks/0/agents/1" in refused


def test_a_race_admits_no_reviewer_with_a_tool_that_has_an_effect(project):
    panel(project, dict.fromkeys(NAMES, "x"), {"by": "first"}, tools={"state_set": {"kind": "builtin"}},
          agents={"b": {"output": {"min_length": 3, "reviewer": "judge"}}, "judge": {"tools": ["state_set"]}})
    refused = project.troupe("validate", "troupe.yaml").expect(2).stderr
    assert 'agent "b" may, through agent "judge", call "state_set", whose effect is idempotent' in refused and "/workflows/job/tasks/0/agents/1" in refused


# --- after a crash -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", ["members", "arbiter"])
def test_a_run_that_was_killed_goes_on_with_those_that_had_not_answered(project, mock_llm, at):
    held = {"members": "c", "arbiter": "judge"}[at]
    said = dict(zip((*NAMES, "judge"), ("1", "2", "3", '{"answer": "four"}')))
    server = mock_llm([reply(text, when={"agent": name}, **({"fault": {"timeout": True, "times": 1}} if name == held else {})) for name, text in said.items()])
    tasks = [{"id": "check", "agents": list(NAMES), "resolve": {"by": "vote", "quorum": 2, "tie": {"arbiter": "judge"}}, "instruction": "x"}]
    project.on(server.provider(), agents={name: {"system": name} for name in said}, tasks=tasks)
    process = project.start()
    before = {"a", "b"} if at == "members" else set(NAMES)
    wait_for(lambda: server.requests == len(before) + 1, "the request that hangs")
    wait_for(lambda: {event["task_id"] for event in project.events("R1", "task_finished")} == {f"check({name})" for name in before}, "the answers")
    process.kill()
    document = project.resume().expect(0).doc
    assert document["result"] == "four"
    assert server.requests == 5, "nobody who answered is asked again"
    assert project.count("R1", "answers_resolved") == 1 and project.count("R1", "answers_differ") == 1


# --- shared state --------------------------------------------------------------------------------------------------------------------------

STATE = {"state_get": {"kind": "builtin"}, "state_set": {"kind": "builtin"}}


def test_the_second_of_two_writers_is_told_what_changed_and_by_whom(project):
    get, put = ("state_get", {"key": "plan"}), lambda value, version: ("state_set", {"key": "plan", "value": value, "version": version})
    rules = [
        calls(get, when={"agent": "one", "turn": 1}), calls(get, when={"agent": "two", "turn": 1}),
        calls(put("left", 0), when={"agent": "one", "turn": 2}), calls(put("right", 0), when={"agent": "two", "turn": 2}, latency="300ms"),
        calls(put("right", 1), when={"agent": "two", "last": "at version 1 now, written by agent \"one\". Its value: \"left\""}),
        reply("done"),
    ]
    tasks = [{"id": "t1", "agent": "one", "instruction": "x"}, {"id": "t2", "agent": "two", "instruction": "x"}, {"id": "t3", "agent": "two", "needs": ["t1", "t2"], "instruction": "y"}]
    project.scripted(rules, agents={name: {"system": name, "tools": list(STATE)} for name in ("one", "two")}, tools=STATE, tasks=tasks[:2])
    document = project.run("--id", "R1").expect(0).doc
    assert document["state"] == {"plan": {"value": "right", "version": 2, "by": "two"}}
    writes = project.events("R1", "state_written")
    assert [(w["key"], w["version"], w["value"], w["agent"]) for w in writes] == [("plan", 1, "left", "one"), ("plan", 2, "right", "two")]
    shown = project.troupe("show", "troupe.yaml", "R1").expect(0).stdout
    assert "state plan is at version 1: left" in shown and "state plan is at version 2: right" in shown


def test_state_is_there_again_after_a_kill_and_is_not_written_twice(project, mock_llm):
    server = mock_llm([
        calls(("state_set", {"key": "n", "value": 1, "version": 0}), when={"turn": 1}),
        calls(("state_get", {"key": "n"}), when={"turn": 2}, fault={"timeout": True, "times": 1}),
        reply("{{ last }}"),
    ])
    project.on(server.provider(), agent={"tools": list(STATE)}, tools=STATE)
    process = project.start()
    wait_for(lambda: server.requests == 2, "the second request")
    process.kill()
    document = project.resume().expect(0).doc
    assert json.loads(document["result"]) == {"by": "worker", "key": "n", "value": 1, "version": 1}
    assert project.count("R1", "state_written") == 1


def test_templates_read_the_state(project):
    rules = [calls(("state_set", {"key": "n", "value": "seven", "version": 0}), when={"agent": "one", "turn": 1}), reply("{{ last }}")]
    tasks = [{"id": "a", "agent": "one", "instruction": "x"}, {"id": "b", "needs": ["a"], "agent": "two", "instruction": "It is {{ state.n }}."}]
    project.scripted(rules, agents={"one": {"system": "one", "tools": ["state_set"]}, "two": {"system": "two"}}, tools=STATE, tasks=tasks)
    assert project.run().expect(0).doc["result"] == "It is seven."


def test_a_write_has_an_effect_whatever_the_file_says(project):
    project.scripted([reply("x")], agent={"tools": ["state_set"]}, tools={"state_set": {"kind": "builtin", "effect": "none"}})
    assert "a write to the run's state has an effect" in project.troupe("validate", "troupe.yaml").expect(2).stderr


# --- the example ---------------------------------------------------------------------------------------------------------------------------


def example(project):
    for path in (ROOT / "config/examples/conflicts").rglob("*.yaml"):
        project.write(str(path.relative_to(ROOT / "config/examples/conflicts")), path.read_text())


def test_the_example_runs_in_a_few_seconds(project):
    example(project)
    claims = ["glass flows", "iron gets heavier when it rusts"]
    ended = project.run("-i", "claims=" + json.dumps(claims), workflow="claims").expect(0)
    assert [verdict["verdict"] for verdict in ended.doc["result"]] == ["fails", "holds"] and ended.seconds < 10
    assert [item["resolution"]["by"] for item in row_of(ended.doc)["items"]] == ["vote", "arbiter"]
    assert project.run(workflow="race").expect(0).doc["result"] == "At 03:12."
    board = project.run("--id", "B", workflow="board").expect(0).doc
    assert board["result"] == "measure twice, cut" and board["state"]["plan"]["value"] == ["measure twice", "cut"]
