"""Pictures of the screens, with every figure frozen. `pytest --snapshot-update` takes them anew."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot

from smallchat.chat.session import Session
from smallchat.chat.store import Store
from smallchat.settings import Settings
from smallchat.tui.app import SmallchatApp
from smallchat.tui.widgets.panel import memory
from tests.support.scripted_engine import MIB, ScriptedEngine, budgeted, telemetry
from tests.tui.running import MODEL, Running

ANSWER = """Prune it in **February**, after the last hard frost:

1. Take out dead and crossing wood.
2. Shorten the leaders by a third.
3. Never more than a *quarter* of the tree in one year.

```python
def months(tree: str) -> list[str]:
    return {"apple": ["Feb", "Mar"]}.get(tree, [])
```

| tree | month |
|---|---|
| apple | February |
| plum | July |

See the `garden log` for last year's dates."""

Script = Callable[[Running], Awaitable[None]]
Compare = Callable[..., bool]


@pytest.fixture
def picture(snap_compare: Compare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., bool]:
    """Compares the screen after a script with its picture."""
    monkeypatch.setattr(memory, "own_memory", lambda: 60 * MIB)
    monkeypatch.setenv("SMALLCHAT_HOME", "/home/you/smallchat")

    def compare(script: Script, size: tuple[int, int] = (120, 40), theme: str = "smallchat-dark") -> bool:
        engine = ScriptedEngine()
        app = SmallchatApp(Settings(theme=theme), MODEL, engine, tmp_path / "conversations.sqlite3")

        async def run_before(pilot: Pilot[None]) -> None:
            run = Running(app, engine, pilot)
            await run.until(lambda: engine.starts)
            try:
                await script(run)
                await run.settle()
            except pytest.fail.Exception as error:  # it is no Exception to Textual, which would go on waiting
                raise AssertionError(error) from None

        return snap_compare(app, terminal_size=size, run_before=run_before)

    return compare


async def empty(run: Running) -> None:
    run.engine.ready(demo=True, name="smallchat demo")
    await run.settle()


async def chat(run: Running) -> None:
    run.engine.ready()
    await run.until(lambda: run.chat.dialogue.ready)
    await run.ask("When do I prune the apple tree?")
    for start in range(0, len(ANSWER), 7):
        run.engine.say(ANSWER[start : start + 7], seconds=0.03 + 0.02 * (start % 5) / 5)
        if start % 119 == 70:
            run.engine.say("", seconds=0.075, waited=0.04)
    run.engine.finish()
    await run.until(lambda: not run.chat.dialogue.busy)
    await run.ask("And the pear tree?")
    run.engine.too_long(2)
    await run.shows("Leave them out")
    await run.pilot.press("enter")
    await run.until(lambda: len(run.engine.chats) == 3)
    run.engine.say("The pear ", "can wait ", "until ", "March.")
    run.engine.finish("cancelled")
    run.engine.emit(budgeted(telemetry(step=3)))
    await run.type("thanks, and the")


async def chinese(run: Running) -> None:
    run.engine.ready()
    await run.until(lambda: run.chat.dialogue.ready)
    await run.answer(
        "什么时候修剪苹果树?", "**二月**,在最后一次霜冻之后。\n\n" + "每年最多剪掉四分之一。" * 8
    )
    await run.type("那梨树呢?👨‍👩‍👧 한국어 かな")


async def stepping(run: Running) -> None:
    await chinese(run)
    await run.settle()
    run.engine.considered = "你每最剪掉的。,"
    await run.pilot.press("escape", "t")
    await run.shows("“你”")
    await run.pilot.press("home", *["right"] * 40)
    await run.shows("token 41 of")
    await run.until(lambda: len(run.engine.looks[-1]) == 40)


async def show_help(run: Running) -> None:
    await empty(run)
    await run.pilot.press("f1")


async def broken(run: Running) -> None:
    run.engine.fail("/models/small.gguf ends in the middle of tensor blk.3.ffn_up_exps", "Download it again")
    await run.shows("Load again")


async def narrow_panel(run: Running) -> None:
    await chat(run)
    await run.pilot.press("f3")


def test_an_empty_start(picture: Compare) -> None:
    assert picture(empty)


def test_a_chat(picture: Compare) -> None:
    assert picture(chat)


def test_a_chat_in_80_by_24(picture: Compare) -> None:
    assert picture(chat, size=(80, 24))


def test_the_panel_in_80_by_24(picture: Compare) -> None:
    assert picture(narrow_panel, size=(80, 24))


def test_the_panel_on_the_whole_screen(picture: Compare) -> None:
    async def whole(run: Running) -> None:
        await chat(run)
        await run.pilot.press("f6", "f6", "right", "right", "down")

    assert picture(whole)


def test_a_chat_on_paper(picture: Compare) -> None:
    assert picture(chat, theme="smallchat-light")


def test_a_chat_without_colour(picture: Compare, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert picture(chat)


def test_a_chat_in_chinese(picture: Compare) -> None:
    assert picture(chinese, size=(100, 30))


def test_stepping_back_in_80_by_24(picture: Compare) -> None:
    assert picture(stepping, size=(80, 24))


def test_stepping_back_without_colour(picture: Compare, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert picture(stepping, size=(160, 50))


def test_the_help(picture: Compare) -> None:
    assert picture(show_help)


def save(tmp_path: Path) -> None:
    """Conversations in several scripts, one pinned, one with branches."""
    store = Store(tmp_path / "conversations.sqlite3")
    for title, answer in (
        ("Garden plan", "Prune the **apple tree** in February."),
        ("A letter to the tax office about the second half of last year", "Dear tax office,"),
        ("家族の予定 👨‍👩‍👧", "明日はりんごの木を剪定します。"),
        ("متى نقلم شجرة التفاح؟", "في شباط."),
    ):
        session = Session(store)
        session.ask(title)
        session.reply(answer)
        if title == "Garden plan":
            session.reply("Or in March: the apple tree does not mind.")
            assert session.id
            store.pin(session.id, True)
    store.close()


async def conversations(run: Running) -> None:
    await empty(run)
    await run.pilot.press("ctrl+o", "enter", "ctrl+o", "down", "delete")
    await run.settle()


async def search(run: Running) -> None:
    await empty(run)
    await run.pilot.press("ctrl+f")
    await run.until(lambda: run.chat.sidebar.field.has_focus)
    run.chat.sidebar.field.value = "apple tree"
    await run.until(lambda: run.chat.sidebar._found)


async def branches(run: Running) -> None:
    await empty(run)
    await run.pilot.press("ctrl+o", "enter")
    await run.until(lambda: run.transcript.can_focus)
    await run.pilot.press("escape", "left")
    await run.shows("‹ 1/2 ›")


def test_conversations(picture: Compare, tmp_path: Path) -> None:
    save(tmp_path)
    assert picture(conversations, size=(160, 50))


def test_conversations_in_80_by_24(picture: Compare, tmp_path: Path) -> None:
    save(tmp_path)
    assert picture(conversations, size=(80, 24), theme="smallchat-light")


def test_a_search_without_colour(picture: Compare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    save(tmp_path)
    assert picture(search)


def test_a_search_in_80_by_24(picture: Compare, tmp_path: Path) -> None:
    save(tmp_path)
    assert picture(search, size=(80, 24))


def test_a_branch(picture: Compare, tmp_path: Path) -> None:
    save(tmp_path)
    assert picture(branches, theme="smallchat-light")


def test_a_model_that_does_not_load(picture: Compare) -> None:
    assert picture(broken)
