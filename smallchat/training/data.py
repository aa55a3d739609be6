"""Conversations packed into windows of token ids, kept in one file of arrays."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from .corpus import conversations
from .tokenizer import Encoded, encode

Windows = tuple[NDArray[np.uint16], NDArray[np.bool_]]
OPEN = 48


def pack(encoded: Iterable[Encoded], length: int, filler: int) -> Windows:
    """Whole conversations into windows: (ids [W, length], learned [W, length]).

    No conversation begins in the middle, since a question without its note would teach inventing. One longer
    than a window is cut at the end. Several windows stay open at once, so that little is left unfilled.
    """
    done: list[Encoded] = []
    opened: list[Encoded] = []
    for item in encoded:
        ids, learned = item.ids[:length], item.learned[:length]
        fits = [i for i, window in enumerate(opened) if len(window.ids) + len(ids) <= length]
        if fits:
            fullest = opened[max(fits, key=lambda i: len(opened[i].ids))]
            fullest.ids.extend(ids)
            fullest.learned.extend(learned)
            continue
        if len(opened) == OPEN:
            done.append(opened.pop(max(range(OPEN), key=lambda i: len(opened[i].ids))))
        opened.append(Encoded(list(ids), list(learned)))
    done += opened
    random.Random(0).shuffle(done)
    all_ids = np.full((len(done), length), filler, np.uint16)
    all_learned = np.zeros((len(done), length), np.bool_)
    for row, window in enumerate(done):
        all_ids[row, : len(window.ids)] = window.ids
        all_learned[row, : len(window.learned)] = window.learned
    return all_ids, all_learned


def drills(seed: int, count: int, length: int, tokens: int) -> Windows:
    """Windows of nothing but copying: random ids below `tokens`, said once, learned when said again.

    Answering from a note rests on copying, which a model this small finds late, or never, from the few words
    copied in a conversation. Here most positions teach it. Each piece of 3 to 40 ids comes two to four times.
    """
    rng = np.random.default_rng(seed)
    ids = np.zeros((count, length), np.uint16)
    learned = np.zeros((count, length), np.bool_)
    for row in range(count):
        at = 0
        while at < length:
            piece = rng.integers(0, tokens, rng.integers(3, 41))
            for turn in range(rng.integers(2, 5)):
                part = piece[: length - at]
                ids[row, at : at + len(part)] = part
                # The first of a repetition cannot be known: the piece might have gone on otherwise.
                learned[row, at + 1 : at + len(part)] = turn > 0
                at += len(part)
    return ids, learned


def join(*parts: Windows) -> Windows:
    """All windows of several kinds; the trainer shuffles them."""
    return np.concatenate([ids for ids, _ in parts]), np.concatenate([learned for _, learned in parts])


def encoded_corpus(tokenizer: Tokenizer, seed: int, count: int, longest: int = 5) -> Iterator[Encoded]:
    """The corpus of a seed as ids."""
    for messages in conversations(seed, count, longest):
        yield encode(tokenizer, messages)


def save(path: Path, windows: Windows) -> None:
    """Write windows to an .npz file."""
    np.savez(path, ids=windows[0], learned=windows[1])


def load(path: Path) -> Windows:
    """Read windows from an .npz file."""
    with np.load(path) as arrays:
        return arrays["ids"], arrays["learned"]
