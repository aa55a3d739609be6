"""How full the context is."""

from __future__ import annotations

from smallchat.tui.text import count
from smallchat.tui.widgets.panel.lines import BLANK, Line, heading, meter


def lines(used: int | None, context: int, width: int) -> list[Line]:
    """Tokens of the conversation in the KV cache, of those that fit; None: not known yet."""
    if used is None:
        return meter("Context", 0, BLANK, width)
    if not context:  # a server that does not tell
        return [heading("Context", count(used, "token"), width)]
    return meter("Context", used / context, f"{used:,} of {context:,}", width)
