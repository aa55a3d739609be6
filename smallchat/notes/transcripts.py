"""Conversations kept as notes: one note for each, which only ever grows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from smallchat.notes import folder, template, writing

FOLDER = "Conversations"
"""Its notes are found by searching, and never asked about: answers are no sources."""

_MARK = re.compile(r"^<!-- message (\d{1,18}) -->\r?$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question, its answer, and the number of the answer's message."""

    question: str
    answer: str
    message: int


def save(
    root: Path, title: str, conversation: int, begun: float, said: Sequence[Exchange], front: str
) -> str:
    """Write what the conversation's note does not hold yet, at its end; returns its path.

    What the user has changed in the note stays. Raises `NotesError`.
    """
    name = template.file_path(f"{{date}} {{title}} {conversation}", template.safe_name(title)[:60], begun)
    path = f"{FOLDER}/{name}"
    with writing.told(path):
        text = folder.decode(folder.read_bytes(root, path)) if (root / path).exists() else None
    if text is None:
        body = "\n\n".join(map(_text, said))
        return writing.create(root, path, template.new_note(front, title, body, begun))
    held = {int(number) for number in _MARK.findall(text)}
    new = [one for one in said if one.message not in held]
    if new:
        writing.appended(root, path, "\n\n".join(map(_text, new))).apply()
    return path


def _text(exchange: Exchange) -> str:
    asked = "\n".join(f"> {line}".rstrip() for line in exchange.question.strip().split("\n"))
    return f"{asked}\n\n{exchange.answer.strip()}\n\n<!-- message {exchange.message} -->"
