"""`smallchat ask`: one answer to standard output."""

from __future__ import annotations

import sys
import time
from collections.abc import Collection
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from smallchat.commands.cut_file import told_when_cut
from smallchat.commands.printing import print_json
from smallchat.commands.resolve import load_options
from smallchat.engine import Engine
from smallchat.engine.client import LoadOptions
from smallchat.engine.prompt import fit
from smallchat.settings import Settings, UsageError
from smallchat.tui.text import plain

if TYPE_CHECKING:
    from smallchat.commands.kept import Kept

MAX_INPUT = 1 << 24
"""Bytes read from standard input at the most."""


def run(
    settings: Settings,
    question: str | None,
    max_tokens: int | None,
    as_json: bool,
    raw: bool,
    go_on: bool = False,
    given: Collection[str] = (),
) -> None:
    """Answer `question`, together with what is piped in; stream the text, or print one JSON object.

    `raw` continues the text as it is, without the chat template; `go_on` asks in the latest conversation, and
    keeps question and answer there; the settings `given` for it come before that conversation's own. Control
    characters of the answer are made harmless where standard output is a terminal. Raises `SmallchatError`.
    """
    if raw and go_on:
        raise UsageError("A conversation is no raw text", "Leave --raw or --continue out")
    prompt = _prompt(question)
    if settings.endpoint is not None and raw:
        raise UsageError("A server only chats", "Leave --raw or --endpoint out")
    kept = _kept(settings, prompt, given) if go_on else None
    try:
        if settings.endpoint is not None:
            from smallchat.commands import ask_server

            ask_server.run(settings, prompt, max_tokens, as_json, kept)
        else:
            options = load_options(settings)
            with told_when_cut(options.path):
                _run(settings, options, prompt, max_tokens, as_json, raw, kept)
    finally:
        if kept is not None:
            kept.close()


def _run(
    settings: Settings,
    options: LoadOptions,
    prompt: str,
    max_tokens: int | None,
    as_json: bool,
    raw: bool,
    kept: Kept | None,
) -> None:
    if options.repack is None:  # there is no pause for it
        options = replace(options, repack=False)
    began = time.perf_counter()
    engine = Engine.load(**options.arguments())
    try:
        for note in engine.notes:
            print(note, file=sys.stderr)
        sampling = kept.sampling if kept is not None else settings.sampling().seeded()
        if raw:
            ids = engine.tokenizer.encode(prompt)
        else:
            said = kept.messages if kept is not None else _messages(settings, prompt)
            ids, left_out, _ = fit(engine, said, resume=False)
            if kept is not None:
                kept.begin(f"{engine.card.name} {engine.weights.quantisation}".rstrip(), left_out)
        owner = kept.number if kept is not None else 0
        loaded = time.perf_counter() - began
        show = plain if sys.stdout.isatty() else str
        pieces: list[str] = []
        finish, generated, first = "cancelled", 0, 0.0
        for token in engine.generate(ids, max_tokens, **asdict(sampling), owner=owner):
            first = first or token.elapsed
            generated += token.finish != "stop"
            finish = token.finish or finish
            pieces.append(token.text)
            if kept is not None:
                kept.add(token.text, -1 if token.finish == "stop" else token.token_id)
            if not as_json:
                sys.stdout.write(show(token.text))
                sys.stdout.flush()
        if kept is not None:
            kept.end(finish, len(ids), generated, time.perf_counter() - began - loaded - first)
        if as_json:
            answer = {
                "answer": "".join(pieces),
                "finish": finish,
                "model": engine.card.name,
                "path": str(engine.path),
                "kernels": engine.kernels.name,
                "threads": engine.threads,
                **asdict(sampling),
                "prompt_tokens": len(ids),
                "generated_tokens": generated,
                "load_seconds": round(loaded, 4),
                "first_token_seconds": round(first, 4),
                "seconds": round(time.perf_counter() - began, 4),
            }
            print_json(answer)
        else:
            print()
        sys.stdout.flush()
        while engine.save_some():  # another question about the same text then begins at once
            pass
        if finish == "context":
            print("The answer was cut: the context is full (--context).", file=sys.stderr)
    finally:
        engine.close()


def _messages(settings: Settings, prompt: str) -> list[dict[str, str]]:
    system = [{"role": "system", "content": settings.system}] if settings.system else []
    return [*system, {"role": "user", "content": prompt}]


def _kept(settings: Settings, prompt: str, given: Collection[str]) -> Kept:
    from smallchat.commands.kept import Kept

    return Kept(settings, prompt, given)


def _prompt(question: str | None) -> str:
    """The question and the piped text: the text first, as a document to ask about."""
    piped = b"" if sys.stdin.isatty() else sys.stdin.buffer.read(MAX_INPUT + 1)
    if len(piped) > MAX_INPUT:
        raise UsageError("Standard input is too long", f"Give at most {MAX_INPUT} bytes")
    try:
        text = piped.decode("utf-8")
    except UnicodeDecodeError:
        raise UsageError("Standard input is not text", "Pipe UTF-8 text into smallchat") from None
    parts = [part for part in (text.strip(), (question or "").strip()) if part]
    if not parts:
        raise UsageError("There is no question", 'Give one: smallchat ask "…", or pipe one in')
    return "\n\n".join(parts)
