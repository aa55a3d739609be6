"""The database's tables, and the way from any older version to the newest one."""

from __future__ import annotations

import sqlite3

MIGRATIONS = (
    """
    CREATE TABLE conversations (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        title TEXT NOT NULL,
        system TEXT,
        leaf INTEGER REFERENCES messages (id) ON DELETE SET NULL,
        created REAL NOT NULL,
        updated REAL NOT NULL,
        deleted REAL
    ) STRICT;
    CREATE TABLE messages (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        conversation INTEGER NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
        parent INTEGER REFERENCES messages (id) ON DELETE CASCADE,
        role TEXT NOT NULL CHECK (role IN ('user', 'assistant')),
        content TEXT NOT NULL,
        status TEXT NOT NULL CHECK (status IN ('streaming', 'complete', 'stopped', 'failed')),
        model TEXT NOT NULL,
        sampling TEXT NOT NULL,
        finish TEXT NOT NULL,
        problem TEXT NOT NULL,
        trimmed INTEGER NOT NULL,
        prompt_tokens INTEGER,
        tokens INTEGER,
        speed REAL,
        created REAL NOT NULL
    ) STRICT;
    CREATE INDEX messages_of_conversation ON messages (conversation);
    CREATE INDEX messages_of_parent ON messages (parent);
    CREATE TABLE drafts (
        conversation INTEGER PRIMARY KEY,
        text TEXT NOT NULL,
        saved REAL NOT NULL
    ) STRICT;
    """,
    """
    ALTER TABLE messages ADD COLUMN given TEXT NOT NULL DEFAULT '';
    ALTER TABLE messages ADD COLUMN sources TEXT NOT NULL DEFAULT '[]';
    """,
    """
    ALTER TABLE conversations ADD COLUMN sampling TEXT NOT NULL DEFAULT '{}';
    ALTER TABLE conversations ADD COLUMN persona TEXT NOT NULL DEFAULT '';
    """,
    """
    ALTER TABLE conversations ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE conversations ADD COLUMN branches INTEGER NOT NULL DEFAULT 1;
    UPDATE conversations SET branches = max(1, (
        SELECT count(*) FROM messages AS ends WHERE ends.conversation = conversations.id
            AND NOT EXISTS (SELECT 1 FROM messages AS more WHERE more.parent = ends.id)
    ));
    ALTER TABLE messages ADD COLUMN searched INTEGER NOT NULL DEFAULT 0;
    CREATE INDEX messages_not_searched ON messages (id) WHERE NOT searched;
    CREATE TABLE edits (
        conversation INTEGER PRIMARY KEY REFERENCES conversations (id) ON DELETE CASCADE,
        message INTEGER NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
        text TEXT NOT NULL
    ) STRICT;
    CREATE VIRTUAL TABLE said USING fts5 (
        words, grams, content = '', tokenize = "unicode61 remove_diacritics 2", prefix = '2 3'
    );
    """,
    """
    ALTER TABLE messages ADD COLUMN ids BLOB NOT NULL DEFAULT x'';
    """,
    """
    ALTER TABLE messages ADD COLUMN attached TEXT NOT NULL DEFAULT '[]';
    CREATE TABLE pastes (conversation INTEGER PRIMARY KEY, texts TEXT NOT NULL) STRICT;
    """,
    """
    ALTER TABLE messages ADD COLUMN edited INTEGER NOT NULL DEFAULT 0;
    """,
)
"""Only ever appended to: entry n leads from version n to n + 1 (`PRAGMA user_version`).

`said` is filled by `chat.index`; `messages.searched` tells what it holds. Whoever changes what is put there
appends a step that empties it (`INSERT INTO said (said) VALUES ('delete-all')`) and sets `searched` to 0.
"""


def version(connection: sqlite3.Connection) -> int:
    """How many migrations the file has had."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the tables up to date; each step is there whole or not at all."""
    for step in range(version(connection), len(MIGRATIONS)):
        connection.executescript(
            f"BEGIN IMMEDIATE; {MIGRATIONS[step]} PRAGMA user_version = {step + 1}; COMMIT;"
        )
