"""Stands between a company and its provider, and notes when each request came and what it was."""
import asyncio
import hashlib
import re
import threading
import time


class Request:
    def __init__(self, head, body):
        self.at = time.time()
        self.body = body
        self.agent = (re.search(rb"(?i)x-troupe-agent: *(\S+)", head) or [b"", b""])[1].decode()
        self.content = hashlib.sha256(body).hexdigest()
        self.model = (re.search(rb'"model": *"([^"]*)"', body) or [b"", b""])[1].decode()


class Relay:
    """`url` leads to `target` (host, port). Any thread may read `requests`."""

    def __init__(self, target):
        self.target, self.requests = target, []
        self.loop = asyncio.new_event_loop()
        ready = threading.Event()
        self.thread = threading.Thread(target=self._serve, args=(ready,), daemon=True)
        self.thread.start()
        ready.wait()

    def _serve(self, ready):
        asyncio.set_event_loop(self.loop)
        server = self.loop.run_until_complete(asyncio.start_server(self._connected, "127.0.0.1", 0))
        self.url = "http://127.0.0.1:%d" % server.sockets[0].getsockname()[1]
        ready.set()
        self.loop.run_forever()

    async def _connected(self, client, answer):
        onward, back = await asyncio.open_connection(*self.target)
        returning = asyncio.ensure_future(self._pump(onward, answer))
        try:
            while True:
                head = await client.readuntil(b"\r\n\r\n")
                length = int((re.search(rb"(?i)content-length: *(\d+)", head) or [0, 0])[1])
                body = await client.readexactly(length)
                self.requests.append(Request(head, body))
                back.write(head + body)
                await back.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            returning.cancel()
            back.close()
            answer.close()

    @staticmethod
    async def _pump(source, sink):
        try:
            while piece := await source.read(65536):
                sink.write(piece)
                await sink.drain()
        except ConnectionError:
            pass
        finally:
            sink.close()
