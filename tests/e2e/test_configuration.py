"""What a configuration may be, and what is told of a wrong one (INTERFACES 1)."""
import json
import re

import pytest

from conftest import reply

GOOD = """\
version: 1
providers:
  p: { kind: scripted, script: script.json }
models:
  m: { chain: [ { provider: p } ] }
agents:
  worker: { model: m, system: worker }
workflows:
  job:
    tasks:
      - { id: t, agent: worker, instruction: "Do {{ input.what }}." }
"""

WRONG = """\
version: 1
providers:
  p: { kind: scripted, script: script.json }
models:
  m: { chain: [ { provider: q } ] }
tools:
  grep:
    kind: process
    description: Finds
    command: [grep]
    timeout: soon
agents:
  worker:
    model: m
    tools:
      - grpe
workflows:
  job:
    tasks:
      - id: t
        agent: wroker
        instruction: Do it.
      - id: u
        agent: worker
        needs: [v]
        instruction: Do it.
"""

PROBLEM = re.compile(r"^(\S+):(\d+):(\d+): (/\S*): (.+)$")


@pytest.fixture
def simple(project):
    project.write("script.json", {"version": 1, "rules": [reply("done")]})
    project.write("troupe.yaml", GOOD)
    return project


def test_a_good_file_is_fine(simple, troupe):
    told = troupe("validate", "troupe.yaml").expect(0)
    assert "fine" in told.stdout
    assert troupe("validate", "troupe.yaml", "--json").expect(0).doc == {"valid": True, "problems": [], "warnings": []}


def test_every_problem_is_told_at_once_with_its_place(simple, troupe):
    simple.write("troupe.yaml", WRONG)
    told = troupe("validate", "troupe.yaml").expect(2)
    found = {match.group(4): match for match in map(PROBLEM.match, (told.stderr + told.stdout).splitlines()) if match}
    assert set(found) >= {"/models/m/chain/0/provider", "/tools/grep/timeout", "/agents/worker/tools/0", "/workflows/job/tasks/0/agent",
                          "/workflows/job/tasks/1/needs/0"}, str(told)
    place = {pointer: (match.group(1), int(match.group(2)), int(match.group(3))) for pointer, match in found.items()}
    assert place["/agents/worker/tools/0"] == ("troupe.yaml", 16, 9)
    assert place["/workflows/job/tasks/0/agent"] == ("troupe.yaml", 21, 16)
    assert found["/agents/worker/tools/0"].group(5) == 'no tool named "grpe"; did you mean "grep"?'
    assert 'did you mean "worker"?' in found["/workflows/job/tasks/0/agent"].group(5)


def test_run_of_a_wrong_file_tells_the_same_and_starts_nothing(simple, troupe):
    simple.write("troupe.yaml", WRONG)
    told = troupe("run", "troupe.yaml", "job").expect(2)
    assert 'troupe.yaml:16:9: /agents/worker/tools/0: no tool named "grpe"; did you mean "grep"?' in told.stderr.splitlines()
    assert told.stdout == ""
    assert not (simple.folder / ".troupe").exists()


def test_validate_json_lists_problems(simple, troupe):
    simple.write("troupe.yaml", WRONG)
    document = troupe("validate", "troupe.yaml", "--json").expect(2).doc
    assert document["valid"] is False
    row = next(row for row in document["problems"] if row["pointer"] == "/agents/worker/tools/0")
    assert (row["file"], row["line"], row["column"]) == ("troupe.yaml", 16, 9)
    assert 'did you mean "grep"' in row["message"]


def test_an_unknown_key_is_told_with_a_suggestion(simple, troupe):
    simple.write("troupe.yaml", GOOD.replace("system: worker", "sytem: worker"))
    told = troupe("validate", "troupe.yaml").expect(2)
    assert 'did you mean "system"' in told.stderr + told.stdout


HOSTILE = {
    "empty": b"",
    "only_space": b"  \n\n",
    "a_list": b"- 1\n- 2\n",
    "deep_flow": b"a: " + b"[" * 100_000,
    "deep_block": b"".join(b" " * i + b"a:\n" for i in range(3000)),
    "deep_json": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "alias_bomb": b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n".encode() for i in range(12)),
    "recursion": b"a: &a [*a]\n",
    "bad_utf8": b"version: 1\nagents: { w: { system: \"\xff\xfe\xc3\" } }\n",
    "nul": b"version: 1\x00\n",
    "two_documents": b"version: 1\n---\nversion: 1\n",
    "duplicate_key": b"version: 1\nversion: 1\n",
    "unclosed": b"version: [1\nagents: {",
    "binary": bytes(range(256)) * 16,
    "tab": b"version: 1\nagents:\n\tworker: {}\n",
    "merge_bomb": b"<<: *x\n",
    "huge": b"a: " + b"x" * (5 << 20),
    "cut_json": b'{"version": 1, "agents": ',
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_gets_a_quick_error(name, project, troupe):
    project.write("troupe.yaml", HOSTILE[name])
    told = troupe("validate", "troupe.yaml", timeout=10).expect(2)
    assert told.seconds < 3, str(told)
    assert re.search(r"^troupe\.yaml", told.stderr + told.stdout, re.M), str(told)
    assert len(told.stderr + told.stdout) < 100_000


def test_a_file_that_is_not_there_is_said_so(project, troupe):
    told = troupe("validate", "nothing.yaml").expect(2)
    assert "nothing.yaml" in told.stderr


def test_a_configuration_in_json_runs(project, troupe):
    project.write("script.json", {"version": 1, "rules": [reply("done")]})
    project.write("troupe.json", {"version": 1, "providers": {"p": {"kind": "scripted", "script": "script.json"}}, "models": {"m": {"chain": [{"provider": "p"}]}},
                                  "agents": {"worker": {"model": "m", "system": "\u00e9\ud83d\ude00 /"}},
                                  "workflows": {"job": {"tasks": [{"id": "t", "agent": "worker", "instruction": "Do it."}]}}})
    assert troupe("run", "troupe.json", "job", "--json").expect(0).doc["result"] == "done"


def test_no_is_a_string_and_a_quoted_number_stays_one(simple, troupe):
    text = GOOD.replace("    tasks:", '    input: { schema: { type: object, properties: { what: { enum: [no, "1", yes] } } } }\n    tasks:')
    simple.write("troupe.yaml", text)
    troupe("run", "troupe.yaml", "job", "-i", "what=no").expect(0)
    troupe("run", "troupe.yaml", "job", "-i", "what=1").expect(0)
    troupe("run", "troupe.yaml", "job", "-i", "what=maybe").expect(2)


def test_an_include_merges_and_a_double_definition_names_both_places(simple, troupe):
    simple.write("more.yaml", "agents:\n  helper: { model: m, system: helper }\n")
    simple.write("troupe.yaml", GOOD.replace("version: 1\n", "version: 1\ninclude: [more.yaml]\n"))
    troupe("validate", "troupe.yaml").expect(0)
    simple.write("more.yaml", "agents:\n  worker: { model: m, system: other }\n")
    told = troupe("validate", "troupe.yaml").expect(2)
    assert "more.yaml:2:3" in told.stderr and "troupe.yaml:8:3" in told.stderr, str(told)


def test_a_cycle_of_tasks_is_refused(simple, troupe):
    simple.write("troupe.yaml", GOOD + "      - { id: a, agent: worker, needs: [b], instruction: x }\n      - { id: b, agent: worker, instruction: \"{{ tasks.a.output }}\" }\n")
    told = troupe("validate", "troupe.yaml").expect(2)
    assert re.search(r"\ba\b.*\bb\b.*", told.stderr), str(told)


def test_a_model_without_a_price_is_refused(simple, troupe):
    simple.write("troupe.yaml", GOOD.replace("kind: scripted, script: script.json", "kind: openai").replace("{ provider: p }", "{ provider: p, model: x }"))
    told = troupe("validate", "troupe.yaml").expect(2)
    assert "usd_per_mtok" in told.stderr and "free" in told.stderr, str(told)


def test_a_process_tool_that_does_not_say_its_effect_is_warned_of(simple, troupe):
    simple.write("troupe.yaml", GOOD + "tools:\n  touch: { kind: process, description: Touches, command: [touch, x] }\n")
    told = troupe("validate", "troupe.yaml").expect(0)
    assert "effect" in told.stderr + told.stdout, str(told)
    warnings = troupe("validate", "troupe.yaml", "--json").expect(0).doc["warnings"]
    assert any("effect" in row["message"] for row in warnings)


def test_warnings_are_told_by_what_checks_the_file_or_runs_it_and_nowhere_else(simple, troupe):
    simple.write("troupe.yaml", GOOD + "tools:\n  touch: { kind: process, description: Touches, command: [touch, x] }\n")
    for command in (["validate", "troupe.yaml"], ["run", "troupe.yaml", "job", "--id", "R1", "-i", "what=it"]):
        assert "warning: " in troupe(*command).expect(0).stderr
    for command in (["show", "troupe.yaml", "R1"], ["runs", "troupe.yaml"], ["resume", "troupe.yaml", "R1"], ["approvals", "troupe.yaml"], ["tree", "troupe.yaml"]):
        assert "warning" not in troupe(*command).expect(0).stderr, command
    assert "warning" not in troupe("approve", "troupe.yaml", "R1-00000000").expect(2).stderr


def test_every_agent_whose_answers_leave_no_room_is_warned_of(simple, troupe):
    simple.write("troupe.yaml", GOOD.replace("{ provider: p }", "{ provider: p, context: 6000 }").replace("workflows:", "  writer: { model: m, max_tokens: 6000 }\nworkflows:"))
    warnings = troupe("validate", "troupe.yaml", "--json").expect(0).doc["warnings"]
    assert [row["message"] for row in warnings if "no room" in row["message"]] == ['answers of agent "writer" (max_tokens 6000) leave no room for a request in 6000 tokens']


def test_a_schema_with_an_unsupported_keyword_is_refused(simple, troupe):
    simple.write("troupe.yaml", GOOD.replace("system: worker", 'system: worker, output: { schema: { type: string, pattern: "(?=a)b" } }'))
    told = troupe("validate", "troupe.yaml").expect(2)
    assert "/agents/worker/output/schema/pattern" in told.stderr, str(told)


def test_the_tree_is_drawn(simple, troupe):
    simple.write("troupe.yaml", GOOD + """\
supervision:
  name: top
  strategy: rest_for_one
  children:
    - { pool: worker, size: 3 }
""")
    drawn = troupe("tree", "troupe.yaml").expect(0).stdout
    assert re.search(r"^top .*rest_for_one", drawn, re.M) and re.search(r"^└── worker .*3", drawn, re.M), drawn
    assert json.loads(troupe("tree", "troupe.yaml", "--json").expect(0).stdout)


def test_an_agent_in_two_places_of_the_tree_is_refused(simple, troupe):
    simple.write("troupe.yaml", GOOD + "supervision: { children: [ { agent: worker }, { pool: worker, size: 2 } ] }\n")
    troupe("validate", "troupe.yaml").expect(2)


def test_init_writes_a_project_whose_printed_commands_run(project, troupe):
    told = troupe("init", "fresh").expect(0)
    commands = re.findall(r"^\S.*:\s+troupe (.+)$", told.stdout, re.M)
    assert len(commands) >= 2, told.stdout
    for command in commands:
        troupe(*command.split()).expect(0)
    before = {path: path.read_bytes() for path in (project.folder / "fresh").rglob("*") if path.is_file() and ".troupe" not in path.parts}
    again = troupe("init", "fresh")
    assert again.status != 0 and "fresh" in again.stderr
    assert all(path.read_bytes() == content for path, content in before.items())


def test_init_runs_with_json(project, troupe):
    troupe("init", "fresh").expect(0)
    document = troupe("run", "fresh/troupe.yaml", "greet", "-i", "name=Ada", "--json").expect(0).doc
    assert document["workflow_status"] == "completed" and "Ada" in document["result"]


def test_an_environment_variable_is_put_in_where_it_may_stand(simple, troupe):
    simple.write("troupe.yaml", GOOD.replace("script: script.json", "script: \"${NAME}.json\""))
    told = troupe("validate", "troupe.yaml").expect(2)
    assert "NAME" in told.stderr
    troupe("validate", "troupe.yaml", env={"NAME": "script"}).expect(0)


@pytest.mark.parametrize("args", [[], ["fly"], ["run"], ["run", "troupe.yaml"], ["run", "troupe.yaml", "job", "--what"], ["validate"]])
def test_wrong_usage_ends_with_2(args, simple, troupe):
    told = troupe(*args)
    assert told.status == 2 and told.stderr, str(told)


def test_help_is_everywhere(troupe):
    for command in ("run", "resume", "validate", "tree", "runs", "show", "cancel", "init", "mock-llm"):
        told = troupe(command, "--help").expect(0)
        assert "Usage" in told.stdout and told.stderr == ""


def test_an_unknown_workflow_is_told_with_a_suggestion(simple, troupe):
    told = troupe("run", "troupe.yaml", "jub").expect(2)
    assert '"job"' in told.stderr


def test_a_wrong_script_is_told_with_its_place(simple, troupe):
    simple.write("script.json", {"version": 1, "rules": [{"when": {"agnt": "x"}, "reply": {"text": "y"}}]})
    told = troupe("run", "troupe.yaml", "job").expect(2)
    assert "script.json" in told.stderr and '"agent"' in told.stderr, str(told)


def test_what_is_wrong_elsewhere_in_a_file_keeps_nobody_from_its_runs(simple, troupe):
    troupe("run", "troupe.yaml", "job", "-i", "what=it", "--id", "r").expect(0)
    simple.write("troupe.yaml", GOOD.replace("agent: worker", "agent: wroker"))
    told = r"warning: troupe\.yaml has a problem outside of its journal section, which `troupe validate troupe\.yaml` tells"
    assert re.search(told, troupe("runs", "troupe.yaml").expect(0).stderr)
    assert "run completed" in troupe("show", "troupe.yaml", "r").expect(0).stdout
    assert "done" in troupe("resume", "troupe.yaml", "r").expect(0).stdout
    assert "has ended already" in troupe("cancel", "troupe.yaml", "r").expect(2).stderr
    assert "Nothing waits" in troupe("approvals", "troupe.yaml").expect(0).stdout
    troupe("run", "troupe.yaml", "job", "-i", "what=it").expect(2)
    simple.write("troupe.yaml", GOOD + "jornal: { path: other.db }\n")
    assert 'unknown key "jornal"' in troupe("runs", "troupe.yaml").expect(2).stderr


def test_an_id_that_would_be_an_option_elsewhere_is_refused(simple, troupe):
    assert "does not begin with a dash" in troupe("run", "troupe.yaml", "job", "-i", "what=it", "--id=-x").expect(2).stderr


def test_a_number_of_an_input_that_cannot_be_kept_is_refused_and_one_that_can_is_exact(simple, troupe):
    simple.write("in.json", '{"what": 123456789012345678901234}')
    for way in (("--input", "in.json"), ("--input", "-")):
        told = troupe("run", "troupe.yaml", "job", *way, stdin=simple.read("in.json")).expect(2).stderr
        assert "123456789012345678901234 has more digits than can be kept; write it in quotes" in told
    simple.write("in.json", '{"what": 18446744073709551615}')
    troupe("run", "troupe.yaml", "job", "--id", "R1", "--input", "in.json").expect(0)
    assert "18446744073709551615" in simple.events("R1", "task_started")[0]["instruction"]
