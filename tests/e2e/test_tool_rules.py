"""What may be called, how often, how many at once, and what is told when it fails (SEMANTICS 4)."""
import json
import os
import re

import pytest

from conftest import PRICE, SIGINT, calls, http_answer, openai_answer, processes_with, reply, wait_for
from test_tools import STRING, process, results, use


@pytest.fixture
def out(project):
    (project.folder / "out").mkdir()
    return project.folder / "out"


def counted(**more):
    """Leaves a mark for each call and fails."""
    return process("sh", "-c", "echo x >> out/runs; exit 3", sandbox={"write": ["out"]}, retries=0, **more)


def task(id, instruction="x", agent="worker", **more):
    return {"id": id, "agent": agent, "instruction": instruction, **more}


# --- how often -----------------------------------------------------------------------------------------------------------------------------------


def test_an_alternative_has_a_limit_of_calls_too(project):
    tools = {"bad": process("false", parameters=STRING, retries=0, alternative="good"), "good": process("printf", "good %s", "{{ text }}", parameters=STRING, max_calls=1)}
    project.scripted([calls(("bad", {"text": "a"})), calls(("bad", {"text": "b"}), when={"turn": 2}), reply("{{ last }}")], agent={"tools": ["bad"]}, tools=tools)
    document = project.run("--id", "R1").expect(0).doc
    first, second = results(project)
    assert first["text"] == "good a" and second["status"] != "ok" and "limit of 1 calls a task is used up" in second["text"]
    assert document["result"] == second["text"]


def test_a_limit_of_calls_is_each_tasks_own(project):
    tools = {"say": process("printf", "%s", "{{ text }}", parameters=STRING, max_calls=1)}
    project.scripted([calls(("say", {"text": "fine"})), reply("{{ last }}")], agent={"tools": ["say"]}, tools=tools, tasks=[task("a"), task("b", needs=["a"])])
    assert [row["output"] for row in project.run().expect(0).doc["results"]] == ["fine", "fine"]


def test_a_limit_of_calls_outlives_kill_9(project, mock_llm, out):
    server = mock_llm([calls(("say", {"text": "a"})), calls(("say", {"text": "b"}), when={"turn": 2}, fault={"timeout": True, "times": 1}), reply("{{ last }}")])
    project.on(server.provider(), agent={"tools": ["say"]}, tools={"say": process("sh", "-c", "echo x >> out/runs", sandbox={"write": ["out"]}, parameters=STRING, max_calls=1)})
    running = project.start()
    wait_for(lambda: server.requests == 2, "the second request")
    running.kill()
    assert "used up" in project.resume("R1").expect(0).doc["result"]
    assert project.read("out/runs").split() == ["x"]


def test_a_retry_is_no_call(project, out):
    tools = {"x": process("sh", "-c", "echo x >> out/runs; [ $(wc -l < out/runs) -ge 3 ]", sandbox={"write": ["out"]}, retries=2, max_calls=1)}
    assert use(project, tools, ("x", {})) == [""] and len(project.read("out/runs").split()) == 3


def test_a_tool_without_parameters_takes_none(project, out):
    text = use(project, {"x": process("touch", "out/ran", sandbox={"write": ["out"]})}, ("x", {"more": 1}))[0]
    assert '"more"' in text and not (out / "ran").exists()


# --- how many at once ------------------------------------------------------------------------------------------------------------------------------


def crowd(project, out, tools, agents, each):
    """Agents that call at once, each `each` times; returns the most that ran at once."""
    command = ["sh", "-c", "mkdir out/$1; ls out | wc -l; sleep 0.25; rmdir out/$1", "sh", "{{ text }}"]
    made = {name: process(*command, parameters=STRING, sandbox={"write": ["out"]}, **more) for name, more in tools.items()}
    names = [f"a{i}" for i in range(agents)]
    rules = [{"when": {"turn": 1, "agent": name}, "reply": {"tool_calls": [{"name": list(tools)[i % len(tools)], "arguments": {"text": f"{name}-{k}"}} for k in range(each)]}} for i, name in enumerate(names)]
    project.scripted([*rules, reply("done")], agents={name: {"system": name, "tools": list(tools)} for name in names}, tools=made, tasks=[task(name, agent=name) for name in names])
    project.run("--id", "R1").expect(0)
    told = [int(event["text"]) for event in project.events("R1", "tool_finished")]
    assert len(told) == agents * each
    return max(told)


def test_at_most_sixteen_of_a_tool_run_at_once(project, out):
    assert 8 < crowd(project, out, {"x": {}}, agents=4, each=8) <= 16


def test_max_parallel_limits_a_tool(project, out):
    assert crowd(project, out, {"x": {"max_parallel": 3}}, agents=2, each=6) == 3


# --- what is told ----------------------------------------------------------------------------------------------------------------------------------


def test_what_else_there_is_leaves_out_what_was_tried(project, out):
    tools = {"bad": counted(alternative="worse"), "worse": counted(), "clock": {"kind": "builtin"}, "say": process("true")}
    text = use(project, tools, ("bad", {}))[0]
    tried, others = text.split("Other tools that you have:")
    assert '"bad"' in tried and '"worse" in its place' in tried and '"clock"' in others and '"say"' in others and "bad" not in others and "worse" not in others
    assert project.read("out/runs").split() == ["x"] * 2


def test_alternatives_in_a_circle_are_refused(project, troupe):
    project.scripted([reply("x")], agent={"tools": ["a"]}, tools={"a": process("false", alternative="b"), "b": process("false", alternative="a")})
    assert "alternative" in troupe("validate", "troupe.yaml").expect(2).stderr


def test_an_alternative_that_does_not_take_the_arguments_is_not_run(project, out):
    other = {"type": "object", "required": ["number"], "properties": {"number": {"type": "integer"}}}
    tools = {"bad": process("false", parameters=STRING, retries=0, alternative="other"), "other": process("touch", "out/ran", parameters=other, sandbox={"write": ["out"]})}
    text = use(project, tools, ("bad", {"text": "a"}))[0]
    assert "does not take these arguments" in text and "number" in text and not (out / "ran").exists()


def test_a_tool_that_gives_no_answer_again_and_again_is_left_alone(project, out):
    hang = process("sh", "-c", "echo x >> out/runs; sleep 30", sandbox={"write": ["out"]}, timeout="200ms", retries=0, alternative="say")
    tools = {"hang": hang, "say": process("printf", "instead")}
    rules = [calls(("hang", {}), when={"turn": turn}) for turn in range(1, 8)]
    project.scripted([*rules, reply("{{ last }}")], agent={"tools": ["hang"], "loop": {"repeats": 100, "window": 200}}, tools=tools)
    assert project.run("--id", "R1").expect(0).doc["result"] == "instead"
    assert len(project.read("out/runs").split()) == 5, "five in a row open its circuit"
    assert [(e["model"], e["state"]) for e in project.events("R1", "breaker_changed")] == [("hang", "open")]


def test_a_failure_is_an_answer_and_opens_nothing(project, out):
    rules = [calls(("bad", {}), when={"turn": turn}) for turn in range(1, 8)]
    project.scripted([*rules, reply("done")], agent={"tools": ["bad"], "loop": {"repeats": 100, "window": 200}}, tools={"bad": counted()})
    project.run("--id", "R1").expect(0)
    assert len(project.read("out/runs").split()) == 7 and project.count("R1", "breaker_changed") == 0


def test_arguments_that_were_cut_off_are_said_to_be(project, odd_server):
    message = {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "say", "arguments": '{"text": "abc'}}]}
    body = {"id": "c1", "object": "chat.completion", "model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "length"}]}
    server = odd_server([http_answer(200, json.dumps(body))], then=openai_answer("fine"))
    project.on(server.provider(stream=False), agent={"tools": ["say"]}, tools={"say": process("touch", "ran", parameters=STRING)})
    project.run("--id", "R1").expect(0)
    assert "cut off because the answer reached its length limit" in results(project)[0]["text"] and project.count("R1", "tool_started") == 0


@pytest.mark.parametrize("risk,asked", [("low", False), ("medium", False), ("high", True), ("critical", True)])
def test_a_risk_that_asks_for_approval_is_not_run_unseen(risk, asked, project, out):
    tools = {"x": process("sh", "-c", "echo x >> out/runs", sandbox={"write": ["out"]}, risk=risk)}
    text = use(project, tools, ("x", {}), checkpoint={"timeout": "300ms"})[0]
    assert (out / "runs").exists() != asked and ("Rejected" in text) == asked
    if asked:
        project.run("--id", "R2", "--yes").expect(0)
        assert (out / "runs").exists()


@pytest.mark.parametrize("risk,asked", [("low", False), ("medium", False), ("high", True), ("critical", True)])
def test_a_task_that_asks_for_approval_does_not_start_unseen(risk, asked, project):
    project.scripted([reply("done")], tasks=[task("t", approval={"risk": risk})], checkpoint={"timeout": "300ms"})
    told = project.run("--id", "R1").expect(1 if asked else 0)
    assert told.doc["results"][0]["status"] == ("rejected" if asked else "success")
    assert project.count("R1", "llm_requested") == (0 if asked else 1)
    if asked:
        assert "Auto-rejected: approval timeout" in told.doc["results"][0]["error"]
        project.run("--id", "R2", "--yes").expect(0)


# --- time ------------------------------------------------------------------------------------------------------------------------------------------


def test_a_tool_has_no_more_time_than_its_task(project):
    mark = f"71{os.getpid()}"
    project.scripted([calls(("x", {})), reply("done")], agent={"tools": ["x"]}, tasks=[task("t", timeout="800ms")], tools={"x": process("sleep", mark, timeout="60s", retries=0)})
    told = project.run("--id", "R1").expect(1)
    assert told.doc["results"][0]["status"] == "timeout" and told.seconds < 6
    assert processes_with(f"sleep {mark}") == []


# --- in doubt --------------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("effect,risk,doubts", [("once", "low", 1), ("once", "high", 1), ("idempotent", "low", None), ("none", "low", None)])
def test_a_run_counts_calls_whose_outcome_nobody_knows(effect, risk, doubts, project, mock_llm, out):
    server = mock_llm([calls(("slow", {})), reply("{{ last }}")])
    tool = process("sh", "-c", "echo x >> out/runs; while [ ! -e out/go ]; do sleep 0.05; done; echo ready", sandbox={"write": ["out"]}, timeout="60s", risk=risk, **{"effect": effect})
    project.on(server.provider(), agent={"tools": ["slow"]}, tools={"slow": tool})
    running = project.start("--yes")
    wait_for(lambda: (out / "runs").exists(), "the tool")
    running.kill()
    project.write("out/go", "")
    document = project.resume("R1", "--yes").expect(0).doc
    assert document.get("in_doubt") == doubts
    assert len(project.read("out/runs").split()) == (1 if doubts else 2)
    assert ("nobody knows" in document["result"]) == bool(doubts)


def test_a_call_in_doubt_is_one_of_its_limit(project, mock_llm, out):
    server = mock_llm([calls(("slow", {})), calls(("slow", {}), when={"turn": 2}), reply("{{ last }}")])
    tool = process("sh", "-c", "echo x >> out/runs; while [ ! -e out/go ]; do sleep 0.05; done", sandbox={"write": ["out"]}, timeout="60s", max_calls=1, **{"effect": "once"})
    project.on(server.provider(), agent={"tools": ["slow"]}, tools={"slow": tool})
    running = project.start()
    wait_for(lambda: (out / "runs").exists(), "the tool")
    running.kill()
    project.write("out/go", "")
    assert "used up" in project.resume("R1").expect(0).doc["result"], "it may have run"
    assert project.read("out/runs").split() == ["x"]


def test_a_call_under_way_is_joined_by_its_agents_next_incarnation(project, out):
    tool = process("sh", "-c", "echo x >> out/runs; sleep 1; echo done", sandbox={"write": ["out"]}, **{"effect": "once"})
    project.scripted([{"when": {"agent": "bad"}, "reply": {"text": "saved"}, "fault": {"crash": True, "times": 1}, "latency": "400ms"}, calls(("x", {})), reply("{{ last }}")],
                     agents={"good": {"system": "good", "tools": ["x"]}, "bad": {"system": "bad"}}, tools={"x": tool},
                     supervision={"strategy": "one_for_all", "children": [{"agent": "good"}, {"agent": "bad"}]}, tasks=[task("a", agent="good"), task("b", agent="bad")])
    document = project.run("--id", "R1").expect(0).doc
    assert [row["output"].strip() for row in document["results"]] == ["done", "saved"] and "in_doubt" not in document
    assert project.read("out/runs").split() == ["x"] and project.count("R1", "tool_finished") == 1


@pytest.mark.parametrize("effect,answers", [("none", 2), ("idempotent", 2), ("once", 1)])
def test_a_tool_of_effect_once_whose_failure_is_recorded_is_not_turned_to_again(effect, answers, project, mock_llm, out):
    """It timed out, and may have taken effect all the same. Its alternative was at work when the program was killed."""
    server = mock_llm([calls(("pay", {})), reply("{{ last }}")])
    tools = {"pay": process("sh", "-c", "echo x >> out/paid; sleep 30", sandbox={"write": ["out"]}, timeout="300ms", effect="once", alternative="ask"),
             "ask": process("sh", "-c", "echo x >> out/asked; while [ ! -e out/go ]; do sleep 0.05; done; echo asked", sandbox={"write": ["out"]}, timeout="60s", effect=effect)}
    project.on(server.provider(), agent={"tools": ["pay"]}, tools=tools)
    running = project.start()
    wait_for(lambda: (out / "asked").exists(), "the alternative")
    running.kill()
    project.write("out/go", "")
    document = project.resume("R1").expect(0).doc
    assert project.read("out/paid").split() == ["x"], "it is not run again"
    assert len(project.read("out/asked").split()) == answers and document.get("in_doubt") == (1 if effect == "once" else None)
    assert [e["tool"] for e in project.events("R1", "tool_started")] == ["pay", *["ask"] * answers]
    assert document["result"].strip() == "asked" or effect == "once" and '"ask" was interrupted' in document["result"]


def test_an_alternative_that_waited_for_room_when_the_program_died_is_next(project, mock_llm, out):
    """The one place of `ask` is taken: the call of `pay` has failed, and its alternative has not begun."""
    server = mock_llm([calls(("ask", {"text": "first"}), ("pay", {"text": "second"})), reply("done")])
    tools = {"pay": process("sh", "-c", "echo x >> out/paid; sleep 30", parameters=STRING, sandbox={"write": ["out"]}, timeout="300ms", effect="once", alternative="ask"),
             "ask": process("sh", "-c", "echo $1 >> out/asked; while [ ! -e out/go ]; do sleep 0.05; done; echo $1", "sh", "{{ text }}", parameters=STRING, sandbox={"write": ["out"]}, timeout="60s", effect="none", max_parallel=1)}
    project.on(server.provider(), agent={"tools": ["pay", "ask"]}, tools=tools)
    running = project.start()
    running.wait_line("ALTERNATIVE")
    running.kill()
    project.write("out/go", "")
    project.resume("R1").expect(0)
    assert project.read("out/paid").split() == ["x"], "it is not run again"
    assert sorted(row["text"].strip() for row in results(project)) == ["first", "second"]


def test_calls_that_a_signal_finds_waiting_for_room_are_not_in_doubt(project, mock_llm, out):
    """Eight of twelve are at work: the other four have done nothing, and run when the run is resumed."""
    server = mock_llm([calls(*[("order", {"text": str(i)}) for i in range(12)]), reply("done")])
    tool = process("sh", "-c", "echo $1 >> out/orders; while [ ! -e out/go ]; do sleep 0.05; done; echo ok", "sh", "{{ text }}", parameters=STRING, sandbox={"write": ["out"]}, timeout="60s", effect="once")
    project.on(server.provider(), agent={"tools": ["order"]}, tools={"order": tool})
    running = project.start()
    wait_for(lambda: (out / "orders").exists() and len(project.read("out/orders").split()) == 8, "eight calls")
    running.signal(SIGINT)
    running.wait(15).expect(130)
    assert project.count("R1", "tool_started") == 8
    project.write("out/go", "")
    document = project.resume("R1").expect(0).doc
    assert document["in_doubt"] == 8 and document["tool_calls"] == 12
    assert sorted(project.read("out/orders").split(), key=int) == [str(i) for i in range(12)], "each once"
    assert [row["status"] for row in results(project)].count("ok") == 4


@pytest.fixture
def risky(project, mock_llm, out):
    """Starts a company that pays once where a human agrees, and kills it while it pays; the first request's id."""

    def begin(*more, **checkpoint):
        server = mock_llm([calls(("pay", {})), *more, reply("{{ last }}")])
        tool = process("sh", "-c", "echo x >> out/paid; while [ ! -e out/go ]; do sleep 0.05; done; echo done", sandbox={"write": ["out"]}, timeout="60s", effect="once", risk="high")
        project.on(server.provider(), agent={"tools": ["pay"]}, tools={"pay": tool}, checkpoint={"timeout": "60s", **checkpoint})
        running = project.start()
        first = running.wait_line(r"request (R1-\w+)").group(1)
        project.troupe("approve", "troupe.yaml", first).expect(0)
        wait_for(lambda: (out / "paid").exists(), "the call")
        running.kill()
        return first

    return begin


def asked_again(project, *before, options=()):
    """Resumes, and waits for a request that is none of those before."""
    resumed = project.troupe.start("resume", "troupe.yaml", "R1", "--json", *options)
    others = "|".join(each.partition("-")[2] for each in before)
    return resumed, resumed.wait_line(r"approve troupe.yaml (R1-(?!%s)\w+)" % others).group(1)


def test_a_human_hears_first_of_a_risky_call_in_doubt(project, out, risky):
    """Who does not let it be made again tells the agent what became of it."""
    resumed, second = asked_again(project, risky())
    listed = project.troupe("approvals", "troupe.yaml").expect(0).stdout
    assert 'IN DOUBT: an earlier attempt of "pay" was interrupted after it began: it may have taken effect' in listed
    assert project.count("R1", "tool_finished") == 0, "the agent knows nothing yet"
    project.troupe("reject", "troupe.yaml", second, "--comment", "it was paid").expect(0)
    document = resumed.wait().expect(0).doc
    assert document["in_doubt"] == 1 and "nobody knows" in document["result"] and "does not let it be made again: it was paid. Find out" in document["result"]
    assert project.read("out/paid").split() == ["x"]


def test_a_human_may_let_a_risky_call_in_doubt_be_made_again(project, out, risky):
    resumed, second = asked_again(project, risky())
    (out / "go").touch()
    project.troupe("approve", "troupe.yaml", second).expect(0)
    document = resumed.wait().expect(0).doc
    assert document["result"] == "done\n" and document["in_doubt"] == 1 and document["tool_calls"] == 1
    assert project.read("out/paid").split() == ["x", "x"], "once by each yes of a human"
    assert [event["attempt"] for event in project.events("R1", "tool_started")] == [1, 2]


def test_each_doubt_is_a_question_of_its_own(project, out, risky):
    """Killed while the question waits it is the same one; killed while the call is made again it is another."""
    first = risky()
    resumed, second = asked_again(project, first)
    resumed.kill()
    resumed, same = asked_again(project, first)
    assert same == second
    project.troupe("approve", "troupe.yaml", second).expect(0)
    wait_for(lambda: len(project.read("out/paid").split()) == 2, "the second time")
    resumed.kill()
    resumed, third = asked_again(project, first, second)
    project.troupe("reject", "troupe.yaml", third).expect(0)
    assert resumed.wait().expect(0).doc["in_doubt"] == 1 and project.read("out/paid").split() == ["x", "x"]


def test_where_nobody_answers_about_a_call_in_doubt_the_agent_is_told(project, out, risky):
    resumed, _ = asked_again(project, risky(timeout="2s"))
    document = resumed.wait().expect(0).doc
    assert document["in_doubt"] == 1 and "nobody knows" in document["result"] and "approval timeout" in document["result"]
    assert project.read("out/paid").split() == ["x"]


def test_a_yes_to_everything_is_no_yes_to_a_call_in_doubt(project, out, risky):
    risky()
    document = project.resume("R1", "--yes").expect(0).doc
    assert document["in_doubt"] == 1 and "nobody knows" in document["result"] and project.read("out/paid").split() == ["x"]


def test_a_risky_call_in_doubt_is_not_made_again_unseen(project, out, risky):
    """The call that the agent makes after that is another request, and waits for a human too."""
    first = risky(calls(("pay", {}), when={"turn": 2}))
    resumed, second = asked_again(project, first)
    project.troupe("reject", "troupe.yaml", second).expect(0)
    third = resumed.wait_line(r"approve troupe.yaml (R1-(?!%s|%s)\w+)" % (first.partition("-")[2], second.partition("-")[2])).group(1)
    project.troupe("reject", "troupe.yaml", third, "--comment", "it was paid").expect(0)
    document = resumed.wait().expect(0).doc
    assert document["in_doubt"] == 1 and "it was paid" in document["result"]
    assert project.read("out/paid").split() == ["x"]


def test_a_request_whose_outcome_nobody_knows_is_no_tool_in_doubt(project, mock_llm):
    server = mock_llm([reply("x", usage={"input": 10, "output": 5}, fault={"timeout": True, "times": 1})])
    project.on(server.provider())
    running = project.start()
    wait_for(lambda: server.requests == 1, "the request")
    running.kill()
    document = project.resume("R1").expect(0).doc
    assert project.count("R1", "outcome_unknown") == 1 and document["llm_calls"] == 2 and "in_doubt" not in document
    worst = project.events("R1", "outcome_unknown")[0]["charged"] / 1e6
    answered = (10 * PRICE["input"] + 5 * PRICE["output"]) / 1e6
    assert document["total_cost_usd"] == pytest.approx(worst + answered, abs=1e-9), "its worst case stands in the cost"
    assert document["tokens"] == {"input": 10, "cached_input": 0, "output": 5}, "but not among the tokens"


def test_the_repeat_of_a_dead_agents_call_has_the_same_key(project, out):
    """The agent dies, its tool does not: the call is joined, not begun a second time."""
    mark = re.compile(r"\S+/\S+/\S+")
    tool = process("sh", "-c", "echo $TROUPE_IDEMPOTENCY_KEY >> out/keys; echo ok", sandbox={"write": ["out"]}, effect="idempotent")
    project.scripted([calls(("x", {})), calls(("x", {}), when={"turn": 2}), reply("fine", fault={"crash": True, "times": 1})], agent={"tools": ["x"]}, tools={"x": tool})
    project.run("--id", "R1").expect(0)
    keys = project.read("out/keys").split()
    assert len(keys) == len(set(keys)) == 2 and all(mark.fullmatch(key) for key in keys)


@pytest.mark.parametrize("cut", ["timeout", "cancel"])
def test_a_call_with_an_effect_that_is_cut_off_is_counted_in_doubt(cut, project):
    (project.folder / "out").mkdir()
    project.scripted([calls(("pay", {}), when={"contains": "pay", "turn": 1}), reply("fine")], agent={"tools": ["pay"]},
                     tools={"pay": {"kind": "process", "description": "pays", "effect": "once", "sandbox": {"write": ["out"]},
                                    "command": ["sh", "-c", "echo sent >> out/ledger; sleep 20"]}},
                     tasks=[{"id": "t", "agent": "worker", "instruction": "pay", "on_failure": "continue", **({"timeout": "1s"} if cut == "timeout" else {})},
                            {"id": "u", "agent": "worker", "instruction": "rest", "needs": ["t"]}])
    process = project.start()
    process.wait_line("tool pay")
    wait_for(lambda: (project.folder / "out/ledger").exists(), "the payment")
    if cut == "cancel":
        project.troupe("cancel", "troupe.yaml", "R1").expect(0)
    told = process.wait().expect(0 if cut == "timeout" else 3).stderr
    assert "1 call of a tool with an effect may or may not have taken effect" in told
    assert project.troupe("show", "troupe.yaml", "R1", "--json").doc["in_doubt"] == 1


def test_a_call_that_waits_for_its_place_ends_with_its_task(project, mock_llm):
    """Somebody else has the one place for long: whoever waits for it has no more time for that."""
    server = mock_llm([calls(("slow", {"for": "6"}), when={"last": "^first"}), calls(("slow", {"for": "0"}), when={"last": "^second"}, latency="700ms"), reply("done")])
    project.on(server.provider(), agents={"a": {"system": "a", "tools": ["slow"]}, "b": {"system": "b", "tools": ["slow"]}},
               tasks=[{"id": "first", "agent": "a", "instruction": "first"}, {"id": "second", "agent": "b", "instruction": "second", "budget": {"time": "2s"}, "on_failure": "continue"}],
               tools={"slow": {"kind": "process", "description": "x", "effect": "none", "max_parallel": 1, "command": ["sleep", "{{ for }}"],
                               "parameters": {"type": "object", "properties": {"for": {"type": "string"}}}}})
    project.run("--id", "R1")
    times = {event["task_id"]: event["time_us"] for event in project.events("R1", "task_finished")}
    began = project.events("R1", "run_started")[0]["time_us"]
    assert times["second"] - began < 4_500_000 < times["first"] - began, times


def test_a_call_that_was_cut_off_is_in_doubt_though_the_next_attempt_makes_one_of_the_same_id(project):
    (project.folder / "out").mkdir()
    pay = process("sh", "-c", "echo $0 >> out/paid; sleep $1", "{{ n }}", "{{ s }}", effect="once", sandbox={"write": ["out"]},
                  parameters={"type": "object", "properties": {"n": {"type": "string"}, "s": {"type": "string"}}})
    project.scripted([calls(("pay", {"n": "2", "s": "0"}), when={"turn": 1, "contains": "Previous attempt"}), calls(("pay", {"n": "1", "s": "60"}), when={"turn": 1}), reply("paid")],
                     agent={"tools": ["pay"], "timeout": "1500ms"}, tools={"pay": pay}, tasks=[{"id": "t", "agent": "worker", "instruction": "Do the work.", "attempts": 2}])
    told = project.run("--id", "R1").expect(0)
    assert project.read("out/paid").split() == ["1", "2"]
    assert told.doc["tool_calls"] == 2 and told.doc["in_doubt"] == 1, told
