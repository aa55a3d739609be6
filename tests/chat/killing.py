"""Kills a process that writes conversations, again and again, and looks for what it had been told was saved.

`python -m tests.chat.killing FILE ROUNDS SEED` prints what it did as JSON, and fails where anything is lost.
One process forks every writer, and all rounds share one file.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import select
import signal
import sqlite3
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from smallchat.chat.search import Search
from smallchat.chat.session import Session
from smallchat.chat.store import Store

LONGEST = 0.03
"""Seconds from a writer's first fact to its end, at the most."""


class Writer:
    """What the forked process does: talk at random, and tell each fact when it is saved, and not before."""

    def __init__(self, path: Path, fd: int, seed: int) -> None:
        self._random = random.Random(seed)
        self._store = Store(path)
        self._fd = fd
        self._seed = seed
        self._count = 0

    def run(self) -> None:
        sessions: list[Session] = []
        while True:
            if not sessions or self._random.random() < 0.1:
                sessions.append(Session(self._store))
                self._ask(sessions[-1])
            session = self._random.choice(sessions)
            self._random.choice(
                [self._ask, self._answer, self._answer, self._edit, self._branch, self._draft, self._name]
            )(session)

    def _word(self) -> str:
        self._count += 1
        return f"w{self._seed}x{self._count}"

    def _tell(self, kind: str, session: Session, number: int | None, text: str) -> None:
        os.write(self._fd, json.dumps([kind, session.id, number, text]).encode() + b"\n")

    def _ask(self, session: Session) -> None:
        turn = session.ask(f"question {self._word()} 苹果 " + "and " * self._random.randrange(400))
        assert session.problem is None, session.problem
        self._tell("message", session, turn.id, turn.content)

    def _answer(self, session: Session) -> None:
        answer = session.begin_answer("model", {"seed": self._count})
        for _ in range(self._random.randrange(1, 6)):
            answer.content += f"{self._word()} "
            assert session.save(), session.problem
            self._tell("message", session, answer.id, answer.content)
        answer.status = self._random.choice(["complete", "stopped"])
        assert session.save(), session.problem
        self._tell("ended", session, answer.id, answer.content)
        if answer.status == "stopped" and session.go_on():
            answer.content += self._word()
            answer.status = "complete"
            assert session.save(), session.problem
            self._tell("ended", session, answer.id, answer.content)

    def _edit(self, session: Session) -> None:
        turn = session.edit(session.turns[0], f"other words {self._word()}")
        assert session.problem is None, session.problem
        self._tell("message", session, turn.id, turn.content)

    def _branch(self, session: Session) -> None:
        turn = self._random.choice(session.turns)
        session.switch(self._random.choice(session.siblings(turn)))
        assert session.problem is None, session.problem

    def _draft(self, session: Session) -> None:
        text = ""
        for _ in range(4):
            text += f"{self._word()} "
            self._store.save_draft(session.id, text)
            self._tell("draft", session, None, text)

    def _name(self, session: Session) -> None:
        session.rename(f"name {self._word()}")
        self._tell("title", session, None, session.title)


def round_of(path: Path, seed: int) -> list[list[Any]]:
    """One writer, killed at a random moment; the facts that it told."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            Writer(path, writing, seed).run()
        except BaseException as error:
            os.write(writing, json.dumps(["fault", 0, 0, repr(error)]).encode() + b"\n")
        os._exit(1)
    os.close(writing)
    data = b""
    until: float | None = None
    wait = random.Random(seed).random() * LONGEST
    while until is None or time.monotonic() < until:
        patience = 10.0 if until is None else max(0.0, until - time.monotonic())
        ready, _, _ = select.select([reading], [], [], patience)
        if ready:
            piece = os.read(reading, 1 << 16)
            if not piece:
                break
            data += piece
            until = until or time.monotonic() + wait
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    while piece := os.read(reading, 1 << 16):
        data += piece
    os.close(reading)
    return [json.loads(line) for line in data.split(b"\n")[:-1]]


def check(path: Path, facts: list[list[Any]]) -> None:
    """Everything that was told is there, and nothing is left half done."""
    store = Store(path)
    assert store.connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    assert not store.connection.execute("PRAGMA foreign_key_check").fetchall()
    rows = {row["id"]: row for row in store.connection.execute("SELECT * FROM messages")}
    titles = {one.id: one for one in store.conversations()}
    assert all(row["status"] != "streaming" and row["searched"] for row in rows.values())
    search = Search(store)
    drafts: dict[int, str] = {}
    for kind, conversation, number, text in facts:
        assert kind != "fault", text
        if kind in ("message", "ended"):
            assert rows[number]["conversation"] == conversation
            assert rows[number]["content"].startswith(text), (text, rows[number]["content"])
        elif kind == "draft":
            drafts[conversation] = text
    for conversation, text in drafts.items():
        # What is typed grows, or begins anew: the next of both may have been saved and not told.
        first = text.split()[0]
        assert titles[conversation].draft.startswith(text) or first not in titles[conversation].draft
    for kind, _, number, text in [fact for fact in facts if fact[0] == "message"][-3:]:
        word = next(word for word in text.split() if word.startswith("w"))
        assert number in [one.message for one in search.find(f"{word} ")], (kind, word)
    for conversation in {fact[1] for fact in facts}:
        turns = store.turns(conversation)
        assert turns and all(turn.parent is before for before, turn in pairwise(turns))
    search.close()
    store.close()
    _look_for_strays(path)


def _look_for_strays(path: Path) -> None:
    """The search's index holds each message, and nothing beside them."""
    raw = sqlite3.connect(path)
    with contextlib.closing(raw):
        match = "SELECT count(*) FROM said WHERE said MATCH 'words: question OR words: other'"
        held = raw.execute(match).fetchone()[0]
        there = "SELECT count(*) FROM messages WHERE content LIKE 'question %' OR content LIKE 'other %'"
        assert held == raw.execute(there).fetchone()[0]


def main(path: Path, rounds: int, seed: int) -> None:
    """All rounds; the facts of earlier rounds are looked for at the end once more."""
    told: list[list[Any]] = []
    for number in range(seed, seed + rounds):
        facts = round_of(path, number)
        check(path, facts)
        told += [fact for fact in facts if fact[0] in ("message", "ended")]
    check(path, told)
    print(json.dumps({"rounds": rounds, "facts": len(told)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
