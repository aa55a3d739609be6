"""Reads GGUF: metadata and where each tensor lies, without touching the weights.

The file is not trusted: every count, length and range is held against the file's size before anything is
taken. A walk with `struct` over the mapped file, because the real vocabulary (300,000 strings) must open
well under a second.
"""

from __future__ import annotations

import contextlib
import gc
import math
import mmap
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from smallchat.errors import FileChangedError, ModelError
from smallchat.files import exists
from smallchat.kernels.quants import LAYOUTS, TensorType, row_bytes

DAMAGED = "The file is damaged or cut short: fetch or copy it again"

_AROUND = 1 << 21
"""Bytes: with a page that is touched, Linux maps those of the file that it keeps in one piece with it."""
MAX_ENTRIES = 1 << 16
"""Metadata keys, and tensors, of one file at the most; the 21B has 41 and 523."""
MAX_ARRAY = 1 << 24
"""Elements of one metadata array at the most; the real vocabulary has 151,936."""

_SCALARS = {
    0: "<B",
    1: "<b",
    2: "<H",
    3: "<h",
    4: "<I",
    5: "<i",
    6: "<f",
    7: "<?",
    10: "<Q",
    11: "<q",
    12: "<d",
}
_STRING, _ARRAY = 8, 9
_U32, _U64 = struct.Struct("<I"), struct.Struct("<Q")


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """Where one tensor lies: `shape` in NumPy's order (rows first), `offset` from the file's start."""

    name: str
    kind: TensorType
    shape: tuple[int, ...]
    offset: int
    size: int
    """Bytes."""


class GgufFile:
    """An open GGUF: `metadata`, `tensors`, and their bytes as views of the mapped file."""

    def __init__(self, path: Path | str, skip: tuple[str, ...] = ()) -> None:
        """Raises `ModelError` for anything that is not a sound GGUF of version 2 or 3.

        Metadata whose key begins with one of `skip` is passed over.
        """
        self.path = Path(path)
        self._map = _map_file(self.path)
        self._identity = _identity(self.path)
        try:
            parser = _Parser(self.path, self._map, skip)
            self.metadata, self.tensors = parser.parse()
            self.spans = parser.spans
            """Where each metadata entry lies, key and value: (first byte, byte after its last)."""
        except BaseException:
            self.close()
            raise
        self._elsewhere: tuple[npt.NDArray[np.uint8], frozenset[str]] | None = None

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        return len(self._map)

    def bytes_of(self, tensor: TensorInfo) -> npt.NDArray[np.uint8]:
        """The tensor's bytes, uint8 [size]: a read-only view, read from disk when it is first used."""
        if self._elsewhere is not None and tensor.name in self._elsewhere[1]:
            view = self._elsewhere[0][tensor.offset : tensor.offset + tensor.size]
            view.flags.writeable = False
            return view
        return np.frombuffer(self._map, np.uint8, tensor.size, tensor.offset)

    def lie_in(
        self,
        image: npt.NDArray[np.uint8],
        names: frozenset[str],
        kinds: Mapping[str, TensorType] | None = None,
    ) -> None:
        """These tensors' bytes are in memory, `image`, at the places that they have in the file; `kinds`: as
        another type of as many bytes.
        """
        self._elsewhere = image, names
        for name, kind in (kinds or {}).items():
            self.tensors[name] = replace(self.tensors[name], kind=kind)

    def want_rows(self) -> None:
        """Of the mapping only rows here and there are wanted from now on."""
        if hasattr(mmap, "MADV_RANDOM"):
            self._map.madvise(mmap.MADV_RANDOM)

    def let_go(self, start: int, stop: int) -> None:
        """These bytes are not wanted any more, nor what the system has mapped around them: they count as our
        memory no longer. Bytes that are wanted again come back by themselves.
        """
        first, last = start // _AROUND * _AROUND, min(-(-stop // _AROUND) * _AROUND, self.size)
        if hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED, first, last - first)

    def check(self) -> None:
        """Raises `FileChangedError` where the file was cut or written to since it was opened. Microseconds.

        One that was deleted, or that another was put in place of, is still there for us as it was.
        """
        now = _identity(self.path)
        if now and self._identity and now[:2] == self._identity[:2] and now != self._identity:
            raise FileChangedError(f"{self.path} was changed while it was in use", "Load the model again")

    def entry(self, key: str) -> bytes:
        """One metadata entry as the file holds it, key, type and value: what a copy of it needs."""
        start, stop = self.spans[key]
        return self._map[start:stop]

    def forget(self, prefix: str) -> None:
        """Drop metadata that is no longer wanted: the real vocabulary takes tens of megabytes."""
        for key in [key for key in self.metadata if key.startswith(prefix)]:
            del self.metadata[key]

    def whole(self) -> npt.NDArray[np.uint8]:
        """The whole file, uint8 [size]: a read-only view, read from disk when it is first used."""
        return np.frombuffer(self._map, np.uint8)

    def close(self) -> None:
        """Give the mapping back; views of it must be gone."""
        self._elsewhere = None
        try:
            self._map.close()
        except BufferError:
            gc.collect()
            with contextlib.suppress(BufferError):  # a view lives on: it keeps the mapping until it goes
                self._map.close()


def peek(path: Path) -> dict[str, Any]:
    """The metadata in front of the vocabulary: what kind of model a file is, in a millisecond.

    Raises `ModelError` for anything that is not a GGUF.
    """
    data = _map_file(path)
    try:
        return _Parser(path, data, ()).head()
    finally:
        data.close()


def _identity(path: Path) -> tuple[int, int, int, int] | None:
    """Which file is there, its size and when it was written to last; None: none that can be asked."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _map_file(path: Path) -> mmap.mmap:
    try:
        if path.is_fifo():  # to open it would wait for whoever writes to it
            raise ModelError(f"{path} is a pipe, not a model file", "Give the path of a .gguf file")
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError:
        raise ModelError(f"There is no file {path}", "Check the path given to --model") from None
    except IsADirectoryError:
        raise ModelError(f"{path} is a folder, not a model file", "Give the path of a .gguf file") from None
    except ValueError:
        raise ModelError(f"{path} is empty", "Fetch or copy it again") from None
    except OSError as error:
        if exists(path) and path.is_dir():
            raise ModelError(
                f"{path} is a folder, not a model file", "Give the path of a .gguf file"
            ) from None
        raise ModelError(f"{path} cannot be read: {error.strerror}", "Check its permissions") from None


class _Parser:
    """One walk over the header. `at` is the position; nothing before it is read twice."""

    def __init__(self, path: Path, data: mmap.mmap, skip: tuple[str, ...]) -> None:
        self.path, self.data, self.skip, self.at = path, data, skip, 0
        self.spans: dict[str, tuple[int, int]] = {}

    def parse(self) -> tuple[dict[str, Any], dict[str, TensorInfo]]:
        with self.told():
            return self._parse()

    def head(self) -> dict[str, Any]:
        with self.told():
            _, count = self.counts()
            return self.entries(count, stop="tokenizer.")

    @contextlib.contextmanager
    def told(self) -> Iterator[None]:
        """What goes wrong while reading, as an error for the user."""
        if self.data[:4] != b"GGUF":
            raise ModelError(f"{self.path} is not a GGUF file", "Give the path of a SmallThinker .gguf file")
        try:
            yield
        except struct.error:
            raise self.damaged("it ends in the middle of its header") from None
        except UnicodeDecodeError:
            raise self.damaged("a name in it is not text") from None

    def counts(self) -> tuple[int, int]:
        """How many tensors and metadata entries there are."""
        self.at = 4
        version = self.u32()
        if version not in (2, 3):
            swapped = version in (2 << 24, 3 << 24)
            kind = "written for big-endian machines" if swapped else f"GGUF version {version}"
            cure = "Convert it to GGUF version 3 (little-endian), or fetch one"
            raise ModelError(f"{self.path} is {kind}, which smallchat does not read", cure)
        tensor_count, entry_count = self.u64(), self.u64()
        for what, count in (("tensors", tensor_count), ("metadata entries", entry_count)):
            if count > MAX_ENTRIES:
                raise self.damaged(f"it claims {count} {what}")
        return tensor_count, entry_count

    def entries(self, count: int, stop: str | None = None) -> dict[str, Any]:
        """So many metadata entries, or those in front of the first whose key begins with `stop`."""
        metadata: dict[str, Any] = {}
        for _ in range(count):
            start = self.at
            key = self.string()
            if stop is not None and key.startswith(stop):
                break
            if key in metadata:
                raise self.damaged(f"{key!r} stands in it twice")
            if key.startswith(self.skip):
                self.pass_over(self.u32())
            else:
                metadata[key] = self.value(self.u32())
            self.spans[key] = start, self.at
        return metadata

    def _parse(self) -> tuple[dict[str, Any], dict[str, TensorInfo]]:
        tensor_count, entry_count = self.counts()
        metadata = self.entries(entry_count)

        alignment = metadata.get("general.alignment", 32)
        if not isinstance(alignment, int) or not 1 <= alignment <= 1 << 20 or alignment & (alignment - 1):
            raise self.damaged(f"its alignment is {alignment!r}")
        headers = [self.tensor_header() for _ in range(tensor_count)]
        start = -(-self.at // alignment) * alignment
        tensors: dict[str, TensorInfo] = {}
        for header in headers:
            tensor = self.placed(*header, start)
            if tensor.name in tensors:
                raise self.damaged(f"the tensor {tensor.name!r} stands in it twice")
            tensors[tensor.name] = tensor
        return metadata, tensors

    def tensor_header(self) -> tuple[str, int, tuple[int, ...], int]:
        name, dimensions = self.string(), self.u32()
        if not 1 <= dimensions <= 4:
            raise self.damaged(f"the tensor {name!r} has {dimensions} dimensions")
        shape = tuple(self.u64() for _ in range(dimensions))[::-1]
        return name, self.u32(), shape, self.u64()

    def placed(self, name: str, number: int, shape: tuple[int, ...], offset: int, start: int) -> TensorInfo:
        try:
            kind = TensorType(number)
        except ValueError:
            what = f"{self.path}: the tensor {name!r} is of type {number}, which smallchat does not read"
            raise ModelError(
                what, f"Known types: {', '.join(known.name for known in LAYOUTS if known >= 0)}"
            ) from None
        if not all(shape):
            raise self.damaged(f"the tensor {name!r} is empty")
        try:
            size = math.prod(shape[:-1]) * row_bytes(kind, shape[-1])
        except ValueError as error:
            raise self.damaged(f"the tensor {name!r}: {error}") from None
        if start + offset + size > len(self.data):
            raise self.damaged(f"the tensor {name!r} would end at byte {start + offset + size}, past its end")
        return TensorInfo(name, kind, shape, start + offset, size)

    def value(self, kind: int) -> Any:
        if kind == _STRING:
            return self.string()
        if kind == _ARRAY:
            return self.array(self.u32(), self.u64())
        return self.scalar(kind)

    def pass_over(self, kind: int) -> None:
        """Go behind a value without making it."""
        count = 1
        if kind == _ARRAY:
            kind, count = self.u32(), self.u64()
            self.check_count(kind, count)
        if kind != _STRING:
            self.at += count * struct.calcsize(self.format(kind))
            return
        at, data, end, read = self.at, self.data, len(self.data), _U64.unpack_from
        for _ in range(count):
            at += 8 + read(data, at)[0]
            if at > end:
                raise self.damaged("it ends in the middle of a text")
        self.at = at

    def check_count(self, kind: int, count: int) -> None:
        smallest = 8 if kind == _STRING else struct.calcsize(self.format(kind))
        if count > MAX_ARRAY or count * smallest > len(self.data) - self.at:
            raise self.damaged(f"it claims a list of {count} elements")

    def array(self, kind: int, count: int) -> list[Any]:
        self.check_count(kind, count)
        if kind == _STRING:
            read = self.string
            return [read() for _ in range(count)]
        layout = self.format(kind)
        values = np.frombuffer(
            self.data[self.at : self.at + count * struct.calcsize(layout)], layout.replace("<?", "?")
        )
        self.at += count * struct.calcsize(layout)
        listed: list[Any] = values.tolist()
        return listed

    def format(self, kind: int) -> str:
        if kind not in _SCALARS:
            raise self.damaged(f"a metadata value is of the unknown type {kind}")
        return _SCALARS[kind]

    def scalar(self, kind: int) -> Any:
        layout = self.format(kind)
        (value,) = struct.unpack_from(layout, self.data, self.at)
        self.at += struct.calcsize(layout)
        return value

    def u32(self) -> int:
        (value,) = _U32.unpack_from(self.data, self.at)
        self.at += 4
        return int(value)

    def u64(self) -> int:
        (value,) = _U64.unpack_from(self.data, self.at)
        self.at += 8
        return int(value)

    def string(self) -> str:
        start = self.at + 8
        (length,) = _U64.unpack_from(self.data, self.at)
        if length > len(self.data) - start:
            raise self.damaged(f"it claims a text of {length} bytes")
        self.at = start + length
        return self.data[start : self.at].decode("utf-8")

    def damaged(self, what: str) -> ModelError:
        return ModelError(f"{self.path} cannot be used: {what}", DAMAGED)
