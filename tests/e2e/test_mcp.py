"""MCP servers: their tools, and what happens when they misbehave (SEMANTICS 4)."""
import json
import os
import pathlib
import shutil
import socket
import subprocess

import pytest

from conftest import ROOT, calls, nobody, npm_packages, openai_answer, reply, wait_for
from mcp_http_server import McpHttpServer
from test_tools import results

SERVER = pathlib.Path(__file__).resolve().parent / "mcp_server.py"


@pytest.fixture(params=["modern", "legacy"])
def server(project, request):
    """An entry of `tools` whose server keeps its state in the project's folder; both eras of the protocol."""
    shutil.copy(SERVER, project.folder / "mcp_server.py")
    (project.folder / "state").mkdir()

    def entry(**more):
        command = ["python3", "mcp_server.py", *(["--modern"] if request.param == "modern" else []), "state"]
        return {"kind": "mcp", "command": command, "sandbox": {"write": ["state"]}, "retries": 0, **more}

    return entry


def use(project, entry, *rounds, **sections):
    """One step for each round of calls; what the model was told of each."""
    rules = [calls(*each, when={"turn": turn}) for turn, each in enumerate(rounds, 1)]
    project.scripted([*rules, reply("done")], agent={"tools": ["s"]}, tools={"s": entry}, **sections)
    project.run("--id", "R1").expect(0)
    return results(project)


def test_tools_of_a_server_are_called_by_the_servers_names(project, server):
    told = use(project, server(), [("echo", {"text": "hello"}), ("note", {"text": "a"})])
    assert [each["text"] for each in told] == ["hello", "noted"]
    assert project.read("state/notes").split()[1].startswith("R1/")  # the idempotency key
    assert {each["tool"]: each["effect"] for each in project.events("R1", "tool_started")} == {"echo": "none", "note": "once"}
    assert project.read("state/ends") == "eof\n"  # it was asked to go, not killed


def test_arguments_are_checked_before_the_server_sees_them(project, server):
    told = use(project, server(), [("note", {"words": "a"})])
    assert told[0]["status"] == "not_started" and not (project.folder / "state/notes").exists()


def test_a_call_that_times_out_fails_alone(project, server):
    """Also where a ping is due in less time: a slow tool does not make its server one that hangs."""
    told = use(project, server(timeout="700ms", ping="500ms"), [("slow", {}), ("echo", {"text": "hello"})], [("echo", {"text": "again"})])
    assert [each["status"] for each in told] == ["in_doubt", "ok", "ok"]
    assert project.count("R1", "outcome_unknown") == 1
    assert len(project.read("state/starts").split()) == 1 and len(project.read("state/cancelled").split()) == 1


@pytest.mark.parametrize("how", ["hang", "mute"])
def test_a_server_that_hangs_is_started_again(how, project, server):
    """With a timeout as long as the ping, as by default: no call lasts long enough to see it. In the sandbox nobody sees its output closed."""
    later = [[("echo", {"text": str(time)})] for time in range(3)]
    told = use(project, server(timeout="1500ms", ping="1500ms", retries=2), [("slow", {"all": how})], *later)
    assert [told[0]["status"], told[-1]["text"]] == ["in_doubt", "2"], told
    assert len(project.read("state/starts").split()) == 2


def test_a_server_that_closes_its_output_is_gone(project, server):
    rules = [calls(("slow", {"all": "mute"})), calls(("echo", {"text": "back"}), when={"turn": 2}), reply("{{ last }}")]
    project.scripted(rules, agent={"tools": ["s"]}, tools={"s": {**server(), "sandbox": "off"}})
    ended = project.run("--id", "R1").expect(0)
    assert ended.doc["result"] == "back" and ended.doc["in_doubt"] == 1 and ended.seconds < 10
    assert 'MCP server "s" closed its standard output; it is opened again' in ended.stderr
    assert len(project.read("state/starts").split()) == 2


@pytest.mark.parametrize("effect, doubts", [("none", None), ("idempotent", None), ("once", 1)])
def test_only_a_call_that_must_not_be_repeated_is_counted_in_doubt(effect, doubts, project, server):
    project.scripted([calls(("die", {})), reply("done")], agent={"tools": ["s"]}, tools={"s": server(retries=1, overrides={"die": {"effect": effect}})})
    document = project.run("--id", "R1").expect(0).doc
    assert document.get("in_doubt") == doubts
    assert project.count("R1", "tool_started") == (1 if doubts else 2)


def test_garbage_restarts_that_server_and_tells_those_in_flight(project, server):
    told = use(project, server(), [("slow", {}), ("garbage", {})], [("echo", {"text": "back"})])
    assert [each["status"] for each in told] == ["in_doubt", "in_doubt", "ok"]
    assert len(project.read("state/starts").split()) == 2


def test_a_server_that_dies_is_started_again(project, server):
    told = use(project, server(), [("die", {})], [("echo", {"text": "back"})])
    assert told[0]["status"] == "in_doubt" and told[1]["text"] == "back"


def test_a_server_that_dies_and_dies_is_left_alone(project, server):
    rounds = [[("die", {"time": time})] for time in range(3)] + [[("echo", {"text": "back"})]]
    told = use(project, server(max_restarts=2), *rounds)
    assert "left alone" in told[-1]["text"]
    assert len(project.read("state/starts").split()) == 3


def test_a_tool_that_changes_while_it_is_used_is_held(project, server):
    # Its list is read again beside what goes on: on a busy machine that takes more than one call.
    meanwhile = [[("note", {"text": str(time)})] for time in range(5)]
    told = use(project, server(), [("echo", {"text": "before"})], [("change", {})], *meanwhile, [("echo", {"text": "after"})])
    assert told[0]["status"] == "ok" and told[-1]["status"] == "failed" and "held" in told[-1]["text"]


def test_a_tool_that_changed_between_runs_is_held_until_a_human_approves_it(project, server):
    use(project, server(), [("echo", {"text": "a"})])
    project.write("state/description", "POISON")
    again = project.run("--id", "R2").expect(0)
    told = project.events("R2", "tool_finished")[0]
    assert told["status"] != "ok" and "troupe mcp approve CONFIG s" in told["text"]
    requests = json.dumps(project.events("R2"))
    assert "POISON" not in requests
    shown = project.troupe("mcp", "tools", "troupe.yaml", "s").expect(0).stdout
    assert "echo  held" in shown and "POISON" in shown and "Says it again." in shown
    project.troupe("mcp", "approve", "troupe.yaml", "s", "echo").expect(0)
    project.run("--id", "R3").expect(0)
    assert project.events("R3", "tool_finished")[0]["status"] == "ok"
    assert oct(os.stat(project.folder / ".troupe/mcp-tools.json").st_mode & 0o777) == "0o600"


def test_a_tool_that_is_taken_away_says_so(project, server):
    use(project, server(), [("echo", {"text": "a"})])
    project.write("state/without_note", "")
    project.scripted([calls(("note", {"text": "a"})), reply("done")], agent={"tools": ["s"]}, tools={"s": server(tools=["note"])})
    refused = project.run("--id", "R2").expect(2)
    assert 'offers no tool named "note"' in refused.stderr


def test_only_the_tools_that_the_entry_names_are_offered(project, server):
    told = use(project, server(tools=["echo"]), [("note", {"text": "a"}), ("echo", {"text": "b"})])
    assert told[0]["status"] == "not_started" and told[1]["text"] == "b"
    assert not (project.folder / "state/notes").exists()


def test_a_server_that_cannot_be_started_is_an_error_at_the_start(project):
    project.scripted([reply("done")], agent={"tools": ["s"]}, tools={"s": {"kind": "mcp", "command": ["no-such-server"]}})
    refused = project.run("--id", "R1")
    assert refused.status == 2 and 'there is no program "no-such-server"' in refused.stderr
    project.scripted([reply("done")], agent={"tools": ["s"]}, tools={"s": {"kind": "mcp", "command": ["sh", "-c", "echo went wrong >&2; exit 3"]}})
    refused = project.run("--id", "R1").expect(4)
    assert 'MCP server "s" ended with exit status 3' in refused.stderr and "went wrong" in refused.stderr


def test_a_server_that_says_nothing_is_waited_for_once(project):
    project.scripted([reply("done")], agent={"tools": ["s"]}, tools={"s": {"kind": "mcp", "command": ["sleep", "300"], "start_timeout": "4s"}})
    told = project.run().expect(4)
    assert "did not answer within 4000 ms" in told.stderr and 4 <= told.seconds < 7


def test_a_server_sees_only_what_its_sandbox_lets_it_see(project, server):
    (project.folder / "secret").mkdir()
    entry = server()
    entry["sandbox"] = {}
    project.scripted([reply("done")], agent={"tools": ["s"]}, tools={"s": entry})
    assert "Read-only file system" in project.run("--id", "R1").expect(4).stderr


def test_one_call_from_the_command_line(project, server):
    project.scripted([reply("done")], agent={"tools": ["s"]}, tools={"s": server()})
    assert project.troupe("mcp", "call", "troupe.yaml", "s", "echo", "--arguments", '{"text": "hello"}').expect(0).stdout == "hello\n"
    assert 'did you mean "echo"' in project.troupe("mcp", "call", "troupe.yaml", "s", "ecko").expect(2).stderr


# --- over HTTP --------------------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def remote():
    started = []

    def start(**more):
        started.append(McpHttpServer(**more))
        return started[-1]

    yield start
    for each in started:
        each.close()


@pytest.mark.parametrize("stream", [True, False])
def test_a_remote_server_is_called_in_its_session(project, remote, stream):
    there = remote(stream=stream)
    told = use(project, {"kind": "mcp", "url": there.url, "retries": 0}, [("count", {})], [("count", {"again": 1})])
    assert [each["text"] for each in told] == ["call 1 of session-1", "call 2 of session-1"]
    headers = [headers for method, headers in there.requests if method == "tools/call"]
    assert headers[0]["MCP-Protocol-Version"] == "2025-11-25" and headers[0]["Mcp-Session-Id"] == "session-1"


def test_nothing_is_asked_before_a_remote_server_has_taken_the_end_of_the_handshake(project, remote):
    there = remote(greeting_seconds=0.3)
    assert use(project, {"kind": "mcp", "url": there.url, "retries": 0}, [("count", {})])[0]["text"] == "call 1 of session-1"
    assert [method for method, _ in there.requests if method][1:4] == ["initialize", "notifications/initialized", "tools/list"]


def test_an_expired_session_is_opened_again_and_the_call_is_made_once(project, remote):
    there = remote(calls_in_a_session=1)
    told = use(project, {"kind": "mcp", "url": there.url, "retries": 0}, [("count", {})], [("count", {"again": 1})])
    assert [each["text"] for each in told] == ["call 1 of session-1", "call 2 of session-2"]


def test_a_server_that_forgets_every_session_is_given_up(project, remote):
    project.scripted([reply("done")], agent={"tools": ["s"]}, tools={"s": {"kind": "mcp", "url": remote(forgetful=True).url}})
    assert "forgets its sessions" in project.run("--id", "R1").expect(4).stderr


def test_a_token_comes_from_the_environment_and_is_seen_nowhere(project, remote):
    there = remote(token="t0ken-of-the-server")
    project.scripted([calls(("count", {})), reply("{{ last }}")], agent={"tools": ["s"]}, tools={"s": {"kind": "mcp", "url": there.url, "token_env": "SERVER_TOKEN"}})
    assert project.run("--id", "R1", env={"SERVER_TOKEN": "t0ken-of-the-server"}).expect(0).doc["result"] == "call 1 of session-1"
    refused = project.run("--id", "R2", env={"SERVER_TOKEN": "another-t0ken"})
    assert refused.status != 0 and "does not take our token" in refused.stderr and "another-t0ken" not in refused.stderr
    assert "t0ken-of-the-server" not in project.troupe("show", "troupe.yaml", "R1", "--events").stdout


def test_a_token_that_can_be_none_is_told_as_that(project, remote):
    there = remote(token="t0ken-of-the-server")
    project.scripted([reply("done")], agent={"tools": ["s"]}, tools={"s": {"kind": "mcp", "url": there.url, "token_env": "SERVER_TOKEN"}})
    told = project.run(env={"SERVER_TOKEN": "t0ken-of-the-server\n"})
    assert told.status != 0 and "SERVER_TOKEN, which `token_env` names, ends with a line break" in told.stderr and "t0ken" not in told.stderr
    assert there.requests == []


def test_a_secret_that_a_server_says_of_its_tools_reaches_neither_model_nor_file(project, remote, odd_server):
    there, model = remote(token="t0ken-of-the-server"), odd_server([openai_answer("done")])
    there.repeats = True
    project.on(model.provider(stream=False), agent={"tools": ["s"]}, tools={"s": {"kind": "mcp", "url": there.url, "token_env": "TOKEN"}})
    project.run("--id", "R1", env={"TOKEN": "t0ken-of-the-server"}).expect(0)
    declared = json.dumps(model.requests[0][1])
    assert "Counts. For Bearer [redacted]" in declared and "All. For Bearer [redacted]" in declared and "t0ken" not in declared
    assert "[redacted]" in project.read(".troupe/mcp-tools.json") and "t0ken" not in project.read(".troupe/mcp-tools.json")


def test_a_server_that_wants_a_login_says_how(project, remote):
    there = remote(token="x")
    project.scripted([reply("done")], agent={"tools": ["s"]}, tools={"s": {"kind": "mcp", "url": there.url}})
    refused = project.run("--id", "R1").expect(4)
    assert "troupe mcp login CONFIG s" in refused.stderr


@pytest.mark.parametrize("command", ["tools", "approve", "login", "call"])
def test_a_server_that_is_not_there_is_status_4_for_every_command(command, project):
    project.scripted([reply("done")], agent={"tools": ["s"]}, tools={"s": {"kind": "mcp", "url": nobody() + "/mcp"}})
    told = project.troupe("mcp", command, "troupe.yaml", "s", *(["x"] if command == "call" else [])).expect(4)
    assert '"s"' in told.stderr


def test_a_human_logs_in_once_and_tokens_are_renewed_and_seen_nowhere(project, remote):
    there = remote(token="nobody has it")
    project.scripted([calls(("count", {})), reply("{{ last }}")], agent={"tools": ["s"]}, tools={"s": {"kind": "mcp", "url": there.url}})
    login = project.troupe("mcp", "login", "troupe.yaml", "s", "--browser", ROOT / "tests/conformance/mcp/browser.py").expect(0)
    assert there.asked["code_challenge_method"] == "S256" and there.asked["resource"] == there.url and there.asked["scope"] == "files:read"
    tokens = project.folder / ".troupe/mcp-tokens.json"
    assert oct(tokens.stat().st_mode & 0o777) == "0o600" and there.token in tokens.read_text()
    first = project.run("--id", "R1").expect(0)
    there.token = "it has another one now"  # the old one is refused: the refresh token gets the next
    second = project.run("--id", "R2").expect(0)
    assert [form["grant_type"] for form in there.forms] == ["authorization_code", "refresh_token"] and second.doc["result"].startswith("call 2")
    for done in (login, first, second, project.troupe("show", "troupe.yaml", "R2", "--events"), project.troupe("mcp", "tools", "troupe.yaml", "s")):
        assert not any(secret in done.stdout + done.stderr for secret in ("access-t0ken", "refresh-t0ken", "s3cret", "the-c0de"))
    project.troupe("mcp", "logout", "troupe.yaml", "s").expect(0)
    assert project.run("--id", "R3").status != 0 and "t0ken" not in tokens.read_text()


def log_in(project):
    return project.troupe("mcp", "login", "troupe.yaml", "s", "--browser", ROOT / "tests/conformance/mcp/browser.py").expect(0)


def test_a_refresh_token_that_was_exchanged_is_kept_for_the_next_time(project, remote):
    there = remote(token="nobody has it", rotates=True)
    project.scripted([calls(("count", {})), reply("{{ last }}")], agent={"tools": ["s"]}, tools={"s": {"kind": "mcp", "url": there.url}})
    log_in(project)
    for number in (1, 2):
        there.token = f"another one {number}"
        project.run("--id", f"R{number}").expect(0)
    assert [form.get("refresh_token") for form in there.forms] == [None, "refresh-t0ken-1", "refresh-t0ken-2"]


def test_calls_that_are_refused_together_redeem_one_refresh_token(project, remote):
    """Redeemed twice it would count as stolen, and the login would be over."""
    there = remote(token="nobody has it", rotates=True)
    project.scripted([calls(*[("count", {})] * 2, latency="1s"), reply("{{ last }}")], agent={"tools": ["s"]}, tools={"s": {"kind": "mcp", "url": there.url}})
    log_in(project)
    running = project.start("--json")
    wait_for(lambda: project.troupe("show", "troupe.yaml", "R1", "--events").stdout.count('"llm_requested"') == 1, "the first step")
    there.token = "expired"
    running.wait().expect(0)
    assert [form.get("refresh_token") for form in there.forms] == [None, "refresh-t0ken-1"]
    assert [event["status"] for event in project.events("R1", "tool_finished")] == ["ok"] * 2


def test_a_token_that_a_server_repeats_is_not_shown(project, remote):
    there = remote(token="nobody has it")
    there.repeats = True
    project.scripted([calls(("count", {})), reply("{{ last }}")], agent={"tools": ["s"]}, tools={"s": {"kind": "mcp", "url": there.url}})
    log_in(project)
    done = project.run("--id", "R1").expect(0)
    assert done.doc["result"] == "call 1 of session-1 with Bearer [redacted]"
    assert "t0ken" not in done.stdout + done.stderr + json.dumps(project.events("R1"))


def test_a_client_is_used_again_at_its_own_issuer_only(project, remote):
    there = remote(token="nobody has it")
    entry = {"kind": "mcp", "url": there.url, "oauth": {"redirect": f"127.0.0.1:{free_port()}"}}
    project.scripted([reply("done")], agent={"tools": ["s"]}, tools={"s": entry})
    log_in(project)
    log_in(project)
    assert there.registered == 1
    there.issuer = there.url.removesuffix("/mcp").replace("127.0.0.1", "localhost")
    log_in(project)
    assert there.registered == 2


def test_a_server_that_is_not_there_is_a_service_that_cannot_be_reached(project):
    project.scripted([reply("done")], agent={"tools": ["s"]}, tools={"s": {"kind": "mcp", "url": "http://127.0.0.1:9/mcp"}})
    assert 'MCP server "s"' in project.run("--id", "R1").expect(4).stderr


def test_validate_says_what_cannot_be(project):
    wrong = {
        "both": {"kind": "mcp", "url": "https://example.com", "command": ["x"]},
        "plain": {"kind": "mcp", "url": "http://example.com/mcp", "token_env": "T"},
        "local": {"kind": "mcp", "command": ["x"], "token_env": "T"},
        "said": {"kind": "mcp", "command": ["x"], "tools": ["a"], "overrides": {"b": {"risk": "low"}}},
        "other": {"kind": "process", "description": "x", "command": ["x"], "effect": "none", "alternative": "said"},
    }
    project.scripted([reply("done")], tools=wrong)
    told = project.troupe("validate", "troupe.yaml").expect(2).stderr
    for words in ("exactly one of command", "use https://", "only a remote server", 'tools does not offer "b"', "and no tool"):
        assert words in told, told


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def accepts(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    except OSError:
        return False


# --- servers that nobody here wrote ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def packages():
    """A folder with @modelcontextprotocol/server-everything and server-filesystem."""
    return npm_packages(ROOT / "tests" / "conformance" / "mcp", ROOT / "build" / "mcp_conformance")


def package_server(packages, name, *arguments, **more):
    program = packages / "node_modules" / "@modelcontextprotocol" / name / "dist" / "index.js"
    return {"kind": "mcp", "command": ["node", str(program), *arguments], "sandbox": {"read": [str(packages)], **more.pop("sandbox", {})}, **more}


def test_server_filesystem_reads_a_file(project, packages):
    (project.folder / "data").mkdir()
    project.write("data/note.txt", "the disk was full at 03:12")
    told = use(project, package_server(packages, "server-filesystem", "./data", tools=["read_text_file", "write_file"]),
               [("read_text_file", {"path": "note.txt"}), ("write_file", {"path": "new.txt", "content": "x"})], checkpoint={"timeout": "200ms"})
    assert told[0]["text"] == "the disk was full at 03:12"
    assert told[1]["status"] == "not_started" and "Auto-rejected: approval timeout" in told[1]["text"]  # its destructiveHint: a human is asked
    low = package_server(packages, "server-filesystem", "./data", tools=["read_text_file", "write_file"], overrides={"write_file": {"risk": "low"}}, retries=0)
    project.scripted([calls(("write_file", {"path": "new.txt", "content": "x"})), reply("done")], agent={"tools": ["s"]}, tools={"s": low})
    project.run("--id", "R2").expect(0)
    assert "read-only file system" in project.events("R2", "tool_finished")[0]["text"]  # nothing lets it write there
    assert [each["effect"] for each in project.events("R1", "tool_started") + project.events("R2", "tool_started")] == ["none", "idempotent"]


def test_server_everything_over_standard_streams(project, packages):
    told = use(project, package_server(packages, "server-everything"),
               [("echo", {"message": "hello"}), ("get-sum", {"a": 2, "b": 3}), ("get-tiny-image", {}), ("get-structured-content", {"location": "Chicago"}),
                ("trigger-long-running-operation", {"duration": 1, "steps": 2})])
    words = [each["text"] for each in told]
    assert [each["status"] for each in told] == ["ok"] * 5
    assert words[0] == "Echo: hello" and "5" in words[1] and "image/png" in words[2] and "temperature" in words[3] and "completed" in words[4]


def test_server_everything_over_http(project, packages):
    port = free_port()
    process = subprocess.Popen(["node", str(packages / "node_modules/@modelcontextprotocol/server-everything/dist/index.js"), "streamableHttp"],
                               env={**os.environ, "PORT": str(port)}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        wait_for(lambda: accepts(port), "the server")
        told = use(project, {"kind": "mcp", "url": f"http://127.0.0.1:{port}/mcp"}, [("echo", {"message": "hello"}), ("get-sum", {"a": 2, "b": 3})],
                   [("trigger-long-running-operation", {"duration": 1, "steps": 2})])
        assert [each["status"] for each in told] == ["ok"] * 3 and told[0]["text"] == "Echo: hello"
    finally:
        process.kill()
        process.wait()
