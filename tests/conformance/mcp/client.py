#!/usr/bin/env python3
"""The client that @modelcontextprotocol/conformance starts for a scenario: it drives the real binary, `troupe mcp …`, against the scenario's server.

Usage: client.py SERVER_URL; the scenario, its context and the protocol's version come by the environment (see ./run). TROUPE_BIN names the binary.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

SCENARIO = os.environ["MCP_CONFORMANCE_SCENARIO"]
CONTEXT = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT") or "{}")
VERSION = os.environ.get("MCP_CONFORMANCE_PROTOCOL_VERSION", "")
TROUPE = os.environ["TROUPE_BIN"]
BROWSER = str(pathlib.Path(__file__).resolve().parent / "browser.py")
CLIENT_METADATA = "https://conformance-test.local/client-metadata.json"  # the address that the suite expects


def configuration(folder):
    server = {"kind": "mcp", "url": sys.argv[1]}
    if VERSION:
        server["protocol"] = VERSION
    if SCENARIO.startswith("elicitation") or SCENARIO.startswith("sep-2322"):
        server["elicitation"] = "defaults"
    if SCENARIO.startswith("auth/"):
        server["oauth"] = {"client_metadata_url": CLIENT_METADATA}
        if "client_id" in CONTEXT:
            server["oauth"] = {"client_id": CONTEXT["client_id"], "client_secret_env": "CLIENT_SECRET"}
    path = pathlib.Path(folder) / "c.json"
    path.write_text(json.dumps({
        "version": 1,
        "providers": {"none": {"kind": "scripted", "script": "s.yaml"}},
        "models": {"none": {"chain": [{"provider": "none", "model": "m"}]}},
        "tools": {"s": server},
        "agents": {"a": {"model": "none", "tools": ["s"]}},
        "workflows": {"w": {"tasks": [{"id": "t", "agent": "a", "instruction": "x"}]}},
    }))
    (pathlib.Path(folder) / "s.yaml").write_text("version: 1\nrules: [{ when: { any: true }, reply: { text: x } }]\n")
    return str(path)


def troupe(*args):
    environment = dict(os.environ, CLIENT_SECRET=CONTEXT.get("client_secret", ""))
    done = subprocess.run([TROUPE, "mcp", *args], env=environment, capture_output=True, text=True, timeout=60)
    sys.stderr.write(done.stderr)
    return done


def main():
    with tempfile.TemporaryDirectory() as folder:
        config = configuration(folder)
        status = 0

        def call(tool, arguments=None, *more):
            nonlocal status
            done = troupe("call", config, "s", tool, "--arguments", json.dumps(arguments or {}), *more)
            status = status or done.returncode

        if SCENARIO.startswith("auth/"):
            call("test-tool", {}, "--login", "--browser", BROWSER)
            return status
        listed = troupe("tools", config, "s", "--json")
        if listed.returncode != 0:
            return listed.returncode
        tools = {tool["name"]: tool for tool in json.loads(listed.stdout)["tools"]}
        if "toolCalls" in CONTEXT:
            for each in CONTEXT["toolCalls"]:
                if each["name"] in tools:
                    call(each["name"], each.get("arguments"))
        elif SCENARIO.startswith("json-schema-2020-12"):
            call("json_schema_echo", {"schema": tools["json_schema_2020_12_tool"]["inputSchema"]})
        elif SCENARIO not in ("initialize", "json-schema-ref-no-deref", "request-metadata"):
            known = {"a": 2, "b": 3, "region": "us-west1", "query": "x"}
            for name, tool in tools.items():
                properties = tool["inputSchema"].get("properties", {})
                arguments = {key: known.get(key, {"integer": 1, "number": 1, "boolean": True}.get(value.get("type"), "x"))
                             for key, value in properties.items() if isinstance(value, dict)}
                call(name, arguments)
        return status


sys.exit(main())
