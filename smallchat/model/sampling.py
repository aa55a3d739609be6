"""How the next token is chosen from the logits.

Order: repetition penalty, then temperature, top-k, top-p, min-p, then one draw: the order of the
published settings (temperature 0.6, then top-k 20, then top-p 0.95).
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from smallchat.errors import EngineError, SmallchatError

PENALTY_WINDOW = 64
"""The repetition penalty looks at this many of the latest tokens."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """Settings of one answer. The defaults are those published with the models.

    `temperature` 0 takes the most likely token (top-k, top-p and min-p then change nothing).
    `top_k` 0, `top_p` 1, `min_p` 0 and `repeat_penalty` 1 each mean: off. `seed` None: a new one each time.
    """

    temperature: float = 0.6
    top_k: int = 20
    top_p: float = 0.95
    min_p: float = 0.0
    repeat_penalty: float = 1.0
    seed: int | None = None

    def __post_init__(self) -> None:
        """Raise `SmallchatError` for a value that means nothing (NaN included)."""
        limits = {
            "temperature": (self.temperature, 0.0, 100.0),
            "top_k": (self.top_k, 0, 1 << 31),
            "top_p": (self.top_p, 1e-9, 1.0),
            "min_p": (self.min_p, 0.0, 1.0),
            "repeat_penalty": (self.repeat_penalty, 1e-3, 100.0),
            "seed": (self.seed or 0, 0, (1 << 63) - 1),
        }
        for name, (value, low, high) in limits.items():
            if not low <= value <= high:
                raise SmallchatError(f"{name} is {value}", f"Choose a value from {low:g} to {high:g}")

    def seeded(self) -> Sampling:
        """The same settings with a seed: this one's, or a fresh one below 2**31."""
        return self if self.seed is not None else replace(self, seed=secrets.randbelow(1 << 31))


class Sampler:
    """Draws tokens for one answer. Same settings, seed and logits: same tokens."""

    def __init__(self, sampling: Sampling, banned: npt.NDArray[np.bool_]) -> None:
        """`banned` is bool [vocabulary]: ids that are never drawn (fillers)."""
        self.sampling = sampling.seeded()
        self._banned = banned
        self._random = np.random.default_rng(self.sampling.seed)

    def choose(self, logits: npt.NDArray[np.float32], recent: Sequence[int]) -> int:
        """The next token id.

        `logits` is float32 [vocabulary] and is not changed; `recent` are the token ids so far, the latest
        last. Raises `EngineError` where the model gives no usable number.
        """
        settings = self.sampling
        scores = logits.astype(np.float64)
        scores[self._banned] = -np.inf
        top = scores.max(initial=-np.inf)
        if not np.isfinite(top):
            raise EngineError(
                "The model's output is not a number", "Its file is probably damaged: fetch or copy it again"
            )
        if settings.repeat_penalty != 1.0 and recent:
            seen = np.unique(np.asarray(recent[-PENALTY_WINDOW:], np.int64))
            scores[seen] = np.where(
                scores[seen] > 0, scores[seen] / settings.repeat_penalty, scores[seen] * settings.repeat_penalty
            )
        if settings.temperature == 0.0:
            return int(scores.argmax())

        ids = self._largest(scores, settings.top_k)
        scores = scores[ids] / settings.temperature
        probabilities = np.exp(scores - scores[0])
        probabilities /= probabilities.sum()
        keep = len(ids)
        if settings.top_p < 1.0:
            # The token that crosses the threshold is kept.
            keep = int(np.searchsorted(np.cumsum(probabilities), settings.top_p)) + 1
        if settings.min_p > 0.0:
            keep = min(keep, int((probabilities >= settings.min_p * probabilities[0]).sum()))
        keep = max(1, min(keep, len(ids)))
        cumulative = np.cumsum(probabilities[:keep])
        draw = self._random.random() * cumulative[-1]
        return int(ids[min(int(np.searchsorted(cumulative, draw, side="right")), keep - 1)])

    @staticmethod
    def _largest(scores: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.int64]:
        """Ids of the `count` largest scores (0: all), best first; equal scores in order of their id."""
        if 0 < count < len(scores):
            border = np.partition(scores, -count)[-count]
            candidates = np.flatnonzero(scores >= border)
        else:
            candidates = np.flatnonzero(scores > -np.inf)
        order = np.argsort(-scores[candidates], kind="stable")
        ids = candidates[order]
        return ids[:count] if count > 0 else ids
