"""The screen's end of the decoder: a worker process, spoken to in JSON lines over its pipes.

The screen never shares a process with the decoder. The worker ends when its standard input closes, so it
cannot outlive the app, however the app ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Protocol

from smallchat import paths
from smallchat.engine.events import Envelope, Failed, parse
from smallchat.errors import EngineError, ExitCode
from smallchat.interpreter import PYTHON
from smallchat.settings import DEFAULT_CONTEXT, DEFAULT_KV, KVType, Sampling, Settings, SparseHead

LINE_LIMIT = 1 << 24
"""Bytes of one event at the most; telemetry of the 21B is about 10 kB."""


SCREEN_BYTES = 100 << 20
"""What the screen's process counts for against a memory budget: 65 to 80 MB after a long conversation."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation: `role` is "system", "user" or "assistant"."""

    role: str
    content: str
    ids: tuple[int, ...] = ()
    """The tokens that an answer was made of, where they are known: its text alone might be read as others."""


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """What to load, and how; the same meanings as `Engine.load`, for a conversation."""

    path: Path
    mem: int | None = None
    kernels: str = "auto"
    kv: KVType = DEFAULT_KV
    sparse_head: SparseHead | None = None
    repack: bool | None = None
    threads: int | None = None
    context: int = DEFAULT_CONTEXT
    checkpoints: int = 0
    beside: int = 0
    demo: bool = False

    def arguments(self) -> dict[str, Any]:
        """What `Engine.load` is called with."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "demo"}


class EngineClient(Protocol):
    """What the app needs from an engine. `WorkerClient` is the real one; tests replay a script."""

    async def start(self, options: LoadOptions) -> None:
        """Begin to load; returns at once. `Loading`, then `Ready` or `Failed` follow as events."""

    def events(self) -> AsyncIterator[Envelope]:
        """Every event in order, until the engine ends. Iterate once for each `start`."""

    def chat(
        self,
        messages: Sequence[Message],
        sampling: Sampling,
        max_tokens: int | None = None,
        resume: bool = False,
        begun: Sequence[int] = (),
        alternatives: int = 0,
        owner: int = 0,
    ) -> int:
        """Ask for an answer; returns the request's number, which its events carry.

        Events: `PromptProgress`…, `Token`…, then `Finished` or `Failed`; or `TooLong` and nothing else.
        `resume`: the last message is an assistant's and is continued in place. `begun`: tokens that the
        answer begins with; the first `Token` has their text too. `alternatives`: how many of the most likely
        tokens are told with each. `owner`: number of the conversation, whose checkpoints go with it.
        """

    def cancel(self, request: int) -> None:
        """Stop that answer within a token. Its `Finished` still comes, with reason "cancelled"."""

    def count(self, messages: Sequence[Message]) -> int:
        """Ask how many tokens these messages are as a prompt; a `Counted` event follows, or `Failed`."""

    def pieces(self, text: str, ids: Sequence[int]) -> int:
        """Ask for the tokens of an answer: `ids` if they say `text`, else those that `text` is read as; a
        `Pieces` event follows.
        """

    def resize(self, mem: int | None) -> int:
        """Ask for another memory budget, in bytes (None: no limit), also while an answer comes; `Resized` or
        `Failed` follows.
        """

    async def close(self) -> None:
        """End the engine. Never raises."""


class WorkerClient:
    """An `EngineClient` whose engine runs as `python -m smallchat.engine.worker`."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._next_request = 0

    async def start(self, options: LoadOptions) -> None:
        """See `EngineClient.start`. A worker that is still there is ended first."""
        await self.close()
        log = paths.engine_log()
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as standard_error:
            self._process = await asyncio.create_subprocess_exec(
                *(*PYTHON, "-m", "smallchat.engine.worker"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=standard_error,
                limit=LINE_LIMIT,
                # Ctrl+C in the terminal is for the app to handle.
                start_new_session=os.name == "posix",
            )
        body = asdict(options)
        body["path"] = str(options.path)
        self._send("load", **body)

    async def events(self) -> AsyncIterator[Envelope]:
        """See `EngineClient.events`. If the worker dies unasked, the last event is a `Failed`."""
        process = self._process
        if process is None or process.stdout is None:
            return
        while line := await process.stdout.readline():
            with contextlib.suppress(ValueError):
                yield parse(line)
        code = await process.wait()
        if process is self._process:
            self._process = None
            what = f"The decoder's process ended unexpectedly (code {code})"
            cure = f"Load the model again; details are in {paths.engine_log()}"
            if code == -getattr(signal, "SIGBUS", 0):
                what = "The model file was cut, or could not be read, while it was in use"
                cure = "Check the file and the disk, then load the model again"
            yield Envelope(0, Failed(what, cure, int(ExitCode.ENGINE)))

    def chat(
        self,
        messages: Sequence[Message],
        sampling: Sampling,
        max_tokens: int | None = None,
        resume: bool = False,
        begun: Sequence[int] = (),
        alternatives: int = 0,
        owner: int = 0,
    ) -> int:
        """See `EngineClient.chat`. Raises `EngineError` where no engine runs."""
        return self._send(
            "chat",
            messages=[asdict(message) for message in messages],
            sampling=asdict(sampling),
            max_tokens=max_tokens,
            resume=resume,
            begun=[*begun],
            alternatives=alternatives,
            owner=owner,
        )

    def cancel(self, request: int) -> None:
        """See `EngineClient.cancel`."""
        with contextlib.suppress(EngineError):
            self._send("cancel", target=request)

    def count(self, messages: Sequence[Message]) -> int:
        """See `EngineClient.count`. Raises `EngineError` where no engine runs."""
        return self._send("count", messages=[asdict(message) for message in messages])

    def pieces(self, text: str, ids: Sequence[int]) -> int:
        """See `EngineClient.pieces`. Raises `EngineError` where no engine runs."""
        return self._send("pieces", text=text, ids=[*ids])

    def resize(self, mem: int | None) -> int:
        """See `EngineClient.resize`. Raises `EngineError` where no engine runs."""
        return self._send("resize", mem=mem)

    async def close(self) -> None:
        """See `EngineClient.close`."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), timeout=2)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    def _send(self, operation: str, **body: Any) -> int:
        process = self._process
        if process is None or process.stdin is None or process.stdin.is_closing():
            raise EngineError("No model is loaded", "Load a model first")
        self._next_request += 1
        line = {"request": self._next_request, "operation": operation, **body}
        process.stdin.write(json.dumps(line).encode("ascii") + b"\n")
        return self._next_request


def client_for(settings: Settings) -> EngineClient:
    """The decoder's process, or the server that was asked for."""
    if settings.endpoint is None:
        return WorkerClient()
    from smallchat.engine.endpoint import EndpointClient

    return EndpointClient(settings.endpoint, settings.endpoint_key, settings.model)
