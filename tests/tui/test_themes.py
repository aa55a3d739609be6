"""Colours: enough contrast, told apart without hue, and those of the terminal where they are wished."""

from __future__ import annotations

from itertools import pairwise

import pytest
from textual.color import Color
from textual.theme import Theme

from smallchat import paths
from smallchat.settings import UsageError
from smallchat.tui import themes
from tests.tui.running import running

OURS = [theme for theme in themes.THEMES if not theme.ansi]
STATES = ("disk", "idle", "cool", "warm", "hot", "used")


def light(colour: str) -> float:
    """Relative luminance as the WCAG define it, from 0 to 1."""
    parts = [part / 255 for part in Color.parse(colour).rgb]
    r, g, b = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(one: str, other: str) -> float:
    low, high = sorted((light(one), light(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", OURS, ids=lambda theme: theme.name)
def test_text_is_readable(theme: Theme) -> None:
    least = 7 if theme is themes.CONTRAST else 4.5
    assert theme.background is not None and theme.foreground is not None and theme.error is not None
    assert contrast(theme.foreground, theme.background) > 10
    for colour in (theme.primary, theme.error, theme.variables["quiet"]):
        assert contrast(colour, theme.background) > least
    assert contrast(theme.variables["faint"], theme.background) > (7 if theme is themes.CONTRAST else 3)


@pytest.mark.parametrize("theme", OURS, ids=lambda theme: theme.name)
def test_the_states_of_experts_differ_in_lightness_not_only_in_hue(theme: Theme) -> None:
    steps = [light(theme.variables[f"expert-{state}"]) for state in STATES]
    assert all((low < high) == theme.dark for low, high in pairwise(steps))


def test_names_are_short_or_whole() -> None:
    assert themes.named("light") == themes.named("smallchat-light") == "smallchat-light"
    with pytest.raises(UsageError, match="Known: dark, light, contrast, terminal"):
        themes.named("textual-dark")


@pytest.mark.parametrize("name", ["contrast", "terminal"])
async def test_every_screen_is_drawn_in_it(name: str) -> None:
    async with running(theme=name) as run:
        await run.answer("**hi**", "# Head\n\n`code`\n\n```python\nx = 1\n```\n\n| a |\n|---|\n\n> said")
        await run.shows("said")
        await run.pilot.press("f1")
        await run.shows("Esc closes")
        await run.pilot.press("escape")
        await run.pilot.press(*"/theme ")
        await run.shows("› dark", "terminal")
        await run.type("light")
        await run.pilot.press("enter")
        await run.until(lambda: run.app.theme == "smallchat-light")


async def test_a_theme_that_was_chosen_is_there_at_the_next_start() -> None:
    async with running() as run:
        assert run.app.theme == "smallchat-dark"
        run.prompt.text = "/theme light"
        await run.pilot.press("enter")
        await run.until(lambda: run.app.theme == "smallchat-light")
    async with running() as run:
        assert run.app.theme == "smallchat-light"
    async with running(theme="contrast") as run:  # named by flag, environment or file
        assert run.app.theme == "smallchat-contrast"
        run.prompt.text = "/theme dark"
        await run.pilot.press("enter")
        await run.shows('The next start takes theme = "contrast" again')
    assert not paths.config_file().exists()
    paths.chosen_theme().write_bytes(b"\xff\0")
    assert themes.at_start(None) == "smallchat-dark"
    assert themes.at_start("light") == "smallchat-light"


async def test_a_theme_that_cannot_be_kept_is_told() -> None:
    paths.state().parent.mkdir(parents=True, exist_ok=True)
    paths.state().touch()
    async with running() as run:
        run.prompt.text = "/theme light"
        await run.pilot.press("enter")
        await run.shows("The colours are not kept for the next start")


async def test_the_terminals_own_colours_are_only_named() -> None:
    async with running(theme="terminal") as run:
        await run.answer("hi", "**bold** `code`\n\n```python\nx = 1\n```")
        await run.shows("x = 1")
        assert run.app.native_ansi_color
        for strip in run.app.screen._compositor.render_strips():
            for segment in strip:
                style = segment.style
                colours = [style.color, style.bgcolor] if style is not None else []
                assert all(one is None or one.type.name != "TRUECOLOR" for one in colours), (segment, colours)


async def test_without_colour_the_terminals_own_ground_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with running(theme="dark") as run:
        assert [type(one).__name__ for one in run.app._filters][-1] == "Monochrome"
        run.app.theme = themes.TERMINAL.name
        await run.settle()
        assert [type(one).__name__ for one in run.app._filters][-1] == "NoColor"
