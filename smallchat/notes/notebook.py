"""A note folder in use: its index, kept in the background, and the templates of new notes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from smallchat import paths
from smallchat.notes import template, writing
from smallchat.notes.folder import open_folder
from smallchat.notes.index import Index
from smallchat.notes.watch import Watch


@dataclass(frozen=True, slots=True)
class Templates:
    """How new notes are called and begin; see `template`."""

    name: str = "{title}"
    daily: str = "{date}"
    front: str = "created: {date} {time}"


class Notebook:
    """One folder. Every method raises `NotesError`."""

    def __init__(self, folder: str | Path, templates: Templates | None = None) -> None:
        self.root = open_folder(folder)
        self.templates = templates or Templates()
        self.index = self._open()
        self.watch: Watch | None = None

    def keep(self, changed: Callable[[], None]) -> None:
        """Have the index follow the folder in the background; `changed` is called from that thread."""
        self.watch = Watch(self._open, changed)
        self.watch.start()

    def close(self) -> None:
        """End. Never raises."""
        if self.watch is not None:
            self.watch.stop()
        self.index.close()

    def add(self, title: str, body: str, now: float | None = None) -> str:
        """A new note; without a title, the text's beginning is it. Returns its path below the folder."""
        now = time.time() if now is None else now
        title = " ".join(title.split()) or template.title_of(body)
        path = template.file_path(self.templates.name, title, now)
        return self._wrote(
            writing.create(self.root, path, template.new_note(self.templates.front, title, body, now))
        )

    def daily(self, body: str, now: float | None = None) -> str | writing.Change:
        """Today's note with `body` added: its path where it is new, else the change to be looked at."""
        now = time.time() if now is None else now
        date = time.strftime("%Y-%m-%d", time.localtime(now))
        path = template.file_path(self.templates.daily, date, now)
        if (self.root / path).exists():
            return writing.appended(self.root, path, body)
        return self._wrote(
            writing.create(self.root, path, template.new_note(self.templates.front, date, body, now))
        )

    def apply(self, change: writing.Change) -> None:
        """Write a change that was looked at."""
        change.apply()
        self._wrote(change.path)

    def _wrote(self, path: str) -> str:
        if self.watch is not None:
            self.watch.look()
        return path

    def _open(self) -> Index:
        return Index(self.root, paths.notes_index(self.root))
