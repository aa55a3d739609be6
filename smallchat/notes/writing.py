"""Writing notes: nothing is overwritten unseen, nothing is written half, nothing outside of the folder.

A new note never takes an existing file's place. A note is changed in two steps: a `Change` that can be looked
at, and its `apply`, which refuses where the file is no longer what was looked at. Bytes that the change does
not touch stay as they are, line ends and damaged characters included.
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import json
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from smallchat.errors import NotesError
from smallchat.notes import folder
from smallchat.notes.parse import front_matter
from smallchat.utf8 import encodable

_PLAIN = re.compile(r"\w[\w/-]*")


@dataclass(frozen=True, slots=True)
class Change:
    """What a note is and what it would be."""

    root: Path
    path: str
    before: bytes
    after: bytes

    def diff(self) -> list[str]:
        """The lines of a unified diff, without line ends."""
        old, new = (_text(data).splitlines() for data in (self.before, self.after))
        return [
            line.rstrip("\n")
            for line in difflib.unified_diff(old, new, self.path, self.path, n=2, lineterm="")
        ]

    def apply(self) -> None:
        """Write it, whole or not at all. Raises `NotesError`, also where the note was changed meanwhile."""
        with told(self.path):
            file = folder.place(self.root, self.path)
            if folder.read_bytes(self.root, self.path) != self.before:
                raise NotesError(
                    f"The note {self.path} was changed meanwhile", "Nothing was written; try again"
                )
            if not os.access(file, os.W_OK):
                raise OSError(errno.EACCES, os.strerror(errno.EACCES))
            temporary = _written(file, self.after)
            try:
                temporary.chmod(file.stat().st_mode & 0o7777)
                temporary.replace(file)
            except OSError:
                temporary.unlink(missing_ok=True)
                raise


def create(root: Path, path: str, text: str) -> str:
    """Write a new note; where `path` is taken, "… 2.md" and so on. Returns its path. Raises `NotesError`."""
    with told(path):
        file = folder.place(root, path)
        if not root.is_dir():  # or it would be made where a disk is only not mounted
            raise OSError(errno.ENOENT, "the note folder is gone")
        # Not `exist_ok` alone: a link in the way must be seen before anything is made behind it.
        file.parent.mkdir(parents=True, exist_ok=True)
        folder.place(root, path)
        temporary = _written(file, text.encode("utf-8", "replace"))
        try:
            for number in range(1, 10_000):
                name = PurePosixPath(path)
                taken = str(name if number == 1 else name.with_name(f"{name.stem} {number}{name.suffix}"))
                with contextlib.suppress(FileExistsError):
                    _put(temporary, root / taken)
                    return taken
        finally:
            temporary.unlink(missing_ok=True)
    raise NotesError(f"There are too many notes called {path}", "Give another title")


def appended(root: Path, path: str, text: str) -> Change:
    """A note with `text` as a paragraph of its own at the end. Raises `NotesError`."""
    before, newline = _read(root, path)
    gap = (
        ""
        if not before or before.endswith(newline * 2)
        else newline
        if before.endswith("\n")
        else newline * 2
    )
    return _change(root, path, before, before + gap + _lines(text.strip() + "\n", newline))


def with_tags(root: Path, path: str, tags: list[str]) -> Change:
    """A note with these tags too, in its front matter, made where there is none. Raises `NotesError`."""
    before, newline = _read(root, path)
    mark = "\ufeff" if before.startswith("\ufeff") else ""
    lines = before.removeprefix(mark).split(newline)
    front, end = front_matter(lines)
    if not end:
        head = newline.join(["---", "tags:", *_items(tags), "---", ""])
        return _change(
            root, path, before, mark + head + (newline if lines[0].strip() else "") + newline.join(lines)
        )
    at = next((i for i, line in enumerate(lines[:end]) if line.startswith(("tags:", "tag:"))), None)
    if at is None:
        lines[end - 1 : end - 1] = ["tags:", *_items(tags)]
        return _change(root, path, before, mark + newline.join(lines))
    held = front.get(lines[at].partition(":")[0])
    old = held if isinstance(held, list) else str(held or "").strip("[]").replace(",", " ").split()
    value = [at, *(i for i in range(at + 1, _behind(lines, at, end - 1)) if _says(lines[i]))]
    behind = value[-1] + 1
    first = lines[value[1]] if len(value) > 1 else "  -"
    if not _says(lines[at].partition(":")[2]) and first.lstrip().startswith("-"):
        indent = first[: -len(first.lstrip())]
        lines[behind:behind] = _items([tag for tag in tags if tag not in old], indent)
    else:  # all on one line, as a rule
        lines[at:behind] = ["tags:", *_items([*old, *tags])]
    return _change(root, path, before, mark + newline.join(lines))


def with_summary(root: Path, path: str, summary: str) -> Change:
    """A note with a summary as a quotation below its title, or at its top. Raises `NotesError`."""
    before, newline = _read(root, path)
    lines = before.split(newline)
    _, begin = front_matter([line.removeprefix("\ufeff") for line in lines])
    at = next((i for i in range(begin, len(lines)) if lines[i].strip()), begin)
    quoted = [f"> {line}".rstrip() for line in ("Summary: " + " ".join(summary.split())).split("\n")]
    if at < len(lines) and lines[at].startswith("# "):
        lines[at + 1 : at + 1] = ["", *quoted]
    else:
        lines[at:at] = [*quoted, ""]
    return _change(root, path, before, newline.join(lines))


def with_links(root: Path, path: str, places: list[tuple[int, str, str]]) -> Change:
    """A note in which words became links: line (from 1), the words as they stand there, the name linked to.

    Raises `NotesError`.
    """
    before, newline = _read(root, path)
    lines = before.split(newline)
    for number, words, name in places:
        line = lines[number - 1] if number <= len(lines) else ""
        link = f"[[{name}]]" if words == name else f"[[{name}|{words}]]"
        lines[number - 1 : number] = [line.replace(words, link, 1)]
    return _change(root, path, before, newline.join(lines))


def _read(root: Path, path: str) -> tuple[str, str]:
    """The whole file as text from which its bytes can be had again, and its line end."""
    with told(path):
        data = folder.read_bytes(root, path)
        if data.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in data:
            raise NotesError(f"The note {path} is not UTF-8 text", "Save it as UTF-8 in an editor first")
    text = data.decode("utf-8", "surrogateescape")
    return text, "\r\n" if text.count("\r\n") * 2 > text.count("\n") else "\n"


def _change(root: Path, path: str, before: str, after: str) -> Change:
    return Change(root, path, *(text.encode("utf-8", "surrogateescape") for text in (before, after)))


def _items(tags: Sequence[object], indent: str = "  ") -> list[str]:
    """The lines of a list in YAML, each item once; as JSON, which is YAML too, where it is no plain word."""
    told = (
        tag if isinstance(tag, str) and _PLAIN.fullmatch(tag) else json.dumps(tag, ensure_ascii=False)
        for tag in tags
    )
    return [f"{indent}- {item}" for item in dict.fromkeys(told)]


def _behind(lines: Sequence[str], at: int, end: int) -> int:
    """The line behind the value, of YAML, whose key stands in line `at`, and at most `end`."""
    goes_on = (" ", "\t", "-", "]")
    return next((i for i in range(at + 1, end) if _says(lines[i]) and not lines[i].startswith(goes_on)), end)


def _says(line: str) -> bool:
    """Whether a line of YAML is more than empty, or a comment."""
    return not line.lstrip().startswith("#") and bool(line.strip())


def _lines(text: str, newline: str) -> str:
    clean = encodable(text)  # no half of a surrogate pair may pass for a byte
    return clean.replace("\r\n", "\n").replace("\r", "\n").replace("\n", newline)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace").replace("\r\n", "\n")


def _written(file: Path, data: bytes) -> Path:
    """A hidden file beside `file` that holds `data`, on the disk."""
    temporary = file.with_name(f".smallchat-{secrets.token_hex(8)}.tmp")
    descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0), 0o666)
    try:
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(data)
            opened.flush()
            os.fsync(opened.fileno())
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def _put(temporary: Path, file: Path) -> None:
    """Give `temporary` its name. Raises `FileExistsError` where that is taken, by a dangling link too."""
    try:
        os.link(temporary, file, follow_symlinks=False)
    except FileExistsError:
        raise
    except (OSError, NotImplementedError):  # some file systems have no second names: reserve the name instead
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        temporary.replace(file)


@contextlib.contextmanager
def told(path: str) -> Iterator[None]:
    """Turn what the system says into words for the user."""
    try:
        yield
    except folder.UnreadableError as error:
        raise NotesError(f"The note {path} {error}", "Nothing was written") from error
    except OSError as error:
        cures = {
            errno.EROFS: "The folder is read-only: copy the text, or make the folder writable",
            errno.EACCES: "Give yourself the right to write to the file and its folder",
            errno.EPERM: "Give yourself the right to write to the file and its folder",
            errno.ENOSPC: "Make room on the disk",
            errno.ENOENT: "See that the note folder is there",
        }
        cure = cures.get(error.errno or 0, "See that the note folder is in order")
        raise NotesError(f"The note {path} cannot be written: {error.strerror or error}", cure) from error
