"""Conversations of before, and what happens when they cannot be saved."""

from __future__ import annotations

import os
import sqlite3
import threading
import time

import pytest

from smallchat import paths
from smallchat.chat.records import Conversation
from smallchat.chat.session import Session
from smallchat.chat.store import BRIEF_SECONDS, BUSY_SECONDS, Store
from smallchat.tui import garbage, keeper
from smallchat.tui.screens.problem import ProblemScreen
from smallchat.tui.widgets.transcript import transcript
from smallchat.tui.widgets.transcript.turn import TurnView
from tests.tui.running import Running, running


def save(*conversations: tuple[str, ...]) -> None:
    """Conversations of earlier runs, oldest first."""
    store = Store(paths.conversations())
    for texts in conversations:
        session = Session(store)
        for question, answer in zip(texts[::2], texts[1::2], strict=True):
            session.ask(question)
            turn = session.begin_answer("demo", {})
            turn.content, turn.status = answer, "complete"
            session.save()
    store.close()


def listed(run: Running) -> list[str]:
    return [row.title for row in run.chat.sidebar._rows if isinstance(row, Conversation)]


async def test_the_next_start_lists_and_opens_what_was_said() -> None:
    async with running() as run:
        await run.answer("When do I prune?", "In **February**.")
    async with running() as run:
        await run.shows("Recent", "When do I prune?")
        await run.pilot.press("ctrl+o", "enter")
        await run.shows("In February.")
        await run.ask("And the pear?")
        assert [message.content for message in run.engine.chats[0].messages] == [
            "When do I prune?",
            "In **February**.",
            "And the pear?",
        ]


async def test_a_recent_conversation_opens_by_click() -> None:
    save(("First?", "1"), ("Second?", "2"))
    async with running() as run:
        await run.shows("Second?", "First?")
        await run.pilot.click(run.app.screen.query("Choice").last())
        await run.until(lambda: [turn.content for turn in run.turns] == ["First?", "1"])


async def test_a_new_conversation_leaves_the_old_one_as_it_is() -> None:
    async with running() as run:
        await run.answer("First?", "1")
        await run.pilot.press("ctrl+n")
        await run.shows("new conversation", "What shall we talk about?")
        await run.answer("Second?", "2")
        assert [message.content for message in run.engine.chats[1].messages] == ["Second?"]
        await run.pilot.press("ctrl+o", "down", "enter")
        await run.until(lambda: [turn.content for turn in run.turns] == ["First?", "1"])
        await run.shows("▌ First?")
        await run.shows_no_more("▌ Second?")


async def test_leaving_an_answer_in_the_making_keeps_what_it_had() -> None:
    async with running() as run:
        await run.ask("Long?")
        run.engine.say("It ", "began")
        await run.shows("It began")
        await run.pilot.press("ctrl+n")
        await run.shows("What shall we talk about?")
        run.engine.say("too late", seconds=0.01)
        await run.pilot.press("ctrl+o", "enter")
        await run.shows("It began", "stopped")
        assert run.stored()[-1] == ("assistant", "It began", "stopped")


async def test_quitting_in_the_middle_loses_nothing() -> None:
    async with running() as run:
        await run.ask("Long?")
        run.engine.say("It ", "began")
        await run.shows("It began")
        await run.type("and then")
        await run.pilot.press("ctrl+q")
        await run.until(lambda: not run.app.is_running)
    assert run.engine.closed
    assert run.app.return_code == 0
    async with running() as run:
        await run.shows("It began", "stopped")
        assert run.prompt.text == "and then"


async def test_an_answer_is_saved_while_it_streams() -> None:
    async with running() as run:
        await run.ask("Long?")
        run.engine.say("It ", "began")
        await run.until(lambda: run.stored()[-1] == ("assistant", "It began", "streaming"), seconds=2)


async def test_a_draft_comes_back_where_it_was_typed() -> None:
    async with running() as run:
        await run.type("half a thou")
        await run.settle()
    async with running() as run:
        assert run.prompt.text == "half a thou"
        await run.pilot.press("g", "h", "t")
        await run.ask("?")
        assert run.engine.chats[0].messages[0].content == "half a thought?"
        run.engine.answer("Whole.")
        await run.type("more in here")
        await run.pilot.press("ctrl+n")
        assert run.prompt.text == ""
    async with running() as run:
        await run.shows("Whole.")
        assert run.prompt.text == "more in here"


async def test_deleting_can_be_undone_until_the_end() -> None:
    save(("Keep?", "1"), ("Drop?", "2"))
    async with running() as run:
        await run.pilot.press("ctrl+o", "delete")
        await run.shows("Deleted “Drop?”")
        await run.until(lambda: listed(run) == ["Keep?"])
        await run.pilot.press("u")
        await run.until(lambda: listed(run) == ["Drop?", "Keep?"])
        await run.pilot.press("delete", "escape")
        await run.until(lambda: listed(run) == ["Keep?"])
        assert run.prompt.has_focus
    store = Store(paths.conversations())
    assert [one.title for one in store.conversations()] == ["Keep?"]
    store.close()


async def test_all_is_in_one_file_after_the_end() -> None:
    async with running() as run:
        await run.answer("Where is zanzibar?", "In the sea.")
        await run.until(lambda: run.chat.search._own)
        await run.app.action_quit()
        await run.until(lambda: not run.app.is_running)
    file = paths.conversations()
    assert [one.name for one in file.parent.glob(f"{file.name}*")] == [file.name]
    assert b"zanzibar" in file.read_bytes()


async def test_deleting_the_open_conversation_begins_a_new_one() -> None:
    async with running() as run:
        await run.answer("Drop?", "ok")
        await run.pilot.press("ctrl+o", "delete")
        await run.shows("new conversation", "What shall we talk about?")
        assert run.chat.sidebar.entries.has_focus
        await run.pilot.press("ctrl+z", "enter")
        await run.shows("Drop?", "ok")


async def test_a_long_conversation_mounts_few_messages_and_more_on_scrolling() -> None:
    save(tuple(f"text {index}" for index in range(200)))
    async with running(size=(100, 30)) as run:
        await run.pilot.press("ctrl+o", "enter")
        await run.shows("text 199")
        await run.settle()
        mounted = len(run.app.screen.query(TurnView))
        assert mounted <= transcript.FIRST + transcript.MORE
        while len(run.app.screen.query(TurnView)) == mounted:
            await run.pilot.press("pageup")
        await run.pilot.press("ctrl+end")
        await run.shows("text 199")


async def test_a_conversation_that_grows_takes_old_messages_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transcript, "FIRST", 4)
    monkeypatch.setattr(transcript, "MOST", 8)
    monkeypatch.setattr(garbage, "AFTER_SECONDS", 0.01)
    long = "A line of the answer.\n" * 12
    async with running(size=(80, 24)) as run:
        for index in range(7):
            await run.answer(f"question {index}", f"{long} answer {index}")
            await run.shows(f"answer {index}")
        await run.until(lambda: len(run.app.screen.query(TurnView)) <= 8)
        await run.shows("answer 6")
        assert run.transcript._start > 0


async def test_loading_older_messages_keeps_the_place() -> None:
    save(tuple(f"text {index}" for index in range(60)))
    async with running(size=(100, 30)) as run:
        await run.pilot.press("ctrl+o", "enter")
        await run.shows("text 59")
        await run.settle()
        await run.until(lambda: not run.transcript._wants_older)
        first = run.transcript._views[0]
        run.transcript.scroll_to(y=3, animate=False)
        await run.pilot.pause()
        run.transcript.scroll_to(y=0, animate=False)
        await run.until(lambda: run.transcript._views[0] is not first)
        await run.until(lambda: not run.transcript._wants_older)
        await run.shows(first.turn.content)


async def test_a_damaged_file_does_not_keep_anyone_from_chatting() -> None:
    paths.conversations().parent.mkdir(parents=True)
    paths.conversations().write_bytes(b"no database" * 1000)
    async with running(ready=False) as run:
        await run.shows("it is damaged", "Go on without saving")
        assert isinstance(run.app.screen, ProblemScreen)
        await run.pilot.press("enter")
        await run.until(lambda: run.engine.starts)
        run.engine.ready()
        await run.shows("not saved")
        await run.answer("Hello?", "Hi.")
        await run.shows("Hi.")
    assert paths.conversations().read_bytes() == b"no database" * 1000


async def test_a_damaged_file_can_be_kept_aside() -> None:
    paths.conversations().parent.mkdir(parents=True)
    paths.conversations().write_bytes(b"no database" * 1000)
    async with running(ready=False) as run:
        await run.shows("it is damaged")
        await run.pilot.press("tab", "enter")
        await run.until(lambda: run.engine.starts)
        run.engine.ready()
        await run.answer("Hello?", "Hi.")
        assert run.stored()[0][1] == "Hello?"
    (kept,) = paths.data().glob("*.damaged-*")
    assert kept.read_bytes() == b"no database" * 1000


async def test_a_disk_that_fills_up_is_told_and_forgiven() -> None:
    async with running() as run:
        await run.answer("before", "fine")
        store = run.chat.dialogue.session.store
        pages = store.connection.execute("PRAGMA page_count").fetchone()[0]
        store.connection.execute(f"PRAGMA max_page_count = {pages}")
        await run.answer("big " * 5000, "still here")
        await run.shows("still here", "the disk is full")
        store.connection.execute("PRAGMA max_page_count = 1000000")
        await run.answer("again", "saved")
        assert [text for _, text, _ in run.stored()] == [
            "before",
            "fine",
            "big " * 5000,
            "still here",
            "again",
            "saved",
        ]


async def test_what_could_not_be_saved_is_tried_again_without_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "TRY_AGAIN", 0.05)

    async with running() as run:
        await run.answer("before", "fine")
        store = run.chat.dialogue.session.store
        pages = store.connection.execute("PRAGMA page_count").fetchone()[0]
        store.connection.execute(f"PRAGMA max_page_count = {pages}")
        await run.type("draft " * 1500)
        await run.shows("the disk is full")
        store.connection.execute("PRAGMA max_page_count = 1000000")
        await run.until(lambda: store.draft(run.chat.dialogue.session.id) == "draft " * 1500)

        pages = store.connection.execute("PRAGMA page_count").fetchone()[0]
        store.connection.execute(f"PRAGMA max_page_count = {pages}")
        await run.answer("", "big " * 8000)
        assert run.chat.dialogue.session.problem is not None
        store.connection.execute("PRAGMA max_page_count = 1000000")
        await run.until(lambda: run.stored()[-1] == ("assistant", "big " * 8000, "complete"))


async def test_another_program_that_holds_the_file_does_not_hold_the_screen_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(keeper, "TRY_AGAIN", 0.05)
    async with running() as run:
        await run.answer("before", "fine")
        other = sqlite3.connect(paths.conversations(), isolation_level=None, check_same_thread=False)
        other.execute("BEGIN EXCLUSIVE")
        began = time.monotonic()
        await run.ask("meanwhile")
        assert time.monotonic() - began < BUSY_SECONDS
        assert not any(one.title == "Not saved" for one in run.app._notifications)
        run.engine.answer("still here")
        await run.shows("still here", "Not saved")
        other.execute("ROLLBACK")
        await run.until(lambda: not run.chat._keeper.pending)
        assert [text for _, text, _ in run.stored()] == ["before", "fine", "meanwhile", "still here"]
        other.execute("BEGIN EXCLUSIVE")
        await run.ask("last")
        threading.Timer(3 * BRIEF_SECONDS, other.execute, ["ROLLBACK"]).start()
        await run.app.action_quit()  # nothing is tried again then: this waits
        await run.until(lambda: not run.app.is_running)
        assert [text for _, text, _ in run.stored()][4:] == ["last", ""]


@pytest.mark.skipif(os.name != "posix", reason="a file in use cannot be moved")
async def test_a_folder_that_is_gone_is_told_and_forgiven(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "TRY_AGAIN", 0.05)
    folder = paths.conversations().parent
    async with running() as run:
        await run.answer("before", "fine")
        away = folder.rename(folder.with_name("away"))
        await run.answer("meanwhile", "still here")
        await run.shows("still here", "Not saved")
        away.rename(folder)
        await run.answer("again", "saved")
        said = ["before", "fine", "meanwhile", "still here", "again", "saved"]
        await run.until(lambda: [text for _, text, _ in run.stored()] == said)


async def test_another_version_of_the_file_is_told() -> None:
    Store(paths.conversations()).close()
    raw = sqlite3.connect(paths.conversations())
    raw.execute("PRAGMA user_version = 99")
    raw.close()
    async with running(ready=False) as run:
        await run.shows("newer smallchat", "Update smallchat")
        await run.pilot.press("tab", "tab", "enter")
    assert run.app.return_code == 8
