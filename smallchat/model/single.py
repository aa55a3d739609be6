"""One token through all layers: the same computation as `Decoder`, with all that can be made beforehand made.

A token has a thousand small steps, and in Python each costs a microsecond or more beside its work. So
buffers, views and ggml graphs stand ready: what is left of a layer is eight calls into ggml and about twenty
of NumPy's. `Decoder` says what is computed, and the tests hold this to it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from smallchat.kernels.ggml import NOT_IN_GGML, GgmlKernels
from smallchat.kernels.ggml_abi import Graph, address_of
from smallchat.kernels.quants import TensorType, row_bytes
from smallchat.model.attention import Group, Rotation
from smallchat.model.config import Gating
from smallchat.model.kv_cache import STEP, KVCache, LayerCache
from smallchat.model.share import Piece, neuron_unit
from smallchat.model.weights import LayerWeights, Weights

if TYPE_CHECKING:
    from smallchat.model.decoder import Decoder

Floats = npt.NDArray[np.float32]


class SingleToken:
    """The layers of one decoder over one KV cache."""

    def __init__(self, decoder: Decoder, kernels: GgmlKernels, cache: KVCache) -> None:
        """Raises nothing; see `fits` for what it needs."""
        config = self._config = decoder.config
        self.cache, self._kernels, self._experts = cache, kernels, decoder.experts
        self._team = team = decoder.team
        self._layers = decoder.weights.layers
        self._attention_shares = decoder.attention_shares
        self._pieces = [
            decoder.share.experts([1] * config.experts_used, config.expert_width, neuron_unit(layer))
            for layer in self._layers
        ]
        size, kv = config.head_size, decoder.kv_heads
        (start, stop), _, groups = decoder.heads
        heads = stop - start
        self._logits = np.empty(config.experts, np.float32)
        self._normed = np.empty(config.hidden, np.float32)
        self._projected = np.empty((heads + 2 * kv, size), np.float32)
        self._q, self._k, self._v = np.split(self._projected, [heads, heads + kv])
        self._turned = _Turn(self._projected[: heads + kv], heads, config.rope_size, config.rope_base)
        # In every team these lie where they lie.
        self._heads_at = address_of(team.heads(1))
        self._rows = team.rows(1)[0]
        self._own_rows_at = address_of(self._rows) + decoder.output_rows[0] * 4
        mixed = team.heads(1).reshape(-1, size)[start:stop]
        self._readers = [_Reader(group, self._q, mixed) for group in groups]
        self._scores, self._scores_at = np.empty(0, np.float32), 0
        self._stores = [_Store(layer) for layer in cache.layers]
        self._graphs: dict[tuple[Any, ...], Any] = {}
        self.silent = self.neurons = 0
        """Neurons that ReLU made zero, of so many computed by this rank."""

    @staticmethod
    def fits(weights: Weights) -> bool:
        """Whether ggml knows all types of these weights."""
        kinds = {
            matrix.kind for layer in weights.layers for matrix in (layer.q, layer.k, layer.v, layer.output)
        }
        kinds |= {
            tensor.info.kind for layer in weights.layers for tensor in (layer.gate, layer.up, layer.down)
        }
        return not kinds & NOT_IN_GGML

    def layers(self, x: Floats, position: int) -> npt.NDArray[np.int64]:
        """x, float32 [d], is the token's embedding and becomes the last layer's output.

        Returns the experts that were used: int64 [layers, k].
        """
        config, team = self._config, self._team
        used, row = [], x[None]
        self._turned.to(position)
        for index, layer in enumerate(self._layers):
            experts, weights = self._route(x, layer.router)
            used.append(experts)
            groups = self._experts.expect(index, experts)
            self._norm(x, layer.attention_norm)
            self._attention(index, position, config.rotary[index])
            x += self._rows
            self._norm(x, layer.feed_forward_norm)
            self._feed_forward(index, layer, experts, weights, groups)
            team.add(row)
        return np.array(used, np.int64)

    def _route(self, x: Floats, router: Floats) -> tuple[list[int], list[float]]:
        """The chosen experts in order of their numbers, and their weights; see `smallchat.model.router`."""
        np.dot(router, x, out=self._logits)
        logits = self._logits.tolist()
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

    def _norm(self, x: Floats, scale: Floats) -> None:
        mean = float(np.dot(x, x)) / len(x) + self._config.rms_epsilon
        np.multiply(x, 1 / math.sqrt(mean) if mean > 0 else math.nan, out=self._normed)
        np.multiply(self._normed, scale, out=self._normed)

    def _attention(self, index: int, position: int, rotary: bool) -> None:
        share = self._attention_shares[index]
        if self._readers:
            store, capacity = self._stores[index], self._stores[index].cache.capacity
            graph, (q, k, v) = self._projections(share.q.kind, share.k.kind, share.v.kind)
            q.data, k.data, v.data = share.q.address, share.k.address, share.v.address
            graph()
            if rotary:
                self._turned.turn()
            else:
                np.multiply(self._q, self._turned.scale, out=self._q)
            store.put(position % capacity, self._k, self._v)
            for reader in self._readers:
                self._attend(store, reader, min(position + 1, capacity))
        self._team.meet()
        output = share.output
        if output.rows:
            product = self._kernels.product(output.kind)
            product(
                *(output.address, output.rows, output.cols, output.stride),
                *(self._heads_at, 1, self._own_rows_at, output.rows * 4),
            )
        self._team.meet()

    def _attend(self, store: _Store, group: _Reader, t: int) -> None:
        width, size = group.width, self._config.head_size
        # A whole number of steps of the half-precision product, whose rest is slow: what is beyond t weighs 0.
        padded = -(-t // STEP) * STEP if store.cache.transposed else t
        if width * padded > len(self._scores):
            self._scores = np.empty(2 * width * padded, np.float32)
            self._scores_at = address_of(self._scores)
        scores = self._scores[: width * padded].reshape(width, padded)
        product, at = self._kernels.product(store.cache.kind, "keys"), self._scores_at
        product(store.keys_at[group.kv], t, size, store.row, group.queries_at, width, at, padded * 4)
        # `softmax`, without memory of its own.
        seen, column = scores[:, :t], group.column
        np.maximum.reduce(seen, axis=1, keepdims=True, out=column)
        np.subtract(seen, column, out=seen)
        np.exp(seen, out=seen)
        np.add.reduce(seen, axis=1, keepdims=True, out=column)
        if store.cache.transposed:
            scores[:, t:] = 0
            values, product = store.values_at[group.kv], self._kernels.product(store.cache.kind, "values")
            product(values, size, padded, store.values_row, at, width, group.mixed_at, size * 4)
        else:
            group.mixed[:] = self._kernels.matmul_transposed(scores, store.values(group.kv, t))
        # Divided here: there are fewer numbers than scores.
        np.divide(group.mixed, column, out=group.mixed)

    def _feed_forward(
        self,
        index: int,
        layer: LayerWeights,
        experts: list[int],
        weights: list[float],
        groups: list[list[int]],
    ) -> None:
        part = self._team.part(1)
        pieces = self._pieces[index]
        if len(groups) > 1:  # a budget with room for less than a token's experts
            part.fill(0)
            for number, group in enumerate(groups):
                if number:
                    self._team.meet()
                    self._experts.bring(index, group)
                    self._team.meet()
                present = [piece for piece in pieces if experts[piece.expert] in group]
                part += self._computed(index, layer, experts, weights, present)
        else:
            part[:] = self._computed(index, layer, experts, weights, pieces)

    def _computed(
        self,
        index: int,
        layer: LayerWeights,
        experts: list[int],
        weights: list[float],
        pieces: list[Piece],
    ) -> Floats:
        """The weighted sum of these pieces' outputs, [d]."""
        if not pieces:
            return np.zeros(self._config.hidden, np.float32)
        computed = self._pieces_graph(layer, tuple(piece.stop - piece.start for piece in pieces))
        for piece, (gate, up, down) in zip(pieces, computed.tensors, strict=True):
            matrices = self._experts.fetch(index, experts[piece.expert])
            gate.data = matrices.gate.address + piece.start * computed.gate_row
            up.data = matrices.up.address + piece.start * computed.up_row
            if down is not None:
                down.data = matrices.down.address + piece.start // computed.down_block * computed.down_size
        computed.graph()
        hidden = computed.hidden
        self.neurons += hidden.size
        self.silent += hidden.size - int(np.count_nonzero(hidden))
        scale = np.array([weights[piece.expert] for piece in pieces], np.float32)
        if not layer.down_transposed:
            summed: Floats = np.dot(scale, computed.outputs)
            return summed
        out: Floats = np.zeros(self._config.hidden, np.float32)
        at = 0
        for piece, weight in zip(pieces, scale, strict=True):
            width = piece.stop - piece.start
            down = self._experts.fetch(index, experts[piece.expert]).down.slice(piece.start, piece.stop)
            out += self._kernels.matmul_transposed(hidden[None, at : at + width] * weight, down)[0]
            at += width
        return out

    def _projections(self, *kinds: TensorType) -> tuple[Graph, tuple[Any, Any, Any]]:
        """The product of q, k and v in one graph, and the tensors of their weights."""
        made = self._graphs.get(kinds)
        if made is None:
            graph, d = Graph(self._kernels.context), self._config.hidden
            normed = graph.tensor(TensorType.F32, 1, d, address_of(self._normed))
            weights = []
            for kind, output in zip(kinds, (self._q, self._k, self._v), strict=True):
                weights.append(graph.tensor(kind, output.size, d))
                graph.product(weights[-1], normed, address_of(output))
            graph.finish()
            made = self._graphs[kinds] = (graph, tuple(tensor.contents for tensor in weights))
        return made

    def _pieces_graph(self, layer: LayerWeights, widths: tuple[int, ...]) -> _PiecesGraph:
        key = (layer.gate.info.kind, layer.up.info.kind, layer.down.info.kind, layer.down_transposed, widths)
        made = self._graphs.get(key)
        if made is None:
            made = self._graphs[key] = _PiecesGraph(self._kernels, layer, widths, self._normed)
        return made


class _PiecesGraph:
    """relu(Wgate h) · (Wup h) for pieces of experts, and Wdown of each where that is not transposed."""

    def __init__(
        self, kernels: GgmlKernels, layer: LayerWeights, widths: tuple[int, ...], normed: Floats
    ) -> None:
        d = layer.gate.cols
        self.graph = graph = Graph(kernels.context)
        self.gate_row, self.up_row = (row_bytes(t.info.kind, d) for t in (layer.gate, layer.up))
        self.down_block, self.down_size = layer.down.block, row_bytes(layer.down.info.kind, layer.down.block)
        self.hidden = np.empty(sum(widths), np.float32)
        self.outputs = np.empty((len(widths), d), np.float32)
        self._between = np.empty((2, max(widths)), np.float32)
        gated, upped = (address_of(row) for row in self._between)
        inputs = graph.tensor(TensorType.F32, 1, d, address_of(normed))
        tensors, at = [], 0
        for width, output in zip(widths, self.outputs, strict=True):
            gate = graph.tensor(layer.gate.info.kind, width, d)
            up = graph.tensor(layer.up.info.kind, width, d)
            active = graph.relu(graph.product(gate, inputs, gated), gated)
            hidden = address_of(self.hidden[at : at + width])
            product = graph.times(active, graph.product(up, inputs, upped), hidden)
            down = None
            if not layer.down_transposed:
                kind = layer.down.info.kind
                down = graph.tensor(kind, d, width, stride=row_bytes(kind, layer.down.cols))
                graph.product(down, product, address_of(output))
            tensors.append((gate.contents, up.contents, None if down is None else down.contents))
            at += width
        graph.finish()
        self.tensors = tensors


class _Reader:
    """Query heads that read one KV head: where they lie, and where what they mix goes."""

    def __init__(self, group: Group, q: Floats, mixed: Floats) -> None:
        self.kv, self.width = group.kv, group.stop - group.start
        self.queries_at = address_of(q[group.start : group.stop])
        self.mixed = mixed[group.start : group.stop]
        self.mixed_at = address_of(self.mixed)
        self.column = np.empty((self.width, 1), np.float32)


class _Store:
    """A layer's keys and values as addresses and views."""

    def __init__(self, cache: LayerCache) -> None:
        self.cache = cache
        self.row = cache.keys.shape[-1]
        self.keys_at = [head.ctypes.data for head in cache.keys]
        self.values_at = [head.ctypes.data for head in cache.values]
        self.values_row = cache.values.strides[1]
        self._keys = self._values = None
        if cache.transposed:
            real = np.float32 if cache.kind is TensorType.F32 else np.float16
            self._keys, self._values = cache.keys.view(real), cache.values.view(real)

    def put(self, slot: int, k: Floats, v: Floats) -> None:
        """One token's keys and values, [KV, D] each."""
        if self._keys is None or self._values is None:
            self.cache.put(slot, k[None], v[None])
        else:
            self._keys[:, slot], self._values[:, :, slot] = k, v

    def values(self, head: int, t: int) -> Any:
        """The first `t` values of a head that lie token by token."""
        return self.cache.seen(t).values[head]


class _Turn:
    """RoPE of one position over queries and keys that lie together; queries are scaled by 1 / √D with it."""

    def __init__(self, heads: Floats, queries: int, size: int, base: float) -> None:
        """`heads` is [H + KV, D], the first `queries` of them queries; the first `size` dimensions turn."""
        self._size, self._base = size, base
        self.scale = np.float32(1 / math.sqrt(heads.shape[1]))
        self._scales = np.ones((len(heads), 1, 1), np.float32)
        self._scales[:queries] = self.scale
        self._pairs = heads[:, :size].reshape(len(heads), 2, size // 2)
        self._rest = heads[:queries, size:]
        self._cos, self._sin, self._kept, self._crossed = np.empty((4, *self._pairs.shape), np.float32)

    def to(self, position: int) -> None:
        """Angles of this position from now on."""
        at = Rotation.at(np.array([position]), self._size, self._base)
        np.multiply(self._scales, at.cos, out=self._cos)
        np.multiply(self._scales, np.concatenate([-at.sin, at.sin], axis=1), out=self._sin)

    def turn(self) -> None:
        """Turn and scale in place."""
        np.multiply(self._pairs, self._cos, out=self._kept)
        np.multiply(self._pairs[:, ::-1], self._sin, out=self._crossed)
        np.add(self._kept, self._crossed, out=self._pairs)
        if self._rest.size:
            np.multiply(self._rest, self.scale, out=self._rest)
