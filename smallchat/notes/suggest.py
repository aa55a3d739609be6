"""Suggestions for a note, made without a model: tags that similar notes bear, notes that it names."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from smallchat.errors import NotesError
from smallchat.matching import fold
from smallchat.notes import folder, names
from smallchat.notes.index import Index
from smallchat.notes.parse import parse, stem
from smallchat.notes.search import search
from smallchat.notes.words import STOP

NEIGHBOURS = 12
"""Similar passages that are asked for their tags."""
SHORTEST = 4
"""Letters of a title that is looked for in a text; a shorter one is found by chance."""
LONGEST_LINE = 10_000
"""Characters of a line in which names are looked for."""


@dataclass(frozen=True, slots=True)
class Mention:
    """Words of a note that are another note's name: line (from 1), the words as they stand, that note."""

    line: int
    words: str
    note: names.Named


def tags_for(index: Index, path: str, most: int = 5) -> list[str]:
    """Tags in use that would fit a note and that it does not bear, the best first. Raises `NotesError`."""
    text = text_of(index, path)
    note = parse(text, path)
    folded = fold(text)
    held = {fold(tag) for tag in note.tags}
    score: Counter[str] = Counter()
    known = names.tags(index)
    for tag, _ in known:
        words = [re.escape(word) for word in re.split(r"[/_-]+", fold(tag)) if word]
        if words and re.search(r"(?<!\w)" + r"\W+".join(words), folded):
            score[tag] += 3
    common = Counter(word for word in re.findall(r"\w{4,}", folded) if word not in STOP)
    question = f"{note.title} {' '.join(word for word, _ in common.most_common(12))}"
    near = dict.fromkeys(hit.path for hit in search(index, question, NEIGHBOURS) if hit.path != path)
    for rank, other in enumerate(near):
        for tag, _ in names.tags(index, other):
            score[tag] += 1 if rank < 3 else 0
    useful = [(tag, count) for tag, count in score.most_common() if fold(tag) not in held and count > 1]
    return [tag for tag, _ in useful[:most]]


def links_for(index: Index, path: str, most: int = 20) -> list[Mention]:
    """Names of other notes that a note says without linking to them, once each. Raises `NotesError`."""
    text = text_of(index, path)
    linked = {link.target for link in names.links(index, path)}
    wanted: dict[str, names.Named] = {}
    for note in names.titles(index):
        for name in (fold(note.title), fold(stem(note.path))):
            if note.path != path and len(name) >= SHORTEST and name not in linked and name not in STOP:
                wanted.setdefault(name, note)
    found: dict[str, Mention] = {}
    fenced = False
    front = text[: text.find("\n---", 3) + 4].count("\n") + 1 if text.startswith("---\n") else 0
    for number, line in enumerate(text.split("\n"), 1):
        fenced ^= line.lstrip().startswith(("```", "~~~"))
        if fenced or number <= front or line.startswith("#") or len(line) > LONGEST_LINE:
            continue
        folded = fold(line)
        for start, end in _word_runs(folded):
            there = wanted.get(folded[start:end])
            if there and there.path not in found and "[" not in line[max(0, start - 2) : start]:
                found[there.path] = Mention(number, line[start:end], there)
                break  # one to a line: a second one would have to count the first one's brackets
    return list(found.values())[:most]


def text_of(index: Index, path: str) -> str:
    """The text of a note. Raises `NotesError`."""
    try:
        return folder.decode(folder.read_bytes(index.root, path))
    except folder.UnreadableError as error:
        raise NotesError(f"The note {path} {error}", "See that it is there and readable") from error


def _word_runs(line: str, longest: int = 6) -> list[tuple[int, int]]:
    """Where one to `longest` words in a row stand, the longest first."""
    words = [match.span() for match in re.finditer(r"\w+", line)]
    return [
        (words[i][0], words[i + count - 1][1])
        for count in range(longest, 0, -1)
        for i in range(len(words) - count + 1)
    ]
