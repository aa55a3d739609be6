"""Conversations packed into windows of token ids, made by processes of their own while a model is trained."""

from __future__ import annotations

import multiprocessing as mp
import os
import queue
import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from .corpus import conversations
from .tokenizer import END_OF_TEXT, Encoded, encode, token_id

Windows = tuple[NDArray[np.uint16], NDArray[np.bool_]]
OPEN = 48
AT_ONCE = 600
"""Conversations that a process makes before it hands its windows over."""


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


def encoded_corpus(tokenizer: Tokenizer, seed: int, count: int, passages: float = 1.0) -> Iterator[Encoded]:
    """The corpus of a seed as ids."""
    for messages in conversations(seed, count, passages):
        yield encode(tokenizer, messages)


def windows_of(tokenizer: Tokenizer, seed: int, count: int, length: int, passages: float = 1.0) -> Windows:
    """That corpus packed."""
    return pack(encoded_corpus(tokenizer, seed, count, passages), length, token_id(tokenizer, END_OF_TEXT))


def _produce(path: Path, length: int, passages: float, seeds: Iterator[int], out: Any) -> None:
    os.nice(5)  # the trainer's own thread feeds the device and must not wait
    tokenizer = Tokenizer.from_file(str(path))
    for seed in seeds:
        out.put(windows_of(tokenizer, seed, AT_ONCE, length, passages))


class Stream:
    """Windows without end: `workers` processes make new ones, and the newest `kept` of them are drawn from.

    Where the trainer is faster than they are, it meets a window more than once; `made` tells how many there
    were.
    """

    def __init__(
        self,
        tokenizer: Path,
        length: int,
        seed: int,
        workers: int,
        passages: float = 1.0,
        kept: int = 150_000,
    ) -> None:
        context = mp.get_context("spawn")
        self._queue: Any = context.Queue(maxsize=4 * workers)
        self._ids = np.zeros((kept, length), np.uint16)
        self._learned = np.zeros((kept, length), np.bool_)
        self._rng = np.random.default_rng(seed)
        self.made = 0
        # Every process has its own seeds: worker w of n takes seed + w, seed + w + n, ...
        self._processes = [
            context.Process(
                target=_produce,
                args=(tokenizer, length, passages, range(seed + w, seed + 10_000_000, workers), self._queue),
                daemon=True,
            )
            for w in range(workers)
        ]
        for process in self._processes:
            process.start()

    def draw(self, rows: int) -> Windows:
        """(ids [rows, length], learned [rows, length]) of different windows, from those that are there."""
        wait = self.made < 4 * rows
        while wait or not self._queue.empty():
            try:
                self._take(*self._queue.get(timeout=60 if wait else 0.01))
            except queue.Empty:
                if wait:
                    raise RuntimeError("No process makes windows") from None
                break
            wait = self.made < 4 * rows
        chosen = self._rng.choice(min(self.made, len(self._ids)), rows, replace=False)
        return self._ids[chosen], self._learned[chosen]

    def _take(self, ids: NDArray[np.uint16], learned: NDArray[np.bool_]) -> None:
        places = np.arange(self.made, self.made + len(ids)) % len(self._ids)
        self._ids[places], self._learned[places] = ids, learned
        self.made += len(ids)

    def close(self) -> None:
        """End the processes."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join()
