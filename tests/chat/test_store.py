"""The file of conversations: what is kept, and what happens when the file fails."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from smallchat.chat import schema
from smallchat.chat.failures import BusyError, set_aside
from smallchat.chat.records import Turn
from smallchat.chat.search import Search
from smallchat.chat.session import Session
from smallchat.chat.store import BUSY_SECONDS, MEMORY, Store
from smallchat.errors import StorageError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "conversations.sqlite3"


@pytest.fixture
def store(path: Path):
    store = Store(path)
    yield store
    store.close()


def say(session: Session, question: str, answer: str, seed: int = 7) -> Turn:
    """A question and its whole answer."""
    session.ask(question)
    return reply(session, answer, seed)


def reply(session: Session, answer: str, seed: int = 7) -> Turn:
    turn = session.begin_answer("SmallThinker 4B Q4_0", {"temperature": 0.6, "seed": None})
    turn.content, turn.status, turn.finish = answer, "complete", "stop"
    turn.sampling["seed"] = seed
    turn.tokens, turn.prompt_tokens, turn.speed = 5, 12, 24.5
    assert session.save()
    return turn


def texts(store: Store, conversation: int) -> list[str]:
    return [turn.content for turn in store.turns(conversation)]


def test_a_conversation_comes_back_as_it_was(store: Store, path: Path) -> None:
    session = Session(store, "Be brief.")
    say(session, "When do I prune the apple tree?", "In February.")
    store.close()

    again = Store(path)
    (listed,) = again.conversations()
    assert (listed.title, listed.system, listed.messages) == (
        "When do I prune the apple tree?",
        "Be brief.",
        2,
    )
    question, answer = again.turns(listed.id)
    assert (question.role, question.content, question.parent) == (
        "user",
        "When do I prune the apple tree?",
        None,
    )
    assert (answer.role, answer.content, answer.parent) == ("assistant", "In February.", question)
    assert answer.sampling == {"temperature": 0.6, "seed": 7}
    assert (answer.tokens, answer.prompt_tokens, answer.speed, answer.finish) == (5, 12, 24.5, "stop")
    assert (answer.model, answer.status) == ("SmallThinker 4B Q4_0", "complete")
    again.close()


def test_another_answer_stands_beside_the_first(store: Store) -> None:
    session = Session(store)
    first = say(session, "Hello?", "First.")
    second = reply(session, "Second.")
    say(session, "And?", "More.")

    assert session.id is not None
    assert texts(store, session.id) == ["Hello?", "Second.", "And?", "More."]
    rows = sqlite3.connect(store.path).execute("SELECT content, parent FROM messages").fetchall()
    assert ("First.", first.parent.id) in rows
    assert second.parent is first.parent
    (listed,) = store.conversations()
    assert (listed.messages, listed.branches) == (5, 2)


def test_the_newest_conversation_is_listed_first(store: Store) -> None:
    for index, text in enumerate(("one", "two", "three")):
        session = Session(store)
        session.ask(text).created = 1000.0 + index
    assert [one.title for one in store.conversations()] == ["Three", "Two", "One"]
    assert [one.title for one in store.conversations(limit=2)] == ["Three", "Two"]


def test_a_message_is_saved_before_its_answer_begins(store: Store, path: Path) -> None:
    Session(store).ask("Is this kept?")
    other = sqlite3.connect(path)
    assert other.execute("SELECT content, status FROM messages").fetchall() == [("Is this kept?", "complete")]


def test_deleted_conversations_come_back_until_the_end(store: Store, path: Path) -> None:
    kept, gone = Session(store), Session(store)
    say(kept, "keep", "yes")
    say(gone, "drop", "no")
    assert kept.id and gone.id
    store.save_draft(gone.id, "half a sen")
    store.delete(kept.id)
    store.delete(gone.id)
    assert store.conversations() == []
    store.restore(kept.id)
    assert [one.title for one in store.conversations()] == ["Keep"]
    store.close()

    raw = sqlite3.connect(path)
    assert raw.execute("SELECT content FROM messages ORDER BY id").fetchall() == [("keep",), ("yes",)]
    assert raw.execute("SELECT count(*) FROM drafts").fetchone() == (0,)


def test_a_long_conversation_can_be_deleted(store: Store, path: Path) -> None:
    with store.transaction():
        gone = store.begin("Long", None, 1.0)
        turn: Turn | None = None
        for _ in range(1001):  # SQLite follows a chain of deletions for 1000 steps
            turn = Turn("user", "more", parent=turn)
            turn.id = store.add(gone, turn)
    store.delete(gone)
    store.purge()
    assert store.purged == [gone]
    assert sqlite3.connect(path).execute("SELECT count(*) FROM messages").fetchone() == (0,)


def test_no_word_stays_on_the_disk_of_what_was_deleted(store: Store, path: Path) -> None:
    kept, gone = Session(store), Session(store)
    say(kept, "keep zanzibar", "yes")
    say(gone, "drop quagmire", "no")
    another = Store(path)
    store.delete(gone.id or 0)
    store.close()
    files = {
        file.name: file.read_bytes() for file in path.parent.iterdir() if file.name.startswith(path.name)
    }
    assert b"zanzibar" in files[path.name]
    assert [name for name, content in files.items() if b"quagmire" in content] == []
    another.close()


def test_a_pinned_conversation_stands_first(store: Store) -> None:
    for index, text in enumerate(("one", "two", "three")):
        session = Session(store)
        session.ask(text).created = 1000.0 + index
        if text == "one":
            store.pin(session.id or 0, True)
    assert [(one.title, one.pinned) for one in store.conversations()] == [
        ("One", True),
        ("Three", False),
        ("Two", False),
    ]
    store.pin(store.conversations()[0].id, False)
    assert [one.title for one in store.conversations(1)] == ["Three"]


def test_a_new_name_stays(store: Store) -> None:
    begun = Session(store)
    begun.rename("Garden plan")
    say(begun, "When do I prune the apple tree?", "In February.")
    begun.rename("家族 \ud800")
    say(begun, "And the pear?", "In March.")
    assert [one.title for one in store.conversations()] == ["家族 ?"]


def test_another_wording_begins_a_branch(store: Store) -> None:
    session = Session(store)
    say(session, "Hello?", "First.")
    say(session, "And?", "More.")
    first, last = session.turns[0], session.turns[3]
    changed = session.edit(first, "Hello there?")
    reply(session, "Second.")
    assert session.siblings(changed) == [first, changed]
    assert session.id is not None
    assert texts(store, session.id) == ["Hello there?", "Second."]
    session.switch(first)
    assert session.turns[-1] is last
    assert texts(store, session.id) == ["Hello?", "First.", "And?", "More."]
    session.edit(session.turns[2], "And then?")
    assert texts(store, session.id) == ["Hello?", "First.", "And then?"]
    session.switch(changed)
    session.switch(first)
    assert texts(store, session.id) == ["Hello?", "First.", "And then?"]
    (listed,) = store.conversations()
    assert (listed.messages, listed.branches) == (7, 3)
    again = Session.reopen(store, listed)
    assert [turn.content for turn in again.siblings(again.turns[2])] == ["And?", "And then?"]


def test_an_answer_goes_on_in_place(store: Store, path: Path) -> None:
    session = Session(store)
    answer = say(session, "Tell me a story", "Once upon")
    answer.status = "stopped"
    assert session.go_on() is answer
    answer.content += " a time"
    session.save()
    second = Store(path)
    assert second.turns(session.id or 0)[-1].status == "stopped"
    answer.status = "complete"
    session.save()
    assert texts(second, session.id or 0) == ["Tell me a story", "Once upon a time"]
    second.close()


def test_an_edit_in_the_making_is_kept(store: Store) -> None:
    session = Session(store)
    asked = session.ask("hello")
    assert session.id and asked.id
    assert store.edit(session.id) is None and store.edit(None) is None
    store.save_edit(session.id, asked.id, "hello the")
    store.save_edit(session.id, asked.id, "hello there")
    store.save_draft(session.id, "a draft")
    assert (store.edit(session.id), store.draft(session.id)) == ((asked.id, "hello there"), "a draft")
    store.save_edit(session.id, asked.id, None)
    assert store.edit(session.id) is None


def test_drafts_belong_to_their_conversation(store: Store) -> None:
    session = Session(store)
    session.ask("hello")
    assert store.newest_draft() is None
    store.save_draft(None, "not begun")
    store.save_draft(session.id, "begun")
    assert (store.draft(None), store.draft(session.id)) == ("not begun", "begun")
    assert store.newest_draft() == session.id
    assert store.conversations()[0].draft == "begun"
    store.save_draft(session.id, "")
    assert store.draft(session.id) == ""
    assert store.newest_draft() is None


@pytest.mark.parametrize(
    "text", ["\ud800 half a pair", "nul \x00 inside", "家族 👨‍👩‍👧", "\u202eevil", "''; DROP TABLE messages"]
)
def test_any_text_can_be_kept(store: Store, text: str) -> None:
    session = Session(store, text)
    session.ask(text)
    store.save_draft(session.id, text)
    assert session.problem is None
    assert texts(store, session.id or 0) == [text.replace("\ud800", "?")]
    assert [one.system for one in store.conversations()] == texts(store, session.id or 0)


CRASH = """
    import os, signal, sys, time
    from pathlib import Path
    from smallchat.chat.session import Session
    from smallchat.chat.store import Store
    session = Session(Store(Path(sys.argv[1])))
    session.ask("Tell me a story")
    answer = session.begin_answer("demo", {})
    for word in ("Once ", "upon ", "a "):
        answer.content += word
        session.save()
    session.store.save_draft(session.id, "and the")
    answer.content += "never saved"
    print("ready", flush=True)
    time.sleep(60)
"""


def test_a_killed_process_loses_nothing_that_was_saved(path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(CRASH), str(path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGKILL if os.name == "posix" else signal.SIGTERM)
    process.wait()

    store = Store(path)
    (listed,) = store.conversations()
    question, answer = store.turns(listed.id)
    assert question.content == "Tell me a story"
    assert (answer.content, answer.status) == ("Once upon a ", "stopped")
    assert store.draft(listed.id) == "and the"
    store.close()


def test_a_second_smallchat_does_not_end_the_first_ones_answer(store: Store, path: Path) -> None:
    session = Session(store)
    session.ask("hello")
    answer = session.begin_answer("demo", {})
    second = Store(path)
    answer.content = "still going"
    assert session.save()
    assert second.turns(session.id or 0)[-1].status == "streaming"
    second.close()


def test_a_damaged_file_is_told_and_kept(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this was a database " * 500)
    with pytest.raises(StorageError, match=r"conversations\.sqlite3: it is damaged") as caught:
        Store(path)
    assert "Take a new file, which smallchat offers when it starts" in caught.value.cure

    kept = set_aside(path)
    assert kept.read_bytes().startswith(b"this was a database")
    store = Store(path)
    assert store.conversations() == []
    store.close()


def test_a_newer_file_is_left_alone(path: Path) -> None:
    Store(path).close()
    raw = sqlite3.connect(path)
    raw.execute(f"PRAGMA user_version = {len(schema.MIGRATIONS) + 1}")
    raw.close()
    before = path.read_bytes()
    with pytest.raises(StorageError, match="newer smallchat"):
        Store(path)
    assert path.read_bytes() == before


def test_an_older_file_is_brought_up_to_date(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session(Store(path))
    session.ask("from the old days")
    session.store.close()
    monkeypatch.setattr(
        schema, "MIGRATIONS", (*schema.MIGRATIONS, "ALTER TABLE messages ADD COLUMN mood TEXT;")
    )
    raw = Store(path).connection
    assert raw.execute("SELECT content, mood FROM messages").fetchall()[0]["mood"] is None
    assert schema.version(raw) == len(schema.MIGRATIONS)


def test_a_file_of_the_first_release_is_brought_up_to_date(path: Path) -> None:
    """Made by the smallchat of 24 November 2026, and killed while an answer was being made."""
    path.parent.mkdir()
    shutil.copy(Path(__file__).parent / "data" / "version-2.sqlite3", path)
    store = Store(path)
    chinese, english = sorted(store.conversations(), key=lambda one: one.id, reverse=True)
    assert (english.title, english.system, english.messages) == (
        "When do I prune the apple tree?",
        "Be brief.",
        5,
    )
    assert (english.branches, chinese.branches, english.pinned) == (2, 1, False)
    assert texts(store, english.id) == [
        "When do I prune the apple tree?",
        "In **February**, after the last frost.",
        "And the pear?",
        "In March.",
    ]
    (beginning,), _ = store.tree(english.id)
    assert [turn.content[:8] for turn in beginning.children] == ["In March", "In **Feb"]
    assert beginning.sources[0].where == "[[Garden log]] › Trees, lines 3–9"
    story = store.turns(chinese.id)[-1]
    assert (story.content, story.status) == ("Once upon a ", "stopped")
    assert (store.draft(chinese.id), store.draft(None)) == ("and the pear", "not begun")
    search = Search(store)
    assert [one.message for one in search.find("苹果") if one.message] == [6]
    assert [one.message for one in search.find("once upon")] == [story.id]
    search.close()
    store.close()


def test_a_failed_migration_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Store(path).close()
    broken = "ALTER TABLE messages ADD COLUMN mood TEXT; SELECT * FROM nowhere;"
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, broken))
    with pytest.raises(StorageError):
        Store(path)
    monkeypatch.undo()
    store = Store(path)
    columns = [row[1] for row in store.connection.execute("PRAGMA table_info(messages)")]
    assert "mood" not in columns
    store.close()


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="file"):
        Store(tmp_path / "file" / "conversations.sqlite3")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    with pytest.raises(StorageError, match="may not be written"):
        Store(folder / "conversations.sqlite3")


def test_a_file_that_may_not_be_written_is_told(store: Store) -> None:
    store.connection.execute("PRAGMA query_only = ON")
    session = Session(store)
    session.ask("hello")
    assert session.problem is not None and "may not be written" in str(session.problem)


def test_a_full_disk_loses_nothing_once_there_is_room(store: Store) -> None:
    session = Session(store)
    say(session, "before", "fine")
    pages = store.connection.execute("PRAGMA page_count").fetchone()[0]
    store.connection.execute(f"PRAGMA max_page_count = {pages}")
    say_unsaved = session.ask("written on a full disk " * 2000)
    assert say_unsaved.id is None
    assert session.problem is not None and "disk is full" in str(session.problem)
    session.begin_answer("demo", {}).content = "an answer all the same"
    assert not session.save()

    store.connection.execute("PRAGMA max_page_count = 1000000")
    assert session.save() and session.problem is None
    assert texts(store, session.id or 0)[2:] == ["written on a full disk " * 2000, "an answer all the same"]


def test_an_answer_that_ended_on_a_full_disk_is_saved_behind_later_messages(store: Store) -> None:
    session = Session(store)
    session.ask("hello")
    answer = session.begin_answer("demo", {})
    store.connection.execute("PRAGMA query_only = ON")
    answer.content, answer.status = "the end", "complete"
    assert not session.save()
    session.ask("next")
    store.connection.execute("PRAGMA query_only = OFF")
    assert session.save()
    assert texts(store, session.id or 0) == ["hello", "the end", "next"]
    assert [turn.status for turn in store.turns(session.id or 0)] == ["complete"] * 3


def test_another_program_holding_the_file_is_told(store: Store, path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    store.connection.execute("PRAGMA busy_timeout = 50")
    session = Session(store)
    session.ask("hello")
    assert session.problem is not None and "another program" in str(session.problem)
    other.execute("ROLLBACK")
    assert session.save()
    assert texts(store, session.id or 0) == ["hello"]


def test_what_is_tried_again_waits_briefly_where_a_screen_stands_still(store: Store, path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    store.hurried = True
    began = time.monotonic()
    session = Session(store)
    session.ask("hello")
    assert isinstance(session.problem, BusyError)
    assert time.monotonic() - began < BUSY_SECONDS
    other.execute("ROLLBACK")
    assert session.save()
    assert store.connection.execute("PRAGMA busy_timeout").fetchone()[0] == BUSY_SECONDS * 1000


@pytest.mark.skipif(os.name != "posix", reason="permissions as POSIX has them")
def test_conversations_are_nobody_elses_business(store: Store, path: Path) -> None:
    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0


def test_in_memory_nothing_reaches_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = Store(MEMORY)
    session = Session(store)
    say(session, "hello", "hi")
    assert not store.saves
    assert texts(store, session.id or 0) == ["hello", "hi"]
    store.close()
    assert list(tmp_path.iterdir()) == []


def test_a_thousand_conversations_are_listed_quickly(store: Store) -> None:
    names = "conversation, parent, content, role, status, model, sampling, finish, problem, trimmed, created"
    values = "?, ?, ?, 'user', 'complete', '', '{}', '', '', 0, 0"
    add = f"INSERT INTO messages ({names}) VALUES ({values})"
    with store.transaction():
        for index in range(1000):
            row = store._inserted(
                "INSERT INTO conversations (title, created, updated) VALUES ('t', ?, ?)", (index, index)
            )
            leaf = None
            for turn in range(10):
                leaf = store._inserted(add, (row, leaf, f"message {turn}"))
            store.connection.execute("UPDATE conversations SET leaf = ? WHERE id = ?", (leaf, row))
    began = time.perf_counter()
    assert [one.messages for one in store.conversations(3)] == [10, 10, 10]
    assert len(store.conversations()) == 1000
    assert time.perf_counter() - began < 2


def test_tokens_of_an_answer_come_back(store: Store) -> None:
    row = store.begin("t", None, 1.0)
    answer = Turn("assistant", "二月", ids=[0, 151_935, 7])
    answer.id = store.add(row, answer)
    assert store.tree(row)[1][-1].ids == [0, 151_935, 7]
    answer.ids = []
    store.update(answer)
    assert store.tree(row)[1][-1].ids == []


def test_tokens_that_somebody_cut_do_not_hinder(path: Path, store: Store) -> None:
    row = store.begin("t", None, 1.0)
    store.add(row, Turn("assistant", "x", ids=[1, 2]))
    with sqlite3.connect(path) as raw:
        raw.execute("UPDATE messages SET ids = x'010000000200'")
    assert store.tree(row)[1][-1].ids == [1]
