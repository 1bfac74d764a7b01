"""kill -9, cancel, Ctrl-C, two processes, and what a journal tells afterwards (SEMANTICS 9)."""
import json
import os
import sqlite3
import subprocess
import time


import pytest

from conftest import BINARY, DEADLINE, SIGINT, SIGTERM, calls, clean_environment, processes_with, reply, wait_for


def three(server, project, **more):
    """Three tasks, one after the other."""
    project.on(server.provider(), tasks=[{"id": n, "agent": "worker", "instruction": f"do {n}", **({"needs": [p]} if p else {})} for n, p in (("a", ""), ("b", "a"), ("c", "b"))], **more)


def outputs(document):
    return [row["output"] for row in document["results"]]


# --- kill -9 ---------------------------------------------------------------------------------------------------------------------------------


def test_killed_during_a_slow_call_nothing_recorded_is_paid_again(project, mock_llm):
    server = mock_llm([reply("two", when={"last": "do b"}, fault={"timeout": True, "times": 1}), reply("{{ last }}")])
    three(server, project)
    running = project.start()
    wait_for(lambda: server.requests == 2 or None, "the second request")
    running.kill()
    assert project.troupe("runs", "troupe.yaml", "--json").expect(0).doc["runs"][0]["workflow_status"] == "interrupted"
    assert project.troupe("show", "troupe.yaml", "R1").expect(0)
    document = project.resume("R1").expect(0).doc
    assert outputs(document) == ["do a", "two", "do c"]
    assert server.requests == 4, "a once, b twice, c once"
    unknown = project.events("R1", "outcome_unknown")
    assert len(unknown) == 1 and unknown[0]["charged"] > 0, "the money of the lost request is charged"
    assert document["llm_calls"] == 4


def test_killed_again_and_again_the_run_still_completes(project, mock_llm):
    server = mock_llm([reply("{{ last }}", latency="150ms")])
    names = [f"t{i}" for i in range(8)]
    project.on(server.provider(), tasks=[{"id": n, "agent": "worker", "instruction": f"do {n}", **({"needs": [names[i - 1]]} if i else {})} for i, n in enumerate(names)])
    running = project.start()
    kills = 0
    for goal in (1, 3, 5):
        wait_for(lambda: server.requests >= goal or running.child.poll() is not None, f"{goal} requests")
        running.kill()
        kills += 1
        running = project.troupe.start("resume", "troupe.yaml", "R1", "--json")
    document = running.wait().expect(0).doc
    assert outputs(document) == [f"do {n}" for n in names]
    assert 8 <= server.requests <= 8 + kills


def test_killed_at_the_start_and_resumed(project, mock_llm):
    server = mock_llm([reply("{{ last }}")])
    three(server, project)
    running = project.start()
    running.wait_line("started")
    running.kill()
    assert outputs(project.resume("R1").expect(0).doc) == ["do a", "do b", "do c"]
    assert 3 <= server.requests <= 4


def slow_tool(effect, mark):
    """Notes its key, then takes its time until the file `out/go` is there."""
    return {"kind": "process", "description": "slow", "effect": effect, "sandbox": {"write": ["out"]}, "timeout": "60s",
            "command": ["sh", "-c", f"echo $TROUPE_IDEMPOTENCY_KEY >> out/keys; while [ ! -e out/go ]; do sleep 0.0{mark}; done; echo ready"]}


def killed_in_a_tool(project, mock_llm, effect):
    mark = f"5{os.getpid()}"
    (project.folder / "out").mkdir()
    server = mock_llm([calls(("slow", {})), reply("{{ last }}")])
    project.on(server.provider(), agent={"tools": ["slow"]}, tools={"slow": slow_tool(effect, mark)})
    running = project.start()
    wait_for(lambda: (project.folder / "out/keys").exists() and project.read("out/keys").strip(), "the tool")
    running.kill()
    wait_for(lambda: not processes_with(f"sleep 0.0{mark}"), "the end of the dead program's tool", 10)
    project.write("out/go", "")
    document = project.resume("R1").expect(0).doc
    return server, document, project.read("out/keys").split()


@pytest.mark.parametrize("effect", ["none", "idempotent"])
def test_killed_in_a_tool_that_may_be_repeated(effect, project, mock_llm):
    server, document, keys = killed_in_a_tool(project, mock_llm, effect)
    assert document["result"].strip() == "ready" and server.requests == 2
    assert len(keys) == 2 and keys[0] == keys[1], "the same idempotency key"


def test_killed_in_a_tool_of_effect_once(project, mock_llm):
    server, document, keys = killed_in_a_tool(project, mock_llm, "once")
    assert len(keys) == 1, "it is not run twice"
    assert "nobody knows" in document["result"] and server.requests == 2
    assert project.count("R1", "outcome_unknown") == 1


def test_resume_uses_the_configuration_that_the_run_started_with(project, mock_llm):
    server = mock_llm([reply("two", when={"last": "do b"}, fault={"timeout": True, "times": 1}), reply("{{ last }}")])
    three(server, project)
    running = project.start()
    wait_for(lambda: server.requests == 2, "the second request")
    running.kill()
    project.data["workflows"]["job"]["tasks"][2]["instruction"] = "something else"
    project.configure(**{key: value for key, value in project.data.items() if key != "version"})
    assert outputs(project.resume("R1").expect(0).doc) == ["do a", "two", "do c"]


# --- two processes -----------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def hanging(project, mock_llm):
    """A run R1 that waits for its provider (60 s)."""
    server = mock_llm([reply("fine", fault={"timeout": True, "times": 1})])
    project.on(server.provider())
    project.process = project.start()
    wait_for(lambda: server.requests == 1, "the request")
    project.server = server
    return project


def test_a_second_process_on_one_run_is_refused(hanging):
    told = hanging.resume("R1", timeout=15)
    assert told.status in (2, 4) and "R1" in told.stderr and told.stdout == "", str(told)
    again = hanging.run("--id", "R1", timeout=15)
    assert again.status in (2, 4) and "R1" in again.stderr, str(again)
    assert hanging.server.requests == 1 and hanging.process.child.poll() is None


def test_two_runs_share_one_journal(hanging):
    assert hanging.run("--id", "R2").expect(0).doc["result"] == "fine"
    listed = {row["run_id"]: row["workflow_status"] for row in hanging.troupe("runs", "troupe.yaml", "--json").expect(0).doc["runs"]}
    assert listed == {"R1": "running", "R2": "completed"}


def test_cancel_from_another_process(hanging):
    hanging.troupe("cancel", "troupe.yaml", "R1").expect(0)
    told = hanging.process.wait(15).expect(3)
    assert "cancelled" in told.stderr
    document = hanging.troupe("show", "troupe.yaml", "R1", "--json").expect(0).doc
    assert (document["workflow_status"], document["reason"]) == ("aborted", "cancelled") and document["results"][0]["status"] == "cancelled"
    again = hanging.troupe("cancel", "troupe.yaml", "R1").expect(2)
    assert "ended already" in again.stderr


def test_show_of_an_interrupted_run_says_so(hanging):
    hanging.process.kill()
    shown = hanging.troupe("show", "troupe.yaml", "R1").expect(0).stdout
    assert "interrupted" in shown.splitlines()[1], shown


def test_cancel_kills_tools(project):
    mark = f"66{os.getpid()}"
    project.scripted([calls(("x", {})), reply("done")], agent={"tools": ["x"]},
                     tools={"x": {"kind": "process", "description": "x", "effect": "none", "timeout": "600s", "command": ["sh", "-c", f"setsid sleep {mark} & sleep {mark}"]}})
    running = project.start()
    wait_for(lambda: len(processes_with(f"sleep {mark}")) >= 2, "the tool")
    project.troupe("cancel", "troupe.yaml", "R1").expect(0)
    running.wait(15).expect(3)
    assert processes_with(f"sleep {mark}") == []


@pytest.mark.parametrize("number", [SIGINT, SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_ctrl_c_keeps_the_run_and_says_how_to_go_on(number, hanging):
    hanging.process.signal(number)
    told = hanging.process.wait(15).expect(130)
    assert "troupe resume troupe.yaml R1" in told.stderr
    assert hanging.troupe("show", "troupe.yaml", "R1").expect(0)
    document = hanging.resume("R1").expect(0).doc
    assert document["result"] == "fine" and document["workflow_status"] == "completed"


def test_ctrl_c_kills_tools_and_the_second_one_ends_at_once(project):
    mark = f"67{os.getpid()}"
    project.scripted([calls(("x", {})), reply("done")], agent={"tools": ["x"]},
                     tools={"x": {"kind": "process", "description": "x", "effect": "none", "timeout": "600s", "command": ["sh", "-c", f"trap '' TERM; sleep {mark} & while :; do sleep {mark}; done"]}})
    running = project.start()
    wait_for(lambda: len(processes_with(f"sleep {mark}")) >= 2, "the tool")
    running.signal(SIGINT)
    running.signal(SIGINT)
    told = running.wait(10)
    assert told.status == 130
    wait_for(lambda: not processes_with(f"sleep {mark}"), "the end of the tools", 10)


def test_cancel_of_an_interrupted_run(hanging):
    hanging.process.kill()
    hanging.troupe("cancel", "troupe.yaml", "R1").expect(0)
    document = hanging.resume("R1").expect(3).doc
    assert document["reason"] == "cancelled" and hanging.server.requests == 1


# --- what is told afterwards -------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def ended(project):
    project.scripted([calls(("clock", {})), reply("done")], agent={"tools": ["clock"]}, tools={"clock": {"kind": "builtin"}})
    project.document = project.run("--id", "R1").expect(0).doc
    return project


def test_resume_and_show_of_an_ended_run_print_the_same_document(ended):
    assert ended.resume("R1").expect(0).doc == ended.document
    assert ended.troupe("show", "troupe.yaml", "R1", "--json").expect(0).doc == ended.document


def test_resume_of_a_failed_run_ends_with_its_status(project):
    project.scripted([reply("x", fault={"status": 400})])
    document = project.run("--id", "R1").expect(1).doc
    assert project.resume("R1").expect(1).doc == document


def test_a_list_of_runs_goes_on_where_it_was_cut(project):
    project.scripted([reply("done")])
    for number in range(1, 6):
        project.run("--id", f"R{number}").expect(0)
    listed, after = [], []
    for _ in range(3):
        page = project.troupe("runs", "troupe.yaml", "--json", "--limit", "2", *after).expect(0).doc
        listed.append([row["run_id"] for row in page["runs"]])
        after = ["--after", page["next"]]
    assert listed == [["R5", "R4"], ["R3", "R2"], ["R1"]] and page["next"] is None
    told = project.troupe("runs", "troupe.yaml", "--limit", "2").expect(0)
    assert "troupe runs troupe.yaml --limit 2 --after R4" in told.stderr and "R3" not in told.stdout
    assert "R3" in project.troupe("runs", "troupe.yaml", "--limit", "2", "--after", "R4").expect(0).stdout
    assert project.troupe("runs", "troupe.yaml", "--limit", "5", "--json").expect(0).doc["next"] is None
    assert project.troupe("runs", "troupe.yaml", "--after", "R1").expect(0).stdout == "no older runs\n"
    assert '"R9"' in project.troupe("runs", "troupe.yaml", "--after", "R9").expect(2).stderr


def test_runs_and_show(ended):
    listed = ended.troupe("runs", "troupe.yaml").expect(0)
    assert "R1" in listed.stdout and "completed" in listed.stdout
    document = ended.troupe("runs", "troupe.yaml", "--json").expect(0).doc
    assert document["next"] is None and [row["run_id"] for row in document["runs"]] == ["R1"]
    shown = ended.troupe("show", "troupe.yaml", "R1").expect(0).stdout
    assert "clock" in shown and "worker" in shown and "$0.00" in shown
    events = ended.events("R1")
    assert [e["seq"] for e in events] == list(range(1, len(events) + 1)) and {e["run_id"] for e in events} == {"R1"}
    assert events[0]["type"] == "run_started" and events[-1]["type"] == "run_finished"


@pytest.mark.parametrize("command", ["show", "resume", "cancel"])
def test_an_unknown_run_is_told(command, ended):
    told = ended.troupe(command, "troupe.yaml", "R9").expect(2)
    assert "R9" in told.stderr


def test_commands_without_a_journal(project, troupe):
    project.scripted([reply("x")])
    assert troupe("runs", "troupe.yaml", "--json").expect(0).doc["runs"] == []
    assert troupe("show", "troupe.yaml", "R1").status in (2, 4)
    assert not (project.folder / ".troupe").exists()


def test_one_id_is_used_once(ended):
    told = ended.run("--id", "R1")
    assert told.status == 2 and "R1" in told.stderr and told.stdout == "", str(told)
    assert ended.troupe("show", "troupe.yaml", "R1", "--json").doc == ended.document


# --- damage ------------------------------------------------------------------------------------------------------------------------------------


def test_a_journal_that_is_no_database(ended):
    for name in (".troupe/journal.db-wal", ".troupe/journal.db-shm"):
        (ended.folder / name).unlink(missing_ok=True)
    ended.write(".troupe/journal.db", b"this is no database\n" * 1000)
    for args in (["runs", "troupe.yaml"], ["show", "troupe.yaml", "R1"], ["resume", "troupe.yaml", "R1"], ["run", "troupe.yaml", "job"]):
        told = ended.troupe(*args).expect(4)
        assert "journal.db" in told.stderr and told.stdout == "", str(told)
    assert (ended.folder / ".troupe/journal.db").read_bytes().startswith(b"this is no database"), "nothing is overwritten"


def damage(project, run_id):
    """Changes a byte in the middle of an event of this run."""
    database = sqlite3.connect(project.folder / ".troupe/journal.db")
    columns = [row[1] for row in database.execute("pragma table_info(events)")]
    assert "run_id" in columns or "run" in columns, columns
    body = next(name for name in ("body", "payload", "data", "document") if name in columns)
    run = "run_id" if "run_id" in columns else "run"
    key = run_id if run == "run_id" else database.execute("select rowid from runs where run_id = ?", (run_id,)).fetchone()[0]
    row, value = database.execute(f"select rowid, {body} from events where {run} = ? order by seq limit 1 offset 2", (key,)).fetchone()
    changed = value.replace("test-model", "test-modem") if isinstance(value, str) else bytes(value[:-3]) + bytes([value[-3] ^ 1]) + bytes(value[-2:])
    assert changed != value
    database.execute(f"update events set {body} = ? where rowid = ?", (changed, row))
    database.commit()
    database.close()


def test_a_damaged_run_is_refused_and_the_others_go_on(ended):
    ended.run("--id", "R2").expect(0)
    damage(ended, "R1")
    told = ended.troupe("resume", "troupe.yaml", "R1").expect(4)
    assert "R1" in told.stderr and told.stdout == "", str(told)
    assert ended.resume("R2").expect(0).doc["result"] == "done"
    assert ended.run("--id", "R3").expect(0)


def test_a_journal_that_cannot_be_written(project, troupe):
    project.scripted([reply("x")], journal={"kind": "sqlite", "path": "file/journal.db"})
    project.write("file", "not a folder")
    told = project.run().expect(4)
    assert "file/journal.db" in told.stderr


def test_a_journal_that_may_not_grow_is_an_error_and_the_run_goes_on_later(project):
    project.scripted([reply("x" * 60_000)], tasks=[{"id": n, "agent": "worker", "instruction": n} for n in "abcdefghijklmno"])
    limited = ["bash", "-c", 'ulimit -f 500 && exec "$@"', "limited", BINARY, "run", "troupe.yaml", "job", "--id", "R1", "--json"]
    told = subprocess.run(limited, cwd=project.folder, env=clean_environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=DEADLINE)
    assert told.returncode == 4, f"{told.returncode}\n{told.stdout[-2000:]}\n{told.stderr[-2000:]}"
    assert "journal" in told.stderr
    document = project.resume().expect(0).doc
    assert [len(output) for output in outputs(document)] == [60_000] * 15


def test_progress_lines_have_one_time_and_no_gaps(project):
    project.scripted([reply("done")])
    told = project.troupe("run", "troupe.yaml", "job", "--id", "R1").expect(0)
    assert told.stdout == "done\n"
    lines = told.stderr.splitlines()
    assert "" not in lines and not any(line.count("+0:00.") > 1 for line in lines), told.stderr


def test_nothing_listens_and_no_colour_on_a_pipe(project):
    project.scripted([reply("done")])
    told = project.troupe("run", "troupe.yaml", "job")
    assert "\x1b" not in told.stdout + told.stderr


def test_no_tool_outlives_a_program_that_dies(project):
    mark = f"68{os.getpid()}"
    project.scripted([calls(("x", {})), reply("done")], agent={"tools": ["x"]},
                     tools={"x": {"kind": "process", "description": "x", "effect": "none", "timeout": "600s", "command": ["sh", "-c", f"trap '' TERM; sleep {mark} & while :; do sleep {mark}; done"]}})
    for i in range(8):
        running = project.start(run_id=f"R{i}")
        wait_for(lambda: len(processes_with(f"sleep {mark}")) >= 2, "the tool")
        running.kill()
        try:
            wait_for(lambda: not processes_with(f"sleep {mark}"), "the end of the tools", 6)
        finally:
            for pid in processes_with(mark):
                os.kill(pid, 9)


def test_no_tool_outlives_a_program_that_dies_at_any_moment_of_its_start(project):
    mark = f"67{os.getpid()}"
    project.scripted([calls(("x", {})), reply("done")], agent={"tools": ["x"]},
                     tools={"x": {"kind": "process", "description": "x", "effect": "none", "timeout": "600s", "command": ["sh", "-c", f"trap '' TERM; sleep {mark}"]}})
    for i in range(40):
        running = project.start(run_id=f"R{i}")
        wait_for(lambda: processes_with(mark), "the start of the tool", 20)  # its reaper, its sandbox or itself: as early as can be seen
        time.sleep(i * 0.0005)
        running.kill()
        try:
            wait_for(lambda: not processes_with(mark), "the end of the tools", 6)
        finally:
            for pid in processes_with(mark):
                os.kill(pid, 9)


# --- what a run began with, and where its journal is ---------------------------------------------------------------------------------------------


def painting(project, todo):
    """A list of three from the shared state; whoever paints the first writes another list there, and the second is slow."""
    write = lambda value, version: ("state_set", {"key": "todo", "value": value, "version": version})
    project.scripted([
        calls(write(["red", "green", "blue"], 0), when={"agent": "seed", "turn": 1}),
        calls(write(todo, 1), when={"agent": "painter", "contains": "paint red", "turn": 1}),
        reply("painted {{ first }}", when={"agent": "painter", "contains": "paint green"}, latency="1500ms"),
        reply("painted {{ first }}"),
    ], agents={"seed": {"tools": ["state_set"]}, "painter": {"tools": ["state_set"]}}, tools={"state_set": {"kind": "builtin"}}, tasks=[
        {"id": "s", "agent": "seed", "instruction": "seed"},
        {"id": "each", "agent": "painter", "needs": ["s"], "for_each": "{{ state.todo }}", "parallel": 1, "instruction": "paint {{ item }}"}])


@pytest.mark.parametrize("todo", [["green", "blue"], ["x", "red", "red"], "nothing"], ids=["shorter", "other", "no list"])
def test_a_list_of_the_shared_state_is_the_one_that_the_run_began_with(todo, project):
    painting(project, todo)
    running = project.start()
    running.wait_line(r"each\[1\]")
    wait_for(lambda: any(e["task_id"] == "each[1]" for e in project.events("R1", "llm_requested")), "the second element's request")
    running.kill()
    document = project.resume("R1").expect(0).doc
    assert document["result"] == ["painted paint red", "painted paint green", "painted paint blue"]


def test_a_run_whose_journal_has_moved_goes_on_there_and_tools_do_not_see_it(project):
    look = {"kind": "process", "description": "Looks.", "command": ["sh", "-c", "sleep 1; wc -c $0 2>&1; true", "{{ path }}"], "effect": "none",
            "parameters": {"type": "object", "properties": {"path": {"type": "string"}}}, "sandbox": {"read": ["."]}}
    project.scripted([calls(("look", {"path": "new/j.db"})), reply("{{ last }}")], agent={"tools": ["look"]}, tools={"look": look}, journal={"path": "old/j.db"})
    running = project.start()
    running.wait_line("worker")
    wait_for(lambda: project.events("R1", "tool_started"), "the tool")
    running.kill()
    (project.folder / "old").rename(project.folder / "new")
    project.configure(**{**{k: v for k, v in project.data.items() if k != "version"}, "journal": {"path": "new/j.db"}})
    told = project.resume("R1").expect(0)
    assert "denied" in told.doc["result"] and "removed" not in told.stderr, told


@pytest.mark.parametrize("how", ["removed", "moved", "replaced"])
def test_a_run_stops_when_its_journal_is_not_in_its_place_any_more(how, project, mock_llm):
    server = mock_llm([reply("{{ last }}", latency="300ms")])
    project.on(server.provider(), journal={"path": "kept/j.db"}, tasks=[{"id": f"t{i}", "agent": "worker", "instruction": "x", **({"needs": [f"t{i - 1}"]} if i else {})} for i in range(30)])
    running = project.start()
    wait_for(lambda: server.requests >= 2, "two requests")
    kept = project.folder / "kept"
    if how == "removed":
        for file in kept.iterdir():
            file.unlink()
    else:
        kept.rename(project.folder / "moved")
    if how == "replaced":
        project.run("--id", "R2", timeout=60).expect(0)
    told = running.wait().expect(4)
    assert "moved, removed or replaced" in told.stderr and "Go on with" not in told.stderr and told.seconds < (40 if how == "replaced" else 8), told
    asked = server.requests
    if how == "moved":
        (project.folder / "moved").rename(kept)
        assert project.resume("R1", timeout=60).expect(0).doc["completed_tasks"] == 30
        assert server.requests <= asked + 30


def test_a_journal_with_a_second_name_is_refused(hanging):
    os.link(hanging.folder / ".troupe/journal.db", hanging.folder / "other.db")
    assert "2 names (hard links)" in hanging.resume("R1").expect(4).stderr


@pytest.mark.parametrize("how", ["a link that leads nowhere", "a file in the place of a folder"])
def test_a_journal_that_cannot_be_reached_is_not_taken_for_an_empty_one(how, project):
    project.scripted([reply("x")], journal={"path": "link.db" if how.startswith("a link") else "troupe.yaml/j.db"})
    (project.folder / "link.db").symlink_to("volume/that/is/not/mounted.db")
    for command in ("runs", "approvals"):
        told = project.troupe(command, "troupe.yaml").expect(4)
        assert "cannot be reached" in told.stderr and told.stdout == ""


def test_a_run_that_nobody_works_on_is_interrupted_wherever_it_is_shown(hanging):
    hanging.process.kill()
    assert hanging.troupe("show", "troupe.yaml", "R1", "--json").expect(0).doc["workflow_status"] == "interrupted"
    assert hanging.troupe("runs", "troupe.yaml", "--json").expect(0).doc["runs"][0]["workflow_status"] == "interrupted"


@pytest.mark.parametrize("more", [("--add-usd", "5"), ("--add-steps", "1"), ("--add-time", "1m"), ()])
def test_what_is_added_to_a_run_that_has_ended_is_told_to_change_nothing(more, ended):
    told = ended.troupe("resume", "troupe.yaml", "R1", *more, "--json").expect(0)
    assert ("what is added to its limits changes nothing" in told.stderr) == bool(more) and told.doc["workflow_status"] == "completed"
