"""The C interface of the ggml (September 2023) that the `ctransformers` wheel carries, through `ctypes`.

Standard library only, because this file is also run by itself: `python ggml_abi.py LIBRARY` computes one
small product and exits with 0 where the library works. A library built for another processor dies of an
illegal instruction, so it is tried in a process of its own first.
"""

from __future__ import annotations

import ctypes as ct
import functools
import math
import sys
from typing import Any

_CONTEXT_BYTES = 16 << 20  # for tensor headers only (about 400 bytes each); touched as they are made
_GRAPH_BYTES = 8 + 3 * 4096 * 8 + 8273 * 8 + 24
_F32 = 0


class _InitParams(ct.Structure):
    _fields_ = (("mem_size", ct.c_size_t), ("mem_buffer", ct.c_void_p), ("no_alloc", ct.c_bool))


class _Tensor(ct.Structure):
    _fields_ = (
        ("type", ct.c_int),
        ("backend", ct.c_int),
        ("n_dims", ct.c_int),
        ("ne", ct.c_int64 * 4),
        ("nb", ct.c_size_t * 4),
        ("op", ct.c_int),
        ("op_params", ct.c_int32 * 8),
        ("is_param", ct.c_bool),
        ("grad", ct.c_void_p),
        ("src", ct.c_void_p * 6),
        ("perf_runs", ct.c_int),
        ("perf_cycles", ct.c_int64),
        ("perf_time_us", ct.c_int64),
        ("data", ct.c_void_p),
        ("name", ct.c_char * 64),
        ("extra", ct.c_void_p),
        ("padding", ct.c_char * 4),
    )


class _Plan(ct.Structure):
    _fields_ = (
        ("work_size", ct.c_size_t),
        ("work_data", ct.c_void_p),
        ("n_threads", ct.c_int),
        ("n_tasks", ct.c_int * 4096),
        ("abort_callback", ct.c_void_p),
        ("abort_callback_data", ct.c_void_p),
    )


class Library:
    """A loaded ggml. Raises `OSError` or `AttributeError` where the file is not that library."""

    def __init__(self, path: str) -> None:
        handle = ct.CDLL(path)
        pointer = ct.POINTER(_Tensor)

        def function(name: str, result: Any, *arguments: Any) -> Any:
            found = getattr(handle, name)
            found.restype, found.argtypes = result, arguments
            return found

        self.new_tensor_2d = function(
            "ggml_new_tensor_2d", pointer, ct.c_void_p, ct.c_int, ct.c_int64, ct.c_int64
        )
        self.mul_mat = function("ggml_mul_mat", pointer, ct.c_void_p, pointer, pointer)
        self.build = function("ggml_build_forward_expand", None, ct.c_void_p, pointer)
        self.plan = function("ggml_graph_plan", _Plan, ct.c_void_p, ct.c_int)
        self.compute = function("ggml_graph_compute", None, ct.c_void_p, ct.c_void_p)
        init = function("ggml_init", ct.c_void_p, _InitParams)
        # One context for all: the library allows 64. The first also fills the half-precision tables.
        self.context = init(_InitParams(_CONTEXT_BYTES, None, True))
        if not self.context:
            raise OSError("ggml_init gave no context")


def address_of(array: Any) -> int:
    """Where a writable, contiguous array of at least one byte lies in memory."""
    # Twice as fast as NumPy's own `array.ctypes.data`, and there are a thousand of these a token.
    return ct.addressof(ct.c_char.from_buffer(array))


class Product:
    """y = x Wᵀ for any matrix of one type and shape: the addresses are patched in at each call.

    On the calling thread alone: ggml's own threads are made anew at each call and spin, which costs more than
    it gives for one token, and nearly everything where another program wants the processor too.
    """

    def __init__(self, library: Library, kind: int, rows: int, cols: int) -> None:
        self._library = library
        weights = library.new_tensor_2d(library.context, kind, cols, rows)
        inputs = library.new_tensor_2d(library.context, _F32, cols, 1)
        output = library.mul_mat(library.context, weights, inputs)
        self._weights, self._inputs, self._output = weights.contents, inputs.contents, output.contents
        for tensor in (self._weights, self._inputs, self._output):
            tensor.data = 1  # not null: the library takes a null for "not placed yet"
        self._graph = ct.create_string_buffer(_GRAPH_BYTES)
        self._graph_address = ct.addressof(self._graph)
        library.build(self._graph_address, output)
        self._shape, self._capacity = (0, 0), 0

    def __call__(self, weights: int, inputs: int, output: int, columns: int, stride: int) -> None:
        """Addresses of W (quantised rows), x (float32 [columns, cols]) and y (float32 [columns, rows]).

        A row of y begins `stride` bytes after the one before it: y may be some columns of a wider array.
        """
        if (columns, stride) != self._shape:
            self._resize(columns, stride)
        self._weights.data, self._inputs.data, self._output.data = weights, inputs, output
        self._library.compute(self._graph_address, self._plan_address)

    def _resize(self, columns: int, stride: int) -> None:
        self._output.nb[1] = stride
        for tensor in (self._inputs, self._output):
            tensor.ne[1] = columns
            tensor.nb[2] = tensor.nb[3] = tensor.nb[1] * columns
        self._shape = (columns, stride)
        if columns > self._capacity:
            self._plan = self._library.plan(self._graph_address, 1)
            self._work = ct.create_string_buffer(self._plan.work_size + 64)
            self._plan.work_data = ct.addressof(self._work)
            self._plan_address = ct.addressof(self._plan)
            self._capacity = columns


@functools.cache
def load(path: str) -> Library:
    """The library at `path`, loaded once a process."""
    return Library(path)


def self_test(path: str) -> bool:
    """Whether the library at `path` gives a small Q4_0 product right."""
    library = load(path)
    rows, cols = 3, 64
    # Every block: scale 0.5 (half precision 0x3800), low halves 9, high halves 6 → weights 0.5 and −1
    weights = ct.create_string_buffer((b"\x00\x38" + b"\x69" * 16) * (rows * cols // 32))
    inputs = (ct.c_float * (2 * cols))(*([1.0] * cols + [-2.0] * cols))
    output = (ct.c_float * (2 * rows))()
    product = Product(library, 2, rows, cols)
    product(ct.addressof(weights), ct.addressof(inputs), ct.addressof(output), 2, rows * 4)
    expected = [-0.25 * cols] * rows + [0.5 * cols] * rows
    return all(math.isclose(a, b, rel_tol=0.01) for a, b in zip(output, expected, strict=True))


if __name__ == "__main__":
    sys.exit(0 if self_test(sys.argv[1]) else 1)
