"""What an agent's answer must be (SEMANTICS 5)."""
import pytest

from conftest import http_answer, openai_answer, reply

SCHEMA = {"type": "object", "required": ["facts"], "properties": {"facts": {"type": "array", "items": {"type": "string"}}}}


def test_a_wrong_answer_is_repaired_after_precise_feedback(project):
    project.scripted([reply('{"facts": [7]}', when={"turn": 1}), {"when": {"last": "/facts/0"}, "reply": {"text": '{"facts": ["one"]}'}}], agent={"output": {"schema": SCHEMA}})
    document = project.run("--id", "R1").expect(0).doc
    assert document["result"] == {"facts": ["one"]} and document["llm_calls"] == 2
    violated = project.events("R1", "contract_violated")
    assert len(violated) == 1 and "/facts/0" in violated[0]["violations"][0]
    assert document["results"][0]["attempts"] == 1


@pytest.mark.parametrize("retries", [0, 2])
def test_after_the_retries_the_last_output_is_kept(retries, project):
    project.scripted([reply('{"facts": [7]}')], agent={"output": {"schema": SCHEMA, "retries": retries}})
    document = project.run("--id", "R1").expect(1).doc
    row = document["results"][0]
    assert row["status"] == "quality_failed" and "/facts/0" in row["error"]
    assert row["output"] in ({"facts": [7]}, '{"facts": [7]}')
    assert document["llm_calls"] == retries + 1 and document["workflow_status"] == "failed"


@pytest.mark.parametrize("text", ['```json\n{"facts": ["a"]}\n```', 'Here it is:\n{"facts": ["a"]}\nI hope that this helps.', '  {"facts": ["a"]}\n', '```\n{"facts": ["a"]}\n```\n'])
def test_json_in_a_fence_or_with_text_around_it_is_accepted(text, project):
    project.scripted([reply(text)], agent={"output": {"schema": SCHEMA, "retries": 0}})
    assert project.run().expect(0).doc["result"] == {"facts": ["a"]}


@pytest.mark.parametrize("schema, words", [({"type": "string"}, "is plain text, and the contract wants JSON: a string stands in double quotes there"),
                                           ({"type": "integer"}, "is no JSON, and holds no JSON object or array")])
def test_what_is_told_of_plain_text_fits_the_schema(schema, words, project):
    project.scripted([reply("seven"), reply("never")], agent={"output": {"schema": schema, "retries": 0}})
    told = project.run().expect(1).doc["results"][0]["error"]
    assert words in told


def test_two_documents_are_ambiguous(project):
    project.scripted([reply('{"facts": ["a"]} or {"facts": ["b"]}')], agent={"output": {"schema": SCHEMA, "retries": 0}})
    assert project.run().expect(1).doc["results"][0]["status"] == "quality_failed"


@pytest.mark.parametrize("contract,good,bad", [({"min_length": 5}, "12345", "1234"), ({"max_length": 5}, "\u00e9\u00e9\u00e9\u00e9\u00e9", "123456"), ({"matches": "^[a-z]+$"}, "abc", "ABC"),
                                               ({"not_matches": "secret"}, "fine", "a secret"), ({"must_mention": ["disk", "cpu"]}, "disk and cpu", "disk")],
                         ids=["min_length", "max_length", "matches", "not_matches", "must_mention"])
def test_rules_of_texts(contract, good, bad, project):
    project.scripted([reply(bad, when={"turn": 1}), reply(good)], agent={"output": contract})
    document = project.run("--id", "R1").expect(0).doc
    assert document["result"] == good and project.count("R1", "contract_violated") == 1


def test_an_answer_that_was_cut_off_is_asked_for_again(project, odd_server):
    cut = {"id": "c1", "object": "chat.completion", "model": "m", "choices": [{"index": 0, "message": {"role": "assistant", "content": "half of it"}, "finish_reason": "length"}]}
    server = odd_server([http_answer(200, cut)], then=openai_answer("whole"))
    project.on(server.provider(stream=False))
    assert project.run("--id", "R1").expect(0).doc["result"] == "whole"
    assert "cut off at 200 tokens" in server.requests[1][1]["messages"][-1]["content"]


@pytest.mark.parametrize("finish, words", [("content_filter", "content filter"), ("insufficient_system_resource", "a reason that is not known here")])
def test_an_answer_that_its_model_did_not_end_is_asked_for_again(finish, words, project, odd_server):
    cut = {"id": "c1", "object": "chat.completion", "model": "m", "choices": [{"index": 0, "message": {"role": "assistant", "content": "half of it"}, "finish_reason": finish}]}
    server = odd_server([http_answer(200, cut)], then=openai_answer("whole"))
    project.on(server.provider(stream=False))
    assert project.run("--id", "R1").expect(0).doc["result"] == "whole"
    assert words in server.requests[1][1]["messages"][-1]["content"]


def test_an_answer_that_a_filter_cut_off_each_time_is_no_success(project):
    project.scripted([{"when": {"any": True}, "reply": {"text": "half of it {{ turn }}", "finish": "content_filter"}}])
    row = project.run("--id", "R1").expect(1).doc["results"][0]
    assert row["status"] == "quality_failed" and "content filter" in row["error"] and row["output"] == "half of it 3"
    assert "stopped by a content filter" in project.troupe("show", "troupe.yaml", "R1", "--full").expect(0).stdout


@pytest.mark.parametrize("text", ['{"facts": ["a"]} or {"facts": ["b"]}', '```json\n{"facts": ["a"]}\n```\nthat is ```json\n{"facts": ["a"]}\n```', 'Not {"facts": []} but\n```\n{"facts": ["a"]}\n```'])
def test_which_of_several_objects_is_the_answer_is_not_guessed(text, project):
    project.scripted([reply(text, when={"turn": 1}), reply('{"facts": ["whole"]}')], agent={"output": {"schema": SCHEMA}})
    assert project.run("--id", "R1").expect(0).doc["result"] == {"facts": ["whole"]}
    assert "more than one JSON object" in project.events("R1", "contract_violated")[0]["violations"][0]
