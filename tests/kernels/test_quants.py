"""Every tensor type, bit for bit against the gguf package; products of both kernels against float64."""

from __future__ import annotations

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType, quants

from smallchat.errors import KernelError
from smallchat.kernels import Matrix, choose
from smallchat.kernels.quants import TensorType, dequantise, row_bytes, whole_numbers
from tests.support.models import FLOATS, K_QUANTS, SIMPLE_QUANTS, stored

KINDS = (*FLOATS, *SIMPLE_QUANTS, *K_QUANTS)
HALVES = {
    "Q4_0": (0,),
    "Q4_1": (0, 2),
    "Q5_0": (0,),
    "Q5_1": (0, 2),
    "Q8_0": (0,),
    "Q2_K": (80, 82),
    "Q3_K": (108,),
    "Q4_K": (0, 2),
    "Q5_K": (0, 2),
    "Q6_K": (208,),
}
"""Where the half-precision scales of a block stand."""


def get_kernels(name: str):
    try:
        return choose(name)[0]
    except KernelError as error:
        if name == "ggml":
            pytest.skip(str(error))
        raise


def matrix(kind: str, rows: int, cols: int, seed: int = 0) -> tuple[Matrix, np.ndarray]:
    """A random matrix, and its float64 weights."""
    rng = np.random.default_rng(seed)
    held, exact = stored(rng.normal(0, 1, (rows, cols)), kind, rng)
    data = np.ascontiguousarray(held).view(np.uint8).reshape(rows, -1)
    return Matrix(TensorType[kind], rows, cols, data), exact


def size_of(kind: str) -> tuple[int, int]:
    return gguf.GGML_QUANT_SIZES[GGMLQuantizationType[kind]]


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_and_sizes_are_ggufs(kind):
    assert TensorType[kind] == GGMLQuantizationType[kind]
    block, size = size_of(kind)
    assert row_bytes(TensorType[kind], 3 * block) == 3 * size
    if block > 1:
        with pytest.raises(ValueError):
            row_bytes(TensorType[kind], 3 * block + 1)


@pytest.mark.parametrize("kind", KINDS)
def test_any_bytes_mean_what_the_gguf_package_says(kind):
    """All bits random, scales with all exponents: subnormal, negative and zero ones too, but finite."""
    block, size = size_of(kind)
    rng = np.random.default_rng(7)
    raw = rng.integers(0, 256, (4096, size), np.uint8)
    for at in HALVES.get(kind, ()):
        scales = rng.integers(0, 1 << 16, 4096).astype(np.uint16)
        scales[:64] &= 0x83FF  # subnormal and zero
        scales[(scales & 0x7C00) == 0x7C00] = 0x3C00  # neither infinite nor NaN
        raw[:, at : at + 2] = scales[:, None].view(np.uint8)
    with np.errstate(all="ignore"):
        expected = quants.dequantize(raw.reshape(1, -1), GGMLQuantizationType[kind]).reshape(4096, block)
        got = dequantise(TensorType[kind], raw.reshape(2, -1)).reshape(4096, block)
    assert got.dtype == np.float32
    if kind in FLOATS:
        expected = expected.astype(np.float32)
        assert np.array_equal(got, expected, equal_nan=True)
    else:
        assert np.abs(expected).max() > 0
        # A last bit may differ where the order of two float32 products does.
        assert np.allclose(got, expected, rtol=3e-7, atol=np.abs(expected).max(axis=1, keepdims=True) * 3e-7)


def test_every_half_precision_number_is_exact():
    """Those that are finite without the others, which are read in another way."""
    every = np.arange(1 << 16, dtype="<u2")
    for numbers in (every, every[np.isfinite(every.view("<f2"))]):
        got = dequantise(TensorType.F16, numbers.view(np.uint8).reshape(8, -1))
        expected = numbers.view("<f2").astype(np.float32)
        assert np.array_equal(got.reshape(-1), expected, equal_nan=True)
        assert np.array_equal(np.signbit(got.reshape(-1)), np.signbit(expected))


@pytest.mark.parametrize("name", ["numpy", "ggml"])
@pytest.mark.parametrize("kind", KINDS)
def test_rows_and_columns_are_cut(kind, name):
    """Without a copy, and both kernels read what was cut."""
    kernels = get_kernels(name)
    w, exact = matrix(kind, 40, 512)
    part, cut = w.slice(10, 23), w.slice(10, 23).columns(256, 512)
    assert (part.rows, part.cols) == (13, 512)
    assert (cut.rows, cut.cols, cut.stride) == (13, 256, w.stride)
    assert np.shares_memory(cut.data, w.data)
    for got, expected in ((w, exact), (part, exact[10:23]), (cut, exact[10:23, 256:])):
        # A last bit may differ where the order of two float32 products does.
        assert np.allclose(kernels.floats(got), expected, rtol=1e-6, atol=1e-6)
    ids = np.array([39, 0, 7, 7])
    assert np.array_equal(dequantise(w.kind, w.data[ids]), exact[ids].astype(np.float32))


def test_whole_numbers_are_within_half_a_step():
    rng = np.random.default_rng(2)
    values = rng.normal(0, 1, (3, 50, 96)).astype(np.float32)
    values *= 10.0 ** rng.uniform(-25, 30, (3, 50, 1)).astype(np.float32)
    values[0, :3] = 0
    levels, scales = whole_numbers(values)
    assert (levels.dtype, levels.shape, scales.shape) == (np.int8, values.shape, (3, 50))
    largest = np.abs(values).max(axis=-1)
    assert np.allclose(scales * 127, largest, rtol=1e-6)
    assert (np.abs(levels * scales[..., None] - values) <= scales[..., None] * 0.5001).all()
    assert (np.abs(levels.astype(int)).max(axis=-1) == np.where(largest, 127, 0)).all()


SIZES = [(1, 1), (1, 33), (2, 64), (3, 7), (7, 256), (33, 130), (64, 31)]


@pytest.mark.parametrize("kind", KINDS)
def test_numpy_multiplies_exactly(kind):
    kernels = get_kernels("numpy")
    assert kernels.name == "numpy"
    for n, rows in SIZES:
        w, exact = matrix(kind, rows, 512, seed=n)
        x = np.random.default_rng(n).normal(0, 1, (n, 512)).astype(np.float32)
        product = x.astype(np.float64) @ exact.T
        got = kernels.matmul(x, w)
        assert got.dtype == np.float32
        assert got.shape == (n, rows)
        assert np.abs(got - product).max() < 1e-5 * np.sqrt(512) * 2
        hidden = np.maximum(np.random.default_rng(n + 1).normal(0, 1, (n, rows)), 0).astype(np.float32)
        back = kernels.matmul_transposed(hidden, w)
        assert back.shape == (n, 512)
        assert np.abs(back - hidden.astype(np.float64) @ exact).max() < 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_ggml_multiplies_as_well_as_it_rounds(kind):
    """Activations in 8 bit make about half a percent of the product's size; float32 has no such excuse."""
    kernels = get_kernels("ggml")
    assert kernels.name.startswith("ggml (")
    bound = {"F32": 1e-6, "F16": 1e-3, "BF16": 5e-3}.get(kind, 0.02)
    for n, rows in SIZES:
        w, exact = matrix(kind, rows, 512, seed=n)
        x = np.random.default_rng(n).normal(0, 1, (n, 512)).astype(np.float32)
        product = x.astype(np.float64) @ exact.T
        got = kernels.matmul(x, w)
        assert got.dtype == np.float32
        assert got.shape == (n, rows)
        size = np.linalg.norm(x, axis=1)[:, None] * np.linalg.norm(exact, axis=1)
        assert np.abs(got - product).max() < bound * size.max()
        hidden = np.maximum(np.random.default_rng(n + 1).normal(0, 1, (n, rows)), 0).astype(np.float32)
        back = kernels.matmul_transposed(hidden, w)
        scale = max(1.0, np.abs(hidden.astype(np.float64) @ exact).max())
        assert np.abs(back - hidden.astype(np.float64) @ exact).max() < max(bound, 1e-5) * scale


@pytest.mark.parametrize("name", ["numpy", "ggml"])
def test_any_arrangement_of_the_inputs(name):
    """Columns of a larger array, a reversed one, rows of a mapped file that start at an odd byte."""
    kernels = get_kernels(name)
    w, exact = matrix("Q4_0", 24, 64)
    wide = np.random.default_rng(1).normal(0, 1, (5, 128)).astype(np.float32)
    odd = np.empty(w.data.size + 1, np.uint8)
    odd[1:] = w.data.reshape(-1)
    for x in (wide[:, ::2], wide[::-1, :64], np.asfortranarray(wide[:, :64]), wide[:1, 3:67]):
        for data in (w.data, odd[1:].reshape(w.data.shape)):
            before = x.copy()
            got = kernels.matmul(x, Matrix(w.kind, w.rows, w.cols, data))
            assert np.abs(got - x.astype(np.float64) @ exact.T).max() < 0.25
            assert np.array_equal(x, before)
            first = kernels.matmul(x[:1], w)
            again = got.copy()
            kernels.matmul(x[:1] * 2, w)
            assert np.array_equal(got, again)  # what was handed out is not written over
            assert np.abs(first - x[:1].astype(np.float64) @ exact.T).max() < 0.25


@pytest.mark.parametrize("name", ["numpy", "ggml"])
def test_a_matrix_larger_than_one_step(name):
    """Many rows and many inputs: whatever is done in steps must meet at their borders."""
    kernels = get_kernels(name)
    w, exact = matrix("Q8_0", 3001, 256)
    x = np.random.default_rng(2).normal(0, 1, (70, 256)).astype(np.float32)
    for n in (70, 1):
        distance = np.abs(kernels.matmul(x[:n], w) - x[:n].astype(np.float64) @ exact.T).max()
        assert distance < (1e-3 if name == "numpy" else 1.0)
    many = np.abs(np.random.default_rng(3).normal(0, 1, (3, 3001))).astype(np.float32)
    product = many.astype(np.float64) @ exact
    assert np.abs(kernels.matmul_transposed(many, w) - product).max() < 1e-4 * np.abs(product).max()


def test_nothing_in_nothing_out():
    """No rows of input, and inputs that are all zero."""
    for name in ("numpy", "ggml"):
        kernels = get_kernels(name)
        w, _ = matrix("Q4_0", 24, 64)
        assert kernels.matmul(np.zeros((0, 64), np.float32), w).shape == (0, 24)
        assert not kernels.matmul(np.zeros((2, 64), np.float32), w).any()
        assert not kernels.matmul_transposed(np.zeros((2, 24), np.float32), w).any()


def test_unknown_kernels_are_named():
    with pytest.raises(KernelError, match="cuda"):
        choose("cuda")
