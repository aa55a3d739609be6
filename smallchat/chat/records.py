"""What a conversation is made of."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Role = Literal["user", "assistant"]
Status = Literal["streaming", "complete", "stopped", "failed"]

CONTINUED = "continued"
"""In an answer's settings: how many of its tokens its seed drew, before it was stopped and continued."""


@dataclass(frozen=True, slots=True)
class Source:
    """A passage of a note that was given to the model with a question: where it stands, for the reader."""

    path: str
    """Place of the note's file below the note folder, with "/"."""
    title: str
    headings: str
    """The way to it from the note's top; empty: no heading."""
    first: int
    last: int
    """Lines, from 1."""

    @property
    def trail(self) -> str:
        """`[[Note]] › Heading`."""
        return f"[[{self.title}]] › {self.headings}" if self.headings else f"[[{self.title}]]"

    @property
    def where(self) -> str:
        """`[[Note]] › Heading, lines 3–9`."""
        lines = f"line {self.first}" if self.first == self.last else f"lines {self.first}–{self.last}"
        return f"{self.trail}, {lines}"


@dataclass(frozen=True, slots=True)
class Attached:
    """A file or a pasted text that was sent along with a message; `Turn.given` holds the text itself."""

    label: str
    tokens: int | None
    start: int
    end: int
    """Its text is `given[start:end]`."""


@dataclass(slots=True, eq=False)
class Turn:
    """One message of a conversation, a node of its tree: `parent` is the message that it answers."""

    role: Role
    content: str = ""
    status: Status = "complete"
    parent: Turn | None = None
    given: str = ""
    """What the model is given before a question and the reader need not see: passages of notes."""
    sources: list[Source] = field(default_factory=list)
    """Where these passages stand."""
    attached: list[Attached] = field(default_factory=list)
    """Files and pasted texts in `given`."""
    model: str = ""
    sampling: dict[str, float | int | None] = field(default_factory=dict)
    """Settings of this answer, with the seed that was really used once that is known."""
    edited: bool = False
    """The user changed this answer: its text is no longer what the model wrote."""
    finish: str = ""
    """Why the answer ended, in the engine's word: stop, length, context, cancelled."""
    problem: str = ""
    """What went wrong, for the user; empty where nothing did."""
    trimmed: int = 0
    """Oldest messages of the conversation that no longer fitted when this answer was made."""
    prompt_tokens: int | None = None
    tokens: int | None = None
    speed: float | None = None
    """Tokens a second of decoding."""
    ids: list[int] = field(default_factory=list, repr=False)
    """The tokens that `content` is made of, where they are known."""
    created: float = field(default_factory=time.time)
    id: int | None = None
    """Row of the store; None: not saved yet."""
    children: list[Turn] = field(default_factory=list, repr=False)
    """The messages that answer this one, oldest first; where there are several, each begins a branch."""
    onward: Turn | None = field(default=None, repr=False)
    """Which of them was open last."""

    @property
    def told(self) -> str:
        """The message as a model reads it."""
        return "\n\n".join(filter(None, (self.given, self.content)))


@dataclass(frozen=True, slots=True)
class Conversation:
    """One line of the list of conversations."""

    id: int
    title: str
    system: str | None
    created: float
    updated: float
    messages: int
    """In every branch."""
    draft: str
    pinned: bool
    """It stands above those that are not, however old."""
    branches: int
    """Ways through it: messages that nothing answers."""
    sampling: Mapping[str, float | int | None]
    """How its answers are drawn, where that is not as in the settings."""
    persona: str
    """Name of the persona that `system` is of; empty: none."""


def path_through(turn: Turn) -> list[Turn]:
    """The way from the beginning to this message, and on along what was open last. Remembers it as such."""
    path = [turn]
    while path[-1].parent is not None:
        path[-1].parent.onward = path[-1]
        path.append(path[-1].parent)
    path.reverse()
    while path[-1].children:
        path.append(path[-1].onward or path[-1].children[-1])
        if path[-1].parent is not None:
            path[-1].parent.onward = path[-1]
    return path
