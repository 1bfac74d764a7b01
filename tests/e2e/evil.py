"""A run whose time and memory are measured, and whoever is left of it."""
import json
import os
import re
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import pytest

from conftest import BINARY, clean_environment, is_gone

MARK = "TROUPE_EVIL_MARK"
BINARY_NAME = f"Name:\t{Path(BINARY).name[:15]}\n"  # not yet the copy of the test that became it


class Measured:
    def __init__(self, status, stdout, stderr, seconds, peak_mib):
        self.status, self.stdout, self.stderr, self.seconds, self.peak_mib = status, stdout, stderr, seconds, peak_mib

    @property
    def doc(self):
        return json.loads(self.stdout)

    def __repr__(self):
        return f"-> {self.status} after {self.seconds:.2f} s, at most {self.peak_mib:.0f} MiB\n{self.stdout[:2000]}\n{self.stderr[-2000:]}"


class Peak(threading.Thread):
    """The high-water mark of a process's memory. The kernel's own figure (ru_maxrss) has in it what the test's process had when it forked."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.status, self.kib, self.ended = Path(f"/proc/{pid}/status"), 0, threading.Event()
        self.start()

    def run(self):
        while not self.ended.wait(0.005):
            try:
                text = self.status.read_text()
            except OSError:
                return
            if (found := re.search(r"VmHWM:\s+(\d+)", text)) and BINARY_NAME in text:
                self.kib = max(self.kib, int(found.group(1)))


def measured(project, *args, env=None, seconds=60):
    """`troupe run --json --id R1` to its end."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        began = time.monotonic()
        child = subprocess.Popen([BINARY, "run", "troupe.yaml", "job", "--json", "--id", "R1", *args], cwd=project.folder, env=clean_environment(**(env or {})),
                                 stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        late = threading.Timer(seconds, child.kill)
        late.start()
        peak = Peak(child.pid)
        try:
            child.wait()
        finally:
            late.cancel()
            peak.ended.set()
        took = time.monotonic() - began
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode("utf-8", "replace"))
    result = Measured(child.returncode, *texts, took, peak.kib / 1024)
    if took >= seconds:
        pytest.fail(f"still running after {seconds} s\n{result}")
    return result


def note(request, ended):
    """Appends time and memory to the file that TROUPE_FIGURES names, where it is set."""
    if path := os.environ.get("TROUPE_FIGURES"):
        with open(path, "a") as file:
            file.write(f"{request.node.name}: {ended.seconds:.2f} s, {ended.peak_mib:.0f} MiB\n")


def left_of(mark):
    """Pids of live processes with this mark in their environment, wherever they have gone."""
    wanted, found = f"{MARK}={mark}".encode(), []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                environment = (entry / "environ").read_bytes()
            except OSError:
                continue
            if wanted in environment.split(b"\0") and not is_gone(int(entry.name)):
                found.append(int(entry.name))
    return found
