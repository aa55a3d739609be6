"""What a checkpoint may only be used with: the same weights, computed in the same way."""

from __future__ import annotations

import hashlib

from smallchat import __version__
from smallchat.engine.loading import OpenModel
from smallchat.settings import KVType

SAMPLE = 64
"""Bytes of each tensor that are looked at, at its beginning and in its middle."""


def fingerprint(model: OpenModel, kernels: str, ranks: int, kv: KVType) -> bytes:
    """32 bytes. Of a file's tensors it sees places, types, shapes and a sample: another training of the same
    shapes differs in every one. Kernels and ranks round differently, so they count as different models.
    """
    digest = hashlib.sha256(repr((__version__, kernels, ranks, kv, model.config)).encode())
    for tensor in model.gguf.tensors.values():
        digest.update(repr(tensor).encode())
        data = model.gguf.bytes_of(tensor)
        for at in (0, tensor.size // 2):
            digest.update(data[at : at + SAMPLE].tobytes())
    return digest.digest()
