"""Agents that go round in circles: what their supervisors find, and what they do about it (SEMANTICS 2)."""
import json

import pytest

from conftest import calls, openai_answer, reply, wait_for

ANY = {"any": True}
READ = {"read_file": {"kind": "builtin", "root": "data"}, "list_files": {"kind": "builtin", "root": "data"}}


def stubborn(project, rules=None, tools=None, **agent):
    """An agent that asks the same for ever, where the rules say nothing else."""
    project.write("data/a.txt", "alpha")
    project.write("data/b.txt", "beta")
    project.scripted([*(rules or []), calls(("read_file", {"path": "a.txt"}), when=ANY)], agent={"tools": list(tools or READ), **agent}, tools=tools or READ)


def rungs(project, run="R1"):
    return [(event["kind"], event["rung"], event["step"]) for event in project.events(run, "loop_detected")]


def test_the_ladder_is_climbed_to_its_end(project):
    stubborn(project)
    document = project.run("--id", "R1").expect(1).doc
    row = document["results"][0]
    assert row["status"] == "loop" and document["reason"] == "loop" and "looping" in row["error"]
    assert rungs(project) == [("repeat", "told", 3), ("repeat", "tool_taken", 4), ("repeat", "restarted", 5), ("repeat", "failed", 6)]
    assert document["llm_calls"] == 6
    assert len(project.events("R1", "tool_started")) == 2, "the third call is not run"
    assert row["attempts"] == 1
    shown = project.troupe("show", "troupe.yaml", "R1").expect(0).stdout
    for word in ("rung 1, TOLD", "rung 2, TOOL TAKEN AWAY", "rung 3, RESTARTED", "rung 4, FAILED"):
        assert word in shown


def test_who_is_told_recovers(project):
    stubborn(project, [reply("done", when={"last": "You are looping: you have called read_file\\(.*\\) 3 times with the same result"})])
    assert project.run("--id", "R1").expect(0).doc["result"] == "done"
    assert rungs(project) == [("repeat", "told", 3)]


def test_a_restarted_agent_goes_on_from_a_digest(project):
    stubborn(project, [reply("done", when={"last": "You have worked on this before.*read_file"})])
    document = project.run("--id", "R1").expect(0).doc
    assert document["result"] == "done" and document["llm_calls"] == 6
    assert [rung for _, rung, _ in rungs(project)] == ["told", "tool_taken", "restarted"]
    assert project.count("R1", "agent_crashed") == 0, "no crash of its own"


def test_an_agent_that_would_not_come_back_is_restarted_in_its_place(project):
    stubborn(project, [reply("done", when={"last": "You have worked on this before"})])
    project.configure(**{**{k: v for k, v in project.data.items() if k != "version"}, "supervision": {"children": [{"agent": "worker", "restart": "temporary"}]}})
    assert project.run("--id", "R1").expect(0).doc["result"] == "done"


def test_a_task_that_looped_is_not_started_anew(project):
    stubborn(project)
    tasks = [{"id": "t", "agent": "worker", "instruction": "x", "attempts": 3}]
    project.configure(**{**{k: v for k, v in project.data.items() if k != "version"}, "workflows": {"job": {"tasks": tasks}}})
    row = project.run("--id", "R1").expect(1).doc["results"][0]
    assert row["status"] == "loop" and row["attempts"] == 1


def asked(*arguments):
    return openai_answer(None, tool_calls=[{"id": f"c{i}", "type": "function", "function": {"name": "read_file", "arguments": json.dumps(a)}} for i, a in enumerate(arguments)])


def test_requests_after_each_rung_are_well_formed_cooler_and_forced(project, odd_server):
    project.write("data/a.txt", "alpha")
    server = odd_server([asked({"path": "a.txt"})] * 5, then=openai_answer("done"))
    project.on(server.provider(stream=False), agent={"tools": ["read_file", "list_files"], "temperature": 0.8}, tools=READ)
    assert project.run("--id", "R1").expect(0).doc["result"] == "done"
    bodies = [body for _, body in server.requests]
    assert [body["temperature"] for body in bodies] == [0.8, 0.8, 0.8, 0.4, 0.4, 0.4]
    assert [body.get("tool_choice") for body in bodies] == [None] * 4 + [{"type": "function", "function": {"name": "list_files"}}, None]
    names = [[tool["function"]["name"] for tool in body["tools"]] for body in bodies]
    assert "read_file" in names[4] and names[5] == ["list_files"], "declared where the history needs it"
    for body in bodies:
        wanted = [call["id"] for message in body["messages"] for call in message.get("tool_calls") or []]
        assert wanted == [message["tool_call_id"] for message in body["messages"] if message["role"] == "tool"]
        assert len(wanted) == len(set(wanted))


@pytest.mark.parametrize("rung", ["told", "tool_taken", "restarted"])
def test_a_resume_goes_on_at_the_rung_where_it_was_killed(rung, project):
    slow = {**calls(("read_file", {"path": "a.txt"}), when=ANY), "latency": "400ms"}
    project.write("data/a.txt", "alpha")
    project.scripted([slow], agent={"tools": list(READ)}, tools=READ)
    run = project.start()
    words = {"told": "TOLD", "tool_taken": "TAKEN AWAY", "restarted": "RESTARTED"}
    run.wait_line(words[rung])
    run.kill()
    assert project.resume().expect(1).doc["results"][0]["status"] == "loop"
    assert [each for _, each, _ in rungs(project)] == ["told", "tool_taken", "restarted", "failed"]
    assert len(project.events("R1", "tool_started")) == 2


def test_other_words_with_the_same_outcome_are_no_progress(project):
    fail = {"look": {"kind": "process", "description": "x", "command": ["echo", "the index is offline"], "effect": "none", "sandbox": "off",
                     "parameters": {"type": "object", "properties": {"query": {"type": "string"}}}}}
    project.scripted([reply("done", when={"last": "looping.*different arguments and the same result"}), calls(("look", {"query": "word {{ turn }}"}), when=ANY)],
                     agent={"tools": ["look"]}, tools=fail)
    document = project.run("--id", "R1").expect(0).doc
    assert rungs(project) == [("no_progress", "told", 6)] and document["llm_calls"] == 7


def test_who_calls_what_was_taken_away_climbs_on_with_each_call(project):
    fail = {"look": {"kind": "process", "description": "x", "command": ["echo", "the index is offline"], "effect": "none", "sandbox": "off",
                     "parameters": {"type": "object", "properties": {"query": {"type": "string"}}}}}
    project.scripted([calls(("look", {"query": "word {{ turn }}"}), when=ANY)], agent={"tools": ["look"]}, tools=fail)
    document = project.run("--id", "R1").expect(1).doc
    assert rungs(project) == [("no_progress", "told", 6), ("no_progress", "tool_taken", 7), ("no_progress", "restarted", 8), ("no_progress", "failed", 9)]
    assert document["llm_calls"] == 9 and len(project.events("R1", "tool_started")) == 7


@pytest.mark.parametrize("tools, found", [([], [("repeat", "told", 5)]), (["read_file"], [("repeat", "told", 5)]), (["write_file"], [])])
def test_to_ask_an_agent_that_can_change_nothing_is_no_change(tools, found, project):
    project.write("data/a.txt", "alpha")
    look, ask = ("read_file", {"path": "a.txt"}), ("agent_helper", {"task": "question {{ turn }}"})
    project.scripted([*[calls(look if turn % 2 else ask, when={"agent": "lead", "turn": turn}) for turn in range(1, 6)], reply("done")], tools={**READ, "write_file": {"kind": "builtin", "root": "data"}},
                     agents={"lead": {"system": "lead", "tools": ["read_file", "write_file", "agent:helper"]}, "helper": {"system": "helper", "tools": tools}},
                     tasks=[{"id": "t", "agent": "lead", "instruction": "x"}])
    project.run("--id", "R1").expect(0)
    assert rungs(project) == found


def test_a_cycle_of_writes_is_found_in_its_third_round(project):
    write = {"write_file": {"kind": "builtin", "root": "data"}}
    project.write("data/a.txt", "alpha")
    turns = [calls(("write_file", {"path": "x.txt", "content": "on" if n % 2 else "off"}), when={"turn": n}) for n in range(1, 7)]
    project.scripted([*turns, reply("done")], agent={"tools": ["write_file"]}, tools=write)
    assert project.run("--id", "R1").expect(0).doc["result"] == "done"
    assert rungs(project) == [("cycle", "told", 6)]


def test_the_same_answer_again_and_again_ends_the_repair(project):
    project.scripted([reply("seven")], agent={"output": {"schema": {"type": "object"}, "retries": 9}})
    document = project.run("--id", "R1").expect(1).doc
    assert document["results"][0]["status"] == "quality_failed" and document["llm_calls"] == 3
    assert rungs(project) == [("monologue", "none", 3)]


def test_honest_work_is_not_judged(project):
    for name in "abcdefgh":
        project.write(f"data/{name}.txt", f"this is {name}")
    fan_out = calls(*[("read_file", {"path": f"{name}.txt"}) for name in "abcdefgh"], when={"turn": 1})
    pages = [calls(("list_files", {"path": ".", "pattern": f"{name}*"}), when={"turn": n}) for n, name in enumerate("abcdefgh", 2)]
    project.scripted([fan_out, *pages, reply("done")], agent={"tools": list(READ)}, tools=READ)
    assert project.run("--id", "R1").expect(0).doc["result"] == "done"
    assert rungs(project) == []


def test_repeats_and_ignored_arguments_are_configured(project):
    tools = {"look": {"kind": "process", "description": "x", "command": ["echo", "hello"], "effect": "none", "sandbox": "off", "loop_ignore": ["id"],
                      "parameters": {"type": "object", "properties": {"id": {"type": "integer"}}}}}
    project.scripted([reply("done", when={"last": "looping"}), calls(("look", {"id": "{{ turn }}"}), when=ANY)], agent={"tools": ["look"], "loop": {"repeats": 2}}, tools=tools)
    project.run("--id", "R1").expect(0)
    assert rungs(project) == [("repeat", "told", 2)]


def test_a_polling_tool_may_be_asked_until_its_outcome_changes(project):
    tools = {"status": {"kind": "process", "description": "x", "command": ["echo", "running"], "effect": "none", "sandbox": "off", "polling": True, "parameters": {"type": "object"}}}
    project.scripted([reply("done", when={"last": "looping"}), calls(("status", {}), when=ANY)], agent={"tools": ["status"]}, tools=tools)
    project.run("--id", "R1").expect(0)
    assert rungs(project) == [("repeat", "told", 20)]


# --- the human -------------------------------------------------------------------------------------------------------------------------------


def request_of(project):
    return wait_for(lambda: json.loads(project.troupe("approvals", "troupe.yaml", "--json").expect(0).stdout)["approvals"], "a request")[0]


def with_human(project, rules=None, *, checkpoint=None, **agent):
    """The stubborn one, with somebody who is asked before it fails; the run and the request."""
    stubborn(project, rules, loop={"human": True}, **agent)
    if checkpoint:
        project.configure(**{**{k: v for k, v in project.data.items() if k != "version"}, "checkpoint": checkpoint})
    running = project.start("--json")
    return running, request_of(project)


def decide(project, verb, request, *args, status=0):
    return project.troupe(verb, "troupe.yaml", request["id"], *args).expect(status)


ADVISED = [reply("done", when={"last": "ana has seen that and lets you go on: read b.txt"})]
FOUR = ["told", "tool_taken", "restarted", "asked"]


def test_a_human_is_asked_at_the_fourth_rung_and_lets_it_go_on(project):
    running, request = with_human(project, ADVISED)
    assert request["kind"] == "loop" and request["subject"] == "worker" and request["agent_name"] == "worker"
    assert request["action"] == {"loop": "repeat", "tool": "read_file", "arguments": '{"path":"a.txt"}', "count": 6}
    assert "after it had been told" in request["details"]["why"]
    assert [rung for _, rung, _ in rungs(project)] == FOUR
    decide(project, "approve", request, "--reviewer", "ana", "--comment", "read b.txt")
    document = running.wait().expect(0).doc
    assert document["result"] == "done" and document["human_approvals"] == 1 and document["llm_calls"] == 7
    assert [rung for _, rung, _ in rungs(project)] == FOUR
    assert len(project.events("R1", "tool_started")) == 2, "the call that closed the circle was not run"
    assert "rung 4, A HUMAN IS ASKED" in project.troupe("show", "troupe.yaml", "R1").expect(0).stdout


def test_whom_a_human_lets_go_on_has_a_fresh_ladder_and_nothing_refused(project):
    running, request = with_human(project)
    decide(project, "approve", request, "--reviewer", "ana")
    second = wait_for(lambda: [r for r in [request_of(project)] if r["id"] != request["id"]], "the second request")[0]
    assert [rung for _, rung, _ in rungs(project)] == FOUR + FOUR
    assert [step for *_, step in rungs(project)] == [3, 4, 5, 6, 9, 10, 11, 12]
    assert len(project.events("R1", "tool_started")) == 4, "two more, before the third repeat was found"
    decide(project, "reject", second, "--reviewer", "ana")
    assert running.wait().expect(1).doc["reason"] == "loop"


def test_after_an_approval_requests_are_well_formed_warm_and_have_all_tools(project, odd_server):
    project.write("data/a.txt", "alpha")
    server = odd_server([asked({"path": "a.txt"})] * 6, then=openai_answer("done"))
    project.on(server.provider(stream=False), agent={"tools": ["read_file", "list_files"], "temperature": 0.8, "loop": {"human": True}}, tools=READ)
    running = project.start("--json")
    decide(project, "approve", request_of(project), "--reviewer", "ana", "--comment", "look elsewhere")
    running.wait().expect(0)
    last = server.requests[-1][1]
    assert last["temperature"] == 0.8 and "tool_choice" not in last
    assert sorted(tool["function"]["name"] for tool in last["tools"]) == ["list_files", "read_file"]
    wanted = [call["id"] for message in last["messages"] for call in message.get("tool_calls") or []]
    assert wanted == [message["tool_call_id"] for message in last["messages"] if message["role"] == "tool"] and len(wanted) == len(set(wanted))
    assert "lets you go on: look elsewhere" in last["messages"][-1]["content"]


def test_a_human_rejects_and_it_fails_as_a_loop(project):
    running, request = with_human(project)
    decide(project, "reject", request, "--reviewer", "ana", "--comment", "it is hopeless")
    document = running.wait().expect(1).doc
    row = document["results"][0]
    assert row["status"] == "loop" and document["reason"] == "loop" and "ana did not let it go on: it is hopeless" in row["error"]
    assert [rung for _, rung, _ in rungs(project)] == FOUR + ["failed"] and document["llm_calls"] == 6


def test_nobody_answers_and_it_fails_as_a_loop(project):
    stubborn(project, loop={"human": True})
    project.configure(**{**{k: v for k, v in project.data.items() if k != "version"}, "checkpoint": {"timeout": "300ms"}})
    row = project.run("--id", "R1").expect(1).doc["results"][0]
    assert row["status"] == "loop" and "nobody let it go on: Auto-rejected: approval timeout" in row["error"]
    assert project.events("R1", "approval_decided")[0]["by_human"] is False


def test_yes_waves_no_loop_through(project):
    stubborn(project, loop={"human": True})
    row = project.run("--id", "R1", "--yes").expect(1).doc["results"][0]
    assert row["status"] == "loop" and project.count("R1", "approval_requested") == 0
    assert [rung for _, rung, _ in rungs(project)] == ["told", "tool_taken", "restarted", "failed"]


def test_a_loop_is_not_modified(project):
    running, request = with_human(project, ADVISED)
    assert "approve it with a comment" in decide(project, "modify", request, "--action", '{"x": 1}', status=2).stderr
    decide(project, "approve", request, "--reviewer", "ana", "--comment", "read b.txt")
    running.wait().expect(0)


@pytest.mark.parametrize("verb", ["approve", "reject"])
@pytest.mark.parametrize("when", ["after", "meanwhile"])
def test_a_request_about_a_loop_survives_kill_9(when, verb, project):
    running, request = with_human(project, ADVISED)
    running.kill()
    (again,) = json.loads(project.troupe("approvals", "troupe.yaml", "--json").expect(0).stdout)["approvals"]
    assert again["id"] == request["id"]
    words = ["--reviewer", "ana", "--comment", "read b.txt"]
    if when == "meanwhile":
        decide(project, verb, request, *words)
        resumed = project.troupe.start("resume", "troupe.yaml", "R1", "--json")
    else:
        resumed = project.troupe.start("resume", "troupe.yaml", "R1", "--json")
        same = wait_for(lambda: [r for r in [request_of(project)] if r["running"]], "the same request")[0]
        assert (same["id"], same["deadline"], same["sha256"]) == (request["id"], request["deadline"], request["sha256"])
        decide(project, verb, request, *words)
    document = resumed.wait().expect(0 if verb == "approve" else 1).doc
    assert document["results"][0]["status"] == ("success" if verb == "approve" else "loop") and document["llm_calls"] == (7 if verb == "approve" else 6)
    assert [rung for _, rung, _ in rungs(project)] == FOUR + (["failed"] if verb == "reject" else [])
    assert len(project.events("R1", "tool_started")) == 2


def test_killed_again_after_an_approval_it_goes_on_with_its_fresh_ladder(project):
    slow = {**calls(("read_file", {"path": "a.txt"}), when={"last": "lets you go on"}), "latency": "2s"}
    running, request = with_human(project, [slow])
    decide(project, "approve", request, "--reviewer", "ana")
    wait_for(lambda: project.count("R1", "approval_decided"), "the decision")
    running.kill()
    resumed = project.troupe.start("resume", "troupe.yaml", "R1", "--json")
    second = wait_for(lambda: [r for r in [request_of(project)] if r["id"] != request["id"]], "the second request")[0]
    assert [rung for _, rung, _ in rungs(project)] == FOUR + FOUR and [step for *_, step in rungs(project)] == [3, 4, 5, 6, 9, 10, 11, 12]
    decide(project, "reject", second, "--reviewer", "ana")
    resumed.wait().expect(1)


def test_a_loop_that_results_have_shown_is_asked_about_too(project):
    fail = {"look": {"kind": "process", "description": "x", "command": ["echo", "the index is offline"], "effect": "none", "sandbox": "off",
                     "parameters": {"type": "object", "properties": {"query": {"type": "string"}}}}}
    project.scripted([reply("done", when={"last": "ana has seen that and lets you go on: give up"}), calls(("look", {"query": "word {{ turn }} {{ last }}"}), when=ANY)],
                     agent={"tools": ["look"], "loop": {"human": True}}, tools=fail)
    running = project.start("--json")
    request = request_of(project)
    assert request["action"]["loop"] in ("no_progress", "repeat")
    running.kill()
    decide(project, "approve", request, "--reviewer", "ana", "--comment", "give up")
    assert project.resume().expect(0).doc["result"] == "done"
