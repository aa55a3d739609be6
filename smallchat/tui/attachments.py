"""What is sent along with a message: files that it names with `@`, and long texts that were pasted.

Knows no widget. Reading a file may block: see `read_file`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from smallchat.chat.records import Attached
from smallchat.errors import ExitCode, SmallchatError
from smallchat.tui.text import one_line, size

MOST_BYTES = 1_000_000
"""Of a file: some 300,000 tokens, more than any model here reads."""
PASTE_LINES, PASTE_CHARACTERS = 20, 2000
"""A paste with more than this becomes an attachment."""

_MENTION = re.compile(r'(?:(?<=\s)|^)@(?:"([^"\n]+)"|([^\s"]+))')
TRAILING = ".,;:!?)]}'"
"""What ends a sentence behind a file's name, and is not the name's."""


class AttachmentError(SmallchatError):
    """A file cannot be sent along."""

    exit_code = ExitCode.USAGE


@dataclass(slots=True, eq=False)
class Attachment:
    """A text that goes before the message."""

    kind: Literal["file", "paste"]
    name: str
    """As the message names it; of a paste, its number."""
    text: str
    tokens: int | None = None
    """None: not counted yet."""
    exact: bool = False
    """Whether `tokens` were counted by the model's own tokenizer, and not estimated."""
    stamp: tuple[int, int] = (0, 0)
    """Size and time of change of the file when it was read (bytes, nanoseconds)."""
    problem: str = ""
    """Why it cannot be sent as it is now; empty: it can."""

    @property
    def label(self) -> str:
        """What it is, in a few words."""
        if self.kind == "file":
            return one_line(self.name)
        lines = _breaks(self.text) + 1
        return f"pasted text {self.name}, {lines:,} lines" if lines > 1 else f"pasted text {self.name}"

    @property
    def given(self) -> str:
        """As the model is given it."""
        if self.kind == "paste":
            return self.text.strip("\n")
        return f"File {self.name}:\n\n{self.text.strip(chr(10))}"


def is_long(text: str) -> bool:
    """Whether a pasted text becomes an attachment."""
    return len(text) > PASTE_CHARACTERS or _breaks(text) >= PASTE_LINES


def _breaks(text: str) -> int:
    """Line breaks within the text: those around it are not sent."""
    return text.strip("\n").count("\n")


def mentioned(text: str) -> list[str]:
    """What the message names with `@`, each once; whether there are such files is another question."""
    found = [quoted or plain for quoted, plain in _MENTION.findall(text)]
    return list(dict.fromkeys(found))


def mention(name: str) -> str:
    """`name` as it is written in a message."""
    return f'@"{name}"' if re.search(r"\s", name) else f"@{name}"


def file_of(name: str, folder: Path) -> tuple[str, Path] | None:
    """The file that is meant by `name` (without what ends a sentence), seen from `folder`. Never raises."""
    for candidate in (name, name.rstrip(TRAILING)):
        try:
            path = folder / Path(candidate).expanduser()
            if candidate and path.is_file():
                return candidate, path
        except (OSError, RuntimeError, ValueError):  # too long, no home, a null character
            continue
    return None


def read_file(name: str, path: Path) -> Attachment:
    """The file's text. Raises `AttachmentError`: too large, unreadable, no text."""
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
        status = path.stat()
    except OSError as error:
        what = f"{name} cannot be read: {error.strerror or error}"
        raise AttachmentError(what, "Give yourself the right to read it, or name another file") from None
    if len(data) > MOST_BYTES:
        what = f"{name} has {size(status.st_size)}, at most {size(MOST_BYTES)} can be sent along"
        raise AttachmentError(what, "Send a part of it: copy and paste")
    if b"\0" in data and not data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise AttachmentError(f"{name} holds no text", "Only text files can be sent along")
    return Attachment("file", name, decoded(name, data), stamp=(status.st_size, status.st_mtime_ns))


def decoded(name: str, data: bytes) -> str:
    """Text in UTF-8, or in UTF-16 with its mark. Raises `AttachmentError` where it is neither."""
    utf16 = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        return data.decode("utf-16" if utf16 else "utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError:
        raise AttachmentError(f"{name} is no text in UTF-8", "Convert it to UTF-8 first") from None


def stamp_of(path: Path) -> tuple[int, int] | None:
    """Size and time of change; None: the file is gone."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def together(attachments: Sequence[Attachment]) -> tuple[str, list[Attached]]:
    """All of them as the model is given them before the message, and where each stands in that."""
    text, places = "", []
    for one in attachments:
        start = len(text) + 2 if text else 0
        text = f"{text}\n\n{one.given}" if text else one.given
        places.append(Attached(one.label, one.tokens, start, len(text)))
    return text, places
