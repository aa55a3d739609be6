"""The first rank's hold on the reader: requests go out, and come true in the slab's table of states."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from smallchat.errors import EngineError, FileChangedError
from smallchat.experts.direct import BLOCK, DirectFile
from smallchat.experts.layout import Range
from smallchat.experts.reader import REQUEST
from smallchat.experts.slab import BYTES, CHANGED, ERRNO, PROBLEM, READING, SHORT, SYSTEM, Slab
from smallchat.interpreter import PYTHON

RETRIES = 2
"""A read that the system refuses is tried so many times more."""
RESTARTS = 3
"""A reader that ends so often without having read anything will not read."""


class Filler(Protocol):
    """What fills slots; `ReaderProcess` is the real one, tests put faults into theirs."""

    def send(self, requests: bytes) -> None:
        """Begin with these requests (`smallchat.experts.reader.REQUEST`, any number)."""

    def ended(self) -> bool:
        """It reads no more, and what it was told is lost."""

    def close(self) -> None:
        """End it. Never raises."""


class Prefetcher:
    """Asks for experts to be read into slots, and knows when reading failed."""

    def __init__(self, file: DirectFile, path: Path, slab: Slab) -> None:
        """`path` is for messages, and for systems where a descriptor cannot be handed on."""
        self._file, self._path, self._slab = file, path, slab
        self._reading: dict[int, bytes] = {}
        """Requests that may have to be made again, by slot."""
        self._tries: dict[int, int] = {}
        self._deaths, self._read_before = 0, 0
        self._filler = self.start()

    def start(self) -> Filler:
        """Begin to read; called again where the last reader has ended."""
        return ReaderProcess(self._file, self._path, self._slab)

    @property
    def pids(self) -> list[int]:
        """Numbers of the processes that read."""
        pid = getattr(self._filler, "pid", None)
        return [] if pid is None else [pid]

    def request(self, slot: int, ranges: Sequence[Range]) -> None:
        """Read an expert's parts into a slot that is not in use."""
        slab, parts = self._slab, len(ranges)
        start, requests = slab.start(slot), b""
        for (offset, size), at in zip(ranges, slab.part_at, strict=True):
            first = offset // BLOCK * BLOCK
            needed = offset + size - first
            whole = -(-needed // BLOCK) * BLOCK
            requests += REQUEST.pack(slot, parts, start + at, first, whole, needed)
        slab.states[slot] = READING
        self._reading[slot] = requests
        self._send(requests)

    def again(self, slot: int) -> bool:
        """Try a slot's failed reading once more; False: that makes no sense, or was done often enough."""
        times = self._tries.get(slot, 0)
        if self._slab.control[PROBLEM] != SYSTEM or times >= RETRIES:
            return False
        self._tries[slot] = times + 1
        self._slab.states[slot] = READING
        self._send(self._reading[slot])
        return True

    def done(self, slot: int) -> None:
        """This slot's reading ended, well or not."""
        self._reading.pop(slot, None)
        self._tries.pop(slot, None)

    def check(self) -> None:
        """Start the reader anew where it has ended. Raises `EngineError` where that does not help."""
        if not self._filler.ended():
            return
        self._filler.close()
        read = self._slab.control[BYTES]
        self._deaths = self._deaths + 1 if read == self._read_before else 1
        self._read_before = read
        if self._deaths > RESTARTS:
            raise EngineError(
                f"The process that reads {self._path} ends again and again", "Load the model again"
            )
        self._filler = self.start()
        for slot, requests in list(self._reading.items()):
            if self._slab.states[slot] == READING:
                with contextlib.suppress(OSError):  # it has ended again: the next check is told
                    self._filler.send(requests)

    def problem(self) -> FileChangedError:
        """Why the last read failed."""
        kind, number = self._slab.control[PROBLEM], self._slab.control[ERRNO]
        if kind == CHANGED:
            what = f"{self._path} was changed while it was in use"
            return FileChangedError(what, "Load the model again")
        if kind == SHORT:
            what = f"{self._path} is shorter than when it was opened"
            return FileChangedError(what, "Copy or fetch it again, then load the model again")
        what = f"{self._path} could not be read: {os.strerror(number)}"
        return FileChangedError(what, "Check the disk, then load the model again")

    def close(self) -> None:
        """End the reader and close the file."""
        self._filler.close()
        self._file.close()

    def _send(self, requests: bytes) -> None:
        try:
            self._filler.send(requests)
        except OSError:  # it has ended
            self.check()


class ReaderProcess:
    """A `Filler` in a process of its own; see `smallchat.experts.reader`."""

    def __init__(self, file: DirectFile, path: Path, slab: Slab) -> None:
        """Raises `EngineError` where it cannot be started."""
        handed = sys.platform != "win32"
        plan = {
            "sizes": asdict(slab.sizes),
            "slab": slab.memory.handle,
            "fd": file.fd if handed else None,
            "path": str(path.absolute()),
            "direct": file.direct,
            "identity": file.identity,
        }
        options: dict[str, Any] = {}
        if handed and slab.memory.fd is not None:
            # Ctrl+C in the terminal is for the app to handle; the pipe's end ends the reader.
            options = {"pass_fds": (slab.memory.fd, file.fd), "start_new_session": True}
        try:
            self._process = subprocess.Popen(
                [*PYTHON, "-m", "smallchat.experts.reader", json.dumps(plan)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                bufsize=0,
                **options,
            )
        except OSError as error:
            raise EngineError(
                f"The process that reads {path} could not be started: {error.strerror}", "Load it again"
            ) from None
        self.pid = self._process.pid

    def send(self, requests: bytes) -> None:
        """See `Filler.send`. Raises `OSError` where it has ended."""
        if self._process.stdin is not None:
            os.write(self._process.stdin.fileno(), requests)

    def ended(self) -> bool:
        """See `Filler.ended`."""
        return self._process.poll() is not None

    def close(self) -> None:
        """See `Filler.close`."""
        with contextlib.suppress(OSError):
            self._process.kill()  # what is still being read into the slab is over once it is gone
        self._process.wait()
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
