"""A server of OpenAI's chat interface on this machine, real HTTP, that says what a test tells it to."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class ChatServer:
    """What it has and says."""

    models: list[dict[str, Any]] = field(default_factory=lambda: [{"id": "Qwen/big", "max_model_len": 9000}])
    listed: bytes | None = None
    """Sent in place of the list of models."""
    texts: list[str] = field(default_factory=lambda: ["Hel", "lo", " 你好"])
    finish: str = "stop"
    tail: list[dict[str, Any]] = field(
        default_factory=lambda: [{"choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 5}}]
    )
    raw: list[bytes] | None = None
    """Sent in place of the stream."""
    status: int = 200
    error: bytes = b""
    strict: bool = False
    """Refuses what OpenAI's own interface does not know."""
    gate: threading.Event | None = None
    """The stream waits for it after its first text."""
    cut: bool = False
    """The connection ends after the first text."""
    gone: threading.Event = field(default_factory=threading.Event)
    """Set when the client left in the middle."""
    requests: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    url: str = ""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_of_test: ChatServer

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        server = self.server_of_test
        server.keys.append(self.headers.get("Authorization"))
        if self.path != "/v1/models" or server.status != 200:
            self._whole(server.status if server.status != 200 else 404, server.error)
            return
        listed = json.dumps({"object": "list", "data": server.models}).encode()
        self._whole(200, listed if server.listed is None else server.listed)

    def do_POST(self) -> None:
        server = self.server_of_test
        raw = self.rfile.read(length := int(self.headers["Content-Length"]))
        if len(raw) < length:  # who asked has left
            server.gone.set()
            return
        body = json.loads(raw)
        server.requests.append(body)
        if server.status != 200:
            self._whole(server.status, server.error)
            return
        if server.strict and "top_k" in body:
            self._whole(400, b'{"error": {"message": "unknown field top_k"}}')
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            self._stream(server)
        except OSError:
            server.gone.set()

    def _stream(self, server: ChatServer) -> None:
        if server.raw is not None:
            for piece in server.raw:
                self._chunk(piece)
            self._chunk(b"")
            return
        for index, text in enumerate(server.texts):
            self._event({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]})
            if index == 0 and server.cut:
                self.close_connection = True
                self.connection.close()
                return
            if index == 0 and server.gate is not None:
                while not server.gate.wait(0.01):
                    self._chunk(b": still here\n\n")
        self._event({"choices": [{"index": 0, "delta": {}, "finish_reason": server.finish}]})
        for event in server.tail:
            self._event(event)
        self._chunk(b"data: [DONE]\n\n")
        self._chunk(b"")

    def _event(self, event: dict[str, Any]) -> None:
        self._chunk(b"data: " + json.dumps(event).encode() + b"\r\n\r\n")

    def _chunk(self, piece: bytes) -> None:
        self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        self.wfile.flush()

    def _whole(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def serving() -> Iterator[ChatServer]:
    """A server for one test."""
    told = ChatServer()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"server_of_test": told}))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    told.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield told
    finally:
        server.shutdown()
        server.server_close()
