"""What a model gets on this machine."""

from __future__ import annotations

import pytest

from smallchat.engine import fitting
from smallchat.engine.fitting import MachineMemory, default_budget, machine_memory
from smallchat.errors import BudgetError
from tests.support.engines import answer, opened
from tests.support.models import Recipe, model


def test_this_machines_memory() -> None:
    memory = machine_memory()
    assert 0 < memory.available <= memory.total


def test_a_model_that_fits_has_no_budget_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "machine_memory", lambda: MachineMemory(1000, 800))
    assert default_budget(600) is None
    assert default_budget(700) == 680


def test_a_model_that_does_not_fit_keeps_within_what_is_free_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = model(Recipe(layers=5, experts=8, used=3)).path
    with opened(path, context=64) as engine:
        free = int((engine.plan.weights + engine.plan.rest + engine.plan.kv + 20 * engine.plan.slot) / 0.85)
        said = answer(engine, [40, 41, 42], max_tokens=8)
    monkeypatch.setattr(fitting, "machine_memory", lambda: MachineMemory(1 << 40, free))
    with opened(path, context=64) as engine:
        assert not engine.plan.mapped
        assert engine.budget == int(free * fitting.FREE_SHARE)
        assert any("larger than the memory that is free" in note for note in engine.notes)
        assert answer(engine, [40, 41, 42], max_tokens=8) == said
    with opened(path, context=64, mem=0) as engine:
        assert engine.plan.mapped
        assert engine.budget is None
    monkeypatch.setattr(fitting, "machine_memory", lambda: MachineMemory(1 << 40, 1 << 20))
    with pytest.raises(BudgetError), opened(path, context=64):
        pass
