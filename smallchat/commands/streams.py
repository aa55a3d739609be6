"""Standard input, output and error as all commands use them."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator

from smallchat.errors import ExitCode
from smallchat.settings import UsageError


def prepare() -> None:
    """Make the standard streams fit for whatever is written; those that the shell closed lead nowhere."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # Takes the number that was closed: no other file may have it, here or in our other processes.
            stream = open(os.devnull, mode, encoding="utf-8")  # noqa: PTH123, SIM115
            os.set_inheritable(stream.fileno(), True)
            setattr(sys, name, stream)
    for name, kind in (("stdout", _Output), ("stderr", _Narration)):
        out = getattr(sys, name)
        if isinstance(out, io.TextIOWrapper) and out is getattr(sys, f"__{name}__"):
            # "replace": a terminal that is not UTF-8 shows what it can.
            told = kind(out.buffer, out.encoding, "replace", None, out.line_buffering, out.write_through)
            setattr(sys, name, told)


class _Output(io.TextIOWrapper):
    """Standard output, which says itself why it takes no more, before Typer or anyone else guesses.

    Raises `UsageError`; `SystemExit` with 0 where the reader went away, as `head` does: nothing is wrong, and
    there is nobody to tell.
    """

    def write(self, text: str) -> int:
        if text != "":  # Click asks so for the kind of stream, and no error would reach anybody
            with self._told():
                super().write(text)
        return len(text)

    def flush(self) -> None:
        with self._told():
            super().flush()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            # What is left in the buffer is written once more when Python ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        if isinstance(error, BrokenPipeError):
            sys.exit(ExitCode.OK)
        what = f"Standard output cannot be written: {error.strerror}"
        raise UsageError(what, "Send it to another place") from error


class _Narration(_Output):
    """Standard error: what is said there beside the work may be lost, and changes nothing of the work."""

    def _fail(self, error: OSError) -> None:
        pass
