"""Finding passages: BM25 over the index, then the passages that hold more of what was asked come first."""

from __future__ import annotations

import math
import re
import sqlite3
from dataclasses import dataclass

from rapidfuzz import process
from rapidfuzz.distance import OSA

from smallchat.matching import fold, snippet
from smallchat.notes.index import Index
from smallchat.notes.schema import WEIGHTS
from smallchat.notes.words import Term, exactly, is_gram, terms

CANDIDATES = 80
"""Passages that BM25 proposes, and that are then looked at one by one."""
OF_ONE_NOTE = 20
"""Of those a note has so many before every other that is found has as many."""
FITS = 0.35
"""Share of a question (rare words count more) that a passage holds at least, if it is to be an answer."""
UNKNOWN = (0.6, 0.1)
"""What a word counts that no note holds, and a piece of an unspaced script that none holds."""
NEAR = 3
"""Words of the notes that a mistyped word may stand for."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage that was found. Lines count from 1; `marks` are places in `snippet` to be made bold."""

    path: str
    title: str
    headings: str
    """The way to it from the note's top, joined by " › "; empty: no heading."""
    first: int
    last: int
    text: str
    score: float
    coverage: float
    """Share of the question that it holds, 0 to 1."""
    snippet: str
    marks: tuple[tuple[int, int], ...]

    @property
    def fits(self) -> bool:
        """Whether it holds enough of the question to be asked about."""
        return self.coverage >= FITS

    @property
    def trail(self) -> str:
        """`Note › Heading`."""
        return f"{self.title} › {self.headings}" if self.headings else self.title


def search(index: Index, question: str, limit: int = 10, as_typed: bool = False) -> list[Hit]:
    """Passages for a question or a few words, best first. `as_typed`: the last word may still be growing.

    Raises `NotesError` where the index fails.
    """
    wanted = terms(question, as_typed)
    if not wanted:
        return []
    with index.told(), index.lock:
        total = index.connection.execute("SELECT count(*) FROM passages").fetchone()[0]
        groups = [_Group(term, *_looked_up(index.connection, term)) for term in wanted]
        match = " OR ".join(term.match for group in groups for term in group.terms)
        if not match:
            return []
        must = [group.asked.match for group in groups if group.asked.kind == "phrase" and group.count]
        match = " AND ".join([*must, f"({match})"])
        rows = index.connection.execute(
            f"""WITH found AS MATERIALIZED (
                SELECT rowid AS id, bm25(words, {WEIGHTS}) AS score FROM words WHERE words MATCH ?
            ), placed AS (
                SELECT found.id, score, row_number() OVER (PARTITION BY note ORDER BY score) - 1 AS place
                FROM found JOIN passages ON passages.id = found.id
            ), proposed AS (
                SELECT id, score FROM placed ORDER BY place / {OF_ONE_NOTE}, score LIMIT ?
            )
            SELECT notes.path, notes.title, passages.headings, passages.first, passages.last,
                words.body, words.tags, words.links, words.title, score
            FROM proposed JOIN words ON words.rowid = proposed.id
                JOIN passages ON passages.id = proposed.id JOIN notes ON notes.id = passages.note""",
            (match, max(CANDIDATES, limit)),
        ).fetchall()
    for group in groups:
        group.weigh(total)
    hits = [_hit(row, groups) for row in rows]
    hits.sort(key=lambda hit: (-hit.score, hit.path, hit.first))
    return hits[:limit]


class _Group:
    """A term of the question and what it is looked up as: itself, or words it may be mistyped for."""

    def __init__(self, asked: Term, found: list[Term], count: int) -> None:
        self.asked = asked
        self.terms = found
        self.count = count
        self.pattern = re.compile("|".join(term.pattern for term in found) or r"(?!)")
        self.weight = 0.0

    def weigh(self, total: int) -> None:
        """Rare words say more. What occurs nowhere was asked in other words than the notes', or, as two
        characters of an unspaced script, is mostly no word at all."""
        rarity = math.log(1 + (total - self.count + 0.5) / (self.count + 0.5))
        known = 1.0 if self.count else UNKNOWN[self.asked.kind == "piece"]
        self.weight = rarity * self.asked.weight * known


def _worth(groups: list[_Group]) -> float:
    """What these say of the question: a character that two pieces share counts once."""
    units: dict[str, float] = {}
    for group in groups:
        for unit in group.asked.units:
            units[unit] = max(units.get(unit, 0.0), group.weight)
    return sum(units.values())


def _looked_up(connection: sqlite3.Connection, term: Term) -> tuple[list[Term], int]:
    count = _count(connection, term.match)
    if count:
        return [term], count
    if term.kind == "piece" or len(term.text) < 4 or not term.text.isalpha():
        return [], 0
    found = [exactly(word, 0.8) for word in _near(connection, term.text, term.kind == "prefix")]
    return found, sum(_count(connection, near.match) for near in found)


def _count(connection: sqlite3.Connection, match: str) -> int:
    return int(connection.execute("SELECT count(*) FROM words WHERE words MATCH ?", (match,)).fetchone()[0])


def _near(connection: sqlite3.Connection, word: str, growing: bool) -> list[str]:
    """Words of the notes one slip away (two, where the word is long), the likeliest first."""
    slips = 1 if len(word) < 8 else 2
    sql = "SELECT term, doc FROM vocabulary WHERE length(term) BETWEEN ? AND ?"
    longest = 60 if growing else len(word) + slips
    known = {
        term: doc
        for term, doc in connection.execute(sql, (len(word) - slips, longest))
        if not is_gram(term) and not term.isdigit()
    }
    # The beginning of a growing word is compared, whatever follows it; a slip may have made it longer.
    ends = range(len(word) - slips, len(word) + slips + 1) if growing else (longest,)
    choices = {(term, end): term[:end] for term in known for end in ends}
    found = process.extract(word, choices, scorer=OSA.distance, score_cutoff=slips, limit=None)
    found.sort(key=lambda one: (one[1], one[0][0] != word[0], -known[one[2][0]]))
    return list(dict.fromkeys(term for _, _, (term, _) in found))[:NEAR]


def _hit(row: tuple[str, str, str, int, int, str, str, str, str, float], groups: list[_Group]) -> Hit:
    path, title, headings, first, last, body, tags, links, names, score = row
    around = fold(f"{names}\n{headings}\n{tags}\n{links}")
    text = fold(body)
    held: list[_Group] = []
    places: list[tuple[int, int, int]] = []
    for number, group in enumerate(groups):
        at = [(match.start(), match.end(), number) for match in group.pattern.finditer(text)]
        if at or group.pattern.search(around):
            held.append(group)
        places += at[:50]
    coverage = _worth(held) / (_worth(groups) or 1.0)
    shown, marks = snippet(body, sorted(places))
    return Hit(
        path,
        title,
        headings,
        first,
        last,
        body,
        -score * (0.2 + coverage * coverage),
        coverage,
        shown,
        marks,
    )
