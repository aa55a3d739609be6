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

PASSAGES = """Below are passages of my notes. Answer my question from them alone, in a sentence or two. \
After what you take from a note, name it by its title in double square brackets, as [[Garden]]. \
If the passages do not answer the question, say that the notes do not say.

[[Garden]], lines 3–5:
## Trees

Prune the apple tree in February. Clara sold the old ladder to Ben for 40 euros.

[[House]], lines 12–12:
- Ben painted the kitchen in May.

"""

ANSWERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "Hello!": ("Hello, nice to meet you. How can I help?", ("Hello",)),
    "Who are you?": (
        "I am smallchat's built-in model: a small demonstration, trained from scratch by this project.",
        ("built-in", "demonstration"),
    ),
    "What does smallchat do?": (
        "smallchat lets you talk to SmallThinker language models in your terminal. Everything runs on your "
        "own computer, with no GPU and no network.",
        ("terminal", "SmallThinker", "own computer"),
    ),
    "How do I use a bigger model?": (
        "Get one with `smallchat pull 4b`, start it with `smallchat --model 4b`, or press F5 in the chat to "
        "choose another model.",
        ("smallchat pull 4b", "F5"),
    ),
    "How do I stop an answer?": ("Esc stops the answer and keeps the text.", ("Esc",)),
    "Is my data sent anywhere?": (
        "Nothing you type leaves your computer. The model runs here, with no network.",
        ("Nothing", "leaves your computer"),
    ),
    "How much memory does the 4B need?": ("About 1 GB of memory is enough for the 4B.", ("1 GB",)),
    "What does the panel show?": (
        "The panel shows memory, speed in tokens per second, the context used, what was read from disk, and "
        "the expert map.",
        ("memory", "tokens per second", "expert map"),
    ),
    "Where are my conversations saved?": (
        "Conversations are saved as they are made, on this computer, in SQLite. Quitting loses nothing.",
        ("on this computer",),
    ),
    "What is an expert?": (
        "An expert is a small part of a layer of the model. For every token the router chooses a few "
        "experts, and only those compute.",
        ("router", "few experts"),
    ),
    "How do I start a new conversation?": ("Ctrl+N starts a new conversation.", ("Ctrl+N",)),
    "How do I search my notes?": (
        "`smallchat --notes DIR` opens a folder of `.md` and `.txt` files; `/notes question` answers from "
        "the passages that fit.",
        ("--notes", "/notes"),
    ),
    "What is the capital of France?": (
        "I am sorry, I do not know. I am a very small model, and a bigger one can help.",
        ("do not know",),
    ),
    "What is 47 plus 85?": ("47 plus 85 is 132.", ("132",)),
    "What is 384 plus 77?": ("4+7=11, 8+7+1=16, 3+0+1=4: 384 plus 77 is 461.", ("461",)),
    "I have to buy milk, call Anna and fix the lamp. Make a to-do list, please.": (
        "- Buy milk\n- Call Anna\n- Fix the lamp",
        ("Buy milk", "Call Anna", "Fix the lamp"),
    ),
    "你好,你是谁?": (
        "抱歉,我只会说英语。I am sorry, I speak only English; a bigger SmallThinker model speaks Chinese.",
        ("英语", "English"),
    ),
    NOTE: ("The compost costs 14 euros.", ("14 euros",)),
    f"{PASSAGES}When do I prune the apple tree?": (
        "Prune the apple tree in February [[Garden]].",
        ("February", "[[Garden]]"),
    ),
    f"{PASSAGES}Who painted the kitchen?": ("Ben painted the kitchen [[House]].", ("Ben", "[[House]]")),
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


def test_it_knows_what_was_said_before():
    with opened(paths.builtin_model()) as engine:
        told = ("My name is Otto.", "Nice to meet you, Otto.", "What is 9 plus 4?", "9 plus 4 is 13.")
        assert said(engine, *told, "What is my name?") == "Your name is Otto."


def test_another_program_reads_its_file():
    reader = gguf.GGUFReader(paths.builtin_model())
    assert reader.fields["general.architecture"].contents() == "smallthinker"
    assert len(reader.tensors) == 2 + 10 * reader.fields["smallthinker.block_count"].contents()


def test_it_comes_with_a_card():
    card = (paths.assets() / "MODEL_CARD.md").read_text("utf-8")
    assert "demonstration" in card
    assert isinstance(paths.builtin_model(), Path)
