"""Questions far outside the model's few topics, and the honest answer to them.

The patterns are broad and the subjects many, invented ones too, so that declining is learned as a habit for
whatever is not about smallchat, a note at hand or a sum.
"""

from __future__ import annotations

import random

from .grammar import Message, capital, expand, fill, question
from .intents import DECLINE
from .loose import FAR
from .words import LISTS, invented


def _slots(rng: random.Random) -> dict[str, str]:
    """Values for every slot of the patterns."""
    person = rng.choice(LISTS["people"]) if rng.random() < 0.5 else invented(rng)
    lowers = [invented(rng).lower() for _ in range(3)]
    places = rng.sample(LISTS["places"], 2) if rng.random() < 0.7 else [invented(rng), invented(rng)]
    return {
        "country": rng.choice(LISTS["countries"]),
        "subject": rng.choice(LISTS["subjects"]),
        "place": places[0],
        "place2": places[1],
        "person": person if rng.random() < 0.5 else f"{person} {invented(rng)}",
        "invented": invented(rng),
        "lower": lowers[0],
        "lower2": lowers[1],
        "lower3": lowers[2],
        "dish": rng.choice(LISTS["dishes"]),
        "thing": rng.choice(LISTS["things"]),
        "time": f"{rng.randrange(1, 12)} o'clock",
    }


def decline(rng: random.Random, held: bool = False) -> list[Message]:
    """A question the model cannot answer, and its saying so."""
    asks = DECLINE.held if held else FAR if rng.random() < 0.5 else DECLINE.asks
    template = rng.choice(asks)
    asked = fill(expand(rng, template), _slots(rng))
    return [
        Message("user", capital(asked) if held else question(rng, asked)),
        Message("assistant", capital(expand(rng, rng.choice(DECLINE.answers)))),
    ]
