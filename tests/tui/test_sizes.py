"""The screen at every size, and while its size changes."""

from __future__ import annotations

import pytest
from textual import events
from textual.content import Content

from smallchat.tui.attachments import Attachment
from smallchat.tui.screens.notes import NotesScreen
from smallchat.tui.screens.pick import PickScreen
from smallchat.tui.screens.view import ViewScreen
from tests.tui.running import running

LINES = "\n\n".join(
    f"Paragraph {index} of the answer, long enough to wrap in a narrow window." for index in range(40)
)


@pytest.mark.parametrize("size", [(80, 24), (40, 12), (200, 60), (20, 5)])
async def test_a_question_can_be_asked_at_any_size(size: tuple[int, int]) -> None:
    async with running(size=size) as run:
        await run.answer("hm?", "Yes.")
        await run.until(lambda: run.turns[-1].content == "Yes.")
        if size[1] > 5:
            await run.shows("Yes.")


async def test_everything_is_usable_in_80_by_24() -> None:
    async with running(size=(80, 24)) as run:
        await run.shows("What shall we talk about?", "smallchat", "Enter sends", "Quit")
        await run.pilot.press("f1")
        await run.shows("Ctrl+J")
        await run.pilot.press("escape")
        await run.answer("hm?", LINES)
        await run.shows("Paragraph 39")
        await run.pilot.press("pageup")
        await run.shows_no_more("Paragraph 39")


async def test_resizing_while_an_answer_streams() -> None:
    async with running() as run:
        await run.ask("hm?")
        for index, size in enumerate([(80, 24), (40, 10), (150, 50), (100, 30)]):
            run.engine.say(f"part{index}\n\n")
            await run.pilot.resize_terminal(*size)
        run.engine.finish()
        await run.shows("part3")
        assert run.turns[-1].content == "part0\n\npart1\n\npart2\n\npart3\n\n"


async def test_the_reader_is_not_pulled_down() -> None:
    async with running(size=(80, 24)) as run:
        await run.ask("hm?")
        run.engine.say(LINES)
        await run.shows("Paragraph 39")
        await run.pilot.press("pageup", "pageup")
        await run.settle_frames()
        place = run.transcript.scroll_y
        run.engine.say("\n\nOne more paragraph." * 10)
        await run.until(lambda: "more below" in run.hint)
        await run.settle_frames()
        assert run.transcript.scroll_y == place
        await run.pilot.press("ctrl+end")
        await run.shows("One more paragraph.")
        run.engine.say("\n\nThe very end.")
        await run.shows("The very end.")


async def test_a_resize_keeps_the_reader_s_place() -> None:
    async with running(size=(120, 30)) as run:
        await run.answer("hm?", LINES)
        await run.shows("Paragraph 39")
        for _ in range(3):
            await run.pilot.press("pageup")
        await run.settle_frames()
        top = next(line for line in run.screen.split("\n")[2:] if "Paragraph" in line).split()[1]
        await run.pilot.resize_terminal(60, 30)
        await run.settle_frames()
        shown = [line.split()[1] for line in run.screen.split("\n") if "Paragraph" in line]
        assert any(abs(int(number) - int(top)) <= 1 for number in shown)


async def test_a_reader_near_the_end_keeps_the_place_in_wider_lines() -> None:
    """The text gets shorter than the place was far down: that is no scrolling to the end."""
    words = " ".join(f"w{number:04}" for number in range(900))
    async with running(size=(60, 30)) as run:
        await run.answer("hm?", words)
        await run.shows("w0899")
        await run.pilot.press("pageup")
        await run.until(lambda: "more below" in run.hint)
        await run.settle_frames()
        top = next(line for line in run.screen.split("\n")[2:] if " w0" in line).split()[0]
        for width in (90, 120):
            await run.pilot.resize_terminal(width, 30)
            await run.settle_frames()
            shown = [word for word in run.screen.split() if word.startswith("w0")]
            assert any(abs(int(word[1:]) - int(top[1:])) < 40 for word in shown[:20])
        assert "more below" in run.hint


@pytest.mark.parametrize("width", [80, 60, 40])
async def test_a_message_is_read_to_its_end_at_any_width(width: int) -> None:
    async with running(size=(width, 24)) as run:
        run.chat.notify(f"Beginning {'and middle ' * 20}END", markup=False)
        await run.shows("Beginning", "END")
        assert " ".join(run.screen.split()).count("middle") == 20


async def test_the_line_that_is_written_stays_in_view_on_a_low_screen() -> None:
    async with running(size=(80, 24)) as run:
        run.app.post_message(events.Paste("\n".join(f"line {number}" for number in range(19))))
        await run.shows("line 18", "Enter sends ─╯")
        for height in (19, 10, 7):
            await run.pilot.resize_terminal(40, height)
            await run.settle_frames()
            await run.shows("line 18", "Enter sen")
        await run.pilot.press(*"typed")
        await run.shows("line 18typed", "Enter sen")
        run.chat.attached.extend(Attachment("paste", str(number), "text") for number in range(6))
        run.chat.show_attached()
        await run.pilot.resize_terminal(40, 10)
        await run.shows("pasted text 0", "line 18typed", "Enter sen")


async def test_what_is_marked_in_a_dialog_is_in_view() -> None:
    lines = [f"line {number}." for number in range(100)]
    pick, last = (PickScreen("Which?", [Content(line) for line in lines], first) for first in (0, 99))
    async with running(size=(80, 24)) as run:
        for dialog in (pick, ViewScreen("Text", "\n".join(lines))):
            await run.pilot.resize_terminal(80, 24)
            run.app.push_screen(dialog)
            await run.shows("line 0.")
            for number, size in ((18, (80, 24)), (36, (60, 15)), (54, (40, 10))):
                await run.pilot.resize_terminal(*size)
                await run.shows(f"line {number - 18}.")
                run.at_once(*["j"] * 18)
                await run.shows(f"line {number}.", "─╯")
            await run.pilot.press("end" if dialog is pick else "G")
            await run.shows("line 99.")
            await run.pilot.press("escape")
        run.app.push_screen(last)
        await run.shows("line 99.")


async def test_a_dialog_tells_all_its_keys_at_any_width() -> None:
    async with running(size=(80, 24)) as run:
        for dialog, long, brief in (
            (ViewScreen("Text", "one"), "Shift+arrows or V select · ", "V selects · Y copies"),
            (NotesScreen(str, lambda words: []), "Enter opens in $EDITOR · ", "Enter opens · PgDn"),
        ):
            run.app.push_screen(dialog)
            for width, keys in ((80, long), (60, long), (40, brief)):
                await run.pilot.resize_terminal(width, 24)
                await run.shows(keys, " · Esc closes ─╯")
            await run.pilot.press("escape")


async def test_a_narrow_header_keeps_the_name_of_the_model() -> None:
    async with running(size=(80, 24)) as run:
        await run.shows("SmallThinker 4B · Q4_0")
        assert "threads" not in run.screen
        await run.pilot.resize_terminal(120, 30)
        await run.shows("ggml (avx2) · 2 threads")


async def test_the_demonstration_model_says_what_it_is() -> None:
    async with running(ready=False) as run:
        await run.until(lambda: run.engine.starts)
        run.engine.ready(demo=True)
        await run.shows("Demonstration model: small, often wrong.", "smallchat --model PATH", "demo ·")


async def test_help_tells_every_key_and_the_way_to_a_bigger_model() -> None:
    async with running(size=(120, 140)) as run:
        await run.pilot.press("f1")
        await run.shows("Ctrl+R", "Ctrl+O", "F3", "Ctrl+Q", "smallchat --model PATH", "models")
        await run.pilot.press("f1")
        await run.shows("What shall we talk about?")
