"""Little tasks on words: letters, spelling, counting, groups, opposites, rhymes. See `tasks`."""

from __future__ import annotations

import random
import re

from .grammar import article, capital, choose, joined
from .source import task_lists
from .words import word, words

_TEXT = task_lists()
GROUPS = {name: members.split("|") for name, members in (line.split(": ") for line in _TEXT["groups"])}
PAIRS = {
    name: [tuple(pair.split("/")) for pair in _TEXT[name]]
    for name in ("opposites", "plurals", "pasts", "rhymes")
}
PLAIN = _TEXT["plain sentences"]


def _phrase(rng: random.Random) -> str:
    return rng.choice(PLAIN) if rng.random() < 0.5 else " ".join(words(rng, 1, 5))


def upper(rng: random.Random, held: bool) -> tuple[str, str]:
    """In capitals."""
    said = _phrase(rng)
    asks = (
        f"upper case: {said}",
        f"write in capitals: {said}",
        f"in capital letters: {said}",
        f"write {said} in upper case",
        f"make this upper-case: {said}",
        f"can you put this into capital letters: {said}",
    )
    return choose(rng, asks, held), said.upper()


def lower(rng: random.Random, held: bool) -> tuple[str, str]:
    """In small letters."""
    said = _phrase(rng)
    shown = rng.choice((said.upper(), said.title()))
    asks = (
        f"lower case: {shown}",
        f"write in small letters: {shown}",
        f"in lower case: {shown}",
        f"no capitals, please: {shown}",
        f"turn this into small letters: {shown}",
    )
    return choose(rng, asks, held), said


def title(rng: random.Random, held: bool) -> tuple[str, str]:
    """A capital for every word."""
    said = " ".join(words(rng, 2, 4))
    asks = (
        f"title case: {said}",
        f"write as a title: {said}",
        f"capitalise each word: {said}",
        f"a capital for every word: {said}",
    )
    return choose(rng, asks, held), said.title()


def tidy(rng: random.Random, held: bool) -> tuple[str, str]:
    """Capitals and the full stop of a sentence put right."""
    said = rng.choice(PLAIN)
    proper = re.sub(r"\bi\b", "I", said)
    proper = re.sub(r"\bmonday\b", "Monday", proper)
    asks = (
        f"fix the capitals and the full stop: {said}",
        f"correct: {said}",
        f"write this properly: {said}",
        f"tidy up this sentence: {said}",
        f"put capitals and a full stop where they belong: {said}",
    )
    return choose(rng, asks, held), f"{capital(proper)}."


def spell(rng: random.Random, held: bool) -> tuple[str, str]:
    """A word letter by letter."""
    one = word(rng)
    asks = (
        f"spell {one}",
        f"how do you spell {one}?",
        f"spell the word {one}",
        f"spell out {one}, letter by letter",
        f"what are the letters of {one}?",
    )
    return choose(rng, asks, held), "-".join(one.upper()) + "."


def letters(rng: random.Random, held: bool) -> tuple[str, str]:
    """How many letters a word has, counted one by one."""
    one = word(rng)
    asks = (
        f"how many letters has {one}?",
        f"how many letters are in {one}?",
        f"count the letters of {one}",
        f"{one}: how many letters?",
        f"of how many letters is the word {one} made?",
    )
    counted = ", ".join(f"{letter} {i}" for i, letter in enumerate(one, 1))
    return choose(rng, asks, held), f"{counted}: {one} has {len(one)} letters."


def count_words(rng: random.Random, held: bool) -> tuple[str, str]:
    """How many words there are, counted one by one."""
    parts = words(rng, 2, 8)
    said = " ".join(parts)
    asks = (
        f"how many words: {said}",
        f"count the words: {said}",
        f"how many words are in this: {said}?",
        f"what is the number of words in: {said}",
    )
    counted = ", ".join(f"{one} {i}" for i, one in enumerate(parts, 1))
    return choose(rng, asks, held), f"{counted}: {len(parts)} words."


def initial(rng: random.Random, held: bool) -> tuple[str, str]:
    """The first or the last letter of a word."""
    one = word(rng)
    if rng.random() < 0.5:
        asks: tuple[str, ...] = (
            f"what is the first letter of {one}?",
            f"which letter does {one} begin with?",
            f"first letter of {one}?",
            f"{one} starts with which letter?",
        )
        return choose(rng, asks, held), f"{capital(one)} begins with {one[0].upper()}."
    asks = (
        f"what is the last letter of {one}?",
        f"which letter does {one} end with?",
        f"last letter of {one}?",
        f"{one} ends in which letter?",
    )
    return choose(rng, asks, held), f"{capital(one)} ends with {one[-1].upper()}."


def acronym(rng: random.Random, held: bool) -> tuple[str, str]:
    """The first letters of several words."""
    parts = words(rng, 2, 5)
    said = " ".join(parts)
    asks = (
        f"first letters of: {said}",
        f"make an acronym: {said}",
        f"what are the first letters of these words: {said}?",
        f"acronym for {said}?",
        f"take the first letter of each word: {said}",
    )
    return choose(rng, asks, held), "".join(one[0].upper() for one in parts)


def group(rng: random.Random, held: bool) -> tuple[str, str]:
    """Members of a group, which group a thing is of, or the one of another group."""
    name = rng.choice(list(GROUPS))
    one = rng.choice(GROUPS[name])
    if rng.random() < 0.4:
        members = rng.sample(GROUPS[name], rng.choice((3, 3, 4, 5)))
        count = {3: "three", 4: "four", 5: "five"}[len(members)]
        plural = name if name in ("furniture", "clothing") else f"{name}s"
        kinds = f"kinds of {plural}" if name in ("furniture", "clothing") else plural
        asks: tuple[str, ...] = (
            f"name {count} {kinds}",
            f"tell me {count} {kinds}",
            f"list {count} {kinds}",
            f"give me {count} {kinds}",
            f"do you know {count} {kinds}?",
        )
        return choose(rng, asks, held), f"{capital(joined(members))}."
    other = rng.choice([g for g in GROUPS if g != name and one not in GROUPS[g]])
    first, second = (name, other) if rng.random() < 0.5 else (other, name)

    def a(noun: str) -> str:
        return noun if noun in ("furniture", "clothing") else article(noun)

    if rng.random() < 0.4:
        odd = rng.choice(GROUPS[other])
        rest = rng.sample([m for m in GROUPS[name] if m not in GROUPS[other]], 3)
        mixed = [*rest, odd]
        rng.shuffle(mixed)
        said = ", ".join(mixed)
        asks = (
            f"which one is {a(other)}: {said}?",
            f"find the {other}: {said}",
            f"which of these is {a(other)}: {said}?",
            f"{said}: which is {a(other)}?",
        )
        return choose(rng, asks, held), f"{capital(odd)} is {a(other)}."
    asks = (
        f"is {one} {a(first)} or {a(second)}?",
        f"{one}: {first} or {second}?",
        f"what is {one}, {a(first)} or {a(second)}?",
        f"does {one} belong to {first} or {second}?",
    )
    return choose(rng, asks, held), f"{capital(one)} is {a(name)}."


def pair(rng: random.Random, held: bool) -> tuple[str, str]:
    """An opposite, a plural, a past tense or a rhyme."""
    kind = rng.choice(list(PAIRS))
    a, b = rng.choice(PAIRS[kind])
    if kind == "opposites":
        a, b = (a, b) if rng.random() < 0.5 or a in ("young", "light", "find") else (b, a)
        asks: tuple[str, ...] = (
            f"what is the opposite of {a}?",
            f"opposite of {a}?",
            f"the opposite of {a}",
            f"which word is the contrary of {a}?",
        )
        return choose(rng, asks, held), f"The opposite of {a} is {b}."
    if kind == "plurals":
        asks = (
            f"what is the plural of {a}?",
            f"plural of {a}?",
            f"one {a}, two ...?",
            f"how do you say more than one {a}?",
        )
        return choose(rng, asks, held), f"The plural of {a} is {b}."
    if kind == "pasts":
        asks = (
            f"what is the past tense of {a}?",
            f"past of {a}?",
            f"past tense of {a}",
            f"today I {a}, yesterday I ...?",
        )
        return choose(rng, asks, held), f"The past tense of {a} is {b}."
    a, b = (a, b) if rng.random() < 0.5 else (b, a)
    asks = (
        f"what rhymes with {a}?",
        f"a rhyme for {a}?",
        f"find a rhyme for {a}",
        f"which word sounds like {a}?",
    )
    return choose(rng, asks, held), f"{capital(b)} rhymes with {a}."
