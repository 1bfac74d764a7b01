"""What several reviewers agree to, and who counts as one (SEMANTICS 7)."""

from approving import decide, deployed, deploying, out, pending, request_of  # noqa: F401 (a fixture)
from conftest import calls, reply, wait_for
from test_tools import process


def test_several_different_reviewers(project, out):
    deploying(project, checkpoint={"policy": {"high": {"approvals": 2}}})
    running = project.start("--json")
    request = request_of(project)
    assert "1 of 2 approvals" in decide(project, "approve", request, "--reviewer", "ana").stdout
    assert "approved it already" in decide(project, "approve", request, "--reviewer", "ana", status=1).stderr
    assert deployed(out) == []
    decide(project, "approve", request, "--reviewer", "bob")
    running.wait().expect(0)
    assert deployed(out) == ["v1"] and project.count("R1", "approval_voted") == 1


def test_one_rejection_ends_it(project, out):
    deploying(project, checkpoint={"policy": {"high": {"approvals": 3}}})
    running = project.start("--json")
    request = request_of(project)
    decide(project, "approve", request, "--reviewer", "ana")
    decide(project, "reject", request, "--reviewer", "bob")
    running.wait().expect(0)
    assert deployed(out) == []


def test_a_vote_before_kill_9_counts_after_it(project, out):
    deploying(project, checkpoint={"policy": {"high": {"approvals": 2}}})
    running = project.start("--json")
    request = request_of(project)
    decide(project, "approve", request, "--reviewer", "ana")
    wait_for(lambda: project.count("R1", "approval_voted"), "the vote")
    running.kill()
    decide(project, "approve", request, "--reviewer", "bob")
    project.resume("R1").expect(0)
    assert deployed(out) == ["v1"] and project.count("R1", "approval_voted") == 1


def test_spaces_around_a_name_make_no_other_reviewer(project, out):
    deploying(project, checkpoint={"policy": {"high": {"approvals": 2}}})
    running = project.start("--json")
    request = request_of(project)
    for nobody in ("", "  "):
        assert "the name of its reviewer" in decide(project, "approve", request, "--reviewer", nobody, status=2).stderr
    decide(project, "approve", request, "--reviewer", "ana")
    assert "approved it already" in decide(project, "approve", request, "--reviewer", " ana ", status=1).stderr
    assert deployed(out) == []
    decide(project, "approve", request, "--reviewer", " bob ")
    running.wait().expect(0)
    assert project.events("R1", "approval_decided")[0]["reviewer"] == "bob"


def test_an_output_asks_for_what_its_risk_needs(project):
    project.scripted([reply("too long")], agent={"output": {"max_length": 2, "retries": 0, "human": True}}, checkpoint={"policy": {"medium": {"approvals": 2}}})
    running = project.start("--json")
    request = request_of(project)
    assert request["risk_level"] == "medium"
    assert "1 of 2 approvals" in decide(project, "approve", request, "--reviewer", "ana").stdout
    decide(project, "approve", request, "--reviewer", "bob")
    assert running.wait().expect(0).doc["results"][0]["output"] == "too long"


def test_who_comes_after_a_modification_is_shown_it_and_approves_that(project, out):
    deploying(project, checkpoint={"policy": {"high": {"approvals": 2}}})
    running = project.start("--json")
    asked = request_of(project)
    changed = decide(project, "modify", asked, "--action", '{"text": "mine"}', "--reviewer", "mallory").stdout
    assert asked["id"] not in changed and "1 of 2" in changed
    now = pending(project)[0]
    assert now["request_id"] == asked["id"] != now["id"] and now["sha256"] != asked["sha256"] and now["modified_by"] == "mallory"
    assert now["action"] == {"text": "v1"} and now["modified_action"] == {"text": "mine"}
    listed = project.troupe("approvals", "troupe.yaml").expect(0).stdout
    assert 'CHANGED by: mallory' in listed and 'arguments: {"text":"mine"}' in listed and now["id"] in listed
    for unseen in (asked, {"id": asked["id"][-8:]}):
        told = decide(project, "approve", unseen, "--reviewer", "cyd", status=1).stderr
        assert "mallory has changed its action" in told and now["id"] in told
    decide(project, "approve", now, "--reviewer", "cyd")
    running.wait().expect(0)
    assert deployed(out) == ["mine"]
    end = project.events("R1", "approval_decided")[0]
    assert end["modified_by"] == "mallory" and end["reviewer"] == "cyd"
    timeline = project.troupe("show", "troupe.yaml", "R1").expect(0).stdout
    assert "CHANGED by mallory, 1 of 2" in timeline and "MODIFIED by mallory, approved by cyd" in timeline
    assert "cyd approved the call" in project.events("R1", "message_injected")[0]["text"] and "mallory" in project.events("R1", "message_injected")[0]["text"]


def test_votes_do_not_outlive_an_abort(project, out):
    deploying(project, checkpoint={"policy": {"high": {"approvals": 2}}}, workflow={"budget": {"time": "2s"}})
    running = project.start("--json")
    asked = request_of(project)
    decide(project, "modify", asked, "--action", '{"text": "mine"}', "--reviewer", "mallory")
    assert running.wait().expect(3).doc["reason"] == "timeout"
    again = project.troupe.start("resume", "troupe.yaml", "R1", "--add-time", "1m", "--json")
    now = request_of(project)
    assert now["approvals"] == 0 and now["id"] == asked["id"] and now["modified_action"] is None
    decide(project, "approve", now, "--reviewer", "mallory")
    assert pending(project)[0]["approvals"] == 1
    decide(project, "approve", now, "--reviewer", "cyd")
    again.wait().expect(0)
    assert deployed(out) == ["v1"]


def test_votes_outlive_a_kill(project, out):
    deploying(project, checkpoint={"policy": {"high": {"approvals": 2}}})
    running = project.start("--json")
    asked = request_of(project)
    decide(project, "approve", asked, "--reviewer", "ana")
    wait_for(lambda: project.events("R1", "approval_voted"), "the recorded vote")
    running.kill()
    again = project.troupe.start("resume", "troupe.yaml", "R1", "--json")
    wait_for(lambda: (rows := pending(project)) and rows[0]["running"], "its new owner")
    assert pending(project)[0]["approvals"] == 1
    decide(project, "approve", asked, "--reviewer", "bob")
    again.wait().expect(0)
    assert deployed(out) == ["v1"] and project.count("R1", "approval_voted") == 1


def test_all_of_what_is_to_be_approved_is_shown(project, out):
    long = "Invoice 4711 for office supplies, as agreed. " * 10
    texts = {"type": "object", "properties": {name: {"type": "string"} for name in ("text", "a_memo", "z_payee")}}
    project.scripted([calls(("deploy", {"text": "v1", "a_memo": long, "z_payee": "mallory"})), reply("{{ last }}")], agent={"tools": ["deploy"]},
                     tools={"deploy": process("echo", "{{ text }}", parameters=texts, risk="high")})
    running = project.start("--json")
    asked = request_of(project)
    listed = project.troupe("approvals", "troupe.yaml").expect(0).stdout
    assert f'    a_memo: "{long}"\n    text: "v1"\n    z_payee: "mallory"\n' in listed
    decide(project, "reject", asked)
    running.wait().expect(0)
