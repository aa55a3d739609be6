"""A memory budget of a running engine: what it changes, and what it must not."""

from __future__ import annotations

import errno
import gc
import os
import signal
import sys
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest

from smallchat import paths
from smallchat.engine import Engine
from smallchat.engine.events import READING, PromptProgress
from smallchat.engine.telemetry import snapshot
from smallchat.errors import BudgetError, EngineError, SmallchatError
from smallchat.experts import budget
from smallchat.experts.cache import CachedExperts
from smallchat.experts.direct import DirectFile
from smallchat.experts.mapped import MappedExperts
from tests.support.engines import answer, opened
from tests.support.models import Recipe, model

RECIPE = Recipe(layers=5, window=9, gating=1, experts=8, used=3, seed=300)
TOKENS = list(range(40, 85))


def with_slots(engine: Engine, slots: int, threads: int = 1) -> int:
    """The budget that gives so many slots beside a full KV cache."""
    plan = engine.plan
    rest = budget.PROGRAM_BYTES + (threads - 1) * budget.RANK_BYTES
    return plan.weights + plan.kv + rest + slots * plan.slot


@pytest.fixture(scope="module")
def said() -> list[int]:
    """Without a budget."""
    with opened(model(RECIPE).path, context=128) as engine:
        return answer(engine, TOKENS, max_tokens=20)


@pytest.mark.parametrize("threads", [1, 2])
def test_resizing_in_the_middle_of_an_answer_changes_no_word_of_it(threads: int, said: list[int]) -> None:
    with opened(model(RECIPE).path, context=128) as engine:
        small, large = with_slots(engine, 9, threads), with_slots(engine, 30, threads)
    with opened(model(RECIPE).path, "numpy", threads, context=128, mem=large) as engine:
        got = []
        for event in engine.generate(TOKENS, max_tokens=20, temperature=0.0):
            got.append(event.token_id)
            if event.index == 4:
                assert engine.experts.resident().sum() > 12
                engine.resize(small)
                assert engine.experts.resident().sum() <= 12  # those of a KV cache that is not full
                assert engine.budget == small
            if event.index == 12:
                engine.resize(None)
        assert got == said
        assert engine.experts.resident().sum() > 12


def test_too_small_a_budget_is_refused_and_changes_nothing(said: list[int]) -> None:
    with opened(model(RECIPE).path, context=128) as engine:
        large = with_slots(engine, 30)
    with opened(model(RECIPE).path, context=128, mem=large) as engine:
        with pytest.raises(BudgetError, match="smallest that works"):
            engine.resize(1 << 20)
        assert engine.budget == large
        assert answer(engine, TOKENS, max_tokens=20) == said


@pytest.mark.parametrize("threads", [1, 2])
def test_another_budget_changes_how_many_tokens_pass_at_once(
    threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of a pass need all their experts of a layer together; also in the middle of a prompt."""
    monkeypatch.setattr("smallchat.engine.prefill.PROGRESS_SECONDS", 1000)  # it is told between passes only
    path = model(replace(RECIPE, experts=16)).path
    with opened(path, context=128) as engine:
        small, large = with_slots(engine, 9, threads), with_slots(engine, 30, threads)
        said = answer(engine, TOKENS, max_tokens=20)
    budgets = iter((small, large))
    with opened(path, "numpy", threads, context=128, chunk=16, mem=large) as engine:
        assert engine.chunk == 16
        done = []

        def read(progress: PromptProgress) -> None:
            done.append(progress.done)
            if len(done) in (2, 4):
                engine.resize(next(budgets))

        events = engine.generate(TOKENS, max_tokens=20, temperature=0.0, on_prompt=read)
        assert [event.token_id for event in events] == said
        assert done == [0, 16, 19, 22, 38, 45]
        engine.resize(small)
        engine.clear()
        assert engine.chunk == 3
        assert answer(engine, TOKENS, max_tokens=20) == said


@pytest.mark.parametrize("threads", [1, 2])
def test_a_budget_where_there_was_none_holds_from_the_end_of_the_answer_on(
    threads: int, said: list[int]
) -> None:
    with opened(model(RECIPE).path, "numpy", threads, context=128) as engine:
        small = with_slots(engine, 9, threads)
        got = []
        for event in engine.generate(TOKENS, max_tokens=20, temperature=0.0):
            got.append(event.token_id)
            if event.index == 4:
                engine.resize(small)
                assert isinstance(engine.experts, MappedExperts)
        assert got == said
        assert isinstance(engine.experts, CachedExperts)
        assert answer(engine, TOKENS, max_tokens=20) == said
        assert engine.experts.hit_rate is not None


def test_a_budget_at_rest_holds_at_once(said: list[int]) -> None:
    with opened(model(RECIPE).path, context=128) as engine:
        engine.resize(with_slots(engine, 9))
        assert isinstance(engine.experts, CachedExperts)
        assert answer(engine, TOKENS, max_tokens=20) == said


def test_the_next_start_is_warm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What was used most is read while nobody asks, and then need not be waited for."""
    monkeypatch.setattr(paths, "cache", lambda: tmp_path)
    with opened(model(RECIPE).path, context=128) as engine:
        large = with_slots(engine, 38)
    with opened(model(RECIPE).path, context=128, mem=large) as engine:
        assert not engine.warm()
        answer(engine, TOKENS, max_tokens=20)
        cold = engine.experts.hit_rate
        engine.remember()
    (kept,) = (tmp_path / "heat").iterdir()
    with opened(model(RECIPE).path, context=128, mem=large) as engine:
        while engine.warm():
            pass
        answer(engine, TOKENS, max_tokens=20)
        assert cold < engine.experts.hit_rate
        assert engine.experts.hit_rate > 0.9
    kept.write_bytes(b"\x93NUMPY nonsense")
    with opened(model(RECIPE).path, context=128, mem=large) as engine:
        assert not engine.warm()


def test_an_answer_that_waits_for_a_disk_can_be_stopped() -> None:
    """Within a token: a disk may take seconds for one."""
    with opened(model(RECIPE).path, context=128) as engine:
        small = with_slots(engine, 9)
    with opened(model(RECIPE).path, context=128, mem=small) as engine:
        file = engine.experts._prefetcher._file
        stop = threading.Event()
        events = engine.generate(TOKENS, max_tokens=60, temperature=0.0, should_stop=stop.is_set)
        for _ in range(3):
            next(events)
        os.kill(engine.experts.pids[0], 19)  # SIGSTOP: a disk that does not answer
        threading.Timer(0.2, stop.set).start()
        list(events)  # ends, although nothing is read any more
        os.kill(engine.experts.pids[0], 18)
        assert file.size
        assert len(answer(engine, TOKENS, max_tokens=5)) == 5


def test_what_the_cache_did_is_told_and_adds_up() -> None:
    with opened(model(RECIPE).path, context=128) as engine:
        small = with_slots(engine, 12)
    with opened(model(RECIPE).path, context=128, mem=small) as engine:
        tokens = list(engine.generate(TOKENS, max_tokens=20, temperature=0.0))
        told = snapshot(engine)
        assert told.storage is not None
        assert told.storage.hits + told.storage.misses >= 20 * RECIPE.layers * RECIPE.used
        assert told.storage.misses > 0
        assert told.storage.read_bytes > 0
        assert told.storage.read_speed > 0
        assert set(told.experts) <= {0, 1, 2, READING}
        assert told.memory.budget == small
        for token in tokens[1:]:
            assert token.compute_seconds > 0
            assert token.wait_seconds >= 0
            assert token.compute_seconds + token.wait_seconds <= token.seconds
        assert engine.counters().wait_seconds > 0  # for the first experts of the prompt at least


def test_a_file_that_changed_before_a_rank_was_started_anew_is_told(tmp_path: Path) -> None:
    path = tmp_path / "changing.gguf"
    path.write_bytes(model(RECIPE).path.read_bytes())
    with opened(path, context=128) as engine:
        small = with_slots(engine, 9)
    with opened(path, context=128, mem=small) as engine:
        answer(engine, TOKENS, max_tokens=3)
        with path.open("r+b") as file:
            file.seek(-100, os.SEEK_END)
            file.write(np.random.default_rng(0).bytes(100))
        engine.clear()
        with pytest.raises(EngineError, match=r"changing\.gguf was changed"):
            answer(engine, TOKENS, max_tokens=30)


@pytest.mark.skipif(sys.platform != "linux", reason="signals, and what a process has open")
@pytest.mark.parametrize("during", ["answer", "hold", "read"])
def test_an_engine_that_cannot_be_started_anew_says_so_and_leaves_nothing(
    tmp_path: Path, during: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    path = tmp_path / "gone.gguf"
    path.write_bytes(model(RECIPE).path.read_bytes())
    before = psutil.Process().num_fds()
    with opened(path, context=128) as engine:
        small = with_slots(engine, 9, 2)
    with opened(path, "numpy", 2, context=128, mem=small if during == "answer" else 0) as engine:
        answer(engine, TOKENS, max_tokens=3)
        if during == "read":
            monkeypatch.setattr(DirectFile, "read", refuse)
        else:
            path.unlink()
        with pytest.raises(SmallchatError, match=r"gone\.gguf cannot be read"):
            if during == "answer":
                os.kill(engine.processes[1], signal.SIGKILL)
                answer(engine, TOKENS, max_tokens=3)
            else:
                engine.resize(small)
        assert not engine.running
        for use in (engine.warm, engine.save_some, engine.clear, partial(answer, engine, TOKENS)):
            with pytest.raises(EngineError, match="Load the model again"):
                use()
    del engine, use
    gc.collect()  # what the tracebacks of the errors hold
    assert psutil.Process().num_fds() <= before


def test_a_context_that_nobody_asked_for_leaves_room_for_experts() -> None:
    assert budget.room(None, 1, 1, 0) is None
    assert budget.room(1 << 30, 1 << 20, 1, 0) == (1 << 30) - (1 << 20) - budget.PROGRAM_BYTES
