"""Rows interleaved for the processor: nothing that is said changes, and no memory is taken twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from smallchat.engine import Engine, fitting
from smallchat.experts import budget
from smallchat.experts.cache import CachedExperts
from smallchat.experts.mapped import MappedExperts
from smallchat.kernels import ggml
from smallchat.kernels.quants import TensorType
from tests.support.engines import opened, rms
from tests.support.models import Recipe, model

BIG = {"layers": 2, "type": "Q4_0", "hidden": 256, "head": 64, "width": 512}
RECIPES = {
    "as released": Recipe(types=(("output", "Q6_K"),), seed=80, **BIG),
    "a down projection of another type": Recipe(types=(("*down*", "Q4_1"),), seed=81, **BIG),
    "transposed": Recipe(transposed=True, seed=82, **BIG),
    "three of four experts": Recipe(used=3, seed=83, **BIG),
    "fused, in windows": Recipe(fused=True, window=9, seed=84, **BIG | {"layers": 5}),
    "heads that are no whole groups": Recipe(
        layers=2, type="Q4_0", heads=8, kv_heads=4, head=20, width=32, seed=85
    ),
}
PROMPT = np.random.default_rng(3).integers(0, 256, 40).tolist()
ANSWER = np.random.default_rng(4).integers(0, 256, 12).tolist()


@pytest.fixture(autouse=True)
def needed() -> None:
    if ggml.find_repacked() is None:
        pytest.skip("pywhispercpp carries no ggml for this processor")


def said(engine: Engine) -> np.ndarray:
    """Logits behind the prompt, of every token of an answer, and behind a few tokens at once."""
    engine.clear()
    logits = [engine.feed(PROMPT).copy(), *(engine.feed([token]).copy() for token in ANSWER)]
    return np.concatenate([*logits, engine.feed(ANSWER[:5])])


def kinds(engine: Engine) -> set[TensorType]:
    """What experts of the last token are."""
    return {
        engine.experts.fetch(layer, int(expert)).gate.kind
        for layer, expert in np.argwhere(engine.experts.resident())
    }


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", RECIPES)
def test_what_is_said_changes_by_rounding_only(name: str, threads: int) -> None:
    path, recipe = model(RECIPES[name]).path, RECIPES[name]
    with opened(path, "numpy", context=128) as engine:
        exact = said(engine).astype(np.float64)
        assert kinds(engine) == {TensorType.Q4_0}
    with opened(path, "ggml", threads, context=128, repack=False) as engine:
        before = said(engine)
        assert kinds(engine) == {TensorType.Q4_0}
    with opened(path, "ggml", threads, context=128, repack=None) as engine:
        after = said(engine)
        assert (TensorType.Q4_0_8X8 in kinds(engine)) == (
            not recipe.transposed and recipe.used % threads == 0
        )
        assert engine.counters().neuron_sparsity
    # All round activations to 8 bit; what is in the middle may be rounded to either side.
    assert rms(before, exact) < 0.15
    assert rms(after, exact) < 0.15


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", RECIPES)
def test_what_was_repacked_before_changes_nothing(name: str, threads: int) -> None:
    path = model(RECIPES[name]).path
    with opened(path, "ggml", threads, context=128, repack=None) as engine:
        first = said(engine)
        for token in range(200, 260):  # other experts
            engine.clear()
            engine.feed([token])
        assert np.array_equal(said(engine), first)
    with opened(path, "ggml", threads, context=128, repack=None) as engine:
        for token in range(60):
            engine.clear()
            engine.feed([token])
        assert np.array_equal(said(engine), first)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_budget_says_the_same_to_the_last_bit(threads: int) -> None:
    """… as without one, where experts stay as they are in the file."""
    path = model(RECIPES["as released"]).path
    with opened(path, "ggml", threads, context=128, repack=False) as engine:
        plan, free = engine.plan, said(engine)
        assert attention(engine) == {TensorType.Q4_0_8X8}
    small = plan.weights + plan.kv + budget.PROGRAM_BYTES + (threads - 1) * budget.RANK_BYTES + 6 * plan.slot
    with opened(path, "ggml", threads, context=128, mem=small) as engine:
        assert isinstance(engine.experts, CachedExperts)
        assert np.array_equal(said(engine), free)
        assert kinds(engine) == {TensorType.Q4_0}
        assert attention(engine) == {TensorType.Q4_0_8X8}


@pytest.mark.parametrize("threads", [1, 2])
def test_pauses_lay_out_what_is_in_memory(threads: int) -> None:
    path = model(RECIPES["as released"]).path
    with opened(path, "ggml", threads, context=128, repack=None) as engine:
        expected = said(engine)
    with opened(path, "ggml", threads, context=128, repack=None) as engine:
        engine.experts.look(engine.config.layers)
        assert engine.experts.resident().all()  # the file was just read
        assert kinds(engine) == {TensorType.Q4_0}
        while engine.warm():
            pass
        assert kinds(engine) == {TensorType.Q4_0_8X8}
        assert not engine.warm()
        assert np.array_equal(said(engine), expected)
        engine.experts.look(engine.config.layers)
        assert engine.experts.resident().all()
    with opened(path, "ggml", threads, context=128, repack=False) as engine:
        engine.experts.look(engine.config.layers)
        assert not engine.warm()
        assert kinds(engine) == {TensorType.Q4_0}


def test_a_budget_may_come_later() -> None:
    with opened(model(RECIPES["as released"]).path, "ggml", 2, context=128, repack=None) as engine:
        before, plan = said(engine), engine.plan
        engine.resize(plan.weights + plan.kv + budget.PROGRAM_BYTES + budget.RANK_BYTES + 6 * plan.slot)
        assert isinstance(engine.experts, CachedExperts)
        assert attention(engine) == {TensorType.Q4_0_8X8}
        assert rms(said(engine), before.astype(np.float64)) < 0.15


@pytest.mark.parametrize("asked", [None, True])
def test_without_room_beside_the_file_experts_stay_in_it(
    monkeypatch: pytest.MonkeyPatch, asked: bool | None
) -> None:
    path = model(RECIPES["as released"]).path
    with opened(path, "ggml", context=128, repack=None) as engine:
        size = engine.weights.expert_bytes
    room = fitting.MachineMemory(1 << 30, int(1.5 * size / fitting.FREE_SHARE))
    monkeypatch.setattr(fitting, "machine_memory", lambda: room)
    with opened(path, "ggml", context=128, mem=1 << 29, repack=asked) as engine:
        assert engine.plan.mapped
        said(engine)
        assert not engine.warm()
        assert kinds(engine) == {TensorType.Q4_0}
        assert any(note.startswith("Experts stay as they are") for note in engine.notes) == bool(asked)


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="only Linux says what is mapped")
def test_what_is_repacked_is_no_longer_mapped() -> None:
    path = model(Recipe(layers=4, type="Q4_0", hidden=512, head=64, width=1024, seed=86)).path
    with opened(path, "ggml", context=128, repack=None) as engine:
        for token in range(100):
            engine.clear()
            engine.feed([token])
        assert kinds(engine) == {TensorType.Q4_0_8X8}
        assert mapped_bytes(path) < engine.weights.expert_bytes / 8
    with opened(path, "ggml", context=128, repack=None) as engine:
        experts = engine.experts
        assert isinstance(experts, MappedExperts)
        for layer, expert in np.ndindex(experts.resident().shape):
            experts.fetch(layer, expert).gate.data.sum()
        assert mapped_bytes(path) > engine.weights.expert_bytes / 4
        experts.rest()
        assert mapped_bytes(path) < engine.weights.expert_bytes / 8


def attention(engine: Engine) -> set[TensorType]:
    return {
        matrix.kind for layer in engine.weights.layers for matrix in (layer.q, layer.k, layer.v, layer.output)
    }


def mapped_bytes(path: Path) -> int:
    total, ours = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split()[0]:
            ours = line.endswith(str(path))
        elif ours and line.startswith("Rss:"):
            total += int(line.split()[1]) << 10
    return total
