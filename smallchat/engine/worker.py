"""The decoder's own process: `python -m smallchat.engine.worker`, requests in, events out, as JSON lines.

Requests come on standard input, one object a line: {"request": number, "operation": name, …}; events go to
standard output (`smallchat.engine.events`). It ends when its input closes, so it cannot outlive the app.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, BinaryIO

from smallchat.engine.client import LoadOptions
from smallchat.engine.engine import Engine
from smallchat.engine.events import (
    Counted,
    Envelope,
    Event,
    Failed,
    Finished,
    FinishReason,
    Loading,
    Pieces,
    PromptProgress,
    Ready,
    Resized,
    Token,
    TooLong,
    dump,
)
from smallchat.engine.prompt import Messages, fit, room, shortest
from smallchat.engine.telemetry import snapshot
from smallchat.errors import EngineError, ExitCode, SmallchatError
from smallchat.settings import Sampling, SparseHead

TELEMETRY_SECONDS = 0.25
"""Telemetry is sent this often at the most while the engine works: as often as the screen draws it."""
IDLE_SECONDS = 2.0
"""… and this often while it waits, where something changed."""
MOST_ALTERNATIVES = 64
END_SECONDS = 1.0
"""Once nobody is there any more: for ending an answer, and for keeping what was read as a checkpoint."""
TOGETHER_SECONDS = 0.1
"""Tokens that come within this time go to the screen together, which draws no oftener: each time it is woken
takes the processor from the decoder for a while."""
WARM_SECONDS = 0.01
"""… and this often it goes on with reading what is likely to be wanted."""
IDLE_LAYERS = 4
"""Layers looked at for experts in memory each time while it waits."""


QUICK = frozenset({"resize"})
"""Requests that are served in the middle of an answer too, between two layers or tokens."""
ASIDE = frozenset({"count", "pieces"})
"""Requests that only need tokenizer and template: a thread of its own serves them, beside an answer."""

_OPTIONS = {field.name for field in fields(LoadOptions)}


class Worker:
    """One engine, and the requests for it. Requests are worked off in turn, but for those in `QUICK` and
    `ASIDE`; "cancel" acts at once.
    """

    def __init__(self, output: BinaryIO) -> None:
        self._output = output
        self._requests: queue.Queue[dict[str, Any]] = queue.Queue()
        self._quick: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._aside: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._cancelled: set[int] = set()
        self._ended = False
        self._engine: Engine | None = None
        self._last_telemetry = self._sent_at = 0.0
        self._last_sent = b""

    def listen(self, source: BinaryIO) -> None:
        """Read requests until the input closes, then end the process: nobody is there any more."""
        for line in source:
            try:
                request = json.loads(line)
            except ValueError:
                continue
            if request.get("operation") == "cancel":
                self._cancelled.add(int(request.get("target", 0)))
            elif request.get("operation") in QUICK:
                self._quick.put(request)
                self._requests.put({})  # wakes who waits for requests
            elif request.get("operation") in ASIDE and self._engine is not None:
                self._aside.put(request)
            else:
                self._requests.put(request)
        self._ended = True
        self._requests.put({})
        if self._engine is not None:
            time.sleep(END_SECONDS)
        # The main thread may be deep in a product: nothing here needs an orderly end.
        os._exit(0)

    def work(self) -> None:
        """Serve requests until the input has closed."""
        while True:
            if self._ended:
                with self._telling(0):
                    while self._engine is not None and self._engine.save_some():
                        pass
                os._exit(0)
            warming = False
            with self._telling(0):
                while self._engine is not None and self._requests.empty() and self._tidy(self._engine):
                    pass
                warming = self._engine is not None and self._engine.warm()
            try:
                request = self._requests.get(timeout=WARM_SECONDS if warming else IDLE_SECONDS)
            except queue.Empty:
                with self._telling(0):
                    self._wait(warming)
                continue
            self.serve(request)

    def _wait(self, warming: bool) -> None:
        """What is done while nothing is asked."""
        if self._engine is not None and not warming:
            self._engine.experts.look(IDLE_LAYERS)
            self._engine.remember()
        self._telemetry(0, force=not warming)

    def work_aside(self) -> None:
        """Serve requests that take nothing from the decoder, in a thread of its own."""
        while True:
            self._serve(self._aside.get(), aside=True)

    @staticmethod
    def _tidy(engine: Engine) -> bool:
        """A little of what is done while nobody waits; False: nothing is left."""
        return engine.save_some() or engine.tally.forecast.work()

    def serve(self, request: Mapping[str, Any]) -> None:
        """Carry out one request; whatever goes wrong becomes a `Failed` event."""
        if request:
            self._serve(request)
        self._serve_quick()

    def _serve_quick(self) -> None:
        while not self._quick.empty():
            self._serve(self._quick.get())

    def _should_stop(self, number: int) -> bool:
        """Asked often while an answer is made."""
        self._serve_quick()
        return self._ended or number in self._cancelled

    def _serve(self, request: Mapping[str, Any], aside: bool = False) -> None:
        number = int(request.get("request", 0))
        with self._telling(number, aside):
            match request.get("operation"):
                case "load":
                    self._load(number, request)
                case "chat":
                    self._chat(number, request)
                case "count":
                    self._count(number, request)
                case "resize":
                    self._resize(number, request["mem"])
                case "pieces":
                    self._send(number, self._pieces(request["text"], request["ids"]))

    @contextlib.contextmanager
    def _telling(self, number: int, aside: bool = False) -> Iterator[None]:
        """Whatever goes wrong within becomes a `Failed` event of this request; 0: nobody asked for it.
        `aside`: the engine is another thread's, and may be at work.
        """
        try:
            yield
        except SmallchatError as error:
            failed = Failed(error.what, error.cure, int(error.exit_code))
        except MemoryError:
            cure = "Close other programs, or use a smaller --context or model"
            failed = Failed("There is not enough memory", cure, int(ExitCode.MEMORY))
        except Exception as error:  # a fault of ours: the details go to the log
            traceback.print_exc()
            what = f"smallchat made a mistake ({type(error).__name__})"
            failed = Failed(what, "Please report it with the engine's log", int(ExitCode.UNEXPECTED))
        else:
            return
        self._send(number if aside else self._given_up(number), failed)

    def _given_up(self, number: int) -> int:
        """An engine of which nothing runs any more, or that failed while nobody asked, is of no use: it is
        closed, and request 0 tells so. The number to tell with."""
        engine = self._engine
        if engine is None or (number and engine.running):
            return number
        self._engine = None
        engine.close()
        return 0

    def _load(self, number: int, request: Mapping[str, Any]) -> None:
        if self._engine is not None:
            self._engine.close()
            self._engine = None
        began = time.perf_counter()
        path = Path(request["path"])
        self._send(number, Loading(f"Opening {path.name}"))
        options = {key: value for key, value in request.items() if key in _OPTIONS and value is not None}
        if head := options.get("sparse_head"):
            options["sparse_head"] = SparseHead(**head)
        engine = self._engine = Engine.load(**LoadOptions(**options | {"path": path}).arguments())
        seconds = time.perf_counter() - began
        self._send(number, describe(engine, seconds, bool(request.get("demo"))))
        engine.experts.look(engine.config.layers)
        self._telemetry(number, force=True)

    def _chat(self, number: int, request: Mapping[str, Any]) -> None:
        engine = self._loaded()
        sampling = Sampling(**request["sampling"]).seeded()
        max_tokens, begun = request.get("max_tokens"), list(request.get("begun", ()))
        resume = bool(request.get("resume"))
        ids, left_out, tokens = fit(engine, request["messages"], resume, begun)
        if left_out:
            self._send(number, TooLong(left_out, tokens, room(engine.context)))
            return
        if begun and begun[-1] in engine.tokenizer.stop_ids:  # the user ends the answer there
            self._send(number, Token(begun[-1], engine.tokenizer.says(begun[:-1]), 0, 0.0, 0.0, "stop"))
            self._send(number, Finished("stop", sampling.seed or 0, tokens, 0, 0, 0.0, 0.0))
            return
        prompt = PromptProgress(0, len(ids), 0, 0.0)

        def on_prompt(progress: PromptProgress) -> None:
            nonlocal prompt
            prompt = progress
            self._send(number, progress)
            self._telemetry(number)

        generated, decoded = 0, 0.0
        reason: FinishReason = "cancelled"  # during the prompt, if no token comes
        for token in engine.generate(
            ids,
            max_tokens,
            **asdict(sampling),
            begun=len(begun),
            owner=max(0, int(request.get("owner", 0))),
            alternatives=min(int(request.get("alternatives", 0)), MOST_ALTERNATIVES),
            on_prompt=on_prompt,
            should_stop=lambda: self._should_stop(number),
        ):
            generated += token.finish != "stop"
            decoded += token.seconds
            reason = token.finish or reason
            self._send(number, token, TOGETHER_SECONDS if token.index else 0.0)
            self._telemetry(number)
        self._cancelled.discard(number)
        self._telemetry(number, force=True)
        seed = sampling.seed or 0
        spent = (prompt.seconds, decoded)
        self._send(number, Finished(reason, seed, prompt.total, prompt.reused, generated, *spent))

    def _resize(self, number: int, mem: int | None) -> None:
        engine = self._loaded()
        engine.resize(mem)
        self._send(number, Resized(engine.budget))
        self._telemetry(number, force=True)

    def _count(self, number: int, request: Mapping[str, Any]) -> None:
        engine = self._loaded()

        def length(messages: Messages) -> int:
            return len(engine.template.render(messages, engine.tokenizer))

        messages, space = request["messages"], room(engine.context)
        tokens = length(messages)
        least = length(shortest(messages)) if tokens > space else tokens
        self._send(number, Counted(tokens, space, least))

    def _pieces(self, text: str, ids: list[int]) -> Pieces:
        tokenizer = self._loaded().tokenizer
        found = ids if tokenizer.spells(ids, text) else tokenizer.encode(text)
        return Pieces(tuple(found), tuple(map(tokenizer.bytes_of, found)))

    def _telemetry(self, number: int, force: bool = False) -> None:
        now = time.monotonic()
        if self._engine is None or not (force or now - self._last_telemetry >= TELEMETRY_SECONDS):
            return
        self._last_telemetry = now
        line = dump(Envelope(number, snapshot(self._engine)))
        if line != self._last_sent:
            self._last_sent = line
            self._write(line)

    def _loaded(self) -> Engine:
        if self._engine is None:
            raise EngineError("No model is loaded", "Load a model first")
        return self._engine

    def _send(self, number: int, event: Event, together: float = 0.0) -> None:
        self._write(dump(Envelope(number, event)), together)

    def _write(self, line: bytes, together: float = 0.0) -> None:
        """Send a line; it waits for the next one where the last went less than `together` seconds ago."""
        now = time.monotonic()
        try:
            self._output.write(line)
            if now - self._sent_at >= together:
                self._output.flush()
                self._sent_at = now
        except (BrokenPipeError, ValueError):
            os._exit(0)


def describe(engine: Engine, seconds: float, demo: bool) -> Ready:
    """What the screen shows of a loaded model."""
    config = engine.config
    return Ready(
        path=str(engine.path),
        name=engine.card.name,
        quantisation=engine.weights.quantisation,
        parameters=engine.card.parameters,
        active_parameters=engine.card.active_parameters,
        layers=config.layers,
        experts=config.experts,
        experts_used=config.experts_used,
        hidden=config.hidden,
        context=engine.context,
        model_context=config.context,
        kernels=engine.kernels.name,
        threads=engine.threads,
        budget=engine.budget,
        load_seconds=seconds,
        demo=demo,
        notes=tuple(engine.notes),
    )


def main() -> None:
    """Entry of the process."""
    # Nothing but events may reach standard output, whatever a library prints.
    output = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    worker = Worker(output)
    threading.Thread(target=worker.listen, args=(sys.stdin.buffer,), daemon=True).start()
    threading.Thread(target=worker.work_aside, daemon=True).start()
    worker.work()


if __name__ == "__main__":
    main()
