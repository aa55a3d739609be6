"""Questions in still other words: frames, words of like meaning, words left out or thrown in, keywords alone.

The files of intents hold a dozen ways to ask for a thing. A model that sees those for long enough learns them
by heart and is lost at the next one; so half of all questions are taken apart here before they are asked.
"""

from __future__ import annotations

import random
import re

from .source import lines


def _read() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in lines("loose.txt"):
        if line.startswith("# "):
            name = line[2:].split("   ")[0]
            found[name] = []
        elif name in ("words", "far"):
            found[name].append(line)
        else:
            found[name] += line.split("|")
    return found


_TEXT = _read()
WORDS = {word: others.split("|") for word, others in (line.split(": ") for line in _TEXT["words"])}
DROPPED = frozenset(_TEXT["droppable"])
FAR = tuple(_TEXT["far"])
_HOW = re.compile(
    r"(?:how (?:do|can|could|should|would|does) (?:I|one|you|we)|how to|tell me how to|"
    r"I want to|I would like to) (.+)",
    re.I,
)
_WHAT = re.compile(
    r"(?:what is|what's|explain|describe|define|what are) ((?:the |an? )?[\w-]+(?: [\w-]+)?)\??", re.I
)
_DOES = re.compile(r"what does (\S+(?: \S+)?) do\??", re.I)
_PLAIN = re.compile(r"[A-Za-z']+")


def _framed(rng: random.Random, text: str) -> str:
    for pattern, name in ((_DOES, "does"), (_HOW, "how"), (_WHAT, "what")):
        found = pattern.fullmatch(text)
        if found:
            return rng.choice(_TEXT[name]).replace("<x>", found[1].rstrip("?"))
    return text


def loosen(rng: random.Random, text: str, frames: bool = True) -> str:
    """`text`, a question, in other words; what is no plain word (a key, a number) is left alone."""
    if frames and rng.random() < 0.55:
        text = _framed(rng, text)
    if "\n" in text:
        return text
    roll = rng.random()
    words: list[str] = []
    for word in text.split(" "):
        bare = word.rstrip("?.,!")
        mark = word[len(bare) :]
        if not _PLAIN.fullmatch(bare):
            words.append(word)
            continue
        if bare.lower() in WORDS and rng.random() < 0.3:
            bare = rng.choice(WORDS[bare.lower()])
        elif bare in DROPPED and rng.random() < (0.9 if roll < 0.12 else 0.12):
            continue
        words.append(bare + mark)
        if rng.random() < 0.025:
            words.append(rng.choice(_TEXT["between"]))
    if roll < 0.05:
        rng.shuffle(words)
    text = " ".join(words) or text
    if frames and rng.random() < 0.2:
        text = rng.choice(_TEXT["before"]) + text
    if frames and rng.random() < 0.15:
        end = text[-1] if text[-1] in "?.!" else ""
        text = text.rstrip("?.!") + rng.choice(_TEXT["behind"]) + end
    return text
