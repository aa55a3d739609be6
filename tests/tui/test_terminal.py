"""Whole sessions by keyboard alone, in a real terminal with the real decoder."""

from __future__ import annotations

import os
import sqlite3
import sys
from pathlib import Path

import psutil
import pytest

from smallchat import paths
from smallchat.chat.store import Store
from tests.support.models import script, scripted, vocabulary
from tests.support.terminal import needs_tmux, terminal
from tests.support.waiting import until

pytestmark = [needs_tmux, pytest.mark.skipif(os.name != "posix", reason="tmux is for Unix")]

CONTEXT = 30_000
"""Tokens: a minute's worth of the small model's, so that an answer never ends before Esc is pressed."""


@pytest.fixture
def endless(tmp_path: Path) -> Path:
    """A model that says the alphabet again and again."""
    words = vocabulary()
    letters = words.ids("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    chain = [*words.ids("\n"), *letters, words.texts[" the"], letters[0]]
    return scripted(script(320, chain), tmp_path / "endless.gguf", context=CONTEXT).path


@pytest.fixture
def command(endless: Path) -> list[str]:
    options = ["--model", str(endless), "--context", str(CONTEXT), "--threads", "1"]
    return [sys.executable, "-m", "smallchat", *options]


@pytest.fixture
def env(home: Path, tmp_path: Path) -> dict[str, str]:
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\nprintf ' and more' >> \"$1\"\n", encoding="utf-8")
    editor.chmod(0o755)
    return {"SMALLCHAT_HOME": str(home), "EDITOR": str(editor), "SMALLCHAT_TEMPERATURE": "0"}


def stored() -> list[tuple[str, str, str]]:
    raw = sqlite3.connect(paths.conversations())
    rows = raw.execute("SELECT role, substr(content, 1, 12), status FROM messages ORDER BY id").fetchall()
    raw.close()
    return rows


def test_an_editor_that_is_not_there_is_told(tmp_path: Path, command: list[str], env: dict[str, str]) -> None:
    with terminal(tmp_path, command, env | {"EDITOR": "no-such-editor"}) as window:
        window.shows("What shall we talk about?", "Enter sends")
        window.type("Hello there")
        window.press("C-g")
        window.shows("no-such-editor does not run", "Hello there")
        window.type(" again")
        window.shows("Hello there again")


def test_a_session_by_keyboard_alone(tmp_path: Path, command: list[str], env: dict[str, str]) -> None:
    with terminal(tmp_path, command, env) as window:
        window.shows("What shall we talk about?", "Enter sends")
        window.type("Hello there")
        window.press("Enter")
        window.shows("ABCDEFGH", "Esc stops")
        window.press("Escape")
        window.shows("stopped")
        window.press("C-r")
        window.shows("Esc stops")
        window.press("Escape")
        window.shows("‹ 2/2 ›", "stopped")
        window.type("/continue")
        window.press("Enter")
        window.shows("Esc stops")
        window.press("Escape")
        window.shows("‹ 2/2 ›", "stopped")

        window.press("C-y")
        window.shows("Copied", "(tmux)")
        assert window.clipboard.startswith("ABCDEFGH")

        window.type("a draft")
        window.press("C-g")
        window.shows("a draft and more")
        window.press("C-u")
        window.shows("Write a message")
        window.press("Up")
        window.shows("│ /continue")
        window.press("Up")
        window.shows("│ Hello there")
        window.press("Down")
        window.shows("│ /continue")
        window.press("Down")
        window.shows("Write a message")

        window.type("/set te")
        window.shows("› temperature")
        window.press("Tab")
        window.type("0.3")
        window.press("Enter")
        window.shows("temperature 0.3 ─")

        window.press("F1")
        window.shows("Esc closes")
        window.press("Escape")
        window.shows_no_more("Esc closes")

        window.presses_until("‹ 1/2 ›", "M-Left", "C-End")  # a first one may come before the help is gone
        talk = tmp_path / "talk.md"
        window.type(f"/export {talk}")
        window.press("Enter")
        window.shows("Saved as")
        window.press("C-n")
        window.shows("What shall we talk about?")
        window.press("C-f")
        window.shows("Search everything")
        window.type("hello")
        window.shows("you: Hello there")
        window.press("Enter")
        window.shows_no_more("What shall we talk about?")
        window.shows("█ Hello there")
        window.press("C-q")
        window.shows("ended with 0")
    assert stored() == [
        ("user", "Hello there", "complete"),
        ("assistant", "ABCDEFGHIJKL", "stopped"),
        ("assistant", "ABCDEFGHIJKL", "stopped"),
    ]
    said = talk.read_text(encoding="utf-8")
    assert "Hello there" in said and "ABCDEFGHIJKL" in said


def test_without_a_full_screen_it_is_asked_before_anything_is_left_out(
    tmp_path: Path, endless: Path, env: dict[str, str]
) -> None:
    command = [sys.executable, "-m", "smallchat", "--model", str(endless), "--context", "96", "--inline"]
    with terminal(tmp_path, [*command, "--threads", "1"], env) as window:
        window.ends_with("Ctrl+D ends\n›")
        window.type("Begin")
        window.press("Enter")
        window.ends_with("cut: the context is full\n›")  # the answer never ends by itself
        for word, key in (("First", "n"), ("Second", "Escape"), ("Third", "C-c")):
            window.type(word)
            window.press("Enter")
            window.ends_with("Y leaves out, N gives up")
            window.press("x", "Up", "M-y", key)  # neither yes nor no, then the key, all in one reading
            window.ends_with("and nothing was left out\n›")
        window.type("Last")
        window.press("Enter")
        window.ends_with("Y leaves out, N gives up")
        window.press("y", "Enter")
        window.ends_with("cut: the context is full\n›")
        window.press("C-d")
        window.shows("ended with 0")
    told = stored()
    assert [row[1] for row in told if row[0] == "user"] == ["Begin", "First", "Second", "Third", "Last"]
    assert [row[2] for row in told if row[0] == "assistant"] == [
        "complete",
        "stopped",
        "stopped",
        "stopped",
        "complete",
    ]
    store = Store(paths.conversations())
    (conversation,) = store.conversations()
    assert store.turns(conversation.id)[-1].trimmed == 3  # Begin, its answer, First
    store.close()


def test_a_session_without_a_full_screen(tmp_path: Path, command: list[str], env: dict[str, str]) -> None:
    with terminal(tmp_path, [*command, "--inline"], env) as window:
        window.ends_with("Ctrl+D ends\n›")
        window.type("Hello there")
        window.press("Enter")
        window.shows("ABCDEFGH")
        window.press("Escape")
        window.ends_with("stopped\n›")
        window.type("/again")
        window.press("Enter")
        window.shows("› /again\nABCDEFGH")
        window.press("C-c")
        window.ends_with("stopped\n›")
        window.type("/continue")
        window.press("Enter")
        window.shows("› /continue\n")
        window.press("Escape")
        window.ends_with("stopped\n›")
        window.type("/no")
        window.press("Enter")
        window.shows("There is no command /no here")
        window.press("C-d")
        window.shows("ended with 0")
    assert [row[2] for row in stored()] == ["complete", "stopped", "stopped"]


def test_who_ends_it_from_outside_gets_the_terminal_back(
    tmp_path: Path, command: list[str], env: dict[str, str]
) -> None:
    with terminal(tmp_path, command, env) as window:
        window.shows("What shall we talk about?", "Enter sends")
        window.type("a draft")
        window.shows("│ a draft")
        window.process.terminate()
        window.shows("ended with 0")
        assert window.screen.split() == ["ended", "with", "0"]
    store = Store(paths.conversations())
    assert store.draft(None) == "a draft"
    store.close()


def test_without_a_full_screen_too(tmp_path: Path, command: list[str], env: dict[str, str]) -> None:
    with terminal(tmp_path, [*command, "--inline"], env) as window:
        window.ends_with("Ctrl+D ends\n›")
        window.type("Hello there")
        window.press("Enter")
        window.shows("ABCDEFGH")
        assert not window.echoes
        window.process.terminate()
        window.shows("ended with 0")
        assert window.echoes
    assert [row[2] for row in stored()] == ["complete", "stopped"]


def ended(process: psutil.Process) -> bool:
    try:
        # Its first thread may end before the others, and its pipes are closed by the last.
        return process.status() == psutil.STATUS_ZOMBIE and process.num_threads() == 1
    except psutil.NoSuchProcess:
        return True


def test_a_decoder_that_died_while_nobody_asked_is_loaded_again(
    tmp_path: Path, command: list[str], env: dict[str, str]
) -> None:
    with terminal(tmp_path, [*command, "--inline"], env) as window:
        window.ends_with("Ctrl+D ends\n›")
        (decoder,) = window.process.children()
        decoder.kill()
        until(lambda: ended(decoder))
        window.type("Hello there")
        window.press("Enter")
        window.shows("ABCDEFGH")
        window.press("Escape")
        window.ends_with("stopped\n›")
    assert [row[2] for row in stored()] == ["complete", "stopped"]
