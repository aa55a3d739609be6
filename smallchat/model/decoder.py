"""The forward pass of SmallThinker, as in figure 2 of the report: router, attention, experts.

    for each layer:   route = router(x)                          from the raw residual x
                      x = x + attention(rmsnorm(x))
                      x = x + experts(rmsnorm(x), route)
    logits = head(rmsnorm(x))

It computes through `Kernels` and fetches experts through `Experts`: whatever stands behind those, this is the
one place that says what is computed. Each rank of a team runs it: all hold the whole residual x, each
computes its share of the heads, of the experts and of the logits, and the two sums of a layer are those of
all ranks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from smallchat.kernels import Kernels, Matrix
from smallchat.kernels.ggml import GgmlKernels
from smallchat.kernels.repack import ROWS
from smallchat.model.attention import Rotation, attend
from smallchat.model.config import ModelConfig
from smallchat.model.head import Head
from smallchat.model.kv_cache import KVCache, LayerCache
from smallchat.model.router import Route, route
from smallchat.model.share import neuron_unit
from smallchat.model.single import SingleToken
from smallchat.model.team import Solo, Team, logits_rows
from smallchat.model.weights import ExpertMatrices, LayerWeights, Weights
from smallchat.settings import SparseHead

Floats = npt.NDArray[np.float32]


class Watcher(Protocol):
    """Hears which experts are used; may raise to give up."""

    def layer(self, layer: int, experts: npt.NDArray[np.int64]) -> None:
        """A layer is entered by n tokens with these experts, int64 [n, k]."""

    def token(self, experts: npt.NDArray[np.int64]) -> None:
        """One token has passed all layers with these experts, int64 [layers, k]."""

    def check(self) -> None:
        """Called often, also within a layer."""


class Experts(Protocol):
    """Where experts come from; `smallchat.experts` has the kinds."""

    @property
    def room(self) -> int:
        """So many experts of any layer can be in memory together: a pass may not need more."""

    @property
    def guesses(self) -> bool:
        """Guesses are wanted: it is worth asking the next layer's router early."""

    def expect(self, layer: int, experts: Sequence[int]) -> None:
        """These will be used: exact, and known before attention is computed."""

    def guess(self, layer: int, experts: Sequence[int]) -> None:
        """These will perhaps be used, by the layer that comes next."""

    def fetch(self, layer: int, expert: int, repacked: bool = False) -> ExpertMatrices:
        """Gate, up and down of an expert that is expected, once they are there and the ranks have met.

        `repacked`: laid out anew for the processor from now on, where that is done at all; only for a rank
        that computes the whole expert, since no other may be reading it.
        """

    def forget(self) -> None:
        """A pass was given up: nothing is expected any more."""


class AttentionShare(NamedTuple):
    """One rank's part of a layer's attention: its heads' projections, and rows of the output projection."""

    q: Matrix
    k: Matrix
    v: Matrix
    output: Matrix


class Decoder:
    """One model ready to compute, by one rank of a team (or alone)."""

    def __init__(
        self,
        config: ModelConfig,
        weights: Weights,
        kernels: Kernels,
        experts: Experts,
        team: Team | None = None,
    ) -> None:
        self.config, self.weights, self.kernels, self.experts = config, weights, kernels, experts
        self.team: Team = team or Solo(config.query_width, config.hidden, config.vocabulary)
        self.share, size = self.team.share, config.head_size
        self.heads = self.share.heads(config)
        self.output_rows, self.logit_rows = (
            self.share.span(count, ROWS) for count in (config.hidden, config.vocabulary)
        )
        (start, stop), (first, last), _ = self.heads
        self.attention_shares = [
            AttentionShare(
                layer.q.slice(start * size, stop * size),
                layer.k.slice(first * size, last * size),
                layer.v.slice(first * size, last * size),
                layer.output.slice(*self.output_rows),
            )
            for layer in weights.layers
        ]
        self.head = Head(weights, self.logit_rows, kernels)
        self._single: SingleToken | None = None

    @property
    def neuron_sparsity(self) -> float | None:
        """Share of this rank's neurons that ReLU made zero, in single tokens; None: none was seen."""
        single = self._single
        return single.silent / single.neurons if single is not None and single.neurons else None

    # Where a file holds numbers that are none, the sampler says so; NumPy's warnings would only precede it.
    @np.errstate(all="ignore")
    def forward(
        self,
        ids: npt.NDArray[np.int64],
        cache: KVCache,
        every: bool = False,
        watcher: Watcher | None = None,
        sparse: SparseHead | None = None,
    ) -> Floats:
        """Feed tokens behind those in `cache`, which then holds them too.

        `ids` is int64 [n], n ≥ 1, and fits what is left of the context. Returns logits: float32 [n, V] for
        `every` position, else [1, V] for the last; `sparse`: with −inf for the rows that the file's predictor
        leaves out. What is returned for the last is valid until the next call.
        """
        start = cache.length
        cache.wrote(start + len(ids))
        x = self.embed(ids)
        single = self._single_for(cache) if len(ids) == 1 else None
        if single is not None:
            used = single.layers(x[0], start)
            if watcher is not None:
                watcher.token(used)
        else:
            x = self._layers(x, start, cache, every, watcher)
        cache.length = start + len(ids)
        return self._logits(x, sparse)

    def embed(self, ids: npt.NDArray[np.int64]) -> Floats:
        """Rows of the embedding: float32 [n, d]."""
        table = self.weights.embedding
        return self.kernels.floats(Matrix(table.kind, len(ids), table.cols, table.data[ids])).copy()

    def norm(self, x: Floats, scale: Floats) -> Floats:
        """x / √(mean(x²) + ε) · scale, over the last axis."""
        mean: Floats = np.add.reduce(x * x, axis=-1, keepdims=True)
        mean /= np.float32(x.shape[-1])
        mean += np.float32(self.config.rms_epsilon)
        normed: Floats = np.divide(x, np.sqrt(mean), dtype=np.float32)
        normed *= scale
        return normed

    def _layers(self, x: Floats, start: int, cache: KVCache, every: bool, watcher: Watcher | None) -> Floats:
        """All layers; `x` is [n, d] and changed in place. Returns the tokens whose logits are wanted."""
        config = self.config
        rotation = Rotation.at(np.arange(start, start + len(x)), config.rope_size, config.rope_base)
        for index, layer in enumerate(self.weights.layers):
            normed = self.norm(x, layer.attention_norm)
            if index == config.layers - 1 and not every:
                # Of the other tokens only keys and values are wanted any more.
                x = x[-1:]
            chosen = route(x, layer.router, config.experts_used, config.gating)
            if watcher is not None:
                watcher.layer(index, chosen.experts)
            needed, tokens = np.unique(chosen.experts, return_counts=True)
            self.experts.expect(index, needed[self.share.order(len(needed))].tolist())
            self._guess(index + 1, x if every or index + 2 < config.layers else x[-1:])
            turn = rotation if config.rotary[index] else None
            share, layer_cache = self.attention_shares[index], cache.layers[index]
            x += self.attention(normed, share, start, turn, layer_cache, len(x), watcher)
            counts = dict(zip(needed.tolist(), tokens.tolist(), strict=True))
            normed = self.norm(x, layer.feed_forward_norm)
            self.feed_forward(normed, index, layer, chosen, counts, watcher)
            self.team.add(x)
        return x

    def attention(
        self,
        x: Floats,
        share: AttentionShare,
        start: int,
        rotation: Rotation | None,
        cache: LayerCache,
        last: int,
        watcher: Watcher | None,
    ) -> Floats:
        """Wo attend(Wq x, Wk x, Wv x) for the `last` of n tokens: [last, d], of all ranks.

        `rotation` is None in NoPE layers.
        """
        size, matmul = self.config.head_size, self.kernels.matmul
        heads, rows = self.team.heads(last), self.team.rows(last)
        if self.heads.groups:  # there may be more ranks than heads
            q = matmul(x[-last:], share.q).reshape(last, -1, size)
            k, v = (matmul(x, w).reshape(len(x), -1, size) for w in (share.k, share.v))
            if rotation is not None:
                q, k = rotation.last(last).turn(q), rotation.turn(k)
            mixed = heads.reshape(last, -1, size)[:, slice(*self.heads.query)]
            self._check(watcher)
            attend(q, k, v, start, cache, self.heads.groups, self.kernels, mixed)
        self.team.meet()
        rows[:, slice(*self.output_rows)] = matmul(heads, share.output)
        self.team.meet()
        return rows

    def feed_forward(
        self,
        x: Floats,
        index: int,
        layer: LayerWeights,
        chosen: Route,
        counts: dict[int, int],
        watcher: Watcher | None,
    ) -> None:
        """This rank's part of Σ weight · Wdown (relu(Wgate x) · (Wup x)) over each token's experts, [n, d].

        Expert by expert, in order of their numbers, so that each is fetched once. `counts` is how many tokens
        use each.
        """
        matmul = self.kernels.matmul
        down_matmul = self.kernels.matmul_transposed if layer.down_transposed else matmul
        part = self.team.part(len(x))
        part.fill(0)
        used = list(counts)
        costs = [self.kernels.cost(tokens) for tokens in counts.values()]
        for piece in self.share.experts(costs, self.config.expert_width, neuron_unit(layer)):
            self._check(watcher)
            expert, neurons = used[piece.expert], (piece.start, piece.stop)
            whole = neurons == (0, self.config.expert_width)
            tokens, slots = np.nonzero(chosen.experts == expert)
            repacked = whole and self.kernels.wants_repacked(len(tokens))
            gate, up, down = self.experts.fetch(index, expert, repacked)
            # Where all tokens use it, nothing is gathered.
            rows = slice(None) if len(tokens) == len(x) else tokens
            inputs = x[rows]
            if not whole:
                # As it lay in the file, whatever other passes have made of it: this one says the same then.
                gate, up = gate.slice(*neurons).plain(), up.slice(*neurons).plain()
            hidden = np.maximum(matmul(inputs, gate), 0)
            hidden *= matmul(inputs, up)
            hidden *= chosen.weights[tokens, slots, None]
            cut = down.slice(*neurons) if layer.down_transposed else down.columns(*neurons)
            part[rows] += down_matmul(hidden, cut)

    def _guess(self, index: int, x: Floats) -> None:
        """Ask a layer's router before its turn: the residual changes little in one layer."""
        if index < self.config.layers and self.experts.guesses:
            router = self.weights.layers[index].router
            chosen = route(x, router, self.config.experts_used, self.config.gating)
            self.experts.guess(index, np.unique(chosen.experts).tolist())

    def _check(self, watcher: Watcher | None) -> None:
        """Give up here, where that is wanted: a layer of a long chunk takes a while."""
        if watcher is not None:
            watcher.check()
        self.team.check()

    def _logits(self, x: Floats, sparse: SparseHead | None) -> Floats:
        """Wait for all ranks' columns of the logits: float32 [n, V]."""
        config, (start, stop) = self.config, self.logit_rows
        normed = self.norm(x, self.weights.output_norm)
        if len(x) == 1:
            logits = self.team.logits(1)
            self.head(normed, logits[:, start:stop], sparse)
            self.team.meet()
            return logits
        out = np.empty((len(x), config.vocabulary), np.float32)
        step = logits_rows(config.vocabulary)
        for at in range(0, len(x), step):
            logits = self.team.logits(min(step, len(x) - at))
            self.head(normed[at : at + step], logits[:, start:stop], sparse)
            self.team.meet()
            out[at : at + step] = logits
            self.team.meet()  # the buffer is free again
        return out

    def _single_for(self, cache: KVCache) -> SingleToken | None:
        """The fast path for one token, where the kernels and types of this model have one."""
        if self._single is None or self._single.cache is not cache:
            fits = (
                SingleToken.fits(self.weights, self.config) and self.experts.room >= self.config.experts_used
            )
            if not isinstance(self.kernels, GgmlKernels) or not fits:
                return None
            self._single = SingleToken(self, self.kernels, cache)
        return self._single
