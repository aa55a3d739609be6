"""The promise of `--mem`, in a memory group of the system where a test may make one: nothing is killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from smallchat.model.synthetic import write
from tests.support.synthetic import TINY

GROUPS = Path("/sys/fs/cgroup/memory")  # version 1
MIB = 1 << 20
SHAPE = replace(TINY, layers=12, hidden=512, expert_width=768)
"""384 experts of 0.7 MB: more than fit."""


@pytest.fixture
def group() -> Iterator[Path]:
    """A memory group of our own, without a limit. Skips where none can be made."""
    made = GROUPS / f"smallchat-{uuid.uuid4().hex}"
    try:
        made.mkdir()
    except OSError:
        pytest.skip("no memory group can be made here")
    try:
        yield made
    finally:
        made.rmdir()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "made-up.gguf"
    write("made up", SHAPE, path, lambda *_: None)
    return path


@pytest.mark.parametrize("threads", [1, 2])
def test_in_a_group_of_the_budgets_size_nothing_is_killed(group: Path, file: Path, threads: int) -> None:
    mem = (300 if threads == 1 else 380) * MIB
    (group / "memory.limit_in_bytes").write_text(str(mem))
    options = ["--mem", str(mem), "--threads", str(threads), "--prompt-tokens", "96", "--gen-tokens", "40"]
    command = [sys.executable, "-m", "smallchat", "bench", "--json", "--model", str(file), *options]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=300,
        preexec_fn=lambda: (group / "cgroup.procs").write_text(str(os.getpid())) and None,
    )
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["mem_budget_bytes"] == mem
    assert 0 < facts["expert_hit_rate"] < 1
    assert facts["read_bytes_per_token"] > 0
    assert facts["peak_memory_bytes"] <= mem
    killed = dict(line.split() for line in (group / "memory.oom_control").read_text().splitlines())
    assert int(killed.get("oom_kill", 0)) == 0
    assert int((group / "memory.max_usage_in_bytes").read_text()) <= mem
