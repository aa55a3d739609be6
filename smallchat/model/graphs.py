"""The ggml graphs of `SingleToken`: made once for the types of a layer's weights, pointed at each layer in
turn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from smallchat.kernels import Matrix
from smallchat.kernels.ggml import GgmlKernels, Product
from smallchat.kernels.ggml_abi import Context, Graph, address_of
from smallchat.kernels.quants import TensorType, row_bytes
from smallchat.model.attention import Group, Rotation
from smallchat.model.config import ModelConfig
from smallchat.model.kv_cache import LayerCache
from smallchat.model.share import HeadShare, Piece
from smallchat.model.team import Team
from smallchat.model.weights import ExpertMatrices, LayerWeights

if TYPE_CHECKING:
    from smallchat.model.decoder import AttentionShare

Floats = npt.NDArray[np.float32]
F32 = TensorType.F32


class Buffers:
    """What lies between the products of a token, always at the same places."""

    def __init__(self, config: ModelConfig, heads: HeadShare, team: Team) -> None:
        size, d = config.head_size, config.hidden
        (start, stop), (first, last), groups = heads
        count, kv = stop - start, last - first
        self.config, self.parts = config, team.parts()
        self.x, self.normed = np.empty((2, d), np.float32)
        self.logits = np.empty(config.experts, np.float32)
        self.projected = np.empty((count + 2 * kv, size), np.float32)
        self.q, self.k, self.v = np.split(self.projected, [count, count + kv])
        self.heads_at, self.rows = address_of(team.heads(1)), team.rows(1)[0]
        self.mixed = team.heads(1).reshape(-1, size)[start:stop]
        self.readers = [Reader(group, self.q, self.mixed) for group in groups]
        self.column = np.empty((count, 1), np.float32)
        self.scores, self.scores_at = np.empty(1, np.float32), 0
        # Queries and keys lie together, and turn together; queries are scaled by 1 / √D with it.
        self.turning = self.projected[: count + kv]
        self.scales = np.ones((count + kv, 1), np.float32)
        self.scales[:count] = 1 / math.sqrt(size)
        self.cos, self.sin, self.minus_sin = np.empty((3, count + kv, config.rope_size // 2), np.float32)

    def turn_to(self, position: int) -> None:
        """Angles of RoPE for this position, float32 [H + KV, pairs] each."""
        at = Rotation.at(np.array([position]), self.config.rope_size, self.config.rope_base)
        np.multiply(self.scales, at.cos[0], out=self.cos)
        np.multiply(self.scales, at.sin[0], out=self.sin)
        np.negative(self.sin, out=self.minus_sin)

    def scores_of(self, t: int) -> Floats:
        """Room for scores, [heads, t]."""
        count = len(self.column) * t
        if count > self.scores.size:
            self.scores = np.empty(2 * count, np.float32)
            self.scores_at = address_of(self.scores)
        return self.scores[:count].reshape(-1, t)


class Reader:
    """Query heads that read one KV head: where they lie, and where what they mix goes."""

    def __init__(self, group: Group, q: Floats, mixed: Floats) -> None:
        self.kv, self.start, self.stop = group
        self.queries_at = address_of(q[self.start : self.stop])
        self.mixed = mixed[self.start : self.stop]
        self.mixed_at = address_of(self.mixed)


class Store:
    """A layer's keys and values, and where they lie."""

    def __init__(self, cache: LayerCache) -> None:
        self.entries, self.capacity = cache.entries, cache.capacity
        keys, values, _ = cache.entries
        self.number = keys.itemsize
        self.kind = F32 if self.number == 4 else TensorType.F16  # where it is not whole numbers
        self.row, self.values_row = keys.strides[1], values.strides[1]
        self.keys_at = [head.ctypes.data for head in keys]
        self.values_at = [head.ctypes.data for head in values]


class EnterGraph:
    """x += the ranks' parts of the layer before (not for the first); router logits R x."""

    def __init__(self, context: Context, buffers: Buffers, first: bool) -> None:
        self._graph = graph = Graph(context)
        d, at = len(buffers.x), address_of(buffers.x)
        x = graph.tensor(F32, 1, d, at)
        for part in [] if first else buffers.parts:
            x = graph.plus(x, graph.tensor(F32, 1, d, address_of(part)), at)
        router = graph.tensor(F32, len(buffers.logits), d)
        graph.product(router, x, address_of(buffers.logits))
        graph.finish()
        self._router = router.contents

    def __call__(self, router: int) -> None:
        """`router` is the address of R."""
        self._router.data = router
        self._graph()


class AttentionGraph:
    """rmsnorm, q k v, RoPE or the scale alone; and, where ggml knows the KV cache's type, its new entry and
    q kᵀ."""

    def __init__(
        self, kernels: GgmlKernels, buffers: Buffers, share: AttentionShare, store: Store, rotary: bool
    ) -> None:
        graph = first = Graph(kernels.context)
        self._buffers = buffers
        self._kept: list[npt.NDArray[np.float32]] = []  # what only the graph knows of
        d, x = len(buffers.x), graph.tensor(F32, 1, len(buffers.x), address_of(buffers.x))
        self._norm, normed = _normed(graph, buffers, x)
        self._weights: list[Any] = []  # tensors of the graph; None: the product is none of it
        self._apart: list[tuple[int, Product, tuple[int, ...]]] = []  # which of the three, and its product
        for number, (matrix, output) in enumerate(
            zip(share, (buffers.q, buffers.k, buffers.v), strict=False)
        ):
            if matrix.kind is TensorType.Q4_0_8X8:
                shape = (output.size, d, matrix.stride, address_of(buffers.normed), 1, address_of(output), 0)
                self._apart.append((number, kernels.product(matrix.kind, "projection"), shape))
                self._weights.append(None)
                continue
            tensor = graph.tensor(matrix.kind, output.size, d)
            graph.product(tensor, normed, address_of(output))
            self._weights.append(tensor.contents)
        if self._apart:
            graph.finish()
            graph = Graph(kernels.context)
        self._first, self._graph = first, graph
        if rotary:
            self._rotate(graph)
        else:
            queries = _heads(graph, buffers.q)
            scale = np.full((1, 1), buffers.scales[0, 0], np.float32)
            self._kept.append(scale)
            graph.scaled(queries, graph.tensor(F32, 1, 1, address_of(scale)), address_of(buffers.q))
        self._entries: list[Any] = []
        self._keys: list[Any] = []
        if store.entries.scales is None:
            self._store_and_score(graph, store)
        graph.finish()

    def __call__(
        self, norm: int, projections: tuple[int, int, int], store: Store, slot: int, t: int, padded: int
    ) -> None:
        """Addresses of the norm's scale and of Wq, Wk, Wv. `slot` is the token's place in the cache, which
        then holds `t`; scores get rows of `padded`.
        """
        self._norm.data = norm
        for tensor, address in zip(self._weights, projections, strict=True):
            if tensor is not None:
                tensor.data = address
        if self._entries:
            keys, values = self._entries
            keys.data = store.keys_at[0] + slot * store.row
            values.data = store.values_at[0] + slot * store.number
            for reader, (matrix, scores) in zip(self._buffers.readers, self._keys, strict=True):
                matrix.data = store.keys_at[reader.kv]
                scores.data = self._buffers.scores_at + reader.start * padded * 4
                if matrix.ne[1] != t or scores.nb[1] != padded * 4:
                    matrix.ne[1] = scores.ne[0] = t
                    matrix.nb[2] = matrix.nb[3] = matrix.nb[1] * t
                    scores.nb[1] = padded * 4
                    scores.nb[2] = scores.nb[3] = padded * 4 * scores.ne[1]
        if self._apart:
            self._first()
            for number, product, shape in self._apart:
                product(projections[number], *shape)
        self._graph()

    def _rotate(self, graph: Graph) -> None:
        """Pairs (i, i + size/2) of each head: (a cos − b sin, a sin + b cos), and the rest scaled."""
        buffers = self._buffers
        heads, half, row = buffers.turning, buffers.cos.shape[1], buffers.turning.strides[0]
        at = address_of(heads)
        first, second = (graph.tensor(F32, len(heads), half, at + part * half * 4, row) for part in (0, 1))
        cos, sin, minus_sin = (
            graph.tensor(F32, len(heads), half, address_of(table))
            for table in (buffers.cos, buffers.sin, buffers.minus_sin)
        )
        between = np.empty((4, len(heads), half), np.float32)
        self._kept.append(between)
        a, b, c, e = (address_of(array) for array in between)
        products = [
            graph.times(first, cos, a),
            graph.times(second, minus_sin, b),
            graph.times(first, sin, c),
            graph.times(second, cos, e),
        ]
        for node, left, right in ((first, *products[:2]), (second, *products[2:])):
            # Summed where they lie, and copied into the strides of the heads.
            graph.copied(graph.plus(left, right, left.contents.data), node)
        if 2 * half < heads.shape[1]:
            rest = heads[:, 2 * half :]
            scales = np.ascontiguousarray(np.broadcast_to(buffers.scales, rest.shape))
            scaled = np.empty_like(scales)
            self._kept += [scales, scaled]
            rows, cols = rest.shape
            tensor = graph.tensor(F32, rows, cols, at + 2 * half * 4, row)
            factors = graph.tensor(F32, rows, cols, address_of(scales))
            graph.copied(graph.times(tensor, factors, address_of(scaled)), tensor)

    def _store_and_score(self, graph: Graph, store: Store) -> None:
        buffers = self._buffers
        kv, size = buffers.k.shape
        between, values_between = (array.strides[0] for array in store.entries[:2])  # two heads
        keys = graph.tensor(store.kind, kv, size, stride=between)
        values = graph.tensor(store.kind, kv, size, stride=values_between, step=store.values_row)
        self._entries = [
            graph.copied(_heads(graph, buffers.k), keys).contents,
            graph.copied(_heads(graph, buffers.v), values).contents,
        ]
        for reader in buffers.readers:
            matrix = graph.tensor(store.kind, 1, size, stride=store.row)
            queries = graph.tensor(F32, reader.stop - reader.start, size, reader.queries_at)
            scores = graph.product(matrix, queries)
            self._keys.append((matrix.contents, scores.contents))


class ExpertsGraph:
    """x += attention; rmsnorm; weight · relu(Wgate h) · (Wup h) of pieces of experts, and the sum of their
    Wdown products where that is not transposed.
    """

    def __init__(
        self, context: Context, buffers: Buffers, layer: LayerWeights, widths: tuple[int, ...], part: int
    ) -> None:
        """`part` is the address of this rank's part of the sum, [d]."""
        self._graph = graph = Graph(context)
        d, x = len(buffers.x), _with_attention(graph, buffers)
        self._norm, normed = _normed(graph, buffers, x)
        gate_kind, up_kind, down_kind = (t.info.kind for t in (layer.gate, layer.up, layer.down))
        self._gate_row, self._up_row = row_bytes(gate_kind, d), row_bytes(up_kind, d)
        self._down_block, self._down_size = layer.down.block, row_bytes(down_kind, layer.down.block)
        self.hidden = np.zeros(sum(widths), np.float32)
        """What the pieces' neurons give, times their expert's weight, one piece behind the other."""
        self._weights = np.empty(max(1, len(widths)), np.float32)
        self._between = np.empty((3, max(d, *widths, 1)), np.float32)
        gated, upped, output = (address_of(row) for row in self._between)
        self._tensors, start, summed = [], 0, None
        for number, width in enumerate(widths):
            gate, up = graph.tensor(gate_kind, width, d), graph.tensor(up_kind, width, d)
            active = graph.relu(graph.product(gate, normed, gated), gated)
            hidden = address_of(self.hidden[start : start + width])
            product = graph.times(active, graph.product(up, normed, upped), hidden)
            factor = graph.tensor(F32, 1, 1, address_of(self._weights) + number * 4)
            weighted, down = graph.scaled(product, factor, hidden), None
            if not layer.down_transposed:
                down = graph.tensor(down_kind, d, width, stride=row_bytes(down_kind, layer.down.cols))
                one = graph.product(down, weighted, part if summed is None else output)
                summed = one if summed is None else graph.plus(summed, one, part)
            self._tensors.append((gate.contents, up.contents, None if down is None else down.contents))
            start += width
        graph.finish()
        self.sums = summed is not None
        """Whether the sum is made here."""

    def __call__(
        self,
        norm: int,
        pieces: Sequence[Piece],
        matrices: Sequence[ExpertMatrices],
        weights: Sequence[float],
    ) -> None:
        """`norm` is the address of the norm's scale, `matrices` are those of each piece's expert, `weights`
        those of the experts by `Piece.expert`.
        """
        self._norm.data = norm
        for number, (piece, found) in enumerate(zip(pieces, matrices, strict=True)):
            gate, up, down = self._tensors[number]
            gate.data = found.gate.address + piece.start * self._gate_row
            up.data = found.up.address + piece.start * self._up_row
            if down is not None:
                down.data = found.down.address + piece.start // self._down_block * self._down_size
            self._weights[number] = weights[piece.expert]
        self._graph()


class RepackedExperts:
    """The same for whole experts with interleaved rows, product by product."""

    def __init__(self, kernels: GgmlKernels, buffers: Buffers, width: int, count: int, part: Floats) -> None:
        """`count` experts of `width` neurons; `part` is this rank's part of the sum, float32 [d]."""
        self._enter = graph = Graph(kernels.context)
        self._norm, _ = _normed(graph, buffers, _with_attention(graph, buffers))
        graph.finish()
        d = len(buffers.x)
        self._kernels, self._normed_at, self._part = kernels, address_of(buffers.normed), part
        self._gated, self._upped = np.empty((2, count, width), np.float32)
        self._summed = np.empty((count, d), np.float32)
        gated, upped, summed = (address_of(each) for each in (self._gated, self._upped, self._summed))
        self._addresses = [
            (gated + number * width * 4, upped + number * width * 4, summed + number * d * 4)
            for number in range(count)
        ]

    def __call__(self, norm: int, matrices: Sequence[ExpertMatrices], weights: Sequence[float]) -> Floats:
        """As `ExpertsGraph`, and the sum in this rank's part. Returns what the neurons give, float32
        [experts, ff], valid until the next call.
        """
        self._norm.data = norm
        self._enter()
        gated, multiply, normed = self._gated, self._multiply, self._normed_at
        for found, (gate_at, up_at, _) in zip(matrices, self._addresses, strict=True):
            multiply(found.gate, normed, gate_at)
            multiply(found.up, normed, up_at)
        np.maximum(gated, 0, out=gated)
        np.multiply(gated, self._upped, out=gated)
        np.multiply(gated, np.array(weights, np.float32)[:, None], out=gated)
        for found, (gate_at, _, sum_at) in zip(matrices, self._addresses, strict=True):
            multiply(found.down, gate_at, sum_at)
        np.add.reduce(self._summed, axis=0, out=self._part)
        return gated

    def _multiply(self, w: Matrix, x: int, output: int) -> None:
        self._kernels.product(w.kind, "expert")(w.address, w.rows, w.cols, w.stride, x, 1, output, 4 * w.rows)


class GateGraph:
    """x += attention; rmsnorm; relu(Wgate h) of pieces of experts: what says which neurons are silent."""

    def __init__(
        self, context: Context, buffers: Buffers, layer: LayerWeights, widths: tuple[int, ...]
    ) -> None:
        self._graph = graph = Graph(context)
        d, kind = len(buffers.x), layer.gate.info.kind
        self._norm, normed = _normed(graph, buffers, _with_attention(graph, buffers))
        self._row, self._tensors = row_bytes(kind, d), []
        self.active = [np.empty(width, np.float32) for width in widths]
        """relu(Wgate h) of each piece."""
        for width, active in zip(widths, self.active, strict=True):
            gate = graph.tensor(kind, width, d)
            graph.relu(graph.product(gate, normed, address_of(active)), address_of(active))
            self._tensors.append(gate.contents)
        graph.finish()

    def __call__(self, norm: int, pieces: Sequence[Piece], matrices: Sequence[ExpertMatrices]) -> None:
        """As `ExpertsGraph`."""
        self._norm.data = norm
        for gate, piece, found in zip(self._tensors, pieces, matrices, strict=True):
            gate.data = found.gate.address + piece.start * self._row
        self._graph()


def _with_attention(graph: Graph, buffers: Buffers) -> Any:
    """x += attention's output."""
    d, at = len(buffers.x), address_of(buffers.x)
    return graph.plus(graph.tensor(F32, 1, d, at), graph.tensor(F32, 1, d, address_of(buffers.rows)), at)


def _normed(graph: Graph, buffers: Buffers, x: Any) -> tuple[Any, Any]:
    """rmsnorm(x) · scale into `buffers.normed`: the scale's tensor, and the result."""
    at, d = address_of(buffers.normed), len(buffers.x)
    scale = graph.tensor(F32, 1, d)
    normed = graph.times(graph.rms_norm(x, buffers.config.rms_epsilon, at), scale, at)
    return scale.contents, normed


def _heads(graph: Graph, heads: Floats) -> Any:
    rows, cols = heads.shape
    return graph.tensor(F32, rows, cols, address_of(heads))
