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
import weakref
from typing import Any

GRAPH_TENSORS = 4096
"""The library ends the process where a graph computes more tensors, or is given more."""
CONTEXT_TENSORS = 1 << 14
"""… and where a context has somewhat more."""
_CONTEXT_BYTES = 512 * CONTEXT_TENSORS  # for tensor headers only (320 bytes each); touched as they are made
_GRAPH_BYTES = 8 + 3 * GRAPH_TENSORS * 8 + 8273 * 8 + 24
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
        ("n_tasks", ct.c_int * GRAPH_TENSORS),
        ("abort_callback", ct.c_void_p),
        ("abort_callback_data", ct.c_void_p),
    )


class _Traits(ct.Structure):
    _fields_ = (
        ("type_name", ct.c_char_p),
        ("blck_size", ct.c_int),
        ("type_size", ct.c_size_t),
        ("is_quantized", ct.c_bool),
        ("to_float", ct.c_void_p),
        ("from_float", ct.c_void_p),
        ("from_float_reference", ct.c_void_p),
        ("vec_dot", ct.c_void_p),
        ("vec_dot_type", ct.c_int),
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
        self.mul = function("ggml_mul", pointer, ct.c_void_p, pointer, pointer)
        self.add = function("ggml_add", pointer, ct.c_void_p, pointer, pointer)
        self.scale = function("ggml_scale", pointer, ct.c_void_p, pointer, pointer)
        self.copy = function("ggml_cpy", pointer, ct.c_void_p, pointer, pointer)
        self.relu = function("ggml_relu", pointer, ct.c_void_p, pointer)
        self.rms_norm = function("ggml_rms_norm", pointer, ct.c_void_p, pointer, ct.c_float)
        self.build = function("ggml_build_forward_expand", None, ct.c_void_p, pointer)
        self.plan = function("ggml_graph_plan", _Plan, ct.c_void_p, ct.c_int)
        self.compute = function("ggml_graph_compute", None, ct.c_void_p, ct.c_void_p)
        self._traits = function("ggml_internal_get_type_traits", _Traits, ct.c_int)
        self.init = function("ggml_init", ct.c_void_p, _InitParams)
        self.free = function("ggml_free", None, ct.c_void_p)

    def to_float(self, kind: int) -> Any:
        """What makes float32 of quantised weights of a type: a call with (from, to, count)."""
        return ct.CFUNCTYPE(None, ct.c_void_p, ct.c_void_p, ct.c_int)(self._traits(kind).to_float)


def address_of(array: Any) -> int:
    """Where a writable, contiguous array of at least one byte lies in memory."""
    # Twice as fast as NumPy's own `array.ctypes.data`, and there are hundreds of these a token.
    return ct.addressof(ct.c_char.from_buffer(array))


class Context:
    """Where tensors live, for one thread; given back together. The library allows 64 at a time."""

    def __init__(self, library: Library) -> None:
        """Raises `OSError` where there are too many."""
        self.library = library
        # The first one of a process also fills the half-precision tables.
        self.handle = library.init(_InitParams(_CONTEXT_BYTES, None, True))
        if not self.handle:
            raise OSError("ggml_init gave no context")
        weakref.finalize(self, library.free, self.handle)


class Graph:
    """Products and what stands between them, made once and computed with one call: 1.4 µs beside the work.

    On the calling thread alone: ggml's own threads are made anew at each call and spin, which costs more than
    it gives for one token, and nearly everything where another program wants the processor too.

    Tensors are given back with their context only: keep graphs, and patch addresses (`data` of what the
    methods return) instead of making new ones.
    """

    def __init__(self, context: Context) -> None:
        self._context, self._library = context, context.library
        self._graph = ct.create_string_buffer(_GRAPH_BYTES)
        self._address = ct.addressof(self._graph)

    def tensor(
        self, kind: int, rows: int, cols: int, address: int = 1, stride: int = 0, step: int = 0
    ) -> Any:
        """A matrix given from outside; its rows lie `stride` bytes apart, numbers of a row `step` (0: one
        behind the other).
        """
        made = self._library.new_tensor_2d(self._context.handle, kind, cols, rows)
        made.contents.data = address  # never null: the library takes a null for "not placed yet"
        if stride:
            made.contents.nb[1] = stride
            made.contents.nb[2] = made.contents.nb[3] = stride * rows
        if step:
            made.contents.nb[0] = step
        return made

    def product(self, weights: Any, inputs: Any, output: int = 1) -> Any:
        """x Wᵀ for W [rows, cols] and x float32 [n, cols]: float32 [n, rows] at the address `output`."""
        return self._node(self._library.mul_mat(self._context.handle, weights, inputs), output)

    def relu(self, inputs: Any, output: int) -> Any:
        """max(x, 0)."""
        return self._node(self._library.relu(self._context.handle, inputs), output)

    def rms_norm(self, inputs: Any, epsilon: float, output: int) -> Any:
        """x / √(mean(x²) + ε)."""
        return self._node(self._library.rms_norm(self._context.handle, inputs, epsilon), output)

    def times(self, left: Any, right: Any, output: int) -> Any:
        """Element by element."""
        return self._node(self._library.mul(self._context.handle, left, right), output)

    def plus(self, left: Any, right: Any, output: int) -> Any:
        """Element by element; may lie where one of the two lies."""
        return self._node(self._library.add(self._context.handle, left, right), output)

    def scaled(self, inputs: Any, factor: Any, output: int) -> Any:
        """x times one number, a tensor of 1 × 1."""
        return self._node(self._library.scale(self._context.handle, inputs, factor), output)

    def copied(self, inputs: Any, into: Any) -> Any:
        """x in the type of `into`, where that lies, in its strides; patch the address of what is returned."""
        made = self._library.copy(self._context.handle, inputs, into)
        self._library.build(self._address, made)
        return made

    def finish(self, work: int = 0) -> None:
        """Call once when all is added; at least `work` bytes are set aside for the computation."""
        self._plan = self._library.plan(self._address, 1)
        self._plan.work_size = max(self._plan.work_size, work) + 64
        self._work = ct.create_string_buffer(self._plan.work_size)
        self._plan.work_data = ct.addressof(self._work)
        self._plan_address = ct.addressof(self._plan)

    def __call__(self) -> None:
        self._library.compute(self._address, self._plan_address)

    def _node(self, tensor: Any, output: int) -> Any:
        """`output` is the address of the result, contiguous unless its strides are patched."""
        tensor.contents.data = output
        self._library.build(self._address, tensor)
        return tensor


class Product:
    """y = x Wᵀ for any matrix of one type, and any number of rows of x."""

    def __init__(self, context: Context, kind: int, block: int) -> None:
        """`block` is the number of weights of the type's block."""
        self._graph = Graph(context)
        weights, inputs = self._graph.tensor(kind, 1, block), self._graph.tensor(_F32, 1, block)
        output = self._graph.product(weights, inputs)
        self._weights, self._inputs, self._output = weights.contents, inputs.contents, output.contents
        self._shape, self._work = (0, 0, 0, 0, 0), 0

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
        """Addresses of W (quantised [rows, cols], its rows `stride` bytes apart: it may be some columns of a
        wider matrix), x (float32 [columns, cols]) and y (float32 [columns, rows], its rows `output_stride`
        apart).
        """
        shape = (rows, cols, stride, columns, output_stride)
        if shape != self._shape:
            self._resize(*shape)
        self._weights.data, self._inputs.data, self._output.data = weights, inputs, output
        self._graph()

    def _resize(self, rows: int, cols: int, stride: int, columns: int, output_stride: int) -> None:
        w, x, y = self._weights, self._inputs, self._output
        w.ne[0] = x.ne[0] = cols
        w.ne[1] = y.ne[0] = rows
        x.ne[1] = y.ne[1] = columns
        w.nb[1], x.nb[1], y.nb[1] = stride, cols * 4, output_stride
        for tensor in (w, x, y):
            tensor.nb[2] = tensor.nb[3] = tensor.nb[1] * tensor.ne[1]
        self._shape = (rows, cols, stride, columns, output_stride)
        work = columns * cols * 4  # x in the type that W is multiplied with is never larger
        if work > self._work:
            self._work = 2 * work  # a KV cache grows by a token at a time
            self._graph.finish(self._work)


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
    product = Product(Context(library), 2, 32)
    row = cols // 32 * 18
    w, x, y = (ct.addressof(array) for array in (weights, inputs, output))
    product(w, rows, cols, row, x, 2, y, rows * 4)
    expected = [-0.25 * cols] * rows + [0.5 * cols] * rows
    return all(math.isclose(a, b, rel_tol=0.01) for a, b in zip(output, expected, strict=True))


if __name__ == "__main__":
    sys.exit(0 if self_test(sys.argv[1]) else 1)
