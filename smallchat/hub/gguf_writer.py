"""Writes GGUF, tensor by tensor, so that memory holds one piece of one tensor; stopped, it goes on later.

The file is made as OUT.part beside a note of what is in it and synced; it gets its name when it is complete.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from smallchat.errors import ModelError
from smallchat.hub.room import lacking
from smallchat.kernels.quants import TensorType, row_bytes

Bytes = npt.NDArray[np.uint8]
Progress = Callable[[str, int, int], None]

ALIGNMENT = 32
_STRING, _ARRAY = 8, 9


@dataclass(frozen=True, slots=True)
class Planned:
    """A tensor to be written. `shape` in NumPy's order; `pieces` gives its bytes in order, when asked."""

    name: str
    kind: TensorType
    shape: tuple[int, ...]
    pieces: Callable[[], Iterator[Bytes]]

    @property
    def size(self) -> int:
        """Bytes, without padding."""
        return math.prod(self.shape[:-1]) * row_bytes(self.kind, self.shape[-1])


def u32(key: str, value: int) -> bytes:
    """One metadata entry, as the other functions here make them."""
    return _entry(key, 4, struct.pack("<I", value))


def f32(key: str, value: float) -> bytes:
    return _entry(key, 6, struct.pack("<f", value))


def boolean(key: str, value: bool) -> bytes:
    return _entry(key, 7, struct.pack("<?", value))


def text(key: str, value: str) -> bytes:
    return _entry(key, _STRING, _text(value))


def texts(key: str, values: Sequence[str]) -> bytes:
    return _entry(key, _ARRAY, struct.pack("<IQ", _STRING, len(values)) + b"".join(map(_text, values)))


def i32s(key: str, values: Sequence[int]) -> bytes:
    return _entry(key, _ARRAY, struct.pack("<IQ", 5, len(values)) + np.array(values, "<i4").tobytes())


def booleans(key: str, values: Sequence[bool]) -> bytes:
    return _entry(key, _ARRAY, struct.pack("<IQ", 7, len(values)) + bytes(values))


def write(
    path: Path, entries: Sequence[bytes], tensors: Sequence[Planned], source: str, progress: Progress
) -> None:
    """Write the file at `path`, or the rest of it.

    `entries` are metadata as the functions above make them; `source` stands for what the tensors are made
    from: where it or anything else is not what it was, the work begins anew. `progress` hears (stage, bytes
    done, bytes in all); what it raises ends the work, and nothing is lost. Raises `ModelError` where the disk
    does not take the file.
    """
    header = _header(entries, tensors)
    ends = _ends(len(header), tensors)
    part, note = path.with_name(path.name + ".part"), path.with_name(path.name + ".part.json")
    mark = hashlib.sha256(header + source.encode()).hexdigest()
    try:
        done = _resumed(part, note, mark, len(tensors))
        start = ends[done - 1] if done else len(header)
        _room(path, ends[-1] - start)
        with part.open("r+b" if done else "wb") as file:
            if not done:
                file.write(header)
            file.truncate(start)
            file.seek(start)
            for index in range(done, len(tensors)):
                tensor = tensors[index]
                written = 0
                for piece in tensor.pieces():
                    file.write(piece.data)
                    written += piece.nbytes
                    progress("Writing", file.tell(), ends[-1])
                if written != tensor.size:
                    raise ValueError(f"{tensor.name}: {written} bytes for {tensor.size}")
                file.write(b"\0" * (ends[index] - file.tell()))
                file.flush()
                os.fsync(file.fileno())
                _note(note, mark, index + 1)
        part.replace(path)
        note.unlink(missing_ok=True)
    except OSError as error:
        what = f"{path} cannot be written: {error.strerror or error}"
        raise ModelError(what, "Make room, then give the same command again: it goes on") from None


def _resumed(part: Path, note: Path, mark: str, tensors: int) -> int:
    """How many tensors an earlier run has written and synced."""
    try:
        told = json.loads(note.read_text("utf-8"))
        done = int(told["tensors"]) if told["mark"] == mark and part.exists() else 0
    except (OSError, ValueError, KeyError, TypeError):
        return 0
    return done if 0 <= done <= tensors else 0


def _note(note: Path, mark: str, done: int) -> None:
    fresh = note.with_name(note.name + ".new")
    fresh.write_text(json.dumps({"mark": mark, "tensors": done}), "utf-8")
    fresh.replace(note)


def _room(path: Path, rest: int) -> None:
    if problem := lacking(str(path), rest, path.parent):
        raise ModelError(problem, "Make room, or write it to another disk")


def _header(entries: Sequence[bytes], tensors: Sequence[Planned]) -> bytes:
    parts = [b"GGUF", struct.pack("<IQQ", 3, len(tensors), len(entries)), *entries]
    offset = 0
    for tensor in tensors:
        shape = tensor.shape[::-1]
        parts.append(
            _text(tensor.name) + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *shape)
        )
        parts.append(struct.pack("<IQ", tensor.kind, offset))
        offset = _aligned(offset + tensor.size)
    header = b"".join(parts)
    return header + b"\0" * (_aligned(len(header)) - len(header))


def _ends(start: int, tensors: Sequence[Planned]) -> list[int]:
    """The byte behind each tensor and its padding."""
    ends = []
    for tensor in tensors:
        start = _aligned(start + tensor.size)
        ends.append(start)
    return ends


def _entry(key: str, kind: int, value: bytes) -> bytes:
    return _text(key) + struct.pack("<I", kind) + value


def _text(value: str) -> bytes:
    raw = value.encode("utf-8")
    return struct.pack("<Q", len(raw)) + raw


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
