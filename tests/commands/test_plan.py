"""`smallchat plan`: for a file, for a model that is not here, as text and as JSON; and what it refuses."""

from __future__ import annotations

import json

import pytest

from smallchat import cli, paths
from smallchat.commands import plan
from smallchat.engine import Engine
from smallchat.errors import BudgetError, ContextError, ModelError
from smallchat.hub import disk, machine
from smallchat.settings import Settings, UsageError
from tests.support.models import Recipe, model


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "SECONDS", 0.05)
    monkeypatch.setattr(disk, "SCRATCH_BYTES", 8 << 20)


def planned(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    with pytest.raises(SystemExit) as ended:
        cli.app(["plan", *arguments, "--json"])
    assert not ended.value.code
    return json.loads(capsys.readouterr().out)


def test_a_model_that_is_not_here(capsys: pytest.CaptureFixture[str]) -> None:
    facts = planned(capsys, "4b", "--mem", "2G", "--mem", "1G", "--mem", "100M")
    assert facts["path"] is None
    assert facts["quantisation"] == "Q4_0"
    rows = facts["budgets"]
    assert [row["budget_bytes"] for row in rows] == [100 << 20, 1 << 30, 2 << 30]
    assert (rows[0]["slots"], rows[0]["limit"], rows[0]["tokens_per_s"]) == (0, "memory", None)
    for row in rows[1:]:
        assert 0 < row["slots"] < facts["experts"]
        assert 0 < row["hit_rate"] < 1
        missing = (1 - row["hit_rate"]) * facts["experts_per_token"] * facts["expert_bytes"]
        assert row["read_bytes_per_token"] == pytest.approx(missing)
    basis = facts["estimated_from"]
    assert basis["disk_file"] is None
    rate = basis["disk_bytes_per_second"]
    assert rate > 1e6  # a file was made for it, and really read
    assert rows[2]["disk_s_per_token"] == pytest.approx(rows[2]["read_bytes_per_token"] / rate, rel=1e-6)
    assert facts["smallest_budget_bytes"] < rows[1]["budget_bytes"] < facts["whole_budget_bytes"]


def test_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    path = str(model(Recipe()).path)
    facts = planned(capsys, path)
    assert facts["path"] == path
    assert facts["experts"] == 8
    assert facts["budgets"][0]["budget_bytes"] == facts["smallest_budget_bytes"]
    # So little is computed that other things decide how fast it is.
    assert all(row["tokens_per_s"] is None for row in facts["budgets"])


def test_what_a_person_reads(capsys: pytest.CaptureFixture[str]) -> None:
    plan.run(Settings(context=8192), "21b", ["4G", "1M"], as_json=False)
    shown = capsys.readouterr().out
    for words in ("SmallThinker 21B-A3B", "not on this disk yet", "too small", "4G "):
        assert words in shown
    for words in ("smallest ", "recommended", "an estimate", "measured now", "made up"):
        assert words in shown
    assert max(map(len, shown.splitlines())) < 200


def test_what_is_too_small_for_the_app_alone_is_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    """Its screen counts for a budget too; without it, the engine keeps to less."""
    path = paths.builtin_model()
    facts = plan.estimate(Settings(), str(path), [])
    smallest = facts["smallest_ask_budget_bytes"]
    assert smallest < facts["smallest_budget_bytes"]
    Engine.load(path, mem=smallest).close()
    with pytest.raises(BudgetError):
        Engine.load(path, mem=smallest - (1 << 20))
    budgets = [str(smallest), str(smallest - (1 << 20))]
    plan.run(Settings(), str(path), budgets, as_json=False)
    shown = capsys.readouterr().out
    less, least = smallest - (1 << 20) >> 20, smallest >> 20
    rows = [line.split() for line in shown.splitlines()[3:5]]
    assert rows == [[f"{less}M", "too", "small"], [f"{least}M", "too", "small", "for", "the", "app"]]
    assert (
        f"smallest     --mem {facts['smallest_budget_bytes'] >> 20}M for the app, {least}M for ask" in shown
    )


def test_without_a_disk_that_can_be_measured_that_is_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "speed_in", lambda folder, piece: None)
    plan.run(Settings(), "4b", ["1G"], as_json=False)
    shown = capsys.readouterr().out
    assert "not known" in shown
    assert "could not be measured" in shown


@pytest.mark.parametrize(
    ("free", "advice"),
    [
        (16 << 30, "recommended  no --mem: all of it fits into the 16.00G that are free"),
        (2 << 30, "recommended  --mem 1.5G: 2.00G are free"),
        (1 << 30, "recommended  none: only 1.00G of memory are free"),
    ],
)
def test_the_advice_depends_on_what_is_free(
    free: int, advice: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = machine.Machine(free, free, "ggml", None, 2, 22e9, None)
    monkeypatch.setattr(machine, "measure", lambda threads: here)
    monkeypatch.setattr(disk, "speed_in", lambda folder, piece: disk.DiskSpeed(1e9, True, None))
    plan.run(Settings(), "4b", ["1G"], as_json=False)
    assert advice in capsys.readouterr().out


def test_too_many_threads_are_told_as_what_takes_the_memory(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = machine.Machine(16 << 30, 16 << 30, "ggml", None, 1000, 22e9, None)
    monkeypatch.setattr(machine, "measure", lambda threads: here)
    plan.run(Settings(threads=1000), "4b", [], as_json=False)
    assert "none: only 16.00G of memory are free; fewer --threads take less\n" in capsys.readouterr().out


def test_what_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ModelError, match="smallchat pull 4b:q8_0"):
        plan.run(Settings(), "4b:q8_0", [], as_json=True)
    with pytest.raises(ModelError):
        plan.run(Settings(), "no/such-file.gguf", [], as_json=True)
    with pytest.raises(UsageError):
        plan.run(Settings(), "4b", ["much"], as_json=True)
    with pytest.raises(ContextError):
        plan.run(Settings(context=1 << 20), "4b", [], as_json=True)
    assert capsys.readouterr().out == ""
