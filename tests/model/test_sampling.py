"""Tokens are drawn with the chances that the settings mean, counted against hand-computed ones."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from smallchat.errors import EngineError
from smallchat.model.sampling import Sampler
from smallchat.settings import Sampling
from tests.support.engines import opened
from tests.support.models import scripted

DRAWS = 4000
OFF = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "repeat_penalty": 1.0}

CHANCES = np.array([0.40, 0.25, 0.15, 0.10, 0.06, 0.04])
ORDER = np.array([3, 0, 5, 1, 4, 2])  # where in the vocabulary each of them stands
LOGITS = np.empty(6, np.float32)
LOGITS[ORDER] = np.log(CHANCES) + 2.5


def sampler(size: int = 6, banned: tuple[int, ...] = (), seed: int | None = 1, **options: float) -> Sampler:
    mask = np.zeros(size, bool)
    mask[list(banned)] = True
    return Sampler(Sampling(**OFF | options, seed=seed), mask)


def drawn(logits: np.ndarray, recent: list[int] | None = None, **options) -> np.ndarray:
    """How often each token came, in shares."""
    chooser = sampler(len(logits), **options)
    counts = Counter(chooser.choose(logits, recent or []) for _ in range(DRAWS))
    return np.array([counts[i] for i in range(len(logits))]) / DRAWS


def agree(shares: np.ndarray, chances: np.ndarray, draws: int = DRAWS) -> None:
    """Pearson's test, at a chance of one in a million; what has no chance never came."""
    chances = chances / chances.sum()
    assert not shares[chances == 0].any()
    possible = chances > 0
    squares = (draws * (shares - chances)[possible] ** 2 / chances[possible]).sum()
    freedom = possible.sum() - 1
    # Wilson and Hilferty's bound for chi-squared, 4.75 standard deviations up.
    bound = (
        1e-9 if not freedom else freedom * (1 - 2 / (9 * freedom) + 4.75 * math.sqrt(2 / (9 * freedom))) ** 3
    )
    assert squares <= bound, (shares, chances)


def in_vocabulary(chances: np.ndarray) -> np.ndarray:
    out = np.zeros(len(ORDER))
    out[ORDER[: len(chances)]] = chances
    return out


def test_the_models_own_chances():
    agree(drawn(LOGITS), in_vocabulary(CHANCES))


@pytest.mark.parametrize("temperature", [0.3, 0.6, 1.7])
def test_temperature(temperature):
    agree(drawn(LOGITS, temperature=temperature), in_vocabulary(CHANCES ** (1 / temperature)))


@pytest.mark.parametrize("count", [1, 2, 4, 6, 100])
def test_top_k(count):
    agree(drawn(LOGITS, top_k=count), in_vocabulary(CHANCES[:count]))


@pytest.mark.parametrize(("share", "kept"), [(0.01, 1), (0.39, 1), (0.41, 2), (0.7, 3), (0.95, 5), (0.97, 6)])
def test_top_p_keeps_the_token_that_reaches_it(share, kept):
    agree(drawn(LOGITS, top_p=share), in_vocabulary(CHANCES[:kept]))


@pytest.mark.parametrize(
    ("least", "kept"), [(0.05, 6), (0.12, 5), (0.2, 4), (0.3, 3), (0.5, 2), (0.9, 1), (1.0, 1)]
)
def test_min_p(least, kept):
    """Of the likeliest token's chance."""
    agree(drawn(LOGITS, min_p=least), in_vocabulary(CHANCES[:kept]))


def test_top_p_looks_at_what_temperature_and_top_k_left():
    """In this order: of 0.40, 0.25 and 0.15, squared, top-p 0.95 needs all three, 0.88 only two."""
    sharp = CHANCES[:3] ** 2
    assert 0.88 < (sharp[:2] / sharp.sum()).sum() < 0.95
    agree(drawn(LOGITS, temperature=0.5, top_k=3, top_p=0.95), in_vocabulary(sharp))
    agree(drawn(LOGITS, temperature=0.5, top_k=3, top_p=0.88), in_vocabulary(sharp[:2]))
    # Without top-k, the tail would have pushed the third in at 0.88 as well.
    whole = CHANCES**2 / (CHANCES**2).sum()
    assert whole[:2].sum() < 0.88


def test_the_published_settings():
    """Temperature 0.6, top-k 20, top-p 0.95 over a long tail."""
    rng = np.random.default_rng(4)
    logits = rng.normal(0, 2, 500).astype(np.float32)
    order = np.argsort(-logits)
    chances = np.exp(logits.astype(np.float64)[order][:20] / 0.6)
    chances /= chances.sum()
    kept = int((np.cumsum(chances) < 0.95).sum()) + 1
    expected = np.zeros(500)
    expected[order[:kept]] = chances[:kept]
    assert 2 < kept < 20
    agree(drawn(logits, temperature=0.6, top_k=20, top_p=0.95), expected)


@pytest.mark.parametrize("penalty", [1.3, 2.0, 0.5])
def test_repetition_penalty(penalty):
    """Divides what is positive and multiplies what is negative, once for each token that was said."""
    logits = np.array([2.0, -1.0, 0.5, 0.0, 1.5, -0.5], np.float32)
    said = [0, 1, 1, 0, 3]
    changed = logits.astype(np.float64)
    changed[0] /= penalty
    changed[1] *= penalty
    agree(drawn(logits, said, repeat_penalty=penalty), np.exp(changed))


def test_repetition_penalty_changes_the_likeliest_too():
    logits = np.array([2.0, 1.9, 0.0], np.float32)
    chooser = sampler(3, temperature=0.0, repeat_penalty=1.2)
    assert chooser.choose(logits, []) == 0
    assert chooser.choose(logits, [0]) == 1
    assert chooser.choose(logits, [0, 1]) == 0


def test_temperature_zero_takes_the_largest_and_of_equals_the_first():
    for seed in range(5):
        chooser = sampler(5, seed=seed, temperature=0.0, top_k=3)
        assert chooser.choose(np.array([1, 7, 3, 7, 7], np.float32), []) == 1
        assert chooser.choose(np.zeros(5, np.float32), []) == 0


def test_equal_logits_have_equal_chances_unless_cut_off():
    agree(drawn(np.zeros(6, np.float32)), np.ones(6))
    agree(drawn(np.zeros(6, np.float32), top_k=2), np.array([1, 1, 0, 0, 0, 0]))


def test_fillers_take_no_chance_and_no_place():
    """Even the likeliest token, and under top-k and top-p."""
    expected = in_vocabulary(CHANCES)
    expected[ORDER[0]] = 0
    agree(drawn(LOGITS, banned=(ORDER[0],)), expected)
    agree(drawn(LOGITS, banned=(ORDER[0],), top_k=2), expected * (expected >= 0.15))
    assert sampler(6, banned=(int(ORDER[0]),), temperature=0.0).choose(LOGITS, []) == ORDER[1]


def test_a_seed_repeats_and_draws_go_on():
    sequences = []
    for seed in (5, 5, 6):
        chooser = sampler(seed=seed)
        sequences.append([chooser.choose(LOGITS, []) for _ in range(40)])
    assert sequences[0] == sequences[1] != sequences[2]
    assert len(set(sequences[0])) > 2


def test_without_a_seed_one_is_made_up_and_told():
    one, two = sampler(seed=None), sampler(seed=None)
    assert one.sampling.seed is not None
    assert one.sampling.seed != two.sampling.seed


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("temperature", [0.0, 0.6])
def test_logits_that_are_no_numbers(value, temperature):
    logits = LOGITS.copy()
    logits[4] = value
    with pytest.raises(EngineError):
        sampler(temperature=temperature, top_k=2).choose(logits, [])


@pytest.mark.parametrize("temperature", [0.0, 0.6])
def test_nothing_left_to_draw(temperature):
    with pytest.raises(EngineError):
        sampler(temperature=temperature).choose(np.full(6, -np.inf, np.float32), [])
    with pytest.raises(EngineError):
        sampler(banned=tuple(range(6)), temperature=temperature).choose(LOGITS, [])


def test_minus_infinity_is_merely_impossible():
    """As a profiled head says of the rows it leaves out."""
    logits = LOGITS.copy()
    logits[ORDER[1]] = -np.inf
    expected = in_vocabulary(CHANCES)
    expected[ORDER[1]] = 0
    agree(drawn(logits), expected)


def test_logits_are_not_written_to():
    logits = LOGITS.copy()
    logits.flags.writeable = False
    sampler(banned=(1,), repeat_penalty=2.0, top_k=3).choose(logits, [0, 1])
    assert np.array_equal(logits, LOGITS)


@pytest.mark.filterwarnings("error")
@settings(max_examples=300, deadline=None)
@given(
    logits=hnp.arrays(np.float32, st.integers(1, 40), elements=st.floats(-(2.0**100), 2.0**100, width=32)),
    temperature=st.sampled_from([0.0, 5e-324, 1e-300, 1e-30, 0.01, 0.6, 1.0, 50.0, 100.0]),
    top_k=st.integers(0, 50),
    top_p=st.sampled_from([1e-9, 0.1, 0.5, 0.95, 1 - 1e-12, 1.0]),
    min_p=st.sampled_from([0.0, 1e-9, 0.1, 1.0]),
    penalty=st.sampled_from([1e-3, 0.9, 1.0, 1.1, 100.0]),
    data=st.data(),
)
def test_whatever_the_settings_a_possible_token_comes(
    logits, temperature, top_k, top_p, min_p, penalty, data
):
    size = len(logits)
    banned = data.draw(st.sets(st.integers(0, size - 1), max_size=size - 1))
    recent = data.draw(st.lists(st.integers(0, size - 1), max_size=10))
    options = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p}
    chooser = sampler(size, tuple(banned), seed=3, repeat_penalty=penalty, **options)
    chosen = chooser.choose(logits, recent)
    assert 0 <= chosen < size
    assert chosen not in banned
    if penalty == 1.0 and (temperature < 1e-200 or top_k == 1):
        assert logits[chosen] == max(logits[i] for i in range(size) if i not in banned)


class Slow:
    """The same choice with every step over all logits in float64: what `Sampler` must agree with."""

    def __init__(self, settings: Sampling, banned: np.ndarray) -> None:
        self.settings, self.banned = settings, banned
        self.random = np.random.default_rng(settings.seed)

    def choose(self, logits: np.ndarray, recent: list[int]) -> int:
        settings = self.settings
        scores = logits.astype(np.float64)
        scores[self.banned] = -np.inf
        for token in set(recent[-64:]) if settings.repeat_penalty != 1.0 else ():
            scores[token] *= settings.repeat_penalty ** (-1 if scores[token] > 0 else 1)
        ids = np.lexsort((np.arange(len(scores)), -scores))
        if settings.temperature == 0.0:
            return int(ids[0])
        ids = ids[: settings.top_k or None]
        ids = ids[scores[ids] > -np.inf]
        chances = np.exp((scores[ids] - scores[ids[0]]) / settings.temperature)
        chances /= chances.sum()
        keep = len(ids)
        if settings.top_p < 1.0:
            keep = min(keep, int((np.cumsum(chances) < settings.top_p).sum()) + 1)
        if settings.min_p > 0.0:
            keep = min(keep, int((chances >= settings.min_p * chances[0]).sum()))
        reached = np.cumsum(chances[:keep])
        draw = self.random.random() * reached[-1]
        return int(ids[min(int((reached <= draw).sum()), keep - 1)])


def unlike(rng: np.random.Generator, size: int) -> np.ndarray:
    """Logits of one of several kinds: smooth, full of equals, mostly impossible, one far above."""
    logits = rng.normal(0, 3, size).astype(np.float32)
    match rng.integers(5):
        case 0:
            logits = np.round(logits)
        case 1:
            logits = np.round(logits / 4)
        case 2:
            logits[rng.random(size) < 0.9] = -np.inf
            logits[rng.integers(size)] = 1.0
        case 3:
            logits[rng.integers(size)] = 40.0
    return logits


@pytest.mark.parametrize("size", [1, 2, 63, 64, 65, 200, 4097, 20_000])
def test_the_fast_way_chooses_what_the_slow_way_does(size):
    rng = np.random.default_rng(size)
    for case in range(150 if size < 5000 else 40):
        banned = np.zeros(size, bool)
        match case % 4:
            case 1:
                banned[size - size // 3 :] = True
            case 2:
                banned[:] = rng.random(size) < rng.choice([0.01, 0.9])
            case 3:
                banned[: size // 2] = True
        logits = unlike(rng, size)
        if not (np.isfinite(logits) & ~banned).any():
            banned[:] = False
        settings = Sampling(
            temperature=rng.choice([0.0, 0.3, 0.6, 1.0, 3.0]),
            top_k=int(rng.choice([0, 1, 2, 20, 64, 100, size, 2 * size])),
            top_p=rng.choice([0.1, 0.95, 1.0]),
            min_p=rng.choice([0.0, 0.0, 0.1]),
            repeat_penalty=rng.choice([1.0, 1.0, 1.3, 0.7]),
            seed=case,
        )
        recent = rng.integers(0, size, rng.integers(0, 100)).tolist()
        fast, slow = Sampler(settings, banned), Slow(settings, banned)
        for _ in range(4):
            assert fast.choose(logits, recent) == slow.choose(logits, recent), (case, settings)


def test_through_the_engine(tmp_path: Path):
    """A model that says a, b, c, whatever came before, with chances 0.5, 0.3 and 0.2."""
    table = np.full((320, 320), -30.0)
    table[:, [64, 65, 66]] = np.log([0.5, 0.3, 0.2])
    made = scripted(table, tmp_path / "dice.gguf", context=4096)
    draws = 800
    with opened(made.path, context=draws + 2) as engine:
        for top_k, chances in ((0, [0.5, 0.3, 0.2]), (2, [0.5, 0.3, 0.0])):
            events = engine.generate([64], max_tokens=draws, seed=11, **OFF | {"top_k": top_k})
            counts = Counter(event.token_id for event in events)
            assert sum(counts.values()) == draws
            agree(np.array([counts[t] for t in (64, 65, 66)]) / draws, np.array(chances), draws)


def test_the_penalty_reaches_what_the_engine_said(tmp_path: Path):
    """Of two tokens that are nearly as likely, the one not said yet comes next."""
    table = np.full((320, 320), -30.0)
    table[:, [64, 65]] = 2.0, 1.9
    made = scripted(table, tmp_path / "stutter.gguf")
    with opened(made.path, context=512) as engine:
        plain = [
            e.token_id for e in engine.generate([70], max_tokens=3, seed=1, **OFF | {"temperature": 0.0})
        ]
        options = OFF | {"temperature": 0.0, "repeat_penalty": 1.3}
        other = [e.token_id for e in engine.generate([70], max_tokens=3, seed=1, **options)]
        from_prompt = [e.token_id for e in engine.generate([64], max_tokens=1, seed=1, **options)]
    assert plain == [64, 64, 64]
    assert other == [64, 65, 64]
    assert from_prompt == [65]
