"""Every example in README and docs does what is printed beside it."""
import json
import re
import shlex
import shutil
import subprocess
import urllib.request

import pytest

from conftest import ROOT, SIGTERM

README = (ROOT / "README.md").read_text()
REHEARSALS = (ROOT / "docs/rehearsals.md").read_text()
CONFIGURATION = (ROOT / "docs/configuration.md").read_text()


def blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)


def commands(text):
    """Lines of indented blocks that call `troupe`, without their comments."""
    return [re.split(r"\s{2,}#", line.strip())[0] for line in re.findall(r"^    (troupe .*)$", text, re.M)]


def indented(text, spaces):
    return "".join(" " * spaces + line for line in text.splitlines(keepends=True))


# --- README --------------------------------------------------------------------------------------------------------------------------------


def test_the_commands_of_the_readme_run_as_printed(troupe):
    for line in commands(README):
        troupe(*line.split()[1:]).expect(0)
    assert (troupe.folder / "my-troupe/.troupe/journal.db").exists()


def test_what_the_readme_shows_of_a_project_is_what_init_writes(troupe):
    troupe("init", "my-troupe").expect(0)
    written = (troupe.folder / "my-troupe/troupe.yaml").read_text()
    kept = {re.split(r"\s+#", line)[0].strip() for line in written.splitlines()}
    for line in blocks(README, "yaml")[0].splitlines():
        assert line.strip() in kept, line


def test_every_command_and_option_of_the_readme_exists(troupe):
    rows = re.findall(r"^\| (`.*`) \|", README, re.M)
    named = [words for row in rows for words in re.findall(r"`([^`]+)`", row)]
    assert len(named) >= 8
    for words in named:
        command, *rest = words.split()
        told = troupe(command, "--help").expect(0).stdout
        for option in re.findall(r"--?[a-z][a-z-]*", " ".join(rest)):
            assert option in told, f"{command} {option}"


def test_the_paths_that_the_docs_name_exist():
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "config").rglob("*.md"))]:
        prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)  # what is printed has no links: check[0](chemist)
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", prose):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page}: {target}"


# --- configuration -------------------------------------------------------------------------------------------------------------------------


def whole_configurations():
    return [block for block in blocks(CONFIGURATION, "yaml") if re.search(r"^version: 1", block, re.M)]


@pytest.mark.parametrize("number", range(len(whole_configurations())))
def test_the_configurations_of_the_page_hold(number, project):
    text = whole_configurations()[number]
    for name in re.findall(r"script: (\S+?)[ }]", text):
        project.write(name, "version: 1\nrules:\n  - when: { any: true }\n    reply: { text: One paragraph. }\n")
    project.write("troupe.yaml", text)
    project.troupe("validate", "troupe.yaml").expect(0)
    if "report:" in text:
        assert project.troupe("run", "troupe.yaml", "report", "-i", "topic=CAF").expect(0).stdout == "One paragraph.\n"


# --- rehearsals ----------------------------------------------------------------------------------------------------------------------------


def scripts():
    """Whole scripts as they are; parts of a rule as a rule, parts of a reply-less rule with one."""
    made = []
    for block in blocks(REHEARSALS, "yaml"):
        if block.startswith("version:"):
            made.append(block)
        elif block.startswith("fault:"):
            made += [f"version: 1\nrules:\n  - when: {{ any: true }}\n    reply: {{ text: x }}\n    {line}\n" for line in block.splitlines() if line]
        else:
            more = "" if "reply:" in block else "    reply: { text: x }\n"
            made.append("version: 1\nrules:\n  - when: { any: true }\n" + indented(block, 4) + more)
    return made


@pytest.mark.parametrize("number", range(len(scripts())))
def test_every_script_of_the_page_is_taken(number, troupe, tmp_path):
    path = tmp_path / "script.yaml"
    path.write_text(scripts()[number])
    server = troupe.start("mock-llm", "--script", path)
    server.wait_line("listening on", "stdout")
    server.signal(SIGTERM)
    assert server.wait().status == 0


def answer_of(troupe, tmp_path, script, tool, result):
    """What the script answers to an agent whose tool has given this result."""
    path = tmp_path / "one.yaml"
    path.write_text(script)
    server = troupe.start("mock-llm", "--script", path)
    base = server.wait_line(r"listening on (\S+)", "stdout").group(1)
    messages = [{"role": "user", "content": "Look."},
                {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "type": "function", "function": {"name": tool, "arguments": "{}"}}]},
                {"role": "tool", "tool_call_id": "c1", "content": result}]
    names = {tool, "grep"}
    tools = [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in names]
    request = urllib.request.Request(base + "/v1/chat/completions", json.dumps({"model": "m", "messages": messages, "tools": tools}).encode(),
                                     {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as got:
        return json.load(got)["choices"][0]["message"]


COUNTS = "   7 auth\n  40 payments\n  12 search\n   1 gateway\n"
LINES = ("2026-03-14T03:00:13Z ERROR checkout: upstream timed out\n2026-03-14T02:58:51Z ERROR inventory: no connection\n"
         "2026-03-14T03:01:16Z ERROR checkout: upstream timed out\n")


def four():
    page = REHEARSALS[REHEARSALS.index("### Four that run"):REHEARSALS.index("## `fault`")]
    return ["version: 1\nrules:\n  - when: { any: true }\n" + indented(block, 4) for block in blocks(page, "yaml")]


def test_the_four_that_run_run(troupe, tmp_path):
    worst, tally, search, first = four()
    assert json.loads(answer_of(troupe, tmp_path, worst, "count_errors", COUNTS)["content"]) == {
        "worst": "payments", "services": ["auth", "payments", "search", "gateway"]}
    assert answer_of(troupe, tmp_path, tally, "grep", LINES)["content"] == "checkout fails most often."
    asked = answer_of(troupe, tmp_path, search, "count_errors", COUNTS)["tool_calls"]
    assert [json.loads(call["function"]["arguments"]) for call in asked] == [
        {"pattern": "ERROR payments"}, {"pattern": "ERROR search"}, {"pattern": "ERROR auth"}]
    assert answer_of(troupe, tmp_path, first, "grep", LINES)["content"] == (
        "First was inventory:\n> 2026-03-14T02:58:51Z ERROR inventory: no connection")


def test_the_command_line_of_mock_llm_runs_as_printed(troupe, tmp_path):
    (line,) = [line for line in commands(REHEARSALS) if line.startswith("troupe mock-llm")]
    (tmp_path / "script.yaml").write_text(scripts()[0])
    words = re.findall(r'"([^"]*)"|(\S+)', line)
    server = troupe.start(*[quoted or plain for quoted, plain in words][1:])
    base = server.wait_line(r"^listening on (http://127\.0\.0\.1:\d+)$", "stdout").group(1)
    with urllib.request.urlopen(base + "/stats", timeout=10) as got:
        assert set(json.load(got)) == {"requests", "by_status", "by_agent", "max_in_flight", "tokens"}
    server.signal(SIGTERM)
    assert server.wait().status == 0


# --- the example ---------------------------------------------------------------------------------------------------------------------------


def test_the_commands_of_the_incident_run_as_printed(troupe, tmp_path):
    shutil.copytree(ROOT / "config/examples/incident", tmp_path / "incident", ignore=shutil.ignore_patterns(".troupe", "logs", "out"))
    page = (tmp_path / "incident/README.md").read_text()
    lines = [re.split(r"\s{2,}#", line.strip())[0] for line in re.findall(r"^    (\S.*)$", page, re.M)]
    ran = 0
    for line in lines:
        words = line.split()
        if words[0] == "troupe" and "real" not in line and "RUN" not in line:
            troupe(*words[1:], cwd=tmp_path / "incident").expect(0)
            ran += 1
        elif words[0] == "python3":
            subprocess.run(words, cwd=tmp_path / "incident", check=True, stdout=subprocess.DEVNULL)
    assert ran > 0, lines


def test_the_approval_runs_as_printed(troupe, tmp_path):
    folder = tmp_path / "quality"
    shutil.copytree(ROOT / "config/examples/quality", folder, ignore=shutil.ignore_patterns(".troupe"))
    printed = [shlex.split(line)[1:] for line in re.findall(r"^\$ (troupe .*)$", (ROOT / "docs/approvals.md").read_text(), re.M)]
    assert [words[0] for words in printed] == ["run", "approvals", "approve", "reject"]
    waiting = troupe.start(*printed[0], cwd=folder)
    waiting.wait_line(r"WAITS FOR A HUMAN")
    for words, status in zip(printed[1:], (0, 0, 1)):
        troupe(*words, cwd=folder).expect(status)
    assert waiting.wait().status == 0
