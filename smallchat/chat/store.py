"""The file of all conversations: every message is kept, nothing is overwritten by a newer answer.

Messages form a tree, so another answer to the same question is a sibling of the first. A conversation
opens along the path that ends in its newest leaf.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from smallchat.chat import index, rows, schema
from smallchat.chat.failures import explained
from smallchat.chat.records import Conversation, Turn, path_through
from smallchat.errors import StorageError
from smallchat.utf8 import encodable

BUSY_SECONDS = 2.0
"""How long to wait for another smallchat that is writing. Longer would freeze the screen."""
BRIEF_SECONDS = 0.1
"""… with what is tried again anyway, where a screen stands still meanwhile."""

UNDO_SECONDS = 86_400.0
"""After a crash, deleted conversations stay hidden so long before they are removed."""

NOT_BEGUN = 0
"""Key of the draft of a conversation that has no message yet."""

MEMORY = Path(":memory:")

_LIST = """
SELECT id, title, system, created, updated, pinned, branches, sampling, persona,
    (SELECT count(*) FROM messages WHERE messages.conversation = listed.id) AS messages,
    coalesce((SELECT text FROM drafts WHERE drafts.conversation = listed.id), '') AS draft
FROM (
    SELECT * FROM conversations WHERE deleted IS NULL ORDER BY pinned DESC, updated DESC, id DESC LIMIT ?
) AS listed ORDER BY pinned DESC, updated DESC, id DESC
"""
_IS_A_BRANCH = "SELECT 1 FROM messages WHERE conversation = ? AND parent IS ? LIMIT 1"


class Store:
    """Conversations in one SQLite file. Every method raises `StorageError` where the file fails."""

    def __init__(self, path: Path) -> None:
        """Open `path`, made if it is not there; `MEMORY` keeps everything in memory only."""
        self.path = path
        self._hidden: set[int] = set()
        """Conversations that were deleted here."""
        self.hurried = False
        """A screen stands still while something is saved here: see `retried`."""
        self.purged: list[int] = []
        """Conversations that were removed for good since the file was opened."""
        with self._told():
            if path != MEMORY:
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                path.touch(mode=0o600)
            self.connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
            self._identity = _identity(path)
        try:
            with self._told():
                self._prepare()
        except StorageError:
            self.connection.close()
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
            # By itself, only the last one that closes the file moves everything out of the log beside it.
            self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with contextlib.suppress(sqlite3.Error):
            self.connection.close()

    def begin(self, title: str, system: str | None, created: float) -> int:
        """A new conversation without messages; returns its id."""
        sql = "INSERT INTO conversations (title, system, created, updated) VALUES (?, ?, ?, ?)"
        with self.transaction(durable=True):
            return self._inserted(sql, (encodable(title), _prompt(system), created, created))

    def configure(
        self,
        conversation: int,
        system: str | None,
        persona: str,
        sampling: Mapping[str, float | int | None],
    ) -> None:
        """Change what holds for all further answers of a conversation: see `Conversation`."""
        sql = "UPDATE conversations SET system = ?, persona = ?, sampling = ? WHERE id = ?"
        with self.transaction():
            values = (_prompt(system), encodable(persona), json.dumps(dict(sampling)), conversation)
            self.connection.execute(sql, values)

    def add(self, conversation: int, turn: Turn) -> int:
        """Add a message below `turn.parent` (saved already), and open there from now on; returns its id."""
        values = {**rows.columns(turn), "conversation": conversation, "created": turn.created}
        values["role"] = turn.role
        values["parent"] = turn.parent.id if turn.parent else None
        names = ", ".join(values)
        sql = f"INSERT INTO messages ({names}) VALUES ({', '.join(f':{name}' for name in values)})"
        with self.transaction(durable=True):
            beside = self.connection.execute(_IS_A_BRANCH, (conversation, values["parent"])).fetchone()
            row = self._inserted(sql, values)
            self.connection.execute(
                "UPDATE conversations SET leaf = ?, updated = ?, branches = branches + ? WHERE id = ?",
                (row, turn.created, int(beside is not None), conversation),
            )
            if turn.status != "streaming":
                index.put(self.connection, row, values["content"])
        return row

    def update(self, turn: Turn) -> None:
        """Write what a saved message has become; only a finished one waits until the disk has it."""
        values = rows.columns(turn)
        sql = f"UPDATE messages SET {', '.join(f'{name} = :{name}' for name in values)} WHERE id = :id"
        streaming = turn.status == "streaming"
        with self.transaction(durable=not streaming):
            before = "SELECT content, searched FROM messages WHERE id = ?"
            for content, searched in self.connection.execute(before, (turn.id,)).fetchall():
                if searched and (streaming or content != values["content"]):
                    index.drop(self.connection, turn.id or 0, content)
                    searched = False
                self.connection.execute(sql, {**values, "id": turn.id})
                if not searched and not streaming:
                    index.put(self.connection, turn.id or 0, values["content"])

    def open_at(self, conversation: int, leaf: Turn) -> None:
        """Open the conversation along the branch that ends with this message from now on."""
        with self.transaction():
            self.connection.execute("UPDATE conversations SET leaf = ? WHERE id = ?", (leaf.id, conversation))

    def tree(self, conversation: int) -> tuple[list[Turn], list[Turn]]:
        """Every message of a conversation: those that answer nothing, and those along its active path."""
        with self._told():
            leaf = self.connection.execute(
                "SELECT leaf FROM conversations WHERE id = ?", (conversation,)
            ).fetchone()
            beginnings, known = rows.tree(
                self.connection.execute(
                    "SELECT * FROM messages WHERE conversation = ? ORDER BY id", (conversation,)
                )
            )
        last = known.get(leaf["leaf"]) if leaf else None
        if last is None and beginnings:
            last = beginnings[-1]
        return beginnings, path_through(last) if last else []

    def turns(self, conversation: int) -> list[Turn]:
        """The messages of a conversation along its active path, oldest first."""
        return self.tree(conversation)[1]

    def conversations(self, limit: int = -1) -> list[Conversation]:
        """Pinned ones first, then the newest; -1: all of them."""
        with self._told():
            found = self.connection.execute(_LIST, (limit,)).fetchall()
        return [rows.conversation(row) for row in found]

    def rename(self, conversation: int, title: str) -> None:
        """Call it something else."""
        with self.transaction(durable=True):
            self.connection.execute(
                "UPDATE conversations SET title = ? WHERE id = ?", (encodable(title), conversation)
            )

    def pin(self, conversation: int, pinned: bool) -> None:
        """Have it stand above the others, or no longer."""
        with self.transaction():
            self.connection.execute(
                "UPDATE conversations SET pinned = ? WHERE id = ?", (int(pinned), conversation)
            )

    def said(self, limit: int = 500) -> list[str]:
        """What the user said in any conversation, newest first, each text once."""
        sql = """SELECT content FROM messages JOIN conversations ON conversations.id = conversation
            WHERE role = 'user' AND content != '' AND deleted IS NULL
            GROUP BY content ORDER BY max(messages.id) DESC LIMIT ?"""
        with self._told():
            return [row["content"] for row in self.connection.execute(sql, (limit,))]

    def delete(self, conversation: int) -> None:
        """Hide a conversation; `restore` brings it back until the store is closed."""
        self._hidden.add(conversation)
        with self.transaction():
            self.connection.execute(
                "UPDATE conversations SET deleted = ? WHERE id = ?", (time.time(), conversation)
            )

    def restore(self, conversation: int) -> None:
        """Undo `delete`."""
        self._hidden.discard(conversation)
        with self.transaction():
            self.connection.execute("UPDATE conversations SET deleted = NULL WHERE id = ?", (conversation,))

    def purge(self) -> None:
        """Remove for good what was deleted here, or a day ago by one that had no time to do it.

        What another smallchat deleted just now can still come back there.
        """
        ours = ", ".join(str(int(one)) for one in self._hidden)
        with self.transaction(durable=True):
            old = f"deleted < {time.time() - UNDO_SECONDS}"
            gone = f"SELECT id FROM conversations WHERE {old} OR deleted IS NOT NULL AND id IN ({ours})"
            ids = [row["id"] for row in self.connection.execute(gone)]
            found = f"SELECT id, content FROM messages WHERE searched AND conversation IN ({gone})"
            searched = self.connection.execute(found).fetchall()
            for message, content in searched:
                index.drop(self.connection, message, content)
            if searched:
                index.erase(self.connection)
            for table in ("drafts", "pastes"):
                self.connection.execute(f"DELETE FROM {table} WHERE conversation IN ({gone})")
            # A chain of messages that delete one another would be longer than SQLite follows (1000).
            self.connection.execute(f"UPDATE messages SET parent = NULL WHERE conversation IN ({gone})")
            self.connection.execute(f"DELETE FROM conversations WHERE id IN ({gone})")
        self.purged += ids

    def save_draft(self, conversation: int | None, text: str) -> None:
        """Keep what is typed and not sent; empty text: nothing is."""
        with self.transaction():
            self.connection.execute("DELETE FROM drafts WHERE conversation = ?", (conversation or NOT_BEGUN,))
            if text:
                self.connection.execute(
                    "INSERT INTO drafts VALUES (?, ?, ?)",
                    (conversation or NOT_BEGUN, encodable(text), time.time()),
                )

    def draft(self, conversation: int | None) -> str:
        """What was typed there and not sent."""
        sql = "SELECT text FROM drafts WHERE conversation = ?"
        with self._told():
            row = self.connection.execute(sql, (conversation or NOT_BEGUN,)).fetchone()
        return row["text"] if row else ""

    def save_pastes(self, conversation: int | None, texts: Sequence[str]) -> None:
        """Keep what was pasted for a message that is not sent."""
        key = conversation or NOT_BEGUN
        with self.transaction():
            self.connection.execute("DELETE FROM pastes WHERE conversation = ?", (key,))
            if texts:
                kept = json.dumps([encodable(text) for text in texts])
                self.connection.execute("INSERT INTO pastes VALUES (?, ?)", (key, kept))

    def pastes(self, conversation: int | None) -> list[str]:
        """What was pasted there for a message that is not sent."""
        sql = "SELECT texts FROM pastes WHERE conversation = ?"
        with self._told():
            row = self.connection.execute(sql, (conversation or NOT_BEGUN,)).fetchone()
        return list(json.loads(row["texts"])) if row else []

    def save_edit(self, conversation: int, message: int, text: str | None) -> None:
        """Keep what a message is being changed to; None: it is not, any more."""
        with self.transaction():
            self.connection.execute("DELETE FROM edits WHERE conversation = ?", (conversation,))
            if text is not None:
                self.connection.execute(
                    "INSERT INTO edits VALUES (?, ?, ?)", (conversation, message, encodable(text))
                )

    def edit(self, conversation: int | None) -> tuple[int, str] | None:
        """The message that is being changed there, and to what; None: none is."""
        sql = "SELECT message, text FROM edits WHERE conversation = ?"
        with self._told():
            row = self.connection.execute(sql, (conversation,)).fetchone()
        return (row["message"], row["text"]) if row else None

    def newest_draft(self) -> int | None:
        """The conversation that was being typed in last; None: a new one, or nowhere."""
        sql = "SELECT conversation FROM drafts ORDER BY saved DESC LIMIT 1"
        with self._told():
            row = self.connection.execute(sql).fetchone()
        return (row["conversation"] or None) if row else None

    def _prepare(self) -> None:
        connection = self.connection
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
        index.put_missing(connection)

    def _inserted(self, sql: str, values: Any) -> int:
        row = self.connection.execute(sql, values).lastrowid
        assert row is not None  # an INSERT always has one
        return row

    def _require_file(self) -> None:
        """SQLite would go on to write into a file that was removed, for nobody."""
        if self.saves and _identity(self.path) != self._identity:
            what = f"Conversations in {self.path}: the file was removed or replaced while in use"
            raise StorageError(what, "Put it back, or start smallchat again; until then nothing is saved")

    @contextlib.contextmanager
    def transaction(self, durable: bool = False) -> Iterator[None]:
        """All or nothing; within another one, a part of that.

        `durable`: survives a power failure too, at the price of waiting for the disk.
        """
        with self._told():
            within = self.connection.in_transaction
        if within:
            yield
            return
        with self._told():
            self._require_file()
            self.connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self.connection.execute("COMMIT")
            except BaseException:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def retried(self) -> Iterator[None]:
        """What fails within is tried again later: where it hurries, another program is waited for briefly."""
        if not self.hurried:
            yield
            return
        self._wait_for_others(BRIEF_SECONDS)
        try:
            yield
        finally:
            self._wait_for_others(BUSY_SECONDS)

    def _wait_for_others(self, seconds: float) -> None:
        with self._told():
            self.connection.execute(f"PRAGMA busy_timeout = {seconds * 1000:.0f}")

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Turn what SQLite and the system say into words for the user."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise explained(error, self.path) from error


def _prompt(system: str | None) -> str | None:
    return None if system is None else encodable(system)


def _identity(path: Path) -> tuple[int, int] | None:
    """What tells a file from another one of the same name; None: there is none."""
    with contextlib.suppress(OSError):
        status = path.stat()
        return status.st_dev, status.st_ino
    return None
