"""The one kind of error that reaches a user, and the exit codes.

An error says what happened, to which file, and what to do next, in one line.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What `smallchat` returns to the shell; documented in `smallchat --help` and the README."""

    OK = 0
    UNEXPECTED = 1  # a fault of smallchat itself
    USAGE = 2  # the command line is off
    MODEL = 3  # the model file is missing, damaged or not one we can run
    MEMORY = 4  # the memory budget is too small
    CONTEXT = 5  # the prompt does not fit the context
    KERNELS = 6  # the kernels asked for do not run here
    ENGINE = 7  # the decoder stopped in the middle
    STORAGE = 8  # conversations cannot be read or saved
    HUB = 9  # a model cannot be fetched, or a server does not answer
    NOTES = 10  # the note folder, or a note, cannot be read or written
    INTERRUPTED = 130  # Ctrl+C


def legible(text: str) -> str:
    """`text` on one line: escapes stand for line breaks and for whatever a terminal would obey.

    Names of files stay what they are, spaces included, so that they can be copied.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


class SmallchatError(Exception):
    """A problem told in the user's words: `what` happened (to which file), and the `cure`."""

    exit_code: ExitCode = ExitCode.UNEXPECTED

    def __init__(self, what: str, cure: str = "") -> None:
        self.what = legible(what)
        self.cure = legible(cure)
        super().__init__(f"{self.what}. {self.cure}" if cure else self.what)


class PlaceError(SmallchatError):
    """The environment names a folder that cannot be found out."""

    exit_code = ExitCode.USAGE


class ModelError(SmallchatError):
    """The model file is missing, damaged, hostile, or of a kind that smallchat does not run."""

    exit_code = ExitCode.MODEL


class BudgetError(SmallchatError):
    """The memory budget is below the smallest one that works."""

    exit_code = ExitCode.MEMORY


class ContextError(SmallchatError):
    """The prompt, or the context asked for, is larger than the model's."""

    exit_code = ExitCode.CONTEXT


class KernelError(SmallchatError):
    """The kernels asked for do not run on this machine."""

    exit_code = ExitCode.KERNELS


class EngineError(SmallchatError):
    """The decoder stopped, or was used after it was closed."""

    exit_code = ExitCode.ENGINE


class FileChangedError(EngineError):
    """The model file was changed, or can no longer be read, while it was in use: it must be loaded again."""

    exit_code = ExitCode.MODEL


class StorageError(SmallchatError):
    """Conversations cannot be read or saved."""

    exit_code = ExitCode.STORAGE


class HubError(SmallchatError):
    """A model cannot be had from the hub, or the disk does not take it."""

    exit_code = ExitCode.HUB


class NotesError(SmallchatError):
    """The note folder, its index or a note cannot be read or written."""

    exit_code = ExitCode.NOTES
