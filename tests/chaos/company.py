"""A company that uses everything that a crash could tear: tools of each effect, a for_each, a sub-workflow, a fail-over."""
import json

PRICE = {"input": 2.0, "output": 10.0}
AMPLE = {"usd": 2.00, "steps": 200, "time": "10m"}
TIGHT = {"usd": 0.06, "steps": 25, "time": "10m"}  # a few crashes, and the worst cases of what was in flight use it up


def process(effect, script, mark):
    # The mark in the command line tells this round's tools from everybody else's processes.
    return {"kind": "process", "description": script, "effect": effect, "timeout": "20s", "retries": 0, "sandbox": {"write": ["out"]},
            "parameters": {"type": "object", "properties": {"of": {"type": "string"}}},
            "command": ["sh", "-c", script, mark, "{{ of }}"]}


def configuration(url, mark, waits, limit):
    """`waits`: a source of seconds, one for each tool."""
    note = 'echo "$1 $TROUPE_IDEMPOTENCY_KEY" >> out/%s; sleep %.3f; echo "%s of $1"'
    agents = {"scout": ["look"], "worker": ["mark"], "payer": ["pay"], "clerk": [], "backup": ["look"], "writer": []}
    return {
        "version": 1,
        "providers": {"p": {"kind": "openai", "base_url": url + "/v1", "timeout": "20s"}},
        "models": {
            "m": {"chain": [{"provider": "p", "model": "strong", "usd_per_mtok": PRICE}], "retry": {"base": "5ms", "cap": "50ms"}},
            "shaky": {"chain": [{"provider": "p", "model": "weak", "usd_per_mtok": PRICE}, {"provider": "p", "model": "strong", "usd_per_mtok": PRICE}],
                      "retry": {"base": "5ms", "cap": "50ms", "attempts": 2}}},
        "tools": {
            "look": process("none", note % ("look", next(waits), "seen"), mark),
            "mark": process("idempotent", note % ("mark", next(waits), "marked"), mark),
            "pay": process("once", note % ("pay", next(waits), "paid"), mark)},
        "agents": {name: {"model": "shaky" if name == "backup" else "m", "system": f"You are {name}.", "max_tokens": 300, "tools": tools} for name, tools in agents.items()},
        "supervision": {"children": [{"pool": name, "size": 4} for name in agents]},
        "workflows": {
            "job": {"budget": limit,
                    "tasks": [
                        {"id": "survey", "agent": "scout", "instruction": "Look for {{ input.name }}."},
                        {"id": "each", "agent": "worker", "instruction": "Mark {{ item }}.", "for_each": "{{ input.items }}", "parallel": 3},
                        {"id": "money", "agent": "payer", "instruction": "Pay {{ item }}.", "for_each": "{{ input.debts }}"},
                        {"id": "inner", "workflow": "office", "with": {"about": "{{ tasks.survey.output }}"}},
                        {"id": "late", "agent": "backup", "instruction": "Look late for {{ input.name }}.", "needs": ["each"]},
                        {"id": "report", "agent": "writer", "instruction": "{{ tasks.survey.output }}|{{ tasks.each.output }}|{{ tasks.inner.output }}|{{ tasks.late.output }}",
                         "needs": ["money"]}]},
            "office": {"tasks": [
                {"id": "one", "agent": "clerk", "instruction": "File {{ input.about }}."},
                {"id": "two", "agent": "clerk", "instruction": "Stamp {{ tasks.one.output }}"}]}}}


def script(latencies):
    """What the models say; `latencies`: a source of milliseconds, one for each rule."""
    def rule(when, **reply):
        return {"when": when, "reply": reply, "latency": "%dms" % next(latencies), "usage": {"input": 60, "output": 20}}

    def call(*wanted):
        return {"tool_calls": [{"name": name, "arguments": {"of": of}} for name, of in wanted]}

    weak = rule({"model": "weak"}, text="never said")
    weak["fault"] = {"status": 503}
    return {"version": 1, "rules": [
        weak,
        rule({"agent": "scout", "turn": 1}, **call(("look", "{{ first }} a"), ("look", "{{ first }} b"))),
        rule({"agent": "scout"}, text="the survey ({{ first }})"),
        rule({"agent": "worker", "turn": 1}, **call(("mark", "{{ first }}"))),
        rule({"agent": "worker"}, text="{{ last }}"),
        rule({"agent": "payer", "turn": 1}, **call(("pay", "{{ first }}"))),
        rule({"agent": "payer"}, text="{{ last }}"),
        rule({"agent": "backup", "turn": 1}, **call(("look", "{{ first }}"))),
        rule({"agent": "backup"}, text="seen late"),
        rule({"any": True}, text="({{ last }})")]}


def input_of(run_id):
    """Each run of a round has names of its own, so that the tools' notes tell whose they are."""
    return {"name": run_id, "items": [f"{name} of {run_id}" for name in ("ada", "bob", "cy", "dot")], "debts": [f"{name} of {run_id}" for name in ("rent", "tax")]}


def wanted_report(run_id):
    marks = json.dumps([f"marked of Mark {item}.\n" for item in input_of(run_id)["items"]], separators=(",", ":"))
    survey = f"the survey (Look for {run_id}.)"
    return f"({survey}|{marks}|(Stamp (File {survey}.))|seen late)"
