"""A message as a row of the table, and back."""

from __future__ import annotations

import json
import sqlite3
import struct
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from smallchat.chat.records import Attached, Conversation, Source, Turn
from smallchat.utf8 import encodable

_BESIDE = ("conversation", "searched")
"""Columns that are none of the message's own."""


def columns(turn: Turn) -> dict[str, Any]:
    """What may change while a message is made."""
    return {
        "content": encodable(turn.content),
        "given": encodable(turn.given),
        "sources": json.dumps([asdict(source) for source in turn.sources]),
        "attached": json.dumps([asdict(one) for one in turn.attached]),
        "status": turn.status,
        "model": encodable(turn.model),
        "sampling": json.dumps(turn.sampling),
        "edited": int(turn.edited),
        "finish": turn.finish,
        "problem": encodable(turn.problem),
        "trimmed": turn.trimmed,
        "prompt_tokens": turn.prompt_tokens,
        "tokens": turn.tokens,
        "speed": turn.speed,
        "ids": struct.pack(f"<{len(turn.ids)}i", *turn.ids),
    }


def conversation(row: sqlite3.Row) -> Conversation:
    """A line of the list."""
    values = dict(row)
    values["pinned"] = bool(values["pinned"])
    return Conversation(**{**values, "sampling": json.loads(values["sampling"])})


def tree(rows: Iterable[sqlite3.Row]) -> tuple[list[Turn], dict[int, Turn]]:
    """The messages that answer nothing, and every message by its id. `rows`: in the order of their ids."""
    beginnings: list[Turn] = []
    known: dict[int, Turn] = {}
    for row in rows:
        values = {key: row[key] for key in row.keys() if key not in _BESIDE}  # noqa: SIM118
        values["sampling"] = json.loads(values["sampling"])
        values["edited"] = bool(values["edited"])
        values["sources"] = [Source(**source) for source in json.loads(values["sources"])]
        values["attached"] = [Attached(**one) for one in json.loads(values["attached"])]
        values["ids"] = [one for (one,) in struct.iter_unpack("<i", values["ids"][: len(values["ids"]) & ~3])]
        parent = known.get(values.pop("parent") or 0)
        turn = known[row["id"]] = Turn(**values, parent=parent)
        (parent.children if parent else beginnings).append(turn)
        if parent:
            parent.onward = turn
    return beginnings, known
