"""A bar for long work, on standard error: speed and time left in a terminal, else a line now and then."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from smallchat.tui.text import size

STEPS = 10
"""Lines for one stage where there is no terminal."""


@contextmanager
def bar() -> Iterator[Callable[[str, int, int], None]]:
    """Gives what is called with (stage, bytes done, bytes in all)."""
    if sys.stderr.isatty():
        with _drawn() as update:
            yield update
    else:
        yield _Lines().update


class _Lines:
    def __init__(self) -> None:
        self._told = ("", -1)

    def update(self, stage: str, done: int, total: int) -> None:
        step = (stage, STEPS * done // max(total, 1))
        if step != self._told:
            self._told = step
            print(f"{stage}: {size(done)} of {size(total)}", file=sys.stderr, flush=True)


@contextmanager
def _drawn() -> Iterator[Callable[[str, int, int], None]]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task, shown = None, ""

        def update(stage: str, done: int, total: int) -> None:
            nonlocal task, shown
            if task is None or stage != shown:
                if task is not None:
                    progress.remove_task(task)
                # What was there before does not count for the speed.
                task, shown = progress.add_task(stage, total=total, completed=done), stage
            progress.update(task, completed=done, total=total)

        yield update
