"""docs/rules.md names files and tests: each of them exists."""
import re

import pytest

from conftest import ROOT

ROWS = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in (ROOT / "docs/rules.md").read_text().splitlines() if line.startswith("| ")]
RULES = [row for row in ROWS if row[0] != "rule" and set(row[0]) != {"-", " "} and row[0] != "---"]


def named(cell):
    return re.findall(r"`([^`]+)`", cell)


def test_there_are_rules_and_each_row_is_whole():
    assert len(RULES) > 100
    for row in RULES:
        assert len(row) == 4 and all(row), row
        assert len(named(row[1])) == len(named(row[2])) == 1, row


@pytest.mark.parametrize("row", RULES, ids=lambda row: row[0][:60])
def test_what_a_rule_names_exists(row):
    _, decided, unit, end_to_end = row
    source, table = named(decided)[0], named(unit)[0]
    assert any((ROOT / floor / source).is_file() for floor in ("libruntime/troupe", "actors/troupe")), source
    assert (ROOT / "tests/unit" / table).is_file(), table
    for test in named(end_to_end):
        file, _, name = test.partition("::")
        text = (ROOT / "tests/e2e" / file).read_text()
        assert re.search(rf"^def {re.escape(name)}\(", text, re.M), test
