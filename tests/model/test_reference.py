"""The reference against the oracles, the decoder against the reference: all layouts, types and patterns."""

from __future__ import annotations

import functools
from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf import quants

from tests.support import reference
from tests.support.engines import opened, rms, worst
from tests.support.models import FLOATS, K_QUANTS, SIMPLE_QUANTS, Model, Recipe, model
from tests.support.reference import Shape
from tests.support.shared import shared

ORACLES = {
    "sigmoid-rope-f32": 40,
    "sigmoid-rope-q4_0": 40,
    "sigmoid-rope-mixed-k": 40,
    "softmax-swa-q4_0": 40,
    "softmax-swa-f32": 101,  # of 4200: positions 0, 1 and 100 are among those kept
}


def of_gguf(path: Path, transposed: bool = False) -> tuple[dict[str, np.ndarray], Shape]:
    """Weights and shape of a file, read by the gguf package."""
    reader = gguf.GGUFReader(path)

    def key(short: str) -> float:
        return reader.fields[f"smallthinker.{short}"].contents()

    weights = {
        t.name.removesuffix(".weight"): quants.dequantize(t.data, t.tensor_type)
        .astype(np.float64)
        .reshape([int(n) for n in t.shape[::-1]])
        for t in reader.tensors
    }
    if transposed:
        weights |= {name: w.transpose(0, 2, 1) for name, w in weights.items() if "down" in name}
    layers, head = key("block_count"), key("attention.key_length")
    windowed = "smallthinker.attention.sliding_window" in reader.fields
    sliding = [windowed and i % 4 != 0 for i in range(layers)]
    gating = "smallthinker.expert_gating_func"
    softmax = key("expert_gating_func") == 1 if gating in reader.fields else key("expert_count") == 64
    shape = Shape(
        layers=layers,
        heads=key("attention.head_count"),
        kv_heads=key("attention.head_count_kv"),
        head=head,
        used=key("expert_used_count"),
        router="softmax" if softmax else "sigmoid",
        theta=key("rope.freq_base"),
        eps=key("attention.layer_norm_rms_epsilon"),
        rope=tuple(sliding) if windowed else (True,) * layers,
        window=tuple(4096 if s else None for s in sliding),
        rope_dims=head,
    )
    return weights, shape


@pytest.mark.parametrize("name", ORACLES)
def test_the_reference_gives_what_the_oracle_says(name):
    material = np.load(shared("oracle", f"{name}.npz"))
    count = ORACLES[name]
    got = reference.logits(*of_gguf(shared("oracle", f"{name}.gguf")), material["tokens"][:count].tolist())
    kept = [(row, int(position)) for row, position in enumerate(material["positions"]) if position < count]
    assert len(kept) >= 3
    exact = material["exact"][[row for row, _ in kept]]
    assert worst(got[[position for _, position in kept]], exact.astype(np.float64)) < 1e-5


BIG = {"hidden": 256, "head": 64, "width": 512}  # K-quants come in blocks of 256

LAYOUTS = {
    "plain": Recipe(),
    "softmax": Recipe(gating=1, seed=1),
    "tied": Recipe(tied=True, seed=2),
    "fused": Recipe(fused=True, seed=3),
    "transposed": Recipe(transposed=True, seed=4),
    "fused-transposed-tied": Recipe(fused=True, transposed=True, tied=True, gating=1, seed=5),
    "gating-unsaid-32": Recipe(gating=None, experts=32, used=4, seed=6),
    "gating-unsaid-64": Recipe(gating=None, experts=64, used=6, seed=7),
    "one-layer": Recipe(layers=1, seed=8),
    "one-expert-used": Recipe(used=1, seed=9),
    "every-expert-used": Recipe(used=4, gating=1, seed=10),
    "one-expert": Recipe(experts=1, used=1, seed=11),
    "odd-heads": Recipe(heads=3, kv_heads=1, head=20, seed=12),
    "seven-of-seven": Recipe(heads=7, kv_heads=7, head=10, seed=13),
    "heads-wider-than-model": Recipe(heads=6, kv_heads=2, head=32, seed=14),
    "odd-sizes": Recipe(hidden=50, width=34, vocab=317, seed=15),
    "width-above-hidden": Recipe(width=96, seed=16),
    "eps": Recipe(eps=0.1, seed=17),
    "theta": Recipe(theta=1.5e6, seed=18),
    "partial-rotary": Recipe(rope_dims=8, seed=19),
    "window": Recipe(layers=6, window=7, seed=20),
    "window-of-one": Recipe(layers=5, window=1, seed=21),
    "window-softmax": Recipe(layers=5, window=9, gating=1, tied=True, seed=22),
    "window-larger-than-prompt": Recipe(layers=5, window=300, seed=23),
    "pattern-2": Recipe(layers=5, window=5, pattern=2, seed=24),
    "pattern-3": Recipe(layers=5, window=4, pattern=3, seed=25),
    "pattern-list": Recipe(layers=5, window=6, pattern=(True, False, False, True, True), seed=27),
    "pattern-list-all": Recipe(layers=2, window=6, pattern=(True, True), seed=29),
    "theta-of-windows": Recipe(layers=3, window=6, pattern=2, theta_swa=500.0, seed=30),
    "theta-swa-without-window": Recipe(layers=2, theta_swa=500.0, seed=31),
    "partial-rotary-window": Recipe(layers=5, window=6, rope_dims=6, seed=32),
}

TYPES = {
    **{kind: Recipe(type=kind, seed=50) for kind in (*FLOATS, *SIMPLE_QUANTS)},
    **{kind: Recipe(type=kind, seed=51, **BIG) for kind in K_QUANTS},
    **{f"{kind}-tied": Recipe(type=kind, tied=True, seed=52) for kind in ("F16", "BF16", "Q4_0", "Q8_0")},
    **{
        f"{kind}-fused-transposed": Recipe(type=kind, fused=True, transposed=True, seed=53)
        for kind in ("F16", "Q4_0", "Q5_1")
    },
    "Q4_K-fused-transposed-tied": Recipe(type="Q4_K", fused=True, transposed=True, tied=True, seed=54, **BIG),
    "Q3_K-narrow": Recipe(type="Q3_K", types=(("*down*", "Q5_0"),), seed=55, **BIG | {"width": 64}),
    "as-released": Recipe(
        layers=3, type="Q4_0", types=(("output", "Q6_K"), ("blk.0.*down*", "Q4_1")), seed=56, **BIG
    ),
    "each-another": Recipe(
        type="Q4_K",
        types=(
            ("token_embd", "Q2_K"),
            ("output", "F16"),
            *(("*attn_q", "Q5_1"), ("*attn_k", "BF16"), ("*attn_v", "Q8_0"), ("*attn_output", "Q5_K")),
            *(("*gate_exps", "Q3_K"), ("*up_exps", "Q4_1"), ("*down_exps", "F32")),
        ),
        seed=57,
        **BIG,
    ),
    "window-Q4_0": Recipe(layers=5, window=6, gating=1, type="Q4_0", seed=58),
}

TOKENS = np.random.default_rng(99).integers(0, 256, 27).tolist()


@functools.cache
def exact(recipe: Recipe) -> np.ndarray:
    made = model(recipe)
    return reference.logits(made.weights, made.shape, TOKENS)


def logits(made: Model, kernels: str, **options: object) -> np.ndarray:
    with opened(made.path, kernels, context=made.recipe.context, **options) as engine:
        return engine.logits(TOKENS)


@pytest.mark.parametrize("kernels", ["numpy", "ggml"])
@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts(name, kernels):
    recipe = LAYOUTS[name]
    assert worst(logits(model(recipe), kernels), exact(recipe)) < 1e-4


@pytest.mark.parametrize("name", TYPES)
def test_types_in_numpy(name):
    recipe = TYPES[name]
    assert worst(logits(model(recipe), "numpy"), exact(recipe)) < (1e-4 if name == "F32" else 1e-3)


@pytest.mark.parametrize("name", TYPES)
def test_types_in_ggml(name):
    """ggml rounds what it multiplies: to 8 bit before quantised weights, to half precision before F16."""
    recipe = TYPES[name]
    got = logits(model(recipe), "ggml")
    if name == "F32":
        assert worst(got, exact(recipe)) < 1e-4
    else:
        assert rms(got, exact(recipe)) < (0.01 if name.startswith(("F16", "BF16")) else 0.12)


@pytest.mark.parametrize("name", [*LAYOUTS, *TYPES])
def test_the_files_hold_what_the_tests_believe(name):
    """The gguf package reads back the very weights that the reference is fed with."""
    recipe = (LAYOUTS | TYPES)[name]
    made = model(recipe)
    read, _ = of_gguf(made.path, recipe.transposed)
    if recipe.fused:
        q, kv = recipe.heads * recipe.head, recipe.kv_heads * recipe.head
        for i in range(recipe.layers):
            parts = np.split(read.pop(f"blk.{i}.attn_qkv"), [q, q + kv])
            read |= dict(zip((f"blk.{i}.attn_{x}" for x in "qkv"), parts, strict=True))
    assert read.keys() == made.weights.keys()
    assert all(np.array_equal(read[key], made.weights[key]) for key in read)
    assert exact(recipe).std() > 0.5  # a model that says something


def test_the_reference_forgets_what_left_the_window():
    """Two layers with a window of 4 see 7 tokens back and no further."""
    made = model(Recipe(layers=2, window=4, pattern=(True, True), seed=60))
    whole = reference.logits(made.weights, made.shape, TOKENS)
    changed = reference.logits(made.weights, made.shape, [TOKENS[0] + 1, *TOKENS[1:]])
    assert np.abs(whole[6] - changed[6]).max() > 1e-6
    assert np.array_equal(whole[7:], changed[7:])


def test_rotary_position_is_relative():
    """Shifted by a common distance, two heads meet at the same angle; without it they would not."""
    shape = model(Recipe()).shape
    rng = np.random.default_rng(0)
    q, k = rng.normal(size=16), rng.normal(size=16)
    products = [reference.turned(q, p, shape) @ reference.turned(k, p - 3, shape) for p in (3, 40, 1000)]
    assert np.allclose(products, products[0])
    assert not np.isclose(products[0], q @ k)
