"""Files that are damaged, hostile or of another kind: told in one line that names them, and let go again."""

from __future__ import annotations

import functools
import gc
import os
import re
import resource
import struct
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import psutil
import pytest

from smallchat.errors import ModelError, SmallchatError
from tests.support.engines import opened
from tests.support.models import ARRAY, BOOL, F32, F64, I32, STRING, U8, U32, U64, Raw, Recipe, model, text

SMALL = Recipe(
    layers=2, hidden=32, heads=2, kv_heads=1, head=16, experts=3, used=2, width=32, type="Q4_0", seed=300
)
pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")  # they would stand above the one line

LIMIT = 200 << 20
"""Bytes that no file of a few dozen kilobytes may take."""


@functools.cache
def good() -> bytes:
    return model(SMALL).path.read_bytes()


@functools.cache
def header_size() -> int:
    return len(Raw.read(model(SMALL).path).header())


def use(path: Path, kernels: str = "numpy") -> None:
    """All that a chat does with a model."""
    with opened(path, kernels, context=64) as engine:
        ids = engine.template.render([{"role": "user", "content": "hi"}], engine.tokenizer)
        engine.logits([1, 2, 3])
        engine.tokenizer.decode(event.token_id for event in engine.generate(ids[-8:], max_tokens=2, seed=0))


def told(path: Path, kernels: str = "numpy", kind: type[SmallchatError] = SmallchatError) -> str | None:
    """What is said about a file (None: it works), seeing to what must hold of every file."""
    words = None
    tracemalloc.start()
    try:
        use(path, kernels)
    except kind as error:
        words = str(error)
        assert error.exit_code > 1
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < LIMIT
    if str(path) in open_files():
        gc.collect()  # what only the error still held
        assert str(path) not in open_files()
    if words is not None:
        assert words.isprintable(), words  # one line, and no terminal's control characters
        assert len(words) < 600
    return words


def open_files() -> set[str]:
    return {file.path for file in psutil.Process().open_files()}


def write(raw: Raw | bytes, folder: Path) -> Path:
    path = folder / "given.gguf"
    path.write_bytes(raw if isinstance(raw, bytes) else raw.data())
    return path


@pytest.fixture(autouse=True, scope="module")
def memory_of_all():
    """Also what Python does not count: the process never grows by much."""
    use(model(SMALL).path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown * (1 if sys.platform == "darwin" else 1024) < LIMIT


def test_the_good_file_is_good(tmp_path):
    assert told(write(good(), tmp_path)) is None
    assert told(write(Raw.read(model(SMALL).path), tmp_path)) is None
    assert Raw.read(model(SMALL).path).data() == good()[: len(Raw.read(model(SMALL).path).data())]


# Not a model at all


def test_a_file_that_is_not_there(tmp_path):
    path = tmp_path / "absent.gguf"
    assert str(path) in told(path)


def test_a_folder(tmp_path):
    words = told(tmp_path)
    assert str(tmp_path) in words
    assert "folder" in words


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="only where there are named pipes")
def test_a_pipe_without_a_writer(tmp_path):
    """It must not be waited for."""
    path = tmp_path / "pipe.gguf"
    os.mkfifo(path)
    writer = os.open(path, os.O_RDWR)  # so that a reader that does wait is not caught for ever
    try:
        os.write(writer, b"GGUF")
        assert str(path) in told(path)
    finally:
        os.close(writer)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path):
    path = write(good(), tmp_path)
    path.chmod(0)
    assert str(path) in told(path)


@pytest.mark.parametrize("name", ["line\nbreak.gguf", "\x1b[31mred.gguf", "tab\t.gguf"])
@pytest.mark.skipif(os.name == "nt", reason="no such names there")
def test_a_name_that_would_upset_a_terminal(name, tmp_path):
    (tmp_path / name).write_bytes(b"no model")
    assert told(tmp_path / name)
    assert told(tmp_path / f"absent {name}")


OTHER_KINDS = {
    "empty": b"",
    "one byte": b"G",
    "magic only": b"GGUF",
    "text": b"Dear reader,\nthis is a letter.\n",
    "zeros": bytes(4096),
    "old ggml": b"lmgg" + bytes(64),
    "safetensors": struct.pack("<Q", 20) + b'{"a":{"shape":[1]}} ',
    "page of a download": b"<!DOCTYPE html><html><body>404</body></html>",
    "version 0": b"GGUF" + struct.pack("<IQQ", 0, 0, 0),
    "version 1": b"GGUF" + struct.pack("<IIIQ", 1, 0, 0, 0),
    "version 99": b"GGUF" + struct.pack("<IQQ", 99, 0, 0),
    "big-endian": b"GGUF" + struct.pack(">IQQ", 3, 0, 0) + bytes(64),
    "nothing in it": b"GGUF" + struct.pack("<IQQ", 3, 0, 0) + bytes(64),
}


@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_another_kind_of_file(kind, tmp_path):
    path = write(OTHER_KINDS[kind], tmp_path)
    words = told(path)
    assert str(path) in words
    if "version" in kind:
        assert kind.split()[1] in words
    if kind == "big-endian":
        assert "endian" in words


# Cut short, and bytes changed


@pytest.mark.parametrize("part", range(8))
def test_cut_short_anywhere(part, tmp_path):
    header, whole = header_size(), len(good())
    exact = [*range(1, 40), *range(header - 10, header + 40), whole - 1, whole - 31]
    spread = np.linspace(40, whole - 2, 60, dtype=int).tolist()
    for cut in sorted({*exact, *spread})[part::8]:
        path = write(good()[:cut], tmp_path)
        words = told(path)
        assert words is not None, cut
        assert str(path) in words


@pytest.mark.parametrize("kernels", ["numpy", "ggml"])
@pytest.mark.parametrize("seed", range(5))
def test_bytes_changed_at_random_in_the_header(seed, kernels, tmp_path):
    """It may still work, or be told; nothing else."""
    rng = np.random.default_rng([seed, len(kernels)])
    # Half of them before the vocabulary, where the numbers are.
    numbers = good().index(b"tokenizer.ggml.tokens")
    failed = 0
    for i in range(40):
        changed = bytearray(good())
        for at in rng.integers(0, numbers if i % 2 else header_size(), rng.integers(1, 4)):
            changed[at] = rng.choice(
                [0, 1, 0x7F, 0x80, 0xFF, rng.integers(256), changed[at] ^ 1 << rng.integers(8)]
            )
        failed += told(write(bytes(changed), tmp_path), kernels) is not None
    assert failed > 8  # the header is read, after all


def test_bytes_changed_among_the_weights(tmp_path):
    """Any weights are weights; but numbers that are none come to light when they are used."""
    rng = np.random.default_rng(1)
    for _ in range(20):
        changed = bytearray(good())
        start = int(rng.integers(header_size(), len(changed) - 64))
        changed[start : start + 64] = b"\xff" * 64
        told(write(bytes(changed), tmp_path))


# One thing wrong


def broken(change) -> Raw:
    raw = Raw.read(model(SMALL).path)
    out = change(raw)
    return out if isinstance(out, Raw) else raw


def retyped(raw: Raw, which: str, **values) -> None:
    tensor = raw.tensor(f"{which}.weight")
    for key, value in values.items():
        setattr(tensor, key, value)


def doubled(raw: Raw, name: str) -> None:
    raw.tensors.append(raw.tensor(f"{name}.weight"))


def counted(kind: int, count: int) -> bytes:
    """The start of an array that claims more than is there."""
    return struct.pack("<IQ", kind, count)


NAMES = (
    *("token_embd", "output_norm", "blk.0.attn_norm", "blk.1.ffn_norm", "blk.0.attn_q", "blk.1.attn_k"),
    *("blk.0.attn_v", "blk.1.attn_output", "blk.0.ffn_gate_inp"),
    *("blk.0.ffn_gate_exps", "blk.1.ffn_up_exps", "blk.1.ffn_down_exps"),
)

COUNTS = (
    *(
        "block_count",
        "attention.head_count",
        "attention.head_count_kv",
        "attention.key_length",
        "embedding_length",
    ),
    *("expert_count", "expert_used_count", "expert_feed_forward_length", "context_length"),
)

WRONG = {
    **{f"no {name}": (lambda raw, name=name: raw.drop(f"{name}.weight"), re.escape(name)) for name in NAMES},
    "no experts at all": (lambda raw: raw.drop("*_exps.weight"), "(?i)no-MoE|experts"),
    **{
        f"{name} of another shape": (
            lambda raw, name=name: retyped(raw, name, dims=[raw.tensor(f"{name}.weight").dims[0] * 2, 1, 1]),
            re.escape(name),
        )
        for name in NAMES
    },
    "q and output exchanged": (
        lambda raw: retyped(raw, "blk.0.attn_q", dims=[64, 16]),
        "attn_q",
    ),
    **{
        f"dimensions {dims}": (lambda raw, dims=dims: retyped(raw, "blk.0.attn_q", dims=dims), "attn_q")
        for dims in (
            [1 << 63],
            [1 << 63, 2],
            [1 << 32, 1 << 32],
            [(1 << 64) - 1],
            [32, 0],
            [0],
            [],
            [1] * 5,
            [32, 1 << 59],
        )
    },
    "type 99": (lambda raw: retyped(raw, "blk.0.attn_q", type=99), "attn_q.*99|99.*attn_q"),
    "a type of old": (lambda raw: retyped(raw, "blk.0.attn_q", type=4), "attn_q"),
    "a type we lack": (lambda raw: retyped(raw, "blk.0.ffn_up_exps", type=16), "ffn_up_exps"),
    "rows of half a block": (lambda raw: retyped(raw, "blk.0.attn_q", dims=[16, 64]), "attn_q"),
    "a quantised norm": (lambda raw: retyped(raw, "output_norm", type=2), "output_norm"),
    "the same tensor twice": (lambda raw: doubled(raw, "blk.0.attn_q"), "attn_q"),
    **{
        f"offset {offset}": (lambda raw, o=offset: retyped(raw, "blk.1.attn_k", offset=o), "attn_k")
        for offset in (1 << 40, 1 << 63, (1 << 64) - 32)
    },
    **{
        f"alignment {value}": (lambda raw, v=value: raw.set(".general.alignment", U32, v), "alignment")
        for value in (0, 3, 48, (1 << 32) - 1)
    },
    "alignment is text": (lambda raw: raw.set(".general.alignment", STRING, "32"), "alignment"),
    "alignment is a fraction": (lambda raw: raw.set(".general.alignment", F32, 32.0), "alignment"),
    **{
        f"architecture {value!r}": (
            lambda raw, v=value: raw.set(".general.architecture", STRING, v),
            "architecture",
        )
        for value in ("llama", "qwen3moe", "", "smallthinker ", "a\nb", "\x1b[2J")
    },
    "architecture is a number": (lambda raw: raw.set(".general.architecture", U32, 3), "architecture"),
    **{
        f"no {key}": (lambda raw, k=key: raw.keys.pop(f"smallthinker.{k}"), key)
        for key in ("block_count", "expert_count")
    },
    **{f"{key} is 0": (lambda raw, k=key: raw.set(k, U32, 0), key) for key in COUNTS},
    **{f"{key} is huge": (lambda raw, k=key: raw.set(k, U64, (1 << 64) - 1), key) for key in COUNTS},
    **{f"{key} is large": (lambda raw, k=key: raw.set(k, U32, (1 << 31) - 1), None) for key in COUNTS},
    **{f"{key} is negative": (lambda raw, k=key: raw.set(k, I32, -2), key) for key in COUNTS},
    **{f"{key} is a fraction": (lambda raw, k=key: raw.set(k, F32, 2.5), key) for key in COUNTS},
    **{f"{key} is text": (lambda raw, k=key: raw.set(k, STRING, "a\nb\x1b[31m"), key) for key in COUNTS},
    **{
        f"{key} is a list": (lambda raw, k=key: raw.set(k, ARRAY, struct.pack("<IQII", U32, 2, 2, 2)), key)
        for key in COUNTS
    },
    "one layer more than there is": (lambda raw: raw.set("block_count", U32, 3), r"blk\.2"),
    "one expert more than there is": (lambda raw: raw.set("expert_count", U32, 4), "ffn_gate_inp"),
    "more experts used than there are": (lambda raw: raw.set("expert_used_count", U32, 4), "experts"),
    "three heads on two": (
        lambda raw: raw.set("attention.head_count", U32, 3).set("attention.head_count_kv", U32, 2),
        "heads",
    ),
    "more KV heads than heads": (lambda raw: raw.set("attention.head_count_kv", U32, 4), "heads"),
    "values longer than keys": (lambda raw: raw.set("attention.value_length", U32, 32), "value"),
    **{
        f"{key} is {value}": (lambda raw, k=key, v=value: raw.set(k, F32, v), key)
        for key in ("rope.freq_base", "attention.layer_norm_rms_epsilon")
        for value in (float("nan"), float("inf"), -1.0)
    },
    "rope base 0": (lambda raw: raw.set("rope.freq_base", F32, 0.0), "rope"),
    "rope base NaN in 64 bits": (lambda raw: raw.set("rope.freq_base", F64, float("nan")), "rope"),
    "rope base is text": (lambda raw: raw.set("rope.freq_base", STRING, "a\nb"), "rope"),
    "an odd number of turned dimensions": (lambda raw: raw.set("rope.dimension_count", U32, 7), "RoPE"),
    "more turned dimensions than there are": (lambda raw: raw.set("rope.dimension_count", U32, 18), "RoPE"),
    "an unknown router": (lambda raw: raw.set("expert_gating_func", U32, 99), "router"),
    "a router by name": (lambda raw: raw.set("expert_gating_func", STRING, "soft\nmax"), "router"),
    "a negative window": (lambda raw: raw.set("attention.sliding_window", I32, -4), "sliding_window"),
    "a window in words": (lambda raw: raw.set("attention.sliding_window", STRING, "a\nb"), "sliding_window"),
    "a pattern too short": (
        lambda raw: raw.set("attention.sliding_window", U32, 8).set(
            "attention.sliding_window_pattern", ARRAY, struct.pack("<IQ?", BOOL, 1, True)
        ),
        "sliding_window_pattern",
    ),
    "a pattern in words": (
        lambda raw: raw.set("attention.sliding_window", U32, 8).set(
            "attention.sliding_window_pattern", STRING, "a\nb"
        ),
        "sliding_window_pattern",
    ),
    **{
        f"{count} tensors": (lambda raw, c=count: setattr(raw, "tensor_count", c), None)
        for count in (1 << 20, 1 << 60, (1 << 64) - 1)
    },
    **{
        f"{count} keys": (lambda raw, c=count: setattr(raw, "key_count", c), None)
        for count in (1 << 20, 1 << 60, (1 << 64) - 1)
    },
    **{
        f"a list of {count} of kind {kind}": (
            lambda raw, k=kind, c=count: raw.set(".x", ARRAY, counted(k, c)),
            None,
        )
        for kind in (U8, U32, U64, STRING, ARRAY, BOOL)
        for count in (1 << 33, 1 << 60, (1 << 64) - 1)
    },
    "a value of an unknown type": (lambda raw: raw.keys.__setitem__("x", (77, b"")), "77"),
    "a list of an unknown type": (lambda raw: raw.set(".x", ARRAY, counted(77, 1)), "77"),
    "lists in lists in lists": (
        lambda raw: raw.set(".x", ARRAY, b"".join(counted(ARRAY, 1) for _ in range(5000)) + counted(U8, 0)),
        None,
    ),
    "a text longer than the file": (lambda raw: raw.set(".x", STRING, struct.pack("<Q", 1 << 40)), None),
    "a text of 2**64 - 1": (lambda raw: raw.set(".x", STRING, struct.pack("<Q", (1 << 64) - 1)), None),
    "a text that is none": (lambda raw: raw.set(".general.architecture", STRING, text(b"\xff\xfe")), None),
    "a tensor whose name is none": (lambda raw: retyped(raw, "blk.0.attn_q", name=b"\xff\xfe\n"), None),
    "a tensor with a terminal's name": (
        lambda raw: retyped(raw, "blk.0.attn_q", name=b"\x1b[2J\n", type=99),
        None,
    ),
    "a template that is no template": (
        lambda raw: raw.set(".tokenizer.chat_template", STRING, "{% for"),
        "template",
    ),
    "a template that is a number": (lambda raw: raw.set(".tokenizer.chat_template", U32, 7), "template"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_one_thing_wrong(wrong, tmp_path):
    change, expected = WRONG[wrong]
    path = write(broken(change), tmp_path)
    words = told(path, kind=ModelError)
    assert words is not None
    assert str(path) in words
    if expected:
        assert re.search(expected, words.replace(str(path), "")), words


ODD = {
    "all tensors at the same place": lambda raw: [setattr(t, "offset", 0) for t in raw.tensors] and raw,
    "a tensor at an odd place": lambda raw: retyped(
        raw, "blk.1.attn_k", offset=raw.tensor("blk.1.attn_k.weight").offset - 7
    ),
    "a float tensor at an odd place": lambda raw: retyped(raw, "output_norm", offset=3),
    "alignment 1": lambda raw: raw.set(".general.alignment", U32, 1),
    "alignment 4096": lambda raw: raw.set(".general.alignment", U32, 4096),
    "an enormous window": lambda raw: raw.set("attention.sliding_window", U64, (1 << 62)),
    "an enormous window of 32 bits": lambda raw: raw.set("attention.sliding_window", U32, (1 << 32) - 1),
    "a window of 0": lambda raw: raw.set("attention.sliding_window", U32, 0),
    "an enormous pattern": lambda raw: raw.set("attention.sliding_window", U32, 8).set(
        "attention.sliding_window_pattern", U32, (1 << 32) - 1
    ),
    "a pattern of 0": lambda raw: raw.set("attention.sliding_window", U32, 8).set(
        "attention.sliding_window_pattern", U32, 0
    ),
    "an enormous context": lambda raw: raw.set("context_length", U32, (1 << 30)),
    "the largest rope base": lambda raw: raw.set("rope.freq_base", F32, 3e38),
    "the smallest rope base": lambda raw: raw.set("rope.freq_base", F32, 1e-40),
    "eps 0": lambda raw: raw.set("attention.layer_norm_rms_epsilon", F32, 0.0),
    "eps enormous": lambda raw: raw.set("attention.layer_norm_rms_epsilon", F32, 3e38),
    "a name that is a list": lambda raw: raw.set(".general.name", ARRAY, struct.pack("<IQ", U32, 0)),
    "a name with a bell": lambda raw: raw.set(".general.name", STRING, "\x07\x1b[31m\n"),
    "a file type of text": lambda raw: raw.set(".general.file_type", STRING, "x"),
    "lists in a list": lambda raw: raw.set(".x", ARRAY, counted(ARRAY, 1) + struct.pack("<IQI", U32, 1, 7)),
    "a flag that is 7": lambda raw: raw.keys.__setitem__("x", (BOOL, b"\7")),
    "more tensors than are used": lambda raw: raw.tensors.append(
        type(raw.tensors[0])(b"blk.99.attn_q.weight", [32], 0, 0)
    ),
    "add_bos is text": lambda raw: raw.set(".tokenizer.ggml.add_bos_token", STRING, "yes"),
}


@pytest.mark.parametrize("kernels", ["numpy", "ggml"])
@pytest.mark.parametrize("odd", ODD)
def test_odd_but_perhaps_usable(odd, kernels, tmp_path):
    told(write(broken(ODD[odd]), tmp_path), kernels)


@pytest.mark.parametrize("kernels", ["numpy", "ggml"])
def test_weights_that_are_no_numbers(kernels, tmp_path):
    """Found when they are used, and told as the model's fault."""
    raw = broken(lambda raw: None)
    norm = raw.tensor("output_norm.weight")
    raw.body = (
        raw.body[: norm.offset] + np.full(32, np.nan, np.float32).tobytes() + raw.body[norm.offset + 128 :]
    )
    assert "number" in told(write(raw, tmp_path), kernels)
