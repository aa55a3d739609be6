"""One loaded model: token ids in, token events out.

It knows nothing of conversations or screens. `generate` is a generator: closing it stops the answer, and what
it has computed stays in the KV cache, so that the next prompt that begins with the same tokens starts there.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from smallchat import paths
from smallchat.engine.checkpoints.fingerprint import fingerprint
from smallchat.engine.checkpoints.folder import Folder
from smallchat.engine.checkpoints.keeper import WORTH, Checkpoints, common
from smallchat.engine.crew import Crew, Setup
from smallchat.engine.events import Alternative, FinishReason, PromptProgress, Token
from smallchat.engine.fitting import (
    SHORTEST_CONTEXT,
    default_budget,
    fitting_chunk,
    fitting_context,
    kv_bytes,
    refuse_larger_than_memory,
    suitable_threads,
)
from smallchat.engine.loading import OpenModel, OwnExperts, hold_dense, open_model
from smallchat.engine.telemetry import Counters, Tally
from smallchat.engine.watching import CancelledError, PromptWatcher, cancel_wanted, report_layers
from smallchat.errors import ContextError, EngineError
from smallchat.experts import budget, profile
from smallchat.experts.cache import CachedExperts
from smallchat.kernels import Kernels, choose
from smallchat.model.card import ModelCard, read_card
from smallchat.model.decoder import Decoder, Watcher
from smallchat.model.kv_cache import KVCache
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
SAVE_SECONDS = 0.3
"""A prompt waits so long, at the most, for what it overwrites to be kept."""


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
        checkpoints: int,
        beside: int,
    ) -> None:
        """Use `Engine.load`."""
        self.config, self.weights = model.config, model.weights
        self.kernels, self.kv = kernels, kv
        self.notes: list[str] = list(model.config.notes)
        """What the user should know about how this model runs, each one sentence."""
        self.sparse_head = sparse_head
        """How the LM head's predictor leaves rows out; None: all logits are computed. May be taken away and
        given back, but not be changed.
        """
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
        self._ids: list[int] = []  # what the cache holds
        self._checkpoint_bytes = checkpoints
        self._fingerprint: bytes | None = None  # known once it is wanted
        self._owner = 0  # of the latest prompt
        self._unsaved = False  # something was read that may be no checkpoint yet
        self._logits: Floats | None = None  # of the last token in the cache
        self._answers = 0  # begun so far: only the latest may go on
        self._beside, self._remembered = beside, 0
        self._answering = self._to_hold = False
        self._checkpoints: Checkpoints | None = None
        setup = Setup(threads, context, min(chunk, context), kv, sparse_head)
        self._crew = Crew(model, kernels, plan, setup, self.tally, self._emptied)
        try:  # while the other ranks load
            self.tokenizer = Tokenizer(model.gguf, model.config.vocabulary)
        except BaseException:
            self.close()
            raise
        model.gguf.forget("tokenizer.ggml.")

    def _emptied(self) -> None:
        """The KV cache was lost, and is new."""
        self._ids, self._logits, self._checkpoints = [], None, None

    def warm(self) -> bool:
        """Read on what is likely to be wanted, while nothing else is done; at once. False: that was all."""
        return isinstance(self.experts, CachedExperts) and self.experts.warm()

    def remember(self) -> None:
        """Keep for the next start which experts were used lately. Never raises."""
        if self.tally.tokens != self._remembered:
            self._remembered = self.tally.tokens
            with contextlib.suppress(OSError):
                profile.save(paths.heat_profile(self.path), self.tally.heat.table)

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
        beside: int = 0,
        checkpoints: int = 0,
    ) -> Engine:
        """Open a GGUF of architecture `smallthinker`; weights are read when they are first used.

        `mem` is a budget for everything, in bytes or as "1G", of which the caller's other processes take
        `beside` bytes (None: no limit where all fits into what is free, else a share of that; 0: no limit);
        `kernels` "auto", "numpy" or "ggml"; `threads` the processes that compute (None: what suits model and
        machine); `context` the tokens that must fit (the default means: at most that many); `chunk` the
        prompt tokens of one forward pass; `kv` the type of the KV cache, "f32", "f16" or "q8"; `sparse_head`
        lets the file's LM head predictor, where it has one, leave out rows of the head; `checkpoints` are the
        bytes of disk, in the cache folder, where `save_some` keeps what was read (0: none, and none is looked
        for).

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
            if kv == "q8" and config.head_size % 32:
                raise UsageError(f"Heads of {config.head_size} cannot be kept in 8 bit", "Use --kv f16")
            card = read_card(model.gguf, config)
            threads = threads or suitable_threads(card.active_parameters)
            if mem is None:
                limit = _default_budget(model, threads, beside, kv)
            room = budget.room(limit, model.weights.dense_bytes, threads, beside)
            context = fitting_context(context, config, model.gguf.path, room, kv)
            size = kv_bytes(config, context, kv)
            refuse_larger_than_memory(size, context)
            plan = _plan(limit, model, size, threads, beside)
            chosen, note = choose(kernels)
            if not plan.mapped:
                model = hold_dense(model)
                chunk = fitting_chunk(chunk, plan.slots(size), config)
            engine = cls(
                *(model, chosen, plan, card),
                limit=limit,
                threads=threads,
                context=context,
                chunk=chunk,
                kv=kv,
                sparse_head=sparse_head,
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
        if sparse_head is not None and model.weights.predictor is None:
            engine.sparse_head = None
            engine.notes.append("The file has no LM head predictor; all logits are computed.")
        return engine

    @property
    def plan(self) -> budget.MemoryPlan:
        """How the memory is shared out."""
        return self._crew.plan

    @property
    def experts(self) -> OwnExperts:
        """Which experts are in memory."""
        return self._crew.experts

    @property
    def decoder(self) -> Decoder:
        """This process's rank."""
        return self._crew.decoder

    @property
    def chunk(self) -> int:
        """Prompt tokens of a forward pass."""
        return self._crew.setup.chunk

    @property
    def _cache(self) -> KVCache:
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
        return self._cache.used * KVCache.token_bytes(config.kv_heads, config.head_size, self.kv)

    @property
    def processes(self) -> list[int]:
        """Numbers of the processes that compute or read: this one, then the others."""
        return self._crew.pids

    def counters(self) -> Counters:
        """What was read and waited for since the model was loaded."""
        self._open()
        return Counters(self.experts.read_bytes, self.experts.wait_seconds, self.decoder.neuron_sparsity)

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
            out[start : start + len(piece)] = self._crew.forward(piece, every=True, sparse=self.sparse_head)
        self.clear()
        return out

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
        self._owner = owner
        return self._generate(tokens, head, max_tokens, alternatives, sampler, on_prompt, should_stop)

    def feed(self, ids: Sequence[int]) -> Floats | None:
        """Put tokens behind those in the context, without sampling; logits [1, V] of the last (None: no ids).

        Raises `ContextError` where they do not fit, `EngineError` for an id that is not in the vocabulary.
        """
        self._open()
        if not len(ids):
            return self._logits
        tokens = self._checked(ids, self.context - self._cache.length)
        self._answers += 1
        for start in range(0, len(tokens), self.chunk):
            self._feed(tokens[start : start + self.chunk])
        return self._logits

    def save_some(self) -> bool:
        """Keep a part of what was read as a checkpoint: some milliseconds of work. False: nothing is left to
        be kept.
        """
        checkpoints = self._open_checkpoints() if self._unsaved else None
        self._unsaved = checkpoints is not None and checkpoints.keep(self._ids)
        return self._unsaved

    def clear(self) -> None:
        """Empty the context."""
        self._open()
        self._answers += 1
        self._cache.rewind(0)
        self._ids, self._logits = [], None

    def resize(self, mem: int | None) -> None:
        """Another memory budget, in bytes, from now on (None: no limit): experts leave at once, or room is
        made for more. Where none held so far, it does from the end of a running answer on: what was mapped is
        then read anew.

        Raises `BudgetError`, and nothing changes, where it is too small.
        """
        model = self._open()
        full = kv_bytes(self.config, self.context, self.kv)
        plan = _plan(mem, model, full, self.threads, self._beside)
        self.budget = mem
        self._to_hold = not self._crew.resize(plan)
        self._hold()

    def _hold(self) -> None:
        """Where a budget is to hold from now on and the file is mapped: load anew, between two answers. What
        was read comes back from the checkpoints, or is read once more."""
        if not self._to_hold or self._answering or self._model is None:
            return
        self._to_hold = False
        while self.save_some():
            pass
        self._crew.hold()
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
        del self._crew, self.weights, self._checkpoints, self._logits
        model.close()

    def _generate(self, *request: Any) -> Iterator[Token]:
        self._answering = True
        try:
            yield from self._steps(*request)
        finally:
            self._answering = False
            if self._model is not None:
                self._crew.while_waiting = lambda: None
                self._hold()

    def _steps(
        self,
        prompt: npt.NDArray[np.int64],
        head: Sequence[int],
        max_tokens: int | None,
        alternatives: int,
        sampler: Sampler,
        on_prompt: Callable[[PromptProgress], None] | None,
        should_stop: Callable[[], bool],
    ) -> Iterator[Token]:
        if max_tokens == 0:
            return
        self._open()
        self._answers += 1
        answer = self._answers
        began = time.perf_counter()
        try:
            logits = self._read_prompt(prompt, on_prompt, should_stop)
        except CancelledError:
            return
        stream = self.tokenizer.stream()
        before_it = "".join(map(stream.push, head))
        self.tally.forecast.begin(self.experts)
        self._crew.while_waiting = cancel_wanted(should_stop)
        computed = waited = 0.0
        before = time.perf_counter()
        for index in range(self.context):
            token_id = sampler.choose(logits[0], self._ids)
            finish = self._finish(token_id, index + 1, max_tokens, should_stop)
            text = "" if finish == "stop" else stream.push(token_id)
            if not index:
                text = before_it + text
            if finish:
                text += stream.finish()
            considered = self._considered(sampler, logits[0], alternatives) if alternatives else ()
            now = time.perf_counter()
            if index:
                self.tally.decoded(now - before)
            seconds = now - before
            yield Token(
                *(token_id, text, index, seconds, now - began, finish),
                *(computed, waited),
                alternatives=considered,
            )
            if finish:
                return
            # Only now the next one: what is known is shown first.
            before = time.perf_counter()
            self._open()
            if answer != self._answers:
                raise EngineError("This answer cannot go on: another one was begun", "Ask for it again")
            waited = self.experts.wait_seconds
            passing = time.perf_counter()
            try:
                logits = self._feed(np.array([token_id]))
            except CancelledError:  # experts are waited for
                return
            waited = self.experts.wait_seconds - waited
            computed = time.perf_counter() - passing - waited

    def _considered(self, sampler: Sampler, logits: Floats, count: int) -> tuple[Alternative, ...]:
        likely = sampler.likeliest(logits, count)
        return tuple(Alternative(one, self.tokenizer.bytes_of(one), share) for one, share in likely)

    def _finish(
        self, token_id: int, count: int, max_tokens: int | None, should_stop: Callable[[], bool]
    ) -> FinishReason | None:
        if token_id in self.tokenizer.stop_ids:
            return "stop"
        if count == max_tokens:
            return "length"
        if self._cache.length >= self.context:
            return "context"
        return "cancelled" if should_stop() else None

    def _read_prompt(
        self,
        prompt: npt.NDArray[np.int64],
        on_prompt: Callable[[PromptProgress], None] | None,
        should_stop: Callable[[], bool],
    ) -> Floats:
        """Make the cache hold exactly `prompt`, reusing what it shares; logits [1, V] of its last token."""
        began, total = time.perf_counter(), len(prompt)
        shared = common(self._ids, prompt)
        if shared == total == len(self._ids) and self._logits is not None:
            reused = total
        else:
            # The last token is computed in any case: its logits are what is wanted.
            reused = self._reuse(prompt, min(shared, total - 1))
            self._ids[:] = prompt[:reused].tolist()
            self._logits = None

        def report(done: int) -> None:
            seconds = time.perf_counter() - began
            self.tally.prompt(done - reused, seconds)
            if on_prompt is not None:
                on_prompt(PromptProgress(done, total, reused, seconds))

        report(reused)
        for start in range(reused, total, self.chunk):
            piece = prompt[start : start + self.chunk]
            told = functools.partial(report_layers, report, start, len(piece) / self.config.layers)
            watcher = PromptWatcher(self.tally, should_stop, told)
            self._feed(piece, watcher)
            report(start + len(piece))
        if self._logits is None:
            raise EngineError("The prompt is empty", "Give at least one token")
        return self._logits

    def _reuse(self, prompt: npt.NDArray[np.int64], shared: int) -> int:
        """Make the cache hold the tokens at the beginning of `prompt` that are known; how many."""
        checkpoints = self._open_checkpoints()
        if checkpoints is None:
            return self._cache.rewind(shared)
        if len(self._ids) - shared >= WORTH:  # what is about to be overwritten
            until = time.perf_counter() + SAVE_SECONDS
            while time.perf_counter() < until and self.save_some():
                pass
        checkpoints.owner = self._owner
        self._crew.make_room(len(prompt))
        return checkpoints.resume(prompt, shared)

    def _open_checkpoints(self) -> Checkpoints | None:
        if self._checkpoints is None and self._checkpoint_bytes:
            if self._fingerprint is None:
                self._fingerprint = fingerprint(self._open(), self.kernels.name, self.threads, self.kv)
            folder = Folder(paths.checkpoints(), self._checkpoint_bytes)
            self._checkpoints = Checkpoints(folder, self._fingerprint, self._crew.caches)
        return self._checkpoints

    def _feed(self, tokens: npt.NDArray[np.int64], watcher: Watcher | None = None) -> Floats:
        if self._checkpoints is not None and self._checkpoints.loses(len(self._ids) + len(tokens)):
            while self.save_some():
                pass
        watcher = watcher or self.tally
        self._logits = self._crew.forward(tokens, watcher=watcher, sparse=self.sparse_head).copy()
        self._ids.extend(tokens.tolist())
        self._unsaved = True
        return self._logits

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
            what = f"The prompt has {len(tokens)} tokens, the context holds {context}"
            raise ContextError(what, "Shorten it, or load the model with a larger --context")
        if tokens.min() < 0 or tokens.max() >= self.config.vocabulary:
            wrong = int(tokens.max() if tokens.min() >= 0 else tokens.min())
            raise EngineError(f"{wrong} is no token of this model", f"Ids go to {self.config.vocabulary - 1}")
        return tokens

    def _open(self) -> OpenModel:
        if self._model is None:
            raise EngineError("The engine is closed", "Load the model again")
        return self._model


def _plan(limit: int | None, model: OpenModel, kv: int, threads: int, beside: int) -> budget.MemoryPlan:
    return budget.plan(
        *(limit, model.weights.dense_bytes, kv, model.layout),
        least=budget.least_slots(model.config.experts, model.config.experts_used),
        ranks=threads,
        beside=beside,
    )


def _default_budget(model: OpenModel, threads: int, beside: int, kv: KVType) -> int | None:
    shortest = kv_bytes(model.config, min(SHORTEST_CONTEXT, model.config.context), kv)
    plan = _plan(None, model, shortest, threads, beside)
    return default_budget(plan.weights + plan.kv + plan.rest + plan.experts * plan.slot)
