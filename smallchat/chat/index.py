"""What of the messages can be searched: rows of the table `said`, one for each message that is complete.

The table keeps no text, only where which word stands: the text is in `messages`. So a row can only be taken
out with the very text that it was made from. `messages.searched` says which rows are there.
"""

from __future__ import annotations

import sqlite3
import unicodedata

from smallchat.matching import UNSPACED, grams

CHUNK = 200
"""Messages that are put in at once: whoever wants to save meanwhile waits for no more."""


def put(connection: sqlite3.Connection, message: int, content: str) -> None:
    """Have the search find a message. Within a transaction."""
    connection.execute("INSERT INTO said (rowid, words, grams) VALUES (?, ?, ?)", (message, *_row(content)))
    connection.execute("UPDATE messages SET searched = 1 WHERE id = ?", (message,))


def drop(connection: sqlite3.Connection, message: int, content: str) -> None:
    """Have it no longer found; `content`: with which it was put in. Within a transaction."""
    connection.execute(
        "INSERT INTO said (said, rowid, words, grams) VALUES ('delete', ?, ?, ?)", (message, *_row(content))
    )
    connection.execute("UPDATE messages SET searched = 0 WHERE id = ?", (message,))


def erase(connection: sqlite3.Connection) -> None:
    """Have no word stay of what was dropped. Within a transaction; takes a second for 100 MB of messages."""
    # Until it is merged, FTS5 keeps the words and only marks them as gone.
    connection.execute("INSERT INTO said (said) VALUES ('optimize')")


def put_missing(connection: sqlite3.Connection) -> int:
    """Put in `CHUNK` messages that are not there yet, as those of an older version.

    Returns how many are left. Begins and ends its own transaction.
    """
    missing = "FROM messages WHERE NOT searched AND status != 'streaming'"
    if connection.execute(f"SELECT 1 {missing} LIMIT 1").fetchone() is None:
        return 0
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Newest first: those are looked for most.
        rows = connection.execute(f"SELECT id, content {missing} ORDER BY id DESC LIMIT {CHUNK}").fetchall()
        for message, content in rows:
            put(connection, message, content)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return int(connection.execute(f"SELECT count(*) {missing}").fetchone()[0])


def _row(content: str) -> tuple[str, str]:
    """Words, and pieces of scripts without spaces; a whole sentence of those would be one word of no use."""
    content = unicodedata.normalize("NFKC", content)
    pieces = grams(content)
    return (UNSPACED.sub(" ", content) if pieces else content), pieces
