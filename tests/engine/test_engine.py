"""The engine: what it generates, and that nothing it did before changes what it says now."""

from __future__ import annotations

import functools
import gc
import itertools
from pathlib import Path

import numpy as np
import psutil
import pytest

from smallchat.errors import BudgetError, ContextError, EngineError, SmallchatError
from smallchat.settings import UsageError
from tests.support import reference
from tests.support.engines import answer, opened, worst
from tests.support.models import STOPS, Model, Recipe, model, new_path, script, scripted, vocabulary

FREE = {"top_k": 0, "top_p": 1.0, "min_p": 0.0, "repeat_penalty": 1.0}
"""Nothing cut off, nothing punished."""

PLAIN = Recipe(seed=200)
WINDOWED = Recipe(layers=5, window=9, gating=1, seed=201)  # layers 0 and 4 see everything
SHORT = Recipe(layers=4, window=5, pattern=(True, True, False, True), type="Q8_0", seed=202)

TOKENS = np.random.default_rng(17).integers(0, 256, 45).tolist()


def made_of(table: np.ndarray, **options: object) -> Model:
    return scripted(table, new_path(), **options)


# One pass or many


@functools.cache
def whole(recipe: Recipe, kernels: str) -> np.ndarray:
    with opened(model(recipe).path, kernels, context=512, chunk=512) as engine:
        return engine.logits(TOKENS)


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 9, 10, 44, 64])
@pytest.mark.parametrize("kernels", ["numpy", "ggml"])
@pytest.mark.parametrize("recipe", [PLAIN, WINDOWED, SHORT], ids=["plain", "windowed", "short"])
def test_chunks_change_nothing(recipe, kernels, chunk):
    """Of one token, of sizes around the windows (5 and 9), and larger than they are."""
    with opened(model(recipe).path, kernels, context=512, chunk=chunk) as engine:
        got = engine.logits(TOKENS)
    if kernels == "numpy" or recipe.type == "F32":
        # Sums in another order, through five layers: a few of float32's last digits.
        assert worst(got, whole(recipe, kernels).astype(np.float64)) < 3e-5
    else:
        # Dequantised for many tokens, rounded activations for one: another rounding, not another result.
        exact = reference.logits(model(recipe).weights, model(recipe).shape, TOKENS)
        assert np.sqrt(((got - exact) ** 2).mean()) / exact.std() < 0.12


@pytest.mark.parametrize("recipe", [PLAIN, WINDOWED], ids=["plain", "windowed"])
def test_chunks_are_right_and_not_only_equal(recipe):
    made = model(recipe)
    exact = reference.logits(made.weights, made.shape, TOKENS)
    assert worst(whole(recipe, "numpy"), exact) < 1e-4


@pytest.mark.parametrize("recipe", [PLAIN, WINDOWED, SHORT], ids=["plain", "windowed", "short"])
@pytest.mark.parametrize("chunk", [1, 4, 64])
def test_prompt_then_token_by_token_is_one_computation(recipe, chunk):
    """A greedy answer is at each step what the reference says after all of the text so far."""
    made = model(recipe)
    with opened(made.path, context=512, chunk=chunk) as engine:
        ids = answer(engine, TOKENS[:11], max_tokens=25)
    assert len(ids) == 25 or ids[-1] in stops(made)
    text = TOKENS[:11] + ids
    logits = reference.logits(made.weights, made.shape, text[:-1])
    logits[:, made.vocabulary.fillers] = -np.inf
    assert ids == logits[10:].argmax(axis=1).tolist()


def stops(made: Model) -> set[int]:
    return {made.vocabulary.special(name) for name in STOPS}


def test_logits_leave_the_conversation_alone():
    with opened(model(PLAIN).path, context=512) as engine:
        first = list(engine.generate(TOKENS[:9], max_tokens=5, temperature=0.0))
        engine.logits(TOKENS)
        again = list(engine.generate(TOKENS[:9], max_tokens=5, temperature=0.0))
    assert [event.token_id for event in first] == [event.token_id for event in again]


# What generate says


@pytest.mark.parametrize("kernels", ["numpy", "ggml"])
@pytest.mark.parametrize("recipe", [PLAIN, WINDOWED], ids=["plain", "windowed"])
def test_greedy_is_the_argmax_of_logits_at_every_step(recipe, kernels):
    made = model(recipe)
    with opened(made.path, kernels, context=512) as engine:
        got = answer(engine, TOKENS[:5], max_tokens=12)
        by_hand: list[int] = []
        while len(by_hand) < 12 and not stops(made) & set(by_hand):
            logits = engine.logits(TOKENS[:5] + by_hand)[-1].copy()
            logits[made.vocabulary.fillers] = -np.inf
            by_hand.append(int(logits.argmax()))
    assert got == by_hand


def test_fillers_are_never_said():
    """Even where the model wants nothing else."""
    table = np.zeros((320, 320))
    words = vocabulary()
    table[:, words.fillers] = 50.0
    table[:, ord("A") - 33 + 0] = 10.0
    made = made_of(table)
    with opened(made.path, context=512) as engine:
        assert answer(engine, [5], max_tokens=3) == [ord("A") - 33] * 3
        drawn = list(engine.generate([5], max_tokens=200, temperature=5.0, seed=1, **FREE))
        drawn += engine.generate([5], max_tokens=200, temperature=1.0, seed=2, **FREE | {"top_k": 3})
    said = {event.token_id for event in drawn}
    assert len(said) > 20
    assert not said & set(words.fillers)


@pytest.mark.parametrize("name", STOPS)
def test_every_end_of_turn_stops(name):
    words = vocabulary()
    a, b, stop = *words.ids("ab"), words.special(name)
    made = made_of(script(320, [a, b, stop, a]))
    with opened(made.path, context=512) as engine:
        events = list(engine.generate([a], max_tokens=50, temperature=0.0, seed=0))
    assert [event.token_id for event in events] == [b, stop]
    assert [event.finish for event in events] == [None, "stop"]
    assert [event.text for event in events] == ["b", ""]


def test_the_start_of_a_turn_does_not_stop():
    words = vocabulary()
    a, start = *words.ids("a"), words.special("<|im_start|>")
    made = made_of(script(320, [a, start, words.special("<|im_end|>")]))
    with opened(made.path, context=512) as engine:
        events = list(engine.generate([a], max_tokens=50, temperature=0.0, seed=0))
    assert [event.token_id for event in events] == [start, words.special("<|im_end|>")]
    assert [event.text for event in events] == ["", ""]


@pytest.mark.parametrize("count", [1, 2, 30])
def test_length_ends_an_answer(count):
    words = vocabulary()
    made = made_of(script(320, [*words.ids("ab"), words.ids("a")[0]]))
    with opened(made.path, context=512) as engine:
        events = list(engine.generate(words.ids("a"), max_tokens=count, temperature=0.0, seed=0))
    assert "".join(event.text for event in events) == ("ba" * count)[:count]
    assert [event.finish for event in events] == [None] * (count - 1) + ["length"]
    assert [event.index for event in events] == list(range(count))
    assert all(event.seconds >= 0 for event in events)
    assert all(one.elapsed <= two.elapsed for one, two in itertools.pairwise(events))


@pytest.mark.parametrize("recipe", [PLAIN, WINDOWED], ids=["plain", "windowed"])
@pytest.mark.parametrize("prompt", [1, 30, 39, 40])
def test_the_context_ends_an_answer(recipe, prompt):
    """Prompt and answer fill it; one token more than fits may be said, as it need not be read again."""
    with opened(model(recipe).path, context=40) as engine:
        events = list(engine.generate(TOKENS[:prompt], max_tokens=500, temperature=1.5, seed=3, **FREE))
        again = list(engine.generate(TOKENS[:2], max_tokens=3, temperature=0.0))
    if events[-1].finish == "stop":
        pytest.fail("this seed ends too soon: choose another")
    assert events[-1].finish == "context"
    assert len(events) + prompt in (40, 41)
    assert [event.finish for event in events[:-1]] == [None] * (len(events) - 1)
    assert again


def test_the_models_own_context_is_the_limit():
    with opened(model(Recipe(context=48, seed=203)).path) as engine:
        assert engine.context == 48
        with pytest.raises(ContextError, match="49"):
            engine.logits([1] * 49)
        assert engine.logits([1] * 48).shape == (48, 320)


# Text as it comes


MANY_BYTES = ["你好", "é😀ñ", "→ 世界!", "👩‍🦰x"]


@pytest.mark.parametrize("text", MANY_BYTES)
def test_no_character_is_shown_by_halves(text):
    words = vocabulary()
    ids = words.ids(text)
    start = words.ids("~")[0]
    unique = list(dict.fromkeys(ids))
    if len(unique) < len(ids):  # a table knows no history: each byte may come once
        ids = ids[: next(i for i in range(len(ids)) if ids[i] in ids[:i])]
    made = made_of(script(320, [start, *ids, words.special("<|im_end|>")]))
    with opened(made.path, context=512) as engine:
        events = list(engine.generate([start], max_tokens=100, temperature=0.0, seed=0))
        decoded = engine.tokenizer.decode(ids)
    assert [event.token_id for event in events[:-1]] == ids
    assert "".join(event.text for event in events) == decoded
    shown = b""
    for event in events[:-1]:
        assert "\ufffd" not in event.text
        shown += event.text.encode()
        assert text.encode().startswith(shown)


def test_a_character_cut_off_by_the_length_is_shown_as_cut_off():
    words = vocabulary()
    start, ids = words.ids("~")[0], words.ids("😀")
    made = made_of(script(320, [start, *ids, words.special("<|im_end|>")]))
    with opened(made.path, context=512) as engine:
        events = list(engine.generate([start], max_tokens=3, temperature=0.0, seed=0))
    assert [event.text for event in events[:-1]] == ["", ""]
    assert events[-1].finish == "length"
    assert events[-1].text in ("", "\ufffd")


@pytest.mark.parametrize("seed", range(2))
def test_any_bytes_in_any_order_decode_the_same_as_at_once(seed):
    """All 256 bytes, shuffled: nearly all of it is no UTF-8."""
    order = [vocabulary().texts_of_byte(b) for b in np.random.default_rng(seed).permutation(256)]
    made = made_of(script(320, [*order, vocabulary().special("<|im_end|>")]))
    with opened(made.path, context=512) as engine:
        events = list(engine.generate(order[:1], max_tokens=400, temperature=0.0, seed=0))
        decoded = engine.tokenizer.decode(order[1:])
    assert [event.token_id for event in events[:-1]] == order[1:]
    assert "".join(event.text for event in events) == decoded
    raw = bytes(vocabulary().bytes_of(token)[0] for token in order[1:])
    assert decoded == raw.decode(errors="replace")


# Chance


def test_a_seed_decides_the_text():
    with opened(model(PLAIN).path, context=512) as engine:

        def text(seed: int | None) -> list[int]:
            events = engine.generate(TOKENS[:5], max_tokens=20, temperature=1.0, seed=seed, **FREE)
            return [event.token_id for event in events]

        first = text(7)
        assert text(7) == first
        assert len({tuple(text(seed)) for seed in range(8)}) == 8
        assert text(None) != text(None)
    with opened(model(PLAIN).path, context=512) as engine:
        events = engine.generate(TOKENS[:5], max_tokens=20, temperature=1.0, seed=7, **FREE)
        assert [event.token_id for event in events] == first


def test_temperature_zero_needs_no_seed():
    with opened(model(PLAIN).path, context=512) as engine:
        answers = {tuple(answer(engine, TOKENS[:5], max_tokens=10, seed=seed)) for seed in (0, 1, None)}
    assert len(answers) == 1


def test_logits_that_are_no_numbers_are_an_error(tmp_path):
    made = scripted(script(320, [1, 2, 3]), tmp_path / "nan.gguf", broken=[2])
    with opened(made.path, context=512) as engine:
        for temperature in (0.0, 0.7):
            events = engine.generate(
                [1], max_tokens=5, temperature=temperature, seed=0, **FREE | {"top_k": 1}
            )
            with pytest.raises(EngineError):
                list(events)
        assert answer(engine, [1], max_tokens=1) == [2]


# What went before


@functools.cache
def fresh(recipe: Recipe, prompt: tuple[int, ...], count: int) -> list[int]:
    with opened(model(recipe).path, context=512) as engine:
        return answer(engine, list(prompt), max_tokens=count)


PROMPTS = {
    "the same again": lambda first, said: first,
    "what was said": lambda first, said: first + said,
    "what was said, and more": lambda first, said: first + said + TOKENS[30:38],
    "part of what was said": lambda first, said: first + said[:7],
    "part of what was said, another end": lambda first, said: first + said[:7] + TOKENS[40:44],
    "half of the prompt": lambda first, said: first[:10],
    "half of the prompt, another end": lambda first, said: first[:10] + TOKENS[33:45],
    "a little less": lambda first, said: first[:-1],
    "one token": lambda first, said: first[:1],
    "another start": lambda first, said: [*TOKENS[41:43], *first],
    "quite another": lambda first, said: TOKENS[30:],
}


@pytest.mark.parametrize("second", PROMPTS)
@pytest.mark.parametrize("recipe", [PLAIN, WINDOWED, SHORT], ids=["plain", "windowed", "short"])
def test_what_is_kept_of_an_earlier_prompt_changes_nothing(recipe, second):
    """Also where a sliding window has long forgotten what the shorter prompt needs again."""
    with opened(model(recipe).path, context=512) as engine:
        for first in (TOKENS[:20], TOKENS[:44]):
            said = answer(engine, first, max_tokens=18)
            prompt = PROMPTS[second](first, said)
            assert answer(engine, prompt, max_tokens=8) == fresh(recipe, tuple(prompt), 8)
            assert answer(engine, first, max_tokens=18) == said


@pytest.mark.parametrize("recipe", [PLAIN, WINDOWED, SHORT], ids=["plain", "windowed", "short"])
def test_a_walk_over_many_prompts(recipe):
    """A few dozen prompts in one engine, with answers given up in the middle: each as in a new engine."""
    rng = np.random.default_rng(5)
    pool = [TOKENS[:n] for n in (1, 3, 8, 20, 30)] + [TOKENS[:12] + TOKENS[30:40], TOKENS[:12] + TOKENS[35:]]
    with opened(model(recipe).path, context=512, chunk=6) as engine:
        for _ in range(20):
            prompt = pool[rng.integers(len(pool))]
            count = int(rng.integers(1, 12))
            if rng.random() < 0.4:
                running = engine.generate(prompt, max_tokens=40, temperature=1.0, seed=int(rng.integers(99)))
                for _ in itertools.islice(running, count):
                    pass
                running.close()
            else:
                assert answer(engine, prompt, max_tokens=12) == fresh(recipe, tuple(prompt), 12)


@pytest.mark.parametrize("length", [8, 9, 10, 25])
@pytest.mark.parametrize("recipe", [WINDOWED, SHORT], ids=["windowed", "short"])
def test_every_step_back_around_the_window(recipe, length):
    """From `length` tokens back by each number of them: what the ring has overwritten is computed again.

    Drawn at a high temperature, so that a wrong key soon shows.
    """
    wild = {"max_tokens": 12, "temperature": 2.0, "seed": 4, **FREE}
    for back in range(min(length, 14)):
        prompt = TOKENS[: length - back] + TOKENS[30:31]
        with opened(model(recipe).path, context=512) as engine:
            answer(engine, TOKENS[:length], max_tokens=1)
            used = answer(engine, prompt, **wild)
        with opened(model(recipe).path, context=512) as engine:
            assert used == answer(engine, prompt, **wild), back


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


def test_progress_of_a_prompt_is_told():
    with opened(model(PLAIN).path, context=512, chunk=10) as engine:
        seen = []
        list(engine.generate(TOKENS[:35], max_tokens=2, temperature=0.0, on_prompt=seen.append))
        assert [(p.done, p.total, p.reused) for p in seen] == [(n, 35, 0) for n in (0, 10, 20, 30, 35)]
        seen.clear()
        list(engine.generate(TOKENS[:30], max_tokens=2, temperature=0.0, on_prompt=seen.append))
        assert seen[-1].done == seen[-1].total == 30
        assert seen[-1].reused in (29, 30)


def test_a_prompt_can_be_given_up():
    with opened(model(PLAIN).path, context=512, chunk=4) as engine:
        asked = itertools.count()
        stopped = engine.generate(TOKENS, max_tokens=9, temperature=0.0, should_stop=lambda: next(asked) > 7)
        assert list(stopped) == []
        assert answer(engine, TOKENS, max_tokens=12) == fresh(PLAIN, tuple(TOKENS), 12)


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
