"""The C interface of a newer ggml (August 2026), of which one product is used: that of rows, one or four at a
time, with a matrix whose rows are interleaved by eight. See `smallchat.kernels.repack`.

Standard library only, because this file is also run by itself, as `ggml_abi.py` is: `python repacked_abi.py
LIBRARY` exits with 0 where the library works.
"""

from __future__ import annotations

import ctypes as ct
import functools
import math
import sys

_Q8_BLOCK, _Q8_WEIGHTS = 34, 32
_TOGETHER = 4  # rows of x


class Library:
    """A loaded ggml. Raises `OSError` or `AttributeError` where the file is not that library."""

    def __init__(self, path: str) -> None:
        # Its names are those of the other ggml of this process: they must stay its own.
        handle = ct.CDLL(path, ct.RTLD_LOCAL)
        self.quantise = handle.quantize_row_q8_0
        """x in blocks of 8 bit: (float32, into, count)."""
        self.quantise_four = handle.ggml_quantize_mat_q8_0_4x8
        """The same of four rows, whose blocks lie interleaved then: (float32, into, columns)."""
        self.multiply = handle.ggml_gemv_q4_0_8x8_q8_0
        """(columns, output, 0, interleaved rows, blocks of x, 1, rows)"""
        self.multiply_many = handle.ggml_gemm_q4_0_8x8_q8_0
        """The same for a multiple of four rows of x: (…, numbers between two rows of output, …, rows of x,
        rows). Gives each the very sums that `multiply` gives."""
        for quantise in (self.quantise, self.quantise_four):
            quantise.restype, quantise.argtypes = None, (ct.c_void_p, ct.c_void_p, ct.c_int64)
        for multiply in (self.multiply, self.multiply_many):
            multiply.restype = None
            multiply.argtypes = (
                *(ct.c_int, ct.c_void_p, ct.c_size_t, ct.c_void_p, ct.c_void_p, ct.c_int, ct.c_int),
            )
        handle.ggml_cpu_init()  # fills the table of half-precision numbers


class RepackedProduct:
    """y = x Wᵀ as `ggml_abi.Product`, for a matrix whose rows are interleaved."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._quantise, self._multiply = library.quantise, library.multiply
        self._room = 0

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
        row, together = cols // _Q8_WEIGHTS * _Q8_BLOCK, columns // _TOGETHER * _TOGETHER
        if row * max(1, together) > self._room:
            self._room = row * max(1, together)
            self._blocks = ct.create_string_buffer(self._room)
            self._at = ct.addressof(self._blocks)
        at = self._at
        if together:
            for four in range(0, together, _TOGETHER):
                self._library.quantise_four(inputs + four * cols * 4, at + four * row, cols)
            self._library.multiply_many(cols, output, output_stride // 4, weights, at, together, rows)
        for one in range(together, columns):
            self._quantise(inputs + one * cols * 4, at, cols)
            self._multiply(cols, output + one * output_stride, 0, weights, at, 1, rows)


@functools.cache
def load(path: str) -> Library:
    """The library at `path`, loaded once a process."""
    return Library(path)


def self_test(path: str) -> bool:
    """Whether the library at `path` gives a small product right."""
    rows, cols, columns = 8, 64, 5
    # Scale 0.5 (half precision 0x3800); halves 9 and 6, their sign bits turned: weights 0.5 and −1
    weights = ct.create_string_buffer((b"\x00\x38" * rows + b"\xe1" * 16 * rows) * (cols // 32))
    factors = [1.0, -2.0, 0.5, 4.0, -1.0]
    inputs = (ct.c_float * (columns * cols))(*(factor for factor in factors for _ in range(cols)))
    output = (ct.c_float * (columns * rows))()
    w, x, y = (ct.addressof(array) for array in (weights, inputs, output))
    RepackedProduct(load(path))(w, rows, cols, cols // 32 * 18, x, columns, y, rows * 4)
    expected = [-0.25 * cols * factor for factor in factors for _ in range(rows)]
    return all(math.isclose(a, b, rel_tol=0.01) for a, b in zip(output, expected, strict=True))


if __name__ == "__main__":
    sys.exit(0 if self_test(sys.argv[1]) else 1)
