"""Reads folders of safetensors by pieces; nothing is mapped, so that memory holds only what is asked for.

Our own reader, because the library's NumPy side knows no bfloat16, which is what the models are released in.
The files are not trusted: each range is held against its file's size first.
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from smallchat.errors import ModelError
from smallchat.files import exists
from smallchat.kernels.quants import TensorType, dequantise

Floats = npt.NDArray[np.float32]

CURE = "Fetch the folder again, complete: config.json, tokenizer.json and every .safetensors file"
MAX_HEADER = 100 << 20
"""Bytes of one file's header; the format's own limit."""
MAX_JSON = 256 << 20
"""Bytes of one JSON file; the real tokenizer's is 7 MB."""

_TYPES = {"F32": TensorType.F32, "F16": TensorType.F16, "BF16": TensorType.BF16}
_SIZES = {"F32": 4, "F16": 2, "BF16": 2}


@dataclass(frozen=True, slots=True)
class Stored:
    """Where one tensor lies."""

    file: Path
    type: str
    shape: tuple[int, ...]
    offset: int


class Folder:
    """All tensors of a folder, by name."""

    def __init__(self, path: Path) -> None:
        """Reads the headers. Raises `ModelError`."""
        self.path = path
        self.tensors: dict[str, Stored] = {}
        if not (exists(path) and path.is_dir()):
            raise ModelError(
                f"{path} is no folder", "Give the folder with config.json and .safetensors files"
            )
        for file in self._files():
            self._read_header(file)

    @property
    def fingerprint(self) -> str:
        """Changes when a file does."""
        files = sorted({stored.file for stored in self.tensors.values()})
        states = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
        return json.dumps([str(self.path.resolve()), states])

    def read(self, name: str, start: int = 0, stop: int | None = None) -> Floats:
        """Rows `start` to `stop` of a tensor of one or two dimensions, float32 [rows, cols] (or [1, n])."""
        stored = self.tensors[name]
        cols = stored.shape[-1]
        rows = math.prod(stored.shape[:-1])
        stop = rows if stop is None else min(stop, rows)
        row = cols * _SIZES[stored.type]
        data = np.empty((stop - start, row), np.uint8)
        try:
            with stored.file.open("rb", buffering=0) as file:
                file.seek(stored.offset + start * row)
                view, done = memoryview(data.reshape(-1).data), 0
                while done < data.nbytes:
                    count = file.readinto(view[done:])
                    if not count:
                        raise self._wrong(f"{stored.file.name} ended while it was read")
                    done += count
        except OSError as error:
            raise self._wrong(f"{stored.file.name} cannot be read: {error.strerror}") from None
        return dequantise(_TYPES[stored.type], data)

    def json(self, name: str) -> dict[str, Any] | None:
        """A JSON file of the folder; None: there is none."""
        path = self.path / name
        try:
            if path.stat().st_size > MAX_JSON:
                raise self._wrong(f"{name} is too large")
            value = json.loads(path.read_text("utf-8"))
            json.dumps(value, ensure_ascii=False).encode("utf-8")  # no half of a surrogate pair is in it
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            raise self._wrong(f"{name} cannot be read: {error}") from None
        if not isinstance(value, dict):
            raise self._wrong(f"{name} is no JSON object")
        return value

    def _files(self) -> list[Path]:
        index = self.json("model.safetensors.index.json")
        if index is None:
            return [self.path / "model.safetensors"]
        names = index.get("weight_map")
        if not isinstance(names, dict) or not names:
            raise self._wrong("model.safetensors.index.json lists no tensors")
        files = {str(name) for name in names.values()}
        if any(Path(name).name != name for name in files):
            raise self._wrong("model.safetensors.index.json names files outside of the folder")
        return [self.path / name for name in sorted(files)]

    def _read_header(self, path: Path) -> None:
        try:
            with path.open("rb") as file:
                size = path.stat().st_size
                (length,) = struct.unpack("<Q", file.read(8))
                if length > min(MAX_HEADER, size - 8):
                    raise self._wrong(f"{path.name} claims a header of {length} bytes")
                header = json.loads(file.read(length))
        except FileNotFoundError:
            raise self._wrong(f"{path.name} is missing") from None
        except (OSError, ValueError, struct.error, RecursionError) as error:
            raise self._wrong(f"{path.name} has no readable header ({type(error).__name__})") from None
        if not isinstance(header, dict):
            raise self._wrong(f"{path.name} has no readable header")
        for name, told in header.items():
            if name != "__metadata__":
                if name in self.tensors:
                    raise self._wrong(f"the tensor {name!r} stands in it twice")
                self.tensors[name] = self._stored(path, name, told, 8 + length, size)

    def _stored(self, path: Path, name: str, told: Any, start: int, size: int) -> Stored:
        try:
            kind, shape = told["dtype"], tuple(told["shape"])
            first, last = told["data_offsets"]
        except (KeyError, TypeError, ValueError):
            raise self._wrong(f"{path.name} says nothing useful of {name!r}") from None
        numbers = [*shape, first, last]
        if not all(type(number) is int and 0 <= number <= 1 << 48 for number in numbers) or len(shape) > 4:
            raise self._wrong(f"{path.name} says nonsense of {name!r}")
        if not isinstance(kind, str) or kind not in _TYPES:
            raise self._wrong(f"{name!r} is of type {str(kind)[:20]}; F32, F16 and BF16 are read")
        if (
            not shape
            or math.prod(shape) * _SIZES[kind] != last - first
            or start + last > size
            or not last > first
        ):
            raise self._wrong(f"{name!r} does not fit into {path.name}")
        return Stored(path, kind, shape, start + first)

    def _wrong(self, what: str) -> ModelError:
        return ModelError(f"{self.path} cannot be converted: {what}", CURE)
