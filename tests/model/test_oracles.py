"""The decoder against logits computed elsewhere: by llama.cpp, and by the formulas in float64."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

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


@pytest.mark.parametrize("kernels", ["numpy", "ggml"])
@pytest.mark.parametrize("name", FLOAT)
def test_float_weights_give_llama_cpps_logits(name, kernels):
    """softmax-swa-f32 is 4200 tokens long and so reaches across the window of 4096."""
    got, llama, exact = asked(name, kernels)
    assert worst(got, llama) < 1e-4
    assert worst(got, exact) < 1e-4


@pytest.mark.parametrize("name", QUANTISED)
def test_numpy_computes_the_stored_weights_exactly(name):
    got, _, exact = asked(name, "numpy")
    assert worst(got, exact) < 1e-3


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", QUANTISED)
def test_ggml_rounds_no_more_than_llama_cpp_does(name, threads):
    """Root mean square over all positions, and the median over positions of the largest distance."""
    got, llama, exact = asked(name, "ggml", threads=threads)
    assert rms(got, exact) <= max(0.12, 1.5 * rms(llama, exact))
    assert median_worst(got, exact) <= max(0.12, 1.5 * median_worst(llama, exact))


@pytest.mark.parametrize("kernels", ["numpy", "ggml"])
def test_threads_change_nothing_but_rounding(kernels):
    one, _, exact = asked("sigmoid-rope-f32", kernels, threads=1)
    two, _, _ = asked("sigmoid-rope-f32", kernels, threads=2)
    assert worst(two, one.astype(np.float64)) < 1e-5
    assert worst(two, exact) < 1e-4


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
        if recipe["dtype"] == "f32":
            assert worst(engine.logits(tokens), exact) < 1e-4
        else:
            assert rms(engine.logits(tokens), exact) < 0.12
