"""The disk's speed, on real files; and where there is nothing to measure."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from smallchat.hub import disk


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "SECONDS", 0.05)
    monkeypatch.setattr(disk, "SCRATCH_BYTES", 8 << 20)


def large(folder: Path) -> Path:
    path = folder / "large"
    path.write_bytes(np.random.default_rng(0).bytes(8 << 20))
    return path


def test_a_real_file_is_read() -> None:
    library = max(Path(np.__file__).parent.rglob("*.so"), key=lambda path: path.stat().st_size)
    found = disk.speed_of(library)
    assert found is not None
    assert found.bytes_per_second > 1e6


def test_pieces_of_any_size(tmp_path: Path) -> None:
    path = large(tmp_path)
    for piece in (1, 5000, 663_552, 8 << 20):
        found = disk.speed_of(path, piece)
        assert found is not None
        assert found.path == path
        assert found.bytes_per_second > 1e4


def test_what_cannot_be_read_has_no_speed(tmp_path: Path) -> None:
    assert disk.speed_of(tmp_path / "none") is None
    assert disk.speed_of(tmp_path) is None
    (tmp_path / "small").write_bytes(b"0" * 4096)
    assert disk.speed_of(tmp_path / "small") is None


def test_without_direct_reads_it_is_said_that_memory_may_have_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real = large(tmp_path), os.open

    def refusing(name: object, flags: int, *more: int) -> int:
        if flags & getattr(os, "O_DIRECT", 0):
            raise OSError(errno.EINVAL, "as some file systems do")
        return real(name, flags, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", refusing)
    found = disk.speed_of(path)
    assert found is not None
    assert found.direct is not hasattr(os, "O_DIRECT")


def test_a_folder_without_models_gets_a_file_that_does_not_stay(tmp_path: Path) -> None:
    found = disk.speed_in(tmp_path / "not" / "there" / "yet")
    assert found is not None
    assert found.path is None
    assert found.bytes_per_second > 1e6
    assert list(tmp_path.iterdir()) == [tmp_path / "home"] or not list(tmp_path.iterdir())


def test_a_folder_that_takes_no_file_has_no_speed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    assert disk.speed_in(tmp_path) is None
    assert not list(tmp_path.glob("smallchat-*"))


def test_one_disk_or_two(tmp_path: Path) -> None:
    assert disk.same_disk(tmp_path, tmp_path / "a" / "b")
    if Path("/proc/self").exists():
        assert not disk.same_disk(tmp_path, Path("/proc/self"))
