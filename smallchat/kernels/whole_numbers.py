"""Products of matrices of 8-bit whole numbers, exact in 32 bits: `numkong` computes them where it loads, else
NumPy.

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

LONGEST = 1 << 17
"""Numbers of a row: so many products of two bytes still fit into 32 bits."""


class WholeProduct(Protocol):
    """a bᵀ."""

    def __call__(self, a: Int8, b: Int8) -> Int32:
        """int8 [n, depth], whose rows may lie apart, and int8 [m, depth] → int32 [n, m], valid until the next
        call. `depth` is `LONGEST` at most.
        """


def choose() -> WholeProduct:
    """numkong's product where it is there and computes right, else NumPy's."""
    try:
        product = NumkongProduct()
        a, b = (
            np.arange(-96, 96, dtype=np.int8).reshape(3, 64),
            np.arange(-64, 64, dtype=np.int8).reshape(2, 64),
        )
        right = np.array_equal(product(a, b), numpy_product(a, b))
    except Exception:  # a broken or a changed library, whatever it raises
        return numpy_product
    return product if right else numpy_product


def numpy_product(a: Int8, b: Int8) -> Int32:
    """See `WholeProduct`."""
    # As float64, which holds the sums exactly, so that BLAS computes them.
    made: Int32 = np.matmul(a.astype(np.float64), b.T.astype(np.float64)).astype(np.int32)
    return made


class NumkongProduct:
    """See `WholeProduct`."""

    def __init__(self) -> None:
        """Raises `ImportError` where the library is not there."""
        numkong = import_module("numkong")  # takes 4 ms, which only this type of KV cache is to cost
        self._pack, self._multiply = numkong.dots_pack, numkong.dots_packed
        self._tensor = numkong.from_pointer
        self._room = np.empty(1, np.int32)

    def __call__(self, a: Int8, b: Int8) -> Int32:
        shape = (len(a), len(b))
        count = shape[0] * shape[1]
        if count > self._room.size:
            self._room = np.empty(2 * count, np.int32)
        # Into memory of our own: what the system hands out anew is slow to touch.
        out = self._tensor(address_of(self._room), shape, "int32")
        self._multiply(a, self._pack(b, dtype="int8"), out=out)
        return self._room[:count].reshape(shape)
