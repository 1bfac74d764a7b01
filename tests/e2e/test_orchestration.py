"""Workflows: order, templates, lists, conditions, attempts, inputs (INTERFACES 1 and 2)."""
import json
import os
import subprocess

import pytest

from conftest import BINARY, DEADLINE, SIGINT, calls, clean_environment, reply, wait_for

ECHO = reply("<{{ last }}>")


def rows(document):
    return {row["task_id"]: row for row in document["results"]}


def task(id, instruction="x", agent="worker", **more):
    return {"id": id, "agent": agent, "instruction": instruction, **more}


def test_a_template_is_a_need_and_texts_flow(project):
    project.scripted([ECHO], tasks=[task("b", "after {{ tasks.a.output }} {{ tasks.a.status }}"), task("a", "first {{ input.n }} {{ input.list }} {{ input.none }}")], workflow={"result": "{{ tasks.b.output }}!"})
    document = project.run("--id", "R1", "--input", "-", stdin='{"n": 7, "list": [1, {"a": "b"}]}').expect(0).doc
    assert document["result"] == '<after <first 7 [1,{"a":"b"}] > success>!'
    order = [event["task_id"] for event in project.events("R1", "task_started")]
    assert order == ["a", "b"]


def test_text_in_an_output_is_no_template(project):
    project.scripted([{"when": {"last": "^first"}, "reply": {"text": "{{ last }}"}}, ECHO],
                     tasks=[task("a", "first {{ input.text }}"), task("b", "then {{ tasks.a.output }}")])
    document = project.run("-i", "text={{ input.text }} {{ tasks.a.output }}").expect(0).doc
    assert document["result"] == "<then first {{ input.text }} {{ tasks.a.output }}>"


def test_independent_tasks_run_at_once(project, mock_llm):
    server = mock_llm([reply("x", latency="400ms")])
    agents = {name: {"system": name} for name in "abc"}
    project.on(server.provider(), agents=agents, tasks=[task(name, agent=name) for name in "abc"])
    project.run().expect(0)
    assert server.stats()["max_in_flight"] == 3


@pytest.mark.parametrize("parallel,size,most", [(3, 8, 3), (8, 2, 2)])
def test_a_list_is_worked_on_in_parallel_but_not_more(parallel, size, most, project, mock_llm):
    server = mock_llm([reply("{{ last }}")], "--latency", "60ms")
    project.on(server.provider(), tasks=[task("all", "{{ index }}:{{ item.name }}", for_each="{{ input.list }}", parallel=parallel)],
               supervision={"children": [{"pool": "worker", "size": size}]}, workflow={"result": "{{ tasks.all.output }}"})
    project.write("in.json", {"list": [{"name": f"n{i}"} for i in range(12)]})
    document = project.run("--input", "in.json").expect(0).doc
    assert server.stats()["max_in_flight"] == most
    expected = [f"{i}:n{i}" for i in range(12)]
    assert rows(document)["all"]["output"] == expected
    assert [(item["index"], item["status"], item["output"]) for item in rows(document)["all"]["items"]] == [(i, "success", text) for i, text in enumerate(expected)]
    assert document["llm_calls"] == 12


def test_an_agent_that_had_nothing_to_do_was_not_used(project):
    agents = {"first": {"system": "first"}, "second": {"system": "second"}, "third": {"system": "third"}}
    project.scripted([reply("[]")], agents=agents, tasks=[
        task("a", agent="first"),
        task("b", agent="second", when={"task": "a", "matches": {"const": "go"}}),
        task("c", agent="third", for_each="{{ input.list }}"),
    ])
    project.write("in.json", {"list": []})
    document = project.run("--input", "in.json").expect(0).doc
    assert document["agents_used"] == ["first"] and document["completed_tasks"] == 2


def test_an_empty_list_is_done_at_once(project):
    project.scripted([ECHO], tasks=[task("all", "{{ item }}", for_each="{{ input.list }}"), task("b", "got {{ tasks.all.output }}")])
    assert project.run("--input", "-", stdin='{"list": []}').expect(0).doc["result"] == "<got []>"


def test_what_is_no_list_fails_with_a_clear_error(project):
    project.scripted([ECHO], tasks=[task("all", "{{ item }}", for_each="{{ input.list }}")])
    document = project.run("-i", "list=text").expect(1).doc
    assert "list" in rows(document)["all"]["error"]


@pytest.mark.parametrize("word,status,result", [("yes", "success", "<go>"), ("no", "skipped", None)])
def test_when_decides(word, status, result, project):
    project.scripted([{"when": {"last": "^decide"}, "reply": {"json": {"go": word}}}, ECHO],
                     agents={"worker": {"system": "worker"}, "judge": {"system": "judge", "output": {"schema": {"type": "object"}}}},
                     tasks=[task("a", "decide", agent="judge"), task("b", "go", when={"task": "a", "matches": {"properties": {"go": {"const": "yes"}}}}), task("c", "end {{ tasks.b.status }}", needs=["b"])],
                     workflow={"result": "{{ tasks.c.output }}"})
    document = project.run().expect(0).doc
    assert rows(document)["b"]["status"] == status and rows(document)["b"]["output"] == result
    assert document["workflow_status"] == "completed"


FAILING = {"when": {"agent": "bad"}, "reply": {"text": "x"}, "fault": {"status": 400, "message": "never"}}
TWO = {"worker": {"system": "worker"}, "bad": {"system": "bad"}}


def test_a_failed_task_fails_the_run_and_partial_results_stay(project):
    project.scripted([FAILING, ECHO], agents=dict(TWO), tasks=[task("a", "one"), task("b", agent="bad", needs=["a"]), task("c", needs=["b"])])
    document = project.run().expect(1).doc
    assert (document["workflow_status"], document["reason"]) == ("failed", "llm_bad_request")
    assert rows(document)["a"]["output"] == "<one>" and rows(document)["b"]["status"] == "error"
    assert "c" not in rows(document) or rows(document)["c"]["status"] in ("cancelled", "skipped")


def test_on_failure_continue(project):
    project.scripted([FAILING, ECHO], agents=dict(TWO), tasks=[task("b", agent="bad", on_failure="continue"), task("c", "{{ tasks.b.status }}|{{ tasks.b.output }}|")])
    document = project.run().expect(0).doc
    assert document["workflow_status"] == "completed" and document["result"] == "<error||>"
    assert document["failures"]


def test_a_failed_element_of_a_list_keeps_the_others(project):
    project.scripted([{"when": {"last": "^2$"}, "reply": {"text": "x"}, "fault": {"status": 400}}, ECHO],
                     tasks=[task("all", "{{ item }}", for_each="{{ input.list }}", on_failure="continue")])
    document = project.run("--input", "-", stdin='{"list": [1, 2, 3]}').expect(0).doc
    assert [item["status"] for item in rows(document)["all"]["items"]] == ["success", "error", "success"]
    assert [item["output"] for item in rows(document)["all"]["items"]] == ["<1>", None, "<3>"]


def test_a_list_that_is_cut_short_says_how_far_it_was(project):
    rules = [reply("done", when={"last": "quick"}), reply("late", when={"any": True}, latency="60s")]
    project.scripted(rules, tasks=[{"id": "t", "agent": "worker", "for_each": "{{ input.list }}", "parallel": 3, "instruction": "{{ item }}"}], supervision={"children": [{"pool": "worker", "size": 3}]},
                     workflow={"input": {"schema": {"type": "object", "properties": {"list": {"type": "array"}}}}})
    running = project.start("--json", "-i", 'list=["quick", "slow", "slow", "slow", "slow", "slow"]')
    wait_for(lambda: project.troupe("show", "troupe.yaml", "R1", "--events").stdout.count('"llm_requested"') == 4, "three slow ones")
    project.troupe("cancel", "troupe.yaml", "R1").expect(0)
    document = running.wait().expect(3).doc
    assert document["results"][0]["error"] == "1 of 6 items had succeeded when the run stopped, 3 were stopped, 2 had not begun"


def test_a_new_attempt_is_told_so(project):
    project.scripted([{"when": {"last": "Previous attempt failed. Try a different approach."}, "reply": {"text": "{{ last }}"}},
                      {"when": {"any": True}, "reply": {"text": "not good"}}],
                     agent={"output": {"must_mention": ["different"], "retries": 0}}, tasks=[task("t", "Do it.", attempts=3)])
    document = project.run("--id", "R1").expect(0).doc
    assert "Do it." in document["result"]
    assert rows(document)["t"]["attempts"] == 2 and project.count("R1", "task_retried") == 1


def test_a_fatal_error_is_not_attempted_again(project):
    project.scripted([FAILING], agents={"bad": {"system": "bad"}}, tasks=[task("t", agent="bad", attempts=3)])
    assert rows(project.run().expect(1).doc)["t"]["attempts"] == 1


def test_a_sub_workflow_counts_in_its_parent(project):
    inner = {"input": {"schema": {"type": "object", "required": ["text"]}}, "tasks": [task("deep", "deep {{ input.text }}")], "result": "{{ tasks.deep.output }}"}
    project.scripted([ECHO], tasks=[task("a", "one"), {"id": "sub", "workflow": "inner", "with": {"text": "{{ tasks.a.output }}"}}, task("b", "end {{ tasks.sub.output }}")], workflows={"inner": inner})
    document = project.run("--id", "R1").expect(0).doc
    assert document["result"] == "<end <deep <one>>>" and document["llm_calls"] == 3
    assert "sub/deep" in {event.get("task_id") for event in project.events("R1")}


@pytest.mark.parametrize("what, status, attempts", [("fatal", "error", 1), ("budget", "budget_exceeded", 1), ("contract", "quality_failed", 3)])
def test_a_sub_workflow_ends_as_its_first_failed_task_did(what, status, attempts, project):
    inner = {"tasks": [task("i", "x", agent="bad" if what == "fatal" else "strict" if what == "contract" else "worker"), task("j", "x", needs=["i"])]}
    if what == "budget":
        inner["budget"] = {"steps": 1}
    agents = {**TWO, "strict": {"system": "strict", "output": {"min_length": 100, "retries": 0}}}
    project.scripted([FAILING, ECHO], agents=agents, tasks=[{"id": "t", "workflow": "inner", "attempts": 3}], workflows={"inner": inner})
    row = rows(project.run().expect(1).doc)["t"]
    assert row["status"] == status and row["attempts"] == attempts


def test_templates_read_how_a_task_ended(project):
    says = "{{ tasks.%s.status }}|{{ tasks.%s.attempts }}|{{ tasks.%s.agent }}|{{ tasks.%s.error }}|{{ tasks.%s.items }}"
    tasks = [task("ok", "one"), task("bad", agent="bad", on_failure="continue"), task("all", "{{ item }}", for_each="{{ input.list }}")]
    project.scripted([FAILING, ECHO], agents=dict(TWO), tasks=tasks, workflow={"result": "\n".join(says.replace("%s", each["id"]) for each in tasks)})
    ok, bad, *all_lines = project.run("--input", "-", stdin='{"list": [1, 2]}').expect(0).doc["result"].split("\n")
    assert ok == "success|1|worker||"
    assert bad.startswith("error|1|bad|") and bad.endswith("|") and len(bad) > len("error|1|bad||")
    assert "\n".join(all_lines) == 'success|1|worker||["<1>","<2>"]'


def test_templates_read_what_a_task_cost(project, mock_llm):
    service = mock_llm([reply("fine")])
    project.on(service.provider(), tasks=[task("a", "x"), task("b", "{{ tasks.a.cost_usd }}")], workflow={"result": "{{ tasks.a.cost_usd }}"})
    document = project.run().expect(0).doc
    assert document["result"] == rows(document)["a"]["cost_usd"] > 0


def test_a_missing_input_of_a_sub_workflow_is_refused(project, troupe):
    inner = {"input": {"schema": {"type": "object", "required": ["text"], "properties": {"text": {"type": "string"}}}}, "tasks": [task("deep", "deep")]}
    project.scripted([ECHO], tasks=[{"id": "sub", "workflow": "inner", "with": {}}], workflows={"inner": inner})
    assert 'requires the input "text"' in troupe("validate", "troupe.yaml").expect(2).stderr


def test_the_input_of_a_sub_workflow_is_checked_when_it_starts(project):
    inner = {"input": {"schema": {"type": "object", "required": ["text"], "properties": {"text": {"type": "string", "maxLength": 3}}}}, "tasks": [task("deep", "deep")]}
    project.scripted([ECHO], tasks=[{"id": "sub", "workflow": "inner", "with": {"text": "too long"}}], workflows={"inner": inner})
    assert "text" in rows(project.run().expect(1).doc)["sub"]["error"]


BAD_INPUT = {"input": {"schema": {"type": "object", "properties": {"n": {"type": "integer"}}}}, "tasks": [task("deep", "deep")]}


@pytest.mark.parametrize("why", ["its input does not hold", "it has nothing to do", "its time is used up"])
def test_ten_thousand_elements_that_end_at_once(why, project):
    """Each end brings the next start about: that takes no stack."""
    inner, element, status = BAD_INPUT, {"workflow": "inner", "with": {"n": "{{ item }}"}}, "error"
    if why == "it has nothing to do":
        inner, element, status = {"tasks": [task("deep", for_each="{{ input.n }}")]}, {"workflow": "inner", "with": {"n": []}}, "success"
    elif why == "its time is used up":
        element, status = {"agent": "worker", "instruction": "x", "timeout": "300ms"}, "timeout"
    project.scripted([reply("late", latency="500ms")], tasks=[{"id": "all", "for_each": "{{ input.list }}", "on_failure": "continue", **element}], workflows={"inner": inner})
    project.write("in.json", {"list": ["x"] * 10_000})
    document = project.run("--id", "R1", "--input", "in.json").expect(0).doc
    assert [item["status"] for item in rows(document)["all"]["items"]] == [status] * 10_000


@pytest.mark.parametrize("approval", [None, {"risk": "high"}])
@pytest.mark.parametrize("order", ["before", "behind"])
def test_what_begins_beside_a_task_that_fails_at_once_is_cancelled(order, approval, project):
    tasks = [{"id": "wrong", "workflow": "inner", "with": {"n": "x"}}, task("slow", **({"approval": approval} if approval else {}))]
    project.scripted([reply("late", latency="60s")], tasks=tasks if order == "before" else tasks[::-1], workflows={"inner": BAD_INPUT})
    document = project.run("--id", "R1").expect(1).doc
    assert rows(document)["wrong"]["status"] == "error"
    assert rows(document)["slow"]["status"] == "cancelled" if "slow" in rows(document) else approval
    assert project.count("R1", "llm_responded") == 0
    events = [(event["type"], event.get("task_id")) for event in project.events("R1") if event["type"] in ("task_started", "task_finished")]
    assert all(kind == "task_finished" for kind, _ in events[events.index(("task_finished", "wrong")):])


# --- inputs ----------------------------------------------------------------------------------------------------------------------------------

SCHEMA = {"input": {"schema": {"type": "object", "required": ["s"], "additionalProperties": False,
                               "properties": {"s": {"type": "string"}, "n": {"type": "integer"}, "l": {"type": "array"}, "any": {}}}}}


def test_values_are_texts_where_the_schema_allows_one(project):
    project.scripted([ECHO], workflow=SCHEMA, tasks=[task("t", "{{ input.s }} {{ input.n }} {{ input.l }} {{ input.any }}")])
    document = project.run("--id", "R1", "-i", "s=12", "-i", "n=7", "-i", 'l=[1,"a"]', "-i", "any=no").expect(0).doc
    assert document["result"] == '<12 7 [1,"a"] no>'
    assert project.events("R1", "run_started")[0]["input"] == {"s": "12", "n": 7, "l": [1, "a"], "any": "no"}


@pytest.mark.parametrize("args,words", [([], '"s"'), (["-i", "s=1", "-i", "n=x"], "n"), (["-i", "s=1", "-i", "m=1"], '"m"'), (["-i", "nothing"], "key=value"), (["--input", "none.json"], "none.json")],
                         ids=["missing", "type", "unknown", "no_pair", "no_file"])
def test_a_wrong_input_ends_with_2_and_starts_nothing(args, words, project, troupe):
    project.scripted([ECHO], workflow=SCHEMA)
    told = project.run(*args).expect(2)
    assert words in told.stderr and told.stdout == "", str(told)
    assert troupe("runs", "troupe.yaml", "--json").expect(0).doc["runs"] == []


@pytest.mark.parametrize("name,text", [("in.json", '{"s": "file", "n": 3}'), ("in.yaml", "s: file\nn: 3\n")])
def test_an_input_file_and_pairs_above_it(name, text, project):
    project.scripted([ECHO], workflow=SCHEMA, tasks=[task("t", "{{ input.s }} {{ input.n }}")])
    project.write(name, text)
    assert project.run("--input", name, "-i", "n=4").expect(0).doc["result"] == "<file 4>"
    assert project.run("--input", "-", stdin=text).expect(0).doc["result"] == "<file 3>"


@pytest.mark.parametrize("schema,pair,value", [
    ({"$defs": {"x": {"type": "integer"}}, "properties": {"r": {"$ref": "#/$defs/x"}}}, "r=3", 3),
    ({"$defs": {"x": {"properties": {"r": {"type": "integer"}}}}, "$ref": "#/$defs/x"}, "r=3", 3),
    ({"allOf": [{"properties": {"r": {"type": "boolean"}}}]}, "r=true", True),
    ({"additionalProperties": {"type": "integer"}}, "r=3", 3),
    ({"patternProperties": {"^r": {"type": ["integer", "null"]}}}, "r=null", None),
    ({"properties": {"r": {"type": ["integer", "string"]}}}, "r=3", "3"),
], ids=["ref", "top_ref", "all_of", "additional", "pattern", "either"])
def test_the_schema_says_what_a_value_is_however_it_says_so(schema, pair, value, project):
    project.scripted([ECHO], workflow={"input": {"schema": schema}})
    project.run("--id", "R1", "-i", pair).expect(0)
    assert project.events("R1", "run_started")[0]["input"] == {"r": value}


def test_bytes_that_are_no_text_are_refused_alike_in_a_file_and_in_a_pair(project):
    project.scripted([ECHO])
    project.write("in.yaml", b"s: \xff\n")
    for wrong in (["--input", "in.yaml"], ["-i", os.fsdecode(b"s=\xff")], ["-i", os.fsdecode(b"\xff=s")]):
        assert "UTF-8" in project.run(*wrong).expect(2).stderr


def test_an_input_without_end_is_refused_within_bounds(project):
    """Read whole, /dev/zero would take all memory there is."""
    project.scripted([ECHO])
    project.write("folder/x", "")
    for wrong, words in (("/dev/zero", "is no regular file"), ("folder", "is a folder"), ("-", "larger than 16 MiB")):
        with open("/dev/zero") as endless:
            told = subprocess.run(["bash", "-c", 'ulimit -v 1500000; exec "$@"', "-", BINARY, "run", "troupe.yaml", "job", "--input", wrong], cwd=project.folder,
                                  env=clean_environment(), stdin=endless, capture_output=True, text=True, timeout=DEADLINE)
        assert told.returncode == 2 and words in told.stderr, told
    piped = subprocess.run(["bash", "-c", '"$0" run troupe.yaml job --id R1 --input <(echo "{s: piped}")', BINARY], cwd=project.folder, env=clean_environment(), capture_output=True, timeout=DEADLINE)
    assert piped.returncode == 0 and project.events("R1", "run_started")[0]["input"] == {"s": "piped"}


@pytest.mark.parametrize("text", ["", "[1]", "{", "\x00", '{"s": ' + "[" * 5000])
def test_a_hostile_input_is_an_error(text, project):
    project.scripted([ECHO], workflow=SCHEMA)
    told = project.run("--input", "-", stdin=text).expect(2)
    assert told.stderr and told.seconds < 5


# --- a task's time ---------------------------------------------------------------------------------------------------------------------------

LIMITS = [pytest.param({"timeout": "2s"}, {}, id="timeout"), pytest.param({"budget": {"time": "2s"}}, {}, id="task budget"),
          pytest.param({}, {"budget": {"time": "2s"}}, id="agent budget"), pytest.param({}, {"timeout": "2s"}, id="agent timeout")]


@pytest.mark.parametrize("task,agent", LIMITS)
def test_a_crash_begins_no_limit_of_time_anew(task, agent, project):
    project.scripted([reply("x", latency="300ms", fault={"crash": True})], agent={"crashes": 20, **agent},
                     tasks=[{"id": "t", "agent": "worker", "instruction": "go", **task}],
                     supervision={"max_restarts": 100, "within": "1s", "children": [{"agent": "worker"}]})
    told = project.run("--id", "R1")
    assert told.doc["results"][0]["status"] == "timeout" and 1.9 < told.doc["duration_seconds"] < 4
    assert 2 <= project.count("R1", "agent_crashed") <= 7


@pytest.mark.parametrize("task", [{"agent": "worker"}, {"agents": ["worker", "other"], "resolve": {"by": "vote"}}], ids=["one agent", "a vote"])
def test_the_attempts_of_a_task_share_its_time(task, project):
    project.scripted([reply("short", latency="300ms")], tasks=[{"id": "t", "instruction": "go", "timeout": "2s", "attempts": 9, **task}],
                     agents={name: {"system": name, "output": {"min_length": 100, "retries": 0}} for name in ("worker", "other")})
    told = project.run("--id", "R1")
    assert told.doc["results"][0]["status"] == "timeout" and 1.9 < told.doc["duration_seconds"] < 4
    assert 2 <= max(e["attempt"] for e in project.events("R1", "task_started")) <= 7


@pytest.mark.parametrize("task,agent", LIMITS[:3])
def test_the_owners_of_a_run_share_the_time_of_its_tasks(task, agent, project):
    project.scripted([calls(("calculator", {"expression": "{{ turn }}+1"}), when={"any": True}, latency="400ms")],
                     agent={"tools": ["calculator"], **agent}, tools={"calculator": {"kind": "builtin"}},
                     tasks=[{"id": "t", "agent": "worker", "instruction": "go", **task}])
    process = project.start()
    wait_for(lambda: process.text().count("calculator answered") >= 3, "three steps, of 400 ms each")
    process.signal(SIGINT)
    process.wait().expect(130)
    told = project.resume("R1")
    assert told.doc["results"][0]["status"] == "timeout" and 1.9 < told.doc["duration_seconds"] < 3.1


def test_an_agents_time_begins_when_it_begins_with_a_task_and_not_in_the_line_of_its_pool(project):
    project.scripted([reply("fine", latency="900ms")], agent={"timeout": "2s"}, supervision={"children": [{"pool": "worker", "size": 1}]},
                     tasks=[{"id": "t", "agent": "worker", "instruction": "{{ item }}", "for_each": "{{ input.list }}", "parallel": 4}])
    project.write("in.json", {"list": [1, 2, 3, 4]})
    assert project.run("--input", "in.json").expect(0).doc["results"][0]["output"] == ["fine"] * 4


def test_a_tasks_time_is_over_also_while_it_waits_for_a_member(project):
    project.scripted([reply("slow", latency="4s", when={"last": "^slow"}), reply("quick")], supervision={"children": [{"pool": "worker", "size": 1}]},
                     tasks=[{"id": "t", "agent": "worker", "instruction": "slow"},
                            {"id": "u", "agent": "worker", "instruction": "quick", "timeout": "1s", "attempts": 3, "on_failure": "continue"}])
    document = project.run("--id", "R1").expect(0).doc
    assert [e["task_id"] for e in project.events("R1", "task_finished")] == ["u", "t"] and document["llm_calls"] == 1
    row = next(each for each in document["results"] if each["task_id"] == "u")
    assert row["status"] == "timeout" and "the task's time is over before a member" in row["error"] and row["attempts"] == 1
