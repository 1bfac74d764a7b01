"""A journal's file torn, flipped and zeroed under the real program: what is whole goes on, what is not is refused by name, nothing else happens (SEMANTICS 9)."""
import random
import shutil

import pytest

from conftest import reply, wait_for

PAGE = 4096
LONG = "at length " * 300  # so that a run fills pages of its own


@pytest.fixture
def company(project, mock_llm):
    """R0 and R1 completed, R2 killed in its third request."""
    server = mock_llm([reply("c of R2", when={"last": "do c of R2"}, fault={"timeout": True, "times": 1}), said("a"), said("b"), said("c")])
    project.on(server.provider(), tasks=[{"id": n, "agent": "worker", "instruction": f"{LONG} do {n} of {{{{ input.run }}}}", **({"needs": [before]} if before else {})}
                                         for before, n in ((None, "a"), ("a", "b"), ("b", "c"))])
    for run_id in ("R0", "R1"):
        project.run("--id", run_id, "-i", f"run={run_id}").expect(0)
    running = project.start("-i", "run=R2", run_id="R2")
    wait_for(lambda: server.requests == 9, "the third request of R2")
    running.kill()
    project.server = server
    shutil.copytree(project.folder / ".troupe", project.folder / "whole")
    return project


def said(task):
    return {"when": {"last": f"do {task} of R"}, "capture": {"run": {"from": "first", "pattern": "R[0-9]"}}, "reply": {"text": f"{task} of {{{{ captured.run }}}}"}}


def restore(project):
    shutil.rmtree(project.folder / ".troupe")
    shutil.copytree(project.folder / "whole", project.folder / ".troupe")


def outputs(document):
    return [row["output"] for row in document["results"]]


def judge(project, told, run_id):
    """Either the run as it was, or a refusal that names what is damaged. True: as it was."""
    if told.status == 0:
        assert outputs(told.doc) == [f"{n} of {run_id}" for n in "abc"], str(told)
        return True
    assert told.status in (2, 4) and told.stdout == "", str(told)
    assert run_id in told.stderr or "journal.db" in told.stderr, told.stderr
    return False


def flipped(data, at):
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1:]


def cut(data, at):
    return data[:at]


def zeroed(data, at):
    page = at // PAGE * PAGE
    return data[:page] + bytes(len(data[page:page + PAGE])) + data[page + PAGE:]


@pytest.mark.parametrize("how", [flipped, cut, zeroed], ids=lambda how: how.__name__)
@pytest.mark.parametrize("name", ["journal.db", "journal.db-wal"])
def test_whatever_happens_to_a_file_no_run_is_told_wrongly(name, how, company):
    data = (company.folder / "whole" / name).read_bytes()
    draw = random.Random(f"{name} {how.__name__}")
    good = 0
    for at in (draw.randrange(len(data)) for _ in range(7)):
        restore(company)
        (company.folder / ".troupe" / name).write_bytes(how(data, at))
        for run_id in ("R0", "R2"):
            good += judge(company, company.resume(run_id), run_id)
        listed = company.troupe("runs", "troupe.yaml")
        assert listed.status in (0, 4), f"at {at}: {listed}"
        judge(company, company.run("--id", "R3", "-i", "run=R3"), "R3")
    assert good or name == "journal.db", "a torn log costs the events at its end only"


def test_a_torn_log_loses_its_end_and_nothing_else(company):
    """The log is cut as a power cut could leave it: each run goes on from what is whole, and what is recorded there is not asked again."""
    name = "journal.db-wal"
    data = (company.folder / "whole" / name).read_bytes()
    before = None
    for share in (1.0, 0.95, 0.8, 0.5):
        restore(company)
        (company.folder / ".troupe" / name).write_bytes(data[:int(len(data) * share)])
        asked = company.server.requests
        told = company.resume("R2")
        if told.status == 2:
            assert "R2" in told.stderr
            break
        assert outputs(told.expect(0).doc) == ["a of R2", "b of R2", "c of R2"]
        assert not before or company.server.requests - asked >= before
        before = company.server.requests - asked
        assert 1 <= before <= 3


def test_a_log_without_its_index_is_read_again(company):
    (company.folder / ".troupe/journal.db-shm").unlink()
    asked = company.server.requests
    assert judge(company, company.resume("R2"), "R2") and company.server.requests == asked + 1


def test_each_byte_of_the_header(company):
    """Whatever it says of the file, it is refused by name or does no harm."""
    judge(company, company.resume("R2"), "R2")
    path = company.folder / ".troupe/journal.db"
    data = path.read_bytes()
    for at in range(100):
        path.write_bytes(flipped(data, at))
        judge(company, company.troupe("show", "troupe.yaml", "R1", "--json"), "R1")


def test_a_damaged_page_of_one_run_leaves_the_others(company):
    """A page that holds only R0's events is zeroed, once all is in the file itself."""
    assert judge(company, company.resume("R2"), "R2")  # the last process that closes it leaves no log
    path = company.folder / ".troupe/journal.db"
    assert not (company.folder / ".troupe/journal.db-wal").exists()
    data = path.read_bytes()
    pages = [data[at:at + PAGE] for at in range(0, len(data), PAGE)]
    middle = next(i for i, page in enumerate(pages) if b"do b of R0" in page)
    assert b"R1" not in pages[middle] and b"R2" not in pages[middle], "a page that only R0 has"
    pages[middle] = bytes(PAGE)
    path.write_bytes(b"".join(pages))
    told = company.resume("R0").expect(4)
    assert "R0" in told.stderr and "damaged" in told.stderr and told.stdout == "", told.stderr
    assert judge(company, company.resume("R2"), "R2"), "another run of the same file"
    assert judge(company, company.run("--id", "R3", "-i", "run=R3"), "R3"), "a new one"


FRAME = 24 + PAGE


def test_damage_inside_the_log_is_told_and_the_log_is_kept(company):
    """To SQLite the log ends there. What stands behind it was told as durable: it must not go without a word."""
    path = company.folder / ".troupe/journal.db-wal"
    data = path.read_bytes()
    for at in (10, 32 + 24 + 99):  # its header, its first frame: commits stand behind each
        restore(company)
        path.write_bytes(flipped(data, at))
        told = company.troupe("runs", "troupe.yaml").expect(0)
        kept = list(path.parent.glob("journal.db-wal-damaged-*"))
        assert len(kept) == 1 and kept[0].read_bytes() == flipped(data, at)
        assert "its log is damaged" in told.stderr and kept[0].name in told.stderr and "R0" in told.stdout
        again = company.troupe("runs", "troupe.yaml").expect(0)
        assert again.stderr == "" and len(list(path.parent.glob("*damaged*"))) == 1, "told once"


def test_a_log_that_was_cut_off_while_it_was_written_is_not_damaged(company):
    path = company.folder / ".troupe/journal.db-wal"
    data = path.read_bytes()
    assert len(data) > 32 + 2 * FRAME
    for size in (0, 20, 32, 32 + FRAME - 1, len(data) - 100):
        restore(company)
        path.write_bytes(data[:size])
        told = company.troupe("runs", "troupe.yaml").expect(0)
        assert told.stderr == "" and not list(path.parent.glob("*damaged*")), size


def test_an_empty_file_where_runs_were_is_no_new_journal(company):
    folder = company.folder / ".troupe"
    (folder / "journal.db-wal").unlink()
    (folder / "journal.db-shm").unlink()
    (folder / "journal.db").write_bytes(b"")
    for args in (["runs", "troupe.yaml"], ["show", "troupe.yaml", "R1"], ["run", "troupe.yaml", "job", "--id", "R3", "-i", "run=R3"]):
        told = company.troupe(*args).expect(4)
        assert "is empty, though runs were made with it" in told.stderr and told.stdout == ""
    assert (folder / "journal.db").read_bytes() == b"", "nothing is written"
    (folder / "journal.db-lock").unlink()
    company.run("--id", "R3", "-i", "run=R3").expect(0)


def test_an_empty_file_where_no_run_was_is_a_new_journal(company):
    shutil.rmtree(company.folder / ".troupe")
    (company.folder / ".troupe").mkdir()
    (company.folder / ".troupe/journal.db").write_bytes(b"")
    (company.folder / ".troupe/journal.db-lock").write_bytes(b"")
    company.run("--id", "R3", "-i", "run=R3").expect(0)
