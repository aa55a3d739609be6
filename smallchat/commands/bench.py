"""`smallchat bench`: how fast a model runs on this machine.

It feeds seeded random tokens, never the model's own output: made-up weights would repeat one token, and so
use one set of experts.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from smallchat.commands.cut_file import told_when_cut
from smallchat.commands.peak_memory import PeakMemory
from smallchat.commands.printing import print_json
from smallchat.commands.resolve import load_options
from smallchat.engine import Engine
from smallchat.errors import ContextError
from smallchat.settings import DEFAULT_CONTEXT, Settings
from smallchat.tui.text import plain, size, speed

PAUSE = 0.05
"""Seconds that are worth a line."""
TOKENS = 256
"""Ids are drawn below this: byte tokens, which every vocabulary has."""


@dataclass(frozen=True, slots=True)
class Work:
    """What is measured, `repeat` times: a prompt of `prompt` tokens, then `answer` tokens one by one.

    `start_at` tokens are read before, unmeasured.
    """

    prompt: int
    answer: int
    start_at: int
    repeat: int

    @property
    def tokens(self) -> int:
        """Tokens of one run."""
        return self.start_at + self.prompt + self.answer


def run(settings: Settings, work: Work, synthetic: str | None, as_json: bool) -> None:
    """Measure, and print the medians; the model is that of `settings`, or the `synthetic` one of that name.

    Raises `SmallchatError`.
    """
    if synthetic is not None:
        from smallchat.commands.synthetic import path_of

        settings = replace(settings, model=str(path_of(synthetic)))
    facts = measure(settings, work)
    if as_json:
        print_json(facts)
        return
    for name, value in _table(facts):
        print(plain(f"{name:<14} {value}"))


def measure(settings: Settings, work: Work) -> dict[str, Any]:
    """The figures of `run` by name: seconds, milliseconds, bytes and tokens a second.

    `read_bytes_per_token` and `wait_ms_per_token` are means over decoded tokens; `expert_hit_rate` counts the
    prompts too. What the engine cannot tell is None; see `Counters` for what it cannot tell when.
    """
    options = load_options(settings)
    context = max(work.tokens, DEFAULT_CONTEXT) if settings.context == DEFAULT_CONTEXT else settings.context
    with PeakMemory() as memory, told_when_cut(options.path):
        narrate("loading")
        began = time.perf_counter()
        engine = Engine.load(**options.arguments() | {"context": context})
        loaded = time.perf_counter() - began
        try:
            memory.look()
            if work.tokens > engine.context:
                what = f"{work.tokens} tokens are to be measured, the context holds {engine.context}"
                raise ContextError(what, "Give fewer --prompt-tokens or --gen-tokens, or another --start-at")
            facts = _runs(engine, work, settings.seed or 0, memory)
        finally:
            narrate("")
            engine.close()
    return facts | {"load_s": loaded, "first_token_s": loaded + facts.pop("first_prompt_s")}


def _runs(engine: Engine, work: Work, seed: int, memory: PeakMemory) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    prompts: list[float] = []  # seconds
    pauses: list[float] = []
    steps: list[float] = []
    read, waited = 0, 0.0
    for number in range(1, work.repeat + 1):
        ids = random.integers(0, min(TOKENS, engine.config.vocabulary), work.tokens).tolist()
        narrate(f"run {number} of {work.repeat}: prompt")
        engine.clear()
        engine.feed(ids[: work.start_at])
        began = time.perf_counter()
        engine.feed(ids[work.start_at : work.start_at + work.prompt])
        prompts.append(time.perf_counter() - began)
        began = time.perf_counter()
        if engine.plan.mapped:  # what a chat does in the first pause
            engine.experts.look(engine.config.layers)
            while engine.warm():
                pass
        pauses.append(time.perf_counter() - began)
        memory.look()
        narrate(f"run {number} of {work.repeat}: decode")
        before = engine.counters()
        for token in ids[work.start_at + work.prompt :]:
            began = time.perf_counter()
            engine.feed([token])
            steps.append(time.perf_counter() - began)
        after = engine.counters()
        read += after.read_bytes - before.read_bytes
        waited += after.wait_seconds - before.wait_seconds
        memory.look()
    answers = np.array(steps).reshape(work.repeat, work.answer).sum(axis=1)
    return {
        "model": engine.card.name,
        "made_up_weights": engine.card.made_up,
        "path": str(engine.path),
        "kernels": engine.kernels.name,
        "threads": engine.threads,
        "mem_budget_bytes": engine.budget,
        "context": engine.context,
        "start_at": work.start_at,
        "prompt_tokens": work.prompt,
        "gen_tokens": work.answer,
        "repeat": work.repeat,
        "first_prompt_s": prompts[0],
        "pause_s": pauses[0],
        "prefill_tokens_per_s": work.prompt / float(np.median(prompts)),
        "decode_tokens_per_s": work.answer / float(np.median(answers)),
        "decode_ms_p50": float(np.percentile(steps, 50)) * 1e3,
        "decode_ms_p95": float(np.percentile(steps, 95)) * 1e3,
        "peak_memory_bytes": memory.bytes,
        "expert_hit_rate": engine.experts.hit_rate,
        "read_bytes_per_token": read / len(steps),
        "wait_ms_per_token": waited / len(steps) * 1e3,
        "neuron_sparsity": engine.counters().neuron_sparsity,
        "head_agreement": None if engine.sparse_head is None else _agreement(engine, ids, work.answer),
    }


def _agreement(engine: Engine, ids: list[int], answer: int) -> float:
    """Share of the last `answer` tokens after which the sparse head's first choice is the dense head's."""
    choices = []
    for head in (engine.sparse_head, None):
        sparse, engine.sparse_head = engine.sparse_head, head
        engine.clear()
        engine.feed(ids[:-answer])
        logits = (engine.feed([token]) for token in ids[-answer:])
        choices.append([int(row.argmax()) for row in logits if row is not None])
        engine.sparse_head = sparse
    return float(np.mean(np.equal(choices[0], choices[1])))


def narrate(text: str) -> None:
    """What goes on, on one line of a terminal that the next one takes; "" leaves it empty."""
    if sys.stderr.isatty():
        print(f"\r{text:<40}", end="" if text else "\r", file=sys.stderr, flush=True)


def _table(facts: dict[str, Any]) -> list[tuple[str, str]]:
    hits, budget, zeros = facts["expert_hit_rate"], facts["mem_budget_bytes"], facts["neuron_sparsity"]
    mapped = "read by the system, as it likes"
    read, waited = size(facts["read_bytes_per_token"]), facts["wait_ms_per_token"]
    rows = [
        ("model", f"{facts['model']}  {facts['path']}"),
        ("kernels", f"{facts['kernels']}, {facts['threads']} threads"),
        ("load", f"{facts['load_s']:.2f} s, first token after {facts['first_token_s']:.2f} s"),
        ("prompt", f"{speed(facts['prefill_tokens_per_s'])} tok/s over {facts['prompt_tokens']} tokens"),
        ("decode", f"{speed(facts['decode_tokens_per_s'])} tok/s over {facts['gen_tokens']} tokens"),
        ("a token", f"{facts['decode_ms_p50']:.1f} ms, 1 of 20 over {facts['decode_ms_p95']:.1f} ms"),
        ("memory", size(facts["peak_memory_bytes"]) + (f" of {size(budget)}" if budget else "")),
        (
            "experts",
            mapped if hits is None else f"{hits:.0%} in memory; a token read {read}, waited {waited:.1f} ms",
        ),
    ]
    if facts["pause_s"] > PAUSE:
        rows.insert(3, ("pause", f"{facts['pause_s']:.2f} s, for experts to be laid out anew"))
    if zeros is not None:
        rows.append(("neurons", f"{zeros:.0%} of the used experts' were zero"))
    if facts["head_agreement"] is not None:
        rows.append(
            ("sparse head", f"the dense head's first choice for {facts['head_agreement']:.0%} of tokens")
        )
    if facts["made_up_weights"]:
        rows.append(("note", "made-up weights: they measure speed, never quality"))
    return rows
