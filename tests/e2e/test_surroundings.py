"""Folders, terminals, logs, and secrets in them."""
import fcntl
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import termios
import unicodedata

import pytest

from conftest import BINARY, DEADLINE, ROOT, calls, clean_environment, http_answer, openai_answer, reply


def test_paths_are_relative_to_the_configuration(project, troupe):
    project.write("data/a.txt", "alpha")
    project.scripted([calls(("read_file", {"path": "a.txt"})), reply("{{ last }}")], agent={"tools": ["read_file"]}, tools={"read_file": {"kind": "builtin", "root": "./data"}})
    told = troupe("run", project.folder / "troupe.yaml", "job", "--json", cwd="/").expect(0)
    assert "alpha" in told.doc["result"]
    assert (project.folder / ".troupe/journal.db").exists() and not os.path.exists("/.troupe")


def test_the_folder_of_the_journal_is_private(project):
    project.scripted([reply("x")])
    project.run().expect(0)
    assert (project.folder / ".troupe/journal.db").stat().st_mode & 0o077 == 0, "prompts and answers are nobody else's"


def read_all(terminal):
    shown = b""
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    os.close(terminal)
    return shown.decode("utf-8", "replace")


def on_terminal(project, *args, window=None, **env):
    """Runs on a pseudo-terminal of so many rows and columns; returns status and what was shown."""
    main, side = pty.openpty()
    if window:
        termios.tcsetwinsize(side, window)
    child = subprocess.Popen([BINARY, *args], cwd=project.folder, env=clean_environment(**{"TERM": "xterm", **env}), stdin=side, stdout=side, stderr=side)
    os.close(side)
    shown = read_all(main)
    return child.wait(10), shown


def test_a_run_on_a_terminal(project):
    project.scripted([reply("the result", latency="300ms")])
    status, shown = on_terminal(project, "run", "troupe.yaml", "job")
    assert status == 0 and "the result" in shown and "worker" in shown
    status, plain = on_terminal(project, "validate", "troupe.yaml", NO_COLOR="1")
    assert status == 0 and "\x1b[3" not in plain


def test_logs_that_were_asked_for_are_shown_on_a_terminal_too(project):
    """Beside lines, then: a board and they would break each other."""
    project.scripted([reply("x", fault={"crash": True, "times": 1}), reply("fine")], supervision={"children": [{"agent": "worker"}]})
    status, shown = on_terminal(project, "--log-level", "info", "run", "troupe.yaml", "job")
    assert status == 0 and "child_terminated" in shown and "worker" in shown and "\x1b[K" not in shown
    status, shown = on_terminal(project, "run", "troupe.yaml", "job")
    assert status == 0 and "child_terminated" not in shown and "\x1b[K" in shown


def test_in_the_background_lines_are_shown_and_no_board(project):
    project.scripted([reply("the result", latency="300ms")])
    shell, main = pty.fork()
    if shell == 0:
        os.chdir(project.folder)
        os.execve("/bin/bash", ["bash", "--norc", "-c", 'set -m; "$TROUPE" run troupe.yaml job & wait'], clean_environment(TERM="xterm", TROUPE=BINARY))
    shown = read_all(main)
    assert os.waitpid(shell, 0)[1] == 0 and "the result" in shown and "\x1b[K" not in shown


def test_a_board_leaves_alone_what_others_wrote_while_it_was_stopped(project):
    project.scripted([reply("the result", latency="2500ms")])
    main, side = pty.openpty()
    child = subprocess.Popen([BINARY, "run", "troupe.yaml", "job"], cwd=project.folder, env=clean_environment(TERM="xterm"), stdin=side, stdout=side, stderr=side)
    seen = ""
    while "asks" not in seen:
        seen += os.read(main, 65536).decode("utf-8", "replace")
    child.send_signal(signal.SIGSTOP)
    os.write(side, b"IMPORTANT\n")
    child.send_signal(signal.SIGCONT)
    os.close(side)
    shown = seen + read_all(main)
    assert child.wait(10) == 0 and "the result" in shown
    behind = shown[shown.index("IMPORTANT"):]
    first = behind.index("\x1b[K")
    assert not re.search(r"\x1b\[\d+A", behind[:first]), behind  # it does not go up over that


def test_time_goes_on_while_a_model_is_silent(project):
    """Nothing happens for seconds: the board is drawn all the same, with the time that has passed."""
    project.scripted([reply("the result", latency="2600ms")])
    status, shown = on_terminal(project, "run", "troupe.yaml", "job", window=(24, 100))
    waiting = [board for board in frames(shown) if "asks" in board[0]]
    times = [re.search(r"worker +([0-9.]+) (ms|s) ", board[0]).groups() for board in waiting]
    assert status == 0 and {1, 2} <= {int(float(time)) for time, unit in times if unit == "s"}, times


def test_the_model_cannot_drive_the_terminal(project):
    project.scripted([reply("\x1b]0;owned\x07\x1b[2J text")])
    told = project.troupe("run", "troupe.yaml", "job", "--id", "R1").expect(0)
    assert "\x1b" not in told.stderr
    assert "\x1b" not in project.troupe("show", "troupe.yaml", "R1").stdout


HOSTILE = "\x1b]0;owned\x07\x1b[2J\r\x9b\u202e\x7f text\n\tof two lines \u65e5\u672c\u8a9e"
SHOWN = "\\x1b]0;owned\\x07\\x1b[2J\\r\\x9b\\u{202e}\\x7f text\n\tof two lines \u65e5\u672c\u8a9e"
DRIVES = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]")


@pytest.mark.parametrize("command, document", [
    (["run", "troupe.yaml", "job"], None), (["resume", "troupe.yaml", "R1"], None), (["run", "troupe.yaml", "job", "--json"], "result"), (["resume", "troupe.yaml", "R1", "--json"], "result"),
    (["show", "troupe.yaml", "R1", "--json"], "result"), (["show", "troupe.yaml", "R1", "--events"], "events"), (["mcp", "call", "troupe.yaml", "files", "echo", "--arguments", json.dumps({"text": HOSTILE})], None)],
    ids=["run", "resume", "run-json", "resume-json", "show-json", "show-events", "mcp-call"])
def test_what_a_model_or_tool_says_does_not_drive_the_terminal(command, document, project):
    """Into a pipe it goes byte for byte; on a terminal control characters are visible, and a JSON document stays the same one."""
    shutil.copy(ROOT / "tests/e2e/mcp_server.py", project.folder)
    (project.folder / "state").mkdir()
    server = {"kind": "mcp", "command": ["python3", "mcp_server.py", "state"], "sandbox": {"write": ["state"]}}
    project.scripted([reply(HOSTILE)], tools={"files": server})
    if command[0] in ("resume", "show"):
        project.run("--id", "R1").expect(0)
    piped = project.troupe(*command).expect(0).stdout
    status, shown = on_terminal(project, *command, NO_COLOR="1")
    shown = shown.replace("\r\n", "\n")
    shown = re.sub("\x1b\\[(\\?(2026|25)[hl]|[0-9]*[AJK])|\r", "", shown)  # the board's
    assert status == 0 and not DRIVES.search(shown), ascii(DRIVES.search(shown))
    if document == "result":
        json_text = shown[shown.index("{\n"):shown.rindex("}\n") + 1]
        assert json.loads(piped)["result"] == json.loads(json_text)["result"] == HOSTILE
    elif document == "events":
        assert json.loads(piped.splitlines()[-1])["result"] == json.loads(shown.splitlines()[-1])["result"] == HOSTILE
    else:
        assert piped == HOSTILE + "\n" and SHOWN + "\n" in shown


# --- the board ------------------------------------------------------------------------------------------------------------------------------------


def columns_of(line):
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 0 if unicodedata.combining(c) else 1 for c in re.sub("\x1b\\[[0-9;]*m", "", line))


def frames(shown):
    """The boards that were drawn, each as its lines."""
    return [[line for line in re.sub("\x1b\\[(\\?25[hl]|[0-9]*[AJK])|\r", "", each).split("\n")[:-1]] for each in re.findall("\x1b\\[\\?2026h(.*?)\x1b\\[\\?2026l", shown, re.S)]


def twelve(project, wide=""):
    agents = {name: {"system": name} for name in ("worker" + wide, "slow")}
    project.scripted([reply("done", when={"agent": "slow"}, latency="600ms"), reply("done \u65e5\u672c\u8a9e", latency="20ms")], agents=agents,
                     tasks=[{"id": f"a{n}", "agent": "slow" if n == 12 else "worker" + wide, "instruction": "x"} for n in range(1, 13)])


@pytest.mark.parametrize("rows, columns", [(12, 60), (6, 60), (24, 40), (3, 20), (40, 200)])
def test_the_board_fits_its_window(rows, columns, project):
    twelve(project, "_of_a_very_long_name")
    status, shown = on_terminal(project, "run", "troupe.yaml", "job", window=(rows, columns))
    boards = frames(shown)
    assert status == 0 and boards
    assert max(len(board) for board in boards) < rows, "one row is the cursor's: else each frame leaves its first rows behind"
    assert max(columns_of(line) for board in boards for line in board) < columns, "a line that wraps is two rows"
    full = next(board for board in reversed(boards) if "11/12 tasks"[:columns - 2] in board[-1])
    told = [line for line in full if re.search(r"… and \d+ more", line)]
    if rows > 13:
        assert not told and len(full) == 13
    else:
        assert "a12" in full[0], "who is at work comes first"
        assert rows == 3 or told == full[-2:-1] and f"and {12 - (len(full) - 2)} more" in told[0]


def test_a_dumb_terminal_gets_plain_lines(project):
    project.scripted([reply("the result")])
    status, shown = on_terminal(project, "run", "troupe.yaml", "job", TERM="dumb")
    assert status == 0 and "\x1b" not in shown and "t [worker] done: the result" in shown and "run started" in shown


def test_logs_are_json_when_asked(project, troupe):
    project.scripted([reply("fine", fault={"crash": True, "times": 1})])
    told = troupe("--log-format", "json", "--log-level", "info", "run", "troupe.yaml", "job", "--json").expect(0)
    assert json.loads(told.stdout)["result"] == "fine"
    logged = [line for line in told.stderr.splitlines() if line.startswith("{")]
    assert logged and all(isinstance(json.loads(line), dict) for line in logged)


def test_a_secret_of_a_tool_is_not_recorded(project):
    secret = "wanted-value-0123456789"
    project.scripted([calls(("env", {})), reply("{{ last }}")], agent={"tools": ["env"]},
                     tools={"env": {"kind": "process", "description": "x", "command": ["env"], "effect": "none", "env_from": ["WANTED"]}})
    told = project.run("--id", "R1", env={"WANTED": secret}).expect(0)
    assert secret not in told.stdout + told.stderr
    assert secret not in project.troupe("show", "troupe.yaml", "R1", "--events").stdout
    for path in (project.folder / ".troupe").iterdir():
        assert secret.encode() not in path.read_bytes(), f"{path.name} holds the secret"


def test_a_long_answer_goes_through(project, mock_llm):
    text = "x" * 60_000
    server = mock_llm([reply(text, usage={"input": 5, "output": 150})])
    project.on(server.provider())
    assert project.run("--id", "R1").expect(0).doc["result"] == text
    shown = project.troupe("show", "troupe.yaml", "R1").expect(0).stdout
    assert len(shown) < 200_000


def test_a_closed_output_does_no_harm(project):
    project.scripted([reply("x" * 1000)])
    project.run("--id", "R1").expect(0)
    done = subprocess.run(["sh", "-c", f'"{BINARY}" show troupe.yaml R1 --events | head -c 10'], cwd=project.folder, env=clean_environment(), capture_output=True, timeout=20)
    assert done.returncode == 0 and len(done.stdout) == 10


# --- standard streams ------------------------------------------------------------------------------------------------------------------------


def test_standard_error_that_nobody_reads_holds_nobody_up(project):
    """More lines than a pipe takes, and then a model that never answers: the run's limit of time holds all the same."""
    project.scripted([
        {"when": {"turn": 4}, "reply": {"text": "never"}, "latency": "60s"},
        calls(*[("calculator", {"expression": f"{i}+{{{{ turn }}}}+" + "0+" * 400 + "0"}) for i in range(100)], when={"any": True}),
    ], agent={"tools": ["calculator"]}, tools={"calculator": {"kind": "builtin"}}, workflow={"budget": {"time": "4s"}})
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
    child = subprocess.Popen([BINARY, "run", "troupe.yaml", "job", "--id", "R1"], cwd=project.folder, env=clean_environment(),
                             stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=write)
    os.close(write)
    assert child.wait(DEADLINE) == 3
    os.close(read)
    assert project.events("R1", "run_finished")[0]["reason"] == "timeout"


@pytest.mark.parametrize("args", [("run", "troupe.yaml", "job", "--json"), ("validate", "troupe.yaml"), ("runs", "troupe.yaml"), ("--help",), ("--version",)])
def test_output_that_cannot_be_written_is_told(args, project):
    project.scripted([reply("fine")])
    project.run().expect(0)
    with open("/dev/full", "w") as full:
        done = subprocess.run([BINARY, *args], cwd=project.folder, env=clean_environment(), stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 4 and "standard output could not be written" in done.stderr


def test_a_reader_that_has_enough_is_no_trouble(project):
    project.scripted([reply("fine")])
    project.run("--id", "R1").expect(0)
    done = subprocess.run(["bash", "-o", "pipefail", "-c", f"{BINARY} show troupe.yaml R1 --events | head -n 1 > /dev/null"],
                          cwd=project.folder, env=clean_environment(), stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_closed_standard_streams_are_not_the_journal(project):
    project.scripted([reply("the result")])
    done = subprocess.run(["bash", "-c", f"exec {BINARY} run troupe.yaml job --id R1 --json <&- >&- 2>&-"], cwd=project.folder, env=clean_environment())
    assert done.returncode == 0
    assert b"the result" not in (project.folder / ".troupe/journal.db-lock").read_bytes()
    assert project.troupe("show", "troupe.yaml", "R1", "--json").expect(0).doc["result"] == "the result"


def test_an_unknown_command_is_named(troupe):
    told = troupe("rnu", "c.yaml").expect(2)
    assert '"rnu"' in told.stderr and 'did you mean "run"' in told.stderr


def test_an_unknown_workflow_is_told_which_there_are(project):
    """Who mistypes is corrected; who guesses sees what there is."""
    project.scripted([reply("done")])
    told = project.run(workflow="jbo").expect(2)
    assert 'no workflow named "jbo"; did you mean "job"?' in told.stderr
    told = project.run(workflow="weather").expect(2)
    assert 'no workflow named "weather"; there are: "job"' in told.stderr


# --- secrets ---------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", ["X-Vendor: ${VENDOR_KEY}", "X-Vendor: Team ${VENDOR_KEY}", "X-Api-Key: literal-key-12345"])
def test_a_secret_of_a_header_that_the_server_says_again_is_redacted(header, project, odd_server):
    name, value = header.split(": ")
    key = "literal-key-12345" if "literal" in value else "vendor-key-12345"
    server = odd_server([http_answer(401, json.dumps({"error": {"message": f"the key {key} is wrong"}}))] * 3)
    project.on({**server.provider(), "headers": {name: value}})
    told = project.run("--id", "R1", env={"VENDOR_KEY": key}).expect(1)
    kept = (project.folder / ".troupe/journal.db").read_bytes()
    events = project.troupe("show", "troupe.yaml", "R1", "--events", env={"VENDOR_KEY": "another"}).expect(0).stdout
    assert "[redacted] is wrong" in events and key not in told.stderr
    if "VENDOR" in value:
        assert key not in events and key.encode() not in kept


def test_a_word_of_a_header_is_not_taken_out_of_answers(project, mock_llm):
    server = mock_llm([reply("the database of the platform-team")])
    project.on({**server.provider(), "headers": {"X-Team": "${TEAM}", "X-Token-Kind": "data"}})
    assert project.run(env={"TEAM": "platform-team"}).expect(0).doc["result"] == "the database of the platform-team"


def test_the_password_of_a_url_is_redacted(project):
    project.on({"kind": "openai", "base_url": "http://user:${PASSWORD}@127.0.0.1:9/v1", "api_key_env": "KEY"})
    told = project.troupe("doctor", "troupe.yaml", "--yes", env={"PASSWORD": "pass-word-77", "KEY": "k-12345"})
    assert "pass-word-77" not in told.stdout + told.stderr


@pytest.mark.parametrize("place", ["base_url", "proxy"])
def test_the_password_of_a_url_is_redacted_as_it_was_sent(place, project, odd_server):
    """Basic sends it in base64, behind the user's name."""
    server = odd_server([], then=lambda connection, server: connection.sendall(http_answer(403, {"error": {"message": server.requests[-1][0].split("uthorization: ")[1].split("\r\n")[0]}})))
    url = server.url.replace("//", "//user:${PASSWORD}@")
    where = {"base_url": url + "/v1"} if place == "base_url" else {"base_url": "http://api.example.invalid/v1", "proxy": url}
    project.on({"kind": "openai", "stream": False, **where})
    told = project.run("--id", "R1", env={"PASSWORD": "pa55%2Fword9"}).expect(1)
    events = project.troupe("show", "troupe.yaml", "R1", "--events", env={"PASSWORD": "another-one"}).expect(0).stdout
    assert "Basic [redacted]" in events and "dXNlcjpwYTU1L3dvcmQ5" not in events + told.stderr


def test_a_key_in_ids_names_and_behind_escapes_is_kept_nowhere(project, odd_server):
    key = "sk-model-knows-key-2"
    hidden = json.dumps({"zone": key}).replace("sk-", "\\u0073k-")
    called = openai_answer(None, tool_calls=[{"id": key, "type": "function", "function": {"name": key, "arguments": "{}"}},
                                             {"id": "c2", "type": "function", "function": {"name": "clock", "arguments": hidden}}])
    server = odd_server([called], then=openai_answer("fine"))
    project.on(server.provider(stream=False, api_key_env="KNOWN_KEY"), agent={"tools": ["clock"]}, tools={"clock": {"kind": "builtin"}})
    project.run("--id", "R1", env={"KNOWN_KEY": key}).expect(0)
    kept = (project.folder / ".troupe/journal.db").read_bytes()
    assert key.encode() not in kept and b"u0073k" not in kept
    assert key not in json.dumps(server.requests[-1][1]) and "u0073k" not in json.dumps(server.requests[-1][1])


def test_a_key_in_the_query_of_an_address_is_kept_nowhere(project, odd_server):
    server = odd_server([], then=openai_answer("you came with ?key=query-key-77"))
    project.on({**server.provider(stream=False), "base_url": server.url + "/v1?key=${QUERY_KEY}"})
    assert project.run("--id", "R1", env={"QUERY_KEY": "query-key-77"}).expect(0).doc["result"] == "you came with ?key=[redacted]"
    assert b"query-key-77" not in (project.folder / ".troupe/journal.db").read_bytes()


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
def test_a_key_that_the_model_says_is_kept_nowhere(kind, project, mock_llm):
    key = "model-knows-key-1"
    server = mock_llm([calls(("clock", {"zone": key}), when={"turn": 1}), reply(f"the key is {key}")])
    project.on({**server.provider(kind), "api_key_env": "THE_KEY"}, agent={"tools": ["clock"]}, tools={"clock": {"kind": "builtin"}})
    told = project.run("--id", "R1", env={"THE_KEY": key}).expect(0)
    assert told.doc["result"] == "the key is [redacted]"
    shown = project.troupe("show", "troupe.yaml", "R1", "--events").expect(0)
    assert key not in shown.stdout and key.encode() not in (project.folder / ".troupe/journal.db").read_bytes()
