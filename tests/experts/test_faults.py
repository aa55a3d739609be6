"""A disk with faults, a file that changes, a reader that dies: no wrong byte ever, and clear words."""

from __future__ import annotations

import errno
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from smallchat.errors import EngineError
from smallchat.experts.direct import BLOCK, DirectFile
from tests.support.slab import EXPERTS, LAYERS, SECONDS, cache, layout_and_file, right, use

ALL = LAYERS * EXPERTS


def test_a_read_that_fails_once_is_tried_again(tmp_path: Path) -> None:
    failed: list[int] = []

    def flaky(file: DirectFile) -> Any:
        def read(into: memoryview, offset: int, needed: int) -> None:
            if offset not in failed:
                failed.append(offset)
                into[: len(into) // 2] = bytes(len(into) // 2)  # half of something wrong
                raise OSError(errno.EIO, "told to fail")
            file.read(into, offset, needed)

        return read

    with cache(tmp_path, ALL, flaky) as (experts, layout, data):
        for layer in range(LAYERS):
            assert use(experts, layer, 2, 5) == [right(layout, data, layer, one) for one in (2, 5)]
    assert failed


def test_a_read_that_keeps_failing_is_told_and_later_ones_are_right(tmp_path: Path) -> None:
    broken = True

    def bad(file: DirectFile) -> Any:
        def read(*request: Any) -> None:
            if broken:
                raise OSError(errno.EIO, "told to fail")
            file.read(*request)

        return read

    with cache(tmp_path, ALL, bad) as (experts, layout, data):
        with pytest.raises(EngineError) as caught:
            use(experts, 0, 1, 2)
        assert caught.value.what == f"{tmp_path / 'experts.bin'} could not be read: {os.strerror(errno.EIO)}"
        assert caught.value.cure
        experts.forget()
        broken = False
        deadline = time.monotonic() + SECONDS
        while True:  # what was asked for before the fault was told may fail yet
            try:
                got = use(experts, 0, 1, 2)
                break
            except EngineError:
                experts.forget()
                assert time.monotonic() < deadline
        assert got == [right(layout, data, 0, 1), right(layout, data, 0, 2)]


def test_a_guess_that_cannot_be_read_disturbs_nobody(tmp_path: Path) -> None:
    def bad(file: DirectFile) -> Any:
        last = layout_and_file(tmp_path / "again")[0].ranges(1, 0)[0].offset // BLOCK * BLOCK

        def read(into: memoryview, offset: int, needed: int) -> None:
            if offset >= last:
                raise OSError(errno.EIO, "told to fail")
            file.read(into, offset, needed)

        return read

    (tmp_path / "again").mkdir()
    with cache(tmp_path, ALL, bad) as (experts, layout, data):
        use(experts, 0, 1)
        experts.guess(1, [7])
        deadline = time.monotonic() + SECONDS
        while experts.reading().any():
            assert time.monotonic() < deadline
            experts.check()
        assert not experts.resident()[1, 7]
        assert use(experts, 0, 2) == [right(layout, data, 0, 2)]


def test_a_file_cut_while_running_is_told_and_what_is_here_goes_on(tmp_path: Path) -> None:
    with cache(tmp_path, ALL) as (experts, layout, data):
        use(experts, 0, 0)
        os.truncate(tmp_path / "experts.bin", layout.ranges(2, 0)[0].offset)
        with pytest.raises(EngineError, match=r"experts\.bin (was changed|is shorter)"):
            use(experts, 2, 7)
        experts.forget()
        assert not experts.resident()[2, 7]
        assert use(experts, 0, 0) == [right(layout, data, 0, 0)]


def test_a_file_written_to_while_running_is_told(tmp_path: Path) -> None:
    with cache(tmp_path, ALL) as (experts, _, _):
        use(experts, 0, 0)
        with (tmp_path / "experts.bin").open("r+b") as file:
            file.write(b"something else")
        with pytest.raises(EngineError, match=r"experts\.bin was changed while it was in use"):
            use(experts, 1, 1)


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be removed there")
@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_a_file_removed_or_replaced_is_still_read_as_it_was(tmp_path: Path, how: str) -> None:
    with cache(tmp_path, ALL) as (experts, layout, data):
        path = tmp_path / "experts.bin"
        path.unlink()
        if how == "replaced":
            path.write_bytes(bytes(len(data)))
        assert use(experts, 1, 4) == [right(layout, data, 1, 4)]


def test_a_disk_slower_by_a_hundred_times_gives_the_same_bytes(tmp_path: Path) -> None:
    def slow(file: DirectFile) -> Any:
        def read(*request: Any) -> None:
            began = time.monotonic()
            file.read(*request)
            until = began + 100 * (time.monotonic() - began)
            while time.monotonic() < until:
                time.sleep(0)

        return read

    with cache(tmp_path, 4, slow) as (experts, layout, data):
        for step in range(6):
            layer, wanted = step % LAYERS, (step, step + 1)
            assert use(experts, layer, *wanted) == [right(layout, data, layer, one) for one in wanted]
        assert experts.wait_seconds > 0


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_reader_that_is_killed_is_started_anew(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    with cache(tmp_path, 4) as (experts, layout, data):
        for step in range(60):
            layer = step % LAYERS
            wanted = sorted(random.choice(EXPERTS, 3, replace=False).tolist())
            experts.expect(layer, wanted)
            if step in (10, 30):
                os.kill(experts.pids[0], signal.SIGKILL)
            got = [[part.tobytes() for part in experts.fetch(layer, one)] for one in wanted]
            assert got == [right(layout, data, layer, one) for one in wanted]


def test_a_reader_that_always_dies_is_told(tmp_path: Path) -> None:
    with cache(tmp_path, 4, lambda file: file.read) as (experts, _, _):
        prefetcher = experts._prefetcher
        begin = prefetcher.start

        def stillborn() -> Any:
            filler: Any = begin()
            filler.dead = True
            return filler

        prefetcher.start = stillborn  # type: ignore[method-assign]
        prefetcher._filler.dead = True  # type: ignore[attr-defined]
        with pytest.raises(EngineError, match="ends again and again"):
            use(experts, 0, 1)


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="a file system in memory")
def test_without_direct_reads_plain_ones_give_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some systems refuse at the first read, some when opening; both must end in plain reads."""
    _, path, data = layout_and_file(tmp_path)
    real = os.open

    def refuse(where: Any, flags: int, *rest: Any) -> int:
        if flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, "told to refuse")
        return real(where, flags, *rest)

    monkeypatch.setattr(os, "open", refuse)
    file = DirectFile(path)
    assert not file.direct
    into = bytearray(2 * BLOCK)
    file.read(memoryview(into), BLOCK, 2 * BLOCK)
    assert into == data[BLOCK : 3 * BLOCK].tobytes()
    file.close()
