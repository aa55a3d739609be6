"""Words to be said again: the plainest exercise in copying, which questions about notes rest on."""

from __future__ import annotations

import random

from .grammar import Message, capital
from .values import value
from .words import LISTS, invented

FORMS = (
    "repeat: {}",
    "repeat after me: {}",
    "say {}",
    "say this: {}",
    "please repeat {}",
    "copy this: {}",
    "write {}",
    "write this again: {}",
    "{}\n\nRepeat that.",
    "{}\nsay that again",
)
KINDS = ("person", "place", "code", "price", "name", "author", "phone", "street", "book", "time", "thing")


def _words(rng: random.Random) -> str:
    """One to six things of all kinds, some of them in no list."""
    parts = []
    for _ in range(rng.choice((1, 2, 2, 3, 3, 4, 6))):
        roll = rng.random()
        if roll < 0.4:
            parts.append(invented(rng))
        elif roll < 0.6:
            parts.append(rng.choice(LISTS["nouns"]))
        else:
            parts.append(value(rng, rng.choice(KINDS)))
    return " ".join(parts)


def repeat(rng: random.Random) -> list[Message]:
    """A few words, and the same words."""
    text = _words(rng)
    asked = rng.choice(FORMS).format(text)
    return [
        Message("user", capital(asked) if rng.random() < 0.5 else asked),
        Message("assistant", f"{text}."),
    ]
