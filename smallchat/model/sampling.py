"""How the next token is chosen from the logits.

Order: repetition penalty, then temperature, top-k, top-p, min-p, then one draw: the order of the
published settings (temperature 0.6, then top-k 20, then top-p 0.95).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from smallchat.errors import EngineError
from smallchat.settings import Sampling

PENALTY_WINDOW = 64
"""The repetition penalty looks at this many of the latest tokens."""


class Sampler:
    """Draws tokens for one answer. Same settings, seed and logits: same tokens."""

    def __init__(self, sampling: Sampling, banned: npt.NDArray[np.bool_]) -> None:
        """`banned` is bool [vocabulary]: ids that are never drawn (fillers). No seed: one is made up."""
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
                scores[seen] > 0,
                scores[seen] / settings.repeat_penalty,
                scores[seen] * settings.repeat_penalty,
            )
        if settings.temperature == 0.0:
            return int(scores.argmax())

        ids = self._largest(scores, settings.top_k)
        # A temperature next to zero makes minus infinity of all but the best.
        with np.errstate(over="ignore"):
            probabilities = np.exp((scores[ids] - scores[ids[0]]) / settings.temperature)
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
