"""From a question to what is looked up: words with their beginnings, pieces of unspaced scripts, phrases.

The index holds words as they stand. A word of a question also finds longer words that begin with its stem
("deciding": decide, decided).
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, replace

from smallchat.matching import UNSPACED, fold

_WORD = re.compile(r"\w+")
_QUOTED = re.compile(r'["“„«]([^"“”„«»]{2,200})["”“»]')

MOST = 40
"""Terms of a question at the most: a pasted page is not looked up whole."""

_ENGLISH = (
    "a about after all also am an and any are as at be been before but by can could did do does doing "
    "done for from get had has have he her here him his how i if in into is it its just me more most my "
    "no nor not of on one or our out over own please s say said says she should so some such t tell than "
    "that the their them then there these they this those to too up us was we were what when where which "
    "while who whom whose why will with would you your note notes know write wrote written"
)
_OTHERS = (
    "der die das den dem ein eine und ist sind war wie was wer wo wann warum welche welcher ich mir mein "
    "meine zu im le la les un une des du et est sont qui que quoi quand comment pourquoi quel quelle je "
    "mon ma mes dans sur el los las uno una y es son quien cuando como donde cual cuanto mi en il lo gli "
    "e chi che cosa dove o os as um uma quem onde qual"
)
STOP = frozenset(_ENGLISH.split() + _OTHERS.split())
"""Words of a question that say nothing about what it is about."""

_STOP_CHARACTERS = re.compile(
    "[的是了在我你您他她它们吗呢吧啊么什怎哪谁几和与及这那有没不多少请のはがをにでともかへやです。]+"
)
"""Characters of Chinese and Japanese that divide a question into its words."""

_ENDINGS = (
    *(
        "izations",
        "ization",
        "ations",
        "ation",
        "ments",
        "ment",
        "nesses",
        "ness",
        "ings",
        "ing",
        "ions",
        "ion",
    ),
    *("edly", "ed", "ers", "er", "ies", "ied", "ly", "es", "s"),
)
_GRAM = re.compile(r"g[0-9a-f]{5}(?:[0-9a-f]{5})?")


@dataclass(frozen=True, slots=True)
class Term:
    """One thing to look up. `pattern` finds it in `fold`ed text, `match` (FTS5) in the index."""

    text: str
    match: str
    pattern: str
    weight: float = 1.0
    kind: str = "word"
    """word, prefix (the end is still being typed), piece (of an unspaced script) or phrase."""
    units: tuple[str, ...] = ()
    """What of the question it stands for: neighbouring pieces share a character."""


def is_gram(word: str) -> bool:
    """A word of the index that `grams` made."""
    return _GRAM.fullmatch(word) is not None


def terms(question: str, as_typed: bool = False) -> list[Term]:
    """What to look up, most `MOST` terms, none twice; empty where the question holds no word.

    `as_typed`: the last word may be only its beginning.
    """
    question = unicodedata.normalize("NFKC", question)[:4000]
    found: dict[str, Term] = {}
    for phrase in _QUOTED.findall(question):
        words = _WORD.findall(fold(phrase))
        if len(words) > 1 and not UNSPACED.search(phrase):
            text = " ".join(words)
            found[text] = Term(text, f'"{text}"', r"\W+".join(map(re.escape, words)), 2.0, "phrase")
    rest = UNSPACED.sub(" ", question)
    words = _WORD.findall(fold(rest).replace("_", " "))
    open_end = as_typed and bool(words) and rest.rstrip(" ") == rest and rest[-1:].isalnum()
    said = [word for word in words if word not in STOP] or words
    for word in said:
        found.setdefault(word, _word(word))
    if open_end:
        found[words[-1]] = replace(_prefix(words[-1]), kind="prefix")
    for number, run in enumerate(UNSPACED.findall(question)):
        for part, piece in enumerate([piece for piece in _STOP_CHARACTERS.split(run) if piece] or [run]):
            units = [f"{number} {part} {place}" for place in range(len(piece))]
            for start in range(max(1, len(piece) - 1)):
                gram = piece[start : start + 2]
                found.setdefault(gram, _gram(gram, tuple(units[start : start + 2])))
    return [term if term.units else replace(term, units=(term.text,)) for term in found.values()][:MOST]


def exactly(word: str, weight: float) -> Term:
    """A word of the index itself, instead of one that was mistyped."""
    return Term(word, f'"{word}"', rf"(?<!\w){re.escape(word)}(?!\w)", weight)


def stem(word: str) -> str:
    """The beginning that forms of an English word share, at least four letters long; else the word."""
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 4:
            word = word.removesuffix(ending)
            break
    if len(word) > 4 and word[-1] == word[-2] and word[-1] not in "aeiouls":
        word = word[:-1]
    return word[:-1] if len(word) > 4 and word[-1] in "ey" else word


def _word(word: str) -> Term:
    root = stem(word)
    if len(word) < 3:
        return exactly(word, 0.5)
    if len(root) < 4:
        return Term(word, f'("{word}" OR "{word}s")', rf"(?<!\w){re.escape(word)}s?(?!\w)")
    return Term(word, f'("{word}" OR "{root}"*)', rf"(?<!\w){re.escape(root)}\w*")


def _prefix(word: str) -> Term:
    return Term(word, f'"{word}"*', rf"(?<!\w){re.escape(word)}\w*")


def _gram(piece: str, units: tuple[str, ...]) -> Term:
    code = "".join(f"{ord(character):05x}" for character in piece)
    match = f'"g{code}"*' if len(piece) == 1 else f'"g{code}"'
    return Term(piece, match, re.escape(fold(piece)), 0.5, "piece", units)
