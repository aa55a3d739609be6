"""The index of a note folder: one SQLite file that may be thrown away, kept by changes only.

A file whose size and date are as they were is not opened; one whose bytes are as they were is not read anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from smallchat.errors import NotesError
from smallchat.matching import fold, grams
from smallchat.notes import folder, schema
from smallchat.notes.parse import Parsed, parse, stem

BUSY_SECONDS = 20.0
"""How long to wait for another smallchat that indexes the same folder."""
BATCH = 200
"""Notes between two commits: what others wait for at the most, and what is lost when it is stopped."""
SAME_TICK = 2_000_000_000
"""Nanoseconds: a file changed so shortly before it was read may change again without a new date."""

Progress = Callable[[int, int], None]


@dataclass(slots=True)
class Report:
    """What a look at the folder found."""

    notes: int = 0
    changed: int = 0
    removed: int = 0
    skipped: dict[str, str] = field(default_factory=dict)
    """Files that look like notes and are not searched, each with the reason."""
    seconds: float = 0.0
    stopped: bool = False


class Index:
    """One folder's index. May be used from several threads, one at a time. Raises `NotesError`."""

    def __init__(self, root: Path, file: Path) -> None:
        """`root`: as `open_folder` gives it. A file that is damaged or of another version is made anew."""
        self.root = root
        self.file = file
        self.lock = threading.RLock()
        """Held while the connection is used."""
        with self.told():
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self.connection = self._open()
        except OSError as error:
            raise self._explained(error) from error
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError) and "malformed" not in str(error):
                raise self._explained(error) from error
            with self.told():
                self._throw_away()
                self.connection = self._open()

    def close(self) -> None:
        """Close the file. Never raises."""
        with self.lock, contextlib.suppress(sqlite3.Error):
            self.connection.close()

    def sync(self, stop: Callable[[], bool] = lambda: False, progress: Progress | None = None) -> Report:
        """Bring the index up to date with the folder. `stop` ends it early; what is done is kept.

        `progress` is told how many of how many changed notes are read.
        """
        began = time.perf_counter()
        report = Report()
        with self.told():
            with self.lock:
                sql = "SELECT path, size, modified, checked, skipped FROM notes"
                known = {row[0]: row[1:] for row in self.connection.execute(sql)}
            changed, seen = [], set()
            for entry in folder.walk(self.root, report.skipped.__setitem__):
                seen.add(entry.path)
                before = known.get(entry.path)
                if (
                    before is None
                    or before[:2] != (entry.size, entry.modified)
                    or before[1] > before[2] - SAME_TICK
                ):
                    changed.append(entry)
                elif before[3]:
                    report.skipped[entry.path] = before[3]
            gone = [path for path in known if path not in seen]
            with self._transaction():
                for path in gone:
                    self._remove(path)
            for start in range(0, len(changed), BATCH):
                with self._transaction():
                    for entry in changed[start : start + BATCH]:
                        if stop():
                            report.stopped = True
                            break
                        report.changed += self._read(entry, report)
                if report.stopped:
                    break
                if progress is not None:
                    progress(min(start + BATCH, len(changed)), len(changed))
        report.notes = len(seen) - sum(path in seen for path in report.skipped)
        report.removed = len(gone)
        report.seconds = time.perf_counter() - began
        return report

    @contextlib.contextmanager
    def told(self) -> Iterator[None]:
        """Turn what SQLite and the system say into words for the user."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise self._explained(error) from error

    def _read(self, entry: folder.Entry, report: Report) -> bool:
        """Read one file anew; True where its text is another than it was."""
        now = time.time_ns()
        title, hash_, skipped, note = stem(entry.path), b"", "", None
        try:
            data = folder.read_bytes(self.root, entry.path)
            hash_ = hashlib.sha256(data).digest()
            before = self.connection.execute(
                "SELECT id, hash, skipped FROM notes WHERE path = ?", (entry.path,)
            ).fetchone()
            if before and before[1] == hash_:
                sql = "UPDATE notes SET size = ?, modified = ?, checked = ? WHERE id = ?"
                self.connection.execute(sql, (entry.size, entry.modified, now, before[0]))
                if before[2]:
                    report.skipped[entry.path] = before[2]
                return False
            note = parse(folder.decode(data), entry.path)
            title = note.title
        except folder.UnreadableError as error:
            skipped = report.skipped[entry.path] = str(error)
        self._remove(entry.path)
        row = self.connection.execute(
            "INSERT INTO notes VALUES (NULL, ?, ?, ?, ?, ?, ?, ?)",
            (entry.path, entry.size, entry.modified, now, hash_, title, skipped),
        ).lastrowid
        if note is not None and row is not None:
            self._add(row, entry.path, note)
        return note is not None

    def _add(self, row: int, path: str, note: Parsed) -> None:
        run = self.connection.executemany
        own = stem(path)
        names = {fold(name): None for name in (note.title, own, path, path.rpartition(".")[0], *note.aliases)}
        run("INSERT INTO names VALUES (?, ?)", [(row, name) for name in names])
        run("INSERT INTO tags VALUES (?, ?)", [(row, tag) for tag in note.tags])
        run(
            "INSERT INTO links VALUES (?, ?, ?)", [(row, fold(link.target), link.line) for link in note.links]
        )
        title = " ".join(dict.fromkeys((note.title, own, *note.aliases)))
        tags = " ".join(note.tags)
        for passage in note.passages:
            headings = " › ".join(passage.headings)
            links = " ".join(link.target for link in note.links if passage.first <= link.line <= passage.last)
            pieces = grams("\n".join((title, tags, headings, passage.text)))
            sql = "INSERT INTO passages (note, headings, first, last) VALUES (?, ?, ?, ?)"
            key = self.connection.execute(sql, (row, headings, passage.first, passage.last)).lastrowid
            self.connection.execute(
                f"INSERT INTO words (rowid, {schema.COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (key, title, headings, tags, links, passage.text, pieces),
            )

    def _remove(self, path: str) -> None:
        found = self.connection.execute("SELECT id FROM notes WHERE path = ?", (path,)).fetchone()
        if not found:
            return
        run = self.connection.execute
        run("DELETE FROM words WHERE rowid IN (SELECT id FROM passages WHERE note = ?)", found)
        for table in ("passages", "names", "tags", "links"):
            run(f"DELETE FROM {table} WHERE note = ?", found)
        run("DELETE FROM notes WHERE id = ?", found)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        with self.lock:
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self.connection.execute("COMMIT")
            except BaseException:
                if self.connection.in_transaction:  # SQLite may have rolled back by itself
                    self.connection.execute("ROLLBACK")
                raise

    def _open(self) -> sqlite3.Connection:
        self.file.touch(mode=0o600)
        connection = sqlite3.connect(
            self.file, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = OFF")  # what a power failure damages is made anew
            found = connection.execute("PRAGMA user_version").fetchone()[0]
            if found not in (0, schema.VERSION):
                raise sqlite3.DatabaseError("another version")
            if found == 0:
                connection.execute("BEGIN IMMEDIATE")
                if connection.execute("PRAGMA user_version").fetchone()[0] == 0:  # nobody else was faster
                    for statement in schema.TABLES.split(";"):
                        connection.execute(statement)
                    connection.execute(f"PRAGMA user_version = {schema.VERSION}")
                connection.execute("COMMIT")
        except BaseException:
            connection.close()
            raise
        return connection

    def _throw_away(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            self.file.with_name(self.file.name + suffix).unlink(missing_ok=True)

    def _explained(self, error: sqlite3.Error | OSError) -> NotesError:
        said = (error.strerror if isinstance(error, OSError) else None) or str(error)
        cure = "It may be deleted at any time: it is made anew from the notes"
        if "full" in said or "No space" in said:
            cure = "Make room on the disk"
        elif "locked" in said:
            cure = "Another smallchat is indexing the same folder: wait, or close it"
        elif isinstance(error, PermissionError):
            cure = "Give yourself the right to write to the file and its folder"
        return NotesError(f"The index of the notes, {self.file}: {said}", cure)
