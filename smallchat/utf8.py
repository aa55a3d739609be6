"""Text that can be stored and sent."""

from __future__ import annotations


def encodable(text: str) -> str:
    """`text`, where a lone half of a surrogate pair is "?": no file, no server and no SQLite takes one, but a
    terminal, or odd bytes on a command line, may give one.
    """
    return text.encode("utf-8", "replace").decode("utf-8")
