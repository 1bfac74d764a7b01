"""The incident example, from generated logs to the report, through the built binary.

TROUPE_BIN names the binary. Every test works on its own copy of config/examples/incident.
"""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys

import pytest

from conftest import wait_for

EXAMPLE = pathlib.Path(__file__).resolve().parents[2] / "config" / "examples" / "incident"
TROUPE = os.environ.get("TROUPE_BIN", "")
KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY")

pytestmark = pytest.mark.skipif(not TROUPE, reason="TROUPE_BIN names the binary to test; it is not set")


def environment() -> dict[str, str]:
    """The caller's, without the keys of real models: a rehearsal and `validate` need none."""
    return {name: value for name, value in os.environ.items() if name not in KEYS}


def troupe(folder: pathlib.Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([TROUPE, *arguments], cwd=folder, env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)


def copy(target: pathlib.Path) -> pathlib.Path:
    shutil.copytree(EXAMPLE, target, ignore=shutil.ignore_patterns("logs", ".troupe", "report.md", "__pycache__"))
    return target


def generate(folder: pathlib.Path, *options: str) -> None:
    subprocess.run([sys.executable, "generate_logs.py", *options], cwd=folder, check=True, capture_output=True, timeout=60)


class Run:
    """One run of the workflow over logs made with `options`."""

    def __init__(self, folder: pathlib.Path, *options: str):
        self.folder = copy(folder)
        generate(folder, *options)
        done = troupe(folder, "run", "troupe.yaml", "incident", "--json")
        self.status, self.errors = done.returncode, done.stderr
        assert self.status == 0, done.stdout + done.stderr
        self.document = json.loads(done.stdout)
        self.report = (folder / "out" / "report.md").read_text()
        shown = troupe(folder, "show", "troupe.yaml", self.document["run_id"])
        assert shown.returncode == 0, shown.stderr
        self.timeline = shown.stdout
        events = troupe(folder, "show", "troupe.yaml", self.document["run_id"], "--events")
        assert events.returncode == 0, events.stderr
        self.events = [json.loads(line) for line in events.stdout.splitlines()]

    def of(self, kind: str) -> list[dict]:
        return [event for event in self.events if event["type"] == kind]

    def section(self, title: str) -> str:
        found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", self.report, re.M | re.S)
        assert found, f"no section {title!r} in:\n{self.report}"
        return found[1]

    def log_lines(self) -> set[str]:
        return {line for path in (self.folder / "logs").glob("*.log") for line in path.read_text().splitlines()}


@pytest.fixture(scope="module")
def night(tmp_path_factory) -> Run:
    return Run(tmp_path_factory.mktemp("incident") / "example")


def test_the_run_completes_with_every_task_done(night):
    assert night.document["workflow_status"] == "completed"
    assert [row["status"] for row in night.document["results"]] == ["success"] * 4
    assert night.document["completed_tasks"] == night.document["total_tasks"] == 4


def test_the_report_names_the_root_cause(night):
    cause = night.section("Root cause")
    assert "**inventory**" in cause
    assert "db.pool.max_connections 40 -> 4" in cause


def test_every_quoted_line_is_a_line_of_the_logs(night):
    quoted = [line[2:] for line in night.report.splitlines() if line.startswith("> ")]
    assert len(quoted) == 5
    assert set(quoted) <= night.log_lines()


def test_the_red_herrings_are_ruled_out_with_their_numbers(night):
    ruled_out = night.section("Ruled out")
    assert re.findall(r"^- \*\*(\w+)\*\*", ruled_out, re.M) == ["search", "auth"]
    failed_logins = sum("ERROR" in line for line in (night.folder / "logs" / "auth.log").read_text().splitlines())
    assert f"a burst of {failed_logins} errors" in ruled_out


def test_victims_come_after_the_cause_and_say_whom_they_waited_for(night):
    rows = re.findall(r"^\| (2026\S+) \| (\w+) \| (\w+) \|", night.section("Timeline"), re.M)
    assert rows == sorted(rows)
    assert [(service, verdict) for _, service, verdict in rows if verdict != "unrelated"] == [
        ("inventory", "cause"), ("checkout", "victim"), ("payments", "victim"), ("gateway", "victim")]
    assert "checkout for inventory, payments for checkout, gateway for checkout" in night.section("Evidence")


def test_the_file_is_the_result(night):
    assert night.report.strip() == night.document["result"].strip()


def test_an_overloaded_model_is_retried_and_then_replaced(night):
    overloaded = [event for event in night.of("llm_failed") if event["task_id"] == "survey"]
    assert len(overloaded) == 3
    assert len(night.of("llm_failed_over")) == 1
    assert "FAIL-OVER from first/large to second/small" in night.timeline


def test_the_tool_that_fails_is_replaced_by_its_alternative(night):
    assert {event["tool"] for event in night.of("tool_failed")} == {"fast_grep"}
    assert len(night.of("tool_failed")) == 6
    assert "ALTERNATIVE grep instead of fast_grep" in night.timeline


def test_the_agent_that_crashes_is_restarted_and_its_task_goes_on(night):
    assert len(night.of("agent_crashed")) == len(night.of("agent_restarted")) == 1
    crash, restart = night.of("agent_crashed")[0], night.of("agent_restarted")[0]
    assert crash["seq"] < restart["seq"] and crash["task_id"] == restart["task_id"]
    assert crash["task_id"] == "investigate[1]"  # the second suspect by number of errors: auth
    # It goes on from the journal: what the dead one had learnt is not asked again.
    profiles = [event for event in night.of("tool_started") if event["task_id"] == crash["task_id"] and event["tool"] == "error_profile"]
    assert len(profiles) == 1
    assert "CRASHED" in night.timeline and "RESTARTED" in night.timeline


def test_the_broken_contract_is_repaired_once(night):
    assert [event["task_id"] for event in night.of("contract_violated")] == ["report"]


def test_the_run_costs_money_within_its_budget(night):
    assert 0 < night.document["total_cost_usd"] < 2.00
    assert night.document["llm_calls"] <= 60
    total = sum(row["cost_usd"] for row in night.document["results"])
    assert night.document["total_cost_usd"] == pytest.approx(total, abs=1e-6)


@pytest.mark.parametrize("root", ["payments", "checkout"])
def test_other_logs_make_another_report(tmp_path, root):
    run = Run(tmp_path / "example", "--root-cause", root, "--seed", "7")
    assert f"**{root}**" in run.section("Root cause")
    assert f"INFO  {root} req=- config reloaded" in run.section("Root cause")
    assert "**inventory**" not in run.section("Root cause")
    assert "| inventory | victim |" in run.section("Timeline")
    quoted = {line[2:] for line in run.report.splitlines() if line.startswith("> ")}
    assert quoted and quoted <= run.log_lines()


def test_the_same_logs_make_the_same_run(night):
    again = troupe(night.folder, "run", "troupe.yaml", "incident", "--json")
    assert again.returncode == 0, again.stderr
    document = json.loads(again.stdout)
    for key in ("result", "total_cost_usd", "llm_calls", "tool_calls", "tokens"):
        assert document[key] == night.document[key], key


def test_a_run_whose_process_is_killed_goes_on_and_reports_the_same(night):
    """kill -9 in the middle; `resume` asks no tool again that had answered."""
    first = subprocess.Popen([TROUPE, "run", "troupe.yaml", "incident", "--id", "killed"], cwd=night.folder, env=environment(),
                             stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: "error_profile answered" in troupe(night.folder, "show", "troupe.yaml", "killed").stdout, "the first profile", 60)
    finally:
        first.kill()
        first.wait()
    assert first.returncode == -9, "the run was over before it could be killed"
    (night.folder / "out" / "report.md").unlink()
    resumed = troupe(night.folder, "resume", "troupe.yaml", "killed")
    assert resumed.returncode == 0, resumed.stderr
    assert (night.folder / "out" / "report.md").read_text() == night.report
    lines = troupe(night.folder, "show", "troupe.yaml", "killed", "--events").stdout.splitlines()
    events = [json.loads(line) for line in lines]
    assert [event["type"] for event in events].count("run_resumed") == 1
    surveys = [event for event in events if event["type"] == "tool_started" and event["tool"] == "error_survey"]
    assert len(surveys) == 1


def test_a_run_that_is_interrupted_goes_on_and_reports_the_same(night):
    first = subprocess.Popen([TROUPE, "run", "troupe.yaml", "incident", "--id", "interrupted"], cwd=night.folder, env=environment(),
                             stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: "tool error_profile {" in troupe(night.folder, "show", "troupe.yaml", "interrupted").stdout, "a profile under way", 60)
    first.send_signal(signal.SIGINT)
    assert first.wait(timeout=30) == 130
    resumed = troupe(night.folder, "resume", "troupe.yaml", "interrupted")
    assert resumed.returncode == 0, resumed.stderr
    assert (night.folder / "out" / "report.md").read_text() == night.report


def test_without_a_cause_in_the_logs_no_report_is_made_up(tmp_path):
    folder = copy(tmp_path / "example")
    generate(folder)
    for log in (folder / "logs").glob("*.log"):
        if log.stem not in ("search", "auth", "database"):
            log.unlink()
    done = troupe(folder, "run", "troupe.yaml", "incident", "--json")
    assert done.returncode == 1, done.stdout + done.stderr
    document = json.loads(done.stdout)
    assert document["workflow_status"] == "failed"
    assert {row["task_id"]: row["status"] for row in document["results"]}["report"] == "quality_failed"
    assert not (folder / "out" / "report.md").exists()


def test_the_generator_is_deterministic_and_its_logs_are_large_enough(tmp_path):
    generate(EXAMPLE, "--out", str(tmp_path / "a"))
    generate(EXAMPLE, "--out", str(tmp_path / "b"))
    generate(EXAMPLE, "--out", str(tmp_path / "c"), "--seed", "8")
    first, again, other = ({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in "abc")
    assert first == again != other
    assert 4_000_000 < sum(map(len, first.values())) < 6_500_000


@pytest.mark.parametrize("word", ["rehearsal", "gpt", "claude"])
def test_one_word_switches_the_model_and_validate_needs_no_key(tmp_path, word):
    folder = copy(tmp_path / "example")
    config = folder / "troupe.yaml"
    text = config.read_text()
    assert text.count("model: &model rehearsal") == 1
    config.write_text(text.replace("model: &model rehearsal", f"model: &model {word}"))
    done = troupe(folder, "validate", "troupe.yaml")
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stdout + done.stderr
    tree = troupe(folder, "tree", "troupe.yaml").stdout
    assert tree.count(f"model {word}") == 4
