"""A disk that fails at any call: the run pauses with a clear error, nothing is acknowledged that is not durable, resume finishes (SEMANTICS 9)."""
import ctypes
import errno
import os
import re
import shutil
import sqlite3
import subprocess
import threading

import pytest

import conftest
from conftest import DEADLINE, calls, openai_answer, reply, wait_for


class Disk:
    """The disk below the journal: `fail(call, error, first, last)`; None: it works."""

    def __init__(self, folder, library):
        self.plan = folder / "disk-plan"
        self.env = {"LD_PRELOAD": str(library), "SHIM_DISK": str(self.plan), "SHIM_FILES": "journal.db"}

    def fail(self, call, error, first=1, last=1 << 30):
        self.plan.write_text(f"{call} {error} {first} {last}")

    def work(self):
        self.plan.unlink(missing_ok=True)


@pytest.fixture
def disk(tmp_path, shim):
    return Disk(tmp_path, shim("disk"))


@pytest.fixture
def paying(project, mock_llm):
    """A run of two LLM calls with a tool of effect once between them."""
    (project.folder / "out").mkdir()
    project.server = mock_llm([calls(("pay", {})), reply("{{ last }}")])
    project.on(project.server.provider(), agent={"tools": ["pay"]},
               tools={"pay": {"kind": "process", "description": "x", "effect": "once", "command": ["sh", "-c", "echo paid >> out/paid; echo paid"], "sandbox": {"write": ["out"]}}})
    return project


def fresh(project):
    shutil.rmtree(project.folder / ".troupe", ignore_errors=True)
    (project.folder / "out/paid").unlink(missing_ok=True)
    return project.server.requests


def paid(project):
    path = project.folder / "out/paid"
    return path.read_text().split() if path.exists() else []


def check_pause(told):
    assert told.status == 4, str(told)
    assert "journal.db" in told.stderr and told.stdout == "", str(told)


def finish(project, before):
    """Resumes with a disk that works, and checks that nothing was done twice."""
    document = project.resume()
    if document.status == 2:  # nothing of it was ever durable: so nothing was done
        assert project.server.requests == before and paid(project) == []
        document = project.run("--id", "R1")
    document = document.expect(0).doc
    unknown = [event["id"] for event in project.events("R1", "outcome_unknown")]
    assert len(paid(project)) <= 1, "a tool of effect once"
    assert document["result"].strip() == "paid" and paid(project) == ["paid"] or any("#" not in id for id in unknown), document["result"]
    assert project.server.requests - before <= project.count("R1", "llm_requested") <= 2 + sum("#" in id for id in unknown)


@pytest.mark.parametrize("call, error, step", [("sync", errno.EIO, 1), ("write", errno.EIO, 11), ("write", errno.ENOSPC, 11)], ids=["sync", "write", "full"])
def test_a_disk_that_fails_from_any_call_on(call, error, step, paying, disk):
    """The first, then the second … call fails, and all that follow, until a run meets none that fails."""
    paused, whole = 0, 0
    for first in range(1, 400, step):
        before = fresh(paying)
        disk.fail(call, error, first)
        told = paying.run("--id", "R1", env=disk.env)
        if told.status == 0:
            whole += 1
            if whole == 2:  # one that only failed to tidy up at its end, one that met no failure
                break
        else:
            check_pause(told)
            paused += 1
            asked = paying.server.requests
            disk.fail(call, error)
            again = paying.resume(env=disk.env)
            # Where it was the run's last word that could not be kept, it is read from the kernel's memory.
            assert again.status in (2, 4) or paying.count("R1", "run_finished"), f"on a disk that still fails\n{again}"
            assert paying.server.requests == asked
        disk.work()
        finish(paying, before)
    assert whole == 2 and paused >= 5, "it was tried at many calls, and until the end"


def test_a_single_failed_sync_is_not_taken_for_done_later(paying, disk):
    """After a failed sync the kernel may have dropped what it held: the next one that works proves nothing about it."""
    for only in range(1, 40, 2):
        before = fresh(paying)
        disk.fail("sync", errno.EIO, only, only)
        told = paying.run("--id", "R1", env=disk.env)
        disk.work()
        if told.status == 0:
            break
        check_pause(told)
        finish(paying, before)
    assert only > 8


def test_a_disk_that_fails_while_a_call_is_in_flight(project, odd_server, disk):
    broken = threading.Event()

    def late(connection, _):
        broken.wait(DEADLINE)
        connection.sendall(openai_answer("late"))

    server = odd_server([late], then=openai_answer("again"))
    project.on(server.provider(stream=False))
    running = project.start("--json", env=disk.env)
    wait_for(lambda: server.requests, "the request")
    disk.fail("sync", errno.EIO)
    broken.set()
    check_pause(running.wait())
    disk.work()
    document = project.resume().expect(0).doc
    if len(server.requests) == 2:  # it was lost: so it is asked again, and charged
        assert document["result"] == "again" and document["llm_calls"] == 2
    else:
        assert document["result"] == "late" and document["llm_calls"] == 1


def test_a_disk_that_cannot_be_read(paying, disk):
    paying.run("--id", "R1").expect(0)
    for first in (1, 3, 6, 10):
        disk.fail("read", errno.EIO, first)
        for args in (["show", "troupe.yaml", "R1"], ["runs", "troupe.yaml"], ["resume", "troupe.yaml", "R1"]):
            told = paying.troupe(*args, env=disk.env)
            assert told.status in (0, 4), str(told)
            assert told.status == 0 or "journal.db" in told.stderr or "run R1" in told.stderr
    disk.work()
    assert paying.resume().expect(0).doc["workflow_status"] == "completed"


# --- where nothing may be written -----------------------------------------------------------------------------------------------------------------

BIND, READ_ONLY = 4096, 4096 | 32 | 1  # MS_BIND; MS_BIND | MS_REMOUNT | MS_RDONLY
UNPRIVILEGED = "#!/bin/sh\nexec setpriv --bounding-set=-dac_override,-dac_read_search --inh-caps=-dac_override,-dac_read_search %s \"$@\"\n"


@pytest.fixture(params=["mounted", "folder"])
def forbidden(request, project, monkeypatch):
    """Called, it makes `.troupe` a file system that is mounted read-only (as the kernel does when a disk fails), or a folder that one may only read."""
    folder = project.folder / ".troupe"
    libc = ctypes.CDLL(None, use_errno=True)
    undo = []

    def mounted():
        if libc.mount(os.fsencode(folder), os.fsencode(folder), None, BIND, None) != 0:
            pytest.skip(f"nothing can be mounted here: {os.strerror(ctypes.get_errno())}")
        undo.append(lambda: libc.umount2(os.fsencode(folder), 2))
        assert libc.mount(None, os.fsencode(folder), None, READ_ONLY, None) == 0

    def unwritable():
        if os.geteuid() == 0:  # who may write whatever the modes say
            if not shutil.which("setpriv"):
                pytest.skip("setpriv is not here")
            wrapper = project.write("unprivileged", UNPRIVILEGED % conftest.BINARY)
            wrapper.chmod(0o755)
            monkeypatch.setattr(conftest, "BINARY", str(wrapper))
        modes = {path: path.stat().st_mode & 0o777 for path in (folder, *folder.iterdir())}

        def restore():
            for path, mode in modes.items():
                path.chmod(mode)
            monkeypatch.undo()

        undo.append(restore)
        for path in modes:
            path.chmod(0o500 if path == folder else 0o400)

    yield mounted if request.param == "mounted" else unwritable
    while undo:
        undo.pop()()


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def looks(project):
    """What the commands that only look print."""
    told = [project.troupe(*args).expect(0) for args in (["show", "troupe.yaml", "R1"], ["show", "troupe.yaml", "R1", "--events"], ["show", "troupe.yaml", "R1", "--json"],
                                                         ["runs", "troupe.yaml", "--json"], ["approvals", "troupe.yaml", "--json"])]
    return [each.stdout for each in told]


def older(folder):
    """The file as a troupe before this one left it, which had no decisions."""
    with sqlite3.connect(folder / "journal.db") as db:
        db.executescript("drop table decisions; pragma user_version = 2; pragma wal_checkpoint(truncate)")
    db.close()


@pytest.mark.parametrize("left", ["killed", "no index", "closed", "older", "alive"])
def test_what_was_recorded_can_be_looked_at_where_nothing_may_be_written(left, project, mock_llm, forbidden):
    late = [] if left in ("closed", "older") else [reply("late", when={"last": "^b"}, fault={"timeout": True, "times": 1})]
    server = mock_llm([*late, reply("x")])
    project.on(server.provider(), tasks=[{"id": "a", "agent": "worker", "instruction": "a"}, {"id": "b", "agent": "worker", "instruction": "b", "needs": ["a"]}])
    running = project.start()
    folder = project.folder / ".troupe"
    if left in ("closed", "older"):
        running.wait().expect(0)
    else:
        wait_for(lambda: server.requests == 2, "the second request")
    if left in ("killed", "no index"):
        running.kill()
        shutil.copytree(folder, project.folder / "kept")
    if left == "older":
        older(folder)
    seen = looks(project) if left in ("closed", "alive") else None
    if left in ("killed", "no index"):  # looking at it put the log's content into the file: as it was before
        seen = looks(project)
        shutil.rmtree(folder)
        shutil.copytree(project.folder / "kept", folder)
        assert (folder / "journal.db-wal").stat().st_size > 0
    if left == "no index":
        (folder / "journal.db-shm").unlink()
    if left == "alive":
        assert (folder / "journal.db-wal").stat().st_size > 0
    before = files_of(folder)
    forbidden()
    got = looks(project)
    assert seen is None or [text.replace(" ago", "") for text in got][1:] == seen[1:]
    assert "R1" in got[0] and ('"completed"' in got[3]) == (left in ("closed", "older")) and ("interrupted" in got[3]) == (left in ("killed", "no index"))
    for args in (["run", "troupe.yaml", "job", "--id", "R2"], ["resume", "troupe.yaml", "R1"], ["cancel", "troupe.yaml", "R1"], ["approve", "troupe.yaml", "12345678"]):
        told = project.troupe(*args).expect(4)
        assert "Read-only file system" in told.stderr or "ermission denied" in told.stderr or "may not be written" in told.stderr, told.stderr
        assert told.stdout == "" and "journal.db" in told.stderr
    assert left == "alive" or files_of(folder) == before, "nothing is changed"


def test_a_log_that_can_be_read_only_in_a_copy_says_where_room_is_needed(project, mock_llm, forbidden):
    server = mock_llm([reply("x", fault={"timeout": True})])
    project.on(server.provider())
    running = project.start()
    wait_for(lambda: server.requests == 1, "the request")
    running.kill()
    (project.folder / ".troupe/journal.db-shm").unlink()
    forbidden()
    told = project.troupe("show", "troupe.yaml", "R1", env={"TMPDIR": "/no/such/folder"}).expect(4)
    assert "TMPDIR" in told.stderr and "journal.db" in told.stderr
    spare = project.folder / "spare"
    spare.mkdir()
    project.troupe("show", "troupe.yaml", "R1", env={"TMPDIR": spare}).expect(0)
    assert list(spare.iterdir()) == [], "the copy is gone"


def test_any_name_of_a_file_can_be_looked_at(project, forbidden):
    name = "a b%41?mode=rw#é.db"
    project.scripted([reply("x")], journal={"kind": "sqlite", "path": f".troupe/{name}"})
    project.run("--id", "R1").expect(0)
    forbidden()
    assert project.troupe("show", "troupe.yaml", "R1", "--json").expect(0).doc["result"] == "x"


@pytest.mark.parametrize("left", ["killed", "closed"])
def test_what_was_recorded_can_be_looked_at_where_the_disk_is_full(left, project, mock_llm):
    """A file system of its own, of 4 MiB, that something else has filled."""
    server = mock_llm([*([reply("late", when={"last": "^b"}, fault={"timeout": True})] if left == "killed" else []), reply("x")])
    project.on(server.provider(), tasks=[{"id": "a", "agent": "worker", "instruction": "a"}, {"id": "b", "agent": "worker", "instruction": "b", "needs": ["a"]}])
    running = project.start()
    if left == "killed":
        wait_for(lambda: server.requests == 2, "the second request")
        running.kill()
    else:
        running.wait().expect(0)
    small = project.folder / "small"
    small.mkdir()
    script = f"""cp -r troupe.yaml .troupe small/ && cd small && cat /dev/zero > filler
        for command in "runs troupe.yaml" "show troupe.yaml R1" "run troupe.yaml job --id R2" "resume troupe.yaml R1"; do
          {conftest.BINARY} $command; echo "status $?"
        done"""
    sandbox = ["bwrap", "--dev-bind", "/", "/", "--size", str(4 << 20), "--tmpfs", str(small), "--chdir", str(project.folder)]
    done = subprocess.run([*sandbox, "bash", "-c", script], capture_output=True, text=True, timeout=60, env=conftest.clean_environment())
    statuses = re.findall(r"status (\d+)", done.stdout)
    assert statuses == ["0", "0", "4", "4" if left == "killed" else "0"] or statuses == ["0", "0", "4", "4"], str(done)
    assert "R1" in done.stdout and "a [worker] done: x" in done.stdout and "the disk is full" in done.stderr, str(done)
