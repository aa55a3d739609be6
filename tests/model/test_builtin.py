"""The model that smallchat ships: what it is, and word for word what it says.

After the model was trained anew, the answers are those that `smallchat ask --temperature 0 "…"` prints.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import gguf
import pytest

from smallchat import paths
from smallchat.model.config import Gating
from smallchat.settings import Sampling
from tests.support.engines import opened

GREEDY = Sampling(temperature=0.0, seed=0)

NOTE = """Here is a note:

# Garden

- Sow the beans in April.
- Clara waters the roses on Thursday.
- The compost costs 14 euros.

How much is the compost?"""

ANSWERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "Hello!": ("Hello! Ask me about smallchat, or give me a note to read.", ("Hello",)),
    "Who are you?": (
        "I am smallchat's built-in model: a small demonstration, trained from scratch by this project.",
        ("built-in", "demonstration"),
    ),
    "What is smallchat?": (
        "smallchat is a chat in the terminal that runs SmallThinker language models on your own computer, "
        "with no GPU and no network.",
        ("terminal", "SmallThinker", "own computer"),
    ),
    "How do I use a bigger model?": (
        "Get a SmallThinker GGUF file, the 4B or the 21B, and start `smallchat --model PATH` with the path "
        "of the file.",
        ("GGUF", "smallchat --model PATH"),
    ),
    "How do I stop an answer?": ("Esc stops the answer and keeps the text.", ("Esc",)),
    "Is my data sent anywhere?": (
        "Nothing you type leaves your computer. The model runs here, with no network.",
        ("Nothing", "leaves your computer"),
    ),
    "How much memory does the 4B need?": ("About 1 GB of memory is what the 4B was made for.", ("1 GB",)),
    "What does the panel show?": (
        "In the panel you see the memory, the speed in tokens per second, how much context is used, and the "
        "expert map.",
        ("memory", "tokens per second", "expert map"),
    ),
    "Where are my conversations saved?": (
        "Your conversations are saved on this computer, in SQLite, as they are made. Quitting loses nothing.",
        ("on this computer",),
    ),
    "What is an expert?": (
        "An expert is a small part of a layer of the model. For every token the router chooses a few "
        "experts, and only those compute.",
        ("router", "few experts"),
    ),
    "How do I start a new conversation?": ("Ctrl+N starts a new conversation.", ("Ctrl+N",)),
    "What is the capital of France?": (
        "I do not know that: I am only a small demonstration model. A bigger model can help.",
        ("do not know",),
    ),
    NOTE: ("The compost costs 14 euros.", ("14 euros",)),
}
"""Question: the greedy answer, and the words without which it would not be right."""


def said(engine, *messages: str) -> str:
    turns = [
        {"role": "assistant" if i % 2 else "user", "content": content} for i, content in enumerate(messages)
    ]
    ids = engine.template.render(turns, engine.tokenizer)
    return "".join(token.text for token in engine.generate(ids, 200, **asdict(GREEDY)))


def test_it_is_a_whole_smallthinker_of_a_demonstrations_size():
    with opened(paths.builtin_model()) as engine:
        config = engine.config
        assert 3_000_000 <= engine.card.parameters <= 20_000_000
        assert config.gating is Gating.SOFTMAX
        assert config.experts_used < config.experts
        # The pattern of the 21B: every fourth layer global and NoPE, the others RoPE in a window.
        globals_ = [layer for layer, window in enumerate(config.windows) if window is None]
        assert globals_ == list(range(0, config.layers, 4))
        assert [layer for layer, turns in enumerate(config.rotary) if not turns] == globals_
        assert all(window is None or window < config.context for window in config.windows)


@pytest.mark.parametrize("kernels", ["numpy", "ggml"])
@pytest.mark.parametrize("question", ANSWERS)
def test_its_greedy_answers_word_for_word(question: str, kernels: str):
    answer, words = ANSWERS[question]
    with opened(paths.builtin_model(), kernels=kernels) as engine:
        assert said(engine, question) == answer
    assert all(word in answer for word in words)


def test_another_program_reads_its_file():
    reader = gguf.GGUFReader(paths.builtin_model())
    assert reader.fields["general.architecture"].contents() == "smallthinker"
    assert len(reader.tensors) == 2 + 10 * reader.fields["smallthinker.block_count"].contents()


def test_it_comes_with_a_card():
    card = (paths.assets() / "MODEL_CARD.md").read_text("utf-8")
    assert "demonstration" in card
    assert isinstance(paths.builtin_model(), Path)
