"""How the next token is chosen from the logits.

Order: repetition penalty, then temperature, top-k, top-p, min-p, then one draw: the order of the
published settings (temperature 0.6, then top-k 20, then top-p 0.95).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from smallchat.errors import EngineError
from smallchat.settings import Sampling

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]

PENALTY_WINDOW = 64
"""The repetition penalty looks at this many of the latest tokens."""
BLOCK = 64
"""Logits whose maximum is looked at first; see `_above`."""


class Sampler:
    """Draws tokens for one answer. Same settings, seed and logits: same tokens."""

    def __init__(self, sampling: Sampling, banned: npt.NDArray[np.bool_]) -> None:
        """`banned` is bool [vocabulary]: ids that are never drawn (fillers). No seed: one is made up."""
        self.sampling = sampling.seeded()
        allowed = np.flatnonzero(~banned)
        # Fillers stand at the end of every known vocabulary: to look no further costs nothing.
        self._end = int(allowed[-1]) + 1 if len(allowed) else 0
        self._banned = banned
        self._holes: Ids = np.flatnonzero(banned[: self._end])
        self._scratch: Floats = np.empty(self._end, np.float32)
        self._random = np.random.default_rng(self.sampling.seed)

    def choose(self, logits: Floats, recent: Sequence[int]) -> int:
        """The next token id.

        `logits` is float32 [vocabulary] and is not changed; `recent` are the token ids so far, the latest
        last. Raises `EngineError` where the model gives no usable number.
        """
        settings = self.sampling
        ids, scores = self._best(logits, recent, 1 if settings.temperature == 0.0 else settings.top_k)
        if settings.temperature == 0.0:
            return int(ids[0])
        # A temperature next to zero makes minus infinity of all but the best.
        with np.errstate(over="ignore"):
            probabilities = np.exp((scores - scores[0]) / settings.temperature)
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

    def likeliest(self, logits: Floats, count: int) -> list[tuple[int, float]]:
        """The `count` most likely ids and their probabilities at temperature 1, best first, before penalty
        and cuts: what the model itself considers.

        `logits` is float32 [vocabulary] and is not changed. Raises nothing where `choose` did not.
        """
        np.copyto(self._scratch, logits[: self._end])
        self._scratch[self._holes] = -np.inf
        ids, top = _above(self._scratch, count)
        order = np.argsort(-self._scratch[ids], kind="stable")[:count]
        total = np.exp(self._scratch - np.float32(top)).sum(dtype=np.float64)
        best = ids[order]
        shares = np.exp(self._scratch[best].astype(np.float64) - top) / total
        return list(zip(best.tolist(), shares.tolist(), strict=True))

    def _best(self, logits: Floats, recent: Sequence[int], count: int) -> tuple[Ids, npt.NDArray[np.float64]]:
        """The `count` largest (0: all) after the penalty: their ids and scores, best first.

        Equal scores come in order of their id; impossible tokens (minus infinity) not at all.
        """
        seen = self._penalised(recent)
        rest = logits[: self._end]
        if len(seen) or len(self._holes):
            np.copyto(self._scratch, rest)
            rest = self._scratch
            # What is penalised is compared in float64, below.
            rest[self._holes] = rest[seen] = -np.inf
        ids, top = _above(rest, count)
        said = logits[seen]
        if not math.isfinite(np.append(said, top).max() if len(seen) else top):
            raise EngineError(
                "The model's output is not a number", "Its file is probably damaged: fetch or copy it again"
            )
        if len(seen):
            seen = seen[said > -np.inf]
            ids = np.insert(ids, np.searchsorted(ids, seen), seen)
        scores = logits[ids].astype(np.float64)
        if len(seen):
            at, penalty = np.searchsorted(ids, seen), self.sampling.repeat_penalty
            scores[at] = np.where(scores[at] > 0, scores[at] / penalty, scores[at] * penalty)
        order = np.argsort(-scores, kind="stable")
        if count > 0:
            order = order[:count]
        return ids[order], scores[order]

    def _penalised(self, recent: Sequence[int]) -> Ids:
        """Ids that the penalty changes, each once, in their order."""
        if self.sampling.repeat_penalty == 1.0:
            return np.empty(0, np.int64)
        seen = np.unique(np.asarray(recent[-PENALTY_WINDOW:], np.int64))
        return seen[~self._banned[seen]]


def _above(scores: Floats, count: int) -> tuple[Ids, float]:
    """Ids, in order, among which the `count` largest of `scores` are (0: all possible ones); and the largest.

    The scores are cut into blocks. `count` blocks have a maximum at or above the `count`-th largest maximum,
    so no smaller score is among the largest; and what is, lies in one of the few blocks with such a maximum.
    Between two tokens nothing of this is in the processor's caches: one pass, and few calls.
    """
    whole = len(scores) // BLOCK
    # One score of each block stands in each row: so the maxima are taken along whole rows.
    blocks, rest = scores[: whole * BLOCK].reshape(BLOCK, whole), scores[whole * BLOCK :]
    maxima = np.concatenate((blocks.max(axis=0), rest))
    top = float(maxima.max(initial=-np.inf))  # NaN where any is
    border = np.finfo(np.float32).min
    if 0 < count <= len(maxima):
        border = max(border, np.partition(maxima, -count)[-count])
        high = np.flatnonzero(maxima[:whole] >= border)
        rows, columns = np.nonzero(blocks[:, high] >= border)
        found = rows * whole + high[columns]
        return np.concatenate((found, np.flatnonzero(rest >= border) + whole * BLOCK)), top
    if 0 < count < len(scores):
        border = max(border, np.partition(scores, -count)[-count])
    return np.flatnonzero(scores >= border), top
