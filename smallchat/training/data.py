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
