"""Trees of supervisors: who is restarted with whom, who gives up, who is left alone (SEMANTICS 8)."""
import re

import pytest

from conftest import calls, reply, wait_for


def crash(times=None):
    return {"crash": True, **({"times": times} if times else {})}


def task(id, instruction="x", agent="worker", **more):
    return {"id": id, "agent": agent, "instruction": instruction, **more}


def rows(document):
    return {row["task_id"]: row for row in document["results"]}


NAMES = ("first", "bad", "last")


def company(project, supervision, times=1, **more):
    """Three agents at work at once; `bad` dies so many times after a while, the others take longer than that."""
    project.scripted([{"when": {"agent": "bad"}, "reply": {"text": "bad is fine"}, "fault": crash(times), "latency": "150ms"},
                      {"when": {"any": True}, "reply": {"text": "fine"}, "latency": "700ms"}],
                     agents={name: {"system": name} for name in NAMES}, supervision=supervision, tasks=[task(name, agent=name) for name in NAMES], **more)


def watched(project, **options):
    """A run whose supervisors say what they do: (result, restarted members in order, reports)."""
    told = project.troupe("--log-level", "info", "run", "troupe.yaml", "job", "--id", "R1", "--json", **options)
    return told, re.findall(r"supervisor (\S+): (\S+) runs again", told.stderr), re.findall(r"supervisor (\S+): (child_terminated|start_error|shutdown_error|intensity_reached): (\S+):", told.stderr)


CHILDREN = [{"agent": name} for name in NAMES]


@pytest.mark.parametrize("strategy,again", [("one_for_one", ["bad"]), ("rest_for_one", ["bad", "last"]), ("one_for_all", ["first", "bad", "last"])])
def test_a_strategy_says_who_is_restarted_and_all_tasks_go_on(strategy, again, project):
    company(project, {"strategy": strategy, "children": CHILDREN})
    told, restarted, _ = watched(project)
    assert told.expect(0).doc["completed_tasks"] == 3
    assert [child for _, child in restarted] == again, told.stderr
    assert [event["agent"] for event in project.events("R1", "agent_crashed")] == ["bad"], "nobody else died of its own task"
    asked = [event["step_id"] for event in project.events("R1", "llm_responded")]
    assert len(asked) == len(set(asked)) == 3


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
def test_one_crash_counts_one_restart_whatever_the_strategy(strategy, project):
    company(project, {"strategy": strategy, "max_restarts": 1, "children": CHILDREN})
    told, restarted, reports = watched(project)
    assert told.expect(0).doc["completed_tasks"] == 3 and len(restarted) >= 2
    assert [what for _, what, _ in reports] == ["child_terminated"]


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
def test_a_temporary_child_does_not_come_back_with_a_sibling(strategy, project):
    company(project, {"strategy": strategy, "children": [{"agent": "first"}, {"agent": "bad"}, {"agent": "last", "restart": "temporary"}]})
    told, restarted, _ = watched(project)
    document = told.expect(1).doc
    assert "last" not in [child for _, child in restarted]
    assert rows(document)["last"]["status"] == "error" and "no member" in rows(document)["last"]["error"]


def test_a_transient_agent_is_restarted_after_a_crash(project):
    company(project, {"children": [{"agent": "first"}, {"agent": "bad", "restart": "transient"}, {"agent": "last"}]})
    told, restarted, _ = watched(project)
    assert told.expect(0).doc["completed_tasks"] == 3 and restarted == [("root", "bad")]


# --- trees -------------------------------------------------------------------------------------------------------------------------------------


def team(restart="permanent", **more):
    return {"supervisor": {"name": "team", "max_restarts": 0, "children": [{"agent": "bad"}, {"agent": "last"}], **more}, "restart": restart}


def test_a_supervisor_that_gives_up_is_restarted_by_the_one_above(project):
    company(project, {"children": [{"agent": "first"}, team()]})
    told, restarted, reports = watched(project)
    assert told.expect(0).doc["completed_tasks"] == 3
    assert ("team", "intensity_reached", "bad") in reports and ("root", "team") in restarted
    assert "first" not in [child for _, child in restarted]


def test_a_temporary_child_comes_back_with_its_supervisor_and_its_task_goes_on(project):
    company(project, {"children": [{"agent": "first"}, team(children=[{"agent": "bad"}, {"agent": "last", "restart": "temporary"}])]})
    told, restarted, _ = watched(project)
    assert told.expect(0).doc["completed_tasks"] == 3 and ("root", "team") in restarted


def test_a_transient_supervisor_that_gives_up_stays_away(project):
    company(project, {"children": [{"agent": "first"}, team("transient")]})
    told, restarted, _ = watched(project)
    document = told.expect(1).doc
    assert restarted == [], "giving up is a shutdown, as in OTP"
    assert rows(document)["bad"]["status"] == "error" and rows(document)["bad"]["error"]
    assert told.seconds < 10


def test_giving_up_goes_up_to_the_root_which_ends_with_a_report(project):
    company(project, {"max_restarts": 0, "children": [{"agent": "first"}, team()]}, times=None)
    told, _, reports = watched(project)
    assert [(who, what) for who, what, _ in reports if what == "intensity_reached"] == [("team", "intensity_reached"), ("root", "intensity_reached")]
    assert told.expect(1).doc["workflow_status"] == "failed" and told.seconds < 10
    assert project.count("R1", "run_finished") == 1


def test_a_subtree_restarts_without_its_neighbours(project):
    inner = {"supervisor": {"name": "team", "strategy": "one_for_all", "children": [{"agent": "bad"}, {"agent": "last"}]}}
    company(project, {"children": [{"agent": "first"}, inner]})
    told, restarted, _ = watched(project)
    assert told.expect(0).doc["completed_tasks"] == 3
    assert restarted == [("team", "bad"), ("team", "last")]


# --- significant children ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode,ends", [("any_significant", True), ("all_significant", False)])
def test_a_significant_child_that_ends_takes_its_supervisor_along(mode, ends, project):
    lone = {"restart": "temporary", "significant": True}
    company(project, {"auto_shutdown": mode, "children": [{"agent": "first"}, {"agent": "bad", **lone}, {"agent": "last", **lone}]}, workflow={})
    project.data["workflows"]["job"]["tasks"][1]["on_failure"] = "continue"
    project.configure(**{key: value for key, value in project.data.items() if key != "version"})
    told, _, _ = watched(project)
    document = told.expect(1 if ends else 0).doc
    assert rows(document)["bad"]["status"] == "error"
    assert (rows(document)["first"]["status"] == "success") == (not ends)


@pytest.mark.parametrize("supervision,words", [
    ({"children": [{"agent": "worker"}, {"agent": "worker"}]}, "worker"),
    ({"children": [{"agent": "worker", "shutdown": "-1s"}]}, "shutdown"),
    ({"max_restarts": -1, "children": [{"agent": "worker"}]}, "max_restarts"),
    ({"within": "0s", "children": [{"agent": "worker"}]}, "within"),
    ({"children": [{"agent": "worker", "significant": True, "restart": "transient"}]}, "auto_shutdown"),
    ({"auto_shutdown": "any_significant", "children": [{"agent": "worker", "significant": True}]}, "permanent"),
    ({"children": [{"pool": "worker", "size": 0}]}, "size"),
], ids=["duplicate", "negative_shutdown", "negative_restarts", "no_time", "significant_for_nothing", "significant_permanent", "no_size"])
def test_a_tree_that_makes_no_sense_is_refused_before_anything_starts(supervision, words, project, troupe):
    project.scripted([reply("x")], supervision=supervision)
    for args in (["validate", "troupe.yaml"], ["run", "troupe.yaml", "job", "--id", "R1"]):
        told = troupe(*args).expect(2)
        assert words in told.stderr and "/supervision" in told.stderr, told.stderr
    assert not (project.folder / ".troupe").exists()


# --- tasks and pools -----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("crashes,deaths", [(0, 1), (1, 2)])
def test_an_agent_says_how_many_deaths_a_task_may_cause(crashes, deaths, project):
    project.scripted([reply("never", fault=crash())], agent={"crashes": crashes}, supervision={"max_restarts": 10, "children": [{"agent": "worker"}]})
    document = project.run("--id", "R1").expect(1).doc
    assert document["reason"] == "poison" and project.count("R1", "agent_crashed") == deaths


def test_a_poisonous_task_leaves_its_agent_to_the_others(project):
    project.scripted([reply("never", when={"last": "poison"}, fault=crash()), reply("fine")], tasks=[task("a", "poison", on_failure="continue"), task("b", "{{ tasks.a.status }}")])
    document = project.run("--id", "R1").expect(0).doc
    assert rows(document)["a"]["status"] == "error" and rows(document)["b"]["output"] == "fine", "with the default intensity, which the fourth crash would exceed"


def test_deaths_are_remembered_when_a_run_is_resumed(project):
    project.scripted([reply("late", fault=crash(2), latency="1200ms")], supervision={"max_restarts": 10, "children": [{"agent": "worker"}]})
    running = project.start()
    running.wait_line("worker")
    wait_for(lambda: project.count("R1", "agent_crashed") == 2, "two deaths")
    running.kill()
    document = project.resume("R1").expect(1).doc
    assert document["reason"] == "poison"
    assert [event["crashes"] for event in project.events("R1", "agent_crashed")] == [1, 2, 3, 4]


def test_the_least_loaded_member_gets_the_next_task(project, mock_llm):
    server = mock_llm([reply("{{ last }}")], "--latency", "150ms")
    project.on(server.provider(), supervision={"children": [{"pool": "worker", "size": 4}]}, tasks=[task(f"t{i}") for i in range(4)])
    project.run("--id", "R1").expect(0)
    assert server.stats()["max_in_flight"] == 4, "nobody waits behind another while a member is idle"


def test_a_task_goes_to_another_member_when_its_own_died(project):
    project.scripted([reply("late", when={"last": "slow"}, latency="400ms"), reply("saved", fault=crash(1))],
                     supervision={"children": [{"pool": "worker", "size": 2, "restart": "temporary"}]}, tasks=[task("a", "bad"), task("b", "slow")])
    document = project.run("--id", "R1").expect(0).doc
    assert rows(document)["a"]["output"] == "saved" and rows(document)["b"]["output"] == "late"
    assert project.count("R1", "agent_crashed") == 1
    assert project.count("R1", "agent_restarted") <= 1


def test_a_line_has_an_end(project):
    lists = [task(name, "{{ item }}", for_each="{{ input.list }}", parallel=10_000) for name in "ab"]
    project.scripted([reply("x")], tasks=lists)
    project.write("in.json", {"list": list(range(6_000))})
    project.run("--id", "R1", "--input", "in.json", timeout=60).expect(3)  # the steps of the run end it, long before the line is worked off
    refused = [event["error"] for event in project.events("R1", "task_finished") if event["reason"] == "pool_full"]
    assert len(refused) > 1_000 and re.search(r"10000 tasks in line; try again in \d+ ms", refused[0]), refused[:1]


def test_what_waits_goes_in_the_order_in_which_it_came(project):
    project.scripted([reply("{{ last }}")], tasks=[task("all", "{{ item }}", for_each="{{ input.list }}", parallel=20)])
    project.write("in.json", {"list": list(range(20))})
    project.run("--id", "R1", "--input", "in.json").expect(0)
    assert [e["task_id"] for e in project.events("R1", "llm_responded")] == [f"all[{i}]" for i in range(20)]


@pytest.mark.parametrize("children", [
    {"max_restarts": 0, "children": [{"agent": "dies"}, {"agent": "waits"}]},
    {"auto_shutdown": "any_significant", "children": [{"agent": "dies", "restart": "temporary", "significant": True}, {"agent": "waits"}]},
], ids=["gives up", "auto_shutdown"])
def test_what_a_sibling_asked_for_when_its_supervisor_ended_is_charged_before_the_run_ends(children, project, mock_llm):
    server = mock_llm([reply("fine", latency="3s", usage={"input": 1, "output": 500})])
    project.write("crash.json", {"version": 1, "rules": [reply("x", latency="500ms", fault={"crash": True})]})
    project.on(server.provider(), providers={"q": {"kind": "scripted", "script": "crash.json"}}, models={"free": {"chain": [{"provider": "q"}]}},
               agents={"dies": {"system": "dies", "model": "free"}, "waits": {"system": "waits", "max_tokens": 600}},
               tasks=[{"id": "tb", "agent": "waits", "instruction": "go"}, {"id": "ta", "agent": "dies", "instruction": "go"}], supervision=children)
    told = project.run("--id", "R1")
    assert server.requests == 1
    events = project.events("R1")
    asked = next(e for e in events if e["type"] == "llm_requested" and e.get("task_id") == "tb")
    failed = [e for e in events if e["type"] == "llm_failed" and e.get("task_id") == "tb"]
    assert len(failed) == 1 and failed[0]["charged"] == asked["worst_case"] > 0
    assert told.doc["total_cost_usd"] == pytest.approx(asked["worst_case"] / 1e6, abs=1e-9)
    assert [e["type"] for e in events][-1] == "run_finished"


def test_a_task_that_fails_without_a_member_leaves_no_question_and_no_call(project):
    """What its agent had asked for ends with it: a human is not asked about it, the clock that stands while one is goes on, a tool is not run again."""
    tools = {"work": {"kind": "process", "description": "Works", "command": ["sh", "-c", "sleep 0.1; false"], "effect": "none", "retries": 20},
             "risky": {"kind": "process", "description": "Risky", "command": ["true"], "effect": "once", "risk": "high"}}
    rules = [calls(("risky", {}), when={"agent": "asks"}), calls(("work", {}), when={"agent": "works"}),
             reply("x", when={"agent": "dies"}, latency="500ms", fault={"crash": True}), reply("late", when={"agent": "last"}, latency="60s")]
    names = ["asks", "works", "dies", "last"]
    agents = {name: {"system": name} for name in names}
    agents["asks"]["tools"], agents["works"]["tools"] = ["risky"], ["work"]
    below = {"name": "below", "strategy": "one_for_all", "max_restarts": 0, "children": [{"agent": name} for name in names[:3]]}
    project.scripted(rules, agents=agents, tools=tools, tasks=[task(name, agent=name, on_failure="continue") for name in names], workflow={"budget": {"time": "5s"}},
                     checkpoint={"pause_clock": True}, supervision={"children": [{"agent": "last"}, {"supervisor": below, "restart": "temporary"}]})
    document = project.run("--id", "R1").expect(3).doc
    assert document["reason"] == "timeout" and {row["task_id"]: row["status"] for row in document["results"]} == {**dict.fromkeys(names[:3], "error"), "last": "timeout"}
    events = project.events("R1")
    kinds = [event["type"] for event in events]
    failed = next(i for i, event in enumerate(events) if event["type"] == "task_finished" and event["task_id"] == "works")
    assert kinds.count("approval_requested") == kinds.count("approval_withdrawn") == 1
    assert "tool_started" not in kinds[failed:]


def test_deaths_are_a_task_s_in_all_its_attempts_resumed_or_not(project):
    """Two deaths in the first attempt, two in the second: the fourth is one too many, whether or not the process died in between."""
    rules = [reply("", when={"contains": "Previous attempt"}, fault=crash(2), latency="700ms"), reply("short", fault=crash(2))]
    for run_id in ("R1", "R2"):
        project.scripted(rules, agent={"output": {"min_length": 3, "retries": 0, "matches": "^long"}}, supervision={"max_restarts": 20, "children": [{"agent": "worker"}]}, tasks=[task("t", attempts=2)])
        if run_id == "R1":
            document = project.run("--id", run_id).expect(1).doc
        else:
            running = project.start(run_id=run_id)
            running.wait_line("worker")
            wait_for(lambda: project.count(run_id, "agent_crashed") == 3, "the third death")
            running.kill()
            document = project.resume(run_id).expect(1).doc
        assert document["reason"] == "poison", document
        assert [event["crashes"] for event in project.events(run_id, "agent_crashed")] == [1, 2, 3, 4]
