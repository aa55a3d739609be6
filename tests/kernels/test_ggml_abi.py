"""Graphs of ggml against NumPy in float64: each operation, and products of any shape and stride."""

from __future__ import annotations

import numpy as np
import pytest

from smallchat.errors import KernelError
from smallchat.kernels import ggml
from smallchat.kernels.ggml_abi import Context, Graph, Product, address_of, load
from smallchat.kernels.quants import LAYOUTS, TensorType
from tests.kernels.test_quants import matrix

F32 = TensorType.F32


@pytest.fixture
def context() -> Context:
    try:
        return Context(load(str(ggml.find_library())))
    except (KernelError, OSError) as error:
        pytest.skip(str(error))


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)


@pytest.mark.parametrize("d", [1, 7, 64, 1536])
def test_norms(context, d):
    x, scale, out = numbers(1, d), numbers(1, d, seed=1), np.full((1, d), np.nan, np.float32)
    graph = Graph(context)
    normed = graph.rms_norm(graph.tensor(F32, 1, d, address_of(x)), 1e-6, address_of(out))
    graph.times(normed, graph.tensor(F32, 1, d, address_of(scale)), address_of(out))
    graph.finish()
    for _ in range(2):  # what a call leaves changes nothing of the next
        graph()
        exact = x.astype(np.float64) / np.sqrt((x.astype(np.float64) ** 2).mean() + 1e-6) * scale
        assert np.allclose(out, exact, rtol=1e-5, atol=1e-6)
        x *= 3


def test_sums_products_relu_and_scales(context):
    a, b, factor = numbers(5, 32), numbers(5, 32, seed=1), np.full((1, 1), -1.75, np.float32)
    outs = np.full((4, 5, 32), np.nan, np.float32)
    graph = Graph(context)
    left, right = (graph.tensor(F32, 5, 32, address_of(x)) for x in (a, b))
    graph.plus(left, right, address_of(outs[0]))
    graph.times(left, right, address_of(outs[1]))
    graph.relu(left, address_of(outs[2]))
    copy = outs[3]
    copy[:] = a  # scaled where it lies
    graph.scaled(
        graph.tensor(F32, 5, 32, address_of(copy)),
        graph.tensor(F32, 1, 1, address_of(factor)),
        address_of(copy),
    )
    graph.finish()
    graph()
    for got, exact in zip(outs, (a + b, a * b, np.maximum(a, 0), a * np.float32(-1.75)), strict=True):
        assert np.array_equal(got, exact)
    factor[:], before = 2, copy.copy()
    graph()
    assert np.array_equal(copy, before * 2)  # the factor is read at each call


@pytest.mark.parametrize("kind", [TensorType.F32, TensorType.F16])
def test_copies_in_another_type_and_between_strides(context, kind):
    """As the KV cache's new entry: rows into columns of a larger array, nothing beside them."""
    real = np.float32 if kind is F32 else np.float16
    x, columns = numbers(3, 16), np.zeros((3, 16, 10), real)
    rows = np.zeros((3, 40), real)
    graph, size = Graph(context), np.dtype(real).itemsize
    source = graph.tensor(F32, 3, 16, address_of(x))
    into = graph.copied(
        source,
        graph.tensor(kind, 3, 16, address_of(columns), stride=columns.strides[0], step=columns.strides[1]),
    )
    graph.copied(source, graph.tensor(kind, 3, 16, address_of(rows), stride=rows.strides[0]))
    graph.finish()
    for slot in (0, 7, 9):
        columns[:], rows[:] = 0, 0
        into.contents.data = address_of(columns) + slot * size
        graph()
        assert np.array_equal(columns[:, :, slot], x.astype(real))
        columns[:, :, slot] = 0
        assert not columns.any()
        assert np.array_equal(rows[:, :16], x.astype(real))
        assert not rows[:, 16:].any()


@pytest.mark.parametrize("kind", ["F32", "F16", "Q4_0", "Q8_0", "Q4_K", "Q6_K"])
def test_one_product_takes_any_shape_in_turn(context, kind):
    """Columns of a wider matrix, several rows of x, output rows that lie apart; up, and down again."""
    product = Product(context, TensorType[kind], LAYOUTS[TensorType[kind]].weights)
    bound = {"F32": 1e-6, "F16": 1e-3}.get(kind, 0.02)
    w, exact = matrix(kind, 33, 768)
    for columns, rows, (first, last) in (
        (1, 33, (0, 768)),
        (5, 33, (0, 768)),
        (1, 4, (256, 512)),
        (17, 20, (512, 768)),
        (2, 1, (0, 256)),
        (1, 33, (0, 768)),
    ):
        part, x = w.slice(0, rows).columns(first, last), numbers(columns, last - first, seed=columns)
        out = np.full((columns, rows + 3), np.nan, np.float32)
        product(
            *(part.address, rows, part.cols, part.stride),
            *(address_of(x), columns, address_of(out), out.strides[0]),
        )
        right = exact[:rows, first:last]
        size = np.linalg.norm(x, axis=1)[:, None] * np.linalg.norm(right, axis=1)
        assert np.abs(out[:, :rows] - x.astype(np.float64) @ right.T).max() < bound * size.max()
        assert np.isnan(out[:, rows:]).all()


def test_contexts_are_given_back(context):
    """The library has room for 64 at a time."""
    for _ in range(100):
        graph = Graph(Context(context.library))
        del graph
    assert Context(context.library).handle
