"""A note folder of the test's own, and its index."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from smallchat import paths
from smallchat.notes.folder import open_folder
from smallchat.notes.index import Index

Write = Callable[[str, "str | bytes"], Path]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "vault"
    folder.mkdir()
    return open_folder(folder)


@pytest.fixture
def index(root: Path) -> Iterator[Index]:
    index = Index(root, paths.notes_index(root))
    yield index
    index.close()


@pytest.fixture
def write(root: Path) -> Write:
    """Write a note below the folder, in its exact bytes."""

    def write(path: str, text: str | bytes) -> Path:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode() if isinstance(text, str) else text)
        return file

    return write
