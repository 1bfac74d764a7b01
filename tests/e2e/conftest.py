"""Fixtures of the end-to-end tests: the real binary, real processes, real sockets, real files.

The binary is named by TROUPE_BIN (default: build/dev/troupe). Nothing here sleeps for a guessed time: everything waits for a line of
output, a file or the end of a process, with a deadline.
"""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BINARY = os.environ.get("TROUPE_BIN", str(ROOT / "build" / "dev" / "troupe"))
if not os.access(BINARY, os.X_OK):
    pytest.exit(f"no program at {BINARY}; build it, or name it by TROUPE_BIN", returncode=4)
DEADLINE = 30  # seconds; far more than anything here needs


def clean_environment(**more):
    """A small environment, so that keys and proxies of the machine change nothing."""
    kept = {key: os.environ[key] for key in ("PATH", "HOME", "LANG", "TMPDIR") if key in os.environ}
    kept.update({key: str(value) for key, value in more.items()})
    return kept


def wait_for(condition, what, seconds=DEADLINE):
    """Asks until `condition()` is true and returns its value; fails with `what` at the deadline."""
    end = time.monotonic() + seconds
    pause = threading.Event()
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            pytest.fail(f"waited {seconds} s in vain for {what}")
        pause.wait(0.01)


class Result:
    """How a command ended."""

    def __init__(self, args, status, stdout, stderr, seconds):
        self.args, self.status, self.stdout, self.stderr, self.seconds = args, status, stdout, stderr, seconds

    @property
    def doc(self):
        """The JSON document on standard output; nothing else may be there."""
        try:
            return json.loads(self.stdout)
        except ValueError:
            pytest.fail(f"no JSON document on standard output\n{self}")

    def expect(self, status):
        assert self.status == status, f"exit status {self.status}, expected {status}\n{self}"
        return self

    def __str__(self):
        return f"$ troupe {' '.join(self.args)}\n-> {self.status} after {self.seconds:.2f} s\n--- stdout\n{self.stdout}\n--- stderr\n{self.stderr}"


class Process:
    """A command that goes on in the background; its output is read line by line as it comes."""

    def __init__(self, args, cwd, env):
        self.args = args
        self.began = time.monotonic()
        self.child = subprocess.Popen([BINARY, *args], cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE, start_new_session=True)
        self.lines = {"stdout": [], "stderr": []}
        self.changed = threading.Condition()
        self.readers = [threading.Thread(target=self._read, args=(name,), daemon=True) for name in self.lines]
        for reader in self.readers:
            reader.start()

    @property
    def pid(self):
        return self.child.pid

    def _read(self, name):
        for raw in getattr(self.child, name):
            with self.changed:
                self.lines[name].append(raw.decode("utf-8", "replace"))
                self.changed.notify_all()
        with self.changed:
            self.changed.notify_all()

    def wait_line(self, pattern, stream="stderr", seconds=DEADLINE):
        """The first line (also an earlier one) in which the pattern is found, as a match."""
        end = time.monotonic() + seconds
        with self.changed:
            while True:
                for line in self.lines[stream]:
                    if found := re.search(pattern, line):
                        return found
                left = end - time.monotonic()
                if left <= 0 or (self.child.poll() is not None and not any(r.is_alive() for r in self.readers)):
                    pytest.fail(f"no line with {pattern!r} on {stream}\n{self.text()}")
                self.changed.wait(min(left, 0.2))

    def text(self):
        return f"$ troupe {' '.join(self.args)}\n--- stdout\n{''.join(self.lines['stdout'])}\n--- stderr\n{''.join(self.lines['stderr'])}"

    def signal(self, number):
        os.kill(self.pid, number)

    def kill(self):
        """kill -9, and waits until it is gone."""
        self.child.kill()
        self.child.wait(DEADLINE)

    def wait(self, seconds=DEADLINE):
        try:
            self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            pytest.fail(f"still running after {seconds} s\n{self.text()}")
        for reader in self.readers:
            reader.join(DEADLINE)
        return Result(self.args, self.child.returncode, "".join(self.lines["stdout"]), "".join(self.lines["stderr"]), time.monotonic() - self.began)


class Troupe:
    """Runs the binary in a folder."""

    def __init__(self, folder):
        self.folder = folder
        self.started = []

    def __call__(self, *args, env=None, stdin=None, timeout=DEADLINE, cwd=None):
        args = [str(arg) for arg in args]
        began = time.monotonic()
        data = stdin.encode() if isinstance(stdin, str) else stdin
        try:
            done = subprocess.run([BINARY, *args], cwd=cwd or self.folder, env=clean_environment(**(env or {})), input=data if data is not None else b"",
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout)
        except subprocess.TimeoutExpired as late:
            pytest.fail(f"$ troupe {' '.join(args)}\nstill running after {timeout} s\n{(late.stdout or b'').decode()}\n{(late.stderr or b'').decode()}")
        return Result(args, done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace"), time.monotonic() - began)

    def start(self, *args, env=None, cwd=None):
        process = Process([str(arg) for arg in args], cwd or self.folder, clean_environment(**(env or {})))
        self.started.append(process)
        return process

    def stop_all(self):
        for process in self.started:
            if process.child.poll() is None:
                process.kill()


@pytest.fixture
def troupe(tmp_path):
    """`troupe("validate", "troupe.yaml")` runs to the end; `troupe.start(…)` goes on in the background."""
    runner = Troupe(tmp_path)
    yield runner
    runner.stop_all()


class Mock:
    """A `troupe mock-llm` and what it counted."""

    def __init__(self, process):
        self.process = process
        self.url = process.wait_line(r"listening on (http://127\.0\.0\.1:\d+)", "stdout").group(1)

    def stats(self):
        with urllib.request.urlopen(self.url + "/stats", timeout=DEADLINE) as answer:
            return json.load(answer)

    @property
    def requests(self):
        return self.stats().get("requests", 0)

    def provider(self, kind="openai", **more):
        return {"kind": kind, "base_url": self.url + ("/v1" if kind == "openai" else ""), **more}


@pytest.fixture
def mock_llm(troupe, tmp_path):
    """`mock_llm(rules, "--fault", "503:2")` starts a server with these rules."""
    count = iter(range(1000))

    def start(rules, *options):
        script = tmp_path / f"mock-{next(count)}.json"
        script.write_text(json.dumps({"version": 1, "rules": rules}))
        return Mock(troupe.start("mock-llm", "--script", script, "--listen", "127.0.0.1:0", *options))

    return start


def npm_packages(source, folder, *files):
    """The folder into which the packages that a source's lock file names are installed, beside copies of these files."""
    if not shutil.which("npm") or not shutil.which("node"):
        pytest.skip("npm and node are not here; install them to try what others wrote")
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json", ".npmrc", *files):
        shutil.copy(source / name, folder / name)
    # `ci` removes what is there first: not again where the lock file is the one that was installed.
    done = folder / "node_modules" / ".installed-lock.json"
    wanted = (folder / "package-lock.json").read_text()
    if done.exists() and done.read_text() == wanted:
        return folder
    installed = subprocess.run(["npm", "ci"], cwd=folder, capture_output=True, text=True, timeout=300)
    if installed.returncode != 0:
        pytest.skip(f"npm could not install them: {installed.stderr[-300:]}")
    done.write_text(wanted)
    return folder


def reply(text, when=None, **more):
    """A rule that answers a text."""
    return {"when": when or {"any": True}, "reply": {"text": text}, **more}


def calls(*wanted, when=None, **more):
    """A rule that calls tools: `calls(("grep", {...}))`."""
    return {"when": when or {"turn": 1}, "reply": {"tool_calls": [{"name": name, "arguments": arguments} for name, arguments in wanted]}, **more}


PRICE = {"input": 2.0, "output": 10.0}
QUICK = {"attempts": 3, "base": "5ms", "cap": "2s"}


class Project:
    """A folder with a configuration `troupe.yaml`, and shortcuts to run it."""

    def __init__(self, folder, troupe):
        self.folder, self.troupe = folder, troupe
        self.data = {"version": 1}

    def write(self, name, content):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content if isinstance(content, str) else json.dumps(content, indent=1))
        return path

    def read(self, name):
        return (self.folder / name).read_text()

    def configure(self, **sections):
        """Writes the configuration: JSON is YAML, too."""
        self.data = {"version": 1, **sections}
        return self.write("troupe.yaml", self.data)

    def scripted(self, rules, *, agents=None, tasks=None, agent=None, workflow=None, model=None, **sections):
        """A configuration whose only provider is a script in the process."""
        self.write("script.json", {"version": 1, "rules": rules})
        provider = {"kind": "scripted", "script": "script.json"}
        return self.on(provider, agents=agents, tasks=tasks, agent=agent, workflow=workflow, model=model or {}, free=True, **sections)

    def on(self, provider, *, agents=None, tasks=None, agent=None, workflow=None, model=None, free=False, **sections):
        """A configuration with one provider `p`, one model `m`, by default one agent `worker` and one workflow `job` with one task."""
        link = {"provider": "p", "model": "test-model"}
        if not free:
            link["usd_per_mtok"] = PRICE
        link.update((model or {}).get("link", {}))
        chain_model = {"chain": [link], "retry": QUICK}
        chain_model.update({key: value for key, value in (model or {}).items() if key != "link"})
        if agents is None:
            agents = {"worker": {"system": "worker", **(agent or {})}}
        for each in agents.values():
            each.setdefault("model", "m")
            each.setdefault("max_tokens", 200)
        job = {"tasks": tasks or [{"id": "t", "agent": next(iter(agents)), "instruction": "Do the work."}]}
        job.update(workflow or {})
        providers = {"p": provider, **sections.pop("providers", {})}
        models = {"m": chain_model, **sections.pop("models", {})}
        workflows = {"job": job, **sections.pop("workflows", {})}
        return self.configure(providers=providers, models=models, agents=agents, workflows=workflows, **sections)

    def run(self, *args, workflow="job", **options):
        """`run --json` to the end."""
        return self.troupe("run", "troupe.yaml", workflow, "--json", *args, **options)

    def start(self, *args, workflow="job", run_id="R1", **options):
        return self.troupe.start("run", "troupe.yaml", workflow, "--id", run_id, *args, **options)

    def resume(self, run_id="R1", *args, **options):
        return self.troupe("resume", "troupe.yaml", run_id, "--json", *args, **options)

    def events(self, run_id, kind=None):
        shown = self.troupe("show", "troupe.yaml", run_id, "--events").expect(0)
        all_events = [json.loads(line) for line in shown.stdout.splitlines()]
        return [event for event in all_events if kind is None or event["type"] == kind]

    def count(self, run_id, kind):
        return len(self.events(run_id, kind))


@pytest.fixture
def project(tmp_path, troupe):
    return Project(tmp_path, troupe)


def as_sent(body):
    """JSON as what it says, anything else as a text."""
    try:
        return json.loads(body) if body else None
    except ValueError:
        return body.decode()


class OddServer:
    """A raw server for providers that mock-llm does not play: `answers` are bytes or functions of (connection, request)."""

    def __init__(self, answers, then=None):
        self.answers, self.then = list(answers), then
        self.requests = []
        self.arrived = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = "http://127.0.0.1:%d" % self.listener.getsockname()[1]
        self.lock = threading.Lock()
        self.closing = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        try:
            with connection:
                data = b""
                while b"\r\n\r\n" not in data:
                    piece = connection.recv(65536)
                    if not piece:
                        return
                    data += piece
                head, body = data.split(b"\r\n\r\n", 1)
                length = int((re.search(rb"(?i)content-length: *(\d+)", head) or [0, 0])[1])
                while len(body) < length:
                    body += connection.recv(65536)
                with self.lock:
                    self.requests.append((head.decode(), as_sent(body)))
                    self.arrived.append(time.monotonic())
                    answer = self.answers.pop(0) if self.answers else self.then
                if callable(answer):
                    answer(connection, self)
                elif answer:
                    connection.sendall(answer)
        except OSError:
            pass

    def provider(self, kind="openai", **more):
        return {"kind": kind, "base_url": self.url + ("/v1" if kind == "openai" else ""), **more}

    def close(self):
        self.closing.set()
        self.listener.close()


def nobody():
    """The address of a server that is not there."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return "http://127.0.0.1:%d" % listener.getsockname()[1]


def http_answer(status, body, *headers, kind="application/json"):
    """The bytes of an HTTP answer that closes its connection."""
    data = body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()
    lines = [f"HTTP/1.1 {status} X", f"Content-Type: {kind}", f"Content-Length: {len(data)}", "Connection: close", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


def openai_answer(text="fine", usage=(11, 3), **more):
    message = {"role": "assistant", "content": text, **more}
    body = {"id": "c1", "object": "chat.completion", "created": 1, "model": "test-model",
            "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls" if more.get("tool_calls") else "stop"}]}
    if usage:
        body["usage"] = {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}
    return http_answer(200, body)


@pytest.fixture
def odd_server():
    """`odd_server([bytes, …], then=bytes)`"""
    servers = []

    def start(answers, then=None):
        servers.append(OddServer(answers, then))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture(scope="session")
def shim(tmp_path_factory):
    """`shim("clock")` builds tests/e2e/shims/clock.c and returns the library, for LD_PRELOAD."""
    folder = tmp_path_factory.mktemp("shims")

    def build(name):
        library = folder / f"{name}.so"
        if not library.exists():
            subprocess.run(["cc", "-O1", "-Wall", "-Wextra", "-shared", "-fPIC", "-o", library, ROOT / "tests/e2e/shims" / f"{name}.c", "-ldl"], check=True)
        return library

    return build


def is_gone(pid):
    """No such process, or a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def processes_with(text):
    """Pids of the live processes whose command line holds this text."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            except OSError:
                continue
            if text in line and not is_gone(int(entry.name)):
                found.append(int(entry.name))
    return found


SIGINT, SIGTERM = signal.SIGINT, signal.SIGTERM
