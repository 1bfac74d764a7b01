"""Providers over real sockets: both protocols, and what is done when they fail (SEMANTICS 1)."""
import json
import time

import pytest

from conftest import PRICE, QUICK, calls, http_answer, openai_answer, reply

KINDS = [("openai", True), ("openai", False), ("anthropic", True), ("anthropic", False)]
both = pytest.mark.parametrize("kind,stream", KINDS, ids=lambda value: value if isinstance(value, str) else ("streamed" if value else "whole"))


def cost(*usages):
    """Micro-dollars of (input, output) pairs at PRICE, in dollars."""
    return sum(i * PRICE["input"] + o * PRICE["output"] for i, o in usages) / 1e6


# --- answers ---------------------------------------------------------------------------------------------------------------------------------


@both
def test_an_answer_with_its_usage_and_cost(kind, stream, project, mock_llm):
    server = mock_llm([reply("Fine \u00e9\U0001f600 \"quoted\"\nline", usage={"input": 37, "output": 21})])
    project.on(server.provider(kind, stream=stream))
    document = project.run("--id", "R1").expect(0).doc
    assert document["result"] == "Fine \u00e9\U0001f600 \"quoted\"\nline"
    assert document["tokens"] == {"input": 37, "cached_input": 0, "output": 21}
    assert document["total_cost_usd"] == pytest.approx(cost((37, 21)), abs=1e-9)
    assert (document["llm_calls"], document["tool_calls"], document["workflow_status"], document["reason"]) == (1, 0, "completed", None)
    assert document["results"][0]["cost_usd"] == document["total_cost_usd"]
    assert document["agents_used"] == ["worker"] and document["failures"] == []
    assert server.requests == 1 and server.stats()["by_agent"] == {"worker": 1}


@both
def test_tools_go_there_and_back(kind, stream, project, mock_llm):
    server = mock_llm([
        calls(("calculator", {"expression": "6*7"}), ("clock", {}), usage={"input": 40, "output": 9}),
        {"when": {"has_tool_result": "calculator"}, "capture": {"n": {"from": "tool:calculator", "pattern": "(42)"}},
         "reply": {"text": "It is {{ captured.n }}."}, "usage": {"input": 60, "output": 5}},
    ])
    project.on(server.provider(kind, stream=stream), agent={"tools": ["calculator", "clock"]},
               tools={"calculator": {"kind": "builtin"}, "clock": {"kind": "builtin"}})
    document = project.run().expect(0).doc
    assert document["result"] == "It is 42."
    assert (document["llm_calls"], document["tool_calls"]) == (2, 2)
    assert document["total_cost_usd"] == pytest.approx(cost((40, 9), (60, 5)), abs=1e-9)
    assert server.requests == 2


@pytest.mark.parametrize("price,each", [({"cached_input": 1}, 1), ({"cached_input": 0}, 0), ({}, 10)], ids=["cheaper", "free", "as-input"])
def test_cached_input_has_its_own_price(price, each, project, mock_llm):
    server = mock_llm([reply("fine", usage={"input": 100, "cached_input": 60, "output": 10})])
    project.on(server.provider(), agent={"system": "worker" + " and more" * 100},
               model={"link": {"usd_per_mtok": {"input": 10, "output": 20, **price}}})
    document = project.run().expect(0).doc
    assert document["tokens"] == {"input": 100, "cached_input": 60, "output": 10}
    assert document["total_cost_usd"] == pytest.approx((40 * 10 + 60 * each + 10 * 20) / 1e6, abs=1e-9)


def test_usage_that_is_not_stated_is_estimated(project, mock_llm):
    project.on(mock_llm([reply("four" * 10, usage="none")]).provider())
    document = project.run("--id", "R1").expect(0).doc
    assert document["tokens"]["output"] > 0 and document["total_cost_usd"] > 0
    assert project.events("R1", "llm_responded")[0]["estimated"] is True


@pytest.mark.parametrize("usage", [{"input": -5, "output": 3}, {"input": 900_000, "output": 3}, {"input": 20, "output": 90_000}])
def test_absurd_usage_is_an_event_and_costs_the_worst_case(usage, project, mock_llm):
    project.on(mock_llm([reply("fine", usage=usage)]).provider())
    document = project.run("--id", "R1").expect(0).doc
    assert project.count("R1", "usage_rejected") == 1
    worst = project.events("R1", "llm_requested")[0]["worst_case"]
    assert document["total_cost_usd"] == pytest.approx(worst / 1e6, abs=1e-9)


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999", "9" * 400], ids=["nan", "infinity", "1e999", "400-digits"])
@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_usage_that_is_no_number_spoils_no_answer(stream, number, project, odd_server):
    usage = '"usage": {"prompt_tokens": 10, "completion_tokens": %s}' % number
    if stream:
        body = ('data: {"choices": [{"index": 0, "delta": {"content": "fine"}, "finish_reason": "stop"}]}\n\n'
                'data: {"choices": [], %s}\n\ndata: [DONE]\n\n' % usage)
    else:
        body = '{"choices": [{"index": 0, "message": {"role": "assistant", "content": "fine"}, "finish_reason": "stop"}], %s}' % usage
    server = odd_server([], then=http_answer(200, body, kind="text/event-stream" if stream else "application/json"))
    project.on(server.provider(stream=stream))
    document = project.run("--id", "R1").expect(0).doc
    assert document["result"] == "fine" and len(server.requests) == 1
    assert project.count("R1", "usage_rejected") == 1
    worst = project.events("R1", "llm_requested")[0]["worst_case"]
    assert document["total_cost_usd"] == pytest.approx(worst / 1e6, abs=1e-9)


@pytest.mark.parametrize("total,output", [(164, 153), (14, 3), (None, 3)], ids=["reasoning", "none", "unsaid"])
def test_output_that_stands_in_the_total_alone_is_charged(total, output, project, odd_server):
    usage = {"prompt_tokens": 11, "completion_tokens": 3, **({"total_tokens": total} if total else {})}
    body = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "fine"}, "finish_reason": "stop"}], "usage": usage}
    project.on(odd_server([], then=http_answer(200, body)).provider(stream=False))
    document = project.run("--id", "R1").expect(0).doc
    assert document["tokens"]["output"] == output and document["total_cost_usd"] == pytest.approx(cost((11, output)), abs=1e-9)


def test_output_in_the_total_beyond_what_was_asked_for_costs_the_worst_case(project, odd_server):
    usage = {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 1_000}
    body = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "fine"}, "finish_reason": "stop"}], "usage": usage}
    project.on(odd_server([], then=http_answer(200, body)).provider(stream=False))
    document = project.run("--id", "R1").expect(0).doc
    assert project.count("R1", "usage_rejected") == 1
    assert document["total_cost_usd"] == pytest.approx(project.events("R1", "llm_requested")[0]["worst_case"] / 1e6, abs=1e-9)


@both
def test_an_empty_answer_costs_what_it_states(kind, stream, project, mock_llm):
    server = mock_llm([reply("", usage={"input": 10, "output": 3})])
    project.on(server.provider(kind, stream=stream), model={"retry": {**QUICK, "attempts": 2}})
    document = project.run("--id", "R1").expect(1).doc
    assert document["reason"] == "llm_empty" and server.requests == 2
    assert document["total_cost_usd"] == pytest.approx(cost((10, 3), (10, 3)), abs=1e-9)
    assert [event["charged"] for event in project.events("R1", "llm_failed")] == [10 * PRICE["input"] + 3 * PRICE["output"]] * 2


def test_an_empty_answer_of_a_script_costs_what_it_states(project):
    project.write("s.yaml", {"version": 1, "rules": [reply("", usage={"input": 10, "output": 3})]})
    project.on({"kind": "scripted", "script": "s.yaml"}, model={"retry": {**QUICK, "attempts": 1}})
    assert project.run().expect(1).doc["total_cost_usd"] == pytest.approx(cost((10, 3)), abs=1e-9)


@pytest.mark.parametrize("code,charged", [("invalid_api_key", False), ("insufficient_quota", False), ("server_error", True)])
def test_a_refusal_under_200_costs_nothing(code, charged, project, mock_llm):
    project.on(mock_llm([reply("fine", fault={"error200": True, "code": code})]).provider(stream=False), model={"retry": {**QUICK, "attempts": 1}})
    document = project.run("--id", "R1").expect(1).doc
    worst = project.events("R1", "llm_requested")[0]["worst_case"] if charged else 0
    assert document["total_cost_usd"] == pytest.approx(worst / 1e6, abs=1e-9)


@pytest.mark.parametrize("status, error, charged", [
    (408, {"message": "timed out"}, True), (400, {"code": "content_filter", "message": "The prompt was filtered"}, True), (400, {"message": "no"}, False), (409, {"message": "busy"}, False)])
def test_a_status_that_may_be_billed_costs_the_worst_case(status, error, charged, project, odd_server):
    project.on(odd_server([], then=http_answer(status, {"error": error})).provider(), model={"retry": {**QUICK, "attempts": 1}})
    document = project.run("--id", "R1").expect(1).doc
    worst = project.events("R1", "llm_requested")[0]["worst_case"] if charged else 0
    assert document["total_cost_usd"] == pytest.approx(worst / 1e6, abs=1e-9) and (worst > 0) == charged


THOUGHT = {"message": "Could not finish the message because max_tokens or model output limit was reached. Please try again with higher max_tokens.", "type": "invalid_request_error"}


def test_a_model_that_thought_all_the_way_is_left_and_charged(project, mock_llm, odd_server):
    """OpenAI's reasoning models say so by a 400: the request was no mistake, and what was thought is billed."""
    first, second = odd_server([], then=http_answer(400, {"error": THOUGHT})), mock_llm([reply("two")])
    chain(project, first, second)
    assert project.run("--id", "R1").expect(0).doc["result"] == "two" and len(first.requests) == 1
    failed, = project.events("R1", "llm_failed")
    assert failed["reason"] == "llm_truncated" and failed["charged"] > 0
    project.on(first.provider())
    assert "Raise max_tokens of the agents that use model" in project.run().expect(1).doc["results"][0]["error"]
    doctor = project.troupe("doctor", "troupe.yaml", "--yes", "--json").expect(0).doc
    assert [row["state"] for row in doctor["checks"] if row["kind"] == "model"] == ["ok"], "the service works"


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
@pytest.mark.parametrize("written", [{"type": "object"}, {"required": ["a"], "properties": {"a": {"type": "string"}}}])
def test_a_tools_schema_says_its_type_and_properties(written, kind, project, mock_llm, odd_server):
    """OpenAI refuses the whole request else: "object schema missing properties"."""
    server = odd_server([], then=http_answer(400, {"error": {"message": "enough seen"}}))
    tool = {"kind": "process", "description": "x", "command": ["true"], "effect": "none", "parameters": written}
    project.on(server.provider(kind), agent={"tools": ["x"]}, tools={"x": tool})
    project.run().expect(1)
    declared = server.requests[0][1]["tools"][0]
    schema = declared["function"]["parameters"] if kind == "openai" else declared["input_schema"]
    assert schema == {"type": "object", "properties": {}, **written}


def test_how_much_a_model_thinks_is_sent(project, odd_server):
    server = odd_server([], then=openai_answer("fine"))
    project.on(server.provider(stream=False), model={"link": {"reasoning_effort": "none"}})
    project.run().expect(0)
    assert server.requests[0][1]["reasoning_effort"] == "none"


# --- retries ---------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
def test_retry_after_is_a_lower_bound(kind, project, mock_llm):
    server = mock_llm([reply("fine", latency="500ms", fault={"status": 429, "retry_after": 1, "times": 1})])
    project.on(server.provider(kind))
    document = project.run("--id", "R1").expect(0).doc
    events = project.events("R1")
    failed = next(e for e in events if e["type"] == "llm_failed")
    asked = [e for e in events if e["type"] == "llm_requested"]
    assert (failed["http_status"], failed["reason"], failed["next"], failed["counted"]) == (429, "llm_rate_limited", "retry", False)
    # A second from the answer, which took half a second; the event that tells of it has the time at which it was recorded, a little later.
    assert asked[1]["time_us"] - asked[0]["time_us"] >= 1_500_000
    assert document["llm_calls"] == 1, "a request that was answered 429 is no step"
    assert server.requests == 2


def test_a_retry_after_beyond_the_cap_fails_over_now(project, mock_llm):
    first = mock_llm([reply("one", fault={"status": 429, "retry_after": 20})])
    second = mock_llm([reply("two")])
    chain(project, first, second)
    told = project.run().expect(0)
    assert told.doc["result"] == "two" and told.seconds < 5
    assert (first.requests, second.requests) == (1, 1)


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
@pytest.mark.parametrize("fault", [{"status": 500}, {"status": 503}, {"status": 529}, {"status": 408}, {"truncate": True}, {"malformed": True}, {"empty": True},
                                   {"error200": True}, {"reset": True}], ids=lambda f: str(next(iter(f.values())) if "status" in f else next(iter(f))))
def test_a_passing_fault_is_retried(kind, fault, project, mock_llm):
    server = mock_llm([reply("fine and long enough to be cut somewhere", fault={**fault, "times": 2})])
    project.on(server.provider(kind))
    document = project.run("--id", "R1").expect(0).doc
    assert document["result"] == "fine and long enough to be cut somewhere"
    assert server.requests == 3
    assert project.count("R1", "llm_failed") == 2
    assert document["llm_calls"] == 3


@pytest.mark.parametrize("fault", [{"truncate": True}, {"malformed": True}, {"empty": True}, {"error200": True}], ids=lambda f: next(iter(f)))
def test_a_passing_fault_of_a_whole_answer_is_retried(fault, project, mock_llm):
    server = mock_llm([reply("fine", fault={**fault, "times": 1})])
    project.on(server.provider(stream=False))
    project.run().expect(0)
    assert server.requests == 2


def test_the_provider_sees_at_most_the_configured_requests(project, mock_llm):
    server = mock_llm([reply("fine", fault={"status": 500})])
    project.on(server.provider(), model={"retry": {**QUICK, "attempts": 2}})
    document = project.run("--id", "R1").expect(1).doc
    assert server.requests == 2
    assert document["workflow_status"] == "failed" and document["reason"] == "llm_server_error"
    assert document["results"][0]["status"] == "error" and document["results"][0]["output"] is None
    assert {"task_id": "t", "agent": "worker", "reason": "llm_server_error"} in document["failures"]


def test_task_attempts_multiply_the_requests_but_no_more(project, mock_llm):
    server = mock_llm([reply("fine", fault={"status": 500})])
    project.on(server.provider(), model={"retry": {**QUICK, "attempts": 2}, "breaker": {"failures": 100}},
               tasks=[{"id": "t", "agent": "worker", "instruction": "x", "attempts": 2}])
    document = project.run().expect(1).doc
    assert server.requests == 4 and document["results"][0]["attempts"] == 2


# --- fail-over ---------------------------------------------------------------------------------------------------------------------------------


def chain(project, *servers, kind="openai", **more):
    links = [{"provider": f"p{i}", "model": f"model-{i}", "usd_per_mtok": PRICE} for i in range(len(servers))]
    project.configure(providers={f"p{i}": server.provider(kind) for i, server in enumerate(servers)},
                      models={"m": {"chain": links, "retry": QUICK, **more}}, agents={"worker": {"model": "m", "system": "worker", "max_tokens": 200}},
                      workflows={"job": {"tasks": [{"id": "t", "agent": "worker", "instruction": "Do it."}]}})


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_model_that_refuses_us_is_left_at_once(status, kind, project, mock_llm):
    first, second = mock_llm([reply("one", fault={"status": status})]), mock_llm([reply("two")])
    chain(project, first, second, kind=kind)
    document = project.run("--id", "R1").expect(0).doc
    assert document["result"] == "two"
    assert (first.requests, second.requests) == (1, 1)
    over = project.events("R1", "llm_failed_over")
    reason = "llm_not_found" if status == 404 else "llm_auth"
    assert [(e["from"], e["to"], e["reason"]) for e in over] == [("p0/model-0", "p1/model-1", reason)]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_no_credit_left_is_not_retried(status, project, mock_llm):
    first = mock_llm([reply("one", fault={"status": status, "code": "insufficient_quota"})])
    second = mock_llm([reply("two")])
    chain(project, first, second)
    assert project.run().expect(0).doc["result"] == "two"
    assert (first.requests, second.requests) == (1, 1)


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
def test_a_bad_request_is_neither_retried_nor_failed_over(kind, project, mock_llm):
    first, second = mock_llm([reply("one", fault={"status": 400, "message": "messages: the format is wrong"})]), mock_llm([reply("two")])
    chain(project, first, second, kind=kind)
    document = project.run().expect(1).doc
    assert (first.requests, second.requests) == (1, 0)
    assert document["reason"] == "llm_bad_request" and document["total_cost_usd"] == 0, "a refused request costs nothing"
    assert "the format is wrong" in document["results"][0]["error"]


@pytest.mark.parametrize("another", [True, False], ids=["and another model", "and no other model"])
def test_what_can_never_be_sent_is_not_retried(another, project, mock_llm):
    second = mock_llm([reply("two")])
    chain(project, second, *([second] if another else []))
    project.data["providers"]["p0"]["base_url"] = "http://127.0.0.1:1/" + "long" * 20_000
    project.write("troupe.yaml", project.data)
    document = project.run("--id", "R1").expect(0 if another else 1).doc
    assert document["result"] == ("two" if another else None) and second.requests == document["llm_calls"] == (1 if another else 0)
    failure, = project.events("R1", "llm_failed")
    assert failure["reason"] == "llm_bad_request" and failure["next"] == ("fail_over" if another else "give_up") and failure["charged"] == 0
    assert "the URL is longer than 64 KiB; mend base_url, proxy or headers of this provider" in failure["message"]
    assert another or failure["message"] in document["results"][0]["error"]
    assert project.count("R1", "breaker_changed") == 0


def test_when_all_are_exhausted_every_attempt_is_listed(project, mock_llm):
    first, second = mock_llm([reply("one", fault={"status": 503})]), mock_llm([reply("two", fault={"status": 401})])
    chain(project, first, second)
    told = project.run().expect(1)
    failure = told.doc["results"][0]
    assert failure["status"] == "error"
    assert (first.requests, second.requests) == (3, 1)
    assert failure["error"].count("HTTP 503") == 3 and "401" in failure["error"] and "p0/model-0" in failure["error"] and "p1/model-1" in failure["error"], failure["error"]


def test_nobody_listens_there(project, mock_llm):
    project.on({"kind": "openai", "base_url": "http://127.0.0.1:1/v1"})
    document = project.run("--id", "R1").expect(1).doc
    assert document["llm_calls"] == 0, "a request whose connection was never made is no step"
    assert document["reason"] == "llm_connection" and document["total_cost_usd"] == 0


def test_a_slow_provider_times_out_and_is_retried(project, mock_llm):
    server = mock_llm([reply("fine", fault={"timeout": True, "times": 1})])
    project.on(server.provider(timeout="400ms"))
    told = project.run("--id", "R1").expect(0)
    assert project.events("R1", "llm_failed")[0]["reason"] == "llm_timeout"
    assert server.requests == 2 and told.seconds < 10
    worst = project.events("R1", "llm_failed")[0]["charged"] / 1e6
    assert 0 < worst < told.doc["total_cost_usd"], "nobody knows whether it was paid for: its worst case is charged"


def test_a_slow_drip_ends_at_the_timeout_too(project, mock_llm):
    server = mock_llm([reply("fine and a little longer", fault={"slow": True, "times": 1})])
    project.on(server.provider(timeout="500ms"))
    project.run("--id", "R1").expect(0)
    assert project.events("R1", "llm_failed")[0]["reason"] == "llm_timeout"


def test_a_breaker_opens_and_is_no_bypass(project, mock_llm):
    server = mock_llm([reply("fine", fault={"status": 500})])
    project.on(server.provider(), model={"breaker": {"failures": 2, "open_for": "60s"}},
               tasks=[{"id": "t", "agent": "worker", "instruction": "x", "attempts": 3}])
    document = project.run("--id", "R1").expect(1).doc
    assert server.requests == 2
    assert [e["state"] for e in project.events("R1", "breaker_changed")] == ["open"]
    assert "breaker" in document["results"][0]["error"] or "open" in document["results"][0]["error"]


# --- odd providers -------------------------------------------------------------------------------------------------------------------------------


def test_a_request_is_sent_once_even_on_a_connection_that_dies(project, odd_server):
    def die(connection, _):
        connection.close()
    server = odd_server([die], then=openai_answer("fine"))
    project.on(server.provider(stream=False))
    document = project.run("--id", "R1").expect(0).doc
    assert len(server.requests) == 2 and project.count("R1", "llm_requested") == 2
    assert document["result"] == "fine"


def test_our_request_is_what_the_protocol_wants(project, odd_server):
    server = odd_server([], then=openai_answer("fine"))
    project.on(server.provider(stream=False, api_key_env="SECRET_KEY", headers={"X-Team": "blue"}), agent={"temperature": 0.5, "tools": ["clock"]},
               tools={"clock": {"kind": "builtin"}})
    told = project.run(env={"SECRET_KEY": "sk-verysecret-0123456789"}).expect(0)
    head, body = server.requests[0]
    assert head.startswith("POST /v1/chat/completions HTTP/1.1")
    assert "authorization: bearer sk-verysecret-0123456789" in head.lower() and "x-team: blue" in head.lower()
    assert body["model"] == "test-model" and body["temperature"] == 0.5
    assert [m["role"] for m in body["messages"]] == ["system", "user"] and body["messages"][1]["content"] == "Do the work."
    assert body["tools"][0]["type"] == "function" and body["tools"][0]["function"]["name"] == "clock"
    assert 200 in (body.get("max_tokens"), body.get("max_completion_tokens"))
    assert "verysecret" not in told.stdout + told.stderr


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_the_limits_field_is_what_the_file_says(field, project, odd_server):
    server = odd_server([], then=openai_answer("fine"))
    project.on(server.provider(stream=False, max_tokens_field=field))
    project.run().expect(0)
    assert {key: value for key, value in server.requests[0][1].items() if key.startswith("max_")} == {field: 200}


def test_a_provider_that_wants_the_other_field_is_told_as_that(project, odd_server):
    words = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    server = odd_server([], then=http_answer(400, {"error": {"message": words, "type": "invalid_request_error", "code": "unsupported_parameter"}}))
    project.on(server.provider(stream=False))
    document = project.run("--id", "R1").expect(1).doc
    assert document["reason"] == "llm_bad_request" and len(server.requests) == 1
    assert 'Set max_tokens_field of provider "p"' in document["results"][0]["error"]


def test_the_path_stands_before_the_query_of_an_address(project, odd_server):
    server = odd_server([], then=openai_answer("fine"))
    project.on({"kind": "openai", "base_url": server.url + "/openai/deployments/x?api-version=1", "stream": False})
    project.run().expect(0)
    assert server.requests[0][0].startswith("POST /openai/deployments/x/chat/completions?api-version=1 HTTP/1.1")


def test_a_whole_stream_is_an_answer_also_where_nobody_asked_for_one(project, odd_server):
    body = 'data: {"choices": [{"index": 0, "delta": {"content": "fine"}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'
    project.on(odd_server([], then=http_answer(200, body, kind="text/event-stream")).provider(stream=False))
    assert project.run().expect(0).doc["result"] == "fine"


def test_a_header_that_is_too_long_is_told_as_that(project, odd_server):
    project.on(odd_server([], then=http_answer(200, "abc", "X-A: " + "a" * 1_000_000)).provider(stream=False), model={"retry": {**QUICK, "attempts": 1}})
    told = project.run("--id", "R1").expect(1).doc["results"][0]["error"]
    assert "a header of more than 100 KiB" in told and "memory" not in told


@pytest.mark.parametrize("more, pointer, words", [
    ({"base_url": "http://x/v1#y"}, "/providers/p/base_url", "a fragment (#) is never sent"),
    ({"headers": {"Content-Length": "3"}}, "/providers/p/headers/Content-Length", "belongs to the transfer"),
    ({"headers": {"transfer-encoding": "chunked"}}, "/providers/p/headers/transfer-encoding", "belongs to the transfer"),
])
def test_what_no_request_can_have_is_refused_where_it_stands(more, pointer, words, project, troupe):
    project.on({"kind": "openai", "base_url": "http://x/v1", **more})
    problems = troupe("validate", "troupe.yaml", "--json").expect(2).doc["problems"]
    assert [each for each in problems if each["pointer"] == pointer and words in each["message"]], problems


def test_a_secret_is_never_shown_even_when_a_provider_echoes_it(project, odd_server):
    secret = "sk-verysecret-0123456789"
    server = odd_server([], then=http_answer(400, {"error": {"message": f"bad key {secret}", "type": "invalid_request_error"}}))
    project.on(server.provider(api_key_env="SECRET_KEY"))
    told = project.run("--id", "R1", env={"SECRET_KEY": secret}).expect(1)
    shown = project.troupe("show", "troupe.yaml", "R1", "--events", env={"SECRET_KEY": secret})
    assert secret not in told.stdout + told.stderr + shown.stdout
    for path in (project.folder / ".troupe").iterdir():
        assert secret.encode() not in path.read_bytes(), f"{path} holds the secret"


def test_a_missing_key_is_said_before_anything_is_sent(project, mock_llm):
    server = mock_llm([reply("fine")])
    project.on(server.provider(api_key_env="NOT_SET_KEY"))
    told = project.run()
    assert told.status in (1, 2) and "NOT_SET_KEY" in told.stderr + told.stdout, str(told)
    assert server.requests == 0


@pytest.mark.parametrize("key", ["a\nb", "sk-0123456789\n", " sk-0123456789", "\n"])
def test_a_key_that_can_be_none_is_said_before_anything_is_sent(key, project, mock_llm):
    server = mock_llm([reply("fine")])
    project.on(server.provider(api_key_env="SOME_KEY"))
    told = project.run(env={"SOME_KEY": key}).expect(2)
    assert 'variable "SOME_KEY"' in told.stderr and "0123456789" not in told.stderr and server.requests == 0


@pytest.mark.parametrize("answer", [
    http_answer(200, b"\x00\xff" * 500), http_answer(200, "[" * 20_000), http_answer(200, "null"), http_answer(200, {"choices": []}),
    http_answer(200, {"choices": [{"message": {"content": 7}, "finish_reason": "stop"}]}), b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999999999999\r\n\r\n{}",
    http_answer(200, "data: {\"choices\": [}\n\n", kind="text/event-stream"), http_answer(200, "data: [DONE]\n\n", kind="text/event-stream"),
], ids=["bytes", "deep", "null", "no_choice", "wrong_type", "no_http", "absurd_length", "bad_event", "only_done"])
def test_an_answer_that_makes_no_sense_is_an_error_never_a_crash(answer, project, odd_server):
    server = odd_server([], then=answer)
    project.on(server.provider(), model={"retry": {**QUICK, "attempts": 2}})
    document = project.run().expect(1).doc
    assert document["results"][0]["status"] == "error" and document["results"][0]["error"]
    assert len(server.requests) == 2


def test_a_redirect_carries_the_key_nowhere(project, odd_server):
    other = odd_server([], then=openai_answer("stolen"))
    server = odd_server([], then=http_answer(302, "", f"Location: {other.url}/v1/chat/completions"))
    project.on(server.provider(stream=False, api_key_env="SECRET_KEY"), model={"retry": {**QUICK, "attempts": 1}})
    project.run(env={"SECRET_KEY": "sk-verysecret-0123456789"}).expect(1)
    assert other.requests == []


def test_mock_llm_counts(project, mock_llm):
    server = mock_llm([reply("fine")], "--fault", "503:2")
    project.on(server.provider())
    project.run().expect(0)
    stats = server.stats()
    assert stats["requests"] == 3 and stats["by_status"] == {"503": 2, "200": 1} and stats["max_in_flight"] == 1


@pytest.mark.parametrize("status,asked,reason", [(429, 2, "llm_rate_limited"), (401, 1, "llm_auth"), (400, 1, "llm_bad_request")])
def test_the_status_of_an_error_counts_though_its_body_stalls(status, asked, reason, project, odd_server):
    head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nRetry-After: 0\r\nContent-Length: 100\r\n\r\n".encode()

    def stall(connection, server):
        connection.sendall(head + b'{"error": {"message": "no')
        server.closing.wait(5)

    server = odd_server([], then=stall)
    project.on(server.provider(stream=False, timeout="500ms"), model={"retry": {**QUICK, "attempts": 2}})
    document = project.run("--id", "R1").expect(1).doc
    assert document["reason"] == reason and len(server.requests) == asked and document["total_cost_usd"] == 0
    assert [event["http_status"] for event in project.events("R1", "llm_failed")] == [status] * asked


@pytest.mark.parametrize("error", ["", {}, None], ids=["text", "object", "null"])
def test_an_empty_error_beside_an_answer_is_none(error, project, odd_server):
    body = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "fine"}, "finish_reason": "stop"}], "error": error}
    server = odd_server([], then=http_answer(200, body))
    project.on(server.provider(stream=False))
    assert project.run().expect(0).doc["result"] == "fine" and len(server.requests) == 1
