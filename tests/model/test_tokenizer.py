"""Text to ids and back, against byte-level BPE written out by hand."""

from __future__ import annotations

import functools
import threading
import time
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smallchat.errors import ModelError
from smallchat.model.gguf import GgufFile
from smallchat.model.tokenizer import Tokenizer
from tests.support import qwen2
from tests.support.engines import opened
from tests.support.models import ARRAY, I32, MERGED, SPECIAL, STOPS, STRING, U32, Raw, Recipe, model, text
from tests.support.shared import shared


@functools.cache
def small() -> tuple[Tokenizer, Recipe]:
    recipe = Recipe(layers=1)
    return Tokenizer(GgufFile(model(recipe).path), recipe.vocab), recipe


@functools.cache
def real() -> Tokenizer:
    """Qwen2's vocabulary, which SmallThinker uses."""
    return Tokenizer(GgufFile(shared("data", "qwen2-vocab.gguf")), 151936)


@functools.cache
def tables(which: str) -> tuple[dict[str, int], dict[tuple[str, str], int]]:
    """Ids of tokens and ranks of merges, read without the package."""
    if which == "small":
        words = model(small()[1]).vocabulary
        tokens, merges = words.tokens, words.merges
    else:
        raw = Raw.read(shared("data", "qwen2-vocab.gguf"))
        tokens = strings(raw.keys["tokenizer.ggml.tokens"][1])
        merges = strings(raw.keys["tokenizer.ggml.merges"][1])
    ids = {token: i for i, token in enumerate(tokens)}
    return ids, {tuple(merge.split(" ")): rank for rank, merge in enumerate(merges)}


def strings(value: bytes) -> list[str]:
    out, at = [], 12
    while at < len(value):
        length = int.from_bytes(value[at : at + 8], "little")
        out.append(value[at + 8 : at + 8 + length].decode())
        at += 8 + length
    return out


def known(character: str) -> bool:
    """In Python's Unicode tables: newer ones may call a newer letter a letter."""
    return unicodedata.category(character) not in ("Cn", "Cs")


TEXT = st.text(st.characters(exclude_categories=["Cs"]))
WORDS = (
    "the",
    " the",
    "'s",
    "'LL",
    "'ſ",
    "12",
    "٣",
    "½",
    "你好",
    "世",
    "é",
    "e\u0301",
    "👩\u200d👩\u200d👧",
    "ß",
)
SPACES = (" ", "  ", "\t", "\n", "\r\n", "\u00a0", "\u3000", "\u2028", "\x00", "\x1c", "\x85", "\u200b")
SIGNS = ("!", "...", "->", "_", "'", "<|im_end|>", "<|", "|>", "[PAD300]", "\ue000", "\U0010ffff", "\ufffd")
ODD = st.lists(st.sampled_from([*WORDS, *SPACES, *SIGNS])).map("".join)


@settings(max_examples=300, deadline=None)
@given(TEXT | ODD)
def test_round_trip(words):
    tokenizer, _ = small()
    assert tokenizer.decode(tokenizer.encode(words)) == words


@settings(max_examples=300, deadline=None)
@given((TEXT | ODD).filter(lambda words: all(map(known, words))))
def test_ids_are_those_of_the_algorithm(words):
    tokenizer, _ = small()
    assert tokenizer.encode(words) == qwen2.encode(words, *tables("small"))


def test_merges_make_one_token_of_known_words():
    tokenizer, recipe = small()
    for word, token in model(recipe).vocabulary.texts.items():
        assert tokenizer.encode(word) == [token], word
    assert len(model(recipe).vocabulary.texts) == len(MERGED)


PIECES = {
    "I'm 2026, you'LL see": ["I", "'m", " ", "2", "0", "2", "6", ",", " you", "'LL", " see"],
    "a  b   c": ["a", " ", " b", "  ", " c"],
    "x\n\n  y\n": ["x", "\n\n", " ", " y", "\n"],
    "end.  ": ["end", ".", "  "],
    "\tif(x):\r\n\treturn": ["\tif", "(x", "):\r\n", "\treturn"],
    "$100 (50%)": ["$", "1", "0", "0", " (", "5", "0", "%)"],
    "你好，世界123": ["你好", "，世界", "1", "2", "3"],
    "it's O'Dell's": ["it", "'s", " O", "'D", "ell", "'s"],
    " 1": [" ", "1"],
}


@pytest.mark.parametrize("which", ["small", "real"])
@pytest.mark.parametrize("words", PIECES)
def test_borders_of_the_pre_tokenizer(words, which):
    """Each piece encoded by itself gives the ids of the whole, and a token never spans two."""
    assert qwen2.pieces(words) == PIECES[words]
    tokenizer = real() if which == "real" else small()[0]
    ids = tokenizer.encode(words)
    assert ids == [i for piece in PIECES[words] for i in tokenizer.encode(piece)]
    borders = {sum(len(tokenizer.bytes_of(t)) for t in ids[:i]) for i in range(len(ids) + 1)}
    at = 0
    for piece in PIECES[words]:
        at += len(piece.encode())
        assert at in borders


@pytest.mark.parametrize("name", SPECIAL)
def test_special_tokens_in_plain_text_are_text(name):
    tokenizer, recipe = small()
    special = model(recipe).vocabulary.special(name)
    for words in (name, f"a{name}b", name * 3, name[:-1] + name):
        ids = tokenizer.encode(words)
        assert special not in ids
        assert tokenizer.decode(ids) == words
    assert tokenizer.encode(f"a{name}b", special=True) == [
        *tokenizer.encode("a"),
        special,
        *tokenizer.encode("b"),
    ]
    assert tokenizer.encode(name[:-1], special=True) == tokenizer.encode(name[:-1])


@settings(max_examples=200, deadline=None)
@given(ODD)
def test_plain_text_never_becomes_a_special_token_or_a_filler(words):
    tokenizer, recipe = small()
    assert all(i < 256 + 40 and not tokenizer.fillers[i] for i in tokenizer.encode(words))
    vocabulary = model(recipe).vocabulary
    forbidden = {vocabulary.special(name) for name in SPECIAL}
    assert not forbidden & set(tokenizer.encode(words))


@pytest.mark.parametrize("kind", [5, 4, 1, 3])
def test_fillers_are_known_whatever_their_type(kind):
    """Converters mark [PADn] as unused or as user-defined; either way they stand for nothing."""
    recipe = Recipe(layers=1, filler_kind=kind)
    made = model(recipe)
    tokenizer = Tokenizer(GgufFile(made.path), recipe.vocab)
    assert [i for i, filler in enumerate(tokenizer.fillers) if filler] == made.vocabulary.fillers
    assert made.vocabulary.fillers
    words = f"[PAD{made.vocabulary.fillers[0]}]"
    assert tokenizer.decode(tokenizer.encode(words, special=True)) == words
    assert not set(tokenizer.encode(words, special=True)) & set(made.vocabulary.fillers)


def test_every_end_of_turn_is_known():
    tokenizer, recipe = small()
    assert tokenizer.stop_ids == {model(recipe).vocabulary.special(name) for name in STOPS}


def test_surrogates_and_broken_bytes_do_no_harm():
    """From odd file names: there is no UTF-8 for a lone surrogate."""
    tokenizer, _ = small()
    assert tokenizer.decode(tokenizer.encode("a\ud800b")) == "a\ufffdb"
    ids = model(small()[1]).vocabulary.ids("é")
    assert tokenizer.decode(ids[:1]) == "\ufffd"
    assert tokenizer.decode([*ids[:1], *tokenizer.encode("x")]) == "\ufffdx"


# The real vocabulary


def test_known_ids_of_the_real_vocabulary():
    """Ids as published for Qwen2."""
    tokenizer = real()
    assert tokenizer.encode("Hello world!") == [9707, 1879, 0]
    assert tokenizer.encode("你好") == [108386]
    assert tokenizer.encode("1234") == [16, 17, 18, 19]
    assert tokenizer.encode("<|im_start|>user\n", special=True) == [151644, 872, 198]
    assert tokenizer.decode([151644, 872, 198]) == "<|im_start|>user\n"
    assert {151643, 151645} <= tokenizer.stop_ids


def test_fillers_of_the_real_vocabulary():
    """All past <|im_end|> in this file; the converter calls them user-defined."""
    fillers = [i for i, filler in enumerate(real().fillers) if filler]
    assert fillers == list(range(151646, 151936))


PROSE = [
    "The quick brown fox jumps over the lazy dog's back, doesn't it? I'd say they've 1,234.56 reasons.",
    "def fib(n):\n    return n if n < 2 else fib(n - 1) + fib(n - 2)\n\n\nprint([fib(i) for i in range(10)])",
    "北京是中国的首都，人口约2189万。人工智能模型在本地运行——不需要网络！",
    "Grüße aus Köln: Straße, Œuvre, ½ ℓ, naïve café — «Привет, мир», こんにちは世界, 안녕하세요, שלום, ١٢٣",
    "👩‍👩‍👧‍👦 🇩🇪 🤷🏽‍♀️ e\u0301 \u00a0\u3000 tabs\t\tand   spaces \r\n\r\n  end ",
    "<|im_start|>system\n{{ x }}<|im_end|> https://example.org/?q=a%20b&c=d#e_f {'k': [1e-5, 0xFF]}",
]


@pytest.mark.parametrize("words", PROSE)
def test_prose_with_the_real_vocabulary(words):
    ids = real().encode(words)
    assert ids == qwen2.encode(words, *tables("real"))
    assert real().decode(ids) == words


@settings(max_examples=150, deadline=None)
@given((TEXT | ODD).filter(lambda words: all(map(known, words))))
def test_anything_with_the_real_vocabulary(words):
    assert real().encode(words) == qwen2.encode(words, *tables("real"))


def test_a_thread_that_encodes_lets_others_go_on():
    """As a decoder, while what is typed is counted."""
    began, words = threading.Event(), "the thing in 你好 " * 40_000

    def encode() -> None:
        began.set()
        small()[0].encode(words)

    thread = threading.Thread(target=encode)
    small()
    start = last = time.perf_counter()
    thread.start()
    began.wait()
    longest = 0.0  # that this thread could not go on
    while thread.is_alive():
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    assert longest < (last - start) / 2


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> Path:
    """A tiny model with the whole real vocabulary."""
    words = Raw.read(shared("data", "qwen2-vocab.gguf"))
    raw = Raw.read(model(Recipe(layers=1, hidden=32, heads=2, kv_heads=1, type="Q4_0", tied=True)).path)
    raw.keys |= {key: value for key, value in words.keys.items() if key.startswith("tokenizer.")}
    embedding = raw.tensor("token_embd.weight")
    rows = raw.body[embedding.offset : embedding.offset + 320 * 18]
    raw.body += bytes(-len(raw.body) % 32)
    embedding.dims, embedding.offset = [32, 151936], len(raw.body)
    raw.body += (rows * 475)[: 151936 * 18]
    path = tmp_path_factory.mktemp("real") / "real-vocabulary.gguf"
    path.write_bytes(raw.data())
    return path


def test_a_model_with_the_real_vocabulary_opens_quickly(large):
    """In processor time, and the best of three: other work may share the machine."""
    seconds = []
    for _ in range(3):
        start = time.process_time()
        with opened(large) as engine:
            seconds.append(time.process_time() - start)
            assert engine.tokenizer.encode("Hello world!") == [9707, 1879, 0]
    assert min(seconds) < 1.5


# Vocabularies that cannot be right


def spoiled(change, tmp_path) -> Path:
    raw = Raw.read(model(small()[1]).path)
    change(raw)
    path = tmp_path / "spoiled.gguf"
    path.write_bytes(raw.data())
    return path


def array(kind: int, values: list[bytes]) -> bytes:
    return kind.to_bytes(4, "little") + len(values).to_bytes(8, "little") + b"".join(values)


def without(raw: Raw, key: str) -> None:
    del raw.keys[f"tokenizer.ggml.{key}"]


WRONG = {
    "no tokens": lambda raw: without(raw, "tokens"),
    "no merges": lambda raw: without(raw, "merges"),
    "tokens are numbers": lambda raw: raw.set(
        ".tokenizer.ggml.tokens", ARRAY, array(I32, [b"\0\0\0\0"] * 320)
    ),
    "tokens are one string": lambda raw: raw.set(".tokenizer.ggml.tokens", STRING, "abc"),
    "too few tokens": lambda raw: raw.set(".tokenizer.ggml.tokens", ARRAY, array(STRING, [text("a")] * 319)),
    "no bytes": lambda raw: raw.set(".tokenizer.ggml.tokens", ARRAY, array(STRING, [text("a")] * 320)),
    "too few types": lambda raw: raw.set(".tokenizer.ggml.token_type", ARRAY, array(I32, [b"\1\0\0\0"])),
    "types are a number": lambda raw: raw.set(".tokenizer.ggml.token_type", U32, 3),
    "another kind": lambda raw: raw.set(".tokenizer.ggml.model", STRING, "llama\x1b[31m\n"),
    "no kind": lambda raw: without(raw, "model"),
    "another pre-tokenizer": lambda raw: raw.set(".tokenizer.ggml.pre", STRING, "gpt-5\n"),
    "kind is a number": lambda raw: raw.set(".tokenizer.ggml.model", U32, 3),
    "pre is a list": lambda raw: raw.set(".tokenizer.ggml.pre", ARRAY, array(STRING, [text("qwen2")])),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_an_unusable_vocabulary_is_told(wrong, tmp_path):
    path = spoiled(WRONG[wrong], tmp_path)
    with pytest.raises(ModelError) as caught, opened(path):
        pass
    assert str(path) in str(caught.value)
    assert str(caught.value).isprintable()


FINE = {
    "no types": lambda raw: without(raw, "token_type"),
    "odd merges": lambda raw: raw.set(
        ".tokenizer.ggml.merges",
        ARRAY,
        array(STRING, [text(m) for m in ("", " ", "t", "t h e", "zz zz", "t h")]),
    ),
    "no merges at all": lambda raw: raw.set(".tokenizer.ggml.merges", ARRAY, array(STRING, [])),
    "end-of-turn out of range": lambda raw: raw.set(".tokenizer.ggml.eos_token_id", U32, 1 << 31),
    "end-of-turn is text": lambda raw: raw.set(".tokenizer.ggml.eos_token_id", STRING, "</s>"),
}


@pytest.mark.parametrize("odd", FINE)
def test_an_odd_vocabulary_still_works(odd, tmp_path):
    with opened(spoiled(FINE[odd], tmp_path)) as engine:
        assert engine.tokenizer.decode(engine.tokenizer.encode("the end: 你好")) == "the end: 你好"
        assert not set(engine.tokenizer.stop_ids) - set(range(320))
