"""One file of the cache: the keys and values of some tokens that follow other ones.

A block is named after what it follows and what it holds: `PARENT-KEY.kv`. A key is the SHA-256 of the key
before it and of the token ids; the chain of keys begins with the fingerprint of model and settings. So a
block that is found by name and holds the wanted ids is the right one; any other is not used.

    magic, owner, parent, start, count, whole_from, CRC-32 of the payload, ids (int32 each), payload
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from smallchat.engine.checkpoints.forget import MAGIC, OWNED

Ids = npt.NDArray[np.int32]
Bytes = npt.NDArray[np.uint8]

BLOCK = 256
"""Tokens of a block at the most: 8 MB of the 4B's, 26 MB of the 21B's."""
SUFFIX = ".kv"
_HEAD = struct.Struct(OWNED.format + "32sIIIIQ")
_SHORT = 32
"""Letters of a key in a file's name."""


class DamagedError(Exception):
    """The file is no sound block."""


@dataclass(frozen=True, slots=True)
class Block:
    """What a file holds."""

    parent: bytes
    """Key of the tokens before these."""
    start: int
    """Position of the first token."""
    ids: Ids
    whole_from: int
    """First position that sliding-window layers hold too."""
    owner: int = 0
    """The conversation that it was written for; 0: none."""

    @property
    def key(self) -> bytes:
        """Stands for these tokens and all before them."""
        return hashlib.sha256(self.parent + self.ids.astype("<i4").tobytes()).digest()

    @property
    def name(self) -> str:
        """The file's."""
        return f"{short(self.parent)}-{short(self.key)}{SUFFIX}"


def short(key: bytes) -> str:
    """How a key is written in file names."""
    return key.hex()[:_SHORT]


def write(path: Path, block: Block, payload: Bytes) -> None:
    """The file is there whole or not at all. Raises `OSError`."""
    head = _HEAD.pack(
        *(MAGIC, block.owner, block.parent, block.start, len(block.ids), block.whole_from),
        *(zlib.crc32(payload.data), payload.size),
    )
    begun = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(begun, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "wb") as file:
            file.write(head)
            file.write(block.ids.astype("<i4").tobytes())
            file.write(payload.data)
        begun.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            begun.unlink()
        raise


def read(path: Path, token_size: int, payload: Bytes | None = None) -> Block:
    """What the file holds; `token_size` bytes of payload a token are also read into `payload` and checked.

    Raises `DamagedError` for anything that is no sound block of that name, `OSError` where it is gone.
    """
    with path.open("rb") as file:
        raw = file.read(_HEAD.size)
        if len(raw) != _HEAD.size:
            raise DamagedError
        magic, owner, parent, start, count, whole_from, crc, size = _HEAD.unpack(raw)
        told = _HEAD.size + 4 * count + size
        if magic != MAGIC or not 1 <= count <= BLOCK or size != count * token_size:
            raise DamagedError
        if os.fstat(file.fileno()).st_size != told:
            raise DamagedError
        block = Block(parent, start, np.frombuffer(file.read(4 * count), "<i4"), whole_from, owner)
        if len(block.ids) != count or block.name != path.name:
            raise DamagedError
        if payload is not None:
            data = payload[:size].data
            if file.readinto(data) != size or zlib.crc32(data) != crc:
                raise DamagedError
        return block
