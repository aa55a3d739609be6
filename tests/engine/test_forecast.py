"""What other budgets would give, from what was noted while an answer came."""

from __future__ import annotations

import numpy as np
import pytest

from smallchat.engine import forecast
from smallchat.engine.forecast import BACKLOG, ENOUGH, Forecast
from smallchat.experts.heat import Heat
from smallchat.model.synthetic import routes

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
