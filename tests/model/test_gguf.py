"""What a rank passes over of a file's header changes nothing of what it reads."""

from __future__ import annotations

import struct
from pathlib import Path

import gguf
import numpy as np
import pytest

from smallchat.errors import ModelError
from smallchat.model.gguf import GgufFile
from tests.model.test_reference import LAYOUTS, TYPES
from tests.support.models import ARRAY, STRING, Raw, Recipe, model


@pytest.mark.parametrize("recipe", [LAYOUTS["fused"], LAYOUTS["pattern-list"], TYPES["as-released"]])
def test_without_the_vocabulary_the_tensors_are_the_same(recipe: Recipe) -> None:
    path = model(recipe).path
    whole, without = GgufFile(path), GgufFile(path, skip=("tokenizer.",))
    assert without.tensors == whole.tensors
    assert {tensor.name for tensor in gguf.GGUFReader(path).tensors} == set(without.tensors)
    for name, tensor in whole.tensors.items():
        assert np.array_equal(without.bytes_of(without.tensors[name]), whole.bytes_of(tensor))
    kept = {key: value for key, value in whole.metadata.items() if not key.startswith("tokenizer.")}
    assert kept
    assert len(kept) < len(whole.metadata)
    assert repr(without.metadata) == repr(kept)
    whole.close()
    without.close()


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (STRING, struct.pack("<Q", 1 << 62)),
        (STRING, struct.pack("<Q", (1 << 64) - 1)),
        (ARRAY, struct.pack("<IQ", STRING, 1 << 40)),
        (ARRAY, struct.pack("<IQQ", STRING, 2, (1 << 64) - 1)),
        (ARRAY, struct.pack("<IQ", 99, 3)),
        (99, b""),
    ],
)
def test_what_is_passed_over_is_checked_all_the_same(kind: int, value: bytes, tmp_path: Path) -> None:
    """A length is nothing to jump by before it is known to lie in the file."""
    file = Raw.read(model(Recipe()).path)
    # The last of the header: what follows it must not be taken for something else.
    file.keys["tokenizer.last"] = (kind, value)
    file.tensors, file.body = [], b""
    path = tmp_path / "hostile.gguf"
    path.write_bytes(file.data())
    for skip in ((), ("tokenizer.",)):
        with pytest.raises(ModelError):
            GgufFile(path, skip)
