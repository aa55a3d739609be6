"""`smallchat bench`: how fast a model runs on this machine.

It feeds seeded random tokens, never the model's own output: made-up weights would repeat one token, and so
use one set of experts.
"""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
import psutil

from smallchat.commands.resolve import load_options
from smallchat.engine import Engine
from smallchat.errors import ContextError
from smallchat.settings import DEFAULT_CONTEXT, Settings
from smallchat.tui.text import size, speed

TOKENS = 256
"""Ids are drawn below this: byte tokens, which every vocabulary has."""


def run(settings: Settings, prompt: int, answer: int, start_at: int, repeat: int, as_json: bool) -> None:
    """Measure `repeat` times: read `prompt` random tokens, then decode `answer` more one by one.

    `start_at` tokens are read first, unmeasured. Prints the medians. Raises `SmallchatError`.
    """
    facts = measure(settings, prompt, answer, start_at, repeat)
    if as_json:
        print(json.dumps(facts))
        return
    for name, value in _table(facts):
        print(f"{name:<14} {value}")


def measure(settings: Settings, prompt: int, answer: int, start_at: int, repeat: int) -> dict[str, Any]:
    """The figures of `run` by name: seconds, milliseconds, bytes and tokens a second."""
    options = load_options(settings)
    needed = start_at + prompt + answer
    context = max(needed, DEFAULT_CONTEXT) if settings.context == DEFAULT_CONTEXT else settings.context
    began = time.perf_counter()
    engine = Engine.load(options.path, options.mem, options.kernels, options.threads, context)
    try:
        if needed > engine.context:
            what = f"{needed} tokens are to be measured, the context holds {engine.context}"
            raise ContextError(what, "Give fewer --prompt-tokens or --gen-tokens, or another --start-at")
        loaded = time.perf_counter() - began
        random = np.random.default_rng(settings.seed or 0)
        first, prefills, steps, peak = 0.0, [], [], 0
        for _ in range(repeat):
            ids = random.integers(0, min(TOKENS, engine.config.vocabulary), needed).tolist()
            engine.clear()
            engine.feed(ids[:start_at])
            began = time.perf_counter()
            engine.feed(ids[start_at : start_at + prompt])
            prefills.append(time.perf_counter() - began)
            first = first or loaded + prefills[0]
            for token in ids[start_at + prompt :]:
                began = time.perf_counter()
                engine.feed([token])
                steps.append(time.perf_counter() - began)
            peak = max(peak, _memory())
        per_run = np.array(steps).reshape(repeat, answer).sum(axis=1)
        return {
            "model": engine.card.name,
            "path": str(engine.path),
            "kernels": engine.kernels.name,
            "threads": engine.threads,
            "mem_budget_bytes": engine.budget,
            "context": engine.context,
            "start_at": start_at,
            "prompt_tokens": prompt,
            "gen_tokens": answer,
            "repeat": repeat,
            "load_s": loaded,
            "first_token_s": first,
            "prefill_tokens_per_s": prompt / float(np.median(prefills)),
            "decode_tokens_per_s": answer / float(np.median(per_run)),
            "decode_ms_p50": float(np.percentile(steps, 50)) * 1e3,
            "decode_ms_p95": float(np.percentile(steps, 95)) * 1e3,
            "peak_memory_bytes": peak,
            "expert_hit_rate": engine.experts.hit_rate,
        }
    finally:
        engine.close()


def _memory() -> int:
    """Bytes that the system counts for this process, shared pages by share where it knows that (PSS)."""
    info = psutil.Process().memory_full_info()
    return int(getattr(info, "pss", info.rss))


def _table(facts: dict[str, Any]) -> list[tuple[str, str]]:
    hits, budget = facts["expert_hit_rate"], facts["mem_budget_bytes"]
    return [
        ("model", f"{facts['model']}  {facts['path']}"),
        ("kernels", f"{facts['kernels']}, {facts['threads']} threads"),
        ("load", f"{facts['load_s']:.2f} s, first token after {facts['first_token_s']:.2f} s"),
        ("prompt", f"{speed(facts['prefill_tokens_per_s'])} tok/s over {facts['prompt_tokens']} tokens"),
        ("decode", f"{speed(facts['decode_tokens_per_s'])} tok/s over {facts['gen_tokens']} tokens"),
        ("a token", f"{facts['decode_ms_p50']:.1f} ms, 1 of 20 over {facts['decode_ms_p95']:.1f} ms"),
        ("memory", size(facts["peak_memory_bytes"]) + (f" of {size(budget)}" if budget else "")),
        ("expert hits", "by the system's page cache" if hits is None else f"{hits:.0%}"),
    ]
