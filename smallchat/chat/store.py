"""The file of all conversations: every message is kept, nothing is overwritten by a newer answer.

Messages form a tree, so another answer to the same question is a sibling of the first. A conversation
opens along the path that ends in its newest leaf.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from smallchat.chat import schema
from smallchat.chat.records import Conversation, Source, Turn
from smallchat.errors import StorageError

BUSY_SECONDS = 2.0
"""How long to wait for another smallchat that is writing. Longer would freeze the screen."""

NOT_BEGUN = 0
"""Key of the draft of a conversation that has no message yet."""

MEMORY = Path(":memory:")

_PATH = """
WITH RECURSIVE path (id, parent, depth) AS (
    SELECT messages.id, messages.parent, 0 FROM messages
        JOIN conversations ON conversations.leaf = messages.id WHERE conversations.id = ?
    UNION ALL
    SELECT messages.id, messages.parent, depth + 1 FROM messages JOIN path ON messages.id = path.parent
)
SELECT messages.* FROM path JOIN messages USING (id) ORDER BY depth DESC
"""
_LIST = """
WITH RECURSIVE path (conversation, parent) AS (
    SELECT conversations.id, messages.parent FROM conversations JOIN messages ON messages.id = leaf
    UNION ALL
    SELECT path.conversation, messages.parent FROM path JOIN messages ON messages.id = path.parent
)
SELECT id, title, system, sampling, persona, created, updated,
    (SELECT count(*) FROM path WHERE path.conversation = id) AS messages,
    coalesce((SELECT text FROM drafts WHERE drafts.conversation = id), '') AS draft
FROM (SELECT * FROM conversations WHERE deleted IS NULL ORDER BY updated DESC, id DESC LIMIT ?)
ORDER BY updated DESC, id DESC
"""


class Store:
    """Conversations in one SQLite file. Every method raises `StorageError` where the file fails."""

    def __init__(self, path: Path) -> None:
        """Open `path`, made if it is not there; `MEMORY` keeps everything in memory only."""
        self.path = path
        with self._told():
            if path != MEMORY:
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                path.touch(mode=0o600)
            self._connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
        try:
            with self._told():
                self._prepare()
        except StorageError:
            self._connection.close()
            raise

    @property
    def saves(self) -> bool:
        """False where everything is forgotten at the end."""
        return self.path != MEMORY

    def close(self) -> None:
        """Close the file. Conversations deleted in this run are gone from now on. Never raises."""
        with contextlib.suppress(StorageError):
            self.purge()
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()

    def begin(self, title: str, system: str | None, created: float) -> int:
        """A new conversation without messages; returns its id."""
        sql = "INSERT INTO conversations (title, system, created, updated) VALUES (?, ?, ?, ?)"
        with self._transaction(durable=True):
            return self._inserted(sql, (_text(title), system, created, created))

    def configure(
        self,
        conversation: int,
        system: str | None,
        persona: str,
        sampling: Mapping[str, float | int | None],
    ) -> None:
        """Change what holds for all further answers of a conversation: see `Conversation`."""
        sql = "UPDATE conversations SET system = ?, persona = ?, sampling = ? WHERE id = ?"
        with self._transaction():
            told = None if system is None else _text(system)
            values = (told, _text(persona), json.dumps(dict(sampling)), conversation)
            self._connection.execute(sql, values)

    def add(self, conversation: int, turn: Turn) -> int:
        """Add a message below `turn.parent` (saved already), and open there from now on; returns its id."""
        values = {**_columns(turn), "conversation": conversation, "created": turn.created}
        values["role"] = turn.role
        values["parent"] = turn.parent.id if turn.parent else None
        names = ", ".join(values)
        sql = f"INSERT INTO messages ({names}) VALUES ({', '.join(f':{name}' for name in values)})"
        with self._transaction(durable=True):
            row = self._inserted(sql, values)
            self._connection.execute(
                "UPDATE conversations SET leaf = ?, updated = ? WHERE id = ?",
                (row, turn.created, conversation),
            )
        return row

    def update(self, turn: Turn) -> None:
        """Write what a saved message has become; only a finished one waits until the disk has it."""
        values = _columns(turn)
        sql = f"UPDATE messages SET {', '.join(f'{name} = :{name}' for name in values)} WHERE id = :id"
        with self._transaction(durable=turn.status != "streaming"):
            self._connection.execute(sql, {**values, "id": turn.id})

    def turns(self, conversation: int) -> list[Turn]:
        """The messages of a conversation along its active path, oldest first."""
        path: list[Turn] = []
        with self._told():
            for row in self._connection.execute(_PATH, (conversation,)):
                path.append(_turn(row, path[-1] if path else None))
        return path

    def conversations(self, limit: int = -1) -> list[Conversation]:
        """Newest first; -1: all of them."""
        with self._told():
            return [_conversation(row) for row in self._connection.execute(_LIST, (limit,))]

    def delete(self, conversation: int) -> None:
        """Hide a conversation; `restore` brings it back until the store is closed."""
        with self._transaction():
            self._connection.execute(
                "UPDATE conversations SET deleted = ? WHERE id = ?", (time.time(), conversation)
            )

    def restore(self, conversation: int) -> None:
        """Undo `delete`."""
        with self._transaction():
            self._connection.execute("UPDATE conversations SET deleted = NULL WHERE id = ?", (conversation,))

    def purge(self) -> None:
        """Remove the deleted conversations for good."""
        with self._transaction(durable=True):
            gone = "SELECT id FROM conversations WHERE deleted IS NOT NULL"
            self._connection.execute(f"DELETE FROM drafts WHERE conversation IN ({gone})")
            self._connection.execute("DELETE FROM conversations WHERE deleted IS NOT NULL")

    def save_draft(self, conversation: int | None, text: str) -> None:
        """Keep what is typed and not sent; empty text: nothing is."""
        with self._transaction():
            self._connection.execute(
                "DELETE FROM drafts WHERE conversation = ?", (conversation or NOT_BEGUN,)
            )
            if text:
                self._connection.execute(
                    "INSERT INTO drafts VALUES (?, ?, ?)",
                    (conversation or NOT_BEGUN, _text(text), time.time()),
                )

    def draft(self, conversation: int | None) -> str:
        """What was typed there and not sent."""
        sql = "SELECT text FROM drafts WHERE conversation = ?"
        with self._told():
            row = self._connection.execute(sql, (conversation or NOT_BEGUN,)).fetchone()
        return row["text"] if row else ""

    def newest_draft(self) -> int | None:
        """The conversation that was being typed in last; None: a new one, or nowhere."""
        sql = "SELECT conversation FROM drafts ORDER BY saved DESC LIMIT 1"
        with self._told():
            row = self._connection.execute(sql).fetchone()
        return (row["conversation"] or None) if row else None

    def _prepare(self) -> None:
        connection = self._connection
        connection.row_factory = sqlite3.Row
        newest = len(schema.MIGRATIONS)
        if (found := schema.version(connection)) > newest:
            raise StorageError(
                f"{self.path} was written by a newer smallchat (version {found}, this one knows {newest})",
                "Update smallchat, or move the file away",
            )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA secure_delete = ON")
        schema.migrate(connection)
        # Whatever was being written when smallchat last ended, was stopped. If another smallchat is writing
        # this very message, its next update says "streaming" again.
        connection.execute("UPDATE messages SET status = 'stopped' WHERE status = 'streaming'")
        self.purge()

    def _inserted(self, sql: str, values: Any) -> int:
        row = self._connection.execute(sql, values).lastrowid
        assert row is not None  # an INSERT always has one
        return row

    @contextlib.contextmanager
    def _transaction(self, durable: bool = False) -> Iterator[None]:
        """All or nothing. `durable`: survives a power failure too, at the price of waiting for the disk."""
        with self._told():
            self._connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Turn what SQLite and the system say into words for the user."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise _explained(error, self.path) from error


def set_aside(path: Path) -> Path:
    """Rename a damaged file, so that a new one can begin; returns where it is now. Nothing is deleted."""
    kept = path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}")
    try:
        for suffix in ("", "-wal", "-shm"):
            file = path.with_name(path.name + suffix)
            if file.exists():
                file.rename(kept.with_name(kept.name + suffix))
    except OSError as error:
        raise _explained(error, path) from error
    return kept


def _explained(error: sqlite3.Error | OSError, path: Path) -> StorageError:
    said = (error.strerror if isinstance(error, OSError) else None) or str(error)
    cures = {
        "full": ("The disk is full", "Make room; smallchat goes on trying"),
        "No space left": ("The disk is full", "Make room; smallchat goes on trying"),
        "readonly": ("It may not be written", "Give yourself the right to write to it and to its folder"),
        "Read-only": ("It may not be written", "Give yourself the right to write to it and to its folder"),
        "denied": ("It may not be written", "Give yourself the right to write to it and to its folder"),
        "unable to open": ("It cannot be opened", "See that its folder exists and may be written"),
        "locked": ("Another program is using it", "Close the other program, or wait"),
        "not a database": ("It is damaged, or no smallchat file", "Start a new file; the old one is kept"),
        "malformed": ("It is damaged", "Start a new file; the old one is kept"),
    }
    for sign, (what, cure) in cures.items():
        if sign in said:
            return StorageError(f"Conversations in {path}: {what[0].lower()}{what[1:]}", cure)
    return StorageError(f"Conversations in {path}: {said}", "See that the file and its folder are in order")


def _columns(turn: Turn) -> dict[str, Any]:
    """What may change while a message is made."""
    return {
        "content": _text(turn.content),
        "given": _text(turn.given),
        "sources": json.dumps([asdict(source) for source in turn.sources]),
        "status": turn.status,
        "model": _text(turn.model),
        "sampling": json.dumps(turn.sampling),
        "finish": turn.finish,
        "problem": _text(turn.problem),
        "trimmed": turn.trimmed,
        "prompt_tokens": turn.prompt_tokens,
        "tokens": turn.tokens,
        "speed": turn.speed,
    }


def _conversation(row: sqlite3.Row) -> Conversation:
    values = dict(row)
    return Conversation(**{**values, "sampling": json.loads(values["sampling"])})


def _turn(row: sqlite3.Row, parent: Turn | None) -> Turn:
    values = dict(row)
    del values["conversation"]
    values["sampling"] = json.loads(values["sampling"])
    values["sources"] = [Source(**source) for source in json.loads(values["sources"])]
    return Turn(**{**values, "parent": parent})


def _text(text: str) -> str:
    """A lone half of a surrogate pair (a terminal may send one) cannot be stored: it becomes "?"."""
    return text.encode("utf-8", "replace").decode("utf-8")
