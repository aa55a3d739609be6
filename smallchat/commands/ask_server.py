"""`smallchat ask --endpoint`: one answer of a server to standard output."""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from smallchat.commands.printing import print_json
from smallchat.engine.client import LoadOptions, Message
from smallchat.engine.endpoint import EndpointClient
from smallchat.engine.events import Failed, Finished, Ready, Token
from smallchat.errors import HubError
from smallchat.settings import Settings
from smallchat.tui.text import plain

if TYPE_CHECKING:
    from smallchat.commands.kept import Kept


def run(
    settings: Settings, prompt: str, max_tokens: int | None, as_json: bool, kept: Kept | None = None
) -> None:
    """Answer `prompt`, in the conversation of `kept`; stream the text, or print one JSON object.

    Raises `HubError` or `UsageError`.
    """
    asyncio.run(_run(settings, prompt, max_tokens, as_json, kept))


async def _run(
    settings: Settings, prompt: str, max_tokens: int | None, as_json: bool, kept: Kept | None
) -> None:
    client = EndpointClient(settings.endpoint or "", settings.endpoint_key, settings.model)
    began = time.perf_counter()
    show = plain if sys.stdout.isatty() else str
    pieces: list[str] = []
    model = ""
    first = 0.0
    sampling = kept.sampling if kept is not None else settings.sampling().seeded()
    try:
        await client.start(LoadOptions(Path()))
        async for envelope in client.events():
            match envelope.event:
                case Ready(name=name):
                    model = name
                    system = [Message("system", settings.system)] if settings.system else []
                    messages = [*system, Message("user", prompt)]
                    if kept is not None:
                        messages = [Message(**message) for message in kept.messages]
                        kept.begin(name)
                    client.chat(messages, sampling, max_tokens)
                case Token(text=text):
                    first = first or time.perf_counter() - began
                    pieces.append(text)
                    if kept is not None:
                        kept.add(text)
                    if not as_json:
                        sys.stdout.write(show(text))
                        sys.stdout.flush()
                case Failed(what=what, cure=cure):
                    raise HubError(what, cure)
                case Finished() as finished:
                    break
        if kept is not None:
            tokens = finished.generated_tokens
            kept.end(finished.reason, finished.prompt_tokens, tokens, finished.decode_seconds)
        if as_json:
            answer = {
                "answer": "".join(pieces),
                "finish": finished.reason,
                "model": model,
                "endpoint": client.url,
                **asdict(sampling),
                "prompt_tokens": finished.prompt_tokens,
                "generated_tokens": finished.generated_tokens,
                "first_token_seconds": round(first, 4),
                "seconds": round(time.perf_counter() - began, 4),
            }
            print_json(answer)
        else:
            print()
    finally:
        await client.close()
