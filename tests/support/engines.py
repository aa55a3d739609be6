"""Engines for tests: loaded, measured, and closed again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from smallchat import engine as package
from smallchat.errors import KernelError


@contextmanager
def opened(
    path: Path, kernels: str = "numpy", threads: int | None = 1, **options: Any
) -> Iterator[package.Engine]:
    """An engine with an exact KV cache, closed at the end. Skips where "ggml" does not run here."""
    try:
        engine = package.Engine.load(path, kernels=kernels, threads=threads, **{"kv": "f32"} | options)
    except KernelError as error:
        if kernels == "ggml":
            pytest.skip(str(error))
        raise
    try:
        yield engine
    finally:
        engine.close()


def answer(engine: package.Engine, ids: list[int], **options: Any) -> list[int]:
    """Ids of a greedy answer, its end-of-turn token included."""
    return [event.token_id for event in engine.generate(ids, **{"temperature": 0.0, "seed": 0} | options)]


def worst(got: np.ndarray, exact: np.ndarray) -> float:
    """Largest distance anywhere, in standard deviations of `exact`."""
    assert got.shape == exact.shape
    return float(np.abs(got.astype(np.float64) - exact).max() / exact.std())


def rms(got: np.ndarray, exact: np.ndarray) -> float:
    """Root of the mean squared distance, in standard deviations of `exact`."""
    assert got.shape == exact.shape
    return float(np.sqrt(((got.astype(np.float64) - exact) ** 2).mean()) / exact.std())


def median_worst(got: np.ndarray, exact: np.ndarray) -> float:
    """The median over positions of the largest distance there, in standard deviations of `exact`."""
    assert got.shape == exact.shape
    return float(np.median(np.abs(got.astype(np.float64) - exact).max(axis=1)) / exact.std())
