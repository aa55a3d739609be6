"""`smallchat convert` and `smallchat quantize`: make a GGUF of another one, or of a released folder."""

from __future__ import annotations

from pathlib import Path

from smallchat.commands.printing import print_json
from smallchat.commands.progress import bar
from smallchat.commands.resolve import model_path
from smallchat.files import meant
from smallchat.hub import convert as work
from smallchat.hub.quantise import parse_type
from smallchat.settings import UsageError
from smallchat.tui.text import plain, size


def convert(folder: Path, out: Path, kind: str, transpose_down: bool, force: bool, as_json: bool) -> None:
    """Write the released safetensors in `folder` as GGUF. Raises `SmallchatError`."""
    wanted = parse_type(kind)
    _free(out, force)
    with bar() as progress:
        work.convert(meant(folder), out, wanted, transpose_down, progress)
    _tell(out, as_json)


def quantize(model: str, out: Path, kind: str, transpose_down: bool, force: bool, as_json: bool) -> None:
    """Write a GGUF as one of another type. Raises `SmallchatError`."""
    wanted = parse_type(kind)
    _free(out, force)
    with bar() as progress:
        work.requantise(model_path(model), out, wanted, transpose_down, progress)
    _tell(out, as_json)


def _free(out: Path, force: bool) -> None:
    try:
        there = out.exists()
        # A file would take a device's place.
        fits = out.parent.is_dir() and (out.is_file() or not there)
    except OSError:  # a closed folder, a name too long
        there, fits = False, False
    if not fits:
        raise UsageError(f"{out} cannot be written", "Give the name of a file in a folder that exists")
    if there and not force:
        raise UsageError(f"{out} is there already", "Give another name, or --force to write over it")


def _tell(out: Path, as_json: bool) -> None:
    if as_json:
        print_json({"path": str(out), "bytes": out.stat().st_size})
    else:
        print(plain(f"{out}: {size(out.stat().st_size)}"))
