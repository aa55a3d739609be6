"""Garbage is collected while the screen rests."""

from __future__ import annotations

import gc
import weakref

import pytest

from smallchat.tui import garbage
from tests.tui.running import running


class Circle:
    """Refers to itself: only the collector frees it."""

    def __init__(self) -> None:
        self.itself = self


async def test_what_is_old_is_collected_once_nothing_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(garbage, "begin", lambda: None)  # what it leaves out is never collected
    monkeypatch.setattr(garbage, "AFTER_SECONDS", 0.05)
    monkeypatch.setattr(garbage, "WORTH", 0)
    async with running() as run:
        circle = Circle()
        gc.collect()  # from now on it is old
        gone = weakref.ref(circle)
        del circle
        await run.type("a")
        await run.until(lambda: gone() is None)


async def test_nothing_is_collected_while_an_answer_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    collected = []
    monkeypatch.setattr(garbage, "AFTER_SECONDS", 0.01)
    monkeypatch.setattr(garbage, "tidy", lambda: collected.append(True))
    async with running() as run:
        await run.ask("go?")
        collected.clear()
        run.engine.say("one ", "two")
        await run.shows("one two")
        await run.settle_frames()
        assert not collected
        run.engine.finish()
        await run.until(lambda: collected)
