"""Checkpoints of a real engine: what another session finds again, and that nothing it says changes by it."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import numpy as np
import pytest

from smallchat import paths
from smallchat.engine import Engine
from smallchat.engine.checkpoints import folder as bounds
from smallchat.engine.checkpoints.block import BLOCK
from smallchat.engine.checkpoints.keeper import WORTH
from smallchat.engine.events import PromptProgress
from smallchat.errors import EngineError
from tests.support.engines import answer, opened
from tests.support.models import Recipe, model

PLAIN = Recipe(layers=3, heads=4, kv_heads=2, experts=8, used=3, context=2048, seed=410)
WINDOWED = Recipe(layers=5, window=500, gating=1, experts=8, used=3, context=2048, seed=411)
NARROW = Recipe(layers=3, window=40, gating=1, context=2048, seed=413)
Q8 = Recipe(layers=2, head=32, context=2048, seed=412)
ROOM = 1 << 30
TOKENS = np.random.default_rng(41).integers(6, 256, 900).tolist()


def reused(engine: Engine, ids: list[int], **options: object) -> tuple[int, list[int]]:
    """How many tokens of the prompt were not read, and the greedy answer."""
    told: list[PromptProgress] = []
    ids = answer(engine, ids, **{"max_tokens": 12, "on_prompt": told.append} | options)
    return told[0].reused, ids


def keep_all(engine: Engine) -> None:
    while engine.save_some():
        pass


def files() -> list[Path]:
    return sorted(paths.checkpoints().glob("*.kv"))


@pytest.fixture(autouse=True)
def small_reserve(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test machine's disk may be nearly full."""
    monkeypatch.setattr(bounds, "RESERVE", 0)


@pytest.mark.parametrize(("kernels", "threads"), [("numpy", 1), ("ggml", 1), ("ggml", 2), ("numpy", 3)])
@pytest.mark.parametrize(
    ("recipe", "kv"),
    [(PLAIN, "f32"), (PLAIN, "f16"), (Q8, "q8"), (WINDOWED, "f16"), (WINDOWED, "f32")],
    ids=["f32", "f16", "q8", "windowed-f16", "windowed-f32"],
)
def test_another_session_goes_on_as_if_it_had_read_all(recipe, kv, kernels, threads):
    """Token for token: the whole prompt, a longer one, and one that leaves it within a block."""
    options = {"context": 1024, "chunk": 100, "kv": kv}
    path = model(recipe).path
    longer = [*TOKENS[:700], 9, 8, 7]
    branch = [*TOKENS[:600], 5, 5, 5, 5]
    with opened(path, kernels, threads, **options) as engine:
        whole = answer(engine, TOKENS[:700], max_tokens=12)
        engine.clear()
        on = answer(engine, longer, max_tokens=12)
        engine.clear()
        beside = answer(engine, branch, max_tokens=12)
    with opened(path, kernels, threads, checkpoints=ROOM, **options) as engine:
        assert reused(engine, TOKENS[:700]) == (0, whole)
        keep_all(engine)
        assert len(files()) == 3
    with opened(path, kernels, threads, checkpoints=ROOM, **options) as engine:
        assert reused(engine, TOKENS[:700]) == (699, whole)
        engine.clear()
        assert reused(engine, longer) == (700, on)
        engine.clear()
        assert reused(engine, branch) == (600, beside)


def test_a_window_smaller_than_a_block_goes_on_where_it_ended():
    """Elsewhere, what a token would look at is gone: then all is read again."""
    with opened(model(NARROW).path, context=1024) as engine:
        whole = answer(engine, TOKENS[:700], max_tokens=30)
        on = answer(engine, [*TOKENS[:700], *whole, 9], max_tokens=12)
    for _ in range(2):
        with opened(model(NARROW).path, context=1024, chunk=100, checkpoints=ROOM) as engine:
            assert reused(engine, TOKENS[:700], max_tokens=30) == (0, whole)
            keep_all(engine)
        with opened(model(NARROW).path, context=1024, chunk=100, checkpoints=ROOM) as engine:
            count, got = reused(engine, [*TOKENS[:700], *whole, 9])
            assert got == on
            assert 729 - WORTH < count <= 729


def test_a_ring_that_goes_round_while_it_is_read_keeps_all_first():
    """Also in the middle of an answer."""
    with opened(model(WINDOWED).path, context=1024) as engine:
        early, late = (answer(engine, TOKENS[:count], max_tokens=30) for count in (490, 880))
    with opened(model(WINDOWED).path, context=1024, chunk=64, checkpoints=ROOM) as engine:
        assert reused(engine, TOKENS[:880], max_tokens=30) == (0, late)
        keep_all(engine)
        assert reused(engine, TOKENS[:490], max_tokens=30) == (489, early)
        keep_all(engine)
    with opened(model(WINDOWED).path, context=1024, chunk=100, checkpoints=ROOM) as engine:
        assert reused(engine, TOKENS[:880], max_tokens=30) == (879, late)
        assert reused(engine, TOKENS[:490], max_tokens=30) == (489, early)


@pytest.mark.parametrize("recipe", [PLAIN, WINDOWED], ids=["plain", "windowed"])
def test_switching_between_two_conversations_reads_neither_twice(recipe):
    one, other = TOKENS[:400], TOKENS[450:850]
    with opened(model(recipe).path, context=1024, chunk=100, checkpoints=ROOM) as engine:
        first, second = answer(engine, one, max_tokens=12), answer(engine, other, max_tokens=12)
        # Nobody was idle in between: what is overwritten is kept first.
        assert reused(engine, one)[1] == first
        for _ in range(3):
            assert reused(engine, one) == (399, first)
            assert reused(engine, other) == (399, second)


def test_what_is_there_is_not_written_again_and_a_longer_tail_takes_the_place_of_a_shorter():
    with opened(model(PLAIN).path, context=1024, chunk=100, checkpoints=ROOM) as engine:
        answer(engine, TOKENS[:300], max_tokens=1)
        keep_all(engine)
        before = {file: file.stat().st_mtime_ns for file in files()}
        assert len(before) == 2
        answer(engine, TOKENS[:340], max_tokens=1)
        keep_all(engine)
        after = {file: file.stat().st_mtime_ns for file in files()}
        assert len(after) == 2
        assert len(before.keys() & after.keys()) == 1
        answer(engine, TOKENS[:345], max_tokens=1)  # too little to be worth it
        assert not engine.save_some()
        assert {*files()} == {*after}


def test_two_branches_share_their_beginning():
    with opened(model(PLAIN).path, context=1024, chunk=100, checkpoints=ROOM) as engine:
        for tail in (TOKENS[300:400], TOKENS[500:600]):
            answer(engine, TOKENS[:BLOCK] + tail, max_tokens=1)
            keep_all(engine)
        assert len(files()) == 3
        assert len({file.name.partition("-")[0] for file in files()}) == 2


def test_other_weights_ranks_kernels_or_types_have_checkpoints_of_their_own():
    def read_by(recipe: Recipe, kernels: str = "numpy", threads: int = 1, kv: str = "f16") -> int:
        options = {"context": 1024, "kv": kv, "checkpoints": ROOM}
        with opened(model(recipe).path, kernels, threads, **options) as engine:
            count, _ = reused(engine, TOKENS[:300])
            keep_all(engine)
            return count

    twin = Recipe(**{field: getattr(PLAIN, field) for field in PLAIN.__dataclass_fields__} | {"seed": 999})
    ways = [(PLAIN,), (twin,), (PLAIN, "ggml"), (PLAIN, "numpy", 2), (PLAIN, "numpy", 1, "f32")]
    assert [read_by(*way) for way in ways] == [0] * 5
    assert [read_by(*way) for way in ways] == [299] * 5


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_after_a_rank_was_killed_what_was_kept_is_brought_back_into_new_caches():
    path = model(PLAIN).path
    with opened(path, "ggml", 2, context=1024, chunk=100, checkpoints=ROOM) as engine:
        whole = answer(engine, TOKENS[:700], max_tokens=12)
        keep_all(engine)
        os.kill(engine._crew.ranks.pids[0], signal.SIGKILL)
        with pytest.raises(EngineError):
            answer(engine, TOKENS[:700], max_tokens=12)
        assert reused(engine, TOKENS[:700]) == (699, whole)


# Damage


def damaged(how: str, file: Path) -> None:
    data = bytearray(file.read_bytes())
    match how:
        case "cut":
            del data[len(data) // 2 :]
        case "header cut":
            del data[10:]
        case "empty":
            data.clear()
        case "longer":
            data += b"more"
        case "payload":
            data[-100] ^= 1
        case "ids":
            data[78] ^= 1
        case "huge count":
            data[52:56] = b"\xff\xff\xff\x7f"
        case "window":
            data[56:60] = b"\xff\xff\xff\x7f"
        case "huge payload":
            data[64:72] = b"\xff" * 7 + b"\x7f"
        case "noise":
            data[:] = random.Random(1).randbytes(len(data))
    file.write_bytes(data)


KINDS = ["cut", "header cut", "empty", "longer", "payload", "ids", "huge count", "huge payload", "noise"]


@pytest.mark.parametrize(
    ("how", "recipe"),
    [*((how, recipe) for how in KINDS for recipe in (PLAIN, WINDOWED)), ("window", WINDOWED)],
)
def test_a_damaged_file_is_removed_and_changes_nothing(how, recipe):
    path = model(recipe).path
    with opened(path, context=1024, chunk=100, checkpoints=ROOM) as engine:
        whole = answer(engine, TOKENS[:700], max_tokens=12)
        keep_all(engine)
    for number in range(3):
        file = files()[number]
        damaged(how, file)
        wrong = file.read_bytes()
        with opened(path, context=1024, chunk=100, checkpoints=ROOM) as engine:
            count, got = reused(engine, TOKENS[:700])
            assert got == whole
            assert count in {0, 256, 512}
            keep_all(engine)
            assert len(files()) == 3
            assert not file.exists() or file.read_bytes() != wrong
        with opened(path, context=1024, chunk=100, checkpoints=ROOM) as engine:
            assert reused(engine, TOKENS[:700]) == (699, whole)


def test_a_block_under_another_blocks_name_is_not_believed():
    with opened(model(PLAIN).path, context=1024, chunk=100, checkpoints=ROOM) as engine:
        whole = answer(engine, TOKENS[:300], max_tokens=12)
        keep_all(engine)
        mine = set(files())
        answer(engine, TOKENS[500:800], max_tokens=1)
        keep_all(engine)
    heads = [file for file in files() if file.stat().st_size == max(f.stat().st_size for f in files())]
    (first,), (other,) = mine & {*heads}, {*heads} - mine
    first.write_bytes(other.read_bytes())
    with opened(model(PLAIN).path, context=1024, chunk=100, checkpoints=ROOM) as engine:
        assert reused(engine, TOKENS[:300]) == (0, whole)
        assert not first.exists()


@pytest.mark.skipif(os.name != "posix", reason="links, pipes, rights")
def test_links_pipes_and_other_files_are_left_alone(tmp_path: Path):
    path = model(PLAIN).path
    with opened(path, context=1024, chunk=100, checkpoints=ROOM) as engine:
        whole = answer(engine, TOKENS[:300], max_tokens=12)
        keep_all(engine)
    diary = paths.checkpoints() / "diary.txt"
    diary.write_text("mine")
    first, second = files()
    first.rename(tmp_path / "elsewhere")
    first.symlink_to(tmp_path / "elsewhere")
    second.unlink()
    os.mkfifo(second)
    with opened(path, context=1024, chunk=100, checkpoints=ROOM) as engine:
        assert reused(engine, TOKENS[:300]) == (0, whole)
    assert diary.read_text() == "mine"
    assert (tmp_path / "elsewhere").exists()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_costs_only_the_checkpoints():
    paths.checkpoints().mkdir(parents=True)
    paths.checkpoints().chmod(0o500)
    with opened(model(PLAIN).path, context=1024, chunk=100, checkpoints=ROOM) as engine:
        assert answer(engine, TOKENS[:300], max_tokens=3)
        assert not engine.save_some()


def test_a_file_in_the_folders_place_costs_only_the_checkpoints():
    paths.checkpoints().parent.mkdir(parents=True)
    paths.checkpoints().write_text("not a folder")
    with opened(model(PLAIN).path, context=1024, chunk=100, checkpoints=ROOM) as engine:
        assert answer(engine, TOKENS[:300], max_tokens=3)
        assert not engine.save_some()
        assert answer(engine, TOKENS[:300], max_tokens=3)


# Bounds


def test_the_limit_holds_and_the_longest_unused_goes_first():
    path = model(PLAIN).path
    with opened(path, context=1024, chunk=100, checkpoints=ROOM) as engine:
        answer(engine, TOKENS[:512], max_tokens=1)
        keep_all(engine)
    block = files()[0].stat().st_size
    for file in files():
        os.utime(file, (1, 1))
    with opened(path, context=1024, checkpoints=3 * block) as engine:
        answer(engine, TOKENS[300:812], max_tokens=1)  # two blocks more
        keep_all(engine)
        assert len(files()) == 3
        assert sum(file.stat().st_size for file in files()) <= 3 * block
        assert reused(engine, TOKENS[300:700])[0] == 399
        answer(engine, TOKENS[100:868], max_tokens=1)  # three: all that fits
        keep_all(engine)
        answer(engine, [7], max_tokens=1)
        assert reused(engine, TOKENS[100:868])[0] == 767
        assert len(files()) == 3
        answer(engine, TOKENS[:880], max_tokens=1)  # four do not fit: its beginning stays, and saving ends
        keep_all(engine)
        assert len(files()) == 3


def test_a_disk_that_is_nearly_full_is_left_to_others(monkeypatch):
    monkeypatch.setattr(bounds, "RESERVE", 1 << 60)
    with opened(model(PLAIN).path, context=1024, chunk=100, checkpoints=ROOM) as engine:
        answer(engine, TOKENS[:300], max_tokens=1)
        keep_all(engine)
    assert files() == []


@pytest.mark.skipif(os.name != "posix", reason="rights")
def test_nobody_else_may_read_them():
    with opened(model(PLAIN).path, context=1024, chunk=100, checkpoints=ROOM) as engine:
        answer(engine, TOKENS[:300], max_tokens=1)
        keep_all(engine)
    assert all(file.stat().st_mode & 0o077 == 0 for file in [*files(), paths.checkpoints()])


def test_a_file_half_written_long_ago_goes():
    with opened(model(PLAIN).path, context=1024, chunk=100, checkpoints=ROOM) as engine:
        answer(engine, TOKENS[:300], max_tokens=1)
        keep_all(engine)
        old, new = (files()[0].with_name(f"{files()[0].name}.{pid}") for pid in (11, 12))
        old.write_bytes(b"half")
        new.write_bytes(b"half")
        os.utime(old, (1, 1))
        answer(engine, TOKENS[100:400], max_tokens=1)
        keep_all(engine)
    assert not old.exists()
    assert new.exists()


def test_without_room_for_them_nothing_is_kept_or_looked_for():
    with opened(model(PLAIN).path, context=1024) as engine:
        answer(engine, TOKENS[:300], max_tokens=1)
        assert not engine.save_some()
    assert not paths.checkpoints().exists()
