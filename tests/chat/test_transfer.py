"""Conversations that leave the store and come back."""

from __future__ import annotations

import copy
import json
import tracemalloc
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smallchat.chat import transfer
from smallchat.chat.records import Attached, Source
from smallchat.chat.search import Search
from smallchat.chat.session import Session
from smallchat.chat.store import MEMORY, Store
from smallchat.errors import StorageError
from smallchat.settings import Sampling


@pytest.fixture
def store():
    store = Store(MEMORY)
    yield store
    store.close()


def talk(store: Store) -> Session:
    """A conversation with branches, sources, settings, and an answer that was stopped."""
    session = Session(store, "Be brief.\nAnd kind.")
    sources, attached = [Source("log.md", "Log", "Trees", 3, 9)], [Attached("log.md", 3, 0, 10)]
    session.ask("Which fruit? 家族", "Garden log", sources, attached)
    session.configure("Be brief.\nAnd kind.", "gardener", {"temperature": 0.2})
    for text in ("Pineapple.", "# Mango\n\nof course."):
        answer = session.begin_answer("SmallThinker 4B Q4_0", {"temperature": 0.6, "seed": 7})
        answer.content, answer.status, answer.finish = text, "complete", "stop"
        answer.tokens, answer.prompt_tokens, answer.speed = 5, 12, 24.5
        session.save()
    session.ask("And?")
    session.begin_answer("SmallThinker 4B Q4_0", {"seed": None}).content = "Half an ans"
    session.turns[-1].status = "stopped"
    session.save()
    session.switch(session.siblings(session.turns[1])[0])
    assert session.id
    store.pin(session.id, True)
    return session


def data(store: Store) -> dict[str, Any]:
    return json.loads(transfer.exported(store, store.conversations(), "json"))


def without_ids(conversation: dict[str, Any]) -> dict[str, Any]:
    """The same with messages counted from 0."""
    places = {message["id"]: place for place, message in enumerate(conversation["messages"])}
    told = copy.deepcopy(conversation) | {"id": 0, "open": places[conversation["open"]]}
    for message in told["messages"]:
        message["id"] = places[message["id"]]
        message["parent"] = None if message["parent"] is None else places[message["parent"]]
    return told


def test_everything_comes_back(store: Store, tmp_path: Path) -> None:
    talk(store)
    text = transfer.exported(store, store.conversations(), "json")
    other = Store(tmp_path / "other.sqlite3")
    Session(other).ask("here already")
    assert len(transfer.take_in(other, text)) == 1
    (before,) = data(store)["conversations"]
    after = data(other)["conversations"][0]
    assert without_ids(after) == without_ids(before)
    assert [turn.content for turn in other.turns(after["id"])] == ["Which fruit? 家族", "Pineapple."]
    assert len(Search(other).find("mango")) == 1
    assert len(other.conversations()) == 2
    other.close()


def test_markdown_is_the_open_way(store: Store) -> None:
    session = talk(store)
    session.switch(session.siblings(session.turns[1])[1])
    assert transfer.exported(store, store.conversations(), "md") == (
        "# Which fruit?\n\n> Be brief.\n> And kind.\n\n"
        "## You\n\nWhich fruit? 家族\n\nSources: [[Log]] › Trees, lines 3–9\n\n"
        "## smallchat\n\n*SmallThinker 4B Q4_0 · seed 7*\n\n# Mango\n\nof course.\n\n"
        "## You\n\nAnd?\n\n## smallchat\n\n*SmallThinker 4B Q4_0*\n\nHalf an ans\n"
    )


def test_an_answer_that_the_user_edited_is_told_as_such(store: Store) -> None:
    session = talk(store)
    session.edit(session.turns[1], "Banana.")
    assert "*SmallThinker 4B Q4_0 · edited by the user*\n\nBanana." in transfer.exported(
        store, store.conversations(), "md"
    )
    told = data(store)
    assert [one["content"] for one in told["conversations"][0]["messages"] if one["edited"]] == ["Banana."]
    (new,) = transfer.take_in(store, json.dumps(told))
    assert store.turns(new)[1].edited
    for one in told["conversations"][0]["messages"]:
        del one["edited"]
    (older,) = transfer.take_in(store, json.dumps(told))
    assert not store.turns(older)[1].edited


def damaged(change: Callable[[dict[str, Any], dict[str, Any]], None]) -> str:
    store = Store(MEMORY)
    talk(store)
    told = data(store)
    change(told, told["conversations"][0])
    store.close()
    return json.dumps(told)


def put(
    name: str, value: Any, message: int | None = None
) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    def change(_: dict[str, Any], conversation: dict[str, Any]) -> None:
        (conversation if message is None else conversation["messages"][message])[name] = value

    return change


HOSTILE = {
    "no JSON": "{",
    "deep": "[" * 100_000,
    "a list": "[]",
    "nothing": "{}",
    "NaN": '{"format": NaN}',
    "another version": damaged(lambda told, _: told.update(version=2)),
    "no title": damaged(lambda _, one: one.pop("title")),
    "title": damaged(put("title", 7)),
    "pinned": damaged(put("pinned", 1)),
    "created": damaged(put("created", -1)),
    "endless": damaged(put("created", 1e300)),
    "messages": damaged(put("messages", {})),
    "a message": damaged(put("messages", [7])),
    "role": damaged(put("role", "system", 0)),
    "status": damaged(put("status", "well", 0)),
    "content": damaged(put("content", None, 0)),
    "the same id": damaged(put("id", 1, 1)),
    "its own parent": damaged(put("parent", 1, 0)),
    "a later parent": damaged(put("parent", 4, 1)),
    "an id that is true": damaged(put("id", True, 1)),
    "a huge id": damaged(put("id", 1 << 70, 1)),
    "settings": damaged(put("sampling", {"seed": "7"}, 1)),
    "huge settings": damaged(put("sampling", {"seed": 1 << 80}, 1)),
    "many settings": damaged(put("sampling", {str(number): 1 for number in range(200)}, 1)),
    "unknown settings": damaged(put("sampling", {"\x1b[2J": 1})),
    "unknown settings of a message": damaged(put("sampling", {"mirostat": 1}, 1)),
    "a conversation continued": damaged(put("sampling", {"continued": 1})),
    "settings that mean nothing": damaged(put("sampling", {"temperature": -1})),
    "settings that are none": damaged(put("sampling", {"top_p": None})),
    "settings that are not whole": damaged(put("sampling", {"top_k": 2.5})),
    "endless settings": damaged(put("sampling", {"seed": 10**400})),
    "sources": damaged(put("sources", [{"path": 1}], 1)),
    "tokens": damaged(put("tokens", 1.5, 1)),
    "edited": damaged(put("edited", 1, 1)),
    "another after a sound one": damaged(lambda told, _: told["conversations"].append({})),
    "attached": damaged(put("attached", [{"label": "a", "tokens": 1, "start": -1, "end": 2}], 0)),
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_file_of_anyone_changes_nothing(store: Store, text: str) -> None:
    Session(store).ask("here already")
    with pytest.raises(StorageError, match="no conversations of smallchat"):
        transfer.take_in(store, text)
    assert [one.title for one in store.conversations()] == ["Here already"]


def test_a_large_file_takes_little_more_memory_than_to_parse_it(store: Store) -> None:
    talk(store)
    told = data(store)
    told["conversations"] *= 300
    text = json.dumps(told)
    tracemalloc.start()
    try:
        parsed = json.loads(text)
        _, alone = tracemalloc.get_traced_memory()
        del parsed
        tracemalloc.reset_peak()
        transfer.take_in(store, text)
        assert tracemalloc.get_traced_memory()[1] < 1.3 * alone
    finally:
        tracemalloc.stop()


def test_what_is_odd_but_sound_is_taken_in(store: Store) -> None:
    text = damaged(lambda _, one: one.update(title=" a\n\x1b[31m" + "long " * 99, open=None, more="things"))
    transfer.take_in(store, text)
    (listed,) = store.conversations()
    assert len(listed.title) <= 60
    assert store.turns(listed.id)[-1].content == "Half an ans"


def test_half_a_surrogate_pair_is_taken_in_anywhere(store: Store, tmp_path: Path) -> None:
    def change(_: dict[str, Any], one: dict[str, Any]) -> None:
        one.update(title="\ud800", system="\ud800", persona="\ud800")
        for message in one["messages"]:
            message.update(dict.fromkeys(("content", "given", "model", "finish", "problem"), "\ud800"))
        one["messages"][0]["sources"][0]["title"] = one["messages"][0]["attached"][0]["label"] = "\ud800"

    transfer.take_in(store, damaged(change))
    (listed,) = store.conversations()
    assert (listed.title, listed.system, listed.persona) == ("?", "?", "?")
    for kind in ("md", "json"):
        assert transfer.exported(store, [listed], kind).encode()


def test_settings_of_an_answer_come_back(store: Store) -> None:
    whole = asdict(Sampling(seed=(1 << 63) - 1)) | {"continued": 3}
    (new,) = transfer.take_in(store, damaged(put("sampling", whole, 1)))
    assert store.tree(new)[0][0].children[0].sampling == whole


values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(
    message=st.integers(0, 4) | st.none(),
    name=st.sampled_from(
        ["id", "parent", "role", "content", "sampling", "sources", "open", "created", "tokens", "title"]
    ),
    value=values,
)
@settings(max_examples=60, deadline=None)
def test_any_value_anywhere_is_taken_in_or_refused(message: int | None, name: str, value: Any) -> None:
    store = Store(MEMORY)
    text = damaged(put(name, value, message))
    try:
        new = transfer.take_in(store, text)
    except StorageError:
        assert store.conversations() == []
    else:
        assert [one.id for one in store.conversations()] == new
        assert data(store)
    store.close()
