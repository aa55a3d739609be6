"""The reference kernels: dequantise to float32, multiply with NumPy's BLAS."""

from __future__ import annotations

import numpy as np

from smallchat.kernels.base import Floats, Matrix
from smallchat.kernels.quants import dequantise

BLOCK_WEIGHTS = 1 << 19
"""Weights dequantised at a time: 2 MB of float32, which stay in the processor's cache."""


class NumpyKernels:
    """Exact up to float32 rounding, and as slow as dequantising is (about 0.3 G weights/s)."""

    name = "numpy"

    def matmul(self, x: Floats, w: Matrix) -> Floats:
        """See `Kernels.matmul`."""
        out = np.empty((len(x), w.rows), np.float32)
        step = max(1, BLOCK_WEIGHTS // w.cols)
        for row in range(0, w.rows, step):
            out[:, row : row + step] = x @ dequantise(w.kind, w.data[row : row + step]).T
        return out

    def matmul_transposed(self, x: Floats, w: Matrix) -> Floats:
        """See `Kernels.matmul_transposed`. Rows that x weighs with zero are not read: ReLU makes many."""
        out = np.zeros((len(x), w.cols), np.float32)
        active = np.flatnonzero(x.any(axis=0))
        step = max(1, BLOCK_WEIGHTS // w.cols)
        for start in range(0, len(active), step):
            rows = active[start : start + step]
            out += x[:, rows] @ w.take(rows)
        return out
