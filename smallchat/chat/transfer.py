"""Conversations as Markdown, to be read, and as JSON with every branch, to be taken in again."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from smallchat.chat.records import CONTINUED, Attached, Conversation, Source, Turn
from smallchat.chat.store import Store
from smallchat.chat.titles import shortened
from smallchat.errors import StorageError
from smallchat.settings import Sampling, UsageError
from smallchat.utf8 import encodable

Kind = Literal["md", "json"]

FORMAT, VERSION = "smallchat conversations", 1

MAX_BYTES = 512 << 20
"""Size of a file that is taken in, at the most."""
MAX_TEXT = 16 << 20
"""Characters of one text in it, at the most."""
_LATEST = 1e11
"""Seconds; more is no time of this age."""
_STATUS = {"complete": "complete", "stopped": "stopped", "failed": "failed", "streaming": "stopped"}
_KEPT = ("id", "role", "content", "status", "given", "model", "finish", "problem")
EDITED = "edited by the user"
_FIGURES = ("trimmed", "prompt_tokens", "tokens", "speed", "created")


def markdown(conversation: Conversation, turns: Sequence[Turn]) -> str:
    """The open way through a conversation, as people read it."""
    parts = [f"# {' '.join(conversation.title.split())}"]
    if conversation.system:
        parts.append("\n".join(f"> {line}".rstrip() for line in conversation.system.split("\n")))
    for turn in turns:
        if turn.role == "user":
            parts.append("## You")
        else:
            seed = turn.sampling.get("seed")
            told = [turn.model, f"seed {seed}" if seed is not None else "", EDITED if turn.edited else ""]
            made = " · ".join(filter(None, told))
            parts.append(f"## smallchat\n\n*{made}*" if made else "## smallchat")
        if turn.content.strip():
            parts.append(turn.content.strip("\n"))
        elif turn.attached:
            parts.append("Sent along: " + "; ".join(one.label for one in turn.attached))
        if turn.sources:
            parts.append("Sources: " + "; ".join(source.where for source in turn.sources))
    return "\n\n".join(parts) + "\n"


def exported(store: Store, conversations: Sequence[Conversation], kind: Kind) -> str:
    """Their text in this form. Raises `StorageError`."""
    if kind == "json":
        return json.dumps(as_data(store, conversations), ensure_ascii=False, indent=1) + "\n"
    return "\n".join(markdown(one, store.turns(one.id)) for one in conversations)


def kind_of(path: Path) -> Kind:
    """The form that a file's name asks for."""
    return "json" if path.suffix.lower() == ".json" else "md"


def as_data(store: Store, conversations: Sequence[Conversation]) -> dict[str, Any]:
    """The same with everything that is kept, every branch included; fit for JSON. Raises `StorageError`."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "conversations": [_conversation(store, one) for one in conversations],
    }


def _conversation(store: Store, conversation: Conversation) -> dict[str, Any]:
    beginnings, path = store.tree(conversation.id)
    messages: list[Turn] = []
    waiting = [*beginnings]
    while waiting:
        turn = waiting.pop()
        messages.append(turn)
        waiting += turn.children
    messages.sort(key=lambda turn: turn.id or 0)
    return {
        "id": conversation.id,
        "title": conversation.title,
        "system": conversation.system,
        "persona": conversation.persona,
        "sampling": dict(conversation.sampling),
        "pinned": conversation.pinned,
        "created": conversation.created,
        "updated": conversation.updated,
        "open": path[-1].id if path else None,
        "messages": [
            {name: getattr(turn, name) for name in (*_KEPT, *_FIGURES, "edited")}
            | {
                "parent": turn.parent.id if turn.parent else None,
                "sampling": turn.sampling,
                "sources": [asdict(source) for source in turn.sources],
                "attached": [asdict(attached) for attached in turn.attached],
            }
            for turn in messages
        ],
    }


def take_in(store: Store, text: str) -> list[int]:
    """Add the conversations of a JSON text that `as_data` made; returns their new ids.

    All of them, or none; nothing that is there already is changed. Raises `StorageError` where the text is
    none of ours: every field is checked, for the file may come from anyone.
    """
    try:
        data = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise _damaged("it is no JSON") from error
    read = _Reader(data, "the file")
    if read.text("format") != FORMAT or read.whole("version", 1 << 30) != VERSION:
        raise _damaged(f'it does not say "{FORMAT}", version {VERSION}')
    with store.transaction(durable=True):
        return [_add(store, *_read_conversation(one)) for one in read.items("conversations")]


def _add(store: Store, values: Mapping[str, Any], turns: Sequence[Turn], last: Turn | None) -> int:
    conversation = store.begin(values["title"], values["system"], values["created"])
    store.configure(conversation, values["system"], values["persona"], values["sampling"])
    store.pin(conversation, values["pinned"])
    for turn in turns:
        turn.id = store.add(conversation, turn)
    if last is not None:
        store.open_at(conversation, last)
    return conversation


def _read_conversation(read: _Reader) -> tuple[dict[str, Any], list[Turn], Turn | None]:
    known: dict[int, Turn] = {}
    for message in read.items("messages"):
        number = message.whole("id", 1 << 62)
        parent = None if message.none("parent") else known.get(message.whole("parent", 1 << 62))
        if number in known or (parent is None and not message.none("parent")):
            raise _damaged(f"message {number} is there twice, or answers one that is not there")
        known[number] = _read_message(message, parent)
    last = None if read.none("open") else known.get(read.whole("open", 1 << 62))
    values = {
        "title": shortened(" ".join(read.text("title").split())),
        "system": None if read.none("system") else read.text("system"),
        "persona": read.text("persona"),
        "sampling": read.settings("sampling"),
        "pinned": read.truth("pinned"),
        "created": read.number("created", _LATEST),
    }
    return values, list(known.values()), last or (list(known.values())[-1] if known else None)


def _read_message(read: _Reader, parent: Turn | None) -> Turn:
    role, status = read.text("role"), _STATUS.get(read.text("status"))
    if role not in ("user", "assistant") or status is None:
        raise _damaged(f"{read.where} has a role or a status that is none")
    return Turn(
        role,  # type: ignore[arg-type]
        read.text("content"),
        status,  # type: ignore[arg-type]
        parent,
        given=read.text("given"),
        sources=[
            Source(
                source.text("path"),
                source.text("title"),
                source.text("headings"),
                source.whole("first", 1 << 40),
                source.whole("last", 1 << 40),
            )
            for source in read.items("sources")
        ],
        attached=[
            Attached(
                one.text("label"),
                None if one.none("tokens") else one.whole("tokens", 1 << 40),
                one.whole("start", MAX_TEXT),
                one.whole("end", MAX_TEXT),
            )
            for one in read.items("attached")
        ],
        model=read.text("model"),
        sampling=read.settings("sampling", CONTINUED),
        edited=not read.none("edited") and read.truth("edited"),  # older exports do not say
        finish=read.text("finish"),
        problem=read.text("problem"),
        trimmed=read.whole("trimmed", 1 << 40),
        prompt_tokens=None if read.none("prompt_tokens") else read.whole("prompt_tokens", 1 << 40),
        tokens=None if read.none("tokens") else read.whole("tokens", 1 << 40),
        speed=None if read.none("speed") else read.number("speed", 1e9),
        created=min(read.number("created", _LATEST), time.time()),
    )


class _Reader:
    """One object of the file; every value is asked for with its type and its bounds."""

    def __init__(self, data: object, where: str) -> None:
        if not isinstance(data, dict):
            raise _damaged(f"{where} is no object")
        self._data = data
        self.where = where

    def none(self, name: str) -> bool:
        return self._data.get(name) is None

    def text(self, name: str) -> str:
        value = self._data.get(name)
        if not isinstance(value, str) or len(value) > MAX_TEXT:
            raise self._wrong(name)
        return encodable(value)

    def truth(self, name: str) -> bool:
        value = self._data.get(name)
        if not isinstance(value, bool):
            raise self._wrong(name)
        return value

    def whole(self, name: str, most: int) -> int:
        value = self._data.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
            raise self._wrong(name)
        return value

    def number(self, name: str, most: float) -> float:
        value = self._data.get(name)
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= most:
            raise self._wrong(name)
        return float(value)

    def items(self, name: str) -> Iterator[_Reader]:
        """Each object of a list, which is empty then: nothing lies beside what was made of it."""
        value = self._data.get(name)
        if not isinstance(value, list):
            raise self._wrong(name)
        value.reverse()
        for number in range(1, len(value) + 1):
            yield _Reader(value.pop(), f"{name} {number}")

    def settings(self, name: str, *counts: str) -> dict[str, float | int | None]:
        """Fields of `Sampling` with values that it allows; `counts` may be there too."""
        value = self._data.get(name)
        if not isinstance(value, dict) or any(isinstance(one, bool) for one in value.values()):
            raise self._wrong(name)
        read = _Reader(value, f"{name} of {self.where}")
        for whole in ("top_k", "seed", *counts):
            if not read.none(whole):
                read.whole(whole, 1 << 63)
        try:
            Sampling(**{key: one for key, one in value.items() if key not in counts})
        except (TypeError, UsageError) as error:
            raise self._wrong(name) from error
        return dict(value)

    def _wrong(self, name: str) -> StorageError:
        return _damaged(f"{self.where} has no proper {name}")


def _refuse(constant: str) -> float:
    raise ValueError(constant)


def _damaged(why: str) -> StorageError:
    return StorageError(f"These are no conversations of smallchat: {why}", "Nothing was taken in")
