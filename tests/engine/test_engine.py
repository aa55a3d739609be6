"""The engine: what it refuses, what it keeps to, and that its answers leave it well."""

from __future__ import annotations

import functools
import gc
import itertools
import os
import shutil
from pathlib import Path

import numpy as np
import psutil
import pytest

from smallchat.errors import BudgetError, ContextError, FileChangedError, SmallchatError
from smallchat.settings import UsageError
from tests.support.answers import FREE, PLAIN, SHORT, TOKENS, WINDOWED, fresh, whole
from tests.support.engines import answer, opened, worst
from tests.support.models import Model, Recipe, model

# Answers given up


@pytest.mark.parametrize("taken", [0, 1, 4])
@pytest.mark.parametrize("recipe", [PLAIN, WINDOWED], ids=["plain", "windowed"])
def test_an_answer_given_up_leaves_the_engine_well(recipe, taken):
    with opened(model(recipe).path, context=512) as engine:
        running = engine.generate(TOKENS[:9], max_tokens=40, temperature=1.0, seed=1, **FREE)
        for _ in range(taken):
            next(running)
        running.close()
        assert answer(engine, TOKENS[:9], max_tokens=12) == fresh(recipe, tuple(TOKENS[:9]), 12)


def test_an_answer_left_hanging_is_never_continued_wrongly():
    """Another answer began in between: the first may go on as it would have, or say that it cannot."""
    with opened(model(PLAIN).path, context=512) as engine:
        expected = [e.token_id for e in engine.generate(TOKENS[:9], max_tokens=10, temperature=0.0)]
        first = engine.generate(TOKENS[:9], max_tokens=10, temperature=0.0)
        got = [next(first).token_id for _ in range(3)]
        assert answer(engine, TOKENS[20:30], max_tokens=12) == fresh(PLAIN, tuple(TOKENS[20:30]), 12)
        try:
            got += [event.token_id for event in first]
        except SmallchatError:
            pass
        else:
            assert got == expected
        assert answer(engine, TOKENS[20:30], max_tokens=12) == fresh(PLAIN, tuple(TOKENS[20:30]), 12)


def test_an_answer_can_be_cancelled():
    with opened(model(PLAIN).path, context=512) as engine:
        shown: set[int] = set()
        events = []
        for event in engine.generate(
            TOKENS, max_tokens=30, temperature=0.0, should_stop=lambda: len(shown) >= 3
        ):
            shown.add(event.index)
            events.append(event)
        assert [event.finish for event in events] == [None, None, None, "cancelled"]
        assert [event.token_id for event in events] == fresh(PLAIN, tuple(TOKENS), 12)[:4]


# Tokens without an answer


def test_logits_leave_the_conversation_alone():
    with opened(model(PLAIN).path, context=512) as engine:
        first = list(engine.generate(TOKENS[:9], max_tokens=5, temperature=0.0))
        engine.logits(TOKENS)
        again = list(engine.generate(TOKENS[:9], max_tokens=5, temperature=0.0))
    assert [event.token_id for event in first] == [event.token_id for event in again]


def test_tokens_fed_in_pieces_are_those_of_logits():
    with opened(model(PLAIN).path, context=64) as engine:
        expected = engine.logits(TOKENS[:20])
        assert engine.feed([]) is None
        engine.feed(TOKENS[:7])
        got = engine.feed(TOKENS[7:20])
        assert engine.context_used == 20
        assert worst(got, expected[-1:]) < 1e-5
        refused(ContextError, lambda: engine.feed(TOKENS[:50] * 2))
        engine.clear()
        assert engine.context_used == 0
        assert worst(engine.feed(TOKENS[:5]), expected[4:5]) < 1e-5


# What it refuses


def still_open(path: Path) -> bool:
    gc.collect()  # what only the error still held
    return str(path) in {file.path for file in psutil.Process().open_files()}


def refused(kind: type[SmallchatError], what) -> str:
    with pytest.raises(kind) as caught:
        what()
    told = str(caught.value)
    assert told.isprintable()
    assert told
    return told


def test_prompts_that_cannot_be():
    with opened(model(PLAIN).path, context=64) as engine:
        for ids in ([320], [-1], [5, 1 << 40], [5, -(1 << 70)], [1 << 64]):
            told = refused(SmallchatError, lambda ids=ids: list(engine.generate(ids, max_tokens=1)))
            assert str(ids[-1]) in told
            refused(SmallchatError, lambda ids=ids: engine.logits(ids))
        refused(SmallchatError, lambda: list(engine.generate([], max_tokens=1)))
        refused(SmallchatError, lambda: engine.logits([]))
        assert "65" in refused(ContextError, lambda: list(engine.generate([1] * 65, max_tokens=1)))
        assert answer(engine, TOKENS[:9], max_tokens=12) == fresh(PLAIN, tuple(TOKENS[:9]), 12)


@pytest.mark.parametrize(
    "setting",
    [
        *({"temperature": value} for value in (-0.1, float("nan"), float("inf"))),
        *({"top_p": value} for value in (0.0, -1.0, 1.5, float("nan"))),
        *({"min_p": value} for value in (-0.1, 1.1, float("nan"))),
        *({"repeat_penalty": value} for value in (0.0, -1.0, float("nan"))),
        *({"top_k": value} for value in (-1, 1 << 40)),
        *({"seed": value} for value in (-1, 1 << 64)),
        {"max_tokens": -1},
    ],
    ids=str,
)
def test_settings_that_mean_nothing(setting):
    with opened(model(PLAIN).path, context=64) as engine:
        told = refused(UsageError, lambda: list(engine.generate([1], **{"max_tokens": 2} | setting)))
        assert next(iter(setting)) in told


@pytest.mark.parametrize(
    ("option", "kind"),
    [
        ({"context": 0}, UsageError),
        ({"context": -5}, UsageError),
        ({"context": 513}, ContextError),
        ({"context": 1 << 60}, SmallchatError),
        ({"threads": 0}, UsageError),
        ({"threads": -1}, UsageError),
        ({"threads": 1 << 40}, UsageError),
        ({"chunk": 0}, UsageError),
        ({"mem": 1000}, BudgetError),
        ({"mem": "1K"}, BudgetError),
        ({"mem": "0"}, UsageError),
        ({"mem": -1}, UsageError),
        ({"mem": "lots"}, UsageError),
        ({"kernels": "cuda"}, SmallchatError),
    ],
    ids=str,
)
def test_loads_that_cannot_be(option, kind):
    path = model(PLAIN).path

    def load() -> None:
        with opened(path, **{"context": 512, "kernels": "numpy"} | option):
            pass

    refused(kind, load)
    assert not still_open(path)


def test_a_closed_engine_says_so():
    with opened(model(PLAIN).path, context=64) as engine:
        running = engine.generate(TOKENS[:5], max_tokens=9, temperature=0.0)
        next(running)
        engine.close()
        refused(SmallchatError, lambda: engine.logits([1]))
        refused(SmallchatError, lambda: list(engine.generate([1], max_tokens=1)))
        refused(SmallchatError, lambda: list(running))
        engine.close()
    assert not still_open(model(PLAIN).path)


@pytest.mark.skipif(os.name != "posix", reason="Windows lets nobody do that to a mapped file")
@pytest.mark.parametrize("changed", ["written to", "cut", "a rank has ended"])
def test_a_file_that_is_changed_is_never_computed_with(changed, tmp_path):
    path = tmp_path / "changed.gguf"
    shutil.copyfile(model(PLAIN).path, path)
    with opened(path, "numpy", 2 if "rank" in changed else 1, context=128) as engine:
        running = engine.generate(TOKENS, max_tokens=40, temperature=0.0)
        next(running)
        if changed == "cut":
            os.truncate(path, path.stat().st_size - 1)  # within the page: what is mapped stays
        else:
            with path.open("r+b") as file:
                file.seek(-1, os.SEEK_END)
                file.write(b"\x55")
        for rank in engine.processes[1:]:
            psutil.Process(rank).kill()
        with pytest.raises(FileChangedError, match=r"changed\.gguf was changed while it was in use"):
            next(running)
        with pytest.raises(FileChangedError):
            engine.feed(TOKENS[:3])


@pytest.mark.skipif(os.name != "posix", reason="Windows lets nobody do that to a mapped file")
def test_a_file_that_is_deleted_or_replaced_stays_as_it_was(tmp_path):
    path = tmp_path / "model.gguf"
    shutil.copyfile(model(PLAIN).path, path)
    with opened(path, context=512) as engine:
        path.unlink()
        assert answer(engine, TOKENS[:9], max_tokens=6) == fresh(PLAIN, tuple(TOKENS[:9]), 12)[:6]
        path.write_bytes(b"another")
        assert answer(engine, TOKENS, max_tokens=6) == fresh(PLAIN, tuple(TOKENS), 12)[:6]


def test_the_models_own_context_is_the_limit():
    with opened(model(Recipe(context=48, seed=203)).path) as engine:
        assert engine.context == 48
        with pytest.raises(ContextError, match="49"):
            engine.logits([1] * 49)
        assert engine.logits([1] * 48).shape == (48, 320)


# Memory


@functools.cache
def smallest_budget(path: Path) -> int:
    """The least bytes that `load` accepts, give or take a kilobyte, found by halving."""
    low, high = 0, 1 << 30
    while high - low > 1 << 10:
        middle = (low + high) // 2
        try:
            with opened(path, context=512, mem=middle):
                high = middle
        except BudgetError:
            low = middle
    return high


@pytest.mark.parametrize("kernels", ["numpy", "ggml"])
@pytest.mark.parametrize("recipe", [PLAIN, WINDOWED, SHORT], ids=["plain", "windowed", "short"])
def test_a_budget_changes_nothing(recipe, kernels):
    """With the smallest one there is: experts are read when they are wanted, and few are kept."""
    made = model(recipe)
    least = smallest_budget(made.path)
    experts = sum(w.nbytes for name, w in made.weights.items() if "_exps" in name)  # in float64
    with opened(made.path, kernels, context=512, mem=least) as engine:
        assert engine.experts.__class__ is not _experts_without_budget(made)
        assert worst(engine.logits(TOKENS), whole(recipe, kernels).astype(np.float64)) < 3e-5
        if kernels == "numpy":
            assert answer(engine, TOKENS[:20], max_tokens=12) == fresh(recipe, tuple(TOKENS[:20]), 12)
            assert engine.context_used > 20
    with opened(made.path, kernels, context=512, mem=least + experts) as engine:
        assert worst(engine.logits(TOKENS), whole(recipe, kernels).astype(np.float64)) < 3e-5


def _experts_without_budget(made: Model) -> type:
    with opened(made.path, context=512) as engine:
        return engine.experts.__class__


def test_kernels_are_told_truthfully():
    with opened(model(PLAIN).path) as engine:
        assert engine.kernels.name == "numpy"
    with opened(model(PLAIN).path, "auto") as engine:
        assert engine.kernels.name == "numpy" or engine.kernels.name.startswith("ggml (")
        if engine.kernels.name == "numpy":
            assert engine.notes
    with opened(model(PLAIN).path, "ggml") as engine:
        assert engine.kernels.name.startswith("ggml (")


def test_engines_do_not_disturb_one_another():
    with opened(model(PLAIN).path, context=512) as one, opened(model(WINDOWED).path, context=512) as two:
        first = one.generate(TOKENS[:9], max_tokens=12, temperature=0.0)
        second = two.generate(TOKENS[:9], max_tokens=12, temperature=0.0)
        pairs = list(itertools.zip_longest(first, second))
    assert [a.token_id for a, _ in pairs if a] == fresh(PLAIN, tuple(TOKENS[:9]), 12)
    assert [b.token_id for _, b in pairs if b] == fresh(WINDOWED, tuple(TOKENS[:9]), 12)


def test_heads_too_wide_for_8_bits_are_refused():
    """A file may say any size, and a table of its square would be made."""
    path = model(Recipe(layers=1, heads=1, kv_heads=1, head=1026)).path
    with pytest.raises(UsageError, match=r"Heads of 1026 cannot be kept in 8 bit\. Use --kv f16"):
        opened(path, kv="q8").__enter__()
    with opened(path, kv="f16") as engine:
        assert np.isfinite(engine.feed(TOKENS[:3])).all()
