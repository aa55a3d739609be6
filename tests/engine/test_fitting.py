"""What a model gets on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from smallchat.engine import fitting
from smallchat.engine.fitting import MachineMemory, default_budget, machine_memory
from smallchat.errors import BudgetError
from tests.support.engines import answer, opened
from tests.support.models import Recipe, model


def test_this_machines_memory() -> None:
    memory = machine_memory()
    assert 0 < memory.available <= memory.total


@pytest.mark.parametrize(
    "limited", ["user.slice/user-1000.slice/app.scope", "user.slice/user-1000.slice", ""]
)
@pytest.mark.parametrize("version", [1, 2])
def test_every_memory_group_around_us_bounds_what_can_be_had(
    version: int, limited: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mib = 1 << 20
    own, groups = tmp_path / "cgroup", tmp_path / "groups"
    kinds = "4:cpu,memory" if version == 1 else "0:"
    own.write_text(f"1:cpu:/elsewhere\n{kinds}:/user.slice/user-1000.slice/app.scope\n")
    names = ("limit_in_bytes", "usage_in_bytes") if version == 1 else ("max", "current")
    root = groups / "memory" if version == 1 else groups
    (root / "user.slice" / "user-1000.slice" / "app.scope").mkdir(parents=True)
    for group in (root, *(path for path in root.rglob("*") if path.is_dir())):
        figures = (100 * mib if group == root / limited else 1 << 60), 30 * mib
        for name, figure in zip(names, figures, strict=True):
            (group / f"memory.{name}").write_text(f"{figure}\n")
        (group / "memory.stat").write_text(f"inactive_file {10 * mib}\n")
    monkeypatch.setattr(fitting, "_OWN_GROUPS", own)
    monkeypatch.setattr(fitting, "_GROUPS", groups)
    assert machine_memory() == MachineMemory(100 * mib, 80 * mib)


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
    with pytest.raises(BudgetError, match="does not fit into the 0 MiB") as refused, opened(path, context=64):
        pass
    assert "--mem" not in str(refused.value)  # which nobody gave


def test_more_processes_than_memory_has_room_for_are_told_as_the_cause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fitting, "machine_memory", lambda: MachineMemory(1 << 40, 1 << 30))
    with pytest.raises(BudgetError) as refused, opened(model(Recipe()).path, threads=999):
        pass
    assert refused.value.cure.startswith("Give fewer --threads than 999")
