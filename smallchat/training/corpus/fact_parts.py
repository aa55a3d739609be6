"""What facts are made of: a question with its answer, and the words for deeds, things and attributes."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Protocol

from .grammar import expand
from .source import lines
from .values import value


@dataclass(frozen=True)
class Asked:
    """A question, its answer, and the values that the answer must hold."""

    question: str
    answer: str
    wanted: tuple[str, ...]


class Fact(Protocol):
    """Something that a line of a note says."""

    line: str

    def ask(self, rng: random.Random) -> Asked:
        """One of its questions, with the answer."""
        ...

    def near(self, rng: random.Random) -> Fact:
        """Another fact that shares a name with this one and answers none of its questions."""
        ...


def _sections() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in lines("events.txt"):
        if line.startswith("# "):
            found[line[2:]] = name = []
        else:
            name.append(line)
    return found


_TEXT = _sections()
THINGS = {name: things.split("|") for name, things in (line.split(": ", 1) for line in _TEXT["kinds"])}
ATTRIBUTES = [
    (kind, name)
    for kind, names in (line.split(": ", 1) for line in _TEXT["attributes"])
    for name in names.split("|")
]
ADJECTIVES = _TEXT["adjectives"][0].split("|")
REASONS = _TEXT["reasons"][0].split("|")
PURPOSES = _TEXT["purposes"][0].split("|")
ENTITIES = _TEXT["entities"][0].split("|")
FILLERS = _TEXT["fillers"]
TITLES = _TEXT["titles"][0].split("|")
HEADINGS = _TEXT["headings"][0].split("|")


@dataclass(frozen=True)
class Deed:
    """Words for one deed, each (base, past, participle), and the kinds of things that it is done to."""

    words: tuple[tuple[str, str, str], ...]
    kinds: tuple[str, ...]


def _deed(line: str) -> Deed:
    words, kinds = line.split(" | ")
    forms = [tuple(word.split("/")) for word in words.split("; ")]
    return Deed(tuple((a, b, c) for a, b, c in forms), tuple(kinds.split()))


DEEDS = [_deed(line) for line in _TEXT["deeds"]]


def filled(rng: random.Random, template: str, held: bool) -> str:
    """`{slot}` in titles and entities replaced by values; `{adj}` and kinds of things too."""
    for name in ("adj", *(kind for kind in THINGS if kind != "place")):
        if "{" + name + "}" in template:
            template = template.replace(
                "{" + name + "}", rng.choice(ADJECTIVES if name == "adj" else THINGS[name])
            )
    for name in ("person", "place", "day", "month", "name", "n"):
        if "{" + name + "}" in template:
            template = template.replace("{" + name + "}", value(rng, name, held))
    return template


def filler(rng: random.Random) -> str:
    """A sentence that says nothing that is asked about."""
    return expand(rng, rng.choice(FILLERS))
