"""Whole conversations: which topics, how often, and how they follow one another."""

from __future__ import annotations

import random
from collections.abc import Iterator

from .decline import decline
from .foreign import foreign
from .grammar import Message, capital, casual, expand, pair
from .intents import APP, COMMANDS, CONCEPTS, KEYS, MODELS, NAMED, SMALLTALK, TERM_HELD
from .notes import missing_note, note_questions
from .numbers import quiz, sums
from .passages import asked_notes, pasted, pinned, summary
from .tasks import task
from .turns import again, memory, named, not_told, ruled

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
    "Be concise.",
    "You are an assistant. Think before you answer.",
)
# Share of each kind among the blocks of conversations. Passages are long: they are more of the tokens.
BLOCKS = (
    ("howto", 0.21),
    ("concept", 0.04),
    ("smalltalk", 0.10),
    ("decline", 0.07),
    ("sums", 0.09),
    ("quiz", 0.05),
    ("task", 0.14),
    ("note", 0.05),
    ("asked notes", 0.13),
    ("pasted", 0.07),
    ("summary", 0.02),
    ("foreign", 0.03),
)
NOTES = {"note", "asked notes", "pasted", "summary"}
# Share of conversations that are of one of these kinds.
WHOLE = (
    ("pinned", 0.03),
    ("memory", 0.04),
    ("again", 0.02),
    ("ruled", 0.05),
    ("named", 0.015),
    ("not told", 0.005),
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


def _howto(rng: random.Random) -> list[Message]:
    if rng.random() < 0.04:
        return _models_follow_up(rng)
    return pair(rng, rng.choice(APP + KEYS + MODELS + COMMANDS))


_MAKERS = {
    "howto": _howto,
    "concept": _concepts,
    "smalltalk": lambda rng: pair(rng, rng.choice(SMALLTALK)),
    "decline": decline,
    "sums": sums,
    "quiz": quiz,
    "task": task,
    "note": note_questions,
    "asked notes": asked_notes,
    "pasted": pasted,
    "summary": summary,
    "foreign": foreign,
}


def light(rng: random.Random) -> list[Message]:
    """A short block of any kind: what stands between two others."""
    return _MAKERS[rng.choice(("howto", "smalltalk", "smalltalk", "decline", "sums", "quiz"))](rng)[:2]


def _whole(rng: random.Random, kind: str) -> list[Message]:
    """A conversation that is of one kind, at least in its beginning."""
    if kind == "pinned":
        return pinned(rng)
    if kind == "memory":
        return memory(rng, light)
    if kind == "again":
        return again(rng, light)
    if kind == "named":
        return named(rng)
    return ruled(rng, light) if kind == "ruled" else not_told(rng)


def conversation(rng: random.Random, passages: float = 1.0) -> list[Message]:
    """One conversation of one to five blocks (short ones oftener), sometimes with a system message.

    `passages`: how often notes are among them, where 1 is as `BLOCKS` says.
    """
    roll = rng.random()
    for kind, share in WHOLE:
        roll -= share
        if roll < 0:
            return _whole(rng, kind)
    messages: list[Message] = []
    if rng.random() < 0.07:
        messages.append(Message("system", rng.choice(SYSTEM)))
    if rng.random() < 0.08:
        messages += pair(rng, NAMED["hello"])
    kinds = [kind for kind, _ in BLOCKS]
    shares = [share * (passages if kind in NOTES else 1.0) for kind, share in BLOCKS]
    chosen = rng.choices(kinds, shares, k=rng.choice((1, 1, 2, 2, 3, 4, 5)))
    if not NOTES & set(chosen) and rng.random() < 0.05:
        messages += missing_note(rng)
    for kind in chosen:
        messages += _MAKERS[kind](rng)
    return messages


def conversations(seed: int, count: int, passages: float = 1.0) -> Iterator[list[Message]]:
    """The corpus: the same conversations for the same seed."""
    rng = random.Random(seed)
    for _ in range(count):
        yield conversation(rng, passages)
