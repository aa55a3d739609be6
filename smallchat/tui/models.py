"""The models of this machine and those to be had, as `smallchat models` lists them. Knows no widget.

A process of its own looks: measuring this machine takes half a second on all its cores, and needs the
decoder's libraries, which the screen's process never loads.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smallchat.errors import ExitCode, SmallchatError
from smallchat.interpreter import PYTHON
from smallchat.settings import BUILTIN
from smallchat.tui.text import one_line, outlook, size

BUILT_IN = "built in"
"""Its place, as `smallchat models` names it."""


class ListingError(SmallchatError):
    """The models cannot be listed."""

    exit_code = ExitCode.ENGINE


@dataclass(frozen=True, slots=True)
class ListedModel:
    """One line of the list; a model without a path is to be fetched."""

    name: str
    short: str
    path: Path | None
    bytes: int
    told: str
    """How it would run here, or what is wrong with it."""
    place: str
    works: bool = True

    @property
    def demo(self) -> bool:
        """The model that smallchat ships."""
        return self.place == BUILT_IN


async def listed() -> list[ListedModel]:
    """What is installed, then what could be fetched. Raises `ListingError`."""
    process = await asyncio.create_subprocess_exec(
        *(*PYTHON, "-m", "smallchat", "models", "--json"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    try:
        found = json.loads(out)
        return [*map(_installed, found["installed"]), *map(_available, found["available"])]
    except (ValueError, KeyError, TypeError):
        said = err.decode("utf-8", "replace").strip().splitlines() or ["it said nothing"]
        raise ListingError(f"The models cannot be listed: {said[-1]}", "Try smallchat models") from None


def called(name: str, models: list[ListedModel]) -> list[ListedModel]:
    """Those that `name` may mean, what is installed first: the short name, or a part of name or file."""
    wanted = name.strip().casefold()
    exact = [one for one in models if wanted in (one.short.casefold(), one.name.casefold())]
    if exact:
        return exact
    return [one for one in models if wanted in f"{one.name} {one.path.name if one.path else ''}".casefold()]


def _installed(row: dict[str, Any]) -> ListedModel:
    path = Path(row["path"])
    short = BUILTIN if row["place"] == BUILT_IN else row["short"] or path.stem
    if "problem" in row:
        return ListedModel(
            path.name, short, path, row["bytes"], one_line(row["problem"]), row["place"], False
        )
    name = one_line(f"{row['name']} · {row['quantisation']}")
    return ListedModel(name, short, path, row["bytes"], outlook(row), row["place"])


def _available(row: dict[str, Any]) -> ListedModel:
    return ListedModel(one_line(row["name"]), row["short"], None, row["bytes"], outlook(row), "to fetch")


def line(model: ListedModel) -> tuple[str, str, str]:
    """Name, size and the rest, for a table."""
    return one_line(model.name), size(model.bytes), one_line(f"{model.told} · {model.place}")
