"""HTTP tools: real servers of this test's own (SEMANTICS 4, 11)."""
import json
import re
import socket
import struct

import pytest

from conftest import calls, http_answer, nobody, reply, wait_for

TEXT = {"type": "object", "required": ["text"], "properties": {"text": {"type": "string"}}}
SECRET = "s3cret-0123456789"


def web(server, path="/", method="GET", **more):
    return {"kind": "http", "description": "A service", "method": method, "url": server.url + path, **more}


def use(project, tools, *wanted, env=None, status=0, **more):
    """A run in which the agent asks for these calls at once, then ends. Returns their `tool_finished` events in the order asked."""
    project.scripted([calls(*wanted), reply("done")], agent={"tools": list(tools)}, tools=tools, **more)
    project.run("--id", "R1", env=env).expect(status)
    events = project.events("R1")
    asked = [call["id"] for event in events if event["type"] == "llm_responded" for call in event["message"]["tool_calls"]]
    done = {event["call_id"]: event for event in events if event["type"] == "tool_finished"}
    return [done[one] for one in asked]


def head(server, number=0):
    return server.requests[number][0]


def header(server, name, number=0):
    found = re.search(rf"(?im)^{name}: *(.*?)\r?$", head(server, number))
    return found.group(1) if found else None


# --- what is sent --------------------------------------------------------------------------------------------------------------------------


def test_arguments_become_path_query_and_body(project, odd_server):
    server = odd_server([], then=http_answer(200, {"stored": True}))
    parameters = {"type": "object", "required": ["id", "n"], "properties": {"id": {"type": "string"}, "n": {"type": "integer"}, "dry": {"type": "boolean"}}}
    tools = {"put": web(server, "/items/{{ id }}?dry={{ dry }}", "PUT", parameters=parameters, effect="idempotent")}
    told = use(project, tools, ("put", {"id": "a b/c", "n": 7, "dry": True}))
    assert json.loads(told[0]["text"]) == {"stored": True}
    assert head(server).startswith("PUT /items/a%20b%2Fc?dry=true HTTP/1.1\r\n")
    assert server.requests[0][1] == {"n": 7} and header(server, "content-type") == "application/json"
    assert header(server, "idempotency-key").startswith("R1/")


def test_a_body_of_the_files_own_keeps_types(project, odd_server):
    server = odd_server([], then=http_answer(200, "ok", kind="text/plain"))
    body = {"query": "{{ text }}", "top": "{{ n }}", "fixed": [1, "x"], "left": "{{ absent }}"}
    parameters = {"type": "object", "properties": {"text": {"type": "string"}, "n": {"type": "integer"}, "absent": {"type": "string"}}}
    use(project, {"ask": web(server, "/", "POST", parameters=parameters, body=body, effect="idempotent")}, ("ask", {"text": '", "evil": "', "n": 3}))
    assert server.requests[0][1] == {"query": '", "evil": "', "top": 3, "fixed": [1, "x"]}


@pytest.mark.parametrize("evil", ["..", "../admin", "x/../../admin", ".", "..\\admin", "", "\r\nHost: evil", "?admin=1", "#x", "@evil.test", "%2e%2e"])
def test_an_argument_does_not_leave_its_place_in_the_path(evil, project, odd_server):
    server = odd_server([], then=http_answer(200, "ok"))
    told = use(project, {"get": web(server, "/users/{{ text }}/name", parameters=TEXT)}, ("get", {"text": evil}))
    if server.requests:
        line, *rest = head(server).split("\r\n")
        assert re.fullmatch(r"GET /users/[A-Za-z0-9._~%-]+/name HTTP/1\.1", line), line
        assert [each for each in rest if each.lower().startswith("host:")] == ["Host: " + server.url[7:]]
        assert evil not in (".", "..")
    else:
        assert told[0]["status"] != "ok" and "was not called" in told[0]["text"], told


@pytest.mark.parametrize("evil", ["a\r\nX-Evil: 1", "a\nX-Evil: 1", "a\u0000b", "\u001b[2J"])
def test_an_argument_makes_no_header_line(evil, project, odd_server):
    server = odd_server([], then=http_answer(200, "ok"))
    told = use(project, {"get": web(server, headers={"X-Text": "t {{ text }}"}, parameters=TEXT)}, ("get", json.dumps({"text": evil})))
    assert server.requests == [] and told[0]["status"] != "ok" and "line break" in told[0]["text"]


def test_a_secret_is_sent_and_seen_nowhere_else(project, odd_server):
    server = odd_server([], then=http_answer(200, f"your token is {SECRET}", kind="text/plain"))
    tools = {"get": web(server, headers={"Authorization": "Bearer {{ env.API_TOKEN }}", "X-Echo": "{{ text }}"}, env_from=["API_TOKEN"], parameters=TEXT)}
    braces = '{{ "{{" }}'  # in a script: two braces
    told = use(project, tools, ("get", {"text": braces + " env.API_TOKEN }}"}), env={"API_TOKEN": SECRET})
    assert header(server, "authorization") == f"Bearer {SECRET}" and header(server, "x-echo") == "{{ env.API_TOKEN }}"
    assert told[0]["text"] == "your token is [redacted]"
    assert SECRET not in project.troupe("show", "troupe.yaml", "R1", "--events").expect(0).stdout
    for file in (project.folder / ".troupe").iterdir():
        assert SECRET.encode() not in file.read_bytes()


@pytest.mark.parametrize("how", ["http", "process"])
def test_a_limit_that_cuts_through_a_secret_leaves_nothing_of_it(how, project, odd_server):
    """The texts are shifted against each other, so that some cut is in the middle of one."""
    given = {"description": "d", "env_from": ["API_TOKEN"], "retries": 0, "limits": {"output": "1KiB"}}
    shifts = (0, 5, 10)
    if how == "http":
        tools = {f"t{n}": web(odd_server([http_answer(200, "." * n + SECRET * 500, kind="text/plain")]), headers={"X-A": "{{ env.API_TOKEN }}"}, **given) for n in shifts}
    else:
        tools = {f"t{n}": {"kind": "process", "command": ["python3", "-c", f"import os; print('.' * {n} + os.environ['API_TOKEN'] * 500)"], "effect": "none", **given} for n in shifts}
    told = use(project, tools, *[(name, {}) for name in tools], env={"API_TOKEN": SECRET})
    for each in told:
        assert "[redacted][redacted]" in each["text"] and "[cut: " in each["text"], each
        assert SECRET[:4] not in each["text"], each


@pytest.mark.parametrize("secret, said", [("abc/def+ghi1234", r"abc\/def+ghi1234"), ("p\u00e4ssw\u00f6rd-1234", r"p\u00e4ssw\u00f6rd-1234")])
def test_a_secret_is_found_as_writers_of_json_escape_it(secret, said, project, odd_server):
    server = odd_server([], then=http_answer(200, '{"h":"%s"}' % said))
    told = use(project, {"get": web(server, headers={"X-A": "{{ env.API_TOKEN }}"}, env_from=["API_TOKEN"])}, ("get", {}), env={"API_TOKEN": secret})
    assert told[0]["text"] == '{"h":"[redacted]"}'


@pytest.mark.parametrize("body, kind, evil, sent", [
    ('{"to": "{{ text }}", "admin": false}', None, 'a", "admin": true, "x": "', '{"to": "a\\", \\"admin\\": true, \\"x\\": \\"", "admin": false}'),
    ("to={{ text }}&admin=0", None, "a&admin=1", "to=a%26admin%3D1&admin=0"),
    ("to={{ text }}&admin=0", "application/x-www-form-urlencoded", "a&admin=1", "to=a%26admin%3D1&admin=0"),
], ids=["json", "form", "form-said"])
def test_an_argument_does_not_leave_its_place_in_a_body_of_text(body, kind, evil, sent, project, odd_server, troupe):
    server = odd_server([], then=http_answer(200, "ok", kind="text/plain"))
    tool = web(server, "/", "POST", parameters=TEXT, body=body, **({"content_type": kind} if kind else {}))
    use(project, {"post": tool}, ("post", {"text": evil}))
    got = server.requests[0][1]
    assert got == (json.loads(sent) if sent.startswith("{") else sent), got
    assert not [each for each in troupe("validate", "troupe.yaml", "--json").expect(0).doc["warnings"] if "/body" in each["pointer"]]


def test_a_text_in_which_values_stand_as_they_are_is_warned_about(project, odd_server, troupe):
    server = odd_server([], then=http_answer(200, "ok"))
    project.scripted([reply("done")], tools={"post": web(server, "/", "POST", parameters=TEXT, body="<to>{{ text }}</to>", effect="once")})
    warnings = troupe("validate", "troupe.yaml", "--json").expect(0).doc["warnings"]
    assert [each for each in warnings if each["pointer"] == "/tools/post/body" and "as they are" in each["message"]], warnings


@pytest.mark.parametrize("value, words", [("abcdefgh\n", "ends with a line break"), (" abcdefgh", "white space before or after")])
def test_a_secret_that_can_be_none_is_told_before_anything_runs(value, words, project, odd_server):
    server = odd_server([], then=http_answer(200, "ok", kind="text/plain"))
    project.scripted([calls(("get", {})), reply("done")], agent={"tools": ["get"]}, tools={"get": web(server, headers={"X-A": "{{ env.API_TOKEN }}"}, env_from=["API_TOKEN"])})
    told = project.run(env={"API_TOKEN": value})
    assert told.status != 0 and words in told.stderr and "API_TOKEN" in told.stderr and "abcdefgh" not in told.stderr and server.requests == []


def test_a_secret_that_is_not_set_is_told_before_anything_runs(project, odd_server):
    server = odd_server([], then=http_answer(200, "ok"))
    project.scripted([reply("done")], agent={"tools": ["get"]}, tools={"get": web(server, headers={"X": "{{ env.API_TOKEN }}"}, env_from=["API_TOKEN"])})
    assert "API_TOKEN" in project.run().expect(2).stderr


# --- what comes back ---------------------------------------------------------------------------------------------------------------------------


def test_a_passing_failure_is_asked_again_after_its_time(project, odd_server):
    server = odd_server([http_answer(503, "busy", "Retry-After: 1"), http_answer(200, "fine", kind="text/plain")])
    told = use(project, {"get": web(server)}, ("get", {}))
    assert told[0]["text"] == "fine" and server.arrived[1] - server.arrived[0] >= 1.0
    assert project.events("R1", "tool_failed")[0]["next"] == "retry"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 422, 501])
def test_what_would_fail_again_is_not_asked_again(status, project, odd_server):
    server = odd_server([], then=http_answer(status, {"error": "no such city"}))
    told = use(project, {"get": web(server)}, ("get", {}))
    assert len(server.requests) == 1 and f"status {status}" in told[0]["text"] and "no such city" in told[0]["text"]


def test_a_request_that_may_have_done_something_is_not_sent_again(project, odd_server):
    def reset(connection, server):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    server = odd_server([reset], then=http_answer(200, "done"))
    told = use(project, {"pay": web(server, "/pay", "POST", parameters=TEXT)}, ("pay", {"text": "5"}))
    assert len(server.requests) == 1 and told[0]["status"] == "in_doubt"
    assert project.count("R1", "outcome_unknown") == 1


@pytest.mark.parametrize("effect", ["once", "idempotent"])
def test_what_was_sent_and_not_answered_in_time_is_in_doubt_for_once(effect, project, odd_server):
    """The service may have done it, so its alternative would do it a second time."""
    server = odd_server([], then=lambda connection, server: server.closing.wait(30))
    other = odd_server([], then=http_answer(200, "paid", kind="text/plain"))
    tools = {"pay": web(server, "/pay", "POST", parameters=TEXT, effect=effect, timeout="500ms", retries=0, alternative="other"), "other": web(other, "/pay", "POST", parameters=TEXT)}
    told = use(project, tools, ("pay", {"text": "5"}))
    doubt = effect == "once"
    assert told[0]["status"] == ("in_doubt" if doubt else "ok") and len(server.requests) == 1 and len(other.requests) == (0 if doubt else 1)
    assert project.count("R1", "outcome_unknown") == doubt


def test_one_whose_connection_was_never_made_is(project):
    tool = {"kind": "http", "description": "d", "method": "POST", "url": nobody() + "/pay", "parameters": TEXT}
    told = use(project, {"pay": tool}, ("pay", {"text": "5"}))
    assert told[0]["status"] == "not_started" and project.count("R1", "tool_failed") == 3


def test_a_service_that_read_a_request_and_is_gone_later_may_have_done_it(project, odd_server):
    """The first is read and broken off, the next finds nobody: that is not the call's whole story."""
    server = odd_server([], then=lambda connection, server: server.listener.shutdown(socket.SHUT_RDWR))
    told = use(project, {"pay": web(server, "/pay", "POST", parameters=TEXT, effect="idempotent")}, ("pay", {"text": "5"}))
    assert len(server.requests) == 1 and told[0]["status"] == "failed" and "an earlier attempt may have taken effect" in told[0]["text"], told


def test_statuses_that_are_no_failure_are_named(project, odd_server):
    server = odd_server([], then=http_answer(404, "nobody", kind="text/plain"))
    assert use(project, {"get": web(server, success=[200, 404])}, ("get", {}))[0]["text"] == "nobody"


def test_an_answer_is_bounded_in_size_and_kind(project, odd_server):
    def endless(connection, server):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
        while not server.closing.is_set():
            connection.sendall(b"x" * 65536)

    endless_one, binary, page = odd_server([], then=endless), odd_server([], then=http_answer(200, b"\x89PNG\0\1", kind="image/png")), odd_server([], then=http_answer(200, "<p>", kind="text/html"))
    tools = {"a": web(endless_one, limits={"output": "10KiB"}), "b": web(binary), "c": web(page, accept=["application/json"])}
    told = use(project, tools, ("a", {}), ("b", {}), ("c", {}))
    assert told[0]["status"] == "ok" and "[cut: " in told[0]["text"] and len(told[0]["text"]) < 11_000
    assert "binary (image/png)" in told[1]["text"] and "text/html" in told[2]["text"]


def test_a_slow_drip_ends_at_the_timeout(project, odd_server):
    def drip(connection, server):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not server.closing.wait(0.05):
            connection.sendall(b"x")

    told = use(project, {"get": web(odd_server([], then=drip), timeout="500ms", retries=0)}, ("get", {}))
    assert told[0]["status"] == "timed_out" and "500 ms" in told[0]["text"]


def test_a_cancelled_run_ends_its_request(project, odd_server):
    server = odd_server([], then=lambda connection, server: server.closing.wait(30))
    project.scripted([calls(("get", {})), reply("done")], agent={"tools": ["get"]}, tools={"get": web(server)})
    background = project.start()
    wait_for(lambda: server.requests, "the request")
    project.troupe("cancel", "troupe.yaml", "R1").expect(0)
    assert background.wait().status == 3


# --- where it may go ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("evil", ["http://169.254.169.254/latest/meta-data/", "http://[::ffff:169.254.169.254]/", "http://2852039166/", "http://0xA9FEA9FE/",
                                  "http://[fd00:ec2::254]/", "http://metadata.test/", "file:///etc/passwd", "gopher://127.0.0.1:11211/"])
@pytest.mark.parametrize("private", [False, True])
def test_no_redirect_leads_to_the_metadata_of_a_cloud(evil, private, project, odd_server, shim):
    server = odd_server([], then=http_answer(302, "", f"Location: {evil}"))
    tools = {"get": web(server, allow_private=private, allow_hosts=["127.0.0.1", "metadata.test"])}
    env = {"LD_PRELOAD": shim("names"), "TROUPE_TEST_NAMES": "metadata.test=169.254.169.254"}
    told = use(project, tools, ("get", {}), env=env)
    assert told[0]["status"] == "failed" and "not allowed" in told[0]["text"], told


def test_credentials_stay_behind_when_a_redirect_leads_elsewhere(project, odd_server):
    other = odd_server([], then=http_answer(200, "there", kind="text/plain"))
    server = odd_server([], then=http_answer(307, "", f"Location: {other.url}/x"))
    tool = web(server, "/", "POST", headers={"X-Key": "{{ env.API_TOKEN }}", "X-Plain": "p"}, env_from=["API_TOKEN"], parameters=TEXT, effect="idempotent")
    told = use(project, {"post": tool}, ("post", {"text": "t"}), env={"API_TOKEN": SECRET})
    assert told[0]["status"] == "failed" and other.requests == [], "another host needs allow_hosts"
    told = use(project_again(project), {"post": {**tool, "allow_hosts": ["127.0.0.1"]}}, ("post", {"text": "t"}), env={"API_TOKEN": SECRET})
    assert told[0]["text"] == "there" and header(server, "x-key") == SECRET
    assert header(other, "x-key") is None and header(other, "x-plain") == "p" and other.requests[0][1] == {"text": "t"}


@pytest.mark.parametrize("method, status, then", [
    ("DELETE", 301, "DELETE"), ("PUT", 302, "PUT"), ("PATCH", 301, "PATCH"), ("POST", 301, "GET"), ("POST", 302, "GET"), ("POST", 308, "POST"),
    ("DELETE", 303, "GET"), ("PUT", 303, "GET"), ("HEAD", 303, "HEAD"),
])
def test_a_redirect_keeps_the_method_unless_its_status_says_otherwise(method, status, then, project, odd_server):
    other = odd_server([], then=http_answer(200, "there", kind="text/plain"))
    server = odd_server([], then=http_answer(status, "", f"Location: {other.url}/there"))
    told = use(project, {"it": web(server, "/", method, parameters=TEXT, allow_hosts=["127.0.0.1"])}, ("it", {"text": "t"}))
    assert told[0]["status"] == "ok" and head(other).startswith(f"{then} /there HTTP/1.1")
    assert other.requests[0][1] == ({"text": "t"} if then in ("PUT", "PATCH", "POST") else None)


@pytest.mark.parametrize("how", ["http", "http_fetch"])
@pytest.mark.parametrize("host, reached", [("localhost", True), ("a.localhost", False)])
def test_localhost_is_an_own_word_only_where_the_file_has_it(how, host, reached, project, odd_server):
    server = odd_server([], then=http_answer(200, "inside", kind="text/plain"))
    url = f"http://{host}:{server.url.rsplit(':', 1)[1]}/"
    tool = {"kind": "http", "description": "d", "url": url} if how == "http" else {"kind": "builtin", "builtin": "http_fetch", "allow_hosts": [host]}
    told = use(project, {"get": {**tool, "retries": 0}}, ("get", {} if how == "http" else {"url": url}))
    assert (told[0]["text"] == "inside") == reached == bool(server.requests), told


def test_a_model_that_names_localhost_gets_nowhere(project, odd_server):
    server = odd_server([], then=http_answer(200, "inside", kind="text/plain"))
    tool = {"kind": "builtin", "builtin": "http_fetch", "allow_hosts": ["127.0.0.2", "*.example"]}
    told = use(project, {"get": tool}, ("get", {"url": f"http://localhost:{server.url.rsplit(':', 1)[1]}/"}))
    assert told[0]["status"] != "ok" and "allow_hosts" in told[0]["text"] and server.requests == []


def project_again(project):
    """The same folder with an empty journal."""
    for file in (project.folder / ".troupe").iterdir():
        file.unlink()
    return project


@pytest.mark.parametrize("answers, private, reached", [
    ("127.0.0.1", False, False),
    ("10.255.255.1+127.0.0.1", False, False),
    ("::1+127.0.0.1", False, False),
    ("127.0.0.1", True, True),
], ids=["loopback", "private-then-loopback", "both-loopbacks", "allowed"])
def test_the_connection_goes_to_the_address_that_was_checked(answers, private, reached, project, odd_server, shim):
    server = odd_server([], then=http_answer(200, "inside", kind="text/plain"))
    port = server.url.rsplit(":", 1)[1]
    tool = {"kind": "http", "description": "d", "url": f"http://service.test:{port}/", "allow_private": private, "retries": 0}
    env = {"LD_PRELOAD": shim("names"), "TROUPE_TEST_NAMES": f"service.test={answers}"}
    told = use(project, {"get": tool}, ("get", {}), env=env)
    assert bool(server.requests) == reached and (told[0]["text"] == "inside") == reached, told


def test_a_name_that_rebinds_gains_nothing(project, odd_server, shim):
    """The first answer is an address that is allowed, every later one is this machine: what is kept was checked, what is asked anew is checked anew."""
    server = odd_server([], then=http_answer(200, "inside", kind="text/plain"))
    port = server.url.rsplit(":", 1)[1]
    tool = {"kind": "http", "description": "d", "url": f"http://rebinds.test:{port}/", "timeout": "300ms", "retries": 2}
    asked = project.folder / "asked"
    env = {"LD_PRELOAD": shim("names"), "TROUPE_TEST_NAMES": "rebinds.test=1.1.1.1|127.0.0.1", "TROUPE_TEST_ASKED": asked}
    told = use(project, {"get": tool}, ("get", {}), env=env)
    assert server.requests == [] and told[0]["status"] != "ok"
    assert asked.exists(), "the name was asked for"


# --- what the file may say -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("more, pointer, words", [
    ({"url": "https://{{ text }}/x"}, "/tools/get/url", "scheme, host and port are fixed text"),
    ({"url": "https://x/?k={{ env.K }}", "env_from": ["K"]}, "/tools/get/url", "headers only"),
    ({"headers": {"X-K": "{{ env.K }}"}}, "/tools/get/headers", "env_from does not name it"),
    ({"headers": {"Host": "evil"}}, "/tools/get/headers/Host", "belongs to the transfer"),
    ({"url": "https://x/{{ txt }}"}, "/tools/get", 'did you mean "text"?'),
    ({"body": {"a": 1}}, "/tools/get/body", "a GET has none"),
    ({"allow_hosts": ["y"]}, "/tools/get/allow_hosts", 'does not have "x"'),
    ({"success": [0]}, "/tools/get/success/0", "0 is less than the minimum 100"),
    ({"limits": {"memory": "1MiB"}}, "/tools/get/limits/memory", "memory"),
    ({"command": ["x"]}, "/tools/get/command", "does not go with kind: http"),
])
def test_what_cannot_be_meant_is_refused_where_it_stands(more, pointer, words, project, troupe):
    tool = {"kind": "http", "description": "d", "url": "https://x/", "parameters": TEXT, **more}
    project.scripted([reply("done")], tools={"get": tool})
    problems = troupe("validate", "troupe.yaml", "--json").expect(2).doc["problems"]
    assert [each for each in problems if each["pointer"] == pointer and words in each["message"]], problems


# --- after kill -9 -----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("effect, again", [("none", True), ("idempotent", True), ("once", False)])
def test_a_request_that_was_under_way_when_the_process_died(effect, again, project, odd_server):
    """By its effect it is sent again, with the same key, or in doubt."""
    server = odd_server([lambda connection, server: server.closing.wait(30)], then=http_answer(200, "fine", kind="text/plain"))
    project.scripted([calls(("pay", {"text": "5"})), reply("{{ last }}")], agent={"tools": ["pay"]}, tools={"pay": web(server, "/pay", "POST", parameters=TEXT, effect=effect)})
    running = project.start()
    wait_for(lambda: server.requests, "the request")
    running.kill()
    result = project.resume("R1").expect(0).doc["result"]
    assert len(server.requests) == (2 if again else 1)
    if again:
        assert result == "fine" and header(server, "idempotency-key", 0) == header(server, "idempotency-key", 1)
        assert server.requests[0][1] == server.requests[1][1]
    else:
        assert "nobody knows" in result and project.count("R1", "outcome_unknown") == 1
