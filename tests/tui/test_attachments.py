"""Files named with `@` and long pastes: what goes along with a message."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from pathlib import Path

import pytest
from textual import events

from smallchat import paths
from smallchat.tui import attachments, filenames
from smallchat.tui.attachments import AttachmentError
from tests.tui.running import Running, running

LONG = "\n".join(f"line {number}" for number in range(40))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where smallchat is started: files of every kind."""
    here = tmp_path / "here"
    (here / "src").mkdir(parents=True)
    (here / "garden plan.txt").write_text("Prune in February.\n", encoding="utf-8")
    (here / "家.md").write_text("家族", encoding="utf-8")
    (here / "src" / "app.py").write_text("print(1)\n", encoding="utf-8")
    (here / ".hidden").write_text("secret", encoding="utf-8")
    (here / "photo.png").write_bytes(b"\x89PNG\0\0")
    (here / "data.raw").write_bytes(b"\0\1\2")
    monkeypatch.chdir(here)
    return here


def read(folder: Path, deep: bool) -> list[str]:
    return filenames.names_below(folder) if deep else filenames.names_in(folder)


def fitting(typed: str, here: Path) -> list[str]:
    return [one.text for one in filenames.fitting(typed, read, here)]


def test_names_are_completed(folder: Path) -> None:
    assert fitting("", folder) == ["@data.raw", '@"garden plan.txt"', "@src/", "@家.md", "@photo.png"]
    assert fitting("gar", folder) == ['@"garden plan.txt"']
    assert fitting("PLAN", folder) == ['@"garden plan.txt"']
    assert fitting("src/", folder) == ["@src/app.py"]
    assert fitting("app", folder) == ["@src/app.py"]
    assert fitting(".h", folder) == ["@.hidden"]
    assert fitting("nothing/", folder) == fitting("~nobody-here/", folder) == fitting("zz", folder) == []
    assert filenames.fitting("photo", read, folder)[0].meaning == "no text"


def test_ten_thousand_files_are_no_delay(tmp_path: Path) -> None:
    for number in range(10_000):
        (tmp_path / f"file-{number:05}.txt").touch()
    names = filenames.names_in(tmp_path)
    began = time.perf_counter()
    found = filenames.fitting("file-09", lambda _folder, deep: [] if deep else names, tmp_path)
    assert time.perf_counter() - began < 0.05
    assert found[0].text == "@file-09000.txt"


def test_mentions_are_told_from_other_words(folder: Path) -> None:
    text = 'see @src/app.py, "@x" me@home.example @"garden plan.txt" (@no) @src/app.py,'
    assert attachments.mentioned(text) == ["src/app.py,", "garden plan.txt"]
    assert attachments.file_of("src/app.py,", folder) == ("src/app.py", folder / "src" / "app.py")
    for name in ("src", "someone", "", "a" * 5000, "nul\0l", "~nobody-here/x"):
        assert attachments.file_of(name, folder) is None


def test_what_cannot_be_sent_says_why(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AttachmentError, match="holds no text"):
        attachments.read_file("data.raw", folder / "data.raw")
    (folder / "latin.txt").write_bytes("žluťoučký".encode("iso-8859-2"))
    with pytest.raises(AttachmentError, match="is no text in UTF-8"):
        attachments.read_file("latin.txt", folder / "latin.txt")
    (folder / "wide.txt").write_bytes("家".encode("utf-16"))
    assert attachments.read_file("wide.txt", folder / "wide.txt").text == "家"
    monkeypatch.setattr(attachments, "MOST_BYTES", 10)
    with pytest.raises(AttachmentError, match=r"garden plan.txt has .*, at most"):
        attachments.read_file("garden plan.txt", folder / "garden plan.txt")
    with pytest.raises(AttachmentError, match="cannot be read: No such file"):
        attachments.read_file("gone", folder / "gone")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_says_so(folder: Path) -> None:
    (folder / "closed.txt").touch(mode=0)
    with pytest.raises(AttachmentError, match="Permission denied"):
        attachments.read_file("closed.txt", folder / "closed.txt")


async def test_the_place_of_a_new_file_is_completed_as_a_path(folder: Path) -> None:
    async with running() as run:
        await run.pilot.press(*"/save gard")
        await run.shows("› garden plan.txt")
        run.prompt.text = ""
        await run.pilot.press(*"/save s")
        await run.shows("› src/")
        await run.pilot.press("tab")
        assert run.prompt.text == "/save src/"
        await run.shows("› src/app.py")


async def told(run: Running, text: str) -> None:
    await run.until(lambda: any(text in note.message for note in run.app._notifications))


async def test_a_file_is_named_counted_and_sent(folder: Path) -> None:
    async with running() as run:
        await run.pilot.press(*"see @gar")
        await run.shows('› @"garden plan.txt"')
        await run.pilot.press("tab")
        assert run.prompt.text == 'see @"garden plan.txt" '
        await run.shows("▤ garden plan.txt", "tokens", "F7 shows")
        await run.ask("please")
        assert run.engine.chats[0].messages[0].content == (
            'File garden plan.txt:\n\nPrune in February.\n\nsee @"garden plan.txt" please'
        )
        run.engine.answer("ok")
        await run.shows("▤ garden plan.txt · ", "ok")
        assert run.chat.attached == []
    async with running() as run:
        run.chat.open(run.chat._store.conversations()[0])
        await run.shows("▤ garden plan.txt · ")
        sent = run.turns[0].attached[0]
        assert run.turns[0].given[sent.start : sent.end] == "File garden plan.txt:\n\nPrune in February."


async def test_a_file_that_vanishes_or_holds_no_text_is_told_before_anything_is_sent(folder: Path) -> None:
    async with running() as run:
        await run.type("@src/app.py and")
        await run.shows("▤ src/app.py")
        (folder / "src" / "app.py").unlink()
        await run.pilot.press("enter")
        await told(run, "src/app.py is no longer there")
        run.prompt.text = "@data.raw"
        await run.shows("▤ data.raw  holds no text")
        await run.pilot.press("enter")
        await told(run, "data.raw holds no text")
        assert run.engine.chats == []
        run.prompt.text = "@someone hello"
        await run.pilot.press("enter")
        await run.until(lambda: run.engine.chats)


async def test_a_folder_that_is_deleted_meanwhile_has_no_files(folder: Path) -> None:
    async with running() as run:
        shutil.rmtree(folder)
        await run.pilot.press(*"@gar")
        await run.until(lambda: run.chat._lookups and not run.chat._lookups._running)
        assert not run.prompt.completions.shown
        await run.pilot.press("enter")
        await run.until(lambda: run.engine.chats)


@pytest.mark.parametrize(("lines", "long"), [(20, False), (21, True)])
def test_a_pastes_lines_are_counted_as_they_are_sent(lines: int, long: bool) -> None:
    text = "".join(f"line {number}\n" for number in range(lines))
    assert attachments.is_long(text) is long
    assert attachments.Attachment("paste", "1", text).label == f"pasted text 1, {lines} lines"


async def test_attachments_alone_are_a_message() -> None:
    async with running() as run:
        await run.pilot.press("enter")
        run.prompt.post_message(events.Paste(LONG))
        await run.shows("▤ pasted text 1, 40 lines")
        await run.pilot.press("enter")
        await run.until(lambda: run.engine.chats)
        assert [message.content for message in run.engine.chats[0].messages] == [LONG]
        run.engine.answer("Forty lines.")
        await run.shows("▤ pasted text 1, 40 lines", "Forty lines.")
        await run.until(lambda: not run.chat.dialogue.busy)
        assert (run.chat.attached, run.chat._store.pastes(run.chat.dialogue.session.id)) == ([], [])
        await run.ask("And?")
        assert [message.content for message in run.engine.chats[1].messages] == [LONG, "Forty lines.", "And?"]
        run.engine.answer("Yes.")
        await run.until(lambda: not run.chat.dialogue.busy)
        await run.pilot.press("up", "up")
        assert run.prompt.text == "And?"  # nothing empty among what was written before
    async with running() as run:
        await run.shows("Line 0")
        run.chat.open(run.chat._store.conversations()[0])
        await run.shows("▤ pasted text 1, 40 lines", "Forty lines.")


async def test_what_waits_to_be_sent_is_not_sent_empty() -> None:
    async with running() as run:
        await run.ask("Long?")
        run.prompt.post_message(events.Paste(LONG))
        await run.shows("▤ pasted text 1, 40 lines")
        await run.pilot.press("enter")
        await run.until(lambda: "Waiting" in run.hint)
        run.chat._take_out(run.chat.attached[0], insert=False)
        run.engine.answer("Done.")
        await run.until(lambda: not run.chat.dialogue.busy and not run.chat._queued)
        await run.settle()
        assert len(run.turns) == 2


async def test_a_long_paste_is_a_line_that_can_be_read_and_taken_out() -> None:
    async with running() as run:
        run.prompt.post_message(events.Paste(LONG))
        await run.shows("▤ pasted text 1, 40 lines")
        assert run.prompt.text == ""
        run.prompt.post_message(events.Paste("x" * 3000))
        await run.shows("▤ pasted text 2  3,000 tokens")
        await run.type("What is this?")
        await run.until(lambda: "3,3" in run.hint)
        await run.pilot.press("f7")
        await run.shows("Sent along with the message")
        await run.pilot.press("down", "enter")
        await run.shows("Take it out")
        await run.pilot.press("down", "down", "enter")
        await run.shows_no_more("pasted text 2")
        await run.pilot.press("f7", "enter", "enter")
        await run.shows("line 0", "Y copies")
        await run.pilot.press("escape", "enter")
        await run.until(lambda: run.engine.chats)
        assert run.engine.chats[0].messages[0].content == f"{LONG}\n\nWhat is this?"
        await run.shows("▤ pasted text 1, 40 lines · ", "What is this?")


async def test_a_paste_that_is_not_sent_survives_the_app(folder: Path) -> None:
    async with running() as run:
        run.prompt.post_message(events.Paste(LONG))
        await run.shows("▤ pasted text 1, 40 lines")
    async with running() as run:
        await run.shows("▤ pasted text 1, 40 lines")
        await run.ask("And?")
        await run.until(lambda: not run.chat.attached)
    raw = sqlite3.connect(paths.conversations())
    assert raw.execute("SELECT count(*) FROM pastes").fetchone() == (0,)
    raw.close()


async def test_what_is_too_long_for_the_context_is_told() -> None:
    async with running() as run:
        run.prompt.post_message(events.Paste("x" * 5000))
        await run.shows("5,000 tokens, the context holds 4,096")


async def test_hostile_names_are_not_offered_and_hostile_text_is_only_text(folder: Path) -> None:
    (folder / "evil\x1b[31m.txt").touch()
    (folder / "evil[b].txt").write_text("\x1b]0;owned\x07 [red]x[/red]", encoding="utf-8")
    async with running() as run:
        await run.pilot.press(*"@evil")
        await run.shows("› @evil[b].txt")
        assert not any("31m" in line for line in run.screen.split("\n"))
        await run.pilot.press("tab")
        await run.shows("▤ evil[b].txt")
        await run.ask("?")
        run.engine.answer("ok")
        await run.shows("ok", "▤ evil[b].txt · ")
        await run.pilot.press("ctrl+up", "k")
        await run.until(lambda: run.transcript.focused_turn is run.turns[0])
        await run.pilot.press("v")
        await run.shows("␛]0;owned␇ [red]x[/red]")
        assert "\x1b" not in run.screen
