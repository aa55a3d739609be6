"""Small GGUF files made up on the spot, with the float64 weights that they hold.

`Recipe` says what a file is like, `write` makes it, `model` makes each one once a process. `scripted` makes a
model whose logits are a table of its own. `Raw` takes a file apart, to be put together wrongly.
"""

from __future__ import annotations

import functools
import itertools
import struct
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf import quants

from tests.support.reference import Shape

SPECIAL = {
    "<|endoftext|>": 0,
    "<|im_start|>": 1,
    "<|im_end|>": 2,
    "<|fim_pad|>": 3,
    "<|repo_name|>": 4,
    "<|file_sep|>": 5,
}
"""Special tokens of every vocabulary here, and their place among them."""

STOPS = ("<|endoftext|>", "<|im_end|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>")

MERGED = ("the", " the", "in", "ing", " a", "你", "好", "你好", "def", "  ", "é")
"""Texts that are one token each, beside the 256 bytes."""

K_QUANTS = ("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K")
SIMPLE_QUANTS = ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0")
FLOATS = ("F32", "F16", "BF16")


# vocabulary


def byte_letters() -> dict[int, str]:
    """The letter that stands for each byte in a byte-level vocabulary (GPT-2's table)."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    letters = {b: chr(b) for b in plain}
    for b in range(256):
        if b not in letters:
            letters[b] = chr(256 + len(letters) - len(plain))
    return letters


@dataclass(frozen=True)
class Vocabulary:
    tokens: tuple[str, ...]
    kinds: tuple[int, ...]
    """GGUF token types: 1 normal, 3 control, 5 unused."""
    merges: tuple[str, ...]
    texts: Mapping[str, int] = field(hash=False)
    """Text that is exactly one token, to its id."""

    @property
    def fillers(self) -> list[int]:
        return [i for i, token in enumerate(self.tokens) if token.startswith("[PAD")]

    def special(self, name: str) -> int:
        return self.tokens.index(name)

    def bytes_of(self, token: int) -> bytes:
        """What a normal token stands for."""
        back = {letter: byte for byte, letter in byte_letters().items()}
        return bytes(back[letter] for letter in self.tokens[token])

    def ids(self, text: str) -> list[int]:
        """One token a byte."""
        return [self.texts_of_byte(b) for b in text.encode()]

    def texts_of_byte(self, byte: int) -> int:
        return self.tokens.index(byte_letters()[byte])


@functools.cache
def vocabulary(size: int = 320, filler_kind: int = 5) -> Vocabulary:
    letters = byte_letters()
    tokens = [letters[b] for b in range(256)]
    merges: list[str] = []
    for text in MERGED:
        parts = [letters[b] for b in text.encode()]
        for merge in merges:  # what BPE makes of it so far
            left, right = merge.split(" ")
            while (left, right) in (pairs := list(itertools.pairwise(parts))):
                at = pairs.index((left, right))
                parts[at : at + 2] = [left + right]
        while len(parts) > 1:
            merges.append(f"{parts[0]} {parts[1]}")
            parts[:2] = [parts[0] + parts[1]]
            tokens.append(parts[0])
    kinds = [1] * len(tokens) + [3] * len(SPECIAL)
    tokens += list(SPECIAL)
    if len(tokens) > size:
        raise ValueError(f"a vocabulary of {size} holds no {len(tokens)} tokens")
    for i in range(len(tokens), size):
        tokens.append(f"[PAD{i}]")
        kinds.append(filler_kind)
    texts = {text: tokens.index("".join(letters[b] for b in text.encode())) for text in MERGED}
    return Vocabulary(tuple(tokens), tuple(kinds), tuple(merges), texts)


# recipes


@dataclass(frozen=True)
class Recipe:
    """A small model. The defaults make a sigmoid model that turns every layer and looks at everything."""

    layers: int = 2
    hidden: int = 64
    heads: int = 4
    kv_heads: int = 2
    head: int = 16
    experts: int = 4
    used: int = 2
    width: int = 32
    vocab: int = 320
    gating: int | None = 2
    window: int | None = None
    pattern: int | tuple[bool, ...] | None = None
    theta: float = 10_000.0
    theta_swa: float | None = None
    rope_dims: int | None = None
    eps: float = 1e-6
    type: str = "F32"
    types: tuple[tuple[str, str], ...] = ()
    """(pattern of tensor names, type): the first that matches rules; else `type`."""
    tied: bool = False
    fused: bool = False
    transposed: bool = False
    context: int = 512
    template: str | None = None
    filler_kind: int = 5
    seed: int = 0

    def type_of(self, name: str) -> str:
        return next((kind for glob, kind in self.types if fnmatch(name, glob)), self.type)

    def shape(self) -> Shape:
        if self.window is None:
            sliding = [False] * self.layers
        elif isinstance(self.pattern, tuple):
            sliding = list(self.pattern)
        else:
            sliding = [i % (self.pattern or 4) != 0 for i in range(self.layers)]
        softmax = self.gating == 1 or (self.gating is None and self.experts == 64)
        theta = self.theta if self.theta_swa is None or self.window is None else self.theta_swa
        return Shape(
            layers=self.layers,
            heads=self.heads,
            kv_heads=self.kv_heads,
            head=self.head,
            used=self.used,
            router="softmax" if softmax else "sigmoid",
            theta=theta,
            eps=float(np.float32(self.eps)),
            rope=tuple(sliding) if self.window else (True,) * self.layers,
            window=tuple(self.window if s else None for s in sliding),
            rope_dims=self.rope_dims or self.head,
        )


@dataclass(frozen=True)
class Model:
    path: Path
    weights: Mapping[str, np.ndarray]
    """As `reference.Weights`, exactly as stored."""
    shape: Shape
    vocabulary: Vocabulary
    recipe: Recipe


def tensors(recipe: Recipe) -> dict[str, np.ndarray]:
    """Random weights of a lively model, before they are rounded to their types."""
    rng = np.random.default_rng(recipe.seed)
    d, ff, E = recipe.hidden, recipe.width, recipe.experts
    s = 1 / np.sqrt(d)
    out = {"token_embd": rng.normal(0, 1, (recipe.vocab, d)), "output_norm": rng.uniform(0.5, 1.5, d)}
    if not recipe.tied:
        out["output"] = rng.normal(0, 0.3, (recipe.vocab, d))
    for i in range(recipe.layers):
        layer = {
            "attn_norm": rng.uniform(0.5, 1.5, d),
            "ffn_norm": rng.uniform(0.5, 1.5, d),
            "attn_q": rng.normal(0, 1.5 * s, (recipe.heads * recipe.head, d)),
            "attn_k": rng.normal(0, 1.5 * s, (recipe.kv_heads * recipe.head, d)),
            "attn_v": rng.normal(0, s, (recipe.kv_heads * recipe.head, d)),
            "attn_output": rng.normal(0, s, (d, recipe.heads * recipe.head)),
            "ffn_gate_inp": rng.normal(0, 2 * s, (E, d)),
            "ffn_gate_exps": rng.normal(-0.3 * s, s, (E, ff, d)),
            "ffn_up_exps": rng.normal(0, s, (E, ff, d)),
            "ffn_down_exps": rng.normal(0, 1.5 / np.sqrt(ff), (E, d, ff)),
        }
        out |= {f"blk.{i}.{name}": value for name, value in layer.items()}
    return out


def stored(value: np.ndarray, kind: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(as the file holds it, float64 of the very same numbers). `value` sets their shape and spread."""
    type_ = Type[kind]
    if kind in ("F32", "F16"):
        held = value.astype(np.float32 if kind == "F32" else np.float16)
        return held, held.astype(np.float64)
    if kind in K_QUANTS:
        held = random_blocks(value.shape, kind, float(value.std()), rng)
    else:
        held = quants.quantize(value.astype(np.float32), type_)
    return held, quants.dequantize(held, type_).astype(np.float64).reshape(value.shape)


def random_blocks(shape: Sequence[int], kind: str, std: float, rng: np.random.Generator) -> np.ndarray:
    """Random K-quant blocks that mean numbers of about this spread around zero: every bit of them matters."""
    halves = {"Q2_K": (80, 82), "Q3_K": (108,), "Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,)}[kind]
    block, size = gguf.GGML_QUANT_SIZES[Type[kind]]
    count = int(np.prod(shape)) // block
    raw = rng.integers(0, 256, (count, size), np.uint8)

    def put(at: int, numbers: np.ndarray | float) -> None:
        raw[:, at : at + 2] = np.full(count, numbers, np.float16)[:, None].view(np.uint8)

    put(halves[0], 1.0)
    if len(halves) == 1:
        scale, low = std / quants.dequantize(raw, Type[kind]).std(), 0.0
    else:
        put(halves[1], 0.0)
        high = quants.dequantize(raw, Type[kind]).mean()
        put(halves[0], 0.0)
        put(halves[1], 1.0)
        low = -high / quants.dequantize(raw, Type[kind]).mean()
        put(halves[0], 1.0)
        put(halves[1], low)
        scale = std / quants.dequantize(raw, Type[kind]).std()
    spread = rng.uniform(0.7, 1.3, count)
    put(halves[0], scale * spread)
    if len(halves) == 2:
        put(halves[1], scale * low * spread)
    return raw.reshape(*shape[:-1], shape[-1] // block * size)


def write(recipe: Recipe, path: Path, values: Mapping[str, np.ndarray] | None = None) -> Model:
    """Writes the file. `values` take the place of random weights."""
    words = vocabulary(recipe.vocab, recipe.filler_kind)
    rng = np.random.default_rng(recipe.seed + 1)
    w = gguf.GGUFWriter(path, "smallthinker")
    w.add_name("made up")
    w.add_block_count(recipe.layers)
    w.add_context_length(recipe.context)
    w.add_embedding_length(recipe.hidden)
    w.add_feed_forward_length(recipe.width)
    w.add_head_count(recipe.heads)
    w.add_head_count_kv(recipe.kv_heads)
    w.add_key_length(recipe.head)
    w.add_value_length(recipe.head)
    w.add_layer_norm_rms_eps(recipe.eps)
    w.add_rope_freq_base(recipe.theta)
    if recipe.rope_dims is not None:
        w.add_rope_dimension_count(recipe.rope_dims)
    if recipe.theta_swa is not None:
        w.add_float32("smallthinker.rope.freq_base_swa", recipe.theta_swa)
    w.add_expert_count(recipe.experts)
    w.add_expert_used_count(recipe.used)
    w.add_expert_feed_forward_length(recipe.width)
    if recipe.gating is not None:
        w.add_expert_gating_func(gguf.ExpertGatingFuncType(recipe.gating))
    if recipe.window is not None:
        w.add_sliding_window(recipe.window)
    if isinstance(recipe.pattern, tuple):
        w.add_array("smallthinker.attention.sliding_window_pattern", list(recipe.pattern))
    elif recipe.pattern is not None:
        w.add_uint32("smallthinker.attention.sliding_window_pattern", recipe.pattern)
    w.add_quantization_version(2)
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("qwen2")
    w.add_token_list(list(words.tokens))
    w.add_token_types(list(words.kinds))
    w.add_token_merges(list(words.merges))
    w.add_bos_token_id(words.special("<|endoftext|>"))
    w.add_pad_token_id(words.special("<|endoftext|>"))
    w.add_eos_token_id(words.special("<|im_end|>"))
    w.add_add_bos_token(False)
    if recipe.template is not None:
        w.add_chat_template(recipe.template)

    kept: dict[str, np.ndarray] = {}

    def put(name: str, held: np.ndarray, kind: str) -> None:
        raw = None if kind in ("F32", "F16") else Type[kind]
        w.add_tensor(f"{name}.weight", np.ascontiguousarray(held), raw_dtype=raw)

    fused: list[tuple[np.ndarray, str]] = []
    for name, value in (values or tensors(recipe)).items():
        always = value.ndim == 1 or name.endswith("ffn_gate_inp")
        kind = "F32" if always else recipe.type_of(name)
        if recipe.transposed and name.endswith("ffn_down_exps"):
            held, back = stored(np.ascontiguousarray(value.transpose(0, 2, 1)), kind, rng)
            back = back.transpose(0, 2, 1)
        else:
            held, back = stored(value, kind, rng)
        kept[name] = back
        if recipe.fused and name.endswith(("attn_q", "attn_k", "attn_v")):
            fused.append((held, kind))
            if name.endswith("attn_v"):
                put(name[:-1] + "qkv", np.concatenate([part for part, _ in fused]), kind)
                fused.clear()
        else:
            put(name, held, kind)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    return Model(path, kept, recipe.shape(), words, recipe)


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="models-", ignore_cleanup_errors=True)


def new_path() -> Path:
    """A path of its own for a file, thrown away with the process."""
    return Path(tempfile.mkdtemp(dir=_folder().name)) / "model.gguf"


@functools.cache
def model(recipe: Recipe) -> Model:
    """The model of a recipe, made once a process and thrown away with it."""
    return write(recipe, Path(_folder().name) / f"{abs(hash(recipe)):x}.gguf")


def scripted(
    table: np.ndarray, path: Path, context: int = 512, broken: Sequence[int] = (), **kwargs: Any
) -> Model:
    """A model whose logits after token t are `table[t]` ([V, V]), and NaN after those that are `broken`."""
    size = len(table)
    small = {"layers": 1, "heads": 1, "kv_heads": 1, "experts": 2, "used": 1}
    recipe = Recipe(hidden=size, vocab=size, context=context, **small, **kwargs)
    values = {name: np.zeros_like(value) for name, value in tensors(recipe).items()}
    values["token_embd"] = np.eye(size)
    values["token_embd"][list(broken)] = np.nan
    values["output_norm"] = np.ones(size)
    values["output"] = np.asarray(table, np.float64).T / np.sqrt(size) * np.sqrt(1 + recipe.eps * size)
    return write(recipe, path, values)


def script(vocab: int, *chains: Sequence[int], sure: float = 30.0) -> np.ndarray:
    """A table by which each chain's tokens follow one another."""
    table = np.zeros((vocab, vocab))
    for chain in chains:
        for here, then in itertools.pairwise(chain):
            if table[here].any():
                raise ValueError(f"token {here} is twice in the script")
            table[here, then] = sure
    return table


# broken files


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
_FORMS = dict(zip((U8, I8, U16, I16, U32, I32, F32, BOOL, U64, I64, F64), "BbHhIif?Qqd", strict=True))


@dataclass
class RawTensor:
    name: bytes
    dims: list[int]
    """As in the file: the innermost first."""
    type: int
    offset: int


@dataclass
class Raw:
    """A GGUF file in its parts; `data()` puts them together again, however wrong they are by then."""

    magic: bytes
    version: int
    keys: dict[str, tuple[int, bytes]]
    """Name to (type, the value's bytes)."""
    tensors: list[RawTensor]
    body: bytes
    """All tensor data."""
    alignment: int = 32
    tensor_count: int | None = None
    key_count: int | None = None

    @classmethod
    def read(cls, path: Path) -> Raw:
        data = path.read_bytes()
        magic, version, tensor_count, key_count = struct.unpack_from("<4sIQQ", data)
        at = 24

        def take(form: str) -> Any:
            nonlocal at
            (value,) = struct.unpack_from(form, data, at)
            at += struct.calcsize(form)
            return value

        def string() -> bytes:
            nonlocal at
            length = take("<Q")
            at += length
            return data[at - length : at]

        def skip(kind: int) -> None:
            nonlocal at
            if kind == STRING:
                string()
            elif kind == ARRAY:
                inner, count = take("<I"), take("<Q")
                for _ in range(count):
                    skip(inner)
            else:
                take("<" + _FORMS[kind])

        keys = {}
        for _ in range(key_count):
            name, kind = string().decode(), take("<I")
            start = at
            skip(kind)
            keys[name] = (kind, data[start:at])
        infos = []
        for _ in range(tensor_count):
            name = string()
            dims = [take("<Q") for _ in range(take("<I"))]
            infos.append(RawTensor(name, dims, take("<I"), take("<Q")))
        return cls(magic, version, keys, infos, data[-(-at // 32) * 32 :])

    def set(self, key: str, kind: int, value: Any) -> Raw:
        """Sets a key of `smallthinker.` (or any with a dot in front: the whole name)."""
        name = key[1:] if key.startswith(".") else f"smallthinker.{key}"
        if not isinstance(value, bytes):
            value = text(value) if kind == STRING else struct.pack("<" + _FORMS[kind], value)
        self.keys[name] = (kind, value)
        return self

    def drop(self, *globs: str) -> Raw:
        """Takes tensors away whose name matches."""
        self.tensors = [t for t in self.tensors if not any(fnmatch(t.name.decode(), g) for g in globs)]
        return self

    def tensor(self, name: str) -> RawTensor:
        return next(t for t in self.tensors if t.name.decode() == name)

    def header(self) -> bytes:
        keys, infos = len(self.keys), len(self.tensors)
        out = struct.pack("<4sI", self.magic, self.version)
        out += struct.pack("<Q", infos if self.tensor_count is None else self.tensor_count)
        out += struct.pack("<Q", keys if self.key_count is None else self.key_count)
        for name, (kind, raw) in self.keys.items():
            out += text(name) + struct.pack("<I", kind) + raw
        for t in self.tensors:
            out += text(t.name) + struct.pack(f"<I{len(t.dims)}QIQ", len(t.dims), *t.dims, t.type, t.offset)
        return out

    def data(self) -> bytes:
        head = self.header()
        return head + b"\0" * (-len(head) % self.alignment) + self.body
