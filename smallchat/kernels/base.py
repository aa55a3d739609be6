"""The interface that the decoder computes through, and the matrix it hands over."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt

from smallchat.kernels.quants import LAYOUTS, TensorType, row_bytes
from smallchat.kernels.repack import ROWS, restore

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Matrix:
    """A quantised matrix W of `rows` × `cols`, row by row, wherever its bytes lie (mapped file, cache slot).

    `data` is uint8 [rows, bytes of a row]; the bytes of one row are contiguous, rows may lie apart. Of type
    Q4_0_8X8 it is as many bytes in another order, and all of it is contiguous.
    """

    kind: TensorType
    rows: int
    cols: int
    data: npt.NDArray[np.uint8]

    @cached_property
    def address(self) -> int:
        """Where `data` lies in memory."""
        return self.data.ctypes.data

    @property
    def stride(self) -> int:
        """Bytes from one row to the next."""
        return self.data.strides[0]

    def slice(self, start: int, stop: int) -> Matrix:
        """Rows `start` to `stop`, without a copy. Both are multiples of 8 where rows are interleaved."""
        assert self.kind is not TensorType.Q4_0_8X8 or not (start % ROWS or stop % ROWS)
        return Matrix(self.kind, stop - start, self.cols, self.data[start:stop])

    def plain(self) -> Matrix:
        """The same with its rows one behind the other: a copy where they are interleaved."""
        if self.kind is not TensorType.Q4_0_8X8:
            return self
        return Matrix(TensorType.Q4_0, self.rows, self.cols, restore(self.data))

    def columns(self, start: int, stop: int) -> Matrix:
        """Columns `start` to `stop`, without a copy but where rows are interleaved. Both are whole blocks of
        the type (`block`).
        """
        if (start, stop) == (0, self.cols):
            return self
        if self.kind is TensorType.Q4_0_8X8:
            return self.plain().columns(start, stop)
        first, size = row_bytes(self.kind, start), row_bytes(self.kind, stop - start)
        return Matrix(self.kind, self.rows, stop - start, self.data[:, first : first + size])

    @property
    def block(self) -> int:
        """Weights of a block: columns can be cut at its multiples."""
        return LAYOUTS[self.kind].weights


class Kernels(Protocol):
    """Products with quantised matrices. Not safe for use by several threads at once."""

    @property
    def name(self) -> str:
        """What computes, truthfully: "numpy", or "ggml" with the build, as "ggml (avx2)"."""

    @property
    def repacks(self) -> bool:
        """Whether Q4_0 with interleaved rows (`smallchat.kernels.repack`) is multiplied faster."""

    def wants_repacked(self, n: int) -> bool:
        """Whether that holds for `n` rows of x: for many, weights are made float32, and order is nothing."""

    def cost(self, n: int) -> float:
        """What a product of `n` rows of x costs, in rows of a product of very many: what work is shared by.
        Measured for Q4_0 in matrices of an expert of the 4B."""

    def matmul(self, x: Floats, w: Matrix, out: Floats | None = None) -> Floats:
        """x Wᵀ: float32 [n, cols] → float32 [n, rows], into `out` where that is given."""

    def floats(self, w: Matrix) -> Floats:
        """W as float32 [rows, cols], read-only; valid until the next call."""

    def matmul_transposed(self, x: Floats, w: Matrix) -> Floats:
        """x W: float32 [n, rows] → float32 [n, cols], for matrices stored transposed.

        Rows that x weighs with zero are not read: ReLU makes many.
        """
