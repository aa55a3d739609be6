"""An answer: the tokens that the logits call for, their text, and where it ends."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from smallchat.errors import EngineError
from tests.support.answers import FREE, PLAIN, TOKENS, WINDOWED, stops
from tests.support.engines import answer, opened
from tests.support.models import STOPS, Model, model, new_path, script, scripted, vocabulary


def made_of(table: np.ndarray, **options: object) -> Model:
    return scripted(table, new_path(), **options)


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
