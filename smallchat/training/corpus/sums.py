"""Small sums with their answers in words of one form."""

from __future__ import annotations

import random

from .grammar import Message, expand, fill, question
from .source import lines
from .words import LISTS

WORDS = {"+": "plus", "-": "minus", "*": "times"}
SIGNS = tuple(WORDS)


def _read(mark: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {sign: [] for sign in SIGNS}
    sign = ""
    for line in lines("sums.txt"):
        kind, text = line.split(" ", 1)
        if kind == "#":
            sign = text
        elif kind == mark:
            found[sign].append(text)
    return found


PLAIN, STORIES = _read("?"), _read("*")


def result(a: int, b: int, sign: str) -> int:
    """The result of one sum."""
    return a + b if sign == "+" else a - b if sign == "-" else a * b


def operands(rng: random.Random) -> tuple[int, int, str]:
    """Two numbers and a sign: mostly one and two digits, few three-digit ones, never a negative result."""
    roll = rng.random()
    if roll < 0.12:
        return rng.randrange(2, 13), rng.randrange(2, 13), "*"
    if roll < 0.3:
        a, b = rng.randrange(0, 21), rng.randrange(0, 21)
    elif roll < 0.92:
        a, b = rng.randrange(10, 100), rng.randrange(2, 100)
    else:
        a, b = rng.randrange(100, 1000), rng.randrange(2, 500)
    if rng.random() < 0.6:
        return (a, b, "+") if rng.random() < 0.7 else (b, a, "+")
    return max(a, b), min(a, b), "-"


def is_held(a: int, b: int, sign: str) -> bool:
    """Whether a sum is kept for the evaluation: one in twenty of those of two numbers above nine."""
    return a > 9 and b > 9 and (a * 7 + b * 13 + ord(sign)) % 20 == 0


def draw(rng: random.Random, held: bool) -> tuple[int, int, str]:
    """Numbers from the trained or from the held-out part."""
    while True:
        a, b, sign = operands(rng)
        if is_held(a, b, sign) == held:
            return a, b, sign


def answer(a: int, b: int, sign: str) -> str:
    """The one form of every answer."""
    return f"{a} {WORDS[sign]} {b} is {result(a, b, sign)}."


def sums(rng: random.Random, held: bool = False) -> list[Message]:
    """One to three sums, plain or as a story, with their answers."""
    messages: list[Message] = []
    for _ in range(1 if held else rng.choice((1, 2, 2, 3))):
        a, b, sign = draw(rng, held)
        slots = {"a": str(a), "b": str(b), "p": rng.choice(LISTS["people"]), "t": rng.choice(LISTS["items"])}
        if rng.random() < 0.12 and not held:
            asked = fill(expand(rng, rng.choice(STORIES[sign])), slots)
        elif messages and sign == "+" and rng.random() < 0.3:
            asked = fill(rng.choice(("and <a> + <b>?", "and <a> plus <b>?", "now <a> + <b>")), slots)
        else:
            asked = question(rng, fill(rng.choice(PLAIN[sign]), slots))
        messages += [Message("user", asked), Message("assistant", answer(a, b, sign))]
    return messages
