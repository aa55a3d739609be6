"""Search over everything that was ever said, in every branch of every conversation."""

from __future__ import annotations

import contextlib
import re
import sqlite3
import threading
import time
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from smallchat.chat import index
from smallchat.chat.failures import explained
from smallchat.chat.records import Role
from smallchat.chat.store import BUSY_SECONDS, MEMORY, Store
from smallchat.matching import UNSPACED, fold, snippet
from smallchat.utf8 import encodable

FOUND = 60
"""Messages that are shown of those that were found."""
LONGEST_QUERY = 400
LOOKED_AT = 50_000
"""Characters of a message in which the place to be shown is looked for."""

_WORD = re.compile(r"[^\W_]+")
_QUOTED = re.compile(r'["“„«]([^"“”„«»]+)["”“»]')


@dataclass(frozen=True, slots=True)
class Found:
    """A message, or a conversation by its name (`message` None). `marks`: places in `snippet` to be bold."""

    conversation: int
    message: int | None
    title: str
    role: Role | None
    created: float
    snippet: str
    marks: tuple[tuple[int, int], ...]


class Search:
    """Looks through the file of a store, on a connection of its own: any thread may call it."""

    def __init__(self, store: Store) -> None:
        """Opens the file at the first search. What is in memory only is searched where it is."""
        self._store = store
        self._own: sqlite3.Connection | None = None
        self._lock = threading.Lock()

    @property
    def threads(self) -> bool:
        """It may be called from other threads than the store's."""
        return self._store.path != MEMORY

    def close(self) -> None:
        """Close the file. Never raises."""
        with self._lock:
            if self._own is not None:
                with contextlib.suppress(sqlite3.Error):
                    self._own.close()
            self._own = None

    def find(self, query: str, limit: int = FOUND) -> list[Found]:
        """Conversations whose name holds all words, then messages that do, the newest first.

        The last word may be only a beginning, unless a space follows it; several between quotation marks
        stand together. Empty where the query holds no word. Raises `StorageError`.
        """
        match, patterns = _looked_up(query)
        if not match:
            return []
        with self._connected() as connection:
            titles = connection.execute(
                "SELECT id, title, updated FROM conversations WHERE deleted IS NULL ORDER BY updated DESC"
            ).fetchall()
            messages = connection.execute(
                """SELECT messages.conversation, messages.id, conversations.title, messages.role,
                    messages.created, substr(messages.content, 1, ?)
                FROM said CROSS JOIN messages ON messages.id = said.rowid
                    JOIN conversations ON conversations.id = messages.conversation
                WHERE said MATCH ? AND conversations.deleted IS NULL ORDER BY said.rowid DESC LIMIT ?""",
                (LOOKED_AT, match, limit),
            ).fetchall()
        found = [
            Found(conversation, None, title, None, updated, *_shown(title, patterns))
            for conversation, title, updated in titles
            if all(pattern.search(fold(title)) for pattern in patterns)
        ]
        found += [
            Found(conversation, message, title, role, created, *_shown(content, patterns))
            for conversation, message, title, role, created, content in messages
        ]
        return found[:limit]

    def catch_up(self, seconds: float = 0.0) -> int:
        """Have messages found that are not yet, as after an update of smallchat, for about so long.

        Returns how many are left. Raises `StorageError`.
        """
        until = time.monotonic() + seconds
        while True:
            with self._connected() as connection:
                left = index.put_missing(connection)
            if not left or time.monotonic() >= until:
                return left

    @contextlib.contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                if not self.threads:
                    yield self._store.connection
                    return
                if self._own is None:
                    self._own = sqlite3.connect(
                        self._store.path, BUSY_SECONDS, isolation_level=None, check_same_thread=False
                    )
                    self._own.execute("PRAGMA secure_delete = ON")  # holds for one connection
                yield self._own
            except (sqlite3.Error, OSError) as error:
                raise explained(error, self._store.path) from error


def _looked_up(query: str) -> tuple[str, list[re.Pattern[str]]]:
    """What FTS5 is asked, and what stands for each part of it in `fold`ed text."""
    query = unicodedata.normalize("NFKC", encodable(query[:LONGEST_QUERY])).replace("\0", " ")
    rest = _QUOTED.sub(" ", query)
    spaced = UNSPACED.sub(" ", rest)
    parts = [(phrase, False) for phrase in _QUOTED.findall(query) if not UNSPACED.search(phrase)]
    parts += [(part, False) for part in spaced.split()]
    if parts and spaced[-1:].isalnum():
        parts[-1] = (parts[-1][0], True)
    matches: list[str] = []
    patterns: list[str] = []
    for part, growing in parts:
        # FTS5 divides it into words as it divided the messages.
        quoted = part.replace('"', " ")
        if words := _WORD.findall(fold(part)):
            matches.append(f'words: "{quoted}"{"*" if growing else ""}')
            pattern = r"[\W_]+".join(map(re.escape, words))
            patterns.append(rf"(?<![^\W_]){pattern}" + ("" if growing else r"(?![^\W_])"))
    rest += " ".join(phrase for phrase in _QUOTED.findall(query) if UNSPACED.search(phrase))
    for run in UNSPACED.findall(rest):
        matches.append(f"grams: {_run(run)}")
        patterns.append(re.escape(fold(run)))
    return " AND ".join(matches), [re.compile(pattern) for pattern in dict.fromkeys(patterns)]


def _run(run: str) -> str:
    """A run of an unspaced script as neighbouring pieces, the last of which may go on."""
    codes = [f"{ord(character):05x}" for character in run]
    if len(codes) == 1:
        return f'"g{codes[0]}"*'
    return '"' + " ".join(f"g{a}{b}" for a, b in pairwise(codes)) + '"'


def _shown(text: str, patterns: list[re.Pattern[str]]) -> tuple[str, tuple[tuple[int, int], ...]]:
    folded = fold(text)
    places = [
        (match.start(), match.end(), number)
        for number, pattern in enumerate(patterns)
        for match, _ in zip(pattern.finditer(folded), range(50), strict=False)
    ]
    return snippet(text, sorted(places))
