"""Made-up models: files that load, with the routing and the sparsity that they are said to have."""

from __future__ import annotations

import functools
import math
from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf import quants

from smallchat.engine.caches import make_caches
from smallchat.model.synthetic import SHAPES, Shape, file_bytes, write
from tests.support.engines import opened
from tests.support.models import new_path
from tests.support.synthetic import SLIDING, TINY


@functools.cache
def made(shape: Shape) -> Path:
    path = new_path()
    write("tiny", shape, path, lambda done, total: None)
    return path


@pytest.mark.parametrize("shape", [TINY, SLIDING])
def test_the_file_is_a_model_of_that_shape_and_says_what_it_is(shape: Shape):
    with opened(made(shape)) as engine:
        config = engine.config
        names = ("layers", "hidden", "heads", "experts", "experts_used", "expert_width", "vocabulary")
        for name in (*names, "kv_heads", "head_size", "context", "gating", "rope_base"):
            assert getattr(config, name) == getattr(shape, name), name
        assert set(config.windows) == ({None} if shape.window is None else {None, shape.window})
        assert config.notes == ()
        assert engine.card.made_up
        assert "made-up" in engine.card.name
        assert engine.tokenizer.encode("hello é") == list("hello é".encode())
        assert np.isfinite(engine.logits(range(256))).all()
        assert int((~engine.tokenizer.fillers).sum()) == 259


@pytest.mark.parametrize("shape", [TINY, SLIDING])
def test_a_minority_of_experts_takes_most_tokens_and_yet_tokens_differ(shape: Shape):
    ids = np.random.default_rng(5).integers(0, 256, 512)
    routes: list[np.ndarray] = [np.empty((0, shape.experts_used), int)] * shape.layers

    class Note:
        def layer(self, layer: int, experts: np.ndarray) -> None:
            routes[layer] = np.concatenate([routes[layer], experts])

        def check(self) -> None:
            """Nothing is given up."""

    with opened(made(shape)) as engine:
        cache = make_caches(engine.config, 1, len(ids), "f32")[0]
        for start in range(0, len(ids), 32):
            engine.decoder.forward(ids[start : start + 32], cache, every=True, watcher=Note())
    for uses in routes:
        counts = np.bincount(uses.ravel(), minlength=shape.experts)
        top = np.sort(counts)[-round(0.3 * shape.experts) :]
        assert 0.65 <= top.sum() / counts.sum() <= 0.8
        assert counts.min() > 0
        assert counts.max() < 0.9 * len(ids)
        assert len(np.unique(np.sort(uses, axis=1), axis=0)) > 200
    first, last = (np.argsort(np.bincount(routes[at].ravel()))[-5:] for at in (0, -1))
    assert set(first) != set(last)  # each layer has favourites of its own


def neuron_zeros(path: Path, shape: Shape) -> list[float]:
    """Share of zero neurons in each layer, over all experts of tokens that stand alone in their context."""
    held = {t.name: quants.dequantize(t.data, t.tensor_type) for t in gguf.GGUFReader(path).tensors}
    x = held["token_embd.weight"][:256].astype(np.float64)

    def normed(x: np.ndarray) -> np.ndarray:
        return x / np.sqrt((x**2).mean(axis=1, keepdims=True) + 1e-6)

    zeros = []
    for layer in range(shape.layers):
        w = {n.split(".")[2]: value for n, value in held.items() if n.startswith(f"blk.{layer}.")}
        route = np.argsort(-(x @ w["ffn_gate_inp"].T), axis=1)[:, : shape.experts_used]
        value = (normed(x) @ w["attn_v"].T).reshape(256, shape.kv_heads, 1, shape.head_size)
        # Alone, a token attends to itself: each query head gives the value of its group.
        heads = np.repeat(value, shape.heads // shape.kv_heads, axis=2).reshape(256, -1)
        x = x + heads @ w["attn_output"].T
        inputs, silent = normed(x), []
        for token in range(256):
            for expert in route[token]:
                gate = np.maximum(w["ffn_gate_exps"][expert] @ inputs[token], 0)
                silent.append((gate == 0).mean())
                hidden = gate * (w["ffn_up_exps"][expert] @ inputs[token])
                x[token] += w["ffn_down_exps"][expert] @ hidden / shape.experts_used
        zeros.append(float(np.mean(silent)))
    # The residual grows as the weights were scaled for; else deep layers would behave differently.
    assert x[:, 32:].var() == pytest.approx(1 + shape.layers * 0.05, rel=0.15)
    assert np.allclose(x[:, :32], 4.0, rtol=1e-3)
    return zeros


@pytest.mark.parametrize("shape", [TINY, SLIDING])
def test_most_neurons_are_zero_and_more_in_the_first_layers(shape: Shape):
    zeros = neuron_zeros(made(shape), shape)
    assert all(0.88 <= share <= 0.95 for share in zeros[:2]), zeros
    assert all(0.6 <= share <= 0.7 for share in zeros[2:]), zeros


def test_the_same_file_every_time():
    path = new_path()
    write("tiny", TINY, path, lambda done, total: None)
    assert path.read_bytes() == made(TINY).read_bytes()


def test_progress_goes_from_nothing_to_all():
    heard: list[tuple[int, int]] = []
    path = new_path()
    write("tiny", TINY, path, lambda done, total: heard.append((done, total)))
    done = [done for done, _ in heard]
    assert done[0] == 0
    assert done == sorted(done)
    assert done[-1] == heard[0][1]
    assert 0 < file_bytes(TINY) - path.stat().st_size < 40 * TINY.vocabulary


@pytest.mark.parametrize(("name", "billions", "gigabytes"), [("4b", 4.03, 2.47), ("21b", 21.1, 12.23)])
def test_the_shapes_have_the_size_of_the_released_models(name, billions, gigabytes):
    shape = SHAPES[name]
    q, kv, d = shape.heads * shape.head_size, shape.kv_heads * shape.head_size, shape.hidden
    layer = 2 * d * (q + kv) + shape.experts * d * (1 + 3 * shape.expert_width)
    weights = shape.layers * layer + shape.vocabulary * d  # the released models count one embedding
    assert math.isclose(weights / 1e9, billions, rel_tol=0.01)
    assert math.isclose(file_bytes(shape) / 1e9, gigabytes, rel_tol=0.02)
