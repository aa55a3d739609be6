"""The list of saved conversations."""

from __future__ import annotations

import time
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from smallchat.chat.records import Conversation
from smallchat.chat.store import Store
from smallchat.errors import StorageError
from smallchat.tui.text import age, count, one_line, plain


class ConversationsScreen(ModalScreen[Conversation | None]):
    """Closes with the conversation to open. Deleting can be undone while the list is open."""

    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape,ctrl+o", "dismiss", "Close"),
        ("delete,d", "delete", "Delete"),
        ("u,ctrl+z", "undo", "Undo"),
    ]

    def __init__(self, store: Store, conversations: list[Conversation], current: int | None) -> None:
        super().__init__()
        self._store = store
        self._conversations = conversations
        self._current = current
        self._deleted: list[tuple[int, Conversation]] = []
        self._list = OptionList(markup=False)
        self._hint = Static("", classes="quiet", markup=False)

    @property
    def deleted(self) -> set[int]:
        """Ids of the conversations that were deleted here."""
        return {conversation.id for _, conversation in self._deleted}

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = "Conversations"
            dialog.border_subtitle = "Enter opens · Del deletes · Esc closes"
            yield self._list
            yield self._hint

    def on_mount(self) -> None:
        """Fill the list."""
        self._fill(0)
        self._list.focus()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Open it."""
        self.dismiss(self._conversations[event.option_index])

    def action_delete(self) -> None:
        """Take the highlighted conversation away, for now."""
        index = self._list.highlighted
        if index is None:
            return
        conversation = self._conversations[index]
        try:
            self._store.delete(conversation.id)
        except StorageError as error:
            self._hint.update(Content(plain(str(error))))
            return
        self._deleted.append((index, self._conversations.pop(index)))
        self._fill(index)

    def action_undo(self) -> None:
        """Bring back what was deleted last."""
        if not self._deleted:
            return
        index, conversation = self._deleted[-1]
        try:
            self._store.restore(conversation.id)
        except StorageError as error:
            self._hint.update(Content(plain(str(error))))
            return
        self._deleted.pop()
        self._conversations.insert(index, conversation)
        self._fill(index)

    def _fill(self, highlighted: int) -> None:
        width = max(20, min(74, self.app.size.width - 16))
        self._list.clear_options()
        self._list.add_options(Option(self._line(one, width)) for one in self._conversations)
        if self._conversations:
            self._list.highlighted = min(highlighted, len(self._conversations) - 1)
        if self._deleted:
            title = one_line(self._deleted[-1][1].title)
            self._hint.update(Content(f"Deleted “{title}” · U brings it back"))
        else:
            self._hint.update(Content("" if self._conversations else "Nothing is saved yet"))

    def _line(self, conversation: Conversation, width: int) -> Content:
        told = f"{age(time.time() - conversation.updated)} · {count(conversation.messages, 'message')}"
        if conversation.draft:
            told = f"draft · {told}"
        mark = "● " if conversation.id == self._current else "  "
        room = max(8, width - len(told) - len(mark) - 2)
        title = Content(one_line(conversation.title)).truncate(room, ellipsis=True)
        gap = " " * max(2, width - len(mark) - title.cell_length - len(told))
        return Content.assemble((mark, "$primary"), title, gap, (told, "$quiet"))
