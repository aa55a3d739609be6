"""The C interface of a newer ggml (August 2026), of which one product is used: that of one row with a matrix
whose rows are interleaved by eight. See `smallchat.kernels.repack`.

Standard library only, because this file is also run by itself, as `ggml_abi.py` is: `python repacked_abi.py
LIBRARY` exits with 0 where the library works.
"""

from __future__ import annotations

import ctypes as ct
import functools
import math
import sys

_Q8_BLOCK, _Q8_WEIGHTS = 34, 32


class Library:
    """A loaded ggml. Raises `OSError` or `AttributeError` where the file is not that library."""

    def __init__(self, path: str) -> None:
        # Its names are those of the other ggml of this process: they must stay its own.
        handle = ct.CDLL(path, ct.RTLD_LOCAL)
        self.quantise = handle.quantize_row_q8_0
        """x in blocks of 8 bit: (float32, into, count)."""
        self.quantise.restype, self.quantise.argtypes = None, (ct.c_void_p, ct.c_void_p, ct.c_int64)
        self.multiply = handle.ggml_gemv_q4_0_8x8_q8_0
        """(columns, output, its stride, interleaved rows, blocks of x, 1, rows)"""
        self.multiply.restype = None
        self.multiply.argtypes = (
            *(ct.c_int, ct.c_void_p, ct.c_size_t, ct.c_void_p, ct.c_void_p, ct.c_int, ct.c_int),
        )
        handle.ggml_cpu_init()  # fills the table of half-precision numbers


class RepackedProduct:
    """y = x Wᵀ as `ggml_abi.Product`, for a matrix whose rows are interleaved: rows of x one by one."""

    def __init__(self, library: Library) -> None:
        self._quantise, self._multiply = library.quantise, library.multiply
        self._cols = 0

    def __call__(
        self,
        weights: int,
        rows: int,
        cols: int,
        stride: int,
        inputs: int,
        columns: int,
        output: int,
        output_stride: int,
    ) -> None:
        """See `ggml_abi.Product`; `rows` is a multiple of 8, and they lie one behind the other."""
        if cols > self._cols:
            self._blocks = ct.create_string_buffer(cols // _Q8_WEIGHTS * _Q8_BLOCK)
            self._at, self._cols = ct.addressof(self._blocks), cols
        for _ in range(columns):
            self._quantise(inputs, self._at, cols)
            self._multiply(cols, output, rows, weights, self._at, 1, rows)
            inputs += cols * 4
            output += output_stride


@functools.cache
def load(path: str) -> Library:
    """The library at `path`, loaded once a process."""
    return Library(path)


def self_test(path: str) -> bool:
    """Whether the library at `path` gives a small product right."""
    rows, cols = 8, 64
    # Scale 0.5 (half precision 0x3800); halves 9 and 6, their sign bits turned: weights 0.5 and −1
    weights = ct.create_string_buffer((b"\x00\x38" * rows + b"\xe1" * 16 * rows) * (cols // 32))
    inputs = (ct.c_float * (2 * cols))(*([1.0] * cols + [-2.0] * cols))
    output = (ct.c_float * (2 * rows))()
    w, x, y = (ct.addressof(array) for array in (weights, inputs, output))
    RepackedProduct(load(path))(w, rows, cols, cols // 32 * 18, x, 2, y, rows * 4)
    expected = [-0.25 * cols] * rows + [0.5 * cols] * rows
    return all(math.isclose(a, b, rel_tol=0.01) for a, b in zip(output, expected, strict=True))


if __name__ == "__main__":
    sys.exit(0 if self_test(sys.argv[1]) else 1)
