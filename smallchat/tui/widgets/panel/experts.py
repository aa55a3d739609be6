"""What stands around the map of the experts: its heading, its legend, and one expert in words."""

from __future__ import annotations

from smallchat.engine.events import HEAT_FULL, IN_MEMORY, ON_DISK, READING, USED, Telemetry
from smallchat.tui.widgets.panel.grid import Grid
from smallchat.tui.widgets.panel.lines import BLANK, Line, fitting, heading, length, meter

_STATES = {ON_DISK: "on disk", READING: "reading", IN_MEMORY: "in memory", USED: "this token"}


def title(telemetry: Telemetry | None, grid: Grid | None, width: int) -> Line:
    """How many experts there are, and how often one that was wanted was in memory."""
    if telemetry is None or grid is None:
        return heading("Experts", BLANK, width)
    shape = f"{telemetry.layers} × {telemetry.expert_count}"
    together = f", {grid.together} a mark" if grid.together > 1 else ""
    hit = f"hit {telemetry.hit_rate:.0%}" if telemetry.hit_rate is not None else ""
    forms = (f"{shape}{together}   {hit}".rstrip(), f"{shape}{together}", hit or shape)
    return heading("Experts", fitting(width - 8, *forms), width)


def legend(width: int, dense: bool, no_color: bool) -> list[Line]:
    """What the marks mean, on one line or, where it is narrow, two."""
    memory: Line
    if dense and no_color:
        memory, disk, now = (("░▒▓", ""),), ("·", ""), ("▀▄█", "")
    elif dense:
        memory = ("█", "idle"), ("█", "cool"), ("█", "warm"), ("█", "hot")
        disk, now = ("█", "disk"), ("█", "used")
    else:
        memory = ("░", "idle"), ("▒", "cool"), ("▒", "warm"), ("▓", "hot")
        disk, now = ("·", "dot"), ("█", "used")
    coming = ("█" if dense and not no_color else "↓", "reading")
    parts: list[Line] = [
        (disk, (" disk", "quiet")),
        (coming, (" reading", "quiet")),
        (*memory, (" memory", "quiet")),
        (now, (" this token", "quiet")),
    ]
    whole = _row(parts)
    if length(whole) > width:
        parts[-1] = (now, (" now", "quiet"))
        whole = _row(parts)
    return [whole] if length(whole) <= width else [_row(parts[:2]), _row(parts[2:])]


def _row(parts: list[Line]) -> Line:
    between = ("  ", "")
    return tuple(span for part in parts for span in (*part, between))[:-1]


def expert(telemetry: Telemetry, layer: int, number: int, width: int) -> Line:
    """One expert in words: its place, its state, and how many of the recent tokens used it."""
    at = layer * telemetry.expert_count + number
    state, heat = _STATES.get(telemetry.experts[at], "?"), telemetry.heat[at]
    share = f"{heat / 255 * HEAT_FULL:.0%}" if heat < 255 else f"{HEAT_FULL:.0%} or more"
    used = f"used by {share} of recent tokens" if heat else "never used"
    where = f"layer {layer} · expert {number} · {state}"
    forms = (
        f"{where} · {used}",
        f"{where} · {share if heat else 'never'}",
        f"L{layer} E{number} · {state} · {share.partition(' ')[0] if heat else 'never'}",
        f"L{layer} E{number} {state}",
    )
    return ((fitting(width, *forms), ""),)


def neurons(telemetry: Telemetry, width: int) -> list[Line]:
    """How many neurons of the used experts were silent; nothing where that is not measured."""
    if telemetry.neuron_sparsity is None:
        return []
    return meter("Neurons", telemetry.neuron_sparsity, f"{telemetry.neuron_sparsity:.0%} silent", width)
