"""The curve of all numbers of slots at once, held against a cache of each size, simulated by itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smallchat.experts.heat import HALF_LIFE, Heat, ways
from smallchat.experts.what_if import HitCurve

Ints = np.ndarray


def routed(tokens: int, layers: int, experts: int, k: int, seed: int = 0, skew: float = 0.6) -> Ints:
    """Tokens that prefer some experts: int64 [tokens, layers, k]."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(tokens, layers, experts)) + skew * random.normal(size=(layers, experts))
    return np.argsort(-logits, axis=2)[:, :, :k]


def simulated(trace: Ints, experts: int, slots: int, heat: np.ndarray | None = None) -> float:
    """Hit rate of one cache, step by step, in the words of the policy."""
    _, layers, _ = trace.shape
    warm = Heat(layers, experts)
    if heat is not None:
        warm.table[:] = heat
    way = ways(layers).astype(np.float64)
    # What is hottest, as seen before the first layer: at the end of a sweep.
    order = (warm.table - way[layers - 1]).ravel()
    held = set(sorted(range(layers * experts), key=lambda one: (order[one], one))[-slots:])
    hits = 0
    for token in trace:
        for layer, used in enumerate(token):
            wanted = {layer * experts + int(expert) for expert in used}
            hits += len(wanted & held)
            worth = (warm.table - way[layer]).ravel()
            for new in sorted(wanted - held):
                held.remove(min(held - wanted, key=lambda one: (worth[one], one)))
                held.add(new)
        warm.token(token)
    return hits / trace.size


@pytest.mark.parametrize(("layers", "experts", "k"), [(6, 8, 2), (3, 16, 4), (8, 12, 3)])
@pytest.mark.parametrize("skew", [0.0, 0.6, 2.0])
def test_every_size_is_as_if_simulated_by_itself(layers: int, experts: int, k: int, skew: float) -> None:
    trace = routed(60, layers, experts, k, seed=layers, skew=skew)
    curve = HitCurve(layers, experts)
    curve.take(trace)
    for slots in (k, k + 1, layers * k - 1, layers * k, layers * experts // 2, layers * experts):
        assert curve.hit_rate(slots) == pytest.approx(simulated(trace, experts, slots), abs=0.002), slots
    assert curve.hit_rate(layers * experts) == 1


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_shape_any_tokens_any_size(data: st.DataObject) -> None:
    layers, experts = data.draw(st.integers(1, 5)), data.draw(st.integers(2, 9))
    k = data.draw(st.integers(1, experts - 1))
    trace = routed(
        data.draw(st.integers(1, 25)),
        layers,
        experts,
        k,
        data.draw(st.integers(0, 99)),
        data.draw(st.floats(0, 3)),
    )
    slots = data.draw(st.integers(k, layers * experts))
    heat = np.random.default_rng(1).random((layers, experts)).astype(np.float32) * 50
    curve = HitCurve(layers, experts, heat)
    for token in trace:
        curve.take(token[None])
    found = curve.hit_rate(slots)
    assert found is not None
    # Two experts of one heat but for the last digit may leave in another order.
    assert found == pytest.approx(simulated(trace, experts, slots, heat), abs=2 / trace.size)


def test_more_slots_never_find_less() -> None:
    curve = HitCurve(8, 16)
    curve.take(routed(80, 8, 16, 4))
    rates = [curve.hit_rate(slots) for slots in range(4, 129)]
    assert rates == sorted(rates)
    assert rates[-1] == 1


def test_fewer_slots_than_a_sweep_still_find_some() -> None:
    """Where a least recently used stack finds nothing at all."""
    trace = routed(200, 16, 32, 4)
    curve = HitCurve(16, 32)
    curve.take(trace[:100])
    curve.forget_counts()
    assert curve.tokens == 0
    assert curve.hit_rate(40) is None
    curve.take(trace[100:])
    assert curve.tokens == 100
    rate = curve.hit_rate(40)  # a sweep is 64
    assert rate is not None
    assert rate > 0.2


def test_what_was_hot_before_is_there_at_the_start() -> None:
    trace = routed(HALF_LIFE, 8, 16, 4, skew=2.0)
    heat = Heat(8, 16)
    for token in trace[:-5]:
        heat.token(token)
    cold, warm = HitCurve(8, 16), HitCurve(8, 16, heat.table)
    cold.take(trace[-5:])
    warm.take(trace[-5:])
    cold_rate, warm_rate = cold.hit_rate(48), warm.hit_rate(48)
    assert cold_rate is not None
    assert warm_rate is not None
    assert warm_rate > cold_rate + 0.1


@pytest.mark.parametrize("heat", [np.full((4, 8), 1e30), np.full((4, 8), -np.inf), np.zeros((4, 8))])
def test_a_heat_out_of_bounds_breaks_nothing(heat: np.ndarray) -> None:
    curve = HitCurve(4, 8, heat.astype(np.float32))
    curve.take(routed(20, 4, 8, 2))
    assert curve.hit_rate(32) == 1
