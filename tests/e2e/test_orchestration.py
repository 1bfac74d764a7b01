"""Workflows: order, templates, lists, conditions, attempts, inputs (INTERFACES 1 and 2)."""
import json

import pytest

from conftest import calls, reply

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


def test_a_missing_input_of_a_sub_workflow_is_refused(project, troupe):
    inner = {"input": {"schema": {"type": "object", "required": ["text"], "properties": {"text": {"type": "string"}}}}, "tasks": [task("deep", "deep")]}
    project.scripted([ECHO], tasks=[{"id": "sub", "workflow": "inner", "with": {}}], workflows={"inner": inner})
    assert 'requires the input "text"' in troupe("validate", "troupe.yaml").expect(2).stderr


def test_the_input_of_a_sub_workflow_is_checked_when_it_starts(project):
    inner = {"input": {"schema": {"type": "object", "required": ["text"], "properties": {"text": {"type": "string", "maxLength": 3}}}}, "tasks": [task("deep", "deep")]}
    project.scripted([ECHO], tasks=[{"id": "sub", "workflow": "inner", "with": {"text": "too long"}}], workflows={"inner": inner})
    assert "text" in rows(project.run().expect(1).doc)["sub"]["error"]


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


@pytest.mark.parametrize("text", ["", "[1]", "{", "\x00", '{"s": ' + "[" * 5000])
def test_a_hostile_input_is_an_error(text, project):
    project.scripted([ECHO], workflow=SCHEMA)
    told = project.run("--input", "-", stdin=text).expect(2)
    assert told.stderr and told.seconds < 5
