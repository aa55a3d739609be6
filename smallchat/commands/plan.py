"""`smallchat plan MODEL`: what a memory budget gives on this machine, before any download; an estimate."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from smallchat.commands.printing import print_json
from smallchat.commands.resolve import MissingModelError, model_path
from smallchat.engine.client import SCREEN_BYTES
from smallchat.engine.fitting import suitable_threads
from smallchat.experts.budget import RANK_BYTES
from smallchat.hub import details, disk, machine, planning
from smallchat.hub.installed import BUILTIN, hub_cache, installed
from smallchat.hub.known import DEFAULT_TYPE, POWERINFER
from smallchat.settings import Settings, parse_size
from smallchat.tui.text import count, plain, size, speed

HELD_UP = {"memory": "memory: more than is free", "disk": "the disk", "compute": "the processor"}
BUSY = 0.5
"""Load of each processor from which its measured speed is that of what others leave."""


def run(settings: Settings, name: str, budgets: Sequence[str], as_json: bool) -> None:
    """Print what `budgets` (as `--mem` takes them; none: a ladder) give with the model that `name` means.

    Raises `SmallchatError`.
    """
    facts = estimate(settings, name, [parse_size(one) for one in budgets])
    if as_json:
        print_json(facts)
        return
    for line in _lines(facts):
        print(plain(line))


def estimate(settings: Settings, name: str, budgets: list[int]) -> dict[str, Any]:
    """The figures of `run` by name: bytes, seconds, bytes and tokens a second; None where something is not
    known.
    """
    path, facts = _model(settings, name)
    if sys.stderr.isatty():
        print("measuring …", end="\r", file=sys.stderr, flush=True)
    busy = psutil.getloadavg()[0] > BUSY * (psutil.cpu_count() or 1)
    here = machine.measure(threads=settings.threads or suitable_threads(facts.active_parameters))
    piece = facts.layout.largest_expert // 3
    sample, folder = path or _sample(), hub_cache()
    read = disk.speed_of(sample, piece) if sample is not None else disk.speed_in(folder, piece)
    plan = planning.make_plan(facts, here, read, budgets or None, SCREEN_BYTES)
    return {
        "model": facts.name,
        "quantisation": facts.quantisation,
        "path": None if path is None else str(path),
        "context": facts.context,
        "threads": here.threads,
        "kernels": here.kernels,
        "experts": facts.layout.layers * facts.layout.experts,
        "experts_per_token": facts.layout.layers * facts.experts_used,
        "expert_bytes": facts.layout.largest_expert,
        "available_bytes": here.available,
        "smallest_budget_bytes": plan.smallest,
        "smallest_ask_budget_bytes": planning.smallest_budget(facts, here.threads),
        "whole_budget_bytes": plan.whole,
        "budgets": [_row(outcome) for outcome in plan.outcomes],
        "recommended_budget_bytes": plan.recommended and plan.recommended.budget,
        "estimated_from": {
            "product_bytes_per_second": round(here.product_speed),
            "disk_bytes_per_second": read and round(read.bytes_per_second),
            "disk_direct": read and read.direct,
            "disk_file": None if read is None or read.path is None else str(read.path),
            "disk_folder": str(folder if sample is None else sample.parent),
            "read_bytes": piece,
            "routing": "made up",
            "machine_busy": busy,
        },
    }


def _model(settings: Settings, name: str) -> tuple[Path | None, details.Details]:
    """The file, where it is here, and what is in it."""
    try:
        path = model_path(name)
    except MissingModelError as missing:
        model, kind = missing.reference.model, missing.reference.type
        if model is None or kind not in {DEFAULT_TYPE, POWERINFER}:
            raise
        return None, details.of_known(model, settings.context, settings.kv)
    return path, details.of_file(path, settings.context, settings.kv)


def _sample() -> Path | None:
    """A model that lies where the next one will, the largest."""
    here = [one for one in installed() if one.place != BUILTIN and disk.same_disk(one.path, hub_cache())]
    return max(here, key=lambda one: one.size).path if here else None


def _row(outcome: planning.Outcome) -> dict[str, Any]:
    return {
        "budget_bytes": outcome.budget,
        "context": outcome.context,
        "slots": outcome.slots,
        "hit_rate": outcome.hit_rate,
        "read_bytes_per_token": outcome.read_bytes,
        "disk_s_per_token": outcome.disk_seconds,
        "tokens_per_s": outcome.tokens_per_second,
        "limit": outcome.limit,
    }


def _lines(facts: dict[str, Any]) -> list[str]:
    kind = facts["quantisation"] + ("" if facts["path"] else ", not on this disk yet")
    rows = [("--mem", "context", "experts in memory", "found", "read a token", "tokens/s", "held up by")]
    for row in facts["budgets"]:
        if not row["slots"]:
            for_ask = row["budget_bytes"] >= facts["smallest_ask_budget_bytes"]
            told = "too small for the app" if for_ask else "too small"
            rows.append((_mem(row["budget_bytes"]), "", told, "", "", "", ""))
            continue
        seconds, rate, read = row["disk_s_per_token"], row["tokens_per_s"], row["read_bytes_per_token"]
        spent = f", {seconds * 1e3:.0f} ms" if seconds else ""
        rows.append(
            (
                _mem(row["budget_bytes"]),
                str(row["context"]),
                f"{row['slots']:,} of {facts['experts']:,}",
                f"{row['hit_rate']:.0%}",
                size(read) + spent if read else "nothing",
                speed(rate) if rate else "not known",
                HELD_UP[row["limit"]] if rate or row["limit"] == "memory" else "",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    table = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in rows]
    return [
        f"{facts['model']}  {kind}, {count(facts['threads'], 'thread')}",
        "",
        *(line.rstrip() for line in table),
        "",
        f"smallest     --mem {_mem(facts['smallest_budget_bytes'])} for the app, "
        f"{_mem(facts['smallest_ask_budget_bytes'])} for ask, bench and --inline",
        f"all of it    from --mem {_mem(facts['whole_budget_bytes'])} on",
        f"recommended  {_advice(facts)}",
        *(f"{'':<13}{line}" if at else f"{'an estimate':<13}{line}" for at, line in enumerate(_basis(facts))),
    ]


def _advice(facts: dict[str, Any]) -> str:
    free, wanted, whole = (
        facts["available_bytes"],
        facts["recommended_budget_bytes"],
        facts["whole_budget_bytes"],
    )
    room = free - machine.HEADROOM
    if whole <= room:
        nearly = f"; nearly as fast: --mem {_mem(wanted)}" if wanted and wanted < whole else ""
        return f"no --mem: all of it fits into the {size(free)} that are free{nearly}"
    if facts["smallest_budget_bytes"] > room:
        with_one = facts["smallest_budget_bytes"] - (facts["threads"] - 1) * RANK_BYTES
        less = "; fewer --threads take less" if with_one <= room else ""
        return f"none: only {size(free)} of memory are free{less}"
    if wanted is None:
        return "none: too little is known of how fast it would be"
    return f"--mem {_mem(wanted)}: {size(free)} are free, and more of them would hardly be faster"


def _basis(facts: dict[str, Any]) -> list[str]:
    basis = facts["estimated_from"]
    rate = basis["disk_bytes_per_second"]
    where = basis["disk_file"] or f"a file made for it in {basis['disk_folder']}"
    how = "past the page cache" if basis["disk_direct"] else "perhaps out of the system's own cache"
    lines = [
        f"products: {size(basis['product_bytes_per_second'])}/s of weights, {facts['kernels']}, measured now",
        f"reads of {-(-basis['read_bytes'] // 1024)}K: {size(rate)}/s {how}, measured now on {where}"
        if rate
        else f"reads: could not be measured in {basis['disk_folder']}",
        "memory: that of the app, with half of the context in use",
        "routing: made up, as uneven as the models' report says; a text of one topic finds more",
    ]
    if basis["machine_busy"]:
        lines.append("this machine is busy: the measured speeds are those of what is left")
    return lines


def _mem(budget: int) -> str:
    """Exactly, as `--mem` takes it."""
    gibibytes = budget / (1 << 30)
    return f"{gibibytes:g}G" if gibibytes * 2 % 1 == 0 else f"{-(-budget // (1 << 20))}M"
