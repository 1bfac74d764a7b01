"""`troupe mock-llm` seen by a plain HTTP client (INTERFACES 4)."""
import http.client
import json
import socket
import threading
from urllib.parse import urlparse

import pytest

from conftest import SIGTERM, reply


def ask(server, text="hello", path="/v1/chat/completions", headers=None, **more):
    place = urlparse(server.url)
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=10)
    body = {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": text}], **more}
    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json", "anthropic-version": "2023-06-01", **(headers or {})})
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    return answer.status, data


def test_the_same_seed_misbehaves_the_same(mock_llm):
    def seen(seed):
        server = mock_llm([reply("fine")], "--fault", "503:0.3 429:0.2", "--seed", str(seed))
        return [ask(server, f"text {i}")[0] for i in range(60)]
    first = seen(7)
    assert first == seen(7) and first != seen(8)
    assert {200, 503, 429} == set(first)


def test_an_agent_is_known_by_header_or_by_its_prompt(mock_llm):
    server = mock_llm([reply("one", when={"agent": "alpha"}), reply("two", when={"agent": "beta"}), reply("other")])
    assert b"one" in ask(server, headers={"X-Troupe-Agent": "alpha"})[1]
    assert b"two" in ask(server, path="/v1/messages", system="beta\nand more")[1]
    assert b"other" in ask(server)[1]


@pytest.mark.parametrize("path,end", [("/v1/chat/completions", b"data: [DONE]\n\n"), ("/v1/messages", b"event: message_stop")])
def test_streams_end_as_the_protocol_says(path, end, mock_llm):
    status, data = ask(mock_llm([reply("fine")]), path=path, stream=True)
    assert status == 200 and end in data[-200:]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"messages": 7}', b"[" * 100_000, b"\xff\xfe", b'{"model": "m", "messages": [{"role": "user", "content": {"a": 1}}]}'])
def test_a_request_that_makes_no_sense_is_a_400(body, mock_llm):
    server = mock_llm([reply("fine")])
    place = urlparse(server.url)
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=10)
    connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
    assert connection.getresponse().status in (400, 413, 422)
    assert ask(server)[0] == 200


@pytest.mark.parametrize("raw", [b"GARBAGE\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20_000 + b"\r\n", b"POST /v1/messages HTTP/1.1\r\nContent-Length: -5\r\n\r\n", b"\x16\x03\x01\x02\x00" * 50])
def test_what_is_no_http_does_no_harm(raw, mock_llm):
    server = mock_llm([reply("fine")])
    place = urlparse(server.url)
    with socket.create_connection((place.hostname, place.port), timeout=10) as connection:
        try:
            connection.sendall(raw)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass
        except ConnectionError:
            pass
    assert ask(server)[0] == 200


def test_many_connections_at_once(mock_llm):
    server = mock_llm([reply("fine")], "--latency", "300ms")
    seen = []
    threads = [threading.Thread(target=lambda: seen.append(ask(server)[0])) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [200] * 100 and server.stats()["max_in_flight"] > 20


def test_a_taken_port_is_said_so(mock_llm, troupe, tmp_path):
    server = mock_llm([reply("fine")])
    told = troupe("mock-llm", "--script", next(tmp_path.glob("mock-*.json")), "--listen", urlparse(server.url).netloc).expect(4)
    assert "port" in told.stderr


@pytest.mark.parametrize("option", [["--fault", "teapot:1"], ["--fault", "429:2.5"], ["--fault", ""], ["--listen", "nowhere"], ["--listen", "0.0.0.0:0"],
                                    ["--listen", "[::]:0"], ["--latency", "fast"], ["--seed", "-1"], ["--seed", "1" * 23], ["--seed", ""]])
def test_wrong_options_are_told(option, project, troupe):
    project.write("s.json", {"version": 1, "rules": [reply("x")]})
    told = troupe("mock-llm", "--script", "s.json", *option).expect(2)
    assert option[0] in told.stderr and told.stdout == ""


def test_it_ends_on_sigterm(mock_llm):
    server = mock_llm([reply("fine")])
    server.process.signal(SIGTERM)
    assert server.process.wait(10).status in (0, 130, 143)
