"""The messages that a model is given: system prompt and pinned notes, what was said, what went along with it.

What goes along with one message (attachments, passages of notes) is in its turn: see `Turn.told`.
"""

from __future__ import annotations

from collections.abc import Sequence

from smallchat.chat.records import Turn
from smallchat.chat.session import Session
from smallchat.engine.client import Message


def system(session: Session, pinned: str) -> list[Message]:
    """What every prompt of this conversation begins with, always the same; `pinned`: text before all else."""
    text = "\n\n".join(filter(None, (pinned, session.system)))
    return [Message("system", text)] if text else []


def conversation(session: Session, pinned: str, but: Turn | None = None) -> list[Message]:
    """The open way through a conversation, without the turn `but`, and without what is left out of it."""
    turns = [turn for turn in session.turns if turn is not but]
    left_out = max((turn.trimmed for turn in session.turns), default=0)
    return system(session, pinned) + _said(turns)[left_out:]


def before(session: Session, pinned: str, answer: Turn) -> list[Message]:
    """What an answer was made from, on whichever branch it is."""
    path, at = [], answer.parent
    while at is not None:
        path.append(at)
        at = at.parent
    return system(session, pinned) + _said(path[::-1])[answer.trimmed :]


def _said(turns: Sequence[Turn]) -> list[Message]:
    """Without answers that stayed empty."""
    return [Message(turn.role, turn.told, tuple(turn.ids)) for turn in turns if turn.told]
