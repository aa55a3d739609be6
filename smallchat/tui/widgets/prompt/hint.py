"""The line on the prompt's lower border."""

from __future__ import annotations

from smallchat.tui.dialogue import Dialogue
from smallchat.tui.text import count


def hint(dialogue: Dialogue, queued: bool, at_end: bool) -> str:
    """What Enter will do, and how much of the context is taken."""
    if queued:
        return "Waiting: sends when this answer is complete · any edit holds it back"
    parts = [] if at_end else ["↓ more below: Ctrl+End"]
    if dialogue.ready is not None and dialogue.counted is not None:
        context = dialogue.ready.context
        parts.append(f"{dialogue.counted.tokens:,} of {count(context, 'token')}")
        if dialogue.counted.tokens > dialogue.counted.room:
            parts.append("too long: Enter asks what to leave out")
    if dialogue.busy:
        parts.append("Enter sends after this answer")
    elif dialogue.ready is None and dialogue.failure is None:
        parts.append("Enter sends when the model is loaded")
    else:
        parts.append("Enter sends")
    return " · ".join(parts)
