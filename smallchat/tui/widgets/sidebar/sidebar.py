"""The saved conversations beside the talk, and at their foot a field that searches everything ever said."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.events import Resize
from textual.geometry import Size
from textual.message import Message
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from smallchat.chat.records import Conversation
from smallchat.chat.search import Found
from smallchat.tui import keys
from smallchat.tui.text import pasted, plain
from smallchat.tui.widgets.ground import Placed
from smallchat.tui.widgets.sidebar import lines

SHOWN = 300
"""Conversations listed at the most; the search finds the older ones."""
SEARCH = "Search everything"
NAME = "Another name"


class Entries(OptionList, Placed):
    """The list. What its keys do to a conversation, the screen does."""

    BINDINGS: ClassVar[list[BindingType]] = keys.sidebar_bindings()

    def on_resize(self) -> None:
        """The marked line stays in view, also where something is told below."""
        self.call_after_refresh(self.scroll_to_highlight)

    def _size_updated(
        self, size: Size, virtual_size: Size, container_size: Size, layout: bool = True
    ) -> bool:
        """See `Widget._size_updated`. Textual takes the list for changed at every layout."""
        if size == self._size:
            return False
        return super()._size_updated(size, virtual_size, container_size, layout)


class Field(Input):
    """One line of text: what is searched for, or another name."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "screen.sidebar_move(-1)", "Previous", show=False),
        Binding("down", "screen.sidebar_move(1)", "Next", show=False),
        Binding("escape", "screen.leave_sidebar", "Back", show=False),
    ]

    def __init__(self) -> None:
        super().__init__(placeholder=SEARCH, compact=True, id="search", select_on_focus=False)
        self.cursor_blink = False

    def insert_text_at_cursor(self, text: str) -> None:
        """Harmless text only."""
        super().insert_text_at_cursor(pasted(text))


class Sidebar(Vertical):
    """Draws what it is given, and tells what was chosen, searched for, or named anew."""

    class Chosen(Message):
        """A conversation is to be opened, at a message where one was found."""

        def __init__(self, conversation: int, message: int | None) -> None:
            super().__init__()
            self.conversation = conversation
            self.message = message

    class Searched(Message):
        """Something else is looked for now; empty: nothing is."""

        def __init__(self, query: str) -> None:
            super().__init__()
            self.query = query

    class Renamed(Message):
        """A conversation got another name."""

        def __init__(self, conversation: int, title: str) -> None:
            super().__init__()
            self.conversation = conversation
            self.title = title

    def __init__(self) -> None:
        super().__init__(id="sidebar")
        self.entries = Entries(markup=False)
        self.field = Field()
        self._told = Static("", classes="told", markup=False)
        self._conversations: Sequence[Conversation] = ()
        self._current: int | None = None
        self._running = False
        self._found: Sequence[Found] | None = None
        """What was found; None: nothing is looked for."""
        self._looking = False
        """What stands in the field is still being looked for."""
        self._entered = False
        """Enter was pressed meanwhile: the first that is found is chosen."""
        self._rows: list[Conversation | Found | None] = []
        """What stands on each line of the list; None: a heading."""
        self._marked: Conversation | None = None
        """The conversation to be marked next, whatever was marked before."""
        self._named: Conversation | None = None
        """The conversation that is getting another name,"""
        self._query = ""
        """and what was searched for until then."""

    def compose(self) -> ComposeResult:
        self._told.display = False
        yield self.entries
        yield self._told
        yield self.field

    @property
    def shown(self) -> bool:
        """It is on the screen."""
        return bool(self.display and self.region.width)

    @property
    def highlighted(self) -> int | None:
        """The conversation that keys act on: the marked one, or that in which was said what is marked."""
        row = self._row
        return _conversation(row) if row is not None else None

    @property
    def renaming(self) -> bool:
        """The field holds a name, and not what is searched for."""
        return self._named is not None

    @property
    def _row(self) -> Conversation | Found | None:
        place = self.entries.highlighted
        return self._rows[place] if place is not None and place < len(self._rows) else None

    def show(
        self, conversations: Sequence[Conversation], current: int | None, running: bool, anew: bool = False
    ) -> None:
        """The saved conversations; `current` is open, and `running`: an answer is being made there.

        `anew`: mark the open one, whatever was marked before.
        """
        self._conversations, self._current, self._running = conversations, current, running
        if self._found is None:
            self._fill(anew)

    def mark(self, conversation: Conversation) -> None:
        """Have the next `show` mark this one."""
        self._marked = conversation

    def show_found(self, found: Sequence[Found] | None) -> None:
        """What the search found; None: back to the conversations."""
        looked, self._looking = self._looking, False
        self._found = found
        self._fill(anew=looked)
        if looked:
            self.tell("Nothing was found" if found == [] else "")
        if self._entered:
            self._entered = False
            self._choose(self._row)

    def search_again(self) -> None:
        """Something else may be found now: a conversation was changed."""
        if self._found is not None:
            self.post_message(self.Searched(self.field.value))

    def not_found(self, why: str) -> None:
        """The search failed."""
        self._looking = self._entered = False
        self.tell(why)

    def tell(self, text: str) -> None:
        """One line above the field; empty: none."""
        self._told.update(Content(plain(text)))
        self._told.display = bool(text)

    def begin_rename(self, conversation: Conversation) -> None:
        """Have the field take another name."""
        if not self.renaming:
            self._query = self.field.value
        self._named = conversation
        self.field.placeholder = NAME
        with self.prevent(Input.Changed):
            self.field.value = plain(conversation.title)
        self.field.cursor_position = len(self.field.value)
        self.tell("Enter gives this name · Esc leaves the old one")
        self.field.focus()

    def end_rename(self) -> None:
        """The field searches again."""
        self._named = None
        self.field.placeholder = SEARCH
        with self.prevent(Input.Changed):
            self.field.value = self._query
        self.field.cursor_position = len(self._query)
        self.tell("")
        self.entries.focus()

    def move(self, step: int) -> None:
        """Mark another line while the field has the keyboard."""
        if step > 0:
            self.entries.action_cursor_down()
        else:
            self.entries.action_cursor_up()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Search as one types."""
        event.stop()
        if self._named is None:
            self._looking, self._entered = True, False
            self.post_message(self.Searched(event.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter: the new name, or the marked line."""
        event.stop()
        if self._named is not None:
            named, title = self._named, " ".join(event.value.split())
            self.end_rename()
            if title:
                self.post_message(self.Renamed(named.id, title))
        elif self._looking:
            self._entered = True
        else:
            self._choose(self._row)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Enter or a click on a line."""
        event.stop()
        self._choose(self._rows[event.option_index])

    def on_resize(self, event: Resize) -> None:
        """Lines are as long as there is room."""
        self.call_after_refresh(self._fill)

    def _choose(self, row: Conversation | Found | None) -> None:
        if row is not None:
            self.post_message(self.Chosen(_conversation(row), _message(row)))

    def _fill(self, anew: bool = False) -> None:
        before, place = self._row, self.entries.highlighted
        if anew or not self.has_focus_within:
            before = None
        if self._marked is not None:
            before, self._marked = self._marked, None
        width = max(8, self.entries.scrollable_content_region.width - 1)
        self._rows = []
        options: list[Option] = []
        if self._found is not None:
            for one in self._found:
                self._rows.append(one)
                options.append(Option(lines.found(one, width)))
        else:
            today, under = datetime.date.today(), ""
            for conversation in self._conversations[:SHOWN]:
                if (name := lines.group(conversation, today)) != under:
                    under = name
                    self._rows.append(None)
                    options.append(Option(lines.heading(name), disabled=True))
                current = conversation.id == self._current
                self._rows.append(conversation)
                options.append(Option(lines.entry(conversation, width, current, current and self._running)))
        self.entries.clear_options()
        self.entries.add_options(options)
        self._highlight(before, place)

    def _highlight(self, before: Conversation | Found | None, place: int | None) -> None:
        """The first that was found, or the open conversation.

        While keys act here, the line of before, or what stands in its place now.
        """
        usable = [(index, row) for index, row in enumerate(self._rows) if row is not None]
        if not usable:
            return
        chosen = usable[0][0]
        wanted: tuple[int | None, int | None] = (None if self._found is not None else self._current), None
        if before is not None:
            wanted = _conversation(before), _message(before)
            chosen = next((index for index, _ in usable if index >= (place or 0)), usable[-1][0])
        same = (index for index, row in usable if (_conversation(row), _message(row)) == wanted)
        self.entries.highlighted = next(same, chosen)


def _conversation(row: Conversation | Found) -> int:
    return row.id if isinstance(row, Conversation) else row.conversation


def _message(row: Conversation | Found) -> int | None:
    return None if isinstance(row, Conversation) else row.message
