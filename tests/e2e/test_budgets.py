"""Budgets: three limits, never overshot, and how a run goes on after them (SEMANTICS 3)."""
import pytest

from conftest import PRICE, SIGINT, calls, reply, wait_for

SENTENCE = "A sentence of some length, so that it costs something."


def tasks(count, **more):
    """`count` tasks, one after the other."""
    return [{"id": f"t{i}", "agent": "worker", "instruction": f"Part {i}.", **({"needs": [f"t{i - 1}"]} if i else {}), **more} for i in range(count)]


def partial(document):
    return [row["output"] for row in document["results"] if row["status"] == "success"]


def test_steps_are_a_limit_and_resume_adds_some(project, mock_llm):
    server = mock_llm([reply(SENTENCE)])
    project.on(server.provider(), tasks=tasks(4), workflow={"budget": {"steps": 2}})
    document = project.run("--id", "R1").expect(3).doc
    assert (document["workflow_status"], document["reason"]) == ("aborted", "budget_exceeded")
    assert document["llm_calls"] == 2 and server.requests == 2
    assert partial(document) == [SENTENCE] * 2 and document["completed_tasks"] == 2 and document["total_tasks"] == 4
    assert {row["task_id"]: row["status"] for row in document["results"]}["t2"] == "budget_exceeded"
    again = project.resume("R1", "--add-steps", "2").expect(0).doc
    assert again["workflow_status"] == "completed" and partial(again) == [SENTENCE] * 4
    assert server.requests == 4 and again["llm_calls"] == 4


def test_money_is_a_limit_and_resume_adds_some(project, mock_llm):
    usage = {"input": 20, "output": 190}
    server = mock_llm([reply(SENTENCE, usage=usage)])
    limit = 0.005
    project.on(server.provider(), tasks=tasks(6), workflow={"budget": {"usd": limit}})
    document = project.run("--id", "R1").expect(3).doc
    assert (document["workflow_status"], document["reason"]) == ("aborted", "budget_exceeded")
    assert 0 < document["total_cost_usd"] <= limit
    assert 1 <= len(partial(document)) < 6
    assert document["total_cost_usd"] == pytest.approx(server.requests * (20 * PRICE["input"] + 190 * PRICE["output"]) / 1e6, abs=1e-9)
    before = server.requests
    again = project.resume("R1", "--add-usd", "1").expect(0).doc
    assert again["workflow_status"] == "completed" and len(partial(again)) == 6
    assert server.requests == 6 and before < 6


def test_a_resume_without_more_money_ends_the_same_way(project, mock_llm):
    server = mock_llm([reply(SENTENCE)])
    project.on(server.provider(), tasks=tasks(3), workflow={"budget": {"steps": 1}})
    project.run("--id", "R1").expect(3)
    again = project.resume("R1").expect(3).doc
    assert again["reason"] == "budget_exceeded" and server.requests == 1


@pytest.mark.parametrize("option", ["--add-usd", "--add-steps", "--add-time"])
@pytest.mark.parametrize("amount", ["nan", "-nan", "inf", "-1", "1e300", "1e18", "", "two"])
def test_what_is_no_amount_is_refused_before_anything_is_added(option, amount, project):
    project.scripted([reply(SENTENCE)], tasks=tasks(2), workflow={"budget": {"steps": 1}})
    project.run("--id", "R1").expect(3)
    told = project.resume("R1", f"{option}={amount}").expect(2)
    assert option in told.stderr and told.stdout == ""
    assert project.count("R1", "run_resumed") == 0, "nothing of it is recorded"


def test_less_than_can_be_counted_is_not_taken_for_nothing(project):
    project.scripted([reply(SENTENCE)], tasks=tasks(2), workflow={"budget": {"steps": 1}})
    assert "0.000001" in project.resume("R1", "--add-usd", "0.0000004").expect(2).stderr
    assert "--id" in project.run("--id", "").expect(2).stderr


def test_time_is_a_limit_and_resume_adds_some(project, mock_llm):
    server = mock_llm([reply("quick", when={"last": "Part 0"}), reply("slow", when={"turn": 1}, fault={"timeout": True, "times": 1})])
    project.on(server.provider(), tasks=tasks(2), workflow={"budget": {"time": "3s"}})
    told = project.run("--id", "R1").expect(3)
    assert (told.doc["workflow_status"], told.doc["reason"]) == ("aborted", "timeout")
    assert partial(told.doc) == ["quick"] and told.seconds < 10
    again = project.resume("R1", "--add-time", "30s").expect(0).doc
    assert partial(again) == ["quick", "slow"]


def test_the_owners_of_a_run_share_its_time(project):
    project.scripted([calls(("calculator", {"expression": "{{ turn }}+1"}), when={"any": True}, latency="400ms")], agent={"tools": ["calculator"]},
                     tools={"calculator": {"kind": "builtin"}}, workflow={"budget": {"time": "2s"}})
    process = project.start()
    wait_for(lambda: process.text().count("calculator answered") >= 3, "three steps, of 400 ms each")
    process.signal(SIGINT)
    process.wait().expect(130)
    told = project.resume("R1").expect(3)
    assert told.doc["reason"] == "timeout" and 1.9 < told.doc["duration_seconds"] < 3.1


@pytest.mark.parametrize("limit", [0.004, 0.02])
def test_the_limit_holds_with_eight_at_once(limit, project, mock_llm):
    server = mock_llm([reply(SENTENCE, usage={"input": 10, "output": 100})], "--latency", "20ms")
    project.on(server.provider(), workflow={"budget": {"usd": limit}, "input": {"schema": {"type": "object"}}},
               tasks=[{"id": "all", "agent": "worker", "for_each": "{{ input.list }}", "parallel": 8, "instruction": "Part {{ item }}."}],
               supervision={"children": [{"pool": "worker", "size": 8}]})
    document = project.run("--id", "R1", "--input", project.write("in.json", {"list": list(range(40))})).expect(3).doc
    each = (10 * PRICE["input"] + 100 * PRICE["output"]) / 1e6
    assert document["total_cost_usd"] <= limit
    assert document["total_cost_usd"] == pytest.approx(server.requests * each, abs=1e-9)
    assert document["total_cost_usd"] >= limit - 0.0035, "the money was really spent, but for less than one worst case"


def test_warnings_at_50_80_and_95_percent(project, mock_llm):
    project.on(mock_llm([reply("x")]).provider(), tasks=tasks(20), workflow={"budget": {"steps": 20}})
    project.run("--id", "R1").expect(0)
    warned = [(e["scope"], e["kind"], e["percent"]) for e in project.events("R1", "budget_warned")]
    assert warned == [("run", "steps", 50), ("run", "steps", 80), ("run", "steps", 95)]


def test_max_tokens_is_lowered_to_what_is_left(project, odd_server):
    from conftest import openai_answer
    server = odd_server([], then=openai_answer("x"))
    project.on(server.provider(stream=False), agent={"max_tokens": 4000}, workflow={"budget": {"usd": 0.01}})
    project.run("--id", "R1").expect(0)
    lowered = project.events("R1", "max_tokens_lowered")
    assert len(lowered) == 1 and lowered[0]["from"] == 4000 and 256 <= lowered[0]["to"] < 1000
    body = server.requests[0][1]
    assert lowered[0]["to"] in (body.get("max_tokens"), body.get("max_completion_tokens"))


def test_what_could_never_fit_is_refused_before_anything_is_sent(project, mock_llm):
    server = mock_llm([reply("x")])
    project.on(server.provider(), agent={"max_tokens": 4000}, workflow={"budget": {"usd": 0.001}})
    document = project.run().expect(3).doc
    assert document["reason"] == "budget_exceeded" and document["total_cost_usd"] == 0 and server.requests == 0


@pytest.mark.parametrize("where", ["task", "agent"])
def test_a_task_and_an_agent_have_limits_of_their_own(where, project, mock_llm):
    server = mock_llm([calls(("clock", {}), when={"any": True})])
    budget = {"budget": {"steps": 2}}
    project.on(server.provider(), agent={"tools": ["clock"], "loop": {"repeats": 100, "window": 200}, **(budget if where == "agent" else {})},
               tools={"clock": {"kind": "builtin"}},
               tasks=[{"id": "t", "agent": "worker", "instruction": "x", **(budget if where == "task" else {})}])
    document = project.run("--id", "R1").expect(1).doc
    assert (document["workflow_status"], document["reason"]) == ("failed", "budget_exceeded")
    assert document["results"][0]["status"] == "budget_exceeded" and server.requests == 2


def test_a_sub_workflow_spends_from_its_parent(project, mock_llm):
    server = mock_llm([reply(SENTENCE, usage={"input": 10, "output": 20})])
    inner = {"tasks": tasks(3), "result": "{{ tasks.t2.output }}", "budget": {"steps": 50}}
    project.on(server.provider(), workflow={"budget": {"steps": 3}}, workflows={"inner": inner},
               tasks=[{"id": "first", "agent": "worker", "instruction": "x"}, {"id": "sub", "needs": ["first"], "workflow": "inner"}])
    document = project.run("--id", "R1").expect(3).doc
    assert document["reason"] == "budget_exceeded" and server.requests == 3 and document["llm_calls"] == 3
    assert document["total_cost_usd"] == pytest.approx(3 * (10 * PRICE["input"] + 20 * PRICE["output"]) / 1e6, abs=1e-9)
    again = project.resume("R1", "--add-steps", "5").expect(0).doc
    assert server.requests == 4 and again["workflow_status"] == "completed"


@pytest.mark.parametrize("limit, more", [({"steps": 1}, "--add-steps 50"), ({"usd": 0.001}, "--add-usd 1")], ids=["steps", "usd"])
def test_the_message_says_how_to_go_on(limit, more, project, mock_llm):
    """What it says works, and adds to the limit that was reached, not to another one."""
    project.on(mock_llm([reply(SENTENCE)]).provider(), tasks=tasks(2), workflow={"budget": limit})
    told = project.troupe("run", "troupe.yaml", "job", "--id", "R1").expect(3)
    assert f"Go on with: troupe resume troupe.yaml R1 {more}\n" in told.stderr
    assert project.resume("R1", *more.split()).expect(0).doc["workflow_status"] == "completed"


def test_a_refusal_is_an_event(project, mock_llm):
    project.on(mock_llm([reply("x")]).provider(), tasks=tasks(2), workflow={"budget": {"steps": 1}})
    project.run("--id", "R1").expect(3)
    assert [(e["scope"], e["kind"]) for e in project.events("R1", "budget_refused")] == [("run", "steps")]


def test_no_hint_that_does_not_help(project, mock_llm):
    project.on(mock_llm([reply("x")]).provider(), tasks=[{"id": "t", "agent": "worker", "instruction": "x", "budget": {"usd": 0.000001}}])
    told = project.run("--id", "R1").expect(1)
    if "Go on with" in told.stderr:
        project.resume("R1", "--add-usd", "1").expect(0)
