"""The vendors' own clients, from npm, against `troupe mock-llm`: whole and streamed, with tools.

TROUPE_BIN names the binary (default: build/dev/troupe); the packages are installed into build/official_clients, never into the sources.
"""
import os
import pathlib
import shutil
import signal
import subprocess

import pytest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SOURCES = HERE / "clients"
BINARY = pathlib.Path(os.environ.get("TROUPE_BIN", ROOT / "build" / "dev" / "troupe"))


@pytest.fixture(scope="module")
def clients():
    """A folder with the clients installed."""
    if not shutil.which("npm") or not shutil.which("node"):
        pytest.skip("npm and node are not here; install them to try the official clients")
    folder = ROOT / "build" / "official_clients"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", ".npmrc", "try.mjs"):
        shutil.copy(SOURCES / name, folder / name)
    installed = subprocess.run(["npm", "install", "--no-audit", "--no-fund"], cwd=folder, capture_output=True, text=True, timeout=300)
    if installed.returncode != 0:
        pytest.skip(f"npm could not install the clients: {installed.stderr[-300:]}")
    return folder


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
