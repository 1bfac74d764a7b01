"""What the gateway does with time, rates and failures of providers, rule by rule (SEMANTICS 1)."""
import json
import time

import pytest

from conftest import PRICE, QUICK, calls, http_answer, openai_answer, reply, wait_for

MANY = {"attempts": 20, "base": "1ms", "cap": "2ms"}


def task(id, instruction="x", agent="worker", **more):
    return {"id": id, "agent": agent, "instruction": instruction, **more}


def in_a_row(*instructions, **more):
    """Tasks one after the other, none of which fails the run."""
    return [task(f"t{i}", text, needs=[f"t{i - 1}"] if i else [], on_failure="continue", **more) for i, text in enumerate(instructions)]


def chained(project, *servers, attempts=3, tasks=None, agent=None, budget=None, **model):
    """A chain over these servers, in order."""
    links = [{"provider": f"p{i}", "model": f"model-{i}", "usd_per_mtok": PRICE} for i in range(len(servers))]
    project.configure(providers={f"p{i}": server.provider() for i, server in enumerate(servers)},
                      models={"m": {"chain": links, "retry": {**QUICK, "attempts": attempts}, **model}},
                      agents={"worker": {"model": "m", "system": "worker", "max_tokens": 200, **(agent or {})}},
                      workflows={"job": {"tasks": tasks or [task("t")], **({"budget": budget} if budget else {})}})


def rows(document):
    return {row["task_id"]: row for row in document["results"]}


def by_word(server):
    """How often each instruction was asked, as an odd server saw it."""
    return [body["messages"][-1]["content"] for _, body in server.requests]


# --- classes -----------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault,asked", [
    ({"status": 409}, (3, 1)), ({"status": 425}, (3, 1)), ({"status": 502}, (3, 1)), ({"status": 504}, (3, 1)), ({"status": 429}, (3, 1)),
    ({"status": 400, "message": "The model `model-0` does not exist"}, (1, 1)), ({"status": 422, "message": "unknown model: model-0"}, (1, 1)),
    ({"status": 400, "code": "context_length_exceeded", "message": "too long"}, (1, 1)), ({"status": 413, "message": "prompt is too long"}, (1, 1)),
    ({"status": 422, "message": "temperature: not a number"}, (1, 0)), ({"status": 413, "message": "request entity too large"}, (1, 0)),
], ids=lambda value: "-".join(str(each) for each in (value.values() if isinstance(value, dict) else value)).replace(" ", "_"))
def test_each_class_of_errors_is_retried_failed_over_or_fatal(fault, asked, project, mock_llm):
    first, second = mock_llm([reply("one", fault=fault)]), mock_llm([reply("two")])
    chained(project, first, second)
    told = project.run("--id", "R1").expect(0 if asked[1] else 1)
    assert (first.requests, second.requests) == asked
    assert told.doc["result"] == ("two" if asked[1] else None)


# --- retry budget ------------------------------------------------------------------------------------------------------------------------------


def test_the_retries_of_a_provider_are_a_budget_that_calls_fill(project, mock_llm):
    server = mock_llm([reply("x", when={"last": "^bad"}, fault={"status": 500}), reply("fine")])
    project.on(server.provider(), agents={"worker": {"system": "worker"}, "other": {"system": "other", "model": "n"}}, model={"retry": MANY, "breaker": {"failures": 1000}},
               models={"n": {"chain": [{"provider": "p", "model": "other-model", "usd_per_mtok": PRICE}], "retry": MANY, "breaker": {"failures": 1000}}},
               tasks=in_a_row("bad", "bad") + [task(f"g{i}", "good", agent="other", needs=[f"g{i - 1}" if i else "t1"]) for i in range(8)]
               + [task("last", "bad", needs=["g7"], on_failure="continue"), task("end", "good", agent="other", needs=["last"])])
    project.run("--id", "R1").expect(0)
    asked = {}
    for event in project.events("R1", "llm_requested"):
        asked[event["task_id"]] = asked.get(event["task_id"], 0) + 1
    assert asked["t0"] == 11, "full at the start: ten retries"
    assert asked["t1"] == 1, "it is empty, also for the next call"
    assert asked["last"] == 2, "ten calls, of whatever model, are one retry more"


def test_a_fan_out_that_is_limited_once_each_needs_no_retry_budget(project, odd_server):
    limited = http_answer(429, {"error": {"message": "slow down"}}, "Retry-After: 0.2")
    server = odd_server([limited] * 15, then=openai_answer("fine"))
    project.on(server.provider(stream=False), supervision={"children": [{"pool": "worker", "size": 15}]}, tasks=[task(f"t{i}") for i in range(15)])
    project.run("--id", "R1").expect(0)
    assert len(server.requests) == 30 and project.count("R1", "llm_failed") == 15


def test_without_a_retry_left_it_fails_over(project, mock_llm):
    first, second = mock_llm([reply("one", fault={"status": 500})]), mock_llm([reply("two")])
    chained(project, first, second, breaker={"failures": 1000}, attempts=20)
    assert project.run("--id", "R1").expect(0).doc["result"] == "two"
    assert (first.requests, second.requests) == (11, 1)


def test_the_waits_are_drawn_below_a_growing_cap(project, mock_llm):
    server = mock_llm([reply("x", fault={"status": 503})])
    project.on(server.provider(), model={"retry": {"attempts": 10, "base": "20ms", "cap": "150ms"}, "breaker": {"failures": 1000}})
    project.run("--id", "R1").expect(1)
    waits = [event["wait_ms"] for event in project.events("R1", "llm_failed")][:-1]
    ceilings = [min(20 * 2 ** n, 150) for n in range(9)]
    assert len(waits) == 9 and all(0 <= wait <= most for wait, most in zip(waits, ceilings)), waits
    assert max(waits) > 20 and len(set(waits)) > 4, f"drawn anew each time: {waits}"
    sent = [event["time_us"] for event in project.events("R1", "llm_requested")]
    assert all(after - before >= wait * 1000 for before, after, wait in zip(sent, sent[1:], waits))


# --- circuit breaker ---------------------------------------------------------------------------------------------------------------------------


def test_a_breaker_is_probed_once_after_its_time_and_closes(project, mock_llm):
    server = mock_llm([reply("fine", when={"last": "^bad"}, fault={"status": 500, "times": 2}), reply("slow", when={"last": "^wait"}, latency="700ms"), reply("fine")])
    project.on(server.provider(), agents={"worker": {"system": "worker"}, "other": {"system": "other", "model": "n"}},
               model={"breaker": {"failures": 2, "open_for": "600ms"}, "retry": {**QUICK, "attempts": 2}},
               models={"n": {"chain": [{"provider": "p", "model": "other-model", "usd_per_mtok": PRICE}]}},
               tasks=in_a_row("bad", "refused") + [task("wait", "wait", agent="other", needs=["t1"]), task("probe", "good", needs=["wait"]), task("after", "good", needs=["probe"])])
    told = project.run("--id", "R1").expect(0)
    refused = rows(told.doc)["t1"]
    assert refused["status"] == "error" and "All circuits are open: the next probe is possible in 0." in refused["error"], refused
    assert [event["state"] for event in project.events("R1", "breaker_changed")] == ["open", "half_open", "closed"]
    assert server.requests == 5, "two failures, the wait, the probe, the one after it"


def test_a_probe_that_fails_opens_it_again(project, mock_llm):
    server = mock_llm([reply("slow", when={"last": "^wait"}, latency="500ms"), reply("fine", fault={"status": 500})])
    project.on(server.provider(), agents={"worker": {"system": "worker"}, "other": {"system": "other", "model": "n"}},
               model={"breaker": {"failures": 1, "open_for": "400ms"}, "retry": {**QUICK, "attempts": 1}},
               models={"n": {"chain": [{"provider": "p", "model": "other-model", "usd_per_mtok": PRICE}]}},
               tasks=in_a_row("one") + [task("wait", "wait", agent="other", needs=["t0"]), task("probe", needs=["wait"], on_failure="continue"), task("after", needs=["probe"])])
    project.run("--id", "R1").expect(1)
    assert [event["state"] for event in project.events("R1", "breaker_changed")] == ["open", "half_open", "open"]
    assert server.requests == 3


def test_half_of_twenty_calls_open_it(project, mock_llm):
    server = mock_llm([reply("x", when={"last": "^bad"}, fault={"status": 500}), reply("fine")])
    project.on(server.provider(), model={"retry": {**QUICK, "attempts": 1}}, workflow={"budget": {"steps": 100}}, tasks=in_a_row(*["good", "bad"] * 11))
    project.run("--id", "R1").expect(0)
    assert server.requests == 20, "never five in a row, but ten of twenty"
    assert [event["state"] for event in project.events("R1", "breaker_changed")] == ["open"]


def test_429_never_opens_it(project, mock_llm):
    server = mock_llm([reply("fine", fault={"status": 429, "times": 6})])
    project.on(server.provider(), model={"retry": {**QUICK, "attempts": 8}, "breaker": {"failures": 2}})
    project.run("--id", "R1").expect(0)
    assert server.requests == 7 and project.count("R1", "breaker_changed") == 0


def test_an_open_circuit_fails_over_without_a_call(project, mock_llm):
    first, second = mock_llm([reply("one", fault={"status": 500})]), mock_llm([reply("two")])
    chained(project, first, second, breaker={"failures": 2, "open_for": "60s"}, tasks=in_a_row("a", "b", "c"))
    document = project.run("--id", "R1").expect(0).doc
    assert [row["output"] for row in document["results"]] == ["two"] * 3
    assert (first.requests, second.requests) == (2, 3)
    assert {(e["from"], e["to"]) for e in project.events("R1", "llm_failed_over")} == {("p0/model-0", "p1/model-1")}


# --- rate limits seen in advance -----------------------------------------------------------------------------------------------------------------


def soon():
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 2))


@pytest.mark.parametrize("headers", [
    lambda: ("x-ratelimit-remaining-requests: 0", "x-ratelimit-reset-requests: 1s"),
    lambda: ("x-ratelimit-remaining-tokens: 1", "x-ratelimit-reset-tokens: 1000ms"),
    lambda: ("anthropic-ratelimit-requests-remaining: 0", f"anthropic-ratelimit-requests-reset: {soon()}"),
], ids=["requests", "tokens", "anthropic"])
def test_the_next_call_waits_for_the_limit_to_be_reset(headers, project, odd_server):
    whole = openai_answer("fine").split(b"\r\n\r\n", 1)

    def limited(connection, _):
        connection.sendall(whole[0] + ("\r\n" + "\r\n".join(headers())).encode() + b"\r\n\r\n" + whole[1])

    server = odd_server([limited], then=openai_answer("fine"))
    project.on(server.provider(stream=False), tasks=[task("a"), task("b", needs=["a"])])
    project.run("--id", "R1").expect(0)
    assert len(server.arrived) == 2 and server.arrived[1] - server.arrived[0] >= 0.9
    assert project.count("R1", "llm_failed") == 0


@pytest.mark.parametrize("left, waits", [(7, False), (0, True)])
def test_what_is_left_for_output_holds_up_no_request(left, waits, project, odd_server):
    """It is far less than a request may be long; once it is gone, the next one waits for its reset."""
    head, body = openai_answer("fine").split(b"\r\n\r\n", 1)

    def limited(connection, _):
        headers = ("anthropic-ratelimit-input-tokens-remaining: 390000", f"anthropic-ratelimit-input-tokens-reset: {soon()}",
                   f"anthropic-ratelimit-output-tokens-remaining: {left}", f"anthropic-ratelimit-output-tokens-reset: {soon()}")
        connection.sendall(head + ("\r\n" + "\r\n".join(headers)).encode() + b"\r\n\r\n" + body)

    server = odd_server([limited], then=openai_answer("fine"))
    project.on(server.provider(stream=False), tasks=[task("a"), task("b", needs=["a"])])
    project.run("--id", "R1").expect(0)
    assert (server.arrived[1] - server.arrived[0] >= 0.9) == waits


def test_a_request_that_leaves_takes_from_the_limit(project, odd_server):
    head, body = openai_answer("fine").split(b"\r\n\r\n", 1)
    limited = head + b"\r\nx-ratelimit-remaining-requests: 1\r\nx-ratelimit-reset-requests: 1500ms\r\n\r\n" + body
    server = odd_server([limited], then=openai_answer("fine"))
    project.on(server.provider(stream=False), supervision={"children": [{"pool": "worker", "size": 2}]}, tasks=[task("a"), task("b", needs=["a"]), task("c", needs=["a"])])
    project.run("--id", "R1").expect(0)
    first, second, third = server.arrived
    assert second - first < 1.2 and third - first >= 1.4, "one of the two may leave before the reset"


@pytest.mark.parametrize("told_limit", [True, False], ids=["limit", "no-limit"])
def test_a_reset_is_no_stampede(told_limit, project, odd_server):
    """Windows of a second, four requests each: the first answer says that its window is used up."""
    head, body = openai_answer("fine").split(b"\r\n\r\n", 1)
    window = {"end": 0.0, "left": 0}

    def answer(connection, server):
        with server.lock:
            now = time.monotonic()
            if now > window["end"]:
                window.update(end=now + 1, left=4 if window["end"] else 1)
            refused = window["left"] == 0
            window["left"] -= 0 if refused else 1
            headers = [f"x-ratelimit-remaining-requests: {window['left']}", f"x-ratelimit-reset-requests: {window['end'] - now:.3f}s"]
        if told_limit:
            headers.append("x-ratelimit-limit-requests: 4")
        connection.sendall(http_answer(429, {"error": {"message": "slow down"}}, *headers) if refused
                           else head + ("\r\n" + "\r\n".join(headers)).encode() + b"\r\n\r\n" + body)

    server = odd_server([], then=answer)
    project.on(server.provider(stream=False), model={"retry": {**QUICK, "cap": "10s"}}, supervision={"children": [{"pool": "worker", "size": 10}]},
               tasks=[task("first")] + [task(f"t{i}", needs=["first"]) for i in range(10)])
    project.run("--id", "R1").expect(0)
    if told_limit:
        assert project.count("R1", "llm_failed") == 0
    else:
        assert project.count("R1", "llm_failed") <= 4, "those that others' answers let go too early"


def test_a_limit_that_lasts_too_long_fails_over(project, mock_llm):
    limited = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "100s"}
    first, second = mock_llm([reply("one", headers=limited)]), mock_llm([reply("two")])
    chained(project, first, second, tasks=in_a_row("a", "b"))
    document = project.run("--id", "R1").expect(0).doc
    assert [row["output"] for row in document["results"]] == ["one", "two"]
    assert [e["reason"] for e in project.events("R1", "llm_failed_over")] == ["llm_rate_limited"]


def test_the_last_model_is_asked_whatever_its_headers_say(project, mock_llm):
    server = mock_llm([reply("fine", headers={"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "600s"})])
    project.on(server.provider(), tasks=in_a_row("a", "b"))
    told = project.run("--id", "R1").expect(0)
    assert server.requests == 2 and told.seconds < 5


# --- deadlines travel ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["agent", "task"])
def test_the_time_of_an_agent_or_a_task_ends_a_call(where, project, mock_llm):
    server = mock_llm([reply("fine", fault={"timeout": True})])
    limit = {"timeout": "700ms"}
    project.on(server.provider(), agent=limit if where == "agent" else {}, tasks=[task("t", **(limit if where == "task" else {}))])
    told = project.run("--id", "R1").expect(1)
    assert rows(told.doc)["t"]["status"] == "timeout" and told.seconds < 5 and server.requests == 1


def test_a_cancelled_run_ends_its_transfer(project, odd_server):
    closed = []

    def silent(connection, _):
        connection.settimeout(20)
        closed.append(connection.recv(1))

    server = odd_server([silent], then=openai_answer("fine"))
    project.on(server.provider())
    running = project.start()
    wait_for(lambda: server.requests, "the request")
    project.troupe("cancel", "troupe.yaml", "R1").expect(0)
    running.wait(10).expect(3)
    wait_for(lambda: closed, "the end of the connection", 5)
    assert closed == [b""]


@pytest.mark.parametrize("value", ["-5", "99999999999", "2592000", "soon", "Thu, 01 Jan 1970 00:00:00 GMT"])
def test_a_retry_after_that_makes_no_sense_is_ignored(value, project, odd_server):
    server = odd_server([http_answer(429, {"error": {"message": "slow down"}}, f"Retry-After: {value}")], then=openai_answer("fine"))
    project.on(server.provider(stream=False))
    told = project.run("--id", "R1").expect(0)
    assert len(server.requests) == 2 and told.seconds < 5


@pytest.mark.parametrize("values", [("0.2", "0.8"), ("0.8", "0.2"), ("", "0.8")], ids=["shorter-first", "longer-first", "empty-first"])
def test_of_two_retry_afters_the_longer_counts(values, project, odd_server):
    headers = [f"Retry-After: {value}" for value in values]
    server = odd_server([http_answer(429, {"error": {"message": "slow down"}}, *headers)], then=openai_answer("fine"))
    project.on(server.provider(stream=False))
    project.run("--id", "R1").expect(0)
    assert len(server.arrived) == 2 and server.arrived[1] - server.arrived[0] >= 0.8


def test_retry_after_may_be_a_date_or_milliseconds(project, odd_server):
    second = int(time.time()) + 2
    until = time.monotonic() + second - time.time()
    at = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(second))
    server = odd_server([http_answer(503, {"error": {"message": "busy"}}, f"Retry-After: {at}"), http_answer(429, {"error": {"message": "slow"}}, "retry-after-ms: 600")], then=openai_answer("fine"))
    project.on(server.provider(stream=False))
    project.run("--id", "R1").expect(0)
    assert server.arrived[1] >= until - 0.05 and server.arrived[2] - server.arrived[1] >= 0.6


# --- the history that leaves ---------------------------------------------------------------------------------------------------------------------


def called(*wanted):
    """An answer that calls tools: (id, name, arguments)."""
    return openai_answer(None, tool_calls=[{"id": id, "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}} for id, name, arguments in wanted])


def exchange(body):
    """Ids of calls and of results in a request, in their order."""
    asked = [call["id"] for message in body["messages"] for call in message.get("tool_calls") or []]
    return asked, [message["tool_call_id"] for message in body["messages"] if message["role"] == "tool"]


def test_calls_with_one_id_or_none_get_ids_and_run_once_each(project, odd_server):
    (project.folder / "out").mkdir()
    tools = {"note": {"kind": "process", "description": "x", "effect": "once", "command": ["sh", "-c", "echo $1 >> out/notes", "sh", "{{ n }}"], "sandbox": {"write": ["out"]},
                      "parameters": {"type": "object", "properties": {"n": {"type": "integer"}}}}}
    server = odd_server([called(("same", "note", {"n": 1}), ("same", "note", {"n": 2}), ("", "note", {"n": 3}))], then=openai_answer("fine"))
    project.on(server.provider(stream=False), agent={"tools": ["note"]}, tools=tools)
    project.run("--id", "R1").expect(0)
    asked, answered = exchange(server.requests[1][1])
    assert len(set(asked)) == 3 and asked == answered and "" not in asked
    assert sorted(project.read("out/notes").split()) == ["1", "2", "3"]


def test_an_id_of_an_earlier_step_is_not_used_again(project, odd_server):
    server = odd_server([called(("call_0", "clock", {})), called(("call_0", "clock", {}))], then=openai_answer("fine"))
    project.on(server.provider(stream=False), agent={"tools": ["clock"]}, tools={"clock": {"kind": "builtin"}})
    project.run("--id", "R1").expect(0)
    asked, answered = exchange(server.requests[2][1])
    assert len(set(asked)) == 2 and asked == answered


def test_a_name_that_nobody_declared_is_made_one_that_may_be_sent(project, odd_server):
    server = odd_server([called(("c1", "rm -rf /; ☠" * 20, {}))], then=openai_answer("fine"))
    project.on(server.provider(stream=False), agent={"tools": ["clock"]}, tools={"clock": {"kind": "builtin"}})
    assert project.run("--id", "R1").expect(0).doc["result"] == "fine"
    sent = [call["function"]["name"] for message in server.requests[1][1]["messages"] for call in message.get("tool_calls") or []]
    assert len(sent) == 1 and 1 <= len(sent[0]) <= 64 and all(c.isascii() and (c.isalnum() or c in "_-") for c in sent[0]), sent


@pytest.mark.parametrize("effect", ["none", "once"])
def test_after_kill_9_each_call_has_one_result(effect, project, odd_server):
    (project.folder / "out").mkdir()
    slow = {"kind": "process", "description": "slow", "effect": effect, "sandbox": {"write": ["out"]}, "timeout": "60s",
            "command": ["sh", "-c", "touch out/began; while [ ! -e out/go ]; do sleep 0.05; done; echo ready"]}
    server = odd_server([called(("c1", "clock", {}), ("c2", "slow", {}))], then=openai_answer("fine"))
    project.on(server.provider(stream=False), agent={"tools": ["clock", "slow"]}, tools={"clock": {"kind": "builtin"}, "slow": slow})
    running = project.start()
    wait_for(lambda: (project.folder / "out/began").exists(), "the tool")
    running.kill()
    project.write("out/go", "")
    assert project.resume("R1").expect(0).doc["result"] == "fine"
    assert exchange(server.requests[1][1]) == (["c1", "c2"], ["c1", "c2"])


def test_a_stream_that_breaks_after_output_was_shown_starts_the_step_again(project, mock_llm):
    server = mock_llm([reply("a text that is long enough to be cut in its middle", fault={"truncate": True, "times": 1})])
    project.on(server.provider())
    document = project.run("--id", "R1").expect(0).doc
    failed = project.events("R1", "llm_failed")
    assert [(e["reason"], e["next"]) for e in failed] == [("llm_truncated", "retry")]
    assert document["result"] == "a text that is long enough to be cut in its middle" and document["llm_calls"] == 2
    steps = {e["step_id"] for e in project.events("R1", "llm_requested")}
    assert len(steps) == 1, "the same step once more"


# --- hedged requests ---------------------------------------------------------------------------------------------------------------------------


def hedged(project, *servers, after="100ms", **more):
    chained(project, *servers, hedge={"after": after}, **more)


def test_a_slow_request_is_hedged_and_the_first_response_counts(project, mock_llm):
    slow, quick = mock_llm([reply("late", latency="60s")]), mock_llm([reply("soon", usage={"input": 10, "output": 20})])
    hedged(project, slow, quick)
    began = time.monotonic()
    document = project.run("--id", "R1").expect(0).doc
    assert time.monotonic() - began < 30
    assert (document["result"], document["llm_calls"], document["failures"]) == ("soon", 2, [])
    second, = project.events("R1", "llm_hedged")
    assert (second["from"], second["to"]) == ("p0/model-0", "p1/model-1") and second["after_ms"] >= 100
    lost, = project.events("R1", "llm_failed")
    asked = {event["provider"]: event["worst_case"] for event in project.events("R1", "llm_requested")}
    assert lost["reason"] == "overtaken" and lost["charged"] == asked["p0"], "nobody knows what the provider charges for it"
    answered, = project.events("R1", "llm_responded")
    assert document["total_cost_usd"] == pytest.approx((lost["charged"] + answered["cost"]) / 1e6, abs=1e-9)
    shown = project.troupe("show", "troupe.yaml", "R1").expect(0).stdout
    assert "HEDGE: p0/model-0 has not answered for" in shown and "p0/model-0 was overtaken" in shown


def test_a_second_request_that_loses_is_ended(project, mock_llm):
    first, slower = mock_llm([reply("first", latency="400ms")]), mock_llm([reply("second", latency="60s")])
    hedged(project, first, slower)
    assert project.run("--id", "R1").expect(0).doc["result"] == "first"
    assert [event["provider"] for event in project.events("R1", "llm_failed")] == ["p1"]
    assert (first.requests, slower.requests) == (1, 1)


def test_where_the_second_request_fails_the_first_goes_on(project, mock_llm):
    first, broken = mock_llm([reply("first", latency="600ms")]), mock_llm([reply("x", fault={"status": 500})])
    hedged(project, first, broken)
    assert project.run("--id", "R1").expect(0).doc["result"] == "first"
    assert (first.requests, broken.requests) == (1, 1), "a second request is not retried"


@pytest.mark.parametrize("before,hedges", [(19, 0), (20, 1)])
def test_p95_is_of_twenty_answers_at_least(before, hedges, project, mock_llm):
    first, second = mock_llm([reply("late", when={"last": "^slow"}, latency="2s"), reply("fine", latency="20ms")]), mock_llm([reply("soon")])
    hedged(project, first, second, after="p95", tasks=in_a_row(*["quick"] * before, "slow"))
    document = project.run("--id", "R1").expect(0).doc
    assert rows(document)[f"t{before}"]["output"] == ("soon" if hedges else "late")
    assert len(project.events("R1", "llm_hedged")) == hedges


def test_a_second_request_for_which_nothing_is_left_is_not_sent(project, mock_llm):
    first, second = mock_llm([reply("first", latency="500ms")]), mock_llm([reply("second")])
    hedged(project, first, second, budget={"steps": 1})
    document = project.run("--id", "R1").expect(0).doc
    assert (document["result"], second.requests) == ("first", 0)
    assert project.events("R1", "llm_hedged") == [] and project.events("R1", "budget_refused") == []
