"""What is said in other languages, and the one short answer: English only."""

from __future__ import annotations

import random

from .grammar import Message
from .source import lines
from .words import LISTS, invented

ANSWERS = (
    "I am sorry, I speak only English. A bigger SmallThinker model knows more languages.",
    "I speak only English, I am afraid. A bigger SmallThinker model may help.",
)
CHINESE_ANSWER = (
    "抱歉,我只会说英语。I am sorry, I speak only English; a bigger SmallThinker model speaks Chinese."
)
NATURAL = ("Chinese", "German", "French", "Spanish")
HELD = 4
"""The last sentences of the larger languages are kept for the evaluation."""


def _read() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in lines("foreign.txt"):
        if line.startswith("# "):
            name = line[2:]
        else:
            found[name] = line.split("|")
    return found


SENTENCES = _read()
CHARACTERS = SENTENCES.pop("Characters")[0]


def foreign(rng: random.Random, held: bool = False) -> list[Message]:
    """A sentence in another language, or two, and the answer."""
    language = rng.choice(NATURAL) if held or rng.random() < 0.6 else rng.choice(list(SENTENCES))
    known = SENTENCES[language]
    options = known[-HELD:] if held else known[:-HELD] if language in NATURAL else known
    said = rng.choice(options)
    if not held and language == "Chinese" and rng.random() < 0.5:
        said = "".join(rng.choice(CHARACTERS) for _ in range(rng.randrange(3, 16))) + rng.choice(
            ("", "?", "。", "吗?")
        )
    elif not held and rng.random() < 0.3:
        said = f"{said} {rng.choice(options)}"
    name = rng.choice(LISTS["people"]) if rng.random() < 0.5 else invented(rng)
    said = said.replace("<x>", name)
    if not held and rng.random() < 0.3:
        said = rng.choice((said.lower(), said.rstrip("?!.")))
    return [
        Message("user", said),
        Message("assistant", CHINESE_ANSWER if language == "Chinese" else rng.choice(ANSWERS)),
    ]
