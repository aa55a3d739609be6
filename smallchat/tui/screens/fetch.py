"""A model that is not on this machine: what it would cost, fetching it with a bar, stopping, going on."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Static

from smallchat.errors import SmallchatError
from smallchat.tui.faults import Guarded, tell_fault
from smallchat.tui.text import plain, size
from smallchat.tui.widgets.dialog import Dialog
from smallchat.tui.widgets.panel.lines import bar, content

if TYPE_CHECKING:
    from smallchat.hub.catalog import Offer
    from smallchat.hub.known import Reference

BUILTIN, QUIT = "builtin", "quit"
DRAW_SECONDS = 0.2
BAR = 60
"""Cells of the bar at the most."""


class _StoppedError(Exception):
    """The user does not want to wait any more."""


class FetchScreen(Guarded, ModalScreen[Path | str]):
    """Closes with the file's path, or with `BUILTIN` or `QUIT`. What was fetched stays, however it closes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        ("left", "app.focus_previous", "Previous"),
        ("right", "app.focus_next", "Next"),
        ("escape", "stop", "Stop"),
    ]

    def __init__(self, name: str, reference: Reference, inside: bool = False) -> None:
        """`name` is what the user called the model, `reference` what that means; `inside`: of the chat."""
        super().__init__()
        self._inside = inside
        self._name, self._reference = name, reference
        self._offer: Offer | None = None
        self._stage, self._done, self._total = "", 0, 0
        self._began, self._first = 0.0, 0
        self._stopped = self._running = False

    def compose(self) -> ComposeResult:
        with Dialog():
            yield Static(Content(plain(f"The model {self._name} is not on this machine")), classes="what")
            yield Static(Content("Asking the hub …"), id="told", classes="cure")
            yield Static(Content(""), id="bar")
            with Horizontal(classes="ways"):
                yield Button(Content("Fetch it"), id="fetch", compact=True, disabled=True)
                yield Button(Content("Stop"), id="stop", compact=True, disabled=True)
                if not self._inside:
                    yield Button(Content("Use the built-in model"), id=BUILTIN, compact=True)
                yield Button(Content("Back" if self._inside else "Quit"), id=QUIT, compact=True)

    def on_mount(self) -> None:
        """Ask the hub behind the first frame."""
        self.set_interval(DRAW_SECONDS, self._draw)
        self._work(self._ask)

    def on_unmount(self) -> None:
        """Nobody waits any more: the transfer ends at its next piece."""
        self._stopped = True

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """The way is chosen."""
        if event.button.id == "fetch":
            self._work(self._fetch if self._offer else self._ask)
        elif event.button.id == "stop":
            self.action_stop()
        else:
            self._stopped = True
            self.dismiss(event.button.id or QUIT)

    def action_stop(self) -> None:
        """End the transfer; what came is kept."""
        self._stopped = True

    # In a thread

    def _work(self, what: object) -> None:
        self._stopped, self._running = False, True
        self._buttons(fetching=True)
        self.run_worker(lambda: self._guarded(what), thread=True, group="fetch", exclusive=True)

    def _guarded(self, what: object) -> None:
        assert callable(what)
        told, path = "", None
        try:
            told, path = what()
        except _StoppedError:
            told = "Stopped. What came is kept, and fetching goes on from there"
        except SmallchatError as error:
            told = str(error)
        except Exception as error:
            self.app.call_from_thread(tell_fault, self.app, error)
            told = "That went wrong. Try again"
        if self.is_attached:
            self.app.call_from_thread(self._ended, told, path)

    def _ask(self) -> tuple[str, Path | None]:
        from smallchat.hub import catalog, fetch

        self._offer = catalog.ask(self._reference)
        rest = self._offer.size - fetch.partial_size(self._offer)
        left = f", {size(rest)} still to fetch" if rest < self._offer.size else ""
        return f"{self._offer.what}: {size(self._offer.size)}{left}", fetch.cached(self._offer)

    def _fetch(self) -> tuple[str, Path | None]:
        from smallchat.hub import fetch

        assert self._offer is not None
        self._began, self._first, self._stage = time.monotonic(), fetch.partial_size(self._offer), ""
        return "It is here", fetch.fetch(self._offer, self._progress)

    def _progress(self, stage: str, done: int, total: int) -> None:
        if self._stopped:
            raise _StoppedError
        if stage != self._stage:
            self._began, self._first = time.monotonic(), done
        self._stage, self._done, self._total = stage, done, total

    # On the screen

    def _ended(self, told: str, path: Path | None) -> None:
        self._running = False
        if path is not None:
            self.dismiss(path)
            return
        self.query_one("#told", Static).update(Content(plain(told)))
        self._buttons(fetching=False)

    def _buttons(self, fetching: bool) -> None:
        fetch, stop = self.query_one("#fetch", Button), self.query_one("#stop", Button)
        fetch.disabled, stop.disabled = fetching, not (fetching and self._offer)
        fetch.label = Content("Fetch it" if self._offer else "Ask again")
        fetch.refresh(layout=True)  # a label alone keeps the width of the one before
        (stop if fetching and self._offer else fetch).focus()

    def _draw(self) -> None:
        if not (self._running and self._total):
            return
        spent = time.monotonic() - self._began
        rate = (self._done - self._first) / spent if spent > 0 else 0.0
        left = f", {_clock((self._total - self._done) / rate)} left" if rate > 0 else ""
        told = f"{self._stage}: {size(self._done)} of {size(self._total)}, {size(rate)}/s{left}"
        self.query_one("#told", Static).update(Content(told))
        width = min(BAR, self.query_one("#bar", Static).size.width)
        self.query_one("#bar", Static).update(content(bar(self._done / self._total, width)))


def _clock(seconds: float) -> str:
    """Hours, minutes and seconds, as 1:05:09 or 5:09."""
    minutes, rest = divmod(min(round(seconds), 360_000), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
