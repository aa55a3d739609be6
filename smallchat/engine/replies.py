"""What a server of OpenAI's chat interface sends, as our events.

It is not trusted: lines and bodies have bounds, and what is no JSON of the right shape is passed over.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

from smallchat.engine.events import Event, Finished, FinishReason, Memory, Telemetry, Token

LINE_LIMIT = 1 << 20
"""Characters of one line of a reply at the most."""
BODY_LIMIT = 1 << 20
"""Bytes of a list of models, or of an error, at the most."""
TELEMETRY_SECONDS = 0.25

DONE: Mapping[str, Any] = {}
"""Stands behind the last piece of an answer."""


class RefusedError(Exception):
    """What the server did, as the rest of a sentence."""


class Answer:
    """Makes events of the pieces of one answer."""

    def __init__(self, seed: int, context: int) -> None:
        self.reason: FinishReason = "stop"
        self._ended = False
        """The server told that this is the whole answer."""
        self._seed, self._context = seed, context
        self._began = self._last = time.perf_counter()
        self._first: float | None = None
        self._index = 0
        self._prompt = self._generated = 0
        self._prompt_speed = self._decode_speed = 0.0
        self._told = 0.0

    def take(self, chunk: Mapping[str, Any]) -> list[Event]:
        """One piece: its text as a token, and what else it tells."""
        self._ended = self._ended or chunk is DONE
        if "error" in chunk:
            raise RefusedError(f"failed: {_message(chunk)}")
        usage, timings = chunk.get("usage"), chunk.get("timings")
        if isinstance(usage, dict):
            self._prompt = whole(usage.get("prompt_tokens"), self._prompt)
            self._generated = whole(usage.get("completion_tokens"), self._generated)
        if isinstance(timings, dict):  # llama.cpp's own
            self._prompt_speed = float(whole(timings.get("prompt_per_second"), 0))
            self._decode_speed = float(whole(timings.get("predicted_per_second"), 0))
        choices = chunk.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        if not isinstance(choice, dict):
            return []
        if isinstance(reason := choice.get("finish_reason"), str):
            self._ended = True  # not every server tells it with `DONE` too
            self.reason = "length" if reason == "length" else self.reason
        delta = choice.get("delta")
        text = delta.get("content") if isinstance(delta, dict) else None
        return self._token(text) if isinstance(text, str) and text else []

    def end(self) -> list[Event]:
        """The last two events. Raises `RefusedError` where the server told no end, and was not cancelled."""
        if not (self._ended or self.reason == "cancelled"):
            raise RefusedError("ended the answer early")
        generated = self._generated or self._index
        now = time.perf_counter()
        first = self._first if self._first is not None else now
        if self._prompt and not self._prompt_speed and first > self._began:
            self._prompt_speed = self._prompt / (first - self._began)
        finished = Finished(
            self.reason,
            self._seed,
            self._prompt,
            0,
            generated,
            first - self._began,
            max(0.0, self._last - first),
        )
        return [self._telemetry(), finished]

    def _token(self, text: str) -> list[Event]:
        now = time.perf_counter()
        if self._first is None:
            self._first = now
        seconds, self._last = now - self._last, now
        index, self._index = self._index, self._index + 1
        events: list[Event] = [Token(-1, text, index, seconds if index else 0.0, now - self._began)]
        if index and now > self._first:
            self._decode_speed = index / (now - self._first)
        if now - self._told >= TELEMETRY_SECONDS:
            self._told = now
            events.append(self._telemetry())
        return events

    def _telemetry(self) -> Telemetry:
        """What such a server tells: speeds, and how much of the context is taken."""
        used = self._prompt + (self._generated or self._index)
        return Telemetry(
            memory=Memory(0, 0, 0, 0, 0, None),
            context_used=used,
            context=self._context,
            layers=0,
            expert_count=0,
            experts=b"",
            heat=b"",
            prompt_speed=self._prompt_speed,
            decode_speed=self._decode_speed,
            hit_rate=None,
        )


async def chunks(response: Any) -> AsyncIterator[Mapping[str, Any]]:
    """The JSON objects of a stream of server-sent events, and `DONE` where the server sends that."""
    async for line in _lines(response):
        if not line.startswith("data:"):
            continue
        data = line[5:].strip()
        if data == "[DONE]":
            yield DONE
            return
        with contextlib.suppress(ValueError, RecursionError):
            chunk = json.loads(data)
            if isinstance(chunk, dict):
                yield chunk


async def _lines(response: Any) -> AsyncIterator[str]:
    """The lines of a reply, none longer than `LINE_LIMIT`."""
    rest = ""
    async for text in response.aiter_text():
        rest += text
        *lines, rest = rest.split("\n")
        if len(rest) > LINE_LIMIT or any(len(line) > LINE_LIMIT for line in lines):
            raise RefusedError("sends lines without an end")
        for line in lines:
            yield line.rstrip("\r")
    yield rest


async def limited(response: Any) -> bytes:
    """The body of a reply, at most `BODY_LIMIT` bytes of it."""
    raw = b""
    async for piece in response.aiter_bytes():
        raw += piece
        if len(raw) > BODY_LIMIT:
            raise RefusedError("sends a reply that is far too long")
    return raw


def refusal(status: int, raw: bytes) -> str:
    if status in {401, 403}:
        return f"does not accept the key ({status}): set SMALLCHAT_ENDPOINT_KEY"
    try:
        told = _message(json.loads(raw))
    except (ValueError, RecursionError):
        told = ""
    return f"answers with error {status}" + (f": {told}" if told else "")


def _message(body: Any) -> str:
    """What an error says, in the forms that servers use."""
    error = body.get("error", body) if isinstance(body, dict) else body
    message = error.get("message", "") if isinstance(error, dict) else error
    return str(message)[:300]


def whole(value: Any, default: int) -> int:
    return int(value) if isinstance(value, int | float) and 0 <= value < 1 << 40 else default
