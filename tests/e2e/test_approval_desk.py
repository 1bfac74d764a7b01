"""The terminal of a run asks whoever sits there (SEMANTICS 7)."""
import json
import os
import pty
import re
import select
import subprocess
import time

import pytest

from approving import decide, deployed, deploying, out, pending, request_of  # noqa: F401 (a fixture)
from conftest import BINARY, DEADLINE, calls, clean_environment, reply, wait_for


def on_terminal(project, *args, typed="", term="xterm", stdout=None):
    """The run on a terminal of its own, with what was typed there before: answers (process, read until, write)."""
    ours, theirs = pty.openpty()
    os.write(ours, typed.encode())
    child = subprocess.Popen([BINARY, "run", "troupe.yaml", "job", "--id", "R1", *args], cwd=project.folder, env=clean_environment(TERM=term), stdin=theirs, stdout=stdout or theirs, stderr=theirs,
                             start_new_session=True)
    os.close(theirs)
    seen = []

    def until(pattern):
        end = time.monotonic() + DEADLINE
        while not re.search(pattern, "".join(seen)):
            if time.monotonic() > end or not select.select([ours], [], [], end - time.monotonic())[0]:
                pytest.fail(f"no {pattern!r} in {''.join(seen)!r}")
            try:
                seen.append(os.read(ours, 65536).decode("utf-8", "replace"))
            except OSError:
                pytest.fail(f"the program ended without {pattern!r}: {''.join(seen)!r}")
        return "".join(seen)

    return child, until, lambda text: os.write(ours, text.encode())


def test_a_run_on_a_terminal_asks_there(project, out):
    deploying(project)
    child, until, write = on_terminal(project)
    assert "v1" in until(r"\[a\]pprove")
    write("what?\n")
    until(r"\[a\]pprove[\s\S]*\[a\]pprove")
    write("a\n")
    until("run R1 completed")
    assert child.wait(DEADLINE) == 0 and deployed(out) == ["v1"]


def test_a_question_on_the_terminal_ends_when_another_process_decides(project, out):
    deploying(project)
    child, until, write = on_terminal(project)
    until(r"\[a\]pprove")
    decide(project, "reject", request_of(project), "--comment", "no")
    until("run R1 completed")
    assert child.wait(DEADLINE) == 0 and deployed(out) == []


def test_what_was_typed_before_the_question_stood_there_is_no_answer_to_it(project, out):
    deploying(project)
    child, until, write = on_terminal(project, typed="y\n")
    until(r"\[a\]pprove")
    write("r not yet\n")  # behind the "y", which would have been read first
    until("run R1 completed")
    assert child.wait(DEADLINE) == 0 and deployed(out) == []
    decided = project.events("R1", "approval_decided")[0]
    assert decided["status"] == "rejected" and decided["comment"] == "not yet"


def test_after_ctrl_d_it_says_how_to_decide_elsewhere_and_still_listens(project, out):
    deploying(project)
    child, until, write = on_terminal(project)
    until(r"\[a\]pprove")
    write("\x04")
    until(r"JSON\? \r\nWaits for approval until \S+Z\. Decide with: troupe approve troupe\.yaml R1-[0-9a-f]{8} .*\r\n\[a\]pprove")
    assert len(pending(project)) == 1
    write("r no\x04t \x04")  # Ctrl-D behind some letters ends no line
    write("on a Friday\n")  # nothing of it is left for the shell
    until("run R1 completed")
    assert child.wait(DEADLINE) == 0 and deployed(out) == []
    assert project.events("R1", "approval_decided")[0]["comment"] == "not on a Friday"


@pytest.mark.parametrize("term", ["xterm", "dumb"])
def test_a_question_that_stands_ends_its_line_with_what_became_of_it(term, project, out):
    """Else the next thing that is told would stand behind the question."""
    deploying(project)
    child, until, write = on_terminal(project, term=term)
    until(r"\[a\]pprove")
    decide(project, "reject", request_of(project), "--reviewer", "ana", "--comment", "no")
    shown = until("run R1 completed")
    assert re.search(r"\[m\]odify JSON\? ana rejected it: no\r\n", shown)
    assert child.wait(DEADLINE) == 0 and deployed(out) == []


def test_lines_of_a_dumb_terminal_wait_while_a_question_stands(project, out):
    """Two tasks: what the other one does meanwhile is told after the answer."""
    agents = {"asker": {"system": "asker", "tools": ["deploy"]}, "other": {"system": "other"}}
    deploying(project, rules=[calls(("deploy", {"text": "v1"}), when={"agent": "asker", "turn": 1}), reply("fine", when={"agent": "asker"}), reply("meanwhile", when={"agent": "other"}, latency="300ms")],
              agents=agents, tasks=[{"id": name, "agent": name, "instruction": "x"} for name in agents])
    child, until, write = on_terminal(project, term="dumb")
    until(r"\[a\]pprove")
    wait_for(lambda: project.events("R1", "llm_responded")[-1]["task_id"] == "other", "the other one's end")
    write("a\n")
    shown = until("run R1 completed")
    assert child.wait(DEADLINE) == 0 and deployed(out) == ["v1"]
    assert re.search(r"\[m\]odify JSON\? a\r\n", shown) and shown.index("other [other] done: meanwhile") > shown.index("JSON? a")


def test_with_json_it_asks_there_too_and_standard_output_holds_the_document_alone(project, out):
    deploying(project)
    with open(project.folder / "document", "w") as document:
        child, until, write = on_terminal(project, "--json", stdout=document)
        until(r"\[a\]pprove")
        write("a\n")
        assert child.wait(DEADLINE) == 0
    assert json.loads(project.read("document"))["result"] == "deployed v1" and deployed(out) == ["v1"]


def test_nobody_is_asked_of_what_yes_decides(project):
    project.scripted([reply("short")], agent={"output": {"min_length": 100, "retries": 0, "human": True}})
    told = project.troupe("run", "troupe.yaml", "job", "--id", "R1", "--yes").expect(0)
    assert "no human is asked (--yes): output worker" in told.stderr and "APPROVED: approved by --yes" in told.stderr
    assert "WAITS" not in told.stderr and "Decide with" not in told.stderr
    asked, end = project.events("R1", "approval_requested")[0], project.events("R1", "approval_decided")[0]
    assert asked["needed"] == 0 and not end["by_human"] and end["id"] == asked["id"]


@pytest.mark.parametrize("how", ["decided", "late", "yes"])
def test_a_resumed_run_asks_nobody_again_what_is_decided_or_past_its_deadline(how, project, out):
    deploying(project, checkpoint={"timeout": "1s" if how == "late" else "5m"})
    running = project.start("--json")
    request = request_of(project)
    running.kill()
    if how == "decided":
        decide(project, "approve", request, "--reviewer", "ana")
    if how == "late":
        wait_for(lambda: time.time() > int(project.events("R1", "approval_requested")[0]["deadline_us"]) / 1e6, "its deadline")
    told = project.troupe("resume", "troupe.yaml", "R1", *(["--yes"] if how == "yes" else [])).expect(0)
    assert "WAITS" not in told.stderr and "Decide with" not in told.stderr
    assert {"decided": "APPROVED by ana", "late": "REJECTED: Auto-rejected: approval timeout", "yes": "APPROVED: approved by --yes"}[how] in told.stderr
    assert project.count("R1", "approval_requested") == 1 and project.count("R1", "approval_decided") == 1
    assert deployed(out) == ([] if how == "late" else ["v1"])


def test_an_answer_that_was_typed_twice_counts_for_one_question(project, out):
    deploying(project, rules=[calls(("deploy", {"text": "v1"}), ("deploy", {"text": "v2"})), reply("done")])
    child, until, write = on_terminal(project)
    until(r"\[a\]pprove")
    write("a\na\n")
    until(r"\[a\]pprove[\s\S]*\[a\]pprove")
    write("r not both\n")
    until("run R1 completed")
    assert child.wait(DEADLINE) == 0 and len(deployed(out)) == 1
    assert sorted(event["status"] for event in project.events("R1", "approval_decided")) == ["approved", "rejected"]


@pytest.mark.parametrize("term", ["xterm", "dumb"])
def test_a_question_that_nobody_waits_for_any_more_ends_and_the_run_is_shown_again(term, project):
    """A sub-workflow fails while one of its tasks waits to be approved; what comes after it is shown as it happens."""
    rules = [reply("bad", when={"agent": "b"}, latency="700ms"), reply("fine", latency="1s")]
    agents = {"a": {"system": "a"}, "b": {"system": "b", "output": {"matches": "^ok", "retries": 0}}}
    project.scripted(rules, agents=agents, tasks=[{"id": "first", "workflow": "inner", "on_failure": "continue"}, {"id": "then", "agent": "a", "needs": ["first"], "instruction": "x"}],
                     workflows={"inner": {"tasks": [{"id": "waits", "agent": "a", "instruction": "x", "approval": {"risk": "high"}}, {"id": "fails", "agent": "b", "instruction": "y"}]}})
    child, until, _ = on_terminal(project, term=term)
    until(r"\[a\]pprove")
    until("nobody waits for it any more")
    shown = until(r"then \[a\].*started" if term == "dumb" else "then")
    assert "run R1 completed" not in shown
    until("run R1 completed")
    assert child.wait(DEADLINE) == 0


def test_what_comes_from_a_pipe_decides_nothing(project, out):
    deploying(project, checkpoint={"timeout": "300ms"})
    told = project.run("--id", "R1", stdin="y\n" * 1000).expect(0)
    assert "Auto-rejected" in told.doc["result"] and deployed(out) == [], "who decides without being asked says --yes"
