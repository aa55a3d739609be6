"""Conversations as notes: each grows at its end, and what cannot be read is told."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from smallchat.errors import NotesError
from smallchat.notes import transcripts
from smallchat.notes.folder import MAX_BYTES
from smallchat.notes.transcripts import FOLDER, Exchange

NOON = time.mktime((2026, 11, 24, 12, 30, 0, 0, 0, -1))


def save(root: Path, *said: Exchange) -> str:
    return transcripts.save(root, "Apples", 7, NOON, said, "")


def leads_away(note: Path) -> None:
    note.parent.rename(away := note.parents[2] / "away")
    note.parent.symlink_to(away)


def is_binary(note: Path) -> None:
    note.write_bytes(b"# Apples\n\0")


def is_huge(note: Path) -> None:
    os.truncate(note, MAX_BYTES + 1)


def test_a_note_grows_by_what_it_does_not_hold(root: Path) -> None:
    first, second = Exchange("When?", "In May.", 2), Exchange("Sure?", "Yes.", 4)
    path = save(root, first)
    assert path == f"{FOLDER}/2026-11-24 Apples 7.md"
    (root / path).write_text((root / path).read_text().replace("In May.", "In June."))
    assert save(root, first, second) == path
    text = (root / path).read_text()
    assert "In June." in text and "In May." not in text
    assert text.endswith("<!-- message 2 -->\n\n> Sure?\n\nYes.\n\n<!-- message 4 -->\n")


@pytest.mark.parametrize("becomes", [leads_away, is_binary, is_huge])
def test_a_note_that_cannot_be_read_any_more_is_told(root: Path, becomes: Callable[[Path], None]) -> None:
    said = Exchange("When?", "In May.", 2)
    path = save(root, said)
    becomes(root / path)
    with pytest.raises(NotesError, match=f"The note {path} is .*Nothing was written"):
        save(root, said, Exchange("Sure?", "Yes.", 4))
