"""docs/failure-modes.md: every command runs as printed, in the example's folder, and prints what stands below it."""
import os
import re
import shutil
import subprocess

import pytest

from conftest import BINARY, ROOT, clean_environment

PAGE = (ROOT / "docs/failure-modes.md").read_text()
CHANGES = [r"\+\d+:\d\d\.\d{3} +", r"\d+(?:\.\d)? m?s\b", r"…"]  # the time of a line, how long something took, what is left out


def sections():
    """The folder of each section's example, and its commands with what is printed below each."""
    found = []
    for part in re.split(r"^## ", PAGE, flags=re.M)[1:]:
        folder = re.search(r"\]\(\.\./config/examples/(\w+)/troupe\.yaml\)", part).group(1)
        steps = []
        for block in re.findall(r"^```\n(.*?)^```", part, re.M | re.S):
            for line in block.splitlines():
                if line.startswith("$ "):
                    steps.append((line[2:], []))
                else:
                    steps[-1][1].append(line)
        found.append(pytest.param(folder, steps, id=folder))
    return found


def pattern(line):
    return "".join(".*" if n % 2 else re.escape(piece) for n, piece in enumerate(re.split("(" + "|".join(CHANGES) + ")", line)))


def test_the_page_has_all_six():
    assert [each.id for each in sections()] == ["models", "loops", "budgets", "tools", "quality", "conflicts"]
    assert all(printed for each in sections() for _, printed in each.values[1])


@pytest.mark.parametrize("folder, steps", sections())
def test_each_command_prints_what_stands_below_it(folder, steps, tmp_path):
    shutil.copytree(ROOT / "config/examples" / folder, tmp_path / folder, ignore=shutil.ignore_patterns(".troupe"))
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "troupe").symlink_to(BINARY)
    environment = clean_environment(PATH=f"{programs}:{os.environ['PATH']}")
    for command, printed in steps:
        done = subprocess.run(["bash", "-c", command], cwd=tmp_path / folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, timeout=60)
        at = 0
        for line in printed:
            seen = re.compile(pattern(line)).search(done.stdout, at)
            assert seen, f"$ {command}\nprints no (further) line like\n{line}\nbut\n{done.stdout}"
            if " & " not in command:  # two processes at once have no order
                at = seen.end()
