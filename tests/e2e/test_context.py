"""Conversations that outgrow their model's context: what is cut, in which order, and that it ends (SEMANTICS 1, Context)."""
import json
import shutil

import pytest

from conftest import ROOT, http_answer, openai_answer, reply, wait_for

READ = {"read_file": {"kind": "builtin", "root": "data"}}
NEXT = {"next": {"from": "last", "pattern": r"next: (\S+)"}}
MAX_TOKENS = 512


def pages(project, count, size):
    """Files that each name the next one in their last line."""
    for n in range(1, count + 1):
        tail = f"\nnext: p{n + 1}.txt" if n < count else "\nthe end: 42"
        head = f"page {n}\n"
        project.write(f"data/p{n}.txt", head + "x" * (size - len(head) - len(tail)) + tail)


def read_on(**more):
    return [
        reply("Pages were read; no finding.", when={"last": "^Summarise this conversation"}),
        {"when": {"last": "the end: "}, "capture": {"found": {"from": "last", "pattern": r"the end: (\d+)"}}, "reply": {"text": "{{ captured.found }}"}, **more},
        {"when": {"any": True}, "capture": {"next": {"from": "last", "pattern": r"next: (\S+)", "required": True}},
         "reply": {"tool_calls": [{"name": "read_file", "arguments": {"path": "{{ captured.next }}"}}]}, **more},
    ]


def reader(project, rules, window, *, chain=None, budget=None, **agent):
    project.write("script.json", {"version": 1, "rules": rules})
    links = chain or [{"provider": "p", "model": "small", "context": window, "usd_per_mtok": "free"}]
    project.configure(
        providers={"p": {"kind": "scripted", "script": "script.json"}},
        models={"m": {"chain": links}},
        tools=READ,
        agents={"worker": {"model": "m", "system": "worker", "tools": ["read_file"], "max_tokens": MAX_TOKENS, **agent}},
        workflows={"job": {"budget": {"steps": 300, **(budget or {})}, "tasks": [{"id": "t", "agent": "worker", "instruction": "Read on. next: p1.txt"}]}},
    )


def so_far(project, run, kind):
    """How many events of this kind a run has by now; it may not have begun."""
    shown = project.troupe("show", "troupe.yaml", run, "--events")
    return sum(json.loads(line)["type"] == kind for line in shown.stdout.splitlines())


def cuts(project, run="R1"):
    return [(event["kind"], event["step"]) for event in project.events(run, "context_cut")]


def inputs(project, run="R1"):
    return [event["usage"]["input"] for event in project.events(run, "llm_responded")]


def test_200_steps_with_results_of_50_kb_in_a_window_of_16_k(project):
    pages(project, 200, 50_000)
    reader(project, read_on(), 16_384)
    document = project.run("--id", "R1", timeout=120).expect(0).doc
    assert document["result"] == "42"
    assert document["tool_calls"] == 200
    done = project.events("R1", "context_cut")
    kinds = [event["kind"] for event in done]
    assert set(kinds) == {"results_noted", "summarised"}
    assert 1 <= kinds.count("summarised") <= 3
    assert document["llm_calls"] == 201 + kinds.count("summarised"), "each summary is a step, and nothing else was asked"
    assert max(inputs(project)) <= 16_384 - MAX_TOKENS
    assert all(event["tokens_after"] < event["tokens_before"] and event["tokens_before"] > event["window"] for event in done)
    assert not project.events("R1", "loop_detected"), "a cut is no new outcome, and no old one"
    summary = [event for event in project.events("R1", "llm_requested") if event["step_id"].endswith("/summary")]
    assert len(summary) == kinds.count("summarised"), "reserved and recorded like any other"
    shown = project.troupe("show", "troupe.yaml", "R1").expect(0).stdout
    assert "CONTEXT of p/small is full: 1 old tool result replaced by a note" in shown and "replaced by a summary" in shown


def test_what_fits_is_not_cut(project):
    pages(project, 6, 2_000)
    reader(project, read_on(), 16_384)
    assert project.run("--id", "R1").expect(0).doc["result"] == "42"
    assert cuts(project) == []


def test_without_a_context_nothing_is_cut(project):
    pages(project, 6, 50_000)
    reader(project, read_on(), None, chain=[{"provider": "p", "model": "small", "usd_per_mtok": "free"}])
    assert project.run("--id", "R1").expect(0).doc["result"] == "42"
    assert cuts(project) == []


def test_killed_across_cuts_the_conversation_is_the_very_same(project):
    pages(project, 40, 8_000)
    reader(project, read_on(latency="15ms"), 3_000, context={"summary_tokens": 128})
    whole = project.run("--id", "whole").expect(0).doc
    assert whole["result"] == "42" and "summarised" in [kind for kind, _ in cuts(project, "whole")]
    running = project.start(run_id="R1")
    for goal in (3, 20, 36):
        wait_for(lambda: running.child.poll() is not None or so_far(project, "R1", "context_cut") >= goal, f"{goal} cuts")
        running.kill()
        running = project.troupe.start("resume", "troupe.yaml", "R1", "--json")
    assert running.wait().expect(0).doc["result"] == "42"
    assert project.count("R1", "run_resumed") >= 2

    def made(run):
        """Ids of calls are made from the conversation, so that the same ids mean the same conversation."""
        return [call["id"] for event in project.events(run, "llm_responded") for call in event["message"].get("tool_calls", [])]

    assert made("R1") == made("whole")
    assert cuts(project, "R1") == cuts(project, "whole")
    assert inputs(project, "R1") == inputs(project, "whole")


def too_long():
    return http_answer(400, {"error": {"message": "This model's maximum context length is 4096 tokens.", "type": "invalid_request_error", "code": "context_length_exceeded"}})


def asks(path, n):
    return openai_answer(None, usage=None, tool_calls=[{"id": f"c{n}", "type": "function", "function": {"name": "read_file", "arguments": json.dumps({"path": path})}}])


def test_a_provider_that_finds_it_too_long_below_our_estimate_gets_a_shorter_one(project, odd_server):
    pages(project, 3, 6_000)
    server = odd_server([asks("p1.txt", 1), asks("p2.txt", 2), too_long()], then=openai_answer("done", usage=None))
    project.on(server.provider(stream=False), agent={"tools": ["read_file"]}, tools=READ, model={"link": {"context": 16_000}})
    assert project.run("--id", "R1").expect(0).doc["result"] == "done"
    bodies = [body for _, body in server.requests]
    assert len(bodies) == 4
    assert len(json.dumps(bodies[3])) < len(json.dumps(bodies[2])) - 5_000
    notes = [message["content"] for message in bodies[3]["messages"] if message["role"] == "tool"]
    assert notes[0] == "[result removed to make room: 6000 bytes]" and len(notes[1]) == 6_000
    event = project.events("R1", "context_cut")[0]
    assert event["refused"] and event["window"] < 16_000
    requests = [(event["step_id"], event["request"]) for event in project.events("R1", "llm_requested")]
    assert requests[-2:] == [("t@1/3", 1), ("t@1/3", 2)], "another request of the same step"
    assert "REFUSED" in project.troupe("show", "troupe.yaml", "R1").stdout.upper()


def test_a_provider_that_always_finds_it_too_long_ends_the_task(project, odd_server):
    pages(project, 3, 6_000)
    server = odd_server([asks("p1.txt", 1), asks("p2.txt", 2)], then=too_long())
    project.on(server.provider(stream=False), agent={"tools": ["read_file"]}, tools=READ, model={"link": {"context": 16_000}})
    row = project.run("--id", "R1").expect(1).doc["results"][0]
    assert row["status"] == "error" and row["attempts"] == 1
    assert len(server.requests) <= 2 + 9 + 1, "no spiral"


def test_the_summary_is_asked_for_once_and_stands_for_all_but_the_ends(project, odd_server):
    pages(project, 4, 1_600)
    long_words = "I think about this at length. " * 60
    answers = []
    for n in (1, 2, 3):
        answers.append(openai_answer(long_words, usage=None, tool_calls=[{"id": f"c{n}", "type": "function", "function": {"name": "read_file", "arguments": json.dumps({"path": f"p{n}.txt"})}}]))
    server = odd_server([*answers, openai_answer("Three pages were read.", usage=None)], then=openai_answer("done", usage=None))
    project.on(server.provider(stream=False), agent={"tools": ["read_file"], "context": {"summary_tokens": 256}}, tools=READ, model={"link": {"context": 2_100}})
    document = project.run("--id", "R1").expect(0).doc
    assert document["result"] == "done" and document["llm_calls"] == 5
    bodies = [body for _, body in server.requests]
    assert "tools" not in bodies[3] and "Summarise this conversation" in bodies[3]["messages"][-1]["content"] and bodies[3]["max_tokens"] == 256
    last = bodies[4]["messages"]
    assert [message["role"] for message in last] == ["system", "user", "user", "assistant", "tool"]
    assert last[1]["content"] == "Do the work." and last[2]["content"].endswith("Three pages were read.")
    assert last[3]["tool_calls"][0]["id"] == last[4]["tool_call_id"] == "c3" and len(last[4]["content"]) == 1_600


def test_a_larger_model_takes_over_for_the_rest_of_the_task(project):
    pages(project, 8, 8_000)
    chain = [{"provider": "p", "model": name, "context": size, "usd_per_mtok": "free"} for name, size in (("small", 2_000), ("large", 64_000))]
    reader(project, read_on(), None, chain=chain)
    document = project.run("--id", "R1").expect(0).doc
    assert document["result"] == "42"
    assert cuts(project) == [("failed_over", 2)], "once: the rest of the task stays there"
    assert [event["model"] for event in project.events("R1", "llm_responded")] == ["small"] + ["large"] * 8
    over = project.events("R1", "llm_failed_over")
    assert [(event["from"], event["to"], event["reason"]) for event in over] == [("p/small", "p/large", "llm_context_length")]


def test_a_smaller_model_that_takes_over_gets_a_shorter_conversation(project):
    pages(project, 6, 4_000)
    rules = read_on()
    rules[2]["when"] = {"model": "large"}
    rules.insert(0, {"when": {"model": "large", "last": "page 4"}, "reply": {"text": "never"}, "fault": {"status": 404}})
    rules.append({**rules[-1], "when": {"any": True}})
    chain = [{"provider": "p", "model": name, "context": size, "usd_per_mtok": "free"} for name, size in (("large", 64_000), ("small", 2_500))]
    reader(project, rules, None, chain=chain)
    assert project.run("--id", "R1").expect(0).doc["result"] == "42"
    event = project.events("R1", "context_cut")[0]
    assert event["model"] == "p/small" and event["kind"] == "results_noted" and event["step"] == 5


def test_a_last_result_that_is_too_long_keeps_its_ends(project):
    pages(project, 3, 40_000)
    reader(project, read_on(), 4_000)
    assert project.run("--id", "R1").expect(0).doc["result"] == "42", "the end of each page says how to go on"
    assert "results_shortened" in [kind for kind, _ in cuts(project)]
    assert max(inputs(project)) <= 4_000 - MAX_TOKENS


def test_an_instruction_that_fits_no_model_ends_as_error(project):
    reader(project, [reply("never")], 2_000)
    data = {key: value for key, value in project.data.items() if key != "version"}
    data["workflows"]["job"]["tasks"][0]["instruction"] = "word " * 3_000
    project.configure(**data)
    document = project.run("--id", "R1").expect(1).doc
    row = document["results"][0]
    assert row["status"] == "error" and document["llm_calls"] == 0
    assert "does not fit the context of model \"m\"" in row["error"] and "larger context" in row["error"]
    assert document["reason"] == "llm_context_length"


@pytest.mark.parametrize("words, max_tokens, said", [
    (3_000, MAX_TOKENS, "beside an answer of 512 (max_tokens); nothing in it is old enough to be summarised; no model after it"),
    (1, 3_000, "p/small takes 2000 tokens, and an answer may have 3000 (max_tokens), which leaves no room; no model after it in the chain has a larger context. Lower max_tokens"),
], ids=["instruction", "max_tokens"])
def test_what_did_not_fit_is_told_as_it_was(words, max_tokens, said, project):
    """Without old results, or anything old, nothing is said of them."""
    reader(project, [reply("never")], 2_000, max_tokens=max_tokens)
    data = {key: value for key, value in project.data.items() if key != "version"}
    data["workflows"]["job"]["tasks"][0]["instruction"] = "word " * words
    project.configure(**data)
    told = project.run().expect(1).doc["results"][0]["error"]
    assert said in told and "old tool results" not in told


def test_summaries_are_bounded_and_then_the_task_ends(project):
    pages(project, 200, 300)
    reader(project, read_on(), 1_600, context={"summaries": 2, "summary_tokens": 200})
    document = project.run("--id", "R1").expect(1).doc
    assert [kind for kind, _ in cuts(project)].count("summarised") == 2
    assert "it was summarised 2 times, which is what context.summaries allows" in document["results"][0]["error"]


def test_without_summaries_none_is_made(project):
    pages(project, 200, 300)
    reader(project, read_on(), 1_600, context={"summaries": 0})
    project.run("--id", "R1").expect(1)
    assert "summarised" not in [kind for kind, _ in cuts(project)]


def test_a_summary_that_fails_is_done_without(project):
    pages(project, 60, 300)
    rules = read_on()
    rules[0] = reply("never", when={"last": "^Summarise this conversation"}, fault={"status": 404})
    chain = [{"provider": "p", "model": name, "context": size, "usd_per_mtok": "free"} for name, size in (("small", 1_600), ("large", 64_000))]
    reader(project, rules, None, chain=chain, context={"summary_tokens": 200})
    document = project.run("--id", "R1").expect(0).doc
    assert document["result"] == "42"
    assert [kind for kind, _ in cuts(project)][-1] == "failed_over"


@pytest.mark.parametrize("context, words", [({"summaries": 101}, "/agents/worker/context/summaries"), ({"fill": 0}, "/agents/worker/context/fill"),
                                            ({"sumaries": 1}, "did you mean \"summaries\""), ({"summary_tokens": 9_000}, "summary_tokens 9000")])
def test_validate_says_what_is_wrong(project, context, words):
    reader(project, [reply("x")], 16_384, context=context)
    done = project.troupe("validate", "troupe.yaml")
    assert words in done.stdout + done.stderr


@pytest.mark.parametrize("workflow, kinds", [("reads", {"results_noted", "summarised"}), ("grows", {"results_noted", "failed_over"})])
def test_the_example_does_what_its_page_shows(project, workflow, kinds):
    shutil.copytree(ROOT / "config/examples/context", project.folder, dirs_exist_ok=True)
    document = project.run("--id", "R1", workflow=workflow).expect(0).doc
    assert document["result"] == "03:17 billing  DISK FULL on db-2"
    assert {kind for kind, _ in cuts(project)} == kinds
