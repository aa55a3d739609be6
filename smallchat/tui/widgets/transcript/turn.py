"""One message on the screen."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.content import Content

from smallchat.chat.records import Attached, Source, Turn
from smallchat.engine.events import PromptProgress
from smallchat.tui.keys import KeyNames
from smallchat.tui.text import count, one_line, plain, speed
from smallchat.tui.widgets.ground import Stack, Text, lines

_ENDS = {
    "length": "ended at the length limit",
    "context": "cut: the context is full",
}


class TurnView(Stack):
    """A message and, in a quiet line below it, what there is to say about it."""

    def __init__(self, turn: Turn, keys: KeyNames) -> None:
        super().__init__(classes=turn.role)
        self.turn = turn
        self.keys = keys
        self._note = Text("", classes="note", markup=False)
        self._note.display = False
        self._noted = ""
        self.place = ""
        """Which of several answers, or wordings, this is; empty: the only one."""

    def note(self, text: str) -> None:
        """Change the quiet line; empty: none."""
        if text != self._noted:
            # Laying out the whole transcript for a counter would cost more than drawing the text.
            content = Content(text)
            fits = self._note.display and 0 < lines(self._note, content) == self._note.content_size.height
            self._note.update(content, layout=not fits)
            self._note.display = bool(text)
            self._noted = text


class UserTurn(TurnView):
    """What the user said, as it was typed."""

    def compose(self) -> ComposeResult:
        if self.turn.content.strip() or not self.turn.attached:
            yield Text(Content(plain(self.turn.content)), classes="said")
        if self.turn.attached:
            yield Text(Content("\n".join(map(attached_text, self.turn.attached))), classes="attached")
        yield self._note

    def show(self, waiting: str) -> None:
        """Draw the present state; `waiting`: what the answer waits for, or empty."""
        self.note(" · ".join(filter(None, (self.place, waiting))))


class AnswerTurn(TurnView):
    """What the model said, growing while it says it."""

    def __init__(self, turn: Turn, keys: KeyNames) -> None:
        # The first frame needs no Markdown: importing it takes a sixth of the whole start.
        from smallchat.tui.widgets.transcript.markdown import AnswerMarkdown

        super().__init__(turn, keys)
        self._text = AnswerMarkdown(turn.content)
        self._drawn = len(turn.content)
        self._trimmed = Text("", classes="trimmed", markup=False)
        self._sources = Text("", classes="sources", markup=False)
        self._sourced = ""
        self._shown: tuple[object, ...] = ()

    def compose(self) -> ComposeResult:
        self._trimmed.display = False
        self._sources.display = False
        yield self._trimmed
        yield self._text
        yield self._sources
        yield self._note

    @property
    def stale(self) -> bool:
        """There is something new to draw. An answer that has ended may be continued later."""
        return self.turn.status == "streaming" or self._shown != self._state

    @property
    def _state(self) -> tuple[object, ...]:
        turn = self.turn
        return turn.status, len(turn.content), turn.finish, turn.problem, self.place

    async def show(self, progress: PromptProgress | None) -> None:
        """Draw what is new since the last time."""
        turn = self.turn
        if turn.trimmed and not self._trimmed.display:
            self._trimmed.update(Content(trimmed_text(turn.trimmed)))
            self._trimmed.display = True
        fragment = turn.content[self._drawn :]
        streaming = turn.status == "streaming"
        told = progress_text(turn, progress, self.keys) if streaming else result_text(turn)
        self.note(" · ".join(filter(None, (self.place, told))))
        if fragment:
            self._drawn += len(fragment)
            await self._text.write(fragment)
        self.set_class(turn.status == "failed", "-failed")
        if turn.parent is not None and turn.parent.sources:
            self._show_sources(turn.parent.sources)
        if not streaming:
            self._text.settle()
        self._shown = self._state

    def _show_sources(self, sources: Sequence[Source]) -> None:
        """Always, however good the answer; those that it names are marked."""
        from smallchat.notes.question import cited

        lines = [
            f"{'•' if cited(self.turn.content, source.title) else ' '} {one_line(source.where)}"
            for source in sources
        ]
        told = self.keys.told("Sources ({sources} opens them, • named in the answer)")
        text = "\n".join([told, *lines])
        if text != self._sourced:
            self._sourced = text
            self._sources.update(Content(text))
            self._sources.display = True


def place_text(number: int, of: int) -> str:
    """Which of several messages in the same place; empty for the only one."""
    return f"‹ {number}/{of} ›" if of > 1 else ""


def attached_text(attached: Attached) -> str:
    """The line of what was sent along with a message."""
    told = f" · {count(attached.tokens, 'token')}" if attached.tokens else ""
    return f"▤ {one_line(attached.label)}{told}"


def trimmed_text(messages: int) -> str:
    """The line above an answer that was given only a part of the conversation."""
    if messages == 1:
        return "The first message no longer fits the context and was not sent"
    return f"The first {messages:,} messages no longer fit the context and were not sent"


def progress_text(turn: Turn, progress: PromptProgress | None, keys: KeyNames) -> str:
    """The line below an answer that is being made."""
    told = "thinking"
    if turn.tokens:
        told = count(turn.tokens, "token")
    elif progress is not None:
        told = f"reading {progress.done:,} of {count(progress.total, 'token')}"
    return f"{told} · {keys['stop']} stops"


def result_text(turn: Turn) -> str:
    """The line below an answer that has ended."""
    parts = []
    if turn.tokens:
        parts.append(count(turn.tokens, "token"))
    if turn.speed is not None:
        parts.append(f"{speed(turn.speed)} tok/s")
    if (seed := turn.sampling.get("seed")) is not None:
        parts.append(f"seed {seed}")
    if turn.edited:
        parts.append("edited by you")
    if turn.status == "stopped":
        parts.append("stopped")
    if turn.finish in _ENDS:
        parts.append(_ENDS[turn.finish])
    if turn.problem:
        parts.append(turn.problem)
    return plain(" · ".join(parts))
