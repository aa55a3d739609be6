"""The sidebar: names, pins, branches, and the search over everything ever said."""

from __future__ import annotations

import pytest

from smallchat import paths
from smallchat.chat.session import Session
from smallchat.chat.store import MEMORY, Store
from smallchat.tui.widgets.sidebar.sidebar import Sidebar
from smallchat.tui.widgets.transcript import transcript
from smallchat.tui.widgets.transcript.turn import TurnView
from tests.tui.running import Running, running
from tests.tui.test_conversations import listed, save
from tests.tui.test_messages import marked


async def search(run: Running, words: str) -> None:
    await run.pilot.press("ctrl+f")
    await run.until(lambda: run.chat.sidebar.field.has_focus)
    run.chat.sidebar.field.value = words


async def test_the_sidebar_is_there_where_there_is_room() -> None:
    save(("First?", "1"))
    async with running(size=(109, 30), sidebar=True) as run:
        assert not run.chat.sidebar.shown
        await run.pilot.resize_terminal(110, 30)
        await run.until(lambda: run.chat.sidebar.shown)
        await run.shows("Today", "Search everything")
        await run.pilot.press("ctrl+o")
        await run.until(lambda: run.chat.sidebar.entries.has_focus)
        await run.pilot.press("ctrl+o")
        await run.until(lambda: not run.chat.sidebar.shown)
        assert run.prompt.has_focus


async def test_on_a_low_screen_the_mark_stays_in_view_beside_what_is_told() -> None:
    save(*((f"Talk {number} of pears, apples, plums and more", "1") for number in range(8)))
    async with running(size=(40, 10)) as run:
        await run.pilot.press("ctrl+o", "end")
        await run.shows("Talk 0 of")
        await run.pilot.press("d")
        await run.shows("Talk 1 of", "Deleted “Talk 0", "brings it", "Search")


async def test_in_a_narrow_terminal_it_comes_for_a_choice_and_goes() -> None:
    save(("First?", "1"), ("Second?", "2"))
    async with running(size=(80, 24)) as run:
        await run.pilot.press("ctrl+o", "down", "enter")
        await run.shows("First?")
        await run.until(lambda: not run.chat.sidebar.shown)
        assert [turn.content for turn in run.turns] == ["First?", "1"]
        await run.pilot.press("ctrl+o")
        await run.until(lambda: run.chat.sidebar.shown)
        await run.pilot.press("escape", "x")
        await run.until(lambda: run.prompt.text == "x" and not run.chat.sidebar.shown)


async def test_a_conversation_gets_another_name() -> None:
    save(("First?", "1"), ("Second?", "2"))
    async with running(sidebar=True) as run:
        await run.pilot.press("ctrl+o", "r")
        await run.until(lambda: run.chat.sidebar.field.value == "Second?")
        run.chat.sidebar.field.value = "  Garden   plan "
        await run.pilot.press("enter")
        await run.until(lambda: listed(run) == ["Garden plan", "First?"])
        await run.pilot.press("r", "x", "escape")
        await run.until(lambda: run.chat.sidebar.entries.has_focus)
        assert listed(run) == ["Garden plan", "First?"]
        await run.pilot.press("enter")
        await run.shows("smallchat  Garden plan")
        await run.pilot.press("ctrl+o", "r")
        await run.until(lambda: run.chat.sidebar.renaming)
        run.chat.sidebar.field.value = "家族"
        await run.pilot.press("enter")
        await run.shows("smallchat  家族")


async def test_a_pinned_conversation_stands_above() -> None:
    save(("First?", "1"), ("Second?", "2"))
    async with running(sidebar=True) as run:
        await run.pilot.press("ctrl+o", "down", "p")
        await run.until(lambda: listed(run) == ["First?", "Second?"])
        await run.shows("Pinned", "Today")
        await run.pilot.press("p")
        await run.until(lambda: listed(run) == ["Second?", "First?"])
        await run.shows_no_more("Pinned")


async def test_an_answer_in_the_making_and_branches_are_marked() -> None:
    async with running(sidebar=True) as run:
        await run.ask("Hello?")
        await run.until(lambda: "● Hello?" in run.screen and "…" in run.screen)
        run.engine.answer("First.")
        await run.until(lambda: not run.chat.dialogue.busy)
        await run.pilot.press("ctrl+r")
        await run.until(lambda: len(run.engine.chats) == 2)
        run.engine.answer("Second.")
        await run.until(lambda: not run.chat.dialogue.busy)
        await run.shows("‹2›")


async def test_the_search_jumps_to_the_message_on_its_branch() -> None:
    store = Store(paths.conversations())
    session = Session(store)
    session.ask("Which fruit?")
    session.reply("Pineapple, **of course**.")
    session.begin_answer("", {}).content = "Mango."
    session.turns[-1].status = "complete"
    session.save()
    session.ask("And?")
    session.reply("More.")
    store.close()
    save(("Another one?", "Indeed."))
    async with running(sidebar=True) as run:
        await search(run, "pineappl")
        await run.until(lambda: "Pineapple, **of" in run.screen)
        await run.pilot.press("enter")
        await run.until(lambda: marked(run) == "Pineapple, **of course**.")
        await run.shows("Pineapple, of course.", "‹ 1/2 ›")
        assert [turn.content for turn in run.turns] == ["Which fruit?", "Pineapple, **of course**."]
        # What was found stays, for the next one; Esc ends it.
        await search(run, "more")
        await run.until(lambda: "…" not in run.screen and "More." in run.screen)
        await run.pilot.press("down", "up", "enter")
        await run.until(lambda: marked(run) == "More.")
        await run.pilot.press("ctrl+f", "escape", "escape")
        await run.until(lambda: run.prompt.has_focus)
        await run.until(lambda: listed(run) == ["Another one?", "Which fruit?"])


async def test_the_search_finds_chinese_and_what_was_said_just_now() -> None:
    async with running(sidebar=True) as run:
        await run.answer("什么时候修剪苹果树?", "二月。")
        await run.pilot.press("ctrl+n")
        await run.until(lambda: run.prompt.has_focus and not run.chat.dialogue.session.turns)
        await run.settle()
        await search(run, "苹果")
        await run.until(lambda: run.chat.sidebar._found)
        await run.pilot.press("down", "enter")  # its name is found first
        await run.until(lambda: marked(run) == "什么时候修剪苹果树?")


async def test_the_first_that_is_found_is_marked_whatever_was_marked_before() -> None:
    save(*[(f"Talk {number}?", f"Pears, {number} of them") for number in range(12)])
    async with running(sidebar=True) as run:
        await run.pilot.press("ctrl+o", *["down"] * 8)
        await search(run, "pears")
        await run.until(lambda: run.chat.sidebar._found)
        assert run.chat.sidebar.entries.highlighted == 0
        await run.pilot.press("down", "down", "enter")
        await run.until(lambda: marked(run) == "Pears, 9 of them")
        await search(run, "of them")
        await run.pilot.press("enter")
        await run.until(lambda: marked(run) == "Pears, 11 of them")


async def test_keys_act_on_the_conversation_of_what_was_found() -> None:
    save(("First?", "pears"), ("Second?", "pears"), ("Third?", "pears"), ("Fourth?", "plums"))
    async with running(sidebar=True) as run:
        found = lambda: [one.title for one in run.chat.sidebar._found or ()]  # noqa: E731
        await search(run, "pears")
        await run.until(lambda: found() == ["Third?", "Second?", "First?"])
        await run.pilot.press("shift+tab", "down", "d")
        await run.until(lambda: found() == ["Third?", "First?"])
        await run.shows("Deleted “Second?”")
        await run.pilot.press("r")
        await run.until(lambda: run.chat.sidebar.field.value == "First?")
        run.chat.sidebar.field.value = "Garden"
        await run.pilot.press("enter")
        await run.until(lambda: found() == ["Third?", "Garden"])
        await run.pilot.press("u")
        await run.until(lambda: found() == ["Third?", "Second?", "Garden"])
        await run.pilot.press("up", "p")
        await run.until(lambda: [one.pinned for one in run.chat.conversations()][:2] == [True, False])
        assert run.chat.sidebar.field.value == "pears"


async def test_the_search_says_where_there_is_nothing() -> None:
    save(("First?", "1"))
    async with running(sidebar=True) as run:
        await search(run, "nowhere")
        await run.shows("Nothing was found")
        await run.pilot.press("enter", "escape")
        await run.shows_no_more("Nothing was found")
        await run.until(lambda: listed(run) == ["First?"])


async def test_find_is_a_command_too() -> None:
    save(("First?", "in February"))
    async with running(size=(80, 24)) as run:
        await run.type("/find febr")
        await run.pilot.press("enter")
        await run.until(lambda: "in February" in run.screen)


async def test_a_jump_into_a_long_conversation_mounts_few_messages() -> None:
    save(tuple(f"text {number} of {number}" for number in range(1000)))
    async with running(size=(120, 30), sidebar=True) as run:
        await search(run, '"text 400"')
        await run.until(lambda: run.chat.sidebar._found)
        await run.pilot.press("enter")
        await run.until(lambda: marked(run) == "text 400 of 400")
        await run.shows("text 400 of 400")
        await run.settle()
        assert len(run.app.screen.query(TurnView)) <= transcript.FIRST + 2 * transcript.MORE
        assert not run.transcript.at_end
        await run.pilot.press(*["j"] * 30)
        await run.until(lambda: marked(run) == "text 430 of 430")
        await run.shows("text 430 of 430")
        await run.pilot.press("escape", "ctrl+end")
        await run.shows("text 999 of 999")
        await run.until(lambda: run.transcript.at_end)
        await run.answer("and on", "at the end")
        await run.shows("at the end")


async def test_scrolling_down_brings_later_messages() -> None:
    save(tuple(f"text {number} of {number}" for number in range(100)))
    async with running(size=(120, 30), sidebar=True) as run:
        await search(run, '"text 40"')
        await run.until(lambda: run.chat.sidebar._found)
        await run.pilot.press("enter")
        await run.until(lambda: marked(run) == "text 40 of 40")
        await run.settle()
        for _ in range(60):
            await run.pilot.press("pagedown")
            await run.settle_frames()
            if run.transcript.at_end:
                break
        await run.shows("text 99 of 99")


async def test_a_store_in_memory_is_searched_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "conversations", lambda: MEMORY)
    async with running(sidebar=True) as run:
        await run.answer("First?", "in February")
        await run.pilot.press("ctrl+n")
        await search(run, "febr")
        await run.pilot.press("enter")
        await run.until(lambda: marked(run) == "in February")


async def test_a_search_that_another_ends_before_it_began_leaves_nothing_behind(
    recwarn: pytest.WarningsRecorder,
) -> None:
    save(("Apples?", "1"), ("Pears?", "2"))
    async with running(sidebar=True) as run:
        for words in ("appl", "pear"):
            await run.chat.on_sidebar_searched(Sidebar.Searched(words))
        await run.until(lambda: run.chat.sidebar._found)
    assert not [one for one in recwarn if "never awaited" in str(one.message)]
