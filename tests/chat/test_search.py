"""Search over everything that was said."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from smallchat.chat import index
from smallchat.chat.search import Found, Search
from smallchat.chat.session import Session
from smallchat.chat.store import MEMORY, Store
from smallchat.errors import StorageError


@pytest.fixture
def store(tmp_path: Path):
    store = Store(tmp_path / "conversations.sqlite3")
    yield store
    store.close()


@pytest.fixture
def search(store: Store):
    search = Search(store)
    yield search
    search.close()


def talk(store: Store, *texts: str) -> Session:
    """A conversation of questions and answers."""
    session = Session(store)
    for question, answer in zip(texts[::2], texts[1::2], strict=True):
        session.ask(question)
        session.reply(answer)
    return session


def shown(found: Found) -> list[str]:
    """The marked parts."""
    return [found.snippet[start:end] for start, end in found.marks]


def messages(found: list[Found]) -> list[str]:
    return [one.snippet for one in found if one.message is not None]


def test_every_word_must_be_there_and_the_last_may_be_begun(store: Store, search: Search) -> None:
    talk(store, "When do I prune the apple tree?", "In February.")
    talk(store, "And plums?", "In July, after the harvest of apples.")
    assert messages(search.find("prune apple ")) == ["When do I prune the apple tree?"]
    assert messages(search.find("appl")) == [
        "In July, after the harvest of apples.",
        "When do I prune the apple tree?",
    ]
    assert messages(search.find("apple ")) == ["When do I prune the apple tree?"]
    assert search.find("apple plums") == []
    (found,) = [one for one in search.find("APPLE pru") if one.message]
    assert shown(found) == ["pru", "apple"]
    assert (found.role, found.title) == ("user", "When do I prune the apple tree?")


def test_words_between_quotation_marks_stand_together(store: Store, search: Search) -> None:
    talk(store, "old apple tree", "yes", "apple of an old tree", "no")
    assert messages(search.find('"apple tree"')) == ["old apple tree"]


@pytest.mark.parametrize(
    ("said", "asked", "marked"),
    [
        ("什么时候修剪苹果树?", "苹果", "苹果"),
        ("什么时候修剪苹果树?", "树", "树"),
        ("什么时候修剪苹果树?", "修剪苹果树", "修剪苹果树"),
        ("りんごの木はいつ剪定しますか", "剪定", "剪定"),
        ("사과나무는 언제 전정하나요", "전정", "전정"),
        ("ต้นแอปเปิลตัดแต่งเมื่อไร", "ตัดแต่ง", "ตัดแต่ง"),
        ("Straße nach Köln", "koln", "Köln"),
        ("Les pommes d'été", "D'ETE", "d'été"),
        ("call foo_bar(x) now", "foo_bar", "foo_bar"),
        ("the C++ file main.cpp", "main.cpp", "main.cpp"),
        ("عادة ما نقلم الشجرة", "الشجرة", "الشجرة"),
        ("ABC wide letters", "abc", "ABC"),
    ],
)
def test_any_script_is_found(store: Store, search: Search, said: str, asked: str, marked: str) -> None:
    talk(store, said, "so")
    (found,) = [one for one in search.find(asked) if one.message]
    assert shown(found) == [marked]


def test_chinese_that_only_has_both_characters_is_not_found(store: Store, search: Search) -> None:
    talk(store, "苹什么果", "果苹")
    assert search.find("苹果") == []


def test_other_branches_are_searched_too(store: Store, search: Search) -> None:
    session = talk(store, "Hello?", "Pineapple.")
    session.begin_answer("m", {}).content = "Mango."
    session.turns[-1].status = "complete"
    session.save()
    (found,) = search.find("pineapple")
    assert found.message == session.siblings(session.turns[-1])[0].id


def test_names_are_found_first(store: Store, search: Search) -> None:
    session = talk(store, "When?", "The garden waits.")
    talk(store, "Is the garden large?", "Yes.").rename("Size")
    session.rename("Garden plan")
    found = search.find("garden")
    assert [(one.message is None, one.title) for one in found] == [
        (True, "Garden plan"),
        (False, "Size"),
        (False, "Garden plan"),
    ]
    assert shown(found[0]) == ["Garden"]


def test_what_is_deleted_is_not_found_until_it_is_back(store: Store, search: Search) -> None:
    session = talk(store, "mango", "papaya")
    assert session.id
    store.delete(session.id)
    assert search.find("papaya") == []
    store.restore(session.id)
    assert len(search.find("papaya")) == 1
    store.delete(session.id)
    store.purge()
    assert store.connection.execute("SELECT count(*) FROM said WHERE said MATCH 'papaya'").fetchone()[0] == 0


def test_an_answer_is_found_as_it_became_in_the_end(store: Store, search: Search) -> None:
    session = Session(store)
    session.ask("fruit?")
    answer = session.begin_answer("m", {})
    answer.content = "An apple"
    session.save()
    assert search.find("apple") == []
    answer.content, answer.status = "An apple and", "stopped"
    session.save()
    assert len(search.find("apple")) == 1
    assert session.go_on() is answer
    assert search.find("apple") == []
    answer.content, answer.status = "An apple and a pear", "complete"
    session.save()
    assert len(search.find("apple pear")) == 1
    # What a full count finds is what is there: nothing stands in the index twice, or without its message.
    assert store.connection.execute("SELECT count(*) FROM said WHERE said MATCH 'apple'").fetchone()[0] == 1


def test_messages_of_an_older_version_are_caught_up_with(
    store: Store, search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk(store, *(f"message {number}" for number in range(20)))
    store.connection.executescript(
        "INSERT INTO said (said) VALUES ('delete-all'); UPDATE messages SET searched = 0"
    )
    assert messages(search.find("message")) == []
    monkeypatch.setattr(index, "CHUNK", 7)
    assert search.catch_up() == 13
    assert len(messages(search.find("message"))) == 7
    assert search.catch_up(60) == 0
    assert len(messages(search.find("message"))) == 20


@pytest.mark.parametrize(
    "query",
    ["", "   ", "…", '"', '""', "*", "NEAR(", "a:b", "-x", "\0", "caf\udce9", "'; --", "^", "x" * 9999],
)
def test_no_query_is_an_error(store: Store, search: Search, query: str) -> None:
    talk(store, "hello", "world")
    search.find(query)


def test_a_store_in_memory_is_searched(tmp_path: Path) -> None:
    store = Store(MEMORY)
    talk(store, "mango", "papaya")
    search = Search(store)
    assert not search.threads
    assert len(search.find("papaya")) == 1
    store.close()


def test_a_file_that_is_gone_is_told(tmp_path: Path) -> None:
    path = tmp_path / "conversations.sqlite3"
    store = Store(path)
    search = Search(store)
    store.close()
    path.unlink()
    path.mkdir()
    with pytest.raises(StorageError, match=r"conversations\.sqlite3"):
        search.find("hello")


def test_a_hundred_thousand_messages_are_searched_in_a_tenth_of_a_second(tmp_path: Path) -> None:
    """Of made-up words, and the index filled at once: whole conversations would take half a minute."""
    store = Store(tmp_path / "conversations.sqlite3")
    session = talk(store, "apple", "pear")
    words = [f"word{number}" for number in range(5000)]
    with store.transaction():
        insert = (
            "INSERT INTO messages (id, conversation, role, content, status, model, sampling, finish, problem,"
            " trimmed, created, searched) VALUES (?, ?, 'user', ?, 'complete', '', '{}', '', '', 0, 0, 1)"
        )
        texts = [
            " ".join(("common", *(words[(number * 31 + place * 7) % 5000] for place in range(12))))
            for number in range(100_000)
        ]
        numbered = list(enumerate(texts, 1000))
        store.connection.executemany(insert, ((number, session.id, text) for number, text in numbered))
        store.connection.executemany("INSERT INTO said (rowid, words, grams) VALUES (?, ?, '')", numbered)
    search = Search(store)
    search.find("warm")
    for query in ("common", "wo", "word4999", "word17 word24 ", "pea", "苹果"):
        began = time.perf_counter()
        search.find(query)
        assert time.perf_counter() - began < 0.1, query
    search.close()
    store.close()
