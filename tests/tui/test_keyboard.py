"""Keys that come faster than the app: each lands where it would have, had the user waited."""

from __future__ import annotations

import asyncio

import pytest
from textual import events

from smallchat.tui import keyboard
from smallchat.tui.screens.problem import ProblemScreen
from tests.tui.running import Running, running
from tests.tui.test_conversations import save


def said(run: Running) -> list[str]:
    return [turn.content for turn in run.turns]


async def test_letters_around_a_new_conversation_stay_on_their_side_of_it() -> None:
    async with running() as run:
        await run.answer("First?", "1")
        run.at_once(*"old", "ctrl+n", *"new")
        await run.until(lambda: run.prompt.text == "new")
        store = run.chat._store
        (first,) = store.conversations()
        assert (first.draft, run.turns) == ("old", [])
        run.at_once("enter", *"next")
        await run.until(lambda: run.prompt.text == "next")
        assert said(run)[0] == "new"


async def test_what_was_sent_just_before_a_new_conversation_is_sent_in_the_old_one() -> None:
    async with running() as run:
        await run.answer("First?", "1")
        run.at_once(*"And?", "enter", "ctrl+n", "x")
        await run.until(lambda: run.prompt.text == "x" and not run.turns)
        assert [turn[1] for turn in run.stored()] == ["First?", "1", "And?", ""]
        assert [message.content for message in run.engine.chats[1].messages] == ["First?", "1", "And?"]


async def test_a_new_conversation_takes_the_keyboard_from_the_messages_at_once() -> None:
    async with running() as run:
        await run.answer("First?", "1")
        await run.shows("1", "seed 7")
        await run.pilot.press("escape")
        await run.until(lambda: run.transcript.has_focus)
        run.at_once("ctrl+n", *"good morning".replace(" ", "_"))
        await run.until(lambda: run.prompt.text == "good_morning")


@pytest.mark.parametrize("width", [80, 120])
async def test_words_behind_the_search_key_are_looked_for(width: int) -> None:
    save(("When do I prune the apple?", "February"), ("Rust?", "Lifetimes"), ("Third?", "3"))
    async with running(size=(width, 30)) as run:
        run.at_once(*"dr", "ctrl+f", *"febr", "enter")
        await run.until(lambda: said(run) == ["When do I prune the apple?", "February"])
        await run.until(lambda: run.transcript.has_focus)
        assert run.chat._store.draft(None) == "dr"


@pytest.mark.parametrize("width", [80, 120])
async def test_keys_behind_the_list_of_conversations_act_there(width: int) -> None:
    save(("First?", "1"), ("Second?", "2"), ("Third?", "3"))
    async with running(size=(width, 30)) as run:
        run.at_once(*"dr", "ctrl+o", "down", "enter", *"more")
        await run.until(lambda: run.prompt.text == "more")
        assert said(run) == ["Second?", "2"]
        assert run.chat._store.draft(None) == "dr"


async def test_keys_behind_one_that_goes_to_the_messages_act_there() -> None:
    async with running() as run:
        await run.answer("First?", "1")
        await run.shows("1", "seed 7")
        run.at_once("escape", "g", "e", *"yes")
        await run.until(lambda: run.prompt.text == "First?yes")


async def test_keys_behind_one_that_opens_a_dialog_act_there() -> None:
    async with running() as run:
        run.at_once("a", "f1", "escape", "b", "ctrl+p", *"theme", "escape", "c")
        await run.until(lambda: run.prompt.text == "abc")


async def test_a_dialog_that_comes_by_itself_takes_no_keys_from_who_is_writing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(keyboard, "MOMENT_SECONDS", 1000.0)  # however slow the machine
    async with running() as run:
        run.at_once(*"first")
        await run.until(lambda: run.prompt.text == "first")
        run.engine.die()
        await run.until(lambda: isinstance(run.app.screen, ProblemScreen) and run.app.focused)
        run.at_once("space", *"hal", "backspace", *"lf", "enter")
        run.app.post_message(events.Paste(", pasted"))
        await run.until(lambda: run.prompt.text == "first half, pasted")
        await run.settle_frames()
        assert isinstance(run.app.screen, ProblemScreen)
        assert len(run.engine.starts) == 1
        run.at_once("tab", "x", "left", "enter")  # who turns to the dialog answers it
        await run.until(lambda: len(run.engine.starts) == 2)
        assert run.prompt.text == "first half, pasted"


@pytest.mark.parametrize("wait", [False, True])
async def test_a_dialog_that_was_asked_for_or_comes_in_a_pause_is_answered_at_once(
    wait: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running() as run:
        run.at_once(*"Hello?", *(() if wait else ("enter",)))
        await run.until(lambda: wait or run.engine.chats)
        monkeypatch.setattr(keyboard, "MOMENT_SECONDS", -1.0 if wait else 1000.0)
        run.engine.die()
        await run.until(lambda: isinstance(run.app.screen, ProblemScreen) and run.app.focused)
        run.at_once("enter")
        await run.until(lambda: len(run.engine.starts) == 2)


async def test_a_key_that_takes_long_does_not_hold_the_keyboard_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(keyboard, "PATIENCE_SECONDS", 0.05)
    async with running() as run:
        gone_on = asyncio.Event()

        async def slow_disk(_: str) -> None:
            await gone_on.wait()

        monkeypatch.setattr(run.chat, "sync_files", slow_disk)
        run.at_once("at", *"file", "enter", "x")
        await run.until(lambda: run.prompt.text.endswith("x"))
        gone_on.set()
