"""One token through all layers: the same computation as `Decoder`, with all that can be made beforehand made.

A token has a thousand small steps. In Python each costs microseconds beside its work, more than in a
benchmark, because the weights that stream through the processor's cache push the interpreter out of it. So
what stands between the large products is computed by ggml in the same call, in four graphs a layer:

    enter     x += the ranks' parts of the layer before;  router logits R x
    attend    rmsnorm, q k v, RoPE, the KV cache's new entry, scores q kᵀ;  softmax is NumPy's, then  p v
    (meet)    this rank's rows of Wo
    experts   x += attention;  rmsnorm, gate, up, down of this rank's pieces and their weighted sum

`Decoder` says what is computed, and the tests hold this to it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate, chain, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from smallchat.kernels import Matrix, whole_numbers
from smallchat.kernels.ggml import NOT_IN_GGML, GgmlKernels, Product
from smallchat.kernels.ggml_abi import CONTEXT_TENSORS, GRAPH_TENSORS, address_of
from smallchat.kernels.quants import TensorType
from smallchat.model.attention import exponentials
from smallchat.model.config import Gating, ModelConfig
from smallchat.model.eight_bit import EightBitAttention
from smallchat.model.graphs import (
    AttentionGraph,
    Buffers,
    EnterGraph,
    ExpertsGraph,
    GateGraph,
    RepackedExperts,
    Store,
)
from smallchat.model.kv_cache import KVCache
from smallchat.model.share import Piece, neuron_unit
from smallchat.model.weights import ExpertMatrices, Weights

if TYPE_CHECKING:
    from smallchat.model.decoder import Decoder

Floats = npt.NDArray[np.float32]

SAMPLED = 8
"""Silent neurons are counted in one token of so many, and always where they are left out."""
SPARSE_BELOW = 0.22
"""Share of active neurons below which their up rows are gathered. Measured on Q4_0 rows out of memory:
gathering costs 134 ns a row, its product 70 cached, a row of the whole product 78."""
TENSORS, EXPERT_TENSORS, HEAD_TENSORS = 64, 14, 3
"""Tensors of all graphs of a layer at the most: those of any layer, and more for each expert that a token
uses and each KV head."""
STEP = 32
"""Numbers of a row that the half-precision product takes together."""
FADE = 0.5
"""Weight of the latest token in a layer's share of active neurons."""


class SingleToken:
    """The layers of one decoder over one KV cache."""

    def __init__(self, decoder: Decoder, kernels: GgmlKernels, cache: KVCache) -> None:
        """See `fits` for what it needs."""
        config = self._config = decoder.config
        self.cache, self._kernels, self._experts = cache, kernels, decoder.experts
        self._team, self._part = decoder.team, decoder.team.part(1)
        self._buffers = Buffers(config, decoder.heads, decoder.team)
        self._own_rows_at = address_of(self._buffers.rows) + decoder.output_rows[0] * 4
        self._enter = [EnterGraph(kernels.context, self._buffers, first) for first in (True, False)]
        self._whole: EightBitAttention | None = None
        if cache.layers[0].kind == "q8":
            projected, mixed = self._buffers.projected, self._buffers.mixed
            self._whole = EightBitAttention(projected, decoder.heads.groups, mixed, whole_numbers.choose())
        self._graphs: dict[tuple[object, ...], Any] = {}
        self._ask = kernels.product(TensorType.F32, "guess")
        self._guessed = np.empty(config.experts, np.float32)
        self._guessed_at = address_of(self._guessed)
        self._layers = [self._plan(index, decoder, Store(layer)) for index, layer in enumerate(cache.layers)]
        self._tokens = 0
        self.silent = self.neurons = 0
        """Neurons that ReLU made zero, of so many of this rank that were looked at."""

    @staticmethod
    def fits(weights: Weights, config: ModelConfig) -> bool:
        """Whether ggml knows all types of these weights, and has room for their graphs."""
        kinds = [
            (
                *(matrix.kind for matrix in (layer.q, layer.k, layer.v, layer.output)),
                *(tensor.info.kind for tensor in (layer.gate, layer.up, layer.down)),
            )
            for layer in weights.layers
        ]
        tensors = TENSORS + EXPERT_TENSORS * config.experts_used + HEAD_TENSORS * config.kv_heads
        unlike = len(set(zip(kinds, config.rotary, strict=True)))
        if tensors > GRAPH_TENSORS or tensors * unlike > CONTEXT_TENSORS:
            return False
        return NOT_IN_GGML.isdisjoint(chain(*kinds))

    def layers(self, x: Floats, position: int) -> npt.NDArray[np.int64]:
        """x, float32 [d], is the token's embedding and becomes the last layer's output.

        Returns the experts that were used: int64 [layers, k].
        """
        team, buffers = self._team, self._buffers
        buffers.x[:] = x
        buffers.turn_to(position)
        self._tokens += 1
        used = []
        enter = self._enter[0]
        for layer in self._layers:
            enter(layer.router)
            enter = self._enter[1]
            experts, weights = self._choose()
            used.append(experts)
            self._experts.expect(layer.index, experts)
            if self._experts.guesses:
                self._guess(layer.index + 1)
            if layer.attention is not None:
                self._attend(layer, layer.attention, position)
            team.meet()
            if layer.output is not None:
                layer.output_product(*layer.output)
            team.meet()
            self._feed_forward(layer, experts, weights)
            team.meet()
        for part in team.parts():
            buffers.x += part[0]
        x[:] = buffers.x
        return np.array(used, np.int64)

    def _choose(self) -> tuple[list[int], list[float]]:
        """The chosen experts in order of their numbers, and their weights; see `smallchat.model.router`."""
        logits = self._buffers.logits.tolist()
        # Stable, so that equal logits take the lower expert.
        chosen = sorted(range(len(logits)), key=logits.__getitem__, reverse=True)[: self._config.experts_used]
        top = logits[chosen[0]]
        chosen.sort()
        if self._config.gating is Gating.SIGMOID:
            raw = [1 / (1 + math.exp(-max(logits[expert], -700.0))) for expert in chosen]
        else:
            raw = [math.exp(min(logits[expert] - top, 0.0)) for expert in chosen]
        total = sum(raw)
        return chosen, [weight / total for weight in raw]

    def _guess(self, index: int) -> None:
        """Ask a layer's router before its turn: the residual changes little in one layer."""
        if index == len(self._layers):
            return
        buffers, guessed = self._buffers, self._guessed
        self._ask(
            *(self._layers[index].router, len(guessed), len(buffers.x), 4 * len(buffers.x)),
            *(address_of(buffers.x), 1, self._guessed_at, 4 * len(guessed)),
        )
        used = self._config.experts_used
        self._experts.guess(index, np.argpartition(guessed, -used)[-used:].tolist())

    def _attend(self, layer: _Layer, graph: AttentionGraph, position: int) -> None:
        buffers, store = self._buffers, layer.store
        slot, t = position % store.capacity, min(position + 1, store.capacity)
        if self._whole is not None:
            graph(layer.attention_norm, layer.projections, store, slot, t, t)
            self._whole(store.entries, slot, t)
            return
        # A whole number of steps of the half-precision product, whose rest is slow.
        padded = -(-t // STEP) * STEP
        scores = buffers.scores_of(padded)
        graph(layer.attention_norm, layer.projections, store, slot, t, padded)
        exponentials(scores[:, :t], buffers.column)
        scores[:, t:] = 0
        self._mix(store, padded)
        # Divided at the end, where there are fewer numbers.
        np.divide(buffers.mixed, buffers.column, out=buffers.mixed)

    def _mix(self, store: Store, t: int) -> None:
        """p v: the weights are `Buffers.scores`, [heads, t]."""
        size, product = self._config.head_size, self._kernels.product(store.kind, "values")
        for reader in self._buffers.readers:
            product(
                *(store.values_at[reader.kv], size, t, store.values_row),
                *(self._buffers.scores_at + reader.start * t * 4, reader.stop - reader.start),
                *(reader.mixed_at, size * 4),
            )

    def _feed_forward(self, layer: _Layer, experts: list[int], weights: list[float]) -> None:
        graph, pieces = layer.experts, layer.pieces
        fetch = self._experts.fetch
        matrices = [fetch(layer.index, experts[piece.expert], layer.whole) for piece in pieces]
        if matrices and matrices[0].gate.kind is TensorType.Q4_0_8X8:  # of all or of none
            used = [weights[piece.expert] for piece in pieces]
            neurons = self._repacked(len(pieces))(layer.feed_forward_norm, matrices, used)
            if self._tokens % SAMPLED == 1:
                self._count(layer, int(np.count_nonzero(neurons)), neurons.size)
            return
        if layer.active_share < SPARSE_BELOW:
            self._sparse(layer, matrices, weights)
            return
        graph(layer.feed_forward_norm, pieces, matrices, weights)
        if self._tokens % SAMPLED == 1:
            self._count(layer, int(np.count_nonzero(graph.hidden)), graph.hidden.size)
        if not graph.sums:
            borders = accumulate((piece.stop - piece.start for piece in pieces), initial=0)
            hidden = [graph.hidden[start:stop] for start, stop in pairwise(borders)]
            self._sum_down(layer, matrices, hidden)

    def _repacked(self, count: int) -> RepackedExperts:
        """What computes so many whole experts with interleaved rows."""
        width, part = self._config.expert_width, self._part[0]
        made: RepackedExperts = self._kept(
            ("repacked", count), lambda: RepackedExperts(self._kernels, self._buffers, width, count, part)
        )
        return made

    def _sparse(self, layer: _Layer, matrices: list[ExpertMatrices], weights: list[float]) -> None:
        """The same with the up rows of active neurons only, gathered first: it pays where they are few."""
        layer.gate(layer.feed_forward_norm, layer.pieces, matrices)
        normed, all_hidden, count = self._buffers.normed[None], [], 0
        for piece, found, hidden in zip(layer.pieces, matrices, layer.gate.active, strict=True):
            active = np.flatnonzero(hidden)
            all_hidden.append(hidden)
            if not len(active):
                continue
            count += len(active)
            up = found.up
            rows = np.take(up.data[piece.start : piece.stop], active, axis=0, mode="clip")
            product = self._kernels.matmul(normed, Matrix(up.kind, len(active), up.cols, rows))
            hidden[active] *= product[0] * np.float32(weights[piece.expert])
        self._count(layer, count, sum(len(hidden) for hidden in all_hidden))
        self._sum_down(layer, matrices, all_hidden)

    def _sum_down(self, layer: _Layer, matrices: list[ExpertMatrices], hidden: list[Floats]) -> None:
        """This rank's part: the sum of Wdown's products with each piece's hidden."""
        self._part.fill(0)
        for piece, found, one in zip(layer.pieces, matrices, hidden, strict=True):
            if layer.down_transposed:
                down = found.down.slice(piece.start, piece.stop)
                self._part += self._kernels.matmul_transposed(one[None], down)
            else:
                self._part += self._kernels.matmul(one[None], found.down.columns(piece.start, piece.stop))

    def _count(self, layer: _Layer, active: int, neurons: int) -> None:
        self.neurons += neurons
        self.silent += neurons - active
        if neurons:
            layer.active_share += (active / neurons - layer.active_share) * FADE

    def _plan(self, index: int, decoder: Decoder, store: Store) -> _Layer:
        layer, share = decoder.weights.layers[index], decoder.attention_shares[index]
        context, buffers, rotary = self._kernels.context, self._buffers, self._config.rotary[index]
        ones = [1.0] * self._config.experts_used
        pieces = decoder.share.experts(ones, self._config.expert_width, neuron_unit(layer))
        widths = tuple(piece.stop - piece.start for piece in pieces)
        attention = None
        if buffers.readers:  # there may be more ranks than heads
            attention = self._kept(
                ("attention", share.q.kind, share.k.kind, share.v.kind, rotary),
                lambda: AttentionGraph(self._kernels, buffers, share, store, rotary),
            )
        kinds = (layer.gate.info.kind, layer.up.info.kind, layer.down.info.kind)
        output = share.output
        return _Layer(
            index=index,
            router=layer.router.ctypes.data,
            attention_norm=layer.attention_norm.ctypes.data,
            feed_forward_norm=layer.feed_forward_norm.ctypes.data,
            attention=attention,
            projections=(share.q.address, share.k.address, share.v.address),
            store=store,
            output_product=self._kernels.product(output.kind, "output"),
            output=(
                *(output.address, output.rows, output.cols, output.stride),
                *(buffers.heads_at, 1, self._own_rows_at, output.rows * 4),
            )
            if output.rows
            else None,
            experts=self._kept(
                ("experts", *kinds, layer.down_transposed, widths),
                lambda: ExpertsGraph(context, buffers, layer, widths, address_of(self._part)),
            ),
            gate=self._kept(("gate", kinds[0], widths), lambda: GateGraph(context, buffers, layer, widths)),
            pieces=pieces,
            whole=all(width == self._config.expert_width for width in widths),
            down_transposed=layer.down_transposed,
        )

    def _kept(self, key: tuple[object, ...], make: Callable[[], Any]) -> Any:
        """One graph for all layers that are alike."""
        if key not in self._graphs:
            self._graphs[key] = make()
        return self._graphs[key]


@dataclass(slots=True)
class _Layer:
    """What a layer's steps need: addresses, and graphs that are shared with layers like it."""

    index: int
    router: int
    attention_norm: int
    feed_forward_norm: int
    attention: AttentionGraph | None
    projections: tuple[int, int, int]
    store: Store
    output_product: Product
    output: tuple[int, ...] | None
    """Arguments of that product; None where this rank has no row."""
    experts: ExpertsGraph
    gate: GateGraph
    pieces: list[Piece]
    whole: bool
    """Whether those are whole experts."""
    down_transposed: bool
    active_share: float = 1.0
    """Share of neurons that were active lately: what decides how the next token is computed."""
