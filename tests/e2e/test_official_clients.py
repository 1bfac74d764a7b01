"""The vendors' own clients, from npm, against `troupe mock-llm`: whole and streamed, with tools.

TROUPE_BIN names the binary (default: build/dev/troupe); the packages are installed into build/official_clients, never into the sources.
"""
import os
import pathlib
import signal
import subprocess

import pytest

from conftest import npm_packages

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SOURCES = HERE / "clients"
BINARY = pathlib.Path(os.environ.get("TROUPE_BIN", ROOT / "build" / "dev" / "troupe"))


@pytest.fixture(scope="module")
def clients():
    """A folder with the clients installed."""
    return npm_packages(SOURCES, ROOT / "build" / "official_clients", "try.mjs")


@pytest.fixture
def server():
    """The address of a running mock-llm."""
    if not BINARY.exists():
        pytest.skip(f"{BINARY} is not built; set TROUPE_BIN")
    process = subprocess.Popen([str(BINARY), "mock-llm", "--script", str(SOURCES / "script.yaml")], stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline().strip()
        assert line.startswith("listening on http://"), line
        yield line.removeprefix("listening on ")
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0


def test_official_clients(clients, server):
    tried = subprocess.run(["node", "try.mjs", server], cwd=clients, capture_output=True, text=True, timeout=120)
    print(tried.stdout, tried.stderr)
    assert tried.returncode == 0, tried.stdout + tried.stderr
    assert tried.stdout.strip().endswith("13 passed, 0 failed")
