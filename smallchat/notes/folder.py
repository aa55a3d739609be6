"""The note folder: which files are notes, and reading one without harm.

Nothing outside of the folder is ever opened: links are not followed, whether they lead out of it or round
in circles (what they lead to inside the folder is found at its own place).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from smallchat.errors import NotesError

SUFFIXES = (".md", ".markdown", ".txt")

MAX_BYTES = 8 << 20
"""A larger file is no note: it is told, and left alone."""

_READ = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


@dataclass(frozen=True, slots=True)
class Entry:
    """A file that may be a note: its place below the folder (with "/"), bytes, nanoseconds of its date."""

    path: str
    size: int
    modified: int


class UnreadableError(Exception):
    """A file that cannot be a note; the text says why, in words that follow its name."""


def open_folder(given: str | Path) -> Path:
    """The folder itself, links in its own path resolved. Raises `NotesError` where it is none."""
    path = Path(given)
    try:
        path = path.expanduser()
        resolved = path.resolve(strict=True)
        if not resolved.is_dir():
            raise NotesError(f"{path} is not a folder", "Give the folder that holds the notes: --notes DIR")
        with os.scandir(resolved):
            return resolved
    except (OSError, RuntimeError, ValueError) as error:
        said = getattr(error, "strerror", None) or str(error).rstrip(".")
        raise NotesError(
            f"The note folder {path} cannot be read: {said}",
            "See that it is there, or give another: --notes DIR",
        ) from error


def walk(root: Path, skip: Callable[[str, str], None]) -> Iterator[Entry]:
    """Every note below `root`; hidden files and folders are left out.

    `skip` is told the path and the reason of what looks like a note and cannot be one. Raises `NotesError`
    where the folder itself is gone.
    """
    waiting = [""]
    while waiting:
        below = waiting.pop()
        try:
            with os.scandir(root / below) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            if not below:
                what = f"The note folder {root} cannot be read any more: {error.strerror}"
                raise NotesError(what, "See that it is there; its notes are searched again then") from error
            skip(below, f"the folder cannot be read: {error.strerror}")
            continue
        for entry in found:
            if entry.name.startswith("."):
                continue
            path = f"{below}/{entry.name}" if below else entry.name
            try:
                is_folder = entry.is_dir(follow_symlinks=False)
                if is_folder and not entry.is_symlink():
                    waiting.append(path)
                elif not is_folder and entry.name.lower().endswith(SUFFIXES):
                    status = entry.stat(follow_symlinks=False)
                    if why := _no_note(path, status):
                        skip(path, why)
                    else:
                        yield Entry(path, status.st_size, status.st_mtime_ns)
            except OSError as error:
                skip(path, error.strerror or str(error))


def _no_note(path: str, status: os.stat_result) -> str:
    """Why this file is not read; empty: it is."""
    if stat.S_ISLNK(status.st_mode):
        return "links are not followed"
    if not stat.S_ISREG(status.st_mode):
        return "not a file"
    if status.st_size > MAX_BYTES:
        return f"too large ({status.st_size >> 20} MB; notes of up to {MAX_BYTES >> 20} MB are read)"
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return "its name is not UTF-8"
    return ""


def place(root: Path, path: str) -> Path:
    """The file `path` below `root`. Raises `UnreadableError` where it would lie outside, as over a link."""
    file = root / path
    try:
        if file.is_absolute() and file.parent.resolve().is_relative_to(root) and ".." not in Path(path).parts:
            return file
    except (OSError, RuntimeError, ValueError):
        pass
    raise UnreadableError("is not in the note folder")


def read_bytes(root: Path, path: str) -> bytes:
    """The bytes of a note. Raises `UnreadableError`."""
    file = place(root, path)
    try:
        descriptor = os.open(file, _READ)
        with os.fdopen(descriptor, "rb") as opened:
            if why := _no_note(path, os.fstat(descriptor)):
                raise UnreadableError(f"is left out: {why}")
            data = opened.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise UnreadableError(f"cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if len(data) > MAX_BYTES:
        raise UnreadableError(f"is left out: larger than {MAX_BYTES >> 20} MB")
    return data


def decode(data: bytes) -> str:
    """The text of a note, lines ended by a single newline; bytes that are no UTF-8 become "\ufffd".

    Raises `UnreadableError` for what is no text at all.
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = data.decode("utf-16", "replace")
    else:
        text = data.decode("utf-8-sig", "replace")
    if "\0" in text:
        raise UnreadableError("is left out: it is not text")
    return text.replace("\r\n", "\n").replace("\r", "\n")
