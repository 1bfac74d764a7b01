"""What happens, and what does not, once a run has met its limit: what is in flight finishes, nothing begins, and all of it goes on with more (SEMANTICS 3)."""
import time

from approving import deployed, out, request_of  # noqa: F401 (a fixture)
from conftest import calls, reply, wait_for
from test_tools import process


def test_what_is_approved_once_the_limit_is_met_runs_when_the_run_goes_on(project, out):
    """Its decision comes within the grace: the tool does not begin, to be killed at the grace's end."""
    pay = process("sh", "-c", "echo paid >> out/deployed", sandbox={"write": ["out"]}, risk="high", effect="once")
    rules = [calls(("pay", {}), when={"agent": "a", "turn": 1}), reply("late", when={"agent": "c"}, latency="4500ms"), reply("fine", latency="500ms")]
    tasks = [{"id": "A", "agent": "a", "instruction": "x"}, {"id": "B", "agent": "b", "instruction": "x"}, {"id": "C", "agent": "c", "instruction": "x"},
             {"id": "B2", "agent": "b", "needs": ["B"], "instruction": "x"}]
    project.scripted(rules, agents={"a": {"system": "a", "tools": ["pay"]}, "b": {"system": "b"}, "c": {"system": "c"}}, tools={"pay": pay}, tasks=tasks, workflow={"budget": {"steps": 3}})
    running = project.start("--json")
    request = request_of(project)
    wait_for(lambda: project.count("R1", "budget_refused"), "the limit")
    project.troupe("approve", "troupe.yaml", request["id"]).expect(0)
    assert running.wait().expect(3).doc["reason"] == "budget_exceeded"
    assert deployed(out) == [] and project.count("R1", "tool_started") == 0
    again = project.resume("R1", "--add-steps", "10", "--yes").expect(0).doc
    assert deployed(out) == ["paid"] and again["workflow_status"] == "completed"


def test_what_fails_once_the_limit_is_met_has_its_next_attempt_when_the_run_goes_on(project):
    """C could never be paid for: the limit is met at once, and A fails within the grace."""
    rules = [reply("ok", when={"agent": "a", "contains": "Previous attempt"}), reply("bad", when={"agent": "a"}, latency="1s"), reply("fine")]
    agents = {"a": {"system": "a", "output": {"matches": "^ok", "retries": 0}}, "c": {"system": "c", "model": "dear"}}
    dear = {"chain": [{"provider": "p", "model": "dear", "usd_per_mtok": {"input": 1000, "output": 1000}}]}
    project.scripted(rules, agents=agents, tasks=[{"id": "A", "agent": "a", "instruction": "x", "attempts": 3}, {"id": "C", "agent": "c", "instruction": "x"}], models={"dear": dear},
                     workflow={"budget": {"usd": 0.01}})
    assert project.run("--id", "R1").expect(3).doc["reason"] == "budget_exceeded"
    assert project.count("R1", "llm_responded") == 1
    again = project.resume("R1", "--add-usd", "1000").expect(0).doc
    assert again["workflow_status"] == "completed" and again["results"][0]["attempts"] == 2
    assert project.count("R1", "llm_requested") == 3  # A's answer is judged again, and not asked for


def test_time_that_the_process_has_waits_for_no_human(project):
    """`pause_clock` gives time back to the run, not to the process: its limit ends the run gracefully, and the run can go on."""
    project.scripted([reply("fine")], tasks=[{"id": "A", "agent": "worker", "instruction": "x", "approval": {"risk": "high"}}], checkpoint={"pause_clock": True}, budget={"time": "3s"})
    begun = time.monotonic()
    running = project.start("--json")
    request = request_of(project)
    assert running.wait().expect(3).doc["reason"] == "timeout"
    assert 2.9 < time.monotonic() - begun < 10
    again = project.troupe.start("resume", "troupe.yaml", "R1", "--json")
    project.troupe("approve", "troupe.yaml", wait_for(lambda: request_of(project), "the request")["id"]).expect(0)
    assert again.wait().expect(0).doc["workflow_status"] == "completed"
    assert request["id"] == project.events("R1", "approval_decided")[0]["id"]


def test_a_tool_that_asks_humans_changes_nothing_of_when_a_model_is_given_up(project, mock_llm):
    """Retry-After is longer than the agent has: the next model is asked at once, though humans could give it time back."""
    server = mock_llm([reply("late", when={"model": "first"}, fault={"status": 429, "retry_after": 6, "times": 1}), reply("from the fallback")])
    link = [{"provider": "p", "model": name, "usd_per_mtok": "free"} for name in ("first", "second")]
    project.on(server.provider(), agent={"timeout": "3s"}, model={"chain": link, "retry": {"attempts": 3, "base": "5ms", "cap": "30s"}}, tools={"ask": process("true", risk="high")})
    begun = time.monotonic()
    assert project.run("--id", "R1").expect(0).doc["result"] == "from the fallback"
    assert time.monotonic() - begun < 3
    assert project.events("R1", "llm_failed")[0]["next"] == "fail_over"


def test_a_call_that_fails_late_while_a_human_is_waited_for_is_made_again(project):
    """The run's clock stands still: what took longer than its limit meanwhile has all of its time."""
    rules = [{"when": {"agent": "slow"}, "reply": {"text": "x"}, "latency": "3s", "fault": {"status": 503, "times": 1}}, reply("fine")]
    tasks = [{"id": "human", "agent": "a", "instruction": "x", "approval": {"risk": "high"}}, {"id": "slow", "agent": "slow", "instruction": "x"}]
    project.scripted(rules, agents={"a": {"system": "a"}, "slow": {"system": "slow"}}, tasks=tasks, checkpoint={"pause_clock": True}, workflow={"budget": {"time": "2s"}})
    running = project.start("--json")
    request = request_of(project)
    wait_for(lambda: project.count("R1", "llm_responded"), "the answer to the second request", 15)
    project.troupe("approve", "troupe.yaml", request["id"]).expect(0)
    assert running.wait().expect(0).doc["workflow_status"] == "completed"


def test_a_call_that_was_not_begun_is_no_failure_that_is_handed_on(project, out):
    """Once the limit is met a call waits behind another one, in a response that also hands the task to another agent."""
    busy = {"parameters": {"type": "object", "properties": {"who": {"type": "string"}}}, "sandbox": {"write": ["out"]}, "max_parallel": 1}
    note = process("sh", "-c", "sleep 2; echo $0 >> out/deployed", "{{ who }}", **busy)
    rules = [calls(("note", {"who": "c"}), when={"agent": "c", "turn": 1}),
             calls(("note", {"who": "a"}), ("handoff_to_b", {"reason": "it is yours"}), when={"agent": "a", "turn": 1}, latency="700ms"), reply("fine", latency="1200ms")]
    agents = {"a": {"system": "a", "tools": ["note"], "handoffs": ["b"]}, "b": {"system": "b", "description": "b"}, "c": {"system": "c", "tools": ["note"]}, "d": {"system": "d"}}
    tasks = [{"id": "A", "agent": "a", "instruction": "x"}, {"id": "C", "agent": "c", "instruction": "x"}, {"id": "D", "agent": "d", "instruction": "x"},
             {"id": "D2", "agent": "d", "needs": ["D"], "instruction": "x"}]
    project.scripted(rules, agents=agents, tools={"note": note}, tasks=tasks, workflow={"budget": {"steps": 3}})
    project.run("--id", "R1").expect(3)
    assert deployed(out) == ["c"]
    project.resume("R1", "--add-steps", "10").expect(0)
    assert deployed(out) == ["c", "a"]
