"""The texts of the corpus: plain files beside this module, a line a thing, `%` for remarks."""

from __future__ import annotations

from importlib.resources import files


def lines(name: str) -> list[str]:
    """The lines of one text file that say something."""
    text = (files(__package__) / "text" / name).read_text(encoding="utf-8")
    return [line.rstrip() for line in text.splitlines() if line.strip() and not line.startswith("%")]
