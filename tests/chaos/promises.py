"""What must hold of a run whose owners were killed, however often: recounted from its journal, its tools' notes and its provider's counts."""
import collections
import json
import sqlite3


def read_events(journal, run_id):
    """The events of a run, bodies included, in their order; and whether the file is whole."""
    database = sqlite3.connect(journal)
    whole = database.execute("pragma integrity_check").fetchone()[0]
    rows = database.execute("select seq, time_us, type, task, agent, body from events where run = (select id from runs where run_id = ?) order by seq", (run_id,)).fetchall()
    database.close()
    return whole, [{"seq": seq, "time_us": at, "type": kind, "task": task, "agent": agent, **json.loads(body)} for seq, at, kind, task, agent, body in rows]


def broken_budget(events, limit):
    """At every instant: what is spent and what is held is at most the limit; at the end nothing is held."""
    held, spent, steps, broken = {}, 0, 0, []  # in millionths of a dollar
    for event in events:
        kind = event["type"]
        if kind == "llm_requested":
            held[f"{event['step_id']}#{event['request']}"] = event["worst_case"]
            steps += 1
        elif kind in ("llm_responded", "llm_failed"):
            held.pop(f"{event['step_id']}#{event['request']}", None)
            spent += event["cost"] if kind == "llm_responded" else event["charged"]
            steps -= 0 if event.get("counted", True) else 1
        elif kind == "outcome_unknown":
            held.pop(event["id"], None)
            spent += event["charged"]
        if spent + sum(held.values()) > limit["usd"] * 1_000_000 or steps > limit["steps"]:
            broken.append(f"event {event['seq']}: {spent} spent and {sum(held.values())} held of {limit['usd']}, {steps} steps of {limit['steps']}")
    if held:
        broken.append(f"still held at the end: {sorted(held)}")
    return broken


def broken_steps(events):
    """A recorded answer is asked for once only, and every request that was recorded has one outcome."""
    broken, answered, open_requests = [], set(), set()
    for event in events:
        request = f"{event.get('step_id')}#{event.get('request')}"
        if event["type"] == "llm_requested":
            if event["step_id"] in answered:
                broken.append(f"event {event['seq']}: {event['step_id']} was answered already, and is asked again")
            if request in open_requests:
                broken.append(f"event {event['seq']}: {request} is asked twice at once")
            open_requests.add(request)
        elif event["type"] in ("llm_responded", "llm_failed"):
            if request not in open_requests:
                broken.append(f"event {event['seq']}: {request} has an outcome and was never asked")
            open_requests.discard(request)
            if event["type"] == "llm_responded":
                answered.add(event["step_id"])
        elif event["type"] == "outcome_unknown":
            open_requests.discard(event["id"])
    if [event["seq"] for event in events] != list(range(1, len(events) + 1)):
        broken.append("its events have gaps")
    return broken


def broken_tools(events, notes):
    """`notes`: tool -> its lines "argument key", one for each time it ran. A tool of effect once never runs twice; the others repeat with the same key."""
    broken = []
    finished = collections.Counter(event["call_id"] for event in events if event["type"] == "tool_finished")
    broken += [f"call {call} has {count} results" for call, count in finished.items() if count > 1]
    started = collections.defaultdict(set)
    unknown = {event["id"] for event in events if event["type"] == "outcome_unknown"}
    for event in events:
        if event["type"] == "tool_started":
            started[event["tool"]].add((event["task"], event["call_id"]))
    for tool, lines in notes.items():
        keys = {}
        for line in lines:
            of, _, key = line.rpartition(" ")
            keys.setdefault(key, []).append(of)
        for key, ran in keys.items():
            if tool == "pay" and len(ran) > 1:
                broken.append(f"{tool} of effect once ran {len(ran)} times for {ran[0]}")
            if len(set(ran)) > 1:
                broken.append(f"{tool} ran with one key for {sorted(set(ran))}")
        if len(keys) != len({tuple(ran[:1]) for ran in keys.values()}):
            broken.append(f"{tool} ran with several keys for one call: {keys}")
        if tool == "pay":
            sure = {call for _, call in started[tool]} - unknown
            if not len(sure) <= len(keys) <= len(started[tool]):
                broken.append(f"{tool}: {len(started[tool])} calls began, {len(sure)} of them with a known end, and {len(keys)} ran")
    return broken


def broken_provider(events, seen, stats):
    """`seen`: the requests at the provider's door. Each was recorded before it left; what was answered was answered by it."""
    broken = []
    recorded, answered = collections.Counter(), collections.Counter()
    for event in events:
        if event["type"] == "llm_requested":
            recorded[event["agent"], event["model"]] += 1
        elif event["type"] == "llm_responded" or event["type"] == "llm_failed" and event["http_status"]:
            answered[event["agent"], event["model"]] += 1
    counted = collections.Counter((request.agent, request.model) for request in seen)
    for who in set(recorded) | set(counted):
        if not answered[who] <= counted[who] <= recorded[who]:
            broken.append(f"{who}: {recorded[who]} requests recorded, {counted[who]} seen by the provider, {answered[who]} outcomes recorded")
    unknown = sum(1 for event in events if event["type"] == "outcome_unknown" and "#" in event["id"])
    again = sum(count - 1 for (content, model), count in collections.Counter((r.content, r.model) for r in seen).items() if model == "strong")
    if again > unknown:
        broken.append(f"{again} requests were sent again, and {unknown} had an unknown outcome")
    bad = {status: count for status, count in stats.get("by_status", {}).items() if status.startswith("4")}
    if bad:
        broken.append(f"the provider refused requests as not well formed: {bad}")
    return broken
