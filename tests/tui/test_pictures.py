"""Pictures of every screen: in each size, dark, light and without colour. The ways to them are in `walks`.

`pytest --snapshot-update` takes them anew; look at each one before it is kept.
"""

from __future__ import annotations

import re
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from pytest_textual_snapshot import SVGImageExtension
from syrupy.assertion import SnapshotAssertion
from textual.widgets import Input

from smallchat.tui import clock, themes
from smallchat.tui.models import ListedModel
from smallchat.tui.screens import fetch, models
from smallchat.tui.screens.chat import ChatScreen
from smallchat.tui.widgets.panel import memory
from smallchat.tui.widgets.panel.panel import Panel
from tests.hub.test_pull import hub
from tests.support.hub import Hub
from tests.support.scripted_engine import MIB
from tests.tui import walks
from tests.tui.running import Running

__all__ = ["hub"]

SIZES = ((80, 24), (160, 50))
LOOKS = ("light", "dark", "plain")
"""Plain: without colour."""
_CLIPPING = re.compile(r'\s*<clipPath.*?</clipPath>| clip-path="[^"]*"', re.DOTALL)
"""A third of such a file, and nothing that is seen."""


def by_size(size: tuple[int, int]) -> str:
    """As it is written in the names of pictures."""
    return f"{size[0]}x{size[1]}"


@pytest.fixture
def still(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A world in which nothing differs from one run to the next; the folder that the app is started in."""

    async def listed() -> list[ListedModel]:
        return walks.MODELS

    hub.gate = threading.Event()
    monkeypatch.setattr(fetch, "time", SimpleNamespace(monotonic=lambda: 8.0))
    monkeypatch.setattr(models, "listed", listed)
    monkeypatch.setattr(memory, "own_memory", lambda: 60 * MIB)
    monkeypatch.setattr(clock, "TICK", 0.05)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("SMALLCHAT_HOME", "smallchat")
    monkeypatch.chdir(tmp_path)
    return tmp_path


async def rest(run: Running) -> None:
    """Wait until the screen changes no more by itself, or only with the answer that is being made."""
    chats = [screen for screen in run.app.screen_stack if isinstance(screen, ChatScreen)]
    if chats and not chats[0].dialogue.working:
        await run.settle()
    else:
        await run.settle_frames()


async def picture(run: Running, look: str) -> str:
    """The screen in this look, which the running app takes on."""
    app = run.app
    app.no_color = look == "plain"
    panels = [panel for screen in app.screen_stack for panel in screen.query(Panel) if panel.shown]
    if panels:
        run.chat.wake()
        await run.until(lambda: all(panel._shown.no_color == app.no_color for panel in panels))
    app.theme = themes.named("dark" if app.no_color else look)
    if app.no_color:  # the theme is the one of the picture before: nothing is drawn anew by itself
        app.watch_theme()
        app.refresh_css(animate=False)
    await unchanged(run)
    return taken(run)


async def unchanged(run: Running) -> None:
    """Wait until the screen is the same several times, and no button looks pressed any more."""
    before, same = None, 0
    while same < 3:
        await run.until(lambda: not run.app.screen.query("Button.-active"))
        await run.pilot.pause(0.02)
        now = run.app.screen._compositor.render_strips()
        before, same = now, same + 1 if now == before else 0


def taken(run: Running) -> str:
    """The screen as it is."""
    return _CLIPPING.sub("", run.app.export_screenshot(simplify=True))


def compare(drawn: Mapping[str, str], snapshot: SnapshotAssertion, folder: Path) -> None:
    """Fails with all that differ from what is kept; as they are now, they lie in `folder`."""
    pictures = snapshot.use_extension(SVGImageExtension)
    wrong = []
    for name, svg in drawn.items():
        if svg != pictures(name=name):
            wrong.append(folder / f"{name}.svg")
            wrong[-1].write_text(svg, encoding="utf-8")
    assert not wrong


@pytest.mark.parametrize("size", SIZES, ids=by_size)
@pytest.mark.parametrize("name", walks.WALKS)
async def test_screens(
    name: str, size: tuple[int, int], still: Path, hub: Hub, snapshot: SnapshotAssertion
) -> None:
    start = walks.WALKS[name]
    walks.prepare(still, start)
    drawn = {}
    async with walks.started(start, size) as run:
        async for stop in start.walk(run):
            await rest(run)
            for look in LOOKS:
                drawn[f"{stop}-{look}"] = await picture(run, look)
        hub.gate.set()  # the end waits for the thread that fetches
    compare(drawn, snapshot, still)


@asynccontextmanager
async def begun(look: str, size: tuple[int, int], still: Path) -> AsyncIterator[Running]:
    """The app from its start in this look, at the first stop of the chat's walk."""
    start = walks.WALKS["chat"]
    walks.prepare(still, start)
    theme = "dark" if look == "plain" else look
    with pytest.MonkeyPatch.context() as patch:
        if look == "plain":
            patch.setenv("NO_COLOR", "1")
        async with walks.started(start, size, theme) as run:
            await anext(start.walk(run))
            yield run


@pytest.mark.parametrize("look", ["light", "plain"])
async def test_a_look_taken_on_is_the_look_begun_with(look: str, still: Path) -> None:
    async with begun(look, SIZES[0], still) as run:
        await rest(run)
        alike = taken(run)
    async with begun("dark", SIZES[0], still / "again") as run:
        await rest(run)
        assert await picture(run, look) == alike


@pytest.mark.parametrize("size", SIZES, ids=by_size)
@pytest.mark.parametrize("look", ["contrast", "terminal"])
async def test_other_colours(
    look: str, size: tuple[int, int], still: Path, snapshot: SnapshotAssertion
) -> None:
    async with begun(look, size, still) as run:
        await rest(run)
        compare({look: taken(run)}, snapshot, still)


@pytest.mark.parametrize("size", SIZES, ids=by_size)
@pytest.mark.parametrize("look", LOOKS)
async def test_the_palette(
    look: str, size: tuple[int, int], still: Path, snapshot: SnapshotAssertion
) -> None:
    """It is Textual's own, and keeps the colours in which it was opened."""
    async with begun(look, size, still) as run:
        await run.pilot.press("ctrl+p")
        await run.until(lambda: run.app.screen.query(Input))
        run.app.screen.query_one(Input).cursor_blink = False
        await run.shows("Theme")
        await rest(run)
        compare({look: taken(run)}, snapshot, still)
