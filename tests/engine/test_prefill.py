"""A prompt: read in chunks of any size, and behind anything read before, it comes to the same."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tests.support import reference
from tests.support.answers import FREE, PLAIN, SHORT, TOKENS, WINDOWED, fresh, stops, whole
from tests.support.engines import answer, opened, worst
from tests.support.models import model

# One pass or many


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


# What went before


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


def test_progress_of_a_prompt_is_told():
    with opened(model(PLAIN).path, context=512, chunk=10) as engine:
        seen = []
        list(engine.generate(TOKENS[:35], max_tokens=2, temperature=0.0, on_prompt=seen.append))
        assert [(p.done, p.total, p.reused) for p in seen] == [(n, 35, 0) for n in (0, 10, 20, 30, 35)]
        seen.clear()
        list(engine.generate(TOKENS[:30], max_tokens=2, temperature=0.0, on_prompt=seen.append))
        assert seen[-1].done == seen[-1].total == 30
        assert seen[-1].reused in (29, 30)


def test_within_a_chunk_progress_is_told_by_layers(monkeypatch):
    monkeypatch.setattr("smallchat.engine.prefill.PROGRESS_SECONDS", 0.0)
    seen = []
    with opened(model(WINDOWED).path, context=512) as engine:  # five layers, one chunk
        list(engine.generate(TOKENS[:35], max_tokens=1, temperature=0.0, on_prompt=seen.append))
    assert [p.done for p in seen] == [0, 0, 7, 14, 21, 28, 35]


def test_a_prompt_can_be_given_up():
    with opened(model(PLAIN).path, context=512, chunk=4) as engine:
        asked = itertools.count()
        stopped = engine.generate(TOKENS, max_tokens=9, temperature=0.0, should_stop=lambda: next(asked) > 7)
        assert list(stopped) == []
        assert answer(engine, TOKENS, max_tokens=12) == fresh(PLAIN, tuple(TOKENS), 12)
