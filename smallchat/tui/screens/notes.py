"""Passages of notes: searched as one types, or the sources of an answer; read here or in the editor."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from smallchat.errors import SmallchatError
from smallchat.tui.faults import Guarded
from smallchat.tui.text import one_line, plain
from smallchat.tui.widgets.dialog import Choices, Dialog

KEYS = "Enter opens in $EDITOR · PgUp PgDn read · Esc closes"
BRIEF = "Enter opens · PgDn · Esc closes"
FOUND = 50
"""Passages that the list holds."""
AROUND = 200
"""Lines of the note that the preview shows around a passage."""


@dataclass(frozen=True, slots=True)
class Place:
    """A line of the list: a passage, and how it is told."""

    path: str
    label: str
    first: int
    last: int
    snippet: str = ""
    marks: tuple[tuple[int, int], ...] = ()


class NotesScreen(Guarded, ModalScreen[tuple[str, int] | None]):
    """Closes with the path and the line that are to be opened in the editor, or with None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Close"),
        Binding("up", "move(-1)", "Up", priority=True),
        Binding("down", "move(1)", "Down", priority=True),
        Binding("pageup", "read(-1)", "Read up", priority=True),
        Binding("pagedown", "read(1)", "Read down", priority=True),
        Binding("enter", "open", "Open", priority=True),
    ]

    def __init__(
        self,
        text_of: Callable[[str], str],
        find: Callable[[str], list[Place]] | None = None,
        places: Sequence[Place] = (),
        words: str = "",
    ) -> None:
        """`find` searches; without it, `places` are listed. `text_of` gives a note's text. Both may block."""
        super().__init__()
        self._text_of = text_of
        self._find = find
        self._places = list(places)
        self._words = Input(words, placeholder="Words of a note", id="words", select_on_focus=False)
        self._words.cursor_blink = False
        self._list = Choices(markup=False)
        self._preview = Static("", markup=False)
        self._told = Static("", classes="quiet", markup=False)
        self._scroll = VerticalScroll(self._preview, id="preview", can_focus=False)

    def compose(self) -> ComposeResult:
        with Dialog("Notes" if self._find else "Sources", KEYS, BRIEF, classes="notes"):
            if self._find:
                yield self._words
            yield self._list
            yield self._told
            yield self._scroll

    def on_mount(self) -> None:
        """Show what there is."""
        self._list.can_focus = self._find is None
        (self._words if self._find else self._list).focus()
        if self._find and self._words.value:
            self.on_input_changed()
        else:
            self._fill()

    def on_input_changed(self) -> None:
        """Search again; a search that is overtaken is not shown."""
        search = partial(self._search, self._words.value)
        self.run_worker(search, group="search", exclusive=True)  # type: ignore[arg-type]

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        """Show the passage in its note."""
        self.run_worker(self._show(self._places[event.option_index]), group="preview", exclusive=True)

    def on_option_list_option_selected(self) -> None:
        """A click opens too."""
        self.action_open()

    def action_move(self, lines: int) -> None:
        """The next passage, while typing goes on."""
        if self._places:
            self._list.highlighted = ((self._list.highlighted or 0) + lines) % len(self._places)

    def action_read(self, pages: int) -> None:
        """Read on in the note."""
        self._scroll.scroll_relative(y=pages * max(1, self._scroll.size.height - 1), animate=False)

    def action_open(self) -> None:
        """Close, and open the highlighted passage in the editor."""
        if self._list.highlighted is not None and self._places:
            place = self._places[self._list.highlighted]
            self.dismiss((place.path, place.first))

    async def _search(self, words: str) -> None:
        assert self._find is not None
        try:
            self._places = await asyncio.to_thread(self._find, words) if words.strip() else []
        except SmallchatError as error:
            self._places = []
            self._told.update(Content(plain(str(error))))
            return
        self._fill(words)

    def _fill(self, words: str = "") -> None:
        self._list.clear_options()
        self._list.add_options(Option(_line(place)) for place in self._places)
        self._told.update(Content("Nothing fits" if words.strip() and not self._places else ""))
        self._told.display = bool(words.strip()) and not self._places
        if self._places:
            self._list.highlighted = 0
        else:
            self._preview.update("")

    async def _show(self, place: Place) -> None:
        try:
            text = await asyncio.to_thread(self._text_of, place.path)
        except SmallchatError as error:
            self._preview.update(Content(plain(str(error))))
            return
        lines = text.split("\n")
        start, end = max(0, place.first - 1 - AROUND), min(len(lines), place.last + AROUND)
        drawn = [
            Content.assemble(
                (f"{number:>5} ", "$faint"),
                (plain(lines[number - 1][:2000]), "" if place.first <= number <= place.last else "$quiet"),
            )
            for number in range(start + 1, end + 1)
        ]
        self._preview.update(Content("\n").join(drawn))
        before = Content("\n").join(drawn[: place.first - 1 - start])

        def go() -> None:
            width = max(1, self._scroll.size.width)
            above = (
                sum(max(1, -(-line.cell_length // width)) for line in before.split("\n"))
                if before.plain
                else 0
            )
            self._scroll.scroll_to(y=above, animate=False)

        self.call_after_refresh(go)


def _line(place: Place) -> Content:
    lines = f"{place.first}–{place.last}" if place.first != place.last else f"{place.first}"
    head = Content.assemble((one_line(place.label), "bold"), (f"  {lines}", "$quiet"))
    if not place.snippet:
        return head
    pieces, at = [], 0
    for start, end in place.marks:
        pieces += [
            (plain(place.snippet[at:start]), "$quiet"),
            (plain(place.snippet[start:end]), "$primary bold"),
        ]
        at = end
    pieces.append((plain(place.snippet[at:]), "$quiet"))
    return Content("\n").join([head, Content.assemble(*pieces)])
