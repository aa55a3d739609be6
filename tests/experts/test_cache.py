"""Experts in slots and in the mapped file: always the file's own bytes, whatever was pushed out before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from smallchat.errors import EngineError
from smallchat.experts.cache import CachedExperts
from smallchat.experts.layout import ExpertLayout
from smallchat.experts.mapped import MappedExperts
from smallchat.experts.store import ExpertStore

LAYERS, EXPERTS = 3, 8
GATE, UP, DOWN = 700, 700, 900


def layout_and_file(folder: Path) -> tuple[ExpertLayout, Path, np.ndarray]:
    """Three ranges an expert, not side by side, in a file of random bytes."""
    parts, at = [], 64
    for _ in range(LAYERS):
        layer = []
        for size in (GATE, UP, DOWN):
            layer.append((at, size))
            at += size * EXPERTS + 32
        parts.append(tuple(layer))
    data = np.random.default_rng(0).integers(0, 256, at, dtype=np.uint8)
    path = folder / "experts.bin"
    path.write_bytes(data.tobytes())
    return ExpertLayout(EXPERTS, parts), path, data


def parts(layer: int, *parts: np.ndarray) -> tuple[np.ndarray, ...]:
    """What is fetched in these tests: the bytes themselves."""
    return parts


def cached(folder: Path, slots: int) -> tuple[CachedExperts[Any], ExpertLayout, np.ndarray]:
    layout, path, data = layout_and_file(folder)
    return CachedExperts(ExpertStore(path), layout, slots, parts), layout, data


def right(layout: ExpertLayout, data: np.ndarray, layer: int, expert: int) -> list[bytes]:
    return [data[offset : offset + size].tobytes() for offset, size in layout.ranges(layer, expert)]


@pytest.mark.parametrize("slots", [LAYERS, LAYERS + 1, 10, LAYERS * EXPERTS])
def test_every_fetch_gives_the_files_bytes(tmp_path: Path, slots: int) -> None:
    experts, layout, data = cached(tmp_path, slots)
    random = np.random.default_rng(1)
    for _ in range(400):
        layer = int(random.integers(LAYERS))
        wanted = sorted(random.choice(EXPERTS, 3, replace=False).tolist())
        experts.expect(layer, wanted)
        for expert in wanted:
            got = [part.tobytes() for part in experts.fetch(layer, expert)]
            assert got == right(layout, data, layer, expert)
            assert experts.resident()[layer, expert]
    assert experts.resident().sum() <= slots
    assert experts.resident_bytes() == experts.resident().sum() * (GATE + UP + DOWN)
    experts.close()


def test_bytes_read_and_time_waited_are_counted(tmp_path: Path) -> None:
    experts, _, _ = cached(tmp_path, LAYERS * EXPERTS)
    assert (experts.read_bytes, experts.wait_seconds) == (0, 0)
    experts.fetch(0, 1)
    experts.fetch(2, 5)
    experts.fetch(0, 1)
    assert experts.read_bytes == 2 * (GATE + UP + DOWN)
    assert 0 < experts.wait_seconds < 60
    experts.close()


def test_with_room_for_all_each_expert_is_read_once(tmp_path: Path) -> None:
    experts, layout, _ = cached(tmp_path, LAYERS * EXPERTS)
    for _ in range(3):
        for layer in range(LAYERS):
            experts.expect(layer, range(EXPERTS))
            for expert in range(EXPERTS):
                experts.fetch(layer, expert)
    assert experts._store.bytes_read == layout.total_bytes
    assert experts.hit_rate == pytest.approx(2 / 3)


def test_what_this_pass_still_wants_is_not_pushed_out(tmp_path: Path) -> None:
    experts, _, _ = cached(tmp_path, 2 * LAYERS)  # two experts a layer
    experts.expect(0, [1, 5])
    experts.fetch(0, 1)
    experts.fetch(0, 5)
    experts.expect(0, [1, 2])  # 1 is here and wanted: 5 goes, although 1 is older
    experts.fetch(0, 2)
    assert experts.resident()[0, [1, 2, 5]].tolist() == [True, True, False]


def test_a_layer_does_not_push_out_another_layers_experts(tmp_path: Path) -> None:
    experts, _, _ = cached(tmp_path, 2 * LAYERS)
    experts.fetch(0, 3)
    for expert in range(EXPERTS):
        experts.fetch(1, expert)
    assert experts.resident()[0, 3]


def test_fewer_slots_than_layers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="2 slots"):
        cached(tmp_path, LAYERS - 1)


def test_a_file_cut_while_running_is_told_and_never_served(tmp_path: Path) -> None:
    experts, layout, data = cached(tmp_path, LAYERS * EXPERTS)
    experts.fetch(0, 0)
    path = tmp_path / "experts.bin"
    path.write_bytes(data[: layout.ranges(2, 0)[0].offset].tobytes())
    with pytest.raises(EngineError, match=r"experts\.bin ended at byte"):
        experts.fetch(2, 7)
    assert not experts.resident()[2, 7]
    assert [part.tobytes() for part in experts.fetch(0, 0)] == right(layout, data, 0, 0)


def test_mapped_experts_give_the_files_bytes_and_what_is_used_is_in_memory(tmp_path: Path) -> None:
    layout, _, data = layout_and_file(tmp_path)
    experts = MappedExperts(data, layout, parts)
    assert not experts.resident().any()
    for layer in range(LAYERS):
        assert [part.tobytes() for part in experts.fetch(layer, 2)] == right(layout, data, layer, 2)
    assert experts.resident()[:, 2].all()
    assert experts.resident().sum() == LAYERS
    assert experts.hit_rate is None
    experts.look(LAYERS)  # plain memory: the system says that all of it is there, or nothing at all
    assert experts.resident().all() or experts.resident().sum() == LAYERS
