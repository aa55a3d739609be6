"""A model that is not here: the app offers it, shows how far it is, stops, goes on, and loads it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import AsyncIterator
from pathlib import Path

from smallchat.engine.client import LoadOptions
from smallchat.errors import ExitCode
from smallchat.hub.installed import hub_cache
from smallchat.hub.known import parse
from tests.hub.test_pull import CONTENT, OFFICIAL, hub
from tests.support.hub import Hub
from tests.tui.running import Running, running

__all__ = ["hub"]

BUILTIN = LoadOptions(Path("builtin.gguf"), demo=True)


@contextlib.asynccontextmanager
async def fetching(size: tuple[int, int] = (120, 40)) -> AsyncIterator[Running]:
    """The app, started with `--model 4b` where there is none."""
    reference = parse("4b")
    assert reference is not None
    wanted = ("4b", reference)
    async with running(size=size, ready=False, load=BUILTIN, sidebar=True, wanted=wanted, model="4b") as run:
        yield run


async def test_a_model_is_offered_with_its_size_fetched_and_then_loaded(hub: Hub) -> None:
    async with fetching() as run:
        await run.shows("4b is not on this machine", "3.0M", "Fetch it")
        await run.pilot.click("#fetch")
        await run.until(lambda: run.engine.starts)
        loaded = run.engine.starts[0]
        assert loaded.path.read_bytes() == CONTENT
        assert not loaded.demo


async def test_progress_is_shown_stopping_keeps_what_came_and_it_goes_on(hub: Hub) -> None:
    hub.gate = threading.Event()
    async with fetching(size=(80, 24)) as run:
        await run.shows("3.0M", "Fetch it")
        await run.pilot.press("enter")
        await run.shows("Fetching: ", "of 3.0M", "─")
        await run.pilot.press("escape")
        hub.gate.set()
        await run.shows("Stopped. What came is kept")
        assert list(hub_cache().rglob("*.incomplete"))
        hub.gate = None
        await run.pilot.click("#fetch")
        await run.until(lambda: run.engine.starts)
        assert run.engine.starts[0].path.read_bytes() == CONTENT


async def test_a_hub_that_fails_is_told_and_asked_again(hub: Hub) -> None:
    hub.statuses = [("/api/", 503, {})]
    async with fetching() as run:
        await run.shows("error 503", "Ask again")
        hub.statuses = []
        await run.pilot.click("#fetch")
        await run.shows(OFFICIAL, "Fetch it")


async def test_the_built_in_model_is_a_way_out(hub: Hub) -> None:
    async with fetching() as run:
        await run.shows("3.0M", "Use the built-in model")
        await run.pilot.click("#builtin")
        await run.until(lambda: run.engine.starts)
        assert (run.engine.starts[0].path, run.engine.starts[0].demo) == (BUILTIN.path, True)


async def test_quitting_ends_with_the_models_exit_code(hub: Hub) -> None:
    async with fetching() as run:
        await run.shows("3.0M", "Quit")
        await run.pilot.click("#quit")
        await run.until(lambda: not run.app.is_running)
        assert run.app.return_code == ExitCode.MODEL
