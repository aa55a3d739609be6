"""Notes in the chat: asked, searched, written, pinned; on a real folder and its real index."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
from textual import events

from smallchat.notes.transcripts import FOLDER
from smallchat.tui import commands
from smallchat.tui.keys import KeyNames
from smallchat.tui.screens.change import ChangeScreen
from smallchat.tui.screens.notes import NotesScreen
from tests.support.scripted_engine import READY, ScriptedEngine
from tests.tui.running import Running, running


@pytest.fixture
def vault(tmp_path: Path) -> Path:
    folder = tmp_path / "vault"
    folder.mkdir()
    (folder / "Garden.md").write_text(
        "---\ntags: [garden]\n---\n# Garden plan\n\n## Trees\n\nPrune the apple tree in February.\n\n"
        "## Beds\n\nBeans go into the blue bed.\n"
    )
    (folder / "Fruit.md").write_bytes(
        b"# Fruit\r\n\r\nThe garden plan has an apple tree; its apples keep until May.\r\n"
    )
    (folder / "花园.md").write_text("# 花园\n\n预算是三百元。\n")
    return folder


async def opened(run: Running) -> None:
    """Wait until the folder is open and read."""
    await run.until(lambda: run.chat.notebook and run.chat.notebook.watch and run.chat.notebook.watch.report)
    await run.settle()


async def enter(run: Running, text: str) -> None:
    await run.type(text)
    await run.pilot.press("enter")


async def test_a_question_is_asked_about_passages_and_shows_its_sources(vault: Path) -> None:
    async with running(notes=str(vault)) as run:
        await opened(run)
        await run.ask("/notes When do I prune the apple tree?")
        (message,) = run.engine.chats[0].messages
        assert message.content.endswith("\n\nWhen do I prune the apple tree?")
        assert "[[Garden plan]], lines 6–8:\n## Trees\n\nPrune the apple tree in February." in message.content
        run.engine.answer("In February [[Garden plan]].")
        await run.shows("In February", "Sources", "• [[Garden plan]] › Trees, lines 6–8")
        assert run.turns[0].content == "When do I prune the apple tree?"
        assert run.prompt.text == ""
    async with running(notes=str(vault)) as run:
        await run.pilot.press("ctrl+o", "enter")
        await run.shows("In February", "• [[Garden plan]] › Trees, lines 6–8")
        await run.ask("And the pear?")
        assert "Prune the apple tree in February." in run.engine.chats[0].messages[0].content


async def test_notes_and_attachments_go_into_one_prompt(vault: Path) -> None:
    pasted = "\n".join(f"neighbour's rule {number}" for number in range(40))
    async with running(notes=str(vault)) as run:
        await opened(run)
        run.prompt.post_message(events.Paste(pasted))
        await run.shows("▤ pasted text 1")
        await run.ask("/notes When do I prune the apple tree?")
        (message,) = run.engine.chats[0].messages
        assert message.content.startswith(f"{pasted}\n\nBelow are passages of my notes. Answer")
        assert "from them and from what stands above alone" in message.content
        assert "Prune the apple tree in February." in message.content
        assert message.content.endswith("\n\nWhen do I prune the apple tree?")
        run.engine.answer("In February [[Garden plan]].")
        await run.shows("• [[Garden plan]] › Trees", "▤ pasted text 1")
        asked = run.turns[0]
        assert asked.given[asked.attached[0].start : asked.attached[0].end] == pasted
        assert run.chat.attached == []
        run.prompt.post_message(events.Paste(pasted))
        await run.shows("▤ pasted text 1, 40 lines  ")
        await enter(run, "/notes")
        await run.shows("asks your notes")
        assert len(run.chat.attached) == 1
        await run.ask("Who painted the Mona Lisa?")
        assert run.engine.chats[1].messages[-1].content == f"{pasted}\n\nWho painted the Mona Lisa?"
        await run.shows("Nothing in your notes fits: the answer is from what was sent along")


async def test_notes_and_attachments_that_do_not_fit_are_refused_and_kept(vault: Path) -> None:
    pasted = "x" * 3000
    async with running(notes=str(vault)) as run:
        await opened(run)
        run.prompt.post_message(events.Paste(pasted))
        await run.shows("▤ pasted text 1")
        await enter(run, "/notes When do I prune the apple tree?")
        told = "the context holds 4,096. F7 takes out"
        await run.until(lambda: any(told in note.message for note in run.app._notifications))
        assert run.prompt.text == "/notes When do I prune the apple tree?"
        assert [one.text for one in run.chat.attached] == [pasted]
        assert run.engine.chats == [] and run.turns == []


async def test_when_nothing_fits_no_model_is_asked(vault: Path) -> None:
    async with running(notes=str(vault)) as run:
        await opened(run)
        await enter(run, "/notes Who painted the Mona Lisa?")
        await run.shows("Who painted the Mona Lisa?", "Nothing in your notes fits this question.")
        assert run.engine.chats == []
        assert not run.chat.dialogue.busy
        assert run.stored()[-1][1:] == ("Nothing in your notes fits this question.", "complete")


async def test_passages_stay_within_their_share_of_the_context(vault: Path) -> None:
    for number in range(8):
        (vault / f"Long {number}.md").write_text(
            f"# Long {number}\n\nThe zebra {number} " + "likes grass. " * 70
        )
    async with running(notes=str(vault)) as run:
        await opened(run)
        await run.ask("/notes what does the zebra like?")
        (message,) = run.engine.chats[0].messages
        assert 1 <= message.content.count("The zebra") < 6
        assert len(message.content) <= 4096 // 2  # the scripted engine counts characters


async def test_every_message_may_ask_the_notes(vault: Path) -> None:
    async with running(notes=str(vault)) as run:
        await opened(run)
        await enter(run, "/notes")
        await run.until(lambda: "asks your notes" in run.hint)
        await run.ask("When do I prune the apple tree?")
        assert "Garden plan" in run.engine.chats[0].messages[0].content
        run.engine.answer("In February.")
        await run.until(lambda: not run.chat.dialogue.busy)
        await enter(run, "/notes")
        await run.until(lambda: "asks your notes" not in run.hint)
        await run.ask("Hello?")
        assert run.engine.chats[1].messages[-1].content == "Hello?"


async def test_a_question_that_was_sent_is_no_draft_any_more(vault: Path) -> None:
    async with running(notes=str(vault)) as run:
        await opened(run)
        await run.type("/notes When do I prune the apple tree?")
        store = run.chat.dialogue.session.store
        await run.until(lambda: store.draft(None))
        await run.pilot.press("enter")
        await run.until(lambda: run.engine.chats)
        run.engine.answer("In February.")
        await run.until(lambda: not run.chat.dialogue.busy)
        await run.pilot.press("ctrl+n")
        assert run.prompt.text == "" and store.draft(None) == ""


async def test_chinese_notes(vault: Path) -> None:
    async with running(notes=str(vault)) as run:
        await opened(run)
        await run.ask("/notes 花园的预算是多少?")
        assert "预算是三百元。" in run.engine.chats[0].messages[0].content


async def test_answers_become_notes(vault: Path) -> None:
    async with running(notes=str(vault), note_front="") as run:
        await opened(run)
        await enter(run, "/note")
        await run.shows("There is no answer to save yet")
        assert run.prompt.text == "/note"  # what was typed is not lost
        run.prompt.text = ""
        await run.answer("/notes When do I prune the apple tree?", "In **February**.")
        await enter(run, "/note Pruning: when?")
        await run.shows("Saved as Pruning when.md")
        assert (vault / "Pruning when.md").read_text() == (
            "# Pruning: when?\n\nIn **February**.\n\nSources: [[Garden plan]]\n"
        )
        await enter(run, "/daily A line of my own.")
        today = time.strftime("%Y-%m-%d")
        await run.shows(f"Saved as {today}.md")
        assert (vault / f"{today}.md").read_text() == f"# {today}\n\nA line of my own.\n"


async def test_the_selection_is_saved_rather_than_the_answer(
    vault: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(notes=str(vault), note_front="") as run:
        await opened(run)
        await run.answer("Hello?", "A long answer.")
        monkeypatch.setattr(run.chat, "get_selected_text", lambda: "long")
        await enter(run, "/note Word")
        await run.shows("Saved as Word.md")
        assert (vault / "Word.md").read_text() == "# Word\n\nlong\n"


async def test_a_note_is_changed_only_on_yes_and_keeps_its_line_ends(vault: Path) -> None:
    before = (vault / "Fruit.md").read_bytes()
    async with running(notes=str(vault)) as run:
        await opened(run)
        await run.answer("Hello?", "Two\nlines.")
        await enter(run, "/append fruit")
        await run.until(lambda: isinstance(run.app.screen, ChangeScreen))
        await run.shows("Fruit.md", "+Two", "+lines.", "Write it")
        await run.pilot.press("n")
        await run.until(lambda: not isinstance(run.app.screen, ChangeScreen))
        assert (vault / "Fruit.md").read_bytes() == before
        await enter(run, "/append fruit")
        await run.until(lambda: isinstance(run.app.screen, ChangeScreen))
        await run.pilot.press("y")
        await run.shows("Written: Fruit.md")
        assert (vault / "Fruit.md").read_bytes() == before + b"\r\nTwo\r\nlines.\r\n"


@pytest.mark.parametrize("size", [(80, 24), (40, 10)])
async def test_a_long_change_can_be_read_to_its_end_beside_the_ways(
    vault: Path, size: tuple[int, int]
) -> None:
    async with running(notes=str(vault), size=size) as run:
        await opened(run)
        await run.answer("Hello?", "\n".join(f"Line {number}." for number in range(30)))
        await enter(run, "/append fruit")
        await run.until(lambda: isinstance(run.app.screen, ChangeScreen))
        await run.shows("Write it", "Leave it", "@@")
        assert "+Line 29." not in run.screen
        await run.pilot.press(*["pagedown"] * 10)
        await run.shows("+Line 29.", "Write it", "Leave it")
        await run.pilot.press("up", "up")
        await run.shows_no_more("+Line 29.")
        assert "Write it" in run.screen


async def test_the_whole_path_of_what_would_change_can_be_read(vault: Path) -> None:
    deep = vault / "Projects of this year" / "The garden and its fruit trees.md"
    deep.parent.mkdir()
    deep.write_text("# Pears\n")
    async with running(notes=str(vault), size=(40, 12)) as run:
        await opened(run)
        await run.answer("Hello?", "Two lines.")
        await enter(run, "/append pears")
        await run.shows("Write it")
        shown = " ".join(run.screen.replace("│", "").split())
        assert "Projects of this year/The garden and its fruit trees.md" in shown


async def test_a_note_that_changed_while_it_was_looked_at_is_left_alone(vault: Path) -> None:
    async with running(notes=str(vault)) as run:
        await opened(run)
        await run.answer("Hello?", "Text.")
        await enter(run, "/append fruit")
        await run.until(lambda: isinstance(run.app.screen, ChangeScreen))
        (vault / "Fruit.md").write_text("mine\n")
        await run.pilot.press("y")
        await run.shows("changed meanwhile")
        assert (vault / "Fruit.md").read_text() == "mine\n"


async def test_tags_links_and_summary_are_suggestions(vault: Path) -> None:
    async with running(notes=str(vault)) as run:
        await opened(run)
        await enter(run, "/tags fruit")
        await run.shows("+  - garden")
        await run.pilot.press("y")
        await run.until(lambda: b"  - garden" in (vault / "Fruit.md").read_bytes())
        await run.until(lambda: run.app.screen is run.chat)
        await enter(run, "/links fruit")
        await run.shows("+The [[Garden plan|garden plan]] has an apple tree")
        await run.pilot.press("escape")
        await run.until(lambda: run.app.screen is run.chat)
        await run.ask("/summarise garden")
        assert "Beans go into the blue bed." in run.engine.chats[0].messages[0].content
        run.engine.answer("About a garden.")
        await run.shows("+> Summary: About a garden.")
        await run.pilot.press("y")
        await run.until(
            lambda: "# Garden plan\n\n> Summary: About a garden.\n" in (vault / "Garden.md").read_text()
        )


async def test_a_stopped_summary_is_not_offered(vault: Path) -> None:
    async with running(notes=str(vault)) as run:
        await opened(run)
        await run.ask("/summarise garden")
        run.engine.say("About")
        await run.shows("About")
        await run.pilot.press("escape")
        await run.shows("stopped")
        await run.settle()
        assert run.app.screen is run.chat


async def test_search_as_one_types_with_a_preview(vault: Path) -> None:
    async with running(notes=str(vault)) as run:
        await opened(run)
        await run.pilot.press("f2", *"aple tr")
        await run.shows("Garden plan › Trees", "Fruit", "Prune the apple tree in February.", "  6 ## Trees")
        await run.pilot.press("down")
        await run.shows("  1 # Fruit")
        await run.pilot.resize_terminal(40, 10)
        await run.shows(
            "aple tr", "Fruit  1–3", "its apples keep until May.", "  1 # Fruit", "  3 The garden"
        )
        await run.pilot.press("ctrl+u", *"zebra")
        await run.shows("Nothing fits")
        await run.pilot.press("escape")
        assert run.app.screen is run.chat


async def test_a_cited_place_opens_in_the_editor(vault: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened_with: list[tuple[Path, int]] = []
    monkeypatch.setattr(
        "smallchat.tui.screens.note_commands.open_at",
        lambda app, file, line: opened_with.append((file, line)),
    )
    async with running(notes=str(vault)) as run:
        await opened(run)
        await run.pilot.press("f4")
        await run.shows("No answer of this conversation has sources")
        await run.answer("/notes When do I prune the apple tree?", "In February.")
        await run.pilot.press("f4")
        await run.until(lambda: isinstance(run.app.screen, NotesScreen))
        await run.shows("Sources", "[[Garden plan]] › Trees  6–8", "Prune the apple tree in February.")
        await run.pilot.press("enter")
        await run.until(lambda: opened_with)
        assert opened_with == [(vault.resolve() / "Garden.md", 6)]


def test_editors_are_told_the_line_in_their_own_way(monkeypatch: pytest.MonkeyPatch) -> None:
    from smallchat.tui.editor import command_at

    for chosen, arguments in (
        ("vim", ["vim", "+7", "x.md"]),
        ("/usr/bin/nano -w", ["/usr/bin/nano", "-w", "+7", "x.md"]),
        ("code --wait", ["code", "--wait", "--goto", "x.md:7"]),
        ("hx", ["hx", "x.md:7"]),
        ("other", ["other", "x.md"]),
    ):
        monkeypatch.setenv("VISUAL", chosen)
        assert command_at(Path("x.md"), 7) == arguments
    monkeypatch.setenv("VISUAL", "   ")
    monkeypatch.setenv("EDITOR", "mg")
    assert command_at(Path("x.md"), 7) == ["mg", "+7", "x.md"]


async def test_pinned_notes_are_read_before_anyone_asks_and_begin_every_prompt(vault: Path) -> None:
    async with running(notes=str(vault)) as run:
        await opened(run)
        await enter(run, "/pin Garden plan")
        await run.until(lambda: run.engine.chats)
        assert [message.role for message in run.engine.chats[0].messages] == ["system", "user"]
        await run.until(lambda: "1 note pinned" in run.hint)
        assert not run.chat.dialogue.busy
        run.engine.finish("length")
        await run.ask("Which bed?")
        system, question = run.engine.chats[1].messages
        assert system == run.engine.chats[0].messages[0]
        assert "Beans go into the blue bed." in system.content
        assert question.content == "Which bed?"
        run.engine.answer("Blue.")
        await run.until(lambda: not run.chat.dialogue.busy)
        (vault / "Garden.md").write_text("# Garden plan\n\nAll lawn now.\n")
        await run.until(lambda: len(run.engine.chats) == 3)
        assert "All lawn now." in run.engine.chats[2].messages[0].content
        await run.ask("And now?")  # the reading ahead is given up for a question
        assert run.engine.cancelled == [run.engine.chats[2].number]
        run.engine.answer("Lawn.")
        await run.until(lambda: not run.chat.dialogue.busy)
        await enter(run, "/unpin")
        await run.until(lambda: "pinned" not in run.hint)
        await run.ask("Which bed?")
        assert run.engine.chats[-1].messages[0].role == "user"


@pytest.mark.parametrize(
    ("context", "cure"),
    [(8192, "start smallchat with a larger --context"), (4096, "Pin less: this model takes no more")],
)
async def test_what_is_too_long_is_not_pinned(context: int, cure: str, vault: Path) -> None:
    (vault / "Long.md").write_text("word " * 2000)
    engine = ScriptedEngine(replace(READY, model_context=context))
    async with running(engine, notes=str(vault)) as run:
        await opened(run)
        await enter(run, "/pin long")
        await run.shows("Not pinned", "10,008 tokens")
        assert cure in next(iter(run.app._notifications)).message
        assert run.chat.dialogue.pinned == ""
        assert run.engine.chats == []


async def test_pins_may_stand_in_the_configuration(vault: Path) -> None:
    (vault / "sub").mkdir()
    (vault / "sub" / "One.md").write_text("First thing.")
    (vault / "sub" / "Two.md").write_text("Second thing.")
    async with running(notes=str(vault), notes_pinned="sub, fruit") as run:
        await opened(run)
        await run.until(lambda: run.chat.dialogue.pinned)
        text = run.chat.dialogue.pinned
        assert text.index("First thing.") < text.index("Second thing.") < text.index("The garden plan has")


async def test_conversations_become_notes_where_that_is_wished(vault: Path) -> None:
    async with running(notes=str(vault), save_conversations=True) as run:
        await opened(run)
        await run.answer("First question?", "First answer.")
        await run.until(lambda: list((vault / FOLDER).glob("*.md")))
        (file,) = (vault / FOLDER).glob("*.md")
        assert "First question" in file.name
        file.write_text(file.read_text().replace("First answer.", "First answer, as I mended it."))
        await run.answer("Second question?", "Second answer about the apple tree.")
        await run.until(lambda: "Second answer" in file.read_text())
        text = file.read_text()
        assert text.count("> First question?") == text.count("> Second question?") == 1
        assert "as I mended it" in text
        await run.until(lambda: run.chat.notebook.watch.report.notes == 4)
        await run.ask("/notes When do I prune the apple tree?")
        assert "Second answer" not in run.engine.chats[-1].messages[-1].content


async def test_conversations_stay_out_of_the_folder_otherwise(vault: Path) -> None:
    async with running(notes=str(vault)) as run:
        await opened(run)
        await run.answer("First question?", "First answer.")
        await run.settle()
    assert not (vault / FOLDER).exists()


async def test_a_folder_that_vanishes_is_told_and_the_chat_goes_on(vault: Path, tmp_path: Path) -> None:
    async with running(notes=str(vault)) as run:
        await opened(run)
        vault.rename(tmp_path / "away")
        run.chat.notebook.watch.look()
        await run.shows("cannot be read any more")
        await run.answer("Hello?", "Still here.")
        await enter(run, "/note")
        await run.shows("the note folder is gone")
        assert not vault.exists()
        (tmp_path / "away").rename(vault)
        await run.until(lambda: run.chat.notebook.watch.problem is None)


async def test_without_a_folder_it_is_said_how_to_set_one() -> None:
    async with running() as run:
        await enter(run, "/notes What?")
        await run.shows("No note folder is set", "--notes DIR")
        assert run.prompt.text == "/notes What?"


async def test_unknown_commands_are_told_and_paths_are_messages() -> None:
    async with running() as run:
        await enter(run, "/nix and more")
        await run.shows("There is no command /nix")
        assert run.prompt.text == "/nix and more"
        run.prompt.text = ""
        await run.ask("/usr/bin is a folder?")
        assert run.engine.chats[0].messages[0].content == "/usr/bin is a folder?"


async def test_a_command_waits_for_the_answer_only_where_it_asks(vault: Path) -> None:
    async with running(notes=str(vault)) as run:
        await opened(run)
        await run.ask("Long?")
        run.engine.say("It began")
        await run.shows("It began")
        await enter(run, "/note Begun")
        await run.shows("Saved as Begun.md")
        await enter(run, "/notes When do I prune the apple tree?")
        await run.until(lambda: "Waiting" in run.hint or "sends when" in run.hint or run.chat._queued)
        run.engine.answer(" and ended.")
        await run.until(lambda: len(run.engine.chats) == 2)


def test_every_command_has_its_method_and_a_hint() -> None:
    from smallchat.tui.screens.chat import ChatScreen

    keys = KeyNames({})
    for command in commands.COMMANDS:
        assert callable(getattr(ChatScreen, f"command_{command.name}"))
        assert commands.hint(f"/{command.name} ", keys).startswith(command.usage)
    assert commands.hint("/no", keys) == "/notes /note"
    assert commands.hint("hello /no", keys) == ""
    assert commands.called(" /notes x") is None


async def test_the_folder_is_hostile_to_the_screen(vault: Path) -> None:
    (vault / "esc\x1b[31m\u202e.md").write_text(
        "# Evil \x1b]0;owned\x07 title\n\nThe zebra \x1b[31m [bold]red[/bold].\n"
    )
    engine = ScriptedEngine()
    async with running(engine, notes=str(vault)) as run:
        await opened(run)
        await run.pilot.press("f2", *"zebra")
        await run.shows("[bold]red[/bold]")
        assert "\x1b" not in run.screen
        await run.pilot.press("escape")
        await run.answer("/notes where is the zebra?", "There.")
        await run.shows("Sources")
        assert "\x1b" not in run.screen
        await enter(run, "/append Evil \x1b]0;owned\x07 title")
        await run.settle()
        assert "\x1b" not in run.screen
