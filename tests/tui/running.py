"""Runs the app on a scripted engine, and reads what stands on its screen."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from textual import events
from textual.pilot import Pilot

from smallchat import paths
from smallchat.chat.records import Turn
from smallchat.engine.client import LoadOptions
from smallchat.hub.known import Reference
from smallchat.settings import Settings
from smallchat.tui.app import SmallchatApp
from smallchat.tui.screens.chat import ChatScreen
from smallchat.tui.widgets.prompt.prompt import Prompt
from smallchat.tui.widgets.transcript.transcript import Transcript
from tests.support.scripted_engine import ScriptedEngine

PATH = """
WITH RECURSIVE path (id, parent, depth) AS (
    SELECT messages.id, messages.parent, 0 FROM messages
        JOIN conversations ON conversations.leaf = messages.id WHERE conversations.id = ?
    UNION ALL
    SELECT messages.id, messages.parent, depth + 1 FROM messages JOIN path ON messages.id = path.parent
)
SELECT messages.* FROM path JOIN messages USING (id) ORDER BY depth DESC
"""

MODEL = LoadOptions(Path("/models/small.gguf"))


class Running:
    """An app that runs in this test."""

    def __init__(self, app: SmallchatApp, engine: ScriptedEngine, pilot: Pilot[None]) -> None:
        self.app = app
        self.engine = engine
        self.pilot = pilot

    @property
    def chat(self) -> ChatScreen:
        """The chat, whatever stands above it."""
        return next(screen for screen in self.app.screen_stack if isinstance(screen, ChatScreen))

    @property
    def prompt(self) -> Prompt:
        return self.chat.prompt

    @property
    def transcript(self) -> Transcript:
        return self.chat.transcript

    @property
    def turns(self) -> list[Turn]:
        return self.chat.dialogue.session.turns

    @property
    def screen(self) -> str:
        """All characters of the topmost screen, line by line."""
        strips = self.app.screen._compositor.render_strips()
        return "\n".join(strip.text.rstrip() for strip in strips)

    @property
    def hint(self) -> str:
        """The line on the prompt's lower border."""
        return str(self.prompt.border_subtitle)

    async def until(self, true: Callable[[], object], seconds: float = 10.0) -> None:
        """Let the app run until something is true; fails where it never becomes so."""
        deadline = asyncio.get_running_loop().time() + seconds
        while not true():
            if asyncio.get_running_loop().time() > deadline:
                pytest.fail(f"waited in vain; the screen:\n{self.screen}")
            await self.pilot.pause(0.01)

    async def shows(self, *texts: str) -> None:
        """Wait until these stand on the screen."""
        await self.until(lambda: all(text in self.screen for text in texts))

    async def shows_no_more(self, *texts: str) -> None:
        """Wait until none of these stands on the screen."""
        await self.until(lambda: not any(text in self.screen for text in texts))

    async def type(self, text: str) -> None:
        """Put text into the prompt as if it were typed."""
        self.prompt.insert(text)
        await self.pilot.pause()

    def at_once(self, *keys: str) -> None:
        """Press keys, all of them before the app does anything about the first."""
        for key in keys:
            character = {"enter": "\r", "escape": "\x1b", "space": " "}.get(key, key)
            self.app.post_message(events.Key(key, character if len(character) == 1 else None))

    async def ask(self, text: str) -> None:
        """Type, Enter, and wait until the engine is asked."""
        asked = len(self.engine.chats)
        await self.type(text)
        await self.pilot.press("enter")
        await self.until(lambda: len(self.engine.chats) > asked)

    async def answer(self, question: str, *texts: str) -> None:
        """A question and its whole answer."""
        await self.ask(question)
        self.engine.answer(*texts)
        await self.until(lambda: not self.chat.dialogue.busy)

    async def settle(self) -> None:
        """Wait until the screen has nothing left to do by itself, and does not begin anew."""
        for _ in range(3):
            await self.until(lambda: self.chat.clock and not self.chat.clock.awake)
            await self.settle_frames()

    async def settle_frames(self) -> None:
        """Wait for what is scheduled after the next few refreshes."""
        for _ in range(5):
            await self.pilot.pause(0.02)

    def stored(self) -> list[tuple[str, str, str]]:
        """Role, content and status of every message of the newest conversation, from the file."""
        raw = sqlite3.connect(paths.conversations())
        raw.row_factory = sqlite3.Row
        newest = raw.execute("SELECT id FROM conversations ORDER BY updated DESC").fetchone()["id"]
        rows = [(row["role"], row["content"], row["status"]) for row in raw.execute(PATH, (newest,))]
        raw.close()
        return rows


@contextlib.asynccontextmanager
async def running(
    engine: ScriptedEngine | None = None,
    size: tuple[int, int] = (120, 40),
    ready: bool = True,
    load: LoadOptions = MODEL,
    sidebar: bool = False,
    wanted: tuple[str, Reference] | None = None,
    **settings: Any,
) -> AsyncIterator[Running]:
    """The app, on the folder of this test; with `ready`, its model is loaded. Fails on any fault.

    Without `sidebar` it is hidden until a test asks for it: the talk is then as wide as it was made for.
    `wanted` is a model that is to be fetched first.
    """
    engine = engine or ScriptedEngine()
    app = SmallchatApp(Settings(**settings), load, engine, paths.conversations(), wanted)
    app.CLOSE_TIMEOUT = None  # however slow the machine
    async with app.run_test(size=size, notifications=True) as pilot:
        run = Running(app, engine, pilot)
        if not sidebar:
            await run.until(
                lambda: any(isinstance(screen, ChatScreen) for screen in app.screen_stack) or not ready
            )
            for screen in app.screen_stack:
                screen.set_class(isinstance(screen, ChatScreen), "-no-sidebar")
        if ready:
            await run.until(lambda: engine.starts)
            engine.ready()
            await run.until(lambda: run.chat.dialogue.ready)
            await run.settle()
        yield run
        if app.is_running:
            for screen in app.screen_stack:
                if isinstance(screen, ChatScreen) and screen.clock is not None:
                    screen.clock.stop()
            await pilot.pause()
    assert app.faults == []
