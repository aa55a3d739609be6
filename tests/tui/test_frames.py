"""What is drawn of a frame is what the whole frame would show there, and little else is drawn."""

from __future__ import annotations

from typing import Any

import pytest
from rich.segment import Segment
from textual._compositor import ChopsUpdate, Compositor, LayoutUpdate
from textual.app import App
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from smallchat.tui.widgets.transcript.markdown import AnswerMarkdown
from tests.tui.running import Running, running

ANSWER = "# 标题\n\nwords **bold** and 中文 " + "word " * 60 + "\n\n- one\n- two\n\n```python\n1\n```\n"
TEXT = "first " * 70 + "**and** 中文字 " + "\n\n- one\n- two " + "three " * 30 + "\n\nThe end."


class Seen:
    """What a terminal would show: the characters of all that the app displayed."""

    def __init__(self) -> None:
        self.cells: dict[tuple[int, int], str] = {}

    def take(self, update: object) -> None:
        if isinstance(update, LayoutUpdate):
            for y, strips in enumerate(update.strips):
                x = 0
                for strip in strips:
                    x = self._write(x, y, strip)
        elif isinstance(update, ChopsUpdate):
            for y, x1, x2 in update.spans:
                for end, (x, strip) in zip(update.chop_ends[y], update.chops[y].items(), strict=False):
                    if strip is not None and x < x2 and end > x1:
                        self._write(x, y, strip.crop(0, min(end, x2) - x))

    def _write(self, x: int, y: int, strip: Any) -> int:
        for segment in strip:
            for letter in segment.text:
                self.cells[x, y] = letter
                for column in range(x + 1, x := x + Segment(letter).cell_length):
                    self.cells[column, y] = ""
        return x

    def text(self, run: Running) -> str:
        width, height = run.app.size
        lines = ("".join(self.cells.get((x, y), "?") for x in range(width)) for y in range(height))
        return "\n".join(line.rstrip() for line in lines)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    seen, display = Seen(), App._display

    def displayed(self: App[None], screen: Any, update: Any) -> None:
        if screen is self.screen and not self._batch_count:  # what Textual writes
            seen.take(update)
        display(self, screen, update)

    monkeypatch.setattr(App, "_display", displayed)
    return seen


async def test_all_parts_together_are_the_whole(seen: Seen) -> None:
    async with running(size=(120, 40), sidebar=True) as run:
        await run.answer("go?", ANSWER)
        await run.ask("and then?")
        for at in range(0, len(TEXT), 40):
            run.engine.say(TEXT[at : at + 40])
            if at % 3:
                run.prompt.insert("x" if at % 2 else "字")
            answer = run.app.screen.query(AnswerMarkdown).last()
            await run.until(lambda end=at + 40, answer=answer: answer.source == TEXT[:end])
            await run.until(lambda: seen.text(run) == run.screen)
        await run.pilot.press("f3", "ctrl+up")
        run.engine.finish()
        await run.until(lambda: not run.chat.dialogue.busy)
        await run.until(lambda: seen.text(run) == run.screen)


async def test_a_part_is_drawn_as_in_the_whole() -> None:
    async with running(size=(120, 40), sidebar=True) as run:
        await run.answer("go?", ANSWER)
        await run.settle()
        compositor, (width, height) = run.chat._compositor, run.app.size
        whole = Compositor._render_chops(compositor, Region(0, 0, width, height), lambda y: True)
        for x in range(0, width, 7):
            for y in range(0, height, 2):
                part = Region(x, y, min(9, width - x), min(3, height - y))
                drawn = compositor._render_chops(part, part.line_range.__contains__)
                for row in part.line_range:
                    for (cut, strip), end in zip(whole[row].items(), compositor.cuts[row][1:], strict=False):
                        if cut < part.right and end > part.x:
                            assert drawn[row][cut] == strip, (part, row, cut)


async def test_a_letter_has_only_its_own_lines_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[Widget, Region]] = []
    async with running(size=(120, 40), sidebar=True) as run:
        await run.answer("go?", ANSWER)
        await run.settle()
        for kind in {type(widget) for widget in run.chat.walk_children()}:

            def counted(self: Widget, crop: Region, real: Any = kind.render_lines) -> list[Strip]:
                drawn.append((self, crop))
                lines: list[Strip] = real(self, crop)
                return lines

            monkeypatch.setattr(kind, "render_lines", counted)
        compositor = run.chat._compositor
        line = run.prompt.region.y + 1
        compositor._render_chops(Region(30, line, 3, 1), lambda y: y == line)
        assert run.prompt in {widget for widget, _ in drawn}
        assert not {run.chat.panel, run.transcript} & {widget for widget, _ in drawn}
        assert {crop.height for _, crop in drawn} == {1}
