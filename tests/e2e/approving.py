"""What tests of approvals share: an agent with a risky tool, and who decides about it from another process."""
import json

import pytest

from conftest import calls, reply, wait_for
from test_tools import STRING, process


@pytest.fixture
def out(project):
    (project.folder / "out").mkdir()
    return project.folder / "out"


def deploying(project, *, rules=None, checkpoint=None, tool=None, **more):
    """An agent that wants to deploy, which is risky."""
    deploy = process("sh", "-c", "echo $0 >> out/deployed; printf %s \"deployed $0\"", "{{ text }}", parameters=STRING, sandbox={"write": ["out"]}, risk="high", **(tool or {}))
    sections = {"checkpoint": checkpoint} if checkpoint else {}
    project.scripted(rules or [calls(("deploy", {"text": "v1"})), reply("{{ last }}")], agent={"tools": ["deploy"]}, tools={"deploy": deploy}, **sections, **more)


def pending(project):
    return json.loads(project.troupe("approvals", "troupe.yaml", "--json").expect(0).stdout)["approvals"]


def request_of(project, count=1):
    found = wait_for(lambda: (rows := pending(project)) and len(rows) >= count and rows, "a request")
    return found[0] if count == 1 else found


def decide(project, verb, request, *args, status=0):
    return project.troupe(verb, "troupe.yaml", request["id"], *args).expect(status)


def deployed(out):
    return (out / "deployed").read_text().split() if (out / "deployed").exists() else []
