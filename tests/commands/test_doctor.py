"""The doctor tells what is there and what is wrong, and never fails because something is."""

from __future__ import annotations

import json

import pytest

from smallchat import paths
from smallchat.commands import doctor
from smallchat.hub import machine
from tests.support.models import Recipe, model


def put(name: str, content: bytes) -> None:
    paths.models().mkdir(parents=True, exist_ok=True)
    (paths.models() / name).write_bytes(content)


def problems(facts: dict[str, object]) -> str:
    return " ".join(f"{problem['what']} {problem['cure']}" for problem in facts["problems"])


def test_everything_is_looked_at(capsys: pytest.CaptureFixture[str]) -> None:
    put("good.gguf", model(Recipe()).path.read_bytes())
    doctor.run(as_json=True)
    facts = json.loads(capsys.readouterr().out)
    assert facts["processor"]["threads"] >= 1
    assert facts["processor"]["product_bytes_per_second"] > 1e6
    assert 0 < facts["memory"]["available_bytes"] <= facts["memory"]["bytes"]
    assert facts["disk"]["free_bytes"] > 0
    assert facts["software"]["numpy"]
    assert [row["short"] for row in facts["available"]] == ["4b", "21b"]
    assert all(row["fits"] in {"memory", "disk", "no"} for row in facts["available"])
    assert "demonstration" not in problems(facts)
    doctor.run(as_json=False)
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("processor", "memory", "disk", "terminal", "SmallThinker 21B-A3B"))


def test_each_trouble_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    put("cut.gguf", model(Recipe()).path.read_bytes()[:-100])
    poor = machine.Machine(1 << 30, 1 << 29, "numpy", "ggml does not run here.", 1, 1e9, 50e6)
    monkeypatch.setattr(machine, "measure", lambda sample: poor)
    monkeypatch.setattr(doctor, "LITTLE_SPACE", 1 << 60)
    told = problems(doctor.examine())
    for words in ("cut.gguf", "models rm", "ggml does not run here", "smallchat pull 4b", "Make room"):
        assert words in told, words


def test_a_machine_without_memory_is_told_what_does_not_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    poor = machine.Machine(1 << 30, 1 << 29, "numpy", None, 1, 1e9, 50e6)
    monkeypatch.setattr(machine, "measure", lambda sample: poor)
    doctor.run(as_json=False)
    assert "SmallThinker 21B-A3B: too large here" in capsys.readouterr().out
