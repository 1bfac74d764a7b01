"""Budgets beyond one run's: tenants, the process, tasks, agents, and what a refusal leaves to do (SEMANTICS 3)."""
import json
import os
import sqlite3
import time

import pytest

from conftest import PRICE, QUICK, calls, processes_with, reply, wait_for

STEP = (20 * PRICE["input"] + 190 * PRICE["output"]) / 1e6  # dollars
WORST = 0.0034  # of one step here; more than a byte of the request is never a token
USAGE = {"input": 20, "output": 190}


def task(id, instruction="x", agent="worker", **more):
    return {"id": id, "agent": agent, "instruction": instruction, **more}


def tasks(count, **more):
    return [task(f"t{i}", f"Part {i}.", **({"needs": [f"t{i - 1}"]} if i else {}), **more) for i in range(count)]


def enough_for(steps):
    """Dollars with which so many steps are made, and no more."""
    return (steps - 1) * STEP + WORST


def rows(document):
    return {row["task_id"]: row for row in document["results"]}


def refusals(project, run_id):
    return [(e["scope"], e["kind"]) for e in project.events(run_id, "budget_refused")]


# --- tenants and the process -------------------------------------------------------------------------------------------------------------------


def test_a_tenant_spends_over_its_runs_and_others_do_not_pay(project, mock_llm):
    server = mock_llm([reply("x", usage=USAGE)])
    project.on(server.provider(), tasks=tasks(2), tenants={"blue": {"budget": {"usd": enough_for(3)}}, "green": {"budget": {"usd": enough_for(3)}}})
    assert project.run("--id", "R1", "--tenant", "blue").expect(0).doc["tenant"] == "blue"
    second = project.run("--id", "R2", "--tenant", "blue").expect(3).doc
    assert second["reason"] == "budget_exceeded" and second["completed_tasks"] == 1 and refusals(project, "R2") == [("tenant blue", "money")]
    assert project.run("--id", "R3", "--tenant", "green").expect(0).doc["total_cost_usd"] == pytest.approx(2 * STEP, abs=1e-9)
    assert project.run("--id", "R4", "--tenant", "blue").expect(3).doc["completed_tasks"] == 0
    assert server.requests == 5


def test_a_tenant_begins_anew_with_its_period(project, mock_llm):
    server = mock_llm([reply("x", usage=USAGE)])
    project.on(server.provider(), tenants={"blue": {"budget": {"usd": enough_for(1), "per": "2s"}}})
    project.run("--id", "R1", "--tenant", "blue").expect(0)
    ended = time.monotonic()
    assert project.run("--id", "R2", "--tenant", "blue").expect(3).doc["reason"] == "budget_exceeded"
    wait_for(lambda: time.monotonic() > ended + 2.1, "the next period")
    project.run("--id", "R3", "--tenant", "blue").expect(0)


def test_what_nobody_knows_the_outcome_of_is_spent_by_the_tenant(project, mock_llm):
    server = mock_llm([reply("x", usage=USAGE, fault={"timeout": True, "times": 1})])
    project.on(server.provider(), tenants={"blue": {"budget": {"usd": enough_for(1)}}})
    running = project.start("--tenant", "blue")
    wait_for(lambda: server.requests == 1, "the request")
    running.kill()
    assert project.run("--id", "R2", "--tenant", "blue").expect(3).doc["reason"] == "budget_exceeded"
    assert server.requests == 1


def test_one_process_counts_for_a_tenant_and_others_are_refused_meanwhile(project, mock_llm):
    server = mock_llm([reply("x", usage=USAGE, fault={"timeout": True, "times": 1}), reply("x", usage=USAGE)])
    project.on(server.provider(), tenants={"blue": {"budget": {"usd": 2 * WORST}}, "green": {"budget": {"steps": 1}}})
    running = project.start("--tenant", "blue")
    wait_for(lambda: server.requests == 1, "the request")
    told = project.run("--id", "R2", "--tenant", "blue").expect(2)
    for part in ("tenant blue", f"process {running.pid} ", "counted by one process at a time", "wait until"):
        assert part in told.stderr, told.stderr
    assert told.stdout == "" and server.requests == 1
    project.troupe("show", "troupe.yaml", "R2").expect(2)  # nothing of it was begun
    project.run("--id", "R3", "--tenant", "green").expect(0)
    project.run("--id", "R4").expect(0)
    running.kill()
    project.run("--id", "R2", "--tenant", "blue").expect(0)  # its death frees the tenant at once, and what it held is spent
    assert project.run("--id", "R5", "--tenant", "blue").expect(3).doc["reason"] == "budget_exceeded"
    assert refusals(project, "R5") == [("tenant blue", "money")]


def test_runs_of_several_processes_at_once_do_not_overshoot_their_tenant(project, mock_llm):
    server = mock_llm([reply("x", usage=USAGE, latency="30ms")])
    limit = enough_for(3)
    project.on(server.provider(), tasks=tasks(2), tenants={"blue": {"budget": {"usd": limit}}})
    started = [project.start("--tenant", "blue", "--json", run_id=f"R{i}") for i in range(6)]
    ended = [each.wait() for each in started]
    assert all(each.status in (0, 2, 3) for each in ended), "\n".join(map(str, ended))
    assert all("one process at a time" in each.stderr for each in ended if each.status == 2)
    played = [each.doc for each in ended if each.status != 2]
    assert played and sum(document["total_cost_usd"] for document in played) <= limit and server.requests <= 3
    for i, each in enumerate(ended):  # one after the other, all that are left get what is left
        if each.status == 2:
            played.append(project.run("--id", f"R{i}", "--tenant", "blue").doc)
    assert sum(document["total_cost_usd"] for document in played) == pytest.approx(3 * STEP, abs=1e-9) and server.requests == 3


def test_a_resumed_run_counts_for_its_tenant_like_a_new_one(project, mock_llm):
    hold = {"timeout": True, "times": 1}
    server = mock_llm([reply("x", when={"last": "Part 1"}, usage=USAGE, fault=hold), reply("x", when={"last": "Part 2"}, usage=USAGE, fault=hold), reply("x", usage=USAGE)])
    project.on(server.provider(), tasks=tasks(3), tenants={"blue": {"budget": {"steps": 20}}})
    first = project.start("--tenant", "blue")
    wait_for(lambda: server.requests == 2, "the second request")
    first.kill()
    other = project.start("--tenant", "blue", run_id="R2")
    wait_for(lambda: server.requests == 5, "the third request of R2")
    told = project.resume("R1").expect(2)
    assert f"process {other.pid} " in told.stderr and "tenant blue" in told.stderr, told.stderr
    other.kill()
    project.resume("R1").expect(0)
    project.resume("R2").expect(0)


def spoil(project, run_id, seq):
    with sqlite3.connect(project.folder / ".troupe/journal.db") as db:
        done = db.execute("update events set body = body || ' ' where seq = ? and run = (select id from runs where run_id = ?)", (seq, run_id))
        assert done.rowcount == 1
    db.close()


def test_a_run_that_cannot_be_read_has_spent_all_the_same(project, mock_llm):
    server = mock_llm([reply("x", usage=USAGE)])
    limit = {"budget": {"usd": enough_for(9)}}
    project.on(server.provider(), tasks=tasks(2), tenants={"blue": limit, "green": limit})
    for run_id in ("R1", "R2"):
        project.run("--id", run_id, "--tenant", "blue").expect(0)
    spoil(project, "R1", 3)
    told = project.run("--id", "R3", "--tenant", "blue").expect(4)
    for part in ("tenant blue", "run R1, event 3", "damaged", "restore the journal", "period"):
        assert part in told.stderr, told.stderr
    assert server.requests == 4 and told.stdout == ""
    project.run("--id", "R3", "--tenant", "green").expect(0)


def test_a_torn_run_of_the_tenant_is_resumed_before_anything_else_is_spent(project, mock_llm):
    server = mock_llm([reply("x", usage=USAGE)])
    project.on(server.provider(), tasks=tasks(2), tenants={"blue": {"budget": {"usd": enough_for(9)}}})
    project.run("--id", "R1", "--tenant", "blue").expect(0)
    spoil(project, "R1", len(project.events("R1")))
    told = project.run("--id", "R2", "--tenant", "blue").expect(4)
    assert "run R1" in told.stderr and "resume that run" in told.stderr, told.stderr
    project.resume("R1").expect(0)
    project.run("--id", "R2", "--tenant", "blue").expect(0)


def test_a_tenant_has_a_limit_of_steps(project, mock_llm):
    server = mock_llm([reply("x")])
    project.on(server.provider(), tasks=tasks(2), tenants={"blue": {"budget": {"steps": 3}}})
    project.run("--id", "R1", "--tenant", "blue").expect(0)
    assert project.run("--id", "R2", "--tenant", "blue").expect(3).doc["completed_tasks"] == 1
    assert refusals(project, "R2") == [("tenant blue", "steps")] and server.requests == 3


@pytest.mark.parametrize("limit,kind", [({"usd": enough_for(2)}, "money"), ({"steps": 2}, "steps")], ids=["usd", "steps"])
def test_the_process_has_limits_of_its_own(limit, kind, project, mock_llm):
    server = mock_llm([reply("x", usage=USAGE)])
    project.on(server.provider(), tasks=tasks(4), budget=limit)
    document = project.run("--id", "R1").expect(3).doc
    assert document["reason"] == "budget_exceeded" and document["completed_tasks"] == 2 and server.requests == 2
    assert refusals(project, "R1") == [("process", kind)]


def test_a_resumed_run_has_the_limits_that_its_tenant_had(project, mock_llm):
    server = mock_llm([reply("x", usage=USAGE)])
    project.on(server.provider(), tasks=tasks(3), workflow={"budget": {"usd": enough_for(3)}}, tenants={"blue": {"budget": {"usd": enough_for(1)}}})
    assert project.run("--id", "R1", "--tenant", "blue").expect(3).doc["completed_tasks"] == 1
    project.data["tenants"]["blue"]["budget"]["usd"] = 100
    project.configure(**{key: value for key, value in project.data.items() if key != "version"})
    assert project.resume("R1").expect(3).doc["completed_tasks"] == 1, "a run keeps the configuration that it started with"
    assert server.requests == 1


def test_what_the_tenant_refuses_is_given_back_by_the_run(project, mock_llm):
    """The tenant has less than the run: asked again for less, the run must not hold what was refused."""
    server = mock_llm([reply("x")])
    project.on(server.provider(), agent={"max_tokens": 4000}, workflow={"budget": {"usd": 0.045}}, tenants={"blue": {"budget": {"usd": 0.01}}})
    project.run("--id", "R1", "--tenant", "blue", timeout=15).expect(0)
    assert [event["from"] for event in project.events("R1", "max_tokens_lowered")] == [4000]


def test_who_gives_up_waiting_for_the_tenant_leaves_its_line(project, mock_llm):
    server = mock_llm([reply("late", when={"last": "^slow"}, latency="2s", usage=USAGE), reply("fine", when={"last": "^wait"}, latency="400ms"), reply("fine", usage=USAGE)])
    free = {"chain": [{"provider": "p", "model": "free-model", "usd_per_mtok": "free"}]}
    project.on(server.provider(), agents={"worker": {"system": "worker"}, "other": {"system": "other"}, "poor": {"system": "poor", "model": "n"}}, models={"n": free},
               tenants={"blue": {"budget": {"usd": enough_for(2)}}},
               tasks=[task("long", "slow"), task("wait", "wait", agent="poor"), task("impatient", agent="other", needs=["wait"], timeout="700ms", on_failure="continue"),
                      task("next", needs=["long"], timeout="5s")])
    document = project.run("--id", "R1", "--tenant", "blue").expect(0).doc
    assert {id: row["status"] for id, row in rows(document).items()} == {"long": "success", "wait": "success", "impatient": "timeout", "next": "success"}


# --- tasks and agents --------------------------------------------------------------------------------------------------------------------------


def test_the_money_of_a_task_does_not_end_the_run(project, mock_llm):
    server = mock_llm([calls(("clock", {}), when={"last": "^many"}, usage=USAGE), calls(("clock", {}), when={"has_tool_result": "clock"}, usage=USAGE), reply("fine", usage=USAGE)])
    project.on(server.provider(), agent={"tools": ["clock"], "loop": {"repeats": 100, "window": 200}}, tools={"clock": {"kind": "builtin"}},
               tasks=[task("a", "many", budget={"usd": enough_for(2)}, on_failure="continue"), task("b", "{{ tasks.a.status }}")])
    document = project.run("--id", "R1").expect(0).doc
    assert rows(document)["a"]["status"] == "budget_exceeded" and rows(document)["a"]["cost_usd"] <= enough_for(2) and rows(document)["b"]["output"] == "fine"
    assert refusals(project, "R1") == [("task a", "money")]


DEAR = {"input": 1, "output": 10}  # dollars of a million tokens: 300 of the answer are $0.0030
GO_ON = [{"id": "t", "agent": "lead", "instruction": "go", "budget": {"usd": 0.0024}, "on_failure": "continue"}, {"id": "u", "needs": ["t"], "agent": "free", "instruction": "x"}]


@pytest.mark.parametrize("delegated", [False, True])
def test_the_innermost_limit_that_is_too_small_is_the_one_that_refuses(delegated, project):
    """The run's $0.0029 would do for an answer of 280 tokens, the task's $0.0024 for less than 256: the task ends, the run goes on."""
    lead = {"system": "lead", "tools": ["agent:big"]} if delegated else {"system": "lead", "model": "paid", "max_tokens": 300}
    agents = {"lead": lead, "big": {"system": "big", "description": "big", "model": "paid", "max_tokens": 300}, "free": {"system": "free"}}
    rules = [calls(("agent_big", {"task": "t"}), when={"agent": "lead", "turn": 1}), reply("fine")] if delegated else [reply("fine")]
    project.scripted(rules, agents=agents, models={"paid": {"chain": [{"provider": "p", "model": "paid", "usd_per_mtok": DEAR}]}}, tasks=GO_ON, workflow={"budget": {"usd": 0.0029}})
    document = project.run("--id", "R1").expect(0).doc
    assert rows(document)["t"]["status"] == ("success" if delegated else "budget_exceeded") and rows(document)["u"]["output"] == "fine"
    refused = project.events("R1", "budget_refused")
    assert [(e["scope"], e["kind"]) for e in refused] == [("task t", "money")] and "$0.0024" in json.dumps(refused)


def test_a_request_is_lowered_to_the_least_of_what_all_limits_have_left(project):
    for run, name in ((0.0029, "R1"), (0.0040, "R2")):
        project.scripted([reply("fine", usage={"input": 20, "output": 9})], agents={"lead": {"model": "paid", "max_tokens": 400}, "free": {}},
                         models={"paid": {"chain": [{"provider": "p", "model": "paid", "usd_per_mtok": DEAR}]}},
                         tasks=[{**GO_ON[0], "budget": {"usd": 0.0033}}, GO_ON[1]], workflow={"budget": {"usd": run}})
        project.run("--id", name).expect(0)
        lowered = project.events(name, "max_tokens_lowered")
        assert len(lowered) == 1 and 10 * lowered[0]["to"] <= min(run, 0.0033) * 1e6 < 10 * (lowered[0]["to"] + 50)


def test_elements_of_a_list_spend_from_their_task(project, mock_llm):
    server = mock_llm([reply("x")])
    project.on(server.provider(), tasks=[task("all", "{{ item }}", for_each="{{ input.list }}", parallel=1, budget={"steps": 3}, on_failure="continue")])
    project.write("in.json", {"list": list(range(6))})
    document = project.run("--id", "R1", "--input", "in.json").expect(0).doc
    assert [item["status"] for item in rows(document)["all"]["items"]].count("success") == 3 and server.requests == 3


def test_the_steps_of_an_agent_are_those_of_all_its_instances_and_outlive_a_resume(project, mock_llm):
    server = mock_llm([reply("slow", when={"last": "Part 1"}, fault={"timeout": True, "times": 1}), reply("x")])
    project.on(server.provider(), agent={"budget": {"steps": 3}}, tasks=tasks(4, on_failure="continue"))
    running = project.start()
    wait_for(lambda: server.requests == 2, "the second request")
    running.kill()
    document = project.resume("R1").expect(0).doc
    assert [row["status"] for row in document["results"]] == ["success", "success", "budget_exceeded", "budget_exceeded"]
    assert server.requests == 3, "the one whose outcome nobody knows is a step too"


def test_what_a_task_has_spent_outlives_kill_9(project, mock_llm):
    server = mock_llm([calls(("clock", {}), when={"turn": 2}, fault={"timeout": True, "times": 1}), calls(("clock", {}), when={"any": True})])
    project.on(server.provider(), agent={"tools": ["clock"], "loop": {"repeats": 100, "window": 200}}, tools={"clock": {"kind": "builtin"}}, tasks=[task("t", budget={"steps": 3})])
    running = project.start()
    wait_for(lambda: server.requests == 2, "the second request")
    running.kill()
    assert rows(project.resume("R1").expect(1).doc)["t"]["status"] == "budget_exceeded"
    assert server.requests == 3, "the one whose outcome nobody knows is a step too"


def test_a_sub_workflow_has_a_budget_of_its_own(project, mock_llm):
    server = mock_llm([reply("x")])
    project.on(server.provider(), workflows={"inner": {"tasks": tasks(3), "budget": {"steps": 2}}}, tasks=[{"id": "sub", "workflow": "inner", "on_failure": "continue"}, task("after", needs=["sub"])])
    document = project.run("--id", "R1").expect(0).doc
    assert rows(document)["sub"]["status"] != "success" and rows(document)["after"]["output"] == "x" and server.requests == 3
    assert refusals(project, "R1") == [("task sub", "steps")]


def elements(document, id):
    return [item["status"] for item in rows(document)[id]["items"]]


def test_limits_inside_of_a_list_s_sub_workflow_hold_in_each_element(project, mock_llm):
    server = mock_llm([reply("x")])
    inner = {"tasks": [task("a", "{{ item }}", for_each="{{ input.part }}", parallel=1, budget={"steps": 2})], "budget": {"steps": 50}}
    project.on(server.provider(), workflows={"inner": inner}, tasks=[{"id": "all", "workflow": "inner", "for_each": "{{ input.list }}", "parallel": 1, "with": {"part": "{{ item }}"}, "on_failure": "continue"}])
    project.write("in.json", {"list": [["a", "b", "c"], ["d"], ["e", "f", "g"]]})
    document = project.run("--id", "R1", "--input", "in.json").expect(0).doc
    assert elements(document, "all") == ["budget_exceeded", "success", "budget_exceeded"] and server.requests == 5
    assert refusals(project, "R1") == [("task all[0]/a", "steps"), ("task all[2]/a", "steps")]


def test_a_sub_workflow_s_own_limits_are_each_element_s_and_its_task_s_are_all_elements_together(project, mock_llm):
    server = mock_llm([reply("x")])
    inner = {"tasks": tasks(3), "budget": {"steps": 2}}
    project.on(server.provider(), workflows={"inner": inner}, tasks=[{"id": "all", "workflow": "inner", "for_each": "{{ input.list }}", "parallel": 1, "budget": {"steps": 5}, "on_failure": "continue"}])
    project.write("in.json", {"list": [1, 2, 3]})
    project.run("--id", "R1", "--input", "in.json").expect(0)
    assert refusals(project, "R1") == [("task all[0]", "steps"), ("task all[1]", "steps"), ("task all", "steps")] and server.requests == 5


def test_what_an_element_s_sub_workflow_has_spent_outlives_kill_9(project, mock_llm):
    server = mock_llm([reply("slow", when={"last": "Part 1"}, fault={"timeout": True, "times": 1}), reply("x")])
    inner = {"tasks": tasks(4), "budget": {"steps": 3}}
    project.on(server.provider(), workflows={"inner": inner}, tasks=[{"id": "all", "workflow": "inner", "for_each": "{{ input.list }}", "parallel": 1, "on_failure": "continue"}])
    project.write("in.json", {"list": [1]})
    running = project.start("--input", "in.json")
    wait_for(lambda: server.requests == 2, "the second request")
    running.kill()
    assert elements(project.resume("R1").expect(0).doc, "all") == ["budget_exceeded"]
    assert server.requests == 3, "the one whose outcome nobody knows is a step too"


def test_what_a_task_says_of_one_kind_leaves_the_others_to_its_sub_workflow(project, mock_llm):
    server = mock_llm([reply("x")])
    inner = {"tasks": tasks(3), "budget": {"steps": 2, "usd": 0.000001}}
    project.on(server.provider(), workflows={"inner": inner}, tasks=[{"id": "sub", "workflow": "inner", "budget": {"usd": 1}, "on_failure": "continue"}])
    project.run("--id", "R1").expect(0)
    assert refusals(project, "R1") == [("task sub", "steps")] and server.requests == 2


def test_the_time_of_a_sub_workflow_is_each_element_s(project, mock_llm):
    server = mock_llm([reply("x", latency="400ms")])
    inner = {"tasks": [task("a")], "budget": {"time": "1s"}}
    project.on(server.provider(), workflows={"inner": inner}, tasks=[{"id": "all", "workflow": "inner", "for_each": "{{ input.list }}", "parallel": 1}])
    project.write("in.json", {"list": list(range(5))})
    assert elements(project.run("--input", "in.json").expect(0).doc, "all") == ["success"] * 5


def test_once_a_limit_of_the_run_is_met_nothing_else_begins_and_all_of_it_can_go_on(project, out_of_money):
    server, aborted = out_of_money
    assert aborted["reason"] == "budget_exceeded"
    begun = [(e.get("task_id"), e["type"]) for e in project.events("R1") if e["type"] in ("llm_requested", "tool_started", "task_started", "budget_refused")]
    refused = begun.index(("one", "budget_refused"))
    assert begun[refused + 1:] == [], begun
    assert not (project.folder / "paid").exists()
    document = project.resume("R1", "--add-usd", "1").expect(0).doc
    assert {row["task_id"]: row["status"] for row in document["results"]} == {"one": "success", "two": "success", "three": "success"}
    assert (project.folder / "paid").read_text() == "paid\n"


@pytest.fixture
def out_of_money(project, mock_llm):
    """`one` meets the run's limit with its third step while `two` and `three` wait for answers, which then want a call of a tool and of another agent."""
    little = {"input": 20, "output": 5}
    server = mock_llm([
        reply("fine", when={"contains": "do one", "turn": 3}, usage=USAGE),
        calls(("clock", {}), when={"contains": "do one"}, usage=USAGE),
        calls(("pay", {}), when={"contains": "do two", "turn": 1}, latency="1500ms", usage=little),
        calls(("agent_helper", {"task": "help"}), when={"contains": "do three", "turn": 1}, latency="1500ms", usage=little),
        reply("done", usage=little),
    ])
    pay = {"kind": "process", "description": "Pays.", "command": ["sh", "-c", "echo paid >> paid"], "effect": "once", "sandbox": {"write": ["."]}}
    agents = {"one": {"tools": ["clock"]}, "two": {"tools": ["pay"], "max_tokens": 20}, "three": {"tools": ["agent:helper"], "max_tokens": 20}, "helper": {"max_tokens": 20}}
    # Input costs next to nothing: two steps of `one` leave less than a third one may take, whatever the others do.
    project.on(server.provider(), agents=agents, tools={"pay": pay, "clock": {"kind": "builtin"}}, workflow={"budget": {"usd": 0.0057}},
               model={"link": {"usd_per_mtok": {"input": 0.001, "output": 10.0}}}, tasks=[
        task("two", "do two", "two"), task("three", "do three", "three"), task("one", "do one", "one")])
    return server, project.run("--id", "R1").expect(3).doc


@pytest.mark.parametrize("where", ["task", "agent"])
def test_a_task_and_an_agent_have_limits_of_time(where, project, mock_llm):
    server = mock_llm([reply("fine", fault={"timeout": True})])
    limit = {"budget": {"time": "700ms"}}
    project.on(server.provider(), agent=limit if where == "agent" else {}, tasks=[task("t", **(limit if where == "task" else {}))])
    told = project.run("--id", "R1", timeout=20).expect(1)
    assert rows(told.doc)["t"]["status"] == "timeout" and told.seconds < 8, told


@pytest.mark.parametrize("how", ["timeout", "task", "workflow"])
def test_a_sub_workflow_has_a_limit_of_time(how, project, mock_llm):
    server = mock_llm([reply("fine", when={"last": "quick"}), reply("slow", fault={"timeout": True})])
    inner = {"tasks": [task("deep", "slow")], **({"budget": {"time": "700ms"}} if how == "workflow" else {})}
    more = {"timeout": {"timeout": "700ms"}, "task": {"budget": {"time": "700ms"}}, "workflow": {}}[how]
    project.on(server.provider(), workflows={"inner": inner}, tasks=[{"id": "sub", "workflow": "inner", "on_failure": "continue", **more}, task("after", "quick", needs=["sub"])])
    told = project.run("--id", "R1", timeout=20).expect(0)
    assert rows(told.doc)["sub"]["status"] == "timeout" and rows(told.doc)["after"]["output"] == "fine" and told.seconds < 8


def test_the_time_of_a_task_is_that_of_all_its_elements_and_attempts(project, mock_llm):
    server = mock_llm([reply("x", latency="400ms")])
    project.on(server.provider(), tasks=[task("all", "{{ item }}", for_each="{{ input.list }}", parallel=1, attempts=2, budget={"time": "1s"}, on_failure="continue")])
    project.write("in.json", {"list": list(range(6))})
    told = project.run("--id", "R1", "--input", "in.json").expect(0)
    assert [item["status"] for item in rows(told.doc)["all"]["items"]] == ["success"] * 2 + ["timeout"] * 4 and told.seconds < 5


@pytest.mark.parametrize("name", ["acmee", "", "a b", "a\nb", b"\xff", "a" * 100_000], ids=["slip", "none", "space", "control", "bytes", "long"])
def test_a_mistyped_tenant_does_not_escape_its_limit(name, project, mock_llm):
    server = mock_llm([reply("x")])
    project.on(server.provider(), tenants={"acme": {"budget": {"usd": enough_for(3)}}})
    told = project.run("--tenant", os.fsdecode(name)).expect(2)
    assert "tenant" in told.stderr and len(told.stderr) < 500 and server.requests == 0
    assert name != "acmee" or 'did you mean "acme"?' in told.stderr
    project.run().expect(0)  # without --tenant it is nobody's


@pytest.mark.parametrize("whose", ["tenant", "process"])
def test_a_tenant_and_the_process_have_limits_of_time(whose, project, mock_llm):
    server = mock_llm([reply("slow", fault={"timeout": True})])
    limit = {"time": "900ms"}
    project.on(server.provider(), **({"budget": limit} if whose == "process" else {"tenants": {"blue": {"budget": limit}}}))
    told = project.run("--id", "R1", "--tenant", "blue", timeout=20).expect(3)
    assert told.doc["reason"] == "timeout" and told.seconds < 6
    if whose == "tenant":
        again = project.run("--id", "R2", "--tenant", "blue", timeout=20).expect(3)
        assert again.doc["reason"] == "timeout" and server.requests == 1, "its time of this period is used up"


def test_every_request_is_a_step_retries_too(project, mock_llm):
    server = mock_llm([reply("x", fault={"status": 500})])
    project.on(server.provider(), workflow={"budget": {"steps": 2}}, model={"retry": {**QUICK, "attempts": 5}})
    document = project.run("--id", "R1").expect(3).doc
    assert document["reason"] == "budget_exceeded" and document["llm_calls"] == 2 and server.requests == 2


# --- refusal -----------------------------------------------------------------------------------------------------------------------------------


def two_at_once(project, server, text):
    """`long` is in flight when `next` could never fit into what the run has left."""
    small = {"max_tokens": 50}
    project.on(server.provider(), agents={"worker": {"system": "worker", **small}, "other": {"system": "other", **small}, "big": {"system": "big", "max_tokens": 4000}},
               workflow={"budget": {"usd": 0.0034}}, tasks=[task("long", text, agent="other"), task("short", "quick"), task("next", "quick", agent="big", needs=["short"])])


def test_a_call_in_flight_may_finish_when_the_money_is_out(project, mock_llm):
    server = mock_llm([reply("late", when={"last": "^slow"}, latency="1500ms"), reply("soon")])
    two_at_once(project, server, "slow")
    document = project.run("--id", "R1").expect(3).doc
    assert {id: row["status"] for id, row in rows(document).items()} == {"long": "success", "short": "success", "next": "budget_exceeded"}
    assert rows(document)["long"]["output"] == "late"


def test_but_no_longer_than_five_seconds(project, mock_llm):
    server = mock_llm([reply("late", when={"last": "^slow"}, latency="20s"), reply("soon")])
    two_at_once(project, server, "slow")
    told = project.run("--id", "R1").expect(3)
    assert rows(told.doc)["long"]["status"] != "success" and 5 <= told.seconds < 9


def test_time_that_is_over_waits_for_nobody(project, mock_llm):
    server = mock_llm([reply("late", when={"last": "^slow"}, latency="20s"), reply("soon")])
    project.on(server.provider(), workflow={"budget": {"time": "1s"}}, tasks=[task("long", "slow")])
    told = project.run("--id", "R1").expect(3)
    assert told.doc["reason"] == "timeout" and told.seconds < 4


def test_an_exhausted_run_has_really_spent_its_money(project, mock_llm):
    server = mock_llm([reply("x", usage={"input": 10, "output": 20})], "--latency", "5ms")
    limit = 0.02
    project.on(server.provider(), workflow={"budget": {"usd": limit, "steps": 1000}}, supervision={"children": [{"pool": "worker", "size": 8}]},
               agent={"max_tokens": 80}, tasks=[task("all", "Part {{ item }}.", for_each="{{ input.list }}", parallel=8)])
    project.write("in.json", {"list": list(range(200))})
    document = project.run("--id", "R1", "--input", "in.json").expect(3).doc
    assert 0.85 * limit <= document["total_cost_usd"] <= limit


def test_a_cancelled_run_leaves_nothing_reserved(project, mock_llm):
    server = mock_llm([reply("x", usage=USAGE, fault={"timeout": True, "times": 1})])
    project.on(server.provider(), workflow={"budget": {"usd": 2 * WORST}}, tasks=[task("t")])
    running = project.start()
    wait_for(lambda: server.requests == 1, "the request")
    project.troupe("cancel", "troupe.yaml", "R1").expect(0)
    running.wait(10).expect(3)
    document = project.resume("R1").expect(0).doc
    assert document["result"] == "x" and document["total_cost_usd"] <= 2 * WORST, "the lost request at its worst case, and one more"


# --- warnings ----------------------------------------------------------------------------------------------------------------------------------


def warned(project, run_id="R1"):
    return [(e["scope"], e["kind"], e["percent"]) for e in project.events(run_id, "budget_warned")]


def test_money_is_warned_of(project, mock_llm):
    project.on(mock_llm([reply("x", usage=USAGE)]).provider(), tasks=tasks(10), workflow={"budget": {"usd": 10.2 * STEP}}, agent={"max_tokens": 191})
    project.run("--id", "R1").expect(3)
    assert warned(project) == [("run", "money", 50), ("run", "money", 80)], "nine of ten fit"
    project.resume("R1", "--add-usd", "0.001").expect(0)
    assert warned(project)[-1] == ("run", "money", 80), "80 % of more money is reached anew"


def test_time_is_warned_of_while_one_call_lasts(project, mock_llm):
    project.on(mock_llm([reply("x", latency="1700ms")]).provider(), workflow={"budget": {"time": "2s"}})
    project.run("--id", "R1").expect(0)
    assert warned(project) == [("run", "time", 50), ("run", "time", 80)]


def test_limits_of_tasks_and_agents_are_warned_of(project, mock_llm):
    project.on(mock_llm([reply("x")]).provider(), agent={"budget": {"steps": 2}}, tasks=[task("a", budget={"steps": 2})])
    project.run("--id", "R1").expect(0)
    assert sorted(warned(project)) == [("agent worker", "steps", 50), ("task a", "steps", 50)]


def test_the_time_of_a_tenant_is_warned_of_with_its_next_step(project, mock_llm):
    project.on(mock_llm([reply("x", latency="700ms")]).provider(), tasks=tasks(2), tenants={"blue": {"budget": {"time": "2s"}}}, workflow={"budget": {"time": "1h"}})
    project.run("--id", "R1", "--tenant", "blue").expect(0)
    project.run("--id", "R2", "--tenant", "blue")
    assert ("tenant blue", "time", 50) in warned(project, "R2") + warned(project, "R1")


@pytest.mark.parametrize("whose", ["tenant blue", "process"])
def test_limits_above_the_run_are_warned_of(whose, project, mock_llm):
    limit = {"steps": 2}
    more = {"budget": limit} if whose == "process" else {"tenants": {"blue": {"budget": limit}}}
    project.on(mock_llm([reply("x")]).provider(), tasks=tasks(2), **more)
    project.run("--id", "R1", "--tenant", "blue").expect(0)
    assert warned(project) == [(whose, "steps", 50), (whose, "steps", 80), (whose, "steps", 95)]


def test_more_money_warns_again(project, mock_llm):
    project.on(mock_llm([reply("x")]).provider(), tasks=tasks(4), workflow={"budget": {"steps": 2}})
    project.run("--id", "R1").expect(3)
    assert warned(project) == [("run", "steps", 50), ("run", "steps", 80), ("run", "steps", 95)]
    project.resume("R1", "--add-steps", "2").expect(0)
    assert warned(project)[3:] == [("run", "steps", 80), ("run", "steps", 95)] or warned(project)[3:] == [("run", "steps", 50), ("run", "steps", 80), ("run", "steps", 95)]
