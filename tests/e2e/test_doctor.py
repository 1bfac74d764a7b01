"""`troupe doctor`: what works, what does not, what to do."""
import hashlib
import json
import os
import pathlib
import pty
import re
import shutil
import subprocess

import pytest

from conftest import BINARY, PRICE, ROOT, clean_environment, http_answer, nobody, openai_answer, processes_with, reply, wait_for
from mcp_http_server import McpHttpServer

KEY = "sk-doctor-0123456789"


def rows(told):
    return {(row["kind"], row["name"]): row for row in told.doc["checks"]}


def doctor(project, *args, status=0, env=None):
    return project.troupe("doctor", "troupe.yaml", "--json", *args, env=env).expect(status)


def ask(project, answer, env=None, before=b""):
    """`doctor` on a terminal, with what is typed there; its status and what the terminal showed."""
    terminal, inside = pty.openpty()
    os.write(terminal, before)
    child = subprocess.Popen([BINARY, "doctor", "troupe.yaml"], cwd=project.folder, env=clean_environment(NO_COLOR=1, **(env or {})), stdin=inside, stdout=inside, stderr=inside)
    os.close(inside)
    shown = b""
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError:
            break
        if not piece:
            break
        shown += piece
        if b"[y/N]" in shown and answer is not None:
            os.write(terminal, answer)
            answer = None
    os.close(terminal)
    return child.wait(30), shown.decode()


@pytest.mark.parametrize("answer, asked", [(b"y\n", 1), (b"n\n", 0), (b"\n", 0), (b"\x04", 0)], ids=["yes", "no", "nothing", "end"])
def test_on_a_terminal_it_asks(answer, asked, project, odd_server):
    server = odd_server([], then=openai_answer("ok"))
    project.on(server.provider(stream=False))
    status, shown = ask(project, answer)
    assert status == 0 and len(server.requests) == asked and "at most $" in shown and ("not tried" in shown) == (asked == 0), shown


def test_what_was_typed_before_it_asked_is_no_answer(project, odd_server):
    server = odd_server([], then=openai_answer("ok"))
    project.on(server.provider(stream=False))
    status, shown = ask(project, b"n\n", before=b"y\ny\n")
    assert status == 0 and not server.requests and "not tried" in shown, shown


def everything(project, server, **more):
    project.write("data/a.txt", "x")
    tools = {"read_file": {"kind": "builtin", "root": "data"}, "write_file": {"kind": "builtin", "root": "out/new"}, "clock": {"kind": "builtin"},
             "grep": {"kind": "process", "description": "d", "effect": "none", "command": ["grep", "x"]},
             "web": {"kind": "http", "description": "d", "url": server.url + "/items"},
             "http_fetch": {"kind": "builtin", "allow_hosts": [server.url[7:], "*.example.com"]}, **more}
    project.on(server.provider(stream=False, api_key_env="MODEL_KEY"), agent={"tools": ["clock"]}, tools=tools)


def test_what_works_is_seen_to_work(project, odd_server):
    server = odd_server([], then=lambda connection, server: connection.sendall(openai_answer("ok") if server.requests[-1][0].startswith("POST") else http_answer(404, "")))
    everything(project, server)
    told = doctor(project, "--yes", env={"MODEL_KEY": KEY})
    found = rows(told)
    assert told.doc["works"] and all(row["state"] != "fail" for row in found.values())
    assert found["model", "p test-model"]["state"] == "ok" and "answers" in found["model", "p test-model"]["seen"]
    assert found["tool", "grep"]["seen"].endswith("/grep, in its sandbox") and found["sandbox", "bubblewrap"]["state"] == "ok"
    assert found["tool", "web"]["state"] == "ok" and "status 404" in found["tool", "web"]["seen"]
    assert found["tool", f"http_fetch {server.url[7:]}"]["state"] == "ok" and found["tool", "read_file"]["state"] == "ok"
    assert found["environment", "1 variable"]["state"] == "ok"
    asked = [body for head, body in server.requests if head.startswith("POST")]
    assert len(asked) == 1 and asked[0]["max_tokens"] == 1 and 0 < told.doc["cost_usd"] < 0.001
    assert all(head.split()[:2] == ["HEAD", "/"] for head, body in server.requests if not head.startswith("POST")), "a tool's own address is not called"
    assert KEY not in told.stdout + told.stderr and "at most $" in told.stderr


def test_nothing_is_spent_that_was_not_agreed_to(project, odd_server):
    server = odd_server([], then=openai_answer("ok"))
    project.on(server.provider(stream=False))
    told = doctor(project)
    assert server.requests == [] and rows(told)["model", "p test-model"]["state"] == "warn" and "--yes" in rows(told)["model", "p test-model"]["todo"]
    assert re.search(r"p test-model: one token costs at most \$0\.\d+", told.stderr)


def test_what_is_free_is_just_tried(project, odd_server):
    server = odd_server([], then=openai_answer("ok"))
    project.on(server.provider(stream=False), model={"link": {"usd_per_mtok": "free"}})
    told = doctor(project)
    assert len(server.requests) == 1 and rows(told)["model", "p test-model"]["state"] == "ok"


def test_a_rehearsal_is_tried_without_a_word(project):
    project.scripted([reply("fine")])
    told = doctor(project)
    assert rows(told)["model", "p test-model"]["state"] == "ok" and told.doc["cost_usd"] == 0 and "cost" not in told.stderr


@pytest.mark.parametrize("answer, seen, todo", [
    (http_answer(401, {"error": {"message": "bad key"}}), "401", "MODEL_KEY"),
    (http_answer(404, {"error": {"message": "no such model"}}), "404", "model's name"),
    (http_answer(429, {"error": {"message": "slow down", "code": "insufficient_quota"}}), "429", "credit"),
    (http_answer(500, {"error": {"message": "oops"}}), "500", "service"),
    (http_answer(200, "<html>"), "malformed", "base_url"),
    (http_answer(301, "", "Location: https://new.example/v1"), "301", "redirect"),
    (http_answer(400, {"error": {"message": "no"}}), "400", "base_url"),
    (http_answer(400, {"error": {"message": "'max_tokens' is not supported with this model"}}), "400", "max_tokens_field"),
    (http_answer(407, ""), "407", "proxy"),
    (http_answer(418, ""), "418", "base_url"),
], ids=["key", "model", "quota", "broken", "no-api", "moved", "refused", "limit-field", "proxy", "teapot"])
def test_a_model_that_does_not_answer_has_advice(answer, seen, todo, project, odd_server):
    server = odd_server([], then=answer)
    project.on(server.provider(stream=False, api_key_env="MODEL_KEY"))
    row = rows(doctor(project, "--yes", status=1, env={"MODEL_KEY": KEY}))["model", "p test-model"]
    assert row["state"] == "fail" and seen in row["seen"] and todo in row["todo"], row
    assert len(server.requests) == 1, "doctor asks once"


@pytest.mark.parametrize("answer, charged", [
    (http_answer(200, {"choices": [{"message": {"content": ""}, "finish_reason": "length"}], "usage": {"prompt_tokens": 11, "completion_tokens": 1}}), 11 * PRICE["input"] + PRICE["output"]),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{", None),
    (http_answer(500, ""), 0),
], ids=["stated", "unknown", "none"])
def test_what_a_failed_call_may_have_cost_is_in_the_cost(answer, charged, project, odd_server):
    project.on(odd_server([], then=answer).provider(stream=False))
    told = project.troupe("doctor", "troupe.yaml", "--json", "--yes")
    worst = float(re.search(r"one token costs at most \$(0\.\d+)", told.stderr)[1])
    assert told.doc["cost_usd"] == pytest.approx(worst if charged is None else charged / 1e6, abs=1e-9)


def test_a_key_that_a_provider_repeats_is_not_shown(project, odd_server):
    server = odd_server([], then=http_answer(401, {"error": {"message": f"the key {KEY} is not valid"}}))
    project.on(server.provider(stream=False, api_key_env="MODEL_KEY"))
    told = doctor(project, "--yes", status=1, env={"MODEL_KEY": KEY})
    assert "is not valid" in rows(told)["model", "p test-model"]["seen"] and KEY not in told.stdout + told.stderr


def test_a_key_that_stands_in_an_address_is_not_shown(project):
    project.on({"kind": "openai", "base_url": f"{nobody()}/{KEY}", "api_key_env": "MODEL_KEY"}, model={"link": {"usd_per_mtok": "free"}})
    told = doctor(project, status=1, env={"MODEL_KEY": KEY})
    assert "is right" in rows(told)["model", "p test-model"]["todo"] and KEY not in told.stdout + told.stderr


def test_nobody_at_the_address_has_advice(project):
    url = nobody()
    project.on({"kind": "openai", "base_url": url}, model={"link": {"usd_per_mtok": "free"}})
    row = rows(doctor(project, status=1))["model", "p test-model"]
    assert row["state"] == "fail" and url in row["todo"], row


def test_each_thing_that_does_not_work_is_told_with_what_to_do(project):
    url = nobody()
    port = url.rsplit(":", 1)[1]
    tools = {"gone": {"kind": "process", "description": "d", "effect": "none", "command": ["no-such-program"]},
             "open": {"kind": "process", "description": "d", "effect": "none", "command": ["ls"], "sandbox": "off"},
             "chosen": {"kind": "process", "description": "d", "effect": "none", "command": ["{{ x }}"], "parameters": {"type": "object", "properties": {"x": {"type": "string"}}}},
             "read_file": {"kind": "builtin", "root": "nowhere"},
             "hidden": {"kind": "process", "description": "d", "effect": "none", "command": ["ls"], "sandbox": {"read": ["absent"]}},
             "web": {"kind": "http", "description": "d", "url": url + "/x", "headers": {"A": "{{ env.UNSET_ONE }}"}, "env_from": ["UNSET_ONE"]},
             "inner": {"kind": "http", "description": "d", "url": f"http://inner.localhost:{port}/"}}
    project.scripted([reply("fine")], agent={"tools": list(tools)}, tools=tools)
    found = rows(doctor(project, status=1))
    assert found["environment", "UNSET_ONE"]["state"] == "fail" and "export UNSET_ONE" in found["environment", "UNSET_ONE"]["todo"]
    assert found["tool", "gone"]["state"] == "fail" and "no-such-program" in found["tool", "gone"]["seen"] and found["tool", "gone"]["todo"]
    assert found["tool", "open"]["state"] == "warn" and "sandbox" in found["tool", "open"]["todo"]
    assert found["tool", "chosen"]["state"] == "warn"
    assert found["tool", "read_file"]["state"] == "fail" and "nowhere" in found["tool", "read_file"]["seen"]
    assert found["tool", "hidden"]["state"] == "fail" and "absent" in found["tool", "hidden"]["seen"]
    assert found["tool", "web"]["state"] == "fail" and "UNSET_ONE" in found["tool", "web"]["seen"]
    assert found["tool", "inner"]["state"] == "fail" and "allow_private" in found["tool", "inner"]["todo"]


def test_what_no_agent_uses_is_a_warning(project):
    tools = {"gone": {"kind": "process", "description": "d", "effect": "none", "command": ["no-such-program"], "env_from": ["UNSET_ONE"]}}
    spare = {"spare": {"kind": "openai", "base_url": nobody(), "api_key_env": "UNSET_TWO"}, "free": {"kind": "openai", "base_url": nobody()}}
    models = {"other": {"chain": [{"provider": name, "model": "m", "usd_per_mtok": "free"} for name in spare]}}
    project.scripted([reply("fine")], tools=tools, providers=spare, models=models)
    found = rows(doctor(project))
    for row in [("tool", "gone"), ("environment", "UNSET_ONE"), ("environment", "UNSET_TWO"), ("model", "spare m"), ("model", "free m")]:
        assert found[row]["state"] == "warn", found[row]
    project.scripted([reply("fine")], agent={"tools": ["gone"]}, tools=tools)
    assert rows(doctor(project, status=1))["tool", "gone"]["state"] == "fail"


def test_a_program_outside_of_the_sandbox_is_not_there(project, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "program"
    elsewhere.write_text("#!/bin/sh\nexit 0\n")
    elsewhere.chmod(0o755)
    project.scripted([reply("fine")], agent={"tools": ["x"]}, tools={"x": {"kind": "process", "description": "d", "effect": "none", "command": [str(elsewhere)]}})
    row = rows(doctor(project, status=1))["tool", "x"]
    assert row["state"] == "fail" and "sandbox" in row["seen"] and str(elsewhere.parent) in row["todo"], row
    project.scripted([reply("fine")], tools={"x": {"kind": "process", "description": "d", "effect": "none", "command": [str(elsewhere)], "sandbox": {"read": [str(elsewhere.parent)]}}})
    assert rows(doctor(project))["tool", "x"]["state"] == "ok"


@pytest.mark.parametrize("program", ["echo", "printf", "test", "kill", "[", "sh"])
def test_a_program_is_one_also_where_a_shell_has_its_own_of_that_name(program, project):
    project.scripted([reply("fine")], agent={"tools": ["x"]}, tools={"x": {"kind": "process", "description": "d", "effect": "none", "command": [program, "x"]}})
    row = rows(doctor(project))["tool", "x"]
    assert row["state"] == "ok" and row["seen"] == f"{shutil.which(program, path='/usr/local/bin:/usr/bin:/bin')}, in its sandbox", row


@pytest.mark.parametrize("program", ["cd", "exit", "folder", "./folder", "./notes.txt", "../beside"], ids=str)
def test_what_only_a_shell_knows_or_cannot_be_run_is_no_program(program, project):
    (project.folder / "folder").mkdir()
    project.write("notes.txt", "no program")
    project.scripted([reply("fine")], agent={"tools": ["x"]}, tools={"x": {"kind": "process", "description": "d", "effect": "none", "command": [program]}})
    row = rows(doctor(project, status=1))["tool", "x"]
    assert row["state"] == "fail" and f'there is no program "{program}" inside of its sandbox' in row["seen"], row


def test_a_script_of_the_folder_is_a_program(project):
    project.write("scripts/check.sh", "#!/bin/sh\nexit 0\n").chmod(0o755)
    tools = {"x": {"kind": "process", "description": "d", "effect": "none", "command": ["scripts/check.sh"]}}
    project.scripted([reply("fine")], agent={"tools": ["x"]}, tools=tools)
    assert rows(doctor(project))["tool", "x"]["seen"] == "scripts/check.sh, in its sandbox"


def test_the_programs_of_contracts_are_looked_for_too(project):
    agents = {"good": {"system": "s", "output": {"command": ["grep", "-q", "x"]}}, "bad": {"system": "s", "output": {"command": ["no-such-checker", "x"]}}}
    project.scripted([reply("fine")], agents=agents)
    found = rows(doctor(project, status=1))
    assert found["contract", "good"]["state"] == "ok" and found["contract", "good"]["seen"].endswith("/grep, in its sandbox")
    row = found["contract", "bad"]
    assert row["state"] == "fail" and 'no program "no-such-checker" inside of its sandbox' in row["seen"] and "output" in row["todo"], row
    assert found["sandbox", "bubblewrap"]["state"] == "ok"


# --- the journal -------------------------------------------------------------------------------------------------------------------------------


def contents(folder):
    return {path.relative_to(folder): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_nothing_of_it_leaves_a_mark(project):
    project.scripted([reply("fine")], tools={"grep": {"kind": "process", "description": "d", "effect": "none", "command": ["grep", "x"]}})
    before = contents(project.folder)
    found = rows(doctor(project))
    assert contents(project.folder) == before and not (project.folder / ".troupe").exists()
    assert "first run makes it" in [row for (kind, _), row in found.items() if kind == "journal"][0]["seen"]
    project.run("--id", "R1").expect(0)
    events = project.events("R1")
    runs = project.troupe("runs", "troupe.yaml", "--json").expect(0).doc
    names = sorted(path.name for path in (project.folder / ".troupe").iterdir())
    database = (project.folder / ".troupe/journal.db").read_bytes()
    found = rows(doctor(project))
    assert any("R1" in row["seen"] for (kind, _), row in found.items() if kind == "journal")
    assert (project.folder / ".troupe/journal.db").read_bytes() == database
    assert project.events("R1") == events and project.troupe("runs", "troupe.yaml", "--json").expect(0).doc == runs
    assert sorted(path.name for path in (project.folder / ".troupe").iterdir()) == names


@pytest.mark.parametrize("log", [False, True], ids=["alone", "with its log"])
def test_a_journal_that_was_brought_here_is_looked_at_only(log, project):
    project.scripted([{**reply("fine", when={"agent": "worker"}), "latency": "60s" if log else "0s"}, reply("fine")])
    if log:  # a process that was killed leaves what it wrote in the log
        running = project.start()
        wait_for(lambda: project.troupe("runs", "troupe.yaml", "--json").expect(0).doc["runs"], "the run")
        running.kill()
    else:
        project.run("--id", "R1").expect(0)
    for suffix in ("-lock", "-shm"):
        (project.folder / (".troupe/journal.db" + suffix)).unlink(missing_ok=True)
    before = contents(project.folder)
    assert (".troupe/journal.db-wal" in map(str, before)) == log
    found = rows(doctor(project))
    assert any("R1" in row["seen"] for (kind, _), row in found.items() if kind == "journal")
    assert contents(project.folder) == before


def test_a_journal_that_does_not_open_is_4(project):
    project.scripted([reply("fine")])
    project.write(".troupe/journal.db", "this is no database, and long enough to be read as one" * 100)
    before = contents(project.folder)
    told = doctor(project, status=4)
    assert contents(project.folder) == before
    assert not told.doc["works"] and any(row["kind"] == "journal" and row["state"] == "fail" for row in told.doc["checks"])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_4(project):
    project.scripted([reply("fine")], journal={"kind": "sqlite", "path": "/proc/journal.db"})
    doctor(project, status=4)


def test_a_wrong_configuration_is_2(project):
    project.scripted([reply("fine")], nonsense=1)
    project.troupe("doctor", "troupe.yaml").expect(2)


# --- the table -----------------------------------------------------------------------------------------------------------------------------------


def test_the_table_says_what_state_and_what_to_do(project):
    project.scripted([reply("fine")], agent={"tools": ["gone"]}, tools={"gone": {"kind": "process", "description": "d", "effect": "none", "command": ["no-such-program"]}})
    told = project.troupe("doctor", "troupe.yaml").expect(1)
    lines = told.stdout.splitlines()
    assert re.match(r"WHAT +STATE +WHAT WAS SEEN", lines[0])
    assert any(re.match(r"tool gone +fail +there is no program", line) for line in lines), told
    assert any("→ install it" in line for line in lines) and re.match(r"troupe.yaml: \d+ work, \d+ with a warning, 1 do not", lines[-1])


def test_the_page_shows_what_is_printed(project):
    page = (ROOT / "docs/doctor.md").read_text()
    written, printed = (re.search(rf"^```{language}\n(.*?)^```", page, re.M | re.S).group(1) for language in ("yaml", "text"))
    project.write("report.yaml", written)
    project.write("report.script.yaml", "version: 1\nrules:\n  - when: { any: true }\n    reply: { text: A report. }\n")
    project.write("data/a.txt", "")
    told = project.troupe("doctor", "report.yaml", env={"TICKETS_TOKEN": "0123456789"}).expect(1)

    def fixed(text):
        return [re.sub(r"\d+ (ms|GiB|MiB)", r"N \1", line) for line in text.splitlines() if "control groups" not in line]

    assert fixed(told.stdout) == fixed(printed)


def test_text_from_outside_does_not_drive_the_terminal(project, odd_server):
    server = odd_server([], then=http_answer(400, {"error": {"message": "\x1b[2Jgone\u202e"}}))
    project.on(server.provider(stream=False), model={"link": {"usd_per_mtok": "free"}})
    told = project.troupe("doctor", "troupe.yaml").expect(1)
    assert "\x1b" not in told.stdout and "\u202e" not in told.stdout


def test_the_document_holds_what_the_table_holds(project):
    project.scripted([reply("fine")])
    document = json.loads(doctor(project).stdout)
    assert set(document) == {"works", "cost_usd", "checks"} and all(set(row) == {"kind", "name", "state", "seen", "todo"} for row in document["checks"])


# --- MCP servers ---------------------------------------------------------------------------------------------------------------------------------


def mcp_program(project, *options, **more):
    """An entry whose server keeps its state in the project's folder."""
    shutil.copy(ROOT / "tests/e2e/mcp_server.py", project.folder / "mcp_server.py")
    (project.folder / "state").mkdir(exist_ok=True)
    return {"kind": "mcp", "command": ["python3", "mcp_server.py", *options, "state"], "sandbox": {"write": ["state"]}, **more}


def mcp_row(project, entry, status=0, env=None):
    project.scripted([reply("fine")], agent={"tools": ["s"]}, tools={"s": entry})
    return rows(doctor(project, status=status, env=env))["tool", "s"]


def nobody_left(project):
    """No process whose folder or arguments are this project's: servers run in it, their sandboxes name it."""
    in_it = [pid for pid in processes_with("") if folder_of(pid) == os.path.realpath(project.folder)]
    return not in_it and not processes_with(str(project.folder))


def folder_of(pid):
    try:
        return os.readlink(f"/proc/{pid}/cwd")
    except OSError:  # it has ended, or is not ours to look at
        return None


@pytest.mark.parametrize("options, version", [((), "2025-06-18"), (("--modern",), "2026-07-28")], ids=["legacy", "modern"])
def test_an_mcp_program_tells_its_tools_and_is_asked_to_go(options, version, project):
    row = mcp_row(project, mcp_program(project, *options))
    assert row["state"] == "ok" and re.fullmatch(rf"an MCP server with 6 tools, speaks {version}, after \d+ ms", row["seen"]), row
    assert project.read("state/ends") == "eof\n" and nobody_left(project)
    assert not (project.folder / "state/notes").exists() and not (project.folder / ".troupe").exists(), "nothing is called, nothing is let in"


@pytest.mark.parametrize("stream", [True, False])
def test_an_mcp_server_over_http_tells_its_tools(stream, project):
    there = McpHttpServer(stream=stream)
    row = mcp_row(project, {"kind": "mcp", "url": there.url})
    there.close()
    assert row["state"] == "ok" and row["seen"].startswith("an MCP server with 1 tool, speaks 2025-11-25, after "), row
    assert "tools/call" not in [method for method, _ in there.requests]


def test_an_mcp_server_that_wants_a_login_says_how(project):
    there = McpHttpServer(token="nobody has it")
    row = mcp_row(project, {"kind": "mcp", "url": there.url}, status=1)
    assert row["state"] == "fail" and row["todo"] == "troupe mcp login CONFIG s", row
    row = mcp_row(project, {"kind": "mcp", "url": there.url, "token_env": "SERVER_TOKEN"}, status=1, env={"SERVER_TOKEN": "another-t0ken"})
    there.close()
    assert row["state"] == "fail" and "SERVER_TOKEN" in row["todo"] and "another-t0ken" not in str(row), row


def test_an_mcp_server_is_logged_in_to_and_then_works(project):
    there = McpHttpServer(token="nobody has it")
    entry = {"kind": "mcp", "url": there.url}
    mcp_row(project, entry, status=1)
    project.troupe("mcp", "login", "troupe.yaml", "s", "--browser", ROOT / "tests/conformance/mcp/browser.py").expect(0)
    told = doctor(project)
    there.close()
    assert rows(told)["tool", "s"]["state"] == "ok" and there.token not in told.stdout + told.stderr


@pytest.mark.parametrize("entry, seen, todo", [
    ({"command": ["no-such-server"]}, 'no program "no-such-server"', "install it"),
    ({"command": ["sh", "-c", "echo went wrong >&2; exit 3"]}, "ended with exit status 3; its standard error ends with: went wrong", "start it by hand"),
    ({"command": ["sleep", "300"], "start_timeout": "300ms"}, "did not answer within 300 ms", "start_timeout is its time (300 ms)"),
    ({"command": ["sh", "-c", "echo hello; sleep 300"]}, "sent what is no message", "start it by hand"),
    ({"url": "http://127.0.0.1:9/mcp"}, "127.0.0.1", "url is right"),
], ids=["absent", "ends", "silent", "garbage", "nobody"])
def test_an_mcp_server_that_does_not_work_is_told_with_what_to_do(entry, seen, todo, project):
    row = mcp_row(project, {"kind": "mcp", **entry}, status=1)
    assert row["state"] == "fail" and seen in row["seen"] and todo in row["todo"], row
    wait_for(lambda: nobody_left(project), "nobody")


def test_tools_of_an_mcp_server_that_changed_are_held(project):
    entry = mcp_program(project)
    project.scripted([reply("fine")], agent={"tools": ["s"]}, tools={"s": entry})
    project.run("--id", "R1").expect(0)
    project.write("state/description", "POISON")
    pins = project.read(".troupe/mcp-tools.json")
    told = doctor(project)
    row = rows(told)["tool", "s"]
    assert row["state"] == "warn" and "held: echo" in row["seen"] and "troupe mcp approve CONFIG s" in row["todo"] and "POISON" not in told.stdout, row
    assert project.read(".troupe/mcp-tools.json") == pins
    project.troupe("mcp", "approve", "troupe.yaml", "s").expect(0)
    assert rows(doctor(project))["tool", "s"]["state"] == "ok"


def test_a_tool_that_an_mcp_server_does_not_offer_is_told(project):
    row = mcp_row(project, mcp_program(project, tools=["ecko"]), status=1)
    assert row["state"] == "fail" and 'no tool named "ecko"; did you mean "echo"?' in row["seen"] and "mcp tools CONFIG s" in row["todo"], row


def test_mcp_servers_are_tried_at_once_and_one_that_nobody_uses_is_a_warning(project):
    silent = {"kind": "mcp", "command": ["sleep", "300"], "start_timeout": "2s"}
    project.scripted([reply("fine")], tools={f"s{n}": silent for n in range(4)})
    told = doctor(project)
    assert told.seconds < 6 and all(rows(told)["tool", f"s{n}"]["state"] == "warn" for n in range(4)), told
