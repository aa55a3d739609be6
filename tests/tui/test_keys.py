"""Keys: their names, the user's own ones, and what they do to messages and to the prompt."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from textual.binding import Binding

from smallchat import paths
from smallchat.chat.session import Session
from smallchat.chat.store import Store
from smallchat.settings import UsageError
from smallchat.tui import keynames, keys
from smallchat.tui.history import History
from smallchat.tui.screens.help import HelpScreen
from smallchat.tui.widgets.footer import KeyFooter
from tests.tui.running import MODEL, Running, running

CODE = "First:\n\n```python\nprint(1)\n```\n\n1. and\n\n   ```\n   inside\n   ```\n"


def test_names_are_unique_and_those_of_the_table() -> None:
    names = [key.name for key in (*keys.KEYS, *keys.MESSAGE_KEYS) if key.keys]
    assert len(set(names)) == len(names)
    assert all(name.isidentifier() for name in names)


@pytest.mark.parametrize(
    ("text", "key", "shown"),
    [
        ("Ctrl+R", "ctrl+r", "Ctrl+R"),
        ("esc", "escape", "Esc"),
        ("F12", "f12", "F12"),
        ("shift+g", "G", "G"),
        ("?", "question_mark", "?"),
        ("alt + enter", "alt+enter", "Alt+Enter"),
        ("PgUp", "pageup", "PgUp"),
        ("+", "plus", "+"),
        ("up", "up", "↑"),
        ("ctrl+/", "ctrl+slash", "Ctrl+/"),
    ],
)
def test_keys_are_written_as_people_write_them(text: str, key: str, shown: str) -> None:
    assert keynames.parse(text) == key
    assert keynames.shown(key) == shown


@pytest.mark.parametrize(
    ("chosen", "told"),
    [
        ({"stopp": "f12"}, "'stopp', which is no key of smallchat"),
        ({"stop": "ctrl+banana"}, "there is no key 'banana'"),
        ({"stop": "kontrol+x"}, "'kontrol' is none of ctrl"),
        ({"stop": ""}, "names no key"),
        ({"stop": "x"}, "needed to write messages"),
        ({"stop": "up"}, "needed to write messages"),
        ({"stop": "ctrl+m"}, "do not tell ctrl.m from Enter"),
        ({"stop": "ctrl+r"}, "stop to Ctrl.R, which is again already"),
        ({"copy_message": "v"}, "copy_message to v, which is view_message already"),
        ({"new": "f12", "again": "f12"}, "F12, which is"),
        ({"copy_code": "ctrl+q"}, "which is quit already"),
    ],
)
def test_what_is_wrong_with_a_key_is_said(chosen: dict[str, str], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        keys.remapped(chosen)


def test_keys_may_change_places() -> None:
    assert keys.remapped({"again": "Ctrl+Y", "copy": "ctrl+r, f12"}) == {
        "again": "ctrl+y",
        "copy": "ctrl+r,f12",
    }


async def test_the_users_own_keys_work_and_are_shown() -> None:
    own = {"again": "ctrl+y", "copy": "f12", "send": "alt+enter", "message_up": "p"}
    async with running(keys=own) as run:
        await run.type("Hello?")
        await run.pilot.press("enter")
        assert run.engine.chats == [] and run.prompt.text == "Hello?"
        await run.pilot.press("alt+enter")
        await run.until(lambda: run.engine.chats)
        run.engine.answer("Hi.")
        await run.until(lambda: not run.chat.dialogue.busy)
        await run.pilot.press("f12")
        await run.until(lambda: run.app.clipboard == "Hi.")
        await run.pilot.press("ctrl+y")
        await run.until(lambda: len(run.engine.chats) == 2)
        run.engine.answer("Ho.")
        await run.until(lambda: not run.chat.dialogue.busy)
        await run.shows("f12 Copy", "^y Again")
        await run.pilot.press("ctrl+up")
        await run.until(lambda: run.transcript.focused_turn is run.turns[1])
        await run.pilot.press("p")
        await run.until(lambda: run.transcript.focused_turn is run.turns[0])
        await run.pilot.press("f1")
        await run.shows("Alt+Enter", "F12")
        assert "Ctrl+R" not in run.screen


def test_a_key_is_told_as_people_write_it() -> None:
    usual, own = keys.KeyNames({}), keys.KeyNames(keys.remapped({"stop": "f12", "undo_delete": "B"}))
    assert usual.told("{stop} {send} {messages} {undo_delete} {replay_turn}") == "Esc Enter Esc U Shift+R"
    assert own.told("{stop} {undo_delete}") == "F12 Shift+B"


OWN = {
    "send": "alt+enter",
    "stop": "f12",
    "messages": "f11",
    "follow": "f14",
    "attachments": "f15",
    "sources": "f16",
    "models": "f17",
    "help": "f18",
    "panel": "f19",
    "conversations": "f20",
    "new": "f21",
    "search_said": "f22",
    "undo_delete": "b",
    "quit": "f23",
    "search_notes": "f24",
    "panel_size": "f13",
}
USUAL = re.compile(r"(?<![+\w])(?:Enter|Esc|Ctrl\+(?:End|N|F|O|Q)|F[1-7])\b")


async def test_every_text_names_the_users_own_keys() -> None:
    async with running(keys=OWN, load=replace(MODEL, demo=True), ready=False) as run:
        await run.until(lambda: run.engine.starts)
        await run.shows("Alt+Enter sends, F12 stops", "F20 older", "F17 fetches", "F18 all keys")
        await run.type("Hello?")
        await run.pilot.press("alt+enter")
        await run.shows("F12 takes it back", "waiting for the model")
        run.engine.ready()
        await run.until(lambda: run.engine.chats)
        await run.shows("thinking · F12 stops", "Alt+Enter sends after this answer")
        await run.pilot.press("f18")
        await run.until(lambda: isinstance(run.app.screen, HelpScreen))
        await run.pilot.press("f18")
        await run.until(lambda: not isinstance(run.app.screen, HelpScreen))
        await run.pilot.press("ctrl+r")
        await run.shows("An answer is being made. F12 stops it")
        run.engine.answer("Line\n\n" * 60)
        await run.shows("Alt+Enter sends")
        await run.pilot.press("pageup")
        await run.shows("more below: F14")
        assert USUAL.findall(run.screen) == []
        await run.pilot.press("f14")
        await run.shows_no_more("more below")
        await run.pilot.press(*"/fin")
        await run.shows("search everything ever said (F22)")
        run.prompt.text = ""
        await run.pilot.press("f11", "e")
        await run.shows("Alt+Enter makes a branch · F11 leaves it as it was")
        await run.pilot.press("f11")
        await run.shows_no_more("leaves it as it was")
        assert USUAL.findall(run.screen) == []


def footer(run: Running) -> list[str]:
    """Words of the footer as they can be seen; fails where one of them is cut."""
    words = "|".join({key.footer for key in (*keys.KEYS, *keys.MESSAGE_KEYS) if key.footer})
    line = run.screen.split("\n")[-1].strip()
    assert re.fullmatch(rf"(?:\S+ (?:{words}) ?)+", line), line
    return re.findall(rf"\S+ ({words})", line)


def test_every_word_of_the_footer_has_its_importance() -> None:
    bound = [
        binding
        for table in (keys.bindings, keys.message_bindings, keys.sidebar_bindings)
        for binding in table()
    ]
    shown = {binding.action for binding in bound if isinstance(binding, Binding) and binding.show}
    ranks = [keys.importance(action) for action in shown]
    assert len(set(ranks)) == len(shown) and keys.importance("nothing") not in ranks


@pytest.mark.parametrize("width", [60, 80, 120])
async def test_the_footer_shows_whole_words_the_important_ones_and_none_twice(width: int) -> None:
    async with running(size=(width, 24)) as run:
        await run.answer("Hello?", "Hi.")
        await run.shows("seed 7")
        await run.shows("f1 Help", "^n New")
        await run.pilot.press("escape")
        await run.shows("y Copy c Code v Select e Edit r Again o Go on")
        await run.settle()
        found = footer(run)
        assert len(set(found)) == len(found)
        assert ("Write" in found) == (width >= 80)
        await run.pilot.resize_terminal(100, 24)
        await run.shows("t Tokens i Write")
        await run.pilot.press("escape")
        await run.ask("Long?")
        await run.shows("esc Stop")
        assert run.app.screen.query_one(KeyFooter).virtual_size.width <= 100


async def test_a_message_and_its_code_are_copied() -> None:
    async with running() as run:
        await run.answer("Code?", CODE)
        await run.shows("inside", "tok/s")
        await run.pilot.press("ctrl+up")
        await run.until(lambda: run.transcript.focused_turn is run.turns[1])
        await run.pilot.press("y")
        await run.until(lambda: run.app.clipboard == CODE)
        await run.shows(f"Copied {len(CODE)} characters (through the terminal)")
        await run.pilot.press("c")
        await run.shows("Which code block?", "print(1)", "python · 1 line", "inside")
        await run.pilot.press("k", "enter")
        await run.until(lambda: run.app.clipboard == "print(1)\n")
        await run.pilot.press("k", "c")
        await run.shows("There is no code block in this message")
        await run.pilot.press("y")
        await run.until(lambda: run.app.clipboard == "Code?")


async def test_a_part_of_a_message_is_selected_by_keyboard() -> None:
    async with running() as run:
        await run.answer("?", "one two three\nfour five six")
        await run.shows("four five six", "tok/s")
        await run.pilot.press("ctrl+up")
        await run.until(lambda: run.transcript.focused_turn is run.turns[1])
        await run.pilot.press("v")
        await run.shows("V select", "four five six")
        await run.pilot.press("w", "v", "w", "y")
        await run.until(lambda: run.app.clipboard.strip() == "two")
        await run.pilot.press("v")
        await run.shows("V select")
        await run.pilot.press("G", "v", "up", "escape", "y")
        await run.until(lambda: run.app.clipboard == "one two three\nfour five six"[13:])


def test_history_keeps_a_changed_text_as_the_draft() -> None:
    history = History(lambda: ["b", "a"])
    history.add("c")
    assert history.newer("") is None
    assert [history.older(""), history.older("c"), history.older("b")] == ["c", "b", "a"]
    assert history.older("a") is None
    assert history.newer("a") == "b"
    assert history.older("b, changed") == "c"
    assert history.newer("c") == "b, changed"


async def test_up_and_down_bring_back_what_was_written() -> None:
    store = Store(paths.conversations())
    Session(store).ask("two\nlines")
    Session(store).ask("from another day")
    store.close()
    async with running() as run:
        await run.answer("today", "yes")
        await run.type("/set seed 4")
        await run.pilot.press("enter")
        await run.until(lambda: run.prompt.text == "")
        await run.type("a draft")
        for expected in ("/set seed 4", "today", "from another day", "two\nlines", "two\nlines"):
            await run.pilot.press("up")
            await run.until(lambda expected=expected: run.prompt.text == expected)
        for expected in ("two\nlines", "from another day", "today", "/set seed 4", "a draft", "a draft"):
            await run.pilot.press("down")
            await run.until(lambda expected=expected: run.prompt.text == expected)


async def test_a_click_on_the_footer_presses_the_key() -> None:
    def underlined() -> list[str]:
        drawn = run.app.screen.query_one(KeyFooter).render()
        return [drawn.plain[span.start : span.end] for span in drawn.spans if "underline" in str(span.style)]

    async with running() as run:
        await run.shows("f1 Help")
        place = (run.screen.split("\n")[-1].index("Help"), 0)
        await run.pilot.hover("#footer", offset=place)
        assert underlined() == ["f1 Help"]
        await run.pilot.hover("#prompt")
        assert underlined() == []
        await run.pilot.click("#footer", offset=(0, 0))  # beside the keys
        await run.pilot.click("#footer", offset=place)
        await run.until(lambda: isinstance(run.app.screen, HelpScreen))
        await run.pilot.press("escape")
        await run.until(lambda: run.app.screen is run.chat)
