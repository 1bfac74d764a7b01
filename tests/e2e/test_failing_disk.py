"""A disk that fails at any call: the run pauses with a clear error, nothing is acknowledged that is not durable, resume finishes (SEMANTICS 9)."""
import errno
import shutil
import threading

import pytest

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
