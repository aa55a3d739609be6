"""`smallchat history …`: the saved conversations without the app. Only parsing and printing."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from smallchat.commands.given import filled
from smallchat.commands.printing import escaped, print_json, say
from smallchat.errors import StorageError
from smallchat.settings import UsageError

if TYPE_CHECKING:
    from smallchat.chat.records import Conversation
    from smallchat.chat.store import Store

LAST = "last"
MOST = 1_000_000
"""Conversations that a list may be asked for."""

app = typer.Typer(
    help="The saved conversations.",
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="A number of the list, or last.")]
Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Numbers of the list, or last.")]


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option("--limit", min=1, max=MOST, metavar="N", help="At the most.")] = 50,
    as_json: Json = False,
) -> None:
    """Pinned conversations, then the newest."""
    with _store() as store:
        conversations = store.conversations(limit)
    if as_json:
        print_json({"conversations": [asdict(one) for one in conversations]})
        return
    for one in conversations:
        told = f"{one.messages} messages" + (f", {one.branches} branches" if one.branches > 1 else "")
        say(f"{one.id:>6}  {_date(one.updated)}  {'* ' if one.pinned else ''}{one.title}  ({told})")
    if not conversations:
        print("Nothing is saved yet", file=sys.stderr)


@app.command()
def show(conversation: Id, as_json: Json = False) -> None:
    """One conversation; with --json every branch of it."""
    from smallchat.chat import transfer

    with _store() as store:
        found = _find(store, conversation)
        if as_json:
            print_json(transfer.as_data(store, [found])["conversations"][0])
            return
        text = transfer.markdown(found, store.turns(found.id))
    _write(text)


@app.command()
def search(
    words: Annotated[list[str], typer.Argument(metavar="WORDS", help="All of them; the last may be begun.")],
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, metavar="N", help="At the most.")] = 20,
    as_json: Json = False,
) -> None:
    """Everything ever said, in every branch; the newest first."""
    from smallchat.chat.search import Search

    with _store() as store:
        looking = Search(store)
        try:
            looking.catch_up(3600)
            found = looking.find(" ".join(words), limit)
        finally:
            looking.close()
    if as_json:
        print_json({"query": " ".join(words), "found": [asdict(one) for one in found]})
        return
    for one in found:
        say(f"{one.conversation:>6}  {_date(one.created)}  {one.title}")
        if one.message is not None:
            say(f"        {'you: ' if one.role == 'user' else ''}{one.snippet}")
    if not found:
        print("Nothing was found", file=sys.stderr)


@app.command()
def export(
    conversations: Ids = None,
    everything: Annotated[bool, typer.Option("--all", help="Every conversation.")] = False,
    kind: Annotated[
        str, typer.Option("--format", "-f", metavar="md|json", help="json keeps everything.")
    ] = "",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Default: standard output.")
    ] = None,
) -> None:
    """Conversations as Markdown, or as JSON that can be taken in again."""
    from smallchat.chat import transfer
    from smallchat.files import meant, write_new

    if everything == bool(conversations):
        raise UsageError("It is not said what to export", "Give an ID, or --all")
    with _store() as store:
        chosen = store.conversations() if everything else _each(store, conversations or ())
        form = _kind(kind, out)
        text = transfer.exported(store, chosen, form)
    if out is not None:
        write_new(meant(out), text)
        say(f"Written: {out}", sys.stderr)
    elif form == "json":
        sys.stdout.write(escaped(text))
    else:
        _write(text)


@app.command("import")
def import_(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="What export --format json wrote; - : piped.",
            callback=filled("FILE", "Give the file of an export"),
        ),
    ],
    as_json: Json = False,
) -> None:
    """Take in what was exported as JSON, as new conversations."""
    from smallchat.chat import transfer

    text = _read(file, transfer.MAX_BYTES)
    with _store() as store:
        new = transfer.take_in(store, text)
    if as_json:
        print_json({"conversations": new})
    else:
        print(f"{len(new)} conversations taken in", file=sys.stderr)


@app.command()
def delete(
    conversations: Annotated[list[str], typer.Argument(metavar="ID...", help="Numbers of the list.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Delete conversations for good."""
    from smallchat.engine.checkpoints.forget import forget

    with _store() as store:
        chosen = _each(store, conversations)
        if not yes:
            for one in chosen:
                say(f"{one.id:>6}  {one.title}", sys.stderr)
            if not sys.stdin.isatty():
                raise UsageError("Nobody can be asked whether to delete them", "Give --yes")
            print("Delete them for good? [y/N] ", end="", file=sys.stderr, flush=True)
            if sys.stdin.readline().strip().lower() not in ("y", "yes"):
                raise typer.Exit(0)
        for one in chosen:
            store.delete(one.id)
        store.purge()
        forget(store.purged)
    if as_json:
        print_json({"deleted": [one.id for one in chosen]})


def _kind(kind: str, out: Path | None) -> Literal["md", "json"]:
    from smallchat.chat.transfer import kind_of

    kind = kind or (kind_of(out) if out is not None else "md")
    if kind not in ("md", "json"):
        raise UsageError(f"--format is {kind}", "Choose md or json")
    return "json" if kind == "json" else "md"


def _each(store: Store, names: Iterable[str]) -> list[Conversation]:
    """Those of these names, each once."""
    found = [_find(store, name) for name in names]
    return list({one.id: one for one in found}.values())


def _find(store: Store, name: str) -> Conversation:
    found = store.conversations()
    if name == LAST:
        latest = max(found, key=lambda one: one.updated, default=None)
        if latest is not None:
            return latest
    for one in found:
        if str(one.id) == name:
            return one
    raise UsageError(f"There is no conversation {name}", "smallchat history list tells their numbers")


def _read(file: str, most: int) -> str:
    from smallchat.files import meant

    name = "Standard input" if file == "-" else file
    try:
        with contextlib.ExitStack() as stack:
            stream = sys.stdin.buffer if file == "-" else stack.enter_context(meant(file).open("rb"))
            if file != "-" and os.fstat(stream.fileno()).st_size > most:
                raise UsageError(f"{name} is too large", f"At most {most} bytes are taken in")
            data = stream.read(most + 1)
    except OSError as error:
        raise UsageError(f"{name} cannot be read: {error.strerror}", "Give the file of an export") from error
    if len(data) > most:
        raise UsageError(f"{name} is too large", f"At most {most} bytes are taken in")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise StorageError(f"{name} is no text", "Give the file of an export") from error


@contextlib.contextmanager
def _store() -> Iterator[Store]:
    from smallchat import paths
    from smallchat.chat.store import Store

    store = Store(paths.conversations())
    try:
        yield store
    finally:
        store.close()


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def _write(text: str) -> None:
    """To standard output: as it is, but nothing that a terminal there would obey."""
    from smallchat.tui.text import plain

    sys.stdout.write(plain(text) if sys.stdout.isatty() else text)
