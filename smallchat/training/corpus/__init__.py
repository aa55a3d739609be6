"""The corpus of the built-in model: made-up conversations, all written by this project.

Nothing here needs torch. `conversations(seed, count)` is the whole of it for a trainer.
"""

from __future__ import annotations

from .grammar import Intent, Message
from .intents import ALL, HOWTO
from .mix import conversation, conversations

__all__ = ["ALL", "HOWTO", "Intent", "Message", "conversation", "conversations"]
