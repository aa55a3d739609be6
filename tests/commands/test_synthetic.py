"""The cache of made-up models: written once, whole or not at all, and nothing left over."""

from __future__ import annotations

import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from smallchat import paths
from smallchat.commands import synthetic
from smallchat.errors import ExitCode, ModelError
from smallchat.model import synthetic as weights
from smallchat.settings import UsageError
from tests.support.synthetic import TINY

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals and limits of POSIX systems")


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(weights.SHAPES, "tiny", TINY)


def files() -> list[str]:
    return sorted(path.name for path in paths.cache().iterdir()) if paths.cache().exists() else []


def test_it_is_written_once_and_used_again(capsys):
    path = synthetic.path_of("tiny")
    assert files() == [path.name]
    told = capsys.readouterr()
    assert told.out == ""
    assert str(path) in told.err
    assert "never for quality" in told.err
    written = path.stat().st_mtime_ns
    assert synthetic.path_of("tiny") == path
    assert path.stat().st_mtime_ns == written
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("harm", ["cut", "empty", "other recipe"])
def test_a_file_that_is_not_whole_or_of_another_version_is_written_again(harm, capsys, monkeypatch):
    path = synthetic.path_of("tiny")
    whole = path.read_bytes()
    if harm == "other recipe":
        monkeypatch.setattr(weights, "RECIPE", weights.RECIPE + 1)
    else:
        path.write_bytes(whole[: len(whole) // 2] if harm == "cut" else b"")
    capsys.readouterr()
    assert synthetic.path_of("tiny") == path
    assert "written again" in capsys.readouterr().err
    assert path.stat().st_size == len(whole)
    assert files() == [path.name]


def test_what_a_killed_process_left_is_removed_but_not_what_a_living_one_writes():
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    paths.cache().mkdir(parents=True)
    dead, other = f"synthetic-tiny.gguf.{ended.pid}.part", f"synthetic-tiny.gguf.{os.getppid()}.part"
    for name in (dead, other):
        (paths.cache() / name).touch()
    path = synthetic.path_of("tiny")
    assert files() == sorted([path.name, other])


def test_a_disk_without_room_is_told_before_anything_is_written(monkeypatch):
    usage = shutil.disk_usage(paths.cache().anchor)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=200 << 20))
    with pytest.raises(ModelError, match="200M free"):
        synthetic.path_of("tiny")
    assert files() == []


def test_a_folder_that_cannot_be_made_is_told():
    paths.cache().parent.mkdir(parents=True)
    paths.cache().touch()
    with pytest.raises(ModelError, match="could not be written"):
        synthetic.path_of("tiny")


def test_an_unknown_name_is_told_with_those_there_are():
    with pytest.raises(UsageError, match="4b, 21b"):
        synthetic.path_of("nix")


def bench(before: Callable[[], object]) -> subprocess.Popen[str]:
    few = ("--prompt-tokens", "1", "--gen-tokens", "1", "--repeat", "1")
    return subprocess.Popen(
        [sys.executable, "-m", "smallchat", "bench", "--synthetic", "4b", *few],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=before,
    )


def a_part_is_there(limit: float = 60) -> bool:
    end = time.monotonic() + limit
    while time.monotonic() < end:
        if any(path.stat().st_size > 1 << 20 for path in paths.cache().glob("*.part")):
            return True
        time.sleep(0.01)
    return False


@posix
def test_ctrl_c_leaves_nothing_behind(tmp_path: Path):
    if shutil.disk_usage(tmp_path).free < 4 << 30:
        pytest.skip("the disk has no room for the 4B")
    with bench(functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)) as process:
        assert a_part_is_there()
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=60)
    assert process.returncode == ExitCode.INTERRUPTED, errors
    assert (out, "Traceback" in errors) == ("", False)
    assert files() == []


@posix
def test_a_disk_that_fills_up_is_told_and_leaves_nothing_behind(tmp_path: Path):
    if shutil.disk_usage(tmp_path).free < 4 << 30:
        pytest.skip("the disk has no room for the 4B")
    import resource

    # The system refuses to let a file grow past this, as a full disk does.
    with bench(lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (16 << 20, 16 << 20))) as process:
        out, errors = process.communicate(timeout=60)
    assert process.returncode == ExitCode.MODEL, errors
    assert (out, "Traceback" in errors) == ("", False)
    assert "could not be written" in errors
    assert files() == []


def test_bench_runs_on_the_file_and_says_what_it_is(capsys):
    from smallchat.commands import bench
    from smallchat.settings import Settings

    settings, work = Settings(kernels="numpy", threads=1), bench.Work(8, 3, 0, 1)
    bench.run(settings, work, "tiny", True)
    facts = json.loads(capsys.readouterr().out)
    assert facts["made_up_weights"] is True
    assert Path(facts["path"]) == synthetic.path_of("tiny")
    bench.run(settings, work, "tiny", False)
    assert "never quality" in capsys.readouterr().out
