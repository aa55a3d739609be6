"""The reference kernels: NumPy alone, with its BLAS, which knows no quantised types.

For a prompt weights become float32, a piece at a time. For one token that would be most of the work: there
the levels, which are whole numbers, are multiplied as they are, group by group of weights that share a scale,
and only the groups' products are scaled.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from smallchat.kernels.base import Floats, Matrix
from smallchat.kernels.quants import Levels, dequantise, levels_of, scaled
from smallchat.kernels.repack import ROWS

SHORT = 96
"""Rows of x below which the product is turned round."""


class NumpyKernels:
    """Exact up to float32 rounding."""

    name = "numpy"
    repacks = False
    piece = 1 << 19
    """Weights taken at a time: 2 MB of float32. More would be far when the next step reads them, fewer take
    more steps: 976, 802, 757, 831, 1037 ms of processor time a token (4B) with 2¹⁷ to 2²¹, least of 7."""

    def __init__(self) -> None:
        self._scratch = np.empty(0, np.float32)

    def wants_repacked(self, n: int) -> bool:
        """See `Kernels.wants_repacked`."""
        return False

    def cost(self, n: int) -> float:
        """See `Kernels.cost`."""
        return n + 65

    def matmul(self, x: Floats, w: Matrix, out: Floats | None = None) -> Floats:
        """See `Kernels.matmul`."""
        made = self._vector(x[0], w)[None] if len(x) == 1 else self._product(x, w)
        if out is None:
            return made
        out[:] = made
        return out

    def _product(self, x: Floats, w: Matrix) -> Floats:
        # A short chunk as W xᵀ: BLAS is up to twice as fast with few columns as with few rows.
        short = len(x) < SHORT
        out = np.empty((w.rows, len(x)) if short else (len(x), w.rows), np.float32)
        for start, stop in self._pieces(w.rows, w.cols):
            weights = self.floats(w.slice(start, stop))
            if short:
                np.matmul(weights, x.T, out=out[start:stop])
            else:
                np.matmul(x, weights.T, out=out[:, start:stop])
        return out.T if short else out

    def _vector(self, x: Floats, w: Matrix) -> Floats:
        """W x: float32 [cols] → [rows]."""
        out = np.empty(w.rows, np.float32)
        for start, stop in self._pieces(w.rows, w.cols):
            piece = w.slice(start, stop)
            levels = levels_of(piece.kind, piece.data)
            if levels is None:
                np.matmul(self.floats(piece), x, out=out[start:stop])
            else:
                self._grouped(x, levels, out[start:stop])
        return out

    def _grouped(self, x: Floats, levels: Levels, out: Floats) -> None:
        """W x, group by group: float32 [cols] → [rows], into `out`."""
        _, groups, size = levels.values.shape
        parts = x.reshape(groups, size, 1)
        products = np.matmul(self._converted(levels).transpose(1, 0, 2), parts)[:, :, 0]  # [groups, rows]
        products *= levels.scales.T
        np.add.reduce(products, axis=0, out=out)
        if levels.offsets is not None:
            out += levels.offsets @ np.add.reduce(parts, axis=1)[:, 0]

    def matmul_transposed(self, x: Floats, w: Matrix) -> Floats:
        """See `Kernels.matmul_transposed`."""
        out = np.zeros((len(x), w.cols), np.float32)
        active = np.flatnonzero(x.any(axis=0))
        for start, stop in self._pieces(len(active), w.cols):
            rows = active[start:stop]
            taken = w if len(rows) == w.rows else Matrix(w.kind, len(rows), w.cols, w.data[rows])
            out += x[:, rows] @ self.floats(taken)
        return out

    def floats(self, w: Matrix) -> Floats:
        """See `Kernels.floats`."""
        levels = levels_of(w.kind, w.data)
        if levels is None:
            return dequantise(w.kind, w.data)
        return scaled(levels, self._converted(levels))

    def _converted(self, levels: Levels) -> Floats:
        """Levels as float32 [rows, groups, weights of a group], valid until the next call."""
        values = levels.values
        floats = self._room(values.size).reshape(values.shape)
        np.copyto(floats, values)
        return floats

    def _room(self, count: int) -> Floats:
        """float32 [count], the same memory each time: what the system hands out anew is slow to touch."""
        if count > len(self._scratch):
            self._scratch = np.empty(count, np.float32)
        return self._scratch[:count]

    def _pieces(self, rows: int, cols: int) -> Iterator[tuple[int, int]]:
        """From and to of the rows taken at a time."""
        step = max(1, self.piece // cols // ROWS) * ROWS
        for start in range(0, rows, step):
            yield start, min(start + step, rows)
