"""What other budgets would give, from what was noted while an answer came."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from smallchat.engine import Engine, forecast
from smallchat.engine.forecast import BACKLOG, ENOUGH, Forecast
from smallchat.engine.telemetry import snapshot
from smallchat.errors import BudgetError
from smallchat.experts.heat import Heat
from smallchat.model.synthetic import routes
from tests.support.engines import opened
from tests.support.models import Recipe, model

LAYERS, EXPERTS, K = 8, 16, 4
BUDGETS = [(1000, 40), (2000, 70), (3000, LAYERS * EXPERTS)]
"""(Bytes, experts that fit)."""
TOKEN_BYTES = 3200.0


def fed(tokens: int = 100, costs: tuple[int, float, float, float, float] | None = None) -> Forecast:
    """After so many tokens, each at the same costs."""
    known, heat = Forecast(LAYERS, EXPERTS), Heat(LAYERS, EXPERTS)
    for experts in routes(LAYERS, EXPERTS, K, tokens):
        known.token(experts, heat.table)
        heat.token(experts)
        if costs is not None:
            known.spent(*costs)
    return known


def worked_off(known: Forecast) -> Forecast:
    while known.work():
        pass
    return known


def test_nothing_is_said_before_enough_is_known() -> None:
    assert Forecast(LAYERS, EXPERTS).estimates(BUDGETS, TOKEN_BYTES) == ()
    assert not Forecast(LAYERS, EXPERTS).work()
    assert worked_off(fed(ENOUGH - 1)).estimates(BUDGETS, TOKEN_BYTES) == ()
    waiting = fed(ENOUGH)
    assert waiting.estimates(BUDGETS, TOKEN_BYTES) == ()
    assert len(worked_off(waiting).estimates(BUDGETS, TOKEN_BYTES)) == len(BUDGETS)


def test_the_budget_in_use_is_told_as_it_was_measured() -> None:
    computing, waiting, reading = 0.020, 0.006, 0.015
    known = worked_off(fed(100, (70, computing, waiting, 1600.0, reading)))
    small, used, whole = known.estimates(BUDGETS, TOKEN_BYTES)
    assert used.tokens_per_second == pytest.approx(1 / (computing + waiting))
    assert whole.tokens_per_second == pytest.approx(1 / computing)
    assert small.tokens_per_second < used.tokens_per_second
    assert small.hit_rate < used.hit_rate < whole.hit_rate == 1
    assert [one.budget for one in (small, used, whole)] == [1000, 2000, 3000]


def test_where_the_system_reads_other_speeds_are_not_known() -> None:
    known = worked_off(fed(100, (128, 0.020, 0.0, 0.0, 0.0)))
    *less, whole = known.estimates(BUDGETS, TOKEN_BYTES)
    assert whole.tokens_per_second == pytest.approx(50)
    assert [one.tokens_per_second for one in less] == [0, 0]
    assert 0 < less[0].hit_rate < less[1].hit_rate < 1


def test_little_reading_tells_the_disks_speed_but_not_how_it_hides() -> None:
    known = worked_off(fed(100, (127, 0.020, 0.0, 3.2, 1e-5)))  # 320 kB/s
    small, _, whole = known.estimates(BUDGETS, TOKEN_BYTES)
    assert whole.tokens_per_second == pytest.approx(50)
    reading = (1 - small.hit_rate) * TOKEN_BYTES / 320_000
    assert 0.999 / (0.020 + reading) < small.tokens_per_second <= 50


def test_what_comes_late_counts_more() -> None:
    known = fed(100, (128, 0.020, 0.0, 0.0, 0.0))
    for _ in range(200):
        known.spent(128, 0.040, 0.0, 0.0, 0.0)
    speed = worked_off(known).estimates(BUDGETS, TOKEN_BYTES)[-1].tokens_per_second
    assert speed == pytest.approx(25, rel=0.05)


def test_work_comes_in_short_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecast, "SLICE_SECONDS", 0.0)
    known = fed(30)
    assert [known.work() for _ in range(30)] == [True] * 29 + [False]


def test_tokens_that_pass_layer_by_layer_are_the_same_and_prompts_are_none() -> None:
    whole, layered, heat = fed(40), Forecast(LAYERS, EXPERTS), Heat(LAYERS, EXPERTS)
    for experts in routes(LAYERS, EXPERTS, K, 40):
        for layer, row in enumerate(experts):
            layered.layer(layer, np.array([row, row]), heat.table)  # two tokens of a prompt
        for layer, row in enumerate(experts):
            layered.layer(layer, row[None], heat.table)
        heat.token(experts)
    found = [worked_off(known).estimates(BUDGETS, TOKEN_BYTES) for known in (whole, layered)]
    assert found[0] == found[1] != ()


def test_a_very_long_answer_keeps_a_bounded_backlog() -> None:
    known = Forecast(LAYERS, EXPERTS)
    one, heat = routes(LAYERS, EXPERTS, K, 1)[0], np.zeros((LAYERS, EXPERTS), np.float32)
    for _ in range(BACKLOG + 500):
        known.token(one, heat)
    slices = 1
    while known.work():
        slices += 1
    assert slices <= BACKLOG
    assert known.estimates(BUDGETS, TOKEN_BYTES)[0].hit_rate > 0.9


def test_another_budget_begins_anew() -> None:
    known = worked_off(fed(100, (40, 0.020, 0.100, 1600.0, 0.1)))
    known.spent(70, 0.020, 0.005, 1600.0, 0.015)
    known.spent(71, 0.020, 0.005, 1600.0, 0.015)
    speed = known.estimates(BUDGETS, TOKEN_BYTES)[1].tokens_per_second
    assert speed == pytest.approx(1 / 0.025, rel=0.02)


def smallest_of(path: Path) -> int:
    """The smallest budget, as its refusal names it."""
    with pytest.raises(BudgetError) as refused:
        Engine.load(path, mem=1 << 20, threads=1, context=512, kv="f32")
    found = re.search(r"--mem (\d+)M", refused.value.cure)
    assert found is not None
    return int(found[1]) << 20


def talked(engine: Engine) -> None:
    """Some answers; each may end early."""
    for seed in range(8):
        list(engine.generate(engine.tokenizer.encode("the thing"), 12, temperature=1.0, seed=seed))


def test_an_engine_within_a_budget_tells_of_others_and_of_its_own() -> None:
    made = model(Recipe(layers=4, experts=16, hidden=256, width=256))
    budget = smallest_of(made.path)
    with opened(made.path, mem=budget, context=512) as engine:
        assert snapshot(engine).what_if == ()
        talked(engine)
        assert snapshot(engine).what_if == ()  # while it answered, it did nothing else
        while engine.tally.forecast.work():
            pass
        told = snapshot(engine).what_if
        budgets = [one.budget for one in told]
        assert budgets == sorted(budgets)
        assert budget in budgets
        rates = [one.hit_rate for one in told]
        assert rates == sorted(rates)
        assert rates[0] < 1 == rates[-1]
        assert all(one.tokens_per_second > 0 for one in told)
        assert told[-1].tokens_per_second >= told[0].tokens_per_second
        own = told[budgets.index(budget)]
        # Of the same kind: what else this machine does while it answers moves both, not alike.
        assert 0.2 < own.tokens_per_second / engine.tally.decode_speed < 5


def test_an_engine_without_a_budget_tells_hit_rates_but_no_speed_of_a_disk_it_never_read() -> None:
    with opened(model(Recipe(layers=4, experts=16)).path) as engine:
        talked(engine)
        while engine.tally.forecast.work():
            pass
        *less, whole = snapshot(engine).what_if
        assert whole.hit_rate == 1
        assert whole.tokens_per_second > 0
        assert less
        assert all(one.tokens_per_second == 0 for one in less if one.hit_rate < 1)
