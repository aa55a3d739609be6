"""Keeps the index up to date in the background: the system tells what changed, and only that is read."""

from __future__ import annotations

import threading
from collections.abc import Callable

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

from smallchat.errors import NotesError
from smallchat.notes.index import Index, Report

GATHER = 0.2
"""Seconds to wait for more changes after the first one."""
LOOK_AGAIN = 30.0
"""Seconds between two looks where nothing was told: network folders may tell nothing."""
POLL = 1.5
"""… where the system cannot tell of changes at all, or the folder is away."""

_READING = ("opened", "closed_no_write")


class Watch(FileSystemEventHandler):
    """A thread of its own, with its own connection to the index, from `start` until `stop`."""

    def __init__(self, open_index: Callable[[], Index], changed: Callable[[], None]) -> None:
        """`changed` is called, from that thread, whenever one of the attributes below has become another."""
        self.report: Report | None = None
        """The last look at the folder; None: the first one is not through yet."""
        self.problem: NotesError | None = None
        """Why the folder cannot be read at the moment."""
        self.progress: tuple[int, int] | None = None
        """How many of how many changed notes are read; None: nothing is being read."""
        self._open_index = open_index
        self._changed = changed
        self._wake = threading.Event()
        self._ended = threading.Event()
        self._observer: BaseObserver | None = None
        self._thread = threading.Thread(target=self._run, name="notes", daemon=True)

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """End soon; what is indexed is kept. Waits for the note that is being read."""
        self._ended.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def look(self) -> None:
        """Look at the folder now."""
        self._wake.set()

    def on_any_event(self, event: FileSystemEvent) -> None:
        """The system tells of a change (of watchdog's own thread)."""
        if event.event_type not in _READING:
            self._wake.set()

    def _run(self) -> None:
        try:
            index = self._open_index()
        except NotesError as error:
            self._set(problem=error)
            return
        try:
            while not self._ended.is_set():
                self._wake.clear()
                self._observe(index)
                self._sync(index)
                self._wake.wait(LOOK_AGAIN if self._observer is not None else POLL)
                self._ended.wait(GATHER)
        finally:
            self._forget_observer()
            index.close()

    def _sync(self, index: Index) -> None:
        try:
            report = index.sync(self._ended.is_set, lambda done, of: self._set(progress=(done, of)))
        except NotesError as error:
            self._forget_observer()
            self._set(problem=error, progress=None)
        else:
            self._set(report=report, problem=None, progress=None)

    def _set(self, **values: object) -> None:
        for name, value in values.items():
            setattr(self, name, value)
        self._changed()

    def _observe(self, index: Index) -> None:
        """Have the system tell of changes, where it can: it need not."""
        if self._observer is not None and self._observer.is_alive():
            return
        observer: BaseObserver | None = None
        try:
            observer = Observer()
            observer.schedule(self, str(index.root), recursive=True)
            observer.start()
        except (OSError, RuntimeError):
            if observer is not None:
                observer.stop()  # or its thread and what it opened would be there for good, with every try
            return
        self._observer = observer

    def _forget_observer(self) -> None:
        observer, self._observer = self._observer, None
        if observer is not None:
            observer.stop()
            observer.join(timeout=5)
