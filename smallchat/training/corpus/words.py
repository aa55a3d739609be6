"""Names, places and things from `text/words.txt`, and words nobody has seen.

The lists are long and invented words are mixed in, because copying a word out of a note has to be learned as
copying, not as a choice among known words.
"""

from __future__ import annotations

import random

from .source import lines


def _read() -> dict[str, list[str]]:
    lists: dict[str, list[str]] = {}
    name = ""
    for line in lines("words.txt"):
        if line.startswith("# "):
            name = line[2:]
            lists[name] = []
        else:
            lists[name] += line.split("|")
    return lists


LISTS = _read()
SIMPLE = sorted(
    {
        word
        for name in ("nouns", "pets", "colours", "foods", "adjectives")
        for word in LISTS[name]
        if word.isalpha()
    }
)


def invented(rng: random.Random) -> str:
    """A capitalised word that is in no list, such as Braidor."""
    count = rng.choice((1, 1, 2))
    word = "".join(
        rng.choice(LISTS["starts"]) + rng.choice(LISTS["middles"]) for _ in range(count)
    ) + rng.choice(LISTS["ends"])
    return word.capitalize()


def word(rng: random.Random) -> str:
    """A word: of the lists, or one nobody has seen."""
    return rng.choice(SIMPLE) if rng.random() < 0.7 else invented(rng).lower()


def words(rng: random.Random, low: int, high: int) -> list[str]:
    """Different words."""
    wanted = rng.randrange(low, high + 1)
    found: list[str] = []
    while len(found) < wanted:
        one = word(rng)
        if one not in found:
            found.append(one)
    return found
