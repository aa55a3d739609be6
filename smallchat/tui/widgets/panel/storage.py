"""What was read from disk, and how often what was read ahead was wanted."""

from __future__ import annotations

from smallchat.engine.events import Storage
from smallchat.tui.text import size
from smallchat.tui.widgets.panel.lines import Line, fitting, heading


def lines(storage: Storage | None, width: int, brief: bool) -> list[Line]:
    """Bytes and speed; unless `brief`, the guesses too. Nothing where the system does the paging."""
    if storage is None:
        return []
    read = size(storage.read_bytes)
    speed = f"{size(storage.read_speed)}/s" if storage.read_speed else ""
    told = fitting(width - 5, f"{read} read, {speed}", f"{read} {speed}") if speed else f"{read} read"
    shown = [heading("Disk", told, width)]
    right, wrong = storage.guesses_right, storage.guesses_wrong
    if brief or not right + wrong:
        return shown
    share = f" ({right / (right + wrong):.0%})"
    forms = (
        f"read ahead: {right:,} right{share}, {wrong:,} wrong",
        f"guesses: {right:,} right, {wrong:,} wrong",
        f"{right:,} of {right + wrong:,} wanted",
    )
    return [*shown, ((fitting(width, *forms), "quiet"),)]
