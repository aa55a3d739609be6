"""The fast path for one token says what `Decoder` says, for every layout, type of weights and of KV cache."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from smallchat.kernels.quants import whole_numbers
from smallchat.model.decoder import Decoder
from smallchat.model.kv_cache import Seen, spread
from tests.model.test_reference import LAYOUTS, TYPES
from tests.support import reference
from tests.support.engines import opened, rms, worst
from tests.support.models import SIMPLE_QUANTS, Recipe, model

TOKENS = np.random.default_rng(5).integers(0, 256, 30).tolist()
QUANTISED = [name for name in TYPES if name not in {"F32", "BF16", "BF16-tied", "each-another"}]
"""`each-another` has a matrix of BF16, which this ggml does not know."""


def both(recipe: Recipe, kv: str, monkeypatch: pytest.MonkeyPatch) -> tuple[np.ndarray, np.ndarray]:
    """Logits behind a prompt of 9 and of every token after it: by the fast path, and without it."""
    with opened(model(recipe).path, "ggml", context=64, kv=kv) as engine:
        fast = [engine.feed(TOKENS[:9]), *(engine.feed([token]) for token in TOKENS[9:])]
        assert engine.decoder._single.neurons > 0
        engine.clear()
        monkeypatch.setattr(Decoder, "_single_for", lambda *_: None)
        tokens = engine.decoder._single._tokens
        plain = [engine.feed(TOKENS[:9])]
        if kv == "q8":
            monkeypatch.setattr(Seen, "scores", rounding(Seen.scores))
        plain += [engine.feed([token]) for token in TOKENS[9:]]
        assert engine.decoder._single._tokens == tokens
    return np.concatenate(fast), np.concatenate(plain).astype(np.float64)


def rounding(scores: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """The same of queries of 8 bits, which is what the fast path multiplies 8-bit keys by."""

    def rounded(seen: Seen, queries: np.ndarray, *rest: object) -> np.ndarray:
        back = np.linalg.inv(spread(np.eye(queries.shape[1], dtype=np.float32)))
        levels, scales = whole_numbers(spread(queries))
        return scores(seen, levels * scales[:, None] @ back, *rest)

    return rounded


@pytest.mark.parametrize("kv", ["f32", "f16", "q8"])
@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts(name, kv, monkeypatch):
    """Windows are passed and go round many times.

    With an exact cache only the order of sums differs. Softmax is divided by its sum before weights are
    rounded, or after; 8 bit may round what is in the middle between two steps to either. Measured: 0.012 and
    0.024 at most.
    """
    fast, plain = both(LAYOUTS[name], kv, monkeypatch)
    most, mean = {"f32": (3e-5, 1e-5), "f16": (0.02, 0.0015), "q8": (0.03, 0.004)}[kv]
    assert worst(fast, plain) < most
    assert rms(fast, plain) < mean


@pytest.mark.parametrize("kv", ["f32", "f16", "q8"])
@pytest.mark.parametrize("name", QUANTISED)
def test_types(name, kv, monkeypatch):
    """What differs in a last digit may be rounded to another of 8 bits in front of the next product.

    The median hears every mistake, the mean also where the router then chose another expert.
    """
    fast, plain = both(TYPES[name], kv, monkeypatch)
    if name.startswith("F16"):
        assert worst(fast, plain) < (0.02 if kv == "q8" else 0.01)
        return
    median = float(np.median(np.abs(fast - plain)) / plain.std())
    assert median < {"f32": 0.008, "f16": 0.02, "q8": 0.012}[kv]
    assert rms(fast, plain) < (0.03 if kv == "f32" else 0.12)


@pytest.mark.parametrize("name", ["BF16", "BF16-tied", "each-another"])
def test_a_type_that_ggml_does_not_know_takes_the_other_path(name):
    path = model(TYPES[name]).path
    with opened(path, "ggml", context=64) as engine:
        got = np.concatenate([engine.feed([token]) for token in TOKENS[:10]])
        assert engine.decoder._single is None
        assert rms(engine.logits(TOKENS[:10]), got.astype(np.float64)) < 0.12


MANY = Recipe(layers=1, hidden=32, experts=600, used=600, width=32)
KINDS = ("F32", "F16", *SIMPLE_QUANTS)
MIXED = Recipe(
    layers=len(KINDS),
    hidden=32,
    experts=285,
    used=285,
    width=32,
    types=tuple((f"blk.{layer}.ffn_*_exps*", kind) for layer, kind in enumerate(KINDS)),
)


@pytest.mark.parametrize("recipe", [MANY, MIXED], ids=["many", "mixed"])
def test_more_experts_than_ggml_has_room_for_take_the_other_path(recipe):
    """In one graph, or in those of all kinds of layers together: the library would end the process."""
    with opened(model(recipe).path, "ggml", context=64) as engine:
        got = np.concatenate([engine.feed([token]) for token in TOKENS[:3]])
        assert engine.decoder._single is None
        assert np.isfinite(got).all()


@pytest.mark.parametrize("threads", [2, 4])
@pytest.mark.parametrize("recipe", ["transposed", "odd-sizes", "seven-of-seven", "partial-rotary-window"])
def test_ranks_share_single_tokens(recipe, threads):
    path = model(LAYOUTS[recipe]).path
    with opened(path, "numpy", context=64) as engine:
        exact = np.concatenate([engine.feed([token]) for token in TOKENS]).astype(np.float64)
    with opened(path, "ggml", threads, context=64) as engine:
        assert worst(np.concatenate([engine.feed([token]) for token in TOKENS]), exact) < 3e-5


@pytest.mark.parametrize("threads", [2, 4])
@pytest.mark.parametrize("kernels", ["numpy", "ggml"])
@pytest.mark.parametrize("width", [20, 50, 100])
def test_transposed_files_with_any_number_of_neurons_are_shared(width, kernels, threads):
    """No rank reads past the end of an expert."""
    made = model(Recipe(transposed=True, width=width, used=1, seed=70))
    exact = reference.logits(made.weights, made.shape, TOKENS[:30])
    with opened(made.path, kernels, threads, context=64) as engine:
        assert worst(engine.logits(TOKENS[:30]), exact) < 1e-4
        engine.clear()
        got = np.concatenate([engine.feed([token]) for token in TOKENS[:30]])
    assert worst(got, exact) < 1e-4


@pytest.mark.parametrize("name", ["plain", "transposed", "window-Q4_0", "as-released"])
def test_leaving_silent_neurons_out_changes_nothing_but_rounding(name, monkeypatch):
    """Forced for every layer, however many neurons are active."""
    recipe = (LAYOUTS | TYPES)[name]
    tokens = [int(token) for token in np.random.default_rng(7).integers(0, 256, 24)]

    def logits(below: float) -> np.ndarray:
        monkeypatch.setattr("smallchat.model.single.SPARSE_BELOW", below)
        with opened(model(recipe).path, "ggml", context=64) as engine:
            made = [engine.feed([token]).copy() for token in tokens]
            assert 0 < engine.counters().neuron_sparsity < 1
        return np.concatenate(made)

    dense, sparse = logits(0.0), logits(2.0)
    assert worst(sparse, dense.astype(np.float64)) < 2e-3
