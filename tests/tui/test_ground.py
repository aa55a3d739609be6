"""What lies below everything else looks as Textual would draw it, and asks for no work of its own."""

from __future__ import annotations

import pytest
from textual.geometry import Region
from textual.screen import Screen
from textual.widget import Widget

from smallchat.tui.widgets.ground import Ground
from tests.tui.running import running


@pytest.fixture
def layouts(monkeypatch: pytest.MonkeyPatch) -> list[Screen]:
    """One for each time that a whole screen is laid out."""
    seen = []
    refresh_layout = Screen._refresh_layout

    def counted(self: Screen, *arguments: object, **named: object) -> None:
        seen.append(self)
        refresh_layout(self, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Screen, "_refresh_layout", counted)
    return seen


@pytest.mark.parametrize("theme", ["dark", "light", "contrast", "terminal"])
@pytest.mark.parametrize("no_color", [False, True], ids=["coloured", "without colour"])
async def test_it_is_drawn_as_any_container_is(
    theme: str, no_color: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")
    async with running(theme=theme, sidebar=True) as run:
        await run.answer("go?", "- one\n- two\n\nThe end.")
        await run.shows("The end.")
        await run.pilot.press("ctrl+up")
        await run.until(lambda: run.transcript.focused_turn is run.turns[1])
        await run.settle()
        found = [one for one in run.app.screen.walk_children() if isinstance(one, Ground)]
        assert {type(one).__name__ for one in found} > {"Row", "Transcript", "AnswerTurn", "AnswerMarkdown"}
        for one in found:
            whole = Region(0, 0, *one.outer_size)
            drawn, usual = one.render_lines(whole), Widget.render_lines(one, whole)
            assert [line.simplify() for line in drawn] == [line.simplify() for line in usual], one


async def test_a_line_more_of_an_answer_is_one_layout(layouts: list[Screen]) -> None:
    async with running() as run:
        await run.ask("go?")
        run.engine.say("word " * 40)
        await run.shows("word")
        await run.settle_frames()
        layouts.clear()
        run.engine.say("word " * 40)
        await run.until(lambda: layouts)
        await run.settle_frames()
        assert len(layouts) == 1
        run.engine.finish()


async def test_a_note_of_two_lines_is_counted_up_without_a_layout(layouts: list[Screen]) -> None:
    async with running(sidebar=True) as run:
        await run.ask("go?")
        run.engine.read_prompt(1000, 2600)
        await run.shows("reading the prompt: 1,000 of 2,600 tokens ·", "Esc stops")
        await run.settle_frames()
        layouts.clear()
        run.engine.read_prompt(1100, 2600)
        await run.shows("reading the prompt: 1,100 of 2,600")
        assert not layouts
        run.engine.finish()
