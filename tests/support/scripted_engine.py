"""An engine that says what the test tells it to, when the test tells it to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace

from smallchat.engine.client import LoadOptions, Message
from smallchat.engine.events import (
    READING,
    Alternative,
    Counted,
    Envelope,
    Estimate,
    Event,
    Failed,
    Finished,
    FinishReason,
    Loading,
    Memory,
    Pieces,
    PromptProgress,
    Ready,
    Resized,
    Storage,
    Telemetry,
    Token,
    TooLong,
)
from smallchat.errors import EngineError
from smallchat.settings import Sampling

MIB = 1 << 20

READY = Ready(
    path="/models/small.gguf",
    name="SmallThinker 4B",
    quantisation="Q4_0",
    parameters=4_000_000_000,
    active_parameters=600_000_000,
    layers=32,
    experts=32,
    experts_used=4,
    hidden=1536,
    context=4096,
    model_context=32768,
    kernels="ggml (avx2)",
    threads=2,
    budget=1024 * MIB,
    load_seconds=0.8,
    demo=False,
)


WHAT_IF = tuple(
    Estimate(mib * MIB, hits, tokens)
    for mib, hits, tokens in (
        (600, 0.34, 9.1),
        (768, 0.55, 15.8),
        (1024, 0.71, 24.1),
        (1536, 0.84, 26.2),
        (2048, 0.93, 27.4),
        (3072, 1.0, 28.3),
    )
)


def budgeted(shown: Telemetry) -> Telemetry:
    """The same of an engine that reads its experts within a budget; a few are on their way."""
    states = bytearray(shown.experts)
    for at in range(5, len(states), 61):
        states[at] = READING
    return replace(
        shown,
        experts=bytes(states),
        storage=Storage(41_200, 16_800, 812, 90, 1230 * MIB, 730.0 * MIB),
        neuron_sparsity=0.55,
        what_if=WHAT_IF,
    )


def telemetry(layers: int = 32, experts: int = 32, step: int = 0) -> Telemetry:
    """Figures that look real and are the same in every run."""
    states, heat = bytearray(), bytearray()
    for layer in range(layers):
        for expert in range(experts):
            mixed = (layer * 31 + expert * 17 + (layer * expert) % 7 * 13) % 97
            used = (expert * 7 + layer * 5 + step) % experts < max(1, experts // 8)
            states.append(2 if used else (1 if mixed < 60 else 0))
            heat.append(0 if mixed > 80 else min(255, 4 * mixed + 5))
    return Telemetry(
        memory=Memory(220 * MIB, 540 * MIB, 64 * MIB, 60 * MIB, 884 * MIB, 1024 * MIB),
        context_used=1204 + step,
        context=4096,
        layers=layers,
        expert_count=experts,
        experts=bytes(states),
        heat=bytes(heat),
        prompt_speed=84.2,
        decode_speed=24.1,
        hit_rate=0.71,
    )


@dataclass(frozen=True)
class Request:
    """One `chat` call."""

    number: int
    messages: list[Message]
    sampling: Sampling
    begun: list[int]
    resume: bool = False


class ScriptedEngine:
    """An `EngineClient` in the test's own hands: nothing happens until a method below is called."""

    def __init__(self, ready: Ready = READY) -> None:
        self.ready_event = ready
        self.starts: list[LoadOptions] = []
        self.chats: list[Request] = []
        self.cancelled: list[int] = []
        self.counts: list[list[Message]] = []
        self.resizes: list[int | None] = []
        self.looks: list[list[int]] = []
        """What each look at a place had before it."""
        self.silent_looks = False
        self.considered = "abcdefgh"
        """Letters that every look is told."""
        self.asked_pieces: list[tuple[str, list[int]]] = []
        self.closed = False
        self.dead = False
        self._queue: asyncio.Queue[Envelope | None] = asyncio.Queue()
        self._number = 0
        self._resize = 0
        self._generated = 0

    # What the app calls

    async def start(self, options: LoadOptions) -> None:
        self.starts.append(options)
        self.dead = False
        self._queue = asyncio.Queue()
        self.emit(Loading("Reading the model"))

    async def events(self) -> AsyncIterator[Envelope]:
        queue = self._queue
        while (envelope := await queue.get()) is not None:
            yield envelope

    def chat(
        self,
        messages: Sequence[Message],
        sampling: Sampling,
        max_tokens: int | None = None,
        resume: bool = False,
        begun: Sequence[int] = (),
        alternatives: int = 0,
        owner: int = 0,
    ) -> int:
        self._check()
        self._number += 1
        self._generated = 0
        if alternatives:  # asked by who steps back: it has no answer to be emitted
            self.looks.append(list(begun))
            if self.silent_looks:
                return self._number
            told = tuple(
                Alternative(ord(letter), letter.encode(), 0.5 / (place + 1))
                for place, letter in enumerate(self.considered)
            )
            event = Token(begun[-1] if begun else 0, "", 0, 0.0, 0.0, "length", alternatives=told)
            self._queue.put_nowait(Envelope(self._number, event))
            return self._number
        self.chats.append(Request(self._number, list(messages), sampling, list(begun), resume))
        return self._number

    def cancel(self, request: int) -> None:
        self.cancelled.append(request)
        if self.chats and request == self.chats[-1].number:
            self.finish("cancelled")

    def count(self, messages: Sequence[Message]) -> int:
        self._check()
        self._number += 1
        self.counts.append(list(messages))
        tokens, room = sum(len(message.content) for message in messages), self.ready_event.context * 3 // 4
        least = len(messages[-1].content) if tokens > room else tokens
        self._queue.put_nowait(Envelope(self._number, Counted(tokens, room, least)))
        return self._number

    def resize(self, mem: int | None) -> int:
        self._check()
        self._number += 1
        self.resizes.append(mem)
        self._resize = self._number
        return self._number

    def resized(self, event: Resized | Failed) -> None:
        """What came of the last resize."""
        self.emit(event, self._resize)

    def pieces(self, text: str, ids: Sequence[int]) -> int:
        self._check()
        self._number += 1
        self.asked_pieces.append((text, list(ids)))
        letters = [letter.encode() for letter in text]
        self._queue.put_nowait(Envelope(self._number, Pieces(tuple(map(ord, text)), tuple(letters))))
        return self._number

    async def close(self) -> None:
        self.closed = True
        self._queue.put_nowait(None)

    @property
    def number(self) -> int:
        """Of the latest request."""
        return self._number

    def _check(self) -> None:
        if self.dead:
            raise EngineError("No model is loaded", "Load a model first")

    # What the test calls

    def emit(self, event: Event, request: int | None = None) -> None:
        """Any event; by default of the newest `chat`, or of none."""
        number = request if request is not None else (self.chats[-1].number if self.chats else 0)
        self._queue.put_nowait(Envelope(number, event))

    def ready(self, **changes: object) -> None:
        """The model is loaded."""
        self.emit(replace(self.ready_event, **changes), 0)  # type: ignore[arg-type]

    def say(self, *texts: str, seconds: float = 0.04, waited: float = 0.0) -> None:
        """Tokens of the answer; of the `seconds` of each, so many were spent on waiting for experts."""
        for text in texts:
            token = Token(1000 + self._generated, text, self._generated, seconds, 0.0)
            computed = (seconds - waited) * 0.9
            self.emit(replace(token, compute_seconds=computed, wait_seconds=waited))
            self._generated += 1

    def read_prompt(self, done: int, total: int) -> None:
        """Progress of the prompt."""
        self.emit(PromptProgress(done, total, 0, 0.5))

    def too_long(self, messages: int) -> None:
        """The oldest messages would have to be left out."""
        self.emit(TooLong(messages, 4000, 3072))

    def finish(self, reason: FinishReason = "stop", seed: int = 7) -> None:
        """The answer ends."""
        generated = self._generated
        self.emit(Finished(reason, seed, 40, 0, generated, 0.5, generated * 0.04))

    def answer(self, *texts: str) -> None:
        """A whole answer."""
        self.say(*texts)
        self.finish()

    def fail(
        self, what: str = "The model file is damaged", cure: str = "Download it again", code: int = 3
    ) -> None:
        """The load, or the request, fails; `code` 3 is the model's own fault, and ends the engine."""
        self.emit(Failed(what, cure, code))

    def die(self) -> None:
        """The process ends unasked."""
        self.dead = True
        self.emit(Failed("The decoder's process ended unexpectedly (code -9)", "Load the model again", 7), 0)
        self._queue.put_nowait(None)
