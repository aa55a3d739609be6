"""The folder of blocks, and its bounds: a limit of its own, and room that the disk keeps for others."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

MOST_FILES = 1 << 11
"""Blocks at the most, however small: the folder is listed before every prompt."""
RESERVE = 1 << 30
"""Bytes of the disk that are left free: conversations must be saved, blocks need not."""
ABANDONED_SECONDS = 3600
"""A file half written that is older than this is nobody's any more."""

_NAME = re.compile(r"([0-9a-f]{32})-[0-9a-f]{32}\.kv")
_BEGUN = re.compile(_NAME.pattern + r"\.\d+")


@dataclass(frozen=True, slots=True)
class Entry:
    """One block's file."""

    path: Path
    parent: str
    size: int
    used: float
    """When it was written or last used: the file's own time."""


class Folder:
    """Blocks on disk. Files of other names in it are left alone."""

    def __init__(self, path: Path, limit: int) -> None:
        """`limit`: bytes of all blocks. The folder is made when the first is written."""
        self.path, self.limit = path, limit

    def entries(self) -> list[Entry]:
        """All blocks. Raises `OSError` where the folder cannot be read."""
        found = []
        with contextlib.suppress(FileNotFoundError), os.scandir(self.path) as files:
            for file in files:
                if not (match := _NAME.fullmatch(file.name)):
                    if _BEGUN.fullmatch(file.name):
                        self._clear_up(file)
                    continue
                if not file.is_file(follow_symlinks=False):
                    continue
                with contextlib.suppress(FileNotFoundError):  # another smallchat has just removed it
                    stat = file.stat(follow_symlinks=False)
                    found.append(Entry(self.path / file.name, match[1], stat.st_size, stat.st_mtime))
        return found

    def make_room(self, size: int, keep: Container[Path]) -> bool:
        """Remove the blocks longest unused until `size` more bytes may be written; never those of `keep`.

        False where there is no such room. Raises `OSError`.
        """
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        entries = sorted(self.entries(), key=lambda entry: entry.used)
        total, count = sum(entry.size for entry in entries), len(entries)
        for entry in entries:
            if total + size <= self.limit and count < MOST_FILES:
                break
            if entry.path not in keep:
                remove(entry.path)
                total, count = total - entry.size, count - 1
        fits = total + size <= self.limit and count < MOST_FILES
        return fits and shutil.disk_usage(self.path).free >= size + RESERVE

    def _clear_up(self, file: os.DirEntry[str]) -> None:
        with contextlib.suppress(OSError):
            if time.time() - file.stat(follow_symlinks=False).st_mtime > ABANDONED_SECONDS:
                remove(self.path / file.name)


def remove(path: Path) -> None:
    """Never raises: somebody else may have removed it, or may hold it."""
    with contextlib.suppress(OSError):
        path.unlink()


def touch(paths: list[Path]) -> None:
    """Note that these were used just now."""
    now = time.time()
    for path in paths:
        with contextlib.suppress(OSError):
            os.utime(path, (now, now))
