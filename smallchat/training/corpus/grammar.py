"""Small paraphrase grammars: how one line of source becomes many sentences.

`{a|b|c}` stands for one of the alternatives (they nest, an empty one is allowed) and `<name>` for a slot that
the caller fills. The rest is text.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

from .loose import loosen

_INNERMOST = re.compile(r"\{([^{}]*)\}")
_SLOT = re.compile(r"<([a-z_0-9]+)>")
_SPACES = re.compile(r" {2,}")
_NEIGHBOURS = {
    "a": "s", "b": "v", "c": "x", "d": "f", "e": "r", "f": "g", "g": "h", "h": "j", "i": "o", "k": "l",
    "l": "k", "m": "n", "n": "m", "o": "p", "r": "t", "s": "a", "t": "y", "u": "i", "v": "b", "w": "e",
}  # fmt: skip


@dataclass(frozen=True)
class Message:
    """One turn: role is system, user or assistant."""

    role: str
    text: str


@dataclass(frozen=True)
class Intent:
    """One thing a user may want, with the questions it comes in and answers that all say the same.

    held: questions kept out of training, to be asked in the evaluation.
    keys: groups of words; an answer is counted right when it holds at least one word of every group.
    """

    name: str
    asks: tuple[str, ...]
    answers: tuple[str, ...]
    held: tuple[str, ...] = ()
    keys: tuple[tuple[str, ...], ...] = ()


def expand(rng: random.Random, template: str) -> str:
    """Choose one alternative for every brace, innermost first, and close doubled spaces."""
    while True:
        found = _INNERMOST.search(template)
        if found is None:
            return _SPACES.sub(" ", template).replace(" ?", "?").replace(" .", ".").replace(" ,", ",").strip()
        choice = rng.choice(found.group(1).split("|"))
        template = template[: found.start()] + choice + template[found.end() :]


def fill(template: str, slots: dict[str, str]) -> str:
    """Put values into the slots; a missing one is an error of the source."""
    return _SLOT.sub(lambda match: slots[match.group(1)], template)


def slots_of(template: str) -> list[str]:
    """Names of the slots in a template, in order, each once."""
    return list(dict.fromkeys(_SLOT.findall(template)))


def capital(text: str) -> str:
    """The first letter made large, the rest left alone; the program's own name stays small."""
    if text.startswith("smallchat"):
        return text
    return text[:1].upper() + text[1:]


def choose(rng: random.Random, options: tuple[str, ...], held: bool) -> str:
    """One of several ways to ask. The last is kept for the evaluation, which takes it every other time."""
    if held and rng.random() < 0.5:
        return options[-1]
    return rng.choice(options[:-1])


def joined(parts: list[str]) -> str:
    """a, b and c."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def article(noun: str) -> str:
    """With a or an."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def typo(rng: random.Random, text: str) -> str:
    """One slip of the fingers inside a longer word: swapped, dropped, doubled or neighbouring letter."""
    words = [m.span() for m in re.finditer(r"[a-z]{4,}", text)]
    if not words:
        return text
    start, end = rng.choice(words)
    i = rng.randrange(start + 1, end - 1)
    kind = rng.randrange(4)
    if kind == 0:
        return text[:i] + text[i + 1] + text[i] + text[i + 2 :]
    if kind == 1:
        return text[:i] + text[i + 1 :]
    if kind == 2:
        return text[:i] + text[i] + text[i:]
    return text[:i] + _NEIGHBOURS.get(text[i], text[i]) + text[i + 1 :]


def casual(rng: random.Random, text: str) -> str:
    """A question as people type it: often tidy, often lower case, without its mark, or with a typo."""
    roll = rng.random()
    if roll < 0.45:
        text = capital(text)
    elif roll < 0.9:
        text = text[:1].lower() + text[1:] if not text.startswith(("I ", "I'")) else text
        if rng.random() < 0.6:
            text = text.lower()
    if rng.random() < 0.4:
        text = text.rstrip("?.!")
    if rng.random() < 0.1:
        text = typo(rng, text)
    if rng.random() < 0.06:
        text = text.replace("'", "")
    return text


OPENERS = (
    "", "", "", "", "", "", "", "", "hi, ", "hello, ", "hey, ", "ok, ", "okay, ", "so, ", "and ", "please, ",
    "sorry, ", "one question: ", "tell me, ", "quick question: ", "thanks. ", "great. ", "now, ",
)  # fmt: skip


def question(rng: random.Random, template: str) -> str:
    """A question template as one user might type it."""
    text = expand(rng, template)
    if rng.random() < 0.5:
        return casual(rng, loosen(rng, text))
    opener = rng.choice(OPENERS)
    if opener and not text.startswith(("I ", "I'")):
        text = opener + text[:1].lower() + text[1:]
    return casual(rng, text)


def pair(rng: random.Random, intent: Intent) -> list[Message]:
    """One question of an intent and one of its answers."""
    asked = question(rng, rng.choice(intent.asks))
    answer = capital(expand(rng, rng.choice(intent.answers)))
    return [Message("user", asked), Message("assistant", answer)]
