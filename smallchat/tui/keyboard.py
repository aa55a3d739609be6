"""Keys in turn: each is given on when what the key before it did is done.

Textual gives a key to whatever has the focus when the key comes. A key that opens a conversation, a field or
a dialog does so some messages later, though, and keys that followed it within milliseconds went to the old
place. A dialog that comes by itself, on the other hand, would take the keys of somebody who is writing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

from textual import events
from textual.app import App
from textual.message_pump import MessagePump
from textual.widgets import Input

from smallchat.tui.widgets.prompt.prompt import Prompt

PASSES = 3
"""How often all widgets from the focused one up must have come to the end of their messages: what a key makes
a widget tell, and what that makes another one tell, comes in between."""
PATIENCE_SECONDS = 1.0
"""A widget that takes longer over a key holds the keyboard up no more."""
MOMENT_SECONDS = 1.0
"""A key that comes so soon behind a letter is still meant for the text in which the letter stands."""


class InTurn(App[None]):
    """An app that holds a key, or a paste, back while an earlier key is still on its way.

    Letters typed into a text field do not wait for each other: they stand in the field's own queue.
    """

    def __init__(self) -> None:
        super().__init__()
        self._held: deque[events.Key | events.Paste] = deque()
        self._given = 0
        """Keys that were given on."""
        self._under_way = False
        """What the last one did may not be done."""
        self._typing = False
        """It only added a letter to a text."""
        self._patience: asyncio.TimerHandle | None = None
        self._field: Prompt | Input | None = None
        """The text field that the last key was for; None: that key was for something else."""
        self._typed_at = 0.0

    async def on_event(self, event: events.Event) -> None:
        """Hold the keys; see `App.on_event`."""
        if isinstance(event, events.Key | events.Paste) and not event.is_forwarded:
            self._held.append(event)
            await self._give_on()
        else:
            if isinstance(event, events.MouseDown):
                self._field = None
            await super().on_event(event)

    async def _give_on(self) -> None:
        while self._held:
            typing = self._types(self._held[0])
            if self._under_way and not (typing and self._typing):
                return
            self._typing, self._under_way = typing, True
            self._given += 1
            try:
                event = self._held.popleft()
                if not self._goes_on(event):
                    await super().on_event(event)
            finally:
                self._wait_for(self._given)

    def _goes_on(self, event: events.Key | events.Paste) -> bool:
        """Give a key to the text that is being written, though a screen came above it that no key asked for.

        Enter would answer that screen: it does nothing. False: the key goes the usual way.
        """
        key = event.key if isinstance(event, events.Key) else ""
        writes = not key or key == "backspace" or (isinstance(event, events.Key) and event.is_printable)
        field = self._covered(event) if writes or key == "enter" else None
        if field is None:
            self._field = self.focused if writes and isinstance(self.focused, Prompt | Input) else None
            self._typed_at = event.time
            return False
        if key == "backspace":
            field.call_later(field.action_delete_left)  # behind the letters that it has not taken yet
        elif writes:
            field._forward_event(event)
        if writes:
            self._typed_at = event.time
        return True

    def _covered(self, event: events.Key | events.Paste) -> Prompt | Input | None:
        """The text that was typed a moment before this key, where it is on a screen below by now."""
        field = self._field
        if field is None or not field.is_attached or field.screen is self.screen:
            return None
        return field if event.time - self._typed_at <= MOMENT_SECONDS else None

    def _types(self, event: events.Key | events.Paste) -> bool:
        letter = isinstance(event, events.Key) and event.is_printable
        return letter and isinstance(self.focused, Prompt | Input)

    def _wait_for(self, key: int) -> None:
        if self._patience is not None:
            self._patience.cancel()
        loop = asyncio.get_running_loop()
        self._patience = loop.call_later(PATIENCE_SECONDS, self.call_later, self._done, key)
        self._pass(key, PASSES)

    def _pass(self, key: int, passes: int) -> None:
        """Follow the key on its way: from the focused widget up to the app, behind all messages there."""
        self._climb(key, passes, self._route())

    def _climb(self, key: int, passes: int, route: Sequence[MessagePump]) -> None:
        for place, widget in enumerate(route):
            if widget.call_later(self._climb, key, passes, route[place + 1 :]):
                return
        self.call_later(self._passed, key, passes)

    async def _passed(self, key: int, passes: int) -> None:
        if key != self._given or not self._under_way:
            return
        if passes > 1 or any(widget.message_queue_size for widget in (self, *self._route())):
            self._pass(key, max(1, passes - 1))
        else:
            await self._done(key)

    async def _done(self, key: int) -> None:
        if key == self._given and self._under_way:
            self._under_way = False
            if self._patience is not None:
                self._patience.cancel()
            await self._give_on()

    def _route(self) -> Sequence[MessagePump]:
        """The focused widget and all that it lies in, without the app."""
        return [one for one in (self.focused or self.screen).ancestors_with_self if one is not self]
