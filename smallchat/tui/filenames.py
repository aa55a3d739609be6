"""Files by their names, for completion. What reads the disk blocks, and is to be run in a thread."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from smallchat.tui.attachments import mention
from smallchat.tui.completing import MOST, Candidate

WALK_FILES, WALK_SECONDS = 20_000, 2.0
"""A tree is looked through as far as this."""
DEEP_FROM = 2
"""Characters of a name from which on the folders below are searched too."""
PASSED_OVER = {"node_modules", "__pycache__", "site-packages", "venv", "target", "build", "dist"}
NO_TEXT = {
    *(".png", ".jpg", ".jpeg", ".gif", ".webp", ".ico", ".mp3", ".mp4", ".mov", ".ogg", ".wav", ".pdf"),
    *(".zip", ".gz", ".xz", ".zst", ".bz2", ".7z", ".tar", ".whl", ".jar", ".gguf", ".safetensors", ".bin"),
    *(".so", ".dll", ".exe", ".o", ".a", ".pyc", ".sqlite", ".sqlite3", ".db", ".docx", ".xlsx", ".odt"),
}
"""Endings of files that are hardly ever text: they come last, and are marked."""

Read = Callable[[Path, bool], Sequence[str]]
"""The names in a folder, or (True) in all folders below it; folders end with "/". At once: what is known."""


def names_in(folder: Path) -> list[str]:
    """The names in a folder, those of folders with "/" behind them; empty where it cannot be read.

    Names with characters that a terminal would obey, or that a mention cannot hold, are passed over.
    """
    try:
        with os.scandir(folder) as entries:
            usable = [entry for entry in entries if _can_be_mentioned(entry.name)]
            return sorted(entry.name + ("/" if _is_folder(entry) else "") for entry in usable)
    except OSError:
        return []


def names_below(folder: Path) -> list[str]:
    """Paths of the files in the folders of `folder`, without what is hidden or made by programs."""
    found: list[str] = []
    until = time.monotonic() + WALK_SECONDS
    for top, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name[0] != "." and name not in PASSED_OVER)
        if Path(top) != folder:
            start = Path(top).relative_to(folder).as_posix()
            found += [
                f"{start}/{name}" for name in sorted(files) if name[0] != "." and _can_be_mentioned(name)
            ]
        if len(found) > WALK_FILES or time.monotonic() > until:
            break
    return found[:WALK_FILES]


def fitting(typed: str, read: Read, here: Path, as_mention: bool = True) -> list[Candidate]:
    """The files and folders that `typed` may become, seen from `here`; as mentions, or as paths."""
    start, slash, name = typed.rpartition("/")
    before = start + slash
    try:
        folder = here / Path(before).expanduser()
    except RuntimeError:  # "~nobody/"
        return []
    wanted = name.casefold()
    names = [one for one in read(folder, False) if name[:1] == "." or one[0] != "."]
    first = [one for one in names if one.casefold().startswith(wanted)]
    other = [one for one in names if wanted in one.casefold() and not one.casefold().startswith(wanted)]
    if not slash and len(name) >= DEEP_FROM:
        other += [one for one in read(folder, True) if wanted in one.rpartition("/")[2].casefold()]
    found = sorted([*first, *other][: 2 * MOST], key=_holds_no_text)[:MOST]
    return [_candidate(before + one) if as_mention else Candidate(before + one) for one in found]


def _candidate(path: str) -> Candidate:
    # A folder is gone on with, so its mention stays open; a finished one gets its closing quotation mark.
    if path.endswith("/"):
        return Candidate(mention(path).removesuffix('"'))
    return Candidate(mention(path), "no text" if _holds_no_text(path) else "", " ")


def _holds_no_text(path: str) -> bool:
    return os.path.splitext(path)[1].lower() in NO_TEXT  # noqa: PTH122 (a Path for each of 10,000 names is slow)


def _can_be_mentioned(name: str) -> bool:
    return name.isprintable() and '"' not in name


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False
