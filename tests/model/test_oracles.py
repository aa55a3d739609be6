"""The decoder against logits computed elsewhere: by llama.cpp, and by the formulas in float64.

Paths: both kernels; 1 to 4 ranks; one token at a time (with ggml its own code), chunks whose products ggml
makes with activations of 8 bit, and chunks whose weights are made float32 for BLAS; each type of KV cache.
"""

from __future__ import annotations

import functools
import itertools
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from smallchat.kernels import ggml
from smallchat.model import decoder
from smallchat.model.router import Route, route
from smallchat.model.single import SingleToken
from tests.model.test_reference import of_gguf
from tests.support import reference
from tests.support.engines import median_worst, opened, rms, worst
from tests.support.shared import shared

FLOAT = ("sigmoid-rope-f32", "softmax-swa-f32")
QUANTISED = ("sigmoid-rope-q4_0", "sigmoid-rope-mixed-k", "softmax-swa-q4_0")


def asked(name: str, kernels: str, **options: object) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(ours, llama.cpp's, exact) at the positions an oracle keeps."""
    material = np.load(shared("oracle", f"{name}.npz"))
    with opened(shared("oracle", f"{name}.gguf"), kernels, context=8192, **options) as engine:
        got = engine.logits(material["tokens"].tolist())
    assert got.dtype == np.float32
    assert got.shape == (len(material["tokens"]), material["exact"].shape[1])
    return got[material["positions"]], material["logits"], material["exact"].astype(np.float64)


@pytest.mark.parametrize("chunk", [1, 16, 512])
@pytest.mark.parametrize("threads", [1, 2, 3, 4])
@pytest.mark.parametrize("kernels", ["numpy", "ggml"])
def test_float_weights_give_llama_cpps_logits(kernels, threads, chunk):
    got, llama, exact = asked("sigmoid-rope-f32", kernels, threads=threads, chunk=chunk)
    assert worst(got, llama) < 1e-4
    assert worst(got, exact) < 1e-4


@pytest.mark.parametrize(("kernels", "threads"), [("numpy", 2), ("ggml", 1), ("ggml", 2), ("ggml", 4)])
def test_the_window_of_a_long_text(kernels, threads):
    """4200 tokens across the window of 4096: in chunks, and once more its end token by token."""
    material = np.load(shared("oracle", "softmax-swa-f32.npz"))
    tokens, positions = material["tokens"].tolist(), material["positions"].tolist()
    llama, exact = material["logits"], material["exact"].astype(np.float64)
    with opened(shared("oracle", "softmax-swa-f32.gguf"), kernels, threads, context=8192) as engine:
        got = engine.logits(tokens)[positions]
        engine.feed(tokens[:4094])
        single = {position: engine.feed(tokens[position : position + 1]) for position in range(4094, 4200)}
    for oracle in (llama, exact):
        assert worst(got, oracle) < 1e-4
        assert positions[3:] == [4094, 4095, 4096, 4097, 4150, 4199]
        assert worst(np.concatenate([single[position] for position in positions[3:]]), oracle[3:]) < 1e-4


@pytest.mark.parametrize("chunk", [1, 512])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", QUANTISED)
def test_numpy_computes_the_stored_weights_exactly(name, threads, chunk):
    got, _, exact = asked(name, "numpy", threads=threads, chunk=chunk)
    assert worst(got, exact) < 1e-3


@pytest.mark.parametrize("chunk", [1, 16])
@pytest.mark.parametrize("threads", [1, 2, 3, 4])
@pytest.mark.parametrize("name", QUANTISED)
def test_ggml_rounds_no_more_than_llama_cpp_does(name, threads, chunk):
    """Root mean square over all positions, and the median over positions of the largest distance."""
    as_llama_cpp(*asked(name, "ggml", threads=threads, chunk=chunk))


def as_llama_cpp(got: np.ndarray, llama: np.ndarray, exact: np.ndarray) -> None:
    assert rms(got, exact) <= max(0.12, 1.5 * rms(llama, exact))
    assert median_worst(got, exact) <= max(0.12, 1.5 * median_worst(llama, exact))


def blas_always(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BLAS_FROM", "REPACKED_BLAS_FROM", "REPACKED_WIDE_BLAS_FROM"):
        monkeypatch.setattr(ggml, name, 1)


@pytest.mark.parametrize("chunk", [16, 512])
@pytest.mark.parametrize("name", QUANTISED)
def test_what_ggml_dequantises_is_not_rounded(name, chunk, monkeypatch):
    """With BLAS for any number of rows: as exact as NumPy, through ggml's own dequantising."""
    blas_always(monkeypatch)
    got, _, exact = asked(name, "ggml", chunk=chunk)
    assert worst(got, exact) < 1e-3


@functools.cache
def choices(name: str) -> list[np.ndarray]:
    """The experts of the exact run, [tokens, k] for each layer."""
    made: list[np.ndarray] = []

    def note(x, router, used, gating) -> Route:
        made.append((found := route(x, router, used, gating)).experts)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoder, "route", note)
        asked(name, "numpy")
    return made


@pytest.fixture
def pinned(monkeypatch):
    """Lets every token of an oracle use the experts of the exact run, with weights from its own logits.

    A rounding that decides between two nearly equal logits of the router otherwise changes everything behind
    that token, and one such token moves the mean more than all rounding does. For one rank.
    """

    def pin(name: str) -> None:
        layers = choices(name)
        calls, at = itertools.count(), [0] * len(layers)

        def following(count: int) -> np.ndarray:
            layer = next(calls) % len(layers)
            at[layer] += count
            return layers[layer][at[layer] - count : at[layer]]

        def pinned_route(x, router, used, gating) -> Route:
            rows = following(len(x))
            found = [route(x[i : i + 1], router[row], used, gating) for i, row in enumerate(rows)]
            experts = np.stack([row[one.experts[0]] for row, one in zip(rows, found, strict=True)])
            return Route(experts, np.concatenate([one.weights for one in found]))

        def pinned_choice(single: SingleToken) -> tuple[list[int], list[float]]:
            (row,), logits = following(1), single._buffers.logits
            masked = np.full_like(logits, -1e30)
            masked[row] = logits[row]
            logits[:] = masked
            return choose(single)

        choose = SingleToken._choose
        monkeypatch.setattr(decoder, "route", pinned_route)
        monkeypatch.setattr(SingleToken, "_choose", pinned_choice)

    return pin


@pytest.mark.parametrize("chunk", [1, 16, 512])
@pytest.mark.parametrize("name", QUANTISED)
def test_ggml_rounds_as_llama_cpp_does_where_the_router_decides_the_same(name, chunk, pinned):
    """In a chunk of all 40 tokens, experts of 18 or more are exact and the others rounded.

    In sigmoid-rope-q4_0 this mixture chooses another expert at one near tie, so the router is held.
    """
    pinned(name)
    as_llama_cpp(*asked(name, "ggml", chunk=chunk))


KV_ERROR = {"f16": (0.003, 0.02), "q8": (0.06, 0.3)}
"""How far a KV cache of this type may move logits: root mean square, and at most, in standard deviations."""


@pytest.mark.parametrize("chunk", [1, 16, 512])
@pytest.mark.parametrize("kernels", ["numpy", "ggml"])
@pytest.mark.parametrize("kv", KV_ERROR)
@pytest.mark.parametrize("name", ["sigmoid-rope-f32", *QUANTISED])
def test_a_kv_cache_rounds_as_much_as_is_stated(name, kv, kernels, chunk, pinned, monkeypatch):
    """Nothing else is rounded: BLAS multiplies what is quantised, but for single tokens in ggml."""
    alone = kernels == "ggml" and chunk == 1 and name in QUANTISED
    blas_always(monkeypatch)
    pinned(name)
    got, llama, exact = asked(name, kernels, chunk=chunk, kv=kv)
    if alone:
        as_llama_cpp(got, llama, exact)
        return
    mean, most = KV_ERROR[kv]
    assert 1e-5 < rms(got, exact) < mean  # it does round
    assert worst(got, exact) < most


@pytest.mark.parametrize("kv", KV_ERROR)
def test_a_ring_rounds_as_much_as_is_stated(kv):
    """The window of 4096 passed in chunks, then token by token."""
    material = np.load(shared("oracle", "softmax-swa-f32.npz"))
    tokens, positions = material["tokens"].tolist(), material["positions"].tolist()
    exact = material["exact"].astype(np.float64)[3:]
    with opened(shared("oracle", "softmax-swa-f32.gguf"), "ggml", 2, context=8192, kv=kv) as engine:
        engine.feed(tokens[:4094])
        single = {position: engine.feed(tokens[position : position + 1]) for position in range(4094, 4200)}
        mean, most = KV_ERROR[kv]
        got = np.concatenate([single[position] for position in positions[3:]])
        assert rms(got, exact) < mean
        assert worst(got, exact) < most
        engine.clear()
        for start, stop in ((0, 4090), (4090, 4120), (4120, 4200)):
            last = engine.feed(tokens[start:stop])
        assert rms(last, exact[-1:]) < mean
        assert worst(last, exact[-1:]) < most


@pytest.mark.parametrize("chunk", [1, 512])
@pytest.mark.parametrize("kernels", ["numpy", "ggml"])
def test_threads_change_nothing_but_rounding(kernels, chunk):
    one, _, _ = asked("sigmoid-rope-f32", kernels, threads=1, chunk=chunk)
    for threads in (2, 4):
        more, _, _ = asked("sigmoid-rope-f32", kernels, threads=threads, chunk=chunk)
        assert worst(more, one.astype(np.float64)) < 1e-5


COLUMNS = ("layers", "d", "heads", "kv", "head", "experts", "topk", "ff", "gating", "swa", "tied", "dtype")
SHAPES = {
    "wide": (3, 96, 5, 5, 48, 6, 6, 32, 1, 0, True, "f32"),
    "half": (5, 64, 6, 3, 16, 64, 6, 32, 0, 4096, False, "f16"),
    "brain": (2, 64, 2, 1, 64, 32, 4, 32, 0, 0, True, "bf16"),
    "q4_1": (2, 96, 3, 1, 32, 3, 2, 64, 2, 0, False, "q4_1"),
    "q5_0": (6, 64, 4, 2, 32, 8, 3, 32, 1, 4096, True, "q5_0"),
    "q5_1": (2, 64, 4, 2, 32, 8, 3, 96, 2, 0, False, "q5_1"),
    "q8_0": (2, 128, 4, 1, 32, 8, 1, 32, 2, 0, True, "q8_0"),
    "powerinfer": (3, 128, 4, 2, 32, 32, 4, 64, 0, 0, False, "q4_0"),
    "mixed-k": (2, 256, 2, 1, 128, 4, 2, 256, 1, 4096, True, "mixed-k"),
}


@functools.cache
def folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="oracles-")


@functools.cache
def made(name: str) -> tuple[Path, dict[str, object]] | None:
    """A file of these shapes, and its recipe; None where the maker's K-quantiser does not load."""
    path = Path(folder().name) / f"{name}.gguf"
    recipe = dict(zip(COLUMNS, SHAPES[name], strict=True)) | {"seed": 5, "theta": 5e4, "ctx": 256}
    recipe["transposed"] = name == "powerinfer"
    run = subprocess.run(
        [sys.executable, shared("tools", "oracle_gguf.py"), path, json.dumps(recipe)],
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode and recipe["dtype"] == "mixed-k":
        return None
    assert run.returncode == 0, run.stderr
    return path, recipe


@pytest.mark.parametrize("name", SHAPES)
def test_more_shapes_of_the_oracles_maker(name):
    """The same maker's other shapes, against the reference on what its file holds."""
    if (it := made(name)) is None:
        pytest.skip("the maker's K-quantiser does not load here")
    path, recipe = it
    tokens = np.random.default_rng(3).integers(0, 256, 30).tolist()
    exact = reference.logits(*of_gguf(path, transposed=recipe["transposed"]), tokens)
    with opened(path, "numpy", context=256) as engine:
        assert worst(engine.logits(tokens), exact) < (1e-4 if recipe["dtype"] == "f32" else 1e-3)
    with opened(path, "ggml", context=256) as engine:
        got = engine.logits(tokens)
        engine.clear()
        single = np.concatenate([engine.feed([token]) for token in tokens])
    if recipe["dtype"] == "f32":
        assert worst(got, exact) < 1e-4
        assert worst(single, exact) < 1e-4
    else:
        assert rms(got, exact) < 0.12
        assert rms(single, exact) < 0.12
