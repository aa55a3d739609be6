"""The texts of the corpus: plain files beside this module, a line a thing, `%` for remarks."""

from __future__ import annotations

from importlib.resources import files


def lines(name: str) -> list[str]:
    """The lines of one text file that say something."""
    text = (files(__package__) / "text" / name).read_text(encoding="utf-8")
    return [line.rstrip() for line in text.splitlines() if line.strip() and not line.startswith("%")]


def task_lists() -> dict[str, list[str]]:
    """The lists of `tasks.txt`, by name; the groups a line each, the others an entry each."""
    found: dict[str, list[str]] = {}
    for line in lines("tasks.txt"):
        if line.startswith("# "):
            found[line[2:].split("   ")[0]] = name = []
        else:
            name += [line] if found.keys() == {"groups"} else line.split("|")
    return found
