"""Models that answer as badly as a server can: each run ends by itself, with the right status, in its time and budget, and memory bounded."""
import json
import re
import threading

import pytest

from conftest import calls, http_answer, openai_answer, reply, wait_for
from evil import measured, note

STRING = {"type": "object", "required": ["text"], "properties": {"text": {"type": "string"}}, "additionalProperties": False}
SAY = {"say": {"kind": "process", "description": "Says it", "effect": "none", "command": ["printf", "%s", "{{ text }}"], "parameters": STRING, "retries": 0}}
STEPS = 8
PEAK_MIB = 250  # an answer has at most 64 MiB


def call(arguments, id="c1", name="say"):
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def asks(*wanted):
    return openai_answer(None, tool_calls=list(wanted))


def raw(message, finish="stop", **more):
    """Bytes as they are: no JSON library stands between."""
    body = b'{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":' + message + b',"finish_reason":"' + finish.encode() + b'"}],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}'
    return http_answer(200, body)


def on(project, server, stream=False, agent=None, usd=5, **more):
    project.on(server.provider(stream=stream), agent={"tools": ["say"], "max_tokens": 2000, **(agent or {})}, tools=SAY, workflow={"budget": {"steps": STEPS, "usd": usd, "time": "40s"}},
               model={"retry": {"attempts": 2, "base": "5ms", "cap": "20ms"}}, **more)


def texts(project):
    return [event["text"] for event in project.events("R1", "tool_finished")]


def ends(ended, project, server, status, request, usd=5):
    """What holds for every one of them."""
    assert ended.doc["workflow_status"] == status, ended
    assert ended.status == {"completed": 0, "failed": 1, "aborted": 3}[status]
    assert ended.seconds < 30 and ended.peak_mib < PEAK_MIB, ended
    assert len(server.requests) <= STEPS and ended.doc["llm_calls"] <= STEPS and ended.doc["total_cost_usd"] <= usd
    for _, body in server.requests:
        well_formed(body["messages"])
    json.dumps(ended.doc).encode()
    note(request, ended)


def well_formed(messages):
    """Each call has exactly one result, right behind it, and ids are unlike each other."""
    at = 0
    while at < len(messages):
        message = messages[at]
        at += 1
        wanted = [one["id"] for one in message.get("tool_calls") or []]
        assert len(set(wanted)) == len(wanted), "an id twice"
        got = []
        while len(got) < len(wanted) and at < len(messages) and messages[at]["role"] == "tool":
            got.append(messages[at]["tool_call_id"])
            at += 1
        assert sorted(got) == sorted(wanted)


# --- calls -----------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments, words", [
    (json.dumps({"text": "x" * 10_000_000}), "at most"),
    ('{"text": "' + "x" * 10_000_000, "at most"),
    ("[" * 200_000, "nested deeper"),
    ('{"a":' * 50_000 + "1" + "}" * 50_000, "nested deeper"),
    ('{"text": "cut o', "cut off"),
    ('{"text": "a"} {"text": "b"}', "not JSON"),
    ("null", "one JSON object"),
    ('["text"]', "one JSON object"),
    ('{"text": 1}', "/text"),
    ('{"text": "a", "more": 1}', "more"),
    ("\x00\x01", "not JSON"),
    ('{"text": "a\\u0000b"}', ""),
    ('{"text": "\\ud800"}', ""),
    ('{"text": 1e999}', ""),
    ("{'text': 'a'}", "not JSON"),
], ids=["10-mb", "10-mb-cut", "deep-list", "deep-object", "truncated", "two", "null", "list", "wrong-type", "unknown-key", "control", "nul", "lone-surrogate", "infinite", "python"])
def test_arguments_that_are_none_go_back_to_the_model(arguments, words, project, odd_server, request):
    server = odd_server([asks(call(arguments))], then=openai_answer("fine"))
    on(project, server)
    ended = measured(project)
    ends(ended, project, server, "completed", request)
    assert len(json.dumps(server.requests[1][1])) < 40_000, "what was refused is not carried on"
    told = server.requests[1][1]["messages"][-1]
    assert told["role"] == "tool" and words in told["content"] and len(told["content"]) < 20_000, told["content"][:500]


def test_refused_arguments_are_kept_by_their_beginning_also_after_kill_9(project, odd_server, request):
    huge = json.dumps({"text": "x" * 10_000_000})
    waits = threading.Event()
    server = odd_server([asks(call(huge)), lambda connection, server: waits.wait(60)], then=openai_answer("fine"))
    on(project, server)
    run = project.start("--json")
    wait_for(lambda: len(server.requests) == 2, "the second request")
    run.kill()
    waits.set()
    project.resume().expect(0)
    before, after = (body["messages"] for _, body in server.requests[1:])
    assert after == before, "the same history from the journal"
    kept = json.loads(before[-2]["tool_calls"][0]["function"]["arguments"])
    assert f"{len(huge)} bytes" in kept["note"] and kept["began_with"].startswith('{"text": "xxx') and len(json.dumps(before)) < 40_000
    (answered,) = [e for e in project.events("R1", "llm_responded") if e["message"]["tool_calls"]]
    assert answered["message"]["tool_calls"][0]["arguments"] == huge, "the journal has it whole"


@pytest.mark.parametrize("wanted", [
    [call('{"text": "a"}', id="same"), call('{"text": "b"}', id="same")],
    [call('{"text": "a"}', id=""), call('{"text": "b"}', id="")],
    [call('{"text": "a"}', id="x" * 1_000_000)],
    [call('{"text": "a"}', id="\r\n\u0000\u001b[2J")],
    [call('{"text": "a"}', id=None)],
    [call('{"text": "a"}', id=17)],
], ids=["twice", "empty", "1-mb", "control", "null", "number"])
def test_ids_that_lie_are_mended(wanted, project, odd_server, request):
    server = odd_server([asks(*wanted), asks(*wanted)], then=openai_answer("fine"))
    on(project, server)
    ended = measured(project)
    ends(ended, project, server, "completed", request)


@pytest.mark.parametrize("name", ["rm_rf", "", "say\u0000", "s" * 100_000, "../say", "SAY", "say; rm -rf /", "\u202eyas"], ids=range(8))
def test_a_tool_that_nobody_has_is_told(name, project, odd_server, request):
    server = odd_server([asks(call('{"text": "a"}', name=name))], then=openai_answer("fine"))
    on(project, server)
    ended = measured(project)
    ends(ended, project, server, "completed", request)
    assert ended.doc["tool_calls"] <= 1 and all("a" != text for text in texts(project))


def test_a_thousand_calls_in_one_answer_are_bounded(project, odd_server, request):
    server = odd_server([asks(*[call(json.dumps({"text": str(number)}), id=f"c{number}") for number in range(1000)])], then=openai_answer("fine"))
    on(project, server)
    ended = measured(project)
    ends(ended, project, server, "completed", request)


def test_the_same_call_for_ever_ends_as_a_loop(project, odd_server, request):
    server = odd_server([], then=asks(call('{"text": "again"}')))
    on(project, server)
    ended = measured(project)
    assert ended.doc["reason"] in ("loop", "budget_exceeded") and ended.doc["results"][0]["status"] in ("loop", "budget_exceeded"), ended
    assert len(texts(project)) <= STEPS and len(server.requests) <= STEPS and ended.seconds < 30 and ended.peak_mib < PEAK_MIB


def test_another_call_each_time_ends_with_the_budget(project, odd_server):
    count = iter(range(10**6))
    server = odd_server([], then=lambda connection, server: connection.sendall(asks(call(json.dumps({"text": f"step {next(count)} of many"})))))
    on(project, server)
    ended = measured(project)
    assert ended.status == 3 and ended.doc["reason"] == "budget_exceeded" and len(server.requests) == STEPS, ended


def test_a_contract_that_is_never_met_is_quality_failed(project, odd_server, request):
    server = odd_server([], then=lambda connection, server: connection.sendall(openai_answer(json.dumps({"answer": "no " * len(server.requests)}))))
    on(project, server, agent={"output": {"schema": {"type": "object", "required": ["facts"]}, "retries": 2}})
    ended = measured(project)
    ends(ended, project, server, "failed", request)
    assert ended.doc["results"][0]["status"] == "quality_failed" and len(server.requests) == 3 and ended.doc["results"][0]["output"], ended


# --- bytes -----------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [b'"caf\xe9"', b'"\xf0\x9f"', b'"\xff\xfe\x00"', b'"\xed\xa0\x80"', b'"\xc0\xaf"'], ids=["latin-1", "half", "utf-16", "surrogate", "overlong"])
@pytest.mark.parametrize("where", ["text", "arguments", "name", "id"])
def test_bytes_that_are_no_utf_8_do_no_harm(text, where, project, odd_server, request):
    part = {key: (text if key == where else value) for key, value in {"arguments": b'"{}"', "name": b'"say"', "id": b'"c1"'}.items()}
    first = raw(b'{"role":"assistant","content":' + text + b"}") if where == "text" else \
        raw(b'{"role":"assistant","content":null,"tool_calls":[{"id":' + part["id"] + b',"type":"function","function":{"name":' + part["name"] + b',"arguments":' + part["arguments"] + b"}}]}", "tool_calls")
    server = odd_server([first], then=openai_answer("fine"))
    on(project, server)
    ended = measured(project)
    ends(ended, project, server, "completed", request)
    assert project.troupe("show", "troupe.yaml", "R1").expect(0).stdout


@pytest.mark.parametrize("body", [
    b"[" * 5_000_000,
    b'{"a":' * 500_000,
    b'{"choices": [' + b"{}," * 500_000 + b"{}]}",
    b'{"choices": [{"message": {"role": "assistant", "content": ' + b"[" * 100_000 + b"]" * 100_000 + b"}}]}",
    b'{"choices": "none"}',
    b'{"choices": [{"message": {"role": "assistant", "content": null, "tool_calls": {"id": 1}}, "finish_reason": "tool_calls"}]}',
    b'{"choices": [{"message": {"role": "assistant", "content": null, "tool_calls": [null, 1, "x", []]}, "finish_reason": "tool_calls"}]}',
    b'{"choices": [{"message": {"role": "assistant", "content": ""}, "finish_reason": "stop"}]}',
    b'{"choices": [{"message": null, "finish_reason": null}], "usage": null}',
    b"<html>" + b"<p>" * 100_000,
    b"",
], ids=["deep-list", "deep-object", "many-choices", "deep-content", "choices-text", "calls-object", "calls-rubbish", "empty", "null", "html", "nothing"])
def test_a_body_that_is_no_answer_fails_the_run_with_words(body, project, odd_server, request):
    server = odd_server([], then=http_answer(200, body))
    on(project, server)
    ended = measured(project)
    ends(ended, project, server, "failed", request)
    if b"tool_calls" in body and b"null, 1" in body:  # calls of nobody's: they are told, until that is a loop
        assert ended.doc["results"][0]["status"] == "loop"
    else:
        assert len(server.requests) == 2, "it was asked again once, as configured"
    assert len(ended.stdout) < 50_000


def endless(piece, head=b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"):
    def send(connection, server):
        connection.sendall(head)
        while not server.closing.is_set():
            connection.sendall(piece)

    return send


@pytest.mark.parametrize("piece", [
    b": " + b"x" * 65_000 + b"\n",
    b"data: " + b"x" * 65_000,
    b"\n" * 65_000,
    b'data: {"choices":[{"index":0,"delta":{"content":"' + b"x" * 65_000 + b'"}}]}\n\n',
    b'data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c1","function":{"name":"say","arguments":"' + b"x" * 65_000 + b'"}}]}}]}\n\n',
    b'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n' * 1000,
], ids=["comments", "one-line", "newlines", "text", "arguments", "small"])
def test_a_stream_that_never_ends_is_ended(piece, project, odd_server, request):
    server = odd_server([], then=endless(piece))
    on(project, server, stream=True)
    ended = measured(project)
    assert ended.status in (1, 3) and ended.doc["results"][0]["status"] in ("error", "timeout"), ended
    assert ended.seconds < 55 and ended.peak_mib < PEAK_MIB, ended
    note(request, ended)


def test_headers_that_never_end_are_ended(project, odd_server, request):
    server = odd_server([], then=endless(b"X-More: " + b"x" * 1000 + b"\r\n", b"HTTP/1.1 200 OK\r\n"))
    on(project, server)
    ended = measured(project)
    assert ended.status == 1 and ended.seconds < 30 and ended.peak_mib < PEAK_MIB, ended


def test_numbers_that_lie_cost_no_more_than_the_worst_case(project, odd_server, request):
    answers = [re.sub(rb'"usage":.*?}}', b'"usage":' + usage + b"}", raw(b'{"role":"assistant","content":"fine"}')) for usage in (
        b'{"prompt_tokens":-5,"completion_tokens":-5}', b'{"prompt_tokens":1e308,"completion_tokens":1}', b'{"prompt_tokens":99999999999999999999,"completion_tokens":1}',
        b'{"prompt_tokens":"many","completion_tokens":[]}', b'{"prompt_tokens":1.5,"completion_tokens":true}')]
    for number, answer in enumerate(answers):
        server = odd_server([], then=re.sub(rb"Content-Length: \d+", b"Content-Length: %d" % len(answer.split(b"\r\n\r\n", 1)[1]), answer))
        on(project, server)
        told = project.run("--id", f"N{number}").expect(0).doc
        assert 0 <= told["total_cost_usd"] < 0.1 and told["tokens"]["input"] < 10_000, (number, told)


# --- through the scripted provider ---------------------------------------------------------------------------------------------------------------


def test_a_rehearsed_villain_ends_as_a_real_one(project):
    project.scripted([calls(("say", {"text": "x" * 60_000}), ("nobody", {}), ("say", {"wrong": 1}), when={"turn": 1}), calls(("say", {"text": "again"}), when={"any": True})],
                     agent={"tools": ["say"]}, tools=SAY, workflow={"budget": {"steps": 12}})
    ended = measured(project)
    assert ended.status in (1, 3) and ended.doc["reason"] in ("loop", "budget_exceeded"), ended
    assert ended.peak_mib < PEAK_MIB and ended.seconds < 20


def test_many_villains_at_once_end_each_for_themselves(project, odd_server):
    """Eight tasks side by side, one of which is honest: it is not harmed by the others."""
    lock = threading.Lock()
    worst = [asks(call(json.dumps({"text": "x" * 5_000_000}))), http_answer(200, b"[" * 1_000_000), raw(b'{"role":"assistant","content":"\xff"}'), asks(call("{", name="nobody"))]

    def answer(connection, server):
        with lock:
            number = len(server.requests)
            body = server.requests[-1][1]
        honest = any("honest" in str(message.get("content")) for message in body["messages"])
        connection.sendall(openai_answer("honest work") if honest else worst[number % len(worst)])

    server = odd_server([], then=answer)
    tasks = [{"id": f"t{number}", "agent": "worker", "instruction": f"villain {number}", "on_failure": "continue"} for number in range(7)] + [{"id": "good", "agent": "worker", "instruction": "honest"}]
    project.on(server.provider(stream=False), agents={"worker": {"system": "w", "tools": ["say"]}}, tools=SAY, tasks=tasks, workflow={"budget": {"steps": 40, "usd": 50}},
               supervision={"children": [{"pool": "worker", "size": 8}]})
    ended = measured(project)
    assert [row["output"] for row in ended.doc["results"] if row["task_id"] == "good"] == ["honest work"], ended
    assert ended.seconds < 40 and ended.peak_mib < 2 * PEAK_MIB, ended


@pytest.mark.parametrize("filler,most", [("{},", 7 << 20), ("1.5,", 7 << 20), ("{},", 31 << 20)], ids=["objects", "numbers", "bytes"])
def test_a_body_of_too_many_values_costs_little(filler, most, project, odd_server, request):
    body = '{"choices": [{"message": {"content": "fine"}}], "x": 1.5, "y": [' + filler * (most // len(filler)) + "0]}"
    on(project, odd_server([], then=http_answer(200, body)))
    ended = measured(project)
    note(request, ended)
    assert ended.doc["reason"] == "llm_malformed"
    assert ended.peak_mib < 150 and ended.seconds < 10, ended
