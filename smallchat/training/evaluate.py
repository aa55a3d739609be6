"""An examination on what was kept out of training: phrasings, names, sums.

How-to answers are right when they hold the intent's key words, note answers when they hold every value asked
for and no question of another is answered, sums when the number is right, far-off questions when the model
says that it does not know.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .corpus import decline, notes, sums
from .corpus.grammar import Intent, capital, expand
from .corpus.intents import DECLINE, HOWTO, SMALLTALK

Answerer = Callable[[str], str]


@dataclass(frozen=True)
class Case:
    """One question, and a judge of the answer."""

    kind: str
    asked: str
    right: Callable[[str], bool]


def holds_keys(intent: Intent, answer: str) -> bool:
    """Whether an answer holds a word of every group of the intent."""
    return all(any(word.lower() in answer.lower() for word in group) for group in intent.keys)


def _of_intents(rng: random.Random, kind: str, intents: tuple[Intent, ...]) -> Iterator[Case]:
    for intent in intents:
        for held in intent.held if intent.keys else ():
            for asked in (capital(expand(rng, held)), expand(rng, held).rstrip("?").lower()):
                yield Case(kind, asked, lambda answer, intent=intent: holds_keys(intent, answer))  # type: ignore[misc]


def cases(seed: int = 7) -> Iterator[Case]:
    """Every case of the examination, the same for the same seed."""
    rng = random.Random(seed)
    yield from _of_intents(rng, "how-to", HOWTO)
    yield from _of_intents(rng, "small talk", SMALLTALK)
    for _ in range(120):
        asked, wanted = notes.held_case(rng, known=True)
        yield Case("note", asked, lambda answer, w=wanted: all(v.lower() in answer.lower() for v in w))  # type: ignore[misc]
    for _ in range(60):
        asked, _none = notes.held_case(rng, known=False)
        yield Case("note does not say", asked, lambda answer: answer.startswith("The note does not say"))
    for _ in range(100):
        question, answer = sums.sums(rng, held=True)
        number = answer.text.rsplit(" ", 1)[1]
        yield Case("sum", question.text, lambda given, n=number: given.endswith(f" {n}"))  # type: ignore[misc]
    declining = DECLINE.keys[0]
    for _ in range(60):
        asked = decline.decline(rng, held=True)[0].text
        yield Case("decline", asked, lambda given: any(words in given for words in declining))


def examine(answer: Answerer, show: int = 0) -> dict[str, tuple[int, int]]:
    """(right, asked) for every kind; prints up to `show` wrong answers of each."""
    figures: dict[str, tuple[int, int]] = {}
    wrong: dict[str, int] = {}
    for case in cases():
        given = answer(case.asked)
        right, asked = figures.get(case.kind, (0, 0))
        good = case.right(given)
        figures[case.kind] = right + good, asked + 1
        if not good and wrong.get(case.kind, 0) < show:
            wrong[case.kind] = wrong.get(case.kind, 0) + 1
            print(f"[{case.kind}] {case.asked}\n    -> {given}")
    return figures
