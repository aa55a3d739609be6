"""The reference kernels: dequantise to float32, multiply with NumPy's BLAS."""

from __future__ import annotations

import numpy as np

from smallchat.kernels.base import Floats, Matrix
from smallchat.kernels.quants import dequantise

BLOCK_WEIGHTS = 1 << 21
"""Weights dequantised at a time: 8 MB of float32, one matrix of an expert of the 21B."""

SHORT = 96
"""Rows of x below which the product is turned round."""


class NumpyKernels:
    """Exact up to float32 rounding, and as slow as dequantising is (about 0.3 G weights/s)."""

    name = "numpy"

    def matmul(self, x: Floats, w: Matrix, out: Floats | None = None) -> Floats:
        """See `Kernels.matmul`."""
        made = self._product(x, w)
        if out is None:
            return made
        out[:] = made
        return out

    def _product(self, x: Floats, w: Matrix) -> Floats:
        # A short chunk as W xᵀ: BLAS is up to twice as fast with few columns as with few rows.
        short = len(x) < SHORT
        out = np.empty((w.rows, len(x)) if short else (len(x), w.rows), np.float32)
        step = max(1, BLOCK_WEIGHTS // w.cols)
        for row in range(0, w.rows, step):
            block = self.floats(w.slice(row, min(row + step, w.rows)))
            if short:
                np.matmul(block, x.T, out=out[row : row + step])
            else:
                np.matmul(x, block.T, out=out[:, row : row + step])
        return out.T if short else out

    def matmul_transposed(self, x: Floats, w: Matrix) -> Floats:
        """See `Kernels.matmul_transposed`."""
        out = np.zeros((len(x), w.cols), np.float32)
        active = np.flatnonzero(x.any(axis=0))
        step = max(1, BLOCK_WEIGHTS // w.cols)
        for start in range(0, len(active), step):
            rows = active[start : start + step]
            taken = w if len(rows) == w.rows else Matrix(w.kind, len(rows), w.cols, w.data[rows])
            out += x[:, rows] @ self.floats(taken)
        return out

    def floats(self, w: Matrix) -> Floats:
        """See `Kernels.floats`."""
        return dequantise(w.kind, w.data)
