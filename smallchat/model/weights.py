"""The tensors of one SmallThinker, by their part in the forward pass; all shapes held against the config.

Names and shapes (NumPy order) are those of llama.cpp's GGUFs. PowerInfer's files hold the down projections
transposed, [E, ff, d]: the shape tells.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from smallchat.errors import ModelError
from smallchat.kernels import Matrix
from smallchat.kernels.quants import LAYOUTS, TensorType, dequantise, row_bytes
from smallchat.kernels.repack import ROWS, repack
from smallchat.model.config import ModelConfig
from smallchat.model.gguf import DAMAGED, GgufFile, TensorInfo

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]


PREDICTOR = "lm_head_profiler.weight"


@dataclass(frozen=True, slots=True, eq=False)
class ExpertTensor:
    """One of gate, up and down of a layer: E matrices of one type and shape, one behind the other."""

    info: TensorInfo
    rows: int
    cols: int

    @property
    def repackable(self) -> bool:
        """Whether rows can be interleaved."""
        return self.info.kind is TensorType.Q4_0 and not self.rows % ROWS

    @property
    def stride(self) -> int:
        """Bytes of one expert's matrix."""
        return self.rows * row_bytes(self.info.kind, self.cols)

    @property
    def block(self) -> int:
        """Weights of a block of the type."""
        return LAYOUTS[self.info.kind].weights

    def matrix(self, data: Bytes, repacked: bool = False) -> Matrix:
        """One expert's matrix over its bytes, uint8 [stride]; `repacked`: those that `repack` has made."""
        kind = TensorType.Q4_0_8X8 if repacked and self.repackable else self.info.kind
        return Matrix(kind, self.rows, self.cols, data.reshape(self.rows, -1))

    def repack(self, data: Bytes) -> Bytes:
        """One expert's bytes, uint8 [stride], with rows interleaved where they may be."""
        return repack(data.reshape(self.rows, -1)).reshape(-1) if self.repackable else data


class ExpertMatrices(NamedTuple):
    """The three projections of one expert."""

    gate: Matrix
    up: Matrix
    down: Matrix


@dataclass(frozen=True, slots=True, eq=False)
class LayerWeights:
    """One layer. Experts are only located here: they are fetched through `smallchat.experts`."""

    attention_norm: Floats  # [d]
    feed_forward_norm: Floats  # [d]
    router: Floats  # [E, d]
    q: Matrix  # [H·D, d]
    k: Matrix  # [KV·D, d]
    v: Matrix  # [KV·D, d]
    output: Matrix  # [d, H·D]
    gate: ExpertTensor  # E × [ff, d]
    up: ExpertTensor  # E × [ff, d]
    down: ExpertTensor  # E × [d, ff], or E × [ff, d] where transposed
    down_transposed: bool

    def expert(self, gate: Bytes, up: Bytes, down: Bytes, repacked: bool = False) -> ExpertMatrices:
        """One expert's matrices over their bytes, uint8 [stride] each."""
        return ExpertMatrices(
            self.gate.matrix(gate, repacked), self.up.matrix(up, repacked), self.down.matrix(down, repacked)
        )

    @property
    def repackable(self) -> bool:
        """Whether an expert of this layer can be repacked: in part, where `down` is of another type. Of a
        transposed file neurons are left out one by one, which is better.
        """
        return self.gate.repackable and self.up.repackable and not self.down_transposed


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """All tensors of a model."""

    embedding: Matrix  # [V, d]
    layers: tuple[LayerWeights, ...]
    output_norm: Floats  # [d]
    head: Matrix  # [V, d]; the embedding itself where the file ties them
    predictor: tuple[Matrix, Matrix] | None
    """W1 [h, d] and W2 [V, h] of PowerInfer's LM head predictor, where the file has one."""
    dense_bytes: int
    """Bytes of what every token reads: all but the experts, and the embedding unless it is the head."""
    expert_bytes: int
    """Bytes of all experts of all layers."""
    quantisation: str
    """Type of most expert weights, as "Q4_0"."""


def read_weights(gguf: GgufFile, config: ModelConfig) -> Weights:
    """Locate and check every tensor. Raises `ModelError` that names what is missing or misshapen."""
    if not any(name.endswith("_exps.weight") for name in gguf.tensors):
        what = f"{gguf.path} is a no-MoE file: it holds no experts (its ffn_*_exps tensors are missing)"
        raise ModelError(what, "Take the full GGUF of the model; experts in a separate bundle are not read")
    return _Reader(gguf, config).read()


class _Reader:
    def __init__(self, gguf: GgufFile, config: ModelConfig) -> None:
        self.gguf, self.config = gguf, config

    def read(self) -> Weights:
        config, d = self.config, self.config.hidden
        # All is checked first: a view made before a later tensor turns out wrong would keep the file open.
        self.check_all()
        embedding = self.matrix("token_embd.weight", config.vocabulary, d)
        tied = "output.weight" not in self.gguf.tensors
        head = embedding if tied else self.matrix("output.weight", config.vocabulary, d)
        layers = tuple(self.layer(index) for index in range(config.layers))
        experts = sum(t.info.size for layer in layers for t in (layer.gate, layer.up, layer.down))
        dense = sum(tensor.size for tensor in self.gguf.tensors.values()) - experts
        if not tied:
            dense -= self.gguf.tensors["token_embd.weight"].size
        return Weights(
            embedding=embedding,
            layers=layers,
            output_norm=self.floats("output_norm.weight", d),
            head=head,
            predictor=self.predictor(),
            dense_bytes=dense,
            expert_bytes=experts,
            quantisation=layers[-1].gate.info.kind.name,
        )

    def predictor(self) -> tuple[Matrix, Matrix] | None:
        """`lm_head_profiler.weight`: W1 and W2 one behind the other, in one dimension."""
        info = self.gguf.tensors.get(PREDICTOR)
        if info is None:
            return None
        d, vocabulary = self.config.hidden, self.config.vocabulary
        inner, rest = divmod(math.prod(info.shape), d + vocabulary)
        block = LAYOUTS[info.kind].weights
        if rest or not inner or inner % block or d % block:
            what = f"{self.gguf.path}: the tensor {PREDICTOR!r} is {info.shape}, no h · ({d} + {vocabulary})"
            raise ModelError(what, DAMAGED)
        data, border = self.gguf.bytes_of(info), inner * row_bytes(info.kind, d)
        return (
            Matrix(info.kind, inner, d, data[:border].reshape(inner, -1)),
            Matrix(info.kind, vocabulary, inner, data[border:].reshape(vocabulary, -1)),
        )

    def check_all(self) -> None:
        config = self.config
        d, ff, experts = config.hidden, config.expert_width, config.experts
        self.tensor("token_embd.weight", (config.vocabulary, d))
        self.tensor("output_norm.weight", (d,))
        if "output.weight" in self.gguf.tensors:
            self.tensor("output.weight", (config.vocabulary, d))
        for index in range(config.layers):
            prefix = f"blk.{index}."
            self.tensor(prefix + "attn_norm.weight", (d,))
            self.tensor(prefix + "ffn_norm.weight", (d,))
            self.tensor(prefix + "ffn_gate_inp.weight", (experts, d))
            if prefix + "attn_qkv.weight" in self.gguf.tensors:
                self.tensor(prefix + "attn_qkv.weight", (config.query_width + 2 * config.kv_width, d))
            else:
                self.tensor(prefix + "attn_q.weight", (config.query_width, d))
                self.tensor(prefix + "attn_k.weight", (config.kv_width, d))
                self.tensor(prefix + "attn_v.weight", (config.kv_width, d))
            self.tensor(prefix + "attn_output.weight", (d, config.query_width))
            self.tensor(prefix + "ffn_gate_exps.weight", (experts, ff, d))
            self.tensor(prefix + "ffn_up_exps.weight", (experts, ff, d))
            self.tensor(prefix + "ffn_down_exps.weight", (experts, d, ff), (experts, ff, d))

    def layer(self, index: int) -> LayerWeights:
        config = self.config
        d, ff, experts, prefix = config.hidden, config.expert_width, config.experts, f"blk.{index}."
        q, k, v = self.qkv(prefix)
        down = self.tensor(prefix + "ffn_down_exps.weight", (experts, d, ff), (experts, ff, d))
        # Where ff = d the shape says nothing; the up projection's layout is then taken as the plain one.
        transposed = down.shape == (experts, ff, d) and ff != d
        return LayerWeights(
            attention_norm=self.floats(prefix + "attn_norm.weight", d),
            feed_forward_norm=self.floats(prefix + "ffn_norm.weight", d),
            router=self.floats(prefix + "ffn_gate_inp.weight", experts, d),
            q=q,
            k=k,
            v=v,
            output=self.matrix(prefix + "attn_output.weight", d, config.query_width),
            gate=ExpertTensor(self.tensor(prefix + "ffn_gate_exps.weight", (experts, ff, d)), ff, d),
            up=ExpertTensor(self.tensor(prefix + "ffn_up_exps.weight", (experts, ff, d)), ff, d),
            down=ExpertTensor(down, *down.shape[1:]),
            down_transposed=transposed,
        )

    def qkv(self, prefix: str) -> tuple[Matrix, Matrix, Matrix]:
        q, kv, d = self.config.query_width, self.config.kv_width, self.config.hidden
        if prefix + "attn_qkv.weight" in self.gguf.tensors:
            fused = self.matrix(prefix + "attn_qkv.weight", q + 2 * kv, d)
            return fused.slice(0, q), fused.slice(q, q + kv), fused.slice(q + kv, q + 2 * kv)
        return (
            self.matrix(prefix + "attn_q.weight", q, d),
            self.matrix(prefix + "attn_k.weight", kv, d),
            self.matrix(prefix + "attn_v.weight", kv, d),
        )

    def matrix(self, name: str, rows: int, cols: int) -> Matrix:
        info = self.tensor(name, (rows, cols))
        return Matrix(info.kind, rows, cols, self.gguf.bytes_of(info).reshape(rows, -1))

    def floats(self, name: str, *shape: int) -> Floats:
        """A small tensor as float32, whatever its type; float32 stays a view."""
        info = self.tensor(name, shape)
        return dequantise(
            info.kind, self.gguf.bytes_of(info).reshape(-1, row_bytes(info.kind, shape[-1]))
        ).reshape(shape)

    def tensor(self, name: str, *shapes: tuple[int, ...]) -> TensorInfo:
        info = self.gguf.tensors.get(name)
        if info is None:
            raise ModelError(f"{self.gguf.path} lacks the tensor {name!r}", DAMAGED)
        if info.shape not in shapes:
            what = f"{self.gguf.path}: the tensor {name!r} is {info.shape}, the metadata says {shapes[0]}"
            raise ModelError(what, DAMAGED)
        if len(info.shape) == 1 and info.kind not in (TensorType.F32, TensorType.F16, TensorType.BF16):
            raise ModelError(f"{self.gguf.path}: {name!r} is of type {info.kind.name}", DAMAGED)
        return info
