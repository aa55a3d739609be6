"""The line on the prompt's lower border."""

from __future__ import annotations

from smallchat.tui.dialogue import Dialogue
from smallchat.tui.keys import KeyNames
from smallchat.tui.text import count


def hint(dialogue: Dialogue, keys: KeyNames, queued: bool, at_end: bool) -> str:
    """What the key that sends will do, and how much of the context is taken."""
    if queued:
        return "Waiting: sends when this answer is complete · any edit holds it back"
    parts = [] if at_end else [f"↓ more below: {keys['follow']}"]
    counted = dialogue.counted
    context = dialogue.ready.context if dialogue.ready is not None else 0
    if dialogue.ready is not None and counted is not None:
        parts.append(f"{counted.tokens:,} of {count(context, 'token')}")
    send = keys["send"]
    if dialogue.busy:
        parts.append(f"{send} sends after this answer")
    elif dialogue.ready is None and dialogue.failure is None:
        parts.append(f"{send} sends when the model is loaded")
    elif context and counted is not None and counted.least >= context:
        parts.append("too long: shorten it")
    elif counted is not None and counted.least < counted.tokens:
        parts.append(f"too long: {send} asks what to leave out")
    else:
        parts.append(f"{send} sends")
    return " · ".join(parts)
