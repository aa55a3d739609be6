"""GGUFs with a released model's exact shapes and made-up weights: they measure speed, never quality.

What decides the speed of an engine with sparse experts is built in (report, arXiv 2507.20984, on expert
activation and on ReGLU): a minority of a layer's experts takes most tokens, yet tokens differ in their
experts; most neurons of an expert are zero, more in the first layers.

How: 32 hidden dimensions hold the same number in every token, no layer writes to them, and routers and gate
rows read them as a bias. All other weights have a mean of zero, and layers add little to what the embedding
says: so tokens stay as different in the last layer as in the first.

Measured on 512 (4B) and 320 (21B) random byte tokens in one context, ggml, layers' lowest to highest: the
busiest 30 % of a layer's experts take 0.69 to 0.73 (4B) and 0.68 to 0.76 (21B) of all uses, the busiest one
0.65 to 0.81 of the tokens; all 32 are used in every layer of the 4B, 63 or 64 of 64 in the 21B. A cache that
holds 30 % of each layer, least recently used out, would hit 0.56 and 0.57. Of the used experts' neurons 0.90
are zero in the first two layers, 0.65 in the others.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numpy.random import SFC64, Generator

from smallchat.kernels.quants import TensorType, row_bytes
from smallchat.model.card import MADE_UP
from smallchat.model.config import ARCHITECTURE, Gating
from smallchat.model.tokenizer import BYTE_OF

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

RECIPE = 1
"""Counts up when other weights are made; a file of another recipe is not used again."""

CONSTANT_DIMS = 32
"""Hidden dimensions that never change: one block of Q4_0."""
CONSTANT = 4.0
"""What they hold, where the others have a standard deviation of 1."""

PREFERENCE = 0.6
"""How much a router's experts differ in their mean logit, in standard deviations of what tokens add to it."""
SILENCE = (1.4, 0.4)
"""How far below zero a neuron's gate lies on average, in its standard deviations: first layers, others."""
FIRST_LAYERS = 2
SHARPNESS = 2.0
"""Standard deviation of attention's scores: enough that a token looks at a few others, not at all alike."""
ATTENTION_ADDS, EXPERTS_ADD = 0.03, 0.02
"""Variance that a layer adds to the residual: attention when it looks at one token, and the experts."""
ATTENTION_KEEPS = 0.3
"""Share of that variance which is left when it looks at several."""

_STD = 0.02  # of weights whose scale changes nothing


@dataclass(frozen=True, slots=True)
class Shape:
    """The numbers of a model; the names are those of `ModelConfig`."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    experts: int
    experts_used: int
    expert_width: int
    context: int
    gating: Gating
    window: int | None
    vocabulary: int = 151_936
    head_size: int = 128
    rope_base: float = 1.5e6


SHAPES = {
    "4b": Shape(32, 1536, 12, 2, 32, 4, 768, 32_768, Gating.SIGMOID, None),
    "21b": Shape(52, 2560, 28, 4, 64, 6, 768, 16_384, Gating.SOFTMAX, 4096),
}
"""The released models."""


class Tensor(NamedTuple):
    """One tensor before it is made: `shape` in NumPy's order."""

    name: str
    kind: TensorType
    shape: tuple[int, ...]
    make: Callable[[Generator], npt.NDArray[Any]]

    @property
    def size(self) -> int:
        """Bytes."""
        return math.prod(self.shape[:-1]) * row_bytes(self.kind, self.shape[-1])


def file_bytes(shape: Shape) -> int:
    """About how large the file will be: its tensors, and 40 bytes a token of the vocabulary."""
    return sum(tensor.size for tensor in _tensors(shape)) + 40 * shape.vocabulary


def label(name: str) -> str:
    """What the file of that model says of itself in its metadata under `MADE_UP`."""
    return f"{name}, recipe {RECIPE}"


def write(name: str, shape: Shape, path: Path, on_progress: Callable[[int, int], None]) -> None:
    """Write the file and see it safely on disk. Same name and shape: same weights, whatever the machine.

    `on_progress` hears (bytes done, of how many). One tensor is in memory at a time: 320 MB at most (21B).
    Raises `OSError`; what is then left under `path` is for the caller to remove.
    """
    import gguf  # not at the top: only this needs it, and it takes a while

    tensors = list(_tensors(shape))
    total, done = sum(tensor.size for tensor in tensors), 0
    writer = gguf.GGUFWriter(path, ARCHITECTURE)
    try:
        _metadata(writer, name, shape)
        for tensor in tensors:
            kind = gguf.GGMLQuantizationType(int(tensor.kind))
            writer.add_tensor_info(tensor.name, tensor.shape, np.dtype(np.float32), tensor.size, kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for number, tensor in enumerate(tensors):
            on_progress(done, total)
            writer.write_tensor_data(tensor.make(Generator(SFC64([RECIPE, number]))))
            done += tensor.size
        on_progress(done, total)
    finally:
        writer.close()
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def routes(layers: int, experts: int, used: int, tokens: int, seed: int = 0) -> npt.NDArray[np.int64]:
    """Experts of made-up tokens, int64 [tokens, layers, used], as such a model's routers choose them.

    Drawn without any weights: for what an expert cache would find, before there is a model.
    """
    random = Generator(SFC64([RECIPE, seed]))
    logits = random.standard_normal((tokens, layers, experts), np.float32)
    for layer in range(layers):
        logits[:, layer] += _preferences(random, experts)
    return np.argpartition(-logits, used - 1, axis=2)[:, :, :used].astype(np.int64)


def _metadata(writer: Any, name: str, shape: Shape) -> None:
    writer.add_name(f"{name} made up")
    writer.add_description("Made-up weights in the shapes of a SmallThinker: for speed, never for quality.")
    writer.add_string(MADE_UP, label(name))
    writer.add_file_type(2)  # mostly Q4_0
    writer.add_quantization_version(2)
    writer.add_block_count(shape.layers)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.hidden)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(shape.head_size)
    writer.add_value_length(shape.head_size)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_rope_dimension_count(shape.head_size)
    writer.add_feed_forward_length(shape.expert_width)
    writer.add_expert_feed_forward_length(shape.expert_width)
    writer.add_expert_count(shape.experts)
    writer.add_expert_used_count(shape.experts_used)
    writer.add_uint32(f"{ARCHITECTURE}.expert_gating_func", int(shape.gating))
    if shape.window:
        writer.add_sliding_window(shape.window)

    letters = {byte: letter for letter, byte in BYTE_OF.items()}
    tokens = [letters[bytes([byte])] for byte in range(256)] + ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    text, filler = len(tokens), shape.vocabulary - len(tokens)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens + [f"[PAD{text + index}]" for index in range(filler)])
    writer.add_token_types([1] * 256 + [3] * 3 + [5] * filler)
    writer.add_token_merges(["t h"])  # the key must be there; this one leads to no token, and so does nothing
    writer.add_bos_token_id(256)
    writer.add_pad_token_id(256)
    writer.add_eos_token_id(258)
    writer.add_add_bos_token(False)


def _tensors(shape: Shape) -> Iterator[Tensor]:
    """All tensors in the order of the file."""
    d, width, vocabulary = shape.hidden, shape.expert_width, shape.vocabulary
    q4, f32 = TensorType.Q4_0, TensorType.F32

    def ones(_: Generator) -> Floats:
        return np.ones(d, np.float32)

    def embedding(random: Generator) -> Bytes:
        rows = _q4_0(random, vocabulary, d, 1.0)
        return _constant(rows, np.full(vocabulary, CONSTANT))

    yield Tensor("token_embd.weight", q4, (vocabulary, d), embedding)
    yield Tensor(
        "output.weight", TensorType.Q6_K, (vocabulary, d), lambda random: _q6_k(random, vocabulary, d, _STD)
    )
    yield Tensor("output_norm.weight", f32, (d,), ones)
    variance = 1.0  # of the free dimensions of the residual
    for index in range(shape.layers):
        layer = _Layer(shape, index, variance)
        for name in ("attn_norm", "ffn_norm"):
            yield Tensor(f"blk.{index}.{name}.weight", f32, (d,), ones)
        q, kv = shape.heads * shape.head_size, shape.kv_heads * shape.head_size
        experts = shape.experts
        for name, kind, dimensions, make in (
            ("attn_q", q4, (q, d), layer.query),
            ("attn_k", q4, (kv, d), layer.key),
            ("attn_v", q4, (kv, d), layer.value),
            ("attn_output", q4, (d, q), layer.output),
            ("ffn_gate_inp", f32, (experts, d), layer.router),
            ("ffn_gate_exps", q4, (experts, width, d), layer.gate),
            ("ffn_up_exps", q4, (experts, width, d), layer.up),
            ("ffn_down_exps", q4, (experts, d, width), layer.down),
        ):
            yield Tensor(f"blk.{index}.{name}.weight", kind, dimensions, make)
        variance += EXPERTS_ADD + ATTENTION_KEEPS * ATTENTION_ADDS


class _Layer:
    """The tensors of one layer, scaled by how large the residual is there."""

    def __init__(self, shape: Shape, index: int, variance: float) -> None:
        """`variance` is that of the residual's free dimensions where the layer begins."""
        self.shape, self.silence = shape, SILENCE[index >= FIRST_LAYERS]
        free = (shape.hidden - CONSTANT_DIMS) * variance
        rms = math.sqrt((CONSTANT_DIMS * CONSTANT**2 + free) / shape.hidden)
        self.raw = math.sqrt(free)
        """Standard deviation of a product with the raw residual's free dimensions, for weights of 1."""
        self.normed = self.raw / rms
        """… and with the normed one."""
        self.constant = CONSTANT_DIMS * CONSTANT / rms
        """Sum of the constant dimensions of the normed residual."""

    def query(self, random: Generator) -> Bytes:
        return self._read(random, self.shape.heads * self.shape.head_size, math.sqrt(SHARPNESS) / self.normed)

    def key(self, random: Generator) -> Bytes:
        rows = self.shape.kv_heads * self.shape.head_size
        return self._read(random, rows, math.sqrt(SHARPNESS) / self.normed)

    def value(self, random: Generator) -> Bytes:
        return self._read(random, self.shape.kv_heads * self.shape.head_size, 1 / self.normed)

    def output(self, random: Generator) -> Bytes:
        cols = self.shape.heads * self.shape.head_size
        return self._write(random, 1, cols, math.sqrt(ATTENTION_ADDS / cols))

    def router(self, random: Generator) -> Floats:
        """float32 [E, d]: logits of deviation 1, and a mean of its own for each expert."""
        experts = self.shape.experts
        weights = random.standard_normal((experts, self.shape.hidden), np.float32) / np.float32(self.raw)
        weights[:, :CONSTANT_DIMS] = _preferences(random, experts)[:, None] / (CONSTANT_DIMS * CONSTANT)
        return weights

    def gate(self, random: Generator) -> Bytes:
        """Each neuron has a threshold of its own, spread around the layer's."""
        rows = self.shape.experts * self.shape.expert_width
        blocks = _q4_0(random, rows, self.shape.hidden, 1 / self.normed)
        below = self.silence * (1 + 0.3 * random.standard_normal(rows))
        return _constant(blocks, -below / self.constant)

    def up(self, random: Generator) -> Bytes:
        return self._read(random, self.shape.experts * self.shape.expert_width, 1 / self.normed)

    def down(self, random: Generator) -> Bytes:
        normal = NormalDist()
        z = self.silence
        # The mean square of what a neuron gives: relu(N − z) times an independent N.
        square = (1 + z * z) * normal.cdf(-z) - z * normal.pdf(z)
        std = math.sqrt(EXPERTS_ADD * self.shape.experts_used / (self.shape.expert_width * square))
        return self._write(random, self.shape.experts, self.shape.expert_width, std)

    def _read(self, random: Generator, rows: int, std: float) -> Bytes:
        """A matrix that reads the free dimensions only."""
        return _constant(_q4_0(random, rows, self.shape.hidden, std), np.zeros(rows))

    def _write(self, random: Generator, matrices: int, cols: int, std: float) -> Bytes:
        """Matrices, one behind the other, that write to the free dimensions only."""
        blocks = _q4_0(random, matrices * self.shape.hidden, cols, std)
        blocks.reshape(matrices, self.shape.hidden, -1, 18)[:, :CONSTANT_DIMS, :, :2] = 0
        return blocks


def _preferences(random: Generator, experts: int) -> npt.NDArray[np.float64]:
    """Mean logits of a layer's experts, [E].

    They are spread as an exponential distribution: few experts stand out, and none is out of reach.
    """
    means = -np.log(1 - (np.arange(experts) + 0.5) / experts)
    random.shuffle(means)
    return PREFERENCE * (means - 1)


def _noise(random: Generator, rows: int, size: int) -> Bytes:
    """Random bytes, uint8 [rows, size]."""
    words = random.integers(0, 1 << 64, -(-rows * size // 8), np.uint64)
    return words.view(np.uint8)[: rows * size].reshape(rows, size)


def _scale(blocks: Bytes, value: float) -> None:
    """Set the scale, uint8 [..., 2], to `value` or its negative, as the random bytes there say.

    Stored weights go from −8 to 7 (Q6_K: −32 to 31). One sign for all would give every matrix a mean below
    zero, and so all tokens something in common.
    """
    low, high = np.array([value], np.float16).view(np.uint8)
    blocks[..., 0] = low
    blocks[..., 1] = blocks[..., 1] & 0x80 | high


def _q4_0(random: Generator, rows: int, cols: int, std: float) -> Bytes:
    """Random Q4_0, uint8 [rows, cols / 32, 18]: a scale, then nibbles from 0 to 15 that mean −8 to 7."""
    blocks = _noise(random, rows, cols // 32 * 18).reshape(rows, -1, 18)
    _scale(blocks[..., :2], std / math.sqrt(np.mean(np.arange(-8, 8) ** 2)))
    return blocks


def _q6_k(random: Generator, rows: int, cols: int, std: float) -> Bytes:
    """Random Q6_K, uint8 [rows, cols / 256, 210]: 6-bit numbers, 16 scales of 8 bits, one of 16."""
    blocks = _noise(random, rows, cols // 256 * 210).reshape(rows, -1, 210)
    blocks[..., 192:208] = 16
    _scale(blocks[..., 208:], std / 16 / math.sqrt(np.mean(np.arange(-32, 32) ** 2)))
    return blocks


def _constant(blocks: Bytes, values: npt.NDArray[np.floating[Any]]) -> Bytes:
    """Set the first block of every row, [rows, blocks, 18], to that row's value."""
    # All nibbles 15, which mean 7.
    blocks[:, 0, :2] = (values / 7).astype("<f2").reshape(-1, 1).view(np.uint8)
    blocks[:, 0, 2:] = 0xFF
    return blocks
