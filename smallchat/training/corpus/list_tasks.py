"""Little tasks on lists: made, joined, sorted, turned around, continued. See `tasks`."""

from __future__ import annotations

import random

from .grammar import capital, choose, joined
from .numbers import DAYS, MONTHS
from .source import task_lists
from .words import LISTS, words

TODOS = task_lists()["todos"]


def things(rng: random.Random, low: int, high: int) -> list[str]:
    """Different things of one kind: foods, people, places, colours, animals, numbers of a list."""
    name = rng.choice(
        ("foods", "people", "places", "colours", "pets", "things", "plants", "nouns", "days", "months")
    )
    options = LISTS[name]
    return rng.sample(options, min(len(options), rng.randrange(low, high + 1)))


def bullets(parts: list[str]) -> str:
    """A list, a line each."""
    return "\n".join(f"- {part}" for part in parts)


def todo(rng: random.Random, held: bool) -> tuple[str, str]:
    """A to-do list of what somebody says they have to do."""
    parts = rng.sample(TODOS, rng.choice((2, 3, 3, 4, 5)))
    if rng.random() < 0.4:
        whens = (f"on {rng.choice(DAYS)}", "tomorrow", "today", "before noon", f"at {rng.randrange(7, 20)}")
        parts = [f"{part} {rng.choice(whens)}" if rng.random() < 0.4 else part for part in parts]
    said = rng.choice(
        (
            f"I have to {joined(parts)}.",
            f"today I must {joined(parts)}",
            f"I need to {', '.join(parts[:-1])} and then {parts[-1]}.",
            f"{', '.join(parts)}",
            f"first {parts[0]}, then {joined(parts[1:])}.",
            f"we still have to {joined(parts)}",
        )
    )
    asks = (
        f"make a to-do list: {said}",
        f"make a list of this: {said}",
        f"turn this into a to-do list: {said}",
        f"{capital(said)}{'' if said[-1] in '.' else '.'} Make a to-do list, please.",
        f"can you make a to-do list from this? {capital(said)}",
        f"to-do list: {said}",
        f"write this as a list of tasks: {said}",
    )
    return choose(rng, asks, held), bullets([capital(part) for part in parts])


def listed(rng: random.Random, held: bool) -> tuple[str, str]:
    """Several things as a list, with bullets or numbers."""
    parts = things(rng, 2, 6)
    said = joined(parts) if rng.random() < 0.5 else ", ".join(parts)
    if rng.random() < 0.3:
        numbered = "\n".join(f"{i}. {part}" for i, part in enumerate(parts, 1))
        asks: tuple[str, ...] = (
            f"make a numbered list: {said}",
            f"number these: {said}",
            f"{said} as a numbered list",
            f"write {said} as a list with numbers",
        )
        return choose(rng, asks, held), numbered
    asks = (
        f"make a list: {said}",
        f"write as bullet points: {said}",
        f"turn this into a list: {said}",
        f"{said} as a list",
        f"put {said} into a bullet list",
    )
    return choose(rng, asks, held), bullets(parts)


def unlisted(rng: random.Random, held: bool) -> tuple[str, str]:
    """A list in one line."""
    parts = things(rng, 2, 5)
    listed = bullets(parts)
    asks = (
        f"write this in one line:\n{listed}",
        f"make one sentence of this list:\n{listed}",
        f"{listed}\n\nPut that in one line, please.",
        f"join this list:\n{listed}",
    )
    return choose(rng, asks, held), f"{capital(joined(parts))}."


def sort(rng: random.Random, held: bool) -> tuple[str, str]:
    """Numbers by size, or words by the alphabet."""
    if rng.random() < 0.45:
        numbers = rng.sample(range(1, rng.choice((20, 100, 1000))), rng.choice((3, 4, 5, 6)))
        said = rng.choice((", ", " ")).join(map(str, numbers))
        down = rng.random() < 0.25
        how = " from large to small" if down else rng.choice(("", "", " from small to large"))
        asks: tuple[str, ...] = (
            f"sort{how}: {said}",
            f"sort these numbers{how}: {said}",
            f"put in order{how}: {said}",
            f"{said}: sort that{how}",
            f"order the numbers {said}{how}",
        )
        return choose(rng, asks, held), ", ".join(map(str, sorted(numbers, reverse=down))) + "."
    parts = words(rng, 3, 6)
    if rng.random() < 0.3:
        parts = rng.sample(LISTS["people"][:-12], rng.choice((3, 4, 5)))
        parts = [p for p in parts if p.isalpha()] or ["Ben", "Anna"]
    said = rng.choice((", ", ", ", " ")).join(parts)
    asks = (
        f"sort: {said}",
        f"sort alphabetically: {said}",
        f"put in alphabetical order: {said}",
        f"sort these words: {said}",
        f"{said}: sort by the alphabet",
        f"bring these words into the order of the alphabet: {said}",
    )
    return choose(rng, asks, held), ", ".join(sorted(parts, key=str.lower)) + "."


def reverse(rng: random.Random, held: bool) -> tuple[str, str]:
    """A list from its end."""
    parts = things(rng, 2, 6)
    said = ", ".join(parts)
    asks = (
        f"reverse this list: {said}",
        f"say this backwards: {said}",
        f"the other way round: {said}",
        f"turn the order of {said} around",
    )
    return choose(rng, asks, held), ", ".join(reversed(parts)) + "."


def go_on(rng: random.Random, held: bool) -> tuple[str, str]:
    """The next three of a row of numbers, days, months, letters or words."""
    kind = rng.randrange(5)
    many = rng.choice((3, 4))
    if kind == 0:
        start, step = rng.randrange(1, 40), rng.choice((1, 2, 3, 5, 10))
        parts = [str(start + i * step) for i in range(many + 3)]
    elif kind == 1:
        i = rng.randrange(7)
        parts = [DAYS[(i + j) % 7] for j in range(many + 3)]
    elif kind == 2:
        i = rng.randrange(12)
        parts = [MONTHS[(i + j) % 12] for j in range(many + 3)]
    elif kind == 3:
        i = rng.randrange(26 - many - 3)
        letters = "abcdefghijklmnopqrstuvwxyz"
        parts = list(letters[i : i + many + 3])
        parts = [p.upper() for p in parts] if rng.random() < 0.5 else parts
    else:
        pattern = words(rng, 2, 3)
        parts = (pattern * 4)[: many + 3]
        many = max(many, len(pattern) + 1)
        parts = (pattern * 4)[: many + 3]
    said = ", ".join(parts[:many])
    asks = (
        f"continue: {said}",
        f"what comes next: {said}?",
        f"go on: {said}, ...",
        f"continue the list: {said}",
        f"{said}, and so on: what are the next three?",
    )
    return choose(rng, asks, held), ", ".join(parts[many:]) + "."
