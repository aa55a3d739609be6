"""What an empty conversation shows."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from smallchat.chat.records import Conversation
from smallchat.tui.keys import KeyNames
from smallchat.tui.text import age, count, one_line

DEMO = (
    "Demonstration model: small, often wrong.\n"
    "For real use: {models} fetches another, or smallchat --model PATH"
)

EXAMPLES = (
    "What can you help me with?",
    "Explain in three sentences how tides work.",
    "Write a short, friendly email that moves a meeting to Friday.",
    "Give me a recipe idea for potatoes and spinach.",
)
DEMO_EXAMPLES = (
    "Hello! Who are you?",
    "What is a mixture of experts?",
    "How do I start a new conversation?",
    "What do the marks in the panel mean?",
)
HINTS = (
    "{send} sends, {stop} stops · Tab chooses a line · / commands · @ files",
    "{conversations} older conversations · {models} models · {panel} panel · {help} all keys",
)
"""What a first start must know, each on its line."""
TITLE_CELLS = 44
RECENT = 3
"""Saved conversations that the welcome offers."""


class Choice(Static, can_focus=True):
    """A line that can be picked with Enter or a click."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,space", "choose", "Choose", show=False),
        Binding("up", "app.focus_previous", "Previous", show=False),
        Binding("down", "app.focus_next", "Next", show=False),
    ]

    class Chosen(Message):
        """The line was picked: a question to ask, or a conversation to open."""

        def __init__(self, what: str | Conversation) -> None:
            super().__init__()
            self.what = what

    def __init__(self, what: str | Conversation) -> None:
        super().__init__(_label(what))
        self.what = what

    def action_choose(self) -> None:
        """Tell the screen."""
        self.post_message(self.Chosen(self.what))

    def on_click(self) -> None:
        """A click picks."""
        self.action_choose()


class Welcome(Vertical):
    """A greeting, questions to begin with, and the latest conversations."""

    def __init__(self, demo: bool, recent: Sequence[Conversation], keys: KeyNames) -> None:
        super().__init__()
        self._keys = keys
        self._demo = demo
        self._recent = recent[:RECENT]

    def compose(self) -> ComposeResult:
        if self._demo:
            yield Static(Content(self._keys.told(DEMO)), id="demo")
        told = Content.assemble(
            ("What shall we talk about?", "bold"), ("  Everything stays on this machine.", "$quiet")
        )
        yield Static(told)
        yield Static(Content("Try"), classes="heading")
        for question in DEMO_EXAMPLES if self._demo else EXAMPLES:
            yield Choice(question)
        if self._recent:
            yield Static(Content("Recent"), classes="heading")
            for conversation in self._recent:
                yield Choice(conversation)
        yield Static(
            Content(self._keys.told("\n".join(HINTS))),
            classes="quiet hint",
        )


def _label(what: str | Conversation) -> Content:
    if isinstance(what, str):
        return Content(what)
    told = f"{age(time.time() - what.updated)} · {count(what.messages, 'message')}"
    title = Content(one_line(what.title)).truncate(TITLE_CELLS, ellipsis=True)
    return Content.assemble(title, "  ", (told, "$quiet"))
