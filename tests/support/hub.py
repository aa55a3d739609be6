"""A hub on this machine: a real HTTP server that answers as the real one does, and fails when told to.

Two servers, because the real hub keeps its files elsewhere: the first redirects to the second.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Request:
    server: str
    method: str
    path: str
    headers: dict[str, str]


@dataclass
class Hub:
    """What it has, and how it misbehaves."""

    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    """Repository to its files."""
    renamed: dict[str, str] = field(default_factory=dict)
    """Old name of a repository to its new one."""
    statuses: list[tuple[str, int, dict[str, str]]] = field(default_factory=list)
    """(part of a path, status, headers): such requests are refused."""
    refuse_once: list[tuple[str, int]] = field(default_factory=list)
    """(part of a path, status): the next such request is refused."""
    cuts: list[int] = field(default_factory=list)
    """Each of the next downloads ends after so many bytes."""
    ranges: bool = True
    """Whether the file server knows ranges."""
    damage: bool = False
    """A byte is wrong on the way."""
    listing: bytes | None = None
    """Told instead of what every repository has."""
    page: bytes | None = None
    """Sent instead of every file, as a network does that wants a log-in."""
    page_length: bool = True
    """Whether the page's length is told before it."""
    requests: list[Request] = field(default_factory=list)
    gate: threading.Event | None = None
    """Downloads wait for it after their first kilobyte."""
    url: str = ""
    store: str = ""
    """Address of the file server."""

    def add(self, repository: str, file: str, content: bytes) -> None:
        self.files.setdefault(repository, {})[file] = content

    def downloads(self) -> list[Request]:
        return [request for request in self.requests if request.server == "store"]


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    kind: str

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        hub = self.hub
        path = urlsplit(self.path).path
        hub.requests.append(Request(self.kind, self.command, path, dict(self.headers)))
        for part, status, headers in hub.statuses:
            if part in path:
                return self._send(status, headers)
        for refusal in hub.refuse_once:
            if refusal[0] in path:
                hub.refuse_once.remove(refusal)
                return self._send(refusal[1], {})
        return self._file(path) if self.kind == "store" else self._hub(path)

    def _hub(self, path: str) -> None:
        hub = self.hub
        for old, new in hub.renamed.items():
            if old in path:
                return self._send(307, {"Location": path.replace(old, new)})
        parts = path.strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            repository = "/".join(parts[2:4])
            if repository not in hub.files:
                return self._send(404, {"X-Error-Code": "RepoNotFound"})
            siblings = [
                {"rfilename": name, "size": len(content), "lfs": self._lfs(content)}
                for name, content in hub.files[repository].items()
            ]
            body = json.dumps({"id": repository, "sha": COMMIT, "siblings": siblings}).encode()
            return self._send(200, {"Content-Type": "application/json"}, hub.listing or body)
        repository, file = "/".join(parts[:2]), "/".join(parts[4:])
        content = hub.files.get(repository, {}).get(file)
        if content is None:
            return self._send(404, {"X-Error-Code": "EntryNotFound"})
        digest = hashlib.sha256(content).hexdigest()
        headers = {
            "X-Repo-Commit": COMMIT,
            "X-Linked-Etag": f'"{digest}"',
            "X-Linked-Size": str(len(content)),
            "Location": f"{hub.store}/{digest}",
        }
        return self._send(302, headers)

    def _file(self, path: str) -> None:
        hub = self.hub
        if hub.page is not None:
            self.send_response(200)
            if hub.page_length:
                self.send_header("Content-Length", str(len(hub.page)))
            self.end_headers()
            self.wfile.write(hub.page)
            self.close_connection = True
            return
        contents = [content for files in hub.files.values() for content in files.values()]
        content = next(c for c in contents if hashlib.sha256(c).hexdigest() == path.strip("/"))
        start, total = 0, len(content)
        asked = self.headers.get("Range")
        if asked and hub.ranges:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
        if hub.damage:
            content = bytes([content[0] ^ 1]) + content[1:]
        body = content[start:]
        self.send_response(206 if asked and hub.ranges else 200)
        self.send_header("Content-Length", str(len(body)))
        if asked and hub.ranges:
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        self.end_headers()
        stop = hub.cuts.pop(0) if hub.cuts else len(body)
        if hub.gate is not None:
            self.wfile.write(body[: min(stop, 1024)])
            self.wfile.flush()
            hub.gate.wait(30)
            body = body[1024:]
            stop -= 1024
        self.wfile.write(body[: max(stop, 0)])
        if stop < len(body):
            self.close_connection = True

    @staticmethod
    def _lfs(content: bytes) -> dict[str, Any]:
        return {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}

    def _send(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextmanager
def serving() -> Iterator[Hub]:
    """A hub for one test."""
    hub = Hub()
    servers = []
    for kind in ("hub", "store"):
        handler = type("Handler", (_Handler,), {"hub": hub, "kind": kind})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        servers.append(server)
    hub.url = f"http://127.0.0.1:{servers[0].server_port}"
    hub.store = f"http://localhost:{servers[1].server_port}"
    try:
        yield hub
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
