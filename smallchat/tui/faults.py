"""Faults of our own: told in one line, written down in full, and the app goes on."""

from __future__ import annotations

import logging
import traceback
from logging.handlers import RotatingFileHandler

from textual.app import App
from textual.message import Message
from textual.message_pump import MessagePump

from smallchat import paths

LOG_BYTES = 1_000_000


def write_down(error: BaseException) -> None:
    """Append the traceback to `app.log` in the state folder. Never raises."""
    try:
        path = paths.app_log()
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = RotatingFileHandler(path, maxBytes=LOG_BYTES, backupCount=1, encoding="utf-8")
    except OSError:
        return
    try:
        text = "".join(traceback.format_exception(error))
        record = logging.LogRecord("smallchat", logging.ERROR, __file__, 0, text, None, None)
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        handler.emit(record)
    finally:
        handler.close()


def one_line(error: BaseException) -> str:
    """What a user is told of a fault."""
    return f"smallchat made a mistake ({type(error).__name__}); details are in {paths.app_log()}"


def tell_fault(app: App[object], error: Exception) -> None:
    """Write it down, and say so once for each kind of fault."""
    write_down(error)
    told: list[str] = app.__dict__.setdefault("faults", [])
    if (line := one_line(error)) not in told:
        told.append(line)
        app.notify(line, severity="error", timeout=12, markup=False)


class Guarded(MessagePump):
    """Put before a widget's base class: a fault in one of its handlers does not end the app.

    Textual ends the whole app at the first exception of any handler. A chat that is open all day must
    rather lose one key press than the conversation on the screen.
    """

    async def _dispatch_message(self, message: Message) -> None:
        try:
            await super()._dispatch_message(message)
        except Exception as error:
            tell_fault(self.app, error)
