"""What is given on the command line, beyond what Typer looks at."""

from __future__ import annotations

from collections.abc import Callable

from smallchat.settings import UsageError


def filled(name: str, cure: str) -> Callable[[str | None], str | None]:
    """What refuses an empty value for `name`: that of a variable that is not set would mean this folder.

    What it returns raises `UsageError`.
    """

    def callback(value: str | None) -> str | None:
        if value == "":
            raise UsageError(f"{name} is empty", cure)
        return value

    return callback
