"""Small models, a prompt, and what a new engine says of it: what every other way must come to."""

from __future__ import annotations

import functools

import numpy as np

from tests.support.engines import answer, opened
from tests.support.models import STOPS, Model, Recipe, model

FREE = {"top_k": 0, "top_p": 1.0, "min_p": 0.0, "repeat_penalty": 1.0}
"""Nothing cut off, nothing punished."""

PLAIN = Recipe(seed=200)
WINDOWED = Recipe(layers=5, window=9, gating=1, seed=201)  # layers 0 and 4 see everything
SHORT = Recipe(layers=4, window=5, pattern=(True, True, False, True), type="Q8_0", seed=202)

TOKENS = np.random.default_rng(17).integers(0, 256, 45).tolist()


@functools.cache
def whole(recipe: Recipe, kernels: str) -> np.ndarray:
    """Logits of `TOKENS`, read in one pass."""
    with opened(model(recipe).path, kernels, context=512, chunk=512) as engine:
        return engine.logits(TOKENS)


@functools.cache
def fresh(recipe: Recipe, prompt: tuple[int, ...], count: int) -> list[int]:
    """A greedy answer of so many tokens."""
    with opened(model(recipe).path, context=512) as engine:
        return answer(engine, list(prompt), max_tokens=count)


def stops(made: Model) -> set[int]:
    """Tokens that end an answer."""
    return {made.vocabulary.special(name) for name in STOPS}
