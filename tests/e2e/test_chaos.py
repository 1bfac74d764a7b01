"""A short form of tests/chaos/kills: kill -9 at random instants. `./check --long` plays the long one."""
import subprocess
import sys

from conftest import BINARY, ROOT


def test_killed_at_random_instants_a_company_keeps_its_promises():
    told = subprocess.run([sys.executable, ROOT / "tests/chaos/kills", "--kills", "25", "--seed", "1", "--binary", BINARY], capture_output=True, text=True, timeout=300)
    assert told.returncode == 0, told.stdout + told.stderr
    assert "0 rounds broke a promise" in told.stdout
