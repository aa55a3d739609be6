"""Whole numbers are multiplied exactly, whoever does it, and scaled as floats are."""

from __future__ import annotations

import sys
from contextlib import suppress
from types import SimpleNamespace

import numpy as np
import pytest

from smallchat.kernels import whole_numbers
from smallchat.kernels.whole_numbers import LONGEST, NumkongWholeKernels, NumpyWholeKernels, WholeKernels


def all_kernels() -> list[WholeKernels]:
    made: list[WholeKernels] = [NumpyWholeKernels()]
    with suppress(ImportError):
        made.append(NumkongWholeKernels())
    return made


every = pytest.mark.parametrize("kernels", all_kernels(), ids=lambda kernels: type(kernels).__name__)


@every
@pytest.mark.parametrize(
    ("n", "m", "depth"), [(1, 1, 1), (3, 7, 20), (64, 12, 128), (130, 1, 33), (5, 14, 4001), (9, 5, 128)]
)
def test_products_are_exact(kernels, n, m, depth):
    rng = np.random.default_rng(n)
    wide = rng.integers(-128, 128, (n, depth + 9)).astype(np.int8)
    a, b = wide[:, 5 : 5 + depth], rng.integers(-128, 128, (m, depth)).astype(np.int8)
    assert np.array_equal(kernels.product(a, b), a.astype(np.int64) @ b.T.astype(np.int64))


@every
def test_the_longest_rows_fit(kernels):
    """Of the numbers that are multiplied here: 127 at most, and −128 on one side."""
    a, b = np.full((1, LONGEST), 127, np.int8), np.full((2, LONGEST), -128, np.int8)
    assert kernels.product(a, b).tolist() == [[-127 * 128 * LONGEST] * 2]


@every
@pytest.mark.parametrize(("m", "n"), [(1, 1), (7, 130), (3, 4001)])
def test_products_are_scaled(kernels, m, n):
    rng = np.random.default_rng(m)
    dots = rng.integers(-(2**21), 2**21, (n, m)).astype(np.int32).T
    rows, columns, offsets = (rng.normal(0, 1, count).astype(np.float32) for count in (m, n, n))
    out = np.empty((m, n), np.float32)
    kernels.scaled(dots, rows, columns, offsets, out)
    right = dots * rows[:, None].astype(np.float64) * columns + offsets
    assert np.allclose(out, right, rtol=1e-6, atol=1e-6 * np.abs(right).max())


def test_numkong_computes_where_it_is_installed():
    pytest.importorskip("numkong")
    assert isinstance(whole_numbers.choose(), NumkongWholeKernels)


def nothing(*_: object, **__: object) -> None:
    """Leaves what was there."""


WRONG = SimpleNamespace(dots_pack=nothing, dots_packed=nothing, from_pointer=nothing, fma=nothing)


@pytest.mark.parametrize("library", [None, SimpleNamespace(), WRONG], ids=["missing", "another", "wrong"])
def test_numpy_computes_where_the_library_does_not(library, monkeypatch):
    monkeypatch.setitem(sys.modules, "numkong", library)
    assert isinstance(whole_numbers.choose(), NumpyWholeKernels)
