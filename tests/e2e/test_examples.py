"""The examples of failures: each shows its failure, and how the run comes out of it, within ten seconds."""
import shutil

import pytest

from conftest import ROOT, wait_for

LIMIT_S = 10


@pytest.fixture
def example(project):
    """`example("models")` puts a copy of that example into the project's folder."""

    def copy(name):
        shutil.copytree(ROOT / "config/examples" / name, project.folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".troupe", "logs"))
        project.troupe("validate", "troupe.yaml").expect(0)

    return copy


def play(project, workflow, status=0):
    done = project.run("--id", workflow, workflow=workflow).expect(status)
    assert done.seconds < LIMIT_S
    return done.doc


def kinds(project, run, *names):
    return [event["type"] for event in project.events(run) if event["type"] in names]


def test_each_example_says_what_it_shows_and_validates(troupe):
    for path in sorted((ROOT / "config/examples").glob("*/troupe.yaml")):
        troupe("validate", path).expect(0)
        assert path.read_text().startswith("#"), path


# --- a model API errs ---------------------------------------------------------------------------------------------------------------------------


def test_a_model_that_stumbles_is_tried_again(example, project):
    example("models")
    document = play(project, "retries")
    assert document["result"] == "At 03:12." and document["llm_calls"] == 3
    assert [(e["reason"], e["next"]) for e in project.events("retries", "llm_failed")] == [("llm_overloaded", "retry")] * 2
    assert project.count("retries", "llm_failed_over") == 0


def test_a_model_that_refuses_is_left_at_once(example, project):
    example("models")
    document = play(project, "fails_over")
    assert document["result"] == "At 03:12." and document["llm_calls"] == 2
    (over,) = project.events("fails_over", "llm_failed_over")
    assert (over["from"], over["to"], over["reason"]) == ("first/large", "second/small", "llm_auth")


def test_a_model_that_is_down_is_left_alone_probed_and_used_again(example, project):
    example("models")
    document = play(project, "breaks")
    assert document["completed_tasks"] == 4 and document["llm_calls"] == 6
    assert [e["reason"] for e in project.events("breaks", "llm_failed_over")] == ["llm_server_error"] * 2 + ["llm_circuit_open"]
    assert [e["state"] for e in project.events("breaks", "breaker_changed")] == ["open", "half_open", "closed"]
    assert [e["model"] for e in project.events("breaks", "llm_responded")] == ["small"] * 3 + ["huge"]


def test_a_model_that_is_slow_has_company(example, project):
    example("models")
    document = play(project, "hurries")
    assert document["result"] == "At 03:12." and document["llm_calls"] == 2 and document["failures"] == []
    assert kinds(project, "hurries", "llm_hedged", "llm_responded", "llm_failed") == ["llm_hedged", "llm_responded", "llm_failed"]


def test_when_nobody_answers_every_attempt_is_listed(example, project):
    example("models")
    document = play(project, "exhausted", status=1)
    error = document["results"][0]["error"]
    assert document["results"][0]["status"] == "error" and document["total_cost_usd"] == 0
    for attempt in ("first/large request 1", "first/large request 2", "first/large request 3", "second/small request 4 (llm_not_found)"):
        assert attempt in error


# --- a budget runs out ---------------------------------------------------------------------------------------------------------------------------


def test_money_is_never_overspent_and_more_of_it_goes_on(example, project):
    example("budgets")
    document = play(project, "money", status=3)
    assert document["reason"] == "budget_exceeded" and document["total_cost_usd"] == pytest.approx(0.00954) and document["total_cost_usd"] <= 0.01
    row = document["results"][1]
    assert len([item for item in row["items"] if item["status"] == "success"]) == 8, "what is done is kept"
    assert [e["percent"] for e in project.events("money", "budget_warned")] == [50, 80, 95]
    assert all("$0.00046 left" in e["message"] for e in project.events("money", "budget_refused"))
    more = project.resume("money", "--add-usd", "0.01").expect(0)
    assert len(more.doc["result"]) == 12 and more.doc["total_cost_usd"] == pytest.approx(0.01398) and more.seconds < LIMIT_S
    assert len(project.events("money", "llm_responded")) == 13, "nothing is paid for twice"


def test_time_that_is_up_and_more_of_it(example, project):
    example("budgets")
    document = play(project, "time", status=3)
    assert document["reason"] == "timeout" and [row["status"] for row in document["results"]] == ["success", "timeout"]
    told = project.troupe("resume", "troupe.yaml", "time", "--add-time", "10s").expect(0)
    assert "night-02: the disk was full at 03:12." in told.stdout and told.seconds < LIMIT_S
    assert len(project.events("time", "llm_responded")) == 2


def test_a_task_that_used_up_its_own_limit_does_not_end_the_run(example, project):
    example("budgets")
    document = play(project, "steps")
    assert [row["status"] for row in document["results"]] == ["budget_exceeded", "success"] and document["result"] == "night-03: nothing unusual."
    assert [(e["scope"], e["kind"]) for e in project.events("steps", "budget_refused")] == [("task watch", "steps")]


# --- a tool fails --------------------------------------------------------------------------------------------------------------------------------


def test_a_tool_that_may_be_repeated_is_repeated_with_one_key(example, project):
    example("tools")
    assert play(project, "retries")["result"] == "db-2: 91 %\n"
    assert kinds(project, "retries", "tool_started", "tool_failed") == ["tool_started", "tool_failed"] * 2 + ["tool_started"]
    assert len([path for path in (project.folder / "out").iterdir() if path.name.isdigit()]) == 1, "three attempts, one idempotency key"


def test_another_tool_gets_the_same_arguments(example, project):
    example("tools")
    assert "03:12 disk full" in play(project, "alternative")["result"]
    assert [(e["tool"], e["instead_of"], e["arguments"]) for e in project.events("alternative", "tool_started")] == [
        ("fast_grep", "", {"pattern": "disk full"}), ("grep", "fast_grep", {"pattern": "disk full"})]


def test_a_tool_that_hangs_is_killed_and_the_agent_finds_another_way(example, project):
    example("tools")
    assert "disk full on db-2" in play(project, "timeout")["result"]
    metrics, grep = project.events("timeout", "tool_finished")
    assert metrics["status"] == "timed_out" and "run 2 times" in metrics["text"] and '"grep"' in metrics["text"] and grep["status"] == "ok"


def test_what_must_not_be_repeated_is_told_to_the_agent_at_once(example, project):
    example("tools")
    assert play(project, "once")["result"].startswith('I could not reach anybody. The tool "page" gave no result.')
    assert project.count("once", "tool_started") == 1


def test_arguments_that_are_wrong_run_nothing(example, project):
    example("tools")
    assert "03:12 disk full" in play(project, "wrong")["result"]
    refused, ran = project.events("wrong", "tool_finished")
    assert refused["status"] == "not_started" and 'required property "pattern" is missing' in refused["text"]
    assert project.count("wrong", "tool_started") == 1 and ran["status"] == "ok"


def test_kill_9_in_the_middle_of_calls_repeats_two_of_three(example, project):
    example("tools")
    run = project.start("--json", workflow="effects")
    ledger = project.folder / "out/ledger"
    wait_for(lambda: ledger.exists() and len(ledger.read_text().splitlines()) == 3, "three calls that have begun")
    run.kill()
    resumed = project.resume().expect(0)
    assert "may or may not have taken effect" in resumed.doc["result"] and resumed.seconds < LIMIT_S
    lines = [line.split() for line in ledger.read_text().splitlines()]
    began = {action: [key for what, how, key in lines if (what, how) == (action, "began")] for action in ("look", "label", "order")}
    assert [len(began[action]) for action in ("look", "label", "order")] == [2, 2, 1]
    assert len(set(began["look"])) == len(set(began["label"])) == 1, "the same key"
    assert [e["status"] for e in project.events("R1", "tool_finished") if e["tool"] == "order"] == ["in_doubt"]


# --- the others ----------------------------------------------------------------------------------------------------------------------------------


def test_agents_that_loop(example, project):
    example("loops")
    assert play(project, "recovers")["result"] == "At 03:12."
    assert play(project, "fails", status=1)["reason"] == "loop"
    assert [e["rung"] for e in project.events("fails", "loop_detected")] == ["told", "tool_taken", "restarted", "failed"]


def test_answers_that_must_hold(example, project):
    example("quality")
    assert play(project, "notes")["result"] == "2.1.0: approvals from any terminal."
    assert [e["verdict"] for e in project.events("notes", "output_reviewed")] == ["revise"]
