"""Notes by their names: which note a link means, tags, links and what links back."""

from __future__ import annotations

from dataclasses import dataclass

from rapidfuzz import process
from rapidfuzz.distance import OSA

from smallchat.errors import NotesError
from smallchat.matching import fold
from smallchat.notes.index import Index
from smallchat.utf8 import encodable


@dataclass(frozen=True, slots=True)
class Named:
    """A note: its place below the folder, and its title."""

    path: str
    title: str


@dataclass(frozen=True, slots=True)
class Linked:
    """A link from `path`, line `line`; `target` the name it gives (folded), `to` the note of it."""

    path: str
    line: int
    target: str
    to: Named | None


def find(index: Index, name: str) -> Named:
    """The note that `name` means: a title, an alias, a file's name or its path, with or without ending.

    Raises `NotesError` where there is none, or several; it names those that are near.
    """
    name = encodable(name)
    wanted = fold(name.strip().removeprefix("[[").removesuffix("]]").strip().removeprefix("./"))
    sql = """SELECT DISTINCT path, title FROM names JOIN notes ON notes.id = names.note
        WHERE name = ? ORDER BY path"""
    with index.told(), index.lock:
        found = [Named(*row) for row in index.connection.execute(sql, (wanted,))]
    if len(found) == 1:
        return found[0]
    if found:
        paths = ", ".join(note.path for note in found[:5])
        raise NotesError(f"{len(found)} notes are called {name!r}: {paths}", "Give the path of one")
    near = _near(index, wanted)
    cure = f"Perhaps: {', '.join(near)}" if near else "Give a title, or a path below the note folder"
    raise NotesError(f"There is no note {name!r}", cure)


def below(index: Index, folder: str) -> list[Named]:
    """The notes in a folder of the note folder and in its folders, by path; empty where there are none."""
    start = encodable(folder).strip().strip("/") + "/"
    sql = "SELECT path, title FROM notes WHERE substr(path, 1, ?) = ? AND skipped = '' ORDER BY path"
    with index.told(), index.lock:
        return [Named(*row) for row in index.connection.execute(sql, (len(start), start))]


def titles(index: Index) -> list[Named]:
    """Every note, by path."""
    sql = "SELECT path, title FROM notes WHERE skipped = '' ORDER BY path"
    with index.told(), index.lock:
        return [Named(*row) for row in index.connection.execute(sql)]


def tags(index: Index, path: str | None = None) -> list[tuple[str, int]]:
    """Tags with the number of notes that bear each, the most used first; of one note, or of all."""
    one = (
        "WHERE tag IN (SELECT tag FROM tags JOIN notes ON notes.id = tags.note WHERE path = ?)"
        if path
        else ""
    )
    sql = f"SELECT tag, count(DISTINCT note) AS n FROM tags {one} GROUP BY tag ORDER BY n DESC, tag"
    with index.told(), index.lock:
        return [(tag, n) for tag, n in index.connection.execute(sql, (path,) if path else ())]


def links(index: Index, path: str) -> list[Linked]:
    """Where a note links to, in its order."""
    sql = """SELECT notes.path, links.line, links.target, min(there.path), there.title
        FROM notes JOIN links ON links.note = notes.id
        LEFT JOIN names ON names.name = links.target LEFT JOIN notes AS there ON there.id = names.note
        WHERE notes.path = ? GROUP BY links.rowid ORDER BY links.line"""
    return _linked(index, sql, path)


def backlinks(index: Index, path: str) -> list[Linked]:
    """What links to a note, by path and line."""
    sql = """SELECT DISTINCT notes.path, links.line, links.target, there.path, there.title
        FROM notes AS there JOIN names ON names.note = there.id
        JOIN links ON links.target = names.name JOIN notes ON notes.id = links.note
        WHERE there.path = ? AND notes.id <> there.id ORDER BY notes.path, links.line"""
    return _linked(index, sql, path)


def _linked(index: Index, sql: str, path: str) -> list[Linked]:
    with index.told(), index.lock:
        rows = index.connection.execute(sql, (path,)).fetchall()
    return [
        Linked(at, line, target, Named(there, title) if there is not None else None)
        for at, line, target, there, title in rows
    ]


def _near(index: Index, wanted: str) -> list[str]:
    with index.told(), index.lock:
        sql = "SELECT name, title FROM names JOIN notes ON notes.id = names.note"
        known = dict(index.connection.execute(sql).fetchall())
    found = process.extract(wanted, known.keys(), scorer=OSA.normalized_similarity, score_cutoff=0.6, limit=3)
    holding = [title for folded, title in known.items() if wanted and wanted in folded]
    return list(dict.fromkeys([known[key] for key, _, _ in found] + holding[:3]))[:3]
