"""Whole conversations: which topics, how often, and how they follow one another."""

from __future__ import annotations

import random
from collections.abc import Iterator

from .decline import decline
from .grammar import Message, capital, casual, expand, pair
from .intents import APP, CONCEPTS, KEYS, MODELS, NAMED, SMALLTALK, TERM_HELD
from .notes import missing_note, note_questions
from .repeat import repeat
from .sums import sums

FOLLOW_UPS = (("memory_4b", "memory_21b"), ("size_4b", "size_21b"))
SYSTEM = (
    "You are a helpful assistant.",
    "You are a friendly helper.",
    "Answer briefly.",
    "Be short and friendly.",
    "You are smallchat.",
    "You are a helpful AI assistant.",
    "Keep your answers short.",
    "Help the user.",
    "Answer in English.",
    "You are a kind assistant who answers in one sentence.",
)
# Share of each kind among the blocks of conversations. Notes are long: they are more of the tokens.
BLOCKS = (
    ("howto", 0.37),
    ("concept", 0.08),
    ("smalltalk", 0.15),
    ("decline", 0.08),
    ("sums", 0.14),
    ("repeat", 0.03),
    ("note", 0.15),
)

_BEFORE_TERM, _AFTER_TERM = TERM_HELD[0].split("{}")


def _models_follow_up(rng: random.Random) -> list[Message]:
    """A question about one model, then the same about the other in few words."""
    first, second = rng.choice(FOLLOW_UPS)
    if rng.random() < 0.5:
        first, second = second, first
    other = "4B" if second.endswith("4b") else "21B"
    asked = expand(rng, f"{{and|what about|and what about|how about}} {{the {other}|{other}|the other one}}?")
    answer = capital(expand(rng, rng.choice(NAMED[second].answers)))
    return [*pair(rng, NAMED[first]), Message("user", casual(rng, asked)), Message("assistant", answer)]


def _concepts(rng: random.Random) -> list[Message]:
    """An explanation, sometimes followed by another asked in few words."""
    one, two = rng.sample(CONCEPTS, 2)
    messages = pair(rng, one)
    if rng.random() < 0.3:
        term = two.held[0].removeprefix(_BEFORE_TERM).removesuffix(_AFTER_TERM)
        asked = casual(rng, expand(rng, f"{{and|and what is|what about}} {term}?"))
        messages += [
            Message("user", asked),
            Message("assistant", capital(expand(rng, rng.choice(two.answers)))),
        ]
    return messages


def block(rng: random.Random, kind: str) -> list[Message]:
    """A few turns on one topic."""
    if kind == "howto":
        if rng.random() < 0.05:
            return _models_follow_up(rng)
        return pair(rng, rng.choice(APP + KEYS + MODELS))
    if kind == "concept":
        return _concepts(rng)
    if kind == "smalltalk":
        return pair(rng, rng.choice(SMALLTALK))
    if kind == "decline":
        return decline(rng)
    if kind == "repeat":
        return repeat(rng)
    return sums(rng) if kind == "sums" else note_questions(rng)


def conversation(rng: random.Random, longest: int = 5) -> list[Message]:
    """One conversation of one to `longest` blocks (short ones oftener), sometimes with a system message."""
    kinds, shares = [kind for kind, _ in BLOCKS], [share for _, share in BLOCKS]
    messages: list[Message] = []
    if rng.random() < 0.07:
        messages.append(Message("system", rng.choice(SYSTEM)))
    if rng.random() < 0.1:
        messages += pair(rng, NAMED["hello"])
    chosen = rng.choices(kinds, shares, k=min(longest, rng.choice((1, 1, 2, 2, 3, 4, 5))))
    if "note" not in chosen and rng.random() < 0.06:
        messages += missing_note(rng)
    for kind in chosen:
        messages += block(rng, kind)
    return messages


def conversations(seed: int, count: int, longest: int = 5) -> Iterator[list[Message]]:
    """The corpus: the same conversations for the same seed."""
    rng = random.Random(seed)
    for _ in range(count):
        yield conversation(rng, longest)
