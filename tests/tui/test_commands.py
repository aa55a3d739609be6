"""Slash commands: completed, explained, and kept with their conversation."""

from __future__ import annotations

from pathlib import Path

import pytest

from smallchat import paths
from smallchat.settings import load
from smallchat.tui.commands import COMMANDS
from smallchat.tui.completing import Candidate, commands, complete
from smallchat.tui.keys import KeyNames
from smallchat.tui.screens.chat import ChatScreen
from tests.tui.running import Running, running


def texts(run: Running) -> list[str]:
    shown = run.prompt.completions.shown
    return [one.text for one in shown.candidates] if shown else []


def test_every_command_has_its_method() -> None:
    assert all(hasattr(ChatScreen, f"command_{one.name}") for one in COMMANDS)


def test_commands_and_arguments_are_completed() -> None:
    names = {
        "theme": lambda _: [Candidate("ink"), Candidate("paper"), Candidate("think")],
        "command": lambda _: commands(KeyNames({})),
    }
    whole = complete("/th", 3, names)
    assert whole is not None and [one.text for one in whole.candidates] == ["/theme"]
    assert whole.eager and whole.candidates[0].tail == " "
    argument = complete("/theme ink", 10, names)
    assert argument is not None and [one.text for one in argument.candidates] == ["ink", "think"]
    assert (argument.start, argument.end, argument.eager) == (7, 10, False)
    for text in ("", "theme", "/theme paper", "/nothing x", "/set x", "a /th", "/th\nme"):
        assert complete(text, len(text), names) is None


async def test_a_command_is_found_by_its_beginning() -> None:
    async with running() as run:
        await run.pilot.press("slash")
        await run.shows("› /new", "/system", "new conversation (Ctrl+N)")
        await run.pilot.press("p", "e")
        await run.until(lambda: texts(run) == ["/persona"])
        await run.pilot.press("tab")
        assert run.prompt.text == "/persona "
        await run.pilot.press("backspace", "backspace", "escape")
        await run.until(lambda: not texts(run))
        await run.pilot.press("a")
        await run.until(lambda: not texts(run))


async def test_the_arrows_choose_and_enter_takes() -> None:
    async with running() as run:
        for key in ("slash", "n", "down", "down", "up", "enter"):  # notes, note, new: in the table's order
            await run.pilot.press(key)
        assert run.prompt.text == "/notes "
        assert run.engine.chats == []


async def test_enter_runs_a_command_that_is_only_begun() -> None:
    async with running() as run:
        await run.pilot.press(*"/hel", "enter")
        await run.shows("Help", "Esc closes")
        await run.until(lambda: run.prompt.text == "")


async def test_a_click_takes_a_candidate() -> None:
    async with running() as run:
        await run.pilot.press(*"/the")
        await run.shows("› /theme")
        await run.pilot.click("#completions")
        await run.until(lambda: run.prompt.text == "/theme ")
        await run.shows("› dark", "light")


async def test_settings_hold_for_one_conversation_and_come_back_with_it() -> None:
    async with running() as run:
        await run.type("/set temperature 0.3")
        await run.pilot.press("enter")
        await run.shows("temperature is 0.3 in this conversation")
        await run.until(lambda: str(run.prompt.border_title) == "temperature 0.3")
        await run.answer("One?", "1")
        assert run.engine.chats[0].sampling.temperature == 0.3
        await run.pilot.press("ctrl+n")
        await run.answer("Two?", "2")
        assert run.engine.chats[1].sampling.temperature == 0.6
        first = next(one for one in run.chat._store.conversations() if one.title == "One?")
        run.chat.open(first)
        await run.answer("Three?", "3")
        assert run.engine.chats[2].sampling.temperature == 0.3
        await run.type("/set temperature default")
        await run.pilot.press("enter")
        await run.shows("temperature is 0.6")
        await run.answer("Four?", "4")
        assert run.engine.chats[3].sampling.temperature == 0.6


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("/set temperature hot", "is not a number"),
        ("/set temperature -1", "Choose a value from 0 to 100"),
        ("/set colour red", "There is no setting 'colour' here"),
        ("/theme nothing", "There are no colours 'nothing'"),
        ("/copy everything", "/copy does not know 'everything'"),
        ("/copy", "nothing to copy yet"),
        ("/save", "/save needs the name of a file"),
        ("/model ~nobody-here/x", "no home folder that is known"),
        (f"/model {'x' * 300}", "There is no model"),
        ("/persona nobody", "There is no persona 'nobody'"),
    ],
)
async def test_what_a_command_cannot_do_is_said_and_stays_in_the_prompt(typed: str, told: str) -> None:
    async with running() as run:
        await run.type(typed)
        await run.pilot.press("enter")
        await run.until(lambda: any(told in one.message for one in run.app._notifications))
        assert run.prompt.text == typed
        assert run.chat.dialogue.session.sampling == {}


async def test_set_alone_shows_what_holds() -> None:
    async with running(top_k=7) as run:
        await run.type("/set seed 5")
        await run.pilot.press("enter")
        await run.until(lambda: run.prompt.text == "")
        await run.type("/set")
        await run.pilot.press("enter")
        await run.shows("How answers are drawn", "top_k 7", "seed 5 (here)")


async def test_a_persona_is_a_system_prompt_with_a_name() -> None:
    folder = paths.config() / "personas"
    folder.mkdir(parents=True)
    (folder / "Old friend.md").write_text("You have known me for years.\n", encoding="utf-8")
    async with running(personas={"teacher": "Explain as to a child."}) as run:
        await run.type("/persona t")
        await run.shows("› teacher", "Explain as to a child.")
        await run.pilot.press("tab", "enter")
        await run.shows("Persona: teacher")
        await run.answer("Why?", "Because.")
        assert run.engine.chats[0].messages[0].content == "Explain as to a child."
        await run.type("/persona Old friend")
        await run.pilot.press("enter")
        await run.until(lambda: str(run.prompt.border_title) == "Old friend")
        await run.answer("And?", "So.")
        assert run.engine.chats[1].messages[0].content == "You have known me for years."
        kept = run.chat._store.conversations()[0]
        assert (kept.persona, kept.system) == ("Old friend", "You have known me for years.")
        await run.type("/system none")
        await run.pilot.press("enter")
        await run.shows("No system prompt any more")
        await run.answer("Well?", "Well.")
        assert run.engine.chats[2].messages[0].role == "user"


def test_personas_are_read_from_the_configuration_file() -> None:
    file = paths.config_file()
    file.parent.mkdir(parents=True)
    file.write_text('[personas]\nteacher = "Explain."\n', encoding="utf-8")
    assert load({}, {}).personas == {"teacher": "Explain."}
    file.write_text('personas = "teacher"\n', encoding="utf-8")
    with pytest.raises(Exception, match="Write it as a table"):
        load({}, {})


async def test_code_and_answers_are_copied_and_saved(tmp_path: Path) -> None:
    async with running() as run:
        await run.answer("Code?", "Here:\n\n```python\nprint(1)\n```\n\nand\n\n~~~\nlast\n~~~\n")
        await run.type("/copy code")
        await run.pilot.press("enter")
        await run.shows("Which code block?", "print(1)", "last")
        await run.pilot.press("enter")
        await run.until(lambda: run.app.clipboard == "last\n")
        await run.type("/copy all")
        await run.pilot.press("enter")
        await run.until(lambda: run.app.clipboard.startswith("user: Code?\n\nassistant: Here:"))
        file = tmp_path / "answer.md"
        for _ in range(2):
            await run.type(f"/save {file}")
            await run.pilot.press("enter")
            await run.until(lambda: run.prompt.text == "" or run.app._notifications)
        await run.until(lambda: any("is there already" in one.message for one in run.app._notifications))
        assert file.read_text(encoding="utf-8").startswith("Here:\n")


async def test_the_theme_changes_at_once() -> None:
    async with running() as run:
        await run.type("/theme smallchat-light")
        await run.pilot.press("enter")
        await run.until(lambda: run.app.theme == "smallchat-light")
