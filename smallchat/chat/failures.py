"""What SQLite and the system say about the file, in words for the user."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from smallchat.errors import StorageError

_FULL = ("The disk is full", "Make room; smallchat goes on trying")
_LOCKED_UP = ("It may not be written", "Give yourself the right to write to it and to its folder")
_NEW = "Take a new file, which smallchat offers when it starts; the old one is kept"
_CURES = {
    "full": _FULL,
    "No space left": _FULL,
    "readonly": _LOCKED_UP,
    "Read-only": _LOCKED_UP,
    "denied": _LOCKED_UP,
    "unable to open": ("It cannot be opened", "See that its folder exists and may be written"),
    "locked": ("Another program is using it", "Close the other program, or wait"),
    "not a database": ("It is damaged, or no smallchat file", _NEW),
    "malformed": ("It is damaged", _NEW),
}
"""By what their messages hold."""


class BusyError(StorageError):
    """Another program is using the file, which may be over in a moment."""


def explained(error: sqlite3.Error | OSError, path: Path) -> StorageError:
    """The same as a `StorageError` about `path`."""
    said = (error.strerror if isinstance(error, OSError) else None) or str(error)
    for sign, (what, cure) in _CURES.items():
        if sign in said:
            kind = BusyError if sign == "locked" else StorageError
            return kind(f"Conversations in {path}: {what[0].lower()}{what[1:]}", cure)
    return StorageError(f"Conversations in {path}: {said}", "See that the file and its folder are in order")


def set_aside(path: Path) -> Path:
    """Rename a damaged file, so that a new one can begin; returns where it is now. Nothing is deleted."""
    kept = path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}")
    try:
        for suffix in ("", "-wal", "-shm"):
            file = path.with_name(path.name + suffix)
            if file.exists():
                file.rename(kept.with_name(kept.name + suffix))
    except OSError as error:
        raise explained(error, path) from error
    return kept
