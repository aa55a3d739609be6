"""The index follows the folder, in the background."""

from __future__ import annotations

import ctypes
import errno
import sys
import threading
from pathlib import Path

import pytest

from smallchat import paths
from smallchat.notes import watch as watching
from smallchat.notes.index import Index
from smallchat.notes.search import search
from smallchat.notes.watch import Watch
from tests.notes.conftest import Write
from tests.support.waiting import until


def test_new_changed_renamed_and_removed_notes(write: Write, index: Index, root: Path) -> None:
    told = threading.Event()
    watch = Watch(lambda: Index(root, paths.notes_index(root)), told.set)
    watch.start()
    try:
        until(lambda: watch.report)
        assert told.is_set()
        write("new/a.md", "zebra")
        until(lambda: search(index, "zebra"))
        write("new/a.md", "horse")
        until(lambda: search(index, "horse") and not search(index, "zebra"))
        (root / "new" / "a.md").rename(root / "new" / "b.md")
        until(lambda: [hit.path for hit in search(index, "horse")] == ["new/b.md"])
        (root / "new" / "b.md").unlink()
        until(lambda: not search(index, "horse"))
    finally:
        watch.stop()


def test_a_folder_that_vanishes_is_told_and_forgiven(
    write: Write, index: Index, root: Path, tmp_path: Path
) -> None:
    write("a.md", "zebra")
    watch = Watch(lambda: Index(root, paths.notes_index(root)), lambda: None)
    watch.start()
    try:
        until(lambda: watch.report)
        root.rename(tmp_path / "away")
        watch.look()
        until(lambda: watch.problem)
        assert search(index, "zebra")
        (tmp_path / "away").rename(root)
        until(lambda: watch.problem is None)
        write("b.md", "horse")
        until(lambda: search(index, "horse"))
    finally:
        watch.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")
@pytest.mark.parametrize("limit", ["inotify_add_watch", "inotify_init"])
def test_where_the_system_watches_no_more_the_folder_is_looked_at_and_nothing_piles_up(
    limit: str, write: Write, index: Index, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> int:
        ctypes.set_errno(errno.ENOSPC if limit == "inotify_add_watch" else errno.EMFILE)
        return -1

    def held() -> tuple[int, int]:
        return sum(1 for _ in Path("/proc/self/fd").iterdir()), threading.active_count()

    monkeypatch.setattr(f"watchdog.observers.inotify_c.{limit}", refuse)
    monkeypatch.setattr(watching, "POLL", 0.01)
    monkeypatch.setattr(watching, "GATHER", 0.0)
    reports = []
    watch = Watch(lambda: Index(root, paths.notes_index(root)), lambda: reports.append(watch.report))
    watch.start()
    try:
        until(lambda: len(reports) > 2)
        before = held()
        until(lambda: len(reports) > 22)
        descriptors, threads = (now - then for now, then in zip(held(), before, strict=True))
        assert descriptors < 10 and threads < 10
        write("a.md", "zebra")
        until(lambda: search(index, "zebra"))
    finally:
        watch.stop()
