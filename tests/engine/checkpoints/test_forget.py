"""What was kept of a conversation goes with it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from smallchat import paths
from smallchat.chat.records import Turn
from smallchat.chat.store import Store
from smallchat.engine.checkpoints import folder as bounds
from smallchat.engine.checkpoints.forget import MAGIC, OWNED, forget
from tests.support.engines import answer, opened
from tests.support.models import Recipe, model
from tests.tui.running import running

TOKENS = list(range(40, 240)) * 3


def kept(name: str, owner: int) -> Path:
    """A file like a block of this conversation."""
    file = paths.checkpoints() / f"{name * 32}-{'0' * 32}.kv"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(OWNED.pack(MAGIC, owner) + b"rest")
    return file


def test_only_the_blocks_of_that_conversation_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those that were kept only when the next conversation took its place."""
    monkeypatch.setattr(bounds, "RESERVE", 0)
    told: list[int] = []

    def ask(ids: list[int], owner: int) -> int:
        answer(engine, ids, max_tokens=1, owner=owner, on_prompt=lambda one: told.append(one.reused))
        first, *_ = told
        told.clear()
        return first

    with opened(model(Recipe(context=2048)).path, context=1024, checkpoints=1 << 30) as engine:
        ask(TOKENS[:300], 7)
        ask(TOKENS[100:500], 8)
        while engine.save_some():
            pass
        assert len([*paths.checkpoints().iterdir()]) == 4
        assert forget([7]) == 2
        assert ask(TOKENS[:300], 9) == 0
        assert ask(TOKENS[100:500], 9) == 399


def test_nothing_to_forget_is_no_fault() -> None:
    assert forget([]) == forget([3]) == 0
    empty = kept("a", 3)
    empty.write_bytes(b"")
    assert forget([3]) == 0
    assert empty.exists()


def test_a_block_that_vanishes_meanwhile_saves_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the folder is listed, or behind that; `scandir` tells the names in an order of its own."""
    scandir, entries = os.scandir, bounds.Folder.entries

    @contextlib.contextmanager
    def listed(path: Path) -> Iterator[list[os.DirEntry[str]]]:
        with scandir(path) as files:
            found = [*files]
        Path(found[0].path).unlink()
        yield found

    def looked_at(folder: bounds.Folder) -> list[bounds.Entry]:
        found = entries(folder)
        found[0].path.unlink()
        return found

    monkeypatch.setattr(bounds.os, "scandir", listed)
    monkeypatch.setattr(bounds.Folder, "entries", looked_at)
    files = [kept(letter, 7) for letter in "abcd"]
    assert forget([7]) == 2
    assert not any(file.exists() for file in files)


async def test_a_deleted_conversation_leaves_nothing_behind() -> None:
    """At the end of the app, or at a start a day later where it was killed."""
    store = Store(paths.conversations())
    first, second, stays = (store.begin(title, None, 1.0) for title in ("first", "second", "stays"))
    for row in (first, second, stays):
        store.add(row, Turn("user", "hello"))
    files = {row: kept(letter, row) for letter, row in zip("abc", (first, second, stays), strict=True)}
    store.delete(first)
    store.connection.execute("UPDATE conversations SET deleted = deleted - 2 * 86400 WHERE id = ?", (first,))
    store.connection.commit()
    store.connection.close()  # killed
    async with running() as run:
        await run.until(lambda: not files[first].exists())
        run.chat.dialogue.session.store.delete(second)
        assert files[second].exists()  # it may be undone
    assert not files[second].exists()
    assert files[stays].exists()
