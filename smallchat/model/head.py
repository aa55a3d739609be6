"""The LM head: logits of all of a rank's rows, or only of those that a small predictor lets through.

PowerInfer's files may carry `lm_head_profiler.weight`: two matrices W1 [h, d] and W2 [V, h]. The score of a
row of the head is W2 (W1 x); rows that score low are left out and their logits are minus infinity.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from smallchat.kernels import Kernels, Matrix
from smallchat.model.weights import Weights
from smallchat.settings import SparseHead

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Predictor:
    """Says which rows of the head are worth computing."""

    inner: Matrix  # W1, [h, d]
    outer: Matrix  # W2, this rank's rows, [rows, h]


class Head:
    """One rank's rows of the head."""

    def __init__(self, weights: Weights, rows: tuple[int, int], kernels: Kernels) -> None:
        self._kernels, self._start = kernels, rows[0]
        self._head = weights.head.slice(*rows)
        self._predictor = None
        if weights.predictor is not None:
            inner, outer = weights.predictor
            self._predictor = Predictor(inner, outer.slice(*rows))
        self.computed = self.asked = 0
        """Rows computed, of so many asked for while it was sparse."""

    def __call__(self, x: Floats, out: Floats, sparse: SparseHead | None = None) -> None:
        """Logits of x, float32 [n, d], into `out`, [n, rows]. `sparse`: let the predictor choose the rows."""
        if sparse is None or self._predictor is None or not self._head.rows:
            self._kernels.matmul(x, self._head, out=out)
            return
        for row, logits in zip(x[:, None], out, strict=True):
            self._sparse(row, logits, self._predictor, sparse)

    def _sparse(self, x: Floats, out: Floats, predictor: Predictor, sparse: SparseHead) -> None:
        inner = self._kernels.matmul(x, predictor.inner)
        scores = self._kernels.matmul(np.ascontiguousarray(inner), predictor.outer)[0]
        chosen = np.flatnonzero(scores > sparse.threshold)
        floor = min(sparse.floor, len(scores))
        if len(chosen) < floor:
            chosen = np.sort(np.argpartition(scores, -floor)[-floor:])
        self.computed += len(chosen)
        self.asked += len(scores)
        out.fill(-np.inf)
        rows = Matrix(
            self._head.kind,
            len(chosen),
            self._head.cols,
            np.take(self._head.data, chosen, axis=0, mode="clip"),
        )
        out[chosen] = self._kernels.matmul(x, rows)[0]
