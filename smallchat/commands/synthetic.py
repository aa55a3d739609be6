"""The models of `smallchat bench --synthetic`: written into the cache folder once, then used again."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from smallchat import paths
from smallchat.errors import ModelError
from smallchat.model.card import MADE_UP
from smallchat.model.gguf import GgufFile
from smallchat.model.synthetic import SHAPES, file_bytes, label, write
from smallchat.settings import UsageError
from smallchat.tui.text import size

Report = Callable[[int, int], None]

SPARE = 256 << 20
"""Bytes that are left free on the disk."""


def path_of(name: str) -> Path:
    """The file of that model ("4b" or "21b"), written first where it is missing.

    It appears under its name only when it is whole. Progress goes to standard error. Raises `UsageError` for
    an unknown name, `ModelError` where it cannot be written.
    """
    if name not in SHAPES:
        raise UsageError(f"There is no synthetic model {name!r}", f"Choose one of {', '.join(SHAPES)}")
    shape = SHAPES[name]
    path = paths.cache() / f"synthetic-{name}.gguf"
    if _is_whole(path, name):
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        _remove_left_over(path)
        _require_room(path, file_bytes(shape))
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        try:
            with _progress(path) as report:
                write(name, shape, part, report)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        what = f"{path} could not be written: {error.strerror or error}"
        raise ModelError(what, "Free some room, or set SMALLCHAT_HOME to a folder on another disk") from error
    return path


def _is_whole(path: Path, name: str) -> bool:
    """Whether the file is there, all of it, and of the recipe of this version."""
    if not path.exists():
        return False
    try:
        gguf = GgufFile(path)
    except ModelError as error:
        print(f"{error.what}; it is written again", file=sys.stderr)
        return False
    recipe = gguf.metadata.get(MADE_UP)
    gguf.close()
    if recipe != label(name):
        print(f"{path} is of another version; it is written again", file=sys.stderr)
    return bool(recipe == label(name))


def _remove_left_over(path: Path) -> None:
    """Remove what a process that was killed has left: gigabytes that nobody would find."""
    for part in path.parent.glob(f"{path.name}.*.part"):
        owner = part.name.removesuffix(".part").rpartition(".")[2]
        if not (owner.isdecimal() and psutil.pid_exists(int(owner))):
            part.unlink(missing_ok=True)


def _require_room(path: Path, needed: int) -> None:
    free = shutil.disk_usage(path.parent).free
    if free < needed + SPARE:
        what = f"{path.parent} has {size(free)} free; this model takes {size(needed)}"
        raise ModelError(what, "Free some room, or set SMALLCHAT_HOME to a folder on another disk")


@contextlib.contextmanager
def _progress(path: Path) -> Iterator[Report]:
    """A bar with speed and time left on standard error; where that is no terminal, one line."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    print(f"Writing {path} (once; made-up weights: for speed, never for quality)", file=sys.stderr)
    columns = (BarColumn(), DownloadColumn(), TimeRemainingColumn(), TextColumn("left; Ctrl+C stops it"))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("")
        yield lambda done, total: bar.update(task, completed=done, total=total)
