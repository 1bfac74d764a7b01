"""Agents as tools of agents, and hand-offs: typed outcomes, rights, budgets, bounds, crashes (SEMANTICS 2, 3, 4)."""
import json
import os

import pytest

from conftest import SIGINT, calls, processes_with, reply, wait_for

READ = {"read_file": {"kind": "builtin", "root": "data"}, "list_files": {"kind": "builtin", "root": "data"}}
LEAD = {"system": "lead", "tools": ["agent:writer"]}
WRITER = {"system": "writer"}
ASK = ("agent_writer", {"task": "Write a line.", "context": "It is about rain."})


def as_lead(*rules):
    return [{**rule, "when": {"agent": "lead", **rule["when"]}} for rule in rules]


def asking(*writer, **more):
    """The lead asks the writer once, and answers with what it is told."""
    return [*as_lead(calls(ASK, when={"turn": 1}), reply("{{ last }}", when={"turn": 2})), *writer]


def writes(text="It rains.", **more):
    return reply(text, when={"agent": "writer"}, **more)


def company(project, rules, lead=None, writer=None, **more):
    more.setdefault("agents", {"lead": {**LEAD, **(lead or {})}, "writer": {**WRITER, **(writer or {})}})
    project.scripted(rules, **more)


def told(document):
    """What the lead was told of the writer's end, in its own words."""
    return json.loads(document["result"])


def ends(project, run="R1"):
    return {event["task_id"]: event["status"] for event in project.events(run, "task_finished")}


# --- asking ------------------------------------------------------------------------------------------------------------------------------------


def test_an_agent_asks_another_one_and_goes_on_with_its_answer(project):
    company(project, asking(reply("{{ first }}", when={"agent": "writer"})))
    document = project.run("--id", "R1").expect(0).doc
    assert told(document) == {"status": "success", "output": "Write a line.\n\nContext:\nIt is about rain."}
    assert document["agents_used"] == ["lead", "writer"] and document["llm_calls"] == 3 and document["delegations"] == 1
    assert (document["completed_tasks"], document["total_tasks"]) == (1, 1)
    assert [row["task_id"] for row in document["results"]] == ["t"]
    assert ends(project) == {"t>writer#1": "success", "t": "success"}
    event, = project.events("R1", "delegated")
    assert (event["task_id"], event["to"], event["path"], event["depth"]) == ("t", "writer", "t>writer#1", 1)
    shown = project.troupe("show", "troupe.yaml", "R1").expect(0).stdout
    assert "DELEGATES to writer: t>writer#1" in shown and "1 delegation" in shown


def test_several_are_asked_at_once_beside_a_tool_and_answered_in_order(project):
    project.write("data/a.txt", "alpha")
    rules = as_lead(calls(("agent_writer", {"task": "one"}), ("read_file", {"path": "a.txt"}), ("agent_writer", {"task": "two"}), when={"turn": 1}),
                    reply("{{ last }}", when={"turn": 2}))
    company(project, [*rules, writes("{{ first }}")], lead={"tools": ["agent:writer", "read_file"]}, tools=READ)
    document = project.run("--id", "R1").expect(0).doc
    assert told(document)["output"] == "two", "the last result is that of the last call"
    assert ends(project) == {"t>writer#1": "success", "t>writer#1.3": "success", "t": "success"}
    assert document["tool_calls"] == 1 and document["delegations"] == 2


def test_a_contract_of_the_asked_agent_holds(project):
    schema = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}
    company(project, asking(writes('{"n": 7}')), writer={"output": {"schema": schema}})
    assert told(project.run().expect(0).doc) == {"status": "success", "output": {"n": 7}}


CUT_OFF = {"when": {"agent": "writer"}, "reply": {"text": "It rai", "finish": "length"}}
BAD_ENDS = {
    "failed": (writes(fault={"status": 400}), {}, "error", "400"),
    "cut off": (CUT_OFF, {}, "partial", "cut off"),
    "filtered": ({"when": {"agent": "writer"}, "reply": {"text": "It rai", "finish": "content_filter"}}, {}, "partial", "content filter"),
    "out of its budget after an answer": (writes("short"), {"output": {"min_length": 20, "retries": 5}, "budget": {"steps": 1}}, "partial", "budget_exceeded"),
    "out of its time after an answer": (writes("short"), {"output": {"command": ["sleep", "60"]}, "timeout": "500ms"}, "partial", "timeout"),
    "broke its contract": (writes("short"), {"output": {"min_length": 20, "retries": 0}}, "partial", "quality_failed"),
    "silent": (writes(fault={"empty": True}), {}, "error", ""),
    "out of its budget": (calls(("x", {}), when={"agent": "writer"}), {"budget": {"steps": 1}}, "budget_exceeded", "agent writer"),
    "poison": (writes(fault={"crash": True}), {"crashes": 0}, "error", ""),
}


def test_who_died_has_what_it_said(project):
    dies = {"when": {"agent": "writer", "turn": 2}, "reply": {"text": "x"}, "fault": {"crash": True}}
    company(project, asking(dies, writes("short")), writer={"output": {"min_length": 20, "retries": 5}, "crashes": 0})
    outcome = told(project.run("--id", "R1").expect(0).doc)
    assert outcome["status"] == "partial" and outcome["output"] == "short"
    finished, = [event for event in project.events("R1", "task_finished") if event["task_id"] == "t>writer#1"]
    assert finished["reason"] == "poison" and finished["output"] == "short"


@pytest.mark.parametrize("name", BAD_ENDS)
def test_who_failed_was_cut_off_or_said_nothing_has_not_completed(name, project):
    writer, spec, status, words = BAD_ENDS[name]
    company(project, asking(writer), writer=spec)
    document = project.run("--id", "R1").expect(0).doc
    outcome = told(document)
    assert outcome["status"] == status and words in outcome["error"], outcome
    assert (status == "partial") == ("output" in outcome)
    assert ends(project)["t>writer#1"] != "success"
    finished, = [event for event in project.events("R1", "tool_finished") if event["task_id"] == "t"]
    assert finished["status"] != "ok"


def test_arguments_are_checked_before_anybody_is_asked(project):
    rules = as_lead(calls(("agent_writer", {"tusk": "x"}), when={"turn": 1}), calls(("agent_writter", {"task": "x"}), when={"turn": 2}), reply("{{ last }}", when={"turn": 3}))
    company(project, [*rules, writes()])
    document = project.run("--id", "R1").expect(0).doc
    assert 'did you mean "agent_writer"?' in document["result"]
    assert document["agents_used"] == ["lead"]
    first, _ = project.events("R1", "tool_finished")
    assert "task" in first["text"] and first["status"] == "not_started"


# --- rights ------------------------------------------------------------------------------------------------------------------------------------


def reading_writer(project, **lead):
    project.write("data/a.txt", "alpha")
    rules = asking(calls(("read_file", {"path": "a.txt"}), when={"agent": "writer", "turn": 1}), writes("{{ last }}"))
    company(project, rules, lead=lead, writer={"tools": ["read_file", "list_files"]}, tools=READ)
    return told(project.run("--id", "R1").expect(0).doc)["output"]


def test_who_is_asked_has_no_more_tools_than_who_asks(project):
    assert "You may not use the tool \"read_file\"" in reading_writer(project, tools=["agent:writer", "list_files"])
    assert project.events("R1", "delegated")[0]["tools"] == ["list_files"]
    assert project.count("R1", "tool_started") == 0


def test_both_have_it_so_it_may(project):
    assert "alpha" in reading_writer(project, tools=["agent:writer", "read_file"])


def test_rights_of_its_own_where_the_caller_says_so(project):
    assert "alpha" in reading_writer(project, delegate={"rights": "own"})


def test_agents_among_the_tools_are_rights_too(project):
    agents = {"lead": LEAD, "writer": {**WRITER, "tools": ["agent:editor"]}, "editor": {"system": "editor"}}
    rules = asking(calls(("agent_editor", {"task": "x"}), when={"agent": "writer", "turn": 1}), writes("{{ last }}"))
    company(project, rules, agents=agents)
    assert "You may not use the tool" in told(project.run().expect(0).doc)["output"] or "no tool named" in told(project.run().expect(0).doc)["output"]


# --- bounds ------------------------------------------------------------------------------------------------------------------------------------


def test_depth_is_bounded_and_a_pool_of_one_does_not_wait_for_itself(project):
    rules = [calls(("agent_worker", {"task": "deeper"}), when={"turn": 1}), reply("{{ last }}", when={"turn": 2})]
    project.scripted(rules, agents={"worker": {"system": "worker", "tools": ["agent:worker"]}})
    document = project.run("--id", "R1").expect(0).doc
    assert document["delegations"] == 8
    assert "at most 8 levels deep" in document["result"]
    assert len(ends(project)) == 9 and set(ends(project).values()) == {"success"}


def test_two_who_ask_each_other_end_at_the_depth_that_is_configured(project):
    ask = {"lead": "agent_writer", "writer": "agent_lead"}
    rules = [calls((ask[name], {"task": "x"}), when={"agent": name, "turn": 1}) for name in ask] + [reply("{{ last }}", when={"turn": 2})]
    agents = {name: {"system": name, "tools": [tool.replace("_", ":")], "delegate": {"rights": "own", "depth": 3}} for name, tool in ask.items()}
    project.scripted(rules, agents=agents)
    assert 'agents can ask each other in a circle: "lead" -> "writer" -> "lead"' in project.troupe("validate", "troupe.yaml").expect(0).stderr
    assert project.run("--id", "R1").expect(0).doc["delegations"] == 3


def test_runs_at_once_do_not_wait_for_each_others_members(project):
    """Four elements, one member each: all leads have asked before the first writer answers."""
    tasks = [{"id": "t", "agent": "lead", "for_each": "{{ input.n }}", "instruction": "{{ item }}"}]
    company(project, asking(writes(latency="50ms")), tasks=tasks)
    document = project.run("--input", project.write("input.json", {"n": [1, 2, 3, 4]}), "--id", "R1").expect(0).doc
    assert document["delegations"] == 4 and len(document["results"][0]["items"]) == 4
    assert "t[2]>writer#1" in ends(project)


def test_the_same_question_again_and_again_is_a_loop(project):
    company(project, [calls(ASK, when={"agent": "lead"}), writes()])
    document = project.run("--id", "R1").expect(1).doc
    assert document["results"][0]["status"] == "loop"
    assert document["delegations"] < 4


def test_who_is_asked_spends_from_the_task_that_asks(project):
    tasks = [{"id": "t", "agent": "lead", "instruction": "x", "budget": {"steps": 2}}]
    company(project, asking(calls(("list_files", {}), when={"agent": "writer"})), lead={"tools": ["agent:writer", "list_files"]}, writer={"tools": ["list_files"]},
            tools=READ, tasks=tasks)
    project.write("data/a.txt", "alpha")
    document = project.run("--id", "R1").expect(1).doc
    assert document["results"][0]["status"] == "budget_exceeded" and document["llm_calls"] == 2
    assert ends(project)["t>writer#1"] == "budget_exceeded"


def test_its_cost_is_the_cost_of_the_task(project, mock_llm):
    server = mock_llm(asking(writes()))
    project.on(server.provider(), agents={"lead": LEAD, "writer": WRITER})
    document = project.run().expect(0).doc
    assert document["results"][0]["cost_usd"] == pytest.approx(document["total_cost_usd"]) and document["total_cost_usd"] > 0


def test_money_added_to_a_run_lets_the_asked_one_go_on(project):
    company(project, asking(writes()), workflow={"budget": {"steps": 1}})
    assert project.run("--id", "R1").status != 0
    assert project.events("R1", "tool_finished") == [], "the lead is not told that the writer failed"
    document = project.resume("R1", "--add-steps", "5").expect(0).doc
    assert told(document)["status"] == "success" and document["delegations"] == 1


# --- ends --------------------------------------------------------------------------------------------------------------------------------------


def busy_writer(project, **more):
    """The writer runs a tool that never ends."""
    mark = f"0.9{os.getpid()}"
    (project.folder / "out").mkdir(exist_ok=True)
    slow = {"kind": "process", "description": "x", "effect": "none", "timeout": "600s", "sandbox": {"write": ["out"]},
            "command": ["sh", "-c", f"touch out/ran; while [ ! -e out/go ]; do sleep {mark}; done; echo ready"]}
    company(project, asking(calls(("slow", {}), when={"agent": "writer", "turn": 1}), writes("{{ last }}")), writer={"tools": ["slow"]}, tools={"slow": slow},
            **{"lead": {"delegate": {"rights": "own"}, **more}})
    return mark


def in_its_tool(project, mark):
    wait_for(lambda: (project.folder / "out/ran").exists() and processes_with(f"sleep {mark}"), "the writer's tool")


def test_a_signal_ends_the_asked_one_too_and_a_resume_goes_on_with_it(project):
    mark = busy_writer(project)
    running = project.start("--json")
    in_its_tool(project, mark)
    running.signal(SIGINT)
    running.wait()
    assert processes_with(f"sleep {mark}") == []
    assert ends(project) == {}
    project.write("out/go", "")
    assert told(project.resume("R1").expect(0).doc)["status"] == "success"
    assert project.count("R1", "delegated") == 1


def test_cancelled_with_who_asked_and_its_tools_are_gone(project):
    mark = busy_writer(project)
    running = project.start("--json")
    in_its_tool(project, mark)
    project.troupe("cancel", "troupe.yaml", "R1").expect(0)
    document = running.wait().doc
    assert document["workflow_status"] == "aborted" and document["reason"] == "cancelled"
    assert processes_with(f"sleep {mark}") == []
    assert [(event["task_id"], event["status"]) for event in project.events("R1", "task_finished")] == [("t>writer#1", "cancelled"), ("t", "cancelled")]
    project.write("out/go", "")
    assert told(project.resume("R1").expect(0).doc)["status"] == "success"


def test_deaths_of_who_is_asked_are_remembered_when_a_run_is_resumed(project):
    company(project, asking(writes(fault={"crash": True, "times": 2}, latency="1200ms")),
            supervision={"max_restarts": 10, "children": [{"agent": "lead"}, {"agent": "writer"}]})
    running = project.start()
    running.wait_line("writer")
    wait_for(lambda: project.count("R1", "agent_crashed") == 2, "two deaths")
    running.kill()
    assert told(project.resume("R1").expect(0).doc)["status"] == "error"
    assert [event["crashes"] for event in project.events("R1", "agent_crashed")] == [1, 2, 3, 4]


def test_who_is_asked_has_its_own_time(project):
    company(project, asking(writes(latency="30s")), writer={"budget": {"time": "1s"}})
    document = project.run("--id", "R1").expect(0).doc
    assert told(document)["status"] == "timeout" and document["duration_seconds"] < 10
    assert ends(project) == {"t>writer#1": "timeout", "t": "success"}


def test_when_the_time_of_who_asked_is_up_the_asked_one_ends_first(project):
    mark = busy_writer(project, timeout="1s")
    document = project.run("--id", "R1").expect(1).doc
    assert document["results"][0]["status"] == "timeout"
    assert processes_with(f"sleep {mark}") == []
    finished = project.events("R1", "task_finished")
    assert [event["task_id"] for event in finished] == ["t>writer#1", "t"]
    assert finished[0]["status"] in ("timeout", "cancelled")


def test_who_asked_keeps_what_it_had_answered_when_its_time_is_up_meanwhile(project):
    rules = as_lead(reply("too short", when={"turn": 1}), calls(ASK, when={"turn": 2}))
    company(project, [*rules, writes(latency="60s")], lead={"output": {"min_length": 50, "retries": 3}, "timeout": "1s"})
    row = project.run("--id", "R1").expect(1).doc["results"][0]
    assert (row["status"], row["output"]) == ("timeout", "too short")
    assert ends(project)["t>writer#2"] == "timeout"


def test_who_asked_and_works_on_ends_after_the_asked_one(project):
    """The lead's own tool dies at once, the writer's only by force."""
    mark = f"0.7{os.getpid()}"
    tool = {"kind": "process", "description": "x", "effect": "none", "timeout": "600s"}
    tools = {"own": {**tool, "command": ["sh", "-c", f"sleep 6{os.getpid()}"]},
             "stubborn": {**tool, "command": ["sh", "-c", f"trap '' TERM; while :; do sleep {mark}; done"]}}
    rules = [*as_lead(calls(ASK, ("own", {}), when={"turn": 1})), calls(("stubborn", {}), when={"agent": "writer"})]
    company(project, rules, lead={"tools": ["agent:writer", "own"], "delegate": {"rights": "own"}, "timeout": "1s"}, writer={"tools": ["stubborn"]}, tools=tools)
    assert project.run("--id", "R1").expect(1).doc["results"][0]["status"] == "timeout"
    assert [event["task_id"] for event in project.events("R1", "task_finished")] == ["t>writer#1", "t"]
    assert processes_with(f"sleep {mark}") == []


def test_killed_while_the_asked_one_works_it_goes_on_and_is_not_asked_again(project):
    mark = busy_writer(project)
    running = project.start("--json")
    in_its_tool(project, mark)
    running.kill()
    wait_for(lambda: not processes_with(f"sleep {mark}"), "the end of the dead program's tool")
    project.write("out/go", "")
    document = project.resume("R1").expect(0).doc
    assert told(document)["output"].startswith("ready")
    assert document["llm_calls"] == 4 and project.count("R1", "delegated") == 1
    assert [event["task_id"] for event in project.events("R1", "task_started")].count("t>writer#1") == 1


def test_killed_after_the_asked_one_ended_its_result_is_used(project, mock_llm):
    server = mock_llm([*as_lead(calls(ASK, when={"turn": 1}), reply("{{ last }}", when={"turn": 2}, fault={"timeout": True, "times": 1})), writes()])
    project.on(server.provider(), agents={"lead": LEAD, "writer": WRITER})
    running = project.start("--json")
    wait_for(lambda: server.requests == 3, "the lead's second request")
    running.kill()
    assert told(project.resume("R1").expect(0).doc)["status"] == "success"
    assert server.stats()["by_agent"] == {"lead": 3, "writer": 1}


def test_an_agent_that_dies_while_it_asks_or_is_asked_takes_nothing_with_it(project):
    rules = asking(writes(fault={"crash": True, "times": 1}))
    rules[1]["fault"] = {"crash": True, "times": 1}
    company(project, rules)
    document = project.run("--id", "R1").expect(0).doc
    assert told(document)["status"] == "success"
    assert project.count("R1", "agent_crashed") == 2 and project.count("R1", "delegated") == 1


# --- hand-offs ---------------------------------------------------------------------------------------------------------------------------------

FRONT = {"front": {"system": "front", "handoffs": ["writer"]}, "writer": {"system": "writer", "output": {"matches": "^done"}}}


def handing(name, to, **when):
    return calls((f"handoff_to_{to}", {"reason": "it is yours", "context": "be brief"}), when={"agent": name, **when})


def test_a_hand_off_gives_the_task_to_the_other_agent_with_what_was_said(project):
    project.scripted([handing("front", "writer"), reply("done {{ last }}", when={"agent": "writer"})], agents=FRONT)
    document = project.run("--id", "R1").expect(0).doc
    row, = document["results"]
    assert row["agent"] == "writer" and document["agents_used"] == ["front", "writer"] and document["handoffs"] == 1
    for word in ('Agent "front" worked on this task before you', "it is yours", "be brief"):
        assert word in row["output"]
    handed, = project.events("R1", "handed_off")
    assert (handed["task_id"], handed["from"], handed["to"], handed["number"]) == ("t", "front", "writer", 1)
    assert "HANDS OFF to writer" in project.troupe("show", "troupe.yaml", "R1").expect(0).stdout


def test_the_instruction_goes_along(project):
    project.scripted([handing("front", "writer"), reply("done {{ first }}", when={"agent": "writer"})], agents=FRONT)
    assert project.run().expect(0).doc["result"] == "done Do the work."


def test_the_contract_of_the_last_agent_holds(project):
    project.scripted([handing("front", "writer"), reply("not so", when={"agent": "writer"})], agents=FRONT)
    row, = project.run().expect(1).doc["results"]
    assert row["status"] == "quality_failed" and row["agent"] == "writer"


def test_calls_beside_a_hand_off_run_and_a_second_hand_off_does_not(project, mock_llm):
    project.write("data/a.txt", "alpha")
    agents = {"front": {"system": "front", "tools": ["read_file"], "handoffs": ["writer", "editor"]}, "writer": {"system": "writer"}, "editor": {"system": "editor"}}
    both = calls(("handoff_to_writer", {"reason": "r"}), ("read_file", {"path": "a.txt"}), ("handoff_to_editor", {"reason": "r"}), when={"agent": "front"})
    server = mock_llm([both, reply("{{ last }}", when={"agent": "writer"})])
    project.on(server.provider(), agents=agents, tools=READ)
    document = project.run("--id", "R1").expect(0).doc
    assert "alpha" in document["result"], "what its tools brought goes along"
    assert document["agents_used"] == ["front", "writer"]
    assert [event["to"] for event in project.events("R1", "handed_off")] == ["writer"]


def test_control_that_goes_round_and_brings_nothing_is_refused_then_a_loop(project):
    agents = {"a": {"system": "a", "handoffs": ["b"]}, "b": {"system": "b", "handoffs": ["a"]}}
    project.scripted([handing("a", "b"), handing("b", "a")], agents=agents)
    document = project.run("--id", "R1").expect(1).doc
    row, = document["results"]
    assert row["status"] == "loop" and document["reason"] == "handoff_cycle" and "went round" in row["error"]
    assert document["handoffs"] == 5 and project.count("R1", "handoff_refused") == 2


def test_such_a_loop_below_a_workflow_ends_the_task_that_called_it(project):
    agents = {"a": {"system": "a", "handoffs": ["b"]}, "b": {"system": "b", "handoffs": ["a"]}}
    below = {"tasks": [{"id": "x", "agent": "a", "instruction": "Begin"}]}
    project.scripted([handing("a", "b"), handing("b", "a")], agents=agents, tasks=[{"id": "outer", "workflow": "below"}], workflows={"below": below})
    document = project.run("--id", "R1").expect(1).doc
    assert document["failures"] == [{"agent": "b", "reason": "handoff_cycle", "task_id": "outer/x"}]
    assert document["reason"] == "handoff_cycle" and document["results"][0]["status"] == "loop"


def test_who_is_told_so_may_still_end_it(project):
    agents = {"a": {"system": "a", "handoffs": ["b"]}, "b": {"system": "b", "handoffs": ["a"]}}
    project.scripted([reply("I do it myself.", when={"last": "The task stays with you"}), handing("a", "b"), handing("b", "a")], agents=agents)
    assert project.run("--id", "R1").expect(0).doc["result"] == "I do it myself."


def test_never_more_than_twenty_hand_offs_whatever_they_bring(project):
    agents = {f"a{i}": {"system": f"a{i}", "handoffs": [f"a{i + 1}"]} for i in range(22)} | {"a22": {"system": "a22"}}
    project.scripted([calls((f"handoff_to_a{i + 1}", {"reason": f"reason {i}"}), when={"agent": f"a{i}"}) for i in range(22)], agents=agents)
    document = project.run("--id", "R1").expect(1).doc
    assert document["handoffs"] == 20 and document["reason"] == "handoffs_max"


def test_a_resume_goes_to_the_agent_that_has_the_task(project, mock_llm):
    server = mock_llm([handing("front", "writer"), reply("done", when={"agent": "writer"}, fault={"timeout": True, "times": 1})])
    project.on(server.provider(), agents=FRONT)
    running = project.start("--json")
    wait_for(lambda: server.requests == 2, "the writer's request")
    running.kill()
    assert project.resume("R1").expect(0).doc["result"] == "done"
    assert server.stats()["by_agent"] == {"front": 1, "writer": 2}


def test_an_asked_agent_may_hand_its_part_on_and_its_rights_stay(project):
    project.write("data/a.txt", "alpha")
    agents = {"lead": LEAD, "writer": {**WRITER, "handoffs": ["editor"]}, "editor": {"system": "editor", "tools": ["read_file"]}}
    rules = asking(handing("writer", "editor"), calls(("read_file", {"path": "a.txt"}), when={"agent": "editor", "turn": 1}), reply("{{ last }}", when={"agent": "editor"}))
    company(project, rules, agents=agents, tools=READ)
    outcome = told(project.run("--id", "R1").expect(0).doc)
    assert outcome["status"] == "success" and "You may not use the tool" in outcome["output"]


# --- the file ----------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lead, words", [
    ({"tools": ["agent:writter"]}, 'no agent named "writter"; did you mean "writer"?'),
    ({"tools": ["writer"]}, 'no tool named "writer"; the agent of this name is "agent:writer"'),
    ({"handoffs": ["writter"]}, 'no agent named "writter"; did you mean "writer"?'),
    ({"handoffs": ["lead"]}, "an agent cannot hand a task to itself"),
    ({"delegate": {"rights": "all"}}, "own"),
    ({"delegate": {"depth": 0}}, "/agents/lead/delegate/depth"),
    ({"tools": ["agent:" + "w" * 64]}, "at most 64 characters"),
], ids=lambda value: next(iter(value)) if isinstance(value, dict) else "")
def test_mistakes_in_the_file_are_told(lead, words, project):
    company(project, asking(writes()), lead=lead)
    project.data["agents"]["w" * 64] = {"model": "m", "system": "w"}
    project.write("troupe.yaml", project.data)
    assert words in project.troupe("validate", "troupe.yaml").expect(2).stderr


def test_asked_agents_have_a_place_in_the_tree(project):
    company(project, asking(writes()), supervision={"children": [{"agent": "lead"}]})
    assert 'agent "writer" has no place in the supervision tree' in project.troupe("validate", "troupe.yaml").expect(2).stderr


def test_a_race_is_refused_where_who_is_asked_does_more_than_read(project):
    tools = {"write_file": {"kind": "builtin", "root": "data", "effect": "once"}}
    (project.folder / "data").mkdir()
    tasks = [{"id": "t", "agents": ["lead", "editor"], "instruction": "x", "resolve": {"by": "first"}}]
    agents = {"lead": LEAD, "writer": {**WRITER, "tools": ["write_file"]}, "editor": {"system": "editor"}}
    company(project, asking(writes()), agents=agents, tools=tools, tasks=tasks)
    assert "write_file" in project.troupe("validate", "troupe.yaml").expect(2).stderr
