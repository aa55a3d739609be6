"""Experts in slots and in the mapped file: always the file's own bytes, whatever was pushed out before."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from smallchat.errors import EngineError
from smallchat.experts.mapped import MappedExperts
from smallchat.experts.shared import SharedExperts
from smallchat.experts.slab import Slab
from tests.support.slab import (
    DOWN,
    EXPERTS,
    GATE,
    LAYERS,
    UP,
    cache,
    layout_and_file,
    parts,
    right,
    settled,
    use,
)

ALL = LAYERS * EXPERTS


@pytest.mark.parametrize("slots", [3, 4, 10, ALL])
def test_every_fetch_gives_the_files_bytes(tmp_path: Path, slots: int) -> None:
    random = np.random.default_rng(1)
    with cache(tmp_path, slots) as (experts, layout, data):
        for step in range(400):
            layer = step % LAYERS
            wanted = sorted(random.choice(EXPERTS, 3, replace=False).tolist())
            assert use(experts, layer, *wanted) == [right(layout, data, layer, one) for one in wanted]
            if step % 2:
                guessed = random.choice(EXPERTS, 3, replace=False).tolist()
                experts.guess((layer + 1) % LAYERS, guessed)
        settled(experts)
        assert experts.resident().sum() <= slots
        hits, misses, came_true, wrong = experts.counts
        assert hits + misses == 1200
        assert experts.hit_rate == hits / 1200
        assert came_true + wrong > 0 or slots < 7


def test_bytes_read_and_time_waited_are_counted(tmp_path: Path) -> None:
    with cache(tmp_path, ALL) as (experts, _, _):
        assert (experts.read_bytes, experts.wait_seconds) == (0, 0)
        use(experts, 0, 1)
        use(experts, 2, 5)
        use(experts, 0, 1)
        assert 2 * (GATE + UP + DOWN) <= experts.read_bytes <= 2 * (GATE + UP + DOWN + 6 * 4096)
        assert 0 < experts.wait_seconds < 60
        assert 0 < experts.read_seconds < 60


def test_with_room_for_all_each_expert_is_read_once(tmp_path: Path) -> None:
    with cache(tmp_path, ALL) as (experts, _, _):
        for layer in range(LAYERS):
            use(experts, layer, *range(EXPERTS))
        read = experts.read_bytes
        for _ in range(2):
            for layer in range(LAYERS):
                use(experts, layer, *range(EXPERTS))
        assert experts.read_bytes == read
        assert experts.hit_rate == pytest.approx(2 / 3)


def test_what_this_layer_still_wants_is_not_pushed_out(tmp_path: Path) -> None:
    with cache(tmp_path, 3) as (experts, layout, data):
        use(experts, 0, 1, 5, 6)
        experts._heat.table[0, [5, 6]] = 9  # 1 is the coldest, and wanted
        assert use(experts, 0, 1, 2) == [right(layout, data, 0, 1), right(layout, data, 0, 2)]
        assert experts.resident()[0, 1]
        assert experts.resident()[0].sum() == 3


def test_the_coldest_leaves_and_among_equals_the_one_that_is_wanted_last(tmp_path: Path) -> None:
    with cache(tmp_path, 3) as (experts, _, _):
        for layer in range(LAYERS):
            use(experts, layer, 0)
        experts._heat.table[1, 0] = 5
        use(experts, 2, 4)  # layers 0 and 2 are cold, and layer 2's turn comes last
        settled(experts)
        assert experts.resident()[:, 0].tolist() == [True, True, False]
        use(experts, 0, 5)
        settled(experts)
        assert experts.resident()[:, 0].tolist() == [False, True, False]


def test_a_guess_is_read_ahead_and_judged_when_its_layer_comes(tmp_path: Path) -> None:
    with cache(tmp_path, ALL) as (experts, _, _):
        use(experts, 0, 1)
        experts.guess(1, [3, 4])
        settled(experts)
        assert experts.resident()[1, [3, 4]].all()
        read = experts.read_bytes
        use(experts, 1, 3, 5)
        assert experts.counts == (1, 2, 1, 1)
        assert experts.read_bytes > read  # 5 was not guessed


def test_a_guess_never_takes_the_place_of_what_is_needed(tmp_path: Path) -> None:
    with cache(tmp_path, 4) as (experts, layout, data):
        use(experts, 0, 0, 1, 2)
        experts.expect(1, [0, 1, 2])
        experts.guess(2, [0, 1, 2, 3])
        got = [[part.tobytes() for part in experts.fetch(1, one)] for one in (0, 1, 2)]
        assert got == [right(layout, data, 1, one) for one in (0, 1, 2)]
        settled(experts)
        assert experts.resident()[1, :3].all()


def test_resizing_takes_effect_at_once_and_keeps_the_hottest(tmp_path: Path) -> None:
    with cache(tmp_path, ALL) as (experts, layout, data):
        for layer in range(LAYERS):
            use(experts, layer, *range(EXPERTS))
        experts._heat.table[2, [1, 2, 3]] = 7
        full = experts.resident_bytes()
        experts.resize(3)
        assert experts.resident_bytes() == full * 3 // ALL
        assert experts.resident()[2, [1, 2, 3]].all()
        assert experts.room == 3
        assert use(experts, 0, 4, 5) == [right(layout, data, 0, 4), right(layout, data, 0, 5)]
        experts.resize(ALL)
        for layer in range(LAYERS):
            assert use(experts, layer, *range(EXPERTS)) == [
                right(layout, data, layer, one) for one in range(EXPERTS)
            ]
        assert experts.resident().all()


def test_what_is_wished_for_comes_in_its_order_as_far_as_there_is_room(tmp_path: Path) -> None:
    with cache(tmp_path, 5) as (experts, _, _):
        experts.wish([20, 3, 11, 4, 0, 1, 2])
        while experts.warm():
            experts.check()
        assert np.flatnonzero(experts.resident()).tolist() == [0, 3, 4, 11, 20]


def test_more_experts_than_slots_is_an_error_not_a_hang(tmp_path: Path) -> None:
    with cache(tmp_path, 2) as (experts, _, _), pytest.raises(EngineError, match="too few"):
        use(experts, 0, 1, 2, 3)


@pytest.mark.parametrize("rank", [1, 99])
def test_another_rank_fetches_what_the_first_had_read(tmp_path: Path, rank: int) -> None:
    """Also while it is still being read: it waits, and is counted with those that wait."""
    random = np.random.default_rng(2)
    with cache(tmp_path, 7, ranks=rank + 1) as (experts, layout, data):
        slab = Slab(experts._slab.sizes, experts._slab.memory.handle)
        other = SharedExperts[Any](slab, layout, parts, rank)
        for step in range(200):
            layer = step % LAYERS
            wanted = sorted(random.choice(EXPERTS, 4, replace=False).tolist())
            experts.expect(layer, wanted)
            other.expect(layer, wanted)
            for expert in wanted:
                got = [part.tobytes() for part in other.fetch(layer, expert)]
                assert got == right(layout, data, layer, expert)
            for expert in wanted:
                experts.fetch(layer, expert)


def test_a_rank_that_waits_gives_up_when_it_is_told_to(tmp_path: Path) -> None:
    class GivenUpError(Exception):
        pass

    def give_up() -> None:
        raise GivenUpError

    release = threading.Event()

    def stuck(file: Any) -> Any:
        def read(*request: Any) -> None:
            release.wait(20)
            file.read(*request)

        return read

    with cache(tmp_path, 7, stuck) as (experts, _, _):
        try:
            experts.watch = give_up
            with pytest.raises(GivenUpError):
                use(experts, 0, 1)
            experts.forget()
            experts.watch = lambda: None
        finally:
            release.set()


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
