"""Personas: system prompts with names, from the configuration file and from a folder beside it."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path

from smallchat.errors import StorageError

SUFFIXES = (".md", ".txt")
MOST_BYTES = 200_000
"""More than any model here reads before a conversation."""


def personas(named: Mapping[str, str], folder: Path) -> dict[str, str]:
    """The personas of the configuration file (`named`) and those that are files of `folder`, by name.

    A file's name without its ending is the persona's; where both have one, the file wins. The folder need not
    be there. Raises `StorageError` for a file that cannot be read.
    """
    found = {name: text.strip() for name, text in named.items()}
    try:
        files = sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES)
    except OSError:
        files = []
    for path in files:
        found[path.stem] = _text(path)
    return dict(sorted(found.items(), key=lambda item: item[0].casefold()))


def _text(path: Path) -> str:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # to read a pipe or a device might never end
            raise StorageError(f"The persona {path} is not a file", "Move it away")
        if status.st_size > MOST_BYTES:
            what = f"The persona {path} is larger than {MOST_BYTES:,} bytes"
            raise StorageError(what, "Shorten it")
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise StorageError(
            f"The persona {path} cannot be read: {error}", "Mend it, or move it away"
        ) from None
