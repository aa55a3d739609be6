"""Step back to a token of an answer, see what else was considered, and go on with another."""

from __future__ import annotations

import pytest

from smallchat.chat.records import Turn
from smallchat.engine.events import Alternative, PromptProgress
from smallchat.tui.screens.step_back import StepBackScreen, readable
from tests.tui.running import Running, running


async def step_back(run: Running) -> StepBackScreen:
    """By keyboard, from the prompt: to the messages, whose last one is marked, then T."""
    await run.settle()
    await run.pilot.press("escape")
    await run.until(lambda: run.chat.transcript.focused_turn)
    await run.pilot.press("t")
    await run.until(lambda: isinstance(run.app.screen, StepBackScreen))
    screen = run.app.screen
    assert isinstance(screen, StepBackScreen)
    return screen


def siblings(turn: Turn) -> list[str]:
    assert turn.parent is not None
    return [child.content for child in turn.parent.children]


async def test_another_token_is_taken_and_the_answer_goes_on_as_a_branch() -> None:
    async with running(size=(80, 24)) as run:
        await run.answer("When?", "Feb", "ruary")
        await step_back(run)
        await run.shows("token 8 of 8", "“a”", "50.0%", "“h”")
        assert run.engine.asked_pieces[-1] == ("February", [1000, 1001])
        await run.pilot.press("left", "left", "left")
        await run.shows("token 5 of 8")
        await run.until(lambda: run.engine.looks[-1] == [ord(letter) for letter in "Febr"])
        await run.pilot.press("home")
        await run.shows("token 1 of 8")
        await run.pilot.press("right", "right", "right", "down", "enter")
        await run.until(lambda: len(run.engine.chats) == 2)
        asked = run.engine.chats[-1]
        assert asked.begun == [*map(ord, "Feb"), ord("b")]
        assert [message.content for message in asked.messages] == ["When?"]
        run.engine.answer("Febb", "!")
        await run.until(lambda: not run.chat.dialogue.busy)
        assert run.turns[-1].content == "Febb!"
        assert run.turns[-1].ids == [*map(ord, "Febb"), 1000, 1001]
        assert siblings(run.turns[-1]) == ["February", "Febb!"]
        assert [text for _, text, _ in run.stored()] == ["When?", "Febb!"]


async def test_the_answers_own_token_is_marked_and_not_taken() -> None:
    async with running() as run:
        run.engine.considered = "xb"
        await run.answer("?", "a", "b")
        await step_back(run)
        await run.shows("• “b”", "  “x”")
        await run.pilot.press("down", "enter")
        await run.settle_frames()
        assert isinstance(run.app.screen, StepBackScreen)
        await run.pilot.press("escape")
        await run.until(lambda: run.app.screen is run.chat)
        assert len(run.engine.chats) == 1


async def test_what_follows_the_last_token_can_be_chosen_too() -> None:
    async with running() as run:
        await run.answer("?", "ab")
        await step_back(run)
        await run.pilot.press("right")
        await run.shows("behind the last of 2")
        await run.until(lambda: run.engine.looks[-1] == [ord("a"), ord("b")])
        await run.pilot.press("enter")
        await run.until(lambda: len(run.engine.chats) == 2)
        assert run.engine.chats[-1].begun == [*map(ord, "ab"), ord("a")]


async def test_keys_that_come_faster_than_the_model_are_not_all_asked() -> None:
    async with running() as run:
        await run.answer("?", "word " * 20)
        await step_back(run)
        await run.shows("token 100 of 100")
        looks = len(run.engine.looks)
        await run.pilot.press(*["left"] * 30)
        await run.shows("token 70 of 100")
        await run.until(lambda: len(run.engine.looks[-1]) == 69)
        assert len(run.engine.looks) - looks <= 30


async def test_chinese_and_parts_of_a_character_in_80_by_24() -> None:
    async with running(size=(80, 24)) as run:
        await run.answer("什么时候?", "二月,在最后一次霜冻之后。" * 12)
        screen = await step_back(run)
        await run.shows("token 156 of 156")
        await run.pilot.press("home")
        await run.shows("token 1 of 156", "二月,在最后")
        stepping = screen._stepping
        stepping.ids, stepping.pieces = (1, 2, 3), (b"\xe4\xba", b"\x8c", "月".encode())
        stepping._seen.clear()
        run.engine.considered = ""
        stepping._seen[1] = (Alternative(9, b"\x8d", 0.25), Alternative(8, b"\x1b[31m\n", 0.125))
        await run.pilot.press("right")
        await run.shows("token 2 of 3", "“\\x8d”", "25.0%", "“␛[31m↵”", "\\xe4\\xba\\x8c月")


@pytest.mark.parametrize("size", [(80, 24), (40, 10)])
async def test_the_token_and_its_alternatives_are_in_view_on_a_small_screen(size: tuple[int, int]) -> None:
    async with running(size=size) as run:
        await run.answer("?", "".join(f"<{number}>\n" for number in range(40)))
        await step_back(run)
        await run.shows("<39>↵", "“a”", "50.0%", "“b”", "25.0%", "Enter", "Esc closes ─╯")
        await run.pilot.press("home")
        await run.shows("<0>", "“a”", "“b”")
        await run.pilot.press("end", *["ctrl+left"] * 5)
        await run.shows("<30>", "“a”", "“b”")
        await run.pilot.resize_terminal(50, 12)
        await run.shows("<30>", "“a”", "“b”")


async def test_an_engine_that_fails_is_told() -> None:
    async with running() as run:
        await run.answer("?", "ab")
        await step_back(run)
        await run.shows("token 2 of 2")
        run.engine.die()
        await run.pilot.press("left")
        await run.until(lambda: not isinstance(run.app.screen, StepBackScreen))


async def test_only_answers_have_tokens() -> None:
    async with running() as run:
        await run.answer("question", "answer")
        await run.settle()
        await run.pilot.press("escape", "up", "t")
        await run.shows("There are tokens to step through in answers only")


def test_parts_of_characters_are_bytes() -> None:
    assert readable(["你".encode()]) == "你"
    assert readable([b"a\xe4", b"\xbd"]) == "a\\xe4\\xbd"
    assert readable([b"\xe4\xbd", b"\xa0"]) == "你"


async def test_reading_the_conversation_first_is_told_and_given_up_with_esc() -> None:
    async with running() as run:
        await run.answer("?", "ab")
        run.engine.silent_looks = True
        await step_back(run)
        number = run.engine.number
        run.engine.emit(PromptProgress(100, 2000, 0, 0.5), number)
        await run.shows("token 2 of 2 · reading the conversation: 100 of 2,000 tokens")
        await run.pilot.press("escape")
        await run.until(lambda: number in run.engine.cancelled)
        assert not run.chat.dialogue.busy
