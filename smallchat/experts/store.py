"""Reads whole experts from the model file into memory of our own, leaving no copy in the page cache."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

from smallchat.errors import EngineError
from smallchat.experts.layout import Range

Bytes = npt.NDArray[np.uint8]


class ExpertStore:
    """The model file, read by ranges. Raises `EngineError` for a read that fails or comes up short."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("rb", buffering=0)
        self.bytes_read = 0
        self.seconds = 0.0
        """Spent reading."""

    def read(self, part: Range, into: Bytes) -> None:
        """Fill `into`, uint8 [part.size], with that range of the file."""
        view, done, began = memoryview(into.data), 0, time.perf_counter()
        try:
            self._file.seek(part.offset)
            while done < part.size:
                count = self._file.readinto(view[done:])
                if not count:
                    raise EngineError(
                        f"{self._path} ended at byte {part.offset + done} while it was read",
                        "The file was changed or cut: load the model again",
                    )
                done += count
        except OSError as error:
            raise EngineError(
                f"{self._path} could not be read: {error.strerror}",
                "Check the disk, then load the model again",
            ) from None
        if hasattr(os, "posix_fadvise"):
            # The bytes are in a slot now: a second copy in the page cache would count against the budget.
            os.posix_fadvise(self._file.fileno(), part.offset, part.size, os.POSIX_FADV_DONTNEED)
        self.bytes_read += part.size
        self.seconds += time.perf_counter() - began

    def close(self) -> None:
        """Close the file."""
        self._file.close()
