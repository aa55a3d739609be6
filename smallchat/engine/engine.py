"""One loaded model: token ids in, token events out.

It knows nothing of conversations or screens. `generate` is a generator: closing it stops the answer, and what
it has computed stays in the KV cache, so that the next prompt that begins with the same tokens starts there.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from smallchat import paths
from smallchat.engine.crew import Crew, Setup
from smallchat.engine.decoding import Wanted, decode
from smallchat.engine.events import PromptProgress, Token
from smallchat.engine.fitting import (
    default_budget,
    fits,
    fitting_context,
    kv_bytes,
    larger_than_free,
    memory_plan,
    refuse_larger_than_memory,
    suitable_threads,
    whole_bytes,
)
from smallchat.engine.loading import OpenModel, OwnExperts, hold_dense, open_model, place_repacked
from smallchat.engine.past import Past
from smallchat.engine.prefill import CancelledError, prefill
from smallchat.engine.telemetry import Counters, Tally
from smallchat.errors import BudgetError, ContextError, EngineError
from smallchat.experts import budget, profile
from smallchat.kernels import Kernels, choose
from smallchat.model.card import ModelCard, read_card
from smallchat.model.decoder import Decoder
from smallchat.model.kv_cache import WIDEST, KVCache, token_bytes
from smallchat.model.sampling import Sampler
from smallchat.model.template import ChatTemplate
from smallchat.model.tokenizer import Tokenizer
from smallchat.settings import (
    DEFAULT_CONTEXT,
    DEFAULT_KV,
    KV_TYPES,
    KVType,
    Sampling,
    SparseHead,
    UsageError,
    parse_size,
)

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]

DEFAULT_CHUNK = 1024
"""Prompt tokens a forward pass: enough that making weights float32 is a small part of multiplying with
them."""


class Engine:
    """A model that is open and ready. Not safe for use by several threads at once."""

    def __init__(
        self,
        model: OpenModel,
        kernels: Kernels,
        plan: budget.MemoryPlan,
        card: ModelCard,
        *,
        limit: int | None,
        threads: int,
        context: int,
        chunk: int,
        kv: KVType,
        sparse_head: SparseHead | None,
        repack: bool,
        checkpoints: int,
        beside: int,
    ) -> None:
        """Use `Engine.load`."""
        self.config, self.weights = model.config, model.weights
        self.kernels, self.kv = kernels, kv
        self.notes: list[str] = list(model.config.notes)
        """What the user should know about how this model runs, each one sentence."""
        self.budget = limit
        """Memory budget in bytes; None: no limit."""
        self.threads = threads
        """Ranks: processes that compute."""
        self.context = context
        """Tokens that fit, prompt and answer together."""
        self.tally = Tally(model.config.layers, model.config.experts)
        self.template = ChatTemplate(model.gguf.metadata.get("tokenizer.chat_template"), model.gguf.path)
        self.card = card
        self._model: OpenModel | None = model
        self._answers = 0  # begun so far: only the latest may go on
        self._beside, self._remembered = beside, 0
        self._answering = self._to_hold = False
        setup = Setup(threads, context, min(chunk, context), kv, sparse_head, repack)
        try:
            self._crew = Crew(model, kernels, plan, setup, self.tally, lambda: self._past.lost())
        except BaseException:
            self.template.close()
            raise
        self._past = Past(self._crew, checkpoints)
        try:  # while the other ranks load
            self.tokenizer = Tokenizer(model.gguf, model.config.vocabulary)
        except BaseException:
            self.close()
            raise
        model.gguf.forget("tokenizer.ggml.")

    @classmethod
    def load(
        cls,
        path: str | Path,
        mem: str | int | None = None,
        kernels: str = "auto",
        threads: int | None = None,
        context: int = DEFAULT_CONTEXT,
        chunk: int = DEFAULT_CHUNK,
        kv: KVType = DEFAULT_KV,
        sparse_head: SparseHead | None = None,
        repack: bool | None = False,
        beside: int = 0,
        checkpoints: int = 0,
    ) -> Engine:
        """Open a GGUF of architecture `smallthinker`; weights are read when they are first used.

        `mem` is a budget for everything, in bytes or as "1G", of which the caller's other processes take
        `beside` bytes (None: no limit where all fits into what is free, else a share of that; 0: no limit);
        `kernels` "auto", "numpy" or "ggml"; `threads` the processes that compute (None: what suits model and
        machine); `context` the tokens that must fit (the default means: at most that many); `chunk` the
        prompt tokens of one forward pass; `kv` the type of the KV cache, "f32", "f16" or "q8"; `sparse_head`
        lets the file's LM head predictor, where it has one, leave out rows of the head; `repack` lays experts
        out anew for the processor, by `warm` or when they are used (None: where that can be done), so that
        sums are made in another order than those within a budget; `checkpoints` are the bytes of disk, in the
        cache folder, where `save_some` keeps what was read (0: none, and none is looked for).

        Raises `ModelError`, `BudgetError`, `ContextError`, `KernelError` or `UsageError`, each one line that
        names the file or flag; nothing stays open then.
        """
        limit = parse_size(mem) if mem else None
        for name, value in (("threads", threads), ("context", context), ("chunk", chunk)):
            if value is not None and not 1 <= value <= 1 << 30:
                raise UsageError(f"{name} is {value}", "Give a whole number from 1 on")
        if kv not in KV_TYPES:
            raise UsageError(f"The type of the KV cache is {kv!r}", f"Choose one of {', '.join(KV_TYPES)}")
        model = open_model(path)
        try:
            config = model.config
            if kv == "q8" and config.head_size > WIDEST:
                raise UsageError(f"Heads of {config.head_size} cannot be kept in 8 bit", "Use --kv f16")
            card = read_card(model.gguf, config)
            threads = threads or suitable_threads(card.active_parameters)
            if mem is None:
                limit = default_budget(whole_bytes(model, threads, beside, kv))
            room = budget.room(limit, model.weights.dense_bytes, threads, beside)
            context = fitting_context(context, config, model.gguf.path, room, kv)
            size = kv_bytes(config, context, kv)
            refuse_larger_than_memory(size, context)
            try:
                plan = memory_plan(limit, model, size, threads, beside)
            except BudgetError:
                if mem is None and limit is not None:  # nobody spoke of a budget
                    raise larger_than_free(model.gguf.path, limit, threads) from None
                raise
            chosen, note = choose(kernels)
            if plan.mapped:
                model = place_repacked(model) if chosen.repacks else model
            else:
                model = hold_dense(model, chosen.repacks)
            can_repack = _can_repack(model, plan, chosen, threads)
            engine = cls(
                *(model, chosen, plan, card),
                limit=limit,
                threads=threads,
                context=context,
                chunk=chunk,
                kv=kv,
                sparse_head=sparse_head,
                repack=repack is not False and can_repack,
                checkpoints=checkpoints,
                beside=beside,
            )
        except BaseException:
            model.close()
            raise
        if note:
            engine.notes.append(note)
        if mem is None and limit is not None:
            engine.notes.append(
                f"The model is larger than the memory that is free: it keeps within {limit >> 20} MiB. "
                "Another budget: --mem, or /mem in the chat."
            )
        if repack and not can_repack:
            engine.notes.append(
                "Experts stay as they are in the file: another layout takes Q4_0, x86-64 with AVX2, "
                "and free memory of twice their size."
            )
        if sparse_head is not None and model.weights.predictor is None:
            engine.sparse_head = None
            engine.notes.append("The file has no LM head predictor; all logits are computed.")
        return engine

    @property
    def running(self) -> bool:
        """False: it was closed, or could not be started anew after one of its processes had ended."""
        return self._model is not None and self._crew.running

    @property
    def plan(self) -> budget.MemoryPlan:
        """How the memory is shared out."""
        return self._crew.plan

    @property
    def experts(self) -> OwnExperts:
        """Which experts are in memory."""
        self._open()
        return self._crew.experts

    @property
    def decoder(self) -> Decoder:
        """This process's rank."""
        self._open()
        return self._crew.decoder

    @property
    def chunk(self) -> int:
        """Prompt tokens of a forward pass."""
        return self._crew.chunk

    @property
    def sparse_head(self) -> SparseHead | None:
        """How the LM head's predictor leaves rows out; None: all logits are computed. May be taken away and
        given back, but not be changed.
        """
        return self._crew.sparse_head

    @sparse_head.setter
    def sparse_head(self, head: SparseHead | None) -> None:
        self._crew.sparse_head = head

    @property
    def _cache(self) -> KVCache:
        self._open()
        return self._crew.cache

    @property
    def path(self) -> Path:
        """The model's file."""
        return self._open().gguf.path

    @property
    def context_used(self) -> int:
        """Tokens that the KV cache holds now."""
        return self._cache.length

    @property
    def kv_bytes(self) -> int:
        """Bytes of the KV cache that hold tokens now, those of all ranks."""
        config = self.config
        return self._cache.used * token_bytes(config.kv_heads, config.head_size, self.kv)

    @property
    def processes(self) -> list[int]:
        """Numbers of the processes that compute or read: this one, then the others."""
        return self._crew.pids

    def counters(self) -> Counters:
        """What was read and waited for since the model was loaded."""
        self._open()
        return Counters(self.experts.read_bytes, self.experts.wait_seconds, self.decoder.neuron_sparsity)

    def generate(
        self,
        ids: Sequence[int],
        max_tokens: int | None = None,
        *,
        temperature: float = 0.6,
        top_k: int = 20,
        top_p: float = 0.95,
        min_p: float = 0.0,
        repeat_penalty: float = 1.0,
        seed: int | None = None,
        begun: int = 0,
        alternatives: int = 0,
        owner: int = 0,
        on_prompt: Callable[[PromptProgress], None] | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[Token]:
        """Continue `ids`: one `Token` event for each token drawn, the last one with `finish`.

        Ends at an end-of-turn token ("stop"; that token is the last event), after `max_tokens` ("length"), at
        the end of the context ("context"), or when `should_stop` says so ("cancelled"; it is asked between
        layers of the prompt and between tokens; during the prompt no event comes then). `on_prompt` hears how
        far the prompt is.

        So many of the last `ids` as `begun` says are the beginning of the answer: the first event's text has
        theirs before its own. Each event tells as many of the most likely tokens as `alternatives` says.
        `owner` is the number of the conversation, for `checkpoints.forget`.

        Same settings, seed, model and threads give the same text. The part of the prompt that is still in the
        KV cache is not computed again; float32 rounding may then differ in the last digit.

        Raises `ContextError`, `UsageError`, or `EngineError`.
        """
        self._open()
        sampling = Sampling(temperature, top_k, top_p, min_p, repeat_penalty, seed)
        if max_tokens is not None and max_tokens < 0:
            raise UsageError(f"max_tokens is {max_tokens}", "Give a whole number from 0 on")
        tokens = self._checked(ids, self.context)
        sampler = Sampler(sampling, self.tokenizer.fillers)
        head = tokens[len(tokens) - begun :].tolist()
        wanted = Wanted(sampler, max_tokens, head, alternatives, should_stop)
        return self._answer(tokens, wanted, owner, on_prompt)

    def _answer(
        self,
        prompt: npt.NDArray[np.int64],
        wanted: Wanted,
        owner: int,
        on_prompt: Callable[[PromptProgress], None] | None,
    ) -> Iterator[Token]:
        if wanted.max_tokens == 0:
            return
        self._open()
        self._answering = True
        self._answers += 1
        answer, began = self._answers, time.perf_counter()
        past, tally = self._past, self.tally
        try:
            logits = prefill(past, prompt, lambda: self.chunk, tally, owner, on_prompt, wanted.should_stop)
            for token in decode(self._crew, past, logits, self.tokenizer, tally, wanted, began):
                yield token
                if token.finish:
                    return
                self._open()
                if answer != self._answers:
                    raise EngineError("This answer cannot go on: another one was begun", "Ask for it again")
        except CancelledError:
            return
        finally:
            self._answering = False
            if self.running:
                self._crew.while_waiting = lambda: None
                self._hold()

    def feed(self, ids: Sequence[int]) -> Floats | None:
        """Put tokens behind those in the context, without sampling; logits [1, V] of the last (None: no ids).

        Raises `ContextError` where they do not fit, `EngineError` for an id that is not in the vocabulary.
        """
        self._open()
        if not len(ids):
            return self._past.logits
        tokens = self._checked(ids, self.context - self._cache.length)
        self._answers += 1
        for start in range(0, len(tokens), self.chunk):
            self._past.feed(tokens[start : start + self.chunk], self.tally)
        return self._past.logits

    def logits(self, ids: Sequence[int]) -> Floats:
        """Logits of every position, float32 [len(ids), vocabulary], in a fresh context: what the engine's own
        held is forgotten.

        Raises `ContextError` where `ids` are more than the context, `EngineError` for an id that is not in
        the vocabulary.
        """
        self.clear()
        tokens = self._checked(ids, self.context)
        out = np.empty((len(tokens), self.config.vocabulary), np.float32)
        for start in range(0, len(tokens), self.chunk):
            piece = tokens[start : start + self.chunk]
            out[start : start + len(piece)] = self._crew.forward(piece, every=True)
        self.clear()
        return out

    def clear(self) -> None:
        """Empty the context."""
        self._open()
        self._answers += 1
        self._past.clear()

    def save_some(self) -> bool:
        """Keep a part of what was read as a checkpoint: some milliseconds of work. False: nothing is left to
        be kept.
        """
        self._open()
        return self._past.save_some()

    def warm(self) -> bool:
        """Make ready what is likely to be wanted, while nothing else is done: some milliseconds. False: that
        was all."""
        return self.experts.warm()

    def remember(self) -> None:
        """Keep for the next start which experts were used lately. Never raises."""
        if self.tally.tokens != self._remembered:
            self._remembered = self.tally.tokens
            with contextlib.suppress(OSError):
                profile.save(paths.heat_profile(self.path), self.tally.heat.table)

    def resize(self, mem: int | None) -> None:
        """Another memory budget, in bytes, from now on (None: no limit): experts leave at once, or room is
        made for more. Where none held so far, it does from the end of a running answer on: what was mapped is
        then read anew.

        Raises `BudgetError`, and nothing changes, where it is too small; `ModelError` or `EngineError` where
        the file cannot be read anew: the engine is of no use then.
        """
        model = self._open()
        full = kv_bytes(self.config, self.context, self.kv)
        plan = memory_plan(mem, model, full, self.threads, self._beside)
        self.budget = mem
        self._to_hold = not self._crew.resize(plan)
        self._hold()

    def _hold(self) -> None:
        """Where a budget is to hold from now on and the file is mapped: load anew, between two answers. What
        was read comes back from the checkpoints, or is read once more."""
        if not self._to_hold or self._answering or not self.running:
            return
        self._to_hold = False
        while self.save_some():
            pass
        try:
            self._crew.hold()
        finally:
            self._model = self._crew.model
        self.weights = self._model.weights

    def close(self) -> None:
        """Give the file, the memory and the other ranks back. Using the engine afterwards raises
        `EngineError`."""
        if self._model is None:
            return
        model, self._model = self._model, None
        self._crew.close()
        self.template.close()
        del self._crew, self._past, self.weights
        model.close()

    def too_long(self, what: str, load: str) -> ContextError:
        """That something does not fit. `load`: how the user would do that, where a larger context helps."""
        larger = f"Shorten it, or {load} with a larger --context"
        more = self.context < self.config.context
        return ContextError(what, larger if more else "Shorten it: this model takes no more")

    def _checked(self, ids: Sequence[int], context: int) -> npt.NDArray[np.int64]:
        try:
            tokens = np.asarray(ids, np.int64).reshape(-1)
        except OverflowError:
            raise EngineError(
                f"{max(ids, key=abs)} is no token of this model", f"Ids go to {self.config.vocabulary - 1}"
            ) from None
        if not len(tokens):
            raise EngineError("The prompt is empty", "Give at least one token")
        if len(tokens) > context:
            what = f"The prompt has {len(tokens):,} tokens, the context holds {context:,}"
            raise self.too_long(what, "load the model")
        if tokens.min() < 0 or tokens.max() >= self.config.vocabulary:
            wrong = int(tokens.max() if tokens.min() >= 0 else tokens.min())
            raise EngineError(f"{wrong} is no token of this model", f"Ids go to {self.config.vocabulary - 1}")
        return tokens

    def _open(self) -> OpenModel:
        if self._model is None or not self._crew.running:
            raise EngineError("The engine is closed", "Load the model again")
        return self._model


def _can_repack(model: OpenModel, plan: budget.MemoryPlan, kernels: Kernels, threads: int) -> bool:
    """Whether experts may be laid out anew."""
    # Of an expert that ranks share no columns can be cut then.
    shared = model.config.experts_used % threads
    # Not if for that the system must drop what it has read of the file: the next start would be slow.
    return kernels.repacks and not shared and plan.mapped and fits(2 * model.weights.expert_bytes)
