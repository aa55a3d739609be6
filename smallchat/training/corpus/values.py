"""Values for the slots of notes: from the word lists, from numbers, and from words nobody has seen."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

from .words import LISTS, invented

# The last of each list are never trained on: the evaluation copies names it has not met.
HELD = 12


def _listed(rng: random.Random, names: list[str], held: bool, made_up: float) -> str:
    if held:
        return (
            invented(rng) + rng.choice(("o", "a", "e")) if rng.random() < 0.4 else rng.choice(names[-HELD:])
        )
    return invented(rng) if rng.random() < made_up else rng.choice(names[:-HELD])


def _person(rng: random.Random, held: bool) -> str:
    name = _listed(rng, LISTS["people"], held, 0.25)
    return f"{name} {invented(rng)}" if rng.random() < 0.15 else name


def _time(rng: random.Random, held: bool) -> str:
    hour, minute = rng.randrange(1, 13), rng.choice((0, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55))
    return rng.choice(
        (
            f"{hour + rng.choice((0, 11))}:{minute:02d}",
            f"{hour}:{minute:02d}",
            f"{hour} {rng.choice(('am', 'pm'))}",
            f"{hour} o'clock",
            f"half past {rng.choice(('six', 'seven', 'eight', 'nine', 'ten', 'two', 'three', 'four'))}",
            "noon",
            f"{hour}.{minute:02d}",
        )
    )


def _date(rng: random.Random, held: bool) -> str:
    day, month = rng.randrange(1, 29), rng.choice(LISTS["months"])
    return rng.choice(
        (
            f"{day} {month}",
            f"{month} {day}",
            f"{rng.choice(LISTS['days'])}, {day} {month}",
            f"{rng.choice(LISTS['days'])}",
            f"the {day}th",
        )
    )


def _day(rng: random.Random, held: bool) -> str:
    return (
        rng.choice(LISTS["days"])
        if rng.random() < 0.7
        else f"{rng.randrange(1, 29)} {rng.choice(LISTS['months'])}"
    )


def _price(rng: random.Random, held: bool) -> str:
    whole = rng.choice((rng.randrange(2, 100), rng.randrange(100, 1000), rng.randrange(10, 90) * 100))
    return rng.choice(
        (
            f"{whole} euros",
            f"{whole} euros",
            f"${whole}",
            f"{whole}.{rng.randrange(10, 100)}",
            f"{whole} pounds",
            f"{whole} francs",
            f"€{whole}",
        )
    )


def _code(rng: random.Random, held: bool) -> str:
    letters = "".join(rng.choice("ABCDEFGHJKLMNPQRSTUVWXYZ") for _ in range(rng.choice((1, 2, 3))))
    digits = "".join(rng.choice("0123456789") for _ in range(rng.choice((2, 3, 4))))
    return rng.choice(
        (
            f"{letters}{digits}",
            f"{letters}-{digits}",
            digits,
            f"{invented(rng).lower()}{digits}",
            f"{rng.choice(LISTS['pets'])}-{rng.choice(LISTS['nouns'])}-{digits}",
        )
    )


def _phone(rng: random.Random, held: bool) -> str:
    first, second = rng.randrange(100, 1000), rng.randrange(1000, 10000)
    return rng.choice((f"0{first} {second}", f"{first}-{second}", f"555-{second}", f"{second}{first}"))


def _duration(rng: random.Random, held: bool) -> str:
    return rng.choice(
        (
            f"{rng.randrange(5, 95)} minutes",
            f"{rng.randrange(2, 9)} hours",
            "an hour",
            "half an hour",
            "one hour and a half",
        )
    )


def _book(rng: random.Random, held: bool) -> str:
    noun, other = rng.choice(LISTS["nouns"]).capitalize(), rng.choice(LISTS["nouns"]).capitalize()
    adjective = rng.choice(LISTS["adjectives"]).capitalize()
    return rng.choice(
        (
            f"The {adjective} {noun}",
            f"The {noun} and the {other}",
            f"{adjective} {noun}",
            f"The {noun} of {invented(rng)}",
        )
    )


def _name(rng: random.Random, held: bool) -> str:
    made = invented(rng)
    return rng.choice(
        (
            made,
            made,
            f"{rng.choice(LISTS['adjectives']).capitalize()} {rng.choice(LISTS['nouns']).capitalize()}",
            f"{made}{rng.randrange(2, 100)}",
            f"{made} {rng.choice(LISTS['nouns']).capitalize()}",
        )
    )


def _street(rng: random.Random, held: bool) -> str:
    kind = rng.choice(("Street", "Road", "Lane", "Avenue", "Square"))
    base = rng.choice(LISTS["nouns"]).capitalize() if rng.random() < 0.6 else invented(rng)
    return f"{rng.randrange(1, 200)} {base} {kind}"


def _of(name: str) -> Callable[[random.Random, bool], str]:
    return lambda rng, held: rng.choice(LISTS[name])


_MAKERS: dict[str, Callable[[random.Random, bool], str]] = {
    "person": _person,
    "author": lambda rng, held: f"{_listed(rng, LISTS['people'], held, 0.2)} {invented(rng)}",
    "guest": _person,
    "place": lambda rng, held: _listed(rng, LISTS["places"], held, 0.3),
    "spot": _of("spots"),
    "day": _day,
    "date": _date,
    "time": _time,
    "month": _of("months"),
    "color": _of("colours"),
    "plant": _of("plants"),
    "food": _of("foods"),
    "dish": _of("dishes"),
    "thing": _of("things"),
    "repair": _of("repairs"),
    "topic": _of("topics"),
    "task": _of("tasks"),
    "complaint": _of("complaints"),
    "remedy": _of("remedies"),
    "pet": _of("pets"),
    "vehicle": _of("vehicles"),
    "book": _book,
    "name": _name,
    "price": _price,
    "code": _code,
    "phone": _phone,
    "dur": _duration,
    "street": _street,
    "surname": lambda rng, held: invented(rng),
    "petname": lambda rng, held: invented(rng),
    "n": lambda rng, held: str(
        rng.choice((rng.randrange(2, 13), rng.randrange(10, 100), rng.randrange(10, 400)))
    ),
    "room": lambda rng, held: rng.choice(
        (str(rng.randrange(1, 400)), f"{rng.choice('ABCDEF')}{rng.randrange(1, 60)}")
    ),
    "version": lambda rng, held: f"{rng.randrange(0, 10)}.{rng.randrange(0, 20)}",
    "unit": _of("units"),
    "part": _of("parts"),
    "bill": _of("bills"),
    "subject": _of("lessons"),
    "shop": _of("shops"),
}


def value(rng: random.Random, slot: str, held: bool = False) -> str:
    """A value for a slot; a number at the end of its name only tells two slots of one kind apart."""
    return _MAKERS[re.sub(r"\d+$", "", slot)](rng, held)
