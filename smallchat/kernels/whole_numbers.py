"""Products of matrices of 8-bit whole numbers, exact in 32 bits, and their scaling: by `numkong`, or by NumPy
where that does not load.

Processors multiply four such numbers in the time of one float, and a quarter as much is read.
"""

from __future__ import annotations

from importlib import import_module
from typing import Protocol

import numpy as np
import numpy.typing as npt

from smallchat.kernels.ggml_abi import address_of

Int8 = npt.NDArray[np.int8]
Int32 = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]

LONGEST = 1 << 17
"""Numbers of a row: so many products of two bytes still fit into 32 bits."""

EXACT = 1024
"""Products of two bytes whose sum float32 holds exactly: what BLAS may add up."""
TOGETHER = 4
"""Rows of b that numkong takes at a time: 6 and 7 (43 µs, 4000 rows of 128) take longer than 8 (36)."""
LONG = 1024
"""Numbers of a row from which numkong scales faster than NumPy: in one pass, but row by row."""


class WholeKernels(Protocol):
    """Not safe for use by several threads at once."""

    def product(self, a: Int8, b: Int8) -> Int32:
        """a bᵀ: int8 [n, depth], whose rows may lie apart, and int8 [m, depth] → int32 [n, m], valid until
        the next call. `depth` is `LONGEST` at most.
        """

    def scaled(self, dots: Int32, rows: Floats, columns: Floats, offsets: Floats, out: Floats) -> None:
        """rowᵢ · columnⱼ · dotᵢⱼ + offsetⱼ: int32 [m, n] → float32 [m, n], contiguous; factors and offsets
        are float32 [m], [n] and [n].
        """


def choose() -> WholeKernels:
    """numkong's where it is there and computes right, else NumPy's."""
    exact = NumpyWholeKernels()
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-128, 128, (count, 70)).astype(np.int8) for count in (LONG, 3))
    rows, columns, offsets = (rng.random(count).astype(np.float32) for count in (3, LONG, LONG))
    out, right = np.empty((2, 3, LONG), np.float32)
    try:
        kernels = NumkongWholeKernels()
        dots = kernels.product(a, b)
        kernels.scaled(dots.T, rows, columns, offsets, out)
    except Exception:  # a broken or a changed library, whatever it raises
        return exact
    exact.scaled(exact.product(a, b).T, rows, columns, offsets, right)
    same = np.array_equal(dots, exact.product(a, b)) and np.allclose(out, right, rtol=1e-5)
    return kernels if same else exact


class NumpyWholeKernels:
    """See `WholeKernels`."""

    def product(self, a: Int8, b: Int8) -> Int32:
        """See `WholeKernels.product`."""
        out = np.zeros((len(a), len(b)), np.int32)
        for start in range(0, b.shape[1], EXACT):
            part = slice(start, start + EXACT)
            out += np.matmul(a[:, part].astype(np.float32), b[:, part].T.astype(np.float32)).astype(np.int32)
        return out

    def scaled(self, dots: Int32, rows: Floats, columns: Floats, offsets: Floats, out: Floats) -> None:
        """See `WholeKernels.scaled`."""
        np.multiply(dots, rows[:, None], out=out, dtype=np.float32, casting="unsafe")
        out *= columns
        out += offsets


class NumkongWholeKernels(NumpyWholeKernels):
    """See `WholeKernels`."""

    def __init__(self) -> None:
        """Raises `ImportError` where the library is not there."""
        numkong = import_module("numkong")  # takes 4 ms, which only this type of KV cache is to cost
        self._pack, self._multiply, self._fma = numkong.dots_pack, numkong.dots_packed, numkong.fma
        self._tensor = numkong.from_pointer
        self._room = np.empty(1, np.int32)

    def product(self, a: Int8, b: Int8) -> Int32:
        """See `WholeKernels.product`."""
        shape = (len(a), len(b))
        count = shape[0] * shape[1]
        if count > self._room.size:
            self._room = np.empty(2 * count, np.int32)
        # Into memory of our own: what the system hands out anew is slow to touch.
        out = self._tensor(address_of(self._room), shape, "int32")
        self._multiply(a, self._pack(b, dtype="int8"), out=out)
        return self._room[:count].reshape(shape)

    def scaled(self, dots: Int32, rows: Floats, columns: Floats, offsets: Floats, out: Floats) -> None:
        """See `WholeKernels.scaled`."""
        at, (count, n) = address_of(out), out.shape
        if n < LONG:
            super().scaled(dots, rows, columns, offsets, out)
            return
        np.copyto(out, dots, casting="unsafe")
        for row in range(count):
            line = self._tensor(at + row * n * 4, (n,), "float32")
            self._fma(line, columns, offsets, alpha=float(rows[row]), beta=1.0, out=line)
