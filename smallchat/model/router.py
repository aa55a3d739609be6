"""Which experts a token uses: decided from the raw residual, before attention (report, section 2)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from smallchat.model.config import Gating

Floats = npt.NDArray[np.float32]


class Route(NamedTuple):
    """`experts` int64 [n, k] and their `weights` float32 [n, k], which sum to 1 for each token."""

    experts: npt.NDArray[np.int64]
    weights: Floats


def route(x: Floats, router: Floats, used: int, gating: Gating) -> Route:
    """The `used` experts with the largest logits R x: `x` is [n, d], `router` R is [E, d].

    Weights: softmax over the chosen logits (21B), or their sigmoids divided by their sum (4B).
    """
    logits = x @ router.T  # [n, E]
    # Stable, so that equal logits take the lower expert, whatever the chunk.
    experts = np.argsort(-logits, axis=1, kind="stable")[:, :used]
    chosen = np.take_along_axis(logits, experts, axis=1)
    weights = 1 / (1 + np.exp(-chosen)) if gating is Gating.SIGMOID else np.exp(chosen - chosen[:, :1])
    weights /= weights.sum(axis=1, keepdims=True)
    return Route(experts, weights.astype(np.float32, copy=False))
