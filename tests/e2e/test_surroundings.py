"""Folders, terminals, logs, and secrets in them."""
import json
import os
import pty
import subprocess

import pytest

from conftest import BINARY, calls, clean_environment, reply


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


def on_terminal(project, *args, **env):
    """Runs on a pseudo-terminal; returns status and what was shown."""
    main, side = pty.openpty()
    child = subprocess.Popen([BINARY, *args], cwd=project.folder, env=clean_environment(TERM="xterm", **env), stdin=side, stdout=side, stderr=side)
    os.close(side)
    shown = b""
    while True:
        try:
            piece = os.read(main, 65536)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    os.close(main)
    return child.wait(10), shown.decode("utf-8", "replace")


def test_a_run_on_a_terminal(project):
    project.scripted([reply("the result", latency="300ms")])
    status, shown = on_terminal(project, "run", "troupe.yaml", "job")
    assert status == 0 and "the result" in shown and "worker" in shown
    status, plain = on_terminal(project, "validate", "troupe.yaml", NO_COLOR="1")
    assert status == 0 and "\x1b[3" not in plain


def test_the_model_cannot_drive_the_terminal(project):
    project.scripted([reply("\x1b]0;owned\x07\x1b[2J text")])
    told = project.troupe("run", "troupe.yaml", "job", "--id", "R1").expect(0)
    assert "\x1b" not in told.stderr
    assert "\x1b" not in project.troupe("show", "troupe.yaml", "R1").stdout


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
