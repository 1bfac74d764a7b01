"""What the journal promises when tails tear, disks fill and files are damaged (SEMANTICS 9)."""
import ctypes
import os
import sqlite3
import time

import pytest

from conftest import calls, reply, wait_for


def task(id, instruction="x", agent="worker", **more):
    return {"id": id, "agent": agent, "instruction": instruction, **more}


def in_a_row(*names):
    return [task(name, f"do {name}", **({"needs": [before]} if before else {})) for before, name in zip((None, *names), names)]


def outputs(document):
    return [row["output"] for row in document["results"]]


class Rows:
    """The events of one run as they stand in the file."""

    def __init__(self, project, run_id="R1"):
        self.db = sqlite3.connect(project.folder / ".troupe/journal.db")
        self.run = self.db.execute("select id from runs where run_id = ?", (run_id,)).fetchone()[0]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.db.commit()
        self.db.execute("pragma wal_checkpoint(truncate)")
        self.db.close()

    def all(self):
        return self.db.execute("select seq, type, body from events where run = ? order by seq", (self.run,)).fetchall()

    def spoil(self, seq):
        body = self.db.execute("select body from events where run = ? and seq = ?", (self.run, seq)).fetchone()[0]
        self.db.execute("update events set body = ? where run = ? and seq = ?", (body[:-1] + " }", self.run, seq))

    def drop(self, seq):
        self.db.execute("delete from events where run = ? and seq = ?", (self.run, seq))


@pytest.fixture
def killed(project, mock_llm):
    """A run that was killed during its third request."""
    server = mock_llm([reply("{{ last }}", when={"last": "do c"}, fault={"timeout": True, "times": 1}), reply("{{ last }}")])
    project.on(server.provider(), tasks=in_a_row("a", "b", "c"))
    project.server = server
    running = project.start()
    wait_for(lambda: server.requests == 3, "the third request")
    running.kill()
    return project


# --- damage --------------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["spoil", "drop"])
def test_a_torn_tail_is_cut_and_told(how, killed):
    with Rows(killed) as rows:
        last = rows.all()[-1][0]
        getattr(rows, how)(last)
    told = killed.resume("R1").expect(0)
    assert outputs(told.doc) == ["do a", "do b", "do c"]
    assert "last 1 event(s) of run R1 are damaged or missing" in told.stderr and f"goes on after event {last - 1}" in told.stderr, told.stderr
    assert [event["seq"] for event in killed.events("R1")] == list(range(1, len(killed.events("R1")) + 1))
    assert killed.server.requests == 4, "what was cut is asked again, the rest is not"
    again = killed.resume("R1").expect(0)
    assert again.doc == told.doc and "damaged" not in again.stderr


def test_a_tail_of_several_events_is_cut(killed):
    with Rows(killed) as rows:
        seqs = [row[0] for row in rows.all()]
        for seq in seqs[-3:]:
            rows.spoil(seq)
    assert outputs(killed.resume("R1").expect(0).doc) == ["do a", "do b", "do c"]


@pytest.mark.parametrize("how", ["spoil", "drop"])
@pytest.mark.parametrize("which", [1, 3])
def test_damage_with_whole_events_behind_it_is_refused(how, which, killed):
    with Rows(killed) as rows:
        getattr(rows, how)(rows.all()[which - 1][0])
        before = rows.all()
    for command in ("resume", "show"):
        told = killed.troupe(command, "troupe.yaml", "R1").expect(4)
        assert "R1" in told.stderr and f"event {which}" in told.stderr and told.stdout == "", told.stderr
    with Rows(killed) as rows:
        assert rows.all() == before, "nothing is cut"
    assert killed.run("--id", "R2").expect(0).doc["result"] == "do c"


def test_events_that_changed_places_are_damage(killed):
    with Rows(killed) as rows:
        (first, _, one), (second, _, other) = rows.all()[1], rows.all()[2]
        rows.db.execute("update events set body = ? where run = ? and seq = ?", (other, rows.run, first))
        rows.db.execute("update events set body = ? where run = ? and seq = ?", (one, rows.run, second))
    killed.troupe("resume", "troupe.yaml", "R1").expect(4)


def test_the_configuration_of_a_run_is_checked_too(killed):
    with Rows(killed) as rows:
        assert rows.db.execute("select count(*) from blobs").fetchone() == (1,)
        rows.db.execute("update blobs set body = replace(body, 'do a', 'do x')")
    told = killed.troupe("resume", "troupe.yaml", "R1").expect(4)
    assert "configuration" in told.stderr


def test_the_configuration_is_stored_once_for_all_runs(project):
    project.scripted([reply("x")])
    for run_id in ("R1", "R2", "R3"):
        project.run("--id", run_id).expect(0)
    with Rows(project) as rows:
        assert rows.db.execute("select count(*) from blobs").fetchone() == (1,)


def test_the_journal_grows_with_what_is_new_only(project):
    word = "w" * 2_000
    rules = [{"when": {"turn": turn}, "reply": {"text": f"{turn}{word}", "tool_calls": [{"name": "clock", "arguments": {}}]}} for turn in range(1, 33)]
    project.scripted([*rules, reply("done")], agent={"tools": ["clock"], "loop": {"repeats": 100, "window": 200}}, tools={"clock": {"kind": "builtin"}})
    project.run("--id", "R1").expect(0)
    with Rows(project) as rows:
        sizes = [len(body) for _, kind, body in rows.all() if kind == "llm_responded"]
        total = sum(len(body) for _, _, body in rows.all())
    assert len(sizes) == 33 and max(sizes[:-1]) < 2 * len(word), "no answer holds what was said before"
    assert total < 33 * 2 * len(word)


# --- nothing recorded is done again -----------------------------------------------------------------------------------------------------------------


def test_what_is_recorded_is_neither_paid_nor_performed_again(project, mock_llm):
    (project.folder / "out").mkdir()
    tool = {"kind": "process", "description": "x", "effect": "once", "command": ["sh", "-c", "echo x >> out/runs; echo done"], "sandbox": {"write": ["out"]}}
    server = mock_llm([calls(("note", {})), reply("{{ last }}", when={"turn": 2}, fault={"timeout": True, "times": 1}), reply("{{ last }}")])
    project.on(server.provider(), agent={"tools": ["note"]}, tools={"note": tool})
    running = project.start()
    wait_for(lambda: server.requests == 2, "the second request")
    running.kill()
    document = project.resume("R1").expect(0).doc
    assert document["result"].strip() == "done" and server.requests == 3
    assert project.read("out/runs").split() == ["x"]
    assert project.count("R1", "llm_responded") == 2 and project.count("R1", "tool_finished") == 1


def test_time_is_summed_over_the_owners_of_a_run(project, mock_llm):
    server = mock_llm([reply("late", fault={"timeout": True, "times": 2}), reply("fine")])
    project.on(server.provider(), workflow={"budget": {"time": "4s"}}, model={"breaker": {"failures": 100}})
    running = project.start()
    wait_for(lambda: server.requests == 1, "the request")
    began = time.monotonic()
    wait_for(lambda: time.monotonic() > began + 1.5, "the first owner's part of the time")
    running.signal(2)
    running.wait(10).expect(130)
    told = project.resume("R1").expect(3)
    assert told.doc["reason"] == "timeout" and told.seconds < 3.6, "less than the whole time was left"
    assert told.doc["duration_seconds"] >= 3.9
    assert [event["percent"] for event in project.events("R1", "budget_warned")] == [50, 80, 95], "warnings are of the sum too"


# --- a disk that is full ----------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(project):
    """A file system of 1 MiB where the journal is."""
    libc = ctypes.CDLL(None, use_errno=True)
    folder = project.folder / "disk"
    folder.mkdir()
    if libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", 0, b"size=1m") != 0:
        pytest.skip(f"a small file system cannot be mounted here: {os.strerror(ctypes.get_errno())}")
    yield folder
    libc.umount2(os.fsencode(folder), 2)


def test_a_full_disk_pauses_the_run_with_a_clear_error(small_disk, project, mock_llm):
    server = mock_llm([reply("{{ last }}", usage={"input": 10, "output": 10})])
    long = "x" * 20_000
    project.on(server.provider(), journal={"kind": "sqlite", "path": "disk/journal.db"}, agent={"max_tokens": 20_000}, workflow={"budget": {"steps": 500}},
               tasks=[task("all", "{{ item }} " + long, for_each="{{ input.list }}", parallel=1)])
    project.write("in.json", {"list": list(range(60))})
    told = project.run("--id", "R1", "--input", "in.json").expect(4)
    assert told.stdout == "" and "disk/journal.db" in told.stderr and "full" in told.stderr and "resume" in told.stderr, told.stderr
    asked, stored = server.requests, project.count("R1", "llm_responded")
    assert 0 < stored <= asked <= stored + 2, "no further request left once nothing could be recorded"
    # Room again: the run goes on, and what was acknowledged is not asked again.
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mount(b"tmpfs", os.fsencode(small_disk), b"tmpfs", 32, b"size=64m") == 0  # MS_REMOUNT
    document = project.resume("R1").expect(0).doc
    assert document["workflow_status"] == "completed" and len(document["result"]) == 60
    assert server.requests <= 60 + 2


def test_a_disk_that_is_full_from_the_start_is_said_so(small_disk, project):
    (small_disk / "filler").write_bytes(b"x" * (1 << 20))
    project.scripted([reply("x")], journal={"kind": "sqlite", "path": "disk/journal.db"})
    told = project.run("--id", "R1").expect(4)
    assert "disk/journal.db" in told.stderr and told.stdout == ""


def test_no_tool_of_effect_once_runs_unless_that_is_recorded_first(small_disk, project):
    (project.folder / "out").mkdir()
    script = "if [ $1 = fill ]; then dd if=/dev/zero of=disk/filler bs=1k count=4096; fi; echo $1 >> out/ran"
    tool = {"kind": "process", "description": "x", "effect": "once", "command": ["sh", "-c", script, "sh", "{{ what }}"], "sandbox": {"write": ["disk", "out"]}, "max_parallel": 1,
            "parameters": {"type": "object", "properties": {"what": {"type": "string"}}}}
    project.scripted([calls(("x", {"what": "fill"}), ("x", {"what": "pay"})), reply("done")], journal={"kind": "sqlite", "path": "disk/journal.db"}, agent={"tools": ["x"]}, tools={"x": tool})
    project.run("--id", "R1").expect(4)
    assert project.read("out/ran").split() == ["fill"]
