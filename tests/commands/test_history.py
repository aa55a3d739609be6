"""`smallchat history` and `ask -c`, as a shell sees them."""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path

import pytest

from smallchat import paths
from smallchat.chat.session import Session
from smallchat.chat.store import Store
from smallchat.cli import main
from smallchat.engine.checkpoints.forget import MAGIC, OWNED
from smallchat.errors import ExitCode
from tests.commands.test_cli import smallchat, tiny
from tests.support.chat_server import serving


def run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str
) -> tuple[int, str]:
    """Exit code and standard output, without the time that a process takes."""
    monkeypatch.setattr("sys.argv", ["smallchat", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    code = ended.value.code
    return int(code or 0), capsys.readouterr().out


@pytest.fixture
def history(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """Two conversations, and `smallchat history`."""
    store = Store(paths.conversations())
    for question, answer in (("When do I prune?", "In February."), ("什么时候修剪苹果树?", "二月。")):
        session = Session(store)
        session.ask(question)
        session.reply(answer)
    store.close()
    return lambda *arguments: run(capsys, monkeypatch, "history", *arguments)


def test_the_list_tells_numbers_and_names(history) -> None:
    code, out = history("list")
    assert code == ExitCode.OK
    assert [line.split()[0] for line in out.splitlines()] == ["2", "1"]
    assert "When do I prune?  (2 messages)" in out
    listed = json.loads(history("list", "--json", "--limit", "1")[1])["conversations"]
    assert [(one["id"], one["title"], one["pinned"]) for one in listed] == [(2, "什么时候修剪苹果树?", False)]


def test_one_is_shown(history) -> None:
    assert (
        history("show", "1")[1]
        == "# When do I prune?\n\n## You\n\nWhen do I prune?\n\n## smallchat\n\nIn February.\n"
    )
    assert json.loads(history("show", "last", "--json")[1])["messages"][1]["content"] == "二月。"
    assert history("show", "7")[0] == ExitCode.USAGE


@pytest.mark.parametrize(
    "command",
    [("show", "last"), ("show", "last", "--json"), ("export", "last"), ("export", "last", "-f", "json")],
    ids=" ".join,
)
def test_a_terminal_obeys_nothing_that_was_said(
    history, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(paths.conversations())
    Session(store).ask("red \x1b[31m\x9b31m")
    store.close()
    assert ("\\u009b" if "json" in command[-1] else "\x9b") in history(*command)[1]
    ours, its = os.openpty()
    with os.fdopen(ours, encoding="utf-8") as reader, os.fdopen(its, "w", encoding="utf-8") as terminal:
        monkeypatch.setattr("sys.stdout", terminal)
        assert history(*command)[0] == ExitCode.OK
        terminal.write("the end\n")
        terminal.flush()
        told = "".join(iter(reader.readline, "the end\n"))
    assert "red" in told
    assert not {"\x1b", "\x9b"} & set(told)


def test_words_are_found(history) -> None:
    assert "In February." in history("search", "febru")[1]
    found = json.loads(history("search", "苹果", "--json")[1])["found"]
    assert [(one["conversation"], one["message"]) for one in found] == [(2, None), (2, 3)]
    assert history("search", "nowhere") == (ExitCode.OK, "")


def test_what_is_exported_is_taken_in_again(history, tmp_path: Path) -> None:
    file = tmp_path / "all.json"
    assert history("export", "--all", "--out", str(file))[0] == ExitCode.OK
    assert history("export", "--all", "--out", str(file))[0] == ExitCode.USAGE
    assert history("export")[0] == ExitCode.USAGE
    assert history("export", "1")[1].startswith("# When do I prune?")
    assert json.loads(history("export", "1", "-f", "json")[1])["version"] == 1
    assert json.loads(history("import", str(file), "--json")[1]) == {"conversations": [3, 4]}
    assert history("list")[1].count("When do I prune?") == 2
    file.write_text("no conversations")
    assert history("import", str(file))[0] == ExitCode.STORAGE
    file.write_bytes(b"\xff\xfe")
    assert history("import", str(file))[0] == ExitCode.STORAGE
    assert history("import", str(tmp_path / "nowhere"))[0] == ExitCode.USAGE


def test_deleting_asks_or_is_told_yes(history) -> None:
    done = smallchat("history", "delete", "1")
    assert (done.returncode, "--yes" in done.stderr) == (ExitCode.USAGE, True)
    paths.checkpoints().mkdir(parents=True)
    hers, others = (paths.checkpoints() / f"{'a' * 32}-{letter * 32}.kv" for letter in "12")
    for owner, block in ((1, hers), (2, others)):
        block.write_bytes(OWNED.pack(MAGIC, owner))
    assert json.loads(history("delete", "1", "--yes", "--json")[1]) == {"deleted": [1]}
    assert (hers.exists(), others.exists()) == (False, True)
    raw = sqlite3.connect(paths.conversations())
    assert raw.execute("SELECT count(*) FROM messages WHERE conversation = 1").fetchone() == (0,)
    raw.close()


def test_what_the_app_hides_can_still_come_back_there(history) -> None:
    app = Store(paths.conversations())
    app.delete(1)
    assert "When do I prune?" not in history("list")[1]
    app.restore(1)
    assert "When do I prune?" in history("list")[1]
    app.close()


def test_ask_continues_the_latest_conversation() -> None:
    first = smallchat("ask", "-c", "--model", tiny(), "--max-tokens", "3", "--seed", "5", "the thing")
    assert (first.returncode, first.stderr) == (ExitCode.OK, "")
    second = smallchat("ask", "-c", "--model", tiny(), "--max-tokens", "3", "--json", "and")
    alone = smallchat("ask", "--model", tiny(), "--max-tokens", "3", "--json", "and")
    assert json.loads(second.stdout)["prompt_tokens"] > json.loads(alone.stdout)["prompt_tokens"]
    store = Store(paths.conversations())
    (listed,) = store.conversations()
    turns = store.turns(listed.id)
    assert [turn.role for turn in turns] == ["user", "assistant"] * 2
    assert turns[1].content == first.stdout.removesuffix("\n")
    assert (turns[1].sampling["seed"], turns[1].status, turns[1].finish) == (5, "complete", "length")
    assert turns[3].content == json.loads(second.stdout)["answer"]
    store.close()


def test_ask_continues_on_a_server_too() -> None:
    with serving() as server:
        for question in ("First?", "Second?"):
            done = smallchat("--endpoint", server.url, "ask", "-c", question)
            assert done.returncode == ExitCode.OK
    store = Store(paths.conversations())
    turns = store.turns(store.conversations()[0].id)
    assert [turn.content for turn in turns[::2]] == ["First?", "Second?"]
    assert all(turn.status == "complete" and turn.content for turn in turns)
    store.close()


def test_a_number_that_no_list_has_is_told(history) -> None:
    assert history("list", "--limit", "9" * 20)[0] == ExitCode.USAGE
    assert history("list", "--limit", "1000000")[1].count("messages)") == 2


def test_who_is_named_twice_is_meant_once(history) -> None:
    exported = json.loads(history("export", "1", "last", "1", "2", "-f", "json")[1])
    assert [one["title"] for one in exported["conversations"]] == ["When do I prune?", "什么时候修剪苹果树?"]
    assert json.loads(history("delete", "1", "1", "--yes", "--json")[1]) == {"deleted": [1]}


def test_the_home_folder_is_meant_both_ways(history, home: Path) -> None:
    home.mkdir(exist_ok=True)
    assert history("export", "1", "--out", "~/one.json")[0] == ExitCode.OK
    assert (home / "one.json").exists()
    assert json.loads(history("import", "~/one.json", "--json")[1]) == {"conversations": [3]}


def test_what_is_piped_is_called_standard_input() -> None:
    done = smallchat("history", "import", "-", piped=b"\xff")
    assert (done.returncode, done.stdout) == (ExitCode.STORAGE, "")
    assert done.stderr == "smallchat: Standard input is no text. Give the file of an export\n"


def test_what_is_given_with_the_question_comes_before_what_the_conversation_has(history) -> None:
    store = Store(paths.conversations())
    session = Session.reopen(store, store.conversations()[0])
    session.configure("Be long.", "teacher", {"temperature": 1.5, "top_k": 7})
    with serving() as server:
        ask = ("--endpoint", server.url, "ask", "-c")
        assert (
            smallchat(*ask, "--system", "Be brief.", "--temperature", "0", "And?").returncode == ExitCode.OK
        )
        assert smallchat(*ask, "And then?").returncode == ExitCode.OK
        systems = [body["messages"][0] for body in server.requests]
    assert systems == [{"role": "system", "content": "Be brief."}] * 2
    again = store.conversations()[0]
    assert (again.system, again.persona, again.sampling) == (
        "Be brief.",
        "",
        {"temperature": 1.5, "top_k": 7},
    )
    first, second = (turn.sampling for turn in store.turns(again.id) if turn.sampling)
    assert (first["temperature"], first["top_k"], second["temperature"]) == (0, 7, 1.5)
    store.close()
