"""Tools: real processes and real files (SEMANTICS 4)."""
import json
import os
import re

import pytest

from conftest import calls, is_gone, processes_with, reply, wait_for

STRING = {"type": "object", "required": ["text"], "properties": {"text": {"type": "string"}}}


def process(*command, **more):
    return {"kind": "process", "description": "A program", "command": list(command), "effect": "none", **more}


def use(project, tools, *wanted, agent=None, **more):
    """A run in which the agent asks for these calls at once, then ends. Returns the tool messages in their order."""
    project.scripted([calls(*wanted), reply("done")], agent={"tools": list(tools), **(agent or {})}, tools=tools, **more)
    told = project.run("--id", "R1").expect(0)
    assert told.doc["result"] == "done"
    return [event["text"] for event in results(project)]


def results(project):
    """tool_finished events in the order in which the calls were asked."""
    events = project.events("R1")
    asked = [call["id"] for event in events if event["type"] == "llm_responded" for call in event["message"]["tool_calls"]]
    done = {event["call_id"]: event for event in events if event["type"] == "tool_finished"}
    return [done[one] for one in asked]


# --- processes -------------------------------------------------------------------------------------------------------------------------------


def test_arguments_are_arguments_never_a_shell(project):
    text = "a b; touch hacked $(id) `id` 'x' \"y\" \\ * |"
    tools = {"say": process("printf", "[%s]", "{{ text }}", "x{{ more }}", "{{ more }}", parameters={**STRING, "properties": {"text": {"type": "string"}, "more": {"type": "string"}}})}
    assert use(project, tools, ("say", {"text": text})) == [f"[{text}][x]"]
    assert not (project.folder / "hacked").exists()


def test_a_process_is_alone_in_its_sandbox(project):
    project.write("data/seen.txt", "seen")
    tools = {"look": process("sh", "-c", "cat data/seen.txt; echo; ls /proc | grep -c '^[0-9]'; (echo x > data/new) 2>&1; ls -A /root 2>&1 | wc -l; ls /proc/self/fd | wc -l;"
                                         " getent hosts localhost >/dev/null; (exec 3<>/dev/tcp/127.0.0.1/1) 2>&1 | tail -1; hostname >/dev/null; pwd")}
    text = use(project, tools, ("look", {}))[0]
    lines = text.splitlines()
    assert lines[0] == "seen" and int(lines[1]) < 8, text
    assert "Read-only" in text or "Permission" in text, text
    assert not (project.folder / "data/new").exists()
    assert str(project.folder) in text, "tools run in the configuration's folder"


def test_a_sandbox_takes_no_memory_but_its_bounded_scratch(project):
    places = ["/", "/dev", "/etc", "/dev/pts", "/proc", "/tmp", "/dev/shm"]
    fill = "for place in " + " ".join(places) + "; do head -c 40000000 /dev/zero 2>/dev/null > $place/filled; echo $place $(stat -c %s $place/filled 2>/dev/null); done"
    text = use(project, {"fill": process("sh", "-c", f"({fill}) 2>/dev/null", limits={"memory": "16MiB"})}, ("fill", {}))[0]
    taken = {line.split()[0]: int((line.split() + ["0"])[1]) for line in text.splitlines()}
    assert set(taken) == set(places), text
    assert {place for place in places if taken[place] > 0} == {"/tmp", "/dev/shm"} and max(taken.values()) <= 16 << 20, text


def test_there_is_no_network_unless_allowed(project, odd_server):
    server = odd_server([], then=b"HTTP/1.0 200 OK\r\n\r\nreached")
    port = server.url.rsplit(":", 1)[1]
    code = f"import socket\ntry: socket.create_connection(('127.0.0.1',{port}),2); print('reached')\nexcept OSError as e: print('closed')"
    tools = {"off": process("/usr/bin/python3", "-c", code), "on": process("/usr/bin/python3", "-c", code, sandbox={"network": True})}
    assert use(project, tools, ("off", {}), ("on", {})) == ["closed\n", "reached\n"]


def test_a_writable_folder_is_writable(project):
    (project.folder / "out").mkdir()
    use(project, {"w": process("sh", "-c", "echo hi > out/file", sandbox={"write": ["out"]}, effect="idempotent")}, ("w", {}))
    assert project.read("out/file") == "hi\n"


def test_the_journal_is_hidden_even_where_the_folder_is_writable(project):
    text = use(project, {"w": process("sh", "-c", "cat .troupe/* 2>/dev/null | wc -c; echo garbage > .troupe/journal.db; rm -rf .troupe/*; echo end", sandbox={"write": ["."]})}, ("w", {}))[0]
    assert text.splitlines()[0] == "0" and "end" in text, text
    assert project.resume("R1").expect(0).doc["result"] == "done"


@pytest.mark.parametrize("evil", [
    "mv .troupe moved",
    "rm -f .troupe/*",
], ids=["move", "remove"])
def test_a_tool_cannot_do_away_with_the_journal(evil, project):
    use(project, {"w": process("sh", "-c", f"{evil}; true", sandbox={"write": ["."]})}, ("w", {}))
    assert (project.folder / ".troupe/journal.db-lock").exists() and not (project.folder / "moved/journal.db").exists()


def test_the_environment_is_bounded(project):
    tools = {"env": process("env", env_from=["WANTED"])}
    project.scripted([calls(("env", {})), reply("done")], agent={"tools": ["env"]}, tools=tools)
    project.run("--id", "R1", env={"WANTED": "wanted-value-123", "OPENAI_API_KEY": "sk-hidden-key-123456", "LD_PRELOAD_X": "y"}).expect(0)
    shown = project.troupe("show", "troupe.yaml", "R1", "--events").stdout
    text = results(project)[0]["text"]
    assert "OPENAI_API_KEY" not in text and "LD_PRELOAD_X" not in text and "sk-hidden" not in shown
    assert re.search(r"^WANTED=", text, re.M) and "PATH=" in text


def test_standard_input_takes_what_is_long(project):
    project.write("in.json", {"text": "x" * 300_000})
    project.scripted([calls(("count", {"text": "{{ last }}"})), reply("done")], agent={"tools": ["count"]},
                     tasks=[{"id": "t", "agent": "worker", "instruction": "{{ input.text }}"}],
                     tools={"count": process("wc", "-c", stdin="{{ text }}", parameters=STRING)})
    project.run("--id", "R1", "--input", "in.json").expect(0)
    assert results(project)[0]["text"].strip() == "300000"


def test_output_beyond_1_mib_is_cut_and_said_so(project):
    text = use(project, {"big": process("sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x")}, ("big", {}))[0]
    assert text.count("x") <= (1 << 20) + 1000 and re.search(r"cut|1 MiB|truncated", text[-500:]), text[-300:]


def test_bytes_that_are_no_text_do_no_harm(project):
    text = use(project, {"raw": process("printf", r"\377\376ok\001\033[31m")}, ("raw", {}))[0]
    assert "ok" in text
    shown = project.troupe("show", "troupe.yaml", "R1").expect(0)
    assert "\x1b" not in shown.stdout


@pytest.mark.parametrize("status,success,good", [(1, None, False), (1, [0, 1], True), (2, [0, 1], False)])
def test_exit_statuses_that_are_no_failure(status, success, good, project):
    tool = process("sh", "-c", f"echo out; exit {status}", retries=0, **({"success": success} if success else {}))
    use(project, {"x": tool}, ("x", {}))
    row = results(project)[0]
    assert (row["status"] == "ok") == good
    assert "out" in row["text"]


# --- wrong calls -------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name,arguments,words", [
    ("say", {"txt": "x"}, 'required property "text" is missing'), ("say", {"text": 7}, "/text"), ("say", "{not json", "not JSON"),
    ("sya", {"text": "x"}, 'did you mean "say"'), ("other", {"text": "x"}, 'You may not use the tool "other"'), ("unused", {"text": "x"}, 'no tool named "unused"'),
], ids=["missing", "type", "no_json", "unknown", "not_yours", "nobodys"])
def test_a_wrong_call_goes_back_to_the_model(name, arguments, words, project):
    tools = {"say": process("printf", "%s", "{{ text }}", parameters=STRING), **{each: process("touch", "ran", parameters=STRING) for each in ("other", "unused")}}
    agents = {"worker": {"system": "worker", "tools": ["say"]}, "owner": {"system": "owner", "tools": ["other"]}}
    project.scripted([calls((name, arguments)), reply("{{ last }}")], agents=agents, tools=tools)
    document = project.run("--id", "R1").expect(0).doc
    assert words in document["result"], document["result"]
    assert project.count("R1", "tool_started") == 0 and project.count("R1", "tool_failed") == 0
    assert document["llm_calls"] == 2


@pytest.mark.parametrize("of", ["the task", "a sub-workflow"])
def test_max_calls_counts_in_all_attempts_of_a_task(of, project):
    """As whoever takes the run up counts."""
    tools = {"say": process("printf", "%s", "{{ text }}", parameters=STRING, max_calls=1)}
    asked = {"id": "t", "agent": "worker", "instruction": "go", **({"attempts": 2} if of == "the task" else {})}
    project.scripted([calls(("say", {"text": "x"}), when={"turn": 1}), reply("{{ last }}")], agent={"tools": ["say"], "output": {"retries": 0, "matches": "^never"}}, tools=tools,
                     tasks=[asked] if of == "the task" else [{"id": "outer", "workflow": "inner", "attempts": 2}], workflows={} if of == "the task" else {"inner": {"tasks": [asked]}})
    project.run("--id", "R1").expect(1)
    ends = project.events("R1", "tool_finished")
    assert [end["status"] for end in ends] == ["ok", "not_started"] and "used up" in ends[1]["text"], ends
    assert project.count("R1", "tool_started") == 1


def test_max_calls_counts_a_call_that_the_end_of_its_attempt_cut_off(project):
    (project.folder / "out").mkdir()
    pay = process("sh", "-c", "echo paid >> out/runs; sleep 20", sandbox={"write": ["out"]}, max_calls=1, **{"effect": "once"})
    project.scripted([calls(("pay", {}), when={"turn": 1}), reply("{{ last }}")], agent={"tools": ["pay"], "timeout": "1s"}, tools={"pay": pay}, tasks=[{"id": "t", "agent": "worker", "instruction": "go", "attempts": 2}])
    document = project.run("--id", "R1").doc
    assert project.read("out/runs") == "paid\n" and "used up" in document["result"], document


def test_max_calls_limits_a_tool_in_one_task(project):
    tools = {"say": process("printf", "%s", "{{ text }}", parameters=STRING, max_calls=1)}
    first, second = use(project, tools, ("say", {"text": "a"}), ("say", {"text": "b"}))
    assert sorted([first == "a" or second == "b", "used up" in first + second]) == [True, True]


# --- failures ----------------------------------------------------------------------------------------------------------------------------------


def counting(*rest):
    """Counts its runs in a file, and fails until there were so many."""
    return ("sh", "-c", "echo run >> out/runs; [ $(wc -l < out/runs) -ge $1 ] || { echo no >&2; exit 3; }; echo yes", "sh", *rest)


def runs(project):
    return len(project.read("out/runs").splitlines())


def test_a_failing_tool_is_run_again(project):
    (project.folder / "out").mkdir()
    assert use(project, {"x": process(*counting("3"), retries=2, sandbox={"write": ["out"]})}, ("x", {})) == ["yes\n"]
    assert runs(project) == 3 and project.count("R1", "tool_failed") == 2


def test_a_tool_of_effect_once_is_never_run_again(project):
    (project.folder / "out").mkdir()
    text = use(project, {"x": process(*counting("3"), retries=2, effect="once", sandbox={"write": ["out"]})}, ("x", {}))[0]
    assert runs(project) == 1 and '"x" gave no result' in text and "no" in text


def test_the_alternative_is_called_with_the_same_arguments(project):
    tools = {"bad": process("false", parameters=STRING, retries=0, alternative="good"), "good": process("printf", "good %s", "{{ text }}", parameters=STRING)}
    project.scripted([calls(("bad", {"text": "x"})), reply("{{ last }}")], agent={"tools": ["bad"]}, tools=tools)
    assert project.run("--id", "R1").expect(0).doc["result"] == "good x"
    assert [(e["tool"], e["instead_of"]) for e in project.events("R1", "tool_started")] == [("bad", ""), ("good", "bad")]


def test_the_report_says_what_was_tried_and_what_else_there_is(project):
    tools = {"bad": process("sh", "-c", "echo disk on fire >&2; exit 9", retries=1), "clock": {"kind": "builtin"}}
    text = use(project, tools, ("bad", {}))[0]
    assert '"bad"' in text and "run 2 times" in text and "9" in text and "disk on fire" in text and '"clock"' in text, text


def test_a_program_that_is_not_there_is_an_error(project):
    text = use(project, {"x": process("no-such-program-here", retries=0)}, ("x", {}))[0]
    assert "no-such-program-here" in text


def test_a_timeout_leaves_nobody(project):
    mark = f"77{os.getpid()}"
    tool = process("sh", "-c", f"trap '' TERM; setsid sh -c 'trap \"\" TERM; sleep {mark} & sleep {mark}' & sleep {mark}", timeout="600ms", retries=0)
    project.scripted([calls(("x", {})), reply("{{ last }}")], agent={"tools": ["x"]}, tools={"x": tool})
    background = project.start("--json")
    wait_for(lambda: len(processes_with(f"sleep {mark}")) >= 3, "the family of the tool")
    told = background.wait().expect(0)
    assert processes_with(f"sleep {mark}") == []
    assert "600 ms" in told.doc["result"] or "time" in told.doc["result"]


def test_a_bomb_of_processes_is_bounded(project):
    told = use(project, {"x": process("sh", "-c", "for i in $(seq 200); do sleep 5 & done; jobs | wc -l; wait", limits={"processes": 20}, timeout="3s", retries=0)}, ("x", {}))
    assert told


# --- several at once ---------------------------------------------------------------------------------------------------------------------------


def test_parallel_calls_run_at_once_and_come_back_in_order(project):
    tools = {"meet": process("sh", "-c", "touch out/$1; while [ ! -e out/a ] || [ ! -e out/b ] || [ ! -e out/c ]; do sleep 0.02; done; [ $1 = a ] && sleep 0.3; echo $1", "sh", "{{ text }}",
                             parameters=STRING, sandbox={"write": ["out"]}, timeout="20s")}
    (project.folder / "out").mkdir()
    project.scripted([calls(*[("meet", {"text": name}) for name in "abc"]),
                      {"when": {"any": True}, "capture": {"all": {"from": "tool:meet", "pattern": "([abc])", "all": True}}, "reply": {"text": "{{ captured.all }}"}}],
                     agent={"tools": ["meet"]}, tools=tools)
    document = project.run("--id", "R1").expect(0).doc
    assert [row["text"].strip() for row in results(project)] == ["a", "b", "c"]
    assert re.findall("[abc]", document["result"]) == ["a", "b", "c"]


def test_at_most_eight_of_an_agent_run_at_once(project):
    tools = {"x": process("sh", "-c", "mkdir out/$1; ls out | wc -l; sleep 0.1; rmdir out/$1", "sh", "{{ text }}", parameters=STRING, sandbox={"write": ["out"]})}
    (project.folder / "out").mkdir()
    told = use(project, tools, *[("x", {"text": str(i)}) for i in range(20)])
    assert max(int(text) for text in told) <= 8 and len(told) == 20


# --- builtins ----------------------------------------------------------------------------------------------------------------------------------


BUILTINS = {name: {"kind": "builtin", "root": "data"} for name in ("read_file", "write_file", "list_files")}


@pytest.fixture
def files(project):
    project.write("data/a.txt", "alpha\nbeta\n")
    project.write("data/sub/b.txt", "gamma\n")
    project.write("secret.txt", "the secret")
    os.symlink("../secret.txt", project.folder / "data/link")
    os.symlink("..", project.folder / "data/up")
    return project


def test_files_are_read_written_and_listed(files):
    read, written, listed = use(files, BUILTINS, ("read_file", {"path": "a.txt"}), ("write_file", {"path": "new/c.txt", "content": "h\u00e9llo"}), ("list_files", {}))
    assert "alpha\nbeta" in read and "a.txt" in listed and "sub" in listed
    assert files.read("data/new/c.txt") == "h\u00e9llo", written


@pytest.mark.parametrize("path", ["../secret.txt", "link", "up/secret.txt", "/etc/passwd", "sub/../../secret.txt", "a.txt\\u0000", ""])
def test_nothing_outside_of_the_root_is_read_or_written(path, files):
    read, written = use(files, BUILTINS, ("read_file", f'{{"path": "{path}"}}'), ("write_file", f'{{"path": "{path}", "content": "overwritten"}}'))
    assert "the secret" not in read and "root:" not in read
    assert files.read("secret.txt") == "the secret"
    assert all(row["status"] != "ok" for row in results(files))


def test_the_calculator_calculates(project):
    told = use(project, {"calculator": {"kind": "builtin"}}, ("calculator", {"expression": "2*(3+4)-10/4"}), ("calculator", {"expression": "1/0"}), ("calculator", {"expression": "(" * 5000}))
    assert "11.5" in told[0]
    assert [row["status"] == "ok" for row in results(project)] == [True, False, False]


def test_a_wrong_call_of_a_builtin_costs_no_retry(project):
    tools = {"calculator": {"kind": "builtin"}, "read_file": {"kind": "builtin", "root": "data"}}
    project.write("data/a.txt", "x")
    use(project, tools, ("calculator", {"expression": "1/0"}), ("calculator", {"expression": "2^^3"}), ("read_file", {"path": "../troupe.yaml"}), ("read_file", {"path": "absent"}))
    assert project.count("R1", "tool_failed") == project.count("R1", "tool_started") == 4


def test_the_clock_tells_the_time(project):
    assert re.search(r"20\d\d-\d\d-\d\dT\d\d:\d\d", use(project, {"clock": {"kind": "builtin"}}, ("clock", {}))[0])


def test_http_fetch_refuses_addresses_inside(project, odd_server):
    server = odd_server([], then=b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\ninside")
    told = use(project, {"http_fetch": {"kind": "builtin", "allow_hosts": ["example.com"]}}, ("http_fetch", {"url": server.url}), ("http_fetch", {"url": "file:///etc/passwd"}), ("http_fetch", {"url": "http://169.254.169.254/"}))
    assert not any("inside" == text or "root:" in text for text in told)
    assert server.requests == [] and all(row["status"] != "ok" for row in results(project))


def test_http_fetch_fetches_an_allowed_host(project, odd_server):
    server = odd_server([], then=b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\ninside")
    told = use(project, {"http_fetch": {"kind": "builtin", "allow_hosts": ["127.0.0.1"]}}, ("http_fetch", {"url": server.url + "/x"}))
    assert "inside" in told[0] and server.requests[0][0].startswith("GET /x ")
