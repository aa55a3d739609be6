"""All that computes for one engine: the decoder of this process, the other ranks, experts and KV caches."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import threadpoolctl

from smallchat import paths
from smallchat.engine.caches import cache_bytes, make_caches
from smallchat.engine.fitting import BUDGET_CHUNK, fitting_chunk, touched_kv_bytes
from smallchat.engine.loading import OpenModel, OwnExperts, hold_dense
from smallchat.engine.ranks.leader import Plan as RankPlan
from smallchat.engine.ranks.leader import Ranks
from smallchat.engine.ranks.memory import Handles, Sizes
from smallchat.engine.telemetry import Tally
from smallchat.errors import EngineError, FileChangedError
from smallchat.experts import profile
from smallchat.experts.budget import MemoryPlan
from smallchat.experts.cache import CachedExperts
from smallchat.experts.direct import DirectFile
from smallchat.experts.prefetch import Prefetcher
from smallchat.experts.slab import Slab, SlabSizes
from smallchat.kernels import Kernels
from smallchat.model.decoder import Decoder, Watcher
from smallchat.model.kv_cache import KVCache
from smallchat.model.share import Share
from smallchat.model.weights import ExpertMatrices
from smallchat.settings import KVType, SparseHead
from smallchat.sharing import GROWS

Floats = npt.NDArray[np.float32]

KV_BLOCK = 64
"""Tokens that the KV cache is given room for at a time."""


@dataclass(frozen=True, slots=True)
class Setup:
    """How a model is computed; the meanings are those of `Engine.load`."""

    threads: int
    context: int
    chunk: int
    """Tokens of a forward pass that were asked for; `Crew.chunk` says what they are within a budget."""
    kv: KVType
    head: SparseHead | None
    repack: bool


class Crew:
    """Ranks that do forward passes over one KV cache each, together."""

    def __init__(
        self,
        model: OpenModel,
        kernels: Kernels,
        plan: MemoryPlan,
        setup: Setup,
        tally: Tally,
        emptied: Callable[[], None],
    ) -> None:
        """`emptied` is called when the KV caches were lost, and are new."""
        self.model, self.plan, self.setup = model, plan, setup
        self.kernels, self.sparse_head = kernels, setup.head
        """How the LM head's predictor leaves rows out; None: all logits are computed."""
        self.while_waiting: Callable[[], None] = lambda: None
        """Called while a token waits for experts; may raise to give it up."""
        self._tally, self._emptied = tally, emptied
        self._blas = threadpoolctl.ThreadpoolController()
        self._kv_blocks = 0  # that room was made for
        self._passing = False
        self.running = False
        """False: it was closed, or could not be started anew."""
        self._start()

    @property
    def cache(self) -> KVCache:
        """This rank's KV cache; what it says of tokens holds for all."""
        return self.caches[0]

    @property
    def chunk(self) -> int:
        """Tokens of a forward pass at the most, with the budget that holds now."""
        if self.plan.mapped:
            return self.setup.chunk
        return fitting_chunk(self.setup.chunk, self.plan.slots(self.plan.kv), self.model.config)

    @property
    def pids(self) -> list[int]:
        """Numbers of the processes that compute or read: this one, the other ranks, the reader."""
        ranks = self.ranks.pids if self.ranks is not None else []
        return [os.getpid(), *ranks, *getattr(self.experts, "pids", [])]

    def forward(
        self,
        tokens: npt.NDArray[np.int64],
        every: bool = False,
        watcher: Watcher | None = None,
    ) -> Floats:
        """One pass of all ranks; see `Decoder.forward`. Raises `EngineError` where one has ended."""
        ranks, experts, cache, sparse = self.ranks, self.experts, self.cache, self.sparse_head
        if isinstance(experts, CachedExperts):
            if watcher is None or watcher is self._tally:  # which only counts
                experts.watch = self.while_waiting
            else:
                experts.watch = watcher.check
            self.make_room(cache.length + len(tokens))
        self._passing = True
        # Each rank is one thread: more would only take the processor from the others.
        with self._blas.limit(limits=1, user_api="blas"):
            try:
                if ranks is not None:
                    ranks.command(tokens, cache.length, every, sparse is not None)
                return self.decoder.forward(tokens, cache, every, watcher, sparse)
            except BaseException:
                self._recover()
                raise
            finally:
                self._passing = False

    def make_room(self, tokens: int) -> None:
        """As the KV cache grows to so many tokens, experts make room for it."""
        blocks = -(-tokens // KV_BLOCK)
        if blocks > self._kv_blocks and isinstance(self.experts, CachedExperts):
            self._kv_blocks = blocks  # what was written stays taken
            setup = self.setup
            held = min(setup.context, blocks * KV_BLOCK)
            taken = touched_kv_bytes(self.model.config, held, setup.context, setup.kv)
            self.experts.resize(self.plan.slots(taken))

    def resize(self, plan: MemoryPlan) -> bool:
        """Another budget from now on; False: where none held so far, `hold` is needed."""
        if not isinstance(self.experts, CachedExperts):
            self.plan = plan
            return plan.mapped
        self.plan = replace(plan, mapped=False)  # the slab holds all as well
        self._kv_blocks = 0
        if not self._passing:
            self.make_room(max(1, self.cache.length))
        return True

    def hold(self) -> None:
        """From the mapped file to the plan's budget: all is loaded anew, and the KV caches are empty.

        Raises `ModelError` or `EngineError` where that fails; nothing runs then.
        """
        self.close()
        self._emptied()
        self.model = hold_dense(self.model, self.kernels.repacks)
        self._start()

    def close(self) -> None:
        """Give the memory and the other ranks back; the model stays open."""
        if not self.running:
            return
        self.running = False
        if self.ranks is not None:
            self.ranks.close()
        self.experts.close()
        self._kv_blocks = 0
        del self.decoder, self.experts, self.caches, self.ranks

    def _start(self) -> None:
        """The decoder of this process, and the other ranks; the KV caches are empty then. Where that fails,
        nothing of it stays."""
        with ExitStack() as begun:
            self._begin(begun)
            begun.pop_all()
        self.running = True

    def _begin(self, begun: ExitStack) -> None:
        """What `_start` says; `begun` ends what was begun."""
        model, setup = self.model, self.setup
        config = model.config
        slab = None if self.plan.mapped else self._slab()
        if slab is not None:
            begun.callback(slab.close)
        self.ranks: Ranks | None = None
        if setup.threads > 1:
            widths = (config.query_width, config.hidden, config.vocabulary)
            kv = sum(cache_bytes(config, setup.threads, setup.context, setup.kv))
            # Another budget may allow longer passes: there is room for the longest.
            longest = setup.chunk if slab is None else min(setup.chunk, BUDGET_CHUNK)
            sizes = Sizes(setup.threads, longest, *widths, kv)
            kernels = "numpy" if self.kernels.name == "numpy" else "ggml"
            path = str(model.gguf.path.absolute())
            handles = None
            if model.image is not None:
                experts = None if slab is None else slab.memory.handle
                handles = Handles(model.image.handle, experts)
            slab_sizes = None if slab is None else slab.sizes
            self.ranks = Ranks(
                RankPlan(
                    *(path, kernels, setup.context, setup.kv, setup.head, sizes),
                    repacks=self.kernels.repacks,
                    repack=setup.repack,
                    slab=slab_sizes,
                    handles=handles,
                )
            )
            begun.callback(self.ranks.close)
        if slab is None:  # while the other ranks do as much
            self.experts: OwnExperts = model.mapped(Share(0, setup.threads), setup.repack)
        else:
            self.experts = self._cached(slab)
        begun.callback(self.experts.close)
        team = self.ranks.team if self.ranks else None
        self.decoder = Decoder(config, model.weights, self.kernels, self.experts, team)
        shared = self.ranks.memory.kv if self.ranks else None
        self.caches = make_caches(config, setup.threads, setup.context, setup.kv, shared)

    def _slab(self) -> Slab:
        """Memory for experts: room for all of them, of which only what is used is taken."""
        plan = self.plan
        most = plan.experts if GROWS else plan.slots(0)
        try:
            return Slab(SlabSizes(plan.experts, most, self.model.layout.largest_parts, self.setup.threads))
        except OSError as error:
            what = f"There is no room for experts in shared memory: {error.strerror}"
            raise EngineError(what, "Give a smaller --mem") from None

    def _cached(self, slab: Slab) -> CachedExperts[ExpertMatrices]:
        """Experts within the budget, those first that were used most when this model last ran."""
        model, path = self.model, self.model.gguf.path
        try:
            file = DirectFile(path)
        except OSError as error:
            what = f"{path} cannot be read: {error.strerror}"
            raise FileChangedError(what, "Load the model again") from None
        if file.size != model.gguf.size:
            file.close()
            raise FileChangedError(f"{path} was changed while it was in use", "Load the model again")
        try:
            prefetcher = Prefetcher(file, path, slab)
        except BaseException:
            file.close()
            raise
        experts = CachedExperts(
            *(prefetcher, slab, model.layout, model.wrap, self._tally.heat),
            limit=self.plan.slots(0),
            ranks=self.setup.threads,
        )
        if self.ranks is not None:
            self.ranks.watch = experts.check
        heat = self._tally.heat.table
        if not heat.any():
            kept = profile.load(paths.heat_profile(path), heat.shape)
            if kept is not None:
                heat[:] = kept
        experts.wish(at for at in np.argsort(-heat, axis=None).tolist() if heat.flat[at] > 0)
        return experts

    def _recover(self) -> None:
        """After a pass that was given up: all ranks wait again, started anew where one has ended."""
        self.experts.forget()
        if self.ranks is None:
            return
        try:
            self.ranks.abandon()
        except EngineError:
            self.close()
            self._emptied()
            self._start()
