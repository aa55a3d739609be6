"""What could be meant by what is being typed: commands and their arguments. Knows no widget.

Everything here is quick enough to run at every key; what takes longer (a list of models, a large folder) is
looked up behind the screen, by whoever makes the `Names`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from smallchat.tui.commands import COMMANDS
from smallchat.tui.keys import KeyNames

MOST = 200
"""Candidates of one completion; nobody reads more."""

_MENTION = re.compile(r'(?:^|\s)(@(?:"([^"\n]*)|([^\s"]*)))$')
_ARGUMENT = re.compile(r"/([a-z]+) +([^\n]*)")


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to complete: `text` replaces what was typed of it, `meaning` is told beside it."""

    text: str
    meaning: str = ""
    tail: str = ""
    """What is written behind it, as the space before an argument."""


@dataclass(frozen=True, slots=True)
class Completion:
    """Everything that fits `text[start:end]`."""

    start: int
    end: int
    candidates: tuple[Candidate, ...]
    eager: bool = False
    """What is typed means nothing yet, so that Enter may complete it."""


Names = Mapping[str, Callable[[str], Sequence[Candidate]]]
"""For each kind of argument, and for "command", what could be meant by the text that was typed of it."""


def complete(text: str, cursor: int, names: Names) -> Completion | None:
    """Completes the command, its argument, or the file's name (`@`) at `cursor`; None: there is none."""
    before = text[:cursor]
    if "mention" in names and (found := _MENTION.search(before)):
        files = names["mention"](found[2] or found[3] or "")
        known = len(files) == 1 and files[0].text == found[1]
        return Completion(found.start(1), cursor, tuple(files)) if files and not known else None
    if not before.startswith("/") or "\n" in text:
        return None
    if re.fullmatch(r"/[a-z]*", before):
        return _completion(0, cursor, before, names["command"](""), eager=True)
    call = _ARGUMENT.fullmatch(before)
    command = next((one for one in COMMANDS if call and one.name == call[1]), None)
    if call is None or command is None or command.completes not in names:
        return None
    return _completion(call.start(2), cursor, call[2], names[command.completes](call[2]))


def fitting(typed: str, candidates: Sequence[Candidate]) -> list[Candidate]:
    """Those that begin with `typed` first, then those that contain it, whatever the case."""
    typed = typed.casefold()
    found = [one for one in candidates if typed in one.text.casefold()]
    return sorted(found, key=lambda one: not one.text.casefold().startswith(typed))[:MOST]


def _completion(
    start: int, end: int, typed: str, candidates: Sequence[Candidate], eager: bool = False
) -> Completion | None:
    found = fitting(typed, candidates)
    known = any(one.text == typed for one in found)
    if not found or (known and len(found) == 1):
        return None
    return Completion(start, end, tuple(found), eager and not known)


def commands(keys: KeyNames) -> list[Candidate]:
    """All commands, for `Names`, with the user's keys in what they mean."""
    return [
        Candidate(f"/{one.name}", keys.told(one.meaning), " " if one.argument else "") for one in COMMANDS
    ]
