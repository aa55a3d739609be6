"""What `smallchat bench` prints."""

from __future__ import annotations

import shutil
from pathlib import Path

from smallchat import settings
from smallchat.commands import bench
from smallchat.experts import budget
from tests.support.engines import opened
from tests.support.models import Recipe, model


def test_the_table_within_a_budget(capsys, tmp_path: Path) -> None:
    """Bytes read and time waited have words of their own there; a file's name is only text."""
    path = tmp_path / "a\x1b[2J.gguf"
    shutil.copy(model(Recipe(layers=3, experts=8, used=2, seed=410)).path, path)
    with opened(path, context=64, kv="f16") as engine:
        needed = budget.PROGRAM_BYTES + engine.plan.weights + engine.plan.kv
        experts = engine.weights.expert_bytes
    flags = {"model": str(path), "mem": needed + experts // 2, "context": 64, "threads": 1}
    bench.run(settings.load(flags, {}), bench.Work(8, 4, 0, 1), None, False)
    rows = capsys.readouterr().out
    assert "in memory; a token read" in rows
    assert "waited" in rows
    assert "a␛[2J.gguf" in rows
