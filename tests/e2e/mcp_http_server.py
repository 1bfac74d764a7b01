"""A small MCP server over HTTP, in the test's process: sessions as 2025-11-25 has them, answers by JSON or by a stream of events, a token."""
import base64
import hashlib
import http.server
import json
import threading
import time
import urllib.parse


class McpHttpServer:
    def __init__(self, stream=True, token=None, calls_in_a_session=1000, forgetful=False, rotates=False, greeting_seconds=0):
        self.forgetful, self.rotates = forgetful, rotates
        self.greeting_seconds, self.greeted = greeting_seconds, set()  # refuses what comes before it has taken the end of the handshake
        self.refresh, self.registered, self.issuer, self.repeats = "refresh-t0ken-1", 0, None, False
        self.stream, self.token, self.calls_in_a_session = stream, token, calls_in_a_session
        self.sessions, self.requests, self.forms, self.calls = {}, [], [], 0
        self.lock = threading.Lock()
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.path == "/mcp":
                    owner.post(self, json.loads(body))
                elif self.path == "/register":
                    owner.registered += 1
                    owner.document(self, {"client_id": "client-1", "client_secret": "s3cret-of-the-client", "token_endpoint_auth_method": "client_secret_basic"}, 201)
                else:
                    owner.give_token(self, dict(urllib.parse.parse_qsl(body.decode())))

            def do_GET(self):
                owner.get(self)

            def do_DELETE(self):
                with owner.lock:
                    owner.sessions.pop(self.headers.get("Mcp-Session-Id"), None)
                owner.reply(self, 200)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = "http://127.0.0.1:%d/mcp" % self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    # --- its own authorization server: RFC 9728, 8414, 7591, 7636 ---

    def document(self, to, content, status=200):
        self.reply(to, status, json.dumps(content).encode(), Content_Type="application/json")

    def get(self, to):
        base = self.url.removesuffix("/mcp")
        issuer = self.issuer or base
        where = urllib.parse.urlsplit(to.path)
        if where.path == "/.well-known/oauth-protected-resource/mcp":
            self.document(to, {"resource": self.url, "authorization_servers": [issuer], "scopes_supported": ["files:read"]})
        elif where.path == "/.well-known/oauth-authorization-server":
            self.document(to, {"issuer": issuer, "authorization_endpoint": base + "/authorize", "token_endpoint": base + "/token", "registration_endpoint": base + "/register",
                               "code_challenge_methods_supported": ["S256"], "token_endpoint_auth_methods_supported": ["client_secret_basic"]})
        elif where.path == "/authorize":
            self.asked = dict(urllib.parse.parse_qsl(where.query))
            self.reply(to, 302, Location=self.asked["redirect_uri"] + "?" + urllib.parse.urlencode({"code": "the-c0de", "state": self.asked["state"]}))
        else:
            self.reply(to, 405)

    def give_token(self, to, form):
        with self.lock:
            self.forms.append(form)
            challenge = base64.urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest()).decode().rstrip("=")
            good = form["grant_type"] == "refresh_token" and form["refresh_token"] == self.refresh or form.get("code") == "the-c0de" and challenge == self.asked["code_challenge"]
            good = good and form["resource"] == self.url and to.headers["Authorization"] == "Basic " + base64.b64encode(b"client-1:s3cret-of-the-client").decode()
            if good:
                self.token = "access-t0ken-%d" % len(self.forms)
                self.refresh = "refresh-t0ken-%d" % (len(self.forms) if self.rotates else 1)
        if good:
            self.document(to, {"access_token": self.token, "token_type": "Bearer", "expires_in": 3600, "refresh_token": self.refresh})
        else:
            self.document(to, {"error": "invalid_grant"}, 400)

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
            known = session in self.sessions and not self.forgetful
            if known and method == "tools/call":
                self.sessions[session] += 1
                known = self.sessions[session] <= self.calls_in_a_session
        if not known:
            return self.reply(to, 404, b"no such session")
        if method == "notifications/initialized":
            time.sleep(self.greeting_seconds)
            self.greeted.add(session)
        if id is None:
            return self.reply(to, 202)
        if session not in self.greeted:
            return self.answer(to, {"jsonrpc": "2.0", "id": id, "error": {"code": -32602, "message": "Received request before initialization was complete"}})
        if method == "tools/list":
            said = " For " + to.headers["Authorization"] if self.repeats else ""
            result = {"tools": [{"name": "count", "description": "Counts." + said, "inputSchema": {"type": "object", "description": "All." + said}}]}
        else:
            with self.lock:
                self.calls += 1
                said = " with " + to.headers["Authorization"] if self.repeats else ""
                result = {"content": [{"type": "text", "text": "call %d of %s" % (self.calls, session) + said}]}
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
