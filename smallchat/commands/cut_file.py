"""What a command says when the model file that it computes from is cut."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from smallchat.errors import FileChangedError

_Handler = ctypes.CFUNCTYPE(None, ctypes.c_int)


@contextlib.contextmanager
def told_when_cut(path: Path) -> Iterator[None]:
    """Where a page of the mapped file can no longer be read, say so on standard error, and end this process
    with the code of `FileChangedError`. One user at a time.
    """
    if sys.platform == "win32":  # which cuts no file that is mapped
        yield
        return
    error = FileChangedError(
        f"{path} was cut, or could no longer be read, while it was in use",
        "Check the file and the disk, then try again",
    )
    line = f"smallchat: {error}\n".encode(sys.stderr.encoding or "utf-8", "replace")

    def tell(_: int) -> None:
        with contextlib.suppress(OSError):
            os.write(2, line)
        os._exit(error.exit_code)

    # `signal.signal` would have it called once the instruction that failed is done, which it never is. This
    # one is called in its place: right where bytes of the file were wanted, so never within Python's own work
    # or while memory is being allotted, and it does not return.
    handler = _Handler(tell)
    system = ctypes.CDLL(None).signal
    system.argtypes, system.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p
    before = system(signal.SIGBUS, ctypes.cast(handler, ctypes.c_void_p))
    try:
        yield
    finally:
        system(signal.SIGBUS, before)
