"""Personas: which files of the folder are read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from smallchat.chat.personas import personas
from smallchat.errors import StorageError


@pytest.mark.skipif(os.name != "posix", reason="pipes and devices with a place in a folder")
@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_only_files_are_read(kind: str, tmp_path: Path) -> None:
    (tmp_path / "teacher.md").write_text("Explain as to a child.\n")
    assert personas({"pirate": "Arr."}, tmp_path) == {"pirate": "Arr.", "teacher": "Explain as to a child."}
    odd = tmp_path / "odd.md"
    if kind == "pipe":
        os.mkfifo(odd)
    elif kind == "device":
        odd.symlink_to("/dev/null")
    else:
        odd.mkdir()
    with pytest.raises(StorageError, match=r"odd\.md is not a file"):
        personas({}, tmp_path)
