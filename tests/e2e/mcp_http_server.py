"""A small MCP server over HTTP, in the test's process: sessions as 2025-11-25 has them, answers by JSON or by a stream of events, a token."""
import http.server
import json
import threading


class McpHttpServer:
    def __init__(self, stream=True, token=None, calls_in_a_session=1000):
        self.stream, self.token, self.calls_in_a_session = stream, token, calls_in_a_session
        self.sessions, self.requests, self.calls = {}, [], 0
        self.lock = threading.Lock()
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                owner.post(self, json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            def do_GET(self):
                owner.reply(self, 405)

            def do_DELETE(self):
                with owner.lock:
                    owner.sessions.pop(self.headers.get("Mcp-Session-Id"), None)
                owner.reply(self, 200)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = "http://127.0.0.1:%d/mcp" % self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def reply(self, to, status, body=b"", **headers):
        to.send_response(status)
        for name, value in headers.items():
            to.send_header(name.replace("_", "-"), value)
        to.send_header("Content-Length", str(len(body)))
        to.end_headers()
        to.wfile.write(body)

    def post(self, to, message):
        with self.lock:
            self.requests.append((message.get("method"), dict(to.headers)))
        if self.token and to.headers.get("Authorization") != "Bearer " + self.token:
            return self.reply(to, 401, WWW_Authenticate='Bearer scope="files:read"')
        method, id = message.get("method"), message.get("id")
        if method == "server/discover":
            return self.reply(to, 400, b"Bad Request: no session")
        session = to.headers.get("Mcp-Session-Id")
        if method == "initialize":
            with self.lock:
                session = "session-%d" % (len([1 for name, _ in self.requests if name == "initialize"]))
                self.sessions[session] = 0
            result = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "t", "version": "1"}}
            return self.answer(to, {"jsonrpc": "2.0", "id": id, "result": result}, Mcp_Session_Id=session)
        with self.lock:
            known = session in self.sessions
            if known and method == "tools/call":
                self.sessions[session] += 1
                known = self.sessions[session] <= self.calls_in_a_session
        if not known:
            return self.reply(to, 404, b"no such session")
        if id is None:
            return self.reply(to, 202)
        if method == "tools/list":
            result = {"tools": [{"name": "count", "description": "Counts.", "inputSchema": {"type": "object"}}]}
        else:
            with self.lock:
                self.calls += 1
                result = {"content": [{"type": "text", "text": "call %d of %s" % (self.calls, session)}]}
        self.answer(to, {"jsonrpc": "2.0", "id": id, "result": result})

    def answer(self, to, message, **headers):
        text = json.dumps(message)
        if not self.stream:
            return self.reply(to, 200, text.encode(), Content_Type="application/json", **headers)
        to.send_response(200)
        for name, value in {"Content_Type": "text/event-stream", "Connection": "close", **headers}.items():
            to.send_header(name.replace("_", "-"), value)
        to.end_headers()
        to.wfile.write(f"event: message\ndata: {text}\n\n".encode())
        to.close_connection = True
