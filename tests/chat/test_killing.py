"""A process that is killed at a random moment has lost nothing that it had been told was saved."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROUNDS = 250


@pytest.mark.skipif(not hasattr(os, "fork"), reason="writers are forked")
def test_hundreds_of_kills_lose_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.chat.killing", str(tmp_path / "talk.sqlite3"), str(ROUNDS), "1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["rounds"] == ROUNDS
    assert told["facts"] > 2 * ROUNDS
