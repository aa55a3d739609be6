"""Products of whole numbers are exact, whoever computes them."""

from __future__ import annotations

import sys
from contextlib import suppress
from types import SimpleNamespace

import numpy as np
import pytest

from smallchat.kernels import whole_numbers
from smallchat.kernels.whole_numbers import LONGEST, NumkongProduct, numpy_product


def products() -> list[object]:
    made: list[object] = [numpy_product]
    with suppress(ImportError):
        made.append(NumkongProduct())
    return made


@pytest.mark.parametrize("product", products(), ids=lambda product: getattr(product, "__name__", "numkong"))
@pytest.mark.parametrize(
    ("n", "m", "depth"), [(1, 1, 1), (3, 7, 20), (64, 12, 128), (130, 1, 33), (5, 14, 4001)]
)
def test_products_are_exact(product, n, m, depth):
    rng = np.random.default_rng(n)
    wide = rng.integers(-128, 128, (n, depth + 9)).astype(np.int8)
    a, b = wide[:, 5 : 5 + depth], rng.integers(-128, 128, (m, depth)).astype(np.int8)
    assert np.array_equal(product(a, b), a.astype(np.int64) @ b.T.astype(np.int64))


@pytest.mark.parametrize("product", products(), ids=lambda product: getattr(product, "__name__", "numkong"))
def test_the_longest_rows_fit(product):
    """Of the numbers that are multiplied here: 127 at most, and −128 on one side."""
    a, b = np.full((1, LONGEST), 127, np.int8), np.full((2, LONGEST), -128, np.int8)
    assert product(a, b).tolist() == [[-127 * 128 * LONGEST] * 2]


def test_numkong_computes_where_it_is_installed():
    pytest.importorskip("numkong")
    assert isinstance(whole_numbers.choose(), NumkongProduct)


def wrong(a: np.ndarray, b: object, out: object) -> None:
    """Leaves what was there."""


@pytest.mark.parametrize(
    "library",
    [None, SimpleNamespace(), SimpleNamespace(dots_pack=bytes, dots_packed=wrong, from_pointer=print)],
    ids=["missing", "another", "wrong"],
)
def test_numpy_computes_where_the_library_does_not(library, monkeypatch):
    monkeypatch.setitem(sys.modules, "numkong", library)
    assert whole_numbers.choose() is numpy_product
