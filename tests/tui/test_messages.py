"""Moving among the messages by keyboard, and what is done to the one that is marked."""

from __future__ import annotations

from tests.tui.running import Running, running
from tests.tui.test_conversations import save


def marked(run: Running) -> str | None:
    """The text of the marked message; None: the prompt has the keyboard."""
    turn = run.transcript.focused_turn
    return turn.content if turn else None


async def three(run: Running) -> None:
    """Three questions and their answers."""
    for number in ("one", "two", "three"):
        await run.answer(f"question {number}", f"answer {number}")
    await run.settle()


async def test_esc_leads_to_the_messages_and_back() -> None:
    async with running() as run:
        await three(run)
        assert marked(run) is None
        await run.pilot.press("escape")
        await run.until(lambda: marked(run) == "answer three")
        await run.pilot.press("k", "up")
        await run.until(lambda: marked(run) == "answer two")
        await run.pilot.press("j")
        await run.until(lambda: marked(run) == "question three")
        await run.pilot.press("g")
        await run.until(lambda: marked(run) == "question one")
        await run.pilot.press("k")
        await run.until(lambda: marked(run) == "question one")
        await run.pilot.press("G", "down")
        await run.until(lambda: run.prompt.has_focus)
        await run.pilot.press("ctrl+up")
        await run.until(lambda: marked(run) == "answer three")
        await run.pilot.press("escape", "x")
        await run.until(lambda: run.prompt.text == "x")


async def test_esc_first_stops_the_answer() -> None:
    async with running() as run:
        await three(run)
        await run.ask("Long?")
        run.engine.say("It ", "began")
        await run.shows("It began")
        await run.pilot.press("escape")
        assert run.prompt.has_focus and run.engine.cancelled
        await run.until(lambda: not run.chat.dialogue.busy)
        await run.pilot.press("escape")
        await run.until(lambda: marked(run) == "It began")


async def test_without_messages_the_prompt_keeps_the_keyboard() -> None:
    async with running() as run:
        await run.pilot.press("escape", "a")
        await run.until(lambda: run.prompt.text == "a")


async def test_a_click_on_a_message_leaves_the_keyboard_with_the_prompt() -> None:
    async with running() as run:
        await three(run)
        await run.pilot.click(run.transcript._views[0])
        assert run.prompt.has_focus


async def test_a_message_longer_than_the_screen_is_read_page_by_page() -> None:
    async with running(size=(80, 24)) as run:
        await run.answer("long?", "".join(f"line {number}\n\n" for number in range(60)))
        await run.answer("short?", "short.")
        await run.settle()
        await run.pilot.press("escape", "g", "j")
        await run.until(lambda: "line 0" in run.screen and marked(run) != "long?")
        seen = 0
        while marked(run) != "short?":
            assert (seen := seen + 1) < 20
            await run.pilot.press("j")
            await run.settle_frames()
        assert seen > 5
        run.transcript.move_focus(-1)
        run.transcript.move_focus(-1)  # before a frame has shown the first
        await run.until(lambda: "line 59" not in run.screen and "line 0" not in run.screen)


async def test_moving_up_brings_older_messages() -> None:
    save(tuple(f"text {number}" for number in range(40)))
    async with running(size=(80, 24)) as run:
        await run.pilot.press("ctrl+o", "enter")
        await run.shows("text 39")
        assert run.transcript._start > 0
        await run.pilot.press("escape", *["k"] * 39)
        await run.until(lambda: marked(run) == "text 0" and "text 0" in run.screen)
