"""Real processes: what they compute together, how they are woken, and how they end."""

from __future__ import annotations

import functools
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from smallchat.errors import BudgetError, EngineError
from tests.support.engines import answer, opened
from tests.support.models import Recipe, model

WINDOWED = Recipe(layers=5, window=9, gating=1, experts=8, used=3, seed=300)
TRANSPOSED = Recipe(layers=3, transposed=True, fused=True, width=96, experts=8, used=3, seed=301)
SHORT = Recipe(layers=3, window=5, pattern=(True, True, False), heads=3, kv_heads=1, seed=302)
TOKENS = list(range(40, 85))

posix = pytest.mark.skipif(os.name != "posix", reason="signals")


def until(condition: Callable[[], object], seconds: float = 20) -> None:
    """Wait for it. Fails after so long."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0)  # others may have the core


def gone(pid: int) -> bool:
    """No such process, or one that has ended and whose parent has not asked yet."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def asleep(engine) -> bool:
    memory = engine._crew.ranks.memory
    return all(memory.asleep[memory.line(rank)] for rank in range(1, engine.threads))


@functools.cache
def alone(recipe: Recipe, kernels: str, count: int = 12) -> list[int]:
    with opened(model(recipe).path, kernels, context=128) as engine:
        return answer(engine, TOKENS, max_tokens=count)


@pytest.mark.parametrize("threads", [2, 3, 4])
@pytest.mark.parametrize("kernels", ["numpy", "ggml"])
@pytest.mark.parametrize(
    "recipe", [WINDOWED, TRANSPOSED, SHORT], ids=["windowed", "transposed", "three-heads"]
)
def test_ranks_say_what_one_says(recipe, kernels, threads):
    """Also where there are more ranks than heads: then one computes no attention."""
    with opened(model(recipe).path, kernels, threads, context=128, chunk=20) as engine:
        assert len(engine._crew.ranks.pids) == threads - 1
        assert answer(engine, TOKENS, max_tokens=12) == alone(recipe, kernels)
        assert answer(engine, TOKENS[:9], max_tokens=3)
        assert answer(engine, TOKENS, max_tokens=12) == alone(recipe, kernels)


def budgeted(monkeypatch: pytest.MonkeyPatch, path: Path, slots: int) -> None:
    """What is opened from now on has so many slots for experts."""
    with opened(path, context=128) as engine:
        plan = replace(engine.plan, budget=1 << 40, mapped=False)
    monkeypatch.setattr("smallchat.engine.engine.budget.plan", lambda *_, **__: plan)
    monkeypatch.setattr(type(plan), "slots", lambda *_: slots)


@functools.cache
def smallest_budget(path: Path) -> int:
    """Bytes that the refusal of a smaller one names."""
    with pytest.raises(BudgetError) as caught, opened(path, context=128, mem=1 << 20):
        pass
    return int(caught.value.cure.split("--mem ")[1].split("M")[0]) << 20


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("kernels", ["numpy", "ggml"])
@pytest.mark.parametrize("slots", [6, 8, 20])
def test_a_budget_changes_nothing(kernels, threads, slots, monkeypatch):
    """Fewer slots than the layers use, and fewer than a long chunk of a prompt would."""
    recipe = WINDOWED
    budgeted(monkeypatch, model(recipe).path, slots)
    with opened(model(recipe).path, kernels, threads, context=128, chunk=20) as engine:
        assert engine.chunk == (20 if slots >= 8 else 2)
        assert answer(engine, TOKENS, max_tokens=12) == alone(recipe, kernels)
        assert engine.experts.resident().sum() <= slots
        assert engine.counters().read_bytes > 0


@posix
def test_a_reader_that_is_killed_changes_nothing(monkeypatch):
    budgeted(monkeypatch, model(WINDOWED).path, 9)
    with opened(model(WINDOWED).path, "numpy", 2, context=128, chunk=20) as engine:
        said = []
        for event in engine.generate(TOKENS, max_tokens=12, temperature=0.0):
            said.append(event.token_id)
            if event.index in (2, 7):
                os.kill(engine.experts.pids[0], signal.SIGKILL)
        assert said == alone(WINDOWED, "numpy")


@posix
@pytest.mark.parametrize("threads", [1, 2])
def test_a_file_that_is_cut_is_told_and_the_engine_lives(threads, monkeypatch, tmp_path):
    """Whichever rank waits for the bytes that are gone."""
    path = tmp_path / "cut.gguf"
    path.write_bytes(model(WINDOWED).path.read_bytes())
    budgeted(monkeypatch, path, 9)
    with opened(path, "numpy", threads, context=128, chunk=20) as engine:
        answer(engine, TOKENS[:3], max_tokens=2)
        os.truncate(path, path.stat().st_size // 2)
        for _ in range(2):  # and again: it neither hangs nor makes anything up
            with pytest.raises(EngineError, match=r"cut\.gguf (was changed|is shorter)"):
                answer(engine, TOKENS, max_tokens=12)


@posix
@pytest.mark.parametrize("during", ["prompt", "answer", "rest"])
def test_a_rank_that_is_killed_is_told_and_started_anew(during):
    with opened(model(WINDOWED).path, "ggml", 3, context=128, chunk=5) as engine:
        assert answer(engine, TOKENS, max_tokens=12) == alone(WINDOWED, "ggml")
        victim, other = engine._crew.ranks.pids
        engine.clear()

        def kill(*_: object) -> None:
            os.kill(victim, signal.SIGKILL)

        with pytest.raises(EngineError) as caught:
            if during == "rest":
                kill()
            running = engine.generate(
                TOKENS,
                max_tokens=40,
                temperature=0.0,
                on_prompt=lambda progress: kill() if during == "prompt" and progress.done == 10 else None,
            )
            for event in running:
                if during == "answer" and event.index == 3:
                    kill()
        assert caught.value.what == f"A process of the decoder was ended by signal {signal.SIGKILL.value}"
        assert caught.value.cure
        assert answer(engine, TOKENS, max_tokens=12) == alone(WINDOWED, "ggml")
        assert len(engine._crew.ranks.pids) == 2
        assert not {victim, other} & set(engine._crew.ranks.pids)
        until(lambda: gone(victim) and gone(other))


@posix
def test_a_rank_that_does_not_start_is_told_and_started_anew(monkeypatch):
    with opened(model(WINDOWED).path, "numpy", 2, context=128) as engine:
        ranks = engine._crew.ranks
        (victim,) = ranks.pids
        os.kill(victim, signal.SIGSTOP)
        ranks.memory.done[ranks.memory.line(1)] = 0  # had it been so fast
        goes_on = threading.Timer(5, lambda: os.kill(victim, signal.SIGCONT))  # nobody may wait for it
        goes_on.start()
        with monkeypatch.context() as patched, pytest.raises(EngineError, match="does not start"):
            patched.setattr("smallchat.engine.ranks.leader.START_SECONDS", 0.1)
            answer(engine, TOKENS, max_tokens=12)
        goes_on.cancel()
        assert engine._crew.ranks.pids != [victim]
        assert answer(engine, TOKENS, max_tokens=12) == alone(WINDOWED, "numpy")


def test_a_prompt_given_up_leaves_the_ranks_well():
    with opened(model(WINDOWED).path, "ggml", 3, context=128, chunk=16) as engine:
        pids = engine._crew.ranks.pids
        for calls in (0, 1, 2, 4, 7, 11):  # in the first layer, between chunks, in the middle of one
            asked = itertools.count()
            stopped = engine.generate(
                TOKENS,
                max_tokens=9,
                temperature=0.0,
                should_stop=lambda asked=asked, n=calls: next(asked) >= n,
            )
            assert list(stopped) == []
            assert answer(engine, TOKENS, max_tokens=12) == alone(WINDOWED, "ggml")
            engine.clear()
        assert engine._crew.ranks.pids == pids


@pytest.mark.parametrize("slots", [8, 25])
def test_a_prompt_given_up_within_a_budget(slots, monkeypatch):
    """What was being read for it disturbs nothing that comes later."""
    budgeted(monkeypatch, model(WINDOWED).path, slots)
    with opened(model(WINDOWED).path, "ggml", 2, context=128, chunk=16) as engine:
        for calls in (1, 3, 6):
            asked = itertools.count()
            stopped = engine.generate(
                TOKENS,
                max_tokens=9,
                temperature=0.0,
                should_stop=lambda asked=asked, n=calls: next(asked) >= n,
            )
            assert list(stopped) == []
            assert answer(engine, TOKENS, max_tokens=12) == alone(WINDOWED, "ggml")
            engine.clear()


def test_ranks_sleep_and_wake():
    """Nothing is computed while nothing is asked. A wake takes well under 5 ms where a core is free; here
    others may want it."""
    with opened(model(WINDOWED).path, "ggml", 2, context=128) as engine:
        answer(engine, TOKENS, max_tokens=3)
        (pid,) = engine._crew.ranks.pids
        rank, memory = psutil.Process(pid), engine._crew.ranks.memory
        until(lambda: asleep(engine))
        until(lambda: rank.status() == psutil.STATUS_SLEEPING)
        before, began = rank.cpu_times(), time.monotonic()
        with pytest.raises(psutil.TimeoutExpired):
            rank.wait(1)
        after, seconds = rank.cpu_times(), time.monotonic() - began
        assert seconds >= 0.9
        assert after.user + after.system - before.user - before.system <= 0.01  # one tick of the clock
        assert asleep(engine)
        wakes = []
        for _ in range(5):
            until(lambda: asleep(engine))
            began = time.perf_counter()
            engine._crew.ranks._wake(engine._crew.ranks._processes[0])
            until(lambda: not memory.asleep[memory.line(1)])
            wakes.append(time.perf_counter() - began)
        print("woken after ms:", [round(1000 * seconds, 2) for seconds in wakes])
        assert min(wakes) < 0.05
        assert answer(engine, TOKENS, max_tokens=12) == alone(WINDOWED, "ggml")


def shared_files() -> set[str]:
    folder = Path("/dev/shm")
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def holders() -> int:
    """Maps of the decoder's shared memory in this process."""
    maps = Path("/proc/self/maps")
    return maps.read_text().count("memfd:smallchat") if maps.exists() else 0


def test_nothing_is_left_of_a_closed_engine():
    before, files, mapped = shared_files(), psutil.Process().num_fds() if os.name == "posix" else 0, holders()
    for _ in range(3):
        with opened(model(WINDOWED).path, "ggml", 3, context=128) as engine:
            answer(engine, TOKENS, max_tokens=2)
            pids = engine._crew.ranks.pids
            assert not any(map(gone, pids))
        until(lambda pids=pids: all(map(gone, pids)))
        assert not any(map(psutil.pid_exists, pids))  # not even a zombie
    del engine
    assert {name for name in shared_files() - before if "smallchat" in name} == set()
    assert holders() == mapped
    if os.name == "posix":
        assert psutil.Process().num_fds() <= files


PARENT = """
import sys
from smallchat.engine import Engine
engine = Engine.load(sys.argv[1], kernels="ggml", threads=3, context=128)
running = engine.generate(list(range(40, 60)), max_tokens=int(sys.argv[2]), temperature=1.5, seed=1)
print(next(running).token_id, *engine._crew.ranks.pids, flush=True)
if sys.argv[3] == "busy":
    while True:
        engine.logits(list(range(40, 100)))
sys.stdin.read()
"""


@posix
@pytest.mark.parametrize("doing", ["busy", "idle"])
def test_ranks_end_with_a_killed_parent(doing):
    """In the middle of a pass, waiting for a rank that will not come; and asleep."""
    command = [sys.executable, "-c", PARENT, str(model(WINDOWED).path), "9", doing]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        _, *pids = map(int, parent.stdout.readline().split())
        assert len(pids) == 2
        parent.send_signal(signal.SIGKILL)
        until(lambda: all(map(gone, pids)))


@posix
def test_ranks_that_never_got_ready_end_with_the_engine():
    """Closed at once: they are still importing."""
    with opened(model(WINDOWED).path, "ggml", 4, context=128) as engine:
        pids = engine._crew.ranks.pids
    until(lambda: all(map(gone, pids)))
