"""The LM head with and without its predictor."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import gguf
import numpy as np
import pytest
from gguf import quants

from smallchat import settings
from smallchat.commands import bench
from smallchat.errors import ModelError
from smallchat.kernels import Matrix
from smallchat.kernels.numpy import NumpyKernels
from smallchat.kernels.quants import TensorType
from smallchat.model.head import Head
from smallchat.settings import SparseHead
from tests.support.engines import opened
from tests.support.models import Raw, RawTensor, Recipe, model

INNER = 32  # width of the predictor
RECIPE = Recipe(layers=2, hidden=64, type="Q4_0", seed=400)


def floats(values: np.ndarray) -> Matrix:
    values = np.ascontiguousarray(values, np.float32)
    return Matrix(TensorType.F32, *values.shape, values.view(np.uint8))


@pytest.fixture
def parts() -> tuple[Head, np.ndarray, np.ndarray, np.ndarray]:
    """A head of 50 rows over 16 numbers, with its matrices: head, W1, W2."""
    random = np.random.default_rng(0)
    head, inner, outer = (random.normal(size=size) for size in ((50, 16), (8, 16), (50, 8)))
    weights = SimpleNamespace(head=floats(head), predictor=(floats(inner), floats(outer)))
    return Head(weights, (0, 50), NumpyKernels()), head, inner, outer


def test_without_a_threshold_all_logits_are_computed(parts) -> None:
    head, rows, _, _ = parts
    x, out = np.random.default_rng(1).normal(size=(3, 16)).astype(np.float32), np.empty((3, 50), np.float32)
    head(x, out)
    assert np.allclose(out, x @ rows.T, atol=1e-4)


@pytest.mark.parametrize("threshold", [-3.0, 0.0, 2.0])
def test_rows_that_score_above_the_threshold_are_exact_and_the_others_minus_infinity(
    parts, threshold
) -> None:
    head, rows, inner, outer = parts
    x, out = np.random.default_rng(2).normal(size=(4, 16)).astype(np.float32), np.empty((4, 50), np.float32)
    head(x, out, SparseHead(threshold, floor=1))
    chosen = (x @ inner.T) @ outer.T > threshold
    assert chosen.any(axis=1).all()
    assert np.array_equal(np.isfinite(out), chosen)
    assert np.allclose(out[chosen], (x @ rows.T)[chosen], atol=1e-4)
    assert head.computed == chosen.sum()
    assert head.asked == out.size


def test_the_floor_keeps_the_rows_with_the_highest_scores(parts) -> None:
    head, _, inner, outer = parts
    x, out = np.random.default_rng(3).normal(size=(1, 16)).astype(np.float32), np.empty((1, 50), np.float32)
    head(x, out, SparseHead(1e9, floor=7))
    scores = ((x @ inner.T) @ outer.T)[0]
    assert set(np.flatnonzero(np.isfinite(out[0]))) == set(np.argsort(-scores)[:7])


def with_predictor(folder: Path, extra: int = 0) -> tuple[Path, np.ndarray, np.ndarray]:
    """The recipe's file with a predictor behind its tensors, and what that holds: W1 and W2."""
    raw = Raw.read(model(RECIPE).path)
    vocabulary, random = model(RECIPE).recipe.vocab, np.random.default_rng(5)
    inner = random.normal(size=(INNER, RECIPE.hidden)).astype(np.float32)
    outer = random.normal(size=(vocabulary, INNER)).astype(np.float32)
    packed = [quants.quantize(part, gguf.GGMLQuantizationType.Q4_0) for part in (inner, outer)]
    data = b"".join(part.tobytes() for part in packed) + bytes(18 * extra)
    count = inner.size + outer.size + 32 * extra
    raw.body += bytes(-len(raw.body) % 32)
    raw.tensors.append(RawTensor(b"lm_head_profiler.weight", [count], 2, len(raw.body)))
    raw.body += data
    path = folder / "with-predictor.gguf"
    path.write_bytes(raw.data())
    kept = [quants.dequantize(part, gguf.GGMLQuantizationType.Q4_0) for part in packed]
    return path, *kept


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("kernels", ["numpy", "ggml"])
def test_a_files_predictor_leaves_rows_out_in_every_rank(tmp_path, kernels, threads) -> None:
    path, _, _ = with_predictor(tmp_path)
    ids = list(range(40, 60))
    with opened(path, kernels, threads, sparse_head=SparseHead(0.0, floor=3)) as engine:
        sparse = engine.feed(ids).copy()
        again = engine.sparse_head
        engine.sparse_head = None
        engine.clear()
        dense = engine.feed(ids).copy()
        engine.sparse_head = again
    kept = np.isfinite(sparse)
    assert 0.2 < kept.mean() < 0.8
    assert np.isfinite(dense).all()
    assert np.abs(sparse - dense)[kept].max() < 1e-3 * dense.std()


def test_off_unless_it_is_asked_for_and_told_where_there_is_none(tmp_path) -> None:
    path, _, _ = with_predictor(tmp_path)
    with opened(path) as engine:
        assert np.isfinite(engine.feed([40, 41])).all()
    with opened(model(RECIPE).path, sparse_head=SparseHead()) as engine:
        assert any("no LM head predictor" in note for note in engine.notes)
        assert np.isfinite(engine.feed([40, 41])).all()


def test_a_predictor_of_another_size_is_refused(tmp_path) -> None:
    path, _, _ = with_predictor(tmp_path, extra=1)
    with pytest.raises(ModelError, match="lm_head_profiler"), opened(path):
        pass


def test_bench_tells_how_often_the_sparse_head_agrees(tmp_path, capsys) -> None:
    path, _, _ = with_predictor(tmp_path)
    flags = {"model": str(path), "sparse_head": True, "head_threshold": 0.0, "head_floor": 1, "threads": 1}
    bench.run(settings.load(flags, {}), bench.Work(4, 6, 0, 1), None, True)
    facts = json.loads(capsys.readouterr().out)
    assert 0.0 <= facts["head_agreement"] < 1.0
    bench.run(settings.load(flags | {"head_threshold": -1e9}, {}), bench.Work(4, 6, 0, 1), None, True)
    assert json.loads(capsys.readouterr().out)["head_agreement"] == 1.0
