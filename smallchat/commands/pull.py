"""`smallchat pull NAME`: fetch a model from the hub."""

from __future__ import annotations

import sys

from smallchat.commands.printing import print_json
from smallchat.commands.progress import bar
from smallchat.errors import HubError
from smallchat.hub.known import parse
from smallchat.settings import UsageError
from smallchat.tui.text import plain, size


def run(name: str, as_json: bool, yes: bool) -> None:
    """Fetch what `name` means, and print where it is. Raises `HubError` or `UsageError`.

    In a terminal the size is shown and one question asked, unless `yes`.
    """
    reference = parse(name)
    if reference is None:
        cure = "Give 4b, 21b, OWNER/NAME of the hub, or the address of a file there"
        raise UsageError(f"{name[:200]!r} is no model that can be fetched", cure)
    from smallchat.hub import catalog, fetch

    offer = catalog.ask(reference)
    path = fetch.cached(offer)
    if path is None:
        rest = offer.size - fetch.partial_size(offer)
        licence = f", {reference.model.licence}" if reference.model else ""
        left = f", {size(rest)} still to fetch" if rest < offer.size else ""
        print(plain(f"{offer.what}: {size(offer.size)}{left}{licence}"), file=sys.stderr)
        fetch.room(offer)
        if not yes and sys.stdin.isatty() and sys.stderr.isatty():
            print("Fetch it? [Y/n] ", end="", file=sys.stderr, flush=True)
            if sys.stdin.readline().strip().lower() not in {"", "y", "yes"}:
                raise HubError(f"{offer.what} was not fetched", "")
        with bar() as progress:
            path = fetch.fetch(offer, progress)
    if as_json:
        facts = {"path": str(path), "bytes": offer.size, "repository": offer.repository, "file": offer.file}
        print_json(facts | {"commit": offer.commit, "sha256": offer.sha256})
    else:
        print(plain(str(path)))
