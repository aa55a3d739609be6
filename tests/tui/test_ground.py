"""What lies below everything else looks as Textual would draw it, and asks for no work of its own."""

from __future__ import annotations

import pytest
from textual.geometry import Region, Size
from textual.screen import Screen
from textual.widget import Widget

from smallchat.chat.records import Turn
from smallchat.tui.widgets.ground import Ground
from smallchat.tui.widgets.transcript.growing import AnswerFence
from smallchat.tui.widgets.transcript.turn import TurnView
from tests.tui.running import running
from tests.tui.test_conversations import save


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
    async with running(size=(110, 40), sidebar=True) as run:
        await run.ask("go?")
        run.engine.read_prompt(1000, 2600)
        await run.shows("reading 1,000 of 2,600 tokens ·", "Esc stops")
        await run.settle_frames()
        layouts.clear()
        run.engine.read_prompt(1100, 2600)
        await run.shows("reading 1,100 of 2,600")
        assert not layouts
        run.engine.finish()


@pytest.mark.parametrize("said_before", [0, 2, 6, 40], ids=lambda count: f"behind {count}")
@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=lambda size: f"{size[0]}x{size[1]}")
async def test_sending_a_message_is_one_layout(
    layouts: list[Screen], size: tuple[int, int], said_before: int
) -> None:
    if said_before:
        save(tuple(f"text {number}" for number in range(said_before)))
    async with running(size=size, sidebar=True) as run:
        if said_before:
            await run.pilot.press("ctrl+o", "enter")
            await run.shows(f"text {said_before - 1}")
        await run.type("go?")
        await run.settle()
        layouts.clear()
        await run.pilot.press("enter")
        await run.until(lambda: run.engine.chats)
        await run.shows("thinking", "esc Stop")
        await run.settle_frames()
        run.engine.read_prompt(1000, 2600)
        await run.shows("reading 1,000 of 2,600")
        await run.settle_frames()
        assert len(layouts) == 1
        run.engine.finish()


@pytest.mark.parametrize(
    "block", ["and so on.", "# Title", "- item", "7. item", "> quoted", "```\ncode\n```", "---"]
)
async def test_a_new_block_of_an_answer_is_one_layout(layouts: list[Screen], block: str) -> None:
    async with running() as run:
        await run.ask("go?")
        run.engine.say("First.")
        await run.shows("First.")
        await run.settle_frames()
        layouts.clear()
        run.engine.say(f"\n\n{block}")
        await run.until(lambda: layouts)
        await run.settle_frames()
        assert len(layouts) == 1
        run.engine.finish()


async def test_code_that_grows_in_its_line_is_not_laid_out(layouts: list[Screen]) -> None:
    async with running() as run:
        await run.ask("go?")
        run.engine.say("```python\nfor one")
        await run.shows("for one")
        await run.settle_frames()
        layouts.clear()
        run.engine.say(" in many")
        await run.shows("for one in many")
        assert not layouts
        run.engine.say(":\n    print(1)")
        await run.shows("print(1)")
        run.engine.say("\n    " + "print(2), " * 20 + "END")
        await run.shows("print(2)")
        await run.settle_frames()
        code = run.app.screen.query_one(AnswerFence)
        assert code.virtual_size.width > code.size.width > 0  # it can be scrolled to its end
        run.engine.finish()


async def test_messages_are_not_measured_anew_when_one_of_them_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[Turn] = []
    get_content_height = TurnView.get_content_height

    def told(self: TurnView, *arguments: Size | int) -> int:
        measured.append(self.turn)
        return get_content_height(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(TurnView, "get_content_height", told)
    async with running() as run:
        await run.answer("first?", "First.")
        await run.answer("second?", "Second.")
        await run.ask("go?")
        run.engine.say("word " * 40)
        await run.shows("word")
        await run.settle_frames()
        measured.clear()
        run.engine.say("word " * 40)
        await run.until(lambda: measured)
        await run.settle_frames()
        assert {turn.content for turn in measured} == {"word " * 80}
        run.engine.finish()
