"""`smallchat notes …`: search and write a folder of notes, without a model. Only parsing and printing."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from smallchat import settings
from smallchat.commands.given import filled
from smallchat.commands.printing import print_json, say
from smallchat.errors import NotesError
from smallchat.settings import Settings, UsageError

if TYPE_CHECKING:
    from smallchat.notes.index import Report
    from smallchat.notes.notebook import Notebook

MAX_INPUT = 8 << 20
"""Bytes of a note from standard input at the most: what the index reads of one."""

app = typer.Typer(
    help="Search and write a folder of notes, without a model.",
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
)

named = filled("--notes", "Give the folder of notes")
Folder = Annotated[
    str | None, typer.Option("--notes", metavar="DIR", help="The folder of notes.", callback=named)
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Note = Annotated[str, typer.Argument(metavar="NOTE", help="A title, a file name or a path.")]


@app.command()
def search(
    context: typer.Context,
    question: Annotated[str, typer.Argument(metavar="WORDS", help="Words or a question.")],
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, metavar="N", help="Passages.")] = 10,
    notes: Folder = None,
    as_json: Json = False,
) -> None:
    """Find passages; the best come first."""
    from smallchat.notes.search import search

    with _notebook(context, notes) as book:
        hits = search(book.index, question, limit)
    if as_json:
        print_json(
            {
                "question": question,
                "hits": [asdict(hit) | {"trail": hit.trail, "fits": hit.fits} for hit in hits],
            }
        )
        return
    for hit in hits:
        lines = f"{hit.first}" if hit.first == hit.last else f"{hit.first}-{hit.last}"
        say(f"{hit.path}:{lines}  {hit.trail}")
        print(f"    {_marked(hit.snippet, hit.marks)}")
    if not hits:
        print("Nothing in the notes fits", file=sys.stderr)


@app.command()
def add(
    context: typer.Context,
    title: Annotated[str, typer.Argument(metavar="TITLE", help="Default: the text's first line.")] = "",
    append: Annotated[
        str | None, typer.Option("--append", metavar="NOTE", help="Add to this note instead.")
    ] = None,
    daily: Annotated[bool, typer.Option("--daily", help="Add to today's note instead.")] = False,
    notes: Folder = None,
    as_json: Json = False,
) -> None:
    """Save standard input as a new note, or add it to one."""
    if (append is not None) + daily + bool(title) > 1:
        raise UsageError("TITLE, --append and --daily exclude each other", "Give one of them")
    text = _piped()
    from smallchat.notes import names, writing

    with _notebook(context, notes) as book:
        if append is not None:
            note = names.find(book.index, append)
            done: str | writing.Change = writing.appended(book.root, note.path, text)
        else:
            done = book.daily(text) if daily else book.add(title, text)
        if isinstance(done, writing.Change):
            if not as_json:
                for line in done.diff():
                    say(line, file=sys.stderr)
            book.apply(done)
        path = done.path if isinstance(done, writing.Change) else done
        if as_json:
            print_json({"path": path, "file": str(book.root / path), "new": isinstance(done, str)})
        else:
            say(str(book.root / path))


@app.command()
def index(context: typer.Context, notes: Folder = None, as_json: Json = False) -> None:
    """Bring the index up to date, and tell what is not searched, and why."""
    looked: list[Report] = []
    with _notebook(context, notes, looked) as book:
        report = looked[0]
        if as_json:
            print_json(asdict(report) | {"folder": str(book.root), "index": str(book.index.file)})
            return
        say(f"{report.notes} notes in {book.root}, {report.changed} read anew, {report.seconds:.2f} s")
        for path, why in report.skipped.items():
            say(f"  not searched: {path}: {why}")


@app.command()
def tags(context: typer.Context, notes: Folder = None, as_json: Json = False) -> None:
    """Every tag, with the number of notes that bear it."""
    from smallchat.notes import names

    with _notebook(context, notes) as book:
        found = names.tags(book.index)
    if as_json:
        print_json({"tags": dict(found)})
        return
    for tag, count in found:
        say(f"{count:>6}  {tag}")


@app.command()
def links(context: typer.Context, note: Note, notes: Folder = None, as_json: Json = False) -> None:
    """Where a note links to, and what links to it."""
    from smallchat.notes import names

    with _notebook(context, notes) as book:
        there = names.find(book.index, note)
        out, back = names.links(book.index, there.path), names.backlinks(book.index, there.path)
    if as_json:
        print_json(
            {
                "path": there.path,
                "links": [asdict(one) for one in out],
                "backlinks": [asdict(one) for one in back],
            }
        )
        return
    for one in out:
        say(f"{one.line:>6}  → {one.to.path if one.to else f'{one.target} (no such note)'}")
    for one in back:
        say(f"        ← {one.path}:{one.line}")


@contextlib.contextmanager
def _notebook(
    context: typer.Context, folder: str | None, looked: list[Report] | None = None
) -> Iterator[Notebook]:
    """The folder that is set, its index up to date. Raises `UsageError` where none is set, `NotesError`."""
    flags: dict[str, Any] = dict(context.obj or {})
    chosen = settings.load(flags | ({"notes": folder} if folder is not None else {}))
    if chosen.notes is None:
        raise UsageError("No note folder is set", 'Give --notes DIR, or write notes = "DIR" into config.toml')
    from smallchat.notes.notebook import Notebook

    book = Notebook(chosen.notes, templates(chosen))
    try:
        report = book.index.sync(progress=_progress)
        if looked is not None:
            looked.append(report)
        yield book
    finally:
        book.close()


def templates(chosen: Settings) -> Any:
    """How new notes are called and begin, from the settings."""
    from smallchat.notes.notebook import Templates

    return Templates(chosen.note_name, chosen.daily_name, chosen.note_front)


def _progress(done: int, of: int) -> None:
    if of > 1000 and sys.stderr.isatty():
        print(f"\rReading the notes: {done:,} of {of:,}", end="\n" if done == of else "", file=sys.stderr)


def _piped() -> str:
    if sys.stdin.isatty():
        print("Write the note; Ctrl+D ends it.", file=sys.stderr)
    data = sys.stdin.buffer.read(MAX_INPUT + 1)
    if len(data) > MAX_INPUT:
        raise UsageError("Standard input is too long", f"Give at most {MAX_INPUT} bytes")
    try:
        text = data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError:
        raise UsageError("Standard input is not text", "Pipe UTF-8 text into smallchat") from None
    if "\0" in text or not text.strip():
        raise NotesError(
            "There is nothing to save" if not text.strip() else "Standard input is not text",
            "Pipe the text in",
        )
    return text


def _marked(snippet: str, marks: tuple[tuple[int, int], ...]) -> str:
    """Bold where a terminal shows it."""
    from smallchat.tui.text import plain

    if not sys.stdout.isatty():
        return plain(snippet)
    pieces, at = [], 0
    for start, end in marks:
        pieces += [plain(snippet[at:start]), f"\x1b[1m{plain(snippet[start:end])}\x1b[22m"]
        at = end
    return "".join(pieces) + plain(snippet[at:])
