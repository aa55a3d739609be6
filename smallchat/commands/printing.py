"""What the commands print: lines of text, and JSON."""

from __future__ import annotations

import json
import sys
from typing import Any, TextIO

from smallchat.errors import legible


def say(text: str, file: TextIO | None = None) -> None:
    """A line that is `legible`, to standard output or to `file`."""
    print(legible(text), file=file or sys.stdout)


def print_json(value: Any) -> None:
    """One line of JSON to standard output."""
    print(escaped(json.dumps(value, ensure_ascii=False)))


def escaped(text: str) -> str:
    """The same JSON, with JSON's escapes for whatever a terminal would obey or could not show."""
    return "\n".join(line if line.isprintable() else _escaped(line) for line in text.split("\n"))


def _escaped(line: str) -> str:
    # What `json.dumps` let through stands within strings, where an escape means the same.
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in line)
